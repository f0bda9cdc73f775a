//! How long it takes until a fault of a real server is noticed: by dbvitals, by HAProxy with a fast
//! pace on trouble, and, at PostgreSQL, by pgpool.
//!
//! All of them watch the same server in a network of its own, so each fault meets all alike; faults
//! are spread over the interval. A verdict is there when its line is read: a transition, a server
//! that `is DOWN`, a backend that is degenerated. Who has none within the bound, has it counted.

use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use dbvitals_testkit::{Network, RealServer};

use super::Row;
use crate::agent;
use crate::bench::Bench;
use crate::child::Child;
use crate::clock;
use crate::haproxy;
use crate::pgpool;
use crate::real;
use crate::scripted::Protocol;
use crate::sheet::{Goal, Sheet};
use crate::side::Series;

pub(crate) const MYSQL: Row = Row {
    name: "verdict-mysql",
    about: "time from a fault of MariaDB to the verdict, beside HAProxy",
    run: |bench| run(bench, Protocol::MySql),
};

pub(crate) const POSTGRES: Row = Row {
    name: "verdict-postgres",
    about: "time from a fault of PostgreSQL to the verdict, beside HAProxy and pgpool",
    run: |bench| run(bench, Protocol::Postgres),
};

const AFTER: &str = "verdict after";
const UNNOTICED: &str = "unnoticed";
/// How often each fault comes, unless there are more rounds: on several servers at once.
const TIMES: u32 = 20;
const INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// What each of the three waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The default of dbvitals, after which it looks whether new sessions are let in.
const FRESH_INTERVAL: Duration = Duration::from_secs(30);
/// Sessions that a server takes.
const SESSIONS_MAX: u32 = 12;
/// How long a watcher may take until it knows that all is well.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long newcomers press into a full server: others may just have left it.
const PRESSING: Duration = Duration::from_millis(300);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Crash,
    Freeze,
    BlackHole,
    Full,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Crash, Self::Freeze, Self::BlackHole, Self::Full];

    fn name(self) -> &'static str {
        match self {
            Self::Crash => "SIGKILL",
            Self::Freeze => "SIGSTOP",
            Self::BlackHole => "black hole",
            Self::Full => "full",
        }
    }

    /// What is aimed at.
    fn goal(self, interval: Duration) -> Option<Duration> {
        match self {
            Self::Crash => Some(Duration::from_millis(15)),
            Self::Freeze | Self::BlackHole => Some(interval + TIMEOUT + Duration::from_millis(50)),
            Self::Full => None,
        }
    }

    /// How many servers meet it at the same time: where milliseconds count, few enough that they do
    /// not wait for each other.
    fn at_once(self) -> u32 {
        match self {
            Self::Crash => 2,
            Self::Freeze | Self::BlackHole | Self::Full => TIMES,
        }
    }

    /// After how long nobody is waited for.
    fn bound(self, interval: Duration) -> Duration {
        match self {
            Self::Full => FRESH_INTERVAL.max(2 * interval) + Duration::from_secs(5),
            Self::Crash | Self::Freeze | Self::BlackHole => 2 * interval + Duration::from_secs(8),
        }
    }
}

/// A fault at a pace of checks.
#[derive(Debug, Clone, Copy)]
struct Case {
    protocol: Protocol,
    fault: Fault,
    interval: Duration,
}

/// One who watches, and what it says.
struct Watcher {
    name: &'static str,
    /// Says that all is well; of others it is taken for granted.
    is_ready: Option<fn(&str) -> bool>,
    notices: fn(&str, Fault) -> bool,
    /// Ends with this value.
    _child: Child,
    heard: Receiver<(Instant, String)>,
}

