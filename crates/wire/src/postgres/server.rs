//! The server's side: lets clients in as told, and hands their statements to its owner.
//!
//! Enough of PostgreSQL for psql and for every probe: TLS, all of the client's ways to log in, the
//! simple query. The extended query is read and named [`Request::Other`]. Callers: servers of tests
//! and demonstrations, through [`Server`](crate::Server). It trusts nobody: broken bytes are a
//! [`Request::Other`], after which the session is over.
//!
//! An owner that wants to refuse a client calls `reply_error` with `fatal`: before any input (as a
//! postmaster without processes would), or at [`Request::LoggedIn`] in place of what `out` holds.

mod admission;

use self::admission::{Admission, Answer};
use super::{
    authentication::INVALID_PASSWORD,
    error_response,
    message::{Malformed, Message, Pending, backend, frontend, put_message, put_sized, put_text},
    startup::{self, Packet},
};
use crate::{MESSAGE_LENGTH_MAX, Refusal, Request, ServerOptions, Table};

/// ReadyForQuery's state "not in a transaction".
const IDLE: u8 = b'I';

/// The type `text` in pg_type.
const TEXT_OID: u32 = 25;

/// A server's session with a PostgreSQL client; see [`Server`](crate::Server) for the contract.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    phase: Phase,
    pending: Pending,
}

#[derive(Debug)]
enum Phase {
    /// Opening packets, the StartupMessage last.
    Startup,
    /// Nothing, until the owner's TLS handshake is done.
    TlsHandshake,
    /// The client has said who it is and is proving it.
    Admission(Box<Admission>),
    Ready,
    Over,
}

impl Server {
    /// Starts a session; the client speaks first.
    pub fn new(options: ServerOptions) -> Self {
        Self {
            options,
            phase: Phase::Startup,
            pending: Pending::default(),
        }
    }

