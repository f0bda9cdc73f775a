//! From a URL to a target: `mysql://user@host:3306/db?tls=verify`, with or without `NAME=`.
//!
//! The same syntax serves the command line and the `url` key of the configuration. Each error is
//! one sentence that names the thing and the remedy.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use dbvitals_probe::{Address, Protocol, Target, TlsPolicy};
use dbvitals_verdict::Depth;
use dbvitals_wire::Credentials;
use secrecy::SecretString;
use url::Url;

use crate::expectation::{Expectation, parse_want};
use crate::shared_parts::SharedParts;
use crate::{depth, duration, locality};

/// A target as a URL describes it; authorities of TLS are read from disk by [`TargetUrl::target`].
#[derive(Debug, Clone)]
pub(crate) struct TargetUrl {
    /// The name given, or `host:port`, or the socket's path.
    pub(crate) name: String,
    /// The URL as it may be shown: without its password.
    pub(crate) shown: String,
    pub(crate) protocol: Protocol,
    pub(crate) address: Address,
    pub(crate) user: Option<String>,
    /// A password typed into the URL, which deserves a warning.
    pub(crate) password: Option<SecretString>,
    pub(crate) database: Option<String>,
    pub(crate) depth: Option<Depth>,
    pub(crate) expectation: Expectation,
    tls: TlsMode,
    ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TlsMode {
    Off,
    Prefer,
    Require,
    Verify,
}

const SCHEMES: &str = "mysql://, mariadb://, postgres://, postgresql://, tcp:// and unix://";
const OPTIONS: [&str; 6] = ["socket", "tls", "ca", "depth", "want", "max_lag"];

impl TargetUrl {
    /// Reads `URL` or `NAME=URL`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, url_text) = match text.split_once('=') {
            Some((name, rest)) if !name.contains("://") && rest.contains("://") => {
                if name.is_empty() || !name.chars().all(is_name_char) {
                    return Err(format!(
                        "{:?} is no name for a target; use letters, digits, '-', '_' and '.'",
                        safe_to_show(name)
                    ));
                }
                (Some(name), rest)
            }
            Some(_) | None => (None, text),
        };
        let mut parsed = Self::parse_url(url_text)?;
        if let Some(name) = name {
            parsed.name = name.to_owned();
        }
        Ok(parsed)
    }

    fn parse_url(text: &str) -> Result<Self, String> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let (protocol, default_port) = match scheme {
            Some("mysql" | "mariadb") => (Protocol::MySql, Some(3306)),
            Some("postgres" | "postgresql") => (Protocol::Postgres, Some(5432)),
            Some("tcp" | "unix") => (Protocol::Opaque, None),
            Some(other) => {
                return Err(format!(
                    "{other}:// is no known scheme in {:?}; known are {SCHEMES}",
                    safe_to_show(text)
                ));
            }
            None => {
                return Err(format!(
                    "{:?} is no URL; write it like mysql://user@host:3306, known are {SCHEMES}",
                    safe_to_show(text)
                ));
            }
        };
        if is_cut_short(text) {
            return Err(format!(
                "the host in {:?} is not what it seems; write '/', '?' and '#' in a password as %2F, %3F and %23, and '@' in a database's name as %40",
                safe_to_show(text)
            ));
        }
        let url = Url::parse(text).map_err(|error| {
            let shown = safe_to_show(text);
            if error == url::ParseError::InvalidPort {
                format!("the port in {shown:?} is out of reach; ports go from 1 to 65535")
            } else {
                format!("{shown:?} is no URL that can be read: {error}")
            }
        })?;
        let shown = without_password(text);
        let options = Options::read(&url, &safe_to_show(text))?;
        let address = address(&url, &shown, protocol, default_port, &options)?;
        let user = decoded(url.username()).filter(|user| !user.is_empty());
        let database = decoded(url.path().trim_start_matches('/'))
            .filter(|path| !path.is_empty() && url.scheme() != "unix");
        Ok(Self {
            name: address.to_string(),
            shown,
            protocol,
            address,
            user,
            password: url.password().and_then(decoded).map(SecretString::from),
            database,
            depth: options.depth,
            expectation: options.expectation,
            tls: options.tls,
            ca: options.ca,
        })
    }

    /// The depth asked for where none is given: what tells whether the expectation is met, else a
    /// ping with a user, a greeting without one, a connect where nothing is known of what listens.
    pub(crate) fn default_depth(&self) -> Depth {
        if let Some(depth) = self.expectation.depth() {
            return depth;
        }
        match (self.protocol, &self.user) {
            (Protocol::Opaque, _) => Depth::Connect,
            (Protocol::MySql | Protocol::Postgres, Some(_)) => Depth::Ping,
            (Protocol::MySql | Protocol::Postgres, None) => Depth::Greeting,
        }
    }

    /// Says why a depth cannot be asked of this target, if it cannot.
    pub(crate) fn check_depth(&self, depth: Depth) -> Result<(), String> {
        let shown = &self.shown;
        if self.protocol == Protocol::Opaque && depth > Depth::Connect {
            return Err(format!(
                "the depth {depth} needs a database protocol, and {shown} names none; use mysql:// or postgres://, or the depth connect"
            ));
        }
        if depth == Depth::Listening && !locality::is_here(&self.address) {
            return Err(format!(
                "the depth listening sees sockets of this machine alone, and {shown} is elsewhere or a name that may be; use an address of this machine, localhost, a unix socket, or the depth connect"
            ));
        }
        if depth.needs_user() && self.user.is_none() {
            return Err(format!(
                "the depth {depth} needs a user, and {shown} names none; write it like {}",
                shown.replacen("://", "://USER@", 1)
            ));
        }
        if depth == Depth::Write && self.database.is_none() {
            return Err(format!(
                "the depth write needs a database for its table, and {shown} names none; write it like {}",
                with_database(shown)
            ));
        }
        self.expectation
            .check(depth)
            .map_err(|why| format!("{shown}: {why}"))
    }

    /// The file of the authority that the URL names.
    pub(crate) fn authority(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// The target to probe, with this password; what it has in common with others is theirs, too.
    pub(crate) fn target(
        &self,
        password: Option<SecretString>,
        shared: &mut SharedParts,
    ) -> Result<Target, String> {
        let mut target = Target::new(self.protocol, self.address.clone());
        target.credentials = self.user.as_ref().map(|user| {
            shared.credentials(Credentials {
                user: user.clone(),
                password,
                database: self.database.clone(),
            })
        });
        target.want = self.expectation.want.unwrap_or_default();
        target.max_lag = self.expectation.max_lag;
        let told = |error: dbvitals_probe::TlsConfigError| error.to_string();
        target.tls = match self.tls {
            TlsMode::Off => TlsPolicy::Off,
            _ if self.protocol == Protocol::Opaque => TlsPolicy::Off,
            TlsMode::Prefer => TlsPolicy::Prefer(shared.encrypt_only().map_err(told)?),
            TlsMode::Require => TlsPolicy::Require(shared.encrypt_only().map_err(told)?),
            TlsMode::Verify => TlsPolicy::Verify(shared.verifying(self.authority()).map_err(told)?),
        };
        Ok(target)
    }
}

