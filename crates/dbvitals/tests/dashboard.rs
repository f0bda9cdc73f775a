//! The dashboard in a real browser: Debian's Chromium, on the pages and the API of real agents.
//!
//! The browser is driven from here, over its own protocol (`support/browser.rs`), rather than by a
//! script of another language: one test command, no package to pin, and the agents, servers and
//! ports of the other tests at hand. Runs alone, since it measures what people see.

#[expect(dead_code, reason = "an agent can do more than is asked of it here")]
#[path = "support/agent.rs"]
mod agent;
#[path = "support/browser.rs"]
mod browser;
#[path = "dashboard/crowd.rs"]
mod crowd;
#[expect(dead_code, reason = "nothing is posted from here")]
#[path = "support/http.rs"]
mod http;
#[path = "dashboard/link.rs"]
mod link;
#[path = "dashboard/looking.rs"]
mod looking;
#[path = "dashboard/orders.rs"]
mod orders;
#[path = "dashboard/page.rs"]
mod page;
#[path = "dashboard/past.rs"]
mod past;
#[path = "dashboard/pictures.rs"]
mod pictures;
#[path = "support/quick.rs"]
mod quick;
#[path = "support/service.rs"]
mod service;
#[expect(dead_code, reason = "orders come from the page")]
#[path = "support/state_dir.rs"]
mod state_dir;

use crate::agent::{Agent, ConfigFile};
use crate::browser::Browser;
use crate::quick::QUICK;
use crate::service::Service;

/// Runs in a page before anything of it: answers that are always the same, and no time.
const STAGE: &str = include_str!("dashboard/stage.js");

/// A browser, or the end of the test where there is none.
macro_rules! launch {
    () => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here).trim_end_matches("::here");
        let Some(program) = dbvitals_testkit::chromium_for(name) else {
            return;
        };
        $crate::browser::Browser::start(&program)
    }};
}
pub(crate) use launch;

/// One server under a name, probed quickly.
fn watching(name: &str, service: &Service) -> ConfigFile {
    let url = service.url();
    ConfigFile::new(&format!("{QUICK}[backend.{name}]\nurl = \"{url}\"\n"))
}

/// The page plays on the stage from now on, with these changes to it; the agent is there to send it.
fn set_stage(browser: &mut Browser, changes: &[&str]) -> (Service, Agent) {
    let service = Service::start();
    let config = watching("db", &service);
    let agent = Agent::start(config.serve());
    for script in [&STAGE].into_iter().chain(changes) {
        browser.before_each_page(script);
    }
    (service, agent)
}

/// Puts the page's own modules where a test can reach them: `own.store`, `own.feed`.
fn open_up(browser: &mut Browser) {
    browser.eval(
        "(async () => { const app = document.querySelector('script[type=module]').src; \
         window.own = {}; \
         for (const name of ['store', 'feed']) own[name] = await import(app.replace('app.js', `${name}.js`)); })()",
    );
}

/// Opens the dashboard of an agent, and waits until it is live.
fn look_at(browser: &mut Browser, agent: &Agent, fragment: &str) {
    browser.open(&format!("http://{}/{fragment}", agent.http()));
    browser.wait_for("document.querySelector('#link').dataset.state === 'live'");
}

/// The expression that is true where the list shows a server with a verdict.
fn shows(name: &str, verdict: &str) -> String {
    format!(
        "[...document.querySelectorAll('.row:not([hidden])')].some((row) => row.dataset.name === \
         '{name}' && row.dataset.verdict === '{verdict}' && row.innerText.includes('{verdict}'))"
    )
}
