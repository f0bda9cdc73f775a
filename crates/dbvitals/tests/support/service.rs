//! Something to watch that is no database: a plain listener that comes and goes.

use std::net::{SocketAddr, TcpListener};

use dbvitals_testkit::Port;

/// Something that listens, for `tcp://` targets: it can stop and start again on its port. Probes
/// of the depth connect never reach its accept queue.
#[derive(Debug)]
pub(crate) struct Service {
    port: Port,
    listener: Option<TcpListener>,
}

impl Service {
    pub(crate) fn start() -> Self {
        let mut service = Self::absent();
        service.start_again();
        service
    }

    /// A service that does not listen yet.
    pub(crate) fn absent() -> Self {
        Self {
            port: Port::reserve(),
            listener: None,
        }
    }

    pub(crate) fn start_again(&mut self) {
        self.listener = Some(TcpListener::bind(self.address()).expect("a reserved port is free"));
    }

    pub(crate) fn stop(&mut self) {
        self.listener = None;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.number()))
    }

    pub(crate) fn url(&self) -> String {
        format!("tcp://{}", self.address())
    }
}
