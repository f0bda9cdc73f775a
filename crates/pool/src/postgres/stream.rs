//! The stream under a session, which counts what is sent and can be read at once.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// The stream of a session: TCP or a unix socket.
pub struct Stream {
    carrier: Carrier,
    traffic: Arc<Traffic>,
}

enum Carrier {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What the stream and its session tell each other.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// How many bytes the kernel has taken.
    written: AtomicU64,
    /// Read what is there, rather than what the runtime has heard of.
    eager: AtomicBool,
}

impl Traffic {
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(super) fn set_eager(&self, eager: bool) {
        self.eager.store(eager, Ordering::Relaxed);
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::over(Carrier::Tcp(stream))
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::over(Carrier::Unix(stream))
    }
}

impl Stream {
    fn over(carrier: Carrier) -> Self {
        Self {
            carrier,
            traffic: Arc::default(),
        }
    }

    pub(super) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.carrier {
            Carrier::Tcp(stream) => stream.as_fd(),
            Carrier::Unix(stream) => stream.as_fd(),
        }
    }

    /// Asks the kernel, since the runtime hears of bytes only when its reactor turns.
    fn read_at_once(&self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let (_, count) = recv(self.fd(), buffer.initialize_unfilled(), RecvFlags::DONTWAIT)?;
        buffer.advance(count);
        Ok(())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.traffic.eager.load(Ordering::Relaxed) {
            match self.read_at_once(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
        match &mut self.carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Carrier::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = match &mut self.carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Carrier::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        if let Poll::Ready(Ok(count)) = outcome {
            let written = &self.traffic.written;
            written.fetch_add(count as u64, Ordering::Release);
        }
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Carrier::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Carrier::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
