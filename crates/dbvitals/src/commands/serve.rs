//! `serve`: the agent, with everything that tells others.
//!
//! Everything that can be refused is refused before anything starts. Then the event loops run in
//! threads of their own, and gates and HTTP in this one, until SIGTERM or SIGINT: gates close at
//! once, servers are told goodbye, and the exit code is 0.

mod control_socket;
mod printer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dbvitals_probe::{Address, Clock};
use dbvitals_verdict::{Admin, Want};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::printer::Printer;
use super::ending::{Heard, Signals};
use super::{Asked, read_targets};
use crate::agent::agent_plan::AgentPlan;
use crate::agent::board::Board;
use crate::agent::history::Keeper;
use crate::agent::hooks::{HookRecords, Hooks, HooksPlan};
use crate::agent::http::{About, Access, Desk, Reloads, Token};
use crate::agent::listening::{self, Inherited, KeptSockets};
use crate::agent::orders::Orders;
use crate::agent::plan::{
    BackendPlan, GateAddress, GatePlan, Histograms, OnAlarm, OnDegraded, OnRestart, OnUnknown,
    Origin, default_plan, notice,
};
use crate::agent::publishers::Publishers;
use crate::agent::{Agent, log, shards_for, transitions};
use crate::cli::ServeArgs;
use crate::exit::Exit;
use crate::misuse::{Misuse, tell};
use crate::record::Recorder;
use crate::shared_parts::SharedParts;
use crate::systemd::Systemd;
use crate::{config, descriptors, discovery};

