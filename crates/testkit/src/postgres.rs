//! Real PostgreSQL servers, each with its own data directory and port.
//!
//! A server starts from a copy of a template that has the database `vitals` and a role for each way
//! to log in. Logging stays as PostgreSQL's defaults have it, on standard error. Used by the tests
//! of every crate that talks to databases; see [`RealServer`] for what can be done to a running
//! one.

use std::ffi::OsStr;
use std::fmt::Write as _;
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

/// Run in single-user mode, a statement per line.
const ROLES: &str = "CREATE ROLE vitals LOGIN PASSWORD 'secret'
CREATE ROLE vitals_trust LOGIN
CREATE ROLE vitals_clear LOGIN PASSWORD 'secret'
SET password_encryption = 'md5'
CREATE ROLE vitals_md5 LOGIN PASSWORD 'secret'
CREATE DATABASE vitals
";

/// The first lines of `pg_hba.conf`: the superuser and standbys, over the unix socket only.
const SUPERUSER: &str = "local all postgres trust\nlocal replication postgres trust";

/// What the log says once connections are taken.
const READY: &str = "database system is ready to accept connections";

/// The last lines of `pg_hba.conf`; those of the options come before, the superuser's before all.
const ADMISSION: &str = "\
local all vitals_trust trust
local all vitals_md5 md5
local all vitals_clear password
local all all scram-sha-256
host all vitals_trust all trust
host all vitals_md5 all md5
host all vitals_clear all password
host all all all scram-sha-256
";

/// Settings of every server: quick, and nothing outside of the server's directory.
const SETTINGS: [(&str, &str); 3] = [
    ("fsync", "off"),
    ("shared_buffers", "16MB"),
    ("dynamic_shared_memory_type", "mmap"),
];

/// What a PostgreSQL server is started with.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Further settings of `postgresql.conf`, such as `("max_connections", "5")`.
    pub settings: Vec<(String, String)>,
    /// Lines of `pg_hba.conf` to look at before the testkit's own.
    pub hba: Vec<String>,
    /// The addresses to listen on; 127.0.0.1 alone by default.
    pub listen: Vec<IpAddr>,
    /// The certificate to offer TLS with; without one the server speaks cleartext only.
    pub tls: Option<TlsFiles>,
    /// Statements to run once, as the superuser, before [`Postgres::start`] returns.
    pub first_sql: String,
    /// The small disk that one of the server's directories lies on.
    pub disk: Option<SmallDisk>,
    /// The network that the server is in, instead of the machine's.
    pub network: Option<Network>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            settings: Vec::new(),
            hba: Vec::new(),
            listen: vec![Ipv4Addr::LOCALHOST.into()],
            tls: None,
            first_sql: String::new(),
            disk: None,
            network: None,
        }
    }
}

/// A real PostgreSQL server. Its roles `vitals` (scram-sha-256), `vitals_md5` and `vitals_clear`
/// (cleartext) have the password `secret`, `vitals_trust` needs none; the database is `vitals`.
#[derive(Debug)]
pub struct Postgres {
    process: ServerProcess,
}

impl Postgres {
    /// Starts a server and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// Panics when PostgreSQL is not installed or does not start; ask
    /// [`servers_available`](crate::servers_available) before.
    #[must_use]
    pub fn start(options: PostgresOptions) -> Self {
        let guardian = Guardian::new();
        let port = Port::reserve();
        copy_template(&recipe(), initialise, &guardian.directory().join("data"));
        configure(&options, guardian.directory(), &port);
        let server = Self::launch(&options, guardian, port, READY);
        server.wait_ready();
        if !options.first_sql.is_empty() {
            server.sql(&options.first_sql);
        }
        server
    }

