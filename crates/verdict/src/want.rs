//! What a backend must be for the traffic that is sent to it.
//!
//! Asked by whoever probes, at depth role and deeper; kept here because configuration, probes and
//! publishers share the words.

use std::fmt;
use std::str::FromStr;

/// What a backend must be to be fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Want {
    /// Whatever it is.
    #[default]
    Any,
    /// The one that takes writes.
    Primary,
    /// One that follows a primary.
    Replica,
    /// One that takes writes, whether it follows another or not.
    Writable,
}

impl Want {
    /// All wants.
    pub const ALL: [Self; 4] = [Self::Any, Self::Primary, Self::Replica, Self::Writable];

    /// The name in URLs, configuration and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Writable => "writable",
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Want {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|want| want.name() == text)
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_are_found_by_their_names() {
        for want in Want::ALL {
            assert_eq!(want.name().parse(), Ok(want));
        }
        assert_eq!("leader".parse::<Want>(), Err(()));
    }
}