/// The query part of a URL.
struct Options {
    socket: Option<PathBuf>,
    tls: TlsMode,
    ca: Option<PathBuf>,
    depth: Option<Depth>,
    expectation: Expectation,
}

impl Options {
    fn read(url: &Url, shown: &str) -> Result<Self, String> {
        let mut options = Self {
            socket: None,
            tls: TlsMode::Prefer,
            ca: None,
            depth: None,
            expectation: Expectation::default(),
        };
        for (key, value) in url.query_pairs() {
            match &*key {
                "socket" => options.socket = Some(PathBuf::from(&*value)),
                "ca" => options.ca = Some(PathBuf::from(&*value)),
                "depth" => options.depth = Some(depth::parse(&value)?),
                "tls" => {
                    options.tls = match &*value {
                        "off" => TlsMode::Off,
                        "prefer" => TlsMode::Prefer,
                        "require" => TlsMode::Require,
                        "verify" => TlsMode::Verify,
                        other => {
                            return Err(format!(
                                "tls={other} in {shown} is unknown; use off, prefer, require or verify"
                            ));
                        }
                    }
                }
                "want" => options.expectation.want = Some(parse_want(&value)?),
                "max_lag" => {
                    let max_lag = duration::parse(&value);
                    let max_lag = max_lag.map_err(|why| format!("max_lag in {shown}: {why}"))?;
                    options.expectation.max_lag = Some(max_lag);
                }
                other => {
                    let hint = crate::suggestion::hint(other, &OPTIONS);
                    return Err(format!(
                        "the option {other:?} in {shown} is unknown; {hint}"
                    ));
                }
            }
        }
        if options.ca.is_some() && options.tls != TlsMode::Verify {
            return Err(format!(
                "ca= in {shown} has no effect without tls=verify; add it, or leave ca= out"
            ));
        }
        Ok(options)
    }
}

