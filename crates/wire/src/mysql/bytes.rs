//! Reading and writing the integers and strings that packets are made of.
//!
//! [`Reader`] walks over bytes of a peer: every step either yields a value or `None` where the
//! bytes end too soon, so a parser is a chain of `?` and cannot read past the end. The `put_*`
//! functions are the way back. Integers are little-endian throughout.

/// What an integer's first byte means in the length-encoded form.
mod prefix {
    pub(super) const NULL: u8 = 0xfb;
    pub(super) const TWO_BYTES: u8 = 0xfc;
    pub(super) const THREE_BYTES: u8 = 0xfd;
    pub(super) const EIGHT_BYTES: u8 = 0xfe;
}

/// A cursor over the payload of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A string that ends with a NUL, which is read too and left out.
    pub(super) fn nul_string(&mut self) -> Option<&'a [u8]> {
        let length = self.rest.iter().position(|byte| *byte == 0)?;
        let text = self.bytes(length)?;
        self.u8()?;
        Some(text)
    }

    /// A string that ends with a NUL or with the packet: some servers forget the last NUL.
    pub(super) fn nul_string_or_rest(&mut self) -> &'a [u8] {
        self.nul_string()
            .unwrap_or_else(|| std::mem::take(&mut self.rest))
    }

    pub(super) fn lenenc_integer(&mut self) -> Option<u64> {
        match self.u8()? {
            short @ ..=0xfa => Some(u64::from(short)),
            prefix::TWO_BYTES => self.u16().map(u64::from),
            prefix::THREE_BYTES => self
                .array()
                .map(|[a, b, c]| u64::from(u32::from_le_bytes([a, b, c, 0]))),
            prefix::EIGHT_BYTES => self.array().map(u64::from_le_bytes),
            _ => None,
        }
    }

    pub(super) fn lenenc_string(&mut self) -> Option<&'a [u8]> {
        let length = self.lenenc_integer()?;
        self.bytes(usize::try_from(length).ok()?)
    }

    /// One value of a text row: `Some(None)` is NULL.
    pub(super) fn column(&mut self) -> Option<Option<&'a [u8]>> {
        if self.rest.first() == Some(&prefix::NULL) {
            self.u8()?;
            return Some(None);
        }
        self.lenenc_string().map(Some)
    }
}

pub(super) fn put_nul_string(out: &mut Vec<u8>, text: &[u8]) {
    // A NUL inside would end the string early and shift every field behind it.
    out.extend(text.iter().copied().filter(|byte| *byte != 0));
    out.push(0);
}

pub(super) fn put_lenenc_string(out: &mut Vec<u8>, text: &[u8]) {
    put_lenenc_integer(out, text.len());
    out.extend_from_slice(text);
}

pub(super) fn put_lenenc_integer(out: &mut Vec<u8>, value: usize) {
    let (prefix, width) = match value {
        0..=0xfa => (None, 1),
        0xfb..=0xffff => (Some(prefix::TWO_BYTES), 2),
        0x1_0000..=0xff_ffff => (Some(prefix::THREE_BYTES), 3),
        0x100_0000.. => (Some(prefix::EIGHT_BYTES), 8),
    };
    out.extend(prefix);
    out.extend((value as u64).to_le_bytes().into_iter().take(width));
}

/// The NULL of a text row.
pub(super) fn put_null(out: &mut Vec<u8>) {
    out.push(prefix::NULL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_encoded_integer_survives_the_way_there_and_back() {
        #[track_caller]
        fn check(value: usize, encoded: &[u8]) {
            let mut out = Vec::new();
            put_lenenc_integer(&mut out, value);
            assert_eq!(out, encoded);
            assert_eq!(Reader::new(&out).lenenc_integer(), Some(value as u64));
        }
        check(0, &[0]);
        check(250, &[250]);
        check(251, &[0xfc, 251, 0]);
        check(0xffff, &[0xfc, 0xff, 0xff]);
        check(0x1_0000, &[0xfd, 0, 0, 1]);
        check(0xff_ffff, &[0xfd, 0xff, 0xff, 0xff]);
        check(0x100_0000, &[0xfe, 0, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn reading_past_the_end_yields_nothing() {
        assert_eq!(Reader::new(&[1]).u16(), None);
        assert_eq!(Reader::new(&[1, 2, 3]).u32(), None);
        assert_eq!(Reader::new(b"no end").nul_string(), None);
        assert_eq!(Reader::new(&[5, b'a']).lenenc_string(), None);
        assert_eq!(Reader::new(&[0xfe; 9]).lenenc_string(), None);
        assert_eq!(Reader::new(&[0xff]).lenenc_integer(), None);
    }

    #[test]
    fn a_string_without_its_nul_is_taken_to_the_end() {
        assert_eq!(Reader::new(b"plugin").nul_string_or_rest(), b"plugin");
        assert_eq!(Reader::new(b"plugin\0rest").nul_string_or_rest(), b"plugin");
    }
}
