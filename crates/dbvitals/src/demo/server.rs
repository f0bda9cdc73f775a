//! A database server that is none: it speaks the protocol, knows one statement and has moods.
//!
//! Each lives in a thread with a runtime of its own, so that its troubles never slow the agent
//! down. What a mood looks like from outside is what the real thing looks like: a crash closes the
//! listener before it resets the sessions, a freeze leaves accepting to the kernel.

mod session;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dbvitals_probe::Protocol;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::task::JoinSet;

use crate::demo::port::Port;
use crate::demo::server::session::Session;

/// Sessions that a server admits at one time, whatever its mood; more wait for the kernel.
const SESSIONS_MAX: usize = 64;
/// The pause before a restart that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// How a server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It answers at once; after a crash, it was started again.
    Fine,
    /// It takes so long for each answer.
    Slow(Duration),
    /// It admits no new session; those that it has go on.
    Full,
    /// Its process is stopped: nobody accepts, reads or answers, but the kernel still connects.
    Frozen,
    /// Its process is gone: nobody listens, and all sessions are reset.
    Crashed,
    /// It answers that it takes no writes.
    ReadOnly,
}

impl Mood {
    /// The name in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Slow(_) => "slow",
            Self::Full => "full",
            Self::Frozen => "frozen",
            Self::Crashed => "crashed",
            Self::ReadOnly => "read_only",
        }
    }
}

/// The protocol that a server speaks, and what goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    MySql,
    Postgres,
}

impl Dialect {
    /// The product's name as people write it.
    pub(crate) const fn product(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::Postgres => "PostgreSQL",
        }
    }

    pub(crate) const fn protocol(self) -> Protocol {
        match self {
            Self::MySql => Protocol::MySql,
            Self::Postgres => Protocol::Postgres,
        }
    }

    /// The statement that asks whether writes are refused: the one that a server knows.
    pub(crate) const fn read_only_statement(self) -> &'static str {
        match self {
            Self::MySql => "SELECT @@global.read_only",
            Self::Postgres => "SHOW transaction_read_only",
        }
    }

    /// The answer to it.
    pub(crate) const fn read_only_answer(self, read_only: bool) -> &'static str {
        match (self, read_only) {
            (Self::MySql, false) => "0",
            (Self::MySql, true) => "1",
            (Self::Postgres, false) => "off",
            (Self::Postgres, true) => "on",
        }
    }
}

/// A running server; dropping it ends it, with its thread.
#[derive(Debug)]
pub(crate) struct FakeServer {
    address: SocketAddr,
    // Dropped in this order: nobody's mood can change any more, so the thread ends; then it is
    // waited for.
    mood: watch::Sender<Mood>,
    _thread: Joined,
}

impl FakeServer {
    /// Starts a server in good mood; it listens when this returns.
    pub(crate) fn start(dialect: Dialect) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let port = Port::reserve()?;
        let address = port.address();
        let (mood, watched) = watch::channel(Mood::Fine);
        let life = Life {
            dialect,
            port,
            mood: watched,
            sessions_begun: 0,
        };
        let listener = {
            let _inside = runtime.enter();
            life.try_listen()?
        };
        let thread = thread::Builder::new()
            .name(format!("fake-{}", dialect.product()))
            .spawn(move || {
                let Err(RecvError { .. }) = runtime.block_on(life.run(listener));
            })?;
        Ok(Self {
            address,
            mood,
            _thread: Joined(Some(thread)),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the mood, from now on.
    pub(crate) fn switch(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

/// A thread that is waited for when dropped.
#[derive(Debug)]
struct Joined(Option<JoinHandle<()>>);

impl Drop for Joined {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // A server that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// What goes on in a server's thread.
struct Life {
    dialect: Dialect,
    port: Port,
    mood: watch::Receiver<Mood>,
    sessions_begun: u32,
}

impl Life {
    /// Crashes and restarts as the mood says, until the owner is gone.
    async fn run(mut self, mut listener: TcpListener) -> Result<Infallible, RecvError> {
        loop {
            self.run_until_crash(listener).await?;
            self.mood.wait_for(|mood| *mood != Mood::Crashed).await?;
            listener = self.listen().await;
        }
    }

    /// One process, from its start to its crash.
    async fn run_until_crash(&mut self, listener: TcpListener) -> Result<(), RecvError> {
        let mut sessions = JoinSet::new();
        loop {
            let mood = *self.mood.borrow_and_update();
            if mood == Mood::Crashed {
                // In this order, or a session could still be opened while others are reset.
                drop(listener);
                sessions.shutdown().await;
                return Ok(());
            }
            let accepts = mood != Mood::Frozen && sessions.len() < SESSIONS_MAX;
            tokio::select! {
                biased;
                changed = self.mood.changed() => changed?,
                Some(_) = sessions.join_next() => {}
                Ok((stream, _)) = listener.accept(), if accepts => {
                    if let Ok(session) = self.begin_session(stream) {
                        sessions.spawn(session.run());
                    }
                }
            }
        }
    }

    fn begin_session(&mut self, stream: TcpStream) -> io::Result<Session> {
        // Unless it comes to its own end, a session ends by a reset, as when a process is killed
        // with unread bytes in its sockets.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        stream.set_nodelay(true)?;
        self.sessions_begun = self.sessions_begun.wrapping_add(1);
        Ok(Session::new(
            stream,
            self.dialect,
            self.sessions_begun,
            self.mood.clone(),
        ))
    }

    async fn listen(&self) -> TcpListener {
        loop {
            match self.try_listen() {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(RETRY_AFTER).await,
            }
        }
    }

    fn try_listen(&self) -> io::Result<TcpListener> {
        TcpListener::from_std(self.port.listen()?)
    }
}
