//! What tells others, as far as it listens at a port: gates, agent checks and HTTP, over one board.
//!
//! They run on the runtime of whoever starts them, apart from the event loops, and end together:
//! closing them closes every listener before anything that takes time.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::agent::agent_check::AgentCheck;
use crate::agent::board::Board;
use crate::agent::gate::Gate;
use crate::agent::http;
use crate::agent::plan::GatePlan;

/// The running gates and the HTTP port; dropping them closes their listeners too.
#[derive(Debug)]
pub(crate) struct Publishers {
    tasks: JoinSet<()>,
}

impl Publishers {
    /// Starts the gates, closed until there is evidence, and HTTP where there is a listener. A
    /// gate, or an agent check, of a backend that is not on the board is left out.
    pub(crate) fn start(
        board: &Arc<Board>,
        gates: Vec<GatePlan>,
        agent_checks: Vec<(Arc<str>, AgentCheck)>,
        http: Option<TcpListener>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        for gate in gates {
            if let Some(backend) = board.backend(&gate.of) {
                tasks.spawn(Gate::new(gate, backend.watch()).run());
            }
        }
        for (of, check) in agent_checks {
            if let Some(backend) = board.backend(&of) {
                tasks.spawn(check.run(Arc::clone(backend), board.clock()));
            }
        }
        if let Some(listener) = http {
            let router = http::router(Arc::clone(board));
            tasks.spawn(async move {
                if let Err(error) = axum::serve(listener, router).await {
                    tracing::error!(%error, "the HTTP port ended");
                }
            });
        }
        Self { tasks }
    }

    /// Closes all of them, and returns when they are closed.
    pub(crate) async fn close(mut self) {
        self.tasks.shutdown().await;
    }
}
