//! The scripted server at work: any number of backends on one port, each at an address of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use dbvitals_testkit::{TestAuthority, Validity};

use crate::bench::Bench;
use crate::child::Child;

/// The protocol that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    MySql,
    Postgres,
}

impl Protocol {
    /// As URLs and the peers' arguments have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::Postgres => "postgres",
        }
    }

    /// The URL by which `vitals` logs in at an address.
    pub(crate) fn url(self, address: &str) -> String {
        let database = match self {
            Self::MySql => "",
            Self::Postgres => "vitals",
        };
        format!("{}://vitals@{address}/{database}", self.name())
    }
}

/// A server that lets everybody in and answers every ping.
pub(crate) struct Scripted {
    child: Child,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

impl Scripted {
    /// Starts it; it answers at all addresses of the loopback range.
    pub(crate) fn start(bench: &Bench, protocol: Protocol) -> anyhow::Result<Self> {
        Self::run(bench.peers.command("server"), protocol, &[])
    }

    /// The same, with TLS for whoever asks for it.
    pub(crate) fn start_with_tls(bench: &Bench, protocol: Protocol) -> anyhow::Result<Self> {
        let authority = TestAuthority::new();
        let files = authority.issue(&["127.0.0.1"], Validity::Current);
        // They may vanish once the port is told.
        let server = bench.peers.command("server");
        Self::run(server, protocol, &[files.certificate, files.key])
    }

    fn run(mut command: Command, protocol: Protocol, tls: &[PathBuf]) -> anyhow::Result<Self> {
        let mut child = Child::start(command.arg(protocol.name()).args(tls))?;
        let port = child.line()?.parse().context("it tells its port")?;
        Ok(Self {
            child,
            port,
            protocol,
        })
    }

    /// The address of the backend with this number: one in 127.1.0.0/16.
    pub(crate) fn address(&self, number: u32) -> String {
        format!("127.1.{}.{}:{}", number / 250, number % 250 + 1, self.port)
    }

    /// How many pings it has answered so far.
    pub(crate) fn pings(&mut self) -> anyhow::Result<u64> {
        Ok(self.child.ask("pings")?.parse()?)
    }

    /// How many sessions it has now.
    pub(crate) fn sessions(&mut self) -> anyhow::Result<u64> {
        Ok(self.child.ask("sessions")?.parse()?)
    }
}
