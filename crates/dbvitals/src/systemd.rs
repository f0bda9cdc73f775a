//! What systemd is told: that the agent is ready, alive, reloading, ending, and how things are; and
//! what it is given to keep.
//!
//! The protocol is a datagram of `KEY=value` lines to the socket that `NOTIFY_SOCKET` names, see
//! sd_notify(3). That is all there is to it, so no library is used. Without that variable nothing
//! happens. Nothing waits: where systemd does not listen, a message is lost.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use dbvitals_verdict::Verdict;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::MissedTickBehavior;

use crate::agent::board::Board;

/// How often the agent looks whether it has something to say, where no watchdog asks for more.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The way to systemd, where it started this process.
#[derive(Debug, Default)]
pub(crate) struct Systemd {
    socket: Option<UnixDatagram>,
    /// After how long without a sign of life systemd ends the process.
    watchdog: Option<Duration>,
}

impl Systemd {
    /// As the environment says.
    pub(crate) fn from_environment() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|path| connect(&path));
        Self {
            socket,
            watchdog: watchdog(env::var_os("WATCHDOG_USEC"), env::var_os("WATCHDOG_PID")),
        }
    }

    /// Says that the agent has started, or has reloaded.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Says that the configuration is being read again; [`ready`](Self::ready) ends that. Since
    /// version 253 systemd can wait for it, and then compares the time with its own request's.
    pub(crate) fn reloading(&self) {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(tv_sec) * 1_000_000 + i128::from(tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Whether systemd, or somebody in its place, listens.
    pub(crate) fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Gives a descriptor to keep and to pass to the next agent, if the unit has a
    /// `FileDescriptorStoreMax`. It is not to be polled: a socket that was shut down would be
    /// dropped as ended.
    pub(crate) fn store(&self, name: &str, descriptor: BorrowedFd<'_>) {
        let Some(socket) = &self.socket else {
            return;
        };
        let message = format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let words = [IoSlice::new(message.as_bytes())];
        if let Err(error) = sendmsg(socket, &words, &mut ancillary, SendFlags::empty()) {
            tracing::error!(name, %error, "systemd cannot be given a socket to keep");
        }
    }

    /// Has a descriptor kept no longer.
    pub(crate) fn forget(&self, name: &str) {
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }

    /// Says that the agent ends, and how long that may take.
    pub(crate) fn stopping(&self, within: Duration) {
        let micros = within.as_micros();
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}"));
    }

    /// Gives a sign of life.
    pub(crate) fn watchdog(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Says in one line how things are.
    pub(crate) fn status(&self, text: &str) {
        self.tell(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// Gives signs of life as long as every event loop turns, and says how the backends are, for
    /// ever. A loop that hangs ends the signs of life, and systemd the process.
    pub(crate) async fn attend(self: Arc<Self>, board: Arc<Board>) {
        if self.socket.is_none() {
            return;
        }
        // Twice as often as systemd asks for, as sd_watchdog_enabled(3) wants it.
        let every = self
            .watchdog
            .map_or(LOOK_EVERY, |it| (it / 2).min(LOOK_EVERY));
        let mut looks = tokio::time::interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = String::new();
        loop {
            looks.tick().await;
            self.look(&board, board.is_alive(), &mut told);
        }
    }

    /// One look: a sign of life, if the loops gave theirs, and the status, if it changed.
    fn look(&self, board: &Board, alive: bool, told: &mut String) {
        if alive && self.watchdog.is_some() {
            self.watchdog();
        }
        let status = match alive {
            true => summary(board),
            false => "an event loop does not turn".to_owned(),
        };
        if status != *told {
            self.status(&status);
            *told = status;
        }
    }

    fn tell(&self, message: &str) {
        if let Some(socket) = &self.socket {
            // A systemd that does not read has other troubles than this message.
            let _ = socket.send(message.as_bytes());
        }
    }
}

/// Opens the socket that systemd named: a path, or a name in the abstract namespace after an `@`.
fn connect(name: &OsStr) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok()?,
        [b'/', ..] => SocketAddr::from_pathname(name).ok()?,
        _ => return None,
    };
    socket.connect_addr(&address).ok()?;
    Some(socket)
}

/// The watchdog's time, if it is meant for this process.
fn watchdog(micros: Option<OsString>, pid: Option<OsString>) -> Option<Duration> {
    let own = std::process::id().to_string();
    if pid.is_some_and(|pid| pid != *own) {
        return None;
    }
    let micros: u64 = micros?.to_str()?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros))
}

