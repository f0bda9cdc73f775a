//! Writes the record: shards hand over what they see, a thread of its own writes it down.
//!
//! The queue between them is bounded and never waited for: where the thread is behind, lines are
//! lost and counted, not probes delayed. Two generations are kept, `FILE` and `FILE.1`, and together
//! they stay within the bound. A disk that is full is said once; writing goes on when it can.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_verdict::{Change, Course, Depth, Moment, Observation, Plan, Transition, Verdict};

use super::chapter::Chapter;
use super::line::{BackendHeader, Header, Line};
use crate::duration::rfc3339;

/// What may wait to be written.
const QUEUE: usize = 16_384;
/// How long what was seen may wait for more to be written with it.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// How much is written at once.
const BATCH_BYTES: usize = 64 * 1024;
/// How long the last lines may take to be written.
const FINISH_WITHIN: Duration = Duration::from_secs(2);
/// Lateness of a shard that may have cost it an answer.
const LATE_MIN: Duration = Duration::from_millis(10);

/// What a shard hands over.
#[derive(Debug)]
enum Entry {
    Observation(Arc<Chapter>, Observation),
    Transition(Arc<Chapter>, Transition),
    Late {
        shard: usize,
        due: Moment,
        by: Duration,
    },
}

/// A record being written.
#[derive(Debug)]
pub(crate) struct Recorder {
    sender: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
    /// The next chapter's number.
    numbers: Arc<AtomicU32>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

/// A shard's way to the record.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    sender: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
    numbers: Arc<AtomicU32>,
    shard: usize,
}

impl Recorder {
    /// Begins a record at a path; what is there becomes the older generation.
    ///
    /// # Errors
    ///
    /// Where the file cannot be made, or somebody else writes it.
    pub(crate) fn start(
        path: &Path,
        bytes_max: u64,
        agent: &str,
        shards: usize,
        clock: Clock,
    ) -> io::Result<Self> {
        let at = rfc3339(clock.wall(Moment::ORIGIN));
        let header = Header::new(at, agent.to_owned(), shards);
        keep_older(path)?;
        let file = create(path)?;
        let (sender, entries) = mpsc::sync_channel(QUEUE);
        let (ending, ended) = mpsc::channel();
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer::new(path, file, bytes_max / 2, header, &lost);
        writer.write();
        thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || {
                writer.run(&entries);
                // The file first, with its lock.
                drop(writer);
                drop(ending);
            })?;
        Ok(Self {
            sender,
            lost,
            numbers: Arc::default(),
            ended,
        })
    }

    /// A shard's way to the record.
    pub(crate) fn feed(&self, shard: usize) -> Feed {
        Feed {
            sender: self.sender.clone(),
            lost: Arc::clone(&self.lost),
            numbers: Arc::clone(&self.numbers),
            shard,
        }
    }

    /// Waits for the last lines. To be called after all feeds are gone, which is what ends the
    /// thread.
    pub(crate) fn finish(self) {
        drop(self.sender);
        let _ = self.ended.recv_timeout(FINISH_WITHIN);
    }
}

impl Feed {
    /// A backend of the shard's, from this moment on; where only its plan is another, `before` is
    /// who it was.
    pub(crate) fn chapter(
        &self,
        name: &Arc<str>,
        plan: &Arc<Plan>,
        (since, verdict): (Moment, Verdict),
        before: Option<&Chapter>,
    ) -> Arc<Chapter> {
        Arc::new(Chapter {
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            shard: self.shard,
            name: Arc::clone(name),
            plan: Arc::clone(plan),
            since,
            verdict,
            follows: before.map(|before| before.number),
        })
    }

    /// Keeps an observation.
    pub(crate) fn observe(&self, chapter: &Arc<Chapter>, observation: &Observation) {
        let chapter = Arc::clone(chapter);
        self.send(Entry::Observation(chapter, observation.clone()));
    }

