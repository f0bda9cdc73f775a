//! Faults of servers that are there and do not answer, or not to the end.

use super::absent::a_hundred;
use super::database::Database;
use super::scene::Scene;
use super::truth::{
    ALL, CONNECT, Check, FREEZE, FROM_GREETING, FROM_LOGIN, FROM_PING, FROM_ROLE, LAG, QUERY,
    RETURN, START, TO_GREETING, TO_LOGIN, TO_PING, Truth, UP, at, by_ping, down, ms, turns,
};
use super::{Fault, Need, REAL, SCRIPTED, Stand};
use crate::mariadb::{MariaDb, MariaDbOptions};
use crate::network::Network;
use crate::postgres::{Postgres, PostgresOptions};
use crate::scripted::{Moment, Mood, Script, ScriptedDatabase};

const NO_GREETING: Truth = down(&["no_greeting"]);
const UNRESPONSIVE: Truth = down(&["unresponsive"]);
/// A session that is held misses an answer, a fresh one the greeting; either may be named.
const SILENT: Truth = down(&["no_greeting", "unresponsive"]);

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "frozen",
        what: "All processes of the server are stopped (SIGSTOP), and go on later.",
        on: REAL,
        stage: |stand| {
            let database = Database::plain(stand);
            let thawed = database.clone();
            Scene::of(&database)
                .then(move |_| database.freeze())
                .then(move |_| thawed.thaw())
        },
        checks: &[
            at(CONNECT, UP),
            at(FROM_GREETING, NO_GREETING),
            at(LAG, NO_GREETING),
        ],
        watch: by_ping(&[turns(SILENT, FREEZE), turns(UP, RETURN)]),
        ..Fault::BLANK
    },
    Fault {
        name: "black_hole",
        what: "Nothing that is sent arrives any more, in either direction, for a while.",
        on: REAL,
        stage: in_a_network,
        checks: &[at(ALL, down(&["connect_timeout"]))],
        // The session misses an answer, or the connect beside it does.
        watch: by_ping(&[
            turns(down(&["connect_timeout", "unresponsive"]), FREEZE),
            turns(UP, RETURN),
        ]),
        needs: Need::Namespaces,
        ..Fault::BLANK
    },
    Fault {
        name: "never_accepts",
        what: "Each attempt to connect is dropped, from the start: a full accept queue.",
        on: SCRIPTED,
        stage: |stand| Scene::script(stand, Script::NeverAccepts),
        checks: &[at(ALL, down(&["connect_timeout"]))],
        watch: by_ping(&[turns(down(&["connect_timeout"]), START)]),
        ..Fault::BLANK
    },
    Fault {
        name: "silent",
        what: "The server accepts, reads, and no longer says a word.",
        on: SCRIPTED,
        stage: |stand| Scene::scripted(stand, |it| it.switch(Mood::SilentFrom(Moment::Greeting))),
        checks: &[at(CONNECT, UP), at(FROM_GREETING, NO_GREETING)],
        watch: by_ping(&[turns(SILENT, FREEZE)]),
        ..Fault::BLANK
    },
    Fault {
        name: "hundred_silent",
        what: "A hundred servers fall silent at the same moment.",
        on: SCRIPTED,
        stage: |stand| a_hundred(stand, |it| it.switch(Mood::SilentFrom(Moment::Greeting))),
        watch: by_ping(&[turns(SILENT, FREEZE)]),
        alone: true,
        ..Fault::BLANK
    },
    Fault {
        name: "trickled",
        what: "The server sends its words byte by byte, one every 300 ms.",
        on: SCRIPTED,
        stage: |stand| Scene::scripted(stand, |it| it.switch(Mood::Trickling(ms(300)))),
        checks: &[at(CONNECT, UP), at(FROM_GREETING, NO_GREETING)],
        watch: by_ping(&[turns(SILENT, FREEZE)]),
        ..Fault::BLANK
    },
    Fault {
        name: "half_tls",
        what: "The server agrees to TLS and falls silent in the handshake.",
        on: &[Stand::ScriptedMySql],
        stage: silent_in_tls,
        // MySQL greets in the clear before TLS.
        checks: &[at(TO_GREETING, UP), at(FROM_LOGIN, UNRESPONSIVE)],
        watch: by_ping(&[turns(SILENT, FREEZE)]),
        ..Fault::BLANK
    },
    Fault {
        name: "half_tls",
        what: "The server agrees to TLS and falls silent in the handshake.",
        on: &[Stand::ScriptedPostgres],
        stage: silent_in_tls,
        // PostgreSQL greets after TLS; before it has only agreed.
        checks: &[at(CONNECT, UP), at(FROM_GREETING, SILENT)],
        watch: by_ping(&[turns(SILENT, FREEZE)]),
        ..Fault::BLANK
    },
    Fault {
        name: "silent_login",
        what: "The server asks for the password and never answers it.",
        on: SCRIPTED,
        stage: |stand| Scene::scripted(stand, |it| it.switch(Mood::SilentFrom(Moment::Login))),
        checks: &[at(TO_GREETING, UP), at(FROM_LOGIN, UNRESPONSIVE)],
        watch: by_ping(&[turns(UNRESPONSIVE, FREEZE)]),
        ..Fault::BLANK
    },
    Fault {
        name: "silent_after_login",
        what: "The server lets sessions in and answers no command.",
        on: SCRIPTED,
        stage: |stand| {
            let database = ScriptedDatabase::start(stand.dialect());
            Scene::at(stand.url_to_write(database.address())).then(move |stage| {
                database.switch(Mood::SilentFrom(Moment::Command));
                stage.keep(database);
            })
        },
        checks: &[
            at(TO_LOGIN, UP),
            at(FROM_PING, UNRESPONSIVE),
            at(FROM_ROLE, UNRESPONSIVE),
        ],
        watch: by_ping(&[turns(UNRESPONSIVE, FREEZE)]),
        ..Fault::BLANK
    },
    Fault {
        name: "hung_statement",
        what: "A statement hangs for a minute; all else is well.",
        on: &[Stand::MariaDb],
        stage: |stand| Scene::of(&Database::plain(stand)),
        checks: &[at(TO_PING, UP), hangs(&["--query", "SELECT SLEEP(60)"])],
        ..Fault::BLANK
    },
    Fault {
        name: "hung_statement",
        what: "A statement hangs for a minute; all else is well.",
        on: &[Stand::PostgreSql],
        stage: |stand| Scene::of(&Database::plain(stand)),
        checks: &[at(TO_PING, UP), hangs(&["--query", "SELECT pg_sleep(60)"])],
        ..Fault::BLANK
    },
];

