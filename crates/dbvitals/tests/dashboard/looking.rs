//! Search, filters, zoom and the keyboard.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};

use dbvitals_testkit::eventually;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::{QUICK, Service, launch, look_at, set_stage, shows};

/// The names in the list, in its order.
const NAMES: &str = "[...document.querySelectorAll('.row:not([hidden])')] \
    .sort((one, other) => one.getAttribute('aria-posinset') - other.getAttribute('aria-posinset')) \
    .map((row) => row.dataset.name).join(' ')";

/// The names of all: worst first, and numbers in their order.
const ALL: &str = "ledger-2 orders-2 ledger-1 orders-1 orders-10";

/// Five servers, two of which are not there.
fn five() -> (Vec<Service>, ConfigFile) {
    let names = ["orders-1", "orders-2", "orders-10", "ledger-1", "ledger-2"];
    let mut text = QUICK.to_owned();
    let mut services = Vec::new();
    for name in names {
        let service = match name {
            "orders-2" | "ledger-2" => Service::absent(),
            _ => Service::start(),
        };
        writeln!(text, "[backend.{name}]\nurl = \"{}\"", service.url()).expect("a string grows");
        services.push(service);
    }
    text.push_str("[service.orders]\nbackends = [\"orders-1\", \"orders-2\", \"orders-10\"]\n");
    (services, ConfigFile::new(&text))
}

#[test]
fn servers_are_found_by_words_by_verdict_and_by_service() {
    let mut browser = launch!();
    let (_services, config) = five();
    let agent = Agent::start(config.serve());
    look_at(&mut browser, &agent, "");
    browser.wait_for(&format!("{NAMES} === '{ALL}'"));

    browser.press("/");
    browser.write("ORDERS refused");
    browser.wait_for(&format!("{NAMES} === 'orders-2'"));
    assert_eq!(browser.text("#count"), "1 of 5 servers");
    browser.press("Escape");
    browser.wait_for(&format!("{NAMES} === '{ALL}'"));

    browser.click(".tile.up");
    browser.wait_for(&format!("{NAMES} === 'ledger-1 orders-1 orders-10'"));
    assert_eq!(
        browser.eval("document.querySelector('.tile.up').ariaPressed"),
        "true"
    );
    browser.press("4");
    browser.press("1");
    browser.wait_for(&format!("{NAMES} === 'ledger-2 orders-2'"));
    browser.press("Escape");
    browser.click(".service[data-service=orders]");
    browser.wait_for(&format!("{NAMES} === 'orders-2 orders-1 orders-10'"));
    assert!(browser.text(".service").contains("2 of 3 fit"));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_keyboard_is_enough() {
    let mut browser = launch!();
    let (_services, config) = five();
    let agent = Agent::start(config.serve());
    look_at(&mut browser, &agent, "");
    browser.wait_for(&format!("{NAMES} === '{ALL}'"));
    browser.press("/");
    browser.press("Enter");
    browser.press("ArrowDown");
    browser.press("Enter");
    browser.wait_for("document.querySelector('.details')?.dataset.name === 'orders-2'");
    browser.wait_for("document.querySelector('.details').innerText.includes('Do: ')");
    assert_eq!(browser.eval("location.hash"), "#/orders-2");
    browser.press("Escape");
    browser.wait_for("document.querySelector('.details') === null");
    browser.press("End");
    browser.press("Enter");
    browser.wait_for("document.querySelector('.details')?.dataset.name === 'orders-10'");
    // What is typed into a form is no command.
    browser.click(".orders summary");
    browser.click(".order input[name=reason]");
    browser.write("1/4");
    browser.press("1");
    assert_eq!(
        browser.eval("document.querySelectorAll('.tile[aria-pressed=true]').length"),
        0
    );
    browser.press("Escape");
    browser.wait_for("document.querySelector('.details') === null");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_time_line_is_zoomed_by_keys_buttons_and_dragging() {
    let mut browser = launch!();
    let (_services, config) = five();
    let agent = Agent::start(config.serve());
    look_at(&mut browser, &agent, "#/orders-1");
    browser.wait_for(&shows("orders-1", "up"));
    let title =
        |words: &str| format!("document.querySelector('#range-title').innerText === '{words}'");
    browser.wait_for(&title("last hour"));
    browser.press("+");
    browser.wait_for(&title("30 min"));
    browser.press("-");
    browser.press("-");
    browser.wait_for(&title("2 h"));
    browser.click("#range button:nth-child(3)");
    browser.wait_for(&title("24 h"));
    browser.press("0");
    browser.wait_for(&title("last hour"));
    // Half of the line, and not up to now.
    browser.drag(".details canvas.strip", 0.25, 0.75);
    browser.wait_for(&title("30 min then"));
    browser
        .wait_for("document.querySelector('.details canvas.strip').ariaLabel.includes('30 min')");
    browser.press("0");
    browser.wait_for(&title("last hour"));
    // Samples come by themselves, and so the chart.
    browser.wait_for("document.querySelector('.chart .plot canvas') !== null");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_time_line_shows_what_is_kept_and_no_verdict_while_nobody_watched() {
    let mut browser = launch!();
    let (_service, agent) = set_stage(&mut browser, &[]);
    look_at(&mut browser, &agent, "#/sessions-1");
    let told = |words: &str| {
        format!("document.querySelector('.details canvas.strip')?.ariaLabel === '{words}'")
    };
    browser.wait_for(&told("last hour: up 1h 0m"));
    browser.click("#range button:nth-child(2)");
    browser.wait_for(&told("6 h: up 5h 53m, not recorded 5m 0s, down 2m 0s"));
    // The history begins in the middle of this.
    browser.click("#range button:nth-child(5)");
    browser.wait_for(
        "/^30 days: not recorded 10d 0h, .*down 2m 0s/.test(document.querySelector('.details canvas.strip').ariaLabel)",
    );
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_queue_that_nobody_leaves_is_told_and_drawn_against_its_limit() {
    let mut browser = launch!();
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = server.local_addr().expect("it listens");
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.db]\nurl = \"tcp://{address}\"\ndepth = \"listening\"\n"
    ));
    let agent = Agent::start(config.serve());
    look_at(&mut browser, &agent, "#/db");
    let line = "document.querySelector('.details .queue')";
    browser.wait_for(&format!("{line}?.textContent.startsWith('0/')"));
    browser.wait_for("document.querySelector('.details .queue + .plot canvas') !== null");
    let mut clients = Vec::new();
    let waiting = "dbvitals_accept_queue_length{backend=\"db\"}";
    let still = "dbvitals_accept_queue_standstill_seconds{backend=\"db\"}";
    let stands = eventually(PATIENCE, || {
        if agent.metric(waiting) >= clients.len() as f64 {
            clients.push(TcpStream::connect(address).expect("there is room"));
        }
        agent.metric(still) > 0.0
    });
    assert!(stands, "{} clients", clients.len());
    browser.wait_for(&format!("{line}.textContent.includes('not_accepting')"));
    browser.wait_for(&shows("db", "degraded"));
    assert!(browser.text(".details .queue").contains("nobody accepted"));
    assert_eq!(browser.complaints(), [""; 0]);
}
