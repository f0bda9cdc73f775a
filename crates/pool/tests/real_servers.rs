//! What the pool promises, on real MariaDB and PostgreSQL through real drivers: idle connections
//! ended in every way there is, sessions killed under load, a router that swallows packets, and the
//! packets of a checkout, counted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "figures for who runs it by hand")]

#[path = "real_servers/by_sqlx.rs"]
mod by_sqlx;
#[path = "real_servers/ends.rs"]
mod ends;
#[path = "real_servers/kills.rs"]
mod kills;
#[path = "real_servers/last_words.rs"]
mod last_words;
#[path = "real_servers/logins.rs"]
mod logins;
#[path = "real_servers/postgres.rs"]
mod postgres;
#[path = "real_servers/returns.rs"]
mod returns;
#[path = "real_servers/router.rs"]
mod router;
#[path = "real_servers/sockets.rs"]
mod sockets;
#[path = "real_servers/stage.rs"]
mod stage;
#[path = "real_servers/tls.rs"]
mod tls;
