//! What a queue's length means for the exit code.

use dbvitals_acceptqueue::Listener;

use crate::exit::Exit;

/// From how many percent of what fits a queue is worth a warning.
const WARN_OVER_PERCENT: u64 = 80;

/// The judgement on so many waiting.
pub(super) fn of_length(length: u32, limit: Option<u32>) -> Exit {
    let Some(limit) = limit else {
        return Exit::Fine;
    };
    if length > limit {
        return Exit::Critical;
    }
    let capacity = u64::from(limit) + 1;
    match u64::from(length) * 100 > capacity * WARN_OVER_PERCENT {
        true => Exit::Warning,
        false => Exit::Fine,
    }
}

/// The judgement on a listener at one moment.
pub(super) fn of(listener: &Listener) -> Exit {
    of_length(listener.length, listener.limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_eighty_percent_warns_and_beyond_the_limit_is_full() {
        for (length, limit, exit) in [
            (0, 0, Exit::Fine),
            (1, 0, Exit::Critical),
            (80, 100, Exit::Fine),
            (81, 100, Exit::Warning),
            (100, 100, Exit::Warning),
            (101, 100, Exit::Critical),
            (1, 1, Exit::Fine),
        ] {
            assert_eq!(of_length(length, Some(limit)), exit, "{length}/{limit}");
        }
        assert_eq!(of_length(9, None), Exit::Fine);
    }
}
