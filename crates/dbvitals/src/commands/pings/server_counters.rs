//! What a server has counted by itself of what pings are, for `--compare-with`.
//!
//! A statement per source, each on a session of its own which is not held; a source that the user
//! may not read, or that the server does not keep, is told as such. What servers count, as tried on
//! MariaDB 10.11 and PostgreSQL 15:
//!
//! - performance_schema counts pings under TLS and compression too, and none that came after the
//!   session's end. It has to be on, and so has its instrument.
//! - Com_admin_commands is COM_PING and COM_RESET_CONNECTION together; everybody may read it.
//! - Digests and pg_stat_statements fold all statements that ask for one constant. MariaDB's digests
//!   lack the prepared ones, PostgreSQL's rows have them.
//! - Nobody counts the empty query and the lone Sync.

use std::sync::Arc;
use std::time::Duration;

use dbvitals_probe::{Protocol, Statement, TargetId};
use dbvitals_verdict::Depth;
use dbvitals_wire::{Answer, Row};

use crate::cli::PasswordArgs;
use crate::commands::{Asked, read_targets};
use crate::misuse::Misuse;
use crate::probing::Asker;
use crate::shared_parts::SharedParts;
use crate::target_url::TargetUrl;

/// Each statement may take so long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Something that a server counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    ComPing,
    ComStatistics,
    ComResetConnection,
    /// Com_admin_commands.
    AdminCommands,
    /// Statements that ask for one constant.
    Constants,
    /// Attempts to connect.
    Connections,
}

/// Where counters are read.
struct Source {
    name: &'static str,
    /// Names and values, a row each.
    sql: &'static str,
    /// Why it may have no rows, or no value in them.
    lack: &'static str,
}

const MYSQL: [Source; 3] = [
    Source {
        name: "SHOW GLOBAL STATUS",
        sql: "SHOW GLOBAL STATUS WHERE Variable_name IN ('Com_admin_commands','Connections','Uptime')",
        lack: "the server has no such counters",
    },
    Source {
        name: "performance_schema",
        sql: "SELECT e.event_name,e.count_star \
            FROM performance_schema.events_statements_summary_global_by_event_name e \
            JOIN performance_schema.setup_instruments i ON i.name=e.event_name \
            WHERE i.enabled='YES' AND e.event_name IN \
            ('statement/com/Ping','statement/com/Statistics','statement/com/Reset connection')",
        lack: "performance_schema is off, or its instruments statement/com/% are",
    },
    Source {
        name: "performance_schema's digests",
        // No such statement so far is a count as well.
        sql: "SELECT 'constants',IF((SELECT COUNT(*) FROM performance_schema.setup_consumers \
            WHERE enabled='YES' AND name IN ('global_instrumentation','statements_digest'))=2,\
            COALESCE(SUM(count_star),0),NULL) \
            FROM performance_schema.events_statements_summary_by_digest WHERE digest_text REGEXP \
            '^(SELECT|DO) ([(] )*[?]( [)])*( (AS )?[^ ]+)?( FROM DUAL)? *$'",
        lack: "performance_schema is off, or its consumer statements_digest is",
    },
];
const POSTGRES: [Source; 1] = [Source {
    name: "pg_stat_statements",
    sql: r"SELECT 'constants',CASE WHEN bool_or(query='<insufficient privilege>') THEN NULL
        ELSE coalesce(sum(calls) FILTER (WHERE query ~*
        '^(\s|/\*([^*]|\*[^/])*\*/)*select\s*[(]*\s*\$1\s*[)]*(\s+(as\s+)?\w+)?(\s|;|/\*([^*]|\*[^/])*\*/)*$'
        ),0) END FROM pg_stat_statements",
    lack: "the user may not see the statements of others: GRANT pg_read_all_stats",
}];

/// What a server's counters said at one time.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) values: Vec<(Counter, u64)>,
    /// Sources that said nothing, and why.
    pub(super) silent: Vec<(&'static str, String)>,
    /// For how long the server has been counting; `None` where it does not say.
    pub(super) seconds: Option<u64>,
}

