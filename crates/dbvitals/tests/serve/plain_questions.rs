//! Questions that are answered without the router: the same answers as the router's, byte for byte
//! but for what changes with every moment, and the same bounds.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use dbvitals_testkit::{Script, ScriptedServer, eventually};
use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::state_dir::StateDir;
use crate::{QUICK, Service, http};

/// A client that keeps its connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(agent: &Agent) -> Self {
        let stream = TcpStream::connect(agent.http()).expect("the HTTP port is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    fn stream(&mut self) -> &mut TcpStream {
        self.0.get_mut()
    }

    /// The next answer, to a question with this method.
    fn hear(&mut self, method: &str) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.0.read_line(&mut head).expect("a head is text");
            assert_ne!(read, 0, "it is closed after {head:?}");
        }
        if method == "HEAD" {
            return head;
        }
        let mut body = vec![0; content_length(&head)];
        self.0.read_exact(&mut body).expect("a body");
        head + &String::from_utf8(body).expect("a body is text")
    }

    fn ask(&mut self, method: &str, target: &str, field: &str) -> String {
        let words = format!("{method} {target} HTTP/1.1\r\nHost: db-a\r\n{field}\r\n");
        self.stream()
            .write_all(words.as_bytes())
            .expect("it is open");
        self.hear(method)
    }
}

fn content_length(head: &str) -> usize {
    let length = head.split_once("content-length: ").expect("a length").1;
    let digits = length.split_once("\r\n").expect("a line").0;
    digits.parse().expect("a number")
}

/// Puts a word where digits are that follow these words.
fn without_digits(text: &str, before: &str) -> String {
    match text.split_once(before) {
        Some((begins, rest)) => {
            let ends = rest.trim_start_matches(|it: char| it.is_ascii_digit());
            assert_ne!(ends.len(), rest.len(), "{text}");
            format!("{begins}{before}N{ends}")
        }
        None => text.to_owned(),
    }
}

/// An answer without what changes with every moment.
fn timeless(answer: &str) -> String {
    let (begins, rest) = answer.split_once("\r\ndate: ").expect("a date");
    let (date, rest) = rest.split_once("\r\n").expect("a line");
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date:?}");
    let answer = format!("{begins}\r\n{rest}");
    let ages = ["x-evidence-age-ms: ", "\"evidence_age_ms\":"];
    let answer = match answer.contains("\"evidence_age_ms\":null") {
        true => answer,
        false => ages.iter().fold(answer, |it, age| without_digits(&it, age)),
    };
    // It depends on how many digits an age has.
    without_digits(&answer, "content-length: ")
}

/// A field that says nothing new, and is for the router to understand.
const ROUTED: &str = "Content-Length: 0\r\n";

/// One client that is answered at once, and one that the router answers.
struct Pair {
    plain: Client,
    routed: Client,
}

impl Pair {
    fn connect(agent: &Agent) -> Self {
        Self {
            plain: Client::connect(agent),
            routed: Client::connect(agent),
        }
    }

    /// Expects the same answer for both, with this status.
    #[track_caller]
    fn agree(&mut self, target: &str, status: &str) {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let plain = self.plain.ask(method, target, "");
            let routed = self.routed.ask(method, target, ROUTED);
            assert_eq!(timeless(&plain), timeless(&routed), "{method} {target}");
            let begins = format!("HTTP/1.1 {status} ");
            assert!(plain.starts_with(&begins), "{method} {target}: {plain}");
        }
    }
}

