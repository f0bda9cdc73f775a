//! The login: from the first byte sent to the server's first ReadyForQuery.
//!
//! SSLRequest and its answer of one byte, StartupMessage, authentication, then what the server says
//! of itself. Until the first message is read, the peer may be anybody, see `foreign`. All of this
//! is dropped when the server is ready. Caller: [`Client`](super::Client).

use std::mem;

use crate::{
    Channel, Event, Foreign, Greeting, Login, Product, TlsOffer,
    postgres::{
        authentication::{Exchange, Request, Step},
        error_response,
        foreign::{self, FirstWords},
        message::{Body, Malformed, Message, Pending, backend},
        startup::{self, CancelKey},
    },
    text,
};

/// The longest message of a login. No server of good will comes near (libpq has the same limit for
/// the first answer), and it catches peers that merely begin with one of PostgreSQL's letters.
const LOGIN_MESSAGE_LENGTH_MAX: usize = 30_000;

/// The longest line of a postmaster that cannot fork (the size of its own buffer).
const UNFRAMED_LENGTH_MAX: usize = 1000;

const VERSION_LENGTH_MAX: usize = 64;

/// The answers to an SSLRequest.
const TLS_ACCEPTED: u8 = b'S';
const TLS_DECLINED: u8 = b'N';

/// A login under way.
#[derive(Debug)]
pub(super) struct LoginPhase {
    login: Login,
    stage: Stage,
    exchange: Exchange,
    /// The server's first request: told as its greeting, and answered when the caller goes on. So
    /// a caller that only wanted the greeting leaves before any password is sent.
    unanswered: Option<Request>,
    greeting: Greeting,
    cancel_key: Option<CancelKey>,
}

/// What comes next from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The answer to the SSLRequest.
    TlsAnswer,
    /// Nothing, until the caller's TLS handshake is done.
    TlsHandshake,
    /// The first bytes in answer to the StartupMessage.
    FirstWords,
    /// The first request for authentication.
    Greeting,
    /// More of the authentication.
    Authentication,
    /// Parameters and the first ReadyForQuery.
    Admitted,
}

impl LoginPhase {
    /// Starts a login: appends an SSLRequest where TLS is wanted and makes sense, else the
    /// StartupMessage.
    pub(super) fn new(login: Login, out: &mut Vec<u8>) -> Self {
        let stage = match (login.tls, login.channel) {
            (TlsOffer::Prefer | TlsOffer::Require, Channel::Open) => {
                startup::put_ssl_request(out);
                Stage::TlsAnswer
            }
            (TlsOffer::Never, _) | (_, Channel::Private) => {
                startup::put_startup_message(&login, out);
                Stage::FirstWords
            }
        };
        Self {
            login,
            stage,
            exchange: Exchange::default(),
            unanswered: None,
            greeting: Greeting::default(),
            cancel_key: None,
        }
    }

    /// What a CancelRequest has to name, once the server has told.
    pub(super) fn cancel_key(&self) -> Option<CancelKey> {
        self.cancel_key
    }

