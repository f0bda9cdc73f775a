//! A network namespace as far as one may look into it: its listeners, who waits, its counters.
//!
//! A netlink socket sees the namespace in which it was opened, for as long as it is open. Another
//! namespace is entered by a thread made for that, which ends at once and leaves the socket; it
//! needs CAP_SYS_ADMIN. Without it there are the tables in /proc, which everybody may read.

use std::collections::BTreeMap;
use std::fs::{self, File, metadata};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{io, thread};

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::answer::{Row, TcpRow};
use crate::counters::Counters;
use crate::listener::{Listener, Listeners, Local};
use crate::netlink::Malformed;
use crate::question::{IpVersion, Question};
use crate::socket::{AskError, DiagSocket};
use crate::tables::{Tables, net_of, parse_unix, read_again};
use crate::waiting::Waiting;

/// The tables of the calling thread's namespace.
const OWN_NET: &str = "/proc/thread-self/net";
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";
/// There stays room for so many sockets from one question to the next.
const ROWS_KEPT: usize = 1024;

/// Why a namespace cannot be looked into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is none: the process has ended, or the file is no namespace's.
    #[error("no network namespace at {path}: {source}")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not even the tables can be read.
    #[error("failed to open the tables of a network namespace: {0}")]
    Tables(#[source] io::Error),
}

/// How much can be seen of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Everything that the kernel tells of queues.
    Whole,
    /// What /proc has: no limits, no drops, no clients on unix sockets. To see the rest takes
    /// CAP_SYS_ADMIN, or a kernel with sock_diag.
    Tables,
}

/// A network namespace that can be looked into. While it is held, the namespace exists.
#[derive(Debug)]
pub struct Namespace {
    source: Source,
    netstat: File,
    /// The table of unix sockets, for kernels that have no better answer.
    unix: File,
    somaxconn: Option<File>,
    id: u64,
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Source {
    Diag(DiagSocket),
    Tables(Tables),
}

impl Namespace {
    /// Opens that of the calling thread.
    ///
    /// # Errors
    ///
    /// Fails where neither sock_diag nor /proc is there.
    pub fn current() -> Result<Self, OpenError> {
        Self::open_here().or_else(|_| Self::open_tables(Path::new(OWN_NET)))
    }

    /// Opens that of a process, as far as this process may.
    ///
    /// # Errors
    ///
    /// Fails where the process is gone.
    pub fn of_process(pid: u32) -> Result<Self, OpenError> {
        let net = net_of(pid);
        if id_of(&net).is_ok_and(|id| id_of(Path::new(OWN_NET)).is_ok_and(|own| own == id)) {
            return Self::current();
        }
        Self::of_file(&PathBuf::from(format!("/proc/{pid}/ns/net")))
            .or_else(|_| Self::open_tables(&net))
    }

