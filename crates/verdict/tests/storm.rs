//! Fifteen thousand backends at once, in the time of a simulation: they fail within one second and
//! come back within one, and the agent that watches them is starved meanwhile.
//!
//! Held against the real `Monitor`: each verdict within what `explain` promises and a second, no
//! more logins than are allowed of one server and of all together, however one looks at them, and
//! nobody asked less than his neighbour. What real sockets add to it is in the program's tests.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{
    Action, BackendId, Cause, Change, Course, Depth, Moment, Monitor, Observation, Outcome, Path,
    Phases, Plan, ProbeId, Verdict, logins_wait,
};

const BACKENDS: u32 = 15_000;
const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
/// How long any answer takes; a dead server's kernel is no slower.
const LATENCY: Duration = MS;
/// How late the loop is as a rule: a batch of events each.
const LATENESS: Duration = MS;
/// What a verdict may take beyond its bound when everything fails at once.
const GRACE: Duration = SECOND;

/// How a server fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Crash,
    Freeze,
}

/// What arrives, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    /// A server fails.
    Fails,
    /// And is well again.
    Returns,
    /// The kernel tells of the end of a held session.
    Reset,
    /// A ping is answered, or its deadline is over.
    PingEnds(ProbeNumber),
    /// A fresh probe is.
    FreshEnds(ProbeNumber),
}

/// What is in a [`ProbeId`].
type ProbeNumber = u32;

impl Arrival {
    /// Nobody looks at accept queues here.
    fn end(path: Path, probe: ProbeId) -> Self {
        match path {
            Path::Held => Self::PingEnds(probe.0),
            Path::Fresh | Path::Queue => Self::FreshEnds(probe.0),
        }
    }
}

/// One server, and what the prober keeps for it.
#[derive(Debug, Default, Clone)]
struct Server {
    failed_at: Option<Moment>,
    returned_at: Option<Moment>,
    session: bool,
    held: Option<Probe>,
    fresh: Option<Probe>,
    /// When each fresh probe began.
    logins: Vec<Moment>,
    down_at: Option<Moment>,
    up_at: Option<Moment>,
}

#[derive(Debug, Clone, Copy)]
struct Probe {
    id: ProbeId,
    started: Moment,
    deadline: Moment,
}

impl Server {
    fn is_away(&self) -> bool {
        self.failed_at.is_some() && self.returned_at.is_none()
    }
}

/// All of them, and the monitor.
struct Fleet {
    monitor: Monitor,
    plan: Arc<Plan>,
    fault: Fault,
    now: Moment,
    servers: Vec<Server>,
    arrivals: BinaryHeap<Reverse<(Moment, u32, Arrival)>>,
    rng: fastrand::Rng,
}

impl Fleet {
    /// A fleet that has been up for long enough to be settled.
    fn up(plan: Plan, fault: Fault, per_second_max: Option<f64>) -> Self {
        let mut fleet = Self {
            monitor: Monitor::new(11),
            plan: Arc::new(plan),
            fault,
            now: Moment::ORIGIN,
            servers: vec![Server::default(); BACKENDS as usize],
            arrivals: BinaryHeap::new(),
            rng: fastrand::Rng::with_seed(5),
        };
        fleet.monitor.limit_logins(per_second_max);
        let plans: BTreeMap<_, _> = (0..BACKENDS)
            .map(|id| (BackendId(id), Arc::clone(&fleet.plan)))
            .collect();
        fleet.monitor.handle_plan(&plans, fleet.now);
        let last = per_second_max.map_or(SECOND * 2, |max| wait_at_most(max) * 2);
        fleet.play(last + fleet.plan.interval * 4);
        for id in 0..BACKENDS {
            assert_eq!(fleet.verdict(id), Verdict::Up, "{id} does not come up");
        }
        fleet
    }

    fn verdict(&self, id: u32) -> Verdict {
        let standing = self.monitor.standing(BackendId(id));
        standing.expect("it has a plan").verdict
    }

