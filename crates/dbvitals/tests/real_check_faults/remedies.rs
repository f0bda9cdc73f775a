//! Remedies against real servers: what `check` advises is done to the letter, and it helps.

use dbvitals_testkit::require_servers;

use crate::V4;
use crate::databases::{Database, databases};
use crate::finding::Finding;

/// Something that is wrong with the check's user, and what is said of it.
struct Fault {
    depth: &'static str,
    breaks: &'static str,
    told: &'static str,
    /// The statements of the remedy, by their beginnings, in the order in which they help.
    statements: &'static [&'static str],
}

const ACCESS_DENIED: &str = "degraded, access_denied (ours), exit 3";
const BAD_QUERY: &str = "degraded, bad_query (ours), exit 3";
const USER_LIMIT: &str = "degraded, check_user_limit (ours), exit 3";

const MARIADB: [Fault; 4] = [
    Fault {
        depth: "ping",
        breaks: "CREATE DATABASE shop; CREATE USER lesser IDENTIFIED BY 'secret'",
        told: ACCESS_DENIED,
        statements: &["GRANT SELECT ON shop.*"],
    },
    Fault {
        depth: "lag",
        breaks: "",
        told: BAD_QUERY,
        statements: &["GRANT SLAVE MONITOR ON *.*"],
    },
    Fault {
        depth: "write",
        breaks: "",
        told: BAD_QUERY,
        statements: &[
            "CREATE TABLE shop.dbvitals_heartbeat",
            "GRANT SELECT, INSERT",
        ],
    },
    Fault {
        depth: "ping",
        breaks: "ALTER USER lesser ACCOUNT LOCK",
        told: ACCESS_DENIED,
        statements: &["ALTER USER 'lesser'@'%' ACCOUNT UNLOCK"],
    },
];

const POSTGRES: [Fault; 4] = [
    Fault {
        depth: "write",
        breaks: "CREATE ROLE lesser LOGIN PASSWORD 'secret'",
        told: BAD_QUERY,
        statements: &["CREATE TABLE dbvitals_heartbeat", "GRANT SELECT, INSERT"],
    },
    Fault {
        depth: "ping",
        breaks: "REVOKE CONNECT ON DATABASE vitals FROM public",
        told: ACCESS_DENIED,
        statements: &["GRANT CONNECT ON DATABASE vitals"],
    },
    Fault {
        depth: "ping",
        breaks: "ALTER ROLE lesser CONNECTION LIMIT 0",
        told: USER_LIMIT,
        statements: &["ALTER ROLE lesser CONNECTION LIMIT"],
    },
    Fault {
        depth: "ping",
        breaks: "ALTER ROLE lesser NOLOGIN",
        told: ACCESS_DENIED,
        statements: &["ALTER ROLE lesser LOGIN"],
    },
];

#[test]
fn what_a_remedy_tells_to_grant_or_alter_is_enough() {
    require_servers!();
    let [mariadb, postgres] = databases(&V4, None);
    heal(&mariadb, "shop", &MARIADB);
    heal(&postgres, "vitals", &POSTGRES);
}

fn heal(server: &Database, database: &str, faults: &[Fault]) {
    let url = server.url().replace("://vitals@", "://lesser@");
    let url = format!("{url}/{database}");
    for fault in faults {
        server.sql(fault.breaks);
        let check = || Finding::of(&url, &["--depth", fault.depth]);
        let finding = check();
        finding.assert_told(fault.told);
        let remedy = finding.text("remedy");
        for beginning in fault.statements {
            server.sql(statement(remedy, beginning));
        }
        check().assert_told("up, exit 0");
    }
}

/// The statement in a remedy that begins so, up to the words that go on with the sentence.
fn statement<'a>(remedy: &'a str, beginning: &str) -> &'a str {
    let start = remedy.find(beginning);
    let text = &remedy[start.unwrap_or_else(|| panic!("no {beginning} in: {remedy}"))..];
    let ends = [", after", ", or ", " (before", " where", " if ", "."];
    // A full stop also stands within names.
    let end = ends.iter().filter_map(|words| match *words {
        "." => text.ends_with('.').then(|| text.len() - 1),
        words => text.find(words),
    });
    &text[..end.min().unwrap_or(text.len())]
}
