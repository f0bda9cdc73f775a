//! Capture files, pcap and pcapng, read as a stream: standard input does as well as a file.
//!
//! Read in large blocks into one buffer, out of which frames are lent. Of pcapng everything but
//! packets and what their times and links depend on is passed over. A file may end in the middle
//! of a packet, as one does that is still being written: then all before it counts. The format is
//! small and the errors are for people, so no crate stands between.

use std::io::{self, Read};
use std::ops::RangeInclusive;

use super::packet::{Frame, Link};

/// How much is read at once.
const BLOCK: usize = 256 << 10;
/// No packet, and no block of pcapng that matters, is longer.
const RECORD_LENGTH_MAX: usize = 16 << 20;
/// More interfaces than this are no capture of one machine.
const INTERFACES_MAX: usize = 4096;

/// What is wrong with a capture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CaptureError {
    /// The file cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// There is nothing in it.
    #[error("it is empty; a capture of nothing has a header")]
    Empty,
    /// The file is something else.
    #[error("it is no capture: neither pcap nor pcapng")]
    NotACapture,
    /// The file is a compressed one.
    #[error("it is compressed; unpack it on the way: zcat FILE | dbvitals pings --pcap -")]
    Compressed,
    /// The file contradicts itself.
    #[error("what begins at byte {at} is no packet: the file is damaged")]
    Damaged {
        /// Where.
        at: u64,
    },
    /// The frames are none of those that are understood.
    #[error(
        "its link type {0} is not understood; Ethernet, loopback, raw IP and Linux cooked (-i any) are"
    )]
    UnknownLink(u32),
}

/// Reads a capture.
#[derive(Debug)]
pub(crate) struct CaptureFile<R> {
    input: R,
    buffer: Vec<u8>,
    /// What of the buffer is filled and not yet used.
    start: usize,
    end: usize,
    /// How much of the file came before the buffer's start.
    read_before: u64,
    format: Format,
    last_at: u64,
    is_cut: bool,
}

#[derive(Debug)]
enum Format {
    Pcap {
        order: Order,
        link: Link,
        /// Nanoseconds in the unit of the times' fractions.
        unit: u64,
    },
    PcapNg {
        order: Order,
        interfaces: Vec<Interface>,
    },
}

/// The byte order of a file's numbers.
#[derive(Debug, Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Interface {
    link: Option<Link>,
    number: u32,
    /// Times a second that its clock counts.
    ticks: u64,
    /// Seconds to be added to its times.
    offset: i64,
}

/// Where a frame lies in the buffer.
struct Found {
    at: u64,
    link: Link,
    start: usize,
    captured: usize,
    length: usize,
}

const SECOND: u64 = 1_000_000_000;

impl<R: Read> CaptureFile<R> {
    /// Reads the file's beginning.
    pub(crate) fn open(input: R) -> Result<Self, CaptureError> {
        let mut file = Self {
            input,
            buffer: vec![0; BLOCK],
            start: 0,
            end: 0,
            read_before: 0,
            format: Format::PcapNg {
                order: Order::Little,
                interfaces: Vec::new(),
            },
            last_at: 0,
            is_cut: false,
        };
        file.read_magic()?;
        Ok(file)
    }

    /// How much of the file has been used.
    pub(crate) fn position(&self) -> u64 {
        self.read_before
    }

