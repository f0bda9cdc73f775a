//! A look at a connection's socket, which costs a tenth of a microsecond and no round trip.
//!
//! `recv` with MSG_PEEK and MSG_DONTWAIT is a system call of its own: it neither takes a byte from
//! the driver nor asks the runtime, whose cooperative budget would make a closed socket look quiet
//! when the task has none left. The descriptor is a duplicate of the driver's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use socket2::{SockRef, TcpKeepalive};

use crate::ending::Ending;
use crate::settings::Keepalive;
use crate::watch::Watch;

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Open, and nothing to read.
    Quiet,
    /// Open, with something to read.
    Bytes,
    /// The peer's end is closed, or the network has given up; `last_words` are still to be read.
    Gone { ending: Ending, last_words: bool },
}

/// A connection's socket, watched for its end as long as it is here.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    watch: Arc<Watch>,
}

impl Socket {
    /// Sets keepalive and begins to watch.
    pub(crate) fn new(
        fd: OwnedFd,
        id: u64,
        watch: &Arc<Watch>,
        keepalive: Option<Keepalive>,
    ) -> Self {
        if let Some(keepalive) = keepalive {
            set_keepalive(fd.as_fd(), keepalive);
        }
        // One that cannot be watched is still looked at when it is wanted.
        let _ = watch.add(fd.as_fd(), id);
        Self {
            fd,
            watch: Arc::clone(watch),
        }
    }

    pub(crate) fn look(&self) -> Sight {
        look(self.fd.as_fd())
    }

    /// Ends the connection for its server at once, whatever the driver does when it is dropped.
    pub(crate) fn end(&self) {
        let _ = shutdown(&self.fd, Shutdown::Both);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The driver's own descriptor may live on, and would keep the entry in the set.
        let _ = self.watch.remove(self.fd.as_fd());
    }
}

fn look(fd: BorrowedFd<'_>) -> Sight {
    let mut byte = [0; 1];
    match recv(fd, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, 0)) => Sight::Gone {
            ending: Ending::HungUp,
            last_words: false,
        },
        Ok(_) if is_hung_up(fd) => Sight::Gone {
            ending: Ending::HungUp,
            last_words: true,
        },
        Ok(_) => Sight::Bytes,
        Err(Errno::AGAIN | Errno::INTR) => Sight::Quiet,
        Err(error) => Sight::Gone {
            ending: match error {
                // What the kernel says of a peer that did not answer it.
                Errno::TIMEDOUT | Errno::HOSTUNREACH | Errno::NETUNREACH => Ending::Silent,
                _ => Ending::Reset,
            },
            last_words: false,
        },
    }
}

/// Whether an end waits behind the bytes.
fn is_hung_up(fd: BorrowedFd<'_>) -> bool {
    let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    let mut fds = [PollFd::from_borrowed_fd(fd, gone)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut fds, Some(&at_once)), Ok(1..)) && fds[0].revents().intersects(gone)
}

/// Lets the kernel notice a peer that has vanished. A unix socket knows no such thing.
fn set_keepalive(fd: BorrowedFd<'_>, keepalive: Keepalive) {
    let socket = SockRef::from(&fd);
    let whole = |duration: Duration| duration.max(Duration::from_secs(1));
    let options = TcpKeepalive::new()
        .with_time(whole(keepalive.idle))
        .with_interval(whole(keepalive.interval))
        .with_retries(keepalive.probes);
    let _ = socket.set_tcp_keepalive(&options);
    let _ = socket.set_tcp_user_timeout(Some(keepalive.patience()));
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_look_tells_quiet_bytes_and_the_end_apart() {
        let (mut client, mut server) = pair();
        assert_eq!(look(client.as_fd()), Sight::Quiet);
        server.write_all(b"ab").unwrap();
        // Over the loopback what was written is there.
        assert_eq!(look(client.as_fd()), Sight::Bytes);
        drop(server);
        let gone = |last_words| Sight::Gone {
            ending: Ending::HungUp,
            last_words,
        };
        assert_eq!(look(client.as_fd()), gone(true));
        let mut words = [0; 2];
        client.read_exact(&mut words).unwrap();
        assert_eq!((&words, look(client.as_fd())), (b"ab", gone(false)));
        assert_eq!(look(client.as_fd()), gone(false), "an end is told again");
    }

    #[test]
    fn a_reset_is_an_end_and_unix_sockets_are_looked_at_alike() {
        let (client, server) = pair();
        SockRef::from(&server)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(server);
        let reset = Sight::Gone {
            ending: Ending::Reset,
            last_words: false,
        };
        assert_eq!(look(client.as_fd()), reset);

        let (client, server) = UnixStream::pair().unwrap();
        assert_eq!(look(client.as_fd()), Sight::Quiet);
        shutdown(&server, Shutdown::Write).unwrap();
        assert!(matches!(look(client.as_fd()), Sight::Gone { .. }));
    }

    #[test]
    fn keepalive_is_set_on_tcp_and_does_no_harm_elsewhere() {
        let (client, _server) = pair();
        let keepalive = Keepalive::default();
        set_keepalive(client.as_fd(), keepalive);
        let socket = SockRef::from(&client);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive.idle);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), keepalive.interval);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), keepalive.probes);
        assert_eq!(
            socket.tcp_user_timeout().unwrap(),
            Some(Duration::from_secs(19))
        );
        let (client, _server) = UnixStream::pair().unwrap();
        set_keepalive(client.as_fd(), keepalive);
        assert_eq!(look(client.as_fd()), Sight::Quiet);
    }
}
