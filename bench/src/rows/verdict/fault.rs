//! What goes wrong with a server, when that begins, and what is aimed at.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use dbvitals_testkit::{Network, RealServer};
use rustix::process::{Pid, Signal, kill_process};

use super::TIMEOUT;
use crate::clock;
use crate::real;
use crate::scripted::Protocol;

/// The default of dbvitals, after which it looks whether new sessions are let in.
const FRESH_INTERVAL: Duration = Duration::from_secs(30);
/// How long newcomers press into a full server: others may just have left it.
const PRESSING: Duration = Duration::from_millis(300);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Crash,
    Freeze,
    BlackHole,
    Full,
}

impl Fault {
    pub(super) const ALL: [Self; 4] = [Self::Crash, Self::Freeze, Self::BlackHole, Self::Full];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crash => "SIGKILL",
            Self::Freeze => "SIGSTOP",
            Self::BlackHole => "black hole",
            Self::Full => "full",
        }
    }

    /// What is aimed at, every time.
    pub(super) fn goal(self, interval: Duration) -> Option<Duration> {
        match self {
            Self::Crash => Some(Duration::from_millis(15)),
            Self::Freeze | Self::BlackHole => Some(interval + TIMEOUT + Duration::from_millis(50)),
            Self::Full => None,
        }
    }

    /// After how long nobody is waited for.
    pub(super) fn bound(self, interval: Duration) -> Duration {
        match self {
            Self::Full => FRESH_INTERVAL.max(2 * interval) + Duration::from_secs(5),
            Self::Crash | Self::Freeze | Self::BlackHole => 2 * interval + Duration::from_secs(8),
        }
    }

    /// Has it happen; answers with the moment just before it began. What only lasts as long as the
    /// guests do, ends with the crowd.
    pub(super) fn begin(
        self,
        server: &dyn RealServer,
        network: &Network,
        crowd: &mut Crowd,
    ) -> anyhow::Result<Instant> {
        Ok(match self {
            Self::Crash => {
                let begun = signal_all(server, Signal::KILL)?;
                server.kill();
                begun
            }
            Self::Freeze => {
                let begun = signal_all(server, Signal::STOP)?;
                server.freeze();
                begun
            }
            Self::BlackHole => {
                let begun = clock::now();
                network.black_hole();
                begun
            }
            Self::Full => crowd.fill(server)?,
        })
    }
}

/// Sends a signal to all processes of a server at once: who they are is found out before. One that
/// was begun meanwhile is left to the testkit.
fn signal_all(server: &dyn RealServer, signal: Signal) -> anyhow::Result<Instant> {
    let ids = real::tree(server.pid())?;
    let ids = ids.into_iter().map(u32::cast_signed);
    let processes: Vec<_> = ids.filter_map(Pid::from_raw).collect();
    let begun = clock::now();
    for process in processes {
        // It may have ended meanwhile.
        let _ = kill_process(process, signal);
    }
    Ok(begun)
}

/// Guests of a server who say no more than they must, over its unix socket.
pub(super) struct Crowd {
    protocol: Protocol,
    guests: Vec<UnixStream>,
}

impl Crowd {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            guests: Vec::new(),
        }
    }

    /// Takes all places; answers when the first guest was refused.
    fn fill(&mut self, server: &dyn RealServer) -> anyhow::Result<Instant> {
        let socket = match self.protocol {
            Protocol::MySql => "mysql.sock".to_owned(),
            Protocol::Postgres => format!(".s.PGSQL.{}", server.port()),
        };
        let socket = server.directory().join(socket);
        let mut full_since = None;
        while full_since.is_none_or(|since: Instant| since.elapsed() < PRESSING) {
            let mut guest = UnixStream::connect(&socket).context("it listens there")?;
            if self.is_let_in(&mut guest)? {
                self.guests.push(guest);
            } else {
                full_since.get_or_insert_with(clock::now);
                thread::sleep(Duration::from_millis(5));
            }
        }
        full_since.context("it is full now")
    }

    fn is_let_in(&self, guest: &mut UnixStream) -> anyhow::Result<bool> {
        const STARTUP: &[u8] = b"\0\0\0\x2b\0\x03\0\0user\0vitals_trust\0database\0vitals\0\0";
        let mut said = [0; 5];
        if self.protocol == Protocol::Postgres {
            guest.write_all(STARTUP)?;
        }
        guest.read_exact(&mut said)?;
        Ok(match self.protocol {
            Protocol::MySql => said[4] != 0xff,
            Protocol::Postgres => said[0] == b'R',
        })
    }
}
