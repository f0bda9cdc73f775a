//! Durations and times as people write them: `500ms`, `2s`, `1m 30s`. A bare number is refused, because
//! nobody knows its unit.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

/// Reads a duration above zero; the error is a sentence fragment for people.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is no duration; write it like 500ms, 2s or 1m 30s");
    let parsed: SignedDuration = text.trim().parse().map_err(|_| refused())?;
    let duration = Duration::try_from(parsed).map_err(|_| refused())?;
    if duration.is_zero() {
        return Err("a duration must be above zero".to_owned());
    }
    Ok(duration)
}

/// Milliseconds with as many digits as mean something: `0.12 ms`, `1.9 ms`, `250 ms`, `2.1 s`.
pub(crate) fn show(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        ms if ms < 1.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms if ms < 10_000.0 => format!("{:.1} s", ms / 1000.0),
        ms => format!("{:.0} s", ms / 1000.0),
    }
}

/// The two largest units: `12s`, `3m 12s`, `5h 3m`, `12d 3h`.
pub(crate) fn show_long(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        (_, _, _) => format!("{days}d {}h", hours % 24),
    }
}

/// A wall-clock time as RFC 3339 has it, in UTC, to the millisecond.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    // Years beyond 9999 have no such form.
    Timestamp::try_from(time).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

/// The time that such a text means; none where it means none.
pub(crate) fn moment(rfc3339: &str) -> Option<SystemTime> {
    let time: Timestamp = rfc3339.parse().ok()?;
    Some(time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_their_lack_is_refused() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("1m 30s"), Ok(Duration::from_secs(90)));
        for wrong in ["5", "", "-2s", "0s", "soon"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn durations_show_the_digits_that_mean_something() {
        assert_eq!(show(Duration::from_micros(123)), "0.12 ms");
        assert_eq!(show(Duration::from_micros(1940)), "1.9 ms");
        assert_eq!(show(Duration::from_millis(250)), "250 ms");
        assert_eq!(show(Duration::from_millis(2100)), "2.1 s");
        assert_eq!(show(Duration::from_secs(30)), "30 s");
    }

    #[test]
    fn long_times_show_their_two_largest_units() {
        let shown = |seconds| show_long(Duration::from_secs(seconds));
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(192), "3m 12s");
        assert_eq!(shown(18_180), "5h 3m");
        assert_eq!(shown(1_047_600), "12d 3h");
    }
}
