//! One probe on the fresh path: from the name to the answer, phase by phase.
//!
//! Keeps the account of one probe (where it stands, since when, how far it got) and gives each
//! thing that its conversation tells a meaning. It opens no socket and looks at no deadline:
//! `prober.rs` does, and asks for the [`Ending`] when there is one.

use std::net::SocketAddr;
use std::sync::Arc;

use dbvitals_verdict::{
    Cause, Depth, Moment, Observation, Outcome, Path, Phase, Phases, ProbeId, Role, ServerFacts,
};
use dbvitals_wire::{Event, Greeting, Session};

use crate::clock::Clock;
use crate::conversation::{Conversation, Told};
use crate::failure::Failure;
use crate::learned::Learned;
use crate::order::Order;
use crate::question::{Heard, Question};
use crate::target::{Protocol, Target};
use crate::tls::{self, TlsPolicy};

/// The share of what is left of a probe's time that a write may take, in percent; the rest is for
/// finding out what it waits for.
const WRITE_SHARE_PERCENT: u32 = 60;

/// How a probe ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The depth was reached.
    Pass,
    /// It ended short; the session may have survived, as after a statement's wrong answer.
    Fail(Failure),
    /// It ended short because we turn away from a server that answers: what was begun with it is
    /// finished first.
    Decline(Failure),
    /// The TLS handshake failed and plain text is allowed: dial again without TLS.
    RedialPlain,
}

/// What a probe needs to know of the world.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) target: &'a Target,
    pub(crate) learned: &'a mut Learned,
    pub(crate) clock: Clock,
}

/// One probe on the fresh path.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) id: ProbeId,
    pub(crate) depth: Depth,
    /// Whether the session is to be held when it passed and none is.
    pub(crate) hold: bool,
    pub(crate) started: Moment,
    pub(crate) deadline: Moment,
    pub(crate) phase: Phase,
    phase_started: Moment,
    phases: Phases,
    reached: Option<Depth>,
    greeting: Greeting,
    question: Question,
    /// What the question brought to light.
    facts: Option<Arc<ServerFacts>>,
    /// Addresses not tried yet, the next one last.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The addresses were looked up for an earlier probe.
    pub(crate) remembered: bool,
    /// Until when the address being dialled may keep the others waiting.
    pub(crate) attempt_until: Moment,
    /// Why the last address failed.
    pub(crate) attempt_failure: Option<Failure>,
    /// TLS was tried and failed; plain text is next.
    pub(crate) plain: bool,
    pub(crate) ending: Option<Ending>,
    /// A login of before hangs, and this probe waits for it.
    pub(crate) waits_for_login: bool,
    /// When a write that is not committed by then is looked after.
    pub(crate) write_until: Option<Moment>,
    /// When the server is told to give up a statement that is not answered by then.
    pub(crate) cancel_at: Option<Moment>,
}

impl Probe {
    pub(crate) fn new(order: Order, target: &Target, started: Moment) -> Self {
        let Order {
            probe: id,
            depth,
            hold,
            deadline,
            ..
        } = order;
        Self {
            id,
            depth,
            hold,
            started,
            deadline,
            phase: Phase::Resolve,
            phase_started: started,
            phases: Phases::default(),
            reached: None,
            greeting: Greeting::default(),
            question: Question::new(depth, target),
            facts: None,
            addresses: Vec::new(),
            remembered: false,
            attempt_until: deadline,
            attempt_failure: None,
            plain: false,
            ending: None,
            waits_for_login: false,
            write_until: None,
            cancel_at: None,
        }
    }

    /// Begins only now, after a wait that is no part of what the probe takes; its deadline stays.
    pub(crate) fn begin(&mut self, now: Moment) {
        self.started = now;
        self.restart(Phase::Resolve, now);
    }

    /// Leaves the present phase for the next.
    pub(crate) fn enter(&mut self, phase: Phase, now: Moment) {
        self.phases.push(self.phase, now.since(self.phase_started));
        self.restart(phase, now);
    }

    /// Begins a phase without an account of the one before: there was none.
    pub(crate) fn restart(&mut self, phase: Phase, now: Moment) {
        self.phase = phase;
        self.phase_started = now;
    }

    /// Notes that somebody listens, which is all that was asked.
    pub(crate) fn hear_listening(&mut self, now: Moment) {
        self.enter(Phase::Listening, now);
        self.reach(Depth::Listening);
    }

