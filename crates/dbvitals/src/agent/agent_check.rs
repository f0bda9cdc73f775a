//! HAProxy's agent check: a line for each connection, the whole state each time.
//!
//! Protocol: HAProxy's configuration manual, `agent-check`. HAProxy takes words that it knows and
//! keeps everything else as it was, so a line says all: `ready` as well as `up`, and the weight.
//! While nothing is known nothing is said, unless `on_unknown` says otherwise, and HAProxy keeps what
//! it believes.
//!
//! A client may send something first (`agent-send`) or nothing; it is answered at once, and heard
//! out, because unread bytes would turn the end into a reset. Clients that stay are cut off.

mod weight;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{Admin, Alarm, Sign, Verdict, Want};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) use weight::{WeightBy, WeightPlan};

use crate::agent::listening::Listener;
use crate::agent::plan::{GateAddress, OnAlarm, OnDegraded, OnUnknown};
use crate::agent::subject::Subject;
use crate::duration;
use dbvitals_probe::Clock;
use weight::Scale;

/// Connections that are answered at one time; more are closed unanswered, which changes nothing.
const ANSWERING_MAX: usize = 256;
/// How long a connection may take, all in all.
const END_WITHIN: Duration = Duration::from_secs(1);
/// The pause before accepting is tried again, where the agent is out of descriptors.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// A port that answers HAProxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentCheckPlan {
    pub(crate) name: String,
    pub(crate) listen: GateAddress,
    /// The name of a backend or a service.
    pub(crate) of: Arc<str>,
    /// What it must be.
    pub(crate) want: Want,
    pub(crate) weight: WeightPlan,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) on_degraded: OnDegraded,
    pub(crate) on_alarm: OnAlarm,
}

/// An agent check that listens.
#[derive(Debug)]
pub(crate) struct AgentCheck {
    plan: AgentCheckPlan,
    listener: Listener,
    scale: Scale,
}

impl AgentCheck {
    /// Listens; whoever connects is answered once this runs.
    ///
    /// # Errors
    ///
    /// Where the address cannot be listened at.
    pub(crate) fn bind(plan: &AgentCheckPlan) -> io::Result<Self> {
        Ok(Self {
            listener: Listener::open(&plan.listen)?,
            plan: plan.clone(),
            scale: Scale::new(plan.weight),
        })
    }

    /// Answers for ever. Cancel safe: dropping the future closes the port.
    pub(crate) async fn run(mut self, subject: Subject, clock: Clock) {
        let mut follower = subject.follow(self.plan.want);
        let mut answering = JoinSet::new();
        loop {
            let visitor = tokio::select! {
                Some(_) = answering.join_next() => continue,
                accepted = self.listener.accept() => match accepted {
                    Ok(visitor) => visitor,
                    Err(_) => {
                        tokio::time::sleep(RETRY_AFTER).await;
                        continue;
                    }
                },
            };
            if answering.len() < ANSWERING_MAX {
                let now = clock.now();
                let sign = follower.sign();
                let percent = self.scale.percent(&subject, sign.verdict, now);
                let age = subject.since(self.plan.want).map(|since| now.since(since));
                let line = line(&self.plan, sign, percent, age);
                answering.spawn(async move {
                    let words = line.unwrap_or_default();
                    // HAProxy asks again soon; whatever went wrong here needs no other remedy.
                    let _ = timeout(END_WITHIN, visitor.answer(words.as_bytes())).await;
                });
            }
        }
    }
}

/// The answer; none while nothing is known, unless that is to count as down.
fn line(plan: &AgentCheckPlan, sign: Sign, percent: u8, age: Option<Duration>) -> Option<String> {
    let alarm = sign.alarm.filter(|_| plan.on_alarm == OnAlarm::Closed);
    let why = match (sign.admin, sign.verdict) {
        (Admin::Maint, _) => return Some("maint\n".to_owned()),
        (Admin::Drain, _) => return Some("drain\n".to_owned()),
        (Admin::Ready, _) if alarm.is_some() => "alarm",
        (Admin::Ready, Verdict::Degraded) if plan.on_degraded == OnDegraded::Closed => "degraded",
        (Admin::Ready, Verdict::Up | Verdict::Degraded) => {
            return Some(format!("ready up {percent}%\n"));
        }
        (Admin::Ready, Verdict::Unknown) if plan.on_unknown == OnUnknown::Hold => return None,
        (Admin::Ready, Verdict::Unknown) => "unknown",
        (Admin::Ready, Verdict::Down) => "down",
    };
    let cause = sign.cause.filter(|_| sign.verdict != Verdict::Unknown);
    let cause = cause.map_or(why, |cause| cause.name());
    let cause = alarm.map_or(cause, Alarm::name);
    let age = age.map_or(String::new(), |age| {
        format!(" for {}", duration::show(age).replace(' ', ""))
    });
    // With a space: HAProxy takes `down#` for a word that it does not know.
    Some(format!("ready down #{cause}{age}\n"))
}