fn silent_in_tls(stand: Stand) -> Scene {
    Scene::scripted(stand, |it| {
        it.switch(Mood::SilentFrom(Moment::Tls));
        it.end_sessions();
    })
}

/// The server is told to give up a moment before the probe does (by max_statement_time, by a
/// CancelRequest), and says that it did: it is alive, and not fit for the statement.
const fn hangs(arguments: &'static [&'static str]) -> Check {
    Check {
        columns: QUERY,
        arguments,
        truth: down(&["rejecting_queries"]),
    }
}

/// A server in a network that goes dark, and the program in there with it.
fn in_a_network(stand: Stand) -> Scene {
    let network = Network::new();
    let database: Database = match stand {
        Stand::MariaDb | Stand::ScriptedMySql => MariaDb::start(MariaDbOptions {
            network: Some(network.clone()),
            ..Default::default()
        })
        .into(),
        Stand::PostgreSql | Stand::ScriptedPostgres => Postgres::start(PostgresOptions {
            network: Some(network.clone()),
            ..Default::default()
        })
        .into(),
    };
    let dark = network.clone();
    let mut scene = Scene::of(&database);
    scene.surroundings = network.surroundings();
    scene.is_apart = true;
    scene
        .then(move |_| dark.black_hole())
        .then(move |_| network.heal())
}
