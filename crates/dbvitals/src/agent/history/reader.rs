//! Reads the history for whoever asks over HTTP, by a connection of its own that cannot write.
//!
//! Runs on a thread for blocking work. Every answer has a bound, in rows and in time; what is in the
//! file may be anybody's, so nothing of it is taken for granted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_verdict::Moment;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};
use serde_json::value::RawValue;

use super::Kept;
use super::digest::Digest;
use super::store::{SLOT_MINUTES, open_still};

/// How long an answer may take to be read.
pub(crate) const READ_WITHIN: Duration = Duration::from_secs(5);
/// Points in one answer.
const POINTS_MAX: usize = 20_000;
/// Bytes of transitions in one answer; points have less. What is around them has some tens of
/// thousands.
pub(crate) const ANSWER_BYTES_MAX: usize = 8 << 20;
const MINUTE_MS: i64 = 60_000;

/// What is asked of transitions; times are milliseconds since 1970.
#[derive(Debug)]
pub(crate) struct TransitionQuestion {
    pub(crate) of: Option<String>,
    pub(crate) since_ms: i64,
    pub(crate) until_ms: i64,
    pub(crate) max: usize,
    /// With what each rests on.
    pub(crate) evidence: bool,
}

/// What is asked of latencies.
#[derive(Debug)]
pub(crate) struct LatencyQuestion {
    pub(crate) of: String,
    pub(crate) path: Option<String>,
    pub(crate) since_ms: i64,
    pub(crate) until_ms: i64,
    pub(crate) step_minutes: i64,
}

/// What changed, the oldest first.
#[derive(Debug)]
pub(crate) struct Transitions {
    pub(crate) since_ms: i64,
    /// Whether that is all there was in the time asked for.
    pub(crate) is_complete: bool,
    pub(crate) lines: Vec<Box<RawValue>>,
    /// From when to when an agent kept a history, as far as that touches the time asked for.
    pub(crate) runs: Vec<(i64, i64)>,
}

/// How long probes took.
#[derive(Debug)]
pub(crate) struct Latencies {
    pub(crate) since_ms: i64,
    pub(crate) is_complete: bool,
    pub(crate) points: Vec<Point>,
}

/// The probes of one step, or a phase of theirs.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) at_ms: i64,
    pub(crate) path: String,
    pub(crate) depth: String,
    pub(crate) phase: String,
    pub(crate) count: u64,
    /// Microseconds: the 50th, 95th and 99th percentile, and the longest.
    pub(crate) micros: [u32; 4],
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// The file is no history; the writer looks at it.
    #[error("the history cannot be read; it is looked at")]
    Broken,
    /// The disk, or the question, is too slow.
    #[error("the history could not be read in time")]
    TooSlow,
    /// Whatever else.
    #[error("the history cannot be read: {0}")]
    Disk(String),
}

impl From<rusqlite::Error> for Unreadable {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Broken,
            _ => Self::Disk(error.to_string()),
        }
    }
}

/// A connection that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Connection,
    kept: Arc<Kept>,
    clock: Clock,
    deadline: Moment,
}

