//! Gates whose sockets systemd keeps while the agent is away: a client that goes on connecting meets
//! no refusal, a closed gate stays closed, and nothing stays open that no gate answers for.
//!
//! The tests play systemd: they receive the sockets that the agent gives to be kept, and pass them
//! to the next one. The shell stands between, since it can number descriptors as systemd does.

use std::io::{IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use dbvitals_testkit::{Port, eventually};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;

use crate::NotifySocket;
use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::gate::GatePort;
use crate::service::Service;

/// A backend with a gate that is held over restarts.
struct Scene {
    service: Service,
    gate: GatePort,
    config: ConfigFile,
    notify: NotifySocket,
}

impl Scene {
    fn new(name: &str, on_unknown: &str) -> Self {
        let (service, gate) = (Service::start(), GatePort::reserve());
        let config = ConfigFile::new(&format!(
            "[defaults]\ninterval = \"50ms\"\nfast_interval = \"20ms\"\ndown_interval = \"50ms\"\n\
             [backend.db]\nurl = \"{}\"\n\
             [gate.db]\nlisten = \"{}\"\nof = \"db\"\n\
             on_unknown = \"{on_unknown}\"\non_restart = \"hold\"\n",
            service.url(),
            gate.address()
        ));
        Self {
            service,
            gate,
            config,
            notify: NotifySocket::new(name),
        }
    }

    /// Starts an agent, with the socket that was kept if there is one.
    fn start(&self, kept: Option<&OwnedFd>) -> Agent {
        let mut command = self.config.serve();
        command.args(["--http", "off"]);
        let mut command = match kept {
            Some(socket) => with_socket(&command, socket.try_clone().expect("a descriptor")),
            None => command,
        };
        command.env("NOTIFY_SOCKET", &self.notify.path);
        Agent::spawn(command, Port::reserve())
    }

    /// Waits until the agent gives a socket to be kept.
    fn receive(&self) -> OwnedFd {
        let mut received = None;
        let came = eventually(PATIENCE, || {
            let (text, socket) = receive(&self.notify);
            let name = self.gate.address().to_string().replace(':', "_");
            let expected = format!("FDSTORE=1\nFDNAME=gate-{name}\nFDPOLL=0");
            assert!(socket.is_none() || text == expected, "{text}");
            received = socket;
            received.is_some()
        });
        assert!(came, "no socket");
        received.expect("it came")
    }

    fn opens(&self) {
        self.gate.opens_within(PATIENCE, self.gate.now());
    }

    fn refuses(&self) {
        self.gate.refuses_within(PATIENCE, self.gate.now());
    }
}

/// The same command, to which a socket is passed as systemd does it: as the descriptor 3, with its
/// own process number in the environment.
fn with_socket(command: &Command, socket: OwnedFd) -> Command {
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(command.get_program());
    shell.args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(key, value),
            None => shell.env_remove(key),
        };
    }
    shell.stdin(Stdio::from(socket));
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

/// The next message, with the descriptor that came with it.
fn receive(notify: &NotifySocket) -> (String, Option<OwnedFd>) {
    let mut buffer = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let socket = notify.socket.as_fd();
    let Ok(message) = recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) else {
        return (String::new(), None);
    };
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        RecvAncillaryMessage::ScmCredentials(_) | _ => None,
    });
    let text = String::from_utf8_lossy(&buffer[..message.bytes]);
    (text.into_owned(), descriptor)
}

fn end(mut agent: Agent, signal: Signal) {
    agent.signal(signal);
    agent.wait_for_exit();
}

/// Reads to the end, which comes in order once an agent is there.
fn expect_answer(mut visitor: TcpStream) {
    visitor
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket takes a timeout");
    let end = visitor.read(&mut [0]);
    assert_eq!(end.expect("an end in order, not a reset"), 0);
}

