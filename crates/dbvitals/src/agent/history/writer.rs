//! The thread that writes the history: once a second what has come, once a minute what goes.
//!
//! Whatever befalls the file is told once and survived. A broken one is set aside, the newest such
//! one is kept, and a new one begun; where the disk does not take anything, transitions wait for it,
//! up to a bound, and digests are dropped.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_verdict::Moment;
use serde::Serialize;

use super::Kept;
use super::feed::{Minute, unix_ms};
use super::store::{
    DigestRow, Store, TransitionRow, Trouble, index_of, is_whole_without_log, log_of,
};
use crate::agent::seen::Seen;
use crate::agent::transition_line::TransitionLine;
use crate::agent::transitions::Told;
use crate::report::remedy;

/// How long what was seen waits for more to be written with it.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// How often what is too old is removed.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// How long a file that cannot be opened is left alone at the most. It is a second at first, and twice
/// as long each time, for all of the file may be read before it is known.
const REOPENED_WITHIN: Duration = Duration::from_secs(60);
/// How often it is told that shards have to drop something, while they do.
const COMPLAINED_EVERY: Duration = Duration::from_secs(60);
/// Transitions that wait for a disk.
const WAITING_MAX: usize = 1000;
/// Minutes that are written at once.
const MINUTES_AT_ONCE: usize = 16_384;
/// How long a text of evidence may be, in bytes.
const EVIDENCE_MAX: usize = 16 * 1024;

/// The thread's state.
#[derive(Debug)]
pub(super) struct Writer {
    kept: Arc<Kept>,
    clock: Clock,
    store: Option<Store>,
    /// Transitions on their way.
    waiting: VecDeque<TransitionRow>,
    minutes: Vec<Minute>,
    /// Since when writing fails, and what was dropped by then; `None` while all is well.
    trouble: Option<u64>,
    /// What was dropped, as far as it was told or is the writer's own doing; the rest is the feeds'.
    dropped: u64,
    complained: Option<Moment>,
    tidied: Option<Moment>,
    reopening: Option<Reopening>,
}

/// When a file that cannot be opened is tried again.
#[derive(Debug, Clone, Copy)]
struct Reopening {
    at: Moment,
    pause: Duration,
}

/// What a transition rests on, as it is kept.
#[derive(Debug, Serialize)]
struct EvidenceEntry {
    held: Option<Seen>,
    fresh: Option<Seen>,
    queue: Option<Seen>,
    remedy: Option<String>,
}

impl Writer {
    pub(super) fn new(kept: Arc<Kept>, clock: Clock) -> Self {
        Self {
            kept,
            clock,
            store: None,
            waiting: VecDeque::new(),
            minutes: Vec::new(),
            trouble: None,
            dropped: 0,
            complained: None,
            tidied: None,
            reopening: None,
        }
    }

    /// Writes until all feeds are gone.
    pub(super) fn run(mut self, minutes: &Receiver<Minute>, told: &Receiver<Arc<Told>>) {
        let mut goes_on = true;
        // What there is can be read before anything new is written.
        self.write();
        while goes_on {
            goes_on = self.gather(minutes);
            while let Ok(told) = told.try_recv() {
                self.take(&told);
            }
            self.complain();
            self.write();
        }
        if let Some(before) = self.trouble {
            let lost = self.kept.dropped() - before + self.waiting.len() as u64;
            tracing::error!(lost, "the history could not be written to its end");
        }
    }

