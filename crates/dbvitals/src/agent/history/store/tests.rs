//! The file of the history: what is written can be read by others, what is old goes, what is none
//! of ours is told.

use std::env;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use dbvitals_probe::Clock;
use dbvitals_verdict::{Depth, Moment, Observation, Outcome, Path as ProbePath, Phases};

use super::*;
use crate::agent::history::digest::Digests;
use crate::agent::history::{ANSWER_BYTES_MAX, Kept, LatencyQuestion, Reader, TransitionQuestion};

/// 2026-01-02T03:04:05.678Z
const NOW: i64 = 1_767_323_045_678;
const HOUR: i64 = 3_600_000;

/// A directory that is removed with this value.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("dbv-store-{name}-{}", std::process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("history.db")
    }

    fn store(&self) -> Store {
        Store::open(&self.file()).unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::open(Arc::new(Kept::new(&self.0, true)), Clock::start()).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn transition(backend: &str, at_ms: i64) -> TransitionRow {
    TransitionRow {
        at_ms,
        backend: backend.into(),
        line: format!(
            "{{\"backend\":\"{backend}\",\"from\":\"up\",\"to\":\"down\",\"n\":{at_ms}}}"
        ),
        evidence: "{\"remedy\":\"look\"}".to_owned(),
    }
}

fn digests(times: u32, micros: u64) -> Digests {
    let mut digests = Digests::default();
    for _ in 0..times {
        digests.note(&Observation {
            path: ProbePath::Held,
            probe: Some(Default::default()),
            started: Moment::ORIGIN,
            ended: Moment::ORIGIN + Duration::from_micros(micros),
            depth: Some(Depth::Ping),
            outcome: Outcome::Pass,
            phases: Phases::default(),
            session: true,
            server: None,
            detail: None,
        });
    }
    digests
}

fn write_minute(store: &mut Store, backend: &str, minute: i64, digests: &Digests) {
    let rows: Vec<_> = digests
        .iter()
        .map(|(series, digest)| DigestRow {
            backend,
            minute,
            series,
            digest,
        })
        .collect();
    store.write(&[], &rows, NOW).unwrap();
}

fn all() -> TransitionQuestion {
    TransitionQuestion {
        of: None,
        since_ms: 0,
        until_ms: i64::MAX,
        max: 1000,
        evidence: false,
    }
}

fn day_of(name: &str, step_minutes: i64) -> LatencyQuestion {
    LatencyQuestion {
        of: name.to_owned(),
        path: None,
        since_ms: NOW - 25 * HOUR,
        until_ms: NOW,
        step_minutes,
    }
}

#[test]
fn what_is_written_is_there_in_the_views_and_for_readers() {
    let directory = Directory::new("views");
    let mut store = directory.store();
    store
        .write(&[transition("a", NOW), transition("b", NOW + 1)], &[], NOW)
        .unwrap();
    let minute = NOW / 60_000;
    write_minute(&mut store, "a", minute, &digests(10, 50));
    let outside = Connection::open(directory.file()).unwrap();
    let text = |sql: &str| -> String { outside.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(
        text(
            "SELECT at||' '||backend||' '||was||' '||became||' '||remedy FROM transitions LIMIT 1"
        ),
        "2026-01-02T03:04:05.678Z a up down look"
    );
    assert_eq!(
        text(
            "SELECT at||' '||backend||' '||path||' '||depth||' '||phase||' '||count||' '||max_ms
             FROM latency"
        ),
        "2026-01-02T03:04:00Z a held ping total 10 0.05"
    );
    assert_eq!(text("SELECT seen FROM runs"), "2026-01-02T03:04:05.678Z");

    let told = directory.reader().transitions(&all()).unwrap();
    let lines: Vec<_> = told
        .lines
        .iter()
        .map(|line| line.get().to_owned())
        .collect();
    assert_eq!(
        lines,
        [transition("a", NOW).line, transition("b", NOW + 1).line]
    );
    let of_b = TransitionQuestion {
        of: Some("b".to_owned()),
        evidence: true,
        ..all()
    };
    let told = directory.reader().transitions(&of_b).unwrap();
    assert!(
        told.lines[0]
            .get()
            .ends_with(",\"evidence\":{\"remedy\":\"look\"}}")
    );
    assert_eq!(told.lines.len(), 1);
    let of_nobody = TransitionQuestion {
        of: Some("nobody".to_owned()),
        ..all()
    };
    assert!(
        directory
            .reader()
            .transitions(&of_nobody)
            .unwrap()
            .lines
            .is_empty()
    );
}

#[test]
fn the_newest_are_told_where_there_are_more_than_wanted() {
    let directory = Directory::new("newest");
    let mut store = directory.store();
    let rows: Vec<_> = (0..10).map(|it| transition("a", NOW + it)).collect();
    store.write(&rows, &[], NOW).unwrap();
    let question = |since_ms, max| TransitionQuestion {
        since_ms,
        max,
        ..all()
    };
    let told = directory.reader().transitions(&question(NOW, 3)).unwrap();
    assert_eq!((told.lines.len(), told.is_complete), (3, false));
    assert!(told.lines[2].get().contains(&(NOW + 9).to_string()));
    let told = directory
        .reader()
        .transitions(&question(NOW + 8, 3))
        .unwrap();
    assert_eq!((told.lines.len(), told.is_complete), (2, true));
    // Before the file was begun there may have been more.
    let told = directory
        .reader()
        .transitions(&question(NOW - 1, 1000))
        .unwrap();
    assert_eq!((told.lines.len(), told.is_complete), (10, false));
}

#[test]
fn minutes_are_put_together_over_restarts_and_into_steps() {
    let directory = Directory::new("steps");
    let minute = NOW / 60_000;
    let mut store = directory.store();
    write_minute(&mut store, "a", minute, &digests(10, 50));
    drop(store);
    let mut store = directory.store();
    write_minute(&mut store, "a", minute, &digests(30, 500));
    write_minute(&mut store, "a", minute - 1, &digests(2, 50));
    write_minute(&mut store, "b", minute, &digests(7, 50));
    let told = directory.reader().latencies(&day_of("a", 1)).unwrap();
    let counts: Vec<_> = told.points.iter().map(|point| point.count).collect();
    assert_eq!(counts, [2, 40]);
    let [p50, _, _, max] = told.points[1].micros;
    assert!(p50.abs_diff(500) <= 500 / 16 && max == 500, "{told:?}");
    let told = directory.reader().latencies(&day_of("a", 60)).unwrap();
    assert_eq!(told.points.len(), 1);
    assert_eq!(told.points[0].count, 42);
    assert_eq!(told.points[0].at_ms % HOUR, 0);
    assert!(directory.reader().knows("b").unwrap());
    assert!(!directory.reader().knows("c").unwrap());
}

#[test]
fn what_is_too_old_goes_and_what_is_not_stays() {
    let directory = Directory::new("old");
    let mut store = directory.store();
    let month = 30 * 24 * HOUR;
    let rows = [NOW - month - 1, NOW - month + 1, NOW].map(|at| transition("a", at));
    store.write(&rows, &[], NOW).unwrap();
    for age in [26, 23, 0] {
        let minute = (NOW - age * HOUR) / 60_000;
        write_minute(&mut store, "a", minute, &digests(1, 50));
    }
    store.prune(NOW).unwrap();
    assert_eq!(
        directory.reader().transitions(&all()).unwrap().lines.len(),
        2
    );
    let told = directory.reader().latencies(&day_of("a", 1)).unwrap();
    assert_eq!(told.points.len(), 2);
    // A clock that went a year ahead takes everything along, and nothing breaks.
    store.prune(NOW + 12 * month).unwrap();
    assert!(
        directory
            .reader()
            .transitions(&all())
            .unwrap()
            .lines
            .is_empty()
    );
    assert!(!directory.reader().knows("a").unwrap());
    store.write(&[transition("a", NOW)], &[], NOW).unwrap();
    assert_eq!(
        directory.reader().transitions(&all()).unwrap().lines.len(),
        1
    );
}

#[test]
fn where_there_is_no_room_the_oldest_digests_go_first_then_transitions() {
    let directory = Directory::new("room");
    let mut store = directory.store();
    let rows: Vec<_> = (0..3000).map(|it| transition("a", NOW + it)).collect();
    store.write(&rows, &[], NOW).unwrap();
    let minute = NOW / 60_000;
    let some = digests(3, 50);
    for age in (0..20).map(|it| it * SLOT_MINUTES) {
        for number in 0..200 {
            let name = format!("backend-{number}");
            let rows = some.iter().map(|(series, digest)| DigestRow {
                backend: &name,
                minute: minute - age,
                series,
                digest,
            });
            store.write(&[], &rows.collect::<Vec<_>>(), NOW).unwrap();
        }
    }
    let used = |store: &Store| -> i64 {
        let number = |name: &str| {
            let value = store
                .connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            value.unwrap()
        };
        (number("page_count") - number("freelist_count")) * number("page_size")
    };
    let bytes = u64::try_from(used(&store)).unwrap();
    store.prune_within(NOW, bytes - 1, bytes / 10 * 9).unwrap();
    let told = directory
        .reader()
        .latencies(&day_of("backend-7", 1))
        .unwrap();
    assert!(
        (1..20).contains(&told.points.len()),
        "{}",
        told.points.len()
    );
    assert!(told.since_ms > NOW - 4 * HOUR && !told.is_complete);
    let newest = told.points.last().unwrap().at_ms;
    assert_eq!(newest, minute * 60_000);
    assert_eq!(
        directory.reader().transitions(&all()).unwrap().lines.len(),
        1000
    );
    store.prune_within(NOW, 1, 1).unwrap();
    assert!(
        directory
            .reader()
            .transitions(&all())
            .unwrap()
            .lines
            .is_empty()
    );
    let told = directory
        .reader()
        .latencies(&day_of("backend-7", 1))
        .unwrap();
    assert!(told.points.is_empty());
}

#[test]
fn what_is_no_history_is_told() {
    let check = |name: &str, make: &dyn Fn(&Path), words: &str| {
        let directory = Directory::new(name);
        make(&directory.file());
        match Store::open(&directory.file()) {
            Err(Trouble::Broken(why)) => assert!(why.contains(words), "{name}: {why}"),
            other => panic!("{name}: {other:?}"),
        }
    };
    let random = |path: &Path| {
        let mut random = fastrand::Rng::with_seed(1);
        let bytes: Vec<_> = (0..100_000).map(|_| random.u8(..)).collect();
        fs::write(path, bytes).unwrap();
    };
    check("random", &random, "not a database");
    let foreign = |path: &Path| {
        let other = Connection::open(path).unwrap();
        other.execute_batch("CREATE TABLE mine (x)").unwrap();
    };
    check("foreign", &foreign, "another program");
    let newer = |path: &Path| {
        let mut store = Store::open(path).unwrap();
        store.note_run(NOW).unwrap();
        store
            .connection
            .pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
    };
    check(
        "newer",
        &newer,
        "version 2, and this agent writes version 1",
    );
    let filled = |path: &Path| {
        let mut store = Store::open(path).unwrap();
        let rows: Vec<_> = (0..5000).map(|it| transition("a", NOW + it)).collect();
        store.write(&rows, &[], NOW).unwrap();
    };
    let truncated = |path: &Path| {
        filled(path);
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096)
            .unwrap();
    };
    check("truncated", &truncated, "");
    let scribbled = |path: &Path| {
        filled(path);
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&[0xa5; 9000], 40_960).unwrap();
    };
    check("scribbled", &scribbled, "");
}

