//! The questions of the depths role, lag and write: what is said, in which order, and what the
//! answers mean.
//!
//! ```text
//!   State ─▶ [Members] ─▶ judge ─▶ [SecondLook ─▶ judge] ─▶ done
//!                           └────▶ Write ─▶ [CreateTable ─▶ Write] ─▶ done
//!                                   └─▶ out of time ─▶ LookAfter ─▶ done
//! ```
//!
//! One round trip for role and lag, a second one for a write, which is made only where the first
//! found a server that takes writes and follows nobody. Each statement carries what keeps it out of
//! queues: a time limit of the server's own, no waiting for locks, no waiting for the cluster. What
//! is said to which product, and how its answers read, is in `survey/mysql.rs` and
//! `survey/postgres.rs`; here is what they have in common. Caller: `question.rs`.

mod mysql;
mod postgres;

use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::{Cause, Connections, Depth, Lag, Moment, Phase, Role, ServerFacts, Want};
use dbvitals_wire::{Answer, Product, Refusal};

use crate::account::Account;
use crate::failure::Failure;
use crate::learned::{Learned, Settings};
use crate::target::Target;

/// The share of a probe's time that a server is given for a statement, in percent: it is to give
/// up by itself, and say so, before the probe does.
const SERVER_SHARE_PERCENT: u32 = 90;

/// The questions of one probe.
#[derive(Debug)]
pub(crate) struct Survey {
    depth: Depth,
    step: Step,
    state: State,
    /// A write that lost against another was tried again.
    retried: bool,
    /// How far the answers have got.
    reached: Option<Depth>,
    /// Kept for a held session's question.
    pub(crate) account: Account,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Role, replication, cluster.
    State,
    /// MySQL's group replication: this member's place in its group.
    Members,
    /// The same as `State` a moment later: a replica that seemed behind may only have been about
    /// to replay the first commit in a long time.
    SecondLook { received_before: u64 },
    /// The write.
    Write,
    /// The table for it, where it is missing.
    CreateTable,
    /// The write, after its table was made.
    WriteAgain,
    /// On another session: what a write waits for that did not end in time, and its end. Left
    /// alone it could wait for ever, and the next one behind it, until a server has no place left.
    LookAfter {
        session: u32,
        /// It was this probe's own write.
        own: bool,
    },
}

/// What follows an answer.
#[derive(Debug)]
pub(crate) enum Next {
    /// There is another question to ask.
    Ask,
    /// All is answered, well or badly.
    Done(Result<(), Failure>),
}

/// What a server says of itself.
#[derive(Debug, Default)]
struct State {
    role: Option<Role>,
    read_only: Option<bool>,
    /// Others of its cluster are to take writes as well.
    shares_writes: bool,
    /// PostgreSQL replays a log, as standbys do.
    in_recovery: bool,
    /// The node is no part of its cluster, or does not keep up with it.
    apart: Option<Failure>,
    /// How it follows its primary, where it follows one and that can be seen.
    replication: Option<Replication>,
    connections: Option<Connections>,
    lag: Option<Lag>,
}

/// How a replica follows.
#[derive(Debug, Default)]
struct Replication {
    /// What keeps it from following at all, whatever the lag.
    stopped: Option<String>,
    /// It hears from its primary now.
    connected: bool,
    /// How far it is behind, where the server tells.
    behind: Option<Duration>,
    /// The age of the newest commit that it replayed, where the server tells: it is not further
    /// behind than that, but a quiet primary makes it old.
    newest_age: Option<Duration>,
    /// What was received, as a position in the log, and how much of it is not replayed yet.
    received: Option<u64>,
    pending_bytes: Option<u64>,
    /// That position, as far as it is replayed.
    replayed: Option<u64>,
}

impl Survey {
    pub(crate) fn new(depth: Depth) -> Self {
        Self {
            depth,
            step: Step::State,
            state: State::default(),
            retried: false,
            reached: None,
            account: Account::default(),
        }
    }

    /// The phase that the present question belongs to.
    pub(crate) fn phase(&self) -> Phase {
        match (self.step, self.depth) {
            (Step::Write | Step::CreateTable | Step::WriteAgain | Step::LookAfter { .. }, _) => {
                Phase::Write
            }
            (Step::State | Step::Members | Step::SecondLook { .. }, Depth::Lag) => Phase::Lag,
            (Step::State | Step::Members | Step::SecondLook { .. }, _) => Phase::Role,
        }
    }