    /// Has every server fail, or return, at a moment of the next second.
    fn within_a_second(&mut self, arrival: Arrival) {
        self.some_within_a_second(0..BACKENDS, arrival);
    }

    fn some_within_a_second(&mut self, ids: Range<u32>, arrival: Arrival) {
        for id in ids {
            let at = self.now + SECOND.mul_f64(self.rng.f64());
            self.arrivals.push(Reverse((at, id, arrival)));
        }
    }

    /// The loop does not run for so long.
    fn starve(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// Lets time pass; the loop takes what has arrived, and then what is due.
    fn play(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let arrival = self.arrivals.peek().map(|Reverse((at, ..))| *at);
            let due = [arrival, self.monitor.poll_timeout()];
            let Some(at) = due.into_iter().flatten().min().filter(|at| *at <= end) else {
                self.now = self.now.max(end);
                return;
            };
            self.now = self.now.max(at + LATENESS);
            while let Some(Reverse((at, id, arrival))) = self.arrivals.peek().copied()
                && at <= self.now
            {
                self.arrivals.pop();
                self.arrive(id, arrival, at);
            }
            self.monitor.handle_timeout(self.now);
            self.settle();
        }
    }

    fn arrive(&mut self, id: u32, arrival: Arrival, at: Moment) {
        let server = &mut self.servers[id as usize];
        match arrival {
            Arrival::Fails => {
                (server.failed_at, server.returned_at) = (Some(at), None);
                if self.fault == Fault::Crash {
                    let told_at = at + LATENCY;
                    self.arrivals.push(Reverse((told_at, id, Arrival::Reset)));
                }
            }
            Arrival::Returns => server.returned_at = Some(at),
            Arrival::Reset => self.reset(id),
            Arrival::PingEnds(probe) => self.end(id, Path::Held, ProbeId(probe)),
            Arrival::FreshEnds(probe) => self.end(id, Path::Fresh, ProbeId(probe)),
        }
    }

    /// The held session is over, and the ping on it, if there is one.
    fn reset(&mut self, id: u32) {
        let server = &mut self.servers[id as usize];
        if std::mem::take(&mut server.session) {
            let ping = server.held.take();
            let outcome = Outcome::Fail(Cause::Reset);
            self.hear(id, Path::Held, ping, outcome, false);
        }
    }

    fn end(&mut self, id: u32, path: Path, probe: ProbeId) {
        let server = &mut self.servers[id as usize];
        let is_away = server.is_away();
        let line = match path {
            Path::Held => &mut server.held,
            Path::Fresh | Path::Queue => &mut server.fresh,
        };
        let Some(ended) = line.take_if(|line| line.id == probe) else {
            return;
        };
        let silence = match path {
            Path::Held => Cause::Unresponsive,
            Path::Fresh | Path::Queue => Cause::NoGreeting,
        };
        let outcome = match (is_away, self.fault) {
            // Its answer was under way, or the server came back in time for it.
            (false, _) => Outcome::Pass,
            (true, Fault::Crash) => Outcome::Fail(Cause::Refused),
            (true, Fault::Freeze) if ended.deadline <= self.now => Outcome::Fail(silence),
            (true, Fault::Freeze) => {
                *line = Some(ended);
                let end = Arrival::end(path, probe);
                self.arrivals.push(Reverse((ended.deadline, id, end)));
                return;
            }
        };
        let passed = outcome == Outcome::Pass;
        let session = match path {
            Path::Held => passed,
            Path::Fresh | Path::Queue => passed && !server.session,
        };
        server.session = match path {
            Path::Held => passed,
            Path::Fresh | Path::Queue => server.session || session,
        };
        self.hear(id, path, Some(ended), outcome, session);
    }

