//! How one backend is to be asked: depths, pace, thresholds.
//!
//! A plan is data that somebody checked already; [`Plan::check`] names what would make no sense.
//! Every default here is argued in the program's `config/default.toml`.

use std::fmt;
use std::time::Duration;

use crate::{Classes, Depth};

/// What is asked on which path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// A session is held and asked every `interval`; a fresh one is opened every
    /// `fresh_interval`, and at once when the held one fails.
    Session {
        /// How far both paths go; at least [`Depth::Ping`].
        depth: Depth,
    },
    /// Nothing is held; each probe makes a connection of its own, every `interval`.
    Sessionless {
        /// How far each probe goes.
        depth: Depth,
        /// A deeper and costlier question, asked every `fresh_interval` in place of a probe, and
        /// as long as it is the one that fails.
        deeper: Option<Depth>,
    },
}

/// How one backend is asked. Durations count from the start of a probe to the start of the next;
/// a probe of a path waits for the last of that path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is asked on which path.
    pub course: Course,
    /// The pace when all is settled.
    pub interval: Duration,
    /// The pace of confirming probes after a held session died.
    pub confirm_interval: Duration,
    /// The pace while an opinion is changing.
    pub fast_interval: Duration,
    /// The pace while down, and while a server is full or refuses this check.
    pub down_interval: Duration,
    /// The pace of fresh sessions while the held one is fine.
    pub fresh_interval: Duration,
    /// How long one probe may take, all phases together.
    pub timeout: Duration,
    /// After how long without proof a verdict becomes unknown.
    pub stale_after: Duration,
    /// Passes in a row that make up.
    pub rise: u32,
    /// Failures in a row, of either path, that make down.
    pub fall: u32,
    /// The latency budget: a pass whose answer took longer is
    /// [`OverBudget`](crate::Cause::OverBudget). See
    /// [`answer_time`](crate::Observation::answer_time).
    pub slow_over: Option<Duration>,
    /// What each cause means.
    pub classes: Classes,
}

impl Plan {
    /// The default plan for a course.
    pub fn new(course: Course) -> Self {
        Self {
            course,
            interval: Duration::from_secs(1),
            confirm_interval: Duration::from_millis(5),
            fast_interval: Duration::from_millis(200),
            down_interval: Duration::from_secs(1),
            fresh_interval: Duration::from_secs(30),
            timeout: Duration::from_secs(1),
            stale_after: Duration::from_secs(30),
            rise: 2,
            fall: 2,
            slow_over: None,
            classes: Classes::default(),
        }
    }

    /// The longest time from a crash to the verdict down, of a backend that was up and settled;
    /// the answers themselves take no time, since a dead server's kernel refuses at once. A fresh
    /// session that was just being let in, and is cut off with the held one, adds one
    /// `confirm_interval`: it tells no more than the held one's end did.
    pub fn crash_bound(&self) -> Duration {
        match self.course {
            // The kernel tells at once. The death of the session is the first failure, the probe
            // that follows it the second.
            Course::Session { .. } => self.confirm_interval * self.fall.saturating_sub(2),
            // Nobody tells: the next probe finds out.
            Course::Sessionless { .. } => {
                self.interval + self.changing_interval() * self.fall.saturating_sub(1)
            }
        }
    }

    /// The longest time from the moment a server falls silent to the verdict down, of a backend
    /// that was up and settled. A frozen server's kernel goes on making connections, so a
    /// sessionless course has to ask for a greeting at least to notice; see
    /// [`notices_freeze`](Self::notices_freeze).
    pub fn freeze_bound(&self) -> Duration {
        match self.course {
            Course::Sessionless {
                depth,
                deeper: Some(deeper),
            } if depth < Depth::Greeting && deeper >= Depth::Greeting => {
                self.fresh_interval + self.black_hole_bound()
            }
            Course::Session { .. } | Course::Sessionless { .. } => self.black_hole_bound(),
        }
    }