    /// Whether a write is what is asked for now.
    pub(crate) fn writes(&self) -> bool {
        matches!(
            self.step,
            Step::Write | Step::CreateTable | Step::WriteAgain
        )
    }

    /// Goes on, on another session, with a look after the write on this one.
    pub(crate) fn look_after(&mut self, session: u32) {
        self.step = Step::LookAfter { session, own: true };
    }

    /// How far the answers have got.
    pub(crate) fn reached(&self) -> Option<Depth> {
        self.reached
    }

    /// The statement of the present question, for a server that is to answer within `patience`.
    pub(crate) fn statement(&self, learned: &Learned, patience: Duration) -> String {
        let patience = server_share(patience);
        let mysql = || mysql::Dialect::new(learned);
        match (learned.product, self.step) {
            (Some(Product::PostgreSql), step) => postgres::statement(step, self.depth, patience),
            (_, step) => mysql().statement(step, patience),
        }
    }

    /// Takes what the server answered to the present question.
    pub(crate) fn hear(
        &mut self,
        answer: Result<&Answer, &Refusal>,
        target: &Target,
        learned: &mut Learned,
        now: Moment,
    ) -> Next {
        match answer {
            Ok(answer) => self.hear_answer(answer, target, learned, now),
            Err(refusal) => self.hear_refusal(refusal, target, learned, now),
        }
    }

    fn hear_answer(
        &mut self,
        answer: &Answer,
        target: &Target,
        learned: &mut Learned,
        now: Moment,
    ) -> Next {
        match self.step {
            Step::State | Step::SecondLook { .. } => {
                let (state, in_group) = match learned.product {
                    Some(Product::PostgreSql) => (postgres::state(answer), false),
                    _ => mysql::state(answer, learned),
                };
                let Some(state) = state else {
                    let expected = "the answer to the questions for role and replication";
                    return Next::Done(Err(Failure::new(Cause::Malformed, expected)));
                };
                self.state = state;
                match in_group {
                    true => self.go_on(Step::Members),
                    false => self.judge(target, learned, now),
                }
            }
            Step::Members => {
                mysql::note_membership(answer, &mut self.state);
                self.judge(target, learned, now)
            }
            Step::CreateTable => self.go_on(Step::WriteAgain),
            Step::LookAfter { own, .. } => {
                learned.stuck = None;
                let waits = answer
                    .tables()
                    .first()
                    .and_then(|table| table.rows().next());
                match (waits.and_then(|row| row.value("waits")), own) {
                    (None, false) => self.go_on(Step::Write),
                    (waits, _) => Next::Done(Err(hung_write(waits))),
                }
            }
            Step::Write | Step::WriteAgain => {
                self.reached = Some(Depth::Write);
                Next::Done(Ok(()))
            }
        }
    }

    fn hear_refusal(
        &mut self,
        refusal: &Refusal,
        target: &Target,
        learned: &mut Learned,
        now: Moment,
    ) -> Next {
        match self.step {
            Step::State if wants_fewer_settings(refusal, learned) => return Next::Ask,
            Step::State
                if mysql::hides(refusal)
                    && mysql::can_guess(self.depth, learned)
                    && !learned.hides_replication =>
            {
                learned.hides_replication = true;
                return Next::Ask;
            }
            // Without a look at the group, read_only has to tell the role: its secondaries are.
            Step::Members if mysql::hides(refusal) && self.depth == Depth::Role => {
                if self.state.read_only == Some(true) {
                    self.state.role = Some(Role::Replica);
                }
                return self.judge(target, learned, now);
            }
            Step::LookAfter { own, .. } if refusal.number == mysql::NO_SUCH_THREAD => {
                learned.stuck = None;
                return match own {
                    true => Next::Done(Err(hung_write(None))),
                    false => self.go_on(Step::Write),
                };
            }
            Step::Write if is_missing_table(refusal) => return self.go_on(Step::CreateTable),
            Step::Write | Step::WriteAgain if lost_against_another(refusal) && !self.retried => {
                self.retried = true;
                return Next::Ask;
            }
            Step::State
            | Step::Members
            | Step::SecondLook { .. }
            | Step::Write
            | Step::CreateTable
            | Step::WriteAgain
            | Step::LookAfter { .. } => {}
        }
        let mut failure = Failure::refused(refusal, self.phase());
        let blind = self.depth == Depth::Write && mysql::hides(refusal);
        let announcement = match self.step {
            Step::CreateTable => Some("the table dbvitals_heartbeat is missing and cannot be made"),
            Step::State | Step::Members if blind => Some(
                "a server that follows another one is not written to, and whether this one does \
                 cannot be seen",
            ),
            Step::State
            | Step::Members
            | Step::SecondLook { .. }
            | Step::Write
            | Step::WriteAgain
            | Step::LookAfter { .. } => None,
        };
        if let Some(announcement) = announcement {
            failure.detail = format!("{announcement}: {}", failure.detail).into();
        }
        Next::Done(Err(failure))
    }

