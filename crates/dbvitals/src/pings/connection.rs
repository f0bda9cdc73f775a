//! One TCP connection: its two directions put in order, recognised, and listened to.
//!
//! Until it is known whose protocol it speaks, a connection is nobody's: what is counted waits in
//! a tally of its own, and goes to its group when an answer confirms the guess. One that does not
//! fit after a few tries is foreign, and costs nothing any more.

use dbvitals_wire::passive::{
    Follower, Heard, Opening, Protocol, Segment, looks_like_answer, looks_like_command, opening_of,
};

use super::cursor::{Cursor, Held, Place};
use super::groups::{GroupId, Groups};
use super::packet::{Endpoint, TcpSegment};
use super::pulse::Pulse;
use super::servers::Servers;
use super::tally::Tally;

/// After so many segments that fit nothing, a connection is foreign.
const TRIES_MAX: u8 = 32;
/// A gap this long is none: the numbers belong to something else.
const GAP_MAX: u32 = 1 << 24;

/// What all connections share.
pub(super) struct Surroundings<'a> {
    pub(super) groups: &'a mut Groups,
    pub(super) servers: &'a mut Servers,
    pub(super) idle_threshold: u64,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    client: Endpoint,
    server: Endpoint,
    /// Which end is the client's is known.
    is_oriented: bool,
    /// The numbers of the first packets, where they were captured.
    client_began: Option<u32>,
    server_began: Option<u32>,
    state: State,
    from_client: Cursor,
    from_server: Cursor,
    pulse: Pulse,
    group: Option<GroupId>,
    /// What was counted before the group was known.
    waiting: Option<Box<Tally>>,
    /// The client said something.
    has_client_words: bool,
    /// Something was understood.
    is_understood: bool,
    is_opaque: bool,
    is_closed: bool,
    /// Something came since the last one to look for a victim passed by.
    pub(super) is_recent: bool,
}

#[derive(Debug)]
enum State {
    Unknown {
        tries: u8,
    },
    Following {
        protocol: Protocol,
        follower: Follower,
    },
    Foreign,
}

/// One segment in its turn.
#[derive(Debug, Clone, Copy)]
struct Turn<'a> {
    source: Endpoint,
    bytes: &'a [u8],
    missing: usize,
    acknowledged: u32,
    at: u64,
}

impl Turn<'_> {
    fn length(&self) -> usize {
        self.bytes.len() + self.missing
    }
}

impl Connection {
    /// A connection first heard in the middle, where nobody knows which end is whose.
    pub(super) fn heard_of(source: Endpoint, destination: Endpoint) -> Self {
        Self {
            client: source,
            server: destination,
            is_oriented: false,
            client_began: None,
            server_began: None,
            state: State::Unknown { tries: 0 },
            from_client: Cursor::default(),
            from_server: Cursor::default(),
            pulse: Pulse::default(),
            group: None,
            waiting: None,
            has_client_words: false,
            is_understood: false,
            is_opaque: false,
            is_closed: false,
            is_recent: true,
        }
    }

    /// A connection by its first packet, or the answer to that.
    pub(super) fn begun_by(segment: &TcpSegment<'_>, around: &mut Surroundings<'_>) -> Self {
        let (client, server) = match segment.flags.ack() {
            true => (segment.destination, segment.source),
            false => (segment.source, segment.destination),
        };
        let mut connection = Self {
            is_oriented: true,
            ..Self::heard_of(client, server)
        };
        connection.begin(segment);
        if let Some(protocol) = around.servers.protocol(server) {
            connection.join(protocol, around);
        }
        connection
    }

    /// Takes the first packet of one side; says whether it is another connection's.
    pub(super) fn begin(&mut self, segment: &TcpSegment<'_>) -> bool {
        let first = segment.sequence.wrapping_add(1);
        let from_client = self.is_client(segment.source);
        let began = match from_client {
            true => &mut self.client_began,
            false => &mut self.server_began,
        };
        match *began {
            Some(began) => return began == first,
            None => *began = Some(first),
        }
        let was_heard = self.cursor(segment.source).next().is_some();
        if !was_heard {
            self.cursor(segment.source).begin(first);
        }
        // The first packet of a connection that was heard before begins a new one.
        !was_heard
    }