/// How long the end may take, as systemd is told: gates and goodbyes take little over a second.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Runs until told to end.
pub(crate) fn run(args: &ServeArgs, json: bool) -> anyhow::Result<Exit> {
    let inherited = Inherited::take();
    let plan = match &args.config {
        Some(path) => read_plan(path, args.http.as_deref())?,
        None => plan_of_arguments(args)?,
    };
    if let Some(why) = inherited.refusal() {
        return Err(Misuse(why).into());
    }
    descriptors::raise_limit(plan.backends.len());
    for notice in plan.notices.iter().chain(&inherited.notices) {
        tell(notice);
    }
    let gates = plan.gates.iter().map(|gate| &gate.listen);
    let kept: Vec<_> = gates.filter(|address| inherited.has(address)).collect();
    for address in addresses(&plan).filter(|address| !kept.contains(address)) {
        listening::try_address(address).map_err(|error| cannot_listen(address, &error))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let ended = runtime.block_on(serve(plan, inherited, args, json));
    // A hook's program on a dead disk may be starting still; its thread is not waited for.
    runtime.shutdown_background();
    ended
}

/// The plan of a configuration file; a flag may say where HTTP is answered instead.
fn read_plan(path: &Path, http: Option<&str>) -> Result<AgentPlan, Misuse> {
    let mut plan = config::read(path)?;
    if let Some(http) = http {
        plan.http = config::http_address(http).map_err(Misuse)?;
        for gate in &plan.gates {
            check_apart(&format!("gate {:?}", gate.name), &gate.listen, plan.http)?;
        }
        for check in &plan.agent_checks {
            let name = format!("agent check {:?}", check.name);
            check_apart(&name, &check.listen, plan.http)?;
        }
    }
    Ok(plan)
}

/// The plan of a command line: the targets given, or those found on this machine.
fn plan_of_arguments(args: &ServeArgs) -> anyhow::Result<AgentPlan> {
    let mut arguments = args.targets.clone();
    if arguments.is_empty() {
        arguments = discovery::local_servers()?;
        if arguments.is_empty() {
            return Err(Misuse(
                "no MySQL or PostgreSQL server listens on this machine; name one, like `dbvitals serve mysql://user@host`, or try `dbvitals demo`".to_owned(),
            )
            .into());
        }
        tell(&format!("found on this machine: {}", arguments.join(", ")));
    }
    let mut shared = SharedParts::default();
    let targets = read_targets(&arguments, Asked::default(), &args.password, &mut shared)?;
    let mut names = BTreeSet::new();
    let mut addresses = BTreeMap::new();
    let mut notices = Vec::new();
    let mut backends = Vec::new();
    for (url, target, _) in targets {
        if !names.insert(url.name.clone()) {
            return Err(Misuse(format!(
                "the target {:?} is named twice; write NAME=URL to tell them apart",
                url.name
            ))
            .into());
        }
        if let Some(other) = addresses.insert(target.address.to_string(), url.name.clone()) {
            return Err(Misuse(format!(
                "the address {} is watched already, as {other:?}; name it once",
                target.address
            ))
            .into());
        }
        check_name(&target.address)?;
        let plan = default_plan(&url, None);
        notices.extend(notice(&url, &plan));
        backends.push(BackendPlan {
            name: url.name.as_str().into(),
            origin: Origin::of(&url, &target, &mut shared),
            target: Arc::new(target),
            plan: shared.plan(plan),
        });
    }
    let gates = gate_of_argument(args, &backends)?;
    let http = args.http.as_deref().unwrap_or(config::HTTP_DEFAULT);
    let http = config::http_address(http).map_err(Misuse)?;
    for gate in &gates {
        check_apart("--gate", &gate.listen, http)?;
    }
    Ok(AgentPlan {
        name: config::host_name(),
        http,
        http_tls: None,
        state_dir: None,
        keeps_history: true,
        control: None,
        token: None,
        histograms: Histograms::default(),
        logins_per_second_max: None,
        backends,
        services: Vec::new(),
        gates,
        agent_checks: Vec::new(),
        hooks: Vec::new(),
        notices,
    })
}

fn gate_of_argument(args: &ServeArgs, backends: &[BackendPlan]) -> Result<Vec<GatePlan>, Misuse> {
    let Some(address) = &args.gate else {
        return Ok(Vec::new());
    };
    let [backend] = backends else {
        return Err(Misuse(format!(
            "--gate stands for one target, and there are {}; use a configuration file with [gate.NAME]",
            backends.len()
        )));
    };
    let listen = GateAddress::parse(address)?;
    if let (GateAddress::Unix(path), Address::Unix(socket)) = (&listen, &backend.target.address)
        && **path == **socket
    {
        return Err(Misuse(format!(
            "{listen} is the socket of the target itself; choose another for --gate"
        )));
    }
    Ok(vec![GatePlan {
        name: backend.name.to_string(),
        listen,
        of: Arc::clone(&backend.name),
        want: Want::Any,
        on_unknown: OnUnknown::Closed,
        on_degraded: OnDegraded::Open,
        on_restart: OnRestart::Closed,
        on_alarm: OnAlarm::Open,
    }])
}

/// A gate and HTTP cannot share a port; found now, because a gate listens only later.
fn check_apart(gate: &str, listen: &GateAddress, http: Option<SocketAddr>) -> Result<(), Misuse> {
    match http {
        Some(http) if listen.clashes_with(&GateAddress::One(http)) => Err(Misuse(format!(
            "{gate} and --http are both to listen at port {}; choose another for one of them",
            http.port()
        ))),
        Some(_) | None => Ok(()),
    }
}

/// A name typed by a person has to exist; one of a configuration may come to exist later.
fn check_name(address: &Address) -> Result<(), Misuse> {
    let Address::Tcp { host, port } = address else {
        return Ok(());
    };
    match (host.as_str(), *port).to_socket_addrs() {
        Ok(_) => Ok(()),
        Err(error) => Err(Misuse(format!(
            "cannot resolve {host:?}: {}; correct the name, or write an address",
            dbvitals_probe::plain(&error)
        ))),
    }
}

fn cannot_listen(address: &impl std::fmt::Display, error: &std::io::Error) -> Misuse {
    Misuse(format!(
        "cannot listen at {address}: {}; choose another address, or end what uses it",
        dbvitals_probe::plain(error)
    ))
}

/// Begins the record of a run; found out now, because a run without its record may be worth nothing.
fn start_record(
    path: &Path,
    bytes_max: u64,
    plan: &AgentPlan,
    clock: Clock,
) -> Result<Recorder, Misuse> {
    let shards = shards_for(plan.backends.len());
    Recorder::start(path, bytes_max, &plan.name, shards, clock).map_err(|error| {
        Misuse(format!(
            "cannot record into {}: {}; name another file with --record",
            path.display(),
            dbvitals_probe::plain(&error)
        ))
    })
}

async fn serve(
    mut plan: AgentPlan,
    inherited: Inherited,
    args: &ServeArgs,
    json: bool,
) -> anyhow::Result<Exit> {
    let http_listener = match plan.http {
        Some(address) => Some(bind_http(address).await?),
        None => None,
    };
    let clock = Clock::start();
    let orders = Arc::new(open_orders(plan.state_dir.as_deref(), clock)?);
    let control_listener =
        control_socket::bind(plan.control.as_deref(), plan.state_dir.as_deref())?;
    let mut signals = Signals::new().context("failed to listen to signals")?;
    let log = log::start(args.debug, args.log);
    let recorder = match &args.record {
        Some(path) => Some(start_record(path, args.record_max, &plan, clock)?),
        None => None,
    };
    let keeper = start_history(&plan, clock)?;
    let told = transitions::channel();
    let (for_hooks, for_printer) = (told.subscribe(), json.then(|| told.subscribe()));
    let for_http = told.subscribe();
    let agent = Agent::start(
        plan.watchlist(),
        &|name| orders.admin(name),
        clock,
        fastrand::u64(..),
        told,
        recorder.as_ref(),
        keeper.as_ref(),
    )?;
    say_watching(&plan, control_listener.as_ref().map(|it| it.path()));
    agent.board().set_histograms(plan.histograms);
    let records = Arc::<HookRecords>::default();
    let hooks = Hooks::start(hooks_plan(&plan), Arc::clone(&records), clock, for_hooks);
    show_orders(agent.board(), &orders);
    let (reload, mut reloads) = mpsc::channel(1);
    let systemd = Arc::new(Systemd::from_environment());
    let kept = KeptSockets::new(Arc::clone(&systemd), inherited, &plan.gates);
    let mut publishers = Publishers::new(agent.board(), kept);
    publishers.handle_plan(&plan).await;
    let history = publishers.keep(for_http);
    let token = Token::default();
    token.store(plan.token.clone().map(Arc::new));
    let about = Arc::new(About::new(&plan.name, args.config.as_deref()));
    let desk = |access| Desk {
        board: Arc::clone(agent.board()),
        control: Arc::clone(agent.control()),
        orders: Arc::clone(&orders),
        hooks: Arc::clone(&records),
        access,
        about: Arc::clone(&about),
        reload: args.config.as_ref().map(|_| reload.clone()),
        history: Arc::clone(&history),
        kept: keeper.as_ref().map(|keeper| Arc::clone(keeper.kept())),
    };
    if let Some(listener) = http_listener {
        publishers.answer_at(listener, desk(Access::Bearer(Arc::clone(&token))));
    }
    if let Some(socket) = &control_listener {
        publishers.answer_operators(socket.listen()?, desk(Access::Operator));
    }
    let printer = for_printer.map(|transitions| Printer::start(transitions, clock));
    let printer = printer.transpose()?;
    // Who watches them has them now.
    plan.backends = Vec::new();
    let mut serving = Serving {
        args,
        plan,
        agent,
        orders,
        publishers,
        hooks,
        keeper,
        token,
        systemd,
    };
    let why = serving.attend(&mut signals, &mut reloads).await;
    serving.publishers.close().await;
    tracing::info!(
        signal = why,
        "ending: gates are closed, saying goodbye to the servers"
    );
    serving.hooks.close().await;
    serving.agent.stop();
    if let Some(recorder) = recorder {
        recorder.finish();
    }
    if let Some(keeper) = serving.keeper {
        keeper.finish();
    }
    if let Some(printer) = printer {
        printer.finish();
    }
    drop(log);
    Ok(Exit::Fine)
}

/// Says in the log what is watched and told.
fn say_watching(plan: &AgentPlan, control: Option<&Path>) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        agent = plan.name,
        backends = plan.backends.len(),
        services = plan.services.len(),
        gates = plan.gates.len(),
        agent_checks = plan.agent_checks.len(),
        hooks = plan.hooks.len(),
        http = plan.http.map(tracing::field::display),
        https = plan.http_tls.is_some(),
        control = control.map(|it| tracing::field::display(it.display())),
        "watching"
    );
}

