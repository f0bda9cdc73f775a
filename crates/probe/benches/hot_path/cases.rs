//! What is counted. Each case is played a few times first, so that tables and buffers have their size.
//!
//! The monitor's time is made of the moments for which it asks to be woken, so that nothing here
//! waits for a pace. The prober's is real: what it saw is moved to the monitor's present before the
//! monitor is told, or proofs would look ever older until they went stale.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_probe::{Address, Clock, Order, Prober, Protocol, Target, TargetId};
use dbvitals_verdict::{
    Action, BackendId, Cause, Course, Depth, Moment, Monitor, Observation, Outcome, Path, Phases,
    Plan, ProbeId, Verdict,
};
use dbvitals_wire::{Credentials, Login, Session, TlsOffer};

use crate::measured;
use crate::peer::{GREETING, Peer, Refusing};

type Play = fn(u64);

/// The cases, and how they are played so many times.
pub(crate) const ALL: [(&str, Play); 5] = [
    ("asked_ping", asked_ping),
    ("answered_ping", answered_ping),
    ("failed_probe", failed_probe),
    ("transition", transition),
    ("greeting", greeting),
];

const ID: BackendId = BackendId(0);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the kernel has for what comes over loopback.
const PATIENCE: Duration = Duration::from_secs(10);

/// A shard in small: the monitor, the prober, and one target.
struct Shard {
    monitor: Monitor,
    prober: Prober,
    clock: Clock,
    now: Moment,
    /// When the monitor wants to be woken next.
    due: Moment,
}

impl Shard {
    /// A shard whose backend is held, with next to nothing asked on the fresh path meanwhile.
    fn new(address: SocketAddr) -> Self {
        let mut target = Target::new(
            Protocol::MySql,
            Address::Tcp {
                host: address.ip().to_string(),
                port: address.port(),
            },
        );
        target.credentials = Some(Credentials::new("vitals").into());
        let clock = Clock::start();
        let mut prober = Prober::new(clock).expect("the kernel has a descriptor");
        prober.add_target(TargetId(ID.0), Arc::new(target));
        let plan = Plan {
            fresh_interval: DAY,
            // The prober's deadlines are by its own clock, and valgrind is slow.
            timeout: Duration::from_secs(60),
            stale_after: DAY,
            ..Plan::new(Course::Session { depth: Depth::Ping })
        };
        let mut monitor = Monitor::new(1);
        monitor.handle_plan(&BTreeMap::from([(ID, Arc::new(plan))]), Moment::ORIGIN);
        let due = monitor.poll_timeout().expect("a new backend is asked");
        Self {
            monitor,
            prober,
            clock,
            now: Moment::ORIGIN,
            due,
        }
    }

    /// Starts what is due next.
    fn ask(&mut self) {
        self.now = self.due;
        self.monitor.handle_timeout(self.now);
        assert_eq!(self.settle(), 1, "one probe is due");
    }

    /// Takes what comes until that ends a probe, and all that follows from it.
    fn hear(&mut self) {
        loop {
            self.take();
            if let Some((_, observation)) = self.prober.poll_observation() {
                let observation = Observation {
                    started: self.now,
                    ended: self.now,
                    ..observation
                };
                self.monitor.handle_observation(ID, observation, self.now);
                self.settle();
                return;
            }
        }
    }

    /// Waits for something to come, and takes it.
    fn take(&mut self) {
        let until = self.clock.now() + PATIENCE;
        self.prober.wait(Some(until)).expect("epoll waits");
        assert!(self.clock.now() < until, "nothing comes");
    }

    /// Carries out what the monitor wants, and asks when it wants to be woken; answers how many
    /// probes that started.
    fn settle(&mut self) -> usize {
        let mut started = 0;
        while let Some(action) = self.monitor.poll_action() {
            if let Action::StartProbe {
                probe,
                path,
                depth,
                deadline,
                ..
            } = action
            {
                started += 1;
                self.prober.start(Order {
                    target: TargetId(ID.0),
                    probe,
                    path,
                    depth,
                    deadline,
                    hold: true,
                });
            }
        }
        self.due = self.monitor.poll_timeout().expect("there is a backend");
        started
    }

