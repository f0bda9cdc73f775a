//! What must hold in every world, judged by the hidden truth and by what was delivered; nothing
//! here is taken from the reference's opinion of the verdict.
//!
//! - Nothing is up without passes or down without failures, as many as rise and fall ask for.
//! - Where only harmless things happen nothing is ever down.
//! - A crash, a freeze and a black hole take down what was calm within the plan's bounds, and so
//!   does a server that lets nobody new in.
//! - A server that is left in peace is up within a bound.
//! - Nothing rests on evidence that is too old, and every announcement carries some.
//! - Nobody is asked faster than the plan allows, nor logged in to more often than its ration.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{
    Cause, Change, Class, Course, Depth, Moment, Observation, Outcome, Path, Plan, Standing,
    Transition, Verdict,
};

use crate::server::Condition;
use crate::site::Site;
use crate::story::Leaning;

/// What the lateness of the loop and half-finished round trips may add to any bound.
const SLACK: Duration = Duration::from_millis(10);
/// Fresh probes that one ping may bring before its own pace is up: one that runs beside it, and
/// one more where an older probe was still under way when the ping became suspect.
const PING_BRINGS_MAX: u32 = 2;

/// What is kept in mind about one backend.
#[derive(Debug)]
pub(crate) struct Bounds {
    plan: Arc<Plan>,
    harmless: bool,
    latency_max: Duration,
    condition: Condition,
    /// Since when the server has been left in peace.
    quiet_since: Moment,
    /// Until when probes of an earlier plan may still be under way.
    lingers_until: Moment,
    verdict: Verdict,
    /// Since the verdict changed.
    since_change: Tally,
    /// Since it changed between being in use, up or degraded, and not.
    since_use: Tally,
    newest_proof: Option<Moment>,
    /// Good observations in a row since the last of another kind, and since peace.
    goods_in_row: u32,
    newest_fresh: Option<Leaning>,
    /// The newest fresh probe met a full accept queue.
    queue_was_full: bool,
    /// Until when the backend has to be down, and why.
    must_fall: Option<(Moment, Condition)>,
    pace: Pace,
}

/// What was delivered since the verdict last changed, and the least that was asked for.
#[derive(Debug)]
struct Tally {
    good: u32,
    impaired: u32,
    bad: u32,
    rise: u32,
    fall: u32,
}

impl Tally {
    fn new(plan: &Plan) -> Self {
        Self {
            good: 0,
            impaired: 0,
            bad: 0,
            rise: plan.rise,
            fall: plan.fall,
        }
    }
}

/// How fast a backend has been asked.
#[derive(Debug, Default)]
struct Pace {
    fresh_at: Option<Moment>,
    held_at: Option<Moment>,
    /// A session is held.
    session: bool,
    /// The held session has answered.
    answered: bool,
    /// Sessions in a row that were lost before they answered.
    short_lived: u32,
    /// A session was lost since the last fresh probe began.
    lost: bool,
    /// Fresh probes that the present ping has brought early.
    brought: u32,
    /// When fresh probes began under the present plan.
    logins: Vec<Moment>,
}

impl Bounds {
    pub(crate) fn new(
        plan: &Arc<Plan>,
        harmless: bool,
        latency_max: Duration,
        now: Moment,
    ) -> Self {
        Self {
            plan: Arc::clone(plan),
            harmless,
            latency_max,
            condition: Condition::Fine,
            quiet_since: now,
            lingers_until: now,
            verdict: Verdict::Unknown,
            since_change: Tally::new(plan),
            since_use: Tally::new(plan),
            newest_proof: None,
            goods_in_row: 0,
            newest_fresh: None,
            queue_was_full: false,
            must_fall: None,
            pace: Pace::default(),
        }
    }

    // --- What happens --------------------------------------------------------------------------

    /// The server's condition changes.
    pub(crate) fn turn(&mut self, condition: Condition, now: Moment) {
        let calm = self.is_calm();
        self.interfere(now);
        self.condition = condition;
        let plan = &self.plan;
        let holds = matches!(plan.course, Course::Session { .. });
        let bound = if condition == Condition::Crashed {
            plan.crash_bound()
        } else if condition == Condition::Frozen && plan.notices_freeze() {
            plan.freeze_bound()
        } else if condition.is_silent() && condition != Condition::Frozen {
            plan.black_hole_bound()
        } else if condition.shuts_out(holds) {
            // The fresh path's turn comes, and each failure may wait for two pings.
            let failure = (plan.timeout + plan.interval) * 2 + self.changing_interval();
            plan.fresh_interval + failure * (plan.fall + 1)
        } else {
            return;
        };
        if calm {
            let answers = self.latency_max * (plan.fall + 1);
            self.must_fall = Some((now + bound + answers + SLACK, condition));
        }
    }