#[test]
fn a_file_without_a_byte_is_begun() {
    let directory = Directory::new("empty");
    File::create(directory.file()).unwrap().flush().unwrap();
    let mut store = directory.store();
    store.write(&[transition("a", NOW)], &[], NOW).unwrap();
    assert!(store.is_in_place());
    fs::remove_file(directory.file()).unwrap();
    assert!(!store.is_in_place());
}

#[test]
fn a_run_whose_clock_was_ahead_leaves_no_time_to_come_as_what_is_kept() {
    let directory = Directory::new("ahead");
    let year = 365 * 24 * HOUR;
    let mut wrong = directory.store();
    wrong
        .write(&[transition("a", NOW + year)], &[], NOW + year)
        .unwrap();
    write_minute(&mut wrong, "a", (NOW + year) / 60_000, &digests(1, 50));
    wrong.prune(NOW + year).unwrap();
    drop(wrong);
    let mut store = directory.store();
    store.prune(NOW).unwrap();
    store.write(&[transition("a", NOW)], &[], NOW).unwrap();
    let told = |until_ms| {
        let question = TransitionQuestion {
            since_ms: NOW,
            until_ms,
            ..all()
        };
        directory.reader().transitions(&question).unwrap()
    };
    let kept = told(NOW + HOUR);
    assert_eq!((kept.since_ms, kept.is_complete), (NOW, true));
    assert_eq!((kept.lines.len(), kept.runs.len()), (1, 1));
    // It may be this clock that is wrong, so what the other wrote is there for a day.
    store.prune(NOW + 23 * HOUR).unwrap();
    assert_eq!(told(i64::MAX).lines.len(), 2);
    store.prune(NOW + 25 * HOUR).unwrap();
    let kept = told(i64::MAX);
    assert_eq!((kept.lines.len(), kept.runs.len()), (1, 1));
    assert_eq!(store.oldest_slot().unwrap(), None);
}

