//! Patroni's names: what they answer of one backend, and that several have to be told apart.

use crate::agent::{Agent, ConfigFile, serve};
use crate::{QUICK, Service};

#[test]
fn patroni_s_names_speak_of_the_one_backend() {
    let mut service = Service::start();
    let agent = Agent::start(serve([format!("web={}", service.url())]));
    agent.wait_for_verdict("web", "up");
    let check = |path: &str, status: u16, part: &str| {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let answer = agent.request(method, path);
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
            let told = method == "HEAD" || answer.body.contains(part);
            assert!(told, "{method} {path}: {}", answer.body);
        }
    };
    check("/health", 200, "\"name\":\"web\"");
    check("/read-only", 200, "\"name\":\"web\"");
    // A plain port has no role.
    check("/primary", 503, "primary is wanted, its role is unknown");
    check("/read-write", 503, "primary is wanted");
    check("/replica", 503, "replica is wanted");
    check("/replica?lag=16kB&max_lag=10s", 503, "replica is wanted");
    check("/read-only?lag=16kB", 503, "how far it is behind");
    check("/health?of=web&max_age=1m", 200, "\"name\":\"web\"");
    check("/health?of=wbe", 404, "known are web");
    check("/replica?lag=10s", 400, "max_lag");
    check("/primary?want=replica", 400, "asks for a primary");
    check("/primary?want=primary", 503, "primary is wanted");
    check("/primary?role=x", 400, "role= is not known");
    assert_eq!(agent.request("POST", "/primary").status, 405);
    service.stop();
    agent.wait_for_verdict("web", "down");
    check("/health", 503, "\"cause\":\"refused\"");
    check("/read-only", 503, "\"cause\":\"refused\"");
}

#[test]
fn of_several_backends_one_or_a_service_has_to_be_named() {
    let (one, other) = (Service::start(), Service::absent());
    let config = ConfigFile::new(&format!(
        "{QUICK}[backend.one]\nurl = \"{}\"\n[backend.other]\nurl = \"{}\"\n\
         [service.both]\nbackends = [\"one\", \"other\"]\n",
        one.url(),
        other.url()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("one", "up");
    agent.wait_for_verdict("other", "down");
    for path in ["/health", "/primary", "/replica", "/read-only"] {
        let answer = agent.request("GET", path);
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        assert!(answer.body.contains("one, other, both"), "{}", answer.body);
    }
    assert_eq!(agent.request("GET", "/health?of=one").status, 200);
    assert_eq!(agent.request("GET", "/health?of=other").status, 503);
    assert_eq!(agent.request("GET", "/health?of=both").status, 200);
    assert_eq!(agent.request("GET", "/primary?of=both").status, 503);
}
