//! The writer in its troubles: what it says, what it tries again, what can be read meanwhile.

use std::env;
use std::io::Write;
use std::sync::{Mutex, mpsc};

use dbvitals_verdict::{Depth, Observation, Outcome, Phases};
use rusqlite::Connection;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::agent::history::feed::{Feed, MinuteUnderWay};
use crate::agent::history::{Reader, TransitionQuestion};

/// A state directory that is removed with this value, and a writer's surroundings.
struct Scene {
    directory: PathBuf,
    kept: Arc<Kept>,
    clock: Clock,
}

impl Scene {
    fn new(name: &str) -> Self {
        let name = format!("dbv-writer-{name}-{}", std::process::id());
        let directory = env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        Self {
            kept: Arc::new(Kept::new(&directory, true)),
            directory,
            clock: Clock::start(),
        }
    }

    fn writer(&self) -> Writer {
        Writer::new(Arc::clone(&self.kept), self.clock)
    }

    /// How many transitions are read.
    fn read(&self) -> usize {
        let all = TransitionQuestion {
            of: None,
            since_ms: 0,
            until_ms: i64::MAX,
            max: 10,
            evidence: false,
        };
        let reader = Reader::open(Arc::clone(&self.kept), self.clock).unwrap();
        reader.transitions(&all).unwrap().lines.len()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What is logged while a test runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn of(run: impl FnOnce()) -> String {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, run);
        let bytes = log.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn transition(at_ms: i64) -> TransitionRow {
    TransitionRow {
        at_ms,
        backend: "a".into(),
        line: "{\"to\":\"down\"}".to_owned(),
        evidence: "{}".to_owned(),
    }
}

#[test]
fn what_shards_had_to_drop_is_told() {
    let scene = Scene::new("behind");
    // Room for one minute of one backend.
    let (minutes, minutes_heard) = mpsc::sync_channel(1);
    let (transitions, told) = mpsc::sync_channel(1);
    let feed = Feed {
        kept: Arc::clone(&scene.kept),
        clock: scene.clock,
        minutes,
        transitions,
    };
    for _ in 0..4 {
        let mut under_way = MinuteUnderWay::default();
        let name = "a".into();
        let now = scene.clock.now();
        let seen = Observation {
            path: dbvitals_verdict::Path::Held,
            probe: Some(Default::default()),
            started: now,
            ended: now,
            depth: Some(Depth::Ping),
            outcome: Outcome::Pass,
            phases: Phases::default(),
            session: true,
            server: None,
            detail: None,
        };
        feed.note(&mut under_way, &name, &seen);
        feed.hand_over(&mut under_way, &name);
    }
    drop(feed);
    let log = Log::of(|| scene.writer().run(&minutes_heard, &told));
    assert_eq!(log.matches("the history is behind").count(), 1, "{log}");
    assert!(log.contains("lost=3"), "{log}");
    assert_eq!((scene.kept.written(), scene.kept.dropped()), (1, 3));
}

#[test]
fn being_behind_is_told_once_a_minute_and_with_nothing_that_a_trouble_explains() {
    let scene = Scene::new("told");
    let mut writer = scene.writer();
    writer.write();
    let log = Log::of(|| {
        for _ in 0..3 {
            scene.kept.count_dropped(5);
            writer.complain();
            writer.write();
        }
    });
    assert_eq!(log.matches("the history is behind").count(), 1, "{log}");
    writer.complained = None;
    let log = Log::of(|| writer.complain());
    assert!(log.contains("lost=10"), "{log}");
    writer.complained = None;
    let log = Log::of(|| {
        writer.fail(&Trouble::Disk("full".to_owned()), scene.clock.now());
        writer.drop_own(7);
        scene.kept.count_dropped(1);
        writer.complain();
        writer.be_well(None);
        writer.complain();
    });
    assert!(!log.contains("behind"), "{log}");
    assert!(log.contains("written again lost=8"), "{log}");
}

#[test]
fn where_nothing_can_be_written_from_the_start_the_history_is_read_and_not_checked_again() {
    let scene = Scene::new("begin");
    let mut before = scene.writer();
    before.waiting.push_back(transition(1_767_323_045_678));
    before.write();
    drop(before);
    let holder = Connection::open(&scene.kept.path).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    scene.kept.is_open.store(false, Ordering::Relaxed);
    let mut writer = scene.writer();
    let log = Log::of(|| {
        writer.write();
        writer.write();
    });
    assert_eq!(log.matches("cannot be written").count(), 1, "{log}");
    assert!(scene.kept.is_open());
    assert_eq!(scene.read(), 1);
    // What was opened and checked stays open, so it is tried again each second.
    assert!(writer.store.is_some() && writer.reopening.is_none());
    holder.execute_batch("ROLLBACK").unwrap();
    let log = Log::of(|| writer.write());
    assert!(log.contains("the history is written again"), "{log}");
}

#[test]
fn a_file_that_cannot_be_opened_is_tried_ever_more_seldom() {
    let scene = Scene::new("reopening");
    fs::create_dir(&scene.kept.path).unwrap();
    let mut writer = scene.writer();
    let mut pauses = Vec::new();
    let log = Log::of(|| {
        for _ in 0..8 {
            writer.write_now(scene.clock.now());
            pauses.push(writer.reopening.unwrap().pause.as_secs());
        }
        // It is not time yet.
        writer.write();
    });
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(writer.reopening.unwrap().pause, REOPENED_WITHIN);
    assert_eq!(log.matches("cannot be").count(), 1, "{log}");
    assert!(!scene.kept.is_open());
    fs::remove_dir(&scene.kept.path).unwrap();
    writer.write_now(scene.clock.now());
    assert!(scene.kept.is_open() && writer.reopening.is_none());
}
