//! Whether an address is this machine's own: what listens there can be seen by the kernel's own word.
//!
//! A name other than `localhost` is nobody's own: it may lead elsewhere tomorrow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use dbvitals_probe::Address;

/// Where the listener of an address may be on this machine; empty where it is elsewhere. A unix
/// socket has no addresses and is always here; see [`is_here`].
pub(crate) fn own_addresses(address: &Address) -> Vec<SocketAddr> {
    let Address::Tcp { host, port } = address else {
        return Vec::new();
    };
    let ips = match address.ip() {
        Some(ip) if is_own(ip) => vec![ip],
        None if host.eq_ignore_ascii_case("localhost") => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        Some(_) | None => Vec::new(),
    };
    ips.into_iter()
        .map(|ip| SocketAddr::new(ip, *port))
        .collect()
}

/// Whether what listens at an address listens on this machine.
pub(crate) fn is_here(address: &Address) -> bool {
    matches!(address, Address::Unix(_)) || !own_addresses(address).is_empty()
}

/// Only an own address can be bound to; nothing is sent.
fn is_own(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str) -> Address {
        Address::Tcp {
            host: host.to_owned(),
            port: 3306,
        }
    }

    #[test]
    fn loopback_localhost_and_sockets_are_here_and_names_are_not() {
        for host in ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"] {
            assert!(is_here(&tcp(host)), "{host}");
        }
        assert!(is_here(&Address::Unix("/run/x.sock".into())));
        for host in ["192.0.2.1", "2001:db8::1", "db.example"] {
            assert!(!is_here(&tcp(host)), "{host}");
        }
        assert_eq!(own_addresses(&tcp("localhost")).len(), 2);
    }
}
