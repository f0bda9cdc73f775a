//! What systemd hears from `serve`, by a socket like systemd's; and what it would say of the unit.

#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/agent.rs"]
mod agent;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/gate.rs"]
mod gate;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/http.rs"]
mod http;
#[path = "systemd/kept.rs"]
mod kept;
#[path = "support/service.rs"]
mod service;
#[path = "systemd/unit.rs"]
mod unit;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::{Agent, PATIENCE, serve};
use dbvitals_testkit::{Port, eventually};
use rustix::process::Signal;

/// A socket like the one that systemd gives its services.
struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl NotifySocket {
    fn new(name: &str) -> Self {
        // The path of a socket has to be short, so it is not in the target directory.
        let name = format!("dbvitals-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let socket = UnixDatagram::bind(&path).expect("the temporary directory can be written");
        socket.set_nonblocking(true).expect("a socket is set");
        Self {
            socket,
            path,
            heard: Vec::new(),
        }
    }

    /// The lines of all messages so far.
    fn listen(&mut self) -> &[String] {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    self.heard.extend(text.lines().map(str::to_owned));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return &self.heard,
                Err(error) => panic!("the socket cannot be read: {error}"),
            }
        }
    }

    fn wait_for(&mut self, line: &str) {
        let heard = eventually(PATIENCE, || self.listen().iter().any(|it| it == line));
        assert!(heard, "no {line}: {:?}", self.heard);
    }

    fn count(&mut self, line: &str) -> usize {
        self.listen().iter().filter(|it| *it == line).count()
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        // A file too many in the temporary directory does no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// An agent that watches a listener, as a service of systemd.
fn start(notify: &Path, watchdog: Option<Duration>) -> (Agent, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a listener has an address");
    let url = format!("db=tcp://{address}");
    let mut command = serve([url.as_str(), "--http", "off"]);
    command.env("NOTIFY_SOCKET", notify);
    if let Some(watchdog) = watchdog {
        command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
    }
    (Agent::spawn(command, Port::reserve()), listener)
}

#[test]
fn systemd_hears_of_the_start_the_state_and_the_end() {
    let mut notify = NotifySocket::new("states");
    let (mut agent, listener) = start(&notify.path, Some(Duration::from_millis(200)));
    notify.wait_for("READY=1");
    notify.wait_for("STATUS=watching 1: 1 up");
    drop(listener);
    notify.wait_for("STATUS=watching 1: 1 down (db)");
    assert_eq!(notify.count("STOPPING=1"), 0);
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    notify.wait_for("STOPPING=1");
    assert_eq!(notify.count("READY=1"), 1);
    let heard = notify.listen();
    let stopping = heard.iter().position(|line| line == "STOPPING=1");
    let after = &heard[stopping.expect("it was heard") + 1..];
    assert!(after[0].starts_with("EXTEND_TIMEOUT_USEC="), "{heard:?}");
    assert_eq!(after.len(), 1, "told after its end: {heard:?}");
}

#[test]
fn signs_of_life_come_while_the_loops_turn_and_end_with_them() {
    let mut notify = NotifySocket::new("life");
    let (agent, _listener) = start(&notify.path, Some(Duration::from_millis(200)));
    let went_on = eventually(PATIENCE, || notify.count("WATCHDOG=1") >= 5);
    assert!(went_on, "{:?}", notify.heard);
    agent.signal(Signal::STOP);
    // Whatever was on its way has arrived once nothing new comes for several periods.
    let mut before = usize::MAX;
    let silent = eventually(PATIENCE, || {
        std::thread::sleep(Duration::from_millis(500));
        let now = notify.count("WATCHDOG=1");
        std::mem::replace(&mut before, now) == now
    });
    assert!(silent, "a stopped process gives signs of life");
    agent.signal(Signal::CONT);
    let again = eventually(PATIENCE, || notify.count("WATCHDOG=1") > before);
    assert!(again, "{:?}", notify.heard);
}

#[test]
fn nobody_is_given_signs_of_life_who_did_not_ask() {
    let mut notify = NotifySocket::new("none");
    let (mut agent, _listener) = start(&notify.path, None);
    notify.wait_for("READY=1");
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    notify.wait_for("STOPPING=1");
    assert_eq!(notify.count("WATCHDOG=1"), 0);
}

#[test]
fn a_socket_that_nobody_reads_changes_nothing() {
    let (mut agent, _listener) = start(Path::new("/nonexistent/notify"), None);
    agent.wait_for_log("verdict changed");
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
}