    fn hear(&mut self, id: u32, path: Path, probe: Option<Probe>, outcome: Outcome, session: bool) {
        let observation = Observation {
            path,
            probe: probe.map(|probe| probe.id),
            started: probe.map_or(self.now, |probe| probe.started),
            ended: self.now,
            depth: None,
            outcome,
            phases: Phases::default(),
            session,
            server: None,
            detail: None,
        };
        self.monitor
            .handle_observation(BackendId(id), observation, self.now);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(action) = self.monitor.poll_action() {
            match action {
                Action::StartProbe {
                    backend,
                    probe,
                    path,
                    deadline,
                    ..
                } => self.start(backend.0, probe, path, deadline),
                Action::CancelProbe { backend, path } => {
                    let server = &mut self.servers[backend.0 as usize];
                    match path {
                        Path::Held => (server.session, server.held) = (false, None),
                        Path::Fresh | Path::Queue => server.fresh = None,
                    }
                }
                Action::Announce(transition) => {
                    let server = &mut self.servers[transition.backend.0 as usize];
                    match transition.change {
                        Change::Verdict {
                            to: Verdict::Down, ..
                        } => server.down_at = Some(transition.at),
                        Change::Verdict {
                            to: Verdict::Up, ..
                        } => server.up_at = Some(transition.at),
                        Change::Verdict { .. } | Change::Role { .. } | Change::Admin { .. } => {}
                    }
                }
            }
        }
    }

    fn start(&mut self, id: u32, probe: ProbeId, path: Path, deadline: Moment) {
        let server = &mut self.servers[id as usize];
        let line = Probe {
            id: probe,
            started: self.now,
            deadline,
        };
        match path {
            Path::Held => server.held = Some(line),
            Path::Fresh | Path::Queue => {
                server.fresh = Some(line);
                server.logins.push(self.now);
            }
        }
        let end = Arrival::end(path, probe);
        self.arrivals.push(Reverse((self.now + LATENCY, id, end)));
    }

    // --- What has to hold ----------------------------------------------------------------------

    /// Every backend went down within `bound` of its fault.
    fn expect_all_down_within(&self, bound: Duration) {
        self.expect_down_within(0..BACKENDS, bound);
    }

    fn expect_down_within(&self, ids: Range<u32>, bound: Duration) {
        for id in ids {
            let server = &self.servers[id as usize];
            let failed_at = server.failed_at.expect("every server failed");
            let down_at = server.down_at.unwrap_or_else(|| panic!("{id} is not down"));
            let took = down_at.since(failed_at);
            assert!(took <= bound, "{id} down after {took:?}, not {bound:?}");
        }
    }

    fn expect_all_up_within(&self, bound: Duration) {
        for (id, server) in self.servers.iter().enumerate() {
            let returned_at = server.returned_at.expect("every server returned");
            let up_at = server.up_at.filter(|at| *at >= returned_at);
            let up_at = up_at.unwrap_or_else(|| panic!("{id} is not up"));
            let took = up_at.since(returned_at);
            assert!(took <= bound, "{id} up after {took:?}, not {bound:?}");
        }
    }

    fn expect_nobody_down(&self) {
        let down = self.servers.iter().filter(|it| it.down_at.is_some());
        assert_eq!(down.count(), 0);
    }

    /// All come back within a second, which is told in time and without a storm.
    fn expect_a_quiet_return(&mut self) {
        self.within_a_second(Arrival::Returns);
        self.play(SECOND * 5);
        self.expect_all_up_within(self.plan.recovery_bound() + GRACE);
        self.expect_logins_within(default_per_second());
        self.expect_rations_kept();
    }

    /// All logins of all servers, in windows of any length: no more than `per_second` of each
    /// second, and a tenth of that at once.
    fn expect_logins_within(&self, per_second: f64) {
        let mut logins: Vec<_> = self.servers.iter().flat_map(|it| &it.logins).collect();
        logins.sort_unstable();
        // The most crowded window is the one that a bucket of this size overflows in.
        let (mut level, mut before) = (0.0_f64, Moment::ORIGIN);
        for (number, at) in logins.iter().enumerate() {
            level = (level - at.since(before).as_secs_f64() * per_second).max(0.0) + 1.0;
            before = **at;
            // A turn is used when the loop comes round.
            let late = (LATENESS * 2).as_secs_f64() * per_second;
            let room = per_second * 0.1 + late + 2.0;
            assert!(
                level <= room,
                "login {number} at {at}: {level} at once, room for {room}"
            );
        }
    }