    /// Starts a hot standby that streams from `primary` over its unix socket, and waits until it
    /// takes connections. It starts from a copy that `pg_basebackup` makes.
    ///
    /// A lost primary is tried again five times a second. The standby's name in
    /// `pg_stat_replication` is `standby`. The options' `first_sql` has to do without writing.
    ///
    /// # Panics
    ///
    /// Panics as [`start`](Self::start) does.
    #[must_use]
    pub fn start_standby_of(primary: &Self, mut options: PostgresOptions) -> Self {
        let guardian = Guardian::new();
        let port = Port::reserve();
        let data = guardian.directory().join("data");
        let host = primary.socket_directory().display();
        copy_primary(primary, &data);
        let settings = [
            (
                "primary_conninfo",
                format!(
                    "host={host} port={} user=postgres application_name=standby",
                    primary.port()
                ),
            ),
            ("wal_retrieve_retry_interval", "200ms".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        options.settings.splice(0..0, settings);
        configure(&options, guardian.directory(), &port);
        account::write_private(&data.join("standby.signal"), b"");
        // It says "… read-only connections" as a standby, and no more than that once promoted.
        let server = Self::launch(&options, guardian, port, "is ready to accept");
        server.wait_ready();
        if !options.first_sql.is_empty() {
            server.sql(&options.first_sql);
        }
        server
    }

    /// Starts a server that is held up in its recovery and refuses everybody with 57P03, "the
    /// database system is starting up", until [`finish_replay`](Self::finish_replay).
    ///
    /// The options' `first_sql` is not run: nobody can log in yet.
    ///
    /// # Panics
    ///
    /// Panics as [`start`](Self::start) does.
    #[must_use]
    pub fn start_replaying(mut options: PostgresOptions) -> Self {
        let guardian = Guardian::new();
        let port = Port::reserve();
        let flag = replaying_flag(guardian.directory());
        // A recovery begins by asking for an archived file; this archive does not answer.
        let archive = format!(
            "while [ -e '{}' ]; do sleep 0.02; done; false",
            flag.display()
        );
        options
            .settings
            .push(("restore_command".to_owned(), archive));
        copy_template(&recipe(), initialise, &guardian.directory().join("data"));
        configure(&options, guardian.directory(), &port);
        account::write_private(&flag, b"");
        account::write_private(&guardian.directory().join("data/recovery.signal"), b"");
        let server = Self::launch(&options, guardian, port, READY);
        server
            .process
            .wait_for_log("database system was shut down at");
        server
    }

    /// Lets the recovery of [`start_replaying`](Self::start_replaying) end, and waits until the
    /// server takes connections. It stays the same process.
    ///
    /// # Panics
    ///
    /// Panics when the server is not replaying.
    pub fn finish_replay(&self) {
        fs::remove_file(replaying_flag(self.directory())).expect("the server is replaying");
        self.wait_ready();
    }

    /// Returns the directory of the server's unix socket, which is what libpq calls the host.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        self.directory()
    }

    /// Returns the path of the server's unix socket.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.socket_directory()
            .join(format!(".s.PGSQL.{}", self.port()))
    }

    /// Ends every client's session, from the server's side, with 57P01.
    pub fn terminate_all_sessions(&self) {
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        );
    }

    /// Runs statements as the superuser in a session that stays open, with all its locks, until
    /// dropped. A lock needs a transaction: begin with `BEGIN`.
    ///
    /// # Panics
    ///
    /// Panics when a statement fails.
    pub fn hold(&self, statements: &str) -> HeldSession {
        HeldSession::open(
            &programs::expect("psql"),
            &self.client_arguments(),
            statements,
        )
    }

    /// Blocks all logins, with a lock on `pg_authid`, until the session is dropped.
    ///
    /// With scram and md5 a login hangs before the request for a password, with a cleartext
    /// password or none after it. Sessions that are there work. The superuser is locked out too,
    /// so [`sql`](RealServer::sql) hangs. A lock on `pg_database`, for [`hold`](Self::hold), lets
    /// every method ask for its password first.
    pub fn block_logins(&self) -> HeldSession {
        self.hold("BEGIN; LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE")
    }

    /// Makes every commit wait for a synchronous standby that is not there, until dropped.
    ///
    /// Reads go on, and so do transactions that have written nothing.
    pub fn block_commits(&self) -> CommitBlock<'_> {
        let wait = "ALTER SYSTEM SET synchronous_standby_names = 'absent'";
        self.sql(&format!("{wait};\nSELECT pg_reload_conf();"));
        let block = CommitBlock { server: self };
        let reloaded = || self.sql("SHOW synchronous_standby_names") == "absent";
        assert!(eventually(PATIENCE, reloaded), "no reload");
        block
    }

    fn client_arguments(&self) -> Vec<String> {
        let host = format!("--host={}", self.socket_directory().display());
        let port = format!("--port={}", self.port());
        let output = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"];
        let login = [&host, &port, "--username=postgres", "--dbname=vitals"];
        let strict = ["--set=ON_ERROR_STOP=1", "--file=-"];
        let arguments = [&output[..], &login[..], &strict[..]].concat();
        arguments.into_iter().map(str::to_owned).collect()
    }

    fn launch(
        options: &PostgresOptions,
        guardian: Guardian,
        port: Port,
        ready: &'static str,
    ) -> Self {
        let host = *options
            .listen
            .first()
            .expect("a server listens on one address or more");
        let data = guardian.directory().join("data").display().to_string();
        let launch = Launch {
            command: vec![
                programs::expect("postgres").display().to_string(),
                "-D".into(),
                data,
            ],
            ready,
            // SIGTERM would wait for the clients.
            shutdown: Signal::INT,
            disk: options.disk.clone(),
            network: options.network.clone(),
        };
        Self {
            process: ServerProcess::start(launch, host, port, guardian),
        }
    }
}

