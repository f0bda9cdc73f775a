//! What is sent: its size, its policy, and that nothing a server says becomes more than text.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use dbvitals_testkit::{Script, ScriptedServer};

use crate::agent::{Agent, ConfigFile};
use crate::browser::Browser;
use crate::{QUICK, Service, launch, look_at, set_stage, shows, watching};

/// Markup of every kind that a page might fall for.
const HOSTILE: &str =
    "<img src=x onerror=window.harmed=1><script>window.harmed=2</script>\"'&lt;{{7*7}}";

/// An error that a MySQL server sends instead of its greeting.
fn refusal(code: u16, message: &str) -> Vec<u8> {
    let mut payload = vec![0xff];
    payload.extend(code.to_le_bytes());
    payload.extend(message.as_bytes());
    packet(&payload)
}

/// A greeting of a server of this version.
fn greeting(version: &str) -> Vec<u8> {
    let mut payload = vec![10];
    payload.extend(version.as_bytes());
    payload.push(0);
    payload.extend(7_u32.to_le_bytes());
    payload.extend(b"12345678\0");
    // Protocol 4.1, secure connection, authentication by plugin.
    let capabilities: u32 = 0x0008_8200;
    payload.extend(&capabilities.to_le_bytes()[..2]);
    payload.push(33);
    payload.extend(2_u16.to_le_bytes());
    payload.extend(&capabilities.to_le_bytes()[2..]);
    payload.push(21);
    payload.extend([0; 10]);
    payload.extend(b"123456789012\0mysql_native_password\0");
    packet(&payload)
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short packet");
    let mut packet = length.to_le_bytes()[..3].to_vec();
    packet.push(0);
    packet.extend(payload);
    packet
}

/// The whole answer to a path that is asked for with these headers.
fn ask(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the HTTP port is open");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n\r\n"
    )
    .expect("the kernel takes it");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn what_a_hostile_server_says_stays_text() {
    let mut browser = launch!();
    let refusing = ScriptedServer::start(Script::Bytes(refusal(1053, HOSTILE)));
    let posing = ScriptedServer::start(Script::Bytes(greeting(HOSTILE)));
    let config = ConfigFile::new(&format!(
        "{QUICK}timeout = \"300ms\"\n\
         [backend.refusing]\nurl = \"mysql://vitals@{}\"\n[backend.posing]\nurl = \"mysql://{}?depth=greeting\"\n",
        refusing.address(),
        posing.address()
    ));
    let agent = Agent::start(config.serve());
    let (_, health) = agent.wait_for_verdict("refusing", "down");
    let detail = health["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("onerror"),
        "the test has no teeth: {health}"
    );
    agent.wait_for_verdict("posing", "up");
    look_at(&mut browser, &agent, "");
    browser.wait_for(&shows("refusing", "down"));
    browser.wait_for(
        "document.querySelector('.trouble[data-name=refusing]')?.innerText.includes('onerror')",
    );
    browser.wait_for("document.querySelector('.happened')?.innerText.includes('<script>')");
    look_at(&mut browser, &agent, "#/refusing");
    browser.wait_for("document.querySelector('.details').innerText.includes('onerror')");
    // Of the version nothing is left but that it is none.
    look_at(&mut browser, &agent, "#/posing");
    browser.wait_for("document.querySelector('.facts').innerText.includes('· mysql')");
    // A name out of an address that somebody was sent is no better.
    let address = "%3Cimg%20src%3Dx%20onerror%3Dwindow.harmed%3D3%3E";
    look_at(&mut browser, &agent, &format!("#/{address}"));
    browser.wait_for("document.querySelector('.details h2').innerText.includes('<img src=x')");
    expect_unharmed(&mut browser);
    // And markup that got in all the same would be refused by the policy.
    let refused = browser.eval(
        "(() => { try { document.body.innerHTML = '<p>'; return false } catch { return true } })()",
    );
    assert_eq!(refused, true);
}