    /// Whether the file ended in the middle of a packet.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The next frame, or `None` at the end.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        let found = match &self.format {
            Format::Pcap { order, link, unit } => {
                let (order, link, unit) = (*order, *link, *unit);
                self.next_record(order, link, unit)?
            }
            Format::PcapNg { .. } => self.next_packet_block()?,
        };
        let Some(found) = found else {
            return Ok(None);
        };
        let end = found.start + found.captured;
        Ok(Some(Frame {
            at: found.at,
            link: found.link,
            bytes: self.buffer.get(found.start..end).unwrap_or_default(),
            length: found.length.max(found.captured),
        }))
    }

    fn read_magic(&mut self) -> Result<(), CaptureError> {
        if !self.fill(4)? {
            return Err(match self.rest() {
                [] => CaptureError::Empty,
                _ => CaptureError::NotACapture,
            });
        }
        let (order, unit) = match *self.rest() {
            [0xd4, 0xc3, 0xb2, 0xa1, ..] => (Order::Little, 1000),
            [0xa1, 0xb2, 0xc3, 0xd4, ..] => (Order::Big, 1000),
            [0x4d, 0x3c, 0xb2, 0xa1, ..] => (Order::Little, 1),
            [0xa1, 0xb2, 0x3c, 0x4d, ..] => (Order::Big, 1),
            // The order of a section is told by its first block.
            [0x0a, 0x0d, 0x0d, 0x0a, ..] => return Ok(()),
            [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0xfd, b'7', b'z', b'X', ..] => {
                return Err(CaptureError::Compressed);
            }
            _ => return Err(CaptureError::NotACapture),
        };
        const HEADER: usize = 24;
        if !self.fill(HEADER)? {
            return Err(CaptureError::NotACapture);
        }
        // The upper bits tell of checksums behind the frames.
        let number = order.u32(self.rest(), 20).unwrap_or_default() & 0xffff;
        let link = Link::from_number(number).ok_or(CaptureError::UnknownLink(number))?;
        self.format = Format::Pcap { order, link, unit };
        self.use_up(HEADER);
        Ok(())
    }

    fn next_record(
        &mut self,
        order: Order,
        link: Link,
        unit: u64,
    ) -> Result<Option<Found>, CaptureError> {
        const HEADER: usize = 16;
        if !self.fill(HEADER)? {
            return Ok(None);
        }
        let field = |at| order.u32(self.rest(), at).unwrap_or_default();
        let at = u64::from(field(0)) * SECOND + u64::from(field(4)) * unit;
        let (captured, length) = (field(8) as usize, field(12) as usize);
        if captured > RECORD_LENGTH_MAX {
            return Err(self.damaged());
        }
        if !self.fill(HEADER + captured)? {
            return Ok(None);
        }
        let start = self.start + HEADER;
        self.use_up(HEADER + captured);
        Ok(Some(Found {
            at,
            link,
            start,
            captured,
            length,
        }))
    }

    /// The next block that holds a packet.
    fn next_packet_block(&mut self) -> Result<Option<Found>, CaptureError> {
        const HEADER: usize = 8;
        /// A block has its length once more at its end.
        const BLOCK_LENGTHS: RangeInclusive<usize> = HEADER + 4..=RECORD_LENGTH_MAX;
        loop {
            if !self.fill(*BLOCK_LENGTHS.start())? {
                return Ok(None);
            }
            let is_section = self.rest().starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]);
            if is_section {
                self.begin_section()?;
            }
            let Format::PcapNg { order, .. } = self.format else {
                return Ok(None);
            };
            let kind = order.u32(self.rest(), 0).unwrap_or_default();
            let length = order.u32(self.rest(), 4).unwrap_or_default() as usize;
            if !BLOCK_LENGTHS.contains(&length) || !length.is_multiple_of(4) {
                return Err(self.damaged());
            }
            if !self.fill(length)? {
                return Ok(None);
            }
            let found = match (is_section, kind) {
                (false, 1) => self.describe_interface(order, length)?,
                (false, 2 | 3 | 6) => self.packet_of(order, kind, length)?,
                _ => None,
            };
            self.use_up(length);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn begin_section(&mut self) -> Result<(), CaptureError> {
        let order = match self.rest().get(8..12) {
            Some([0x4d, 0x3c, 0x2b, 0x1a]) => Order::Little,
            Some([0x1a, 0x2b, 0x3c, 0x4d]) => Order::Big,
            _ => return Err(self.damaged()),
        };
        self.format = Format::PcapNg {
            order,
            interfaces: Vec::new(),
        };
        Ok(())
    }

    fn describe_interface(
        &mut self,
        order: Order,
        length: usize,
    ) -> Result<Option<Found>, CaptureError> {
        let block = self.rest().get(..length - 4).unwrap_or_default();
        let number = u32::from(order.u16(block, 8).unwrap_or_default());
        let mut interface = Interface {
            link: Link::from_number(number),
            number,
            ticks: 1_000_000,
            offset: 0,
        };
        let mut at = 16;
        while let (Some(code), Some(size)) = (order.u16(block, at), order.u16(block, at + 2)) {
            let size = usize::from(size);
            let value = block.get(at + 4..at + 4 + size).unwrap_or_default();
            match (code, value) {
                (0, _) => break,
                (9, [resolution]) => interface.ticks = ticks(*resolution),
                (14, [..]) if value.len() == 8 => {
                    let halves = (order.u32(value, 0), order.u32(value, 4));
                    let (first, second) = (halves.0.unwrap_or(0), halves.1.unwrap_or(0));
                    let (high, low) = match order {
                        Order::Little => (second, first),
                        Order::Big => (first, second),
                    };
                    interface.offset = (u64::from(high) << 32 | u64::from(low)).cast_signed();
                }
                _ => {}
            }
            at += 4 + size.next_multiple_of(4);
        }
        match &mut self.format {
            Format::PcapNg { interfaces, .. } if interfaces.len() < INTERFACES_MAX => {
                interfaces.push(interface);
                Ok(None)
            }
            Format::Pcap { .. } | Format::PcapNg { .. } => Err(self.damaged()),
        }
    }

    /// The packet of a block: enhanced (6), simple (3) or of the first drafts (2).
    fn packet_of(
        &mut self,
        order: Order,
        kind: u32,
        length: usize,
    ) -> Result<Option<Found>, CaptureError> {
        let block = self.rest().get(..length - 4).unwrap_or_default();
        let field = |at| order.u32(block, at).unwrap_or_default();
        let (id, data) = match kind {
            3 => (0, 12),
            2 => (usize::from(order.u16(block, 8).unwrap_or_default()), 28),
            _ => (field(8) as usize, 28),
        };
        let room = block.len().saturating_sub(data);
        let (captured, original) = match kind {
            3 => ((field(8) as usize).min(room), field(8)),
            _ => (field(20) as usize, field(24)),
        };
        let ticks_counted = u64::from(field(12)) << 32 | u64::from(field(16));
        let interface = match &self.format {
            Format::PcapNg { interfaces, .. } => interfaces.get(id).copied(),
            Format::Pcap { .. } => None,
        };
        let Some(interface) = interface.filter(|_| captured <= room) else {
            return Err(self.damaged());
        };
        // Other interfaces of the file may be understood.
        let Some(link) = interface.link else {
            return match id {
                0 => Err(CaptureError::UnknownLink(interface.number)),
                _ => Ok(None),
            };
        };
        if kind != 3 {
            self.last_at = nanoseconds(ticks_counted, interface);
        }
        Ok(Some(Found {
            at: self.last_at,
            link,
            start: self.start + data,
            captured,
            length: original as usize,
        }))
    }

    /// What is read and not used.
    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn use_up(&mut self, length: usize) {
        self.start += length;
        self.read_before += length as u64;
    }

    /// Reads until so much is there; `false` where the file ends before.
    fn fill(&mut self, wanted: usize) -> Result<bool, CaptureError> {
        if self.end - self.start >= wanted {
            return Ok(true);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if wanted > self.buffer.len() {
            self.buffer.resize(wanted, 0);
        }
        while self.end < wanted {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.is_cut = self.end > 0;
                    return Ok(false);
                }
                Ok(length) => self.end += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn damaged(&self) -> CaptureError {
        CaptureError::Damaged {
            at: self.read_before,
        }
    }
}

/// An interface's ticks a second: a power of ten, or of two where the first bit is set.
fn ticks(resolution: u8) -> u64 {
    let exponent = u32::from(resolution & 0x7f);
    let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(exponent).unwrap_or(u64::MAX)
}

fn nanoseconds(ticks: u64, interface: Interface) -> u64 {
    let nanoseconds = u128::from(ticks) * u128::from(SECOND) / u128::from(interface.ticks);
    let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
    let offset = interface.offset.saturating_mul(SECOND.cast_signed());
    nanoseconds.saturating_add_signed(offset)
}

#[cfg(test)]
mod tests;
