//! A client that asks one thing per connection, the way load balancers do.
//!
//! No library: the tests look at the very bytes that a balancer would get.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take; it comes from memory.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, whatever the case of its name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let fields = lines.filter_map(|line| line.split_once(':'));
        fields
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next()
    }
}

/// Asks, and reads the answer to its end.
pub(crate) fn request(address: SocketAddr, method: &str, path: &str) -> Answer {
    let stream = TcpStream::connect(address).expect("the HTTP port is open");
    stream
        .set_read_timeout(Some(ANSWERS_WITHIN))
        .expect("a socket takes a timeout");
    exchange(stream, method, path, &[], "")
}

/// Sends a body, with further header fields.
pub(crate) fn send(address: SocketAddr, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let stream = TcpStream::connect(address).expect("the HTTP port is open");
    stream
        .set_read_timeout(Some(ANSWERS_WITHIN))
        .expect("a socket takes a timeout");
    exchange(stream, "POST", path, fields, body)
}

/// The same at a unix socket.
pub(crate) fn send_to_socket(socket: &Path, path: &str, body: &str) -> Answer {
    let stream = UnixStream::connect(socket).expect("the control socket is there");
    stream
        .set_read_timeout(Some(ANSWERS_WITHIN))
        .expect("a socket takes a timeout");
    exchange(stream, "POST", path, &[], body)
}

fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Answer {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {}\r\n{fields}\r\n{body}",
        body.len()
    )
    .expect("the kernel takes a request");
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .unwrap_or_else(|error| panic!("no answer to {method} {path}: {error}"));
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.expect("a status line"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
