//! One connection to a server: the stream, TLS if there is any, and the wire session on top.
//!
//! Carries bytes between the three until nothing moves any more, and hands out what the session
//! tells. Knows nothing of probes, deadlines or verdicts; `prober.rs` gives the events a meaning.

use std::io::{self, Read, Write};

use dbvitals_wire::{Event, Session};
use rustls::ClientConnection;

use crate::stream::Stream;

/// What a conversation has to tell.
#[derive(Debug)]
pub(crate) enum Told {
    /// The session says.
    Event(Event),
    /// The TLS handshake is complete.
    TlsEstablished,
    /// The TLS handshake failed.
    TlsFailed(rustls::Error),
    /// The peer closed its side.
    Closed,
    /// The connection broke.
    Broken(io::Error),
}

/// How many buffers are read from one connection before others have their turn.
const READS_MAX: usize = 16;

/// How much of what a connection holds was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    All,
    /// There may be more, and no event will tell.
    More,
}

/// Buffers that all conversations of a loop share.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// What was read last.
    pub(crate) input: Box<[u8]>,
    /// What is to be written next.
    pub(crate) out: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            input: vec![0; 16 * 1024].into_boxed_slice(),
            out: Vec::new(),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) stream: Stream,
    pub(crate) session: Option<Session>,
    tls: Option<Box<Tls>>,
    /// What the kernel did not take yet. Empty, and without a buffer, nearly always.
    unsent: Vec<u8>,
}

#[derive(Debug)]
struct Tls {
    connection: ClientConnection,
    established: bool,
}

