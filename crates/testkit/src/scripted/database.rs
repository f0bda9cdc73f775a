//! A database that is none: it speaks the real protocol, lets `vitals` in, and has moods.
//!
//! The bytes are those of `dbvitals-wire`'s server; what is scripted is when they are said, and
//! whether. Plain threads and blocking sockets, one thread per connection; dropping a
//! [`ScriptedDatabase`] closes its port and ends its sessions, as a crash would, and joins them.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dbvitals_wire::{Authentication, Request, Server, ServerOptions, mysql};
use rustix::net::sockopt::set_socket_linger;

use super::fill_accept_queue;
use crate::shared::Port;

/// The accept queue's limit as long as nothing is wrong with it.
const BACKLOG: i32 = 128;

/// The protocol that a scripted database speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// MySQL's and MariaDB's.
    MySql,
    /// PostgreSQL's.
    Postgres,
}

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Moment {
    /// The first words: MySQL's greeting, PostgreSQL's request for a password.
    Greeting,
    /// The TLS handshake, which the server has agreed to.
    Tls,
    /// The answer to the password.
    Login,
    /// The answer to a ping or a statement.
    Command,
}

/// How a scripted database behaves, from now on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mood {
    /// It answers at once.
    Fine,
    /// It takes so long for each answer.
    Slow(Duration),
    /// It sends its answers byte by byte, with this pause between two.
    Trickling(Duration),
    /// It accepts connections, reads, and says nothing from this moment on.
    SilentFrom(Moment),
    /// It closes each new connection at once, in order (FIN).
    Closing,
    /// It aborts each new connection at once (RST).
    Resetting,
    /// It refuses new sessions in place of a greeting, with an error number or a SQLSTATE.
    Refusing(&'static str),
    /// It lets sessions in and refuses each command, with an error number or a SQLSTATE.
    RefusingCommands(&'static str),
}

/// A server of either protocol that lets `vitals` in with the password `secret`.
#[derive(Debug)]
pub struct ScriptedDatabase {
    stage: Arc<Stage>,
    listener: Arc<TcpListener>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
    _port: Arc<Port>,
}

/// What the owner and the connections' threads share.
#[derive(Debug)]
struct Stage {
    dialect: Dialect,
    play: Mutex<Play>,
    changed: Condvar,
}

#[derive(Debug)]
struct Play {
    mood: Mood,
    /// PostgreSQL: it replays another's log.
    standby: bool,
    ended: bool,
    /// Whether connections are left to the kernel.
    presence: Presence,
    /// Our own connections that fill the accept queue then.
    fillers: Vec<TcpStream>,
    streams: Vec<Weak<TcpStream>>,
}

/// Whether the acceptor does its work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Presence {
    Accepting,
    /// It is to take no further connection.
    Leaving,
    Absent,
}

impl ScriptedDatabase {
    /// Starts a database in good mood on 127.0.0.1; it takes connections when this returns.
    ///
    /// # Panics
    ///
    /// Panics when it cannot listen.
    #[must_use]
    pub fn start(dialect: Dialect) -> Self {
        Self::start_at(
            dialect,
            Ipv4Addr::LOCALHOST.into(),
            &Arc::new(Port::reserve()),
        )
    }

