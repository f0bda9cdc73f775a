//! Servers for the tests of dbvitals: real ones that misbehave on order, and scripted ones.
//!
//! - [`MariaDb`] and [`Postgres`] are real servers to freeze, kill and start again; what both can
//!   do is in [`RealServer`].
//! - Replicas, standbys and [`GaleraNode`]s make clusters of them; a [`HeldSession`] locks what
//!   others need; a [`SmallDisk`] fills up; a [`Network`] is a black hole on order.
//! - [`ScriptedServer`] is something that is no database; [`ScriptedDatabase`] is not a good one;
//!   a [`ScriptedFleet`] is hundreds that do nothing but answer.
//! - [`fault_catalogue`] has all that can be wrong with a server, staged, and the truth about it;
//!   [`FaultReport`] runs a program against it.
//! - [`TestAuthority`] makes certificates, good and bad.
//! - [`Port`] keeps a TCP port for what a test starts itself.
//! - [`require_servers!`] is the first line of a test that needs a real server.
//!
//! Every server has a port, a directory and processes of its own, and all three are gone when the
//! test is, even if it was killed: `guardian.rs` tells how. Nothing here reads the system's
//! database configuration or touches its servers. The testkit panics where a test could only fail,
//! and says what to do. It runs on Linux only.
//!
//! ```no_run
//! use dbvitals_testkit::{MariaDb, MariaDbOptions, RealServer as _, require_servers};
//!
//! fn a_frozen_server_answers_again_after_the_thaw() {
//!     require_servers!();
//!     let server = MariaDb::start(MariaDbOptions::default());
//!     server.freeze();
//!     // … whatever is tested meets a server that accepts and does not answer …
//!     server.thaw();
//!     assert_eq!(server.sql("SELECT 1"), "1");
//! }
//! ```

mod account;
mod clock;
mod faults;
mod galera;
mod guardian;
mod held_session;
mod mariadb;
mod network;
mod postgres;
mod process;
mod programs;
mod real_server;
mod requirements;
mod scripted;
mod shared;
mod small_disk;
mod tls;

pub use clock::eventually;
pub use faults::{Check, Column, Fault, FaultReport, Stand, Step, Truth, Watch, fault_catalogue};
pub use galera::GaleraNode;
pub use held_session::HeldSession;
pub use mariadb::{MariaDb, MariaDbOptions, SessionBlock};
pub use network::{Network, loopback_packets};
pub use postgres::{CommitBlock, Postgres, PostgresOptions};
pub use real_server::{RealServer, ServerProcess};
pub use requirements::{
    GO_PATH, chromium_for, galera_ready_for, go_for, haproxy_for, left_out, namespaces_ready_for,
    pgbouncer_for, python_for, servers_available, servers_ready_for,
};
pub use scripted::{
    Dialect, Moment, Mood, Script, ScriptedDatabase, ScriptedFleet, ScriptedServer,
};
pub use shared::Port;
pub use small_disk::{EmptyDisk, SmallDisk};
pub use tls::{TestAuthority, TlsFiles, Validity};