    /// The longest time from the moment after which nothing arrives any more, connects included,
    /// to the verdict down, of a backend that was up and settled.
    pub fn black_hole_bound(&self) -> Duration {
        match self.course {
            // Both paths fail at one deadline and count two; each further failure is a confirming
            // probe of its own.
            Course::Session { .. } => {
                let further = self.fall.saturating_sub(2);
                let step = self.timeout.max(self.confirm_interval);
                self.interval + self.timeout + step * further
            }
            Course::Sessionless { .. } => {
                let step = self.timeout.max(self.changing_interval());
                self.interval + self.timeout + step * self.fall.saturating_sub(1)
            }
        }
    }

    /// Whether any question of this plan goes unanswered by a frozen server, whose kernel still
    /// makes connections.
    pub fn notices_freeze(&self) -> bool {
        match self.course {
            Course::Session { .. } => true,
            Course::Sessionless { .. } => self.deepest() >= Depth::Greeting,
        }
    }

    /// The longest time from the moment answers take longer than the budget, though not as long as
    /// the timeout, to the verdict degraded, of a backend that was up and settled; `None` where
    /// there is no budget, or where nobody asks what a slow server would answer late.
    pub fn slow_bound(&self) -> Option<Duration> {
        self.slow_over?;
        let notices = self.deepest() >= Depth::Greeting;
        let further = self.timeout.max(self.degrading_interval(Depth::Greeting));
        let first = self.first_asked(Depth::Greeting) + self.timeout;
        notices.then(|| first + further * self.fall.saturating_sub(1))
    }

    /// The longest time from the moment a server admits nobody new, while it serves who is in, to
    /// the verdict degraded, of a backend that was up and settled; each of the `fall` answers adds
    /// the time it takes. `None` where nobody logs in, and so nobody is refused.
    pub fn full_bound(&self) -> Option<Duration> {
        let first = match self.course {
            // The held session is served on; the fresh path's turn has to come.
            Course::Session { .. } => self.fresh_interval,
            Course::Sessionless { .. } => self.first_asked(Depth::Login),
        };
        let further = self.degrading_interval(Depth::Login) * self.fall.saturating_sub(1);
        self.notices_full().then(|| first + further)
    }

    /// The longest time from the moment a server is no longer what is wanted (its role, its lag,
    /// what a statement answers, whether it can write) to the verdict down, of a backend that was
    /// up and settled and is asked for it at `depth`; each of the `fall` answers adds the time it
    /// takes. `None` where this plan does not ask as deep as that.
    pub fn unfit_bound(&self, depth: Depth) -> Option<Duration> {
        let further = self.changing_interval() * self.fall.saturating_sub(1);
        (self.deepest() >= depth).then(|| self.first_asked(depth) + further)
    }

    /// How many fresh sessions may be begun at once before they are held to
    /// [`login_spacing`](Self::login_spacing): as many as a change of verdict takes, and one for
    /// whoever asks in between.
    pub fn logins_at_once(&self) -> u32 {
        self.rise + self.fall + 1
    }

    /// The time after which one more fresh session may be begun, whatever happens to those before:
    /// half of the shortest pace, so that no pace is ever held up by it.
    pub fn login_spacing(&self) -> Duration {
        let regular = match self.course {
            Course::Session { .. } => self.fresh_interval,
            Course::Sessionless { .. } => self.interval,
        };
        self.changing_interval()
            .min(self.down_interval)
            .min(regular)
            / 2
    }

    /// How long whoever asks for a fresh probe waits for it to begin, at most: until nothing of the
    /// backend's own ration is used up, and no longer than a second.
    pub fn refresh_patience(&self) -> Duration {
        (self.login_spacing() * self.logins_at_once()).min(Duration::from_secs(1))
    }

    /// How many fresh sessions are begun in a second when all is well; none where nobody is asked
    /// for more than a connect.
    pub fn logins_per_second(&self) -> f64 {
        self.login_interval().map_or(0.0, per_second)
    }

    /// How many fresh sessions have to be allowed in a second so that nothing goes stale which
    /// waits for one: twice as many as would just do while the server is down.
    pub fn logins_per_second_least(&self) -> f64 {
        if self.login_interval().is_none() {
            return 0.0;
        }
        let patience = self.stale_after.saturating_sub(self.timeout);
        let left = patience.saturating_sub(self.slowest_fresh_interval());
        let wait = left.min(patience / 2).max(Duration::from_millis(1));
        self.logins_per_second().max(per_second(wait))
    }

