//! What it costs to look at accept queues, beside what `ss` and the tables of /proc cost.
//!
//! `cargo bench -p dbvitals-acceptqueue --bench cost`, as root, with `cc` and iproute2; half a
//! minute. Everything is measured in one run, in network namespaces of its own with so many TCP
//! sockets and as many unix sockets, all connected but for the listener that is asked about. The
//! figures are the medians of several rounds, in microseconds; they are goals beside each other, not
//! tests.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use dbvitals_acceptqueue::{Listeners, Namespace};
use dbvitals_testkit::Network;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const SIZES: [usize; 3] = [10, 1_000, 10_000];
const ROUNDS: usize = 9;
/// What tells the process that holds sockets from the bench.
const HOLD: &str = "--hold-unix-sockets";
/// How long a round of cheap things lasts.
const ROUND: Duration = Duration::from_millis(40);

fn main() {
    // Two descriptors for each connection.
    let most = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, limit).expect("up to the maximum");
    if let [_, word, size, ..] = &env::args().collect::<Vec<_>>()[..]
        && word == HOLD
    {
        return UnixSockets::be_held(size);
    }
    let bare = compile();
    println!(
        "{:<44}{}",
        "microseconds, median",
        SIZES.map(|it| format!("{it:>10}")).concat()
    );
    let columns = SIZES.map(|size| measure(size, &bare));
    for (row, (name, _)) in columns[0].iter().enumerate() {
        let figures = columns
            .iter()
            .map(|column| format!("{:>10.2}", column[row].1));
        println!("{name:<44}{}", figures.collect::<String>());
    }
    let ratio = |over: &str, under: &str| {
        let of = |column: &[(&str, f64)], name: &str| {
            column
                .iter()
                .find(|it| it.0 == name)
                .map_or(f64::NAN, |it| it.1)
        };
        let ratios = columns.iter().map(|it| of(it, over) / of(it, under));
        ratios.map(|it| format!("{it:>10.2}")).collect::<String>()
    };
    println!();
    println!("{:<44}{}", "lookup / bare lookup in C", ratio(LOOKUP, BARE));
    println!("{:<44}{}", "ss / lookup", ratio(SS, LOOKUP));
    println!("{:<44}{}", "ss / sample", ratio(SS, SAMPLE));
    println!("{:<44}{}", "/proc/net/tcp / lookup", ratio(TABLES, LOOKUP));
}

const BARE: &str = "bare lookup in C";
const LOOKUP: &str = "lookup of one listener";
const SAMPLE: &str = "sample: all listeners, TCP and unix";
const WAITING: &str = "who waits at one listener";
const COUNTERS: &str = "counters of the namespace";
const TABLES: &str = "read and parse /proc/net/tcp and tcp6";
const SS: &str = "ss -Hlnt 'sport = :P'";

fn measure(size: usize, bare: &Path) -> Vec<(&'static str, f64)> {
    let network = Network::new();
    inside(&network, || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let at = listener.local_addr().expect("bound");
        let _sockets = (connect(size, at, &listener), UnixSockets::hold(size));
        let mut namespace = Namespace::current().expect("sock_diag is there");
        let sample = namespace.sample().expect("a sample");
        let own = sample.reached_at(at)[0].clone();
        let port = at.port().to_string();
        let filter = format!("sport = :{port}");
        vec![
            (BARE, bare_lookup(bare, &port)),
            (
                LOOKUP,
                time(|| drop(namespace.tcp_listener(at).expect("an answer"))),
            ),
            (SAMPLE, time(|| drop(namespace.sample().expect("a sample")))),
            (
                WAITING,
                time(|| drop(namespace.waiting(&own, &sample).expect("who"))),
            ),
            (
                COUNTERS,
                time(|| _ = namespace.counters().expect("counters")),
            ),
            (TABLES, time(tables)),
            (
                SS,
                time(|| run(Command::new("ss").args(["-Hlnt", &filter]))),
            ),
        ]
    })
}

/// Half of the sockets are the clients' ends, half the server's.
fn connect(size: usize, at: SocketAddr, listener: &TcpListener) -> impl Sized {
    let pairs = (0..size / 2).map(|_| {
        let client = TcpStream::connect(at).expect("room in the queue");
        (client, listener.accept().expect("a client"))
    });
    pairs.collect::<Vec<_>>()
}

/// A process that holds unix sockets: with the others they would be too many for one.
struct UnixSockets(Child);

impl UnixSockets {
    fn hold(size: usize) -> Self {
        let program = env::current_exe().expect("a bench has a path");
        let mut command = Command::new(program);
        command.arg(HOLD).arg(size.to_string());
        let holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut holder = Self(holder.expect("it can be started again"));
        let mut ready = [0];
        let said = holder.0.stdout.as_mut().map(|it| it.read_exact(&mut ready));
        assert!(matches!(said, Some(Ok(()))), "the sockets cannot be held");
        holder
    }

    /// What the process does.
    fn be_held(size: &str) {
        let size: usize = size.parse().expect("a number");
        let pairs: Vec<_> = (0..size / 2)
            .map(|_| UnixStream::pair().expect("a pair"))
            .collect();
        println!("{}", pairs.len());
        // Until whoever wants them is gone.
        let _ = io::stdin().read(&mut [0]);
    }
}

impl Drop for UnixSockets {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn tables() {
    let read = |name: &str| fs::read(format!("/proc/thread-self/net/{name}"));
    let tcp = [
        read("tcp").expect("a table"),
        read("tcp6").unwrap_or_default(),
    ]
    .concat();
    drop(Listeners::from_tables(&tcp, b""));
}

fn bare_lookup(bare: &Path, port: &str) -> f64 {
    let lookups = || {
        let output = Command::new(bare).args([port, "20000"]).output();
        let output = output.expect("the bare lookup can be started");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.trim().parse::<f64>().expect("nanoseconds") / 1000.0
    };
    median((0..ROUNDS).map(|_| lookups()).collect())
}

/// The median of several rounds, in microseconds a call.
fn time(mut what: impl FnMut()) -> f64 {
    what();
    let mut round = || {
        let begin = now();
        let mut calls = 0_u32;
        while begin.elapsed() < ROUND {
            what();
            calls += 1;
        }
        begin.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    };
    median((0..ROUNDS).map(|_| round()).collect())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[expect(clippy::disallowed_methods, reason = "a bench measures")]
fn now() -> Instant {
    Instant::now()
}

fn run(command: &mut Command) {
    let output = command.output().expect("iproute2 is installed");
    assert!(
        output.status.success() && !output.stdout.is_empty(),
        "{output:?}"
    );
}

fn compile() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/bare_lookup.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bare_lookup");
    let compiled = Command::new("cc")
        .arg("-O2")
        .arg("-o")
        .arg(&program)
        .arg(source)
        .status();
    assert!(
        compiled.is_ok_and(|it| it.success()),
        "a C compiler is needed"
    );
    program
}

fn inside<T: Send>(network: &Network, what: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(network.file()).expect("the namespace exists");
    let entered = || {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), kind).expect("only root may");
        what()
    };
    let ended = thread::scope(|scope| scope.spawn(entered).join());
    ended.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
}