    /// Takes bytes from the client and returns the next request, if they complete one.
    pub fn handle_input(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Request> {
        self.next_request(input, out)
            .unwrap_or_else(|Malformed(_)| {
                self.phase = Phase::Over;
                Some(Request::Other)
            })
    }

    fn next_request(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Request>, Malformed> {
        loop {
            let next = match self.phase {
                Phase::Startup => self
                    .pending
                    .next_packet(input, startup::PACKET_LENGTH_MAX)?,
                Phase::Admission(_) | Phase::Ready => {
                    self.pending.next_message(input, MESSAGE_LENGTH_MAX)?
                }
                Phase::TlsHandshake if !input.is_empty() => {
                    return Err(Malformed("no plain text before the TLS handshake"));
                }
                Phase::TlsHandshake | Phase::Over => {
                    *input = &[];
                    None
                }
            };
            let Some(message) = next else {
                return Ok(None);
            };
            let request = match &mut self.phase {
                Phase::Startup => self.handle_packet(Packet::parse(message.body())?, out),
                Phase::Admission(admission) => {
                    let answer = admission.handle_message(&message, out)?;
                    self.handle_answer(answer, out)
                }
                Phase::Ready => self.handle_message(&message, out)?,
                Phase::TlsHandshake | Phase::Over => None,
            };
            if request.is_some() {
                return Ok(request);
            }
        }
    }

    /// Goes on after the TLS handshake.
    pub fn handle_tls_established(&mut self) {
        if matches!(self.phase, Phase::TlsHandshake) {
            self.phase = Phase::Startup;
        }
    }

    fn handle_packet(&mut self, packet: Packet, out: &mut Vec<u8>) -> Option<Request> {
        match packet {
            Packet::SslRequest if self.options.tls => {
                out.push(b'S');
                self.phase = Phase::TlsHandshake;
                Some(Request::StartTls)
            }
            Packet::SslRequest | Packet::GssEncRequest => {
                out.push(b'N');
                None
            }
            Packet::CancelRequest => {
                self.phase = Phase::Over;
                Some(Request::Other)
            }
            Packet::UnsupportedProtocol => {
                self.reply_error("0A000", "unsupported frontend protocol", true, out);
                Some(Request::Other)
            }
            Packet::StartupMessage { minor, user } => {
                if minor > 0 {
                    put_negotiation(out);
                }
                let (admission, answer) = Admission::start(&self.options, user, out);
                self.phase = Phase::Admission(Box::new(admission));
                self.handle_answer(answer, out)
            }
        }
    }

    fn handle_answer(&mut self, answer: Answer, out: &mut Vec<u8>) -> Option<Request> {
        match answer {
            Answer::Asked => None,
            Answer::Admitted { user } => {
                self.phase = Phase::Ready;
                self.put_parameters(out);
                put_ready(out);
                Some(Request::LoggedIn { user })
            }
            Answer::Denied { user } => {
                let message = format!("password authentication failed for user \"{user}\"");
                self.reply_error(INVALID_PASSWORD, &message, true, out);
                Some(Request::Denied { user })
            }
        }
    }

    fn handle_message(
        &mut self,
        message: &Message<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Request>, Malformed> {
        match message.tag {
            frontend::QUERY => {
                let sql = String::from_utf8_lossy(message.body().text()?).into_owned();
                let is_empty = sql.chars().all(|c| c.is_ascii_whitespace() || c == ';');
                Ok(Some(if is_empty {
                    Request::Ping
                } else {
                    Request::Query(sql)
                }))
            }
            frontend::TERMINATE => {
                self.phase = Phase::Over;
                Ok(Some(Request::Quit))
            }
            frontend::SYNC => {
                put_ready(out);
                Ok(None)
            }
            _ => Ok(Some(Request::Other)),
        }
    }

    /// What a server says of itself once it has let somebody in.
    fn put_parameters(&self, out: &mut Vec<u8>) {
        let in_hot_standby = if self.options.in_hot_standby {
            "on"
        } else {
            "off"
        };
        for (name, value) in [
            ("server_version", self.options.version.as_str()),
            ("in_hot_standby", in_hot_standby),
            ("default_transaction_read_only", "off"),
            ("client_encoding", "UTF8"),
            ("server_encoding", "UTF8"),
            ("standard_conforming_strings", "on"),
            ("DateStyle", "ISO, MDY"),
            ("TimeZone", "Etc/UTC"),
            ("integer_datetimes", "on"),
        ] {
            put_message(out, backend::PARAMETER_STATUS, |body| {
                put_text(body, name);
                put_text(body, value);
            });
        }
        put_message(out, backend::BACKEND_KEY_DATA, |body| {
            body.extend_from_slice(&self.options.session_id.to_be_bytes());
            // The secret for a CancelRequest, which nobody checks here.
            body.extend_from_slice(&[0; 4]);
        });
    }

    /// Answers a ping.
    pub fn reply_pong(&mut self, out: &mut Vec<u8>) {
        put_message(out, backend::EMPTY_QUERY_RESPONSE, |_| {});
        put_ready(out);
    }

    /// Answers a query.
    pub fn reply_answer(&mut self, answer: &crate::Answer, out: &mut Vec<u8>) {
        for table in answer.tables() {
            put_table(table, out);
        }
        if answer.tables().is_empty() {
            put_message(out, backend::COMMAND_COMPLETE, |body| put_text(body, "SET"));
        }
        put_ready(out);
    }

    /// Refuses: with a FATAL, which ends the session, or an ERROR. Before the login everything is
    /// a FATAL.
    pub fn reply_error(&mut self, code: &str, message: &str, fatal: bool, out: &mut Vec<u8>) {
        let refusal = Refusal {
            number: 0,
            sqlstate: code.into(),
            message: message.into(),
            routine: routine(code).into(),
            fatal: fatal || !matches!(self.phase, Phase::Ready),
        };
        error_response::put(&refusal, out);
        if refusal.fatal {
            self.phase = Phase::Over;
        } else {
            put_ready(out);
        }
    }
}

/// The routine in which PostgreSQL raises this error.
fn routine(sqlstate: &str) -> &'static str {
    match sqlstate {
        "53300" => "InitProcess",
        "57P03" => "ProcessStartupPacket",
        INVALID_PASSWORD => "auth_failed",
        _ => "dbvitals",
    }
}

/// Takes a client that asks for a later minor version down to 3.0.
fn put_negotiation(out: &mut Vec<u8>) {
    put_message(out, backend::NEGOTIATE_PROTOCOL_VERSION, |body| {
        body.extend_from_slice(&startup::PROTOCOL.to_be_bytes());
        let unknown_options = 0_u32;
        body.extend_from_slice(&unknown_options.to_be_bytes());
    });
}

/// Appends a table: its columns, its rows, and the end of its statement.
fn put_table(table: &Table, out: &mut Vec<u8>) {
    const TABLE_OID: u32 = 0;
    const COLUMN_NUMBER: u16 = 0;
    const VARIABLE_LENGTH: i16 = -1;
    const NO_TYPE_MODIFIER: i32 = -1;
    const TEXT_FORMAT: u16 = 0;
    let columns = (table.columns().len() as u16).to_be_bytes();
    put_message(out, backend::ROW_DESCRIPTION, |body| {
        body.extend_from_slice(&columns);
        for column in table.columns() {
            put_text(body, column);
            body.extend_from_slice(&TABLE_OID.to_be_bytes());
            body.extend_from_slice(&COLUMN_NUMBER.to_be_bytes());
            body.extend_from_slice(&TEXT_OID.to_be_bytes());
            body.extend_from_slice(&VARIABLE_LENGTH.to_be_bytes());
            body.extend_from_slice(&NO_TYPE_MODIFIER.to_be_bytes());
            body.extend_from_slice(&TEXT_FORMAT.to_be_bytes());
        }
    });
    for row in table.rows() {
        put_message(out, backend::DATA_ROW, |body| {
            body.extend_from_slice(&columns);
            for value in row.values() {
                put_sized(body, value);
            }
        });
    }
    put_message(out, backend::COMMAND_COMPLETE, |body| {
        put_text(body, &format!("SELECT {}", table.rows().len()));
    });
}

fn put_ready(out: &mut Vec<u8>) {
    put_message(out, backend::READY_FOR_QUERY, |body| body.push(IDLE));
}

#[cfg(test)]
mod tests;
