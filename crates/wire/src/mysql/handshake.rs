//! HandshakeV10: the greeting that a server begins with, read and written.
//!
//! Only what later steps need is kept. Greetings without the 4.1 protocol or without a nonce of 20
//! bytes are not understood: every server since MySQL 4.1 (2004) sends both.

use super::bytes::{self, Reader};
use super::capabilities::Capabilities;
use super::{UTF8MB4, packet};
use crate::{Greeting, Product};

/// The length of the nonce in a greeting, without the NUL that follows it.
pub(super) const NONCE_LENGTH: usize = 20;

const PROTOCOL_VERSION: u8 = 10;
/// The part of the nonce that protocols before 4.1 knew.
const FIRST_PART_LENGTH: usize = 8;
/// The least that the second part takes, its NUL included.
const SECOND_PART_LENGTH_MIN: usize = 13;
const RESERVED: usize = 10;
const STATUS_AUTOCOMMIT: u16 = 2;

/// A server's greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handshake<'a> {
    pub(super) version: &'a [u8],
    pub(super) session_id: u32,
    pub(super) nonce: [u8; NONCE_LENGTH],
    pub(super) capabilities: Capabilities,
    /// The plugin that the nonce is meant for; empty where the server names none.
    pub(super) plugin: &'a [u8],
}

impl<'a> Handshake<'a> {
    pub(super) fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        if reader.u8()? != PROTOCOL_VERSION {
            return None;
        }
        let version = reader.nul_string()?;
        let session_id = reader.u32()?;
        let first_part = reader.bytes(FIRST_PART_LENGTH)?;
        reader.u8()?;
        let capabilities_low = reader.u16()?;
        let _collation = reader.u8()?;
        let _status = reader.u16()?;
        let capabilities_high = reader.u16()?;
        let nonce_length = usize::from(reader.u8()?);
        reader.bytes(RESERVED)?;

        let capabilities =
            Capabilities(u32::from(capabilities_low) | u32::from(capabilities_high) << 16);
        if !capabilities.contains(Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION) {
            return None;
        }
        let second_part_length = nonce_length
            .saturating_sub(FIRST_PART_LENGTH)
            .max(SECOND_PART_LENGTH_MIN);
        let second_part = reader.bytes(second_part_length)?;
        let nonce = [first_part, second_part].concat();
        let plugin = match capabilities.contains(Capabilities::PLUGIN_AUTH) {
            true => reader.nul_string_or_rest(),
            false => b"",
        };
        Some(Self {
            version,
            session_id,
            nonce: *nonce.first_chunk()?,
            capabilities,
            plugin,
        })
    }

    /// Appends the greeting as packet 0.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        let (first_part, second_part) = self.nonce.split_at(FIRST_PART_LENGTH);
        let [low_0, low_1, high_0, high_1] = self.capabilities.0.to_le_bytes();
        packet::append(out, 0, |out| {
            out.push(PROTOCOL_VERSION);
            bytes::put_nul_string(out, self.version);
            out.extend_from_slice(&self.session_id.to_le_bytes());
            out.extend_from_slice(first_part);
            out.extend_from_slice(&[0, low_0, low_1, UTF8MB4]);
            out.extend_from_slice(&STATUS_AUTOCOMMIT.to_le_bytes());
            out.extend_from_slice(&[high_0, high_1, NONCE_LENGTH as u8 + 1]);
            out.extend_from_slice(&[0; RESERVED]);
            out.extend_from_slice(second_part);
            out.push(0);
            bytes::put_nul_string(out, self.plugin);
        });
    }

    /// What the greeting tells the owner of a session.
    pub(super) fn facts(&self) -> Greeting {
        let (product, version) = product_and_version(&String::from_utf8_lossy(self.version));
        Greeting {
            product: Some(product),
            version,
            session_id: Some(self.session_id),
            in_hot_standby: None,
            default_read_only: None,
        }
    }
}

/// Tells MariaDB from MySQL and trims a server's version to its number.
///
/// MariaDB up to 10.x puts `5.5.5-` before its own version, for old replicas that would not follow
/// a primary with a version of two digits.
fn product_and_version(text: &str) -> (Product, Option<String>) {
    let product = match text.to_ascii_lowercase().contains("mariadb") {
        true => Product::MariaDb,
        false => Product::MySql,
    };
    let own = text
        .strip_prefix("5.5.5-")
        .filter(|own| own.starts_with(|first: char| first.is_ascii_digit()))
        .unwrap_or(text);
    let number: String = own
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .take(32)
        .collect();
    let number = number.trim_matches('.');
    (product, (!number.is_empty()).then(|| number.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Capabilities = Capabilities(0xffff_ffff);

    fn greeting(capabilities: Capabilities) -> Vec<u8> {
        let mut out = Vec::new();
        let nonce = *b"abcdefghijklmnopqrst";
        let (version, plugin) = (b"8.0.36", b"caching_sha2_password");
        Handshake {
            version,
            session_id: 7,
            nonce,
            capabilities,
            plugin,
        }
        .append(&mut out);
        out
    }

    #[test]
    fn a_greeting_survives_the_way_there_and_back() {
        let packet = greeting(ALL);
        let handshake = Handshake::parse(&packet[4..]).unwrap();
        assert_eq!(handshake.version, b"8.0.36");
        assert_eq!(handshake.session_id, 7);
        assert_eq!(&handshake.nonce, b"abcdefghijklmnopqrst");
        assert_eq!(handshake.capabilities, ALL);
        assert_eq!(handshake.plugin, b"caching_sha2_password");
    }

    #[test]
    fn no_prefix_of_a_greeting_is_a_greeting() {
        let packet = greeting(ALL);
        // The plugin's name may end with the packet, so look at what is before it.
        let fixed = packet.len() - b"caching_sha2_password\0".len();
        for length in 4..fixed {
            assert_eq!(Handshake::parse(&packet[4..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn the_nonce_length_of_a_peer_may_be_anything() {
        let packet = greeting(ALL);
        let position = 4 + 1 + 7 + 4 + 8 + 1 + 2 + 1 + 2 + 2;
        assert_eq!(packet[position], 21);
        for length in 0..=255 {
            let mut packet = packet.clone();
            packet[position] = length;
            let nonce = Handshake::parse(&packet[4..]).map(|handshake| handshake.nonce);
            let fits = usize::from(length) <= packet.len() - position - 1 - RESERVED + 8;
            assert_eq!(nonce.is_some(), fits, "nonce length {length}");
        }
    }

    #[test]
    fn protocols_before_4_1_are_not_understood() {
        assert_eq!(Handshake::parse(&greeting(Capabilities(0))[4..]), None);
        assert_eq!(
            Handshake::parse(&greeting(Capabilities::PROTOCOL_41)[4..]),
            None
        );
    }

    #[test]
    fn versions_are_trimmed_to_their_number() {
        #[track_caller]
        fn check(text: &str, product: Product, version: Option<&str>) {
            assert_eq!(
                product_and_version(text),
                (product, version.map(str::to_owned))
            );
        }
        use Product::{MariaDb, MySql};
        check(
            "5.5.5-10.11.19-MariaDB-0+deb12u1",
            MariaDb,
            Some("10.11.19"),
        );
        check("11.4.2-MariaDB-ubu2404-log", MariaDb, Some("11.4.2"));
        check("5.5.5-MariaDB", MariaDb, Some("5.5.5"));
        check("8.0.36-0ubuntu0", MySql, Some("8.0.36"));
        check("5.7.44-log", MySql, Some("5.7.44"));
        check("9.", MySql, Some("9"));
        check("custom", MySql, None);
        check("", MySql, None);
    }
}
