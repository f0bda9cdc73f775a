//! Reads a record back: both generations where they are of one run, whatever can be read of them.
//!
//! What cannot be read is counted and said, not refused: a record is most wanted after a crash.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use dbvitals_verdict::{Cause, Depth, Moment, Observation, Plan, Verdict};

use super::SCHEMA;
use super::line::{Header, Line};
use super::writer::{older, usual_depth};
use crate::misuse::Misuse;

/// What `serve --record` wrote.
#[derive(Debug)]
pub(crate) struct Record {
    /// When the agent started: RFC 3339.
    pub(crate) at: String,
    pub(crate) agent: String,
    pub(crate) backends: Vec<Recorded>,
    /// What a person should know about what was read, a sentence each.
    pub(crate) notices: Vec<String>,
}

/// What was recorded of one backend.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) plan: Plan,
    /// The verdict when the record begins.
    pub(crate) verdict: Verdict,
    /// In the order of their ends.
    pub(crate) observations: Vec<Observation>,
    pub(crate) conclusions: Vec<Conclusion>,
    /// When the backend's shard was late: from when it was due until it came.
    pub(crate) late: Vec<(Moment, Moment)>,
}

/// A change of verdict that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conclusion {
    pub(crate) at: Moment,
    pub(crate) from: Verdict,
    pub(crate) to: Verdict,
    pub(crate) cause: Option<Cause>,
}

/// What went wrong while reading.
#[derive(Debug, Default)]
struct Damage {
    torn_end: bool,
    unreadable: u64,
    lost: u64,
}

impl Record {
    /// Reads a record, and its older generation where that is of the same run.
    pub(crate) fn read(path: &Path) -> Result<Self, Misuse> {
        let mut notices = Vec::new();
        let mut damage = Damage::default();
        let (header, lines) = read_lines(path, &mut damage)?;
        let mut begin = header.clone();
        let mut all = Vec::new();
        let before = older(path);
        if before.exists() {
            match read_lines(&before, &mut damage) {
                Ok((other, lines)) if (&other.at, &other.agent) == (&header.at, &header.agent) => {
                    begin = other;
                    all = lines;
                }
                Ok(_) => notices.push(format!(
                    "{} is of an earlier run; replay it by itself",
                    before.display()
                )),
                Err(why) => notices.push(format!("left out: {why}")),
            }
        }
        all.extend(lines);
        let mut backends = backends(&begin, path)?;
        for line in &all {
            take(&mut backends, header.shards.max(1), line, &mut damage);
        }
        for backend in &mut backends {
            backend.observations.sort_by_key(|seen| seen.ended);
        }
        damage.tell(&mut notices);
        Ok(Self {
            at: header.at,
            agent: header.agent,
            backends,
            notices,
        })
    }
}

impl Damage {
    fn tell(&self, notices: &mut Vec<String>) {
        if self.torn_end {
            notices.push("the last line is torn; everything before it counts".to_owned());
        }
        if self.unreadable > 0 {
            notices.push(format!("{} lines cannot be read", self.unreadable));
        }
        if self.lost > 0 {
            notices.push(format!(
                "{} observations were lost while recording",
                self.lost
            ));
        }
    }
}

fn read_lines(path: &Path, damage: &mut Damage) -> Result<(Header, Vec<Line>), Misuse> {
    let refused = |error: std::io::Error| {
        Misuse(format!(
            "cannot read the record {}: {}; name a file that `dbvitals serve --record` wrote",
            path.display(),
            dbvitals_probe::plain(&error)
        ))
    };
    let mut file = BufReader::new(File::open(path).map_err(refused)?);
    let mut header = None;
    let mut lines = Vec::new();
    let mut text = Vec::new();
    loop {
        text.clear();
        if file.read_until(b'\n', &mut text).map_err(refused)? == 0 {
            break;
        }
        let whole = text.pop_if(|last| *last == b'\n').is_some();
        if text.is_empty() {
            continue;
        }
        if header.is_none() {
            header = Some(read_header(path, &text)?);
            continue;
        }
        match serde_json::from_slice(&text) {
            Ok(line) => lines.push(line),
            Err(_) if !whole => damage.torn_end = true,
            Err(_) => damage.unreadable += 1,
        }
    }
    let header = header.ok_or_else(|| Misuse(format!("the record {} is empty", path.display())))?;
    Ok((header, lines))
}

fn read_header(path: &Path, text: &[u8]) -> Result<Header, Misuse> {
    let shown = path.display();
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|_| {
        Misuse(format!(
            "{shown} is no record; name a file that `dbvitals serve --record` wrote"
        ))
    })?;
    let schema = value["schema"].as_str().unwrap_or_default();
    if schema != SCHEMA {
        return Err(Misuse(format!(
            "{shown} has the schema {schema:?}, this dbvitals reads {SCHEMA:?}; replay it with the version that wrote it"
        )));
    }
    serde_json::from_value(value)
        .map_err(|error| Misuse(format!("the first line of the record {shown}: {error}")))
}

fn backends(header: &Header, path: &Path) -> Result<Vec<Recorded>, Misuse> {
    let backends = header.backends.iter().map(|backend| {
        let verdict = Verdict::ALL
            .into_iter()
            .find(|verdict| verdict.name() == backend.verdict);
        let (plan, verdict) = backend.plan().zip(verdict).ok_or_else(|| {
            Misuse(format!(
                "the record {} has a plan of {:?} that makes no sense here",
                path.display(),
                backend.name
            ))
        })?;
        Ok(Recorded {
            name: backend.name.clone(),
            plan,
            verdict,
            observations: Vec::new(),
            conclusions: Vec::new(),
            late: Vec::new(),
        })
    });
    backends.collect()
}

/// Puts a line where it belongs.
fn take(backends: &mut [Recorded], shards: usize, line: &Line, damage: &mut Damage) {
    if let Some(lost) = line.lost {
        damage.lost += lost;
        return;
    }
    if let (Some(shard), Some(by)) = (line.n, line.l) {
        let window = (line.at(), line.at() + Duration::from_micros(by));
        let own = backends.iter_mut().skip(shard).step_by(shards);
        own.for_each(|backend| backend.late.push(window));
        return;
    }
    let backend = line.b.and_then(|b| backends.get_mut(b as usize));
    let taken = backend.and_then(|backend| match (&line.v, line.p) {
        (Some((from, to)), _) => {
            let conclusion = Conclusion {
                at: line.at(),
                from: verdict(from)?,
                to: verdict(to)?,
                cause: line.cause()?,
            };
            backend.conclusions.push(conclusion);
            Some(())
        }
        (None, Some(_)) => {
            let depth: Depth = usual_depth(&backend.plan);
            backend.observations.push(line.observation(depth)?);
            Some(())
        }
        (None, None) => None,
    });
    if taken.is_none() {
        damage.unreadable += 1;
    }
}

fn verdict(name: &str) -> Option<Verdict> {
    Verdict::ALL.into_iter().find(|it| it.name() == name)
}
