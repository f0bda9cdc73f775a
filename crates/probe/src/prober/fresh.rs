//! The fresh path: from an order to an observation, over names, addresses and connections.
//!
//! What happens on a connection once it stands is told to [`Probe`]; this file gets it there, and
//! draws the conclusion when the probe has an ending.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use dbvitals_verdict::{Cause, Depth, Moment, Path, Phase};
use dbvitals_wire::{Channel, Credentials, Login, Session, TlsOffer};
use mio::Token;

use super::{
    LEAVE_WITHIN, Line, NAME_FRESH_FOR, NAME_MOVED_WITHIN, NAME_SURE_FOR, Prober, Purpose,
    QUEUE_FULL_PAUSE,
};
use crate::conversation::Conversation;
use crate::failure::{Failure, plain};
use crate::order::{Order, TargetId};
use crate::probe::{self, Ending, Probe};
use crate::stream::Stream;
use crate::target::{Address, Protocol, Target};
use crate::tls::TlsPolicy;

impl Prober {
    pub(super) fn start_fresh(&mut self, order: Order, now: Moment) {
        self.cancel(order.target, Path::Fresh);
        let Some(target) = self.target(order.target) else {
            return;
        };
        if let Some(key) = self.entry_mut(order.target).and_then(|entry| entry.leaving) {
            self.close(key);
        }
        self.serial = self.serial.wrapping_add(1);
        let probe = Probe::new(order, &target, now);
        let key = self.lines.insert(Line {
            target: order.target,
            serial: self.serial,
            conversation: None,
            purpose: Purpose::Probe(Box::new(probe)),
        });
        if let Some(entry) = self.entry_mut(order.target) {
            entry.fresh = Some(key);
        }
        self.wake_at(key, order.deadline);
        let hung = self.entry_mut(order.target).and_then(|entry| entry.hung);
        match hung.and_then(|hung| self.hung_phase(hung)) {
            Some(phase) => {
                if let Some(Purpose::Probe(probe)) =
                    self.lines.get_mut(key).map(|line| &mut line.purpose)
                {
                    probe.waits_for_login = true;
                    probe.restart(phase, now);
                }
            }
            None => self.resolve(key, &target, now),
        }
    }

    /// Finds the addresses to dial: at once where the host is an address, a socket, or a name
    /// that was resolved a moment ago.
    pub(super) fn resolve(&mut self, key: usize, target: &Target, now: Moment) {
        let Address::Tcp { host, port } = &target.address else {
            self.dial(key);
            return;
        };
        if let Some(ip) = target.address.ip() {
            self.dial_these(key, vec![SocketAddr::new(ip, *port)], false);
            return;
        }
        let Some(id) = self.lines.get(key).map(|line| line.target) else {
            return;
        };
        let known = self.entry_mut(id).and_then(|entry| entry.addresses.clone());
        if let Some((at, addresses)) = &known
            && now.since(*at) < NAME_FRESH_FOR
        {
            if let Some(Purpose::Probe(probe)) = self.lines.get_mut(key).map(|it| &mut it.purpose) {
                probe.remembered = now.since(*at) >= NAME_SURE_FOR;
            }
            self.dial_these(key, addresses.clone(), false);
            return;
        }
        if let Err(error) = self.ask_for_name(id, host, *port) {
            self.fail_probe(key, Failure::from_io(&error, Phase::Resolve));
            return;
        }
        if known.is_some() {
            // Better an address of old than none: half of the time is left for dialling it.
            if let Some(Purpose::Probe(probe)) = self.lines.get(key).map(|line| &line.purpose) {
                let half = probe.started + probe.deadline.since(probe.started) / 2;
                self.wake_at(key, half);
            }
        }
    }

    /// Has a name looked up, unless it is being looked up already.
    fn ask_for_name(&mut self, id: TargetId, host: &str, port: u16) -> io::Result<()> {
        let asks = self
            .entry_mut(id)
            .is_some_and(|entry| !mem::replace(&mut entry.resolving, true));
        if !asks {
            return Ok(());
        }
        let started = self.resolver.start(id, host, port);
        if started.is_err()
            && let Some(entry) = self.entry_mut(id)
        {
            entry.resolving = false;
        }
        started
    }

