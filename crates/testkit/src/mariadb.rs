//! Real MariaDB servers, each with its own data directory and port.
//!
//! A server starts from a copy of a template in which `mariadb-install-db`'s anonymous users, which
//! would shadow `vitals@'%'` on this machine, are gone. No option file is read, so a server behaves
//! as MariaDB's own defaults say, but for a small redo log and numbers of its own for replication.
//! Used by the tests of every crate that
//! talks to databases; see [`RealServer`] for what can be done to a running one.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::process::Signal;

use crate::account;
use crate::clock::eventually;
use crate::guardian::Guardian;
use crate::held_session::HeldSession;
use crate::network::Network;
use crate::programs;
use crate::real_server::{Launch, PATIENCE, RealServer, ServerProcess};
use crate::shared::{Port, copy_template};
use crate::small_disk::SmallDisk;
use crate::tls::TlsFiles;

/// Keeps a data directory at 26 MB instead of 114; the server has to agree with the template.
const SMALL_LOG: &str = "--innodb-log-file-size=8M";

/// Run at the end of the template's bootstrap, which knows no users before the first line.
const USERS: &str = "FLUSH PRIVILEGES;
CREATE USER vitals@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('secret');
DELETE FROM mysql.global_priv WHERE user = '';
";

/// The user that replicas come with, made when the first one does.
const REPLICATION_USER: &str = "CREATE USER IF NOT EXISTS replication@'%' IDENTIFIED BY 'secret';
GRANT REPLICATION SLAVE ON *.* TO replication@'%';";

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
    /// The small disk that one of the server's directories lies on.
    pub disk: Option<SmallDisk>,
    /// The network that the server is in, instead of the machine's.
    pub network: Option<Network>,
}

impl Default for MariaDbOptions {
    fn default() -> Self {
        Self {
            arguments: Vec::new(),
            listen: vec![Ipv4Addr::LOCALHOST.into()],
            tls: None,
            first_sql: String::new(),
            disk: None,
            network: None,
        }
    }
}

impl MariaDbOptions {
    /// The defaults, and a binary log, so that the server can have replicas.
    #[must_use]
    pub fn primary() -> Self {
        Self {
            arguments: vec!["--log-bin=bin".to_owned()],
            ..Self::default()
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
        let guardian = Guardian::new();
        copy_template(&recipe(), initialise, &guardian.directory().join("data"));
        let server = Self::launch(&options, guardian, Port::reserve(), &[]);
        server.wait_ready();
        if !options.first_sql.is_empty() {
            server.sql(&options.first_sql);
        }
        server
    }

    /// Starts a server that replicates all that `primary` has written so far and will write, by
    /// GTID, and waits until both of its threads run. It is not read-only.
    ///
    /// The primary needs a binary log, as [`MariaDbOptions::primary`] has one. A lost primary is
    /// tried again every second.
    ///
    /// # Panics
    ///
    /// Panics as [`start`](Self::start) does, and when the replication does not begin.
    #[must_use]
    pub fn start_replica_of(primary: &Self, options: MariaDbOptions) -> Self {
        let replica = Self::start(options);
        replica.follow(primary, "");
        replica
    }

    /// Replicates from `primary` on the channel of that name too; the unnamed one is `""`. Each
    /// server writes in a GTID domain of its own, so a replica can have several primaries.
    ///
    /// # Panics
    ///
    /// Panics when the replication does not begin.
    pub fn follow(&self, primary: &Self, channel: &str) {
        primary.sql(REPLICATION_USER);
        self.sql(&format!(
            "CHANGE MASTER '{channel}' TO master_host = '{}', master_port = {},
             master_user = 'replication', master_password = 'secret',
             master_use_gtid = slave_pos, master_connect_retry = 1;
             START SLAVE '{channel}'",
            primary.address().ip(),
            primary.port()
        ));
        let both_run = || {
            ["Slave_IO_Running", "Slave_SQL_Running"]
                .iter()
                .all(|thread| self.replication(channel, thread) == "Yes")
        };
        assert!(
            eventually(PATIENCE, both_run),
            "no replication: {} {}",
            self.replication(channel, "Last_IO_Error"),
            self.replication(channel, "Last_SQL_Error")
        );
    }

    /// Returns a column of `SHOW ALL SLAVES STATUS`, for a channel; the unnamed one is `""`.
    ///
    /// # Panics
    ///
    /// Panics when there is no such channel or column.
    #[must_use]
    pub fn replication(&self, channel: &str, column: &str) -> String {
        let arguments = [&self.client_arguments()[..], &["--vertical".to_owned()]].concat();
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let status = format!("SHOW SLAVE '{channel}' STATUS");
        let rows = account::run(&programs::expect("mariadb"), &arguments, &status);
        let value = rows.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == column).then(|| value.trim().to_owned())
        });
        value.unwrap_or_else(|| panic!("no {column} of channel {channel:?} in {rows:?}"))
    }

    /// Runs statements as root in a session that stays open, with all its locks, until dropped.
    ///
    /// # Panics
    ///
    /// Panics when a statement fails.
    pub fn hold(&self, statements: &str) -> HeldSession {
        let options = ["--skip-column-names", "--unbuffered"].map(str::to_owned);
        let arguments = [&self.client_arguments()[..], &options].concat();
        HeldSession::open(&programs::expect("mariadb"), &arguments, statements)
    }

    /// Blocks all writes, with `FLUSH TABLES WITH READ LOCK`, until the session is dropped.
    ///
    /// Reads go on. Writes and DDL hang, "Waiting for backup lock", and get 1205 at the end of
    /// `lock_wait_timeout`, a day by default. `CREATE TABLE IF NOT EXISTS` of a table that exists
    /// passes.
    pub fn block_writes(&self) -> HeldSession {
        self.hold("FLUSH TABLES WITH READ LOCK")
    }

    /// Blocks all commits, with `BACKUP STAGE BLOCK_COMMIT`, until the session is dropped.
    ///
    /// To a client it looks like [`block_writes`](Self::block_writes).
    pub fn block_commits(&self) -> HeldSession {
        self.hold(
            "BACKUP STAGE START; BACKUP STAGE FLUSH; BACKUP STAGE BLOCK_DDL; \
                   BACKUP STAGE BLOCK_COMMIT",
        )
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

    /// Hangs every new session before its first command, with an `init_connect` that sleeps, until
    /// dropped. The login itself is answered.
    ///
    /// The superuser is exempt, and so are sessions that are there. A lock on `mysql.global_priv`
    /// would hold up nobody, as the server has the users in memory, and a stuck general log cannot
    /// be had: the server writes to a pipe without waiting.
    pub fn block_new_sessions(&self) -> SessionBlock<'_> {
        self.sql("SET GLOBAL init_connect = 'DO SLEEP(3600)'");
        SessionBlock { server: self }
    }
}