    /// Takes minutes until it is time to write; `false` once there are no more to come.
    fn gather(&mut self, minutes: &Receiver<Minute>) -> bool {
        let until = self.clock.now() + WRITE_EVERY;
        loop {
            let left = until.since(self.clock.now());
            if left.is_zero() || self.minutes.len() >= MINUTES_AT_ONCE {
                return true;
            }
            match minutes.recv_timeout(left) {
                Ok(minute) => self.minutes.push(minute),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, told: &Told) {
        if self.waiting.len() >= WAITING_MAX && self.trouble.is_some() {
            self.waiting.pop_front();
            self.drop_own(1);
        }
        self.waiting.push_back(row(told, self.clock));
    }

    /// Counts what the writer itself drops; a trouble that was told is the reason.
    fn drop_own(&mut self, count: usize) {
        self.kept.count_dropped(count);
        self.dropped += u64::try_from(count).unwrap_or(u64::MAX);
    }

    /// Says now and then that shards had to drop something.
    fn complain(&mut self) {
        let lost = self.kept.dropped() - self.dropped;
        let now = self.clock.now();
        let is_due = |at| now.since(at) >= COMPLAINED_EVERY;
        // What is lost in a trouble is told at its end.
        if lost == 0 || self.trouble.is_some() || !self.complained.is_none_or(is_due) {
            return;
        }
        tracing::warn!(
            lost,
            "the history is behind; what came meanwhile is not kept"
        );
        self.complained = Some(now);
        self.dropped += lost;
    }

    /// Writes what has come, if a history is kept.
    fn write(&mut self) {
        if !self.kept.is_on() {
            self.store = None;
            self.kept.is_open.store(false, Ordering::Relaxed);
            self.waiting.clear();
            self.minutes.clear();
            self.trouble = None;
            self.reopening = None;
            return;
        }
        let now = self.clock.now();
        if self.reopening.is_none_or(|reopening| reopening.at <= now) {
            self.write_now(now);
        }
        self.drop_minutes();
    }

    fn write_now(&mut self, now: Moment) {
        let tidies = self.tidied.is_none_or(|at| now.since(at) >= TIDY_EVERY);
        match self.try_write(tidies) {
            Ok(()) => self.be_well(tidies.then_some(now)),
            Err(trouble @ Trouble::Disk(_)) => self.fail(&trouble, now),
            Err(Trouble::Broken(why)) => {
                self.begin_anew(&why);
                match self.try_write(true) {
                    Ok(()) => self.be_well(Some(now)),
                    Err(trouble) => self.fail(&trouble, now),
                }
            }
        }
    }

    fn try_write(&mut self, tidies: bool) -> Result<(), Trouble> {
        let now_ms = unix_ms(self.clock.wall(self.clock.now()));
        let suspect = self.kept.is_suspect.swap(false, Ordering::Relaxed);
        if suspect {
            // What was read once is not read again by the same connection.
            self.store = None;
        }
        let mut gone = false;
        self.store = self.store.take().filter(|store| {
            gone = !store.is_in_place();
            !gone
        });
        if gone {
            tracing::warn!(
                path = %self.kept.path.display(),
                "the file of the history was taken away; another one is begun"
            );
        }
        let store = match &mut self.store {
            Some(store) => store,
            none => none.insert(open(&self.kept)?),
        };
        if tidies {
            store.prune(now_ms)?;
            store.note_run(now_ms)?;
        }
        let digests: Vec<_> = self.minutes.iter().flat_map(rows).collect();
        let transitions = self.waiting.make_contiguous();
        if !digests.is_empty() || !transitions.is_empty() {
            store.write(transitions, &digests, now_ms)?;
            let written = digests.len() + transitions.len();
            let written = u64::try_from(written).unwrap_or(u64::MAX);
            self.kept.written.fetch_add(written, Ordering::Relaxed);
        }
        self.kept.bytes.store(store.bytes(), Ordering::Relaxed);
        Ok(())
    }

    fn be_well(&mut self, tidied: Option<Moment>) {
        self.minutes.clear();
        self.waiting.clear();
        self.tidied = tidied.or(self.tidied);
        self.kept.is_open.store(true, Ordering::Relaxed);
        self.reopening = None;
        if let Some(before) = self.trouble.take() {
            let dropped = self.kept.dropped();
            self.dropped = dropped;
            tracing::info!(lost = dropped - before, "the history is written again");
        }
    }

    fn fail(&mut self, trouble: &Trouble, now: Moment) {
        // Room may be all that is missing.
        self.tidied = None;
        self.store = self.store.take().filter(|store| !store.is_readonly());
        self.reopening = self.store.is_none().then(|| {
            let before = self.reopening.map(|it| it.pause * 2);
            let pause = before.map_or(WRITE_EVERY, |pause| pause.min(REOPENED_WITHIN));
            Reopening {
                at: now + pause,
                pause,
            }
        });
        if self.trouble.is_none() {
            tracing::error!(
                path = %self.kept.path.display(),
                error = %trouble,
                "the history cannot be written; watching goes on without it"
            );
            self.trouble = Some(self.kept.dropped());
        }
    }

    /// What was not written has to make room for what comes.
    fn drop_minutes(&mut self) {
        let dropped = self.minutes.drain(..).map(|it| it.digests.len()).sum();
        self.drop_own(dropped);
    }

    /// Sets the file aside, so that a new one can be begun.
    fn begin_anew(&mut self, why: &str) {
        self.store = None;
        self.kept.is_open.store(false, Ordering::Relaxed);
        let path = &self.kept.path;
        let now = self.clock.wall(self.clock.now());
        let aside = path.with_extension(format!("broken-{}", unix_ms(now) / 1000));
        let moved = match set_aside(path, &aside) {
            Ok(()) => format!(
                "it is set aside as {}, and a new one begun",
                aside.display()
            ),
            // It was told, and is tried again.
            Err(_) if self.trouble.is_some() => return,
            Err(error) => format!("it stays: {}", dbvitals_probe::plain(&error)),
        };
        tracing::error!(
            path = %path.display(),
            error = why,
            "the history cannot be read; {moved}"
        );
    }
}

/// Opens the file. What it has can be read from then on, whether or not anything can be written; and
/// where it cannot even be opened to write, but to read.
fn open(kept: &Kept) -> Result<Store, Trouble> {
    let opened = Store::open(&kept.path);
    let (is_open, is_still) = match &opened {
        Ok(store) => (store.is_made(), false),
        Err(Trouble::Disk(_)) => {
            let is_whole = is_whole_without_log(&kept.path);
            (is_whole, is_whole)
        }
        Err(Trouble::Broken(_)) => (false, false),
    };
    kept.is_still.store(is_still, Ordering::Relaxed);
    kept.is_open.store(is_open, Ordering::Relaxed);
    opened
}

/// Moves a file that is no history out of the way, with its log; what was set aside before goes.
fn set_aside(path: &Path, aside: &Path) -> io::Result<()> {
    for old in set_aside_before(path)? {
        // It may be a directory of somebody's.
        let _ = fs::remove_file(old);
    }
    fs::rename(path, aside)?;
    let _ = fs::rename(log_of(path), log_of(aside));
    let _ = fs::remove_file(index_of(path));
    Ok(())
}

fn set_aside_before(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(directory), Some(stem)) = (path.parent(), path.file_stem()) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{}.broken-", stem.to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn rows(minute: &Minute) -> impl Iterator<Item = DigestRow<'_>> {
    minute.digests.iter().map(|(series, digest)| DigestRow {
        backend: &minute.backend,
        minute: minute.minute,
        series,
        digest,
    })
}

/// A transition in words, with what it rests on.
fn row(told: &Told, clock: Clock) -> TransitionRow {
    let backend = &told.backend;
    let evidence = &told.transition.evidence;
    let plan = backend.plan();
    let seen = |observation| Seen::new(observation, &plan.classes, clock);
    let shown = evidence.cause.zip(evidence.decisive());
    let target = backend.target();
    let entry = EvidenceEntry {
        held: evidence.held.as_ref().map(seen),
        fresh: evidence.fresh.as_ref().map(seen),
        queue: evidence.queue.as_deref().map(seen),
        remedy: shown.map(|(cause, observation)| remedy(cause, &*target, observation)),
    };
    // Nothing that is told has a map with keys other than strings.
    let mut evidence = serde_json::to_string(&entry).unwrap_or_default();
    if evidence.len() > EVIDENCE_MAX {
        evidence = "{}".to_owned();
    }
    TransitionRow {
        at_ms: unix_ms(clock.wall(told.transition.at)),
        backend: Arc::clone(&backend.name),
        line: serde_json::to_string(&TransitionLine::of(told, clock)).unwrap_or_default(),
        evidence,
    }
}

#[cfg(test)]
mod tests;
