//! What HAProxy makes of the agent's lines: status, weight and words.

use std::path::Path;

use dbvitals_testkit::{Port, Script, ScriptedServer, eventually, haproxy_for};

use crate::agent::{Agent, ConfigFile};
use crate::proxy::{Proxy, example};
use crate::service::Service;
use crate::{PATIENCE, alone};

/// MySQL's first words when all connections are taken: error 1040.
const TOO_MANY_CONNECTIONS: &[u8] = b"\x17\0\0\0\xff\x10\x04Too many connections";

/// Two things to watch, one of them full for ever, and the agent that tells HAProxy of them.
struct Scene {
    full: ScriptedServer,
    web: Service,
    ports: [Port; 2],
    _config: ConfigFile,
    _agent: Agent,
}

impl Scene {
    fn set() -> Self {
        let full = ScriptedServer::start(Script::Bytes(TOO_MANY_CONNECTIONS.to_vec()));
        let web = Service::start();
        let ports = [Port::reserve(), Port::reserve()];
        let config = ConfigFile::new(&format!(
            "[backend.full]\nurl = \"mysql://v@{}\"\n[backend.web]\nurl = \"{}\"\n\
             [agent_check.full]\nlisten = \"127.0.0.1:{}\"\nof = \"full\"\nweight = {{ degraded = 30 }}\n\
             [agent_check.web]\nlisten = \"127.0.0.1:{}\"\nof = \"web\"\n",
            full.address(),
            web.url(),
            ports[0].number(),
            ports[1].number()
        ));
        let agent = Agent::start(config.serve());
        Self {
            full,
            web,
            ports,
            _config: config,
            _agent: agent,
        }
    }

    /// HAProxy in front: the full one is `orders-1`, the other `orders-2`.
    fn proxy(&self, haproxy: &Path, example: &str) -> Proxy {
        let addresses = [self.full.address(), self.web.address()];
        let numbers = [self.ports[0].number(), self.ports[1].number()];
        Proxy::start(haproxy, example, &addresses, &numbers)
    }
}

fn expect(proxy: &Proxy, name: &str, status: &str, weight: &str, words: &str) {
    let reached = eventually(PATIENCE, || {
        let server = proxy.server(name);
        server.status.starts_with(status) && server.weight == weight && server.agent.contains(words)
    });
    assert!(reached, "{name} is not {status}: {:?}", proxy.servers());
}

#[test]
fn haproxy_takes_status_weight_and_words_as_they_are_meant() {
    let name = "haproxy_takes_status_weight_and_words_as_they_are_meant";
    let Some(haproxy) = haproxy_for(name) else {
        return;
    };
    alone(|| {
        let mut scene = Scene::set();
        let proxy = scene.proxy(&haproxy, &example("agent"));
        expect(&proxy, "orders-1", "UP", "30", "");
        expect(&proxy, "orders-2", "UP", "100", "");
        scene.web.stop();
        expect(&proxy, "orders-2", "DOWN", "100", "refused for ");
        scene.web.start_again();
        expect(&proxy, "orders-2", "UP", "100", "");
        expect(&proxy, "orders-1", "UP", "30", "");
    });
}

/// The trap of which the documentation warns.
#[test]
fn haproxy_makes_nothing_of_a_part_of_weight_1() {
    let Some(haproxy) = haproxy_for("haproxy_makes_nothing_of_a_part_of_weight_1") else {
        return;
    };
    alone(|| {
        let scene = Scene::set();
        let without = example("agent").replace("weight 100 ", "");
        let proxy = scene.proxy(&haproxy, &without);
        expect(&proxy, "orders-1", "UP", "0", "");
        expect(&proxy, "orders-2", "UP", "1", "");
    });
}
