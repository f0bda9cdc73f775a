//! Finds the socket of a connection that its driver does not show.
//!
//! It was not there before the connection was opened. Over TCP the server tells the port that it
//! sees, which with the peer's address names one socket. Over a unix socket nothing tells one
//! connection from another, so those to one path are opened one after the other. In doubt there is
//! none, and the pool has nothing to look at.
//!
//! A socket of this process is duplicated by its number (F_DUPFD_CLOEXEC). pidfd_getfd would do the
//! same, but the seccomp profile of most containers refuses it; opening `/proc/self/fd/N` does not
//! work for sockets. Only what is a socket is duplicated: to close any descriptor of a file gives
//! up the locks that the process has on it. The links of all descriptors are read before, and again
//! after, from the highest number on, beside the runtime's workers: among ten thousand sockets that
//! takes 30 ms before, and 10 ms after, or 60 if it took the lowest number (unoptimised).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use filedescriptor::FileDescriptor;
use rustix::net::{SocketAddrUnix, getpeername, getsockname};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Whose turn it is to connect to each path: what is new among the sockets of a process is known
/// only while nobody else connects.
static TURNS: Mutex<BTreeMap<PathBuf, Arc<AsyncMutex<()>>>> = Mutex::new(BTreeMap::new());

/// A search, begun before the connection is opened.
#[derive(Debug)]
pub(crate) struct Search {
    target: Target,
    /// `None` where it could not be found out.
    known: Option<KnownSockets>,
    turn: Option<OwnedMutexGuard<()>>,
}

/// What the socket will be connected to.
#[derive(Debug)]
enum Target {
    Peer(Peer),
    Path(PathBuf),
}

/// What is known of the other end of a TCP connection before it is connected to.
#[derive(Debug, Clone, Copy)]
struct Peer {
    /// `None` if it has a name.
    address: Option<IpAddr>,
    port: u16,
}

/// A descriptor, and the kernel's number of its socket.
type Found = (i32, u64);

/// The kernel's numbers of sockets.
type KnownSockets = BTreeSet<u64>;

impl Search {
    pub(crate) async fn over_tcp(host: &str, port: u16) -> Self {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let address: Option<IpAddr> = literal.parse().ok();
        // Who connects to the unspecified address reaches the loopback.
        let address = address.filter(|it| !it.is_unspecified());
        Self {
            target: Target::Peer(Peer { address, port }),
            known: known_sockets().await,
            turn: None,
        }
    }

    /// Waits until nobody else connects to this path; others wait until the search has ended.
    pub(crate) async fn over_unix(path: PathBuf) -> Self {
        let turn = {
            let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(path.clone()).or_default())
        };
        let turn = turn.lock_owned().await;
        Self {
            target: Target::Path(path),
            known: known_sockets().await,
            turn: Some(turn),
        }
    }

    /// Whether the server has to be asked for the port that it sees.
    #[cfg(any(feature = "mysql_async", feature = "sqlx-mysql"))]
    pub(crate) fn needs_port(&self) -> bool {
        matches!(self.target, Target::Peer(_))
    }

    /// The socket, once the connection is open; `own_port` is what the server sees.
    pub(crate) async fn find(self, own_port: Option<u16>) -> Option<OwnedFd> {
        let Self {
            target,
            known,
            turn: _turn,
        } = self;
        let known = known?;
        let found = tokio::task::spawn_blocking(move || {
            let new = sockets().filter(|(_, inode)| !known.contains(inode));
            match target {
                Target::Peer(peer) => peer.find(new, own_port?),
                Target::Path(path) => find_one(new, &path),
            }
        });
        found.await.ok()?
    }
}

/// The sockets that this process has by now.
async fn known_sockets() -> Option<KnownSockets> {
    let known = || sockets().map(|(_, inode)| inode).collect();
    tokio::task::spawn_blocking(known).await.ok()
}

impl Peer {
    /// The socket from this port to this peer: no two have the same four numbers. It has to be new,
    /// as the port that the server sees may be a proxy's, and one of this process' by chance.
    fn find(self, new: impl Iterator<Item = Found>, own_port: u16) -> Option<OwnedFd> {
        let is_met = |socket: &FileDescriptor| {
            let here = getsockname(socket).ok();
            let here = here.and_then(|it| SocketAddr::try_from(it).ok());
            let peer = getpeername(socket).ok().flatten();
            let peer = peer.and_then(|it| SocketAddr::try_from(it).ok());
            here.is_some_and(|it| it.port() == own_port) && peer.is_some_and(|it| self.is_at(it))
        };
        own(new.filter_map(duplicate).find(is_met)?)
    }

    fn is_at(self, peer: SocketAddr) -> bool {
        let is_other = |address: IpAddr| address.to_canonical() != peer.ip().to_canonical();
        peer.port() == self.port && !self.address.is_some_and(is_other)
    }
}

