//! Whose a queue is, who waits in it, who is blocked before it, and what is hidden from whom: with
//! real processes and threads, as root and as nobody.

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "support/stage.rs"]
mod stage;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, process, thread};

use dbvitals_acceptqueue::{
    Blocked, Listener, Namespace, Owners, Process, ProcessState, Sight, UnixName, Waiting,
    namespaces,
};
use dbvitals_testkit::eventually;
use rustix::process::{Pid, Signal, kill_process};

use crate::stage::{Eye, Stage, outside_as};

const SOON: Duration = Duration::from_secs(5);

fn inode_of(socket: &impl std::os::fd::AsRawFd) -> u32 {
    let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
    let target = fs::read_link(link).expect("an open descriptor");
    let target = target.to_string_lossy().into_owned();
    let inode = target.trim_start_matches("socket:[").trim_end_matches(']');
    inode.parse().expect("a socket")
}

/// The listener with this name, and who waits at it.
fn at_name(stage: &Stage, eye: Eye, name: &UnixName) -> (Listener, Waiting) {
    stage.inside_as(eye, || {
        let mut namespace = Namespace::current().expect("sock_diag is there");
        let sample = namespace.sample().expect("a sample");
        let listener = sample.at_name(name)[0].clone();
        let waiting = namespace.waiting(&listener, &sample).expect("who waits");
        (listener, waiting)
    })
}

/// Ends a child whatever the test does.
struct Ward(Child);