fn address(
    url: &Url,
    shown: &str,
    protocol: Protocol,
    default_port: Option<u16>,
    options: &Options,
) -> Result<Address, String> {
    if url.scheme() == "unix" {
        return match decoded(url.path()) {
            Some(path) if path.len() > 1 && url.host_str().is_none_or(str::is_empty) => {
                Ok(Address::Unix(PathBuf::from(path)))
            }
            Some(_) | None => Err(format!(
                "{shown} names no socket; write an absolute path, like unix:///run/app.sock"
            )),
        };
    }
    let port = match (url.port(), default_port) {
        (Some(0), _) => {
            return Err(format!(
                "the port in {shown:?} is out of reach; ports go from 1 to 65535"
            ));
        }
        (Some(port), _) => Some(port),
        (None, default) => default,
    };
    if let Some(socket) = &options.socket {
        return Ok(Address::Unix(socket_path(socket, protocol, port)));
    }
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match (host.is_empty(), port) {
        (true, _) => Err(format!(
            "{shown} names no host; write it like {}://HOST, or add ?socket=PATH",
            url.scheme()
        )),
        (false, None) => Err(format!(
            "{shown} names no port; write it like {}://{host}:PORT",
            url.scheme()
        )),
        (false, Some(port)) => Ok(Address::Tcp {
            host: decoded(host).unwrap_or_default(),
            port,
        }),
    }
}

/// PostgreSQL's clients name the directory of a socket; its file name comes from the port.
fn socket_path(socket: &Path, protocol: Protocol, port: Option<u16>) -> PathBuf {
    match (protocol, port) {
        (Protocol::Postgres, Some(port)) if socket.is_dir() => {
            socket.join(format!(".s.PGSQL.{port}"))
        }
        _ => socket.to_owned(),
    }
}