/// The socket to this path, if there is just one.
fn find_one(new: impl Iterator<Item = Found>, path: &Path) -> Option<OwnedFd> {
    let mut found = None;
    for (descriptor, inode) in new {
        // The driver may have a duplicate of it.
        if found.as_ref().is_some_and(|(_, it)| *it == inode) {
            continue;
        }
        let Some(socket) = duplicate((descriptor, inode)) else {
            continue;
        };
        if leads_to(&socket, path) && found.replace((socket, inode)).is_some() {
            return None;
        }
    }
    own(found?.0)
}

/// Whether a socket is connected to this path, by whatever name the server calls it.
fn leads_to(socket: &FileDescriptor, path: &Path) -> bool {
    let peer = getpeername(socket).ok().flatten();
    let peer = peer.and_then(|it| SocketAddrUnix::try_from(it).ok());
    let Some(bytes) = peer.as_ref().and_then(SocketAddrUnix::path_bytes) else {
        return false;
    };
    let bound = Path::new(OsStr::from_bytes(bytes));
    let file = |path: &Path| fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    bound == path || file(bound).is_some_and(|it| file(path) == Some(it))
}

/// The sockets among this process' descriptors, from the highest number on: where none has become
/// free among the others, the newest comes first.
fn sockets() -> impl Iterator<Item = Found> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let numbers: BTreeSet<i32> = entries.flatten().filter_map(number).collect();
    numbers.into_iter().rev().filter_map(|descriptor| {
        let target = fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?;
        let inode = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?;
        Some((descriptor, inode.parse().ok()?))
    })
}

/// Duplicates a socket, unless its number belongs to another by now.
fn duplicate((descriptor, inode): Found) -> Option<FileDescriptor> {
    let duplicate = FileDescriptor::dup(&descriptor).ok()?;
    let is_same = rustix::fs::fstat(&duplicate).is_ok_and(|it| it.st_ino == inode);
    is_same.then_some(duplicate)
}

fn own(socket: FileDescriptor) -> Option<OwnedFd> {
    socket.as_fd().try_clone_to_owned().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn the_socket_with_the_port_and_the_peer_is_found() {
        let (listener, address) = listener();
        let search = Search::over_tcp("127.0.0.1", address.port()).await;
        let client = TcpStream::connect(address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let own_port = client.local_addr().unwrap().port();
        let found = search.find(Some(own_port)).await.unwrap();
        server.write_all(b"x").unwrap();
        let mut byte = [0];
        TcpStream::from(found).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");

        let late = Search::over_tcp("127.0.0.1", address.port()).await;
        assert!(late.find(Some(own_port)).await.is_none(), "not new");
        for own_port in [Some(1), None] {
            let search = Search::over_tcp("127.0.0.1", address.port()).await;
            let _client = TcpStream::connect(address).unwrap();
            assert!(search.find(own_port).await.is_none(), "{own_port:?}");
        }
    }

    #[tokio::test]
    async fn a_socket_to_another_peer_is_not_taken() {
        let (listener, address) = listener();
        let port = address.port();
        for (host, port, is_found) in [
            ("127.0.0.1", port, true),
            ("127.0.0.1", port ^ 1, false),
            ("127.0.0.2", port, false),
            ("::1", port, false),
            ("[::ffff:127.0.0.1]", port, true),
            ("0.0.0.0", port, true),
            ("localhost", port, true),
        ] {
            let search = Search::over_tcp(host, port).await;
            let client = TcpStream::connect(address).unwrap();
            let _accepted = listener.accept().unwrap();
            let own_port = client.local_addr().unwrap().port();
            let found = search.find(Some(own_port)).await;
            assert_eq!(found.is_some(), is_found, "{host}:{port}");
        }
    }

    #[tokio::test]
    async fn over_a_unix_socket_it_is_the_one_that_is_new() {
        let directory = std::env::temp_dir().join(format!("dbvitals-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        let _known = UnixStream::connect(&path).unwrap();
        let begin = || Search::over_unix(path.clone());

        let search = begin().await;
        assert!(search.find(None).await.is_none(), "nobody connected");
        let search = begin().await;
        let one = UnixStream::connect(&path).unwrap();
        let _duplicate = one.try_clone().unwrap();
        assert!(search.find(None).await.is_some(), "one, by two numbers");
        let search = begin().await;
        let _strangers = [(); 2].map(|()| UnixStream::connect(&path).unwrap());
        assert!(search.find(None).await.is_none(), "which of two?");

        let alias = directory.join("alias");
        std::os::unix::fs::symlink(&path, &alias).unwrap();
        let search = Search::over_unix(alias.clone()).await;
        let _client = UnixStream::connect(&alias).unwrap();
        assert!(search.find(None).await.is_some(), "by another name");
        fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn who_connects_to_a_path_waits_until_the_one_before_was_found() {
        let path = PathBuf::from("/nowhere/at/all");
        let first = Search::over_unix(path.clone()).await;
        let mut second = Box::pin(Search::over_unix(path));
        let pending = tokio::time::timeout(std::time::Duration::from_millis(20), &mut second);
        assert!(pending.await.is_err());
        drop(Search::over_unix(PathBuf::from("/another")).await);
        assert!(first.find(None).await.is_none());
        drop(second.await);
    }
}
