//! Finds the socket of a connection that its driver does not show.
//!
//! A socket of this process is duplicated by `pidfd_getfd`, which needs no `unsafe`. It counts only
//! if it is the one socket that was not there before the connection was made and that has the
//! address sought: in doubt there is none, and the pool has nothing to look at.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::net::{SocketAddrAny, SocketAddrUnix, getpeername, getsockname};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// What a socket is recognised by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sought {
    /// Its own port.
    Port(u16),
    /// The path of the unix socket it is connected to.
    Path(PathBuf),
}

/// The kernel's numbers of sockets.
pub(crate) type KnownSockets = BTreeSet<u64>;

/// The sockets that this process has by now.
pub(crate) fn known_sockets() -> KnownSockets {
    descriptors().map(|(_, inode)| inode).collect()
}

impl Sought {
    /// The socket, if there is exactly one like it that is not known.
    pub(crate) fn find_among_new(&self, known: &KnownSockets) -> Option<OwnedFd> {
        let this = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
        let mut found = None;
        for (descriptor, inode) in descriptors().filter(|(_, inode)| !known.contains(inode)) {
            // A search beside this one may hold a duplicate of the very same socket for a moment.
            if found.as_ref().is_some_and(|(_, it)| *it == inode) {
                continue;
            }
            let Ok(socket) = pidfd_getfd(&this, descriptor, PidfdGetfdFlags::empty()) else {
                continue;
            };
            if self.is_met_by(&socket) && found.replace((socket, inode)).is_some() {
                return None;
            }
        }
        found.map(|(socket, _)| socket)
    }

    fn is_met_by(&self, socket: &OwnedFd) -> bool {
        match self {
            Self::Port(port) => {
                let is_connected = getpeername(socket).is_ok();
                let own = getsockname(socket).ok();
                is_connected && own.and_then(port_of) == Some(*port)
            }
            Self::Path(path) => {
                let peer = getpeername(socket).ok().flatten();
                let peer = peer.and_then(|it| SocketAddrUnix::try_from(it).ok());
                peer.and_then(|it| it.path().map(|it| it.to_bytes().to_vec()))
                    == Some(path.as_os_str().as_encoded_bytes().to_vec())
            }
        }
    }
}

/// The sockets among this process' descriptors, with the kernel's numbers for them.
fn descriptors() -> impl Iterator<Item = (i32, u64)> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten();
    entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let descriptor = entry.file_name().to_str()?.parse().ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        let inode = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?;
        Some((descriptor, inode.parse().ok()?))
    })
}

fn port_of(address: SocketAddrAny) -> Option<u16> {
    let address = std::net::SocketAddr::try_from(address).ok()?;
    Some(address.port())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn the_one_new_socket_with_the_port_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let before = known_sockets();
        let client = TcpStream::connect(address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let sought = Sought::Port(client.local_addr().unwrap().port());
        let found = sought.find_among_new(&before).unwrap();
        server.write_all(b"x").unwrap();
        let mut byte = [0];
        TcpStream::from(found).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn in_doubt_there_is_none() {
        let path = std::env::temp_dir().join(format!("dbvitals-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let before = known_sockets();
        let sought = Sought::Path(path.clone());
        let one = UnixStream::connect(&path).unwrap();
        let _duplicate = one.try_clone().unwrap();
        assert!(sought.find_among_new(&before).is_some(), "the same socket");
        assert!(Sought::Port(1).find_among_new(&before).is_none());
        let known = known_sockets();
        assert!(sought.find_among_new(&known).is_none(), "not new");
        let _two = UnixStream::connect(&path).unwrap();
        assert!(sought.find_among_new(&before).is_none(), "which of two?");
        drop(listener);
        fs::remove_file(path).unwrap();
    }
}
