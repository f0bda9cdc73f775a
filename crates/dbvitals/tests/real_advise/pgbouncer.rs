//! PgBouncer: its console, and a PostgreSQL behind it, by each kind of socket.

use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dbvitals_testkit::{
    Port, Postgres, PostgresOptions, RealServer as _, eventually, pgbouncer_for,
};
use serde_json::{Value, json};

use crate::program::{Run, dbvitals};
use crate::state_dir::StateDir;
use crate::{advise, kinds};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running PgBouncer in front of a server, ended with this value.
struct PgBouncer {
    child: Child,
    port: Port,
    place: StateDir,
}

impl PgBouncer {
    /// Starts it with the databases `by_port` and `by_socket`, both the server's `vitals`.
    fn start(name: &str, program: &Path, server: &Postgres) -> Self {
        let place = StateDir::new(name);
        let (port, path) = (Port::reserve(), place.path());
        let (number, directory) = (port.number(), path.display());
        let (behind, sockets) = (server.port(), server.socket_directory().display());
        let config = format!(
            "[databases]\n\
             by_port = host=127.0.0.1 port={behind} dbname=vitals\n\
             by_socket = host={sockets} port={behind} dbname=vitals\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {number}\n\
             listen_backlog = 16\n\
             unix_socket_dir = {directory}\n\
             auth_type = scram-sha-256\n\
             auth_file = {directory}/users\n\
             stats_users = vitals\n\
             client_idle_timeout = 40.5\n\
             max_client_conn = 30\n"
        );
        fs::write(path.join("config"), config).expect("the directory can be written");
        fs::write(path.join("users"), "\"vitals\" \"secret\"\n").expect("likewise");
        // It may run as another user than the test, see below, and makes its socket here.
        fs::set_permissions(path, Permissions::from_mode(0o777)).expect("it is ours");
        let mut command = Command::new("setpriv");
        if rustix::process::geteuid().is_root() {
            // It does not want to be root.
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        // In the foreground, and gone with the test, whatever the test's end.
        let child = command
            .args(["--pdeathsig", "KILL", "--"])
            .args([program, "-q".as_ref(), &path.join("config")])
            .stdin(Stdio::null())
            .spawn()
            .expect("setpriv and pgbouncer can be started");
        let pgbouncer = Self { child, port, place };
        let listens = || TcpStream::connect(("127.0.0.1", number)).is_ok();
        assert!(eventually(PATIENCE, listens), "pgbouncer does not listen");
        pgbouncer
    }

    fn url(&self, database: &str) -> String {
        format!(
            "postgres://vitals@127.0.0.1:{}/{database}",
            self.port.number()
        )
    }

    fn url_at_socket(&self, database: &str) -> String {
        let directory = self.place.path().display();
        format!("{}?socket={directory}", self.url(database))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It may have refused its configuration and ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn pgbouncers_console_tells_the_limits_of_its_clients() {
    let name = "pgbouncers_console_tells_the_limits_of_its_clients";
    let Some(program) = pgbouncer_for(name) else {
        return;
    };
    let server = Postgres::start(PostgresOptions::default());
    let pgbouncer = PgBouncer::start("console", &program, &server);
    for url in [
        pgbouncer.url("pgbouncer"),
        pgbouncer.url_at_socket("pgbouncer"),
    ] {
        let (code, document) = advise(&url, &["--instances", "3"]);
        assert_eq!(document["server"]["product"], "pgbouncer", "{document}");
        let limits = &document["limits"];
        for (key, expected) in [
            ("idle_s", json!(40.5)),
            ("idle_setting", json!("client_idle_timeout")),
            ("max_connections", json!(30)),
            ("backlog", json!(16)),
            ("between", Value::Null),
        ] {
            assert_eq!(limits[key], expected, "{key} of {limits}");
        }
        assert_eq!(
            document["share"],
            json!({"instances": 3, "admitted": 30, "kept_back": 3, "each": 9})
        );
        assert_eq!(document["check_user"], json!([]));
        let clients = document["clients"].as_array().expect("a list");
        let has = |client: &str| clients.iter().any(|it| it["client"] == client);
        assert!(has("pgx") && !has("pgbouncer"), "{document}");
        let expected = vec!["idle_limit_short", "reconnects_above_backlog"];
        assert_eq!((code, kinds(&document)), (1, expected));
    }
    let (_, document) = advise(&pgbouncer.url("pgbouncer"), &["--instances", "40"]);
    let sentences: Vec<_> = document["warnings"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|it| it["kind"] == "too_few_connections")
        .filter_map(|it| it["sentence"].as_str())
        .collect();
    assert_eq!(
        sentences,
        ["40 instances cannot have a connection each: max_client_conn admits 30; raise it"]
    );
    let run = Run::of(
        dbvitals(&["advise", &pgbouncer.url("pgbouncer")]).env("DBVITALS_PASSWORD", "secret"),
    );
    assert!(
        run.stdout.contains("max_client_conn: at most"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_postgres_behind_pgbouncer_is_not_taken_for_what_was_asked() {
    let name = "a_postgres_behind_pgbouncer_is_not_taken_for_what_was_asked";
    let Some(program) = pgbouncer_for(name) else {
        return;
    };
    let server = Postgres::start(PostgresOptions {
        settings: vec![("idle_session_timeout".to_owned(), "2min".to_owned())],
        ..PostgresOptions::default()
    });
    let pgbouncer = PgBouncer::start("behind", &program, &server);
    let port = server.port();
    for (url, says) in [
        (
            pgbouncer.url("by_port"),
            format!("the server that answers is at port {port}"),
        ),
        (
            pgbouncer.url("by_socket"),
            "it has a unix socket to the server".to_owned(),
        ),
        (
            pgbouncer.url_at_socket("by_port"),
            format!("is reached at port {port}"),
        ),
    ] {
        let (code, document) = advise(&url, &[]);
        let between = document["limits"]["between"].as_str().unwrap_or_default();
        assert!(between.contains(&says), "{between}");
        assert_eq!((code, kinds(&document)), (0, vec!["something_between"]));
        let told = document["warnings"][0]["sentence"].as_str();
        let told = told.expect("a sentence");
        assert!(told.contains("its database pgbouncer"), "{told}");
        assert_eq!(document["limits"]["idle_s"], 120.0);
    }
}