    /// Takes a segment; returns how much of its payload may be shown.
    pub(super) fn take(
        &mut self,
        segment: &TcpSegment<'_>,
        at: u64,
        around: &mut Surroundings<'_>,
    ) -> usize {
        if segment.flags.ack() {
            let peer = segment.destination;
            self.give_up_acknowledged(peer, segment.acknowledged, around);
            if self.is_client(segment.source) {
                self.note_answers_missed(segment.acknowledged);
            }
        }
        let turn = Turn {
            source: segment.source,
            bytes: segment.payload,
            missing: segment.missing,
            acknowledged: segment.acknowledged,
            at,
        };
        let shown = match segment.length() {
            0 => 0,
            _ => self.place(segment.sequence, turn, around),
        };
        if segment.flags.fin() || segment.flags.rst() {
            self.note_end(segment, around);
        }
        shown
    }

    /// Nothing more will come: what is held is heard, and the connection counted.
    pub(super) fn finish(&mut self, around: &mut Surroundings<'_>) {
        for source in [self.client, self.server] {
            while let Some(held) = self.cursor(source).take_any() {
                self.hear_held(source, &held, around);
            }
        }
        let commands = self.pulse.commands;
        let is_unread = self.has_client_words && !self.is_understood && !self.was_opened();
        let was_whole = self.was_opened() && self.is_closed && !self.is_opaque;
        if let Some(tally) = self.group.and_then(|group| around.groups.tally(group)) {
            let connections = &mut tally.connections;
            connections.unread += u64::from(is_unread);
            connections.used_once += u64::from(was_whole && commands == 1);
            connections.unused += u64::from(was_whole && commands == 0);
        }
    }