    /// Keeps a transition.
    pub(crate) fn announce(&self, chapter: &Arc<Chapter>, transition: &Transition) {
        let chapter = Arc::clone(chapter);
        self.send(Entry::Transition(chapter, transition.clone()));
    }

    /// Keeps that the shard was late, where that may have cost an answer.
    pub(crate) fn note_lag(&self, now: Moment, by: Duration) {
        if by >= LATE_MIN {
            let (shard, due) = (self.shard, now - by);
            self.send(Entry::Late { shard, due, by });
        }
    }

    fn send(&self, entry: Entry) {
        match self.sender.try_send(entry) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The depth that a pass reaches unless said.
pub(super) fn usual_depth(plan: &Plan) -> Depth {
    match plan.course {
        Course::Session { depth } | Course::Sessionless { depth, .. } => depth,
    }
}

/// The name of the older generation.
pub(super) fn older(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".1");
    name.into()
}

/// Makes a file that is there the older generation, unless somebody writes it.
fn keep_older(path: &Path) -> io::Result<()> {
    // What is no file, as /dev/stdout, has no generations.
    if !fs::metadata(path).is_ok_and(|there| there.is_file()) {
        return Ok(());
    }
    match File::open(path)?.try_lock() {
        Ok(()) => fs::rename(path, older(path)),
        Err(_) => Err(io::Error::other("somebody else is recording into it")),
    }
}

/// Makes the file of a generation, and marks it as being written.
fn create(path: &Path) -> io::Result<File> {
    let file = File::options().append(true).create(true).open(path)?;
    // Whoever cannot lock a file of its own has no locks to respect either.
    let _ = file.try_lock();
    Ok(file)
}

/// A chapter that this generation knows.
struct Known {
    chapter: Arc<Chapter>,
    /// As the last line about it has it.
    verdict: Verdict,
    /// Its plan is written; `false` where that failed.
    is_told: bool,
}

/// The thread's state.
struct Writer {
    path: PathBuf,
    file: File,
    generation_bytes_max: u64,
    /// Written into this generation.
    bytes: u64,
    /// As a generation begins, without backends.
    header: Header,
    /// Whom the lines may be about, by number.
    known: BTreeMap<u32, Known>,
    batch: Vec<u8>,
    batch_lines: u64,
    /// The newest time that was written.
    at: u64,
    lost: Arc<AtomicU64>,
    /// Lines lost since writing failed; `None` while all is well.
    trouble: Option<u64>,
}

impl Writer {
    fn new(
        path: &Path,
        file: File,
        generation_bytes_max: u64,
        header: Header,
        lost: &Arc<AtomicU64>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            file,
            generation_bytes_max,
            bytes: 0,
            header,
            known: BTreeMap::new(),
            batch: Vec::new(),
            batch_lines: 0,
            at: 0,
            lost: Arc::clone(lost),
            trouble: None,
        }
    }

