//! The writer on real files: bounds, generations, order, and a disk that is full.

use std::env;
use std::process;

use dbvitals_verdict::{Outcome, Path as ProbePath, Phases, Plan};

use super::*;
use crate::record::{Record, parse_size};

fn plans() -> Plans {
    let depth = Depth::Ping;
    vec![("orders".to_owned(), Plan::new(Course::Session { depth }))]
}

fn seen(ms: u64) -> Observation {
    let started = Moment::ORIGIN + Duration::from_millis(ms);
    Observation {
        path: ProbePath::Held,
        probe: Some(Default::default()),
        started,
        ended: started + Duration::from_micros(200),
        depth: Some(Depth::Ping),
        outcome: Outcome::Pass,
        phases: Phases::default(),
        session: true,
        server: None,
        detail: None,
    }
}

fn scratch(name: &str) -> PathBuf {
    let path = env::temp_dir().join(format!("dbvitals-record-{}-{name}", process::id()));
    for old in [path.clone(), older(&path)] {
        let _ = fs::remove_file(old);
    }
    path
}

fn start(path: &Path, bytes_max: u64) -> Recorder {
    Recorder::start(path, bytes_max, "db-a", &plans(), 1, Clock::start()).unwrap()
}

/// Hands over an observation, and waits where the thread is behind, as no shard would.
fn hand_over(feed: &Feed, observation: &Observation) {
    let before = feed.lost.load(Ordering::Relaxed);
    for _ in 0..10_000 {
        let entry = Entry::Observation(0, observation.clone());
        if feed.sender.try_send(entry).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("nobody writes; {before} lost");
}

#[test]
fn two_generations_stay_within_the_bound_and_are_read_as_one() {
    let path = scratch("bound");
    let bound = parse_size("256KiB").unwrap();
    let recorder = start(&path, bound);
    let feed = recorder.feed(0, 1);
    let count = 20_000;
    for ms in 0..count {
        hand_over(&feed, &seen(ms));
    }
    drop(feed);
    recorder.finish();
    let sizes = [&path, &older(&path)].map(|file| fs::metadata(file).unwrap().len());
    assert!(sizes.iter().sum::<u64>() <= bound, "{sizes:?}");

    let record = Record::read(&path).unwrap();
    let kept = &record.backends[0].observations;
    assert!(kept.len() > 2000, "{}", kept.len());
    assert_eq!(kept.last().unwrap().started, seen(count - 1).started);
    let steps = kept
        .windows(2)
        .map(|pair| pair[1].started.since(pair[0].started));
    assert!(
        steps
            .into_iter()
            .all(|step| step == Duration::from_millis(1))
    );
}

#[test]
fn what_was_recorded_before_a_restart_is_the_older_generation() {
    let path = scratch("restart");
    for ms in [1, 2] {
        let recorder = start(&path, 1 << 20);
        recorder.feed(0, 1).observe(0, &seen(ms));
        recorder.finish();
    }
    for (file, ms) in [(older(&path), 1), (path.clone(), 2)] {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("\"t\":{}", ms * 1000)), "{text}");
    }
    let recorder = start(&path, 1 << 20);
    let again = Recorder::start(&path, 1 << 20, "db-b", &plans(), 1, Clock::start());
    let error = again.unwrap_err().to_string();
    assert!(error.contains("somebody else is recording"), "{error}");
    recorder.finish();
}

#[test]
fn a_full_disk_costs_the_record_and_not_the_shard() {
    let recorder = start(Path::new("/dev/full"), 1 << 20);
    let feed = recorder.feed(0, 1);
    for ms in 0..50_000 {
        feed.observe(0, &seen(ms));
    }
    drop(feed);
    recorder.finish();
}

#[test]
fn a_thread_that_is_behind_loses_lines_and_counts_them() {
    let (sender, entries) = mpsc::sync_channel(2);
    let feed = Feed {
        sender,
        lost: Arc::default(),
        shard: 0,
        shards: 1,
    };
    for ms in 0..5 {
        feed.observe(0, &seen(ms));
    }
    assert_eq!(feed.lost.load(Ordering::Relaxed), 3);
    drop(entries);
}
