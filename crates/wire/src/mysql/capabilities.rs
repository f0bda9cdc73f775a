//! Capability flags: what either side of a connection says it can do.
//!
//! The server names its own in the greeting, the client answers with those of them that it wants;
//! only flags that both have set are in force. Flags not listed here are never asked for, above
//! all CLIENT_LOCAL_FILES, CLIENT_DEPRECATE_EOF and CLIENT_COMPRESS.

use std::ops::{BitAnd, BitOr};

/// A set of capability flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capabilities(pub(super) u32);

impl Capabilities {
    /// MariaDB clears it to say that its extended flags follow; MySQL always sets it.
    pub(super) const LONG_PASSWORD: Self = Self(1);
    /// The client's answer names a database.
    pub(super) const CONNECT_WITH_DB: Self = Self(1 << 3);
    /// The protocol of 4.1, of which everything here is part.
    pub(super) const PROTOCOL_41: Self = Self(1 << 9);
    /// TLS.
    pub(super) const SSL: Self = Self(1 << 11);
    /// The greeting carries a nonce of 20 bytes, not of 8.
    pub(super) const SECURE_CONNECTION: Self = Self(1 << 15);
    /// A query may hold several statements: their settings and questions share a round trip.
    pub(super) const MULTI_STATEMENTS: Self = Self(1 << 16);
    /// An answer may hold several result sets.
    pub(super) const MULTI_RESULTS: Self = Self(1 << 17);
    /// Authentication plugins have names, and can be switched.
    pub(super) const PLUGIN_AUTH: Self = Self(1 << 19);
    /// The client's answer carries attributes such as the program's name.
    pub(super) const CONNECT_ATTRS: Self = Self(1 << 20);
    /// The client's authentication data has a length-encoded length.
    pub(super) const PLUGIN_AUTH_LENENC: Self = Self(1 << 21);

    pub(super) fn contains(self, flags: Self) -> bool {
        self & flags == flags
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Capabilities {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}
