//! A listening socket with its accept queue, and all those of one moment.

use std::fs::metadata;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{fmt, slice};

use rustix::fs::{major, minor};

use crate::answer::{FileId, Row, TcpRow, TcpState, UnixRow};
use crate::name::UnixName;
use crate::tables::{parse_tcp, parse_unix};

/// A listening socket and its accept queue, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub local: Local,
    /// How many connections wait to be accepted. On a unix socket of which only the tables could be
    /// read, at least so many: the table of a namespace has its own clients alone.
    pub length: u32,
    /// The limit in force, taken when listen() was called; `None` where only the tables of another
    /// namespace could be read.
    pub limit: Option<u32>,
    /// What the socket dropped, of TCP only: each overflow counts once where a SYN was dropped, and
    /// twice where it was the last acknowledgement. Handshakes that clients broke off are in it too,
    /// so it does not prove an overflow; [`overflows_of`](crate::overflows_of) reads it.
    pub drops: Option<u32>,
    /// Its inode, by which its processes are found.
    pub inode: u32,
    /// What no other socket of this boot ever has; 0 where only tables could be read.
    pub cookie: u64,
    /// The user who made it.
    pub uid: Option<u32>,
}

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// On TCP.
    Tcp {
        /// The address and port; the address may be the unspecified one.
        address: SocketAddr,
        /// Whether an IPv6 socket takes IPv4 clients too.
        takes_v4: bool,
        /// The interface it is bound to; 0 is none.
        interface: u32,
    },
    /// On a unix socket.
    Unix {
        /// Its name.
        name: UnixName,
        /// Its file, where it has one and the kernel told.
        file: Option<FileId>,
    },
}

/// The kind of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6, or both.
    Tcp6,
    /// A unix socket, stream or seqpacket.
    Unix,
}

impl Listener {
    pub(crate) fn from_tcp(row: &TcpRow) -> Option<Self> {
        if row.state != TcpState::Listen {
            return None;
        }
        let local = Local::Tcp {
            address: row.local,
            takes_v4: row.local.is_ipv6() && row.local.ip().is_unspecified() && !row.only_v6,
            interface: row.interface,
        };
        Some(Self {
            local,
            length: row.receive_queue,
            limit: Some(row.send_queue),
            drops: row.drops,
            inode: row.inode,
            cookie: row.cookie,
            uid: Some(row.uid),
        })
    }

    pub(crate) fn from_unix(row: UnixRow) -> Option<Self> {
        let (length, limit) = row.queue?;
        let local = Local::Unix {
            name: row.name,
            file: row.file,
        };
        Some(Self {
            local,
            length,
            limit: Some(limit),
            drops: None,
            inode: row.inode,
            cookie: row.cookie,
            uid: row.uid,
        })
    }

    /// What a row says of a listener, if it is one's.
    #[must_use]
    pub fn from_row(row: Row) -> Option<Self> {
        match row {
            Row::Tcp(row) => Self::from_tcp(&row),
            Row::Unix(row) => Self::from_unix(row),
        }
    }

    /// The kind.
    #[must_use]
    pub fn family(&self) -> Family {
        match &self.local {
            Local::Tcp { address, .. } if address.is_ipv4() => Family::Tcp4,
            Local::Tcp { .. } => Family::Tcp6,
            Local::Unix { .. } => Family::Unix,
        }
    }

    /// The port, of TCP.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.local {
            Local::Tcp { address, .. } => Some(address.port()),
            Local::Unix { .. } => None,
        }
    }

    /// How many connections fit: one more than the limit, since the kernel refuses only beyond it.
    #[must_use]
    pub fn capacity(&self) -> Option<u32> {
        self.limit.map(|limit| limit.saturating_add(1))
    }

    /// Whether the next connection finds no room; `None` where the limit is not known.
    #[must_use]
    pub fn is_full(&self) -> Option<bool> {
        self.limit.map(|limit| self.length > limit)
    }

    /// Whether both are the same socket, at different moments.
    #[must_use]
    pub fn is_same_socket(&self, other: &Self) -> bool {
        (self.inode, self.cookie) == (other.inode, other.cookie)
    }

    /// How well a connect to this address fits; the kernel gives it to those that fit best.
    fn fit(&self, to: SocketAddr) -> Option<u8> {
        let Local::Tcp {
            address, takes_v4, ..
        } = self.local
        else {
            return None;
        };
        if address.port() != to.port() {
            return None;
        }
        let (here, there) = (address.ip().to_canonical(), to.ip().to_canonical());
        match (here, there) {
            _ if here == there => Some(3),
            (IpAddr::V4(here), IpAddr::V4(_)) if here.is_unspecified() => Some(2),
            (IpAddr::V6(here), IpAddr::V6(_)) if here.is_unspecified() => Some(2),
            (IpAddr::V6(_), IpAddr::V4(_)) if takes_v4 => Some(1),
            _ => None,
        }
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, .. } => address.fmt(f),
            Self::Unix { name, .. } => name.fmt(f),
        }
    }
}

