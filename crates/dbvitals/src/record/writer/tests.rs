//! The writer on real files: bounds, generations, order, and a disk that is full.

use std::env;
use std::ops::Deref;
use std::process;

use dbvitals_verdict::{Outcome, Path as ProbePath, Phases, Plan};

use super::*;
use crate::record::{Record, parse_size};

fn plan() -> Arc<Plan> {
    let depth = Depth::Ping;
    Arc::new(Plan::new(Course::Session { depth }))
}

fn chapter(feed: &Feed, name: &str) -> Arc<Chapter> {
    let start = (Moment::ORIGIN, Verdict::Unknown);
    feed.chapter(&name.into(), &plan(), start, None)
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

/// A path of a record, whose files are removed with this value.
struct Scratch(PathBuf);

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for file in [self.0.clone(), older(&self.0)] {
            let _ = fs::remove_file(file);
        }
    }
}

fn scratch(name: &str) -> Scratch {
    Scratch(env::temp_dir().join(format!("dbvitals-record-{}-{name}", process::id())))
}

fn start(path: &Path, bytes_max: u64) -> Recorder {
    Recorder::start(path, bytes_max, "db-a", 1, Clock::start()).unwrap()
}

/// Hands over an observation, and waits where the thread is behind, as no shard would.
fn hand_over(feed: &Feed, chapter: &Arc<Chapter>, observation: &Observation) {
    let before = feed.lost.load(Ordering::Relaxed);
    for _ in 0..10_000 {
        let entry = Entry::Observation(Arc::clone(chapter), observation.clone());
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
    let feed = recorder.feed(0);
    let orders = chapter(&feed, "orders");
    let count = 20_000;
    for ms in 0..count {
        hand_over(&feed, &orders, &seen(ms));
    }
    drop(feed);
    recorder.finish();
    let sizes = [&*path, &older(&path)].map(|file| fs::metadata(file).unwrap().len());
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
        let feed = recorder.feed(0);
        feed.observe(&chapter(&feed, "orders"), &seen(ms));
        drop(feed);
        recorder.finish();
    }
    for (file, ms) in [(older(&path), 1), (path.to_path_buf(), 2)] {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("\"t\":{}", ms * 1000)), "{text}");
    }
    let recorder = start(&path, 1 << 20);
    let again = Recorder::start(&path, 1 << 20, "db-b", 1, Clock::start());
    let error = again.unwrap_err().to_string();
    assert!(error.contains("somebody else is recording"), "{error}");
    recorder.finish();
}

fn failed(ms: u64) -> Observation {
    Observation {
        outcome: Outcome::Fail(dbvitals_verdict::Cause::Refused),
        ..seen(ms)
    }
}

/// What was recorded: the name, how often its plan changed, and how much was seen of it.
fn cast(record: &Record) -> Vec<(&str, usize, usize)> {
    let backends = record.backends.iter();
    backends
        .map(|it| (&*it.name, it.plans.later.len(), it.observations.len()))
        .collect()
}

#[test]
fn a_backend_goes_on_under_another_plan_and_not_under_another_s_number() {
    let path = scratch("reload");
    let recorder = start(&path, 1 << 20);
    let (one, other) = (recorder.feed(0), recorder.feed(1));
    let (orders, users) = (chapter(&one, "orders"), chapter(&other, "users"));
    one.note_lag(Moment::ORIGIN + Duration::from_secs(1), LATE_MIN);
    for ms in 0..3 {
        one.observe(&orders, &seen(ms));
        other.observe(&users, &failed(ms));
    }
    // A reload: one has another plan, the other is gone, and comes back later.
    let mut changed = Plan::clone(&plan());
    changed.fall = 3;
    let at = (Moment::ORIGIN + Duration::from_millis(3), Verdict::Up);
    let again = one.chapter(&"orders".into(), &Arc::new(changed), at, Some(&orders));
    drop((orders, users));
    one.observe(&again, &seen(4));
    let back = chapter(&other, "users");
    other.observe(&back, &seen(9));
    drop((again, back, one, other));
    recorder.finish();
    let record = Record::read(&path).unwrap();
    assert_eq!(record.notices, [""; 0]);
    assert_eq!(
        cast(&record),
        [("orders", 1, 4), ("users", 0, 3), ("users", 0, 1)]
    );
    let orders = &record.backends[0];
    assert_eq!(
        (orders.plans.later[0].0, orders.plans.last().fall),
        (at.0, 3)
    );
    assert_eq!(orders.late.len(), 1);
    assert_eq!(record.backends[1].late, []);
}