/// Where gates and agent checks listen.
fn addresses(plan: &AgentPlan) -> impl Iterator<Item = &GateAddress> {
    let gates = plan.gates.iter().map(|gate| &gate.listen);
    gates.chain(plan.agent_checks.iter().map(|check| &check.listen))
}

/// The hooks, with what they tell of the backends beside what the board knows.
fn hooks_plan(plan: &AgentPlan) -> HooksPlan {
    let address = |it: &BackendPlan| (Arc::clone(&it.name), it.target.address.clone());
    let told = plan.backends.iter().filter(|_| !plan.hooks.is_empty());
    HooksPlan {
        agent: plan.name.clone(),
        hooks: plan.hooks.clone(),
        addresses: told.map(address).collect(),
    }
}

/// A running agent with everything that tells others, and what changes them under way.
#[derive(Debug)]
struct Serving<'a> {
    args: &'a ServeArgs,
    /// Without its backends, of which there may be very many.
    plan: AgentPlan,
    agent: Agent,
    orders: Arc<Orders>,
    publishers: Publishers,
    hooks: Hooks,
    /// Keeps the history, where there is a state directory.
    keeper: Option<Keeper>,
    token: Token,
    systemd: Arc<Systemd>,
}

/// How long to sleep where no order has an end, and at the most: the wall clock may be set.
const ORDERS_LOOKED_AT_EVERY: Duration = Duration::from_secs(60);

