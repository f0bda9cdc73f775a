//! The whole idea of rise and fall: how many times in a row it takes to change one's mind.
//!
//! Think of a door with a heavy spring. One push does not open it, nor does one gust close it;
//! `rise` pushes in a row open it, `fall` gusts in a row close it, and each push the other way
//! starts the count anew. HAProxy keeps the same thing in one counter from 0 to
//! rise + fall - 1, up from `rise` on; so does this, once it has an opinion at all. Before that
//! it is undecided, and either run decides.

/// What a [`RiseFall`] currently holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opinion {
    /// Not enough evidence yet.
    Undecided,
    /// Good.
    Up,
    /// Bad.
    Down,
}

/// Counts passes and failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RiseFall {
    /// No opinion: how many passes and failures came in a row (one of them is 0).
    Undecided { passes: u32, failures: u32 },
    /// An opinion: up from `rise` on, at most rise + fall - 1.
    Decided { counter: u32 },
}

impl RiseFall {
    pub(crate) const UNDECIDED: Self = Self::Undecided {
        passes: 0,
        failures: 0,
    };

    /// An opinion that nothing speaks against.
    pub(crate) fn settled(good: bool, rise: u32, fall: u32) -> Self {
        let counter = if good { rise + fall - 1 } else { 0 };
        Self::Decided { counter }
    }

    /// Counts one pass.
    pub(crate) fn pass(&mut self, rise: u32, fall: u32) {
        let top = rise + fall - 1;
        *self = match *self {
            Self::Undecided { passes, .. } if passes + 1 < rise => Self::Undecided {
                passes: passes + 1,
                failures: 0,
            },
            Self::Undecided { .. } => Self::Decided { counter: top },
            Self::Decided { counter } if counter + 1 < rise => Self::Decided {
                counter: counter + 1,
            },
            Self::Decided { .. } => Self::Decided { counter: top },
        };
    }

    /// Counts one failure.
    pub(crate) fn fail(&mut self, rise: u32, fall: u32) {
        *self = match *self {
            Self::Undecided { failures, .. } if failures + 1 < fall => Self::Undecided {
                passes: 0,
                failures: failures + 1,
            },
            Self::Undecided { .. } => Self::Decided { counter: 0 },
            Self::Decided { counter } if counter > rise => Self::Decided {
                counter: counter - 1,
            },
            Self::Decided { .. } => Self::Decided { counter: 0 },
        };
    }

    pub(crate) fn opinion(self, rise: u32) -> Opinion {
        match self {
            Self::Undecided { .. } => Opinion::Undecided,
            Self::Decided { counter } if counter >= rise => Opinion::Up,
            Self::Decided { .. } => Opinion::Down,
        }
    }

    /// Whether nothing speaks against the present opinion: no count is under way.
    pub(crate) fn is_settled(self, rise: u32, fall: u32) -> bool {
        match self {
            Self::Undecided { .. } => false,
            Self::Decided { counter } => counter == 0 || counter == rise + fall - 1,
        }
    }

    /// Fits the count to another rise and fall, keeping the opinion and the distance to change.
    pub(crate) fn refit(&mut self, (old_rise, old_fall): (u32, u32), (rise, fall): (u32, u32)) {
        if let Self::Decided { counter } = *self {
            let counter = if counter >= old_rise {
                let failures = old_rise + old_fall - 1 - counter;
                rise + fall - 1 - failures.min(fall - 1)
            } else {
                counter.min(rise - 1)
            };
            *self = Self::Decided { counter };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `+` and `-` and compares the opinion after each with `u`, `d` or `.`.
    fn check(rise: u32, fall: u32, script: &str, expected: &str) {
        let mut count = RiseFall::UNDECIDED;
        let seen: String = script
            .chars()
            .map(|step| {
                match step {
                    '+' => count.pass(rise, fall),
                    _ => count.fail(rise, fall),
                }
                match count.opinion(rise) {
                    Opinion::Undecided => '.',
                    Opinion::Up => 'u',
                    Opinion::Down => 'd',
                }
            })
            .collect();
        assert_eq!(seen, expected, "rise {rise}, fall {fall}, script {script}");
    }

    #[test]
    fn an_opinion_needs_a_full_run() {
        check(2, 3, "++", ".u");
        check(2, 3, "---", "..d");
        check(2, 3, "+-+--+-", ".......");
        check(1, 1, "+-+", "udu");
    }

    #[test]
    fn one_outcome_the_other_way_starts_the_count_anew() {
        check(2, 2, "++-+-+--", ".uuuuuud");
        check(3, 1, "-++-+++", "ddddddu");
    }

    #[test]
    fn a_refit_keeps_the_opinion_and_the_distance() {
        let mut count = RiseFall::Decided { counter: 3 };
        count.refit((2, 3), (5, 1));
        assert_eq!(count.opinion(5), Opinion::Up);
        let mut count = RiseFall::Decided { counter: 1 };
        count.refit((2, 3), (1, 3));
        assert_eq!(count.opinion(1), Opinion::Down);
    }
}
