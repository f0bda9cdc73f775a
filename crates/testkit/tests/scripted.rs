//! Each script does to a plain client what it promises.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use dbvitals_testkit::{Script, ScriptedServer, eventually};

const MOMENT: Duration = Duration::from_millis(100);

fn connect(server: &ScriptedServer) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("the server accepts");
    stream
        .set_read_timeout(Some(MOMENT))
        .expect("a socket takes a timeout");
    stream
}

fn read(stream: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut bytes = [0; 512];
    let length = stream.read(&mut bytes).map_err(|error| error.kind())?;
    Ok(bytes[..length].to_vec())
}

#[test]
fn a_silent_server_says_nothing_and_counts() {
    let server = ScriptedServer::start(Script::Silent);
    let mut streams = [connect(&server), connect(&server)];
    streams[0]
        .write_all(b"hello")
        .expect("the kernel takes bytes");
    assert_eq!(read(&mut streams[0]), Err(ErrorKind::WouldBlock));
    assert!(eventually(MOMENT, || server.accepted() == 2));
}

#[test]
fn closing_and_resetting_are_told_apart() {
    let closing = ScriptedServer::start(Script::CloseAtOnce);
    let mut stream = connect(&closing);
    stream
        .write_all(b"a startup message")
        .expect("the kernel takes bytes");
    assert_eq!(read(&mut stream), Ok(Vec::new()));

    let resetting = ScriptedServer::start(Script::ResetAtOnce);
    assert_eq!(
        read(&mut connect(&resetting)),
        Err(ErrorKind::ConnectionReset)
    );
}

#[test]
fn bytes_come_at_once_and_then_nothing() {
    let server = ScriptedServer::start(Script::Bytes(b"greeting".to_vec()));
    let mut stream = connect(&server);
    assert_eq!(read(&mut stream), Ok(b"greeting".to_vec()));
    assert_eq!(read(&mut stream), Err(ErrorKind::WouldBlock));
}

#[test]
fn a_trickle_comes_byte_by_byte() {
    let every = Duration::from_millis(20);
    let server = ScriptedServer::start(Script::Trickle {
        bytes: b"abc".to_vec(),
        every,
    });
    let mut stream = connect(&server);
    for expected in [b"a", b"b", b"c"] {
        assert_eq!(read(&mut stream), Ok(expected.to_vec()));
    }
    assert_eq!(read(&mut stream), Err(ErrorKind::WouldBlock));
}

#[test]
fn a_full_accept_queue_lets_nobody_in() {
    let server = ScriptedServer::start(Script::NeverAccepts);
    for _ in 0..2 {
        let refused = TcpStream::connect_timeout(&server.address(), MOMENT).map_err(|e| e.kind());
        assert_eq!(refused.map(drop), Err(ErrorKind::TimedOut));
    }
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_web_server_finds_databases_a_bad_request() {
    let server = ScriptedServer::start(Script::HttpServer);
    let mut stream = connect(&server);
    assert_eq!(read(&mut stream), Err(ErrorKind::WouldBlock));
    stream
        .write_all(b"not HTTP")
        .expect("the kernel takes bytes");
    let answer = read(&mut stream).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
    assert_eq!(read(&mut stream), Ok(Vec::new()));
}

#[test]
fn an_endless_server_does_not_end_by_itself() {
    let server = ScriptedServer::start(Script::Endless(vec![b'x'; 4096]));
    let mut stream = connect(&server);
    let mut megabytes = vec![0; 4 << 20];
    stream.read_exact(&mut megabytes).expect("more and more");
}

#[test]
fn every_script_ends_with_its_server() {
    let every = Duration::from_secs(3600);
    for script in [
        Script::Silent,
        Script::CloseAtOnce,
        Script::ResetAtOnce,
        Script::Bytes(b"greeting".to_vec()),
        Script::Trickle {
            bytes: b"abc".to_vec(),
            every,
        },
        Script::HttpServer,
        Script::Endless(vec![b'x'; 4096]),
    ] {
        let server = ScriptedServer::start(script);
        let address = server.address();
        let stream = connect(&server);
        assert!(eventually(MOMENT, || server.accepted() == 1));
        drop(server);
        drop(stream);
        let refused = TcpStream::connect(address)
            .map(drop)
            .map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
    }
}