    /// Whether both sides are done with it.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn was_opened(&self) -> bool {
        self.client_began.or(self.server_began).is_some()
    }

    fn is_client(&self, source: Endpoint) -> bool {
        source == self.client
    }

    fn cursor(&mut self, source: Endpoint) -> &mut Cursor {
        match self.is_client(source) {
            true => &mut self.from_client,
            false => &mut self.from_server,
        }
    }

    /// Puts a segment in its turn.
    fn place(&mut self, sequence: u32, turn: Turn<'_>, around: &mut Surroundings<'_>) -> usize {
        let source = turn.source;
        match self.cursor(source).place(sequence, turn.length()) {
            Place::Old => 0,
            Place::Next { from } => {
                let shown = self.hear_next(sequence, from, turn, around);
                self.hear_what_was_held(source, around);
                if from == 0 { shown } else { 0 }
            }
            Place::Ahead(gap) if gap > GAP_MAX => {
                self.miss(source, gap);
                self.hear_next(sequence, 0, turn, around)
            }
            Place::Ahead(_) => {
                self.hold(sequence, turn, around);
                0
            }
        }
    }

    fn hold(&mut self, sequence: u32, turn: Turn<'_>, around: &mut Surroundings<'_>) {
        let Turn {
            source,
            bytes,
            missing,
            acknowledged,
            at,
        } = turn;
        let mut held = Held::new(sequence, acknowledged, at, bytes, missing);
        while let Err(refused) = self.cursor(source).hold(held) {
            if let Some(first) = self.cursor(source).take_any() {
                self.hear_held(source, &first, around);
                self.hear_what_was_held(source, around);
            }
            held = refused;
        }
    }

    /// Hears a segment from one of its bytes on.
    fn hear_next(
        &mut self,
        sequence: u32,
        from: usize,
        turn: Turn<'_>,
        around: &mut Surroundings<'_>,
    ) -> usize {
        let bytes = turn.bytes.get(from..).unwrap_or_default();
        self.cursor(turn.source).advance(sequence, turn.length());
        let rest = Turn {
            bytes,
            missing: turn.length() - from - bytes.len(),
            ..turn
        };
        self.hear(rest, around)
    }

    fn hear_held(&mut self, source: Endpoint, held: &Held, around: &mut Surroundings<'_>) {
        let turn = Turn {
            source,
            bytes: &held.bytes,
            missing: held.missing,
            acknowledged: held.acknowledged,
            at: held.at,
        };
        match self.cursor(source).place(held.sequence, held.length()) {
            Place::Old => {}
            Place::Next { from } => {
                self.hear_next(held.sequence, from, turn, around);
            }
            Place::Ahead(gap) => {
                self.miss(source, gap);
                self.hear_next(held.sequence, 0, turn, around);
            }
        }
    }

    fn hear_what_was_held(&mut self, source: Endpoint, around: &mut Surroundings<'_>) {
        while let Some(held) = self.cursor(source).take_next() {
            self.hear_held(source, &held, around);
        }
    }

    /// Hears what was held, as far as the peer has already acknowledged what is missing before it.
    fn give_up_acknowledged(
        &mut self,
        source: Endpoint,
        acknowledged: u32,
        around: &mut Surroundings<'_>,
    ) {
        while let Some(held) = self.cursor(source).take_acknowledged(acknowledged) {
            self.hear_held(source, &held, around);
            self.hear_what_was_held(source, around);
        }
    }

    fn miss(&mut self, source: Endpoint, gap: u32) {
        let from_client = self.is_client(source);
        if let State::Following { follower, .. } = &mut self.state {
            match from_client {
                true => follower.miss_client(gap as usize),
                false => follower.miss_server(gap as usize),
            }
        }
    }

    /// A client that has acknowledged what we have not heard has answers that we have not.
    fn note_answers_missed(&mut self, acknowledged: u32) {
        let Some(next) = self.from_server.next() else {
            return;
        };
        let missed = acknowledged.wrapping_sub(next).cast_signed();
        if missed > 0 && missed.unsigned_abs() <= GAP_MAX {
            if let State::Following { follower, .. } = &mut self.state {
                follower.miss_server(missed.unsigned_abs() as usize);
                follower.forget_waiting();
            }
            self.pulse.note_answer_missed();
            self.from_server.begin(acknowledged);
        }
    }

    /// Hears a segment in its turn.
    fn hear(&mut self, turn: Turn<'_>, around: &mut Surroundings<'_>) -> usize {
        self.recognise(turn, around);
        let from_client = self.is_client(turn.source);
        let is_turn = self.cursor(turn.source).takes_turn(turn.acknowledged);
        let said = self.from_server.next().filter(|_| from_client);
        let late = |next| turn.acknowledged.wrapping_sub(next).cast_signed() < 0;
        let segment = Segment {
            bytes: turn.bytes,
            missing: turn.missing,
            turn: is_turn,
            late: said.is_some_and(late),
            mark: turn.at,
        };
        let State::Following { follower, .. } = &mut self.state else {
            return 0;
        };
        let tally = match self.group {
            Some(group) => around.groups.tally(group),
            None => Some(&mut **self.waiting.get_or_insert_default()),
        };
        let Some(tally) = tally else {
            return 0;
        };
        let (pulse, is_opaque) = (&mut self.pulse, &mut self.is_opaque);
        let is_understood = &mut self.is_understood;
        let mut tell = |heard| {
            *is_understood = true;
            *is_opaque |= matches!(heard, Heard::Opaque(_));
            pulse.note(heard, turn.at, around.idle_threshold, tally);
        };
        let shown = match from_client {
            true => follower.hear_client(segment, &mut tell),
            false => follower.hear_server(segment, &mut tell),
        };
        self.has_client_words |= from_client;
        self.pulse.note_words(turn.at, !from_client);
        shown
    }

    /// Finds out what the connection speaks, and which end is the client.
    fn recognise(&mut self, turn: Turn<'_>, around: &mut Surroundings<'_>) {
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
        if let Some((protocol, client)) = self.known_end(around.servers) {
            self.orient(client);
            self.follow(protocol, self.was_opened());
            return self.join(protocol, around);
        }
        if let Some(protocol) = self.guess(turn, around.servers) {
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
    fn confirm(&mut self, protocol: Protocol, turn: Turn<'_>, around: &mut Surroundings<'_>) {
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
    fn join(&mut self, protocol: Protocol, around: &mut Surroundings<'_>) {
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

    fn note_end(&mut self, segment: &TcpSegment<'_>, around: &mut Surroundings<'_>) {
        let was_reset = segment.flags.rst();
        let length = segment.length();
        let end = segment.sequence.wrapping_add(length as u32);
        let cursor = self.cursor(segment.source);
        cursor.is_finished = true;
        if !was_reset && cursor.next() == Some(end) {
            // The end has a number of its own.
            cursor.advance(segment.sequence, length + 1);
        }
        let from_server = !self.is_client(segment.source);
        let Some(tally) = self.group.and_then(|group| around.groups.tally(group)) else {
            return;
        };
        if from_server {
            self.pulse.note_end(was_reset, tally);
        }
        let is_over = was_reset || self.from_client.is_finished && self.from_server.is_finished;
        if is_over && !self.is_closed {
            self.is_closed = true;
            tally.connections.closed += 1;
        }
    }
}