impl Family {
    /// Its name in documents: `tcp4`, `tcp6`, `unix`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp4 => "tcp4",
            Self::Tcp6 => "tcp6",
            Self::Unix => "unix",
        }
    }
}

impl FileId {
    /// Which file is at a path.
    ///
    /// # Errors
    ///
    /// Fails where there is none, or where it may not be looked at.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = metadata(path)?;
        Ok(Self {
            major: major(metadata.dev()),
            minor: minor(metadata.dev()),
            // The kernel tells so much of it.
            inode: metadata.ino() & u64::from(u32::MAX),
        })
    }
}

/// The listeners of a network namespace at one moment: TCP by port, then unix by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listeners {
    tcp: Vec<Listener>,
    unix: Vec<Listener>,
}

impl FromIterator<Listener> for Listeners {
    fn from_iter<I: IntoIterator<Item = Listener>>(found: I) -> Self {
        let is_tcp = |listener: &Listener| listener.port().is_some();
        let (mut tcp, mut unix): (Vec<_>, Vec<_>) = found.into_iter().partition(is_tcp);
        tcp.sort_by_cached_key(|it| (it.port(), it.family(), it.local.to_string(), it.inode));
        unix.sort_by_cached_key(|it| (it.local.to_string(), it.inode));
        Self { tcp, unix }
    }
}

impl Listeners {
    /// Reads what `/proc/net/tcp`, `tcp6` (one after the other) and `unix` hold. They have neither
    /// limits nor drops, and of unix queues the clients of their own namespace alone.
    #[must_use]
    pub fn from_tables(tcp: &[u8], unix: &[u8]) -> Self {
        let rows = parse_tcp(tcp).filter_map(|row| Listener::from_tcp(&row));
        let unlimited = rows.map(|listener| Listener {
            // What the table has in their place is no limit.
            limit: None,
            drops: None,
            ..listener
        });
        unlimited.chain(parse_unix(unix)).collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.tcp.iter().chain(&self.unix)
    }

    /// Those at a port, on any address.
    #[must_use]
    pub fn at_port(&self, port: u16) -> &[Listener] {
        let from = self.tcp.partition_point(|it| it.port() < Some(port));
        let to = self.tcp.partition_point(|it| it.port() <= Some(port));
        self.tcp.get(from..to).unwrap_or_default()
    }

    /// Those that share what is connected to an address: none, one, or a group that listens with
    /// SO_REUSEPORT, whose queues are separate.
    #[must_use]
    pub fn reached_at(&self, address: SocketAddr) -> Vec<&Listener> {
        let fits = |it: &&Listener| it.fit(address);
        let here = self.at_port(address.port());
        let best = here.iter().filter_map(|it| it.fit(address)).max();
        here.iter()
            .filter(|it| best.is_some() && fits(it) == best)
            .collect()
    }

    /// The one that this process reaches by a name. A path leads to the socket whose file is there
    /// now, whatever name that was bound by: a link, or a path relative to a directory. An earlier
    /// one of the same name may listen on, and nobody reaches it any more. Where the path may not
    /// be looked at, those of this name.
    #[must_use]
    pub fn at_name(&self, name: &UnixName) -> Vec<&Listener> {
        match name.path().map(FileId::of) {
            Some(Ok(file)) => {
                let is_there = |it: &&Listener| it.is_at(name, Some(file));
                self.unix.iter().filter(is_there).collect()
            }
            Some(Err(error)) if leads_nowhere(&error) => Vec::new(),
            Some(Err(_)) | None => self.named(name),
        }
    }

    /// Those of this name, whether it leads to them from here or not: in another mount namespace a
    /// path is another.
    #[must_use]
    pub fn named(&self, name: &UnixName) -> Vec<&Listener> {
        let has_name = |it: &&Listener| it.is_named(name);
        self.unix.iter().filter(has_name).collect()
    }

    /// The same socket at this moment, while it still listens.
    #[must_use]
    pub fn again(&self, earlier: &Listener) -> Option<&Listener> {
        let candidates = match earlier.port() {
            Some(port) => self.at_port(port),
            None => &self.unix[..],
        };
        candidates.iter().find(|it| it.is_same_socket(earlier))
    }
}

impl Listener {
    fn is_named(&self, wanted: &UnixName) -> bool {
        matches!(&self.local, Local::Unix { name, .. } if name == wanted)
    }

    /// Whether it is what is reached by this name, which leads to this file as far as that is known.
    pub(crate) fn is_at(&self, name: &UnixName, at: Option<FileId>) -> bool {
        let Local::Unix { file, .. } = self.local else {
            return false;
        };
        match (file, at) {
            // Btrfs and overlays show people another device than the kernel's own.
            (Some(file), Some(at)) => file == at || (file.inode == at.inode && self.is_named(name)),
            (None, _) | (_, None) => self.is_named(name),
        }
    }
}

