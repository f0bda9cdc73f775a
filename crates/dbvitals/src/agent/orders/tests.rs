//! The state directory on real files: restarts, torn files, full disks, and another agent.

use std::collections::BTreeSet;

use super::*;

/// A directory that is removed with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dbvitals-{name}-{}", std::process::id()));
        Self(path)
    }

    fn open(&self) -> (Orders, Vec<String>) {
        Orders::open(&self.0, at(0)).unwrap()
    }
}

impl Scratch {
    fn files(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let names = entries.map(name);
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn until(second: Option<i64>) -> Order {
    Order {
        reason: Some("disk swap".to_owned()),
        until: second.map(at),
    }
}

#[test]
fn orders_are_back_after_a_restart_until_their_time_is_up() {
    let scratch = Scratch::new("restart");
    let (orders, notices) = scratch.open();
    assert_eq!(notices, [""; 0]);
    orders.give("a", Admin::Drain, until(Some(100))).unwrap();
    orders.give("b", Admin::Maint, until(None)).unwrap();
    drop(orders);
    let (orders, _) = scratch.open();
    assert_eq!(orders.admin("a"), Admin::Drain);
    assert_eq!(orders.order("a"), Some(until(Some(100))));
    assert_eq!(orders.admin("c"), Admin::Ready);
    assert_eq!(orders.next_end(), Some(at(100)));
    assert_eq!(orders.forget_ended(at(100)), ["a"]);
    orders.give("b", Admin::Ready, until(None)).unwrap();
    drop(orders);
    let (orders, _) = scratch.open();
    assert_eq!(
        (orders.admin("a"), orders.admin("b")),
        (Admin::Ready, Admin::Ready)
    );
}

#[test]
fn a_torn_generation_falls_back_to_the_one_before() {
    let scratch = Scratch::new("torn");
    let (orders, _) = scratch.open();
    orders.give("a", Admin::Drain, until(None)).unwrap();
    orders.give("b", Admin::Maint, until(None)).unwrap();
    drop(orders);
    fs::write(scratch.0.join(NEWEST), "{\"schema\":\"dbvit").unwrap();
    let (orders, notices) = scratch.open();
    assert_eq!(
        (orders.admin("a"), orders.admin("b")),
        (Admin::Drain, Admin::Ready)
    );
    assert!(notices[0].contains("set aside as"), "{notices:?}");
    assert!(
        notices[1].contains("given last may be missing"),
        "{notices:?}"
    );
    // The next order does not bury what was set aside.
    orders.give("b", Admin::Maint, until(None)).unwrap();
    assert_eq!(
        scratch.files(),
        [OWNER, "orders.broken-0", PREVIOUS, NEWEST]
            .map(str::to_owned)
            .into()
    );
}

#[test]
fn what_is_there_and_cannot_be_opened_is_set_aside_too() {
    let scratch = Scratch::new("directory");
    let (orders, _) = scratch.open();
    orders.give("a", Admin::Drain, until(None)).unwrap();
    orders.give("b", Admin::Drain, until(None)).unwrap();
    drop(orders);
    fs::remove_file(scratch.0.join(NEWEST)).unwrap();
    fs::create_dir(scratch.0.join(NEWEST)).unwrap();
    let (orders, notices) = scratch.open();
    assert_eq!(orders.admin("a"), Admin::Drain);
    assert!(notices[0].contains("Is a directory"), "{notices:?}");
    orders.give("b", Admin::Maint, until(None)).unwrap();
    drop(orders);
    assert_eq!(scratch.open().0.admin("b"), Admin::Maint);
}

#[test]
fn a_full_disk_costs_neither_generation_nor_the_order_while_the_agent_runs() {
    let scratch = Scratch::new("full");
    let (orders, _) = scratch.open();
    orders.give("a", Admin::Drain, until(None)).unwrap();
    orders.give("b", Admin::Drain, until(None)).unwrap();
    let read = || [NEWEST, PREVIOUS].map(|name| fs::read(scratch.0.join(name)).unwrap());
    let before = read();
    let full = scratch.0.join(BESIDE[0]);
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let error = orders.give("c", Admin::Maint, until(None)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!((orders.admin("c"), read()), (Admin::Maint, before.clone()));
    // Still full at the next look; then there is room, and what was given is kept without a word.
    orders.forget_ended(at(0));
    assert_eq!(read(), before);
    fs::remove_file(&full).unwrap();
    orders.forget_ended(at(0));
    drop(orders);
    let (orders, notices) = scratch.open();
    assert_eq!(notices, [""; 0]);
    assert_eq!(orders.admin("c"), Admin::Maint);
}

#[test]
fn wherever_a_crash_comes_between_there_is_a_whole_generation() {
    let scratch = Scratch::new("crash");
    let (orders, _) = scratch.open();
    orders.give("a", Admin::Drain, until(None)).unwrap();
    orders.give("a", Admin::Maint, until(None)).unwrap();
    drop(orders);
    let path = |name: &str| scratch.0.join(name);
    let [new_newest, new_previous] = BESIDE;
    let check = |admin: Admin| {
        let (orders, notices) = scratch.open();
        assert_eq!((orders.admin("a"), notices), (admin, Vec::new()));
    };
    // While the next generation is written; before and after the newest became the previous one.
    fs::write(path(new_newest), "{\"schema\":").unwrap();
    check(Admin::Maint);
    fs::hard_link(path(NEWEST), path(new_previous)).unwrap();
    check(Admin::Maint);
    fs::rename(path(new_previous), path(PREVIOUS)).unwrap();
    check(Admin::Maint);
    // What a crash left behind hinders no order.
    fs::hard_link(path(NEWEST), path(new_previous)).unwrap();
    let (orders, _) = scratch.open();
    orders.give("a", Admin::Drain, until(None)).unwrap();
    drop(orders);
    check(Admin::Drain);
    let previous = fs::read_to_string(path(PREVIOUS)).unwrap();
    assert!(previous.contains("maint"), "{previous}");
    // A filesystem without links may lose the newest one for a moment.
    fs::remove_file(path(NEWEST)).unwrap();
    check(Admin::Maint);
}

#[test]
fn a_directory_is_for_one_agent() {
    let scratch = Scratch::new("lock");
    let (orders, _) = scratch.open();
    let error = Orders::open(&scratch.0, at(0)).unwrap_err().to_string();
    let own = format!("another agent uses it, process {}", std::process::id());
    assert_eq!(error, own);
    drop(orders);
    // Who cannot say who it is uses it all the same.
    fs::remove_file(scratch.0.join(OWNER)).unwrap();
    std::os::unix::fs::symlink("/dev/full", scratch.0.join(OWNER)).unwrap();
    let (_orders, notices) = scratch.open();
    assert_eq!(notices, [""; 0]);
    assert!(Orders::open(&scratch.0, at(0)).is_err());
}

#[test]
fn alien_files_leave_all_backends_ready_and_are_said_loudly() {
    let scratch = Scratch::new("alien");
    drop(scratch.open());
    fs::write(
        scratch.0.join(NEWEST),
        "{\"schema\":\"other\",\"orders\":{}}",
    )
    .unwrap();
    fs::write(scratch.0.join(PREVIOUS), [0xff; 9]).unwrap();
    let (orders, notices) = scratch.open();
    assert_eq!(orders.admin("a"), Admin::Ready);
    assert_eq!(notices.len(), 3, "{notices:?}");
    assert!(notices[2].contains("start ready"), "{notices:?}");
}