    /// The longest time from one fresh probe to the next while no session is held.
    fn slowest_fresh_interval(&self) -> Duration {
        let regular = match self.course {
            Course::Session { .. } => Duration::ZERO,
            Course::Sessionless { .. } => self.interval,
        };
        regular.max(self.down_interval).max(self.refused_interval())
    }

    /// How many fresh sessions a second may take at the most: when all is well, and beside it the
    /// ones that tell that a server is down, and those that look whether it still is.
    pub(crate) fn logins_per_second_most(&self) -> f64 {
        if self.login_interval().is_none() {
            return 0.0;
        }
        let to_fall = f64::from(self.logins_to_change());
        self.logins_per_second() + to_fall + per_second(self.down_interval)
    }

    /// How many fresh sessions it takes to tell that a server is down; none where nobody logs in.
    pub(crate) fn logins_to_change(&self) -> u32 {
        let by_other_means = match self.course {
            Course::Sessionless { depth, .. } if depth.logs_in() => 0,
            // The loss of the held session, or a connect that failed, is the first failure.
            Course::Session { .. } | Course::Sessionless { .. } => 1,
        };
        match self.login_interval() {
            Some(_) => self.fall.saturating_sub(by_other_means).max(1),
            None => 0,
        }
    }

    /// The pace of fresh sessions when all is well; `None` where nobody is asked for more than a
    /// connect, of which a server's program hears nothing.
    fn login_interval(&self) -> Option<Duration> {
        match self.course {
            Course::Session { .. } => Some(self.fresh_interval),
            Course::Sessionless { depth, .. } if depth.logs_in() => Some(self.interval),
            Course::Sessionless { deeper, .. } => deeper
                .is_some_and(Depth::logs_in)
                .then_some(self.fresh_interval),
        }
    }

    /// Whether any question of this plan is refused by a server that is full.
    pub fn notices_full(&self) -> bool {
        self.deepest() >= Depth::Login
    }

    /// The deepest question of this plan.
    pub fn deepest(&self) -> Depth {
        match self.course {
            Course::Session { depth } => depth,
            Course::Sessionless { depth, deeper } => depth.max(deeper.unwrap_or(depth)),
        }
    }

    /// The longest time until a question of at least this depth is asked, of a backend that is up
    /// and settled.
    fn first_asked(&self, depth: Depth) -> Duration {
        match self.is_for_the_deeper(depth) {
            // Its turn comes first, and then that of the probe in whose place it is asked.
            true => self.fresh_interval + self.interval,
            false => self.interval,
        }
    }

    /// The longest time from one question to the next while a backend becomes degraded.
    fn degrading_interval(&self, depth: Depth) -> Duration {
        match self.is_for_the_deeper(depth) {
            // The shallow question may come in between: both are due at about the same moment.
            true => self.changing_interval() * 2,
            false => self.changing_interval(),
        }
    }

    /// Whether the shallow question of a sessionless course is too shallow for this.
    fn is_for_the_deeper(&self, needed: Depth) -> bool {
        match self.course {
            Course::Session { .. } => false,
            Course::Sessionless { depth, deeper } => depth < needed && deeper >= Some(needed),
        }
    }

    /// The longest time from the moment a server is well again to the verdict up, of a backend
    /// that was down; each of the `rise` answers adds the time it takes. Under a latency budget it
    /// may be degraded first, since a question of before is answered late.
    pub fn recovery_bound(&self) -> Duration {
        // The path that did not decide keeps the pace at which it was to confirm.
        let first = self.down_interval.max(self.changing_interval());
        first.max(self.timeout) + self.changing_interval() * self.rise.saturating_sub(1)
    }

