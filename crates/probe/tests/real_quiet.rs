//! Probes leave no trace: a thousand of each kind, and the server has nothing to complain of.
//!
//! What is counted is what people see: MariaDB's `Aborted_connects` and `Aborted_clients`, which
//! end in a blocked host, and the lines of both servers' logs under their default settings. The
//! probes are made as `check` makes them, each on a connection of its own.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_probe::{
    Address, Clock, Order, Prober, Protocol, Target, TargetId, TlsConfig, TlsPolicy,
};
use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer, TestAuthority, TlsFiles,
    Validity, eventually, require_servers,
};
use dbvitals_verdict::{Cause, Depth, Observation, Outcome, Path, ProbeId};
use dbvitals_wire::Credentials;

const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may take to see off its last client, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many probes run at the same time: a server on two cores is slow in making sessions.
const AT_ONCE: u32 = 10;

const AUTHENTICATED: [Depth; 3] = [Depth::Login, Depth::Ping, Depth::Query];

/// A server that can be asked what it has to complain of.
trait Witness: RealServer {
    const PROTOCOL: Protocol;

    fn start(tls: Option<TlsFiles>) -> Self;

    fn socket(&self) -> PathBuf;

    /// How many sessions there are, the one that asks not counted.
    fn sessions(&self) -> u64;

    /// What was counted as broken off; the log is told apart from it.
    fn broken_off(&self) -> u64;
}

impl Witness for MariaDb {
    const PROTOCOL: Protocol = Protocol::MySql;

    fn start(tls: Option<TlsFiles>) -> Self {
        Self::start(MariaDbOptions {
            tls,
            ..Default::default()
        })
    }

    fn socket(&self) -> PathBuf {
        self.socket_path()
    }

    fn sessions(&self) -> u64 {
        self.status("Threads_connected") - 1
    }

    fn broken_off(&self) -> u64 {
        self.status("Aborted_connects") + self.status("Aborted_clients")
    }
}

impl Witness for Postgres {
    const PROTOCOL: Protocol = Protocol::Postgres;

    fn start(tls: Option<TlsFiles>) -> Self {
        Self::start(PostgresOptions {
            tls,
            ..Default::default()
        })
    }

    fn socket(&self) -> PathBuf {
        self.socket_path()
    }

    fn sessions(&self) -> u64 {
        let others = "SELECT count(*) FROM pg_stat_activity
                      WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        self.sql(others).parse().expect("a number of sessions")
    }

    /// PostgreSQL tells of them in its log alone.
    fn broken_off(&self) -> u64 {
        0
    }
}

/// What a server has to complain of once all its clients are gone.
fn complaints(server: &impl Witness) -> (u64, String) {
    let alone = eventually(PATIENCE, || server.sessions() == 0);
    assert!(alone, "a session stays open");
    (server.broken_off(), server.log_text())
}

/// Probes so often at each depth; all have to pass, and the server has nothing to complain of.
fn check_quiet(server: &impl Witness, target: Target, depths: &[Depth], times: u32) {
    let before = complaints(server);
    let mut asker = Asker::new(target);
    for &depth in depths {
        asker.pass(depth, times);
        assert_eq!(
            complaints(server),
            before,
            "{times} probes at depth {depth}"
        );
    }
}

/// Probes one address, several times at once, as often as it is told to.
struct Asker {
    prober: Prober,
    clock: Clock,
}

impl Asker {
    fn new(target: Target) -> Self {
        let clock = Clock::start();
        let mut prober = Prober::new(clock).expect("an epoll descriptor");
        let target = Arc::new(target);
        for id in (0..AT_ONCE).map(TargetId) {
            prober.add_target(id, Arc::clone(&target));
        }
        Self { prober, clock }
    }

    /// Probes so many times; every probe has to pass.
    fn pass(&mut self, depth: Depth, times: u32) {
        assert_eq!(times % AT_ONCE, 0, "a number of whole rounds");
        for round in 0..times / AT_ONCE {
            for observation in self.round(depth, ProbeId(round)) {
                assert_eq!(observation.outcome, Outcome::Pass, "{observation:?}");
            }
        }
    }

    /// Probes with all targets, and waits until the goodbyes are over, too.
    fn round(&mut self, depth: Depth, probe: ProbeId) -> Vec<Observation> {
        let deadline = self.clock.now() + TIMEOUT;
        for target in (0..AT_ONCE).map(TargetId) {
            self.prober.start(Order {
                target,
                probe,
                path: Path::Fresh,
                depth,
                deadline,
                hold: false,
            });
        }
        let mut answers = Vec::new();
        while answers.len() < AT_ONCE as usize || !self.prober.is_quiet() {
            let waited = self.prober.wait(Some(deadline));
            waited.expect("an epoll descriptor can be waited for");
            while let Some((_, observation)) = self.prober.poll_observation() {
                answers.push(observation);
            }
        }
        answers
    }
}

/// A target at this address, with the password that every server of the testkit has for `vitals`.
fn target<W: Witness>(_: &W, address: Address) -> Target {
    let mut target = Target::new(W::PROTOCOL, address);
    target.credentials = Some(Credentials::new("vitals").with_password("secret").into());
    target
}

