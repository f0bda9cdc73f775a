//! A record of everything that was observed, for `replay`: its format, its writer, its reader.
//!
//! JSON lines with short keys, because a record is also read by people with `grep` and `jq`, in a
//! hurry; what is usual is left out, so that a ping that passed is a line of about forty bytes, and a
//! backend asked every second makes less than 4 MB a day. A binary form would be half of that, and
//! nobody could read it.
//!
//! The first line is the [`Header`](line::Header): schema, start of the agent, and in a later
//! generation the backends of its time with their plans. Then come lines of these kinds, told apart
//! by their keys; every time counts microseconds since `at`:
//!
//! ```text
//! {"t":1,"plan":{"b":0,"n":0,"name":"orders", …}}     from t on, number 0 is `orders` under this plan
//! {"t":1000210,"b":0,"p":"h","d":210}                 a held session was asked at t, for d, and passed
//! {"t":2000420,"b":0,"p":"f","d":90,"c":"refused"}    a fresh probe ended with a cause
//! {"t":2000400,"b":0,"p":"h","e":1,"c":"reset"}       a held session ended by itself
//! {"t":2000450,"b":0,"p":"q","e":1,"c":"queue_full"}  a look at the accept queue told this, unasked
//! {"t":2000520,"b":0,"v":["up","down"],"c":"refused"} the verdict changed
//! {"t":2100000,"n":0,"l":250000}                      shard n was late by l when t came
//! {"t":2200000,"lost":12}                             so many lines were lost before this one
//! ```
//!
//! Further keys of a probe: `r` the depth reached, `s` whether a session is held after it, `ph` its
//! phases, `ro` the server's role, `x` a sentence; `r` and `ph` are left out of a pass that went
//! where the plan sends it in one phase, `s` where it is as the outcome lets one expect.
//!
//! A number stands for one [`Chapter`]: a backend under a plan. It is told before the first line that
//! bears it. Under another plan a backend has another number, whose plan says `follows`; a backend
//! with another target, or that was away, follows nobody. `n` is the shard that watches it.

mod chapter;
mod line;
mod plans;
mod reader;
mod writer;

pub(crate) use chapter::Chapter;
pub(crate) use plans::Plans;
pub(crate) use reader::{Conclusion, Record, Recorded};
pub(crate) use writer::{Feed, Recorder};

/// The schema of the header.
pub(crate) const SCHEMA: &str = "dbvitals.record.v1";

/// The least that a record may be bounded to: a header and some batches in either generation.
const SIZE_MIN: u64 = 256 * 1024;

/// Reads a size like `64MiB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let refused = || format!("{text:?} is no size; write it like 64MiB or 1GiB");
    let digits = text.trim_end_matches(char::is_alphabetic);
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(refused()),
    };
    let number: u64 = digits.trim().parse().map_err(|_| refused())?;
    match number.checked_mul(unit) {
        Some(size) if size >= SIZE_MIN => Ok(size),
        Some(_) => Err("a record needs at least 256KiB".to_owned()),
        None => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("1 GB"), Ok(1_000_000_000));
        for wrong in ["64", "MiB", "1KiB", "-1MiB", "64mib", "99999999999GiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
