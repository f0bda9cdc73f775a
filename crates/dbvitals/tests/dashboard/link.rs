//! Live, cut off, and live again.

use std::net::SocketAddr;
use std::time::Duration;

use dbvitals_testkit::Port;
use jiff::Timestamp;
use rustix::process::Signal;

use crate::agent::Agent;
use crate::browser::Browser;
use crate::{Service, launch, look_at, open_up, set_stage, shows, watching};

/// A verdict is on the page so soon, counted from when it was reached.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn a_crash_is_on_the_page_within_a_second_of_the_verdict() {
    let mut browser = launch!();
    let mut service = Service::start();
    let config = watching("orders-1", &service);
    let agent = Agent::start(config.serve());
    look_at(&mut browser, &agent, "");
    browser.wait_for(&shows("orders-1", "up"));
    // What a reload would lose, and who notices when the page shows it.
    browser.eval(
        "window.seenDown = null; new MutationObserver(() => { \
         if (document.querySelector('.row')?.dataset.verdict === 'down') window.seenDown ??= Date.now(); \
         }).observe(document.querySelector('#list'), { subtree: true, childList: true, attributes: true })",
    );
    service.stop();
    browser.wait_for("window.seenDown !== null");
    let seen = browser.eval("window.seenDown").as_i64().expect("a time");
    let told = agent.transitions();
    let down = told
        .iter()
        .find(|line| line["to"] == "down")
        .expect("it is down");
    let at: Timestamp = down["at"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    let shown = seen - at.as_millisecond();
    assert!(
        (0..=SHOWN_WITHIN.as_millis() as i64).contains(&shown),
        "shown {shown} ms after the verdict"
    );
    // Why, and what to do.
    browser.wait_for(
        "document.querySelector('.trouble.down .remedy')?.innerText.includes('Start the server')",
    );
    let trouble = browser.text(".trouble.down");
    assert!(trouble.contains("refused"), "{trouble}");
    browser.wait_for("document.querySelector('.happened li[data-to=down]')");

    service.start_again();
    browser.wait_for(&shows("orders-1", "up"));
    browser.wait_for("document.querySelector('.calm')?.innerText.includes('All is well')");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_page_says_that_it_is_cut_off_and_recovers_when_the_agent_is_back() {
    let mut browser = launch!();
    let mut service = Service::start();
    let config = watching("orders-1", &service);
    let port = Port::reserve();
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let start = || {
        let mut command = config.serve();
        command.args(["--json", "--http", &address.to_string()]);
        // The port itself stays ours, for the agent that follows.
        Agent::spawn(command, Port::reserve())
    };
    let agent = start();
    browser.open(&format!("http://{address}/"));
    browser.wait_for(&shows("orders-1", "up"));
    browser.eval("window.before = true");

    let up = "document.querySelector('.details canvas.strip')?.ariaLabel.match(/up [0-9]+ s/)?.[0]";
    browser.eval("location.hash = '#/orders-1'");
    browser.wait_for(up);

    agent.signal(Signal::KILL);
    drop(agent);
    browser.wait_for("!document.querySelector('#cut').hidden");
    let said = browser.text("#cut");
    assert!(said.contains("Cut off from the agent since "), "{said}");
    assert_eq!(browser.text("#link"), "cut off");
    // It goes on counting, and what it shows stays readable.
    browser.wait_for("/\\([1-9][0-9]* s\\)/.test(document.querySelector('#cut').innerText)");
    assert_eq!(browser.eval(&shows("orders-1", "up")), true);

    // Its time line does not, once it was drawn anew: nobody knows whether it is still up.
    browser.wait_for("/\\(([2-9]|[1-9][0-9]) s\\)/.test(document.querySelector('#cut').innerText)");
    let before = browser.eval(up);
    browser.wait_for("/\\(([4-9]|[1-9][0-9]) s\\)/.test(document.querySelector('#cut').innerText)");
    assert_eq!(browser.eval(up), before);

    service.stop();
    let agent = start();
    browser.wait_for("document.querySelector('#cut').hidden");
    browser.wait_for(&shows("orders-1", "down"));
    // The stream lives too, not only what was asked for once.
    service.start_again();
    browser.wait_for(&shows("orders-1", "up"));
    assert_eq!(browser.eval("window.before"), true, "it was loaded again");

    // Nobody watched in between, and this agent keeps no history that would say so.
    open_up(&mut browser);
    let line = browser.eval(
        "own.store.segments('orders-1', own.store.now() - 3600e3, own.store.now()) \
         .map((it) => it.verdict ?? 'nobody').join(' ')",
    );
    let line = line.as_str().expect("a text");
    assert!(line.contains("up nobody "), "{line}");
    assert!(line.ends_with("up"), "{line}");
    drop(agent);
    assert_eq!(browser.complaints(), [""; 0]);
}

/// A stream on which nothing happens but the sign of life, and time goes ten times as fast.
const QUIET: &str = "{
    const slow = window.setTimeout;
    window.setTimeout = (call, ms, ...more) => slow(call, ms / 10, ...more);
    const staged = window.fetch;
    window.opened = 0;
    window.alive = 0;
    window.fetch = async (url, more) => {
        if (!String(url).endsWith('/events')) return staged(url, more);
        window.opened += 1;
        return new Response(new ReadableStream({ start: (stream) => {
            const speak = setInterval(() => {
                window.alive += 1;
                stream.enqueue(new TextEncoder().encode(': alive\\n\\n'));
            }, 1500);
            more.signal.addEventListener('abort', () => {
                clearInterval(speak);
                stream.error(more.signal.reason);
            });
        } }));
    };
}";

#[test]
fn a_stream_on_which_nothing_happens_is_not_taken_for_a_silent_network() {
    let mut browser = launch!();
    let (_service, agent) = set_stage(&mut browser, &[QUIET]);
    look_at(&mut browser, &agent, "");
    browser.wait_for("window.alive >= 2 || window.opened > 1");
    assert_eq!(browser.eval("window.opened"), 1);
    assert_eq!(browser.text("#link"), "live");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_tab_that_nobody_sees_says_in_its_title_what_is_down() {
    let mut browser = launch!();
    // Hidden pages have no frames.
    let hidden = "Object.defineProperty(Document.prototype, 'hidden', { get: () => true }); \
                  window.requestAnimationFrame = () => 0;";
    let (_service, agent) = set_stage(&mut browser, &[hidden]);
    look_at(&mut browser, &agent, "");
    browser.wait_for("document.title === '✗ 1 down – db-a'");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn probes_are_counted_from_the_start_of_an_agent_that_has_the_number_of_the_one_before() {
    let mut browser = launch!();
    let (_service, agent) = set_stage(&mut browser, &[]);
    look_at(&mut browser, &agent, "");
    open_up(&mut browser);
    let rate = |browser: &mut Browser, started: &str, probes: u64| {
        browser.eval(&format!(
            "own.feed.probesPerSecond( \
             {{ pid: 1, started: '{started}', at: '2026-07-03T02:45:00Z', vitals: {{ probes: {probes} }} }}, \
             {{ pid: 1, started: '2026-07-03T02:00:00Z', at: '2026-07-03T02:44:50Z', vitals: {{ probes: 5000 }} }})"
        ))
    };
    assert_eq!(rate(&mut browser, "2026-07-03T02:00:00Z", 5100), 10);
    assert_eq!(rate(&mut browser, "2026-07-03T02:44:55Z", 40), 8);
    // Fewer servers are watched, and theirs alone are counted.
    assert_eq!(rate(&mut browser, "2026-07-03T02:00:00Z", 4000), 0);
}
