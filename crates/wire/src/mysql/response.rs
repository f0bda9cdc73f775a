//! What a client answers to the greeting: SSLRequest, then HandshakeResponse41, read and written.
//!
//! Which fields are there depends on the capability flags at its head. Some clients set flags that
//! the server never offered without sending the fields, so both sides go by the flags that both
//! have set.

use super::bytes::{self, Reader};
use super::capabilities::Capabilities;
use super::{UTF8MB4, packet};
use crate::MESSAGE_LENGTH_MAX;

const FILLER_LENGTH: usize = 23;

/// The client's part of the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Response<'a> {
    /// The flags in force.
    pub(super) capabilities: Capabilities,
    pub(super) user: &'a [u8],
    /// The plugin's answer to the nonce of the greeting.
    pub(super) answer: &'a [u8],
    pub(super) database: &'a [u8],
    pub(super) plugin: &'a [u8],
    /// The name shown among the session's attributes.
    pub(super) program: &'a [u8],
}

impl Response<'_> {
    /// Appends the response; optional fields as the flags say.
    pub(super) fn append(&self, sequence: u8, out: &mut Vec<u8>) {
        let has = |flags| self.capabilities.contains(flags);
        packet::append(out, sequence, |out| {
            put_head(self.capabilities, out);
            bytes::put_nul_string(out, self.user);
            // One byte of length, with PLUGIN_AUTH_LENENC or without: no answer is over 250 bytes.
            bytes::put_lenenc_string(out, self.answer);
            if has(Capabilities::CONNECT_WITH_DB) {
                bytes::put_nul_string(out, self.database);
            }
            if has(Capabilities::PLUGIN_AUTH) {
                bytes::put_nul_string(out, self.plugin);
            }
            if has(Capabilities::CONNECT_ATTRS) {
                let mut attributes = Vec::new();
                bytes::put_lenenc_string(&mut attributes, b"program_name");
                bytes::put_lenenc_string(&mut attributes, self.program);
                bytes::put_lenenc_string(out, &attributes);
            }
        });
    }
}

/// Appends an SSLRequest: the head of a response, and TLS follows it.
pub(super) fn append_tls_request(capabilities: Capabilities, sequence: u8, out: &mut Vec<u8>) {
    packet::append(out, sequence, |out| {
        put_head(capabilities | Capabilities::SSL, out)
    });
}

fn put_head(capabilities: Capabilities, out: &mut Vec<u8>) {
    out.extend_from_slice(&capabilities.0.to_le_bytes());
    out.extend_from_slice(&(MESSAGE_LENGTH_MAX as u32).to_le_bytes());
    out.push(UTF8MB4);
    out.extend_from_slice(&[0; FILLER_LENGTH]);
}

/// A client's first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening<'a> {
    TlsRequest,
    Response(Response<'a>),
}

impl<'a> Opening<'a> {
    /// Reads a client's answer to a greeting that offered `offered`.
    pub(super) fn parse(payload: &'a [u8], offered: Capabilities) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let capabilities = Capabilities(reader.u32()?) & offered;
        if !capabilities.contains(Capabilities::PROTOCOL_41) {
            return None;
        }
        let _packet_length_max = reader.u32()?;
        let _collation = reader.u8()?;
        reader.bytes(FILLER_LENGTH)?;
        if reader.is_empty() {
            let asked = capabilities.contains(Capabilities::SSL);
            return asked.then_some(Self::TlsRequest);
        }

        let user = reader.nul_string()?;
        let answer = if capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
            reader.lenenc_string()?
        } else if capabilities.contains(Capabilities::SECURE_CONNECTION) {
            let length = reader.u8()?;
            reader.bytes(usize::from(length))?
        } else {
            reader.nul_string()?
        };
        let mut field = |flag| match capabilities.contains(flag) {
            true => reader.nul_string_or_rest(),
            false => b"",
        };
        let database = field(Capabilities::CONNECT_WITH_DB);
        let plugin = field(Capabilities::PLUGIN_AUTH);
        let program = match capabilities.contains(Capabilities::CONNECT_ATTRS) {
            true => program_name(reader).unwrap_or_default(),
            false => b"",
        };
        Some(Self::Response(Response {
            capabilities,
            user,
            answer,
            database,
            plugin,
            program,
        }))
    }
}

fn program_name<'a>(mut reader: Reader<'a>) -> Option<&'a [u8]> {
    let mut attributes = Reader::new(reader.lenenc_string()?);
    loop {
        let (key, value) = (attributes.lenenc_string()?, attributes.lenenc_string()?);
        if key == b"program_name" {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Capabilities = Capabilities(0xffff_ffff);

    fn response(capabilities: Capabilities) -> Response<'static> {
        let has = |flag, text: &'static [u8]| {
            if capabilities.contains(flag) {
                text
            } else {
                b""
            }
        };
        Response {
            capabilities,
            user: b"vitals",
            answer: b"twenty bytes, or not",
            database: has(Capabilities::CONNECT_WITH_DB, b"orders"),
            plugin: has(Capabilities::PLUGIN_AUTH, b"mysql_native_password"),
            program: has(Capabilities::CONNECT_ATTRS, b"dbvitals"),
        }
    }

    #[test]
    fn a_response_survives_the_way_there_and_back_under_any_flags() {
        let required = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
        let optional = [
            Capabilities::CONNECT_WITH_DB,
            Capabilities::PLUGIN_AUTH,
            Capabilities::CONNECT_ATTRS,
            Capabilities::PLUGIN_AUTH_LENENC,
        ];
        for chosen in 0..1 << optional.len() {
            let chosen = optional
                .into_iter()
                .enumerate()
                .filter(|(n, _)| chosen >> n & 1 == 1);
            let flags = chosen.fold(required, |all, (_, flag)| all | flag);
            let mut out = Vec::new();
            response(flags).append(1, &mut out);
            let expected = Opening::Response(response(flags));
            assert_eq!(Opening::parse(&out[4..], ALL), Some(expected), "{flags:?}");
        }
    }

    #[test]
    fn flags_that_the_server_did_not_offer_are_not_believed() {
        let sent = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
        let mut out = Vec::new();
        response(sent).append(1, &mut out);
        let claimed = (sent | Capabilities::CONNECT_ATTRS | Capabilities::CONNECT_WITH_DB).0;
        out[4..8].copy_from_slice(&claimed.to_le_bytes());
        assert_eq!(
            Opening::parse(&out[4..], sent),
            Some(Opening::Response(response(sent)))
        );
    }

    #[test]
    fn a_request_for_tls_is_the_head_alone() {
        let mut out = Vec::new();
        append_tls_request(Capabilities::PROTOCOL_41, 1, &mut out);
        assert_eq!(out.len(), 4 + 32);
        assert_eq!(Opening::parse(&out[4..], ALL), Some(Opening::TlsRequest));
        assert_eq!(Opening::parse(&out[4..], Capabilities::PROTOCOL_41), None);
    }

    #[test]
    fn a_user_with_a_nul_cannot_shift_the_fields_behind_it() {
        let flags = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
        let mut out = Vec::new();
        Response {
            user: b"vit\0als",
            ..response(flags)
        }
        .append(1, &mut out);
        assert_eq!(
            Opening::parse(&out[4..], ALL),
            Some(Opening::Response(response(flags)))
        );
    }
}