    /// Notes that the connection stands; ends the probe if that is all that was asked.
    pub(crate) fn hear_connected(&mut self, now: Moment) {
        self.reach(Depth::Connect);
        self.enter(Phase::Greeting, now);
    }

    fn reach(&mut self, depth: Depth) {
        self.reached = self.reached.max(Some(depth));
        if depth >= self.depth {
            self.ending = Some(Ending::Pass);
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.ending = Some(Ending::Fail(failure));
    }

    /// Gives what the conversation tells a meaning; answers whether to go on reading.
    pub(crate) fn hear(
        &mut self,
        conversation: &mut Conversation,
        told: Told,
        out: &mut Vec<u8>,
        around: &mut Surroundings<'_>,
    ) -> bool {
        let now = around.clock.now();
        match told {
            Told::Event(event) => self.hear_event(conversation, event, out, around, now),
            Told::TlsEstablished => match use_tls(conversation, out, around.target) {
                Ok(()) => {
                    let next = match around.target.protocol {
                        Protocol::Postgres => Phase::Greeting,
                        Protocol::MySql | Protocol::Opaque => Phase::Login,
                    };
                    self.enter(next, now);
                }
                Err(failure) => self.ending = Some(Ending::Decline(failure)),
            },
            Told::TlsFailed(error) => {
                let detail = format!("the TLS handshake failed: {error}");
                self.fail_tls(Failure::new(tls::cause_of(&error), detail), around.target);
            }
            Told::Closed if self.phase == Phase::Tls => {
                self.fail_tls(Failure::closed(self.phase), around.target);
            }
            Told::Closed => self.fail(Failure::closed(self.phase)),
            Told::Broken(error) => self.fail(Failure::from_io(&error, self.phase)),
        }
        self.ending.is_none()
    }

    fn fail_tls(&mut self, failure: Failure, target: &Target) {
        match target.tls {
            TlsPolicy::Prefer(_) => self.ending = Some(Ending::RedialPlain),
            TlsPolicy::Off | TlsPolicy::Require(_) | TlsPolicy::Verify(_) => self.fail(failure),
        }
    }

    fn hear_event(
        &mut self,
        conversation: &mut Conversation,
        event: Event,
        out: &mut Vec<u8>,
        around: &mut Surroundings<'_>,
        now: Moment,
    ) {
        match event {
            Event::Greeted(greeting) => {
                self.greeting = greeting;
                self.enter(Phase::Login, now);
                self.reach(Depth::Greeting);
            }
            Event::StartTls => {
                // What was waited for in this phase so far was the word to begin with TLS.
                self.phase = Phase::Tls;
                if let Err(failure) = start_tls(conversation, out, around.target) {
                    self.fail(failure);
                }
            }
            Event::TlsRefused => {
                self.ending = Some(Ending::Decline(Failure::new(
                    Cause::TlsUntrusted,
                    "TLS is required, and the server does not offer it",
                )));
            }
            Event::LoggedIn(greeting) => {
                around.learned.note_login(&greeting, now);
                self.greeting = greeting;
                self.enter(self.question.phase(), now);
                self.reach(Depth::Login);
                if self.ending.is_none() {
                    self.ask(conversation, out, around, now);
                }
            }
            Event::Refused(refusal) if refusal.fatal || !self.phase.is_question() => {
                self.reached = self.reached.max(Some(Depth::Greeting));
                self.fail(Failure::refused(&refusal, self.phase));
            }
            Event::Pong | Event::Answer(_) | Event::Refused(_) => {
                let heard = self
                    .question
                    .hear(&event, around.target, around.learned, now);
                self.hear_answer(heard, conversation, out, around, now);
            }
            Event::WrongProtocol(foreign) => self.fail(Failure::foreign(foreign)),
            Event::Malformed(expected) => {
                self.fail(Failure::new(Cause::Malformed, expected));
            }
        }
    }

    fn hear_answer(
        &mut self,
        heard: Heard,
        conversation: &mut Conversation,
        out: &mut Vec<u8>,
        around: &Surroundings<'_>,
        now: Moment,
    ) {
        match heard {
            Heard::Nothing => {}
            Heard::Next => {
                if self.phase != self.question.phase() {
                    self.enter(self.question.phase(), now);
                }
                self.ask(conversation, out, around, now);
            }
            Heard::Answer(outcome) => {
                self.facts = self.question.facts(around.learned);
                self.reached = Some(self.question.reached(&outcome));
                match outcome {
                    Ok(()) => {
                        self.enter(self.phase, now);
                        self.ending = Some(Ending::Pass);
                    }
                    Err(failure) => self.fail(failure),
                }
            }
        }
    }

    fn ask(
        &mut self,
        conversation: &mut Conversation,
        out: &mut Vec<u8>,
        around: &Surroundings<'_>,
        now: Moment,
    ) {
        if let Some(session) = &mut conversation.session {
            let mut patience = self.deadline.since(now);
            if self.question.writes() {
                patience = patience * WRITE_SHARE_PERCENT / 100;
                self.write_until = Some(now + patience);
            }
            self.cancel_at = self.question.cancel_at(session, now, patience);
            self.question
                .ask(session, around.target, around.learned, patience, out);
        }
    }

    /// The write does not end: the connection is given up, and what it waits for is asked on
    /// another. Answers whether there is anything to ask about.
    pub(crate) fn look_after_write(
        &mut self,
        conversation: &Conversation,
        learned: &mut Learned,
        now: Moment,
    ) -> bool {
        let session = conversation.session.as_ref().and_then(Session::id);
        let Some(session) = session.filter(|_| self.question.writes()) else {
            return false;
        };
        learned.stuck = Some(session);
        self.question.look_after(session);
        self.addresses.extend(conversation.stream.peer());
        self.write_until = None;
        self.enter(Phase::Connect, now);
        true
    }

    /// The account of the whole probe.
    pub(crate) fn observe(
        mut self,
        failure: Option<Failure>,
        session: bool,
        now: Moment,
    ) -> Observation {
        let outcome = match &failure {
            None => Outcome::Pass,
            Some(failure) => {
                self.phases
                    .push_failed(self.phase, now.since(self.phase_started));
                Outcome::Fail(failure.cause)
            }
        };
        Observation {
            path: Path::Fresh,
            probe: Some(self.id),
            started: self.started,
            ended: now,
            depth: self.reached,
            outcome,
            phases: self.phases,
            session,
            server: self.facts.or_else(|| facts(self.greeting)),
            detail: failure.map(|failure| failure.detail),
        }
    }
}

/// Has the session go on over TLS if its peer may be trusted, and turn away politely if not.
pub(crate) fn use_tls(
    conversation: &mut Conversation,
    out: &mut Vec<u8>,
    target: &Target,
) -> Result<(), Failure> {
    let judged = match (target.tls.config(), conversation.tls()) {
        (Some(config), Some(connection)) => config.judge(connection, target.address.host()),
        (None, _) | (_, None) => Ok(()),
    };
    let Some(session) = &mut conversation.session else {
        return Ok(());
    };
    match judged {
        Ok(()) => {
            session.handle_tls_established(out);
            Ok(())
        }
        Err(error) => {
            session.decline(out);
            let detail = format!("the server's certificate is refused: {error}");
            Err(Failure::new(tls::cause_of(&error), detail))
        }
    }
}

/// Begins the TLS handshake that the session asked for.
pub(crate) fn start_tls(
    conversation: &mut Conversation,
    out: &mut Vec<u8>,
    target: &Target,
) -> Result<(), Failure> {
    let broken = |error: std::io::Error| Failure::from_io(&error, Phase::Tls);
    let config = target
        .tls
        .config()
        .ok_or_else(|| Failure::new(Cause::Malformed, "TLS was offered and not asked for"))?;
    let connection = config.connect(target.address.host()).map_err(|error| {
        let detail = format!("TLS cannot be set up: {error}");
        Failure::new(Cause::TlsWrongName, detail)
    })?;
    conversation.write(out).map_err(broken)?;
    conversation.start_tls(connection).map_err(broken)
}

fn facts(greeting: Greeting) -> Option<Arc<ServerFacts>> {
    if greeting.product.is_none() && greeting.version.is_none() {
        return None;
    }
    let role = greeting.in_hot_standby.map(|standby| match standby {
        true => Role::Replica,
        false => Role::Primary,
    });
    Some(Arc::new(ServerFacts {
        product: greeting.product.map(dbvitals_wire::Product::name),
        version: greeting.version,
        role,
        read_only: greeting.default_read_only.or(greeting.in_hot_standby),
        ..ServerFacts::default()
    }))
}

/// Whether the session of a conversation can take another question.
pub(crate) fn is_idle(conversation: &Conversation) -> bool {
    conversation.session.as_ref().is_some_and(Session::is_idle)
}
