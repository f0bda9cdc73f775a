//! What is read equals what `ss` and the kernel's own counters say, on real listeners, as root and
//! as nobody.
//!
//! Each test has a network namespace of its own, so nothing else counts there.

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "support/stage.rs"]
mod stage;

use std::net::SocketAddr;
use std::time::Duration;

use dbvitals_acceptqueue::{
    Counters, Listener, Listeners, Namespace, UnixName, Waiting, overflows_of,
};
use dbvitals_testkit::{eventually, left_out};
use socket2::Socket;

use crate::stage::{EYES, Eye, Stage};

const SOON: Duration = Duration::from_secs(5);

fn look(stage: &Stage, eye: Eye) -> (Namespace, Listeners) {
    stage.inside_as(eye, || {
        let mut namespace = Namespace::current().expect("sock_diag is there");
        let sample = namespace.sample().expect("a sample");
        (namespace, sample)
    })
}

/// All listeners as `ss` has them.
fn as_ss(sample: &Listeners) -> Vec<(String, u32, u32, Option<u32>)> {
    let mut rows: Vec<_> = sample.iter().map(row).collect();
    rows.sort();
    rows
}

fn row(listener: &Listener) -> (String, u32, u32, Option<u32>) {
    let limit = listener.limit.expect("sock_diag tells limits");
    (
        listener.local.to_string(),
        listener.length,
        limit,
        listener.drops,
    )
}

/// Both users see what `ss` sees.
fn check_against_ss(stage: &Stage) {
    let truth = stage.ss();
    for eye in EYES {
        assert_eq!(as_ss(&look(stage, eye).1), truth, "{eye:?}");
    }
}

/// The counters as the test itself reads them.
fn counters_of(stage: &Stage) -> Counters {
    let path = format!("/proc/{}/net/netstat", stage.network.pid());
    let text = std::fs::read_to_string(path).expect("everybody may read it");
    Counters::parse(&text).expect("a kernel counts overflows")
}

fn length_of(stage: &Stage, address: SocketAddr) -> u32 {
    let (_, sample) = look(stage, Eye::Nobody);
    sample.reached_at(address).iter().map(|it| it.length).sum()
}

/// Connects until so many wait.
fn fill(stage: &Stage, at: SocketAddr, length: u32) -> Vec<Socket> {
    let clients = (0..length).map(|_| stage.knock(at)).collect();
    assert!(
        eventually(SOON, || length_of(stage, at) == length),
        "{} of {length} wait",
        length_of(stage, at)
    );
    clients
}

/// Fifteen clients more where three have room, once the queue is full and the others are ghosts.
fn crowd(stage: &Stage, at: SocketAddr) -> (Vec<Socket>, Waiting) {
    let clients = (0..15).map(|_| stage.knock(at)).collect();
    let look = || {
        let (mut namespace, sample) = look(stage, Eye::Nobody);
        let listener = sample.reached_at(at)[0];
        let waiting = namespace.waiting(listener, &sample).expect("who waits");
        (listener.is_full(), waiting)
    };
    let has_settled = || {
        let (is_full, waiting) = look();
        is_full == Some(true) && (waiting.peers.len(), waiting.ghosts.len()) == (21, 12)
    };
    assert!(eventually(SOON, has_settled), "{:?}", look());
    (clients, look().1)
}

#[test]
fn length_and_limit_equal_those_of_ss_from_empty_to_full() {
    let Some(stage) = Stage::set_up("length_and_limit_equal_those_of_ss") else {
        return;
    };
    let (_v4, v4) = stage.listen_tcp("127.0.0.1:0", 3);
    let (_v6, v6) = stage.listen_tcp("[::1]:0", 3);
    let (_both, both) = stage.listen_tcp("[::]:0", 3);
    let (_any, any) = stage.listen_tcp("0.0.0.0:0", 0);
    let (_unix, path) = stage.listen_unix("short.sock", 3);
    let local = |at: SocketAddr| SocketAddr::from(([127, 0, 0, 1], at.port()));
    check_against_ss(&stage);
    let mut clients = Vec::new();
    let mut unix_clients = Vec::new();
    for length in 1..=4 {
        for at in [v4, v6, local(both)] {
            clients.push(stage.knock(at));
            assert!(
                eventually(SOON, || length_of(&stage, at) == length),
                "{length} at {at}"
            );
        }
        unix_clients.push(Stage::connect_unix(&path));
        check_against_ss(&stage);
        let (_, sample) = look(&stage, Eye::Nobody);
        for listener in &sample {
            let expected = listener.limit.is_some_and(|limit| listener.length > limit);
            assert_eq!(listener.is_full(), Some(expected));
            let is_any = listener.port() == Some(any.port());
            assert_eq!(expected, length == 4 && !is_any, "{listener:?}");
        }
    }
    clients.push(stage.knock(local(any)));
    assert!(eventually(SOON, || length_of(&stage, local(any)) == 1));
    check_against_ss(&stage);
}