#[test]
fn who_connects_all_the_time_is_never_refused_over_restarts_and_kills() {
    let scene = Scene::new("restart", "hold");
    let mut agent = scene.start(None);
    let kept = scene.receive();
    scene.opens();
    for signal in [Signal::TERM, Signal::KILL, Signal::TERM] {
        let address = scene.gate.address();
        let (enough, told) = std::sync::mpsc::channel();
        let client = std::thread::spawn(move || {
            let mut visitors = Vec::new();
            while told.recv_timeout(Duration::from_millis(5)).is_err() {
                let visitor = TcpStream::connect_timeout(&address, PATIENCE);
                visitors.push(visitor.expect("the gate stays as it was"));
            }
            visitors
        });
        end(agent, signal);
        // Nobody is there: who comes now waits.
        let waiting = TcpStream::connect(address).expect("the gate stays as it was");
        agent = scene.start(Some(&kept));
        agent.wait_for_log("the gate's socket was passed to the agent");
        agent.wait_for_log("verdict changed");
        let state = format!("address={address} state=\"open\"");
        assert!(agent.log().contains(&state), "{}", agent.log());
        expect_answer(waiting);
        enough.send(()).expect("it goes on until then");
        let visitors = client.join().expect("nobody is refused");
        assert!(visitors.len() >= 3, "{}", visitors.len());
        visitors.into_iter().for_each(expect_answer);
    }
}

#[test]
fn a_gate_that_was_closed_stays_closed_and_opens_again_on_evidence() {
    let mut scene = Scene::new("closed", "hold");
    let mut agent = scene.start(None);
    let kept = scene.receive();
    for signal in [Signal::TERM, Signal::KILL] {
        scene.opens();
        scene.service.stop();
        scene.refuses();
        end(agent, signal);
        assert!(!scene.gate.is_open());
        agent = scene.start(Some(&kept));
        agent.wait_for_log("state=\"closed\"");
        agent.wait_for_log("to=down");
        assert!(!scene.gate.is_open());
        scene.service.start_again();
    }
    scene.opens();
}

#[test]
fn what_is_open_is_closed_at_the_start_until_there_is_evidence_unless_it_is_to_hold() {
    let mut scene = Scene::new("start", "closed");
    let agent = scene.start(None);
    let kept = scene.receive();
    scene.opens();
    end(agent, Signal::KILL);
    scene.service.stop();
    // The price of holding: nobody vouches for it now.
    assert!(scene.gate.is_open());
    let agent = scene.start(Some(&kept));
    agent.wait_for_log("gate closed");
    agent.wait_for_log("to=down");
    assert!(!scene.gate.is_open());
    let log = agent.log();
    let (closed, down) = (log.find("gate closed"), log.find("to=down"));
    assert!(closed < down, "{log}");
}

#[test]
fn a_gate_that_is_taken_out_of_the_file_closes_also_where_its_socket_is_kept() {
    let mut scene = Scene::new("removed", "hold");
    let agent = scene.start(None);
    let _kept = scene.receive();
    scene.opens();
    let text = std::fs::read_to_string(&scene.config.path).expect("it is there");
    let (without, _) = text.split_once("[gate.db]").expect("it has a gate");
    scene.config.write(without);
    agent.signal(Signal::HUP);
    scene.refuses();
    scene.notify.wait_for("FDSTOREREMOVE=1");
    // And given again, it is a gate like any other.
    scene.config.write(&text);
    agent.signal(Signal::HUP);
    let _again = scene.receive();
    scene.opens();
}

#[test]
fn a_socket_that_was_passed_for_no_gate_is_closed() {
    let scene = Scene::new("nobody", "closed");
    let stray = GatePort::reserve();
    let passed = TcpListener::bind(stray.address()).expect("it is reserved");
    assert!(stray.is_open());
    let agent = scene.start(Some(&passed.try_clone().expect("a descriptor").into()));
    agent.wait_for_log("belongs to no gate; it is closed");
    assert!(!stray.is_open());
    scene.opens();
}

#[test]
fn a_unix_socket_that_was_passed_is_refused_and_refuses() {
    let path = std::env::temp_dir().join(format!("dbv-{}-passed", std::process::id()));
    let listener = UnixListener::bind(&path).expect("the temporary directory can be written");
    let scene = Scene::new("unix", "closed");
    let passed = listener.try_clone().expect("a descriptor");
    let output = with_socket(&scene.config.serve(), passed.into()).output();
    let output = output.expect("the shell is there");
    let refused = std::os::unix::net::UnixStream::connect(&path);
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("take it out of the socket unit"), "{told}");
    assert!(told.contains(&path.display().to_string()), "{told}");
    assert!(refused.is_err());
}

#[test]
fn without_systemd_a_gate_that_is_to_be_held_says_that_it_is_not() {
    let scene = Scene::new("without", "closed");
    let mut command = scene.config.serve();
    command.args(["--http", "off"]).env_remove("NOTIFY_SOCKET");
    let agent = Agent::spawn(command, Port::reserve());
    agent.wait_for_log("the gate closes with the agent");
    scene.opens();
    end(agent, Signal::TERM);
    assert!(!scene.gate.is_open());
}