    fn run(&mut self, entries: &Receiver<Entry>) {
        loop {
            match entries.recv_timeout(WRITE_EVERY) {
                Ok(entry) => self.take(&entry),
                Err(RecvTimeoutError::Timeout) => self.write(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(entry) = entries.try_recv() {
                self.take(&entry);
                if self.batch.len() >= BATCH_BYTES {
                    self.write();
                }
            }
            // What came together is written together; a lone line waits for the next.
            if self.batch_lines > 1 {
                self.write();
            }
        }
        self.write();
        if let Some(lost) = self.trouble {
            tracing::error!(lost, "the record could not be written to its end");
        }
    }

    fn take(&mut self, entry: &Entry) {
        let line = match entry {
            Entry::Observation(chapter, observation) => {
                self.tell(chapter);
                let depth = usual_depth(chapter.plan());
                Some(Line::of_observation(chapter.number, depth, observation))
            }
            Entry::Transition(chapter, transition) => {
                self.tell(chapter);
                if let Change::Verdict { to, .. } = transition.change
                    && let Some(known) = self.known.get_mut(&chapter.number)
                {
                    known.verdict = to;
                }
                Line::of_transition(chapter.number, transition)
            }
            Entry::Late { shard, due, by } => Some(Line::of_lateness(*shard, *due, *by)),
        };
        if let Some(line) = line {
            self.at = self.at.max(line.t);
            self.push(&line);
        }
    }

    /// Tells who a number stands for, before the first line that bears it.
    fn tell(&mut self, chapter: &Arc<Chapter>) {
        let known = self.known.entry(chapter.number).or_insert_with(|| Known {
            chapter: Arc::clone(chapter),
            verdict: chapter.verdict,
            is_told: false,
        });
        if !std::mem::replace(&mut known.is_told, true) {
            let line = Line::of_chapter(chapter, known.verdict);
            self.append(&line);
        }
    }

    /// The first line of a generation, with all whom its lines may be about.
    fn header(&mut self) -> Vec<u8> {
        let known = self.known.values_mut();
        let backends = known.map(|known| {
            known.is_told = true;
            BackendHeader::new(&known.chapter, known.verdict)
        });
        self.header.backends = backends.collect();
        let mut header = serde_json::to_vec(&self.header).unwrap_or_default();
        header.push(b'\n');
        // Who is not watched any more was in the lines that are written now, if at all.
        self.known
            .retain(|_, known| Arc::strong_count(&known.chapter) > 1);
        header
    }

    fn push(&mut self, line: &Line) {
        self.append(line);
        self.batch_lines += 1;
    }

    fn append(&mut self, line: &Line) {
        // A line of numbers and words cannot fail to be written into memory.
        if serde_json::to_writer(&mut self.batch, line).is_ok() {
            self.batch.push(b'\n');
        }
    }

    /// Writes what has come together.
    fn write(&mut self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            if self.trouble.is_none() {
                tracing::warn!(lost, "the record is behind; observations were not kept");
            }
            self.push_lost(lost);
        }
        if self.batch.is_empty() && self.bytes > 0 {
            return;
        }
        let bytes = self.bytes + self.batch.len() as u64;
        if self.bytes > 0 && bytes > self.generation_bytes_max {
            self.rotate();
        }
        if let Some(lost) = self.trouble.filter(|lost| *lost > 0) {
            self.push_lost(lost);
        }
        if self.bytes == 0 {
            let header = self.header();
            self.batch.splice(0..0, header);
        }
        if self.trouble.is_some() {
            // What was cut off, and could not be taken back, stays a line of its own.
            self.batch.insert(0, b'\n');
        }
        match self.file.write_all(&self.batch) {
            Ok(()) => {
                self.bytes += self.batch.len() as u64;
                if let Some(lost) = self.trouble.take() {
                    tracing::info!(lost, "the record is written again");
                }
            }
            Err(error) => {
                // What was cut off goes, where it can: the rest of the record is to be read.
                let _ = self.file.set_len(self.bytes);
                self.fail(&error);
            }
        }
        self.batch.clear();
        self.batch_lines = 0;
    }

    fn push_lost(&mut self, lost: u64) {
        self.push(&Line::of_loss(self.at, lost));
    }

    fn fail(&mut self, error: &io::Error) {
        if self.trouble.is_none() {
            tracing::error!(
                path = %self.path.display(),
                error = %dbvitals_probe::plain(error),
                "the record cannot be written; watching goes on without it"
            );
        }
        *self.trouble.get_or_insert(0) += self.batch_lines;
        for known in self.known.values_mut() {
            known.is_told = false;
        }
    }

    /// Begins the next generation.
    fn rotate(&mut self) {
        let begun = fs::rename(&self.path, older(&self.path)).and_then(|()| create(&self.path));
        match begun {
            Ok(file) => (self.file, self.bytes) = (file, 0),
            Err(error) => self.fail(&error),
        }
    }
}

#[cfg(test)]
mod tests;