#[test]
fn where_there_is_no_room_what_is_ahead_of_the_clock_goes_first() {
    let directory = Directory::new("ahead-room");
    let mut store = directory.store();
    let rows: Vec<_> = [NOW, NOW + 24 * HOUR]
        .into_iter()
        .flat_map(|begin| (0..1500).map(move |it| transition("a", begin + it)))
        .collect();
    store.write(&rows, &[], NOW).unwrap();
    let bytes = store.bytes_in_use().unwrap();
    store.prune_within(NOW, bytes - 1, bytes / 10 * 9).unwrap();
    let count = |sql: &str| -> i64 {
        let count = store.connection.query_row(sql, [], |row| row.get(0));
        count.unwrap()
    };
    let of_now = format!(
        "SELECT count(*) FROM transition WHERE at_ms < {}",
        NOW + HOUR
    );
    assert_eq!(count(&of_now), 1500);
    assert_eq!(count("SELECT count(*) FROM transition"), 2000);
    let told = directory.reader().transitions(&all()).unwrap();
    assert_eq!(told.since_ms, NOW);
}

#[test]
fn an_answer_has_no_more_bytes_than_its_bound() {
    let directory = Directory::new("bound");
    let mut store = directory.store();
    let long = |at_ms| TransitionRow {
        evidence: format!("{{\"remedy\":\"{}\"}}", "x".repeat(15_000)),
        ..transition("a", at_ms)
    };
    let rows: Vec<_> = (0..1000).map(|it| long(NOW + it)).collect();
    store.write(&rows, &[], NOW).unwrap();
    let question = TransitionQuestion {
        evidence: true,
        ..all()
    };
    let told = directory.reader().transitions(&question).unwrap();
    let bytes: usize = told.lines.iter().map(|line| line.get().len() + 1).sum();
    assert!(!told.is_complete && bytes <= ANSWER_BYTES_MAX, "{bytes}");
    assert!(bytes > ANSWER_BYTES_MAX - 16_000, "{bytes}");
    assert!(
        told.lines
            .last()
            .unwrap()
            .get()
            .contains(&(NOW + 999).to_string())
    );
}

#[test]
fn a_file_that_does_not_change_is_read_whatever_its_name() {
    let directory = Directory::new("still");
    let odd = directory.0.join("a dir?immutable=0&100%#ä");
    fs::create_dir(&odd).unwrap();
    let path = odd.join("history.db");
    let mut store = Store::open(&path).unwrap();
    store.write(&[transition("a", NOW)], &[], NOW).unwrap();
    assert!(!is_whole_without_log(&path), "its log is not empty");
    drop(store);
    assert!(is_whole_without_log(&path));
    let kept = Kept::new(&odd, true);
    kept.is_still
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let reader = Reader::open(Arc::new(kept), Clock::start()).unwrap();
    assert_eq!(reader.transitions(&all()).unwrap().lines.len(), 1);
    assert!(!index_of(&path).exists());
    fs::write(&path, "no database").unwrap();
    assert!(!is_whole_without_log(&path));
}
