//! Asks one server as a held and a fresh path do, one probe after another.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_probe::{Clock, Order, Prober, Target, TargetId};
use dbvitals_verdict::{Cause, Depth, Observation, Outcome, Path, ProbeId};

const TIMEOUT: Duration = Duration::from_secs(5);
const ID: TargetId = TargetId(0);

pub(crate) struct Asker {
    prober: Prober,
    clock: Clock,
}

impl Asker {
    pub(crate) fn new(target: Target) -> Self {
        let clock = Clock::start();
        let mut prober = Prober::new(clock).expect("an epoll descriptor");
        prober.add_target(ID, Arc::new(target));
        Self { prober, clock }
    }

    /// Gets ready for probes on a path, on a server that has told its peculiarities already.
    pub(crate) fn prepare(&mut self, depth: Depth, path: Path) {
        match path {
            Path::Held => {
                self.hold(depth);
                self.pass(depth, Path::Held);
            }
            Path::Fresh if depth >= Depth::Role => self.pass(depth, Path::Fresh),
            Path::Fresh | Path::Queue => {}
        }
    }

    /// Probes once on a session of its own, and keeps that.
    pub(crate) fn hold(&mut self, depth: Depth) {
        let observation = self.ask(depth, Path::Fresh, true, TIMEOUT);
        assert_eq!(observation.outcome, Outcome::Pass, "{observation:?}");
    }

    /// Probes once; the probe has to pass.
    pub(crate) fn pass(&mut self, depth: Depth, path: Path) {
        let observation = self.ask(depth, path, false, TIMEOUT);
        assert_eq!(observation.outcome, Outcome::Pass, "{observation:?}");
    }

    /// Probes once, and returns the cause of its failure.
    pub(crate) fn fail(&mut self, depth: Depth, path: Path, timeout: Duration) -> Cause {
        let observation = self.ask(depth, path, false, timeout);
        let cause = observation.outcome.cause();
        cause.unwrap_or_else(|| panic!("a probe should not have passed: {observation:?}"))
    }

    /// Begins a probe on the held session and does not wait for its end.
    pub(crate) fn begin_held(&mut self, depth: Depth) {
        self.start(depth, Path::Held, false, TIMEOUT);
    }

    fn start(&mut self, depth: Depth, path: Path, hold: bool, timeout: Duration) {
        self.prober.start(Order {
            target: ID,
            probe: ProbeId(1),
            path,
            depth,
            deadline: self.clock.now() + timeout,
            hold,
        });
    }

    /// Probes once, and waits until the goodbye is over, too.
    fn ask(&mut self, depth: Depth, path: Path, hold: bool, timeout: Duration) -> Observation {
        self.start(depth, path, hold, timeout);
        let mut answer = None;
        while answer.is_none() || !self.prober.is_quiet() {
            self.wait();
            while let Some((_, observation)) = self.prober.poll_observation() {
                answer = Some(observation);
            }
        }
        answer.expect("a probe ends")
    }

    fn wait(&mut self) {
        let waited = self.prober.wait(None);
        waited.expect("an epoll descriptor can be waited for");
    }

    /// Leaves the server.
    pub(crate) fn leave(mut self) {
        self.prober.leave_all();
        while !self.prober.is_quiet() {
            self.wait();
        }
    }
}