    /// Takes bytes from the server and returns the next event, [`Event::LoggedIn`] being the last.
    pub(super) fn handle_input(
        &mut self,
        pending: &mut Pending,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Malformed> {
        if let Some(request) = self.unanswered.take()
            && let Some(event) = self.handle_request(request, out)?
        {
            return Ok(Some(event));
        }
        match self.stage {
            Stage::TlsHandshake if input.is_empty() => Ok(None),
            Stage::TlsHandshake => Err(Malformed("no plain text before the TLS handshake")),
            Stage::TlsAnswer | Stage::FirstWords => self.handle_first_words(pending, input, out),
            Stage::Greeting | Stage::Authentication | Stage::Admitted => {
                self.handle_messages(pending, input, out)
            }
        }
    }

    /// Goes on inside TLS.
    pub(super) fn handle_tls_established(&mut self, out: &mut Vec<u8>) {
        if self.stage == Stage::TlsHandshake {
            self.login.channel = Channel::Private;
            startup::put_startup_message(&self.login, out);
            self.stage = Stage::FirstWords;
        }
    }

    /// Whether the server reads commands already.
    pub(super) fn is_admitted(&self) -> bool {
        self.stage == Stage::Admitted
    }

    /// Judges who answers, and goes on if it may be PostgreSQL.
    fn handle_first_words(
        &mut self,
        pending: &mut Pending,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Malformed> {
        let first = pending.peek(foreign::LENGTH_MAX, input);
        // The length of a message begins with a 0 byte, a line of text does not.
        let is_framed = first.get(1).is_none_or(|&byte| byte == 0);
        match foreign::judge(&first, self.expected_first()) {
            FirstWords::Foreign(foreign) => Ok(Some(Event::WrongProtocol(foreign))),
            FirstWords::Undecided => {
                pending.hold(input);
                Ok(None)
            }
            FirstWords::Expected(backend::ERROR_RESPONSE) if !is_framed => {
                handle_unframed(pending, input)
            }
            FirstWords::Expected(answer @ (TLS_ACCEPTED | TLS_DECLINED))
                if self.stage == Stage::TlsAnswer =>
            {
                self.handle_tls_answer(answer, input, out)
            }
            FirstWords::Expected(_) => self.handle_messages(pending, input, out),
        }
    }

    /// The first bytes with which PostgreSQL may answer what was sent.
    fn expected_first(&self) -> &'static [u8] {
        if self.stage == Stage::TlsAnswer {
            &[TLS_ACCEPTED, TLS_DECLINED, backend::ERROR_RESPONSE]
        } else {
            &[
                backend::AUTHENTICATION,
                backend::ERROR_RESPONSE,
                backend::NOTICE_RESPONSE,
                backend::NEGOTIATE_PROTOCOL_VERSION,
            ]
        }
    }

    fn handle_tls_answer(
        &mut self,
        answer: u8,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Malformed> {
        // Whoever adds bytes to this one wants them taken for something said inside TLS
        // (CVE-2021-23222), or is no PostgreSQL.
        if input.len() > 1 {
            return Err(Malformed("a single byte in answer to an SSLRequest"));
        }
        *input = &[];
        if answer == TLS_ACCEPTED {
            self.stage = Stage::TlsHandshake;
            return Ok(Some(Event::StartTls));
        }
        if self.login.tls == TlsOffer::Require {
            return Ok(Some(Event::TlsRefused));
        }
        startup::put_startup_message(&self.login, out);
        self.stage = Stage::FirstWords;
        Ok(None)
    }

    fn handle_messages(
        &mut self,
        pending: &mut Pending,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Malformed> {
        while let Some(message) = pending.next_message(input, LOGIN_MESSAGE_LENGTH_MAX)? {
            let event = self.handle_message(&message, out)?;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn handle_message(
        &mut self,
        message: &Message<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Malformed> {
        if self.stage == Stage::FirstWords {
            self.stage = Stage::Greeting;
        }
        match (message.tag, self.stage) {
            (backend::ERROR_RESPONSE, _) => {
                let mut refusal = error_response::parse(message.body())?;
                refusal.fatal = true;
                return Ok(Some(Event::Refused(refusal)));
            }
            (backend::NOTICE_RESPONSE | backend::NOTIFICATION_RESPONSE, _) => {}
            (backend::NEGOTIATE_PROTOCOL_VERSION, Stage::Greeting) => {}
            (backend::AUTHENTICATION, Stage::Greeting) => {
                self.unanswered = Some(Request::parse(message.body())?);
                self.stage = Stage::Authentication;
                return Ok(Some(Event::Greeted(Greeting::default())));
            }
            (backend::AUTHENTICATION, Stage::Authentication) => {
                return self.handle_request(Request::parse(message.body())?, out);
            }
            (backend::PARAMETER_STATUS, Stage::Admitted) => {
                self.handle_parameter(message.body())?;
            }
            (backend::BACKEND_KEY_DATA, Stage::Admitted) => {
                let mut body = message.body();
                let key = CancelKey {
                    pid: body.u32()?,
                    secret: body.u32()?,
                };
                self.greeting.session_id = Some(key.pid);
                self.cancel_key = Some(key);
            }
            (backend::READY_FOR_QUERY, Stage::Admitted) => {
                self.greeting.product = Some(Product::PostgreSql);
                return Ok(Some(Event::LoggedIn(mem::take(&mut self.greeting))));
            }
            _ => return Err(Malformed("the messages of a login in their order")),
        }
        Ok(None)
    }

    fn handle_request(
        &mut self,
        request: Request,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Malformed> {
        match self.exchange.handle_request(request, &self.login, out)? {
            Step::Answered => Ok(None),
            Step::Admitted => {
                self.stage = Stage::Admitted;
                Ok(None)
            }
            Step::Refused(refusal) => Ok(Some(Event::Refused(refusal))),
        }
    }

    fn handle_parameter(&mut self, mut body: Body<'_>) -> Result<(), Malformed> {
        let (name, value) = (body.text()?, body.text()?);
        match name {
            b"server_version" => {
                // "15.18 (Debian 15.18-0+deb12u1)"
                let number = value.split(u8::is_ascii_whitespace).next().unwrap_or(value);
                self.greeting.version = Some(text::clean(number, VERSION_LENGTH_MAX));
            }
            b"in_hot_standby" => self.greeting.in_hot_standby = Some(value == b"on"),
            b"default_transaction_read_only" => {
                self.greeting.default_read_only = Some(value == b"on");
            }
            _ => {}
        }
        Ok(())
    }
}

/// Takes the line of a postmaster that cannot even fork a process to refuse us.
fn handle_unframed(pending: &mut Pending, input: &mut &[u8]) -> Result<Option<Event>, Malformed> {
    let Some(line) = pending.next_line(input, UNFRAMED_LENGTH_MAX)? else {
        return Ok(None);
    };
    Ok(Some(match error_response::parse_unframed(&line) {
        Some(refusal) => Event::Refused(refusal),
        None => Event::WrongProtocol(Foreign::Unrecognised),
    }))
}