    /// Starts a database at an address and a port of the caller's; several may share the port.
    ///
    /// # Panics
    ///
    /// Panics when it cannot listen.
    #[must_use]
    pub fn start_at(dialect: Dialect, host: IpAddr, port: &Arc<Port>) -> Self {
        let address = SocketAddr::new(host, port.number());
        let listener = Arc::new(port.listen(host));
        let stage = Arc::new(Stage {
            dialect,
            play: Mutex::new(Play {
                mood: Mood::Fine,
                standby: false,
                ended: false,
                presence: Presence::Accepting,
                fillers: Vec::new(),
                streams: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let (shared, accepting) = (Arc::clone(&stage), Arc::clone(&listener));
        Self {
            stage,
            listener,
            address,
            acceptor: Some(thread::spawn(move || accept(&shared, &accepting))),
            _port: Arc::clone(port),
        }
    }

    /// Returns the address the database listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the mood, for open sessions too.
    pub fn switch(&self, mood: Mood) {
        self.stage.play().mood = mood;
        self.stage.changed.notify_all();
    }

    /// Makes a PostgreSQL database a standby, or promotes it to a primary, which it is at first, for
    /// whoever asks `pg_is_in_recovery()`; open sessions stay.
    pub fn take_role(&self, standby: bool) {
        self.stage.play().standby = standby;
    }

    /// Closes every open session.
    pub fn end_sessions(&self) {
        let streams = std::mem::take(&mut self.stage.play().streams);
        for stream in streams.iter().filter_map(Weak::upgrade) {
            // The client may have been faster.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Stops accepting and fills the accept queue: the kernel drops every attempt to connect,
    /// while open sessions are answered, until [`empty_queue`](Self::empty_queue).
    ///
    /// # Panics
    ///
    /// Panics when the queue does not fill up.
    pub fn fill_queue(&self) {
        self.stage.play().presence = Presence::Leaving;
        // Lets the acceptor see it: this connection is the last that it takes.
        let _ = TcpStream::connect(self.address);
        let here = |play: &mut Play| play.presence == Presence::Leaving && !play.ended;
        drop(
            self.stage
                .changed
                .wait_while(self.stage.play(), here)
                .unwrap_or_else(PoisonError::into_inner),
        );
        let fillers = fill_accept_queue(&self.listener, self.address);
        self.stage.play().fillers = fillers;
    }

    /// Accepts again after [`fill_queue`](Self::fill_queue).
    ///
    /// # Panics
    ///
    /// Panics when the queue cannot be made longer.
    pub fn empty_queue(&self) {
        rustix::net::listen(&self.listener, BACKLOG).expect("a listener can listen again");
        let mut play = self.stage.play();
        play.fillers.clear();
        play.presence = Presence::Accepting;
        self.stage.changed.notify_all();
    }

    /// Closes the port and every session, as a crash does, and leaves the joining for later.
    pub fn crash(&self) {
        // Wakes the acceptor from accept().
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        self.stage.play().ended = true;
        self.stage.changed.notify_all();
        self.end_sessions();
    }
}

impl Drop for ScriptedDatabase {
    fn drop(&mut self) {
        self.crash();
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Stage {
    fn play(&self) -> MutexGuard<'_, Play> {
        self.play.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mood(&self) -> Mood {
        self.play().mood
    }

    /// Rests; less long when the database is dropped.
    fn rest(&self, time: Duration) -> io::Result<()> {
        let waited = self
            .changed
            .wait_timeout_while(self.play(), time, |play| !play.ended);
        let (play, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match play.ended {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }
}

fn accept(stage: &Arc<Stage>, listener: &TcpListener) {
    let mut sessions: Vec<JoinHandle<()>> = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        sessions.retain(|session| !session.is_finished());
        let stream = Arc::new(stream);
        {
            let mut play = stage.play();
            if play.ended {
                break;
            }
            if play.presence == Presence::Leaving {
                play.presence = Presence::Absent;
                stage.changed.notify_all();
                let away = |play: &mut Play| play.presence == Presence::Absent && !play.ended;
                drop(stage.changed.wait_while(play, away));
                continue;
            }
            play.streams.retain(|stream| stream.strong_count() > 0);
            play.streams.push(Arc::downgrade(&stream));
        }
        let stage = Arc::clone(stage);
        sessions.push(thread::spawn(move || {
            // A client that is gone concerns nobody here.
            let _ = Session::new(&stage, &stream).run();
        }));
    }
    for session in sessions {
        let _ = session.join();
    }
}

/// One connection.
struct Session<'a> {
    stage: &'a Stage,
    stream: &'a TcpStream,
    /// What is to be said.
    out: Vec<u8>,
    moment: Moment,
}

impl<'a> Session<'a> {
    fn new(stage: &'a Stage, stream: &'a TcpStream) -> Self {
        Self {
            stage,
            stream,
            out: Vec::new(),
            moment: Moment::Greeting,
        }
    }

    fn run(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        match (self.stage.mood(), self.stage.dialect) {
            (Mood::Resetting, _) => set_socket_linger(self.stream, Some(Duration::ZERO))?,
            (Mood::Closing, _) => self.leave()?,
            (Mood::Refusing(code), Dialect::MySql) => {
                let number = code.parse().expect("MySQL's errors are numbers");
                mysql::Server::refuse(number, "refused by the script", &mut self.out);
                self.stream.write_all(&self.out)?;
                self.leave()?;
            }
            _ => self.converse()?,
        }
        Ok(())
    }

    /// Ends in order: unread bytes would turn the close into a reset.
    fn leave(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        self.ignore()
    }

    /// Reads and says nothing, until the client has enough.
    fn ignore(&mut self) -> io::Result<()> {
        io::copy(&mut self.stream, &mut io::sink()).map(drop)
    }

    fn converse(&mut self) -> io::Result<()> {
        let options = options(self.stage);
        let mut server = match self.stage.dialect {
            Dialect::MySql => Server::mysql(options, &mut self.out),
            Dialect::Postgres => Server::postgres(options),
        };
        let mut received = [0; 4096];
        loop {
            self.say()?;
            let length = self.stream.read(&mut received)?;
            if length == 0 {
                return Ok(());
            }
            let mut input = &received[..length];
            while let Some(request) = server.handle_input(&mut input, &mut self.out) {
                if !self.answer(&mut server, &request) {
                    self.say()?;
                    return self.leave();
                }
            }
        }
    }

    /// Answers a request; `false` ends the session.
    fn answer(&mut self, server: &mut Server, request: &Request) -> bool {
        let (mood, out) = (self.stage.mood(), &mut self.out);
        match (request, mood) {
            (Request::LoggedIn { .. }, Mood::Refusing(code)) => {
                out.clear();
                server.reply_error(code, "refused by the script", true, out);
                return false;
            }
            (Request::Ping | Request::Query(_), Mood::RefusingCommands(code)) => {
                self.moment = Moment::Command;
                server.reply_error(code, "refused by the script", true, out);
                return false;
            }
            (Request::StartTls, _) => self.moment = Moment::Tls,
            (Request::LoggedIn { .. } | Request::Denied { .. }, _) => self.moment = Moment::Login,
            (Request::Ping, _) => {
                self.moment = Moment::Command;
                server.reply_pong(out);
            }
            (Request::Query(sql), _) if sql.contains("pg_is_in_recovery()") => {
                self.moment = Moment::Command;
                let standby = self.stage.play().standby;
                let answer = if standby { "t" } else { "f" };
                server.reply_value("in_recovery", Some(answer), out);
            }
            (Request::Query(_), _) => {
                self.moment = Moment::Command;
                server.reply_value("answer", Some("1"), out);
            }
            (Request::Quit | Request::Other, _) => return false,
        }
        true
    }

    /// Says what there is to say, the way the mood has it.
    fn say(&mut self) -> io::Result<()> {
        let mood = self.stage.mood();
        let out = std::mem::take(&mut self.out);
        match mood {
            // PostgreSQL's agreement to TLS is said in the clear, before the handshake.
            Mood::SilentFrom(Moment::Tls) if self.moment == Moment::Tls => {
                self.stream.write_all(&out)?;
                self.ignore()
            }
            Mood::SilentFrom(from) if self.moment >= from => self.ignore(),
            Mood::Slow(delay) if !out.is_empty() => {
                self.stage.rest(delay)?;
                self.stream.write_all(&out)
            }
            Mood::Trickling(pause) => out.iter().try_for_each(|byte| {
                self.stream.write_all(&[*byte])?;
                self.stage.rest(pause)
            }),
            Mood::Fine
            | Mood::Slow(_)
            | Mood::SilentFrom(_)
            | Mood::Closing
            | Mood::Resetting
            | Mood::Refusing(_)
            | Mood::RefusingCommands(_) => self.stream.write_all(&out),
        }
    }
}

fn options(stage: &Stage) -> ServerOptions {
    let mood = stage.mood();
    let (version, authentication) = match (stage.dialect, mood) {
        (Dialect::MySql, _) => (
            "8.4.6-scripted",
            Authentication::MySqlNative("secret".into()),
        ),
        // Without a password to ask for, the first words can be a refusal.
        (Dialect::Postgres, Mood::Refusing(_)) => ("17.6", Authentication::Trust),
        (Dialect::Postgres, _) => ("17.6", Authentication::Md5("secret".into())),
    };
    let random = RandomState::new().build_hasher().finish().to_le_bytes();
    ServerOptions {
        version: version.to_owned(),
        session_id: 1,
        tls: mood == Mood::SilentFrom(Moment::Tls),
        authentication,
        // Salts without zero bytes, which MySQL's greeting cannot hold.
        entropy: std::array::from_fn(|at| random[at % random.len()] | 1),
        in_hot_standby: false,
    }
}