    fn go_on(&mut self, step: Step) -> Next {
        self.step = step;
        Next::Ask
    }

    /// Holds the state against what is wanted; where all is well, goes on to what is left.
    fn judge(&mut self, target: &Target, learned: &mut Learned, now: Moment) -> Next {
        self.measure(learned, now);
        self.reached = Some(match self.depth == Depth::Lag {
            true => Depth::Lag,
            false => Depth::Role,
        });
        if let Some(failure) = self.state.apart.clone() {
            return Next::Done(Err(failure));
        }
        if let Err(failure) = self.judge_role(target.want) {
            return Next::Done(Err(failure));
        }
        if self.depth >= Depth::Lag
            && let Err(failure) = self.judge_lag(target.max_lag, learned, now)
        {
            return match self.deserves_second_look() {
                Some(received_before) => self.go_on(Step::SecondLook { received_before }),
                None => Next::Done(Err(failure)),
            };
        }
        match (self.depth == Depth::Write, learned.stuck) {
            (true, None) => self.go_on(Step::Write),
            (true, Some(session)) => self.go_on(Step::LookAfter {
                session,
                own: false,
            }),
            (false, _) => Next::Done(Ok(())),
        }
    }

    fn judge_role(&self, want: Want) -> Result<(), Failure> {
        let State {
            role, in_recovery, ..
        } = self.state;
        let read_only = self.state.read_only == Some(true);
        let follows = role == Some(Role::Replica);
        let writes = self.depth == Depth::Write;
        let (cause, detail) = match want {
            Want::Primary if follows => (Cause::NotPrimary, "this server is a replica"),
            Want::Replica if !follows => {
                (Cause::NotReplica, "this server does not follow another one")
            }
            Want::Primary | Want::Writable if in_recovery => IN_RECOVERY,
            Want::Primary | Want::Writable if read_only => READ_ONLY,
            _ if writes && in_recovery => IN_RECOVERY,
            _ if writes && read_only => READ_ONLY,
            _ if writes && follows => (
                Cause::NotPrimary,
                "this server follows another one, from which a write would part it; nothing was written",
            ),
            Want::Any | Want::Primary | Want::Replica | Want::Writable => return Ok(()),
        };
        Err(Failure::new(cause, detail))
    }

    /// Finds out how far behind the server is, and remembers when it had everything.
    fn measure(&mut self, learned: &mut Learned, now: Moment) {
        let Some(replication) = &self.state.replication else {
            learned.caught_up_at = None;
            return;
        };
        let since_caught_up = learned.caught_up_at.map(|at| now.since(at));
        // Either is an age that the lag cannot exceed.
        let at_most = replication
            .newest_age
            .into_iter()
            .chain(since_caught_up)
            .min();
        let nothing_pending = replication.pending_bytes == Some(0);
        let time = match replication.behind {
            Some(behind) => Some(behind),
            None if replication.connected && nothing_pending => Some(Duration::ZERO),
            None => at_most,
        };
        if let (true, Some(behind)) = (replication.connected, time) {
            learned.note_caught_up(now, behind);
        }
        self.state.lag = Some(Lag {
            time,
            bytes: replication.pending_bytes,
        });
        if let Step::SecondLook { received_before } = self.step
            && replication.connected
            && replication.replayed >= Some(received_before)
        {
            // All that had come by the first look is replayed by now.
            learned.note_caught_up(now, Duration::ZERO);
            self.state.lag = Some(Lag {
                time: Some(Duration::ZERO),
                bytes: replication.pending_bytes,
            });
        }
    }

