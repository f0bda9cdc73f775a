//! Leaving a connection so that the server has nothing to complain of.
//!
//! A login that has begun is finished first, since a server counts and logs a handshake that is
//! broken off; then comes the protocol's own goodbye, then the end of our side, and then the
//! server closes. All of it has a second.

use dbvitals_wire::Event;

use super::{LEAVE_WITHIN, Line, Prober, Purpose};
use crate::conversation::Told;

impl Prober {
    /// Begins a goodbye.
    pub(super) fn leave(&mut self, key: usize) {
        let until = self.clock.now() + LEAVE_WITHIN;
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

    pub(super) fn read_goodbye(&mut self, key: usize) {
        let Some(Line {
            conversation: Some(conversation),
            purpose: Purpose::Leaving { said, .. },
            ..
        }) = self.lines.get_mut(key)
        else {
            return;
        };
        let mut gone = false;
        let said = *said;
        self.scratch.out.clear();
        conversation.read(&mut self.scratch, |conversation, told, out| {
            match told {
                Told::Event(Event::StartTls | Event::Malformed(_) | Event::WrongProtocol(_))
                | Told::Closed
                | Told::Broken(_)
                | Told::TlsFailed(_) => gone = true,
                Told::TlsEstablished => {
                    if let Some(session) = &mut conversation.session {
                        session.handle_tls_established(out);
                    }
                }
                Told::Event(_) => {}
            }
            !gone
        });
        if gone {
            self.close(key);
        } else if !said {
            self.say_goodbye(key);
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
