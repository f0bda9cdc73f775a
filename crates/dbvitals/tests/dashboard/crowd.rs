//! A thousand servers on the page: it stays fluid, and only what is in sight exists.

use std::fmt::Write as _;
use std::net::TcpListener;

use dbvitals_testkit::Port;

use crate::agent::{Agent, ConfigFile};
use crate::{launch, look_at};

const SERVERS: usize = 1000;
const UP: usize = 250;
/// How long a frame may take, in milliseconds.
const FRAME_MAX: f64 = 100.0;

/// Scrolls through the list and back, then searches and filters, and returns the longest frame of each.
const SCRIPT: &str = "(async () => {
    const frame = () => new Promise((go) => requestAnimationFrame(() => go(performance.now())));
    const list = document.querySelector('#list');
    const search = document.querySelector('#search');
    const worst = async (steps) => {
        let longest = 0;
        let last = await frame();
        for (const step of steps) {
            step();
            const now = await frame();
            longest = Math.max(longest, now - last);
            last = now;
        }
        return longest;
    };
    const to = (part) => () => { list.scrollTop = (list.scrollHeight - list.clientHeight) * part; };
    const down = Array.from({ length: 90 }, (_, place) => to(place / 89));
    const back = Array.from({ length: 20 }, (_, place) => to(1 - place / 19));
    const type = (text) => () => { search.value = text; search.dispatchEvent(new Event('input')); };
    const press = (place) => () => document.querySelectorAll('.tile')[place].click();
    await worst([() => {}, () => {}, () => {}]);
    const scrolled = await worst(down);
    const last = document.querySelector('#list .row:not([hidden])') !== null && list.innerText.includes('db-249');
    const rows = document.querySelectorAll('.row').length;
    await worst(back);
    const searched = await worst(['d', 'db', 'db-', 'db-9', 'db-99', 'db-999', 'db-99', 'db-9', ''].map(type));
    const filtered = await worst([press(3), press(0), press(3), press(0)]);
    return { scrolled, last, rows, searched, filtered };
})()";

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
    let measured = browser.eval(SCRIPT);
    assert_eq!(measured["last"], true, "{measured}");
    let rows = measured["rows"].as_u64().expect("a number");
    assert!(rows < 60, "{rows} rows exist");
    for what in ["scrolled", "searched", "filtered"] {
        let longest = measured[what].as_f64().expect("a number");
        assert!(longest < FRAME_MAX, "{what}: {measured}");
    }
    assert_eq!(browser.complaints(), [""; 0]);
}
