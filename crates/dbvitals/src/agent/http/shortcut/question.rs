//! Whether bytes are a request for `/health/NAME` that leaves nothing to interpret.
//!
//! HTTP/1.1 without a body, with no more on the connection than whether it is kept, and with a target
//! in which nothing is escaped. Read with the parser that the server behind the router uses, so what
//! is a request here is one there.

use crate::agent::http::condition::Condition;

/// Fields that change what happens to the connection or announce a body.
const MEANINGFUL: [&str; 4] = ["content-length", "expect", "transfer-encoding", "upgrade"];
/// How many fields a request may have here; those of balancers have five.
const FIELDS_MAX: usize = 32;
/// How a request begins that may be answered here.
const BEGINNINGS: [&[u8]; 3] = [b"GET /health/", b"HEAD /health/", b"OPTIONS /health/"];

/// A request that can be answered without the router.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question<'a> {
    pub(super) name: &'a str,
    pub(super) condition: Condition,
    pub(super) manner: Manner,
    /// How many bytes it has.
    pub(super) length: usize,
}

/// How it is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    pub(super) wants_body: bool,
    /// It is the last on its connection.
    pub(super) closes: bool,
}

/// What the bytes are that came so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading<'a> {
    Complete(Question<'a>),
    /// The beginning of one, perhaps.
    Incomplete,
    Beyond,
}

impl<'a> Question<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Reading<'a> {
        let begins = |words: &&[u8]| {
            let common = words.len().min(bytes.len());
            words[..common] == bytes[..common]
        };
        if !BEGINNINGS.iter().any(begins) {
            return Reading::Beyond;
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => {
                Self::of(&request, length).map_or(Reading::Beyond, Reading::Complete)
            }
            Ok(httparse::Status::Partial) => Reading::Incomplete,
            Err(_) => Reading::Beyond,
        }
    }

    fn of(request: &httparse::Request<'_, 'a>, length: usize) -> Option<Self> {
        let is_meaningful = |field: &httparse::Header<'_>| {
            MEANINGFUL
                .iter()
                .any(|it| field.name.eq_ignore_ascii_case(it))
        };
        if request.version != Some(1) || request.headers.iter().any(is_meaningful) {
            return None;
        }
        let closes = closes(request)?;
        let target = request.path?.strip_prefix("/health/")?;
        let (name, query) = match target.split_once('?') {
            Some((name, query)) => (name, Some(query)),
            None => (target, None),
        };
        let condition = match query {
            Some(query) => condition(query)?,
            None => Condition::default(),
        };
        (!name.is_empty() && name.bytes().all(is_plain)).then_some(Self {
            name,
            condition,
            manner: Manner {
                wants_body: request.method != Some("HEAD"),
                closes,
            },
            length,
        })
    }
}

/// Whether the connection is closed after the answer; `None` where more is said of it.
fn closes(request: &httparse::Request<'_, '_>) -> Option<bool> {
    let mut closes = false;
    for field in &*request.headers {
        if !field.name.eq_ignore_ascii_case("connection") {
            continue;
        }
        match field.value {
            value if value.eq_ignore_ascii_case(b"close") => closes = true,
            value if value.eq_ignore_ascii_case(b"keep-alive") => {}
            _ => return None,
        }
    }
    Some(closes)
}

/// What is asked for beside the verdict, where that can be told at once.
fn condition(query: &str) -> Option<Condition> {
    let mut asked = Vec::new();
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=')?;
        if !key.bytes().chain(value.bytes()).all(is_plain) {
            return None;
        }
        asked.push((key.to_owned(), value.to_owned()));
    }
    let condition = Condition::read(&asked).ok()?;
    (!condition.may_need_probe()).then_some(condition)
}

/// Whether a byte stands for itself in a path and in a query.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "GET /health/orders-1 HTTP/1.1\r\nHost: db-a:8306\r\nUser-Agent: wrk\r\n\r\n";

    #[test]
    fn a_plain_request_is_read_with_its_length() {
        let pipelined = format!("{HEAD}{HEAD}");
        let expected = Question {
            name: "orders-1",
            condition: Condition::default(),
            manner: Manner {
                wants_body: true,
                closes: false,
            },
            length: HEAD.len(),
        };
        let read = Question::read(pipelined.as_bytes());
        assert_eq!(read, Reading::Complete(expected));
    }

    #[test]
    fn what_came_in_part_is_waited_for() {
        for length in 0..HEAD.len() {
            let read = Question::read(&HEAD.as_bytes()[..length]);
            assert_eq!(read, Reading::Incomplete, "{length}");
        }
    }

    #[test]
    fn a_condition_is_read_where_it_needs_no_probe() {
        let check = |query: &str, is_read: bool| {
            let words = format!("HEAD /health/127.0.0.1:3306?{query} HTTP/1.1\r\n\r\n");
            match Question::read(words.as_bytes()) {
                Reading::Complete(question) => {
                    assert!(is_read && !question.manner.wants_body, "{query}");
                    assert_ne!(question.condition, Condition::default(), "{query}");
                }
                Reading::Beyond => assert!(!is_read, "{query}"),
                Reading::Incomplete => panic!("{query} is complete"),
            }
        };
        check("want=primary", true);
        check("want=replica&max_lag=10s", true);
        check("want=replica&max_lag=1m%2030s", false);
        check("want=replica&max_lag=1m+30s", false);
        check("fresh=true", false);
        check("max_age=500ms", false);
        check("want=nothing", false);
        check("want=any&want=any", false);
        check("want", false);
        check("", false);
    }

    #[test]
    fn a_connection_is_kept_or_closed_as_balancers_ask() {
        let check = |value: &str, expected: bool| {
            let words = format!("GET /health/web HTTP/1.1\r\nconnection: {value}\r\n\r\n");
            match Question::read(words.as_bytes()) {
                Reading::Complete(question) => assert_eq!(question.manner.closes, expected),
                reading @ (Reading::Incomplete | Reading::Beyond) => panic!("{value}: {reading:?}"),
            }
        };
        check("close", true);
        check("Close", true);
        check("keep-alive", false);
        check("Keep-Alive ", false);
        check("keep-alive\r\nConnection: close", true);
    }

    #[test]
    fn whatever_has_to_be_interpreted_is_for_the_router() {
        for words in [
            "POST /health/web HTTP/1.1\r\n\r\n",
            "get /health/web HTTP/1.1\r\n\r\n",
            "GET /health HTTP/1.1\r\n\r\n",
            "GET /health/ HTTP/1.1\r\n\r\n",
            "GET /health/a/b HTTP/1.1\r\n\r\n",
            "GET /health/%77eb HTTP/1.1\r\n\r\n",
            "GET /health/web#part HTTP/1.1\r\n\r\n",
            "GET http://a/health/web HTTP/1.1\r\n\r\n",
            "GET /health/web HTTP/1.0\r\n\r\n",
            "GET /health/web HTTP/2.0\r\n\r\n",
            "GET /health/web HTTP/1.1\r\nConnection: close, TE\r\n\r\n",
            "GET /health/web HTTP/1.1\r\nConnection: upgrade\r\n\r\n",
            "GET /health/web HTTP/1.1\r\ncontent-LENGTH: 0\r\n\r\n",
            "GET /health/web HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET /health/web HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            "GET /health/web HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
            "GET /health/web HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET /health/web HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
            "\r\nGET /health/web HTTP/1.1\r\n\r\n",
            "\x16\x03\x01",
        ] {
            let read = Question::read(words.as_bytes());
            assert_eq!(read, Reading::Beyond, "{words:?}");
        }
    }
}
