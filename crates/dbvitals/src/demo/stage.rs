//! What the demo runs: two servers, the agent on them, a gate for each and the HTTP port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dbvitals_probe::{Address, Clock, Statement, Target};
use dbvitals_verdict::{Admin, Course, Depth, Moment, Plan, Want};
use dbvitals_wire::Credentials;
use tokio::net::TcpListener;
use tokio::sync::broadcast;

use crate::agent::Agent;
use crate::agent::board::BackendBoard;
use crate::agent::control::Watchlist;
use crate::agent::http::{About, Access, Desk, Token};
use crate::agent::listening::KeptSockets;
use crate::agent::orders::Orders;
use crate::agent::plan::{
    BackendPlan, GateAddress, GatePlan, OnAlarm, OnDegraded, OnRestart, OnUnknown, Origin,
};
use crate::agent::publishers::Publishers;
use crate::agent::transitions::{self, Told};
use crate::config;
use crate::demo::port::Port;
use crate::demo::script::ServerName;
use crate::demo::server::{FakeServer, Mood};

/// The one setting that is not the default: nobody wants to wait half a minute to see a full
/// server noticed.
const FRESH_INTERVAL: Duration = Duration::from_secs(1);

/// All of it, running.
#[derive(Debug)]
pub(crate) struct Stage {
    clock: Clock,
    /// When the agent was started.
    pub(crate) started: Moment,
    cast: Vec<Member>,
    agent: Agent,
    publishers: Publishers,
    /// Where HTTP is answered.
    pub(crate) http: SocketAddr,
}

/// One server with its gate.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: ServerName,
    pub(crate) server: FakeServer,
    pub(crate) plan: Arc<Plan>,
    pub(crate) board: Arc<BackendBoard>,
    gate: Port,
}

impl Member {
    pub(crate) fn gate(&self) -> SocketAddr {
        self.gate.address()
    }
}

impl Stage {
    /// Starts everything, and subscribes to what the agent concludes.
    ///
    /// # Errors
    ///
    /// Where the system gives no port, no thread or no descriptor.
    pub(crate) async fn set_up() -> anyhow::Result<(Self, broadcast::Receiver<Arc<Told>>)> {
        let mut servers = Vec::new();
        for name in ServerName::ALL {
            let server = FakeServer::start(name.dialect()).context("failed to start a server")?;
            let gate = Port::reserve().context("failed to reserve a port for a gate")?;
            servers.push((name, server, gate));
        }
        let listener = bind_http().await.context("failed to listen for HTTP")?;
        let http = listener.local_addr()?;
        let backends: Vec<_> = servers
            .iter()
            .map(|(name, server, _)| backend_plan(*name, server.address()))
            .collect();
        let gates = servers
            .iter()
            .map(|(name, _, gate)| gate_plan(*name, gate.address()))
            .collect();

        let clock = Clock::start();
        let started = clock.now();
        let sender = transitions::channel();
        let (told, for_http) = (sender.subscribe(), sender.subscribe());
        let order = |_: &str| Admin::Ready;
        let watchlist = Watchlist {
            backends: &backends,
            logins_per_second_max: None,
        };
        let agent = Agent::start(
            watchlist,
            &order,
            clock,
            fastrand::u64(..),
            sender,
            None,
            None,
        )?;
        let mut publishers = Publishers::new(agent.board(), KeptSockets::default());
        publishers.follow_gates(gates).await;
        let desk = Desk {
            board: Arc::clone(agent.board()),
            control: Arc::clone(agent.control()),
            orders: Arc::new(Orders::in_memory()),
            hooks: Arc::default(),
            access: Access::Bearer(Token::default()),
            about: Arc::new(About::new("demo", None)),
            reload: None,
            history: publishers.keep(for_http),
            kept: None,
        };
        publishers.answer_at(listener, desk);
        let boards = agent.board().backends();
        let boards = boards.iter().map(Arc::clone);
        let plans = backends.iter().map(|backend| Arc::clone(&backend.plan));
        let cast = servers
            .into_iter()
            .zip(plans.zip(boards))
            .map(|((name, server, gate), (plan, board))| Member {
                name,
                server,
                plan,
                board,
                gate,
            })
            .collect();
        let stage = Self {
            clock,
            started,
            cast,
            agent,
            publishers,
            http,
        };
        Ok((stage, told))
    }

    /// Where the dashboard is.
    pub(crate) fn page(&self) -> String {
        format!("http://{}/", self.http)
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn cast(&self) -> &[Member] {
        &self.cast
    }

    pub(crate) fn member(&self, name: ServerName) -> &Member {
        &self.cast[name as usize]
    }

    /// Ends everything: gates close, then the agent says goodbye to servers that can hear it.
    pub(crate) async fn strike(self) {
        self.publishers.close().await;
        for member in &self.cast {
            member.server.switch(Mood::Fine);
        }
        self.agent.stop();
    }
}

fn backend_plan(name: ServerName, address: SocketAddr) -> BackendPlan {
    let dialect = name.dialect();
    let place = Address::Tcp {
        host: address.ip().to_string(),
        port: address.port(),
    };
    let statement = Statement {
        sql: dialect.read_only_statement().to_owned(),
        equals: Some(dialect.read_only_answer(false).to_owned()),
    };
    let target = Target {
        credentials: Some(Credentials::new("vitals").into()),
        statement: Some(Arc::new(statement)),
        ..Target::new(dialect.protocol(), place)
    };
    let course = Course::Session {
        depth: Depth::Query,
    };
    let plan = Plan {
        fresh_interval: FRESH_INTERVAL,
        ..Plan::new(course)
    };
    BackendPlan {
        name: name.name().into(),
        origin: Origin::default(),
        target: Arc::new(target),
        plan: Arc::new(plan),
    }
}

fn gate_plan(name: ServerName, address: SocketAddr) -> GatePlan {
    GatePlan {
        name: name.name().to_owned(),
        listen: GateAddress::One(address),
        of: name.name().into(),
        want: Want::Any,
        on_unknown: OnUnknown::Closed,
        on_degraded: OnDegraded::Open,
        on_restart: OnRestart::Closed,
        on_alarm: OnAlarm::Open,
    }
}

/// The usual address, or, where that is taken, a port of the kernel's choice.
async fn bind_http() -> io::Result<TcpListener> {
    match TcpListener::bind(config::HTTP_DEFAULT).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
    }
}
