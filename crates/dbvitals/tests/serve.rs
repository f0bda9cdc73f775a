//! `dbvitals serve` without a database: gates, HTTP, the log, and what it refuses to start with.
//!
//! What is watched here is a plain listener that comes and goes, or a scripted server. How `serve`
//! fares with real servers is in `real_serve.rs`.

#[path = "support/agent.rs"]
mod agent;
#[path = "serve/ends.rs"]
mod ends;
#[path = "serve/events.rs"]
mod events;
#[path = "support/exposition.rs"]
mod exposition;
#[path = "support/gate.rs"]
mod gate;
#[path = "serve/gates.rs"]
mod gates;
#[path = "support/http.rs"]
mod http;
#[path = "serve/http_limits.rs"]
mod http_limits;
#[path = "serve/http_load.rs"]
mod http_load;
#[path = "serve/http_port.rs"]
mod http_port;
#[path = "serve/https.rs"]
mod https;
#[path = "serve/misuse.rs"]
mod misuse;
#[path = "serve/orders.rs"]
mod orders;
#[path = "serve/output.rs"]
mod output;
#[path = "serve/patroni.rs"]
mod patroni;
#[path = "serve/plain_questions.rs"]
mod plain_questions;
#[path = "serve/queues.rs"]
mod queues;
#[path = "support/quick.rs"]
mod quick;
#[path = "serve/reload.rs"]
mod reload;
#[path = "serve/reload_load.rs"]
mod reload_load;
#[path = "support/service.rs"]
mod service;
#[path = "serve/services.rs"]
mod services;
#[path = "support/socket_gate.rs"]
mod socket_gate;
#[path = "serve/socket_gates.rs"]
mod socket_gates;
#[path = "support/state_dir.rs"]
mod state_dir;

use crate::quick::QUICK;
use crate::service::Service;