impl Serving<'_> {
    /// Does what is asked of the agent until it is told to end, and says by what.
    async fn attend(&mut self, signals: &mut Signals, reloads: &mut Reloads) -> &'static str {
        self.systemd.ready();
        let mut attending = JoinSet::new();
        let board = Arc::clone(self.agent.board());
        attending.spawn(Arc::clone(&self.systemd).attend(board));
        let why = loop {
            let next_end = self.next_end();
            tokio::select! {
                signal = signals.wait() => match signal {
                    Heard::End(signal) => break signal,
                    // Said in the log, whichever way it went.
                    Heard::Reload => drop(self.reload().await),
                },
                Some(answer) = reloads.recv() => {
                    // Who asked may have gone.
                    let _ = answer.send(self.reload().await);
                }
                () = self.orders.given() => {}
                () = tokio::time::sleep(next_end) => self.end_orders(),
            }
        };
        self.systemd.stopping(ENDS_WITHIN);
        attending.shutdown().await;
        why
    }

    /// Reads the configuration file again. What did not change keeps its session, its verdict and
    /// its listener; a file that is wrong changes nothing. Answers what became of it, or why not.
    async fn reload(&mut self) -> Result<String, String> {
        self.systemd.reloading();
        let reloaded = self.try_reload().await;
        self.systemd.ready();
        match &reloaded {
            Ok(detail) => tracing::info!(detail, "the configuration is reloaded"),
            Err(why) => {
                tracing::error!(why, "the configuration is not reloaded, the old one holds")
            }
        }
        reloaded
    }

    async fn try_reload(&mut self) -> Result<String, String> {
        let Some(path) = &self.args.config else {
            return Err("the agent was started without a configuration file".to_owned());
        };
        let plan = read_plan(path, self.args.http.as_deref());
        let plan = plan.map_err(|misuse| misuse.0)?;
        self.check_gates(&plan)?;
        descriptors::raise_limit(plan.backends.len());
        let orders = Arc::clone(&self.orders);
        let reloaded = self
            .agent
            .control()
            .watch(plan.watchlist(), &|name| orders.admin(name))
            .map_err(|busy| busy.to_string())?;
        self.publishers.handle_plan(&plan).await;
        self.hooks.handle_plan(hooks_plan(&plan));
        self.agent.board().set_histograms(plan.histograms);
        self.token.store(plan.token.clone().map(Arc::new));
        if let Some(keeper) = &self.keeper {
            keeper.switch(plan.keeps_history);
        }
        let mut detail = format!(
            "{} backends kept, {} changed, {} added, {} removed",
            reloaded.kept, reloaded.changed, reloaded.added, reloaded.removed
        );
        let fixed = [
            ("http", plan.http != self.plan.http),
            ("state_dir", plan.state_dir != self.plan.state_dir),
            ("control", plan.control != self.plan.control),
        ];
        for (key, _) in fixed.into_iter().filter(|(_, changed)| *changed) {
            detail.push_str(&format!("; {key} takes a restart"));
        }
        self.plan = AgentPlan {
            backends: Vec::new(),
            ..plan
        };
        self.show_orders();
        Ok(detail)
    }

    /// A gate or an agent check that is new has to find its address free, or nothing changes.
    fn check_gates(&self, plan: &AgentPlan) -> Result<(), String> {
        let listens = |address: &GateAddress| {
            let mut old = addresses(&self.plan);
            old.any(|old| old.clashes_with(address))
        };
        for address in addresses(plan).filter(|address| !listens(address)) {
            listening::try_address(address).map_err(|error| cannot_listen(address, &error).0)?;
        }
        Ok(())
    }

    fn show_orders(&self) {
        show_orders(self.agent.board(), &self.orders);
    }

    /// How long until an order ends by itself.
    fn next_end(&self) -> Duration {
        let now = self.agent.board().wall_now();
        let until = self.orders.next_end().map(|end| end.duration_since(now));
        let until = until.map(|left| Duration::try_from(left).unwrap_or_default());
        until.map_or(ORDERS_LOOKED_AT_EVERY, |left| {
            left.min(ORDERS_LOOKED_AT_EVERY)
        })
    }

    /// Ends the orders whose time is up.
    fn end_orders(&self) {
        for name in self.orders.forget_ended(self.agent.board().wall_now()) {
            tracing::info!(backend = name, "an operator's order has ended by itself");
            // A shard that takes no commands is told with the next reload at the latest.
            let _ = self.agent.control().order(&name, Admin::Ready);
        }
        self.show_orders();
    }
}

