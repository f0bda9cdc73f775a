//! Certificates of X.509's first version, which no maker of certificates makes any more.
//!
//! A certificate is DER: SEQUENCE { what is signed, algorithm, signature }, and what is signed is a
//! SEQUENCE, too. Without its version (tag 0xa0) and its extensions (0xa3) it is of version one;
//! then it is signed again. Called by the test authority.

use rcgen::{KeyPair, SigningKey as _};

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// Turns a certificate into one of version one, signed by its issuer's key; returns PEM.
pub(super) fn of(certificate: &[u8], issuer: &KeyPair) -> String {
    let parts = elements(content(certificate));
    let [signed, algorithm, _] = parts[..] else {
        panic!("a certificate has three parts");
    };
    let kept = elements(content(signed))
        .into_iter()
        .filter(|element| ![VERSION, EXTENSIONS].contains(&element[0]));
    let signed = encode(SEQUENCE, &kept.collect::<Vec<_>>().concat());
    let signature = issuer.sign(&signed).expect("a key signs");
    // A bit string begins with the number of bits that are left over.
    let signature = encode(BIT_STRING, &[&[0], &signature[..]].concat());
    pem(&encode(
        SEQUENCE,
        &[&signed[..], algorithm, &signature[..]].concat(),
    ))
}

/// The length of an element's header, and of its content.
fn lengths(element: &[u8]) -> (usize, usize) {
    match element[1] {
        short @ 0..0x80 => (2, short.into()),
        long => {
            let header = 2 + usize::from(long & 0x7f);
            let digits = element[2..header].iter();
            (
                header,
                digits.fold(0, |length, digit| length << 8 | usize::from(*digit)),
            )
        }
    }
}

fn content(element: &[u8]) -> &[u8] {
    let (header, length) = lengths(element);
    &element[header..header + length]
}

fn elements(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let (header, length) = lengths(rest);
        let (element, after) = rest.split_at(header + length);
        elements.push(element);
        rest = after;
    }
    elements
}

fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len())
        .expect("a certificate is short")
        .to_be_bytes();
    // Lengths below 128 have to take one byte, those below 256 two.
    let length: &[u8] = match (high, low) {
        (0, 0..0x80) => &[low],
        (0, 0x80..) => &[0x81, low],
        _ => &[0x82, high, low],
    };
    [&[tag], length, content].concat()
}

fn pem(der: &[u8]) -> String {
    let lines = base64(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned() + "\n")
        .collect::<String>();
    format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = (group >> (18 - 6 * at)) & 0x3f;
            text.push(match at <= chunk.len() {
                true => char::from(DIGITS[digit as usize]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_padded_to_groups_of_four() {
        let texts = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
