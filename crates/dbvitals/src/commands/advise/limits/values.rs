//! The names and values of an answer, and what they give away of who answers.
//!
//! They are a peer's words: bounded and cleaned as they are read, since some are shown.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use dbvitals_probe::Address;
use dbvitals_wire::Answer;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
/// Longer times are as good as this one, which can be calculated with.
const TIME_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Names and values, names in small letters.
pub(super) struct Values(BTreeMap<String, String>);

impl Values {
    pub(super) fn of(answer: &Answer) -> Self {
        let rows = answer.tables().iter().flat_map(|table| table.rows());
        let pairs = rows.filter_map(|row| {
            let mut words = row.words();
            Some((words.next()??.to_lowercase(), words.next()??))
        });
        Self(pairs.collect())
    }

    /// Whether the answer has a value of this name, be it that there is no limit.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A number above zero: zero, and PostgreSQL's -1, stand for no limit. MariaDB's and
    /// PgBouncer's times may have fractions.
    fn number(&self, name: &str) -> Option<f64> {
        let number: f64 = self.text(name)?.parse().ok()?;
        (number > 0.0).then_some(number)
    }

    pub(super) fn count(&self, name: &str) -> Option<u32> {
        // More than that many are as good as that many.
        let count = self.number(name)? as u32;
        (count > 0).then_some(count)
    }

    pub(super) fn time(&self, name: &str, unit: Duration) -> Option<Duration> {
        let seconds = self.number(name)? * unit.as_secs_f64();
        let time = Duration::try_from_secs_f64(seconds.min(TIME_MAX.as_secs_f64())).ok()?;
        (!time.is_zero()).then_some(time)
    }

    /// Whether the one who is reached is another one than the one who answers, as far as a kind of
    /// socket, a port, an address or a version shows it.
    pub(super) fn between(&self, greeted: Option<&str>, address: &Address) -> Option<String> {
        self.by_socket(address).or_else(|| self.by_version(greeted))
    }

    fn by_socket(&self, address: &Address) -> Option<String> {
        // MySQL tells where it listens, 0 if at a unix socket alone; PostgreSQL, where this very
        // session came in.
        let came_in = self.text("end_port");
        let end = came_in.or_else(|| self.text("port"))?;
        let end_port: Option<u16> = end.parse().ok();
        match (address, end_port) {
            (Address::Tcp { .. }, _) if matches!(end, "none" | "0") => {
                Some("a proxy: it has a unix socket to the server that answers".to_owned())
            }
            (Address::Tcp { port, .. }, Some(behind)) if *port != behind => Some(format!(
                "a proxy or a forwarded port: the server that answers is at port {behind}"
            )),
            (Address::Tcp { .. }, _) => self.by_address(address),
            (Address::Unix(_), Some(port)) if came_in.is_some() => Some(format!(
                "a proxy: the server that answers is reached at port {port}"
            )),
            (Address::Unix(_), _) => None,
        }
    }

    /// Of a name it is not known which address it led to.
    fn by_address(&self, address: &Address) -> Option<String> {
        let reached = address.ip().filter(|ip| !ip.is_unspecified())?;
        let end: IpAddr = self.text("end_address")?.parse().ok()?;
        (reached.to_canonical() != end.to_canonical())
            .then(|| format!("a proxy or a forwarded address: the server that answers is at {end}"))
    }

    fn by_version(&self, greeted: Option<&str>) -> Option<String> {
        let answers = self
            .text("version")
            .or_else(|| self.text("server_version"))?;
        let greeted = greeted?;
        // "15.1" is not "15.18", and "10.11.19" is "10.11.19-MariaDB-log".
        let rest = answers.strip_prefix(greeted);
        let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if rest.is_some_and(|rest| !goes_on(rest)) {
            return None;
        }
        Some(format!(
            "a proxy: it greets as {greeted}, and {answers} answers"
        ))
    }
}