    /// Opens the one that a file stands for, as those in `/run/netns` do.
    ///
    /// # Errors
    ///
    /// Fails where there is no such file, and without CAP_SYS_ADMIN.
    pub fn of_file(path: &Path) -> Result<Self, OpenError> {
        let missing = |source| OpenError::Missing {
            path: path.to_owned(),
            source,
        };
        let namespace = File::open(path).map_err(missing)?;
        let enter_and_open = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network)
                .map_err(|error| missing(error.into()))?;
            Self::open_here()
        };
        thread::scope(|scope| {
            let entered = scope.spawn(enter_and_open).join();
            entered.unwrap_or_else(|_| Err(missing(io::Error::other("the thread ended"))))
        })
    }

    /// Opens the calling thread's with sock_diag, if it answers.
    fn open_here() -> Result<Self, OpenError> {
        let mut socket = DiagSocket::open().map_err(OpenError::Tables)?;
        let asked = socket.ask(Question::TcpListeners(IpVersion::V4), &mut Vec::new());
        asked.map_err(|error| OpenError::Tables(io::Error::other(error)))?;
        Self::with(Path::new(OWN_NET), |_| Ok(Source::Diag(socket)), true)
    }

    fn open_tables(net: &Path) -> Result<Self, OpenError> {
        let is_own = net == Path::new(OWN_NET);
        Self::with(net, |net| Tables::open(net).map(Source::Tables), is_own)
    }

    fn with(
        net: &Path,
        source: impl FnOnce(&Path) -> io::Result<Source>,
        is_own: bool,
    ) -> Result<Self, OpenError> {
        let netstat = File::open(net.join("netstat")).map_err(OpenError::Tables)?;
        let id = netstat.metadata().map_err(OpenError::Tables)?.ino();
        // Settings are those of whoever opens the file.
        let somaxconn = is_own.then(|| File::open(SOMAXCONN).ok()).flatten();
        Ok(Self {
            source: source(net).map_err(OpenError::Tables)?,
            netstat,
            unix: File::open(net.join("unix")).map_err(OpenError::Tables)?,
            somaxconn,
            id,
            rows: Vec::new(),
        })
    }

    /// What tells it from other namespaces of this machine, to every user alike.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How much can be seen of it.
    #[must_use]
    pub fn sight(&self) -> Sight {
        match self.source {
            Source::Diag(_) => Sight::Whole,
            Source::Tables(_) => Sight::Tables,
        }
    }

    /// All its listeners at this moment: three short walks, tens of microseconds, however many TCP
    /// connections there are. Asked once, it answers for every backend of this machine.
    ///
    /// # Errors
    ///
    /// Fails where the kernel refuses, which it does not while the namespace is open. One that was
    /// built without `unix_diag` tells no limits of unix sockets.
    pub fn sample(&mut self) -> Result<Listeners, AskError> {
        let socket = match &mut self.source {
            Source::Diag(socket) => socket,
            Source::Tables(tables) => return Ok(tables.listeners()?),
        };
        self.rows.clear();
        socket.ask(Question::TcpListeners(IpVersion::V4), &mut self.rows)?;
        absent_is_empty(socket.ask(Question::TcpListeners(IpVersion::V6), &mut self.rows))?;
        self.add_unix()
    }

    /// Its unix listeners at this moment, which is the part of a sample that TCP has no lookup for.
    ///
    /// # Errors
    ///
    /// As [`sample`](Self::sample).
    pub fn unix_listeners(&mut self) -> Result<Listeners, AskError> {
        self.rows.clear();
        self.add_unix()
    }

    /// The listeners among the rows, and the unix ones.
    fn add_unix(&mut self) -> Result<Listeners, AskError> {
        let asked = match &mut self.source {
            Source::Diag(socket) => socket.ask(Question::UnixListeners, &mut self.rows),
            Source::Tables(_) => Err(AskError::Refused(Errno::NOENT.into())),
        };
        let in_table = match asked {
            // Here, or in this kernel, nobody can be asked.
            Err(AskError::Refused(error)) if is(&error, Errno::NOENT) => {
                parse_unix(&read_again(&mut self.unix)?)
            }
            asked => asked.map(|()| Vec::new())?,
        };
        let told = self.rows.drain(..).filter_map(Listener::from_row);
        Ok(told.chain(in_table).collect())
    }

    /// The listener that a TCP connect to this address reaches, found without a walk: about a
    /// microsecond. Of a group that listens with SO_REUSEPORT it is one; [`sample`](Self::sample)
    /// shows all. The unspecified address finds those that listen on all addresses.
    ///
    /// # Errors
    ///
    /// Fails where the kernel refuses.
    pub fn tcp_listener(&mut self, address: SocketAddr) -> Result<Option<Listener>, AskError> {
        match &mut self.source {
            Source::Diag(socket) => {
                let found = socket.ask_for_one(Question::TcpListener(address))?;
                Ok(found.and_then(Listener::from_row))
            }
            Source::Tables(tables) => {
                let listeners = tables.listeners()?;
                Ok(listeners.reached_at(address).first().copied().cloned())
            }
        }
    }

    /// Who waits at one of the listeners of a sample. On TCP this walks through all connections of
    /// the namespace, on unix sockets through one queue. Members of a group that listens with
    /// SO_REUSEPORT cannot be told apart by it: each shows the clients of all.
    ///
    /// # Errors
    ///
    /// Fails where the kernel refuses.
    pub fn waiting(&mut self, listener: &Listener, among: &Listeners) -> Result<Waiting, AskError> {
        let Local::Tcp { address, .. } = &listener.local else {
            return self.waiting_on_unix(listener.inode);
        };
        let is_its_own = |to: SocketAddr| {
            let reached = among.reached_at(to);
            reached.iter().any(|it| it.is_same_socket(listener))
        };
        let first = Waiting::of_tcp(&self.connections(address.port())?, is_its_own);
        if first.ghosts.is_empty() {
            return Ok(first);
        }
        let mut second = Waiting::of_tcp(&self.connections(address.port())?, is_its_own);
        second.confirm_ghosts(&first);
        Ok(second)
    }

    fn connections(&mut self, port: u16) -> Result<Vec<TcpRow>, AskError> {
        let socket = match &mut self.source {
            Source::Diag(socket) => socket,
            Source::Tables(tables) => {
                let mut rows = tables.connections()?;
                let is_at_port =
                    |row: &TcpRow| row.local.port() == port || row.remote.port() == port;
                rows.retain(|row| is_at_port(row) && Waiting::may_use(row));
                return Ok(rows);
            }
        };
        let is_wanted = |row: &Row| matches!(row, Row::Tcp(row) if Waiting::may_use(row));
        self.rows.clear();
        let mut ask = |version| {
            let question = Question::TcpConnections(version, port);
            socket.ask_for(question, is_wanted, &mut self.rows)
        };
        ask(IpVersion::V4)?;
        absent_is_empty(ask(IpVersion::V6))?;
        let tcp = |row| match row {
            Row::Tcp(row) => Some(row),
            Row::Unix(_) => None,
        };
        let found = self.rows.drain(..).filter_map(tcp).collect();
        // A crowd that has gone takes no room any more.
        self.rows.shrink_to(ROWS_KEPT);
        Ok(found)
    }

    fn waiting_on_unix(&mut self, inode: u32) -> Result<Waiting, AskError> {
        let Source::Diag(socket) = &mut self.source else {
            return Ok(Waiting::default());
        };
        let pending = match socket.ask_for_one(Question::UnixClientsOf(inode)) {
            // Too many for the answer about one; the walk has room for more.
            Err(AskError::Refused(error)) if is(&error, Errno::MSGSIZE) => {
                self.rows.clear();
                socket.ask(Question::UnixClients, &mut self.rows)?;
                let mut all = self.rows.drain(..);
                all.find(|row| matches!(row, Row::Unix(row) if row.inode == inode))
            }
            answer => answer?,
        };
        match pending {
            Some(Row::Unix(row)) => Ok(Waiting::of_unix(&row.pending.unwrap_or_default())),
            Some(Row::Tcp(_)) | None => Ok(Waiting::default()),
        }
    }

    /// The namespace's counters of overflows.
    ///
    /// # Errors
    ///
    /// Fails where the table cannot be read, or lacks them.
    pub fn counters(&mut self) -> Result<Counters, AskError> {
        let text = read_again(&mut self.netstat)?;
        let text = str::from_utf8(&text).map_err(|_| Malformed("counters are no text"))?;
        Ok(Counters::parse(text)?)
    }

    /// The highest limit that a listen() gets now; those made before keep theirs. `None` where it
    /// cannot be seen.
    pub fn somaxconn(&mut self) -> Option<u32> {
        let text = read_again(self.somaxconn.as_mut()?).ok()?;
        str::from_utf8(&text).ok()?.trim().parse().ok()
    }
}

/// A kernel without IPv6 has no such sockets.
fn absent_is_empty(asked: Result<(), AskError>) -> Result<(), AskError> {
    match asked {
        Err(AskError::Refused(error)) if is(&error, Errno::NOENT) => Ok(()),
        asked => asked,
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Which namespace the tables belong to: the number of a file is its namespace's alone, and unlike
/// the link in `/proc/PID/ns` everybody may ask for it.
fn id_of(net: &Path) -> io::Result<u64> {
    Ok(metadata(net.join("netstat"))?.ino())
}

/// The network namespaces of all processes that can be seen, by their ids, each with the oldest
/// process in it by number. Those without a process are in `/run/netns`, if anywhere.
///
/// # Errors
///
/// Fails where there is no /proc.
pub fn namespaces() -> io::Result<BTreeMap<u64, u32>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that ended meanwhile has none.
        if let Ok(id) = id_of(&net_of(pid)) {
            let oldest = found.entry(id).or_insert(pid);
            *oldest = pid.min(*oldest);
        }
    }
    Ok(found)
}
