//! Name resolution beside the event loop: `getaddrinfo` waits, so it waits in a thread of its own.
//!
//! The system's resolver cannot be cancelled, so the number of lookups under way is bounded and
//! each answer comes back through a channel. A lookup that outlives its probe is not lost: its
//! answer serves the next one.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use mio::Waker;

use crate::order::TargetId;

/// How many lookups may be under way at once; more wait their turn.
const LOOKUPS_MAX: usize = 16;

/// The answer to one lookup.
#[derive(Debug)]
pub(crate) struct Resolution {
    pub(crate) target: TargetId,
    pub(crate) addresses: io::Result<Vec<SocketAddr>>,
}

#[derive(Debug)]
struct Question {
    target: TargetId,
    host: String,
    port: u16,
}

#[derive(Debug, Default)]
struct Desk {
    waiting: VecDeque<Question>,
    threads: usize,
}

/// Resolves names in a bounded number of threads.
#[derive(Debug)]
pub(crate) struct Resolver {
    desk: Arc<Mutex<Desk>>,
    answers: Receiver<Resolution>,
    sender: Sender<Resolution>,
    waker: Arc<Waker>,
}

impl Resolver {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        let (sender, answers) = channel();
        Self {
            desk: Arc::default(),
            answers,
            sender,
            waker,
        }
    }

    /// Begins a lookup; the caller sees to it that each target has at most one under way.
    pub(crate) fn start(&self, target: TargetId, host: &str, port: u16) -> io::Result<()> {
        let mut desk = lock(&self.desk);
        desk.waiting.push_back(Question {
            target,
            host: host.to_owned(),
            port,
        });
        if desk.threads >= LOOKUPS_MAX {
            return Ok(());
        }
        let (shared, sender) = (Arc::clone(&self.desk), self.sender.clone());
        let waker = Arc::clone(&self.waker);
        thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(move || answer_questions(&shared, &sender, &waker))?;
        desk.threads += 1;
        Ok(())
    }

    /// An answer, if one came.
    pub(crate) fn poll(&self) -> Option<Resolution> {
        self.answers.try_recv().ok()
    }
}

/// Answers questions until none waits, then ends.
fn answer_questions(desk: &Mutex<Desk>, sender: &Sender<Resolution>, waker: &Waker) {
    loop {
        let question = {
            let mut desk = lock(desk);
            let Some(question) = desk.waiting.pop_front() else {
                desk.threads -= 1;
                return;
            };
            question
        };
        let addresses = (question.host.as_str(), question.port)
            .to_socket_addrs()
            .map(Iterator::collect);
        let resolution = Resolution {
            target: question.target,
            addresses,
        };
        // Nobody listens any more, or nobody can be woken: then nobody waits for the answer.
        if sender.send(resolution).is_err() || waker.wake().is_err() {
            lock(desk).threads -= 1;
            return;
        }
    }
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}