/// When each watcher had its verdict.
type Verdicts = Vec<(&'static str, Option<Duration>)>;

fn run(bench: &Bench, protocol: Protocol) -> anyhow::Result<Vec<Sheet>> {
    let cases = Fault::ALL.into_iter().flat_map(|fault| {
        INTERVALS.map(|interval| Case {
            protocol,
            fault,
            interval,
        })
    });
    cases.map(|case| measure(bench, case)).collect()
}

fn measure(bench: &Bench, case: Case) -> anyhow::Result<Sheet> {
    let times = TIMES.max(bench.rounds);
    let at_once_max = case.fault.at_once().min(times.div_ceil(bench.rounds));
    let mut series: Vec<Series> = Vec::new();
    for first in (0..times).step_by(at_once_max as usize) {
        let numbers = first..times.min(first + at_once_max);
        for (side, after) in at_once(bench, case, numbers)? {
            let (what, unit, value) = match after {
                Some(after) => (AFTER, "ms", after.as_secs_f64() * 1e3),
                None => (UNNOTICED, "times", 1.0),
            };
            match series
                .iter_mut()
                .find(|it| it.side == side && it.what == what)
            {
                Some(known) => known.values.push(value),
                None => series.push(Series {
                    side: side.to_owned(),
                    what,
                    unit,
                    values: vec![value],
                }),
            }
        }
    }
    let Case {
        protocol,
        fault,
        interval,
    } = case;
    let title = format!(
        "{}, {}, interval {interval:?}, {times} times",
        protocol.name(),
        fault.name()
    );
    let sheet = Sheet::new(title, series);
    Ok(match fault.goal(interval) {
        Some(goal) => sheet.aim(Goal::below(goal.as_secs_f64() * 1e3, AFTER)),
        None => sheet,
    })
}

/// Has several servers meet the fault, each at another moment of the interval.
fn at_once(bench: &Bench, case: Case, numbers: Range<u32>) -> anyhow::Result<Verdicts> {
    thread::scope(|scope| {
        let threads: Vec<_> = numbers
            .map(|number| scope.spawn(move || once(bench, case, number)))
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            let verdicts = thread.join().map_err(|_| anyhow!("a server failed"))??;
            all.extend(verdicts);
        }
        Ok(all)
    })
}

fn once(bench: &Bench, case: Case, number: u32) -> anyhow::Result<Verdicts> {
    let network = Network::new();
    let server = real::start(case.protocol, SESSIONS_MAX, Some(network.clone()))?;
    let address = format!("127.0.0.1:{}", server.port());
    let mut watchers = watchers(bench, case, &address, &network)?;
    for watcher in &mut watchers {
        watcher.wait_until_ready()?;
    }
    thread::sleep(TIMEOUT + case.interval + phase(case.interval, number));
    let mut crowd = Vec::new();
    let begun = match case.fault {
        Fault::Full => fill(&*server, case.protocol, &mut crowd)?,
        Fault::Crash => begin(|| server.kill()),
        Fault::Freeze => begin(|| server.freeze()),
        Fault::BlackHole => begin(|| network.black_hole()),
    };
    let until = begun + case.fault.bound(case.interval);
    let watchers = watchers.iter();
    Ok(watchers
        .map(|it| (it.name, it.verdict(case.fault, begun, until)))
        .collect())
}

/// The moment just before something goes wrong.
fn begin(fault: impl FnOnce()) -> Instant {
    let begun = clock::now();
    fault();
    begun
}

/// How far into the interval a fault comes: evenly spread, however many there are.
fn phase(interval: Duration, number: u32) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    interval.mul_f64((f64::from(number) * GOLDEN).fract())
}

fn watchers(
    bench: &Bench,
    case: Case,
    address: &str,
    network: &Network,
) -> anyhow::Result<Vec<Watcher>> {
    let name = format!("verdict-{}", address.replace(':', "-"));
    let mut watchers = vec![
        ours(bench, case, &name, address, network)?,
        haproxy(bench, case, &name, address, network)?,
    ];
    if case.protocol == Protocol::Postgres {
        let seconds = case.interval.as_secs();
        let addresses = [address.to_owned()];
        let configuration = pgpool::configure(bench, &name, &addresses, seconds)?;
        watchers.push(Watcher::start(
            "pgpool",
            network,
            &pgpool::words(&configuration),
            Some(|line| line.contains("successfully started")),
            |line, _| line.contains("degenerate backend request"),
        )?);
    }
    Ok(watchers)
}

