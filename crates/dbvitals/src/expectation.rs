//! What a target must be to be fit, and how deep one has to look to know it.
//!
//! Comes from a URL, from flags or from the configuration; each says `want` and `max_lag` alike.

use std::time::Duration;

use dbvitals_verdict::{Depth, Want};

/// What a target must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Expectation {
    pub(crate) want: Option<Want>,
    pub(crate) max_lag: Option<Duration>,
}

impl Expectation {
    /// This expectation, and the other's where this one is silent.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            want: self.want.or(other.want),
            max_lag: self.max_lag.or(other.max_lag),
        }
    }

    /// The least depth that tells whether it is met; `None` where any will do.
    pub(crate) fn depth(self) -> Option<Depth> {
        match (self.max_lag, self.want) {
            (Some(_), _) => Some(Depth::Lag),
            (None, Some(Want::Primary | Want::Replica | Want::Writable)) => Some(Depth::Role),
            (None, Some(Want::Any) | None) => None,
        }
    }

    /// Says why a probe of this depth and this expectation contradict each other, if they do.
    pub(crate) fn check(self, depth: Depth) -> Result<(), String> {
        if depth == Depth::Write && self.want == Some(Want::Replica) {
            return Err(
                "the depth write and a wanted replica contradict each other: a write belongs on a primary; leave one of them out"
                    .to_owned(),
            );
        }
        match self.depth() {
            Some(needed) if needed > depth => Err(format!(
                "the depth {depth} does not tell {}; use depth {needed}, or leave depth out",
                match self.max_lag {
                    Some(_) => "how far a replica is behind",
                    None => "what role a server has",
                }
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// Reads what is wanted.
pub(crate) fn parse_want(text: &str) -> Result<Want, String> {
    text.parse().map_err(|()| {
        let known = Want::ALL.map(Want::name).join(", ");
        format!("{text:?} is nothing that can be wanted; known are {known}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_needs_a_depth_that_tells() {
        let role = Expectation {
            want: Some(Want::Primary),
            max_lag: None,
        };
        assert_eq!(role.depth(), Some(Depth::Role));
        assert!(role.check(Depth::Query).unwrap_err().contains("depth role"));
        assert_eq!(role.check(Depth::Write), Ok(()));
        let lag = Expectation {
            max_lag: Some(Duration::from_secs(1)),
            ..role
        };
        assert_eq!(lag.depth(), Some(Depth::Lag));
        assert!(lag.check(Depth::Role).unwrap_err().contains("depth lag"));
        assert_eq!(Expectation::default().depth(), None);
    }

    #[test]
    fn what_is_wanted_is_one_of_four_words() {
        assert_eq!(parse_want("writable"), Ok(Want::Writable));
        assert!(
            parse_want("leader")
                .unwrap_err()
                .contains("primary, replica")
        );
    }
}
