//! What tells others, as far as it listens at a port: gates, agent checks and HTTP, over one board.
//!
//! They run on the runtime of whoever starts them, apart from the event loops, and end together:
//! closing them closes every listener before anything that takes time. On a reload a gate that did
//! not change goes on as it is, with its listener.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use crate::agent::Told;
use crate::agent::agent_check::{AgentCheck, AgentCheckPlan};
use crate::agent::board::{BackendBoard, Board};
use crate::agent::gate::Gate;
use crate::agent::http::{
    self, CONNECTIONS_MAX, Desk, Door, Ending, History, OPERATORS_MAX, Server, Tls,
};
use crate::agent::plan::GatePlan;

/// The running gates and HTTP; dropping them closes their listeners too.
#[derive(Debug)]
pub(crate) struct Publishers {
    board: Arc<Board>,
    gates: BTreeMap<String, RunningGate>,
    agent_checks: BTreeMap<String, RunningCheck>,
    http: JoinSet<()>,
    /// What feeds those who listen over HTTP.
    feeding: JoinSet<()>,
    /// The certificate of the TCP port.
    tls: Arc<ArcSwapOption<Tls>>,
    ending: Ending,
    /// Brings the end about for HTTP.
    end: watch::Sender<bool>,
}

#[derive(Debug)]
struct RunningGate {
    plan: GatePlan,
    /// What it follows: after a reload, another backend may bear the name.
    of: Arc<BackendBoard>,
    task: JoinSet<()>,
}

#[derive(Debug)]
struct RunningCheck {
    plan: AgentCheckPlan,
    of: Arc<BackendBoard>,
    task: JoinSet<()>,
}

impl Publishers {
    /// Starts the gates, closed until there is evidence.
    pub(crate) async fn start(board: &Arc<Board>, gates: Vec<GatePlan>) -> Self {
        let (end, ending) = Ending::new();
        let mut publishers = Self {
            board: Arc::clone(board),
            gates: BTreeMap::new(),
            agent_checks: BTreeMap::new(),
            http: JoinSet::new(),
            feeding: JoinSet::new(),
            tls: Arc::default(),
            ending,
            end,
        };
        publishers.follow(gates).await;
        publishers
    }

    /// Runs these gates from now on, and no others. A gate of a backend that is not on the board
    /// is left out.
    pub(crate) async fn follow(&mut self, gates: Vec<GatePlan>) {
        let mut before = std::mem::take(&mut self.gates);
        let mut starting = Vec::new();
        for plan in gates {
            let Some(of) = self.board.backend(&plan.of) else {
                continue;
            };
            match before.remove(&plan.name) {
                Some(gate) if gate.plan == plan && Arc::ptr_eq(&gate.of, &of) => {
                    self.gates.insert(plan.name.clone(), gate);
                }
                Some(mut gate) => {
                    gate.task.shutdown().await;
                    starting.push((plan, of));
                }
                None => starting.push((plan, of)),
            }
        }
        // What ends gives its address free before somebody else listens there.
        for mut gate in before.into_values() {
            gate.task.shutdown().await;
        }
        for (plan, of) in starting {
            let mut task = JoinSet::new();
            task.spawn(Gate::new(plan.clone(), of.watch()).run());
            let gate = RunningGate { plan, of, task };
            self.gates.insert(gate.plan.name.clone(), gate);
        }
    }

    /// Answers HAProxy at these ports from now on, and at no others. A check of a backend that is
    /// not on the board is left out.
    pub(crate) async fn follow_checks(&mut self, plans: Vec<AgentCheckPlan>) {
        let mut before = std::mem::take(&mut self.agent_checks);
        let mut starting = Vec::new();
        for plan in plans {
            let Some(of) = self.board.backend(&plan.of) else {
                continue;
            };
            match before.remove(&plan.name) {
                Some(check) if check.plan == plan && Arc::ptr_eq(&check.of, &of) => {
                    self.agent_checks.insert(plan.name.clone(), check);
                }
                Some(mut check) => {
                    check.task.shutdown().await;
                    starting.push((plan, of));
                }
                None => starting.push((plan, of)),
            }
        }
        for mut check in before.into_values() {
            check.task.shutdown().await;
        }
        for (plan, of) in starting {
            let mut task = JoinSet::new();
            match AgentCheck::bind(&plan) {
                Ok(check) => {
                    task.spawn(check.run(Arc::clone(&of), self.board.clock()));
                    let check = RunningCheck { plan, of, task };
                    self.agent_checks.insert(check.plan.name.clone(), check);
                }
                Err(error) => tracing::error!(
                    agent_check = plan.name, address = %plan.listen, %error,
                    "the agent check cannot listen; it is tried again with the next reload"
                ),
            }
        }
    }

    /// Keeps transitions for whoever asks over HTTP, and tells them to whoever listens.
    pub(crate) fn keep(&mut self, transitions: broadcast::Receiver<Arc<Told>>) -> Arc<History> {
        let history = Arc::new(History::new(self.board.clock(), self.ending.clone()));
        self.feeding.spawn(Arc::clone(&history).follow(transitions));
        let board = Arc::clone(&self.board);
        self.feeding
            .spawn(http::sample(Arc::clone(&history), board));
        history
    }

    /// Answers HTTP at a TCP port.
    pub(crate) fn answer_at(&mut self, listener: TcpListener, desk: Desk) {
        let tls = Arc::clone(&self.tls);
        self.answer(Door::Tcp(listener), CONNECTIONS_MAX, tls, desk);
    }

    /// Answers HTTP at the control socket, where the file's mode says who may ask.
    pub(crate) fn answer_operators(&mut self, listener: UnixListener, desk: Desk) {
        self.answer(Door::Unix(listener), OPERATORS_MAX, Arc::default(), desk);
    }

    /// Shows this certificate at the TCP port from the next connection on; plain HTTP without one.
    pub(crate) fn encrypt(&self, tls: Option<Tls>) {
        self.tls.store(tls.map(Arc::new));
    }

    fn answer(
        &mut self,
        door: Door,
        connections_max: usize,
        tls: Arc<ArcSwapOption<Tls>>,
        desk: Desk,
    ) {
        let server = Server {
            router: http::router(desk),
            connections_max,
            tls,
            ending: self.ending.clone(),
        };
        self.http.spawn(server.run(door));
    }

    /// Closes all of them, and returns when they are closed. Who asks over HTTP may hear the answer
    /// still.
    pub(crate) async fn close(mut self) {
        for gate in self.gates.values_mut() {
            gate.task.abort_all();
        }
        self.end.send_replace(true);
        for (_, mut check) in std::mem::take(&mut self.agent_checks) {
            check.task.shutdown().await;
        }
        for (_, mut gate) in std::mem::take(&mut self.gates) {
            gate.task.shutdown().await;
        }
        while self.http.join_next().await.is_some() {}
        self.feeding.shutdown().await;
    }
}
