//! Galera's nodes that are alive and not a part of their cluster, or not wholly.

use std::sync::Arc;
use std::time::Duration;

use super::database::MARIADB_GRANT;
use super::scene::Scene;
use super::truth::{
    NEXT, PING, PRIMARY, QUERY, RETURN, ROLE, Truth, UP, WRITE, at, down, stays, turns, watched,
};
use super::{Fault, Need, Stand};
use crate::clock::eventually;
use crate::galera::GaleraNode;
use crate::mariadb::MariaDbOptions;
use crate::real_server::RealServer as _;

const MARIADB: &[Stand] = &[Stand::MariaDb];
const NOT_SYNCED: Truth = down(&["not_synced"]);
const REJECTING: Truth = down(&["rejecting_queries"]);
/// Everybody waits until the node has applied what its cluster has committed.
const WAIT_FOR_ALL: &str = "SET GLOBAL wsrep_sync_wait = 31";
/// How long a node may take for one thing, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The truth about a node that is no part of its cluster for a while.
const APART: Fault = Fault {
    on: MARIADB,
    checks: &[
        at(PING, UP),
        at(QUERY, UP),
        at(ROLE, NOT_SYNCED),
        at(PRIMARY, NOT_SYNCED),
        at(WRITE, NOT_SYNCED),
    ],
    watch: watched("role", &[], &[turns(NOT_SYNCED, NEXT), turns(UP, RETURN)]),
    needs: Need::Galera,
    ..Fault::BLANK
};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "galera",
        what: "A node is in sync, with wsrep_sync_wait = 31 for everybody.",
        stage: |stand| {
            let node = node();
            node.sql(WAIT_FOR_ALL);
            Scene::at(stand.url_to_write(node.address())).with(node)
        },
        checks: &[
            at(PING, UP),
            at(QUERY, UP),
            at(ROLE, UP),
            at(PRIMARY, UP),
            at(WRITE, UP),
        ],
        watch: watched("write", &[], &[turns(UP, RETURN)]),
        ..APART
    },
    Fault {
        name: "galera_no_quorum",
        what: "The node's only peer is killed; later the node is told to go on alone (pc.bootstrap).",
        stage: |stand| without_quorum(stand, ""),
        ..APART
    },
    Fault {
        name: "galera_no_quorum_and_wait",
        what: "The same, with wsrep_sync_wait = 31, where even SELECT 1 is refused to others.",
        stage: |stand| without_quorum(stand, WAIT_FOR_ALL),
        ..APART
    },
    Fault {
        name: "galera_desynced",
        what: "The node was told not to keep up (wsrep_desync), and then to keep up again.",
        stage: |stand| {
            let statements = [
                "SET GLOBAL wsrep_desync = ON",
                "SET GLOBAL wsrep_desync = OFF",
            ];
            told(stand, statements)
        },
        ..APART
    },
    Fault {
        name: "galera_rejects_queries",
        what: "The node was told to reject queries (wsrep_reject_queries), and then to take them.",
        stage: |stand| {
            let statements = [
                "SET GLOBAL wsrep_reject_queries = ALL",
                "SET GLOBAL wsrep_reject_queries = NONE",
            ];
            told(stand, statements)
        },
        checks: &[
            at(PING, UP),
            at(QUERY, UP),
            at(ROLE, REJECTING),
            at(PRIMARY, REJECTING),
            at(WRITE, REJECTING),
        ],
        watch: watched("role", &[], &[turns(REJECTING, NEXT), turns(UP, RETURN)]),
        ..APART
    },
    Fault {
        name: "galera_does_not_apply",
        what: "A lock keeps the node from applying; with wsrep_sync_wait = 31 every SELECT hangs.",
        stage: |stand| {
            let (peer, node) = pair();
            node.sql(WAIT_FOR_ALL);
            Scene::at(stand.url_to_write(node.address()))
                .then(move |stage| {
                    // Else the session that locks would wait for itself.
                    let lock = "SET SESSION wsrep_sync_wait = 0; FLUSH TABLES WITH READ LOCK";
                    stage.keep(node.server().hold(lock));
                    peer.sql("REPLACE INTO vitals.t VALUES (2)");
                    let is_behind = || node.status("wsrep_local_state_comment") != "Synced";
                    assert!(eventually(PATIENCE, is_behind), "the node applies");
                    stage.keep((peer, node));
                })
                .then(super::scene::Stage::dismiss::<crate::held_session::HeldSession>)
        },
        ..APART
    },
    Fault {
        name: "galera_unasked",
        what: "The node's only peer is killed; the agent asks for no more than a ping.",
        stage: |stand| {
            let mut scene = without_quorum(stand, "");
            scene.acts.truncate(1);
            scene
        },
        checks: &[],
        watch: watched("ping", &[], &[stays(UP, NEXT)]),
        ..APART
    },
];

fn node() -> GaleraNode {
    GaleraNode::start(MariaDbOptions {
        first_sql: format!("{MARIADB_GRANT}; CREATE TABLE vitals.t (i INT PRIMARY KEY)"),
        ..Default::default()
    })
}

fn pair() -> (GaleraNode, Arc<GaleraNode>) {
    let first = node();
    let second = GaleraNode::join(&first, MariaDbOptions::default());
    let tables = "SET SESSION wsrep_sync_wait = 1; SELECT COUNT(*) FROM vitals.t";
    assert_eq!(second.sql(tables), "0");
    wait_for(&second, "wsrep_local_state", "4");
    (first, Arc::new(second))
}

/// Waits until a node's status says so.
fn wait_for(node: &GaleraNode, name: &str, value: &str) {
    let is_it = || node.status(name) == value;
    assert!(eventually(PATIENCE, is_it), "{name} is not {value}");
}

/// A node of two, whose peer is killed, and which is told to do without it.
fn without_quorum(stand: Stand, first: &str) -> Scene {
    let (peer, node) = pair();
    if !first.is_empty() {
        node.sql(first);
    }
    let alone = Arc::clone(&node);
    Scene::at(stand.url_to_write(node.address()))
        .with(Arc::clone(&node))
        .then(move |_| {
            peer.kill();
            wait_for(&node, "wsrep_ready", "OFF");
        })
        .then(move |_| {
            // While the group still looks for its lost member, the order is refused (1210).
            wait_for(&alone, "wsrep_cluster_status", "non-Primary");
            wait_for(&alone, "wsrep_evs_state", "OPERATIONAL");
            alone.sql("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'");
            wait_for(&alone, "wsrep_ready", "ON");
        })
}

/// A node of its own that is told something, and then the contrary.
fn told(stand: Stand, [first, then]: [&'static str; 2]) -> Scene {
    let node = Arc::new(node());
    let later = Arc::clone(&node);
    Scene::at(stand.url_to_write(node.address()))
        .with(Arc::clone(&node))
        .then(move |_| {
            node.sql(first);
        })
        .then(move |_| {
            later.sql(then);
        })
}
