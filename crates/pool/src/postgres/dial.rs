//! Where a configuration leads: its hosts, resolved and dialled.
//!
//! tokio-postgres does all this itself, but only where it owns the stream. Here the pool wants to
//! look at the socket, so what libpq's words mean is done once more: `host` and `hostaddr`, `port`,
//! `load_balance_hosts`, `keepalives` and `tcp_user_timeout`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts};

use super::error::ConfigFault;
use super::stream::Stream;

const DEFAULT_PORT: u16 = 5432;

/// A host of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    target: Target,
    port: u16,
    /// What its certificate has to say.
    pub(super) name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Address(IpAddr),
    Name(String),
    Directory(PathBuf),
}

/// Where a session is, or is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The hosts of a configuration, in the order in which to try them.
pub(super) fn places(config: &Config) -> Result<Vec<Place>, ConfigFault> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(ConfigFault::Addresses {
            hosts: hosts.len(),
            addresses: addresses.len(),
        });
    }
    let count = hosts.len().max(addresses.len());
    let ports = config.get_ports();
    if count == 0 {
        return Err(ConfigFault::NoHost);
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(ConfigFault::Ports {
            hosts: count,
            ports: ports.len(),
        });
    }
    let mut places: Vec<Place> = (0..count)
        .map(|index| {
            let port = ports.get(index).or(ports.first()).copied();
            let port = port.unwrap_or(DEFAULT_PORT);
            place(hosts.get(index), addresses.get(index).copied(), port)
        })
        .collect();
    if is_random(config) {
        fastrand::shuffle(&mut places);
    }
    Ok(places)
}

/// An address goes before a name, which is still what the certificate is for.
fn place(host: Option<&Host>, address: Option<IpAddr>, port: u16) -> Place {
    let name = match (host, address) {
        (Some(Host::Tcp(name)), _) => name.clone(),
        (None, Some(address)) => address.to_string(),
        // PostgreSQL speaks no TLS there; the connectors want a name all the same.
        (Some(Host::Unix(_)) | None, _) => "localhost".to_owned(),
    };
    let target = match (host, address) {
        (_, Some(address)) => Target::Address(address),
        (Some(Host::Unix(directory)), None) => Target::Directory(directory.clone()),
        (Some(Host::Tcp(_)) | None, None) => Target::Name(name.clone()),
    };
    Place { target, port, name }
}

fn is_random(config: &Config) -> bool {
    config.get_load_balance_hosts() == LoadBalanceHosts::Random
}

impl Place {
    /// The addresses of a host, one or more, in the order in which to try them.
    pub(super) async fn resolve(&self, config: &Config) -> io::Result<Vec<Address>> {
        let port = self.port;
        let name = match &self.target {
            Target::Address(address) => return Ok(vec![Address::Tcp((*address, port).into())]),
            Target::Directory(directory) => {
                let path = directory.join(format!(".s.PGSQL.{port}"));
                return Ok(vec![Address::Unix(path)]);
            }
            Target::Name(name) => name.as_str(),
        };
        let mut addresses: Vec<Address> =
            lookup_host((name, port)).await?.map(Address::Tcp).collect();
        if addresses.is_empty() {
            let error = format!("{name} has no address");
            return Err(io::Error::new(io::ErrorKind::NotFound, error));
        }
        if is_random(config) {
            fastrand::shuffle(&mut addresses);
        }
        Ok(addresses)
    }
}

impl Address {
    /// A stream to there, and a duplicate of its socket.
    pub(super) async fn dial(&self, config: &Config) -> io::Result<(Stream, OwnedFd)> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                set_keepalive(&SockRef::from(&stream), config)?;
                let socket = stream.as_fd().try_clone_to_owned()?;
                Ok((stream.into(), socket))
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                let socket = stream.as_fd().try_clone_to_owned()?;
                Ok((stream.into(), socket))
            }
        }
    }
}

fn set_keepalive(socket: &SockRef<'_>, config: &Config) -> io::Result<()> {
    if let Some(timeout) = config.get_tcp_user_timeout() {
        socket.set_tcp_user_timeout(Some(*timeout))?;
    }
    if !config.get_keepalives() {
        return Ok(());
    }
    let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
    if let Some(interval) = config.get_keepalives_interval() {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        keepalive = keepalive.with_retries(retries);
    }
    socket.set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(config: &str) -> Result<Vec<Place>, ConfigFault> {
        places(&config.parse().unwrap())
    }

    fn at(target: Target, port: u16, name: &str) -> Place {
        Place {
            target,
            port,
            name: name.to_owned(),
        }
    }

    #[test]
    fn hosts_have_ports_of_their_own_or_share_one() {
        let name = |name: &str| Target::Name(name.to_owned());
        let own = parse("host=a,b port=1,2").unwrap();
        assert_eq!(own, [at(name("a"), 1, "a"), at(name("b"), 2, "b")]);
        let shared = parse("host=a,b port=7").unwrap();
        assert_eq!(shared, [at(name("a"), 7, "a"), at(name("b"), 7, "b")]);
        let usual = parse("host=a").unwrap();
        assert_eq!(usual, [at(name("a"), 5432, "a")]);
    }

    #[test]
    fn an_address_is_dialled_and_the_name_is_for_the_certificate() {
        let address = || Target::Address([10, 0, 0, 1].into());
        let both = parse("host=db.example hostaddr=10.0.0.1").unwrap();
        assert_eq!(both, [at(address(), 5432, "db.example")]);
        let alone = parse("hostaddr=10.0.0.1").unwrap();
        assert_eq!(alone, [at(address(), 5432, "10.0.0.1")]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_a_sentence() {
        for (config, said) in [
            ("user=a", "it names neither host nor hostaddr"),
            ("host=a,b hostaddr=10.0.0.1", "2 of host, 1 of hostaddr"),
            ("host=a,b port=1,2,3", "3 of port for 2 hosts"),
        ] {
            let told = parse(config).unwrap_err().to_string();
            assert!(told.contains(said), "{told}");
        }
    }

    #[test]
    fn all_hosts_are_kept_in_any_order() {
        let config = "host=a,b,c load_balance_hosts=random";
        let mut first: Vec<String> = (0..100)
            .map(|_| parse(config).unwrap().remove(0).name)
            .collect();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first, ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn a_socket_has_the_keepalive_of_the_configuration() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let config = "host=a keepalives_idle=7 keepalives_interval=3 keepalives_retries=2
            tcp_user_timeout=9";
        let (_stream, socket) = address.dial(&config.parse().unwrap()).await.unwrap();
        let socket = SockRef::from(&socket);
        let seconds = Duration::from_secs;
        assert_eq!(socket.tcp_keepalive_time().unwrap(), seconds(7));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), seconds(3));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 2);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(seconds(9)));
        let none = "host=a keepalives=0".parse().unwrap();
        let (_stream, socket) = address.dial(&none).await.unwrap();
        assert!(!SockRef::from(&socket).keepalive().unwrap());
    }

    #[tokio::test]
    async fn a_directory_is_a_unix_socket() {
        let config: Config = "host=/run/postgresql port=7".parse().unwrap();
        let place = places(&config).unwrap().remove(0);
        let addresses = place.resolve(&config).await.unwrap();
        let path = PathBuf::from("/run/postgresql/.s.PGSQL.7");
        assert_eq!(addresses, [Address::Unix(path)]);
    }
}