#[test]
fn a_lookup_says_the_same_as_the_walk_for_every_kind_of_listener() {
    let Some(stage) = Stage::set_up("a_lookup_says_the_same_as_the_walk") else {
        return;
    };
    let (_both, both) = stage.listen_tcp("[::]:0", 5);
    let (_v4, v4) = stage.listen_tcp("127.0.0.1:0", 7);
    let _clients = fill(&stage, v4, 2);
    for eye in EYES {
        let (mut namespace, sample) = look(&stage, eye);
        for address in [v4, ([127, 0, 0, 1], both.port()).into(), both] {
            let found = namespace.tcp_listener(address).expect("an answer");
            let reached = sample.reached_at(address);
            assert_eq!(
                found.iter().collect::<Vec<_>>(),
                reached,
                "{address} as {eye:?}"
            );
        }
        let nobody = namespace.tcp_listener(([127, 0, 0, 1], 1).into());
        assert_eq!(nobody.expect("an answer"), None);
    }
}

#[test]
fn members_of_a_group_on_one_port_have_queues_of_their_own() {
    let Some(stage) = Stage::set_up("members_of_a_group_on_one_port") else {
        return;
    };
    let (first, at) = stage.listen_tcp("127.0.0.1:0", 20);
    let others: Vec<_> = (0..3)
        .map(|_| stage.listen_tcp(&at.to_string(), 20))
        .collect();
    let _clients = fill(&stage, at, 20);
    let (_, sample) = look(&stage, Eye::Nobody);
    let reached = sample.reached_at(at);
    assert_eq!(reached.len(), 4);
    assert_eq!(reached.iter().map(|it| it.length).sum::<u32>(), 20);
    check_against_ss(&stage);
    drop((first, others));
    assert!(look(&stage, Eye::Nobody).1.reached_at(at).is_empty());
}

#[test]
fn a_dropped_syn_counts_once_at_the_socket_and_once_in_the_namespace() {
    let Some(stage) = Stage::set_up("a_dropped_syn_counts_once") else {
        return;
    };
    let (_listener, at) = stage.listen_tcp("127.0.0.1:0", 2);
    let _queued = fill(&stage, at, 3);
    assert_eq!(counters_of(&stage), Counters::default());
    let knocking: Vec<_> = (0..5).map(|_| stage.knock(at)).collect();
    // The first SYN of each at once, then one more of each after a second. Everything is read while
    // nothing comes.
    let dropped = || {
        let before = counters_of(&stage);
        let (mut namespace, sample) = look(&stage, Eye::Nobody);
        let seen = row(sample.reached_at(at)[0]);
        let counters = namespace.counters().expect("counters");
        let agree = stage.ss() == [seen.clone()] && counters_of(&stage) == before;
        let drops = u64::from(seen.3.expect("TCP counts drops"));
        let once = (counters.listen_overflows, counters.listen_drops) == (drops, drops);
        (drops, agree && once && counters == before)
    };
    for least in [5, 10] {
        let agree = || {
            let (drops, agree) = dropped();
            agree && drops >= least && drops.is_multiple_of(5)
        };
        assert!(eventually(SOON, agree), "{:?}", dropped());
    }
    let (mut namespace, sample) = look(&stage, Eye::Nobody);
    let listener = sample.reached_at(at)[0];
    let waiting = namespace.waiting(listener, &sample).expect("who waits");
    assert_eq!(
        (waiting.peers.len(), waiting.knocking.len()),
        (3, 5),
        "{waiting:?}"
    );
    assert!(
        waiting.ghosts.is_empty() && waiting.half_open.is_empty(),
        "{waiting:?}"
    );
    assert!(
        waiting.knocking.iter().all(|it| it.repeats >= 1),
        "{waiting:?}"
    );
    drop(knocking);
}