impl RealServer for Postgres {
    fn process(&self) -> &ServerProcess {
        &self.process
    }

    fn sql(&self, statements: &str) -> String {
        let arguments = self.client_arguments();
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        account::run(&programs::expect("psql"), &arguments, statements)
    }
}

/// Commits of a server that hang; dropping it lets them go, and those waiting finish.
#[derive(Debug)]
#[must_use = "commits go on when it is dropped"]
pub struct CommitBlock<'a> {
    server: &'a Postgres,
}

impl Drop for CommitBlock<'_> {
    fn drop(&mut self) {
        // A server that the test killed has nothing to undo, and a test that panics is over.
        if !self.server.process.is_gone() && !thread::panicking() {
            let reset = "ALTER SYSTEM RESET synchronous_standby_names";
            self.server
                .sql(&format!("{reset};\nSELECT pg_reload_conf();"));
        }
    }
}

/// The file that holds up a replaying server as long as it exists.
fn replaying_flag(directory: &Path) -> PathBuf {
    directory.join("replaying")
}

/// What the template depends on.
fn recipe() -> String {
    [&programs::version(&programs::expect("postgres")), ROLES].join("\n")
}

/// Writes the server's configuration.
fn configure(options: &PostgresOptions, directory: &Path, port: &Port) {
    let data = directory.join("data");
    let admission = options.hba.join("\n");
    let admission = format!("{SUPERUSER}\n{admission}\n{ADMISSION}");
    account::write_private(&data.join("pg_hba.conf"), admission.as_bytes());
    let configuration = configuration(options, directory, port);
    account::write_private(&data.join("postgresql.conf"), configuration.as_bytes());
}

/// Copies the data directory of a running primary, with the log it needs to start from.
fn copy_primary(primary: &Postgres, data: &Path) {
    let host = format!("--host={}", primary.socket_directory().display());
    let port = format!("--port={}", primary.port());
    let target = format!("--pgdata={}", data.display());
    let arguments = [
        &host,
        &port,
        &target,
        "--username=postgres",
        "--checkpoint=fast",
        "--wal-method=stream",
        "--no-sync",
    ];
    let program = programs::expect("pg_basebackup");
    account::run(&program, &arguments.map(OsStr::new), "");
}

fn configuration(options: &PostgresOptions, directory: &Path, port: &Port) -> String {
    let listen: Vec<String> = options.listen.iter().map(ToString::to_string).collect();
    let mut settings = vec![
        ("port", port.number().to_string()),
        ("listen_addresses", listen.join(",")),
        ("unix_socket_directories", directory.display().to_string()),
    ];
    settings.extend(SETTINGS.map(|(name, value)| (name, value.to_owned())));
    if let Some(tls) = &options.tls {
        let [certificate, key] = tls.hand_over(directory);
        settings.push(("ssl", "on".to_owned()));
        settings.push(("ssl_cert_file", certificate.display().to_string()));
        settings.push(("ssl_key_file", key.display().to_string()));
    }
    settings.extend(
        options
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone())),
    );

    // The last line of a name wins, so the options come last.
    let mut text = String::new();
    for (name, value) in settings {
        let value = value.replace('\'', "''");
        writeln!(text, "{name} = '{value}'").expect("a string takes all that is written");
    }
    text
}

fn initialise(data: &Path) {
    let data = data.display().to_string();
    let arguments = [
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        "--no-instructions",
        "--pgdata",
        &data,
    ];
    account::run(&programs::expect("initdb"), &arguments.map(OsStr::new), "");
    let single_user = ["--single", "-D", &data, "-F", "postgres"];
    account::run(
        &programs::expect("postgres"),
        &single_user.map(OsStr::new),
        ROLES,
    );
}