impl Source {
    fn statement(&self) -> Arc<Statement> {
        Arc::new(Statement {
            sql: self.sql.to_owned(),
            equals: None,
        })
    }
}

impl Reading {
    /// What was counted after another reading; nothing where the server began anew in between.
    pub(super) fn since(mut self, before: &Self) -> Self {
        self.values.retain_mut(|(counter, value)| {
            let earlier = before.values.iter().find(|(it, _)| it == counter);
            earlier.is_some_and(|(_, earlier)| {
                *value = value.saturating_sub(*earlier);
                true
            })
        });
        self
    }
}

/// A server that is asked for its counters.
pub(super) struct ServerCounters {
    pub(super) url: TargetUrl,
    asker: Asker,
    sources: &'static [Source],
    /// Sessions of our own, which the server counts as well.
    sessions: u64,
}

impl ServerCounters {
    /// The server of a URL; nobody is asked yet.
    pub(super) fn of(url: &str, password: &PasswordArgs) -> anyhow::Result<Self> {
        let asked = Asked {
            depth: Some(Depth::Query),
            ..Asked::default()
        };
        let mut targets = read_targets(
            &[url.to_owned()],
            asked,
            password,
            &mut SharedParts::default(),
        )?;
        let Some((url, mut target, _)) = targets.pop() else {
            return Err(Misuse("--compare-with needs a server".to_owned()).into());
        };
        let sources: &[Source] = match url.protocol {
            Protocol::Postgres => &POSTGRES,
            // A protocol without statements was refused above.
            Protocol::MySql | Protocol::Opaque => &MYSQL,
        };
        target.keeps_answer = true;
        let asker = Asker::new(sources.iter().map(|source| {
            let mut target = target.clone();
            target.statement = Some(source.statement());
            target
        }))?;
        Ok(Self {
            url,
            asker,
            sources,
            sessions: 0,
        })
    }

    /// Asks all sources.
    pub(super) fn read(&mut self) -> anyhow::Result<Reading> {
        let mut reading = Reading::default();
        for (id, source) in (0..).map(TargetId).zip(self.sources) {
            self.sessions += 1;
            let observations = self.asker.ask(&[(id, Depth::Query)], TIMEOUT)?;
            let why = match self.asker.take_answer(id) {
                Some(answer) if self.note(&answer, &mut reading) => continue,
                Some(_) => source.lack.to_owned(),
                None => {
                    let detail = observations.first().and_then(|it| it.detail.as_deref());
                    detail.unwrap_or("no answer").to_owned()
                }
            };
            reading.silent.push((source.name, why));
        }
        self.asker.say_goodbyes()?;
        if reading.values.is_empty() {
            let why: Vec<_> = reading.silent.iter().map(|(_, why)| why.as_str()).collect();
            let name = &self.url.name;
            let why = why.join("; ");
            return Err(Misuse(format!("cannot read the counters of {name}: {why}")).into());
        }
        Ok(reading)
    }

    /// Takes note of a source's answer; says whether there was anything in it.
    fn note(&self, answer: &Answer, reading: &mut Reading) -> bool {
        let mut any = false;
        let rows = answer.tables().iter().flat_map(|table| table.rows());
        for (name, value) in rows.filter_map(named_value) {
            let counter = match name.to_ascii_lowercase().as_str() {
                "uptime" => {
                    reading.seconds = Some(value);
                    continue;
                }
                "com_admin_commands" => Counter::AdminCommands,
                "connections" => Counter::Connections,
                "statement/com/ping" => Counter::ComPing,
                "statement/com/statistics" => Counter::ComStatistics,
                "statement/com/reset connection" => Counter::ComResetConnection,
                "constants" => Counter::Constants,
                _ => continue,
            };
            let is_ours_too = counter == Counter::Connections;
            let own = if is_ours_too { self.sessions } else { 0 };
            reading.values.push((counter, value.saturating_sub(own)));
            any = true;
        }
        any
    }
}

/// A row of a name and a number.
fn named_value(row: Row<'_>) -> Option<(&str, u64)> {
    let mut values = row.values().map(|value| std::str::from_utf8(value?).ok());
    let name = values.next()??;
    Some((name, values.next()??.parse().ok()?))
}
