//! A HAProxy of the test's own, with a configuration of the documentation.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use dbvitals_testkit::{Port, eventually};

use crate::PATIENCE;

/// The example of the documentation that is marked with this word.
pub(crate) fn example(word: &str) -> String {
    let document = include_str!("../../../../docs/operating/haproxy.md");
    let fence = format!("\n```haproxy {word}\n");
    let (_, rest) = document.split_once(&fence).expect("the example is there");
    let (text, _) = rest.split_once("```").expect("the example has an end");
    text.to_owned()
}

/// A running HAProxy, ended with this value.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    config: PathBuf,
    /// Where clients connect.
    pub(crate) front: SocketAddr,
    stats: SocketAddr,
    _ports: [Port; 2],
}

/// What HAProxy thinks of a server.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) weight: String,
    /// What the agent check said last.
    pub(crate) agent: String,
}

impl Proxy {
    /// Starts HAProxy with an example, its addresses and the ports of its checks replaced, and
    /// waits until it listens.
    pub(crate) fn start(
        program: &Path,
        example: &str,
        servers: &[SocketAddr; 2],
        checks: &[u16; 2],
    ) -> Self {
        let mut text = example.to_owned();
        for (number, (server, check)) in (1..).zip(servers.iter().zip(checks)) {
            text = with_addresses(&text, number, *server, *check);
        }
        Self::run(program, &text)
    }

    /// Starts HAProxy with a text, the address of its front replaced, and waits until it listens.
    pub(crate) fn run(program: &Path, text: &str) -> Self {
        static PROXIES: AtomicU32 = AtomicU32::new(0);
        let ports = [Port::reserve(), Port::reserve()];
        let [front, stats] =
            [&ports[0], &ports[1]].map(|port| SocketAddr::from(([127, 0, 0, 1], port.number())));
        let text = text.replace("127.0.0.1:3307", &front.to_string());
        let text = format!("global\n    stats socket ipv4@{stats} level admin\n\n{text}");
        let number = PROXIES.fetch_add(1, Ordering::Relaxed);
        let config = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("haproxy-{}-{number}.cfg", process::id()));
        fs::write(&config, text).expect("the target directory can be written");
        // In the foreground, and gone with the test, whatever the test's end.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(["-q", "-db", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .spawn()
            .expect("setpriv and haproxy can be started");
        let proxy = Self {
            child,
            config,
            front,
            stats,
            _ports: ports,
        };
        let listens = eventually(PATIENCE, || TcpStream::connect(stats).is_ok());
        assert!(listens, "haproxy does not listen");
        proxy
    }

    /// What HAProxy thinks of all servers.
    pub(crate) fn servers(&self) -> Vec<Server> {
        let mut stream = TcpStream::connect(self.stats).expect("the statistics socket listens");
        stream
            .write_all(b"show stat\n")
            .expect("the kernel takes bytes");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default().trim_start_matches("# ");
        let column = |line: &str, name: &str| {
            let at = head.split(',').position(|it| it == name);
            let value = at.and_then(|at| line.split(',').nth(at));
            value.unwrap_or_default().to_owned()
        };
        lines
            .map(|line| Server {
                name: column(line, "svname"),
                status: column(line, "status"),
                weight: column(line, "weight"),
                agent: column(line, "last_agt"),
            })
            .filter(|server| server.name.starts_with("orders-"))
            .collect()
    }

    /// What HAProxy thinks of one server.
    pub(crate) fn server(&self, name: &str) -> Server {
        let servers = self.servers();
        let found = servers.into_iter().find(|server| server.name == name);
        found.expect("HAProxy knows its servers")
    }
}

/// Replaces what stands in the line of a server.
fn with_addresses(text: &str, number: u32, server: SocketAddr, check: u16) -> String {
    let documented = format!("10.0.0.1{number}:3306");
    let lines = text.lines().map(|line| match line.contains(&documented) {
        true => line
            .replace(&documented, &server.to_string())
            .replace("port 13306", &format!("port {check}"))
            .replace("port 8307", &format!("port {check}")),
        false => line.to_owned(),
    });
    let mut text = lines.collect::<Vec<_>>().join("\n");
    text.push('\n');
    assert!(
        text.contains(&format!("port {check}")),
        "no server {number}"
    );
    text
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have refused its configuration and ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.config);
    }
}
