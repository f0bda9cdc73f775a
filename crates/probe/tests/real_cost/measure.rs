//! Measures what a row of the document claims, and tells where the two differ.

use dbvitals_testkit::{TestAuthority, Validity};
use dbvitals_verdict::{Depth, Path};

use crate::asker::Asker;
use crate::capture::{Capture, Traffic};
use crate::document::{self, Cost, Row, Way};
use crate::server::{Account, Measured};

/// How many probes are looked at packet by packet.
const CAPTURED: usize = 21;
/// How many packets a probe may make more or less than most of its kind.
const ODD_PACKETS_MAX: u64 = 2;
/// How many probes the counters and the log are read after.
const COUNTED: u64 = 10;
/// Processor time is taken of so many probes at once, and the least of so many times: whatever
/// else runs on the machine can only add to it.
const ROUNDS: usize = 3;
/// Of up to so many, while it is more than documented.
const ROUNDS_MAX: usize = 10;
const HELD_PER_ROUND: u64 = 400;
const FRESH_PER_ROUND: u64 = 150;

/// Machines differ; a probe may take this many times the processor time that is documented.
const CPU_FACTOR: f64 = 3.0;
/// … and should not take so many times less, or the document frightens people for nothing.
const CPU_ORDER: f64 = 10.0;
/// Packets' contents differ in a connection's number, a process's or a key's digits.
const BYTES_TOLERANCE: f64 = 0.01;
/// Signatures and certificates differ in length from one key to the next.
const TLS_BYTES_TOLERANCE: f64 = 0.03;

/// A server to count on, and one that logs what the first does not.
struct Pair<S> {
    server: S,
    talkative: Option<S>,
}

/// Holds a real server against the document's table for it.
#[expect(
    clippy::print_stdout,
    reason = "the table as it was measured, for those who ask for it"
)]
pub(crate) fn check<S: Measured>() {
    let authority = TestAuthority::new();
    let tls = authority.issue(&["127.0.0.1"], Validity::Current);
    let pair = Pair {
        server: S::start(Some(tls.clone())),
        talkative: S::start_talkative(Some(tls)),
    };
    // The table that a write makes where it is missing.
    pair.ask(Way::Tcp, Depth::Write, Path::Fresh, 1);
    let mut measured = String::new();
    let mut wrong = 0;
    for row in document::rows(S::HEADING) {
        let (cost, cpu_unit) = pair.measure(&row);
        let differs = differences(&row, &cost, cpu_unit);
        wrong += differs.len();
        measured += &format!("{}\n", row.with(&cost));
        for difference in differs {
            measured += &format!("  ^ {difference}\n");
        }
    }
    println!("{measured}");
    assert_eq!(
        wrong, 0,
        "the document differs from the servers:\n{measured}"
    );
}

/// Where what was measured is not what the document says.
fn differences(row: &Row, measured: &Cost, cpu_unit: f64) -> Vec<String> {
    let said = &row.cost;
    // The last words of TLS cross each other.
    let (tolerance, packets_apart) = match row.way {
        Way::Tls => (TLS_BYTES_TOLERANCE, 1),
        Way::Tcp | Way::Stranger | Way::Unprivileged | Way::Socket => (BYTES_TOLERANCE, 0),
    };
    let apart = |a: Option<u64>, b: Option<u64>| a.unwrap_or(0).abs_diff(b.unwrap_or(0));
    let bytes = |cost: &Cost| cost.bytes.map_or(0.0, |bytes| bytes as f64);
    let cpu_max = cpu_micros_max(row, cpu_unit);
    let checks = [
        (
            "packets",
            apart(said.packets, measured.packets) <= packets_apart,
        ),
        (
            "packets in all",
            apart(said.packets_in_all, measured.packets_in_all) <= ODD_PACKETS_MAX,
        ),
        (
            "bytes",
            (bytes(said) - bytes(measured)).abs() <= bytes(said) * tolerance,
        ),
        ("round trips", said.round_trips == measured.round_trips),
        ("sessions", said.sessions == measured.sessions),
        ("processor time", measured.cpu_micros <= cpu_max),
        (
            "processor time, far less than said,",
            measured.cpu_micros + cpu_unit >= said.cpu_micros / CPU_ORDER,
        ),
        ("log lines", said.log_lines == measured.log_lines),
        ("the last column", said.besides == measured.besides),
    ];
    let wrong = checks.into_iter().filter(|(_, holds)| !holds);
    wrong
        .map(|(name, _)| format!("{name}: {}", row.text))
        .collect()
}

fn cpu_micros_max(row: &Row, unit: f64) -> f64 {
    row.cost.cpu_micros * CPU_FACTOR + unit
}

impl<S: Measured> Pair<S> {
    /// Probes both servers.
    fn ask(&self, way: Way, depth: Depth, path: Path, times: u64) {
        for server in [Some(&self.server), self.talkative.as_ref()]
            .into_iter()
            .flatten()
        {
            let mut asker = Asker::new(server.target(way));
            asker.prepare(depth, path);
            for _ in 0..times {
                asker.pass(depth, path);
            }
            asker.leave();
        }
    }

