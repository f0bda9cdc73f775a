//! The demo's server as a client meets it.

use std::io::{Read, Write};
use std::net::TcpStream;

use dbvitals_probe::{Address, Statement, Target, TargetId};
use dbvitals_verdict::{Cause, Depth, Observation, Outcome};
use dbvitals_wire::{Credentials, Event, Login, TlsOffer};

use super::*;
use crate::probing::Asker;

const DIALECTS: [Dialect; 2] = [Dialect::MySql, Dialect::Postgres];
/// Long enough for any answer that comes, short enough for those that do not.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks as the agent does on its fresh path, whether the server takes writes.
fn probe(dialect: Dialect, address: SocketAddr, timeout: Duration) -> Observation {
    let place = Address::Tcp {
        host: address.ip().to_string(),
        port: address.port(),
    };
    let statement = Statement {
        sql: dialect.read_only_statement().to_owned(),
        equals: Some(dialect.read_only_answer(false).to_owned()),
    };
    let target = Target {
        credentials: Some(Credentials::new("vitals").into()),
        statement: Some(statement.into()),
        ..Target::new(dialect.protocol(), place)
    };
    let mut asker = Asker::new([target]).unwrap();
    let questions = [(TargetId(0), Depth::Query)];
    asker.ask(&questions, timeout).unwrap().remove(0)
}

fn check(dialect: Dialect, server: &FakeServer, expected: Option<Cause>) {
    let seen = probe(dialect, server.address(), TIMEOUT);
    assert_eq!(seen.outcome.cause(), expected, "{dialect:?}: {seen:?}");
}

/// A session kept open.
struct Client {
    stream: TcpStream,
    session: dbvitals_wire::Session,
    unread: Vec<u8>,
}

impl Client {
    fn log_in(dialect: Dialect, address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let login = Login::new(Credentials::new("vitals"), TlsOffer::Never, [7; 32]);
        let mut out = Vec::new();
        let session = match dialect {
            Dialect::MySql => dbvitals_wire::Session::mysql(login),
            Dialect::Postgres => dbvitals_wire::Session::postgres(login, &mut out),
        };
        stream.write_all(&out).unwrap();
        let mut client = Self {
            stream,
            session,
            unread: Vec::new(),
        };
        while !matches!(client.next().unwrap(), Event::LoggedIn(_)) {}
        client
    }

    fn ping(&mut self) -> io::Result<Event> {
        let mut out = Vec::new();
        assert!(self.session.ping(&mut out));
        self.stream.write_all(&out)?;
        self.next()
    }

    fn next(&mut self) -> io::Result<Event> {
        let mut out = Vec::new();
        loop {
            let mut input = &self.unread[..];
            let event = self.session.handle_input(&mut input, &mut out);
            self.unread = input.to_vec();
            self.stream.write_all(&out)?;
            out.clear();
            if let Some(event) = event {
                return Ok(event);
            }
            let mut received = [0; 4096];
            match self.stream.read(&mut received)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.unread.extend(&received[..length]),
            }
        }
    }
}

#[test]
fn a_fine_server_answers_everything_and_a_read_only_one_says_so() {
    for dialect in DIALECTS {
        let server = FakeServer::start(dialect).unwrap();
        check(dialect, &server, None);
        server.switch(Mood::ReadOnly);
        check(dialect, &server, Some(Cause::AssertionFailed));
        server.switch(Mood::Fine);
        check(dialect, &server, None);
    }
}

#[test]
fn a_slow_server_takes_its_time_for_each_answer() {
    let delay = Duration::from_millis(50);
    for (dialect, answers) in [(Dialect::MySql, 3), (Dialect::Postgres, 2)] {
        let server = FakeServer::start(dialect).unwrap();
        server.switch(Mood::Slow(delay));
        let seen = probe(dialect, server.address(), TIMEOUT);
        assert_eq!(seen.outcome, Outcome::Pass);
        assert!(seen.took() >= delay * answers, "{dialect:?}: {seen:?}");
    }
}

#[test]
fn a_full_server_refuses_new_sessions_and_keeps_the_old_ones() {
    for dialect in DIALECTS {
        let server = FakeServer::start(dialect).unwrap();
        let mut old = Client::log_in(dialect, server.address());
        server.switch(Mood::Full);
        check(dialect, &server, Some(Cause::TooManyConnections));
        assert_eq!(old.ping().unwrap(), Event::Pong, "{dialect:?}");
    }
}

#[test]
fn a_frozen_server_connects_and_is_silent_until_it_thaws() {
    for dialect in DIALECTS {
        let server = FakeServer::start(dialect).unwrap();
        let mut old = Client::log_in(dialect, server.address());
        server.switch(Mood::Frozen);
        let seen = probe(dialect, server.address(), Duration::from_millis(100));
        assert_eq!(seen.outcome, Outcome::Fail(Cause::NoGreeting), "{seen:?}");
        let thaw = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            server.switch(Mood::Fine);
            server
        });
        assert_eq!(old.ping().unwrap(), Event::Pong, "the answer was only late");
        check(dialect, &thaw.join().unwrap(), None);
    }
}

#[test]
fn a_crash_resets_sessions_and_a_restart_is_at_the_same_port() {
    for dialect in DIALECTS {
        let server = FakeServer::start(dialect).unwrap();
        for _ in 0..3 {
            let mut old = Client::log_in(dialect, server.address());
            server.switch(Mood::Crashed);
            let lost = old.stream.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(lost, Err(io::ErrorKind::ConnectionReset), "{dialect:?}");
            check(dialect, &server, Some(Cause::Refused));
            server.switch(Mood::Fine);
            assert!(dbvitals_testkit::eventually(TIMEOUT, || {
                probe(dialect, server.address(), TIMEOUT).outcome == Outcome::Pass
            }));
        }
    }
}

#[test]
fn a_dropped_server_is_gone_whatever_its_mood() {
    for mood in [Mood::Fine, Mood::Frozen, Mood::Crashed] {
        let server = FakeServer::start(Dialect::Postgres).unwrap();
        let mut old = Client::log_in(Dialect::Postgres, server.address());
        server.switch(mood);
        let address = server.address();
        drop(server);
        assert!(old.ping().is_err(), "{mood:?}");
        assert!(TcpStream::connect(address).is_err(), "{mood:?}");
    }
}
