//! The depth `listening`, on sockets of this process: no connection is made, so nothing ever waits in
//! their queues but what the test puts there.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dbvitals_acceptqueue::Namespace;
use dbvitals_probe::{Address, Clock, Order, Prober, Protocol, Target, TargetId};
use dbvitals_testkit::{Network, left_out};
use dbvitals_verdict::{Cause, Depth, Observation, Outcome, Path, Phase, ProbeId};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, SockAddr, Socket, Type};

const ID: TargetId = TargetId(0);

/// What a probe of an address sees.
fn look(address: Address) -> Observation {
    let clock = Clock::start();
    let mut prober = Prober::new(clock).expect("an epoll descriptor");
    prober.add_target(ID, Arc::new(Target::new(Protocol::Opaque, address)));
    prober.start(Order {
        target: ID,
        probe: ProbeId(1),
        path: Path::Fresh,
        depth: Depth::Listening,
        deadline: clock.now() + Duration::from_secs(5),
        hold: false,
    });
    loop {
        if let Some((_, observation)) = prober.poll_observation() {
            return observation;
        }
        prober.wait(None).expect("epoll waits");
    }
}

fn tcp(host: &str, address: SocketAddr) -> Address {
    Address::Tcp {
        host: host.to_owned(),
        port: address.port(),
    }
}

fn check(address: Address, outcome: Outcome) {
    let seen = look(address);
    assert_eq!(seen.outcome, outcome, "{seen:?}");
    let reached = (outcome == Outcome::Pass).then_some(Depth::Listening);
    assert_eq!(seen.depth, reached, "{seen:?}");
    let phases: Vec<_> = seen.phases.iter().map(|(phase, ..)| phase).collect();
    assert_eq!(phases.last(), Some(&Phase::Listening), "{seen:?}");
}

#[test]
fn a_listener_with_room_passes_and_hears_nothing_of_it() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = server.local_addr().expect("it listens");
    for host in ["127.0.0.1", "localhost"] {
        check(tcp(host, address), Outcome::Pass);
    }
    let mut namespace = Namespace::current().expect("sock_diag is there");
    let found = namespace.tcp_listener(address).expect("an answer");
    let found = found.expect("it listens");
    assert_eq!((found.length, found.drops), (0, Some(0)));
}

#[test]
fn where_nobody_listens_it_is_refused_and_says_where_it_looked() {
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let address = tcp("127.0.0.1", gone.expect("a free port"));
    check(address.clone(), Outcome::Fail(Cause::Refused));
    let detail = look(address).detail.expect("a sentence");
    assert!(detail.contains("network namespace"), "{detail}");
    let nowhere = Address::Unix("/nowhere/server.sock".into());
    check(nowhere, Outcome::Fail(Cause::Refused));
}

#[test]
fn a_queue_at_its_limit_has_room_and_beyond_it_is_full() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a free port");
    socket.listen(1).expect("it can listen");
    let server = TcpListener::from(socket);
    let address = server.local_addr().expect("it listens");
    let connect = || TcpStream::connect(address).expect("there is room");
    let _first = connect();
    check(tcp("127.0.0.1", address), Outcome::Pass);
    let _second = connect();
    check(tcp("127.0.0.1", address), Outcome::Fail(Cause::QueueFull));
    server.accept().expect("they wait");
    check(tcp("127.0.0.1", address), Outcome::Pass);
}

#[test]
fn a_unix_socket_is_found_by_its_path() {
    let directory = std::env::temp_dir().join(format!("dbv-listening-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("the temporary directory can be written");
    let path = directory.join("server.sock");
    let server = UnixListener::bind(&path).expect("it can be bound");
    check(Address::Unix(path.clone()), Outcome::Pass);
    let _client = UnixStream::connect(&path).expect("there is room");
    check(Address::Unix(path.clone()), Outcome::Pass);
    drop(server);
    // The file is still there.
    check(Address::Unix(path), Outcome::Fail(Cause::Refused));
    // A directory too many does no harm.
    let _ = std::fs::remove_dir_all(&directory);
}

#[test]
fn a_socket_of_another_network_namespace_is_not_called_dead() {
    let test = "a_socket_of_another_network_namespace_is_not_called_dead";
    if !rustix::process::geteuid().is_root() {
        left_out(test, "needs root, to enter network namespaces");
        return;
    }
    let directory = std::env::temp_dir().join(format!("dbv-elsewhere-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("the temporary directory can be written");
    let path = directory.join("server.sock");
    let network = Network::new();
    let listen = || {
        let namespace = File::open(network.file()).expect("the namespace exists");
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), kind).expect("root may enter");
        UnixListener::bind(&path).expect("it can be bound")
    };
    let server = thread::scope(|scope| scope.spawn(listen).join()).expect("it listens");
    let address = Address::Unix(path.clone());
    check(address.clone(), Outcome::Fail(Cause::OutOfDescriptors));
    let detail = look(address.clone()).detail.expect("a sentence");
    assert!(detail.contains("another network namespace"), "{detail}");
    server.set_nonblocking(true).expect("an option");
    assert!(server.accept().is_err(), "no connection was made");
    drop(server);
    check(address, Outcome::Fail(Cause::Refused));
    // A directory too many does no harm.
    let _ = std::fs::remove_dir_all(&directory);
}

#[test]
fn an_earlier_listener_of_the_same_path_does_not_count() {
    let directory = std::env::temp_dir().join(format!("dbv-earlier-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("the temporary directory can be written");
    let path = directory.join("server.sock");
    let listen = |backlog: i32| {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        let address = SockAddr::unix(&path).expect("a short path");
        socket.bind(&address).expect("a free path");
        socket.listen(backlog).expect("it can listen");
        socket
    };
    let _leaked = listen(0);
    let _waits = UnixStream::connect(&path).expect("there is room");
    check(Address::Unix(path.clone()), Outcome::Fail(Cause::QueueFull));
    std::fs::remove_file(&path).expect("its file");
    check(Address::Unix(path.clone()), Outcome::Fail(Cause::Refused));
    let _now = listen(1);
    check(Address::Unix(path.clone()), Outcome::Pass);
    // A directory too many does no harm.
    let _ = std::fs::remove_dir_all(&directory);
}
