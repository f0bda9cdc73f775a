//! Faults of peers that hang up, or that are no database at all.

use super::database::Database;
use super::scene::Scene;
use super::truth::{CONNECT, CRASH, FROM_GREETING, START, Truth, UP, at, by_ping, down, turns};
use super::{Fault, REAL, SCRIPTED, Stand};
use crate::scripted::{Mood, Script};

/// Who speaks first is a stranger; who waits for a stranger's first words hears nothing.
const STRANGER: Truth = down(&["wrong_protocol", "malformed", "no_greeting"]);

/// A TLS alert: fatal, unexpected message.
const TLS_ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x0a];

/// Bytes without a meaning, as a fixed seed made them.
const NOISE: &[u8] = &[
    0xd1, 0x6e, 0x84, 0x9b, 0xf7, 0x02, 0xc8, 0x3d, 0x5a, 0xe0, 0x91, 0x4c, 0x77, 0xbe, 0x13, 0xa5,
    0x68, 0xfb, 0x20, 0x8d, 0x3f, 0xd4, 0x09, 0xb6, 0xe3, 0x52, 0xcf, 0x17, 0x9a, 0x71, 0xac, 0x45,
];

/// The truth about all strangers, who are there from the start.
const STRANGE: Fault = Fault {
    checks: &[at(CONNECT, UP), at(FROM_GREETING, STRANGER)],
    watch: by_ping(&[turns(STRANGER, START)]),
    ..Fault::BLANK
};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "closes",
        what: "Each connection is accepted and closed at once (FIN).",
        on: SCRIPTED,
        stage: |stand| {
            Scene::scripted(stand, |it| {
                it.switch(Mood::Closing);
                it.end_sessions();
            })
        },
        checks: &[at(CONNECT, UP), at(FROM_GREETING, down(&["closed"]))],
        watch: by_ping(&[turns(down(&["closed"]), CRASH.saturating_mul(4))]),
        ..Fault::BLANK
    },
    Fault {
        name: "resets",
        what: "Each connection is accepted and aborted at once (RST).",
        on: SCRIPTED,
        stage: |stand| {
            Scene::scripted(stand, |it| {
                it.switch(Mood::Resetting);
                it.end_sessions();
            })
        },
        checks: &[at(CONNECT, UP), at(FROM_GREETING, down(&["reset"]))],
        watch: by_ping(&[turns(down(&["reset"]), CRASH.saturating_mul(4))]),
        ..Fault::BLANK
    },
    Fault {
        name: "http",
        what: "A web server listens there.",
        on: SCRIPTED,
        stage: |stand| Scene::script(stand, Script::HttpServer),
        ..STRANGE
    },
    Fault {
        name: "tls_bytes",
        what: "A TLS alert is all that comes.",
        on: SCRIPTED,
        stage: |stand| Scene::script(stand, Script::Bytes(TLS_ALERT.to_vec())),
        ..STRANGE
    },
    Fault {
        name: "noise",
        what: "Random bytes come.",
        on: SCRIPTED,
        stage: |stand| Scene::script(stand, Script::Bytes(NOISE.to_vec())),
        ..STRANGE
    },
    Fault {
        name: "endless",
        what: "Random bytes come without end.",
        on: SCRIPTED,
        stage: |stand| Scene::script(stand, Script::Endless(NOISE.repeat(64))),
        ..STRANGE
    },
    Fault {
        name: "other_database",
        what: "The port belongs to a server of the other product.",
        on: REAL,
        stage: |stand| {
            let (there, asked) = match stand {
                Stand::MariaDb | Stand::ScriptedMySql => (stand, Stand::PostgreSql),
                Stand::PostgreSql | Stand::ScriptedPostgres => (stand, Stand::MariaDb),
            };
            let database = Database::plain(there);
            let url = asked.url(database.address());
            Scene::at(url).with(database)
        },
        ..STRANGE
    },
];
