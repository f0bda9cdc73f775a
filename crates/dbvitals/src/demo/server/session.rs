//! One session of a server: answers a ping and one statement, as the server's mood allows.

use std::io;

use dbvitals_wire::{Authentication, Request, Server, ServerOptions, mysql};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{Dialect, Mood};

/// A session with one client.
pub(super) struct Session {
    stream: TcpStream,
    dialect: Dialect,
    id: u32,
    mood: watch::Receiver<Mood>,
    /// What is to be sent.
    out: Vec<u8>,
}

/// What follows a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

impl Session {
    pub(super) fn new(
        stream: TcpStream,
        dialect: Dialect,
        id: u32,
        mood: watch::Receiver<Mood>,
    ) -> Self {
        Self {
            stream,
            dialect,
            id,
            mood,
            out: Vec::new(),
        }
    }

    /// Serves the client until one of the two ends it.
    pub(super) async fn run(mut self) {
        // A client that is gone concerns nobody here.
        if self.converse().await.is_ok() {
            // It came to its own end: no reset.
            let _ = SockRef::from(&self.stream).set_linger(None);
        }
    }

    async fn converse(&mut self) -> io::Result<()> {
        if self.dialect == Dialect::MySql && self.mood() == Mood::Full {
            // MySQL refuses before it says who it is.
            mysql::Server::refuse(1040, "Too many connections", &mut self.out);
            return self.send().await;
        }
        let options = options(self.dialect, self.id);
        let mut server = match self.dialect {
            Dialect::MySql => Server::mysql(options, &mut self.out),
            Dialect::Postgres => Server::postgres(options),
        };
        let mut received = [0; 4096];
        loop {
            self.send().await?;
            let length = self.stream.read(&mut received).await?;
            if length == 0 {
                return Ok(());
            }
            let mut input = &received[..length];
            while let Some(request) = server.handle_input(&mut input, &mut self.out) {
                if self.answer(&mut server, request) == Next::End {
                    return self.send().await;
                }
            }
        }
    }

    fn answer(&mut self, server: &mut Server, request: Request) -> Next {
        let out = &mut self.out;
        let mood = *self.mood.borrow();
        match request {
            // PostgreSQL refuses once it knows who asks.
            Request::LoggedIn { .. } if self.dialect == Dialect::Postgres && mood == Mood::Full => {
                out.clear();
                server.reply_error("53300", "sorry, too many clients already", true, out);
                Next::End
            }
            Request::LoggedIn { .. } => Next::GoOn,
            Request::Ping => {
                server.reply_pong(out);
                Next::GoOn
            }
            Request::Query(sql) => {
                let known = self.dialect.read_only_statement();
                // A probe sets the limits of its statement in a statement before it.
                let sql = match sql.split_once(';') {
                    Some((settings, sql)) if settings.starts_with("SET ") => sql,
                    Some(_) | None => &sql,
                };
                if sql.eq_ignore_ascii_case(known) {
                    let answer = self.dialect.read_only_answer(mood == Mood::ReadOnly);
                    server.reply_value(column(known), Some(answer), out);
                } else {
                    let refusal = format!("a server of the demo knows only {known:?}");
                    server.reply_error(syntax_error(self.dialect), &refusal, false, out);
                }
                Next::GoOn
            }
            Request::StartTls | Request::Denied { .. } | Request::Quit => Next::End,
            Request::Other => {
                let code = syntax_error(self.dialect);
                server.reply_error(code, "a server of the demo does not know this", true, out);
                Next::End
            }
        }
    }

    /// Sends what there is to send, when the mood allows it.
    async fn send(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        if let Mood::Slow(delay) = self.mood() {
            tokio::time::sleep(delay).await;
        }
        let is_thawed = |mood: &Mood| *mood != Mood::Frozen;
        if self.mood.wait_for(is_thawed).await.is_err() {
            // The server itself ends.
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    fn mood(&self) -> Mood {
        *self.mood.borrow()
    }
}

fn options(dialect: Dialect, session_id: u32) -> ServerOptions {
    let version = match dialect {
        Dialect::MySql => "8.4.6-demo",
        Dialect::Postgres => "17.6",
    };
    ServerOptions {
        version: version.to_owned(),
        session_id,
        tls: false,
        authentication: Authentication::Trust,
        entropy: std::array::from_fn(|_| fastrand::u8(..)),
        in_hot_standby: false,
    }
}

/// The name of the column that answers a statement: its last word.
fn column(statement: &'static str) -> &'static str {
    statement.rsplit(' ').next().unwrap_or(statement)
}

fn syntax_error(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "1064",
        Dialect::Postgres => "42601",
    }
}