/// Begins to keep the history, where there is a place for one.
fn start_history(plan: &AgentPlan, clock: Clock) -> anyhow::Result<Option<Keeper>> {
    let keeper = plan
        .state_dir
        .as_deref()
        .map(|directory| Keeper::start(directory, plan.keeps_history, clock));
    keeper.transpose().context("failed to start a thread")
}

/// Puts up why operators gave the orders that hold.
fn show_orders(board: &Board, orders: &Orders) {
    for backend in &*board.backends() {
        backend.show_order(orders.order(&backend.name));
    }
}

fn open_orders(state_dir: Option<&Path>, clock: Clock) -> Result<Orders, Misuse> {
    let Some(directory) = state_dir else {
        return Ok(Orders::in_memory());
    };
    let now = Timestamp::try_from(clock.wall(clock.now())).unwrap_or_default();
    let (orders, notices) = Orders::open(directory, now).map_err(|error| {
        Misuse(format!(
            "cannot use the state directory {}: {}; make it writable, or name another as state_dir",
            directory.display(),
            dbvitals_probe::plain(&error)
        ))
    })?;
    for notice in notices {
        tell(&notice);
    }
    Ok(orders)
}

async fn bind_http(address: SocketAddr) -> Result<TcpListener, Misuse> {
    TcpListener::bind(address)
        .await
        .map_err(|error| cannot_listen(&address, &error))
}
