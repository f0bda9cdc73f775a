//! What the page knows of the past: as much as the agent keeps, and never more than it was told.

use serde_json::Value;

use crate::browser::Browser;
use crate::{launch, look_at, open_up, set_stage};

/// A history of 20 days and as many transitions as a test says, one after the other of nine servers,
/// that is told as an agent tells it: the newest of those asked for, a thousand at the most.
fn history_of(count: u32) -> String {
    format!(
        "{{ const COUNT = {count}; {}",
        "const KEPT = 20 * 86400e3;
        const now = Date.now();
        const time = (ms) => new Date(ms).toISOString();
        const transitions = Array.from({ length: COUNT }, (_, number) => {
            const [to, from] = Math.floor(number / 9) % 2 ? ['up', 'down'] : ['down', 'up'];
            return { at: time(now - KEPT + ((number + 0.5) * KEPT) / COUNT), backend: `shop-${number % 9 + 1}`,
                change: 'verdict', from, to, cause: null, class: null, held: null, fresh: null, detail: null };
        });
        const staged = window.fetch;
        window.asked = [];
        window.fetch = async (url, more) => {
            const { pathname, searchParams: asked } = new URL(url, location.href);
            if (pathname !== '/api/v1/history/transitions') return staged(url, more);
            window.asked.push(asked.get('of'));
            const since = Date.parse(asked.get('since'));
            const until = Date.parse(asked.get('until') ?? time(now));
            const fits = (it) => (!asked.has('of') || it.backend === asked.get('of'))
                && Date.parse(it.at) >= since && Date.parse(it.at) <= until;
            const found = transitions.filter(fits);
            return Response.json({
                kept_since: time(now - KEPT), complete: found.length <= 1000 && since >= now - KEPT,
                transitions: found.slice(-1000), runs: [{ began: time(now - KEPT), seen: time(now) }],
            });
        }; }"
    )
}

/// Shows 30 days, and waits until the ten of them before the history began are all that the time
/// line of the server lacks.
#[track_caller]
fn expect_all_that_is_kept(browser: &mut Browser) {
    browser.click("#range button:nth-child(5)");
    browser.wait_for(
        "/^30 days: not recorded 10d 0h,/.test(document.querySelector('.details canvas.strip').ariaLabel)",
    );
}

/// What the page asked the history for, up to now: of whom.
fn asked(browser: &mut Browser) -> Vec<Value> {
    let asked = browser.eval("window.asked");
    asked.as_array().expect("a list").clone()
}

#[test]
fn the_time_line_reaches_as_far_as_the_history_of_all() {
    let mut browser = launch!();
    let (_service, agent) = set_stage(&mut browser, &[&history_of(4500)]);
    look_at(&mut browser, &agent, "#/shop-1");
    expect_all_that_is_kept(&mut browser);
    open_up(&mut browser);
    // Not of the server alone that is looked at.
    browser.wait_for(
        "own.store.segments('shop-9', own.store.now() - 20 * 86400e3 + 1, own.store.now()) \
         .every((it) => it.verdict !== null)",
    );
    assert_eq!(browser.eval("own.store.store.transitions.length"), 4510);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn where_too_much_is_kept_the_server_that_is_looked_at_has_all_of_its_past() {
    let mut browser = launch!();
    let (_service, agent) = set_stage(&mut browser, &[&history_of(27_000)]);
    look_at(&mut browser, &agent, "#/shop-1");
    expect_all_that_is_kept(&mut browser);
    open_up(&mut browser);
    // The others have what there is room for.
    browser.wait_for("own.store.store.transitions.length > own.store.PAST_MAX - 1000");
    let first = asked(&mut browser).iter().position(|it| it == "shop-1");
    assert!(first.is_some_and(|place| place < 3), "the server first");
    browser.eval("location.hash = '#/shop-2'");
    browser.wait_for("document.querySelector('.details')?.dataset.name === 'shop-2'");
    expect_all_that_is_kept(&mut browser);
    // What nobody looks at any more makes room.
    browser.wait_for("own.store.store.record.of.size === 1");
    let count = browser.eval("own.store.store.transitions.length");
    assert!(
        count.as_u64().is_some_and(|count| count < 20_000),
        "{count}"
    );
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn what_had_to_be_dropped_is_not_shown_as_known() {
    let mut browser = launch!();
    let (_service, agent) = set_stage(&mut browser, &[&history_of(9)]);
    look_at(&mut browser, &agent, "");
    open_up(&mut browser);
    let known = browser.eval(
        "(() => { const { store } = own; const { record } = store.store; const now = store.now(); \
         store.takeTransitions(Array.from({ length: 20100 }, (_, number) => ({ \
           at: new Date(now - 3600e3 + number * 100).toISOString(), backend: 'shop-1', change: 'verdict', \
           from: number % 2 ? 'down' : 'up', to: number % 2 ? 'up' : 'down' }))); \
         const { dropped } = record; \
         store.extendRecord(now - 86400e3, null, []); \
         const before = store.segments('shop-1', dropped - 3600e3, dropped).map((it) => it.verdict); \
         return [dropped > now - 3600e3, record.since === dropped, before]; })()",
    );
    assert_eq!(known, serde_json::json!([true, true, [null]]));
}

#[test]
fn latencies_that_come_late_do_not_replace_those_of_what_is_shown() {
    let mut browser = launch!();
    let late = "{
        const staged = window.fetch;
        const point = (depth) => Response.json({ points: [{ at: new Date(Date.now() - 60e3).toISOString(),
            path: 'held', depth, phase: 'total', count: 58, p50_ms: 1, p95_ms: 1, p99_ms: 1, max_ms: 1 }] });
        let first = true;
        window.fetch = (url, more) => {
            if (!String(url).includes('/history/latency')) return staged(url, more);
            if (!first) return Promise.resolve(point('second'));
            first = false;
            return new Promise((answer) => { window.answerLate = () => answer(point('first')); });
        };
    }";
    let (_service, agent) = set_stage(&mut browser, &[late]);
    look_at(&mut browser, &agent, "#/orders-1");
    browser.wait_for("window.answerLate");
    browser.press("-");
    let tabs = "document.querySelector('.chart .range').innerText";
    browser.wait_for(&format!("{tabs} === 'held · second'"));
    browser.eval("window.answerLate()");
    // It has been read, and there was time to draw it.
    browser.eval("new Promise((go) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(go)), 50))");
    assert_eq!(browser.eval(tabs), "held · second");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn what_happened_today_has_its_date_tomorrow() {
    let mut browser = launch!();
    let passing = "{
        const staged = window.fetch;
        window.fetch = async (url, more) => {
            const answer = await staged(url, more);
            if (!window.isTomorrow || !String(url).endsWith('/agent')) return answer;
            const said = await answer.json();
            return Response.json({ ...said, at: new Date(Date.parse(said.at) + 86400e3).toISOString() });
        };
    }";
    let (_service, agent) = set_stage(&mut browser, &[passing]);
    look_at(&mut browser, &agent, "");
    let first = "document.querySelector('.happened time').innerText";
    browser.wait_for(&format!("{first} === '02:44:19'"));
    browser.eval("window.isTomorrow = true");
    browser.wait_for(&format!("{first} === '3 Jul 02:44:19'"));
    browser.eval("location.hash = '#/archive'");
    browser.wait_for(&format!(
        "document.querySelector('.details') && {first} === '3 Jul 02:44:19'"
    ));
    assert_eq!(browser.complaints(), [""; 0]);
}
