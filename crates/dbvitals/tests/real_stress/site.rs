//! A fleet of scripted servers and the agent that watches it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_testkit::{ScriptedFleet, eventually};
use dbvitals_verdict::Moment;
use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::agent::{Agent, ConfigFile};
use crate::http;

/// Fleets that fail and return one after the other.
pub(crate) const FLEETS: usize = 20;
/// How often logins are counted while a fleet fails or returns.
const COUNT_EVERY: Duration = Duration::from_millis(1000 / FLEETS as u64);
/// How long something without a bound of its own is waited for, with thousands of servers.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Many servers, and the agent.
pub(crate) struct Site {
    pub(crate) agent: Agent,
    pub(crate) fleets: Vec<ScriptedFleet>,
    pub(crate) backends: usize,
    clock: Clock,
    /// Connections that the servers had taken, looked at every [`COUNT_EVERY`].
    counts: Vec<u64>,
    _config: ConfigFile,
    _alone: MutexGuard<'static, ()>,
}

/// A verdict, and since when it is.
pub(crate) type Reached = (String, Timestamp);

impl Site {
    /// As many servers as asked for, or as can be had, and further sections of the configuration;
    /// all are up when this returns.
    pub(crate) fn start(wanted: usize, sections: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let size = wanted.min(descriptors() * 3 / 4).div_ceil(FLEETS);
        let fleets: Vec<_> = (0..FLEETS).map(|_| ScriptedFleet::start(size)).collect();
        let mut text = sections.to_owned();
        for (number, fleet) in fleets.iter().enumerate() {
            for server in 0..size {
                let address = fleet.address(server);
                writeln!(
                    text,
                    "[backend.f{number}-{server}]\nurl = \"mysql://vitals@{address}?tls=off\""
                )
                .expect("text has room");
            }
        }
        let config = ConfigFile::new(&text);
        let site = Self {
            agent: Agent::start(config.serve()),
            fleets,
            backends: size * FLEETS,
            clock: Clock::start(),
            counts: Vec::new(),
            _config: config,
            _alone: alone,
        };
        site.wait_for_all("up");
        site
    }

    pub(crate) fn now(&self) -> Timestamp {
        let now = self.clock.wall(self.clock.now());
        Timestamp::try_from(now).expect("a year of ours")
    }

    /// Does something to every fleet, one after the other within a second; answers when it began
    /// with each. Logins are counted on the way.
    pub(crate) fn within_a_second(&mut self, act: impl Fn(&mut ScriptedFleet)) -> Vec<Timestamp> {
        let mut began = Vec::new();
        let start = self.clock.now();
        for number in 0..FLEETS {
            let due = start + COUNT_EVERY * number as u32;
            self.rest_until(due);
            began.push(self.now());
            act(&mut self.fleets[number]);
            self.count_logins();
        }
        began
    }

    fn rest_until(&self, due: Moment) {
        thread::sleep(due.since(self.clock.now()));
    }

    /// The verdicts of the scripted servers.
    pub(crate) fn verdicts(&self) -> BTreeMap<String, Reached> {
        let body = self.agent.request("GET", "/api/v1/backends").body;
        let body: Value = serde_json::from_str(&body).expect("the API speaks JSON");
        let backends = body["backends"].as_array().expect("a list").iter();
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let reached = backends.map(|backend| {
            let since = text(&backend["since"]).parse().expect("a time");
            (text(&backend["name"]), (text(&backend["verdict"]), since))
        });
        reached.collect()
    }

    /// Waits until all scripted servers have this verdict, without asking more than now and then.
    pub(crate) fn wait_for_all(&self, verdict: &str) -> BTreeMap<String, Reached> {
        let mut verdicts = self.verdicts();
        let others = |verdicts: &BTreeMap<String, Reached>| {
            let other =
                |(name, (it, _)): &(&String, &Reached)| name.starts_with('f') && it != verdict;
            verdicts.iter().filter(other).count()
        };
        let reached = eventually(PATIENCE, || {
            if others(&verdicts) > 0 {
                thread::sleep(Duration::from_millis(500));
                verdicts = self.verdicts();
            }
            others(&verdicts) == 0
        });
        assert!(reached, "{} are not {verdict}", others(&verdicts));
        verdicts
    }

    /// Lets time pass, and counts logins.
    pub(crate) fn count_logins_for(&mut self, duration: Duration) {
        let until = self.clock.now() + duration;
        while self.clock.now() < until {
            thread::sleep(COUNT_EVERY);
            self.count_logins();
        }
    }

    fn count_logins(&mut self) {
        let counts = self.fleets.iter().flat_map(ScriptedFleet::logins);
        self.counts.push(counts.map(u64::from).sum());
    }

    /// The most logins in a second, of those that were counted.
    pub(crate) fn busiest_second(&self) -> u64 {
        let a_second = self.counts.windows(FLEETS + 1);
        a_second.map(|it| it[FLEETS] - it[0]).max().unwrap_or(0)
    }

    /// A number of `/api/v1/agent`.
    pub(crate) fn vital(&self, name: &str) -> u64 {
        let body = self.agent.request("GET", "/api/v1/agent").body;
        let body: Value = serde_json::from_str(&body).expect("the API speaks JSON");
        body["vitals"][name].as_u64().expect("a number")
    }
}

/// Raises our own limit of descriptors as far as it goes, which the agent inherits; answers it.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // What is there already will do.
    let _ = setrlimit(Resource::Nofile, raised);
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| limit as usize) / 4 * 4
}

/// Somebody who asks for a backend's health all the time.
pub(crate) struct Asker {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Asker {
    pub(crate) fn start(agent: &Agent) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let (address, ended) = (agent.http(), Arc::clone(&ending));
        let thread = thread::spawn(move || {
            let clock = Clock::start();
            let mut took = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let asked = clock.now();
                let answer = http::request(address, "GET", "/health/f0-0");
                assert!([200, 503].contains(&answer.status), "{answer:?}");
                took.push(clock.now().since(asked));
                thread::sleep(Duration::from_millis(10));
            }
            took
        });
        Self { ending, thread }
    }

    /// How long the answers took, the shortest first; each came.
    pub(crate) fn end(self) -> Vec<Duration> {
        self.ending.store(true, Ordering::Relaxed);
        let mut took = self.thread.join().expect("each request is answered");
        took.sort_unstable();
        took
    }
}