#[test]
fn a_dropped_acknowledgement_counts_twice_and_leaves_a_ghost() {
    let test = "a_dropped_acknowledgement_counts_twice";
    let Some(stage) = Stage::set_up(test) else {
        return;
    };
    let (_listener, at) = stage.listen_tcp("127.0.0.1:0", 20);
    let _queued = fill(&stage, at, 18);
    if !stage.slow_down() {
        left_out(test, "needs `tc` and the kernel's token bucket filter");
        return;
    }
    // All fifteen SYNs are answered before the first acknowledgement comes.
    let (clients, waiting) = crowd(&stage, at);
    assert!(
        waiting.ghosts.iter().all(|it| it.is_half_open),
        "{waiting:?}"
    );
    // The server repeats its answers, and so drops more acknowledgements: both are read while
    // nothing comes.
    let twice = || {
        let before = counters_of(&stage);
        let (_, sample) = look(&stage, Eye::Nobody);
        let drops = sample.reached_at(at)[0].drops.expect("TCP counts drops");
        let truth = stage.ss()[0].3;
        let counted = before.listen_overflows;
        let exactly = overflows_of(drops.into(), &before) == (counted..=counted);
        truth == Some(drops) && u64::from(drops) == 2 * counted && exactly
    };
    assert!(
        eventually(SOON, twice),
        "{:?}, {:?}",
        stage.ss(),
        counters_of(&stage)
    );
    drop(clients);
}

#[test]
fn a_handshake_that_its_client_breaks_off_is_a_drop_and_no_overflow() {
    let test = "a_handshake_that_its_client_breaks_off";
    let Some(stage) = Stage::set_up(test) else {
        return;
    };
    let (_listener, at) = stage.listen_tcp("127.0.0.1:0", 5);
    if !stage.slow_down() {
        left_out(test, "needs `tc` and the kernel's token bucket filter");
        return;
    }
    // The SYN is on its way; what it is answered finds nobody.
    for _ in 0..3 {
        drop(stage.knock(at));
    }
    let seen = || {
        let (mut namespace, sample) = look(&stage, Eye::Nobody);
        let counters = namespace.counters().expect("counters");
        (sample.reached_at(at)[0].drops, counters)
    };
    assert!(eventually(SOON, || seen().0 == Some(3)), "{:?}", seen());
    let (drops, counters) = seen();
    assert_eq!(counters.broken_handshakes, 3);
    let drops = drops.unwrap_or_default().into();
    assert_eq!(overflows_of(drops, &counters), 0..=0);
}

#[test]
fn a_client_with_a_cookie_is_a_ghost_of_which_the_server_knows_nothing() {
    let test = "a_client_with_a_cookie_is_a_ghost";
    let Some(stage) = Stage::set_up(test) else {
        return;
    };
    let (_listener, at) = stage.listen_tcp("127.0.0.1:0", 20);
    let _queued = fill(&stage, at, 18);
    // Cookies for everybody, full or not.
    stage.set("ipv4/tcp_syncookies", "2");
    if !stage.slow_down() {
        left_out(test, "needs `tc` and the kernel's token bucket filter");
        return;
    }
    let (clients, waiting) = crowd(&stage, at);
    assert!(waiting.ghosts.iter().all(|it| !it.is_half_open));
    assert!(waiting.half_open.is_empty());
    let (mut namespace, _) = look(&stage, Eye::Nobody);
    let counters = namespace.counters().expect("counters");
    assert_eq!(counters.cookies_sent, 15);
    assert_eq!(counters, counters_of(&stage));
    drop(clients);
}

#[test]
fn somaxconn_counts_at_the_time_of_listen_and_never_after() {
    let Some(stage) = Stage::set_up("somaxconn_counts_at_the_time_of_listen") else {
        return;
    };
    let limits = |stage: &Stage| -> Vec<_> {
        check_against_ss(stage);
        let (mut namespace, sample) = look(stage, Eye::Nobody);
        let limits: Vec<_> = sample.iter().filter_map(|it| it.limit).collect();
        (namespace.somaxconn(), limits).1
    };
    stage.set("core/somaxconn", "64");
    let (tcp, at) = stage.listen_tcp("127.0.0.1:0", 5000);
    let (unix, path) = stage.listen_unix("long.sock", 5000);
    assert_eq!(limits(&stage), [64, 64]);
    for somaxconn in ["8", "128"] {
        stage.set("core/somaxconn", somaxconn);
        assert_eq!(limits(&stage), [64, 64], "it is {somaxconn} now");
    }
    assert_eq!(look(&stage, Eye::Nobody).0.somaxconn(), Some(128));
    let _clients = fill(&stage, at, 2);
    let _unix_client = Stage::connect_unix(&path);
    tcp.listen(5000).expect("once more");
    unix.listen(5000).expect("once more");
    assert_eq!(limits(&stage), [128, 128]);
    // Below what waits already.
    stage.set("core/somaxconn", "1");
    tcp.listen(5000).expect("once more");
    assert_eq!(limits(&stage), [1, 128]);
    let (_, sample) = look(&stage, Eye::Nobody);
    assert_eq!(sample.reached_at(at)[0].is_full(), Some(true));
    let name = UnixName::Path(path);
    assert_eq!(sample.at_name(&name)[0].length, 1);
}
