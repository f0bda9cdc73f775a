//! The depth `listening`: who listens at an address of this machine, and whether there is room.
//!
//! The kernel alone is asked, by a lookup that takes a microsecond or two. A unix socket can be found
//! only by a walk through all of them; what that shows serves every probe of the next moment. The
//! socket to the kernel is opened with the first such probe, so that nobody else has one.
//!
//! Where the kernel does not answer, its tables are read, which takes milliseconds and serves for
//! longer. They tell that somebody listens, and not whether there is room.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use dbvitals_acceptqueue::{AskError, Listener, Listeners, Namespace, Sight, UnixName};
use dbvitals_verdict::{Cause, Moment};
use rustix::io::Errno;

use crate::failure::{Failure, plain};
use crate::target::Address;

/// How long a walk through all unix listeners serves.
const WALK_SERVES: Duration = Duration::from_millis(10);
/// How long what the tables hold serves.
const TABLES_SERVE: Duration = Duration::from_millis(200);

/// Looks for listeners.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    namespace: Option<Namespace>,
    walk: Option<(Moment, Listeners)>,
}

impl Lookout {
    /// Whether somebody listens at an address with room for one more; a host has the addresses that
    /// its name was resolved to, in the order in which they would be dialled.
    pub(crate) fn look(
        &mut self,
        target: &Address,
        addresses: &[SocketAddr],
        now: Moment,
    ) -> Result<(), Failure> {
        let found = match target {
            Address::Tcp { .. } => self.find_tcp(addresses, now),
            Address::Unix(path) => self.find_unix(path, now),
        };
        let found = found.map_err(|error| blind(&plain(&error)))?;
        match found {
            None if is_elsewhere(target) => Err(blind(
                "what is there belongs to another network namespace; a deeper probe sees it",
            )),
            None => Err(Failure::new(
                Cause::Refused,
                format!("nothing listens at {target} in this network namespace"),
            )),
            Some(listener) if listener.is_full() == Some(true) => {
                let (length, capacity) = (listener.length, listener.capacity().unwrap_or(0));
                Err(Failure::new(
                    Cause::QueueFull,
                    format!("{length} wait to be accepted where {capacity} fit"),
                ))
            }
            Some(_) => Ok(()),
        }
    }

    fn namespace(&mut self) -> io::Result<&mut Namespace> {
        let namespace = match self.namespace.take() {
            Some(namespace) => namespace,
            None => Namespace::current().map_err(io::Error::other)?,
        };
        Ok(self.namespace.insert(namespace))
    }

    fn find_tcp(&mut self, addresses: &[SocketAddr], now: Moment) -> io::Result<Option<Listener>> {
        let namespace = self.namespace()?;
        if namespace.sight() == Sight::Tables {
            let listeners = self.walk(now)?;
            let mut reached = addresses.iter().flat_map(|it| listeners.reached_at(*it));
            return Ok(reached.next().cloned());
        }
        for address in addresses {
            if let Some(found) = namespace.tcp_listener(*address).map_err(told)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Where several have the name and it cannot be told whose the file is, the newest.
    fn find_unix(&mut self, path: &Path, now: Moment) -> io::Result<Option<Listener>> {
        let name = UnixName::Path(path.to_owned());
        let found = self.walk(now)?.at_name(&name);
        Ok(found.last().copied().cloned())
    }

    /// All unix listeners of late; where only the tables can be read, those of TCP too.
    fn walk(&mut self, now: Moment) -> io::Result<&Listeners> {
        let sight = self.namespace()?.sight();
        let serves = match sight {
            Sight::Whole => WALK_SERVES,
            Sight::Tables => TABLES_SERVE,
        };
        let walk = self.walk.take();
        let walk = match (walk.filter(|(at, _)| now.since(*at) < serves), sight) {
            (Some(walk), _) => walk,
            (None, Sight::Whole) => (now, self.namespace()?.unix_listeners().map_err(told)?),
            (None, Sight::Tables) => (now, self.namespace()?.sample().map_err(told)?),
        };
        Ok(&self.walk.insert(walk).1)
    }
}

/// Whether a socket that no listener of this network namespace has is alive at a path: a container's,
/// for instance, that can be connected to from here. A datagram that is to go there is refused for
/// its kind then, and the server hears nothing of it.
fn is_elsewhere(target: &Address) -> bool {
    let Address::Unix(path) = target else {
        return false;
    };
    let refused = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    refused.is_err_and(|error| error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()))
}

fn told(error: AskError) -> io::Error {
    io::Error::other(error)
}

/// That this process cannot look says nothing about a server.
fn blind(why: &str) -> Failure {
    Failure::new(
        Cause::OutOfDescriptors,
        format!("the kernel cannot be asked who listens: {why}"),
    )
}
