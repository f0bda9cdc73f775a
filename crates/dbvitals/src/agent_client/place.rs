//! A place at which an agent may answer: a unix socket, or HTTP over TCP.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use url::Url;

/// The port of an agent that was told of none.
const HTTP_PORT: u16 = 8306;

/// Where an agent may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A control socket.
    Socket(PathBuf),
    /// Plain HTTP.
    Http {
        /// A name or an address, without brackets.
        host: String,
        port: u16,
        /// What comes before every path: empty, or where a proxy has put the agent.
        base: String,
    },
}

impl Place {
    /// Reads what a person calls an agent: a path, or a URL.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return Ok(Self::Socket(PathBuf::from(path)));
        }
        if !text.contains("://") {
            return match text.contains('/') || Path::new(text).exists() {
                true => Ok(Self::Socket(PathBuf::from(text))),
                false => Err(format!(
                    "{text:?} is no agent; write the path of its control socket, or a URL like http://10.0.0.7:8306"
                )),
            };
        }
        let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
        match url.scheme() {
            "http" => {}
            "https" => {
                return Err(
                    "agents answer plain HTTP, and https is not spoken here; use its control socket on its host, or a tunnel to it"
                        .to_owned(),
                );
            }
            other => return Err(format!("{other}:// is no URL of an agent; use http://")),
        }
        let host = url.host_str().unwrap_or_default();
        let authority = text.split('/').nth(2).unwrap_or_default();
        // The parser takes it for said already.
        let is_web = authority.ends_with(":80");
        Ok(Self::Http {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: match is_web {
                true => 80,
                false => url.port().unwrap_or(HTTP_PORT),
            },
            base: url.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Where an agent that listens at this address is reached from its own machine.
    pub(super) fn of_listener(address: SocketAddr) -> Self {
        let host = match (address.ip().is_unspecified(), address.is_ipv4()) {
            (true, true) => "127.0.0.1".to_owned(),
            (true, false) => "::1".to_owned(),
            (false, _) => address.ip().to_string(),
        };
        Self::Http {
            host,
            port: address.port(),
            base: String::new(),
        }
    }

    pub(super) fn is_http(&self) -> bool {
        matches!(self, Self::Http { .. })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Http { host, port, base } if host.contains(':') => {
                write!(f, "http://[{host}]:{port}{base}")
            }
            Self::Http { host, port, base } => write!(f, "http://{host}:{port}{base}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_a_path_or_a_url() {
        let shown = |text: &str| Place::parse(text).unwrap().to_string();
        assert_eq!(shown("/run/x.sock"), "/run/x.sock");
        assert_eq!(shown("unix:///run/x.sock"), "/run/x.sock");
        assert_eq!(shown("./x.sock"), "./x.sock");
        assert_eq!(shown("http://db-a"), "http://db-a:8306");
        assert_eq!(shown("http://[::1]:80/db-a/"), "http://[::1]:80/db-a");
        for wrong in ["db-a", "https://db-a", "mysql://db-a", "http://"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_through_loopback() {
        let shown = |text: &str| Place::of_listener(text.parse().unwrap()).to_string();
        assert_eq!(shown("0.0.0.0:8306"), "http://127.0.0.1:8306");
        assert_eq!(shown("[::]:8306"), "http://[::1]:8306");
        assert_eq!(shown("10.0.0.7:1"), "http://10.0.0.7:1");
    }
}