    /// The addresses that were remembered lead nowhere: the name may have moved. It has a moment
    /// for saying so; what was seen stands otherwise.
    fn resolve_again(&mut self, key: usize, target: &Target, now: Moment) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let id = line.target;
        if let Purpose::Probe(probe) = &mut line.purpose {
            probe.enter(Phase::Resolve, now);
        }
        let asked = match &target.address {
            Address::Tcp { host, port } => self.ask_for_name(id, host, *port).is_ok(),
            Address::Unix(_) => false,
        };
        match asked {
            true => self.wake_at(key, now + NAME_MOVED_WITHIN),
            false => self.fail_attempts(key),
        }
    }

    /// Ends a probe whose addresses all failed.
    pub(super) fn fail_attempts(&mut self, key: usize) {
        let now = self.clock.now();
        let Some(Purpose::Probe(probe)) = self.lines.get_mut(key).map(|line| &mut line.purpose)
        else {
            return;
        };
        let failure = probe.attempt_failure.take();
        if probe.phase != Phase::Connect {
            probe.enter(Phase::Connect, now);
        }
        self.fail_probe(
            key,
            failure.unwrap_or_else(|| Failure::late(Phase::Connect)),
        );
    }

    pub(super) fn take_resolutions(&mut self) {
        while let Some(resolution) = self.resolver.poll() {
            let now = self.clock.now();
            let Some(entry) = self.entry_mut(resolution.target) else {
                continue;
            };
            entry.resolving = false;
            let mut moved = false;
            let failure = match resolution.addresses {
                Ok(addresses) if !addresses.is_empty() => {
                    let before = entry.addresses.take();
                    moved = before.is_none_or(|(_, before)| before != addresses);
                    entry.addresses = Some((now, addresses));
                    None
                }
                Ok(_) => Some("the name has no address".to_owned()),
                Err(error) => Some(plain(&error)),
            };
            let Some(key) = entry.fresh else { continue };
            let known = entry.addresses.clone();
            let probe = match self.lines.get(key).map(|line| &line.purpose) {
                Some(Purpose::Probe(probe)) if probe.phase == Phase::Resolve => Some(probe),
                Some(_) | None => None,
            };
            if probe.is_some_and(|probe| probe.attempt_failure.is_some()) && !moved {
                self.fail_attempts(key);
                continue;
            }
            match (probe.is_some(), known, failure) {
                (false, _, _) => {}
                (true, Some((_, addresses)), _) => self.dial_these(key, addresses, true),
                (true, None, failure) => {
                    let detail = failure.unwrap_or_default();
                    self.fail_probe(key, Failure::new(Cause::DnsFailed, detail));
                }
            }
        }
    }

    pub(super) fn dial_these(
        &mut self,
        key: usize,
        mut addresses: Vec<SocketAddr>,
        resolved: bool,
    ) {
        let now = self.clock.now();
        let Some(Purpose::Probe(probe)) = self.lines.get_mut(key).map(|line| &mut line.purpose)
        else {
            return;
        };
        if resolved {
            probe.enter(Phase::Connect, now);
        }
        addresses.reverse();
        probe.addresses = addresses;
        self.dial(key);
    }

    /// Looks who listens at the addresses in place of dialling them: the probe that goes no deeper
    /// than that makes no connection.
    fn look_for_listener(&mut self, key: usize) {
        let now = self.clock.now();
        let Some(Line {
            target,
            purpose: Purpose::Probe(probe),
            ..
        }) = self.lines.get_mut(key)
        else {
            return;
        };
        let Some(Some(entry)) = self.targets.get(target.0 as usize) else {
            return;
        };
        probe.restart(Phase::Listening, now);
        let mut addresses = mem::take(&mut probe.addresses);
        addresses.reverse();
        match self.lookout.look(&entry.target.address, &addresses, now) {
            Ok(()) => {
                probe.hear_listening(self.clock.now());
                self.end_probe(key);
            }
            Err(failure) => self.fail_probe(key, failure),
        }
    }

    /// Dials the next address; the probe has failed when none is left.
    pub(super) fn dial(&mut self, key: usize) {
        loop {
            let now = self.clock.now();
            let Some(line) = self.lines.get_mut(key) else {
                return;
            };
            let Some(Some(entry)) = self.targets.get(line.target.0 as usize) else {
                return;
            };
            let Purpose::Probe(probe) = &mut line.purpose else {
                return;
            };
            if probe.depth == Depth::Listening {
                self.look_for_listener(key);
                return;
            }
            if probe.phase != Phase::Connect {
                probe.restart(Phase::Connect, now);
            }
            let connected = match &entry.target.address {
                Address::Unix(path) => Stream::connect_unix(path),
                Address::Tcp { .. } => match probe.addresses.pop() {
                    Some(address) => {
                        // Each address gets an equal share of what is left.
                        let left = probe.addresses.len() as u32;
                        let remaining = probe.deadline.since(now);
                        probe.attempt_until = match left {
                            0 => probe.deadline,
                            _ => now + remaining / (left + 1),
                        };
                        Stream::connect_tcp(address, probe.depth <= Depth::Connect)
                    }
                    None if mem::take(&mut probe.remembered) => {
                        let target = Arc::clone(&entry.target);
                        self.resolve_again(key, &target, now);
                        return;
                    }
                    None => {
                        self.fail_attempts(key);
                        return;
                    }
                },
            };
            let is_unix = matches!(entry.target.address, Address::Unix(_));
            let registered = connected.and_then(|mut stream| {
                stream.register(self.poll.registry(), Token(key))?;
                Ok(stream)
            });
            match registered {
                Ok(stream) => {
                    let until = probe.attempt_until;
                    line.conversation = Some(Conversation::new(stream));
                    if until < probe.deadline {
                        self.wake_at(key, until);
                    }
                    if is_unix {
                        self.handle_connected(key);
                    }
                    return;
                }
                Err(error) if is_unix && error.kind() == io::ErrorKind::WouldBlock => {
                    self.wake_at(key, now + QUEUE_FULL_PAUSE);
                    return;
                }
                Err(error) => {
                    let failure = Failure::from_io(&error, Phase::Connect);
                    if is_unix {
                        self.fail_probe(key, failure);
                        return;
                    }
                    probe.attempt_failure = Some(failure);
                }
            }
        }
    }

    /// The connection stands: go on with the session, or be content with that.
    pub(super) fn handle_connected(&mut self, key: usize) {
        let now = self.clock.now();
        let target = self
            .lines
            .get(key)
            .and_then(|line| self.target(line.target));
        let (Some(target), Some(line)) = (target, self.lines.get_mut(key)) else {
            return;
        };
        let Purpose::Probe(probe) = &mut line.purpose else {
            return;
        };
        probe.hear_connected(now);
        if probe.ending.is_some() {
            self.end_probe(key);
            return;
        }
        let Some(conversation) = &mut line.conversation else {
            return;
        };
        self.scratch.out.clear();
        let login = match login(&target, conversation, probe.plain) {
            Ok(login) => login,
            Err(failure) => {
                self.fail_probe(key, failure);
                return;
            }
        };
        conversation.session = Some(match target.protocol {
            Protocol::Postgres => Session::postgres(login, &mut self.scratch.out),
            Protocol::MySql | Protocol::Opaque => Session::mysql(login),
        });
        if let Err(error) = conversation.write(&mut self.scratch.out) {
            self.fail_probe(key, Failure::from_io(&error, Phase::Greeting));
        }
    }

    pub(super) fn handle_attempt_failed(&mut self, key: usize, error: &io::Error) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        line.conversation = None;
        if let Purpose::Probe(probe) = &mut line.purpose {
            probe.attempt_failure = Some(Failure::from_io(error, Phase::Connect));
            self.dial(key);
        }
    }

    /// Draws the conclusion of a probe that has an ending.
    pub(super) fn end_probe(&mut self, key: usize) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let Purpose::Probe(probe) = &mut line.purpose else {
            return;
        };
        match probe.ending.take() {
            None => {}
            Some(Ending::RedialPlain) => self.redial_plain(key),
            Some(Ending::Fail(failure)) => self.fail_probe(key, failure),
            Some(Ending::Decline(failure)) => self.conclude_probe(key, Some(failure), true),
            Some(Ending::Pass) => self.conclude_probe(key, None, true),
        }
    }

    /// A write has not ended in its time: asks on another connection what it waits for.
    pub(super) fn look_after_write(&mut self, key: usize, now: Moment) {
        let Some(Line {
            target,
            conversation,
            purpose: Purpose::Probe(probe),
            ..
        }) = self.lines.get_mut(key)
        else {
            return;
        };
        let Some(Some(entry)) = self.targets.get_mut(target.0 as usize) else {
            return;
        };
        if let Some(hung) = conversation
            && probe.look_after_write(hung, &mut entry.learned, now)
        {
            *conversation = None;
            self.dial(key);
        }
    }

    pub(super) fn redial_plain(&mut self, key: usize) {
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let Some(peer) = line.conversation.take().and_then(|it| it.stream.peer()) else {
            return;
        };
        if let Purpose::Probe(probe) = &mut line.purpose {
            probe.plain = true;
            probe.enter(Phase::Connect, self.clock.now());
            probe.addresses.push(peer);
            self.dial(key);
        }
    }

    pub(super) fn fail_probe(&mut self, key: usize, failure: Failure) {
        self.conclude_probe(key, Some(failure), false);
    }

    /// Ends a probe with its observation; its session is held, left politely, or dropped. `polite`
    /// says that the server still listens, whatever the outcome.
    pub(super) fn conclude_probe(&mut self, key: usize, failure: Option<Failure>, polite: bool) {
        let now = self.clock.now();
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let id = line.target;
        let placeholder = Purpose::Leaving {
            until: now + LEAVE_WITHIN,
            said: false,
            shut: false,
        };
        let Purpose::Probe(probe) = mem::replace(&mut line.purpose, placeholder) else {
            return;
        };
        let alive = line.conversation.as_ref().is_some_and(probe::is_idle);
        let vacant = self.entry_mut(id).is_some_and(|entry| entry.held.is_none());
        let hold = alive && vacant && probe.hold;
        if let Some(entry) = self.entry_mut(id) {
            entry.fresh = None;
            if hold {
                entry.held = Some(key);
            }
        }
        let observation = probe.observe(failure, hold, now);
        self.observations.push_back((id, observation));
        if hold {
            if let Some(line) = self.lines.get_mut(key) {
                line.purpose = Purpose::Held(None);
            }
        } else if polite || alive {
            self.leave(key);
        } else {
            self.lines.try_remove(key);
        }
    }
}