#[cfg(test)]
mod tests {
    use dbvitals_verdict::Cause;

    use super::*;

    fn plan(on_unknown: OnUnknown, on_degraded: OnDegraded) -> AgentCheckPlan {
        AgentCheckPlan {
            name: "c".to_owned(),
            listen: GateAddress::All(1),
            of: "b".into(),
            want: Want::Any,
            weight: WeightPlan::default(),
            on_unknown,
            on_degraded,
            on_alarm: OnAlarm::Open,
        }
    }

    fn sign(admin: Admin, verdict: Verdict) -> Sign {
        let cause = match verdict {
            Verdict::Down => Some(Cause::Unresponsive),
            Verdict::Degraded => Some(Cause::TooManyConnections),
            Verdict::Unknown | Verdict::Up => None,
        };
        Sign {
            verdict,
            admin,
            cause,
            ..Sign::default()
        }
    }

    fn check(plan: &AgentCheckPlan, sign: Sign, expected: Option<&str>) {
        let age = Duration::from_millis(2100);
        assert_eq!(line(plan, sign, 80, Some(age)).as_deref(), expected);
    }

    #[test]
    fn a_line_says_the_whole_state() {
        let plan = plan(OnUnknown::Hold, OnDegraded::Open);
        let check = |verdict, expected| check(&plan, sign(Admin::Ready, verdict), expected);
        check(Verdict::Up, Some("ready up 80%\n"));
        check(Verdict::Degraded, Some("ready up 80%\n"));
        check(Verdict::Down, Some("ready down #unresponsive for 2.1s\n"));
        check(Verdict::Unknown, None);
    }

    #[test]
    fn unknown_and_degraded_are_down_where_the_plan_says_so() {
        let plan = plan(OnUnknown::Closed, OnDegraded::Closed);
        let check = |verdict, expected| check(&plan, sign(Admin::Ready, verdict), expected);
        check(Verdict::Up, Some("ready up 80%\n"));
        check(
            Verdict::Degraded,
            Some("ready down #too_many_connections for 2.1s\n"),
        );
        check(Verdict::Unknown, Some("ready down #unknown for 2.1s\n"));
    }

    #[test]
    fn an_alarm_is_down_where_the_plan_says_so() {
        let sign = Sign {
            alarm: Some(Alarm::TwoPrimaries),
            ..sign(Admin::Ready, Verdict::Degraded)
        };
        let mut plan = plan(OnUnknown::Hold, OnDegraded::Open);
        check(&plan, sign, Some("ready up 80%\n"));
        plan.on_alarm = OnAlarm::Closed;
        let down = "ready down #two_primaries for 2.1s\n";
        check(&plan, sign, Some(down));
    }

    #[test]
    fn what_has_another_role_than_is_wanted_is_down_without_an_age() {
        let plan = plan(OnUnknown::Hold, OnDegraded::Open);
        let sign = sign(Admin::Ready, Verdict::Up).for_want(Want::Primary);
        let line = line(&plan, sign, 100, None);
        assert_eq!(line.as_deref(), Some("ready down #not_primary\n"));
    }

    #[test]
    fn an_operator_s_order_counts_whatever_is_known() {
        for on_unknown in [OnUnknown::Hold, OnUnknown::Closed] {
            let plan = plan(on_unknown, OnDegraded::Closed);
            for verdict in Verdict::ALL {
                check(&plan, sign(Admin::Drain, verdict), Some("drain\n"));
                check(&plan, sign(Admin::Maint, verdict), Some("maint\n"));
            }
        }
    }
}