    /// Something else happens that may cost a session or an answer.
    pub(crate) fn interfere(&mut self, until: Moment) {
        self.quiet_since = self.quiet_since.max(until);
        self.goods_in_row = 0;
        self.must_fall = None;
    }

    pub(crate) fn retune(&mut self, plan: &Arc<Plan>, latency_max: Duration, now: Moment) {
        self.lingers_until = self.lingers_until.max(now + self.plan.timeout);
        self.plan = Arc::clone(plan);
        self.latency_max = latency_max;
        self.interfere(now);
        for tally in [&mut self.since_change, &mut self.since_use] {
            tally.rise = tally.rise.min(plan.rise);
            tally.fall = tally.fall.min(plan.fall);
        }
        self.pace.fresh_at = None;
        self.pace.held_at = None;
        self.pace.logins.clear();
    }

    /// Up, settled, and nothing but good answers on both paths since it was left in peace.
    fn is_calm(&self) -> bool {
        self.condition == Condition::Fine
            && self.verdict == Verdict::Up
            && self.newest_fresh == Some(Leaning::Good)
            && self.goods_in_row > 2 * self.plan.rise
    }

    fn changing_interval(&self) -> Duration {
        self.plan.fast_interval.min(self.plan.interval)
    }

    /// When a server that is left in peace has to be up at the latest: the probe under way may
    /// still fail, the next waits for its pace, and then come `rise` answers.
    fn must_be_up_at(&self) -> Moment {
        let plan = &self.plan;
        let refused = plan.fresh_interval.min(plan.stale_after / 2);
        let mut wait = plan.down_interval.max(refused).max(plan.timeout);
        if let Course::Sessionless { .. } = plan.course {
            wait = wait.max(plan.fresh_interval);
        }
        let answers = (self.changing_interval() + self.latency_max) * plan.rise;
        let last_failure = (self.quiet_since + plan.timeout).max(self.lingers_until);
        let last_failure = last_failure + Site::look_interval(plan);
        last_failure + wait + plan.interval + answers + SLACK
    }

    // --- What is done and said -----------------------------------------------------------------

    pub(crate) fn start(&mut self, path: Path, now: Moment, ping_in_flight: bool) {
        let (earlier, least) = match path {
            Path::Held => (self.pace.held_at.replace(now), self.least_pace()),
            Path::Fresh => (self.pace.fresh_at.replace(now), self.least_pace()),
            Path::Queue => panic!("a probe on the queue's path"),
        };
        if path == Path::Held {
            self.pace.brought = 0;
        }
        // Jitter shortens a pace by a twentieth at most.
        let in_time = |pace: Duration| {
            earlier
                .is_none_or(|at| now.since(at) + Duration::from_nanos(2000) >= pace.mul_f64(0.95))
        };
        if !in_time(least) {
            assert!(path == Path::Fresh, "pings follow each other too fast");
            assert!(
                self.excuses_early_login(ping_in_flight, in_time(self.plan.confirm_interval)),
                "logins follow each other too fast"
            );
        }
        if path == Path::Fresh {
            self.pace.lost = false;
            self.check_ration(now);
        }
    }

    /// However one looks back, there are no more logins than those at once and those of their pace.
    fn check_ration(&mut self, now: Moment) {
        self.pace.logins.push(now);
        if self.plan.deepest() <= Depth::Connect {
            return;
        }
        let at_once = f64::from(self.plan.logins_at_once());
        let spacing = self.plan.login_spacing().as_secs_f64();
        for (count, since) in (1..).zip(self.pace.logins.iter().rev()) {
            let room = at_once + now.since(*since).as_secs_f64() / spacing;
            assert!(
                f64::from(count) <= room + 1e-3,
                "{count} logins, room for {room}"
            );
        }
    }

    /// A login before its pace is up: in place of a lost session, beside a suspect ping, or to
    /// confirm that nobody is there.
    fn excuses_early_login(&mut self, ping_in_flight: bool, confirms_in_time: bool) -> bool {
        if self.pace.lost && self.pace.short_lived <= 1 {
            return true;
        }
        if ping_in_flight && self.pace.brought < PING_BRINGS_MAX {
            self.pace.brought += 1;
            return true;
        }
        !self.pace.session
            && self.newest_fresh == Some(Leaning::Bad)
            && self.verdict != Verdict::Down
            && confirms_in_time
    }

    fn least_pace(&self) -> Duration {
        let changing = self.changing_interval();
        changing.min(self.plan.down_interval)
    }

