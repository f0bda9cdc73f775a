//! The netlink socket that sock_diag is asked through: one request, one answer, nothing kept.
//!
//! The kernel answers while it is asked, so receiving does not wait in practice; should it ever, a
//! timeout ends it. The socket belongs to the network namespace in which it was opened, for good.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};

use crate::answer::{Progress, Row, read_answer};
use crate::netlink::Malformed;
use crate::question::Question;

/// The longest datagram of a walk that the kernel makes.
const BUFFER: usize = 32 * 1024;
/// How long an answer may take, and in how many pieces it may come.
const PATIENCE: Duration = Duration::from_secs(2);
const PIECES_MAX: usize = 1 << 16;
/// How often a walk that was torn is tried again.
const WALKS_MAX: usize = 3;

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The kernel could not be reached, or a table of /proc not be read.
    #[error("the kernel cannot be asked: {0}")]
    Io(#[from] io::Error),
    /// The kernel understood, and did not want to.
    #[error("the kernel refused: {0}")]
    Refused(#[source] io::Error),
    /// The kernel's bytes are not what they should be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl From<Errno> for AskError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// A socket to ask through.
#[derive(Debug)]
pub(crate) struct DiagSocket {
    descriptor: OwnedFd,
    sequence: u32,
    request: Vec<u8>,
    buffer: Box<[u8]>,
    /// Whether an answer was not read to its end.
    unread: bool,
}

impl DiagSocket {
    /// Opens one in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let descriptor = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(SOCK_DIAG),
        )?;
        set_socket_timeout(&descriptor, Timeout::Recv, Some(PATIENCE))?;
        connect(&descriptor, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self {
            descriptor,
            sequence: 0,
            request: Vec::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            unread: false,
        })
    }

    /// Asks for one socket; `None` where there is none.
    pub(crate) fn ask_for_one(&mut self, question: Question) -> Result<Option<Row>, AskError> {
        let mut found = None;
        match self.ask_once(question, &mut |row| found = Some(row))? {
            Progress::Refused(errno) if errno == Errno::NOENT.raw_os_error() => Ok(None),
            Progress::Refused(errno) => Err(AskError::Refused(io::Error::from_raw_os_error(errno))),
            Progress::More | Progress::Done | Progress::Torn => Ok(found),
        }
    }

    /// Asks for many sockets, and again where the walk was torn.
    pub(crate) fn ask(&mut self, question: Question, rows: &mut Vec<Row>) -> Result<(), AskError> {
        self.ask_for(question, |_| true, rows)
    }

    /// The same, and leaves out what is not wanted as it comes.
    pub(crate) fn ask_for(
        &mut self,
        question: Question,
        is_wanted: impl Fn(&Row) -> bool,
        rows: &mut Vec<Row>,
    ) -> Result<(), AskError> {
        let before = rows.len();
        for _ in 0..WALKS_MAX {
            rows.truncate(before);
            let mut keep = |row| {
                if is_wanted(&row) {
                    rows.push(row);
                }
            };
            match self.ask_once(question, &mut keep)? {
                Progress::Torn => {}
                Progress::More | Progress::Done => break,
                Progress::Refused(errno) => {
                    return Err(AskError::Refused(io::Error::from_raw_os_error(errno)));
                }
            }
        }
        // What is still torn after so many walks is the best there is.
        Ok(())
    }

    fn ask_once(
        &mut self,
        question: Question,
        tell: &mut impl FnMut(Row),
    ) -> Result<Progress, AskError> {
        self.drain()?;
        self.sequence = self.sequence.wrapping_add(1);
        self.request.clear();
        question.write(self.sequence, &mut self.request);
        send(&self.descriptor, &self.request, SendFlags::empty())?;
        self.unread = true;
        for _ in 0..PIECES_MAX {
            let bytes = receive(&self.descriptor, &mut self.buffer)?;
            let progress = read_answer(bytes, self.sequence, &mut *tell)?;
            if progress != Progress::More {
                self.unread = false;
                return Ok(progress);
            }
        }
        Err(Malformed("an answer that does not end").into())
    }

    /// Throws away what is left of an answer that went wrong, so that it is not in the way.
    fn drain(&mut self) -> Result<(), AskError> {
        let mut pieces = 0;
        while self.unread && pieces < PIECES_MAX {
            match recv(&self.descriptor, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::NOBUFS) => pieces += 1,
                Err(Errno::AGAIN) => self.unread = false,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn receive<'a>(descriptor: &OwnedFd, buffer: &'a mut [u8]) -> Result<&'a [u8], AskError> {
    // Asked for its true length, a datagram that does not fit is told from one that does.
    let (_, length) = recv(descriptor, &mut *buffer, RecvFlags::TRUNC)?;
    buffer
        .get(..length)
        .ok_or_else(|| Malformed("a datagram is longer than any should be").into())
}
