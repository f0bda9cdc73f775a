//! By which names a loopback address may be asked over plain HTTP.
//!
//! A web site can have its own name lead to 127.0.0.1 (DNS rebinding). Then the browser of somebody
//! who visits it takes the agent there for that site, and lets its scripts read what the agent tells:
//! where databases are, and what is wrong with them. What gives it away is the name that was asked
//! for. A loopback address is where an agent listens unless it is told otherwise, and where a tunnel
//! of ssh ends, so whoever comes to one is a neighbour: no name with a dot is needed to get there but
//! the machine's own. Over a network an agent has whatever names people give it, and with HTTPS a name
//! has to fit the certificate.
//!
//! Whether a backend is fit, balancers may ask by any name: that is one word, of a backend whose name
//! is known.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

/// The name by which the agent was asked for what it tells, if no neighbour would.
pub(super) fn strange_name<'a>(path: &str, headers: &'a HeaderMap) -> Option<&'a str> {
    if !(path.starts_with("/api/") || path.starts_with("/metrics")) {
        return None;
    }
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy();
    (!is_of_neighbours(host, &machine)).then_some(host)
}

/// Whether somebody on a machine would ask for this host of its own.
fn is_of_neighbours(host: &str, machine: &str) -> bool {
    let has_port = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if has_port(port) => name,
        Some(_) | None => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let label = |name: &str| name.split('.').next().map(str::to_ascii_lowercase);
    !name.contains('.')
        || address.parse::<IpAddr>().is_ok()
        || name.to_ascii_lowercase().ends_with(".localhost")
        || label(name) == label(machine)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn neighbours_ask_for_addresses_short_names_and_the_machines_own() {
        let check = |host: &str, expected: bool| {
            assert_eq!(is_of_neighbours(host, "db-a"), expected, "{host}");
        };
        for host in [
            "127.0.0.1:8306",
            "127.0.0.1",
            "[::1]:8306",
            "[::ffff:127.0.0.1]:8306",
            "localhost:8306",
            "vitals.localhost",
            "db-a",
            "DB-A.example.org:8306",
            "vitals:8306",
            "",
        ] {
            check(host, true);
        }
        for host in [
            "rebound.example.net",
            "rebound.example.net:8306",
            "127.0.0.1.example.net:8306",
            "localhost.example.net",
            "db-ab.example.org",
        ] {
            check(host, false);
        }
    }

    #[test]
    fn what_the_agent_tells_is_kept_from_strange_names_and_health_is_not() {
        let mut headers = HeaderMap::new();
        assert_eq!(strange_name("/api/v1/backends", &headers), None);
        let strange = "rebound.example.net:8306";
        headers.insert(header::HOST, HeaderValue::from_static(strange));
        assert_eq!(strange_name("/api/v1/backends", &headers), Some(strange));
        assert_eq!(strange_name("/metrics", &headers), Some(strange));
        assert_eq!(strange_name("/health/db", &headers), None);
        assert_eq!(strange_name("/", &headers), None);
    }
}
