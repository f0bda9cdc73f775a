//! A thousand reloads under load: nobody who asks notices, and nothing is left behind.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dbvitals_testkit::eventually;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::gate::GatePort;
use crate::socket_gate::SocketGate;
use crate::state_dir::StateDir;
use crate::{QUICK, Service, http};

const RELOADS: usize = 1000;
/// Reloads before anything is measured: buffers and tables have their size then.
const WARM_UP: usize = 100;
/// How much more memory may be resident after so many reloads, all noise in it: 4 KiB for each, where
/// the text of the configuration alone has half a KiB. Measured: 0.3 KiB, most of it the record's.
const GROWTH_KIB_MAX: u64 = 4 * 1024;

/// A configuration of which everything but `db` and its gate comes, goes or changes.
struct Site {
    db: Service,
    other: Service,
    gate: GatePort,
    passing: [SocketGate; 2],
    state: StateDir,
    record: PathBuf,
}

impl Site {
    fn new() -> Self {
        let record = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reload-record");
        Self {
            db: Service::start(),
            other: Service::start(),
            gate: GatePort::reserve(),
            passing: ["passing", "told"].map(SocketGate::new),
            state: StateDir::new("reloads"),
            record,
        }
    }

    fn text(&self, round: usize) -> String {
        let passing = format!(
            "[backend.other]\nurl = \"{}\"\nfall = {}\n\
             [service.both]\nbackends = [\"db\", \"other\"]\n\
             [gate.passing]\nlisten = \"{}\"\nof = \"both\"\n\
             [agent_check.passing]\nlisten = \"{}\"\nof = \"other\"\n",
            self.other.url(),
            2 + round / 2 % 3,
            self.passing[0].address(),
            self.passing[1].address()
        );
        format!(
            "{}{QUICK}fall = {}\n[backend.db]\nurl = \"{}\"\n\
             [gate.db]\nlisten = \"{}\"\nof = \"db\"\n{}",
            self.state.section(),
            2 + round % 3,
            self.db.url(),
            self.gate.address(),
            if round.is_multiple_of(2) {
                &passing
            } else {
                ""
            }
        )
    }
}

/// Those who ask all the time.
struct Crowd {
    ending: Arc<AtomicBool>,
    askers: Vec<JoinHandle<usize>>,
    listener: JoinHandle<usize>,
    events: TcpStream,
}

impl Crowd {
    fn start(agent: &Agent) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let address = agent.http();
        let askers = ["/health/db", "/metrics", "/api/v1/backends"].map(|path| {
            let ended = Arc::clone(&ending);
            thread::spawn(move || ask_until(&ended, address, path))
        });
        let mut events = TcpStream::connect(address).expect("the HTTP port is open");
        events.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write!(events, "GET /api/v1/events HTTP/1.0\r\n\r\n").expect("the kernel takes it");
        let stream = events.try_clone().expect("a descriptor");
        let listener = thread::spawn(move || count_events(stream));
        Self {
            ending,
            askers: askers.into(),
            listener,
            events,
        }
    }

    /// Ends; answers how much was asked, and heard.
    fn end(self) -> (usize, usize) {
        self.ending.store(true, Ordering::Relaxed);
        let asked = self.askers.into_iter();
        let asked = asked.map(|asker| asker.join().expect("each is answered with 200"));
        let asked = asked.sum();
        // The end of our side is one for the listener, too.
        let _ = self.events.shutdown(std::net::Shutdown::Both);
        let heard = self
            .listener
            .join()
            .expect("events come as long as one listens");
        (asked, heard)
    }
}

fn ask_until(ended: &AtomicBool, address: SocketAddr, path: &str) -> usize {
    let mut asked = 0;
    while !ended.load(Ordering::Relaxed) {
        let answer = http::request(address, "GET", path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        asked += 1;
        thread::sleep(Duration::from_millis(2));
    }
    asked
}

fn count_events(mut stream: TcpStream) -> usize {
    let (mut heard, mut buffer) = (String::new(), [0; 65_536]);
    loop {
        match stream.read(&mut buffer).expect("an event in time") {
            0 => return heard.matches("event: ").count(),
            read => heard.push_str(&String::from_utf8_lossy(&buffer[..read])),
        }
    }
}

/// What a process holds on to.
#[derive(Debug)]
struct Holdings {
    descriptors: usize,
    threads: u64,
    resident_kib: u64,
}

impl Holdings {
    fn of(agent: &Agent) -> Self {
        let process = format!("/proc/{}", agent.pid());
        let open = fs::read_dir(format!("{process}/fd")).expect("it runs");
        let status = fs::read_to_string(format!("{process}/status")).expect("it runs");
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.unwrap_or_else(|| panic!("no {key} in {status}"))
        };
        Self {
            descriptors: open.count(),
            threads: number("Threads:"),
            resident_kib: number("VmRSS:"),
        }
    }
}

#[test]
fn a_thousand_reloads_under_load_lose_nothing_and_leak_nothing() {
    let site = Site::new();
    let config = ConfigFile::new(&site.text(1));
    let mut command = config.serve();
    command.arg("--record").arg(&site.record);
    let agent = Agent::start(command);
    let since = agent.wait_for_verdict("db", "up").1["since"].clone();
    site.gate.opens_within(PATIENCE, site.gate.now());
    let reload = |round: usize| {
        config.write(&site.text(round));
        let answer = http::send_to_socket(&site.state.socket(), "/api/v1/reload", "");
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let load = |rounds: usize| {
        let (crowd, vigil) = (Crowd::start(&agent), site.gate.watch());
        (0..rounds).for_each(&reload);
        // What comes with the last reload stays for as long as it takes to be seen.
        reload(0);
        agent.wait_for_verdict("other", "up");
        assert!(eventually(PATIENCE, || site
            .passing
            .iter()
            .all(SocketGate::is_open)));
        reload(1);
        assert!(eventually(PATIENCE, || site
            .passing
            .iter()
            .all(SocketGate::is_gone)));
        let seen = vigil.end();
        assert!(seen.refused == 0 && seen.open > 0, "{seen:?}");
        let (asked, heard) = crowd.end();
        assert!(
            asked > rounds / 10 && heard > 0,
            "{asked} asked, {heard} heard"
        );
    };
    load(WARM_UP);
    let before = Holdings::of(&agent);
    load(RELOADS);

    assert_eq!(agent.health("db").1["since"], since);
    let told = agent.transitions();
    let of_db = told.iter().filter(|line| line["backend"] == "db");
    assert_eq!(of_db.count(), 1, "{told:#?}");
    // Those who asked last may still be on their way out.
    let is_back = || {
        let now = Holdings::of(&agent);
        now.descriptors <= before.descriptors && now.threads <= before.threads
    };
    assert!(
        eventually(PATIENCE, is_back),
        "{:?}, {before:?}",
        Holdings::of(&agent)
    );
    let now = Holdings::of(&agent);
    assert!(
        now.resident_kib <= before.resident_kib + GROWTH_KIB_MAX,
        "{now:?}, {before:?}"
    );
    let log = agent.log();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}
