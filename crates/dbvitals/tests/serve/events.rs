//! What happened, and what happens: `/api/v1/transitions` and the stream of `/api/v1/events`.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_testkit::{Port, eventually};
use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::Value;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::{QUICK, Service};

/// An event as it came.
#[derive(Debug, Default)]
struct Event {
    id: Option<String>,
    kind: String,
    data: Value,
}

/// A stream of events, read as a browser would.
struct Listener {
    lines: BufReader<TcpStream>,
}

impl Listener {
    fn ask(address: SocketAddr, path: &str, last_id: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).expect("the HTTP port is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let last_id = last_id.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        // HTTP/1.0, so that no chunks are mixed in.
        write!(stream, "GET {path} HTTP/1.0\r\n{last_id}\r\n").expect("the kernel takes it");
        let lines = BufReader::new(stream);
        Self { lines }
    }

    fn listen(agent: &Agent, path: &str, last_id: Option<&str>) -> Self {
        let mut listener = Self::ask(agent.http(), path, last_id);
        let head = listener.head();
        assert!(head.contains(" 200 OK"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        listener
    }

    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.lines.read_line(&mut head).expect("a head");
            assert!(read > 0, "{head}");
        }
        head
    }

    /// The next event, comments apart; `None` at the end.
    fn hear(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).expect("an event in time") == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("event", kind)) => event.kind = kind.to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).expect("JSON"),
                Some(_) => {}
                None if event.kind.is_empty() => {}
                None => return Some(event),
            }
        }
    }

    /// The next event of a kind.
    fn hear_of(&mut self, kind: &str) -> Event {
        loop {
            let event = self.hear().expect("the stream goes on");
            if event.kind == kind {
                return event;
            }
        }
    }
}

fn two_backends(one: &Service, other: &Service) -> String {
    format!(
        "{QUICK}[backend.one]\nurl = \"{}\"\n[backend.other]\nurl = \"{}\"\n",
        one.url(),
        other.url()
    )
}