#[test]
fn the_answers_are_those_of_the_router_whatever_is_the_case() {
    let (mut web, other, state) = (Service::start(), Service::start(), StateDir::new("plain"));
    let silent = ScriptedServer::start(Script::Silent);
    let config = ConfigFile::new(&format!(
        "{}{QUICK}[backend.web]\nurl = \"{}\"\n[backend.\"a b\"]\nurl = \"{}\"\n\
         [backend.waits]\nurl = \"postgres://vitals@{}\"\ntimeout = \"30s\"\nstale_after = \"60s\"\n\
         [service.all]\nbackends = [\"web\", \"a b\"]\n",
        state.section(),
        web.url(),
        other.url(),
        silent.address(),
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    agent.wait_for_verdict("a%20b", "up");
    for (target, status) in [
        ("/health/web", "200"),
        ("/health/a%20b", "200"),
        ("/health/waits", "503"),
        ("/health/all", "200"),
        ("/health/nobody", "404"),
        ("/health/web?want=any", "200"),
        ("/health/web?want=primary", "503"),
        ("/health/web?max_lag=10s", "503"),
        ("/health/web?fresh=false", "200"),
        ("/health/web?max_age=1h", "200"),
        ("/health/web?want=nothing", "400"),
        ("/health/web?want=any&want=any", "400"),
    ] {
        let mut pair = Pair::connect(&agent);
        for _ in 0..3 {
            pair.agree(target, status);
        }
    }
    // The same connections all along: an answer that was right before is not given again.
    let mut pair = Pair::connect(&agent);
    let order = |body: &str, told: &str| {
        let path = "/api/v1/backends/web/state";
        let answer = http::send_to_socket(&state.socket(), path, body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        // Its event loop has it a moment later.
        agent.wait_for_log(told);
    };
    pair.agree("/health/web", "200");
    order(
        r#"{"state":"drain","reason":"a \"quoted\" reason","for":"1h"}"#,
        "from=ready to=drain",
    );
    pair.agree("/health/web", "503");
    order(
        r#"{"state":"maint","reason":"another"}"#,
        "from=drain to=maint",
    );
    pair.agree("/health/web", "503");
    order(r#"{"state":"ready"}"#, "from=maint to=ready");
    pair.agree("/health/web", "200");
    web.stop();
    agent.wait_for_verdict("web", "down");
    pair.agree("/health/web", "503");
    web.start_again();
    agent.wait_for_verdict("web", "up");
    pair.agree("/health/web", "200");
}

#[test]
fn who_wants_the_connection_kept_or_closed_is_answered_as_by_the_router() {
    let service = Service::start();
    let agent = Agent::start(crate::agent::serve([format!("web={}", service.url())]));
    agent.wait_for_verdict("web", "up");
    let mut pair = Pair::connect(&agent);
    for field in [
        "Connection: keep-alive\r\n",
        "Connection: Keep-Alive\r\n",
        "Connection: close\r\n",
    ] {
        let plain = pair.plain.ask("GET", "/health/web", field);
        let routed = format!("{field}{ROUTED}");
        let routed = pair.routed.ask("GET", "/health/web", &routed);
        assert_eq!(timeless(&plain), timeless(&routed), "{field}");
    }
    for client in [&mut pair.plain, &mut pair.routed] {
        let mut rest = Vec::new();
        client.0.read_to_end(&mut rest).expect("it ends in order");
        assert!(rest.is_empty());
    }
    // What came after the last question is nobody's.
    let mut client = Client::connect(&agent);
    let last = "GET /health/web HTTP/1.1\r\nConnection: close\r\n\r\n";
    let words = format!("{last}GET /health/web HTTP/1.1\r\n\r\n");
    client
        .stream()
        .write_all(words.as_bytes())
        .expect("it is open");
    let mut heard = String::new();
    client
        .0
        .read_to_string(&mut heard)
        .expect("it ends in order");
    assert_eq!(heard.matches("HTTP/1.1 200 OK").count(), 1, "{heard}");
}

#[test]
fn a_backend_that_a_reload_took_away_is_no_longer_answered_for() {
    let (kept, gone) = (Service::start(), Service::start());
    let backend =
        |name: &str, service: &Service| format!("[backend.{name}]\nurl = \"{}\"\n", service.url());
    let both = format!(
        "{QUICK}{}{}",
        backend("kept", &kept),
        backend("gone", &gone)
    );
    let config = ConfigFile::new(&both);
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("kept", "up");
    agent.wait_for_verdict("gone", "up");
    let (mut keeps, mut goes) = (Pair::connect(&agent), Pair::connect(&agent));
    keeps.agree("/health/kept", "200");
    goes.agree("/health/gone", "200");
    config.write(&format!("{QUICK}{}", backend("kept", &kept)));
    agent.signal(Signal::HUP);
    agent.wait_for_log("1 backends kept, 0 changed, 0 added, 1 removed");
    keeps.agree("/health/kept", "200");
    goes.agree("/health/gone", "404");
}

#[test]
fn what_is_asked_at_once_is_answered_in_its_order_whoever_answers() {
    let service = Service::start();
    let agent = Agent::start(crate::agent::serve([format!("web={}", service.url())]));
    agent.wait_for_verdict("web", "up");
    let mut client = Client::connect(&agent);
    let questions = [
        ("GET", "/health/web", "200 OK"),
        ("HEAD", "/health/web", "200 OK"),
        ("GET", "/health/web?want=primary", "503 Service Unavailable"),
        ("GET", "/liveness", "200 OK"),
        ("GET", "/health/web", "200 OK"),
        ("GET", "/health/nobody", "404 Not Found"),
    ];
    for pause in [false, true] {
        let words =
            questions.map(|(method, target, _)| format!("{method} {target} HTTP/1.1\r\n\r\n"));
        for piece in words
            .concat()
            .as_bytes()
            .chunks(if pause { 7 } else { 4096 })
        {
            client.stream().write_all(piece).expect("it is open");
        }
        for (method, target, expected) in questions {
            let heard = client.hear(method);
            assert!(
                heard.starts_with(&format!("HTTP/1.1 {expected}\r\n")),
                "{target}: {heard}"
            );
        }
        client = Client::connect(&agent);
    }
}

#[test]
fn what_is_asked_faster_than_it_is_answered_is_answered_all_the_same() {
    let service = Service::start();
    let agent = Agent::start(crate::agent::serve([format!("web={}", service.url())]));
    agent.wait_for_verdict("web", "up");
    let mut client = Client::connect(&agent);
    client
        .stream()
        .set_nonblocking(true)
        .expect("a socket of ours");
    // Long, so that not too many of them fill what the kernel keeps.
    let filler = "x".repeat(3000);
    let question = format!("GET /health/web HTTP/1.1\r\nX-Filler: {filler}\r\n\r\n");
    let (mut said, mut at) = (0, 0);
    let is_full = eventually(PATIENCE, || {
        for _ in 0..10_000 {
            match client.stream().write(&question.as_bytes()[at..]) {
                Ok(written) if at + written == question.len() => (said, at) = (said + 1, 0),
                Ok(written) => at += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) => panic!("{error}"),
            }
        }
        false
    });
    assert!(is_full, "{said} questions were taken");
    client
        .stream()
        .set_nonblocking(false)
        .expect("a socket of ours");
    for number in 0..said {
        let heard = client.hear("GET");
        assert!(
            heard.starts_with("HTTP/1.1 200 "),
            "{number} of {said}: {heard}"
        );
    }
}
