//! A gate: a listener that exists only while what stands behind it is fit, so that anything that can connect
//! to a port can ask how the database is.
//!
//! Closed means closed: nothing listens, and the kernel refuses. A connection to an
//! open gate is accepted and closed properly; whatever it sends is read and thrown away first,
//! since unread bytes would turn the close into a reset.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{Admin, Sign, Verdict};
use tokio::task::JoinSet;

use crate::agent::listening::{KeptSocket, Listener, Visitor};
use crate::agent::plan::{GatePlan, OnAlarm, OnDegraded, OnUnknown};
use crate::agent::subject::Follower;

/// Connections that are being closed properly at one time; more are closed at once.
const CLOSING_MAX: usize = 256;
/// How long a connection may take to be closed by its other end.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// The pause before an address that is taken is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Opens and closes one listener as the sign of a backend or a service says.
#[derive(Debug)]
pub(crate) struct Gate {
    plan: GatePlan,
    follower: Follower,
    /// Its socket, where that outlives the agent.
    kept: Option<Arc<KeptSocket>>,
    /// Accepted connections on their way out.
    closing: JoinSet<()>,
}

impl Gate {
    /// A gate, closed; it opens when it runs and there is reason to. One whose socket outlives the
    /// agent begins as it was.
    pub(crate) fn new(plan: GatePlan, follower: Follower, kept: Option<Arc<KeptSocket>>) -> Self {
        Self {
            plan,
            follower,
            kept,
            closing: JoinSet::new(),
        }
    }

    /// Follows the sign for ever. Cancel safe: dropping the future closes the gate, unless its socket
    /// outlives the agent.
    pub(crate) async fn run(mut self) {
        loop {
            let sign = self.follower.sign();
            let kept = self.kept.as_ref().filter(|kept| kept.is_open());
            let wants_open = self.wants_open(sign, kept.is_some());
            if let (false, Some(kept)) = (wants_open, kept) {
                kept.close();
                self.tell_closed();
            }
            let ended = match wants_open {
                true => self.open().await,
                false => !self.follower.changed().await,
            };
            if ended {
                return;
            }
        }
    }

    fn wants_open(&self, sign: Sign, open: bool) -> bool {
        let alarmed = sign.alarm.is_some() && self.plan.on_alarm == OnAlarm::Closed;
        if sign.admin != Admin::Ready || alarmed {
            return false;
        }
        match sign.verdict {
            Verdict::Up => true,
            Verdict::Degraded => self.plan.on_degraded == OnDegraded::Open,
            Verdict::Unknown => self.plan.on_unknown == OnUnknown::Hold && open,
            Verdict::Down => false,
        }
    }

    /// Listens as long as the sign says so; answers whether the agent is ending.
    async fn open(&mut self) -> bool {
        let address = self.plan.listen.clone();
        let mut was_refused = false;
        let listener = loop {
            let opened = match &self.kept {
                Some(kept) => Listener::open_kept(kept),
                None => Listener::open(&address),
            };
            match opened {
                Ok(listener) => break listener,
                Err(error) => {
                    // Told once: this may go on for long.
                    if !std::mem::replace(&mut was_refused, true) {
                        tracing::error!(
                            gate = self.plan.name, %address, %error,
                            "the gate cannot open; it is tried again every second"
                        );
                    }
                }
            }
            tokio::select! {
                changed = self.follower.changed() => {
                    let sign = self.follower.sign();
                    if !changed || !self.wants_open(sign, false) {
                        return !changed;
                    }
                }
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        };
        tracing::info!(gate = self.plan.name, %address, of = &*self.plan.of, "gate opened");
        loop {
            tokio::select! {
                biased;
                changed = self.follower.changed() => {
                    let ended = !changed;
                    let sign = self.follower.sign();
                    if ended {
                        return true;
                    }
                    if !self.wants_open(sign, true) {
                        listener.close();
                        self.tell_closed();
                        return false;
                    }
                }
                Some(_) = self.closing.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok(visitor) => self.close_politely(visitor),
                    // Out of descriptors, most likely: let others run, and try again.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        }
    }

    fn tell_closed(&self) {
        tracing::info!(gate = self.plan.name, address = %self.plan.listen, "gate closed");
    }

    /// Closes a connection in a task of its own, as long as there are not too many of them.
    fn close_politely(&mut self, visitor: Visitor) {
        if self.closing.len() < CLOSING_MAX {
            self.closing.spawn(async move {
                // Whatever goes wrong here goes wrong for a connection that ends anyway.
                let _ = tokio::time::timeout(CLOSE_WITHIN, visitor.answer(b"")).await;
            });
        } else {
            visitor.dismiss();
        }
    }
}
