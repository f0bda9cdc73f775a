//! Orders from the page: with the token, and not without.

use std::fs;

use dbvitals_testkit::eventually;

use crate::agent::{Agent, ConfigFile, PATIENCE};
use crate::browser::Browser;
use crate::state_dir::StateDir;
use crate::{QUICK, Service, launch, look_at, shows};

const TOKEN: &str = "a-long-token";

/// Fills the form in and sends it.
fn order(browser: &mut Browser, token: &str) {
    browser.click(".order input[name=token]");
    browser.eval("document.activeElement.select()");
    browser.write(token);
    browser.click(".order .send");
}

#[test]
fn a_state_is_set_with_the_token_and_refused_without() {
    let mut browser = launch!();
    let (service, state) = (Service::start(), StateDir::new("dash"));
    let token = state.path().join("token");
    fs::write(&token, TOKEN).expect("the directory can be written");
    let config = ConfigFile::new(&format!(
        "{}token_file = \"{}\"\n{QUICK}[backend.orders-1]\nurl = \"{}\"\n",
        state.section(),
        token.display(),
        service.url()
    ));
    let agent = Agent::start(config.serve());
    look_at(&mut browser, &agent, "#/orders-1");
    browser.wait_for(&shows("orders-1", "up"));
    browser.click(".orders summary");
    browser.click(".order input[name=reason]");
    browser.write("kernel <b>update</b>");
    browser.click(".order input[name=for]");
    browser.write("30m");

    browser.click(".order .send");
    browser.wait_for("document.querySelector('.answer.refused')");
    let refused = browser.text(".answer");
    assert!(refused.contains("token_file"), "{refused}");
    order(&mut browser, "a-wrong-token");
    browser.wait_for(
        "document.querySelector('.answer.refused') && !document.querySelector('.send').disabled",
    );
    assert_eq!(agent.health("orders-1").1["admin"], "ready");
    assert_eq!(browser.eval("sessionStorage.length"), 0);

    order(&mut browser, TOKEN);
    browser.wait_for(
        "document.querySelector('.answer.done')?.innerText.includes('orders-1 is drain until')",
    );
    assert!(eventually(PATIENCE, || agent.health("orders-1").1["admin"] == "drain"));
    let (_, health) = agent.health("orders-1");
    assert_eq!(health["order"]["reason"], "kernel <b>update</b>");
    assert!(health["order"]["until"].is_string(), "{health}");
    // It is shown, as text, without a reload.
    browser
        .wait_for("document.querySelector('.given')?.innerText.includes('kernel <b>update</b>')");
    browser.wait_for("document.querySelector('.row').innerText.includes('drain')");

    browser.click(".order input[value=ready]");
    browser.click(".order .send");
    browser.wait_for(
        "document.querySelector('.answer.done')?.innerText.includes('orders-1 is ready')",
    );
    assert!(eventually(PATIENCE, || agent.health("orders-1").1["admin"] == "ready"));
    // The page alone has it, for the next order, until it is loaded anew.
    assert_eq!(
        browser.eval("sessionStorage.length + localStorage.length + document.cookie.length"),
        0
    );
    let kept = "document.querySelector('.order input[name=token]')?.value";
    browser.eval("location.hash = '#/orders-2'");
    browser.wait_for("document.querySelector('.details')?.dataset.name === 'orders-2'");
    assert_eq!(browser.eval(kept), TOKEN);
    browser.reload();
    browser.wait_for(&format!("{kept} === ''"));
    assert_eq!(browser.complaints(), [""; 0]);
}