/// Whether nothing is at a path, as opposed to something that may not be looked at.
fn leads_nowhere(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

impl<'a> IntoIterator for &'a Listeners {
    type Item = &'a Listener;
    type IntoIter = std::iter::Chain<slice::Iter<'a, Listener>, slice::Iter<'a, Listener>>;

    fn into_iter(self) -> Self::IntoIter {
        self.tcp.iter().chain(&self.unix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str, takes_v4: bool, inode: u32) -> Listener {
        Listener {
            local: Local::Tcp {
                address: address.parse().unwrap(),
                takes_v4,
                interface: 0,
            },
            length: 0,
            limit: Some(80),
            drops: Some(0),
            inode,
            cookie: inode.into(),
            uid: Some(0),
        }
    }

    /// The file is given as device and inode.
    fn unix(name: &Path, file: Option<(u32, u64)>, inode: u32) -> Listener {
        let file = file.map(|(minor, inode)| FileId {
            major: 0,
            minor,
            inode,
        });
        let name = UnixName::Path(name.to_owned());
        Listener {
            local: Local::Unix { name, file },
            ..tcp("0.0.0.0:1", false, inode)
        }
    }

    fn reached(listeners: &Listeners, address: &str) -> Vec<u32> {
        let found = listeners.reached_at(address.parse().unwrap());
        found.iter().map(|it| it.inode).collect()
    }

    #[test]
    fn a_connect_reaches_the_closest_fit_and_whole_groups() {
        let listeners = Listeners::from_iter([
            tcp("[::]:3306", true, 1),
            tcp("127.0.0.1:3306", false, 2),
            tcp("0.0.0.0:5432", false, 3),
            tcp("0.0.0.0:5432", false, 4),
            tcp("[::]:5432", false, 5),
            tcp("[::ffff:10.0.0.1]:80", false, 6),
        ]);
        assert_eq!(reached(&listeners, "127.0.0.1:3306"), [2]);
        assert_eq!(reached(&listeners, "10.0.0.1:3306"), [1]);
        assert_eq!(reached(&listeners, "[::1]:3306"), [1]);
        assert_eq!(reached(&listeners, "10.0.0.1:5432"), [3, 4]);
        assert_eq!(reached(&listeners, "[::1]:5432"), [5]);
        assert_eq!(reached(&listeners, "10.0.0.1:80"), [6]);
        assert!(reached(&listeners, "10.0.0.1:81").is_empty());
    }

    #[test]
    fn a_path_leads_to_the_socket_whose_file_is_there_and_to_no_earlier_one() {
        let path = Path::new("/run/server.sock");
        let name = UnixName::Path(path.to_owned());
        let at = |file: (u32, u64), rows: &[Listener]| -> Vec<u32> {
            let (minor, inode) = file;
            let major = 0;
            let file = FileId {
                major,
                minor,
                inode,
            };
            let there = rows.iter().filter(|it| it.is_at(&name, Some(file)));
            there.map(|it| it.inode).collect()
        };
        let earlier = unix(path, Some((7, 70)), 1);
        let now = unix(path, Some((7, 71)), 2);
        let elsewhere = unix(Path::new("/run/other.sock"), Some((8, 71)), 3);
        let by_link = unix(Path::new("server.sock"), Some((7, 71)), 4);
        assert_eq!(at((7, 71), &[earlier.clone(), now.clone()]), [2]);
        assert_eq!(at((7, 71), &[earlier.clone(), elsewhere, by_link]), [4]);
        // Another device than stat() has, and no device at all.
        assert_eq!(at((9, 71), &[earlier.clone(), now]), [2]);
        assert_eq!(at((7, 71), &[unix(path, None, 5)]), [5]);
        assert!(at((7, 72), &[earlier]).is_empty());
    }

    #[test]
    fn where_no_file_is_nobody_is_reached_whatever_once_had_the_name() {
        let path = Path::new("/nowhere/server.sock");
        let listeners = Listeners::from_iter([unix(path, Some((7, 70)), 1)]);
        let name = UnixName::Path(path.to_owned());
        assert!(listeners.at_name(&name).is_empty());
        assert_eq!(listeners.named(&name).len(), 1);
    }

    #[test]
    fn a_queue_at_its_limit_has_room_for_one_more() {
        let mut listener = tcp("0.0.0.0:1", false, 1);
        (listener.length, listener.limit) = (100, Some(100));
        assert_eq!(
            (listener.is_full(), listener.capacity()),
            (Some(false), Some(101))
        );
        listener.length = 101;
        assert_eq!(listener.is_full(), Some(true));
        listener.limit = None;
        assert_eq!(listener.is_full(), None);
    }
}
