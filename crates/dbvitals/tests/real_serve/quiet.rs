//! What a server notices of being watched: nothing to complain of, and never more than two sessions.

use std::fs;
use std::time::Duration;

use dbvitals_testkit::{
    MariaDb, MariaDbOptions, Postgres, PostgresOptions, RealServer as _, eventually,
    require_servers,
};
use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile, PATIENCE, serve};
use crate::{CRASH_BOUND, Watched, agent_with_open_gate, alone, on_both, report};

/// How long an agent may take to end, goodbyes and all.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

#[test]
fn an_agent_that_ends_closes_its_gate_at_once_and_says_goodbye() {
    require_servers!();
    on_both(|server| {
        let (mut agent, gate) = agent_with_open_gate(server);
        let complaints = server.complaints();
        let told = gate.now();
        agent.signal(Signal::TERM);
        let took = gate.refuses_within(CRASH_BOUND, told);
        report(server, "SIGTERM to refused", took);
        assert_eq!(agent.wait_for_exit(), Some(0));
        let took = gate.now().since(told);
        report(server, "SIGTERM to the end", took);
        assert!(took <= ENDS_WITHIN, "{took:?}");
        assert!(eventually(PATIENCE, || server.sessions() == 0));
        assert_eq!(server.complaints(), complaints);
    });
}

#[test]
fn a_goodbye_to_a_server_that_does_not_listen_waits_and_does_not_spin() {
    require_servers!();
    on_both(|server| {
        let (mut agent, gate) = agent_with_open_gate(server);
        server.freeze();
        let (told, before) = (gate.now(), processor_time(&agent));
        agent.signal(Signal::TERM);
        let mut used = before;
        while !agent.has_ended() {
            used = used.max(processor_time(&agent));
        }
        let (took, used) = (gate.now().since(told), used - before);
        report(server, "SIGTERM to the end, server frozen", took);
        assert!(took <= ENDS_WITHIN, "{took:?}");
        assert!(used < took / 4, "{used:?} of processor time in {took:?}");
    });
}

/// The processor time that an agent has used so far, to 10 ms; zero once it is gone.
fn processor_time(agent: &Agent) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", agent.pid())).unwrap_or_default();
    // The state is the first field after the name; user and system time are eleven later.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = times.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn mariadb_notices_nothing_of_an_agent_in_a_hurry() {
    require_servers!();
    alone(|| {
        let server = MariaDb::start(MariaDbOptions::default());
        let before = server.complaints();
        // The server's own mark of the highest tide, begun anew with this one connection.
        server.sql("FLUSH STATUS");
        watch_in_a_hurry(&server, |agent| wait_for_fresh_sessions(agent, 15));
        let highest = server.status("Max_used_connections");
        assert!(highest <= 2 + 1, "{highest} connections, with our own");
        assert_eq!(server.complaints(), before);
    });
}

#[test]
fn postgresql_notices_nothing_of_an_agent_in_a_hurry() {
    require_servers!();
    alone(|| {
        let server = Postgres::start(PostgresOptions::default());
        let before = server.complaints();
        watch_in_a_hurry(&server, |agent| {
            // Counted inside the server, as fast as it can.
            let highest = server.sql(
                "DO $$
                 DECLARE highest int := 0; stop timestamptz := clock_timestamp() + '3 s';
                 BEGIN
                     WHILE clock_timestamp() < stop LOOP
                         PERFORM pg_stat_clear_snapshot();
                         highest := greatest(highest, (SELECT count(*) FROM pg_stat_activity
                             WHERE backend_type = 'client backend'
                             AND pid <> pg_backend_pid()));
                     END LOOP;
                     PERFORM set_config('vitals.highest', highest::text, false);
                 END $$;
                 SHOW vitals.highest",
            );
            assert!(
                (1..=2).contains(&highest.parse::<u32>().unwrap()),
                "{highest} sessions"
            );
            wait_for_fresh_sessions(agent, 15);
        });
        assert_eq!(server.complaints(), before);
    });
}

/// Has an agent open a fresh session five times a second and ping the held one twenty times, ends
/// it after `meanwhile`, and waits until the server has no session of it any more.
fn watch_in_a_hurry(server: &dyn Watched, meanwhile: impl FnOnce(&Agent)) {
    let config = ConfigFile::new(&format!(
        "[backend.db]\nurl = \"{}\"\ninterval = \"50ms\"\nfresh_interval = \"200ms\"\n",
        server.url()
    ));
    let mut agent = Agent::start(config.serve());
    agent.wait_for_verdict("db", "up");
    meanwhile(&agent);
    agent.expect_verdicts(&["up"]);
    assert_eq!(
        agent.metric("dbvitals_sessions_lost_total{backend=\"db\"}"),
        0.0
    );
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    assert!(eventually(PATIENCE, || server.sessions() == 0));
}

/// Waits until the agent has been at work for so many fresh sessions, by its count of probes: of
/// four pings and a fresh session each.
fn wait_for_fresh_sessions(agent: &Agent, sessions: u32) {
    let passes = "dbvitals_probe_total{backend=\"db\",outcome=\"pass\",cause=\"\"}";
    let until = f64::from(sessions * 5);
    assert!(eventually(PATIENCE, || agent.metric(passes) >= until));
}

#[test]
fn a_password_typed_into_a_url_is_warned_of_once_and_shown_nowhere() {
    require_servers!();
    on_both(|server| {
        let url = server.url().replacen("vitals@", "vitals:secret@", 1);
        let mut command = serve(["--debug", &format!("db={url}")]);
        command.env_remove("DBVITALS_PASSWORD");
        let agent = Agent::start(command);
        let (_, health) = agent.wait_for_verdict("db", "up");
        let log = agent.log();
        assert_eq!(
            log.matches("the password in the URL of db").count(),
            1,
            "{log}"
        );
        let metrics = agent.request("GET", "/metrics").body;
        let told = serde_json::to_string(&agent.transitions()).unwrap();
        for text in [log, metrics, told, health.to_string()] {
            assert!(!text.contains("secret"), "{text}");
        }
    });
}