    /// The longest time from the moment a server that was full or slow is well again to the
    /// verdict up, of a backend that was degraded; each of the `rise` answers adds the time it
    /// takes.
    pub fn relief_bound(&self) -> Duration {
        let pace = match self.course {
            Course::Session { .. } => self.interval.max(self.down_interval),
            Course::Sessionless { deeper: None, .. } => self.interval.max(self.down_interval),
            // The deeper question waits for its pace, and for a probe in whose place to be asked.
            Course::Sessionless {
                deeper: Some(_), ..
            } => self.interval + self.down_interval,
        };
        pace.max(self.timeout) + self.changing_interval() * self.rise.saturating_sub(1)
    }

    /// The pace while an opinion is changing: never slower than the usual one.
    pub(crate) fn changing_interval(&self) -> Duration {
        self.fast_interval.min(self.interval)
    }

    /// The pace at which a check goes on asking a server that refuses it: often enough to keep
    /// the evidence from going stale, rarely enough to be no nuisance in the server's log.
    pub(crate) fn refused_interval(&self) -> Duration {
        self.fresh_interval
            .min(self.stale_after / 2)
            .max(self.down_interval)
    }

    /// Names the first thing in the plan that makes no sense.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.rise == 0 {
            return Err(PlanError::Zero("rise"));
        }
        if self.fall == 0 {
            return Err(PlanError::Zero("fall"));
        }
        let durations = [
            ("interval", self.interval),
            ("confirm_interval", self.confirm_interval),
            ("fast_interval", self.fast_interval),
            ("down_interval", self.down_interval),
            ("fresh_interval", self.fresh_interval),
            ("timeout", self.timeout),
            ("stale_after", self.stale_after),
        ];
        for (name, duration) in durations {
            if duration.is_zero() {
                return Err(PlanError::Zero(name));
            }
            if duration > DURATION_MAX {
                return Err(PlanError::TooLong(name));
            }
        }
        if self.rise > COUNT_MAX {
            return Err(PlanError::TooMany("rise"));
        }
        if self.fall > COUNT_MAX {
            return Err(PlanError::TooMany("fall"));
        }
        match self.slow_over {
            Some(Duration::ZERO) => return Err(PlanError::Zero("slow_over")),
            Some(budget) if budget >= self.timeout => return Err(PlanError::SlowBeyondTimeout),
            Some(_) | None => {}
        }
        if self.stale_after < self.interval.max(self.down_interval) + self.timeout {
            return Err(PlanError::StaleBeforeNextProof);
        }
        Ok(())
    }
}

/// The share by which a pace is shortened at random, at most.
pub(crate) const JITTER: f64 = 0.05;

/// How often a pace comes round in a second; jitter makes it a little faster.
fn per_second(pace: Duration) -> f64 {
    1.0 / (pace.as_secs_f64() * (1.0 - JITTER))
}

/// The longest duration in a plan: a day.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The largest rise and fall.
const COUNT_MAX: u32 = 1000;

