//! `dbvitals serve` without a database: gates, HTTP, the log, and what it refuses to start with.
//!
//! What is watched here is a plain listener that comes and goes, or a scripted server. How `serve`
//! fares with real servers is in `real_serve.rs`.

#[path = "support/agent.rs"]
mod agent;
#[path = "support/exposition.rs"]
mod exposition;
#[path = "support/gate.rs"]
mod gate;
#[path = "serve/gates.rs"]
mod gates;
#[path = "support/http.rs"]
mod http;
#[path = "serve/http_port.rs"]
mod http_port;
#[path = "serve/misuse.rs"]
mod misuse;
#[path = "serve/orders.rs"]
mod orders;
#[path = "serve/output.rs"]
mod output;
#[path = "serve/reload.rs"]
mod reload;

use std::net::{SocketAddr, TcpListener};

use dbvitals_testkit::Port;

/// Quick probes, so that a change is noticed soon.
const QUICK: &str = "[defaults]\n\
    interval = \"50ms\"\n\
    fast_interval = \"20ms\"\n\
    down_interval = \"50ms\"\n";

/// Something that listens, for `tcp://` targets: it can stop and start again on its port. Probes
/// of the depth connect never reach its accept queue.
#[derive(Debug)]
struct Service {
    port: Port,
    listener: Option<TcpListener>,
}

impl Service {
    fn start() -> Self {
        let mut service = Self::absent();
        service.start_again();
        service
    }

    /// A service that does not listen yet.
    fn absent() -> Self {
        Self {
            port: Port::reserve(),
            listener: None,
        }
    }

    fn start_again(&mut self) {
        self.listener = Some(TcpListener::bind(self.address()).expect("a reserved port is free"));
    }

    fn stop(&mut self) {
        self.listener = None;
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.number()))
    }

    fn url(&self) -> String {
        format!("tcp://{}", self.address())
    }
}
