//! Those who watch a server, and what they say when they notice that something is wrong with it.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::bail;
use dbvitals_testkit::Network;

use super::fault::Fault;
use super::{Case, TIMEOUT};
use crate::agent;
use crate::bench::Bench;
use crate::child::Child;
use crate::clock;
use crate::haproxy;
use crate::pgpool;
use crate::scripted::Protocol;

/// How long a watcher may take until it knows that all is well.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// One who watches.
pub(super) struct Watcher {
    pub(super) name: &'static str,
    /// Says that all is well; of others it is taken for granted.
    is_ready: Option<fn(&str) -> bool>,
    notices: fn(&str, Fault) -> bool,
    /// Ends with this value.
    _child: Child,
    heard: Receiver<(Instant, String)>,
}

/// What is watched: a server at an address of its network.
struct Place<'a> {
    bench: &'a Bench,
    case: Case,
    address: String,
    network: &'a Network,
}

/// Starts all who watch a server, and waits until they know that all is well.
pub(super) fn start_all(
    bench: &Bench,
    case: Case,
    address: String,
    network: &Network,
) -> anyhow::Result<Vec<Watcher>> {
    let place = Place {
        bench,
        case,
        address,
        network,
    };
    let mut watchers = vec![place.ours()?, place.haproxy()?];
    if case.protocol == Protocol::Postgres {
        watchers.push(place.pgpool()?);
    }
    for watcher in &watchers {
        watcher.wait_until_ready()?;
    }
    Ok(watchers)
}

impl Place<'_> {
    /// A name for the files of those who watch here.
    fn name(&self) -> String {
        format!("verdict-{}", self.address.replace(':', "-"))
    }

    fn ours(&self) -> anyhow::Result<Watcher> {
        let Case {
            interval, protocol, ..
        } = self.case;
        let sections = format!(
            "[defaults]\ninterval = \"{interval:?}\"\ntimeout = \"{TIMEOUT:?}\"\n\n\
             [backend.db]\nurl = {:?}\n",
            protocol.url(&self.address),
        );
        let configuration = agent::write(self.bench, &self.name(), "off", &sections)?;
        let mut words = agent::words(self.bench, &configuration);
        words.push("--json".to_owned());
        self.watch(
            "dbvitals",
            &words,
            Some(|line| line.contains("\"to\":\"up\"")),
            |line, fault| {
                line.contains(match fault {
                    Fault::Full => "\"to\":\"degraded\"",
                    Fault::Crash | Fault::Freeze | Fault::BlackHole => "\"to\":\"down\"",
                })
            },
        )
    }

    fn haproxy(&self) -> anyhow::Result<Watcher> {
        let option = match self.case.protocol {
            Protocol::MySql => "mysql-check user vitals",
            Protocol::Postgres => "pgsql-check user vitals",
        };
        let inter_ms = self.case.interval.as_millis();
        let pace = format!("inter {inter_ms}ms fastinter 200ms fall 2 rise 2");
        let addresses = [self.address.clone()];
        let words = haproxy::checking(self.bench, &self.name(), option, &pace, &addresses)?;
        self.watch("HAProxy, fastinter", &words, None, |line, _| {
            line.contains(" is DOWN")
        })
    }

    fn pgpool(&self) -> anyhow::Result<Watcher> {
        let seconds = self.case.interval.as_secs();
        let addresses = [self.address.clone()];
        let configuration = pgpool::configure(self.bench, &self.name(), &addresses, seconds)?;
        self.watch(
            "pgpool",
            &pgpool::words(&configuration),
            Some(|line| line.contains("successfully started")),
            |line, _| line.contains("degenerate backend request"),
        )
    }

    fn watch(
        &self,
        name: &'static str,
        words: &[String],
        is_ready: Option<fn(&str) -> bool>,
        notices: fn(&str, Fault) -> bool,
    ) -> anyhow::Result<Watcher> {
        let mut command = self.network.command("sh");
        command.args(["-c", "exec \"$@\" 2>&1", "sh"]).args(words);
        let mut child = Child::start(&mut command)?;
        Ok(Watcher {
            name,
            is_ready,
            notices,
            heard: child.heard()?,
            _child: child,
        })
    }
}

impl Watcher {
    fn wait_until_ready(&self) -> anyhow::Result<()> {
        let Some(is_ready) = self.is_ready else {
            return Ok(());
        };
        let until = clock::now() + READY_WITHIN;
        let mut all = String::new();
        loop {
            match self.next(until) {
                Ok((_, line)) if is_ready(&line) => return Ok(()),
                Ok((_, line)) => all.push_str(&(line + "\n")),
                Err(_) => bail!("{} is not ready, and said:\n{all}", self.name),
            }
        }
    }

    /// How long after its beginning it has noticed the fault; `None` where it has not.
    pub(super) fn verdict(&self, fault: Fault, begun: Instant, until: Instant) -> Option<Duration> {
        loop {
            let (at, line) = self.next(until).ok()?;
            if at >= begun && (self.notices)(&line, fault) {
                return Some(at - begun);
            }
        }
    }

    fn next(&self, until: Instant) -> Result<(Instant, String), RecvTimeoutError> {
        let left = until.saturating_duration_since(clock::now());
        self.heard.recv_timeout(left)
    }
}