/// What a session is to say of itself; a target without user is met as a stranger, who ends the
/// handshake properly.
fn login(target: &Target, conversation: &Conversation, plain: bool) -> Result<Login, Failure> {
    let stranger = match target.protocol {
        Protocol::Postgres => Credentials::new("postgres"),
        Protocol::MySql | Protocol::Opaque => Credentials::new(""),
    };
    let credentials = target.credentials.as_deref().cloned().unwrap_or(stranger);
    let private = conversation.stream.is_unix();
    let tls = match &target.tls {
        TlsPolicy::Prefer(_) if !plain && !private => TlsOffer::Prefer,
        TlsPolicy::Off | TlsPolicy::Prefer(_) => TlsOffer::Never,
        // Nobody can listen on a unix socket; there is nothing to encrypt.
        TlsPolicy::Require(_) | TlsPolicy::Verify(_) if private => TlsOffer::Never,
        TlsPolicy::Require(_) | TlsPolicy::Verify(_) => TlsOffer::Require,
    };
    let mut entropy = [0; 32];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut entropy)
        .map_err(|_| Failure::new(Cause::OutOfDescriptors, "the system gave no random bytes"))?;
    let mut login = Login::new(credentials, tls, entropy);
    if private {
        login.channel = Channel::Private;
    }
    Ok(login)
}
