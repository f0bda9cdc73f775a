//! HAProxy's check of a gate at a unix socket, as the documentation has it.

use dbvitals_testkit::{Port, eventually, haproxy_for};

use crate::PATIENCE;
use crate::agent::{Agent, ConfigFile};
use crate::proxy::{Proxy, example};
use crate::service::Service;
use crate::socket_gate::SocketGate;

#[test]
fn a_gate_at_a_socket_tells_haproxy_on_the_same_host() {
    let Some(haproxy) = haproxy_for("a gate at a socket") else {
        return;
    };
    let mut service = Service::start();
    let gate = SocketGate::new("haproxy");
    let config = ConfigFile::new(&format!(
        "[backend.orders-1]\nurl = \"{}\"\n\
         [gate.orders-1]\nlisten = \"{}\"\nof = \"orders-1\"\n",
        service.url(),
        gate.address()
    ));
    let agent = Agent::start(config.serve());
    agent.wait_for_verdict("orders-1", "up");
    let text = example("socket").replace(
        "/run/dbvitals/orders-1.sock",
        &format!("{}", gate.path().display()),
    );
    let port = Port::reserve();
    let text = text.replace("10.0.0.11:3306", &format!("127.0.0.1:{}", port.number()));
    let proxy = Proxy::run(&haproxy, &text);
    let becomes = |status: &str| {
        let became = eventually(PATIENCE, || proxy.server("orders-1").status == status);
        assert!(became, "{:?}, not {status}", proxy.server("orders-1"));
    };
    becomes("UP");
    assert!(gate.is_open());
    service.stop();
    becomes("DOWN");
    assert!(gate.is_gone());
    service.start_again();
    becomes("UP");
}
