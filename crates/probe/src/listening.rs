//! The depth `listening`: who listens at an address of this machine, and whether there is room.
//!
//! The kernel alone is asked, by a lookup that takes a microsecond or two. A unix socket can be found
//! only by a walk through all of them; what that shows serves every probe of the next moment. The
//! socket to the kernel is opened with the first such probe, so that nobody else has one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use dbvitals_acceptqueue::{AskError, Listener, Listeners, Namespace, UnixName};
use dbvitals_verdict::{Cause, Moment};

use crate::failure::{Failure, plain};
use crate::target::Address;

/// How long a walk through all listeners serves.
const WALK_SERVES: Duration = Duration::from_millis(10);

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
            Address::Tcp { .. } => self.find_tcp(addresses),
            Address::Unix(path) => self.find_unix(&UnixName::Path(path.clone()), now),
        };
        match found.map_err(|error| blind(&error))? {
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

    fn find_tcp(&mut self, addresses: &[SocketAddr]) -> io::Result<Option<Listener>> {
        let namespace = self.namespace()?;
        for address in addresses {
            if let Some(found) = namespace.tcp_listener(*address).map_err(told)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn find_unix(&mut self, name: &UnixName, now: Moment) -> io::Result<Option<Listener>> {
        let walk = self.walk.take();
        let walk = match walk.filter(|(at, _)| now.since(*at) < WALK_SERVES) {
            Some(walk) => walk,
            None => (now, self.namespace()?.sample().map_err(told)?),
        };
        let (_, listeners) = self.walk.insert(walk);
        Ok(listeners.at_name(name).first().copied().cloned())
    }
}

fn told(error: AskError) -> io::Error {
    io::Error::other(error)
}

/// That this process cannot look says nothing about a server.
fn blind(error: &io::Error) -> Failure {
    let why = plain(error);
    Failure::new(
        Cause::OutOfDescriptors,
        format!("the kernel cannot be asked who listens: {why}"),
    )
}
