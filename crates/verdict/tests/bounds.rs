//! What a plan promises, held against the real `Monitor` under a thousand random plans: each fault
//! begins at a random moment of a backend that was up, and has to be noticed within its bound; then
//! the server is well again, and has to be up within its own.
//!
//! All of it four times: with answers that come at once; with somebody who asks for fresh probes all
//! the time beside that; with answers so slow that both paths are asked at the same time, and the
//! fault meets them wherever they are; and with an agent that is starved, a little all the time and
//! for long now and then, before the fault and after it. Starvation alone takes nothing down, and what
//! a plan promises counts from its end.
//!
//! `explain` prints these bounds. `DBVITALS_SIM_SEED=S` plays the one plan of that seed.

#[expect(dead_code, reason = "the scenarios use all of the stage")]
#[path = "scenarios/stage.rs"]
mod stage;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use dbvitals_verdict::{Cause, Course, Depth, Moment, Plan, Verdict};

use crate::stage::{FROZEN, MS, Reply, Stage};

const PLANS: u64 = 1000;
/// How often the loop of a stage goes round at most before it is taken to spin.
const ROUNDS_MAX: u32 = 10_000;
/// Lateness that is held against nobody, however short their patience.
const LATENESS_IGNORED: Duration = Duration::from_millis(12);
/// How often the loop has to run for one answer to count, at most.
const STEPS_MAX: u32 = 3;

/// What is wrong with a server, as its plan's bounds tell faults apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Crash,
    Freeze,
    BlackHole,
    Slow,
    Full,
    Unfit,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::Crash,
        Self::Freeze,
        Self::BlackHole,
        Self::Slow,
        Self::Full,
        Self::Unfit,
    ];

    /// The promise, and how soon recovery is promised after it; `None` where the plan does not
    /// notice this fault.
    fn bounds(self, plan: &Plan) -> Option<(Duration, Duration)> {
        let (down, relief) = (plan.recovery_bound(), plan.relief_bound());
        match self {
            Self::Crash => Some((plan.crash_bound(), down)),
            Self::Freeze => plan.notices_freeze().then(|| (plan.freeze_bound(), down)),
            Self::BlackHole => Some((plan.black_hole_bound(), down)),
            Self::Slow => Some((plan.slow_bound()?, relief)),
            Self::Full => Some((plan.full_bound()?, relief)),
            Self::Unfit => Some((plan.unfit_bound(Depth::Query)?, down)),
        }
    }

    /// The verdict it ends in.
    fn verdict(self) -> Verdict {
        match self {
            Self::Crash | Self::Freeze | Self::BlackHole | Self::Unfit => Verdict::Down,
            Self::Slow | Self::Full => Verdict::Degraded,
        }
    }

    fn befall(self, stage: &mut Stage, rng: &mut fastrand::Rng) {
        let plan = stage.plan.clone();
        let shallow = shallow_depth(&plan);
        match self {
            Self::Crash => stage.crash(),
            Self::BlackHole => stage.both(Reply::Silent(Cause::ConnectTimeout)),
            Self::Freeze => {
                stage.both(FROZEN);
                stage.at_depth = kernel_answers(shallow, Depth::Connect);
            }
            Self::Slow => {
                let budget = plan.slow_over.expect("a bound needs a budget");
                let room = plan.timeout - budget;
                stage.both(Reply::Late(
                    budget + MS + (room - 2 * MS).mul_f64(rng.f64()),
                ));
                stage.at_depth = kernel_answers(shallow, Depth::Connect);
            }
            Self::Full => {
                stage.fresh = Reply::Fail(Cause::TooManyConnections);
                stage.at_depth = kernel_answers(shallow, Depth::Greeting);
            }
            Self::Unfit => {
                stage.both(Reply::FailOn(Cause::NotPrimary));
                stage.at_depth = kernel_answers(shallow, Depth::Ping);
            }
        }
    }
}

/// What a shallow question is answered by somebody who does not know of the fault: the kernel, or a
/// server that is not asked as deep.
fn kernel_answers(asked: Option<Depth>, innocent: Depth) -> Option<(Depth, Reply)> {
    asked
        .filter(|depth| *depth <= innocent)
        .map(|depth| (depth, Reply::Pass))
}

