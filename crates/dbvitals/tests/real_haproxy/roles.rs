//! Writers behind HAProxy, told by gates of roles and an agent check of the service: they follow
//! the primary, and stop while there are two.

use std::fmt::Write as _;
use std::time::Duration;

use dbvitals_testkit::{MariaDb, MariaDbOptions, Port, RealServer as _, eventually, haproxy_for};

use crate::agent::{Agent, ConfigFile};
use crate::clients::{Clients, Seen};
use crate::proxy::{Proxy, example};
use crate::{PATIENCE, alone};

/// The documented ports of checks: of the writers' gates, of the readers', of the agent check.
const CHECKS: [&str; 5] = ["13311", "13312", "13321", "13322", "8307"];

fn server(name: &str, options: MariaDbOptions) -> MariaDbOptions {
    let mut arguments = options.arguments;
    arguments.push(format!("--version=10.11.0-{name}"));
    MariaDbOptions {
        arguments,
        ..options
    }
}

/// The configuration of the documentation's table, at these ports.
fn config(servers: &[&MariaDb; 2], ports: &[Port; 5]) -> ConfigFile {
    let port = |index: usize| ports[index].number();
    let mut text = String::from("[service.orders]\nbackends = [\"orders-1\", \"orders-2\"]\n");
    for (index, server) in servers.iter().enumerate() {
        let number = index + 1;
        let (writes, reads) = (port(index), port(index + 2));
        let _ = writeln!(
            text,
            "[backend.orders-{number}]\nurl = \"mysql://vitals@{}\"\ndepth = \"role\"\n\
             [gate.orders-{number}-writes]\nlisten = \"127.0.0.1:{writes}\"\n\
             of = \"orders-{number}\"\nwant = \"primary\"\n\
             [gate.orders-{number}-reads]\nlisten = \"127.0.0.1:{reads}\"\n\
             of = \"orders-{number}\"\nwant = \"replica\"",
            server.address()
        );
    }
    let _ = writeln!(
        text,
        "[agent_check.orders-writes]\nlisten = \"127.0.0.1:{}\"\nof = \"orders\"\n\
         want = \"primary\"\non_alarm = \"closed\"",
        port(4)
    );
    ConfigFile::new(&text)
}

/// Waits until attempts meet this, for as long as a look takes.
#[track_caller]
fn expect(clients: &Clients, what: &str, is_so: impl Fn(&Seen) -> bool) {
    let mut seen = Seen::default();
    let settled = eventually(PATIENCE, || {
        let since = clients.now();
        std::thread::sleep(Duration::from_millis(400));
        seen = clients.seen_since(since);
        is_so(&seen)
    });
    assert!(settled, "{what}: {seen:?}");
}

#[test]
fn writers_follow_the_primary_and_stop_while_there_are_two() {
    let name = "writers_follow_the_primary_and_stop_while_there_are_two";
    let Some(haproxy) = haproxy_for(name) else {
        return;
    };
    alone(|| {
        let primary = MariaDb::start(server("one", MariaDbOptions::primary()));
        let options = MariaDbOptions {
            arguments: vec!["--read-only=1".to_owned()],
            ..MariaDbOptions::default()
        };
        let replica = MariaDb::start_replica_of(&primary, server("two", options));
        let ports: [Port; 5] = std::array::from_fn(|_| Port::reserve());
        let config = config(&[&primary, &replica], &ports);
        let agent = Agent::start(config.serve());
        agent.wait_for_verdict("orders", "up");

        let mut text = example("roles")
            .replace("10.0.0.11:3306", &primary.address().to_string())
            .replace("10.0.0.12:3306", &replica.address().to_string());
        let readers = Port::reserve();
        text = text.replace("127.0.0.1:3308", &format!("127.0.0.1:{}", readers.number()));
        for (documented, port) in CHECKS.iter().zip(&ports) {
            let documented = format!("port {documented}");
            assert!(text.contains(&documented), "{text}");
            text = text.replace(&documented, &format!("port {}", port.number()));
        }
        let proxy = Proxy::run(&haproxy, &text);
        let writers = Clients::start(proxy.front);
        let readers = Clients::start(([127, 0, 0, 1], readers.number()).into());
        let one = |seen: &Seen| seen.served[0] > 0 && seen.served[1] == 0 && seen.failed.is_empty();
        let two = |seen: &Seen| seen.served[1] > 0 && seen.served[0] == 0 && seen.failed.is_empty();
        let nobody = |seen: &Seen| seen.served == [0, 0] && !seen.failed.is_empty();
        expect(&writers, "writers on the primary", one);
        expect(&readers, "readers on the replica", two);

        primary.kill();
        expect(&writers, "no primary", nobody);
        expect(&readers, "readers on the replica still", two);
        replica.sql("STOP ALL SLAVES; RESET SLAVE ALL; SET GLOBAL read_only = 0");
        expect(&writers, "writers on the new primary", two);
        expect(&readers, "no replica", nobody);

        primary.start_again();
        agent.wait_for_log("the data of a service may come apart");
        expect(&writers, "two primaries", nobody);
        // The old one is fenced.
        primary.sql("SET GLOBAL read_only = 1");
        expect(&writers, "writers on the new primary again", two);
    });
}