impl Drop for Ward {
    fn drop(&mut self) {
        // Most have ended long before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn clients_in_a_unix_queue_are_told_by_their_sockets_also_to_nobody() {
    let Some(stage) = Stage::set_up("clients_in_a_unix_queue_are_told") else {
        return;
    };
    let (listener, path) = stage.listen_unix("clients.sock", 100);
    let clients: Vec<_> = (0..3).map(|_| Stage::connect_unix(&path)).collect();
    let mut expected: Vec<_> = clients.iter().map(|it| Some(inode_of(it))).collect();
    let name = UnixName::Path(path);
    for eye in [Eye::Root, Eye::Nobody] {
        let (_, waiting) = at_name(&stage, eye, &name);
        let told: Vec<_> = waiting.peers.iter().map(|it| it.client_inode).collect();
        assert_eq!(told, expected, "{eye:?}");
    }
    let (_, before) = at_name(&stage, Eye::Root, &name);
    // Who closes keeps the place until it is accepted.
    let mut clients = clients.into_iter();
    drop(clients.next());
    expected[0] = None;
    let (found, waiting) = at_name(&stage, Eye::Root, &name);
    assert_eq!((found.length, waiting.peers.len()), (3, 3));
    assert!(waiting.peers[0].has_closed && !waiting.peers[1].has_closed);
    let told: Vec<_> = waiting.peers.iter().map(|it| it.client_inode).collect();
    assert_eq!(told, expected);
    assert!(!waiting.has_moved_since(&waiting.clone()));
    drop(listener.accept().expect("the first waits"));
    drop(listener.accept().expect("the second waits"));
    let (found, waiting) = at_name(&stage, Eye::Root, &name);
    assert_eq!(found.length, 1);
    assert!(waiting.has_moved_since(&before));
}

#[test]
fn a_thousand_clients_and_more_are_listed_too() {
    let Some(stage) = Stage::set_up("a_thousand_clients_and_more") else {
        return;
    };
    let (_listener, path) = stage.listen_unix("crowd.sock", 4096);
    let clients: Vec<_> = (0..1500).map(|_| Stage::connect_unix(&path)).collect();
    let (found, waiting) = at_name(&stage, Eye::Nobody, &UnixName::Path(path));
    assert_eq!((found.length, waiting.peers.len()), (1500, 1500));
    let last = clients.last().map(inode_of);
    assert_eq!(waiting.peers.last().and_then(|it| it.client_inode), last);
}

#[test]
fn a_socket_is_found_by_any_path_that_leads_to_it() {
    let Some(stage) = Stage::set_up("a_socket_is_found_by_any_path") else {
        return;
    };
    let (_listener, path) = stage.listen_unix("real.sock", 1);
    let link = stage.path("link.sock");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    let (found, _) = at_name(&stage, Eye::Nobody, &UnixName::Path(link));
    assert_eq!(found.local.to_string(), path.display().to_string());
}

#[test]
fn a_path_leads_to_the_newest_listener_though_an_earlier_one_is_still_held() {
    let Some(stage) = Stage::set_up("a_path_leads_to_the_newest_listener") else {
        return;
    };
    let (_leaked, path) = stage.listen_unix("again.sock", 7);
    let _leftover = Stage::connect_unix(&path);
    fs::remove_file(&path).expect("its file");
    let name = UnixName::Path(path.clone());
    let reached = |eye: Eye| {
        stage.inside_as(eye, || {
            let mut namespace = Namespace::current().expect("sock_diag is there");
            let sample = namespace.sample().expect("a sample");
            let reached = sample.at_name(&name);
            let queues = reached.iter().map(|it| (it.length, it.limit));
            queues.collect::<Vec<_>>()
        })
    };
    assert_eq!(reached(Eye::Nobody), [], "nobody reaches it");
    let (_now, _) = stage.listen_unix("again.sock", 9);
    for eye in [Eye::Root, Eye::Nobody] {
        assert_eq!(reached(eye), [(0, Some(9))], "{eye:?}");
    }
}

#[test]
fn clients_blocked_in_a_connect_are_counted_by_their_listener_and_writers_are_not() {
    let Some(stage) = Stage::set_up("clients_blocked_in_a_connect") else {
        return;
    };
    let (listener, path) = stage.listen_unix("full.sock", 1);
    let (other, other_path) = stage.listen_unix("other.sock", 0);
    let log = stage.path("log.sock");
    let log_reader = UnixDatagram::bind(&log).expect("a free path");
    // By way of a link, and one that has nothing to do with it.
    let link = stage.path("link.sock");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    let paths = [&path, &path, &path, &link, &link, &other_path, &other_path];
    thread::scope(|scope| {
        for path in paths {
            scope.spawn(|| drop(Stage::connect_unix(path)));
        }
        scope.spawn(|| {
            let writer = UnixDatagram::unbound().expect("a socket");
            for _ in 0..64 {
                writer.send_to(b"a line", &log).expect("somebody reads");
            }
        });
        let find = |eye: Eye| outside_as(eye, || Blocked::find().expect("there is /proc"));
        let name = |path: &std::path::Path| UnixName::Path(path.to_owned());
        let count = || {
            let blocked = find(Eye::Root);
            let own = |path| {
                let (listener, _) = at_name(&stage, Eye::Root, &name(path));
                let own = process::id();
                blocked
                    .at(&listener)
                    .filter(|it| it.process.pid == own)
                    .count()
            };
            (own(&path), own(&other_path))
        };
        let blocked = eventually(SOON, || count() == (3, 1));
        let seen = count();
        let writer_sleeps = eventually(SOON, || tasks_in("unix_wait_for_peer") == 5);
        let hidden = [find(Eye::Nobody), find(Eye::BoundedRoot)];
        // Whatever was seen, let all of them go.
        for _ in 0..5 {
            drop(listener.accept());
        }
        for _ in 0..2 {
            drop(other.accept());
        }
        for _ in 0..64 {
            drop(log_reader.recv(&mut [0; 16]));
        }
        assert!(blocked, "{seen:?} are blocked");
        assert!(writer_sleeps, "the writer sleeps in the same place");
        let [nobody, bounded] = &hidden;
        assert!(nobody.hidden > 0 && nobody.clients.is_empty(), "{nobody:?}");
        // It may look at its own threads, and not at whoever may do more.
        assert!(bounded.hidden > 0, "{bounded:?}");
    });
    let own = process::id();
    let left = Blocked::find().expect("there is /proc").clients;
    assert!(left.iter().all(|it| it.process.pid != own), "{left:?}");
}

/// How many tasks of this process sleep in a function of the kernel.
fn tasks_in(function: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("there is /proc");
    let sleeps = |task: &fs::DirEntry| {
        fs::read_to_string(task.path().join("wchan")).is_ok_and(|wchan| wchan == function)
    };
    tasks.flatten().filter(sleeps).count()
}

#[test]
fn a_listener_has_its_processes_with_what_they_do_as_far_as_one_may_see() {
    let Some(stage) = Stage::set_up("a_listener_has_its_processes") else {
        return;
    };
    let (listener, at) = stage.listen_tcp("127.0.0.1:0", 5);
    let inode = inode_of(&listener);
    let inodes = BTreeSet::from([inode]);
    // A child inherits it on its standard input.
    let input = Stdio::from(std::os::fd::OwnedFd::from(listener));
    let child = Ward(
        Command::new("sleep")
            .arg("60")
            .stdin(input)
            .spawn()
            .expect("sleep"),
    );
    let pid = child.0.id();
    let find = |eye: Eye| outside_as(eye, || Owners::find(&inodes).expect("there is /proc"));
    assert!(eventually(SOON, || find(Eye::Root).of(inode)
        == [Process {
            pid,
            command: "sleep".to_owned(),
            state: ProcessState::Alive,
        }]));
    let number = Pid::from_child(&child.0);
    kill_process(number, Signal::STOP).expect("it lives");
    let is_stopped = |eye: Eye| {
        let look = || Process::look_at(pid).expect("it lives").state;
        outside_as(eye, look) == ProcessState::Stopped
    };
    assert!(
        eventually(SOON, || is_stopped(Eye::Nobody)),
        "everybody sees what it does"
    );
    let as_nobody = find(Eye::Nobody);
    assert!(
        as_nobody.of(inode).is_empty() && as_nobody.hidden > 0,
        "{as_nobody:?}"
    );
    let (_, sample) = stage.inside_as(Eye::Nobody, || {
        let mut namespace = Namespace::current().expect("sock_diag is there");
        let sample = namespace.sample().expect("a sample");
        (namespace, sample)
    });
    let [found] = sample.reached_at(at)[..] else {
        panic!("one listener at {at}");
    };
    assert_eq!((found.inode, found.uid), (inode, Some(0)));
}

#[test]
fn another_namespace_is_seen_whole_by_root_and_in_tables_by_nobody() {
    let Some(stage) = Stage::set_up("another_namespace_is_seen") else {
        return;
    };
    let (_tcp, at) = stage.listen_tcp("127.0.0.1:0", 1);
    let (_dual, dual) = stage.listen_tcp("[::]:0", 4);
    let (_unix, path) = stage.listen_unix("other.sock", 3);
    let _clients: Vec<_> = (0..3).map(|_| stage.knock(at)).collect();
    let connect = || Stage::connect_unix(&path);
    let _unix_clients = [stage.inside(connect), stage.inside(connect)];
    let pid = stage.network.pid();
    let look = |eye: Eye| {
        outside_as(eye, || {
            let mut namespace = Namespace::of_process(pid).expect("it lives");
            let sample = namespace.sample().expect("a sample");
            let waiting = namespace.waiting(sample.reached_at(at)[0], &sample);
            let counters = namespace.counters().expect("counters");
            (namespace, sample, waiting.expect("who waits"), counters)
        })
    };
    let of = |at: SocketAddr, eye: Eye| look(eye).1.reached_at(at)[0].clone();
    assert!(eventually(SOON, || of(at, Eye::Nobody).length == 2));
    let (whole, tables) = (look(Eye::Root), look(Eye::Nobody));
    assert_eq!(
        (whole.0.sight(), tables.0.sight()),
        (Sight::Whole, Sight::Tables)
    );
    assert_eq!(whole.0.id(), tables.0.id());
    assert_eq!(whole.3, tables.3);
    assert!(whole.3.listen_overflows >= 1, "{:?}", whole.3);
    assert_eq!((whole.1.iter().count(), tables.1.iter().count()), (3, 3));
    for (whole, tables) in whole.1.iter().zip(&tables.1) {
        assert_eq!(whole.local.to_string(), tables.local.to_string());
        assert_eq!((whole.length, whole.inode), (tables.length, tables.inode));
        assert_eq!(
            (tables.limit, tables.drops, tables.is_full()),
            (None, None, None)
        );
    }
    let addresses = |waiting: &Waiting| -> BTreeSet<_> {
        waiting.peers.iter().filter_map(|it| it.address).collect()
    };
    assert_eq!(addresses(&whole.2), addresses(&tables.2));
    assert_eq!(
        (whole.2.peers.len(), whole.2.knocking.len()),
        (2, 1),
        "{:?}",
        whole.2
    );
    assert_eq!(tables.2.knocking.len(), 1);
    assert_eq!(of(dual, Eye::Root).limit, Some(4));
    let name = UnixName::Path(path);
    assert_eq!(whole.1.at_name(&name)[0].limit, Some(3));
    assert_eq!(tables.1.at_name(&name)[0].length, 2);
    // The kernel keeps a unix connection in the client's namespace, also while it is in the queue.
    let _from_outside = Stage::connect_unix(name.path().expect("a path"));
    let length = |eye: Eye| look(eye).1.at_name(&name)[0].length;
    assert_eq!((length(Eye::Root), length(Eye::Nobody)), (3, 2));
}

#[test]
fn namespaces_are_told_apart_by_everybody() {
    let Some(stage) = Stage::set_up("namespaces_are_told_apart") else {
        return;
    };
    let pid = stage.network.pid();
    let [inside, outside] = [
        stage.inside_as(Eye::Nobody, || {
            Namespace::current().expect("a namespace").id()
        }),
        outside_as(Eye::Nobody, || {
            Namespace::current().expect("a namespace").id()
        }),
    ];
    assert_ne!(inside, outside);
    for eye in [Eye::Root, Eye::Nobody] {
        let all = outside_as(eye, || namespaces().expect("there is /proc"));
        assert_eq!(all.get(&inside), Some(&pid), "{eye:?}: {all:?}");
        assert!(all.contains_key(&outside), "{eye:?}: {all:?}");
    }
    // A process of the same namespace needs no privilege to be looked beside.
    let beside = outside_as(Eye::Nobody, || Namespace::of_process(process::id()));
    let beside = beside.expect("its own");
    assert_eq!((beside.id(), beside.sight()), (outside, Sight::Whole));
    assert!(Namespace::of_process(u32::MAX >> 1).is_err());
}
