//! Whether an address is this machine's own: what listens there can be seen by the kernel's own word.
//!
//! A name other than `localhost` is nobody's own: it may lead elsewhere tomorrow.

use std::io;
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

/// Whether an address is this machine's, by the kernel's word; nothing is sent. That it can be bound
/// to proves nothing: where `ip_nonlocal_bind` is set, as for virtual addresses, any can.
fn is_own(ip: IpAddr) -> bool {
    /// Where a datagram would be sent, if one were.
    const DISCARD: u16 = 9;
    let is_own = || -> io::Result<bool> {
        match ip {
            // Only from an own address is there a way to anywhere.
            IpAddr::V4(_) => {
                let socket = UdpSocket::bind((ip, 0))?;
                socket.connect((ip, DISCARD)).map(|()| true)
            }
            // To an own address one comes from there, and to no other. (Of IPv4 it may be another
            // of the same interface.)
            IpAddr::V6(_) => {
                let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
                socket.connect((ip, DISCARD))?;
                Ok(socket.local_addr()?.ip() == ip)
            }
        }
    };
    ip.is_loopback() || ip.is_unspecified() || is_own().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd as _;
    use std::thread;

    use dbvitals_testkit::{Network, left_out};
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    use super::*;

    fn tcp(host: &str) -> Address {
        Address::Tcp {
            host: host.to_owned(),
            port: 3306,
        }
    }

    #[test]
    fn an_address_that_may_be_bound_to_is_not_yet_here() {
        let test = "an_address_that_may_be_bound_to_is_not_yet_here";
        if !rustix::process::geteuid().is_root() {
            left_out(test, "needs root, to enter network namespaces");
            return;
        }
        let network = Network::new();
        // The second of a network is a secondary address, which nothing is sent from by itself.
        let script = "ip link add here type veth peer name there && \
                      ip addr add 10.9.0.5/24 dev here && ip addr add 10.9.0.6/24 dev here && \
                      ip addr add 10.8.0.5/32 dev lo && \
                      ip addr add fd00::5/64 dev here nodad && \
                      ip link set here up && ip link set there up && \
                      ip route add default dev here && ip -6 route add default dev here && \
                      echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind && \
                      echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind";
        let set_up = network.command("sh").args(["-c", script]).status();
        assert!(set_up.is_ok_and(|status| status.success()), "ip");
        let seen = |host: &str| {
            let namespace = File::open(network.file()).expect("the namespace exists");
            let look = || {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), kind).expect("root may enter");
                UdpSocket::bind((host, 0)).expect("it may be bound to");
                is_here(&tcp(host))
            };
            thread::scope(|scope| scope.spawn(look).join()).expect("it looked")
        };
        for host in ["127.0.0.1", "10.9.0.5", "10.9.0.6", "10.8.0.5", "fd00::5"] {
            assert!(seen(host), "{host}");
        }
        for host in ["10.9.0.7", "192.0.2.1", "fd00::7", "2001:db8::1"] {
            assert!(!seen(host), "{host}");
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
