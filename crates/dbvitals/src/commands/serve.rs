//! `serve`: the agent, with everything that tells others.
//!
//! Everything that can be refused is refused before anything starts. Then the event loops run in
//! threads of their own, and gates and HTTP in this one, until SIGTERM or SIGINT: gates close at
//! once, servers are told goodbye, and the exit code is 0.

mod printer;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use dbvitals_probe::{Address, Clock};
use dbvitals_verdict::Plan;
use tokio::net::TcpListener;

use self::printer::Printer;
use super::ending::Ending;
use super::{Asked, read_targets};
use crate::agent::gate;
use crate::agent::plan::{
    AgentPlan, BackendPlan, GateAddress, GatePlan, OnDegraded, OnUnknown, default_plan, notice,
};
use crate::agent::publishers::Publishers;
use crate::agent::{Agent, log, shards_for};
use crate::cli::ServeArgs;
use crate::exit::Exit;
use crate::misuse::{Misuse, tell};
use crate::record::Recorder;
use crate::{config, discovery};

/// Runs until told to end.
pub(crate) fn run(args: &ServeArgs, json: bool) -> anyhow::Result<Exit> {
    let plan = match &args.config {
        Some(path) => {
            let mut plan = config::read(path)?;
            if let Some(http) = &args.http {
                plan.http = config::http_address(http).map_err(Misuse)?;
                for gate in &plan.gates {
                    check_apart(&format!("gate {:?}", gate.name), gate.listen, plan.http)?;
                }
            }
            plan
        }
        None => plan_of_arguments(args)?,
    };
    for notice in &plan.notices {
        tell(notice);
    }
    for gate in &plan.gates {
        gate::try_address(gate.listen).map_err(|error| cannot_listen(&gate.listen, &error))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(serve(plan, args, json))
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
    let targets = read_targets(&arguments, Asked::default(), &args.password)?;
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
            target: Arc::new(target),
            plan: Arc::new(plan),
        });
    }
    let gates = gate_of_argument(args, &backends)?;
    let http = args.http.as_deref().unwrap_or(config::HTTP_DEFAULT);
    let http = config::http_address(http).map_err(Misuse)?;
    for gate in &gates {
        check_apart("--gate", gate.listen, http)?;
    }
    Ok(AgentPlan {
        name: config::host_name(),
        http,
        backends,
        gates,
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
    Ok(vec![GatePlan {
        name: backend.name.to_string(),
        listen: GateAddress::parse(address)?,
        of: Arc::clone(&backend.name),
        on_unknown: OnUnknown::Closed,
        on_degraded: OnDegraded::Open,
    }])
}

/// A gate and HTTP cannot share a port; found now, because a gate listens only later.
fn check_apart(gate: &str, listen: GateAddress, http: Option<SocketAddr>) -> Result<(), Misuse> {
    match http {
        Some(http) if listen.clashes_with(GateAddress::One(http)) => Err(Misuse(format!(
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
    let plans = plan.backends.iter();
    let plans = plans.map(|backend| (backend.name.to_string(), Plan::clone(&backend.plan)));
    let shards = shards_for(plan.backends.len());
    Recorder::start(path, bytes_max, &plan.name, &plans.collect(), shards, clock).map_err(|error| {
        Misuse(format!(
            "cannot record into {}: {}; name another file with --record",
            path.display(),
            dbvitals_probe::plain(&error)
        ))
    })
}

async fn serve(plan: AgentPlan, args: &ServeArgs, json: bool) -> anyhow::Result<Exit> {
    let http_listener = match plan.http {
        Some(address) => Some(bind_http(address).await?),
        None => None,
    };
    let mut ending = Ending::new().context("failed to listen to signals")?;
    let log = log::start(args.debug);
    let clock = Clock::start();
    let recorder = match &args.record {
        Some(path) => Some(start_record(path, args.record_max, &plan, clock)?),
        None => None,
    };
    let (agent, transitions) =
        Agent::start(&plan.backends, clock, fastrand::u64(..), recorder.as_ref())?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        agent = plan.name,
        backends = plan.backends.len(),
        gates = plan.gates.len(),
        http = plan.http.map(tracing::field::display),
        "watching"
    );
    let publishers = Publishers::start(agent.board(), plan.gates, http_listener);
    let printer = match json {
        true => Some(Printer::start(transitions, agent.board().clock())?),
        false => None,
    };
    let why = ending.wait().await;
    publishers.close().await;
    tracing::info!(
        signal = why,
        "ending: gates are closed, saying goodbye to the servers"
    );
    agent.stop();
    if let Some(recorder) = recorder {
        recorder.finish();
    }
    if let Some(printer) = printer {
        printer.finish();
    }
    drop(log);
    Ok(Exit::Fine)
}

async fn bind_http(address: SocketAddr) -> Result<TcpListener, Misuse> {
    TcpListener::bind(address)
        .await
        .map_err(|error| cannot_listen(&address, &error))
}