/// Why a plan makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// This value must be above zero.
    Zero(&'static str),
    /// This duration is longer than a day.
    TooLong(&'static str),
    /// This count is above 1000.
    TooMany(&'static str),
    /// `stale_after` is shorter than `interval` or `down_interval` plus `timeout`: verdicts would
    /// go stale between two probes.
    StaleBeforeNextProof,
    /// `slow_over` is not shorter than `timeout`: no answer would be slow and yet in time.
    SlowBeyondTimeout,
}

impl PlanError {
    /// The key that is at fault.
    pub fn key(self) -> &'static str {
        match self {
            Self::Zero(key) | Self::TooLong(key) | Self::TooMany(key) => key,
            Self::StaleBeforeNextProof => "stale_after",
            Self::SlowBeyondTimeout => "slow_over",
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero(key) => write!(f, "{key} must be above zero"),
            Self::TooLong(key) => write!(f, "{key} must not be longer than a day"),
            Self::TooMany(key) => write!(f, "{key} must not be above {COUNT_MAX}"),
            Self::StaleBeforeNextProof => f.write_str(
                "stale_after must be at least interval plus timeout, and down_interval plus timeout, or verdicts go stale between two probes",
            ),
            Self::SlowBeyondTimeout => f.write_str(
                "slow_over must be shorter than timeout, or no answer is slow and yet in time",
            ),
        }
    }
}

impl std::error::Error for PlanError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(course: Course, fall: u32, crash_ms: u64, freeze_ms: u64) {
        let plan = Plan {
            fall,
            ..Plan::new(course)
        };
        let bounds = (plan.crash_bound(), plan.freeze_bound());
        let expected = [crash_ms, freeze_ms].map(Duration::from_millis);
        assert_eq!(
            bounds,
            (expected[0], expected[1]),
            "{course:?}, fall {fall}"
        );
    }

    #[test]
    fn bounds_follow_from_course_and_fall() {
        let depth = Depth::Ping;
        let session = Course::Session { depth };
        check(session, 1, 0, 2000);
        check(session, 2, 0, 2000);
        check(session, 4, 10, 4000);
        let deeper = None;
        let sessionless = Course::Sessionless { depth, deeper };
        check(sessionless, 1, 1000, 2000);
        check(sessionless, 3, 1400, 4000);
    }

    #[test]
    fn a_freeze_behind_open_doors_is_for_the_deeper_question_to_notice() {
        let depth = Depth::Connect;
        let deeper = Some(Depth::Greeting);
        check(Course::Sessionless { depth, deeper }, 2, 1200, 33_000);
        let deeper = None;
        assert!(!Plan::new(Course::Sessionless { depth, deeper }).notices_freeze());
    }

    #[test]
    fn what_only_some_questions_show_is_promised_where_they_are_asked() {
        let mut plan = Plan::new(Course::Session { depth: Depth::Ping });
        assert_eq!(plan.full_bound(), Some(Duration::from_millis(30_200)));
        assert_eq!(
            (plan.slow_bound(), plan.unfit_bound(Depth::Role)),
            (None, None)
        );
        plan.slow_over = Some(Duration::from_millis(100));
        assert_eq!(plan.slow_bound(), Some(Duration::from_secs(3)));
        let depth = Depth::Role;
        let role = Plan::new(Course::Session { depth });
        let noticed = Some(Duration::from_millis(1200));
        assert_eq!(role.unfit_bound(depth), noticed);
        let (depth, deeper) = (Depth::Connect, Some(Depth::Greeting));
        let stranger = Plan::new(Course::Sessionless { depth, deeper });
        assert_eq!(stranger.full_bound(), None);
    }

    #[test]
    fn only_questions_that_a_server_s_program_hears_of_count_as_logins() {
        let (depth, deeper) = (Depth::Connect, Some(Depth::Greeting));
        let of = |course| Plan::new(course).logins_per_second();
        let fresh = of(Course::Session { depth: Depth::Ping });
        assert_eq!(of(Course::Sessionless { depth, deeper }), fresh);
        assert_eq!(
            of(Course::Sessionless {
                depth,
                deeper: None
            }),
            0.0
        );
        let each = of(Course::Sessionless {
            depth: Depth::Login,
            deeper: None,
        });
        assert!((each - fresh * 30.0).abs() < 1e-9, "{each}");
    }

    #[test]
    fn who_waits_for_a_login_does_not_go_stale_under_the_least_limit() {
        let plan = Plan {
            stale_after: Duration::from_secs(5),
            fresh_interval: Duration::from_secs(600),
            ..Plan::new(Course::Session { depth: Depth::Ping })
        };
        let long = Plan {
            stale_after: Duration::from_secs(30),
            down_interval: Duration::from_secs(20),
            ..plan.clone()
        };
        for plan in [plan, long] {
            let wait = 1.0 / plan.logins_per_second_least();
            let left = plan.stale_after - plan.timeout - plan.down_interval;
            assert!(wait <= left.as_secs_f64(), "{wait} s of {left:?}");
        }
    }

    #[test]
    fn a_verdict_must_not_go_stale_between_two_probes() {
        let mut plan = Plan::new(Course::Session { depth: Depth::Ping });
        assert_eq!(plan.check(), Ok(()));
        plan.down_interval = plan.stale_after;
        assert_eq!(plan.check(), Err(PlanError::StaleBeforeNextProof));
    }
}