/// A URL with a database's name where it belongs.
fn with_database(shown: &str) -> String {
    let (scheme, authority, tail) = split(shown);
    format!(
        "{scheme}{authority}/DATABASE{}",
        tail.trim_start_matches('/')
    )
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Undoes percent-encoding; what is no UTF-8 then is dropped.
fn decoded(text: &str) -> Option<String> {
    let bytes = percent_encoding::percent_decode_str(text);
    bytes.decode_utf8().ok().map(Cow::into_owned)
}

/// A sound URL with its password, if it has one, struck out.
pub(crate) fn without_password(text: &str) -> String {
    let (scheme, authority, tail) = split(text);
    match authority.rsplit_once('@') {
        Some((userinfo, host)) => format!("{scheme}{}@{host}{tail}", user_of(userinfo)),
        None => text.to_owned(),
    }
}

/// What may be shown of a text that is no sound URL: a password may be anywhere in it, between a
/// user and the last '@', or among the options.
fn safe_to_show(text: &str) -> String {
    let (scheme, authority, tail) = split(text);
    let rest = [authority, tail].concat();
    let shown = match rest.rsplit_once('@') {
        Some((userinfo, host)) => format!("{scheme}{}@{host}", user_of(userinfo)),
        None => text.to_owned(),
    };
    let end = shown.find(['?', '#']).unwrap_or(shown.len());
    shown[..end].to_owned()
}

/// Whether the user and the host are not where a URL has them, because a character in the
/// password ended that part too early: an '@' comes only after it.
fn is_cut_short(text: &str) -> bool {
    let (scheme, authority, tail) = split(text);
    let names = tail.split('=').next().unwrap_or_default();
    scheme != "unix://" && !authority.contains('@') && names.contains('@')
}

/// Splits a URL into its scheme, its authority (user, password, host, port) and the rest; works on
/// text that is no URL, too.
fn split(text: &str) -> (&str, &str, &str) {
    let begin = text.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = text.split_at(begin);
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    (scheme, authority, tail)
}

/// The user before a password; what else may stand there is taken for a part of the password.
fn user_of(userinfo: &str) -> &str {
    let end = userinfo.find([':', '/', '?', '#']);
    &userinfo[..end.unwrap_or(userinfo.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, name: &str, address: &str, user: Option<&str>, depth: Depth) {
        let url = TargetUrl::parse(text).unwrap();
        assert_eq!(url.name, name, "{text}");
        assert_eq!(url.address.to_string(), address, "{text}");
        assert_eq!(url.user.as_deref(), user, "{text}");
        assert_eq!(url.depth.unwrap_or(url.default_depth()), depth, "{text}");
    }

    #[test]
    fn urls_name_an_address_a_user_and_a_depth() {
        use Depth::{Connect, Greeting, Ping, Query};
        check(
            "mysql://vitals@db",
            "db:3306",
            "db:3306",
            Some("vitals"),
            Ping,
        );
        check(
            "mariadb://10.0.0.1:3307",
            "10.0.0.1:3307",
            "10.0.0.1:3307",
            None,
            Greeting,
        );
        check("o=postgres://v@db/shop", "o", "db:5432", Some("v"), Ping);
        check(
            "postgresql://[::1]:99",
            "[::1]:99",
            "[::1]:99",
            None,
            Greeting,
        );
        check("tcp://db:22", "db:22", "db:22", None, Connect);
        check(
            "unix:///run/a.sock",
            "/run/a.sock",
            "/run/a.sock",
            None,
            Connect,
        );
        check(
            "mysql://u%40x@h?socket=/s&depth=query",
            "/s",
            "/s",
            Some("u@x"),
            Query,
        );
    }

    fn check_refused(text: &str, parts: &[&str]) {
        let error = TargetUrl::parse(text).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn wrong_urls_are_refused_with_a_remedy() {
        check_refused("oracle://db", &["oracle://", "known are mysql://"]);
        check_refused("db:3306", &["is no URL", "mysql://user@host"]);
        check_refused("mysql://db:99999", &["port", "65535"]);
        check_refused("mysql://db:0", &["port", "65535"]);
        check_refused("mysql://", &["names no host"]);
        check_refused("tcp://db", &["names no port"]);
        check_refused("unix://", &["names no socket"]);
        check_refused("mysql://db?tsl=off", &["tsl", "did you mean \"tls\""]);
        check_refused("mysql://db?tls=maybe", &["tls=maybe", "verify"]);
        check_refused("mysql://db?ca=/x", &["tls=verify"]);
        check_refused("mysql://db?depth=deep", &["deep", "ping"]);
        check_refused("a b=mysql://db", &["is no name"]);
        check_refused("mysql://u@db?want=leader", &["leader", "primary"]);
        check_refused("mysql://u@db?max_lag=soon", &["max_lag", "soon"]);
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = TargetUrl::parse("mysql://u:hunter2@db:1/x?tls=off").unwrap();
        assert_eq!(url.shown, "mysql://u@db:1/x?tls=off");
        assert!(!format!("{url:?}").contains("hunter2"));
        check_refused("oracle://u:hunter2@db", &["oracle://u@db"]);
        let error = TargetUrl::parse("mysql://u:hunter2@db:99999").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn depths_that_need_more_than_the_url_has_are_refused() {
        let url = TargetUrl::parse("mysql://db").unwrap();
        assert!(url.check_depth(Depth::Ping).unwrap_err().contains("USER@"));
        let url = TargetUrl::parse("tcp://db:1").unwrap();
        assert!(url.check_depth(Depth::Greeting).is_err());
        let url = TargetUrl::parse("mysql://u@db?tls=off").unwrap();
        let why = url.check_depth(Depth::Write).unwrap_err();
        assert!(why.contains("mysql://u@db/DATABASE?tls=off"), "{why}");
        let url = TargetUrl::parse("mysql://u@db?want=primary").unwrap();
        assert_eq!(url.default_depth(), Depth::Role);
        assert!(url.check_depth(Depth::Ping).is_err());
    }
}