fn shallow_depth(plan: &Plan) -> Option<Depth> {
    match plan.course {
        Course::Session { .. } => None,
        Course::Sessionless { depth, .. } => Some(depth),
    }
}

/// How the agent and the servers fare meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Answers come after a millisecond.
    Fair,
    /// And somebody asks for a fresh probe whenever there may be one.
    Asked,
    /// Answers take so long that the paths overlap.
    Overlapping,
    /// And the agent is late, and away now and then.
    Starved,
}

impl Weather {
    const ALL: [Self; 4] = [Self::Fair, Self::Asked, Self::Overlapping, Self::Starved];
}

#[test]
fn every_fault_is_noticed_and_every_recovery_seen_within_what_the_plan_promises() {
    let alone = std::env::var("DBVITALS_SIM_SEED").ok();
    let alone: Option<u64> = alone.map(|seed| seed.parse().expect("a number"));
    let seeds = alone.map_or(0..PLANS, |seed| seed..seed + 1);
    let mut kept = 0;
    for seed in seeds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let plan = draw_plan(&mut rng);
        for fault in Fault::ALL {
            for weather in Weather::ALL {
                let played = || keeps(&plan, fault, weather, &mut rng);
                kept += u32::from(catch_unwind(AssertUnwindSafe(played)).unwrap_or_else(|_| {
                    panic!("DBVITALS_SIM_SEED={seed} shows it again: {fault:?}, {weather:?}, under {plan:?}")
                }));
            }
        }
    }
    println!("{kept} promises kept");
    assert!(alone.is_some() || kept > 16_000, "only {kept} promises");
}

/// Plays one fault to its end and the recovery after it; answers whether there was a promise.
fn keeps(plan: &Plan, fault: Fault, weather: Weather, rng: &mut fastrand::Rng) -> bool {
    let Some((mut bound, mut recovery)) = fault.bounds(plan) else {
        return false;
    };
    let mut stage = Stage::new(plan.clone());
    if matches!(weather, Weather::Overlapping | Weather::Starved) {
        let longest = plan.slow_over.unwrap_or(plan.timeout).min(plan.timeout);
        stage.latency = between(rng, 1, longest.as_millis() as u64 / 3);
    }
    settle(&mut stage, rng);
    // Each answer takes its time, and may have waited for another; a ping that is answered late is
    // waited for as well.
    let mut answers = stage.latency * 2 * (plan.fall + plan.rise + 3);

    if weather == Weather::Starved {
        // A budget bears no more lateness than a part of it.
        let budget = plan.slow_over.unwrap_or(plan.timeout) / 4;
        stage.lateness = LATENESS_IGNORED.min(budget).mul_f64(rng.f64());
        answers += LATENESS_IGNORED * STEPS_MAX * (plan.fall + plan.rise + 3);
        // What was asked on either path while the agent was starved proves nothing, and is asked
        // once more.
        let again = plan.timeout * 2 + plan.fast_interval.min(plan.interval);
        (bound, recovery) = (bound + again, recovery + again);
        starve(&mut stage, rng);
        assert_eq!(stage.verdict(), Verdict::Up, "starved, and not up");
        assert!(stage.verdicts().iter().all(|it| *it == Verdict::Up));
    }
    if weather == Weather::Asked {
        stage.is_asked = true;
        stage.play(plan.login_spacing() * (plan.logins_at_once() * 2 + rng.u32(0..5)));
    }
    fault.befall(&mut stage, rng);
    if weather == Weather::Starved {
        starve(&mut stage, rng);
    }
    let noticed = wait_for(&mut stage, &[fault.verdict()], bound + answers);
    assert!(noticed, "not {} within {bound:?}", fault.verdict());

    stage.play(plan.timeout.mul_f64(rng.f64() * 3.0));
    stage.both(Reply::Pass);
    stage.at_depth = None;
    if weather == Weather::Starved {
        starve(&mut stage, rng);
    }
    // What was asked before the recovery is answered after it, which is late by any budget.
    let in_use = match plan.slow_over.filter(|_| fault.verdict() == Verdict::Down) {
        Some(_) => &[Verdict::Up, Verdict::Degraded][..],
        None => &[Verdict::Up][..],
    };
    let up = wait_for(&mut stage, in_use, recovery + answers);
    assert!(up, "not {in_use:?} within {recovery:?}");
    true
}

