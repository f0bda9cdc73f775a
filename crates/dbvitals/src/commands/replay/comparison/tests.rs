//! Replays of rehearsed runs: what is recorded of a scripted server, replayed, is the same.
//!
//! Outages are either long enough for any jitter or too short for every one; in between, a record
//! cannot tell.

use dbvitals_verdict::{Cause, Course, Depth, Observation, Outcome, Path, Phases};

use super::*;
use crate::rehearsal::{Answer, Asked, World};

const MS: Duration = Duration::from_millis(1);
const RUNS: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Freeze,
    Crash,
    Full,
}

/// A server with its outages, in order.
#[derive(Debug)]
struct Server(Vec<(Moment, Moment, Outage)>);

impl Server {
    fn outage_at(&self, at: Moment) -> Option<(Moment, Outage)> {
        let mut outages = self.0.iter();
        let found = outages.find(|(from, to, _)| *from <= at && at < *to);
        found.map(|(_, to, outage)| (*to, *outage))
    }
}

impl World for Server {
    fn answer(&self, asked: &Asked) -> Answer {
        let soon = asked.started + MS;
        let held = asked.path == Path::Held;
        let fail = |ended, cause, depth| (ended, Outcome::Fail(cause), depth);
        let pass = |ended| (ended, Outcome::Pass, Some(asked.depth));
        let (ended, outcome, depth) = match self.outage_at(soon) {
            Some((thaw, Outage::Freeze)) if thaw + MS < asked.deadline => pass(thaw + MS),
            Some((_, Outage::Freeze)) if held => fail(asked.deadline, Cause::Unresponsive, None),
            Some((_, Outage::Freeze)) => {
                fail(asked.deadline, Cause::NoGreeting, Some(Depth::Connect))
            }
            Some((_, Outage::Crash)) if held => fail(soon, Cause::Reset, None),
            Some((_, Outage::Crash)) => fail(soon, Cause::Refused, None),
            Some((_, Outage::Full)) if !held => {
                fail(soon, Cause::TooManyConnections, Some(Depth::Greeting))
            }
            Some((_, Outage::Full)) | None => pass(soon),
        };
        Answer {
            ended,
            outcome,
            depth,
            phases: Phases::default(),
            goes_on: outcome == Outcome::Pass,
            role: None,
        }
    }

    fn session_end(&self, since: Moment) -> Option<(Moment, Cause)> {
        let mut outages = self.0.iter();
        let crash = outages.find(|(from, _, outage)| *outage == Outage::Crash && *from >= since);
        crash.map(|(from, ..)| (*from, Cause::Reset))
    }

    fn woken(&self, at: Moment) -> Moment {
        at
    }
}

fn draw_plan(rng: &mut fastrand::Rng) -> Plan {
    let depth = Depth::Ping;
    let course = match rng.u32(0..4) {
        0 => Course::Sessionless {
            depth: Depth::Login,
            deeper: None,
        },
        _ => Course::Session { depth },
    };
    let mut plan = Plan::new(course);
    plan.interval = MS * rng.u32(100..2000);
    plan.timeout = MS * rng.u32(100..2000);
    plan.fast_interval = MS * rng.u32(50..500);
    plan.down_interval = MS * rng.u32(100..2000);
    plan.fresh_interval = plan.interval * rng.u32(1..20);
    (plan.rise, plan.fall) = (rng.u32(1..4), rng.u32(1..4));
    plan
}

/// What an agent would have recorded of a server.
fn record(plan: &Plan, server: &Server, seed: u64, end: Moment) -> Recorded {
    let mut played = Rehearsal::new(plan, server, seed, Moment::ORIGIN).keeping_observations();
    played.play(end);
    recorded(played, plan)
}

fn recorded(played: Rehearsal<'_, Server>, plan: &Plan) -> Recorded {
    let conclusions = played.transitions.iter().filter_map(Conclusion::of);
    let conclusions = conclusions.collect();
    let mut observations: Vec<Observation> = played.observations.unwrap_or_default();
    observations.sort_by_key(|seen| seen.ended);
    Recorded {
        name: "orders".to_owned(),
        plans: plan.clone().into(),
        verdict: Verdict::Unknown,
        observations,
        conclusions,
        late: Vec::new(),
    }
}

