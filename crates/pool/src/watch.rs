//! One epoll set over all connections, so that an end is seen when it happens.
//!
//! A socket is registered once, for its end alone and edge-triggered: answers to commands wake
//! nobody, and a checkout costs no system call here. The set is itself a descriptor that the
//! runtime waits for, in the keeper's task.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How many ends are taken at once; more follow in the next turn.
const EVENTS_MAX: usize = 64;

/// The set.
#[derive(Debug)]
pub(crate) struct Watch {
    set: OwnedFd,
}

/// The keeper's view of the set: what it waits for.
#[derive(Debug)]
pub(crate) struct Ends {
    set: AsyncFd<OwnedFd>,
}

impl Watch {
    pub(crate) fn new() -> io::Result<Self> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { set })
    }

    /// Watches a socket for its end, which will be told under this name.
    pub(crate) fn add(&self, socket: BorrowedFd<'_>, id: u64) -> io::Result<()> {
        let flags = EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(
            &self.set,
            socket,
            EventData::new_u64(id),
            flags,
        )?)
    }

    pub(crate) fn remove(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.set, socket)?)
    }

    /// Begins to wait, inside of a runtime.
    pub(crate) fn ends(&self) -> io::Result<Ends> {
        let set = self.set.as_fd().try_clone_to_owned()?;
        #[expect(
            deprecated,
            reason = "warns of types that may give up their descriptor; OwnedFd does not"
        )]
        let set = AsyncFd::with_interest(set, Interest::READABLE)?;
        Ok(Ends { set })
    }
}

impl Ends {
    /// Waits until connections have ended, and returns their names. Cancel safe: an end that was
    /// not returned is told again by the next call.
    pub(crate) async fn next(&mut self) -> Vec<u64> {
        loop {
            let Ok(mut ready) = self.set.readable().await else {
                // The runtime shuts down.
                return std::future::pending().await;
            };
            let ended = take_ended(self.set.get_ref());
            if ended.len() < EVENTS_MAX {
                ready.clear_ready();
            }
            if !ended.is_empty() {
                return ended;
            }
        }
    }
}

/// The names of those that ended, as many as are taken at once.
fn take_ended(set: &OwnedFd) -> Vec<u64> {
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut events = Vec::with_capacity(EVENTS_MAX);
    // An error is as good as nothing: what ended is found when it is looked at.
    let _ = epoll::wait(set, spare_capacity(&mut events), Some(&at_once));
    events
        .iter()
        .map(|event: &Event| event.data.u64())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_end_is_told_and_an_answer_is_not() {
        let watch = Watch::new().unwrap();
        let mut ends = watch.ends().unwrap();
        let (client, mut server) = UnixStream::pair().unwrap();
        watch.add(client.as_fd(), 7).unwrap();
        server.write_all(b"an answer").unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(50), ends.next()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        drop(server);
        assert_eq!(ends.next().await, [7]);
    }

    #[tokio::test]
    async fn many_ends_are_all_told() {
        let watch = Watch::new().unwrap();
        let mut ends = watch.ends().unwrap();
        let pairs: Vec<_> = (0..200).map(|_| UnixStream::pair().unwrap()).collect();
        let mut clients = Vec::new();
        for (id, (client, server)) in pairs.into_iter().enumerate() {
            watch.add(client.as_fd(), id as u64).unwrap();
            clients.push(client);
            drop(server);
        }
        let mut told = Vec::new();
        while told.len() < 200 {
            told.extend(ends.next().await);
        }
        told.sort_unstable();
        assert!(told.iter().copied().eq(0..200));
    }

    #[tokio::test]
    async fn one_that_was_removed_is_not_told_though_a_duplicate_lives() {
        let watch = Watch::new().unwrap();
        let mut ends = watch.ends().unwrap();
        let (client, server) = UnixStream::pair().unwrap();
        let duplicate = client.try_clone().unwrap();
        watch.add(duplicate.as_fd(), 1).unwrap();
        watch.remove(duplicate.as_fd()).unwrap();
        drop(duplicate);
        drop(server);
        let quiet = tokio::time::timeout(Duration::from_millis(50), ends.next()).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }
}