    fn measure(&self, row: &Row) -> (Cost, f64) {
        let traffic = match row.way {
            Way::Socket => None,
            Way::Tcp | Way::Stranger | Way::Unprivileged | Way::Tls => Some(self.traffic(row)),
        };
        let account = self.account(row);
        let (cpu_micros, cpu_unit) = self.cpu_micros(row);
        let cost = Cost {
            packets: traffic.as_ref().map(|it| it.packets),
            packets_in_all: traffic.as_ref().map(|it| it.packets + it.acknowledgements),
            bytes: traffic.as_ref().map(|it| it.bytes),
            round_trips: traffic.as_ref().map(|it| it.round_trips),
            sessions: account.sessions,
            cpu_micros,
            log_lines: account.log_lines,
            besides: account.besides,
        };
        (cost, cpu_unit)
    }

    /// The traffic of a probe, as most probes have it. Some differ by a packet or two: sides that
    /// say goodbye at the same time save one, and acknowledgements come and go.
    fn traffic(&self, row: &Row) -> Traffic {
        let mut capture = Capture::start(self.server.port()).expect("packets can be seen");
        let mut asker = Asker::new(self.server.target(row.way));
        asker.prepare(row.depth, row.path);
        capture.take();
        let probes: Vec<Traffic> = (0..CAPTURED)
            .map(|_| {
                asker.pass(row.depth, row.path);
                capture.take()
            })
            .collect();
        asker.leave();
        let usual = middle(&probes, |it| it.packets);
        for odd in &probes {
            let near = odd.packets.abs_diff(usual.packets) <= ODD_PACKETS_MAX;
            assert!(
                near,
                "two probes differ: {odd:#?}, {usual:#?} in {}",
                row.text
            );
        }
        // What a server says unasked, as TLS does, may cut a round trip in two.
        let round_trips = probes.iter().map(|it| it.round_trips).min();
        Traffic {
            packets: usual.packets,
            acknowledgements: middle(&probes, |it| it.acknowledgements).acknowledgements,
            bytes: middle(&probes, |it| it.bytes).bytes,
            round_trips: round_trips.unwrap_or_default(),
            story: usual.story.clone(),
        }
    }

    /// What one probe adds to counters and logs.
    fn account(&self, row: &Row) -> Account {
        let held = u64::from(row.path == Path::Held);
        let mut whole = Account::default();
        let mut asker = Asker::new(self.server.target(row.way));
        asker.prepare(row.depth, row.path);
        let before = self.server.account(held, Account::default());
        (0..COUNTED).for_each(|_| asker.pass(row.depth, row.path));
        whole.add(before, self.server.account(held, before));
        asker.leave();
        if let Some(talkative) = &self.talkative {
            let mut asker = Asker::new(talkative.target(row.way));
            asker.prepare(row.depth, row.path);
            let before = talkative.account_of_log();
            (0..COUNTED).for_each(|_| asker.pass(row.depth, row.path));
            whole.add(before, talkative.account_of_log());
            asker.leave();
        }
        whole.share(COUNTED, row)
    }

    /// The processor time of a probe, and how finely it could be told.
    fn cpu_micros(&self, row: &Row) -> (f64, f64) {
        let mut asker = Asker::new(self.server.target(row.way));
        asker.prepare(row.depth, row.path);
        asker.pass(row.depth, row.path);
        let times = match row.path {
            Path::Held => HELD_PER_ROUND,
            Path::Fresh | Path::Queue => FRESH_PER_ROUND,
        };
        let micros = |nanos: u64| nanos as f64 / 1000.0 / times as f64;
        let mut unit = 0.0;
        let mut least = f64::INFINITY;
        for round in 1..=ROUNDS_MAX {
            let (before, _) = self.server.cpu_nanos(row.path);
            (0..times).for_each(|_| asker.pass(row.depth, row.path));
            let (after, unit_nanos) = self.server.cpu_nanos(row.path);
            least = least.min(micros(after.saturating_sub(before)));
            unit = micros(unit_nanos);
            if round >= ROUNDS && least <= cpu_micros_max(row, unit) {
                break;
            }
        }
        asker.leave();
        (least, unit)
    }
}

/// The probe in the middle, by this figure.
fn middle(probes: &[Traffic], figure: impl Fn(&Traffic) -> u64) -> &Traffic {
    let mut sorted: Vec<&Traffic> = probes.iter().collect();
    sorted.sort_by_key(|it| figure(it));
    sorted[sorted.len() / 2]
}

impl Account {
    fn add(&mut self, before: Self, after: Self) {
        self.sessions += after.sessions - before.sessions;
        self.log_lines += after.log_lines - before.log_lines;
        self.besides += after.besides - before.besides;
    }

    /// One probe's share.
    fn share(self, times: u64, row: &Row) -> Self {
        let share = |whole: u64| {
            assert_eq!(
                whole % times,
                0,
                "probes differ in what they leave: {self:?} in {}",
                row.text
            );
            whole / times
        };
        Self {
            sessions: share(self.sessions),
            log_lines: share(self.log_lines),
            besides: share(self.besides),
        }
    }
}