fn over_tcp(server: &impl Witness) -> Target {
    let host = Ipv4Addr::LOCALHOST.to_string();
    let port = server.port();
    target(server, Address::Tcp { host, port })
}

fn over_the_socket(server: &impl Witness) -> Target {
    target(server, Address::Unix(server.socket()))
}

/// TLS as a URL without options has it.
fn preferring_tls(server: &impl Witness) -> Target {
    let mut target = over_tcp(server);
    target.tls = TlsPolicy::Prefer(TlsConfig::encrypt_only().expect("sound defaults"));
    target
}

#[test]
fn a_thousand_sessions_over_tcp_leave_nothing_behind_on_mariadb() {
    require_servers!();
    let server = <MariaDb as Witness>::start(None);
    check_quiet(&server, over_tcp(&server), &AUTHENTICATED, 1000);
}

#[test]
fn a_thousand_sessions_over_the_socket_leave_nothing_behind_on_mariadb() {
    require_servers!();
    let server = <MariaDb as Witness>::start(None);
    check_quiet(&server, over_the_socket(&server), &AUTHENTICATED, 1000);
}

#[test]
fn a_thousand_sessions_over_tcp_leave_nothing_behind_on_postgresql() {
    require_servers!();
    let server = <Postgres as Witness>::start(None);
    check_quiet(&server, over_tcp(&server), &AUTHENTICATED, 1000);
}

#[test]
fn a_thousand_sessions_over_the_socket_leave_nothing_behind_on_postgresql() {
    require_servers!();
    let server = <Postgres as Witness>::start(None);
    check_quiet(&server, over_the_socket(&server), &AUTHENTICATED, 1000);
}

#[test]
fn a_hundred_encrypted_sessions_leave_nothing_behind() {
    require_servers!();
    let depths = [Depth::Greeting, Depth::Login, Depth::Ping, Depth::Query];
    let authority = TestAuthority::new();
    let tls = authority.issue(&["127.0.0.1"], Validity::Current);
    let mariadb = <MariaDb as Witness>::start(Some(tls.clone()));
    check_quiet(&mariadb, preferring_tls(&mariadb), &depths, 100);
    let postgres = <Postgres as Witness>::start(Some(tls));
    check_quiet(&postgres, preferring_tls(&postgres), &depths, 100);
}

#[test]
fn a_hundred_greetings_of_a_known_user_leave_nothing_behind() {
    require_servers!();
    let mariadb = <MariaDb as Witness>::start(None);
    check_quiet(&mariadb, over_tcp(&mariadb), &[Depth::Greeting], 100);
    let postgres = <Postgres as Witness>::start(None);
    check_quiet(&postgres, over_tcp(&postgres), &[Depth::Greeting], 100);
}

#[test]
fn a_thousand_connects_are_not_even_counted_by_mariadb() {
    require_servers!();
    let server = <MariaDb as Witness>::start(None);
    let before = server.status("Connections");
    Asker::new(over_tcp(&server)).pass(Depth::Connect, 1000);
    // The second question is a connection itself, and there was no other.
    assert_eq!(server.status("Connections"), before + 1);
    assert_eq!(complaints(&server).0, 0);
}

#[test]
fn a_thousand_connects_leave_nothing_behind_on_postgresql() {
    require_servers!();
    let server = <Postgres as Witness>::start(None);
    check_quiet(&server, over_tcp(&server), &[Depth::Connect], 1000);
}

/// Probes a MariaDB that this policy cannot be satisfied with: all have to fail so, and the server
/// sees a stranger whom it refuses. A login that is broken off would count for `host_blocked`.
fn check_declined(server: &MariaDb, tls: TlsPolicy, cause: Cause) {
    let mut target = over_tcp(server);
    target.tls = tls;
    for observation in Asker::new(target).round(Depth::Ping, ProbeId(1)) {
        assert_eq!(observation.outcome, Outcome::Fail(cause), "{observation:?}");
    }
    let (_, log) = complaints(server);
    assert!(log.contains("Access denied for user ''"), "{log}");
    assert!(!log.contains("Aborted connection"), "{log}");
    assert!(!log.contains("'vitals'"), "{log}");
}

#[test]
fn a_login_that_lacks_the_tls_it_requires_is_not_broken_off() {
    require_servers!();
    let server = <MariaDb as Witness>::start(None);
    let encrypt_only = TlsConfig::encrypt_only().expect("sound defaults");
    check_declined(
        &server,
        TlsPolicy::Require(encrypt_only),
        Cause::TlsUntrusted,
    );
}

#[test]
fn a_login_with_a_certificate_that_is_refused_is_not_broken_off() {
    require_servers!();
    let (authority, stranger) = (TestAuthority::new(), TestAuthority::new());
    for (validity, trusted, cause) in [
        (Validity::Expired, &authority, Cause::TlsExpired),
        (Validity::Current, &stranger, Cause::TlsUntrusted),
    ] {
        let server = <MariaDb as Witness>::start(Some(authority.issue(&["127.0.0.1"], validity)));
        let verify = TlsConfig::verify(Some(&trusted.certificate())).expect("an authority");
        check_declined(&server, TlsPolicy::Verify(verify), cause);
    }
}
