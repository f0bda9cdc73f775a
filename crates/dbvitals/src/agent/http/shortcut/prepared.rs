//! An answer of `/health` put together beforehand, but for what changes with every moment.

use std::io::Write as _;
use std::sync::Arc;

use axum::http::StatusCode;
use dbvitals_verdict::Moment;

use super::question::Manner;
use crate::agent::board::{BackendBoard, Board, Edition};
use crate::agent::http::condition::Condition;
use crate::agent::http::fitness;
use crate::agent::http::health::{self, whole_ms};

/// What stands in a body that has no age yet.
const AGE: &str = "\"evidence_age_ms\":";
const NO_AGE: &str = "null";

/// An answer, and what it was made from.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    backend: Arc<BackendBoard>,
    edition: Edition,
    of_backend: Edition,
    /// The status and the fields, but for the age and the date.
    head: Vec<u8>,
    /// The body up to its age.
    body: Vec<u8>,
    /// The body after that.
    rest: Vec<u8>,
}

impl Prepared {
    /// What `/health` says of a backend; `None` where that is not to be said here.
    pub(super) fn new(name: &str, condition: Condition, board: &Board) -> Option<Self> {
        // What changes meanwhile has another edition, so the answer does not hold.
        let edition = board.edition();
        if board.service(name).is_some() {
            return None;
        }
        let backend = board.backend(name)?;
        let of_backend = backend.edition();
        let (is_fit, mut state) = fitness(&backend, condition, board);
        state.evidence_age_ms = None;
        let (status, fields, body) = health::parts(is_fit, state);
        let body = serde_json::to_string(&body).ok()?;
        let (before, rest) = body.split_once(&format!("{AGE}{NO_AGE}"))?;
        let mut head = status_line(status);
        head.extend_from_slice(b"content-type: application/json\r\n");
        for (name, value) in &fields {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        Some(Self {
            backend,
            edition,
            of_backend,
            head,
            body: format!("{before}{AGE}").into_bytes(),
            rest: rest.into(),
        })
    }

    /// Whether nothing has changed since it was made.
    pub(super) fn holds(&self, board: &Board) -> bool {
        board.edition() == self.edition && self.backend.edition() == self.of_backend
    }

    /// Says it as it is now.
    pub(super) fn tell(&self, now: Moment, date: &str, manner: Manner, told: &mut Vec<u8>) {
        let age = self.backend.evidence_age(now).map(whole_ms);
        let said = age.map_or_else(|| NO_AGE.to_owned(), |age| age.to_string());
        let length = self.body.len() + said.len() + self.rest.len();
        told.extend_from_slice(&self.head);
        // Writing into memory cannot fail.
        if age.is_some() {
            let _ = write!(told, "{}: {said}\r\n", health::EVIDENCE_AGE);
        }
        let _ = write!(told, "content-length: {length}\r\n");
        if manner.closes {
            told.extend_from_slice(b"connection: close\r\n");
        }
        let _ = write!(told, "date: {date}\r\n\r\n");
        if manner.wants_body {
            told.extend_from_slice(&self.body);
            told.extend_from_slice(said.as_bytes());
            told.extend_from_slice(&self.rest);
        }
    }
}

fn status_line(status: StatusCode) -> Vec<u8> {
    // Both have words of their own.
    let words = status.canonical_reason().unwrap_or_default();
    format!("HTTP/1.1 {} {words}\r\n", status.as_str()).into_bytes()
}
