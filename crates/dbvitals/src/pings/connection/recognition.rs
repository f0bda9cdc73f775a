//! Whose protocol a connection speaks, and which of its ends is the client: by the server's address,
//! by the first words, or by a command that fits and an answer that confirms it.

use dbvitals_wire::passive::{
    Follower, Opening, Protocol, looks_like_answer, looks_like_command, opening_of,
};

use super::super::packet::Endpoint;
use super::super::pulse::Pulse;
use super::super::servers::Servers;
use super::{Connection, State, Surroundings, Turn};

/// After so many segments that fit nothing, a connection is foreign.
const TRIES_MAX: u8 = 32;

impl Connection {
    /// Finds out what the connection speaks, and which end is the client.
    pub(super) fn recognise(&mut self, turn: Turn<'_>, around: &mut Surroundings) {
        let tries = match &mut self.state {
            State::Foreign => return,
            State::Following { .. } if self.group.is_some() => return,
            State::Following { protocol, .. } => {
                let protocol = *protocol;
                return self.confirm(protocol, turn, around);
            }
            State::Unknown { tries } => {
                *tries = tries.saturating_add(1);
                *tries
            }
        };
        if let Some(protocol) = self
            .opening(turn)
            .filter(|_| around.servers.admits(self.server))
        {
            self.follow(protocol, true);
            return self.join(protocol, around);
        }
        if let Some((protocol, client)) = self.known_end(&around.servers) {
            self.orient(client);
            self.follow(protocol, self.was_opened());
            return self.join(protocol, around);
        }
        if let Some(protocol) = self.guess(turn, &around.servers) {
            // Nobody's until the other side answers as it should.
            self.orient(turn.source);
            self.follow(protocol, false);
        } else if tries >= TRIES_MAX {
            self.state = State::Foreign;
        }
    }

    /// What the first words say, where the beginning was captured.
    fn opening(&self, turn: Turn<'_>) -> Option<Protocol> {
        if !self.was_opened() {
            return None;
        }
        let from_server = !self.is_client(turn.source);
        let opening = opening_of(turn.bytes, turn.length(), from_server)?;
        let (Opening::Server(protocol) | Opening::Client(protocol)) = opening;
        Some(protocol)
    }

    /// The protocol and the client's end, where one of the ends is a server that is known.
    fn known_end(&self, servers: &Servers) -> Option<(Protocol, Endpoint)> {
        if let Some(protocol) = servers.protocol(self.server) {
            return Some((protocol, self.client));
        }
        let protocol = servers
            .protocol(self.client)
            .filter(|_| !self.is_oriented)?;
        Some((protocol, self.server))
    }

    /// Whose command this may be.
    fn guess(&self, turn: Turn<'_>, servers: &Servers) -> Option<Protocol> {
        let from_client = self.is_client(turn.source);
        let to = match from_client {
            true => self.server,
            false => self.client,
        };
        let may_be = (from_client || !self.is_oriented) && servers.admits(to);
        looks_like_command(turn.bytes, turn.length()).filter(|_| may_be)
    }

    /// Holds a guess against the other side's words.
    fn confirm(&mut self, protocol: Protocol, turn: Turn<'_>, around: &mut Surroundings) {
        if self.is_client(turn.source) {
            return;
        }
        if looks_like_answer(protocol, turn.bytes, turn.length()) {
            return self.join(protocol, around);
        }
        self.state = State::Unknown {
            tries: TRIES_MAX / 2,
        };
        self.is_oriented = self.was_opened();
        self.waiting = None;
        self.pulse = Pulse::default();
    }

    fn orient(&mut self, client: Endpoint) {
        self.is_oriented = true;
        if client != self.client {
            std::mem::swap(&mut self.client, &mut self.server);
            std::mem::swap(&mut self.from_client, &mut self.from_server);
        }
    }

    fn follow(&mut self, protocol: Protocol, from_start: bool) {
        let follower = match from_start {
            true => Follower::from_start(protocol),
            false => Follower::from_middle(protocol),
        };
        self.state = State::Following { protocol, follower };
    }

    /// The protocol is certain: the connection counts, with all that was counted so far.
    pub(super) fn join(&mut self, protocol: Protocol, around: &mut Surroundings) {
        if self.group.is_some() {
            return;
        }
        around.servers.learn(self.server, protocol);
        let group = around.groups.id_of(self.client, self.server, protocol);
        self.group = Some(group);
        let (waiting, opened) = (self.waiting.take(), self.was_opened());
        if let Some(tally) = around.groups.tally(group) {
            tally.connections.seen += 1;
            tally.connections.opened += u64::from(opened);
            if let Some(waiting) = waiting {
                tally.merge(&waiting);
            }
        }
    }
}
