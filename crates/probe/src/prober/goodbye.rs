//! Leaving a connection so that the server has nothing to complain of.
//!
//! A login that has begun is finished first, TLS included, since a server counts and logs a
//! handshake that is broken off; then comes the protocol's own goodbye, then the end of our side,
//! and then the server closes. All of it has a second.

use dbvitals_verdict::Phase;
use dbvitals_wire::{Event, Session};
use mio::Token;

use super::{LEAVE_WITHIN, Line, Prober, Purpose};
use crate::conversation::{Conversation, Extent, Told};
use crate::probe;
use crate::stream::Stream;
use crate::target::{Address, Target};

impl Prober {
    /// Begins a goodbye.
    pub(super) fn leave(&mut self, key: usize) {
        let until = self.clock.now() + LEAVE_WITHIN;
        self.questions.set(key as u32, None);
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let id = line.target;
        line.purpose = Purpose::Leaving {
            until,
            said: false,
            shut: false,
        };
        let connected = line
            .conversation
            .as_ref()
            .is_some_and(|conversation| conversation.session.is_some());
        if !connected {
            if let Some(line) = self.lines.try_remove(key)
                && let Some(conversation) = line.conversation
            {
                conversation.stream.abandon();
            }
            return;
        }
        self.leaving += 1;
        if let Some(entry) = self.entry_mut(id) {
            entry.leaving = Some(key);
        }
        self.wake_at(key, until);
        self.scratch.out.clear();
        self.say_goodbye(key);
        // The probe may have turned away from a session that had more to tell: that TLS is next.
        self.hear_goodbye(key, false, false);
    }