/// New sessions that hang; dropping it ends those waiting and lets others in.
#[derive(Debug)]
#[must_use = "new sessions are let in when it is dropped"]
pub struct SessionBlock<'a> {
    server: &'a MariaDb,
}

impl Drop for SessionBlock<'_> {
    fn drop(&mut self) {
        // A server that the test killed has nothing to undo, and a test that panics is over.
        if !self.server.process.is_gone() && !thread::panicking() {
            self.server.sql("SET GLOBAL init_connect = ''");
            self.server.kill_all_sessions();
        }
    }
}

impl RealServer for MariaDb {
    fn process(&self) -> &ServerProcess {
        &self.process
    }

    fn sql(&self, statements: &str) -> String {
        self.try_sql(statements)
            .unwrap_or_else(|words| panic!("{words}"))
    }
}

impl MariaDb {
    /// Runs statements as root; returns the client's words where they fail.
    pub(crate) fn try_sql(&self, statements: &str) -> Result<String, String> {
        let option = ["--skip-column-names".to_owned()];
        let arguments = [&self.client_arguments()[..], &option].concat();
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        account::attempt(&programs::expect("mariadb"), &arguments, statements)
    }

    /// Starts the server on the data directory of the guardian, without waiting for it.
    pub(crate) fn launch(
        options: &MariaDbOptions,
        guardian: Guardian,
        port: Port,
        prefix: &[String],
    ) -> Self {
        let host = *options
            .listen
            .first()
            .expect("a server listens on one address or more");
        let launch = Launch {
            command: [prefix, &command(options, guardian.directory(), &port)].concat(),
            ready: "ready for connections",
            shutdown: Signal::TERM,
            disk: options.disk.clone(),
            network: options.network.clone(),
        };
        Self {
            process: ServerProcess::start(launch, host, port, guardian),
        }
    }

    fn client_arguments(&self) -> [String; 4] {
        let socket = format!("--socket={}", self.socket_path().display());
        ["--no-defaults", "--user=root", "--batch", &socket].map(str::to_owned)
    }
}

fn command(options: &MariaDbOptions, directory: &Path, port: &Port) -> Vec<String> {
    let listen: Vec<String> = options.listen.iter().map(ToString::to_string).collect();
    let mut command = vec![
        programs::expect("mariadbd").display().to_string(),
        "--no-defaults".to_owned(),
        format!("--datadir={}", directory.join("data").display()),
        format!("--socket={}", directory.join("mysql.sock").display()),
        format!("--tmpdir={}", directory.display()),
        format!("--port={}", port.number()),
        format!("--bind-address={}", listen.join(",")),
        format!("--server-id={}", port.number()),
        format!("--gtid-domain-id={}", port.number()),
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

/// What the template depends on.
pub(crate) fn recipe() -> String {
    [
        &programs::version(&programs::expect("mariadbd")),
        SMALL_LOG,
        USERS,
    ]
    .join("\n")
}

/// Makes a template.
pub(crate) fn initialise(data: &Path) {
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
