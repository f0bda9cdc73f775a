//! A stream whose reader has to go on reading: a write that makes no progress for a while fails.
//!
//! Without this a client that asks and does not read would keep its answer in memory, and its
//! connection, for as long as it likes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a write may make no progress.
const STANDSTILL_MAX: Duration = Duration::from_secs(10);

/// A stream with an eye on its reader.
#[derive(Debug)]
pub(super) struct Steady<I> {
    stream: I,
    /// Runs while a write waits.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<I> Steady<I> {
    pub(super) fn new(stream: I) -> Self {
        Self {
            stream,
            patience: None,
        }
    }

    fn judge<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.patience = None;
            return written;
        }
        let patience = self
            .patience
            .get_or_insert_with(|| Box::pin(sleep(STANDSTILL_MAX)));
        match patience.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Steady<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Steady<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has nothing to flush, so being done says nothing of a write that waits.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(future)
    }

    #[test]
    fn a_reader_that_stops_is_given_up() {
        block_on(async {
            let (ours, _theirs) = duplex(16);
            let mut stream = Steady::new(ours);
            let before = tokio::time::Instant::now();
            let error = stream.write_all(&[0; 64]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(before.elapsed() >= STANDSTILL_MAX);
        });
    }

    #[test]
    fn a_reader_that_goes_on_slowly_is_not() {
        block_on(async {
            let (ours, mut theirs) = duplex(16);
            let mut stream = Steady::new(ours);
            let writing = stream.write_all(&[0; 64]);
            let reading = async {
                for _ in 0..64 {
                    sleep(STANDSTILL_MAX * 9 / 10).await;
                    theirs.read_u8().await.unwrap();
                }
            };
            let (written, ()) = tokio::join!(writing, reading);
            written.unwrap();
        });
    }
}
