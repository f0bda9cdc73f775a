//! What a remedy goes by: the target, and what the server said.

use dbvitals_probe::{Address, Protocol, Target};
use dbvitals_verdict::{Observation, Phase};

use crate::target_url::TargetUrl;

/// Whom it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(super) protocol: Protocol,
    address: &'a Address,
    user: Option<&'a str>,
    database: Option<&'a str>,
}

impl<'a> From<&'a TargetUrl> for Subject<'a> {
    fn from(target: &'a TargetUrl) -> Self {
        Self {
            protocol: target.protocol,
            address: &target.address,
            user: target.user.as_deref(),
            database: target.database.as_deref(),
        }
    }
}

impl<'a> From<&'a Target> for Subject<'a> {
    fn from(target: &'a Target) -> Self {
        let credentials = target.credentials.as_ref();
        Self {
            protocol: target.protocol,
            address: &target.address,
            user: credentials.map(|it| it.user.as_str()),
            database: credentials.and_then(|it| it.database.as_deref()),
        }
    }
}

/// One failed probe, as far as it matters for what to do.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) address: String,
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    pub(super) is_unix: bool,
    /// As it stands in a sentence.
    pub(super) user: &'a str,
    /// As the URL has it.
    pub(super) account: Option<&'a str>,
    pub(super) database: Option<&'a str>,
    pub(super) is_mariadb: Option<bool>,
    /// MySQL's number of the error; 0 where there is none.
    pub(super) number: u16,
    /// PostgreSQL's code of the error; empty where there is none.
    pub(super) sqlstate: &'a str,
    pub(super) detail: &'a str,
    /// The phase in which the probe ended short.
    pub(super) phase: Option<Phase>,
    /// A TLS handshake took place.
    pub(super) is_encrypted: bool,
    pub(super) words: Words,
}

/// What the products call things.
#[derive(Debug)]
pub(super) struct Words {
    /// The setting of the addresses to listen on.
    pub(super) listen_setting: &'static str,
    /// The names of the server's processes, as `ps -C` takes them.
    pub(super) processes: &'static str,
    /// How sessions are looked at.
    pub(super) sessions: &'static str,
    /// `openssl s_client`'s name of the protocol.
    pub(super) starttls: &'static str,
    /// How a renewed certificate is loaded.
    pub(super) reload_tls: &'static str,
    /// How TLS is enabled.
    pub(super) enable_tls: &'static str,
}

const MYSQL: Words = Words {
    listen_setting: "bind_address, skip_networking",
    processes: "mysqld,mariadbd",
    sessions: "SHOW FULL PROCESSLIST",
    starttls: "mysql",
    reload_tls: "FLUSH SSL on MariaDB, ALTER INSTANCE RELOAD TLS on MySQL",
    enable_tls: "ssl_cert and ssl_key",
};
const POSTGRES: Words = Words {
    listen_setting: "listen_addresses",
    processes: "postgres",
    sessions: "pg_stat_activity: wait_event, pg_blocking_pids(pid)",
    starttls: "postgres",
    reload_tls: "SELECT pg_reload_conf()",
    enable_tls: "ssl = on, ssl_cert_file and ssl_key_file",
};
const OPAQUE: Words = Words {
    listen_setting: "its setting of the addresses to listen on",
    processes: "NAME",
    sessions: "its own list of sessions",
    starttls: "NAME",
    reload_tls: "its own command",
    enable_tls: "its own settings",
};

impl<'a> Case<'a> {
    pub(super) fn new(target: Subject<'a>, observation: &'a Observation) -> Self {
        let detail = observation.detail.as_deref().unwrap_or_default();
        let (number, sqlstate) = match target.protocol {
            Protocol::MySql => (number(detail), ""),
            Protocol::Postgres => (0, sqlstate(detail)),
            Protocol::Opaque => (0, ""),
        };
        let failed = observation.phases.iter().find(|(.., failed)| *failed);
        let product = observation.server.as_ref().and_then(|facts| facts.product);
        let (is_unix, port) = match target.address {
            Address::Unix(_) => (true, None),
            Address::Tcp { port, .. } => (false, Some(*port)),
        };
        Self {
            address: target.address.to_string(),
            host: target.address.host(),
            port,
            is_unix,
            user: target.user.unwrap_or("the check's user"),
            account: target.user,
            database: target.database,
            is_mariadb: product.map(|product| product == "mariadb"),
            number,
            sqlstate,
            detail,
            phase: failed.map(|(phase, ..)| phase),
            is_encrypted: observation.phases.took(Phase::Tls).is_some(),
            words: match target.protocol {
                Protocol::MySql => MYSQL,
                Protocol::Postgres => POSTGRES,
                Protocol::Opaque => OPAQUE,
            },
        }
    }

    /// What stands between double quotes after these words in the server's text.
    pub(super) fn quoted_after(&self, words: &str) -> Option<&'a str> {
        let (_, rest) = self.detail.split_once(words)?;
        let (quoted, _) = rest.strip_prefix('"')?.split_once('"')?;
        Some(quoted)
    }
}

/// The refusal within a detail: some details say first what it kept from happening.
fn refusal(detail: &str) -> &str {
    detail
        .split_once("cannot be made: ")
        .map_or(detail, |(_, refusal)| refusal)
}

/// MySQL's number, from "1045 (28000): Access denied …" or "1040: Too many connections".
fn number(detail: &str) -> u16 {
    let refusal = refusal(detail);
    let end = refusal.find(|letter: char| !letter.is_ascii_digit());
    let (digits, rest) = refusal.split_at(end.unwrap_or_default());
    match rest.starts_with(" (") || rest.starts_with(": ") {
        true => digits.parse().unwrap_or_default(),
        false => 0,
    }
}

/// The SQLSTATE, from "28P01: password authentication failed …".
fn sqlstate(detail: &str) -> &str {
    let is_code = |code: &&str| {
        let mut letters = code.bytes();
        code.len() == 5 && letters.all(|it| it.is_ascii_uppercase() || it.is_ascii_digit())
    };
    let code = refusal(detail).split_once(": ").map(|(code, _)| code);
    code.filter(is_code).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_from_the_servers_words_alone() {
        assert_eq!(number("1045 (28000): Access denied for user"), 1045);
        assert_eq!(number("1040: Too many connections"), 1040);
        assert_eq!(number("the table cannot be made: 1142 (42000): no"), 1142);
        assert_eq!(number("1045"), 0);
        assert_eq!(number("3 s behind"), 0);
        assert_eq!(number("99999: too high"), 0);
        assert_eq!(number(""), 0);
    }

    #[test]
    fn an_sqlstate_is_five_letters_or_digits() {
        assert_eq!(sqlstate("28P01: password authentication failed"), "28P01");
        assert_eq!(sqlstate("the table cannot be made: 42501: no"), "42501");
        assert_eq!(sqlstate("never: mind"), "");
        assert_eq!(sqlstate("Connection refused"), "");
    }
}