impl Reader {
    /// Opens the file to read; the time that reading may take begins.
    pub(crate) fn open(kept: Arc<Kept>, clock: Clock) -> Result<Self, Unreadable> {
        let connection = match kept.is_still.load(Ordering::Relaxed) {
            true => open_still(&kept.path)?,
            false => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                Connection::open_with_flags(&kept.path, flags)?
            }
        };
        connection.busy_timeout(Duration::from_millis(200))?;
        Ok(Self {
            connection,
            deadline: clock.now() + READ_WITHIN,
            kept,
            clock,
        })
    }

    /// Whether a backend of this name is in the history.
    pub(crate) fn knows(&self, name: &str) -> Result<bool, Unreadable> {
        self.judged(self.number_of(name)).map(|it| it.is_some())
    }

    /// Reads transitions: the newest of those asked for.
    pub(crate) fn transitions(
        &self,
        asked: &TransitionQuestion,
    ) -> Result<Transitions, Unreadable> {
        self.judged(self.read_transitions(asked))
    }

    /// Reads latencies.
    pub(crate) fn latencies(&self, asked: &LatencyQuestion) -> Result<Latencies, Unreadable> {
        self.judged(self.read_latencies(asked))
    }

    /// Has the writer look at a file that is no history.
    fn judged<T>(&self, read: Result<T, Unreadable>) -> Result<T, Unreadable> {
        if matches!(read, Err(Unreadable::Broken)) {
            self.kept.is_suspect.store(true, Ordering::Relaxed);
        }
        read
    }

    fn number_of(&self, name: &str) -> Result<Option<i64>, Unreadable> {
        let number = "SELECT id FROM backend WHERE name = ?";
        let number = self.connection.query_row(number, [name], |row| row.get(0));
        Ok(number.optional()?)
    }

    fn since(&self, what: &str) -> Result<i64, Unreadable> {
        let since = "SELECT since_ms FROM kept WHERE what = ?";
        Ok(self.connection.query_row(since, [what], |row| row.get(0))?)
    }

    fn check_time(&self) -> Result<(), Unreadable> {
        match self.clock.now() < self.deadline {
            true => Ok(()),
            false => Err(Unreadable::TooSlow),
        }
    }

    fn read_transitions(&self, asked: &TransitionQuestion) -> Result<Transitions, Unreadable> {
        let mut told = Transitions {
            since_ms: self.since("transitions")?,
            is_complete: true,
            lines: Vec::new(),
            runs: self.runs(asked)?,
        };
        let whose = match &asked.of {
            None => "?3 IS NULL",
            Some(_) => "backend = ?3",
        };
        let number = match &asked.of {
            None => None,
            // Nobody's number is zero.
            Some(name) => Some(self.number_of(name)?.unwrap_or(0)),
        };
        let mut newest = self.connection.prepare(&format!(
            "SELECT line, evidence FROM transition
             WHERE {whose} AND at_ms >= ?1 AND at_ms <= ?2 ORDER BY at_ms DESC, id DESC"
        ))?;
        let mut rows = newest.query(params![asked.since_ms, asked.until_ms, number])?;
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let (line, evidence): (String, String) = (row.get(0)?, row.get(1)?);
            let Some(line) = with_evidence(line, asked.evidence.then_some(&evidence)) else {
                continue;
            };
            // With the comma.
            bytes += line.get().len() + 1;
            if told.lines.len() == asked.max || bytes > ANSWER_BYTES_MAX {
                told.is_complete = false;
                break;
            }
            told.lines.push(line);
            self.check_time()?;
        }
        told.is_complete &= told.since_ms <= asked.since_ms;
        told.lines.reverse();
        Ok(told)
    }

    fn runs(&self, asked: &TransitionQuestion) -> Result<Vec<(i64, i64)>, Unreadable> {
        let mut runs = self.connection.prepare(
            "SELECT began_ms, seen_ms FROM run WHERE seen_ms >= ? AND began_ms <= ?
             ORDER BY began_ms DESC LIMIT 1000",
        )?;
        let runs = runs.query_map([asked.since_ms, asked.until_ms], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        let mut runs = runs.collect::<Result<Vec<_>, _>>()?;
        runs.reverse();
        Ok(runs)
    }

    /// The names of the series that are asked for: path, depth and phase.
    fn series(&self, asked: &LatencyQuestion) -> Result<BTreeMap<i64, [String; 3]>, Unreadable> {
        let mut names = self
            .connection
            .prepare("SELECT id, path, depth, phase FROM series WHERE ?1 IS NULL OR path = ?1")?;
        let names = names.query_map([&asked.path], |row| {
            Ok((row.get(0)?, [row.get(1)?, row.get(2)?, row.get(3)?]))
        })?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    fn read_latencies(&self, asked: &LatencyQuestion) -> Result<Latencies, Unreadable> {
        let mut told = Latencies {
            since_ms: self.since("digests")?,
            is_complete: true,
            points: Vec::new(),
        };
        told.is_complete = told.since_ms <= asked.since_ms;
        let Some(number) = self.number_of(&asked.of)? else {
            return Ok(told);
        };
        let (first, last) = (
            asked.since_ms.div_euclid(MINUTE_MS),
            asked.until_ms.div_euclid(MINUTE_MS),
        );
        let names = self.series(asked)?;
        let mut digests: BTreeMap<(i64, i64), Digest> = BTreeMap::new();
        let mut of_slot = self.connection.prepare(
            "SELECT minute, series, max_us, buckets FROM digest
             WHERE slot = ? AND backend = ? AND minute BETWEEN ? AND ?",
        )?;
        for slot in first.div_euclid(SLOT_MINUTES)..=last.div_euclid(SLOT_MINUTES) {
            let mut rows = of_slot.query(params![slot, number, first, last])?;
            while let Some(row) = rows.next()? {
                let (minute, series): (i64, i64) = (row.get(0)?, row.get(1)?);
                if !names.contains_key(&series) {
                    continue;
                }
                let step = minute - minute.rem_euclid(asked.step_minutes);
                let digest =
                    Digest::of_bytes(row.get(2)?, row.get_ref(3)?.as_blob().unwrap_or(&[]));
                let many = digests.len() >= POINTS_MAX;
                match digests.entry((step, series)) {
                    Entry::Occupied(mut there) => there.get_mut().merge(&digest),
                    Entry::Vacant(_) if many => told.is_complete = false,
                    Entry::Vacant(place) => drop(place.insert(digest)),
                }
            }
            self.check_time()?;
        }
        let point = |((step, series), digest): ((i64, i64), Digest)| {
            let [path, depth, phase] = names.get(&series)?.clone();
            Some(Point {
                at_ms: step * MINUTE_MS,
                path,
                depth,
                phase,
                count: digest.count,
                micros: [
                    digest.percentile(50),
                    digest.percentile(95),
                    digest.percentile(99),
                    digest.max,
                ],
            })
        };
        told.points = digests.into_iter().filter_map(point).collect();
        Ok(told)
    }
}

/// A line as it is told, if it is one.
fn with_evidence(mut line: String, evidence: Option<&String>) -> Option<Box<RawValue>> {
    if let Some(evidence) = evidence
        && evidence.starts_with('{')
        && line.pop() == Some('}')
    {
        line.push_str(",\"evidence\":");
        line.push_str(evidence);
        line.push('}');
    }
    // What is none would break the whole answer.
    let line = RawValue::from_string(line).ok()?;
    line.get().starts_with('{').then_some(line)
}