#[test]
fn a_later_generation_says_who_its_lines_are_about_whatever_was_reloaded() {
    let path = scratch("generations");
    let bound = parse_size("256KiB").unwrap();
    let recorder = start(&path, bound);
    let feed = recorder.feed(0);
    let mut orders = chapter(&feed, "orders");
    let count = 10_000;
    for ms in 0..count {
        hand_over(&feed, &orders, &seen(ms));
        if ms % 1000 == 999 {
            let mut changed = Plan::clone(&plan());
            changed.fall = 2 + (ms / 1000) as u32;
            let start = (seen(ms).ended, Verdict::Up);
            orders = feed.chapter(&"orders".into(), &Arc::new(changed), start, Some(&orders));
            let passing = chapter(&feed, "passing");
            hand_over(&feed, &passing, &seen(ms));
        }
    }
    drop((orders, feed));
    recorder.finish();
    for file in [path.to_path_buf(), older(&path)] {
        let alone = scratch("alone");
        fs::copy(file, &*alone).unwrap();
        let record = Record::read(&alone).unwrap();
        assert_eq!(record.notices, [""; 0]);
    }
    let record = Record::read(&path).unwrap();
    assert_eq!(record.notices, [""; 0]);
    let orders: Vec<_> = record
        .backends
        .iter()
        .filter(|it| it.name == "orders")
        .collect();
    assert_eq!(orders.len(), 1);
    let kept = &orders[0].observations;
    assert!(kept.len() > 2000, "{}", kept.len());
    let steps = kept
        .windows(2)
        .map(|pair| pair[1].started.since(pair[0].started));
    assert!(
        steps
            .into_iter()
            .all(|step| step == Duration::from_millis(1))
    );
    let header = fs::read_to_string(&*path).unwrap();
    let header = header.lines().next().unwrap_or_default();
    // Who came and went in earlier generations is not carried along for ever.
    assert!(header.matches("passing").count() <= 5, "{header}");
}

#[test]
fn who_was_told_to_a_full_disk_is_told_again() {
    let path = scratch("again");
    let header = Header::new("2026-01-01T00:00:00Z".to_owned(), "db-a".to_owned(), 1);
    let mut writer = Writer::new(
        &path,
        create(&path).unwrap(),
        1 << 20,
        header,
        &Arc::default(),
    );
    writer.write();
    let (sender, _entries) = mpsc::sync_channel(1);
    let feed = Feed {
        sender,
        lost: Arc::default(),
        numbers: Arc::default(),
        shard: 0,
    };
    let orders = chapter(&feed, "orders");
    let full = create(Path::new("/dev/full")).unwrap();
    let real = std::mem::replace(&mut writer.file, full);
    writer.take(&Entry::Observation(Arc::clone(&orders), seen(1)));
    writer.write();
    assert_eq!(writer.trouble, Some(1));
    writer.file = real;
    writer.take(&Entry::Observation(orders, seen(2)));
    writer.write();
    let record = Record::read(&path).unwrap();
    assert_eq!(cast(&record), [("orders", 0, 1)]);
    assert_eq!(record.notices, ["1 observations were lost while recording"]);
}

#[test]
fn a_record_of_the_time_before_reloads_is_still_read() {
    let path = scratch("old");
    let plan = r#""depth":"ping","held":true,"interval_us":1000000,"confirm_interval_us":5000,"fast_interval_us":200000,"down_interval_us":1000000,"fresh_interval_us":30000000,"timeout_us":1000000,"stale_after_us":30000000,"rise":2,"fall":2"#;
    let text = format!(
        r#"{{"schema":"dbvitals.record.v1","at":"2026-01-01T00:00:00Z","agent":"db-a","shards":2,"backends":[{{"name":"orders","verdict":"unknown",{plan}}},{{"name":"users","verdict":"up",{plan}}}]}}
{{"t":1000210,"b":0,"p":"h","d":210}}
{{"t":1000300,"n":1,"l":250000}}
{{"t":1000420,"b":1,"p":"f","d":90,"c":"refused"}}
"#
    );
    fs::write(&*path, text).unwrap();
    let record = Record::read(&path).unwrap();
    assert_eq!(record.notices, [""; 0]);
    assert_eq!(cast(&record), [("orders", 0, 1), ("users", 0, 1)]);
    let late: Vec<_> = record.backends.iter().map(|it| it.late.len()).collect();
    assert_eq!(late, [0, 1]);
}

#[test]
fn a_full_disk_costs_the_record_and_not_the_shard() {
    let recorder = start(Path::new("/dev/full"), 1 << 20);
    let feed = recorder.feed(0);
    let orders = chapter(&feed, "orders");
    for ms in 0..50_000 {
        feed.observe(&orders, &seen(ms));
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
        numbers: Arc::default(),
        shard: 0,
    };
    let orders = chapter(&feed, "orders");
    for ms in 0..5 {
        feed.observe(&orders, &seen(ms));
    }
    assert_eq!(feed.lost.load(Ordering::Relaxed), 3);
    drop(entries);
}
