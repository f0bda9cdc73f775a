//! HAProxy's agent check: a line for each connection, the whole state each time.
//!
//! Protocol: HAProxy's configuration manual, `agent-check`. HAProxy takes words that it knows and
//! keeps everything else as it was, so a line says all: `ready` as well as `up`, and the weight.
//! While nothing is known nothing is said, and HAProxy keeps what it believes.
//!
//! A client may send something first (`agent-send`) or nothing; it is answered at once, and heard
//! out, because unread bytes would turn the end into a reset. Clients that stay are cut off.

mod weight;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{Admin, Moment, Standing, Verdict};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) use weight::{WeightBy, WeightPlan};

use crate::agent::board::BackendBoard;
use crate::agent::listening::Listener;
use crate::agent::plan::GateAddress;
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
    /// The backend's name.
    pub(crate) of: Arc<str>,
    pub(crate) weight: WeightPlan,
}

/// An agent check that listens.
#[derive(Debug)]
pub(crate) struct AgentCheck {
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
            scale: Scale::new(plan.weight),
        })
    }

    /// Answers for ever. Cancel safe: dropping the future closes the port.
    pub(crate) async fn run(mut self, backend: Arc<BackendBoard>, clock: Clock) {
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
                let percent = self.scale.percent(&backend, now);
                let line = line(&backend.standing(), percent, now);
                answering.spawn(async move {
                    let words = line.unwrap_or_default();
                    // HAProxy asks again soon; whatever went wrong here needs no other remedy.
                    let _ = timeout(END_WITHIN, visitor.answer(words.as_bytes())).await;
                });
            }
        }
    }
}

/// The answer; none while nothing is known.
fn line(standing: &Standing, percent: u8, now: Moment) -> Option<String> {
    match (standing.admin, standing.verdict) {
        (Admin::Maint, _) => Some("maint\n".to_owned()),
        (Admin::Drain, _) => Some("drain\n".to_owned()),
        (Admin::Ready, Verdict::Up | Verdict::Degraded) => Some(format!("ready up {percent}%\n")),
        (Admin::Ready, Verdict::Down) => {
            let cause = standing.evidence.cause;
            let cause = cause.map_or("down", |cause| cause.name());
            let age = duration::show(now.since(standing.since)).replace(' ', "");
            // With a space: HAProxy takes `down#` for a word that it does not know.
            Some(format!("ready down #{cause} for {age}\n"))
        }
        (Admin::Ready, Verdict::Unknown) => None,
    }
}

#[cfg(test)]
mod tests {
    use dbvitals_verdict::{Cause, Evidence};

    use super::*;

    fn check(admin: Admin, verdict: Verdict, expected: Option<&str>) {
        let now = Moment::ORIGIN + Duration::from_secs(100);
        let standing = Standing {
            verdict,
            since: Moment::ORIGIN + Duration::from_millis(97_900),
            admin,
            role: None,
            sessions_lost: 0,
            evidence: Evidence {
                cause: (verdict == Verdict::Down).then_some(Cause::Unresponsive),
                ..Evidence::default()
            },
        };
        assert_eq!(line(&standing, 80, now).as_deref(), expected);
    }

    #[test]
    fn a_line_says_the_whole_state() {
        check(Admin::Ready, Verdict::Up, Some("ready up 80%\n"));
        check(Admin::Ready, Verdict::Degraded, Some("ready up 80%\n"));
        check(
            Admin::Ready,
            Verdict::Down,
            Some("ready down #unresponsive for 2.1s\n"),
        );
    }

    #[test]
    fn nothing_is_said_while_nothing_is_known() {
        check(Admin::Ready, Verdict::Unknown, None);
    }

    #[test]
    fn an_operator_s_order_counts_whatever_is_known() {
        for verdict in Verdict::ALL {
            check(Admin::Drain, verdict, Some("drain\n"));
            check(Admin::Maint, verdict, Some("maint\n"));
        }
    }
}
