//! What passes between the agent and a hook's program: evidence in, a few words out.
//!
//! Both output streams are read to their ends, so that a program that prints much does not get
//! stuck; only the beginning is kept. A program that does not read its input is not waited for.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

/// How much of each output stream is kept.
pub(super) const KEPT_MAX: usize = 4096;
/// How much is read at a time.
const READ_SIZE: usize = 64 * 1024;

/// Our ends of a program's standard streams.
#[derive(Debug)]
pub(super) struct Pipes {
    input: pipe::Sender,
    output: pipe::Receiver,
    errors: pipe::Receiver,
}

impl Pipes {
    /// Takes the pipes of a program that was started with three of them.
    pub(super) fn take(child: &mut Child) -> io::Result<Self> {
        let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
        let input = OwnedFd::from(child.stdin.take().ok_or_else(missing)?);
        let output = OwnedFd::from(child.stdout.take().ok_or_else(missing)?);
        let errors = OwnedFd::from(child.stderr.take().ok_or_else(missing)?);
        Ok(Self {
            input: pipe::Sender::from_owned_fd(input)?,
            output: pipe::Receiver::from_owned_fd(output)?,
            errors: pipe::Receiver::from_owned_fd(errors)?,
        })
    }

    /// Feeds the document and hears both streams until nobody holds their other ends. Cancel safe:
    /// what was heard so far is in `talk`.
    pub(super) async fn serve(self, document: &str, talk: &Talk) {
        tokio::join!(
            feed(self.input, document.as_bytes()),
            hear(self.output, &talk.output),
            hear(self.errors, &talk.errors),
        );
    }
}

async fn feed(mut input: pipe::Sender, document: &[u8]) {
    // A program that closes its input has read enough.
    let _ = input.write_all(document).await;
}

async fn hear(mut stream: impl AsyncRead + Unpin, kept: &Mutex<Kept>) {
    let mut buffer = vec![0; READ_SIZE];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        Kept::take(kept, buffer.get(..count).unwrap_or_default());
        // A program that prints without end must not keep a gate from its turn.
        tokio::task::yield_now().await;
    }
}

/// What a program wrote.
#[derive(Debug, Default)]
pub(super) struct Talk {
    output: Mutex<Kept>,
    errors: Mutex<Kept>,
}

/// The beginning of a stream.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    /// All that was heard, in bytes.
    heard: u64,
}

impl Kept {
    fn take(kept: &Mutex<Self>, heard: &[u8]) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT_MAX.saturating_sub(kept.bytes.len()).min(heard.len());
        let beginning = heard.get(..room).unwrap_or_default();
        kept.bytes.extend_from_slice(beginning);
        kept.heard += heard.len() as u64;
    }
}

impl Talk {
    /// The beginnings of both streams, standard output first.
    pub(super) fn text(&self) -> String {
        let texts = [&self.output, &self.errors].map(|kept| {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&kept.bytes).trim_end().to_owned()
        });
        let texts = texts.into_iter().filter(|text| !text.is_empty());
        texts.collect::<Vec<_>>().join("\n")
    }

    /// How many bytes were read and thrown away.
    pub(super) fn thrown_away(&self) -> u64 {
        let rest = |kept: &Mutex<Kept>| {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.heard.saturating_sub(kept.bytes.len() as u64)
        };
        rest(&self.output) + rest(&self.errors)
    }
}