impl Conversation {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            session: None,
            tls: None,
            unsent: Vec::new(),
        }
    }

    /// Begins TLS on the connection.
    pub(crate) fn start_tls(&mut self, connection: ClientConnection) -> io::Result<()> {
        self.tls = Some(Box::new(Tls {
            connection,
            established: false,
        }));
        self.flush()
    }

    /// The TLS connection, where there is one.
    pub(crate) fn tls(&self) -> Option<&ClientConnection> {
        self.tls.as_ref().map(|tls| &tls.connection)
    }

    /// Reads once and passes what came to the session; `tell` is called for each thing to tell
    /// and answers whether to go on.
    ///
    /// Reading once suffices where the kernel gave less than was asked for: it reports an edge
    /// for whatever comes after. A peer that sends without end gets no more than
    /// [`READS_MAX`] at a time, lest it keeps the loop from everybody else's deadlines.
    ///
    /// `ended` says that the peer has closed its side: no edge comes after that one, so all there
    /// is has to be read, the end included.
    pub(crate) fn read(
        &mut self,
        scratch: &mut Scratch,
        ended: bool,
        mut tell: impl FnMut(&mut Self, Told, &mut Vec<u8>) -> bool,
    ) -> Extent {
        for _ in 0..READS_MAX {
            let filled = match self.stream.read(&mut scratch.input) {
                Ok(0) => {
                    tell(self, Told::Closed, &mut scratch.out);
                    return Extent::All;
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Extent::All,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tell(self, Told::Broken(error), &mut scratch.out);
                    return Extent::All;
                }
            };
            let Scratch { input, out } = scratch;
            let Some(bytes) = input.get(..filled) else {
                return Extent::All;
            };
            let goes_on = match self.tls {
                None => self.feed(bytes, out, &mut tell),
                Some(_) => self.feed_tls(bytes, out, &mut tell),
            };
            if !goes_on || (filled < input.len() && !ended) {
                return Extent::All;
            }
        }
        Extent::More
    }

    /// Lets the session tell what it has left from the bytes of before, as after a listener that
    /// had heard enough.
    pub(crate) fn resume(
        &mut self,
        out: &mut Vec<u8>,
        mut tell: impl FnMut(&mut Self, Told, &mut Vec<u8>) -> bool,
    ) {
        self.feed(&[], out, &mut tell);
    }

    /// Passes plain bytes to the session.
    fn feed(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        tell: &mut impl FnMut(&mut Self, Told, &mut Vec<u8>) -> bool,
    ) -> bool {
        let mut rest = bytes;
        loop {
            let Some(session) = &mut self.session else {
                return true;
            };
            let Some(event) = session.handle_input(&mut rest, out) else {
                break;
            };
            if !tell(self, Told::Event(event), out) {
                // The listener has heard enough; what the session has begun to say is said
                // nevertheless. A connection that breaks by it is told by the next read.
                let _ = self.write(out);
                return false;
            }
        }
        self.send(out, tell)
    }

    /// Passes bytes through TLS to the session.
    fn feed_tls(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        tell: &mut impl FnMut(&mut Self, Told, &mut Vec<u8>) -> bool,
    ) -> bool {
        while !bytes.is_empty() {
            let Some(tls) = &mut self.tls else {
                return true;
            };
            let result = tls
                .connection
                .read_tls(&mut bytes)
                .map_err(|error| rustls::Error::General(error.to_string()))
                .and_then(|_| tls.connection.process_new_packets());
            let state = match result {
                Ok(state) => state,
                Err(error) => {
                    // The alert that tells the peer why; it may not want to hear it.
                    let _ = self.flush();
                    return tell(self, Told::TlsFailed(error), out);
                }
            };
            let complete = !tls.connection.is_handshaking();
            if complete && !tls.established {
                tls.established = true;
                if !tell(self, Told::TlsEstablished, out) {
                    // What the session says to a peer from which we turn away.
                    let _ = self.write(out);
                    return false;
                }
            }
            if !self.take_plaintext(state.plaintext_bytes_to_read(), out, tell) {
                return false;
            }
            if state.peer_has_closed() {
                return tell(self, Told::Closed, out);
            }
        }
        self.send(out, tell)
    }

    fn take_plaintext(
        &mut self,
        length: usize,
        out: &mut Vec<u8>,
        tell: &mut impl FnMut(&mut Self, Told, &mut Vec<u8>) -> bool,
    ) -> bool {
        let Some(tls) = self.tls.as_mut().filter(|_| length > 0) else {
            return true;
        };
        let mut plain = vec![0; length];
        match tls.connection.reader().read_exact(&mut plain) {
            Ok(()) => self.feed(&plain, out, tell),
            Err(error) => tell(self, Told::Broken(error), out),
        }
    }

    /// Sends what is in `out`, and tells if that breaks.
    fn send(
        &mut self,
        out: &mut Vec<u8>,
        tell: &mut impl FnMut(&mut Self, Told, &mut Vec<u8>) -> bool,
    ) -> bool {
        match self.write(out) {
            Ok(()) => true,
            Err(error) => tell(self, Told::Broken(error), out),
        }
    }

    /// Sends bytes, and empties them; what the kernel does not take now follows with
    /// [`flush`](Self::flush).
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.connection.writer().write_all(out)?;
            out.clear();
            return self.flush();
        }
        if self.unsent.is_empty() {
            let sent = write_some(&mut self.stream, out)?;
            if sent == out.len() {
                out.clear();
                return Ok(());
            }
            out.drain(..sent);
        }
        self.unsent.append(out);
        self.flush()
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.connection.wants_write() {
                match tls.connection.write_tls(&mut self.stream) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        }
        if !self.unsent.is_empty() {
            let sent = write_some(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..sent);
            if self.unsent.is_empty() {
                self.unsent = Vec::new();
            }
        }
        Ok(())
    }

    /// Whether everything was handed to the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
            && self
                .tls
                .as_ref()
                .is_none_or(|tls| !tls.connection.wants_write())
    }

    /// Ends the encrypted stream properly; the plain one needs nothing.
    pub(crate) fn say_close_notify(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.connection.send_close_notify();
        }
        self.flush()
    }
}

/// Writes until the kernel takes no more; tells how much it took.
fn write_some(stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
