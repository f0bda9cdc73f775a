//! Bytes on an idle connection of PostgreSQL that nobody has read yet: last words or a
//! notification. A relay holds back the end that follows the last words on a wire without delay.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use dbvitals_pool::{Ending, Pool, Postgres, PostgresError, Session, Settings};
use dbvitals_testkit::{Postgres as Server, PostgresOptions, RealServer as _, require_servers};
use tokio_postgres::{Config, SimpleQueryMessage};

use crate::stage::{Ends as _, MS, pool, settings};

/// Carries sessions to a server. A client is not told of an end, only of what was said before.
struct Relay {
    port: u16,
    /// How many sessions the server has ended.
    ended: Arc<AtomicUsize>,
}

impl Relay {
    fn to(server: &Server) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new(AtomicUsize::new(0));
        let (target, count) = (server.port(), Arc::clone(&ended));
        thread::spawn(move || {
            for client in listener.incoming() {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).unwrap();
                carry(client.unwrap(), server, Arc::clone(&count));
            }
        });
        Self { port, ended }
    }
}

fn carry(client: TcpStream, server: TcpStream, ended: Arc<AtomicUsize>) {
    let copies = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        pass_on(&copies.0, &copies.1);
        let _ = copies.1.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        pass_on(&server, &client);
        ended.fetch_add(1, Ordering::SeqCst);
    });
}

fn pass_on(mut from: &TcpStream, mut to: &TcpStream) {
    let mut bytes = [0; 4_096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

fn single(port: u16) -> Pool<Postgres> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port);
    config.user("vitals").password("secret").dbname("vitals");
    let alone = Settings {
        max_open: 1,
        ..settings()
    };
    pool(Postgres::new(config), alone)
}

/// The server's name for the session, asked for without a prepared statement: the driver closes those
/// later, and takes last words for the answer to that.
async fn ask(session: &mut Session) -> Result<u64, PostgresError> {
    let messages = session.simple_query("SELECT pg_backend_pid()").await?;
    let pid = messages.iter().find_map(|message| {
        let SimpleQueryMessage::Row(row) = message else {
            return None;
        };
        row.get(0)?.parse().ok()
    });
    Ok(pid.expect("a row"))
}

// On one thread the driver's task reads nothing while a test does not await anything.

#[tokio::test]
async fn last_words_are_not_taken_for_a_sign_of_life() {
    require_servers!();
    let server = Server::start(PostgresOptions::default());
    let relay = Relay::to(&server);
    let pool = single(relay.port);
    let session = pool.run(async |it| ask(it).await).await.unwrap();
    server.kill_one(session);
    while relay.ended.load(Ordering::SeqCst) == 0 {
        thread::sleep(MS);
    }
    let mut lease = pool.acquire().await.unwrap();
    let next = lease.run(async |it| ask(it).await).await;
    assert_ne!(next.unwrap(), session);
    let stats = pool.stats();
    assert_eq!(stats.ended(Ending::Killed), 1, "{stats:?}");
    assert_eq!(stats.pings, 0, "{stats:?}");
}

#[tokio::test]
async fn a_notification_costs_neither_a_ping_nor_a_connection() {
    require_servers!();
    let server = Server::start(PostgresOptions::default());
    let pool = single(server.port());
    let listen = pool.run(async |it| it.batch_execute("LISTEN news").await);
    listen.await.unwrap();
    for _ in 0..5 {
        // The notification is on its way before the statement ends, and there soon after.
        server.sql("NOTIFY news, 'x'");
        thread::sleep(50 * MS);
        pool.run(async |it| ask(it).await).await.unwrap();
    }
    let stats = pool.stats();
    assert_eq!((stats.attempts, stats.pings), (1, 0), "{stats:?}");
}
