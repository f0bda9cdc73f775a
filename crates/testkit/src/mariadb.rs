//! Real MariaDB servers, each with its own data directory and port.
//!
//! A server starts from a copy of a template in which `mariadb-install-db`'s anonymous users, which
//! would shadow `vitals@'%'` on this machine, are gone. No option file is read, so a server behaves
//! as MariaDB's own defaults say, but for a small redo log. Used by the tests of every crate that
//! talks to databases; see [`RealServer`] for what can be done to a running one.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::account;
use crate::guardian::Guardian;
use crate::programs;
use crate::real_server::{Launch, RealServer, ServerProcess};
use crate::shared::{Port, copy_template};
use crate::tls::TlsFiles;

/// Keeps a data directory at 26 MB instead of 114; the server has to agree with the template.
const SMALL_LOG: &str = "--innodb-log-file-size=8M";

/// Run at the end of the template's bootstrap, which knows no users before the first line.
const USERS: &str = "FLUSH PRIVILEGES;
CREATE USER vitals@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('secret');
DELETE FROM mysql.global_priv WHERE user = '';
";

/// What a MariaDB server is started with.
#[derive(Clone, Debug)]
pub struct MariaDbOptions {
    /// Further arguments of `mariadbd`, such as `--max-connections=5`; they win over the testkit's.
    pub arguments: Vec<String>,
    /// The addresses to listen on; 127.0.0.1 alone by default.
    pub listen: Vec<IpAddr>,
    /// The certificate to offer TLS with; without one the server speaks cleartext only.
    pub tls: Option<TlsFiles>,
    /// Statements to run once, as root, before [`MariaDb::start`] returns.
    pub first_sql: String,
}

impl Default for MariaDbOptions {
    fn default() -> Self {
        Self {
            arguments: Vec::new(),
            listen: vec![Ipv4Addr::LOCALHOST.into()],
            tls: None,
            first_sql: String::new(),
        }
    }
}

/// A real MariaDB server. Its user `vitals` has the password `secret`, the authentication plugin
/// `mysql_native_password` and no privileges.
#[derive(Debug)]
pub struct MariaDb {
    process: ServerProcess,
}

impl MariaDb {
    /// Starts a server and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// Panics when MariaDB is not installed or does not start; ask
    /// [`servers_available`](crate::servers_available) before.
    #[must_use]
    pub fn start(options: MariaDbOptions) -> Self {
        let host = *options
            .listen
            .first()
            .expect("a server listens on one address or more");
        let guardian = Guardian::new();
        let port = Port::reserve();
        let mariadbd = programs::expect("mariadbd");
        copy_data(&mariadbd, &guardian.directory().join("data"));
        let launch = Launch {
            command: command(&mariadbd, &options, guardian.directory(), &port),
            ready: "ready for connections",
            shutdown: Signal::TERM,
        };
        let server = Self {
            process: ServerProcess::start(launch, host, port, guardian),
        };
        server.wait_ready();
        if !options.first_sql.is_empty() {
            server.sql(&options.first_sql);
        }
        server
    }

    /// Returns the path of the server's unix socket.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.directory().join("mysql.sock")
    }

    /// Returns a counter of `SHOW GLOBAL STATUS`. Asking is itself a connection and a query.
    ///
    /// # Panics
    ///
    /// Panics when there is no such counter.
    #[must_use]
    pub fn status(&self, name: &str) -> u64 {
        let row = self.sql(&format!("SHOW GLOBAL STATUS LIKE '{name}'"));
        let value = row
            .split_whitespace()
            .nth(1)
            .and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no counter {name} in SHOW GLOBAL STATUS, but {row:?}"))
    }

    /// Ends every session of the user `vitals`, from the server's side.
    pub fn kill_all_sessions(&self) {
        self.sql("KILL USER vitals");
    }
}

impl RealServer for MariaDb {
    fn process(&self) -> &ServerProcess {
        &self.process
    }

    fn sql(&self, statements: &str) -> String {
        let socket = format!("--socket={}", self.socket_path().display());
        let options = [
            "--no-defaults",
            "--user=root",
            "--batch",
            "--skip-column-names",
            &socket,
        ];
        account::run(
            &programs::expect("mariadb"),
            &options.map(OsStr::new),
            statements,
        )
    }
}

fn command(
    mariadbd: &Path,
    options: &MariaDbOptions,
    directory: &Path,
    port: &Port,
) -> Vec<String> {
    let listen: Vec<String> = options.listen.iter().map(ToString::to_string).collect();
    let mut command = vec![
        mariadbd.display().to_string(),
        "--no-defaults".to_owned(),
        format!("--datadir={}", directory.join("data").display()),
        format!("--socket={}", directory.join("mysql.sock").display()),
        format!("--tmpdir={}", directory.display()),
        format!("--port={}", port.number()),
        format!("--bind-address={}", listen.join(",")),
        SMALL_LOG.to_owned(),
    ];
    if let Some(tls) = &options.tls {
        let [certificate, key] = tls.hand_over(directory);
        command.push(format!("--ssl-cert={}", certificate.display()));
        command.push(format!("--ssl-key={}", key.display()));
    }
    command.extend_from_slice(&options.arguments);
    command
}

fn copy_data(mariadbd: &Path, target: &Path) {
    let recipe = [&programs::version(mariadbd), SMALL_LOG, USERS].join("\n");
    copy_template(&recipe, initialise, target);
}

fn initialise(data: &Path) {
    let users = data.with_file_name("users.sql");
    fs::write(&users, USERS).expect("a guardian's directory can be written");
    let data = format!("--datadir={}", data.display());
    let users = format!("--extra-file={}", users.display());
    let arguments = [
        "--no-defaults",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
        SMALL_LOG,
        &data,
        &users,
    ];
    account::run(
        &programs::expect("mariadb-install-db"),
        &arguments.map(OsStr::new),
        "",
    );
}
