//! Whole screens, as text that is committed: 80×24 and 160×50. `DBVITALS_BLESS=1` writes them anew;
//! whoever does that looks at the difference.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::draw::draw;
use super::feed::{Minute, News, Past};
use super::ink::Ink;
use super::known::Known;
use super::view::{Deed, View};
use crate::cli::AdminState;
use crate::commands::status::{Picture, Told};
use crate::duration::{moment, rfc3339};

const SOCKET: &str = "/run/dbvitals/control.sock";

fn now() -> SystemTime {
    let now: Timestamp = "2026-07-03T14:30:05Z".parse().unwrap();
    now.into()
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn told<T: DeserializeOwned>(value: Value) -> Told<T> {
    Told {
        words: RawValue::from_string(value.to_string()).unwrap(),
        told: read(value),
    }
}

fn seen(ms: f64, server: Value) -> Value {
    json!({"outcome": "pass", "depth_reached": "role", "ended": "2026-07-03T14:30:04.600Z",
        "took_ms": ms, "phases": [{"phase": "ping", "ms": ms}], "server": server})
}

fn failed(cause: &str) -> Value {
    json!({"outcome": "fail", "cause": cause, "class": "dead", "depth_reached": null,
        "ended": "2026-07-03T14:30:04.900Z", "took_ms": 0.11, "detail": "Connection refused",
        "phases": [{"phase": "connect", "ms": 0.11, "failed": true}]})
}

fn backends() -> Vec<Value> {
    let server = json!({"product": "mariadb", "version": "10.11.19", "role": "primary",
        "read_only": false, "connections": {"used": 3, "max": 151}});
    let up = |name: &str, role: &str, ms: f64| {
        json!({"name": name, "address": "10.0.0.11:3306", "verdict": "up", "role": role,
            "since": "2026-06-21T11:10:00Z", "evidence_age_ms": 312, "admin": "ready",
            "held": seen(ms, server.clone()), "fresh": seen(ms * 4.0, Value::Null)})
    };
    let mut drained = up("orders-3", "replica", 0.06);
    drained["admin"] = json!("drain");
    drained["order"] = json!({"reason": "kernel update", "until": "2026-07-03T15:00:00Z"});
    let down = json!({"name": "orders-2", "address": "10.0.0.12:3306", "verdict": "down",
        "class": "dead", "cause": "refused", "role": "replica", "since": "2026-07-03T14:26:53Z",
        "evidence_age_ms": 104, "admin": "ready", "detail": "Connection refused",
        "remedy": "Nobody listens at 10.0.0.12:3306. Look whether the server runs (`systemctl status mariadb`), and what its error log says last; then start it.",
        "held": failed("closed"), "fresh": failed("refused"), "sessions_lost": 2});
    let full = json!({"name": "users-1", "address": "10.0.0.21:5432", "verdict": "degraded",
        "class": "full", "cause": "too_many_connections", "role": "primary",
        "since": "2026-07-03T14:29:01Z", "evidence_age_ms": 640, "admin": "ready",
        "detail": "FATAL: sorry, too many clients already\u{1b}[2J\u{202e}",
        "held": seen(0.2, Value::Null), "fresh": failed("too_many_connections")});
    let new = json!({"name": "reports", "verdict": "unknown", "since": "2026-07-03T14:30:04Z",
        "admin": "maint", "order": {"reason": "moves to other hardware"}});
    vec![up("orders-1", "primary", 0.05), down, drained, full, new]
}

fn transitions() -> Vec<Value> {
    let change = |at: &str, name: &str, from: &str, to: &str, cause: Value| {
        json!({"at": at, "backend": name, "change": "verdict", "from": from, "to": to,
            "cause": cause, "class": "dead", "detail": "Connection refused"})
    };
    vec![
        change(
            "2026-07-02T09:00:00.000Z",
            "users-1",
            "unknown",
            "up",
            Value::Null,
        ),
        change(
            "2026-07-03T13:58:10.000Z",
            "orders-3",
            "up",
            "down",
            json!("refused"),
        ),
        change(
            "2026-07-03T13:59:50.000Z",
            "orders-3",
            "down",
            "up",
            Value::Null,
        ),
        json!({"at": "2026-07-03T14:00:02.000Z", "backend": "orders-3", "change": "admin",
            "from": "ready", "to": "drain"}),
        change(
            "2026-07-03T14:26:53.000Z",
            "orders-2",
            "up",
            "down",
            json!("refused"),
        ),
        change(
            "2026-07-03T14:29:01.000Z",
            "users-1",
            "up",
            "degraded",
            json!("too_many_connections"),
        ),
    ]
}

/// An agent at a time of its clock, that has made so many probes.
fn agent(at: &str, probes: u64) -> Value {
    json!({"name": "db-a", "version": "0.1.0", "at": at, "started": "2026-06-21T11:09:58Z",
        "vitals": {"loop_lag_ms": 0.06, "probes": probes, "descriptors": 74, "descriptors_max": 1024}})
}

fn picture() -> Picture {
    let services = [
        json!({"name": "orders", "verdict": "up", "since": "2026-06-21T11:10:00Z", "want": "primary",
            "fit": 2, "primaries": ["orders-1"],
            "backends": [{"name": "orders-1"}, {"name": "orders-2"}, {"name": "orders-3"}]}),
        json!({"name": "users", "verdict": "degraded", "since": "2026-07-03T14:29:01Z", "fit": 1,
            "cause": "too_many_connections", "class": "full", "primaries": ["users-1"],
            "backends": [{"name": "users-1"}]}),
    ];
    Picture {
        agent: read(agent("2026-07-03T14:30:05Z", 19_000_000)),
        place: SOCKET.to_owned(),
        services: services.map(told).into(),
        backends: backends().into_iter().map(told).collect(),
        transitions: transitions().into_iter().map(told).collect(),
        names: Vec::new(),
    }
}

/// What a `top` knows that has run for a minute.
fn known() -> Known {
    let mut known = Known::new(picture(), now(), false);
    known.note(News::Live(true), now());
    let past = Past {
        since: moment("2026-06-21T11:09:58Z"),
        is_newest: true,
        ..Past::default()
    };
    known.note(News::Past(past), now());
    for second in 0..40_u32 {
        let took = 0.05 + f64::from(second % 7) / 100.0;
        let sample = json!({"backend": "orders-1", "path": "held", "outcome": "pass", "evidence_age_ms": 312,
            "ended": format!("2026-07-03T14:29:{second:02}.000Z"), "took_ms": took,
            "phases": [{"phase": "ping", "ms": took}], "depth_reached": "role"});
        known.note(News::Sample(Box::new(read(sample))), now());
    }
    known
}

fn drawn(known: &Known, view: &mut View, width: u16, height: u16, ink: Ink) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    view.settle(known);
    terminal
        .draw(|frame| draw(frame, known, view, ink, now()))
        .unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let lines = buffer.content().chunks(width).map(|cells| {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}

fn screen(known: &Known, view: &mut View, width: u16, height: u16) -> String {
    text(&drawn(known, view, width, height, Ink { colours: true }))
}

/// Compares with what is committed.
#[track_caller]
fn expect_snapshot(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/commands/top/snapshots")
        .join(name)
        .with_extension("txt");
    if std::env::var_os("DBVITALS_BLESS").is_some() {
        fs::write(&path, shown).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shown == expected,
        "{name} is not as committed; DBVITALS_BLESS=1 writes it anew\n{shown}\ninstead of\n{expected}"
    );
}

fn press(view: &mut View, known: &Known, keys: &[KeyCode]) -> Option<Deed> {
    view.settle(known);
    let mut deed = None;
    for key in keys {
        deed = view.press(KeyEvent::new(*key, KeyModifiers::NONE), known);
        view.settle(known);
    }
    deed
}

fn typed(text: &str) -> Vec<KeyCode> {
    text.chars().map(KeyCode::Char).collect()
}

fn listed(view: &View, known: &Known) -> Vec<String> {
    let rows = view.rows(known);
    rows.iter().map(|row| row.name().to_owned()).collect()
}

#[test]
fn a_small_terminal_has_the_list_and_one_pane() {
    let (known, mut view) = (known(), View::default());
    press(&mut view, &known, &[KeyCode::Down, KeyCode::Down]);
    expect_snapshot("80x24-details", &screen(&known, &mut view, 80, 24));
    press(&mut view, &known, &[KeyCode::Tab]);
    expect_snapshot("80x24-time-line", &screen(&known, &mut view, 80, 24));
    press(&mut view, &known, &[KeyCode::Tab]);
    expect_snapshot("80x24-transitions", &screen(&known, &mut view, 80, 24));
    press(&mut view, &known, &[KeyCode::Tab, KeyCode::Enter]);
    expect_snapshot("80x24-large-pane", &screen(&known, &mut view, 80, 24));
}

#[test]
fn a_large_terminal_has_all_panes() {
    let (mut known, mut view) = (known(), View::default());
    press(&mut view, &known, &typed("sj"));
    let minutes = (0..60).map(|minute| Minute {
        path: "held".to_owned(),
        phase: "total".to_owned(),
        p50_ms: 0.05,
        p95_ms: 0.05 + f64::from(minute % 9) / 100.0,
        p99_ms: 0.1,
        max_ms: 0.3,
    });
    let kept = News::Minutes {
        of: "orders-1".to_owned(),
        minutes: minutes.collect(),
    };
    known.note(kept, now());
    expect_snapshot("160x50", &screen(&known, &mut view, 160, 50));
}

#[test]
fn help_and_the_form_of_an_order_stand_over_the_rest() {
    let (known, mut view) = (known(), View::default());
    press(&mut view, &known, &typed("?"));
    expect_snapshot("80x24-help", &screen(&known, &mut view, 80, 24));
    press(&mut view, &known, &typed(" jjD30m"));
    press(&mut view, &known, &[KeyCode::Tab]);
    press(&mut view, &known, &typed("disk swap"));
    expect_snapshot("80x24-order", &screen(&known, &mut view, 80, 24));
}

#[test]
fn an_agent_that_is_gone_is_said_to_be_and_the_last_picture_stays() {
    let (mut known, mut view) = (known(), View::default());
    let why = "no agent was found; tried /run/dbvitals/control.sock (not there)";
    let since = now() - Duration::from_secs(12);
    known.note(News::Silence(why.to_owned()), since);
    known.note(News::Silence(why.to_owned()), now());
    expect_snapshot("80x24-cut-off", &screen(&known, &mut view, 80, 24));
    assert!(known.why_no_orders().is_some());
    known.note(News::Picture(Box::new(picture())), now());
    assert!(!screen(&known, &mut view, 80, 24).contains("cut off"));
}

#[test]
fn every_size_of_a_terminal_can_be_drawn_on() {
    let known = known();
    for (width, height) in [
        (1, 1),
        (3, 2),
        (20, 5),
        (40, 10),
        (79, 23),
        (119, 36),
        (400, 100),
    ] {
        for keys in ["", "?", "D", "\t", "\t\t"] {
            let mut view = View::default();
            press(&mut view, &known, &typed("jj"));
            for key in keys.chars() {
                let key = match key {
                    '\t' => KeyCode::Tab,
                    key => KeyCode::Char(key),
                };
                press(&mut view, &known, &[key]);
            }
            screen(&known, &mut view, width, height);
            press(&mut view, &known, &[KeyCode::Esc, KeyCode::Enter]);
            screen(&known, &mut view, width, height);
        }
    }
}

#[test]
fn without_colours_there_are_none_and_verdicts_are_still_told_apart() {
    let known = known();
    let plain = drawn(
        &known,
        &mut View::default(),
        160,
        50,
        Ink { colours: false },
    );
    for cell in plain.content() {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{cell:?}");
    }
    let text = text(&plain);
    for shape in ["● up", "▲ degraded", "■ down", "○ unknown"] {
        assert!(text.contains(shape), "{shape}");
    }
    let coloured = drawn(&known, &mut View::default(), 160, 50, Ink { colours: true });
    assert!(coloured.content().iter().any(|it| it.fg == Color::Red));
}

#[test]
fn nothing_that_a_server_says_steers_the_terminal() {
    let (known, mut view) = (known(), View::default());
    press(&mut view, &known, &typed("/users"));
    press(&mut view, &known, &[KeyCode::Enter, KeyCode::Down]);
    let text = screen(&known, &mut view, 160, 50);
    assert!(text.contains("already\\u{1b}[2J\\u{202e}"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
}

#[test]
fn trouble_comes_first_and_other_orders_can_be_asked_for() {
    let (known, mut view) = (known(), View::default());
    let all = [
        "users", "orders", "orders-2", "users-1", "reports", "orders-3", "orders-1",
    ];
    assert_eq!(listed(&view, &known), all);
    press(&mut view, &known, &typed("s"));
    let names = [
        "orders", "users", "orders-1", "orders-2", "orders-3", "reports", "users-1",
    ];
    assert_eq!(listed(&view, &known), names);
    press(&mut view, &known, &typed("s"));
    assert_eq!(listed(&view, &known)[2..4], ["reports", "users-1"]);
    press(&mut view, &known, &typed("s"));
    assert_eq!(listed(&view, &known)[2], "users-1");
}

#[test]
fn a_search_and_a_filter_show_those_who_are_meant() {
    let (known, mut view) = (known(), View::default());
    press(&mut view, &known, &typed("/REFUSED"));
    assert_eq!(listed(&view, &known), ["orders-2"]);
    press(&mut view, &known, &[KeyCode::Esc]);
    press(&mut view, &known, &typed("v"));
    assert_eq!(
        listed(&view, &known),
        ["users", "orders-2", "users-1", "reports"]
    );
    press(&mut view, &known, &typed("vvv"));
    assert_eq!(listed(&view, &known), ["reports"]);
    assert_eq!(view.selected.as_ref().unwrap().name, "reports");
    press(&mut view, &known, &typed("/nobody"));
    assert!(listed(&view, &known).is_empty() && view.selected.is_none());
    let text = screen(&known, &mut view, 80, 24);
    assert!(text.contains("nobody is like that"), "{text}");
}

#[test]
fn the_selection_stays_with_its_server_when_the_order_changes() {
    let (known, mut view) = (known(), View::default());
    press(&mut view, &known, &typed("G"));
    let name = view.selected.clone().unwrap();
    press(&mut view, &known, &typed("s"));
    assert_eq!(view.selected, Some(name));
}

#[test]
fn an_order_is_given_with_its_time_and_reason_where_orders_may_be_given() {
    let (known, mut view) = (known(), View::default());
    press(&mut view, &known, &typed("jjM"));
    press(&mut view, &known, &typed("soon"));
    assert_eq!(press(&mut view, &known, &[KeyCode::Enter]), None);
    assert!(screen(&known, &mut view, 80, 24).contains("is no duration"));
    press(&mut view, &known, &[KeyCode::Backspace; 4]);
    press(&mut view, &known, &typed("2h"));
    press(&mut view, &known, &[KeyCode::Tab]);
    press(&mut view, &known, &typed("q?/"));
    let Some(Deed::Give(order)) = press(&mut view, &known, &[KeyCode::Enter]) else {
        panic!("no order");
    };
    assert_eq!(
        (order.name.as_str(), order.place.as_str()),
        ("orders-2", SOCKET)
    );
    assert_eq!(order.state, AdminState::Maint);
    assert_eq!(order.patience, Some(Duration::from_secs(7200)));
    assert_eq!(order.reason.as_deref(), Some("q?/"));
}

#[test]
fn no_order_is_written_that_cannot_be_given() {
    let (mut known, mut view) = (known(), View::default());
    press(&mut view, &known, &typed("D"));
    assert!(view.form.is_none(), "a service");
    assert!(screen(&known, &mut view, 80, 24).contains("one by one"));
    known.picture.place = "http://10.0.0.7:8306".to_owned();
    press(&mut view, &known, &typed("jjD"));
    assert!(view.form.is_none(), "no token");
    assert!(screen(&known, &mut view, 80, 24).contains("--token-file"));
}

/// What a minute of probes made of an agent, told at a time of our clock.
fn told_again(known: &mut Known, agent: Value, ours: SystemTime) {
    let picture = Picture {
        agent: read(agent),
        ..picture()
    };
    known.note(News::Picture(Box::new(picture)), ours);
}

#[test]
fn the_agents_own_vitals_are_in_the_head() {
    let (mut known, mut view) = (known(), View::default());
    let next = agent("2026-07-03T14:30:10Z", 19_000_090);
    told_again(&mut known, next, now() + Duration::from_secs(5));
    let text = screen(&known, &mut view, 80, 24);
    let vitals = "agent: 18 probes/s, loop lag 0.06 ms, 74 of 1024 descriptors, up for 12d 3h";
    assert!(text.contains(vitals), "{text}");
    // Servers that a reload took out took their probes with them.
    let fewer = agent("2026-07-03T14:30:15Z", 20);
    told_again(&mut known, fewer, now() + Duration::from_secs(10));
    assert_eq!(known.probes_per_second, Some(0.0));
    // In a container the next agent has the same number.
    let mut other = agent("2026-07-03T14:30:30Z", 50);
    other["started"] = json!("2026-07-03T14:30:20Z");
    told_again(&mut known, other, now() + Duration::from_secs(25));
    assert_eq!(known.probes_per_second, Some(5.0));
}

#[test]
fn times_are_told_by_the_agents_clock_whatever_ours_says() {
    let mut view = View::default();
    press(&mut view, &known(), &typed("jj"));
    let expected = screen(&known(), &mut view, 80, 24);
    for ours in [
        now() + Duration::from_secs(3600),
        now() - Duration::from_secs(86_400),
    ] {
        let mut known = Known::new(picture(), ours, false);
        assert_eq!(known.agents(ours), now());
        known.note(News::Live(true), ours);
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        view.settle(&known);
        let ink = Ink { colours: true };
        terminal
            .draw(|frame| draw(frame, &known, &mut view, ink, ours))
            .unwrap();
        let shown = text(terminal.backend().buffer());
        let head = |text: &str| text.lines().take(8).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(head(&shown), head(&expected));
    }
}

#[test]
fn what_proves_something_of_a_server_is_the_agents_matter() {
    let mut known = known();
    let age = |known: &Known| {
        let backends = known.picture.backends.iter();
        let mut named = backends.filter(|it| it.told.name == "orders-2");
        known.age(&named.next().unwrap().told, now())
    };
    assert_eq!(age(&known), Some(Duration::from_millis(104)));
    // A server that is down is proven to be by each failure.
    let mut sample = failed("refused");
    sample["backend"] = json!("orders-2");
    sample["path"] = json!("fresh");
    sample["evidence_age_ms"] = json!(12);
    known.note(News::Sample(Box::new(read(sample.clone()))), now());
    assert_eq!(age(&known), Some(Duration::from_millis(12)));
    // An older agent does not say it; then the next picture will.
    sample["evidence_age_ms"] = Value::Null;
    known.note(News::Sample(Box::new(read(sample))), now());
    assert_eq!(age(&known), Some(Duration::from_millis(12)));
}

#[test]
fn while_the_agent_is_silent_its_time_line_stands_still() {
    let (mut known, mut view) = (known(), View::default());
    press(&mut view, &known, &[KeyCode::Tab]);
    let since = now() - Duration::from_secs(1800);
    known.note(News::Silence("gone".to_owned()), since);
    let text = screen(&known, &mut view, 80, 24);
    let line = text
        .lines()
        .find(|line| line.starts_with("orders-3  ") && line.contains('▁'));
    let line = line.expect("a bar").trim_end();
    assert!((45..50).contains(&line.chars().count()), "{line}");
}

#[test]
fn transitions_are_known_once_however_often_they_are_told_and_the_oldest_go_first() {
    let mut known = Known::new(picture(), now(), false);
    let count = |known: &Known| known.transitions().count();
    assert_eq!((count(&known), known.turns("orders-3").len()), (6, 2));
    known.note(News::Picture(Box::new(picture())), now());
    assert_eq!((count(&known), known.turns("orders-3").len()), (6, 2));
    let second = |number: u64| rfc3339(now() + Duration::from_secs(number));
    for number in 0..20_000 {
        let change =
            json!({"at": second(number), "backend": "busy", "change": "verdict", "to": "up"});
        known.note(News::Transition(Box::new(read(change))), now());
    }
    assert_eq!((count(&known), known.turns("busy").len()), (20_000, 20_000));
    assert_eq!(known.turns("orders-3").len(), 0);
    known.note(
        News::Past(Past {
            since: moment("2026-06-21T11:09:58Z"),
            ..Past::default()
        }),
        now(),
    );
    assert_eq!(known.recorded().since, moment("2026-07-03T14:29:01Z"));
}
