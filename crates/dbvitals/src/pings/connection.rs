//! One TCP connection: its two directions put in order, recognised, and listened to.
//!
//! Until it is known whose protocol it speaks, a connection is nobody's: what is counted waits in
//! a tally of its own, and goes to its group when an answer confirms the guess. One that does not
//! fit after a few tries is foreign, and costs nothing any more.

mod recognition;

use dbvitals_wire::passive::{Follower, Heard, Protocol, Segment};

use super::cursor::{Cursor, Held, Place};
use super::groups::{GroupId, Groups};
use super::packet::{Endpoint, TcpSegment};
use super::pulse::Pulse;
use super::servers::Servers;
use super::tally::Tally;

/// A gap this long is none: the numbers belong to something else.
const GAP_MAX: u32 = 1 << 24;

/// So much is held of all connections together; beyond that, gaps are given up at once.
pub(super) const HELD_IN_ALL_MAX: usize = 4 << 20;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) groups: Groups,
    pub(super) servers: Servers,
    pub(super) idle_threshold: u64,
    /// How many bytes are held.
    pub(super) held: usize,
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
    /// Nobody was there to connect to.
    is_refused: bool,
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
            is_refused: false,
            is_recent: true,
        }
    }

    /// A connection by its first packet, or the answer to that.
    pub(super) fn begun_by(segment: &TcpSegment<'_>, around: &mut Surroundings) -> Self {
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
        let was_heard = self.cursor(segment.source).next().is_some();
        let began = match from_client {
            true => &mut self.client_began,
            false => &mut self.server_began,
        };
        if let Some(began) = *began {
            return began == first;
        }
        // The first packet of a connection that was heard before begins a new one.
        if was_heard {
            return false;
        }
        *began = Some(first);
        self.cursor(segment.source).begin(first);
        true
    }

    /// Takes a segment; returns how much of its payload may be shown.
    pub(super) fn take(
        &mut self,
        segment: &TcpSegment<'_>,
        at: u64,
        around: &mut Surroundings,
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
    pub(super) fn finish(&mut self, around: &mut Surroundings) {
        for source in [self.client, self.server] {
            self.hear_all_held(source, around);
        }
        let commands = self.pulse.commands;
        let is_unread = self.has_client_words && !self.is_understood && !self.was_opened();
        let was_whole = self.was_opened() && self.is_closed && !self.is_opaque && !self.is_refused;
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
    fn place(&mut self, sequence: u32, turn: Turn<'_>, around: &mut Surroundings) -> usize {
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

    fn hold(&mut self, sequence: u32, turn: Turn<'_>, around: &mut Surroundings) {
        let Turn {
            source,
            bytes,
            missing,
            acknowledged,
            at,
        } = turn;
        let mut held = Held::new(sequence, acknowledged, at, bytes, missing);
        if around.held + held.cost() > HELD_IN_ALL_MAX {
            self.hear_all_held(source, around);
            return self.hear_early(source, &held, around);
        }
        loop {
            let cost = held.cost();
            match self.cursor(source).hold(held) {
                Ok(true) => around.held += cost,
                Ok(false) => {}
                Err(refused) => {
                    if let Some(first) = self.cursor(source).take_any() {
                        self.hear_held(source, &first, around);
                        self.hear_what_was_held(source, around);
                    }
                    held = refused;
                    continue;
                }
            }
            return;
        }
    }

    /// Hears a segment from one of its bytes on.
    fn hear_next(
        &mut self,
        sequence: u32,
        from: usize,
        turn: Turn<'_>,
        around: &mut Surroundings,
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

    /// Hears what is no longer held.
    fn hear_held(&mut self, source: Endpoint, held: &Held, around: &mut Surroundings) {
        around.held = around.held.saturating_sub(held.cost());
        self.hear_early(source, held, around);
    }

    /// Hears a segment whatever is missing before it.
    fn hear_early(&mut self, source: Endpoint, held: &Held, around: &mut Surroundings) {
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

    fn hear_all_held(&mut self, source: Endpoint, around: &mut Surroundings) {
        while let Some(held) = self.cursor(source).take_any() {
            self.hear_held(source, &held, around);
        }
    }

    fn hear_what_was_held(&mut self, source: Endpoint, around: &mut Surroundings) {
        while let Some(held) = self.cursor(source).take_next() {
            self.hear_held(source, &held, around);
        }
    }

    /// Hears what was held, as far as the peer has already acknowledged what is missing before it.
    fn give_up_acknowledged(
        &mut self,
        source: Endpoint,
        acknowledged: u32,
        around: &mut Surroundings,
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
    fn hear(&mut self, turn: Turn<'_>, around: &mut Surroundings) -> usize {
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

    fn note_end(&mut self, segment: &TcpSegment<'_>, around: &mut Surroundings) {
        let was_reset = segment.flags.rst();
        let length = segment.length();
        let end = segment.sequence.wrapping_add(length as u32);
        let from_server = !self.is_client(segment.source);
        let is_refusal = was_reset && from_server && self.is_unanswered();
        let cursor = self.cursor(segment.source);
        cursor.is_finished = true;
        let lacks_words = matches!(cursor.place(end, 1), Place::Ahead(..=GAP_MAX));
        if !was_reset && cursor.next() == Some(end) {
            // The end has a number of its own.
            cursor.advance(segment.sequence, length + 1);
        }
        let Some(tally) = self.group.and_then(|group| around.groups.tally(group)) else {
            return;
        };
        if from_server {
            if lacks_words {
                // What it said before the end, and was not captured, may have been the answer.
                self.pulse.note_answer_missed();
            }
            self.pulse.note_end(was_reset, tally);
        }
        let is_over = was_reset || self.from_client.is_finished && self.from_server.is_finished;
        if is_over && !self.is_closed {
            self.is_closed = true;
            self.is_refused = is_refusal;
            match is_refusal {
                true => tally.connections.note_refusal(),
                false => tally.connections.closed += 1,
            }
        }
    }

    /// Whether the client has asked to connect, and the server has not answered that yet.
    fn is_unanswered(&self) -> bool {
        self.client_began.is_some() && self.from_server.next().is_none()
    }
}
