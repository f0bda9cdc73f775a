//! A thousand servers on the page: it stays fluid, and only what is in sight exists.
//!
//! Two things are measured of each frame: what the page's own thread worked on it, the longest of
//! which counts, and how long it was until the frame was there, by the clock. Others have this machine
//! too, and any one frame may wait for them, so of those the middle one counts.

use std::fmt::Write as _;
use std::net::TcpListener;

use dbvitals_testkit::Port;
use serde_json::json;

use crate::agent::{Agent, ConfigFile};
use crate::browser::Browser;
use crate::{launch, look_at};

const SERVERS: usize = 1000;
const UP: usize = 250;
/// How long a frame may take, in milliseconds.
const FRAME_MAX: f64 = 100.0;

/// What is done to the page, frame by frame.
const STEPS: &str = "(() => {
    const list = document.querySelector('#list');
    const search = document.querySelector('#search');
    const to = (part) => () => { list.scrollTop = (list.scrollHeight - list.clientHeight) * part; };
    const type = (text) => () => { search.value = text; search.dispatchEvent(new Event('input')); };
    const press = (place) => () => document.querySelectorAll('.tile')[place].click();
    window.steps = {
        scroll: Array.from({ length: 60 }, (_, place) => to(place / 59)),
        search: ['d', 'db', 'db-', 'db-9', 'db-99', 'db-999', 'db-99', 'db-9', ''].map(type),
        filter: [3, 0, 3, 0].map(press),
    };
    window.step = async (what, place) => {
        const begin = performance.now();
        window.steps[what][place]();
        // After the next frame has been drawn.
        await new Promise((go) => requestAnimationFrame(() => setTimeout(go)));
        return performance.now() - begin;
    };
})()";

/// The processor time that the page's own thread has taken, in milliseconds. What others on this
/// machine do in the meantime is not the page's.
fn time_taken(browser: &mut Browser) -> f64 {
    let metrics = browser.command("Performance.getMetrics", json!({}));
    let metrics = metrics["metrics"].as_array().expect("a list").clone();
    let taken = metrics.iter().find(|it| it["name"] == "TaskDuration");
    1000.0 * taken.and_then(|it| it["value"].as_f64()).expect("a number")
}

/// The frames of these steps, in milliseconds.
#[derive(Debug)]
struct Frames {
    longest_work: f64,
    middle_wait: f64,
}

impl Frames {
    fn of(browser: &mut Browser, what: &str) -> Self {
        let count = browser.eval(&format!("steps.{what}.length"));
        let mut longest_work: f64 = 0.0;
        let mut waits = Vec::new();
        for place in 0..count.as_u64().expect("a number") {
            let before = time_taken(browser);
            let wait = browser.eval(&format!("step('{what}', {place})"));
            longest_work = longest_work.max(time_taken(browser) - before);
            waits.push(wait.as_f64().expect("a number"));
        }
        waits.sort_by(f64::total_cmp);
        let middle_wait = waits[waits.len() / 2];
        Self {
            longest_work,
            middle_wait,
        }
    }

    fn are_fluid(&self) -> bool {
        let both = [self.longest_work, self.middle_wait];
        both.iter().all(|it| *it > 0.0 && *it < FRAME_MAX)
    }
}

#[test]
fn a_thousand_servers_stay_fluid() {
    let mut browser = launch!();
    let port = Port::reserve();
    let mut text =
        "[defaults]\ninterval = \"2s\"\ndown_interval = \"2s\"\nfast_interval = \"1s\"\n"
            .to_owned();
    let mut listeners = Vec::new();
    for number in 0..SERVERS {
        let address = format!(
            "127.0.{}.{}:{}",
            1 + number / 200,
            1 + number % 200,
            port.number()
        );
        if number < UP {
            listeners.push(TcpListener::bind(&address).expect("all of 127/8 is loopback"));
        }
        writeln!(text, "[backend.db-{number}]\nurl = \"tcp://{address}\"").expect("a string grows");
    }
    let config = ConfigFile::new(&text);
    let agent = Agent::start(config.serve());
    look_at(&mut browser, &agent, "");
    let tile = |verdict: &str, count: usize| {
        format!("document.querySelector('.tile.{verdict} b').innerText === '{count}'")
    };
    browser.wait_for(&tile("down", SERVERS - UP));
    browser.wait_for(&tile("up", UP));
    browser.command("Performance.enable", json!({"timeDomain": "threadTicks"}));
    browser.eval(STEPS);
    let scrolled = Frames::of(&mut browser, "scroll");
    browser.wait_for("document.querySelector('#list').innerText.includes('db-249')");
    let rows = browser.eval("document.querySelectorAll('.row').length");
    assert!(
        rows.as_u64().is_some_and(|rows| rows < 60),
        "{rows} rows exist"
    );
    let searched = Frames::of(&mut browser, "search");
    let filtered = Frames::of(&mut browser, "filter");
    let all = [scrolled, searched, filtered];
    assert!(all.iter().all(Frames::are_fluid), "{all:?}");
    assert_eq!(browser.complaints(), [""; 0]);
}