    pub(crate) fn cancel(&mut self, path: Path) {
        self.goods_in_row = 0;
        match path {
            Path::Held => self.lose_session(),
            Path::Fresh => self.newest_fresh = Some(Leaning::Mute),
            Path::Queue => {}
        }
    }

    fn lose_session(&mut self) {
        let pace = &mut self.pace;
        pace.short_lived = if pace.answered {
            0
        } else {
            pace.short_lived + 1
        };
        (pace.session, pace.answered, pace.lost) = (false, false, true);
    }

    pub(crate) fn hear(&mut self, observation: &Observation, leaning: Leaning) {
        if observation.path == Path::Queue {
            if leaning == Leaning::Impaired {
                self.since_change.impaired += 1;
                self.goods_in_row = 0;
            }
            return;
        }
        // A full queue counts as a failure after all when the ping beside it is lost.
        let lost = observation.path == Path::Held && !observation.session;
        let twice = lost && leaning == Leaning::Bad && self.queue_was_full;
        for tally in [&mut self.since_change, &mut self.since_use] {
            match leaning {
                Leaning::Good => tally.good += 1,
                Leaning::Impaired => tally.impaired += 1,
                Leaning::Bad => tally.bad += 1 + u32::from(twice),
                Leaning::Mute => {}
            }
        }
        if leaning != Leaning::Mute {
            self.newest_proof = Some(observation.ended);
        }
        self.goods_in_row = match leaning {
            Leaning::Good => self.goods_in_row + 1,
            Leaning::Impaired | Leaning::Bad | Leaning::Mute => 0,
        };
        match observation.path {
            Path::Held if !observation.session => self.lose_session(),
            Path::Held => self.pace.answered |= leaning != Leaning::Mute,
            Path::Fresh => {
                self.newest_fresh = Some(leaning);
                // Unanswered connects are one beside a session that is answered.
                self.queue_was_full = match observation.outcome {
                    Outcome::Fail(Cause::QueueFull) => true,
                    Outcome::Fail(Cause::ConnectTimeout) => leaning == Leaning::Impaired,
                    Outcome::Fail(_) | Outcome::Pass => false,
                };
                if observation.session {
                    (self.pace.session, self.pace.answered) = (true, false);
                    self.pace.held_at = None;
                }
            }
            Path::Queue => {}
        }
    }

    pub(crate) fn announce(&mut self, transition: &Transition) {
        let evidence = &transition.evidence;
        let (from, to) = match transition.change {
            Change::Verdict { from, to } => (from, to),
            Change::Role { .. } | Change::Admin { .. } => return,
        };
        assert!(
            evidence.held.is_some() || evidence.fresh.is_some(),
            "a verdict without an observation"
        );
        assert_eq!(from, self.verdict, "an announcement is missing");
        let (tally, in_use) = (&self.since_change, &self.since_use);
        let enough = match (from, to) {
            (_, Verdict::Unknown) => true,
            (_, Verdict::Down) => in_use.bad >= in_use.fall,
            (Verdict::Up, _) => tally.impaired >= tally.fall,
            (Verdict::Degraded, _) => tally.good >= tally.rise,
            (Verdict::Unknown | Verdict::Down, _) => in_use.good + in_use.impaired >= in_use.rise,
        };
        assert!(enough, "{from} to {to} on {tally:?} and {in_use:?}");
        if to == Verdict::Down {
            let class = evidence.class.expect("a reason for being down");
            assert!(matches!(class, Class::Dead | Class::Unfit), "down, {class}");
            self.must_fall = None;
        }
        self.verdict = to;
        self.since_change = Tally::new(&self.plan);
        let is_use = |verdict| matches!(verdict, Verdict::Up | Verdict::Degraded);
        if is_use(from) != is_use(to) || to == Verdict::Unknown || from == Verdict::Unknown {
            self.since_use = Tally::new(&self.plan);
        }
    }

    pub(crate) fn stand(&self, standing: &Standing) {
        assert_eq!(standing.verdict, self.verdict, "a change was not announced");
        assert!(
            !(self.harmless && self.verdict == Verdict::Down),
            "down in a harmless world"
        );
    }

    /// The loop has done all there is to do for now.
    pub(crate) fn check(&self, now: Moment) {
        if self.verdict != Verdict::Unknown {
            let proof_at = self.newest_proof.expect("a verdict without proof");
            assert!(
                now < proof_at + self.plan.stale_after,
                "{} on old evidence",
                self.verdict
            );
        }
        if let Some((by, condition)) = self.must_fall {
            assert!(now <= by, "{condition:?}, and not down in time");
        }
        if self.condition == Condition::Fine && now > self.must_be_up_at() {
            assert_eq!(self.verdict, Verdict::Up, "fine, and not up in time");
        }
    }
}