    /// No server is logged in to more often than its own ration allows.
    fn expect_rations_kept(&self) {
        let (at_once, spacing) = (self.plan.logins_at_once(), self.plan.login_spacing());
        for (id, server) in self.servers.iter().enumerate() {
            for (index, first) in server.logins.iter().enumerate() {
                let window = server.logins[index..].iter();
                for (count, at) in (1_u32..).zip(window) {
                    let room = f64::from(at_once) + at.since(*first).div_duration_f64(spacing);
                    assert!(f64::from(count) <= room + 1e-3, "{count} logins of {id}");
                }
            }
        }
    }

    /// Between two moments, all servers were asked about as often.
    fn expect_fairness(&self, from: Moment, to: Moment) {
        let counts = self.servers.iter().map(|server| {
            let logins = server.logins.iter();
            logins.filter(|at| **at >= from && **at < to).count()
        });
        let (least, most) = counts.fold((usize::MAX, 0), |(least, most), count| {
            (least.min(count), most.max(count))
        });
        assert!(
            least > 0 && most - least <= 2,
            "asked {least} to {most} times"
        );
    }
}

/// How long a login waits at most where all backends want one, and so many a second are allowed.
fn wait_at_most(per_second: f64) -> Duration {
    Duration::from_secs_f64(f64::from(BACKENDS) / per_second)
}

/// The logins that the default plan allows in a second: `to_fall` of each backend to tell that it is
/// down, beside the one of each `fresh_interval` and the one of each `down_interval`.
fn per_second(to_fall: f64) -> f64 {
    f64::from(BACKENDS) * (to_fall + (1.0 / 30.0 + 1.0) / 0.95)
}

fn default_per_second() -> f64 {
    per_second(1.0)
}

fn session() -> Plan {
    Plan::new(Course::Session { depth: Depth::Ping })
}

#[test]
fn a_fleet_that_crashes_and_returns_is_told_in_time_and_without_a_storm() {
    let mut fleet = Fleet::up(session(), Fault::Crash, None);
    fleet.within_a_second(Arrival::Fails);
    fleet.play(SECOND * 6);
    let bound = fleet.plan.crash_bound() + GRACE;
    fleet.expect_all_down_within(bound + LATENCY * 3 + LATENESS * 4);
    let (from, to) = (fleet.now - SECOND * 4, fleet.now);
    fleet.expect_fairness(from, to);
    fleet.expect_a_quiet_return();
}

#[test]
fn a_fleet_that_freezes_and_thaws_is_told_in_time_and_without_a_storm() {
    let mut fleet = Fleet::up(session(), Fault::Freeze, None);
    fleet.within_a_second(Arrival::Fails);
    fleet.play(SECOND * 6);
    fleet.expect_all_down_within(fleet.plan.freeze_bound() + GRACE);
    fleet.expect_a_quiet_return();
}

#[test]
fn more_failures_that_are_asked_for_are_found_within_the_second_too() {
    let plan = Plan {
        fall: 4,
        ..session()
    };
    let mut fleet = Fleet::up(plan, Fault::Crash, None);
    fleet.within_a_second(Arrival::Fails);
    fleet.play(SECOND * 6);
    let bound = fleet.plan.crash_bound() + GRACE;
    fleet.expect_all_down_within(bound + (LATENCY + LATENESS) * 8);
    fleet.expect_logins_within(per_second(3.0));
    fleet.expect_rations_kept();
}