    /// Says goodbye as soon as the session allows it.
    pub(super) fn say_goodbye(&mut self, key: usize) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let Line {
            conversation: Some(conversation),
            purpose: Purpose::Leaving { said, .. },
            ..
        } = line
        else {
            return;
        };
        if !*said {
            let ready = conversation
                .session
                .as_mut()
                .is_none_or(|session| session.goodbye(&mut self.scratch.out));
            if conversation.write(&mut self.scratch.out).is_err() {
                self.close(key);
                return;
            }
            *said = ready;
        }
        self.finish_goodbye(key);
    }

    /// Once all is said and sent, says that nothing more will come; the server closes then.
    pub(super) fn finish_goodbye(&mut self, key: usize) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        if let Line {
            conversation: Some(conversation),
            purpose: Purpose::Leaving {
                said: true, shut, ..
            },
            ..
        } = line
            // Once alone: the kernel reports each time as news, and the news would lead here.
            && !*shut
            && conversation.say_close_notify().is_ok()
            && conversation.is_flushed()
        {
            conversation.stream.shutdown_write();
            *shut = true;
        }
    }

    /// Goes on with a goodbye when bytes have come.
    pub(super) fn read_goodbye(&mut self, key: usize, ended: bool) {
        self.hear_goodbye(key, true, ended);
    }

    fn hear_goodbye(&mut self, key: usize, bytes_came: bool, ended: bool) {
        let Some(Line {
            target,
            serial,
            conversation: Some(conversation),
            purpose: Purpose::Leaving { said, .. },
            ..
        }) = self.lines.get_mut(key)
        else {
            return;
        };
        if *said && !bytes_came {
            return;
        }
        let entry = self.targets.get(target.0 as usize).and_then(Option::as_ref);
        // A target that took the place of this connection's own has nothing to do with it.
        let own = entry.filter(|entry| entry.leaving == Some(key));
        let target = own.map(|entry| &*entry.target);
        let (said, serial) = (*said, *serial);
        let mut goes_on = true;
        self.scratch.out.clear();
        let tell = |conversation: &mut Conversation, told, out: &mut Vec<u8>| {
            goes_on = finish_login(conversation, told, out, target);
            goes_on
        };
        let extent = match bytes_came {
            true => conversation.read(&mut self.scratch, ended, tell),
            false => {
                conversation.resume(&mut self.scratch.out, tell);
                Extent::All
            }
        };
        if extent == Extent::More {
            self.unread.push((key, serial));
        }
        if !goes_on {
            self.close(key);
        } else if !said {
            self.say_goodbye(key);
        }
    }

    /// Has the server give up the statement that nobody waits for any longer, where that takes a
    /// connection of its own: left alone, it could wait for ever, and the next one behind it.
    pub(super) fn cancel_statement(&mut self, key: usize) {
        let Some(line) = self.lines.get(key) else {
            return;
        };
        let asks = match &line.purpose {
            Purpose::Probe(probe) => probe.phase > Phase::Ping,
            Purpose::Held(Some(ping)) => ping.question.phase() > Phase::Ping,
            Purpose::Held(None) | Purpose::Hung { .. } | Purpose::Leaving { .. } => false,
        };
        let target = line.target;
        let conversation = line.conversation.as_ref().filter(|_| asks);
        let session = conversation.and_then(|it| it.session.as_ref());
        let request = session.and_then(Session::cancel_request);
        let (Some(conversation), Some(request)) = (conversation, request) else {
            let held = matches!(&line.purpose, Purpose::Held(Some(ping)) if ping.question.writes());
            let stuck = session.and_then(Session::id).filter(|_| held);
            if let (Some(stuck), Some(entry)) = (stuck, self.entry_mut(target)) {
                // For the next fresh session to look after.
                entry.learned.stuck = Some(stuck);
            }
            return;
        };
        // What cannot be sent is left to the server's own limits.
        let again = match (
            &self.target(target).map(|it| it.address.clone()),
            conversation.stream.peer(),
        ) {
            (Some(Address::Unix(path)), _) => Stream::connect_unix(path),
            (_, Some(peer)) => Stream::connect_tcp(peer, false),
            (_, None) => return,
        };
        let Ok(stream) = again else { return };
        self.serial = self.serial.wrapping_add(1);
        let until = self.clock.now() + LEAVE_WITHIN;
        let key = self.lines.insert(Line {
            target,
            serial: self.serial,
            conversation: Some(Conversation::new(stream)),
            purpose: Purpose::Leaving {
                until,
                said: true,
                shut: false,
            },
        });
        self.leaving += 1;
        self.wake_at(key, until);
        let Some(conversation) = self
            .lines
            .get_mut(key)
            .and_then(|line| line.conversation.as_mut())
        else {
            return;
        };
        let registered = conversation
            .stream
            .register(self.poll.registry(), Token(key));
        let sent = registered.and_then(|()| conversation.write(&mut request.to_vec()));
        match sent {
            Ok(()) => self.finish_goodbye(key),
            Err(_) => self.close(key),
        }
    }

    /// Drops a connection that was being left.
    pub(super) fn close(&mut self, key: usize) {
        let Some(line) = self.lines.try_remove(key) else {
            return;
        };
        self.leaving = self.leaving.saturating_sub(1);
        if let Some(entry) = self.entry_mut(line.target)
            && entry.leaving == Some(key)
        {
            entry.leaving = None;
        }
    }
}

/// Takes a login that nobody waits for any more to its end; answers whether it can go on.
fn finish_login(
    conversation: &mut Conversation,
    told: Told,
    out: &mut Vec<u8>,
    target: Option<&Target>,
) -> bool {
    match told {
        Told::Event(Event::StartTls) => {
            target.is_some_and(|target| probe::start_tls(conversation, out, target).is_ok())
        }
        Told::TlsEstablished => target.is_some_and(|target| {
            // A peer that is not trusted is told a stranger's name; that ends the login, too.
            let _ = probe::use_tls(conversation, out, target);
            true
        }),
        Told::Event(Event::Malformed(_) | Event::WrongProtocol(_))
        | Told::Closed
        | Told::Broken(_)
        | Told::TlsFailed(_) => false,
        Told::Event(_) => true,
    }
}