/// Lets a backend become up and settled, and a random part of its paces go by.
fn settle(stage: &mut Stage, rng: &mut fastrand::Rng) {
    let plan = stage.plan.clone();
    let step = plan.fast_interval.min(plan.interval) + 2 * stage.latency;
    stage.play(step * (plan.rise + 1));
    assert_eq!(stage.verdict(), Verdict::Up, "it does not settle");
    let phase = plan
        .interval
        .max(plan.fresh_interval.min(plan.interval * 50));
    stage.play(phase.mul_f64(rng.f64() * 1.5) + plan.interval);
    assert_eq!(stage.verdict(), Verdict::Up);
}

/// Keeps the loop from running, a few times, for longer and shorter than probes are patient; all
/// together for less than what makes evidence stale.
fn starve(stage: &mut Stage, rng: &mut fastrand::Rng) {
    let plan = stage.plan.clone();
    let longest = (plan.timeout * 4).min(plan.stale_after / 8);
    for _ in 0..rng.u32(1..=3) {
        // What becomes due meanwhile is done when it runs again.
        stage.now = stage.now + longest.mul_f64(rng.f64());
        stage.play(plan.timeout.mul_f64(rng.f64() * rng.f64()));
    }
    stage.play(Duration::ZERO);
}

/// Lets time pass until one of these verdicts is reached, at most so long; answers whether it was.
fn wait_for(stage: &mut Stage, verdicts: &[Verdict], within: Duration) -> bool {
    let until = stage.now + within;
    for _ in 0..ROUNDS_MAX {
        if verdicts.contains(&stage.verdict()) {
            return true;
        }
        let left = until.since(stage.now);
        if left.is_zero() {
            return false;
        }
        stage.play(left.min(MS.max(within / 1000)));
    }
    panic!("time does not pass: {:?}", stage.now.since(Moment::ORIGIN));
}

fn draw_plan(rng: &mut fastrand::Rng) -> Plan {
    let course = match rng.u32(0..6) {
        0 => Course::Sessionless {
            depth: [Depth::Connect, Depth::Greeting, Depth::Login][rng.usize(0..3)],
            deeper: None,
        },
        1 => Course::Sessionless {
            depth: Depth::Connect,
            deeper: Some([Depth::Greeting, Depth::Login, Depth::Role][rng.usize(0..3)]),
        },
        _ => Course::Session {
            depth: [Depth::Ping, Depth::Query, Depth::Role][rng.usize(0..3)],
        },
    };
    let mut plan = Plan::new(course);
    plan.interval = between(rng, 20, 3000);
    plan.timeout = between(rng, 60, 3000);
    plan.fast_interval = between(rng, 10, 800);
    plan.down_interval = between(rng, 20, 3000);
    plan.confirm_interval = between(rng, 2, 30);
    plan.fresh_interval = plan.interval.mul_f64(1.0 + rng.f64() * rng.f64() * 40.0);
    let least = plan.interval.max(plan.down_interval) + plan.timeout;
    plan.stale_after = least.mul_f64(2.0 + rng.f64() * 10.0);
    (plan.rise, plan.fall) = (rng.u32(1..=5), rng.u32(1..=5));
    plan.slow_over = rng
        .bool()
        .then(|| plan.timeout.mul_f64(0.1 + rng.f64() * 0.6));
    assert_eq!(plan.check(), Ok(()));
    plan
}

/// A duration between so many milliseconds, short ones as likely as long ones.
fn between(rng: &mut fastrand::Rng, least: u64, most: u64) -> Duration {
    let (least, most) = ((least as f64).ln(), (most as f64).ln());
    Duration::from_secs_f64((least + (most - least) * rng.f64()).exp() / 1000.0)
}
