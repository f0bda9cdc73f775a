//! A scripted database is what it says: sound at first, then as its mood has it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use dbvitals_testkit::{Dialect, Moment, Mood, ScriptedDatabase};
use dbvitals_wire::{Credentials, Event, Login, Session, TlsOffer};

const DIALECTS: [Dialect; 2] = [Dialect::MySql, Dialect::Postgres];
/// Long enough for any answer that comes, and for silence to be taken for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// How a ping on a fresh session ended: the events, and how the connection did.
fn ping(dialect: Dialect, database: &ScriptedDatabase) -> (Vec<Event>, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(database.address()).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket takes a timeout");
    let credentials = Credentials::new("vitals").with_password("secret");
    let login = Login::new(credentials, TlsOffer::Never, [7; 32]);
    let mut out = Vec::new();
    let mut session = match dialect {
        Dialect::MySql => Session::mysql(login),
        Dialect::Postgres => Session::postgres(login, &mut out),
    };
    let (mut events, mut received) = (Vec::new(), [0; 4096]);
    loop {
        if let Err(error) = stream.write_all(&std::mem::take(&mut out)) {
            return (events, Some(error.kind()));
        }
        let length = match stream.read(&mut received) {
            Ok(0) => return (events, None),
            Ok(length) => length,
            Err(error) => return (events, Some(error.kind())),
        };
        let mut input = &received[..length];
        while let Some(event) = session.handle_input(&mut input, &mut out) {
            if matches!(event, Event::LoggedIn(_)) {
                assert!(session.ping(&mut out));
            }
            events.push(event);
        }
        if events.contains(&Event::Pong) {
            return (events, None);
        }
    }
}

#[test]
fn a_scripted_database_lets_its_user_in_and_answers() {
    for dialect in DIALECTS {
        let database = ScriptedDatabase::start(dialect);
        let (events, _) = ping(dialect, &database);
        assert_eq!(events.last(), Some(&Event::Pong), "{events:?}");
        database.switch(Mood::Slow(Duration::from_millis(20)));
        assert!(ping(dialect, &database).0.contains(&Event::Pong));
    }
}

#[test]
fn a_mood_shows_at_its_moment() {
    let silence = Some(ErrorKind::WouldBlock);
    for dialect in DIALECTS {
        let database = ScriptedDatabase::start(dialect);
        for (mood, greeted, logged_in, end) in [
            (Mood::SilentFrom(Moment::Greeting), false, false, silence),
            (Mood::SilentFrom(Moment::Login), true, false, silence),
            (Mood::SilentFrom(Moment::Command), true, true, silence),
            (Mood::Closing, false, false, None),
            (
                Mood::Resetting,
                false,
                false,
                Some(ErrorKind::ConnectionReset),
            ),
        ] {
            database.switch(mood);
            let (events, ended) = ping(dialect, &database);
            let has = |test: fn(&Event) -> bool| events.iter().any(test);
            assert_eq!(
                has(|it| matches!(it, Event::Greeted(_))),
                greeted,
                "{mood:?}"
            );
            assert_eq!(
                has(|it| matches!(it, Event::LoggedIn(_))),
                logged_in,
                "{mood:?}"
            );
            assert_eq!(ended, end, "{dialect:?} {mood:?} {events:?}");
        }
    }
}

#[test]
fn a_refusal_comes_with_its_number() {
    for (dialect, at_the_door, later) in [
        (Dialect::MySql, "1129", "1053"),
        (Dialect::Postgres, "57P03", "57P01"),
    ] {
        let database = ScriptedDatabase::start(dialect);
        for (mood, code) in [
            (Mood::Refusing(at_the_door), at_the_door),
            (Mood::RefusingCommands(later), later),
        ] {
            database.switch(mood);
            let (events, _) = ping(dialect, &database);
            let Some(Event::Refused(refusal)) = events.last() else {
                panic!("no refusal: {events:?}");
            };
            assert!(refusal.to_string().starts_with(code), "{refusal}");
        }
    }
}

#[test]
fn a_crash_closes_the_port_and_every_session() {
    let database = ScriptedDatabase::start(Dialect::MySql);
    let mut stream = TcpStream::connect(database.address()).unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    let address = database.address();
    drop(database);
    let refused = TcpStream::connect(address).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
    assert!(stream.read_to_end(&mut Vec::new()).is_ok());
}

#[test]
fn a_full_queue_keeps_newcomers_out_and_sessions_alive() {
    let database = ScriptedDatabase::start(Dialect::MySql);
    let mut held = TcpStream::connect(database.address()).unwrap();
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    held.read_exact(&mut [0; 4]).unwrap();
    database.fill_queue();
    let late = TcpStream::connect_timeout(&database.address(), PATIENCE);
    assert_eq!(
        late.map_err(|error| error.kind()).err(),
        Some(ErrorKind::TimedOut)
    );
    // A bad packet is answered, which is enough.
    let mut greeting = [0; 256];
    assert!(held.read(&mut greeting).unwrap() > 0);
    held.write_all(&[1, 0, 0, 1, 0]).unwrap();
    assert!(held.read(&mut greeting).is_ok());

    database.empty_queue();
    let mut new = TcpStream::connect_timeout(&database.address(), PATIENCE).unwrap();
    new.set_read_timeout(Some(PATIENCE)).unwrap();
    new.read_exact(&mut [0; 4]).unwrap();
}
