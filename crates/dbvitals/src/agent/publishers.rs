//! What tells others, as far as it listens at a port: gates, agent checks and HTTP, over one board;
//! and the services, of which they tell as they do of backends.
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

use crate::agent::agent_check::{AgentCheck, AgentCheckPlan};
use crate::agent::agent_plan::AgentPlan;
use crate::agent::board::Board;
use crate::agent::board::{Roster, ServiceBoard};
use crate::agent::gate::Gate;
use crate::agent::http::{
    self, CONNECTIONS_MAX, Desk, Door, Ending, History, OPERATORS_MAX, Server, Shortcut, Tls,
};
use crate::agent::listening::KeptSockets;
use crate::agent::plan::{GatePlan, ServicePlan};
use crate::agent::subject::Subject;
use crate::agent::transitions::Told;

/// The running gates and HTTP; dropping them closes their listeners too.
#[derive(Debug)]
pub(crate) struct Publishers {
    board: Arc<Board>,
    services: BTreeMap<Arc<str>, RunningService>,
    /// Sockets of gates that outlive the agent.
    kept: KeptSockets,
    gates: BTreeMap<String, Running<GatePlan>>,
    agent_checks: BTreeMap<String, Running<AgentCheckPlan>>,
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
struct RunningService {
    board: Arc<ServiceBoard>,
    task: JoinSet<()>,
}

/// What tells of one subject at an address of its own.
#[derive(Debug)]
struct Running<P> {
    plan: P,
    of: Subject,
    task: JoinSet<()>,
}

/// The plan of such a publisher.
trait SubjectPlan: PartialEq {
    fn name(&self) -> &str;
    /// The subject's name.
    fn of(&self) -> &str;
}

impl SubjectPlan for GatePlan {
    fn name(&self) -> &str {
        &self.name
    }

    fn of(&self) -> &str {
        &self.of
    }
}

impl SubjectPlan for AgentCheckPlan {
    fn name(&self) -> &str {
        &self.name
    }

    fn of(&self) -> &str {
        &self.of
    }
}

/// Ends those that are not to go on as they are, and leaves the others in `running`; answers which
/// are to be started. What ends gives its address free before somebody else listens there. What is
/// of nothing that is on the board is left out.
async fn part<P: SubjectPlan>(
    running: &mut BTreeMap<String, Running<P>>,
    plans: Vec<P>,
    board: &Board,
) -> Vec<(P, Subject)> {
    let mut before = std::mem::take(running);
    let mut starting = Vec::new();
    for plan in plans {
        let Some(of) = Subject::find(board, plan.of()) else {
            continue;
        };
        match before.remove(plan.name()) {
            Some(same) if same.plan == plan && same.of.is(&of) => {
                running.insert(plan.name().to_owned(), same);
            }
            Some(mut other) => {
                other.task.shutdown().await;
                starting.push((plan, of));
            }
            None => starting.push((plan, of)),
        }
    }
    for mut gone in before.into_values() {
        gone.task.shutdown().await;
    }
    starting
}

impl Publishers {
    /// Publishers with nothing to tell yet.
    pub(crate) fn new(board: &Arc<Board>, kept: KeptSockets) -> Self {
        let (end, ending) = Ending::new();
        Self {
            board: Arc::clone(board),
            services: BTreeMap::new(),
            kept,
            gates: BTreeMap::new(),
            agent_checks: BTreeMap::new(),
            http: JoinSet::new(),
            feeding: JoinSet::new(),
            tls: Arc::default(),
            ending,
            end,
        }
    }

    /// Tells of services, at gates and at agent checks from now on as this plan says, and of
    /// nothing else; HTTP apart. What is of nothing that is on the board is left out.
    pub(crate) async fn handle_plan(&mut self, plan: &AgentPlan) {
        self.follow_services(&plan.services).await;
        self.follow_gates(plan.gates.clone()).await;
        self.follow_checks(plan.agent_checks.clone()).await;
        // Shown from the next connection on; plain HTTP without one.
        self.tls.store(plan.http_tls.clone().map(Arc::new));
    }

    /// Shows these services. One that was there before keeps its place, so that whoever follows it
    /// notices nothing but what its members make of it.
    async fn follow_services(&mut self, plans: &[ServicePlan]) {
        let mut before = std::mem::take(&mut self.services);
        let mut shown = Vec::new();
        for plan in plans {
            let names = plan.backends.iter();
            let roster = Roster {
                needs: plan.needs,
                members: names.filter_map(|name| self.board.backend(name)).collect(),
            };
            let service = match before.remove(&plan.name) {
                Some(service) if service.board.roster().is(&roster) => service,
                Some(mut service) => {
                    service.task.shutdown().await;
                    service.board.set_roster(roster);
                    self.start_service(service.board)
                }
                None => {
                    let now = self.board.clock().now();
                    self.start_service(Arc::new(ServiceBoard::new(&plan.name, roster, now)))
                }
            };
            shown.push(Arc::clone(&service.board));
            self.services.insert(Arc::clone(&plan.name), service);
        }
        self.board.show_services(shown);
    }

    fn start_service(&self, board: Arc<ServiceBoard>) -> RunningService {
        let mut task = JoinSet::new();
        task.spawn(Arc::clone(&board).follow(self.board.clock()));
        RunningService { board, task }
    }

    /// Runs these gates, and no others.
    pub(crate) async fn follow_gates(&mut self, gates: Vec<GatePlan>) {
        let plans = gates.clone();
        let starting = part(&mut self.gates, gates, &self.board).await;
        self.kept.handle_plan(&plans);
        for (plan, of) in starting {
            let mut task = JoinSet::new();
            let gate = Gate::new(plan.clone(), of.follow(plan.want), self.kept.of(&plan));
            task.spawn(gate.run());
            let gate = Running { plan, of, task };
            self.gates.insert(gate.plan.name.clone(), gate);
        }
    }

    /// Answers HAProxy at these ports, and at no others.
    async fn follow_checks(&mut self, plans: Vec<AgentCheckPlan>) {
        let starting = part(&mut self.agent_checks, plans, &self.board).await;
        for (plan, of) in starting {
            let mut task = JoinSet::new();
            match AgentCheck::bind(&plan) {
                Ok(check) => {
                    task.spawn(check.run(of.clone(), self.board.clock()));
                    let check = Running { plan, of, task };
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

    fn answer(
        &mut self,
        door: Door,
        connections_max: usize,
        tls: Arc<ArcSwapOption<Tls>>,
        desk: Desk,
    ) {
        let server = Server {
            clock: self.board.clock(),
            shortcut: Shortcut::new(&self.board),
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