#[test]
fn a_run_replayed_at_its_own_pace_concludes_the_same_within_the_paces() {
    for seed in 0..RUNS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let plan = draw_plan(&mut rng);
        let noticed = plan.black_hole_bound() + plan.fresh_interval * 2 + plan.recovery_bound();
        let long = (noticed + plan.relief_bound()) * 3;
        let mut at = Moment::ORIGIN;
        let outages = (0..4).map(|_| {
            let from = at + long.mul_f64(1.0 + rng.f64());
            let to = from + long.mul_f64(1.0 + rng.f64());
            at = to;
            let kinds = [Outage::Freeze, Outage::Crash, Outage::Full];
            (from, to, kinds[rng.usize(0..kinds.len())])
        });
        let server = Server(outages.collect());
        let recorded = record(&plan, &server, seed, at + long);
        let replayed = Comparison::of(&recorded, &recorded.plans);
        assert!(
            recorded.conclusions.len() >= 9,
            "seed {seed}: nothing happens"
        );
        let only_one = |row: &&Row| row.was.is_none() || row.would_be.is_none();
        let others: Vec<_> = replayed.rows.iter().filter(only_one).collect();
        assert!(
            replayed.is_same(),
            "seed {seed}: {others:?}, {server:?}, {plan:?}"
        );
        for verdict in [Verdict::Down, Verdict::Up] {
            let later = replayed.later(verdict).unwrap_or_default();
            let granularity = plan.interval + plan.down_interval + plan.timeout;
            assert!(
                later.abs() <= granularity.as_secs_f64(),
                "seed {seed}: {later}"
            );
        }
    }
}

#[test]
fn a_patience_longer_than_the_outage_spares_the_flap() {
    let plan = Plan::new(Course::Session { depth: Depth::Ping });
    let from = Moment::ORIGIN + MS * 10_500;
    let server = Server(vec![(from, from + MS * 2100, Outage::Freeze)]);
    let recorded = record(&plan, &server, 7, from + MS * 20_000);
    let told: Vec<_> = recorded.conclusions.iter().map(|it| it.to).collect();
    assert_eq!(told, [Verdict::Up, Verdict::Down, Verdict::Up]);
    let patient = Plans::from(Plan {
        timeout: MS * 5000,
        ..plan.clone()
    });
    let replayed = Comparison::of(&recorded, &patient);
    assert!(!replayed.is_same());
    assert_eq!((replayed.was.flaps, replayed.would_be.flaps), (1, 0));
    let hasty = Plans::from(Plan {
        timeout: MS * 500,
        ..plan
    });
    let replayed = Comparison::of(&recorded, &hasty);
    assert!(replayed.is_same(), "{:?}", replayed.rows);
    assert!(replayed.later(Verdict::Down) < Some(0.0));
}

#[test]
fn a_run_that_was_reloaded_under_way_is_replayed_with_its_reloads() {
    let plan = Plan::new(Course::Session { depth: Depth::Ping });
    let patient = Plan {
        timeout: MS * 5000,
        ..plan.clone()
    };
    // The same freeze twice; between the two, patience grows.
    let (first, reload) = (Moment::ORIGIN + MS * 10_500, Moment::ORIGIN + MS * 40_000);
    let second = reload + MS * 10_500;
    let frozen = |from| (from, from + MS * 2100, Outage::Freeze);
    let server = Server(vec![frozen(first), frozen(second)]);
    let end = second + MS * 30_000;
    let mut played = Rehearsal::new(&plan, &server, 7, Moment::ORIGIN).keeping_observations();
    played.play(reload);
    played.handle_plan(&patient);
    played.play(end);
    let mut recorded = recorded(played, &plan);
    recorded.plans.later.push((reload, patient.clone()));
    let told: Vec<_> = recorded.conclusions.iter().map(|it| it.to).collect();
    assert_eq!(told, [Verdict::Up, Verdict::Down, Verdict::Up]);

    let same = Comparison::of(&recorded, &recorded.plans);
    assert!(same.is_same(), "{:?}", same.rows);
    let without = Plans::from(plan);
    let flaps = |plans| {
        let replayed = Comparison::of(&recorded, plans);
        (replayed.was.flaps, replayed.would_be.flaps)
    };
    assert_eq!(flaps(&without), (1, 2));
    assert_eq!(flaps(&patient.into()), (1, 0));
}
