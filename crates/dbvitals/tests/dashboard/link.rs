//! Live, cut off, and live again.

use std::net::SocketAddr;
use std::time::Duration;

use dbvitals_testkit::Port;
use jiff::Timestamp;
use rustix::process::Signal;

use crate::agent::{Agent, ConfigFile};
use crate::{QUICK, Service, launch, look_at, shows};

/// A verdict is on the page so soon, counted from when it was reached.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn a_crash_is_on_the_page_within_a_second_of_the_verdict() {
    let mut browser = launch!();
    let mut service = Service::start();
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.orders-1]\nurl = \"{}\"\n",
        service.url()
    ));
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
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.orders-1]\nurl = \"{}\"\n",
        service.url()
    ));
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

    // Its time line does not: nobody knows whether it is still up.
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
    drop(agent);
    assert_eq!(browser.complaints(), [""; 0]);
}
