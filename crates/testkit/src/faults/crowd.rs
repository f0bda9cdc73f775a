//! Sessions that take places: a server is full when it says so to one more.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use dbvitals_wire::{Credentials, Event, Login, Session, TlsOffer};

use super::Stand;
use super::database::Database;
use crate::clock::eventually;

/// How long a server may take for one login.
const PATIENCE: Duration = Duration::from_secs(10);

/// More sessions than a server of the catalogue admits.
const SESSIONS_MAX: usize = 100;

/// Sessions of `vitals`, held open until dropped.
#[derive(Debug)]
pub(super) struct Crowd(Vec<TcpStream>);

impl Crowd {
    /// Opens sessions until one is refused.
    pub(super) fn fill(database: &Database) -> Self {
        let log_in = || log_in(database.stand, database.address()).expect("the server answers");
        let sessions: Vec<_> = (0..SESSIONS_MAX).map_while(|_| log_in()).collect();
        assert!(sessions.len() < SESSIONS_MAX, "the server does not fill up");
        Self(sessions)
    }

    /// Fills a server, and then frees one place.
    pub(super) fn fill_but_one(database: &Database) -> Self {
        let mut crowd = Self::fill(database);
        let before = database.sessions();
        crowd.0.pop();
        let is_free = || database.sessions() < before;
        assert!(eventually(PATIENCE, is_free), "no place becomes free");
        crowd
    }

    /// Opens one session.
    pub(super) fn of_one(database: &Database) -> Self {
        let session = log_in(database.stand, database.address()).expect("the server answers");
        Self(vec![session.expect("the server admits a session")])
    }

    /// Fills a MariaDB up to the door: after the last session one more connection is let in, in
    /// case it is the administrator, and takes that place without saying who it is.
    pub(super) fn fill_the_door(database: &Database) -> Self {
        let mut crowd = Self::fill(database);
        let mut guest = None;
        let is_in = || {
            guest = greeted(database.address()).ok().flatten();
            guest.is_some()
        };
        assert!(eventually(PATIENCE, is_in), "the last place is not free");
        crowd.0.extend(guest);
        crowd
    }
}

/// Logs in; `None` when the server refuses.
fn log_in(stand: Stand, address: SocketAddr) -> io::Result<Option<TcpStream>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let credentials = Credentials::new("vitals").with_password("secret");
    let login = Login::new(credentials, TlsOffer::Never, [7; 32]);
    let mut out = Vec::new();
    let mut session = match stand {
        Stand::MariaDb | Stand::ScriptedMySql => Session::mysql(login),
        Stand::PostgreSql | Stand::ScriptedPostgres => Session::postgres(login, &mut out),
    };
    let mut received = [0; 4096];
    loop {
        stream.write_all(&out)?;
        out.clear();
        let length = stream.read(&mut received)?;
        if length == 0 {
            return Ok(None);
        }
        let mut input = &received[..length];
        while let Some(event) = session.handle_input(&mut input, &mut out) {
            match event {
                Event::LoggedIn(_) => return Ok(Some(stream)),
                Event::Greeted(_) => {}
                Event::Refused(_) => return Ok(None),
                Event::StartTls
                | Event::TlsRefused
                | Event::Pong
                | Event::Answer(_)
                | Event::WrongProtocol(_)
                | Event::Malformed(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }
}

/// A connection to MariaDB that has been greeted, and not refused.
fn greeted(address: SocketAddr) -> io::Result<Option<TcpStream>> {
    const REFUSAL: u8 = 0xff;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    Ok((head[4] != REFUSAL).then_some(stream))
}
