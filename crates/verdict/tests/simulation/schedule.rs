//! What a world is made of: random plans, and the list of what will happen to a server and when.
//!
//! Everything is drawn from the world's one generator before the world begins, so that a seed is
//! a world. `world.rs` plays the list.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{Admin, Course, Depth, Moment, Plan};

use crate::server::Condition;

/// Something that happens in a world.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// A server's condition changes.
    Turn(usize, Condition),
    /// An administrator kills the held session.
    Kill(usize),
    /// For a moment a server accepts nobody, and whoever looks at its queue sees it.
    Hiccup(usize),
    /// The agent does not run for a while; shorter or longer than the probes are patient.
    Stall(Duration),
    /// A plan changes its numbers.
    Retune(usize, Arc<Plan>),
    /// A plan changes its course, so that its backend starts anew.
    Replace(usize, Arc<Plan>),
    /// A backend is no longer named.
    Remove(usize),
    /// An operator's order.
    Order(usize, Admin),
}

impl Happening {
    /// Whether the agent's own loop has to do it.
    pub(crate) fn needs_the_loop(&self) -> bool {
        match self {
            Self::Turn(..) | Self::Kill(_) | Self::Hiccup(_) | Self::Stall(_) => false,
            Self::Retune(..) | Self::Replace(..) | Self::Remove(_) | Self::Order(..) => true,
        }
    }
}

/// A world before it begins.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// The plan of each backend.
    pub(crate) plans: Vec<Arc<Plan>>,
    /// The condition each server begins in.
    pub(crate) conditions: Vec<Condition>,
    /// What happens, in order.
    pub(crate) happenings: Vec<(Moment, Happening)>,
    /// When the world ends.
    pub(crate) end: Moment,
    /// Nothing ever happens in this world for which a server may be taken out.
    pub(crate) harmless: bool,
}

impl Schedule {
    /// Draws a world.
    pub(crate) fn draw(rng: &mut fastrand::Rng) -> Self {
        let harmless = rng.u32(0..3) == 0;
        let plans: Vec<_> = (0..rng.usize(1..=3)).map(|_| draw_plan(rng)).collect();
        let conditions: Vec<_> = plans
            .iter()
            .map(|_| match rng.u32(0..4) {
                0 => draw_condition(rng, harmless),
                _ => Condition::Fine,
            })
            .collect();
        let mut happenings = Vec::new();
        let mut at = Moment::ORIGIN;
        for _ in 0..rng.usize(2..=7) {
            let slot = rng.usize(0..plans.len());
            let unit = plans[slot].interval.max(plans[slot].timeout);
            at = at + unit.mul_f64(rng.f64() * rng.f64() * 20.0);
            draw_happening(rng, slot, at, unit, harmless, &plans, &mut happenings);
        }
        happenings.sort_by_key(|(at, _)| *at);
        let unit = plans.iter().map(|plan| plan.interval.max(plan.timeout));
        let rest = unit.max().unwrap_or_default() * 12;
        let last = happenings.last().map_or(at, |(at, _)| *at);
        Self {
            plans,
            conditions,
            happenings,
            end: last + rest,
            harmless,
        }
    }
}

fn draw_happening(
    rng: &mut fastrand::Rng,
    slot: usize,
    at: Moment,
    unit: Duration,
    harmless: bool,
    plans: &[Arc<Plan>],
    happenings: &mut Vec<(Moment, Happening)>,
) {
    let happening = match rng.u32(0..20) {
        0..=1 => Happening::Kill(slot),
        2..=4 => Happening::Stall(draw_stall(rng, &plans[slot])),
        5 => Happening::Retune(slot, retune(rng, &plans[slot])),
        6 => Happening::Replace(slot, draw_plan(rng)),
        7 if plans.len() > 1 => Happening::Remove(slot),
        8 => {
            let orders = [Admin::Ready, Admin::Drain, Admin::Maint];
            Happening::Order(slot, orders[rng.usize(0..orders.len())])
        }
        9 => Happening::Hiccup(slot),
        _ => Happening::Turn(slot, draw_condition(rng, harmless)),
    };
    if let Happening::Turn(..) = happening {
        let lasts = unit.mul_f64(rng.f64() * rng.f64() * 16.0);
        // Some faults turn into others; most end.
        let next = match rng.u32(0..6) {
            0 => draw_condition(rng, harmless),
            _ => Condition::Fine,
        };
        happenings.push((at + lasts, Happening::Turn(slot, next)));
    }
    happenings.push((at, happening));
}

fn draw_condition(rng: &mut fastrand::Rng, harmless: bool) -> Condition {
    let among = match harmless {
        true => &Condition::HARMLESS[..],
        false => &Condition::ALL[..],
    };
    among[rng.usize(0..among.len())]
}

/// From a hiccup to a suspended machine.
fn draw_stall(rng: &mut fastrand::Rng, plan: &Plan) -> Duration {
    match rng.u32(0..4) {
        0 => plan.timeout.mul_f64(rng.f64()),
        1 => plan.timeout.mul_f64(rng.f64() * 4.0),
        2 => Duration::from_millis(rng.u64(1..200)),
        _ => plan.stale_after.mul_f64(rng.f64() * 10.0),
    }
}

fn draw_plan(rng: &mut fastrand::Rng) -> Arc<Plan> {
    let course = match rng.u32(0..6) {
        0 => Course::Sessionless {
            depth: Depth::Connect,
            deeper: None,
        },
        1 => Course::Sessionless {
            depth: Depth::Connect,
            deeper: Some([Depth::Greeting, Depth::Ping][rng.usize(0..2)]),
        },
        2 => Course::Sessionless {
            depth: Depth::Greeting,
            deeper: rng.bool().then_some(Depth::Query),
        },
        _ => Course::Session {
            depth: [Depth::Ping, Depth::Query][rng.usize(0..2)],
        },
    };
    let mut plan = Plan::new(course);
    plan.interval = between(rng, 20, 2000);
    plan.timeout = plan.interval.mul_f64(0.25 + rng.f64() * rng.f64() * 8.0);
    plan.timeout = plan.timeout.max(Duration::from_millis(60));
    plan.fast_interval = between(rng, 10, 500);
    plan.down_interval = between(rng, 20, 3000);
    plan.confirm_interval = between(rng, 1, 30);
    plan.fresh_interval = plan.interval.mul_f64(1.0 + rng.f64() * rng.f64() * 20.0);
    let least = plan.interval.max(plan.down_interval) + plan.timeout;
    plan.stale_after = least.mul_f64(1.0 + rng.f64() * rng.f64() * 10.0);
    (plan.rise, plan.fall) = (rng.u32(1..=5), rng.u32(1..=5));
    assert_eq!(plan.check(), Ok(()));
    Arc::new(plan)
}

/// The same course with other numbers.
fn retune(rng: &mut fastrand::Rng, plan: &Plan) -> Arc<Plan> {
    let mut other = Plan::clone(&draw_plan(rng));
    other.course = plan.course;
    Arc::new(other)
}

/// A duration between so many milliseconds, short ones as likely as long ones.
fn between(rng: &mut fastrand::Rng, least: u64, most: u64) -> Duration {
    let (least, most) = ((least as f64).ln(), (most as f64).ln());
    Duration::from_secs_f64((least + (most - least) * rng.f64()).exp() / 1000.0)
}