/// `3 backends: 2 up, 1 down (orders-2)`; whatever is not up is named, as far as a line goes.
fn summary(board: &Board) -> String {
    let backends = board.backends();
    let mut parts = Vec::new();
    for verdict in [
        Verdict::Up,
        Verdict::Degraded,
        Verdict::Down,
        Verdict::Unknown,
    ] {
        let those = backends
            .iter()
            .filter(|it| it.standing().verdict == verdict);
        let names: Vec<_> = those.map(|it| &*it.name).collect();
        let few = verdict != Verdict::Up && names.len() <= 3;
        match names.len() {
            0 => {}
            count if few => parts.push(format!("{count} {verdict} ({})", names.join(", "))),
            count => parts.push(format!("{count} {verdict}")),
        }
    }
    format!("watching {}: {}", backends.len(), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use dbvitals_probe::Clock;

    use super::*;

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 4096];
        let mut messages = Vec::new();
        while let Ok(length) = socket.recv(&mut buffer) {
            messages.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        messages
    }

    fn pair(watchdog: Option<Duration>) -> (Systemd, UnixDatagram) {
        let (socket, other) = UnixDatagram::pair().unwrap();
        other.set_nonblocking(true).unwrap();
        let socket = Some(socket);
        (Systemd { socket, watchdog }, other)
    }

    #[test]
    fn messages_are_as_systemd_reads_them() {
        let (systemd, other) = pair(None);
        systemd.ready();
        systemd.stopping(Duration::from_secs(2));
        systemd.status("two\nlines");
        systemd.reloading();
        let heard = heard(&other);
        let expected = [
            "READY=1",
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000",
            "STATUS=two lines",
        ];
        assert_eq!(heard[..3], expected);
        let micros = heard[3].strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        assert!(micros.unwrap().parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn a_watchdog_is_for_the_process_that_it_names() {
        let text = |text: &str| Some(OsString::from(text));
        let own = std::process::id().to_string();
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(text("1000000"), None), second);
        assert_eq!(watchdog(text("1000000"), text(&own)), second);
        assert_eq!(watchdog(text("1000000"), text("1")), None);
        assert_eq!(watchdog(text("soon"), None), None);
        assert_eq!(watchdog(None, None), None);
    }

    #[test]
    fn the_socket_may_have_a_path_or_an_abstract_name() {
        let name = format!("dbvitals-{}-systemd", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let other = UnixDatagram::bind_addr(&address).unwrap();
        other.set_nonblocking(true).unwrap();
        let socket = connect(OsStr::new(&format!("@{name}")));
        Systemd {
            socket,
            watchdog: None,
        }
        .ready();
        assert_eq!(heard(&other), ["READY=1"]);
        assert!(connect(OsStr::new("nowhere")).is_none());
    }

    #[test]
    fn a_loop_that_hangs_ends_the_signs_of_life() {
        let board = Board::new(Clock::start());
        let (systemd, other) = pair(Some(Duration::from_secs(4)));
        let mut told = String::new();
        for alive in [true, true, false, false, true] {
            systemd.look(&board, alive, &mut told);
        }
        let watching = "STATUS=watching 0: ";
        let expected = [
            "WATCHDOG=1",
            watching,
            "WATCHDOG=1",
            "STATUS=an event loop does not turn",
            "WATCHDOG=1",
            watching,
        ];
        assert_eq!(heard(&other), expected);
    }
}
