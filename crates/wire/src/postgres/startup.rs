//! The packets that open a connection; they carry a code where messages carry a type byte.
//!
//! An SSLRequest or GSSENCRequest may come first, each answered by a single byte; a StartupMessage
//! starts a session, a CancelRequest asks for the end of another session's statement. The client's
//! login writes them, the server reads them.

use super::message::{Body, Malformed, put_packet, put_text};
use crate::{Login, text};

/// Protocol 3.0: the major version in the upper half, the minor in the lower.
pub(super) const PROTOCOL: u32 = 3 << 16;
const CANCEL_REQUEST: u32 = 1234 << 16 | 5678;
const SSL_REQUEST: u32 = 1234 << 16 | 5679;
const GSSENC_REQUEST: u32 = 1234 << 16 | 5680;

/// PostgreSQL's own limit on an opening packet (MAX_STARTUP_PACKET_LENGTH).
pub(super) const PACKET_LENGTH_MAX: usize = 10_000;

/// Role names are shorter than 64 bytes, unless PostgreSQL was rebuilt for longer ones.
const USER_LENGTH_MAX: usize = 256;

/// An opening packet, as far as a server needs to understand it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    SslRequest,
    GssEncRequest,
    CancelRequest,
    StartupMessage {
        /// The minor version of protocol 3 that the client would like.
        minor: u16,
        user: String,
    },
    /// A StartupMessage of another major version.
    UnsupportedProtocol,
}

impl Packet {
    pub(super) fn parse(mut body: Body<'_>) -> Result<Self, Malformed> {
        match body.u32()? {
            SSL_REQUEST => Ok(Self::SslRequest),
            GSSENC_REQUEST => Ok(Self::GssEncRequest),
            CANCEL_REQUEST => Ok(Self::CancelRequest),
            version if version >> 16 == PROTOCOL >> 16 => Ok(Self::StartupMessage {
                minor: (version & 0xffff) as u16,
                user: user(body)?,
            }),
            _ => Ok(Self::UnsupportedProtocol),
        }
    }
}

/// The user among a StartupMessage's parameters, which are pairs of texts up to an empty text.
fn user(mut parameters: Body<'_>) -> Result<String, Malformed> {
    let mut user = String::new();
    loop {
        match parameters.text()? {
            b"" => return Ok(user),
            b"user" => user = text::clean(parameters.text()?, USER_LENGTH_MAX),
            _ => _ = parameters.text()?,
        }
    }
}

/// What a server gave at login for cancelling this session's statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CancelKey {
    pub(super) pid: u32,
    pub(super) secret: u32,
}

/// The packet that asks for the end of another session's statement.
pub(super) fn cancel_request(key: CancelKey) -> [u8; 16] {
    const LENGTH: u32 = 16;
    let mut packet = [0; 16];
    let fields = [LENGTH, CANCEL_REQUEST, key.pid, key.secret];
    for (place, field) in packet.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field.to_be_bytes());
    }
    packet
}

/// Asks for TLS.
pub(super) fn put_ssl_request(out: &mut Vec<u8>) {
    put_packet(out, |body| {
        body.extend_from_slice(&SSL_REQUEST.to_be_bytes())
    });
}

/// Says who logs in, to which database, and under which name.
pub(super) fn put_startup_message(login: &Login, out: &mut Vec<u8>) {
    put_packet(out, |body| {
        body.extend_from_slice(&PROTOCOL.to_be_bytes());
        let mut put_parameter = |name, value| {
            put_text(body, name);
            put_text(body, value);
        };
        put_parameter("user", &login.credentials.user);
        if let Some(database) = &login.credentials.database {
            put_parameter("database", database);
        }
        put_parameter("application_name", login.program);
        put_parameter("client_encoding", "UTF8");
        body.push(0);
    });
}

#[cfg(test)]
mod tests;