#[test]
fn transitions_are_kept_as_they_were_printed_from_the_very_first_on() {
    let (mut one, other) = (Service::start(), Service::absent());
    let config = ConfigFile::new(&two_backends(&one, &other));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("one", "up");
    agent.wait_for_verdict("other", "down");
    one.stop();
    agent.wait_for_verdict("one", "down");
    let ask = |query: &str| -> Vec<Value> {
        let answer = agent.request("GET", &format!("/api/v1/transitions{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(body["schema"], "dbvitals.transitions.v1");
        body["transitions"].as_array().expect("a list").clone()
    };
    assert!(eventually(PATIENCE, || ask("").len() == 3));
    assert!(eventually(PATIENCE, || agent.transitions().len() == 3));
    // Two shards may tell in another order than that of a third who prints.
    let sorted = |mut told: Vec<Value>| {
        told.sort_by_key(|it| it.to_string());
        told
    };
    assert_eq!(sorted(ask("")), sorted(agent.transitions()));
    let of_one = ask("?of=one");
    let verdicts: Vec<_> = of_one.iter().map(|it| it["to"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["up", "down"]);
    assert_eq!(ask("?of=one&max=1")[0]["to"], "down");
    for (query, status) in [
        ("of=noone", 404),
        ("max=0", 400),
        ("max=1001", 400),
        ("max=x", 400),
        ("off=one", 400),
    ] {
        let answer = agent.request("GET", &format!("/api/v1/transitions?{query}"));
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
    }
}

#[test]
fn a_stream_tells_transitions_and_samples_as_they_come() {
    let (mut one, other) = (Service::start(), Service::start());
    let config = ConfigFile::new(&two_backends(&one, &other));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("one", "up");
    agent.wait_for_verdict("other", "up");
    let mut all = Listener::listen(&agent, "/api/v1/events", None);
    let mut of_other = Listener::listen(&agent, "/api/v1/events?of=other", None);
    let sample = all.hear_of("observation").data;
    assert_eq!(sample["schema"], "dbvitals.observation.v1");
    assert!(sample["evidence_age_ms"].is_u64(), "{sample}");
    assert_eq!(sample["outcome"], "pass");
    assert_eq!(of_other.hear_of("observation").data["backend"], "other");

    one.stop();
    let down = all.hear_of("transition");
    assert_eq!(down.data["backend"], "one");
    assert_eq!(down.data["to"], "down");
    // Standard output may be told a moment later.
    assert!(eventually(PATIENCE, || {
        agent.transitions().last() == Some(&down.data)
    }));
    one.start_again();
    let up = all.hear_of("transition");
    assert_eq!(up.data["to"], "up");

    // Who comes back hears what it missed, and only that.
    let mut back = Listener::listen(&agent, "/api/v1/events", down.id.as_deref());
    let missed = back.hear_of("transition");
    assert_eq!((&missed.id, &missed.data), (&up.id, &up.data));
    drop(other);
    assert_eq!(of_other.hear_of("transition").data["backend"], "other");
    assert_eq!(back.hear_of("transition").data["backend"], "other");
}

#[test]
fn no_backend_is_sampled_more_than_once_a_second() {
    let (one, other) = (Service::absent(), Service::absent());
    let config = ConfigFile::new(&two_backends(&one, &other));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("one", "down");
    // A backend that is down is shown anew with each probe, twenty times a second.
    let mut listener = Listener::listen(&agent, "/api/v1/events?of=one", None);
    let mut ended = || {
        let sample = listener.hear_of("observation").data;
        assert_eq!(sample["cause"], "refused");
        let ended = sample["ended"].as_str().expect("a time");
        ended.parse::<Timestamp>().expect("a time")
    };
    let first = ended();
    let last = [ended(), ended(), ended()][2];
    let apart = last.duration_since(first);
    assert!(apart > SignedDuration::from_millis(2500), "{apart:#}");
}

#[test]
fn streams_are_few_and_end_with_the_agent() {
    let service = Service::start();
    let config = ConfigFile::new(&format!("[backend.web]\nurl = \"{}\"\n", service.url()));
    let mut agent = Agent::start(config.serve());
    agent.wait_for_verdict("web", "up");
    let mut listeners: Vec<_> = (0..64)
        .map(|_| Listener::listen(&agent, "/api/v1/events", None))
        .collect();
    let refused = agent.request("GET", "/api/v1/events");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.body.contains("64 streams"), "{}", refused.body);
    // Who goes makes room.
    drop(listeners.pop());
    let mut listener = None;
    assert!(eventually(PATIENCE, || {
        let mut next = Listener::ask(agent.http(), "/api/v1/events", None);
        let taken = next.head().contains(" 200 OK");
        listener = Some(next);
        taken
    }));
    listeners.extend(listener);
    assert_eq!(agent.health("web").0, 200);

    let clock = Clock::start();
    let before = clock.now();
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_for_exit(), Some(0));
    let took = clock.now().since(before);
    assert!(took < Duration::from_secs(5), "{took:?}");
    for mut listener in listeners {
        while listener.hear().is_some() {}
    }
}

#[test]
fn who_listens_too_slowly_is_told_what_it_lost_or_cut_off() {
    const BACKENDS: usize = 500;
    const TURNS: usize = 8;
    let port = Port::reserve();
    let mut text = QUICK.to_owned();
    for number in 0..BACKENDS {
        // One service under many addresses of this machine.
        let host = format!("127.1.{}.{}", number / 250, number % 250 + 1);
        let url = format!("tcp://{host}:{}", port.number());
        writeln!(text, "[backend.b{number}]\nurl = \"{url}\"").unwrap();
    }
    let config = ConfigFile::new(&text);
    let agent = Agent::start(config.serve());
    let told = |count: usize| {
        let enough = eventually(PATIENCE, || agent.transitions().len() >= count);
        assert!(enough, "{} of {count}", agent.transitions().len());
    };
    told(BACKENDS);
    let stuck = Listener::listen(&agent, "/api/v1/events", None);
    for turn in 0..TURNS / 2 {
        let listener = TcpListener::bind(("0.0.0.0", port.number())).expect("a reserved port");
        told(BACKENDS * (turn * 2 + 2));
        drop(listener);
        told(BACKENDS * (turn * 2 + 3));
    }
    // Now it reads, as far as it is let.
    let mut stuck = stuck.lines;
    let (mut heard, mut cut_off, mut lost) = (String::new(), false, false);
    while !cut_off && !lost {
        let before = heard.len();
        // Who is cut off may be reset.
        cut_off = !stuck.read_line(&mut heard).is_ok_and(|read| read > 0);
        lost = heard[before..].starts_with("event: lost");
    }
    let transitions = heard.matches("event: transition").count();
    let all = BACKENDS * TURNS;
    assert!(transitions < all, "{all} were kept for who does not read");
}