fn ours(
    bench: &Bench,
    case: Case,
    name: &str,
    address: &str,
    network: &Network,
) -> anyhow::Result<Watcher> {
    let sections = format!(
        "[defaults]\ninterval = \"{:?}\"\ntimeout = \"{TIMEOUT:?}\"\n\n[backend.db]\nurl = {:?}\n",
        case.interval,
        case.protocol.url(address),
    );
    let configuration = agent::write(bench, name, "off", &sections)?;
    let mut words = agent::words(bench, &configuration);
    words.push("--json".to_owned());
    Watcher::start(
        "dbvitals",
        network,
        &words,
        Some(|line| line.contains("\"to\":\"up\"")),
        |line, fault| {
            line.contains(match fault {
                Fault::Full => "\"to\":\"degraded\"",
                Fault::Crash | Fault::Freeze | Fault::BlackHole => "\"to\":\"down\"",
            })
        },
    )
}

fn haproxy(
    bench: &Bench,
    case: Case,
    name: &str,
    address: &str,
    network: &Network,
) -> anyhow::Result<Watcher> {
    let option = match case.protocol {
        Protocol::MySql => "mysql-check user vitals",
        Protocol::Postgres => "pgsql-check user vitals",
    };
    let keywords = format!(
        "inter {}ms fastinter 200ms fall 2 rise 2",
        case.interval.as_millis()
    );
    let words = haproxy::checking(bench, name, option, &keywords, &[address.to_owned()])?;
    Watcher::start("HAProxy, fastinter", network, &words, None, |line, _| {
        line.contains(" is DOWN")
    })
}

impl Watcher {
    fn start(
        name: &'static str,
        network: &Network,
        words: &[String],
        is_ready: Option<fn(&str) -> bool>,
        notices: fn(&str, Fault) -> bool,
    ) -> anyhow::Result<Self> {
        let mut command = network.command("sh");
        command.args(["-c", "exec \"$@\" 2>&1", "sh"]).args(words);
        let mut child = Child::start(&mut command)?;
        Ok(Self {
            name,
            is_ready,
            notices,
            heard: child.heard()?,
            _child: child,
        })
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let Some(is_ready) = self.is_ready else {
            return Ok(());
        };
        let until = clock::now() + READY_WITHIN;
        let mut all = String::new();
        loop {
            match self.next(until) {
                Ok((_, line)) if is_ready(&line) => return Ok(()),
                Ok((_, line)) => all.push_str(&(line + "\n")),
                Err(_) => bail!("{} is not ready, and said:\n{all}", self.name),
            }
        }
    }

    /// How long after its beginning it has noticed the fault; `None` where it has not.
    fn verdict(&self, fault: Fault, begun: Instant, until: Instant) -> Option<Duration> {
        loop {
            let (at, line) = self.next(until).ok()?;
            if at >= begun && (self.notices)(&line, fault) {
                return Some(at - begun);
            }
        }
    }

    fn next(&self, until: Instant) -> Result<(Instant, String), RecvTimeoutError> {
        let left = until.saturating_duration_since(clock::now());
        self.heard.recv_timeout(left)
    }
}

/// Takes all places of a server, over its unix socket; answers when it refused the first.
fn fill(
    server: &dyn RealServer,
    protocol: Protocol,
    crowd: &mut Vec<UnixStream>,
) -> anyhow::Result<Instant> {
    let socket = match protocol {
        Protocol::MySql => "mysql.sock".to_owned(),
        Protocol::Postgres => format!(".s.PGSQL.{}", server.port()),
    };
    let socket = server.directory().join(socket);
    let mut full_since = None;
    while full_since.is_none_or(|since: Instant| since.elapsed() < PRESSING) {
        let mut guest = UnixStream::connect(&socket).context("it listens there")?;
        if is_let_in(&mut guest, protocol)? {
            crowd.push(guest);
        } else {
            full_since.get_or_insert_with(clock::now);
            thread::sleep(Duration::from_millis(5));
        }
    }
    full_since.context("it is full now")
}

/// Whether a server has a place for a guest who says no more than it must.
fn is_let_in(guest: &mut UnixStream, protocol: Protocol) -> anyhow::Result<bool> {
    const STARTUP: &[u8] = b"\0\0\0\x2b\0\x03\0\0user\0vitals_trust\0database\0vitals\0\0";
    let mut said = [0; 5];
    if protocol == Protocol::Postgres {
        guest.write_all(STARTUP)?;
    }
    guest.read_exact(&mut said)?;
    Ok(match protocol {
        Protocol::MySql => said[4] != 0xff,
        Protocol::Postgres => said[0] == b'R',
    })
}