/// Expects no markup of others, and no attempt of any.
#[track_caller]
fn expect_unharmed(browser: &mut Browser) {
    assert_eq!(browser.eval("window.harmed ?? 0"), 0);
    let strangers = browser.eval("document.querySelectorAll('main img, main script').length");
    assert_eq!(strangers, 0);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn whatever_a_field_of_the_api_holds_stays_text() {
    let mut browser = launch!();
    // An agent that would say worse than any does: every word of its answers begins with markup.
    let harming = format!(
        "{{ const honest = window.fetch; const kept = ['verdict', 'at', 'since', 'ended', 'started', 'until', \
         'admin', 'outcome', 'change', 'path', 'from', 'to', 'schema']; \
         const harm = (said, key) => typeof said === 'string' ? (kept.includes(key) ? said : {} + said) \
         : Array.isArray(said) ? said.map((it) => harm(it, key)) \
         : said && typeof said === 'object' ? Object.fromEntries(Object.entries(said).map(([key, it]) => [key, harm(it, key)])) : said; \
         window.fetch = async (url, more) => {{ const answer = await honest(url, more); \
         return String(url).endsWith('/events') ? answer : Response.json(harm(await answer.json()), {{ status: answer.status }}); }}; }}",
        serde_json::json!(HOSTILE)
    );
    let (_service, agent) = set_stage(&mut browser, &[&harming]);
    look_at(&mut browser, &agent, "");
    browser.wait_for("document.querySelectorAll('.row').length > 10");
    for place in [
        ".row .name",
        ".row .cause",
        ".trouble",
        ".happened",
        ".service",
        "#agent",
    ] {
        browser.wait_for(&format!(
            "document.querySelector('{place}').innerText.includes('onerror')"
        ));
    }
    browser.press("/");
    browser.press("Enter");
    browser.press("Enter");
    for place in [
        "h2",
        ".facts",
        ".why",
        ".detail",
        ".remedy",
        ".phases",
        ".happened",
    ] {
        browser.wait_for(&format!(
            "document.querySelector('.details {place}').innerText.includes('onerror')"
        ));
    }
    browser.wait_for("document.querySelector('.chart .plot canvas') !== null");
    expect_unharmed(&mut browser);
}

#[test]
fn the_whole_page_is_small_and_comes_from_the_agent_alone() {
    let mut browser = launch!();
    let service = Service::start();
    let config = watching("db", &service);
    let agent = Agent::start(config.serve());
    look_at(&mut browser, &agent, "");
    let loaded = browser.eval(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')] \
         .filter((it) => !new URL(it.name).pathname.startsWith('/api/')) \
         .map((it) => [it.name, it.transferSize])",
    );
    let loaded = loaded.as_array().expect("a list");
    let own = format!("http://{}/", agent.http());
    let mut bytes = 0;
    for part in loaded {
        let name = part[0].as_str().unwrap_or_default();
        assert!(name.starts_with(&own), "{name} is not of the agent");
        bytes += part[1].as_u64().unwrap_or_default();
    }
    assert!(loaded.len() > 10, "{loaded:?}");
    assert!(
        (10_000..150_000).contains(&bytes),
        "{bytes} bytes: {loaded:?}"
    );
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_page_is_sent_with_a_strict_policy_and_kept_by_what_it_contains() {
    let service = Service::start();
    let config = watching("db", &service);
    let agent = Agent::start(config.serve());
    let page = agent.request("GET", "/");
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").unwrap_or_default();
    let needed = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;";
    assert!(policy.starts_with(needed), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let place = page.body.split("src=\"").find_map(|rest| {
        let (path, _) = rest.split_once('"')?;
        path.ends_with("/app.js").then_some(path)
    });
    let place = place.expect("the page has a script").to_owned();
    let script = agent.request("GET", &place);
    assert_eq!(
        (script.status, script.header("content-type")),
        (200, Some("text/javascript; charset=utf-8"))
    );
    let kept = script.header("cache-control").unwrap_or_default();
    assert!(kept.contains("immutable"), "{kept}");
    assert_eq!(
        script.header("content-encoding"),
        None,
        "nobody asked for it"
    );
    // The same page again costs no body; parts of another release are not mixed in.
    let tag = page.header("etag").expect("a tag").to_owned();
    let asked = format!("Host: a\r\nIf-None-Match: {tag}");
    let again = ask(agent.http(), "/", &asked);
    assert!(
        again.starts_with("HTTP/1.1 304 ") && again.ends_with("\r\n\r\n"),
        "{again}"
    );
    assert_eq!(
        agent
            .request("GET", "/dashboard/0000000000000000/app.js")
            .status,
        404
    );
    assert_eq!(
        agent
            .request("GET", &place.replace("app.js", "../Cargo.toml"))
            .status,
        404
    );
}

#[test]
fn what_the_agent_tells_is_kept_from_sites_whose_name_leads_here() {
    let service = Service::start();
    let config = watching("db", &service);
    let agent = Agent::start(config.serve());
    let port = agent.http().port();
    let status = |path: &str, host: &str| {
        let answer = ask(agent.http(), path, &format!("Host: {host}"));
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for path in ["/api/v1/backends", "/api/v1/agent", "/metrics"] {
        assert_eq!(status(path, &format!("rebound.example.net:{port}")), "421");
        for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
            assert_eq!(status(path, &host), "200", "{host}");
        }
    }
    // Balancers may ask by any name whether a backend is fit.
    agent.wait_for_verdict("db", "up");
    assert_eq!(status("/health/db", "pool.example.net"), "200");
}