    fn judge_lag(
        &self,
        max_lag: Option<Duration>,
        learned: &Learned,
        now: Moment,
    ) -> Result<(), Failure> {
        let Some(replication) = &self.state.replication else {
            return Ok(());
        };
        if let Some(stopped) = &replication.stopped {
            return Err(Failure::new(Cause::Lagging, stopped.as_str()));
        }
        let time = self.state.lag.and_then(|lag| lag.time);
        let cut_off = match (replication.connected, learned.caught_up_at) {
            (true, _) => String::new(),
            (false, None) => "it is not connected to its primary, ".to_owned(),
            (false, Some(at)) => format!(
                "it had its primary's data for the last time {} ago and is not connected to it now, ",
                seconds(now.since(at))
            ),
        };
        let detail = match (max_lag, time) {
            (Some(max), Some(time)) if time <= max => return Ok(()),
            (Some(max), Some(time)) => format!(
                "{cut_off}it is {} behind, {} are allowed",
                seconds(time),
                seconds(max)
            ),
            (Some(max), None) => format!(
                "{cut_off}how far it is behind cannot be told, {} are allowed",
                seconds(max)
            ),
            (None, _) if replication.connected => return Ok(()),
            (None, _) => "it is not connected to its primary".to_owned(),
        };
        Err(Failure::new(Cause::Lagging, detail))
    }

    /// A replica that is connected and has received something may only seem to be behind: the
    /// age of the newest commit it replayed is that of a quiet primary until the next one is
    /// replayed, a moment after it was received.
    fn deserves_second_look(&self) -> Option<u64> {
        let replication = self.state.replication.as_ref()?;
        let first = self.step == Step::State;
        let moving = replication.connected && replication.stopped.is_none();
        replication.received.filter(|_| first && moving)
    }

    /// What was learned of the server.
    pub(crate) fn facts(&self, learned: &Learned) -> Arc<ServerFacts> {
        Arc::new(ServerFacts {
            role: self.state.role,
            read_only: self.state.read_only,
            shares_writes: self.state.shares_writes,
            lag: self.state.lag,
            connections: self.state.connections,
            product: learned.product.map(Product::name),
            version: learned.version.clone(),
        })
    }
}

const IN_RECOVERY: (Cause, &str) = (Cause::InRecovery, "this server replays the log of another");
const READ_ONLY: (Cause, &str) = (Cause::ReadOnly, "this server is set to take no writes");

impl Settings {
    /// The next smaller set, after a server did not know one of these.
    fn fewer(self) -> Option<Self> {
        match self {
            Self::All => Some(Self::WithoutCluster),
            Self::WithoutCluster => Some(Self::None),
            Self::None => None,
        }
    }
}

/// The time that a server is given for a statement, of all there is.
pub(crate) fn server_share(patience: Duration) -> Duration {
    patience * SERVER_SHARE_PERCENT / 100
}

/// What follows from what the server says that a write is waiting for.
fn hung_write(waits: Option<&str>) -> Failure {
    let Some(waits) = waits.filter(|waits| !waits.is_empty()) else {
        return Failure::new(Cause::WriteFailed, "the write was not committed in time");
    };
    // MariaDB waits for room rather than fail, where it has to log a change.
    let cause = match waits.contains("free space") {
        true => Cause::DiskFull,
        false => Cause::WriteFailed,
    };
    Failure::new(
        cause,
        format!("the write does not end, the server says of it: {waits}"),
    )
}

/// What keeps a statement of the user's own out of queues, as a statement before it. PostgreSQL has
/// a way without a statement: a CancelRequest when that time is up.
pub(crate) fn settings(learned: &Learned, patience: Duration) -> String {
    let patience = server_share(patience);
    match learned.product {
        Some(Product::MySql | Product::MariaDb) => mysql::Dialect::new(learned).settings(patience),
        Some(Product::PostgreSql) | None => String::new(),
    }
}

/// Whether a server refuses because of a setting that it does not know; then fewer are made from
/// here on.
pub(crate) fn wants_fewer_settings(refusal: &Refusal, learned: &mut Learned) -> bool {
    if refusal.number != mysql::UNKNOWN_VARIABLE {
        return false;
    }
    if !learned.variables.is_empty() {
        // A plugin was removed, and its variables with it.
        learned.variables = Vec::new();
        return true;
    }
    let fewer = learned.settings.fewer();
    if let Some(fewer) = fewer {
        learned.settings = fewer;
    }
    fewer.is_some()
}

/// ER_NO_SUCH_TABLE, undefined_table.
fn is_missing_table(refusal: &Refusal) -> bool {
    refusal.number == 1146 || refusal.sqlstate == "42P01"
}

/// ER_LOCK_DEADLOCK (which is also what Galera says to the loser of two writes on two nodes),
/// serialization_failure, deadlock_detected.
fn lost_against_another(refusal: &Refusal) -> bool {
    refusal.number == 1213 || matches!(refusal.sqlstate.as_str(), "40001" | "40P01")
}

/// A duration as people say it.
fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests;