    fn verdict(&self) -> Verdict {
        self.monitor.standing(ID).expect("it has a plan").verdict
    }
}

/// A ping on the held session of a server that is up, from its moment to its write.
fn asked_ping(rounds: u64) {
    pings(rounds, true, false);
}

/// The answer to it, from the socket's readiness to the moment of the next one.
fn answered_ping(rounds: u64) {
    pings(rounds, false, true);
}

fn pings(rounds: u64, asks: bool, hears: bool) {
    let mut peer = Peer::start();
    let mut shard = Shard::new(peer.address());
    shard.ask();
    peer.greet();
    for answer in [Peer::welcome, Peer::pong] {
        while !peer.hears() {
            shard.take();
        }
        answer(&mut peer);
    }
    shard.hear();
    for round in 0..rounds * 2 {
        let counted = round >= rounds;
        step(counted && asks, || shard.ask());
        peer.pong();
        step(counted && hears, || shard.hear());
    }
    assert_eq!(shard.verdict(), Verdict::Up);
}

/// A connect that is refused by a server that is down, from its moment to that of the next one.
fn failed_probe(rounds: u64) {
    let refusing = Refusing::start();
    let mut shard = Shard::new(refusing.address());
    for round in 0..rounds * 2 {
        step(round >= rounds, || {
            shard.ask();
            shard.hear();
        });
    }
    assert_eq!(shard.verdict(), Verdict::Down);
}

/// An observation that changes the verdict, and what is announced of it.
fn transition(rounds: u64) {
    let plan = Plan {
        rise: 1,
        fall: 1,
        ..Plan::new(Course::Sessionless {
            depth: Depth::Connect,
            deeper: None,
        })
    };
    let mut monitor = Monitor::new(1);
    monitor.handle_plan(&BTreeMap::from([(ID, Arc::new(plan))]), Moment::ORIGIN);
    for round in 0..rounds * 2 {
        let now = monitor.poll_timeout().expect("something is due");
        monitor.handle_timeout(now);
        let mut probe = None;
        while let Some(action) = monitor.poll_action() {
            if let Action::StartProbe { probe: started, .. } = action {
                probe = Some(started);
            }
        }
        let outcome = match round % 2 {
            0 => Outcome::Pass,
            _ => Outcome::Fail(Cause::Refused),
        };
        let seen = observation(probe, outcome, now);
        let announced = step(round >= rounds, || {
            monitor.handle_observation(ID, seen, now);
            let actions = std::iter::from_fn(|| monitor.poll_action());
            actions
                .filter(|it| matches!(it, Action::Announce(_)))
                .count()
        });
        assert_eq!(announced, 1, "the verdict changes");
    }
}

fn observation(probe: Option<ProbeId>, outcome: Outcome, now: Moment) -> Observation {
    Observation {
        path: Path::Fresh,
        probe,
        started: now,
        ended: now,
        depth: None,
        outcome,
        phases: Phases::default(),
        session: false,
        server: None,
        detail: None,
    }
}

/// A server's first words, up to the answer to them.
fn greeting(rounds: u64) {
    let mut out = Vec::with_capacity(1024);
    for round in 0..rounds * 2 {
        let credentials = Credentials::new("vitals").with_password("secret");
        let mut session = Session::mysql(Login::new(credentials, TlsOffer::Never, [7; 32]));
        out.clear();
        let mut input = GREETING;
        step(round >= rounds, || {
            while session.handle_input(&mut input, &mut out).is_some() {}
        });
        assert!(!out.is_empty(), "it is answered");
    }
}

/// Does something, and has it counted or not.
fn step<T>(counted: bool, what: impl FnOnce() -> T) -> T {
    match counted {
        true => measured(what),
        false => what(),
    }
}
