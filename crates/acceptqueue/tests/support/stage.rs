//! A network of its own for a test, entered by threads: sockets stay in the namespace in which
//! they were made, so a test may keep them, and look from inside or outside, as root or as nobody.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use dbvitals_testkit::{Network, left_out};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, LinkNameSpaceType, capabilities, move_into_link_name_space, set_capabilities,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use socket2::{Domain, SockAddr, Socket, Type};

const NOBODY: u32 = 65534;

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Eye {
    Root,
    Nobody,
    /// Root as most containers have it: without CAP_SYS_PTRACE.
    BoundedRoot,
}

pub(crate) const EYES: [Eye; 2] = [Eye::Root, Eye::Nobody];

/// A network, and a directory for unix sockets that everybody may use.
pub(crate) struct Stage {
    pub(crate) network: Network,
    directory: PathBuf,
}

impl Stage {
    /// Sets one up for a test, or says that the test is left out.
    pub(crate) fn set_up(test: &str) -> Option<Self> {
        if !geteuid().is_root() {
            left_out(test, "needs root, to enter network namespaces");
            return None;
        }
        let network = Network::new();
        let directory = std::env::temp_dir().join(format!("acceptqueue-{}", network.pid()));
        fs::create_dir(&directory).expect("a directory of its own");
        Some(Self { network, directory })
    }

    /// Runs something in a thread that is inside.
    pub(crate) fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        self.inside_as(Eye::Root, what)
    }

    /// Runs something in a thread that is inside, with or without privileges.
    pub(crate) fn inside_as<T: Send>(&self, eye: Eye, what: impl FnOnce() -> T + Send) -> T {
        let namespace = fs::File::open(self.network.file()).expect("the namespace exists");
        on_a_thread(|| {
            move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&namespace),
                Some(LinkNameSpaceType::Network),
            )
            .expect("root may enter");
            as_eye(eye, what)
        })
    }

    /// Sets a sysctl of the network.
    pub(crate) fn set(&self, name: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(name);
        self.inside(|| fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Makes the loopback so slow that handshakes which begin together end together; says whether
    /// this kernel can.
    pub(crate) fn slow_down(&self) -> bool {
        let shape = "ip link set lo mtu 1500 && \
                     tc qdisc add dev lo root tbf rate 80kbit burst 120 latency 60s";
        let run = || Command::new("sh").args(["-c", shape]).output();
        self.inside(run).is_ok_and(|done| done.status.success())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A TCP listener; several may share an address.
    pub(crate) fn listen_tcp(&self, address: &str, backlog: i32) -> (Socket, SocketAddr) {
        let address: SocketAddr = address.parse().expect("an address");
        let socket = self.inside(|| Socket::new(Domain::for_address(address), Type::STREAM, None));
        let socket = socket.expect("a socket");
        socket.set_reuse_port(true).expect("an option");
        if address.is_ipv6() {
            socket.set_only_v6(false).expect("an option");
        }
        socket.bind(&address.into()).expect("a free address");
        socket.listen(backlog).expect("a listener");
        let local = socket.local_addr().expect("a bound socket has an address");
        (
            socket,
            local.as_socket().expect("an address of the Internet"),
        )
    }

    /// A unix listener at a path that everybody may connect to.
    pub(crate) fn listen_unix(&self, name: &str, backlog: i32) -> (Socket, PathBuf) {
        let path = self.path(name);
        let socket = self.inside(|| Socket::new(Domain::UNIX, Type::STREAM, None));
        let socket = socket.expect("a socket");
        let address = SockAddr::unix(&path).expect("a short path");
        socket.bind(&address).expect("a free path");
        socket.listen(backlog).expect("a listener");
        (socket, path)
    }

    /// Begins a TCP connect, and waits for nothing.
    pub(crate) fn knock(&self, at: SocketAddr) -> Socket {
        let socket = self.inside(|| Socket::new(Domain::for_address(at), Type::STREAM, None));
        let socket = socket.expect("a socket");
        socket.set_nonblocking(true).expect("an option");
        match socket.connect(&at.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(115) => {}
            Err(error) => panic!("cannot connect to {at}: {error}"),
        }
        socket
    }

    /// Connects to a unix listener, waiting for room where there is none.
    pub(crate) fn connect_unix(path: &Path) -> UnixStream {
        UnixStream::connect(path).expect("somebody listens")
    }

    /// What `ss` says of all listeners: name, length, limit, drops.
    pub(crate) fn ss(&self) -> Vec<(String, u32, u32, Option<u32>)> {
        let output = self.inside(|| Command::new("ss").args(["-HOlntxm"]).output());
        let output = output.expect("ss, of iproute2, can be started");
        let text = String::from_utf8(output.stdout).expect("ss writes UTF-8");
        let mut rows: Vec<_> = text.lines().map(read_ss).collect();
        rows.sort();
        rows
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Files of sockets; a directory that stays harms nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Runs something in a thread with or without privileges, outside.
pub(crate) fn outside_as<T: Send>(eye: Eye, what: impl FnOnce() -> T + Send) -> T {
    on_a_thread(|| as_eye(eye, what))
}

fn on_a_thread<T: Send>(what: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(what).join()).unwrap_or_else(|cause| {
        std::panic::resume_unwind(cause);
    })
}

fn as_eye<T>(eye: Eye, what: impl FnOnce() -> T) -> T {
    match eye {
        Eye::Root => {}
        Eye::Nobody => become_nobody().expect("root may become nobody"),
        Eye::BoundedRoot => give_up_tracing().expect("privileges may be given up"),
    }
    what()
}

/// This thread alone, and with all privileges gone.
fn become_nobody() -> io::Result<()> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    Ok(())
}

/// This thread alone.
fn give_up_tracing() -> io::Result<()> {
    let mut held = capabilities(None)?;
    held.permitted.remove(CapabilitySet::SYS_PTRACE);
    held.effective.remove(CapabilitySet::SYS_PTRACE);
    held.inheritable.remove(CapabilitySet::SYS_PTRACE);
    Ok(set_capabilities(None, held)?)
}

/// `tcp LISTEN 5 80 0.0.0.0:3306 0.0.0.0:* skmem:(r0,…,d3)`, `u_str LISTEN 5 80 /path 42 * 0 …`.
fn read_ss(line: &str) -> (String, u32, u32, Option<u32>) {
    let words: Vec<_> = line.split_whitespace().collect();
    let number = |at: usize| words[at].parse().expect("a number");
    let drops = line
        .rsplit_once(",d")
        .and_then(|(_, drops)| drops.split(')').next()?.parse().ok());
    let drops = drops.filter(|_| words[0] == "tcp");
    // What takes both versions is a star to ss.
    let name = words[4].replace('*', "[::]");
    (name, number(2), number(3), drops)
}
