//! Servers on their way up or down, and those that take no writes.

use rustix::process::Signal;

use super::crowd::Crowd;
use super::database::Database;
use super::scene::Scene;
use super::truth::{
    AFRESH, CONNECT, CRASH, Check, FROM_GREETING, FROM_PING, QUERY, RETURN, START, TO_LOGIN,
    TO_PING, Truth, UP, afresh, at, by_ping, down, ms, stays, turns,
};
use super::{Fault, Stand};
use crate::postgres::{Postgres, PostgresOptions};
use crate::real_server::RealServer as _;
use crate::scripted::Mood;

const STARTING: Truth = down(&["starting_up"]);
const STOPPING: Truth = down(&["shutting_down"]);
const READ_ONLY: &str = "The server was made read only; who asks for more than a ping is told.";

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "starting_up",
        what: "The server replays its log and admits nobody yet (57P03), then is ready.",
        on: &[Stand::PostgreSql],
        stage: |stand| {
            let server = std::sync::Arc::new(Postgres::start_replaying(PostgresOptions::default()));
            let url = stand.url(server.address());
            let replaying = std::sync::Arc::clone(&server);
            Scene::at(url)
                .there_already()
                .with(server)
                .then(move |_| replaying.finish_replay())
        },
        checks: &[at(CONNECT, UP), at(FROM_GREETING, STARTING)],
        watch: by_ping(&[turns(STARTING, START), turns(UP, RETURN)]),
        ..Fault::BLANK
    },
    Fault {
        name: "shutting_down",
        what: "The server waits for its last session to end and admits nobody new (57P03).",
        on: &[Stand::PostgreSql],
        stage: |stand| {
            let database = Database::plain(stand);
            Scene::of(&database).then(move |stage| {
                stage.keep(Crowd::of_one(&database));
                database.signal(Signal::TERM);
            })
        },
        checks: &[at(CONNECT, UP), at(FROM_GREETING, STOPPING)],
        watch: afresh(&[turns(STOPPING, AFRESH)]),
        ..Fault::BLANK
    },
    Fault {
        name: "last_words",
        what: "The server refuses each command because it shuts down (1053).",
        on: &[Stand::ScriptedMySql],
        stage: |stand| Scene::scripted(stand, |it| it.switch(Mood::RefusingCommands("1053"))),
        checks: &[at(TO_LOGIN, UP), at(FROM_PING, STOPPING)],
        watch: by_ping(&[turns(
            STOPPING,
            ms(1000).saturating_add(CRASH.saturating_mul(10)),
        )]),
        ..Fault::BLANK
    },
    Fault {
        name: "last_words",
        what: "The server refuses each command because it was told to end (57P01).",
        on: &[Stand::ScriptedPostgres],
        stage: |stand| Scene::scripted(stand, |it| it.switch(Mood::RefusingCommands("57P01"))),
        checks: &[at(TO_LOGIN, UP), at(FROM_PING, STOPPING)],
        watch: by_ping(&[turns(
            STOPPING,
            ms(1000).saturating_add(CRASH.saturating_mul(10)),
        )]),
        ..Fault::BLANK
    },
    Fault {
        name: "read_only",
        what: READ_ONLY,
        on: &[Stand::MariaDb],
        stage: |stand| {
            Scene::plain(stand, |server| {
                server.sql("SET GLOBAL read_only = 1");
            })
        },
        checks: &[
            at(TO_PING, UP),
            asserts(&["--query", "SELECT @@global.read_only", "--equals", "0"]),
        ],
        watch: by_ping(&[stays(UP, ms(2500))]),
        ..Fault::BLANK
    },
    Fault {
        name: "read_only",
        what: READ_ONLY,
        on: &[Stand::PostgreSql],
        stage: |stand| {
            Scene::plain(stand, |server| {
                server.sql("ALTER DATABASE vitals SET default_transaction_read_only = on");
            })
        },
        checks: &[
            at(TO_PING, UP),
            asserts(&["--query", "SHOW transaction_read_only", "--equals", "off"]),
        ],
        watch: by_ping(&[stays(UP, ms(2500))]),
        ..Fault::BLANK
    },
];

const fn asserts(arguments: &'static [&'static str]) -> Check {
    Check {
        columns: QUERY,
        arguments,
        truth: down(&["assertion_failed"]),
    }
}
