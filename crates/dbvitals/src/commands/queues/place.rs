//! What a command line names: a port, an address, a path, or an abstract name.

use std::fmt;
use std::net::SocketAddr;

use dbvitals_acceptqueue::{Listener, Listeners, UnixName};

use crate::misuse::Misuse;

/// Where listeners are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// At this port, on any address.
    Port(u16),
    /// Where a connect to this address arrives.
    Address(SocketAddr),
    /// At this path, or abstract name.
    Name(UnixName),
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, Misuse> {
        if let Ok(port) = text.parse() {
            return match port {
                0 => Err(Misuse("nothing listens at port 0".to_owned())),
                port => Ok(Self::Port(port)),
            };
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if text.starts_with('@') || text.contains('/') {
            return Ok(Self::Name(UnixName::from_text(text.as_bytes())));
        }
        Err(Misuse(format!(
            "{text:?} is no listener: name a port (3306), an address with its port (127.0.0.1:3306), the path of a unix socket, or @NAME for an abstract one"
        )))
    }

    pub(super) fn find<'a>(&self, among: &'a Listeners) -> Vec<&'a Listener> {
        match self {
            Self::Port(port) => among.at_port(*port).iter().collect(),
            Self::Address(address) => among.reached_at(*address),
            Self::Name(name) => among.at_name(name),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_addresses_paths_and_abstract_names_are_told_apart() {
        for (text, shown) in [
            ("3306", "port 3306"),
            ("127.0.0.1:3306", "127.0.0.1:3306"),
            ("[::1]:5432", "[::1]:5432"),
            ("/run/mysqld/mysqld.sock", "/run/mysqld/mysqld.sock"),
            ("./x.sock", "./x.sock"),
            ("@name", "@name"),
        ] {
            let place = Place::parse(text).map(|place| place.to_string());
            assert_eq!(place.expect("a place"), shown);
        }
        for wrong in ["", "0", "70000", "localhost", "mysql"] {
            assert!(Place::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
