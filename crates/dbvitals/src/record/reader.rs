//! Reads a record back: both generations where they are of one run, whatever can be read of them.
//!
//! What cannot be read is counted and said, not refused: a record is most wanted after a crash.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use dbvitals_verdict::{Cause, Change, Depth, Moment, Observation, Transition, Verdict};

use super::line::{BackendHeader, Header, Line};
use super::writer::{older, usual_depth};
use super::{Plans, SCHEMA};
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

/// What was recorded of one backend, from the moment it was first watched to the moment it was not
/// watched any more, or had another target.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) plans: Plans,
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

impl Conclusion {
    /// What a transition concluded, if it is one of the verdict.
    pub(crate) fn of(transition: &Transition) -> Option<Self> {
        match transition.change {
            Change::Verdict { from, to } => Some(Self {
                at: transition.at,
                from,
                to,
                cause: transition.evidence.cause,
            }),
            Change::Role { .. } | Change::Admin { .. } => None,
        }
    }
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
        let mut cast = Cast::default();
        let before = older(path);
        if before.exists() {
            match read_lines(&before, &mut damage) {
                Ok((other, lines)) if (&other.at, &other.agent) == (&header.at, &header.agent) => {
                    cast.read(&other, &lines, &before, &mut damage)?;
                }
                Ok(_) => notices.push(format!(
                    "{} is of an earlier run; replay it by itself",
                    before.display()
                )),
                Err(why) => notices.push(format!("left out: {why}")),
            }
        }
        cast.read(&header, &lines, path, &mut damage)?;
        let backends = cast.finish();
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

/// Whom the lines are about.
#[derive(Debug, Default)]
struct Cast {
    backends: Vec<Recorded>,
    /// By the number in the lines.
    parts: BTreeMap<u32, Part>,
    /// When shards were late. It may be told before the first line about a backend of theirs.
    late: BTreeMap<usize, Vec<(Moment, Moment)>>,
}

/// What a number stands for.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// The backend's place.
    place: usize,
    shard: usize,
}

impl Cast {
    /// Takes in one generation.
    fn read(
        &mut self,
        header: &Header,
        lines: &[Line],
        path: &Path,
        damage: &mut Damage,
    ) -> Result<(), Misuse> {
        for (place, backend) in (0..).zip(&header.backends) {
            let number = backend.b.unwrap_or(place);
            let shard = backend.n.unwrap_or(number as usize % header.shards.max(1));
            self.introduce((number, shard), backend, path)?;
        }
        for line in lines {
            match &line.plan {
                Some(backend) => {
                    let numbers = backend.b.zip(backend.n);
                    match numbers {
                        Some(numbers) => self.introduce(numbers, backend, path)?,
                        None => damage.unreadable += 1,
                    }
                }
                None => self.take(line, damage),
            }
        }
        Ok(())
    }

    /// All that was seen of each, in order.
    fn finish(mut self) -> Vec<Recorded> {
        // The parts of a backend are of one shard: a reload leaves it where it is.
        let shards: BTreeMap<_, _> = self.parts.values().map(|it| (it.place, it.shard)).collect();
        for (place, backend) in self.backends.iter_mut().enumerate() {
            backend.observations.sort_by_key(|seen| seen.ended);
            let late = shards.get(&place).and_then(|shard| self.late.get(shard));
            backend.late = late.cloned().unwrap_or_default();
        }
        self.backends
    }

    /// Learns who a number stands for; what is known already is told again where a file begins.
    fn introduce(
        &mut self,
        (number, shard): (u32, usize),
        backend: &BackendHeader,
        path: &Path,
    ) -> Result<(), Misuse> {
        if self.parts.contains_key(&number) {
            return Ok(());
        }
        let known = backend.plan().zip(verdict(&backend.verdict));
        let (plan, verdict) = known.ok_or_else(|| {
            Misuse(format!(
                "the record {} has a plan of {:?} that makes no sense here",
                path.display(),
                backend.name
            ))
        })?;
        let before = backend.follows.and_then(|before| self.parts.get(&before));
        let place = match before {
            Some(before) => {
                let place = before.place;
                let plans = &mut self.backends[place].plans;
                plans.later.push((backend.since(), plan));
                place
            }
            None => {
                self.backends.push(Recorded {
                    name: backend.name.clone(),
                    plans: plan.into(),
                    verdict,
                    observations: Vec::new(),
                    conclusions: Vec::new(),
                    late: Vec::new(),
                });
                self.backends.len() - 1
            }
        };
        self.parts.insert(number, Part { place, shard });
        Ok(())
    }

    /// Puts a line where it belongs.
    fn take(&mut self, line: &Line, damage: &mut Damage) {
        if let Some(lost) = line.lost {
            damage.lost += lost;
            return;
        }
        if let (Some(shard), Some(by)) = (line.n, line.l) {
            let window = (line.at(), line.at() + Duration::from_micros(by));
            self.late.entry(shard).or_default().push(window);
            return;
        }
        let part = line.b.and_then(|b| self.parts.get(&b));
        let backend = part.map(|part| &mut self.backends[part.place]);
        if backend.and_then(|backend| take(backend, line)).is_none() {
            damage.unreadable += 1;
        }
    }
}

/// Adds a line to what is known of its backend; `None` where it cannot be read.
fn take(backend: &mut Recorded, line: &Line) -> Option<()> {
    match (&line.v, line.p) {
        (Some((from, to)), _) => backend.conclusions.push(Conclusion {
            at: line.at(),
            from: verdict(from)?,
            to: verdict(to)?,
            cause: line.cause()?,
        }),
        (None, Some(_)) => {
            // Plans that follow each other ask to the same depth.
            let depth: Depth = usual_depth(&backend.plans.first);
            backend.observations.push(line.observation(depth)?);
        }
        (None, None) => return None,
    }
    Some(())
}

fn verdict(name: &str) -> Option<Verdict> {
    Verdict::ALL.into_iter().find(|it| it.name() == name)
}