#[test]
fn a_few_that_are_down_and_asked_often_delay_nobody_else_s_verdict() {
    let plan = Plan {
        down_interval: MS * 20,
        ..session()
    };
    let mut fleet = Fleet::up(plan, Fault::Crash, None);
    let (down, healthy) = (0..1000, 1000..1200);
    fleet.some_within_a_second(down, Arrival::Fails);
    fleet.play(SECOND * 2);
    fleet.some_within_a_second(healthy.clone(), Arrival::Fails);
    fleet.play(SECOND * 2);
    let bound = fleet.plan.crash_bound() + LATENCY * 3 + LATENESS * 4;
    fleet.expect_down_within(healthy, bound);
}

#[test]
fn a_limit_of_the_operator_s_holds_and_every_backend_has_its_turn() {
    let max = 3000.0;
    let mut fleet = Fleet::up(session(), Fault::Crash, Some(max));
    fleet.within_a_second(Arrival::Fails);
    fleet.play(SECOND * 20);
    let bound = fleet.plan.crash_bound() + wait_at_most(max);
    fleet.expect_all_down_within(bound + SECOND);
    let (from, to) = (fleet.now - SECOND * 14, fleet.now);
    fleet.expect_fairness(from, to);
    fleet.within_a_second(Arrival::Returns);
    fleet.play(SECOND * 10);
    fleet.expect_all_up_within(fleet.plan.recovery_bound() + wait_at_most(max));
    fleet.expect_logins_within(max);
    fleet.expect_rations_kept();
}

#[test]
fn with_a_limit_of_the_operator_s_each_further_failure_waits_for_its_turn_once_more() {
    let max = 3000.0;
    let plan = Plan {
        fall: 4,
        ..session()
    };
    let wait = logins_wait(vec![plan.clone(); BACKENDS as usize].iter(), Some(max));
    let mut fleet = Fleet::up(plan, Fault::Crash, Some(max));
    fleet.within_a_second(Arrival::Fails);
    fleet.play(wait + SECOND * 6);
    fleet.expect_all_down_within(fleet.plan.crash_bound() + wait + GRACE);
    fleet.expect_logins_within(max);
}

#[test]
fn pings_that_were_all_late_once_delay_no_crash_after_they_were_answered() {
    let mut fleet = Fleet::up(session(), Fault::Freeze, Some(1000.0));
    // Who came up one after the other looks again so; then it is quiet for a while.
    fleet.play(SECOND * 14);
    let hiccup = MS * 300;
    for id in 0..BACKENDS {
        for (at, arrival) in [
            (fleet.now, Arrival::Fails),
            (fleet.now + hiccup, Arrival::Returns),
        ] {
            fleet.arrivals.push(Reverse((at, id, arrival)));
        }
    }
    fleet.play(hiccup + fleet.plan.timeout);
    fleet.expect_nobody_down();
    assert!(fleet.monitor.logins_deferred() > 1000, "nobody had to wait");
    fleet.fault = Fault::Crash;
    fleet.some_within_a_second(7..8, Arrival::Fails);
    fleet.play(SECOND * 2);
    let bound = fleet.plan.crash_bound() + LATENCY * 3 + LATENESS * 4;
    fleet.expect_down_within(7..8, bound);
}

#[test]
fn an_agent_that_was_stopped_takes_nobody_down_and_storms_nobody() {
    let mut fleet = Fleet::up(session(), Fault::Freeze, None);
    let before = fleet.monitor.stalls();
    // Each for longer than an interval, or nothing may have been due.
    for stopped in [5.0, 1.1, 2.0, 25.0] {
        fleet.starve(SECOND.mul_f64(stopped));
        fleet.play(SECOND * 3);
    }
    fleet.expect_nobody_down();
    assert!(fleet.monitor.stalls() >= before + 4, "not noticed");
    fleet.expect_logins_within(default_per_second());
    // And what fails while it is stopped is told once it runs again.
    fleet.within_a_second(Arrival::Fails);
    fleet.starve(SECOND * 5);
    fleet.play(SECOND * 6);
    let again = SECOND * 5 + fleet.plan.timeout * 2 + fleet.plan.fast_interval;
    fleet.expect_all_down_within(fleet.plan.freeze_bound() + again + GRACE);
    fleet.expect_logins_within(default_per_second());
}
