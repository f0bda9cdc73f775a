//! HTTPS: a certificate and its key, renewed by a reload, and refused with their place.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_testkit::{TestAuthority, TlsFiles, Validity};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, version,
};

use crate::agent::{Agent, ConfigFile};
use crate::state_dir::StateDir;
use crate::{QUICK, Service, http};

/// Files of an agent's own, into which a pair is put.
struct Pair {
    state: StateDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn new(name: &str, files: &TlsFiles) -> Self {
        let state = StateDir::new(name);
        let directory = state.socket().parent().expect("a directory").to_owned();
        let pair = Self {
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
            state,
        };
        pair.put(files);
        pair
    }

    fn put(&self, files: &TlsFiles) {
        fs::copy(&files.certificate, &self.certificate).expect("a directory of our own");
        fs::copy(&files.key, &self.key).expect("a directory of our own");
    }

    fn config(&self, service: &Service) -> String {
        format!(
            "{}http_certificate = \"{}\"\nhttp_key = \"{}\"\n{QUICK}[backend.db]\nurl = \"{}\"\n",
            self.state.section(),
            self.certificate.display(),
            self.key.display(),
            service.url()
        )
    }

    fn reload(&self) -> http::Answer {
        http::send_to_socket(&self.state.socket(), "/api/v1/reload", "")
    }
}

/// Asks over TLS, trusting one authority; tells the answer and the certificate that was shown.
fn ask(
    address: SocketAddr,
    trusted: &TestAuthority,
    version: &'static SupportedProtocolVersion,
) -> Result<(String, CertificateDer<'static>), std::io::Error> {
    let authority = fs::read(trusted.certificate()).expect("the authority's file");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&authority).expect("a certificate"))
        .expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut stream = StreamOwned::new(client, stream);
    stream.write_all(b"GET /health/db HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    // An end without TLS's own goodbye is an error here.
    stream.read_to_string(&mut answer)?;
    let chain = stream.conn.peer_certificates().expect("a certificate");
    Ok((answer, chain[0].clone()))
}

fn asked(address: SocketAddr, trusted: &TestAuthority) -> CertificateDer<'static> {
    let (answer, certificate) = ask(address, trusted, &version::TLS13).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    certificate
}

fn plain(address: SocketAddr, words: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the HTTP port is open");
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a timeout");
    stream
        .write_all(words.as_bytes())
        .expect("the kernel takes it");
    let mut heard = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

#[test]
fn https_is_spoken_from_tls_1_2_on_and_plain_http_is_not() {
    let (service, authority) = (Service::start(), TestAuthority::new());
    let pair = Pair::new("https", &authority.issue(&["localhost"], Validity::Current));
    let config = ConfigFile::new(&pair.config(&service));
    let agent = Agent::start(config.serve());
    for version in [&version::TLS12, &version::TLS13] {
        let (answer, _) = ask(agent.http(), &authority, version).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        assert!(answer.contains("dbvitals.health.v1"), "{answer}");
    }
    let stranger = TestAuthority::new();
    assert!(ask(agent.http(), &stranger, &version::TLS13).is_err());
    let heard = plain(agent.http(), "GET /health/db HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        !heard.contains("HTTP/1.1") && !heard.contains("health"),
        "{heard}"
    );
    // The control socket is for this machine, and stays plain.
    assert_eq!(pair.reload().status, 200);
}

#[test]
fn a_renewed_certificate_is_shown_after_a_reload_and_a_bad_one_never() {
    let (service, authority) = (Service::start(), TestAuthority::new());
    let pair = Pair::new(
        "renewed",
        &authority.issue(&["localhost"], Validity::Current),
    );
    let config = ConfigFile::new(&pair.config(&service));
    let agent = Agent::start(config.serve());
    let first = asked(agent.http(), &authority);

    let renewed = authority.issue(&["localhost"], Validity::Current);
    // Half of the renewal: the key is still the old one.
    fs::copy(&renewed.certificate, &pair.certificate).expect("a directory of our own");
    let answer = pair.reload();
    assert_eq!(answer.status, 422, "{}", answer.body);
    let told = format!(
        "{}:4:12: http_key: this is not the key",
        config.path.display()
    );
    assert!(answer.body.contains(&told), "{}", answer.body);
    assert_eq!(asked(agent.http(), &authority), first);

    pair.put(&renewed);
    assert_eq!(pair.reload().status, 200);
    let second = asked(agent.http(), &authority);
    assert_ne!(second, first);

    // Without the keys it is HTTP again, and with them HTTPS, at the next connection.
    let plain_config = format!(
        "{}{QUICK}[backend.db]\nurl = \"{}\"\n",
        pair.state.section(),
        service.url()
    );
    config.write(&plain_config);
    assert_eq!(pair.reload().status, 200);
    agent.wait_for_verdict("db", "up");
    config.write(&pair.config(&service));
    assert_eq!(pair.reload().status, 200);
    assert_eq!(asked(agent.http(), &authority), second);
}

#[test]
fn who_does_not_shake_hands_is_closed_after_a_while() {
    let (service, authority) = (Service::start(), TestAuthority::new());
    let pair = Pair::new("mute", &authority.issue(&["localhost"], Validity::Current));
    let config = ConfigFile::new(&pair.config(&service));
    let agent = Agent::start(config.serve());
    let clock = Clock::start();
    let before = clock.now();
    // The beginning of a ClientHello that goes on for ever.
    assert_eq!(plain(agent.http(), "\x16\x03\x01\x00\x7f"), "");
    let took = clock.now().since(before);
    assert!(took >= Duration::from_secs(9), "{took:?}");
    assert!(took < Duration::from_secs(19), "{took:?}");
}

#[test]
fn what_is_in_a_key_file_is_never_told() {
    let (service, authority) = (Service::start(), TestAuthority::new());
    let files = authority.issue(&["localhost"], Validity::Current);
    let pair = Pair::new("keys", &files);
    let config = ConfigFile::new(&pair.config(&service));
    let key = fs::read_to_string(&files.key).expect("a key");
    let secret = key.lines().nth(1).expect("a line of base64").to_owned();
    let shown = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dbvitals"));
        let output = command.args(arguments).arg(&config.path).output();
        let output = output.expect("dbvitals can be started");
        let told = [output.stdout, output.stderr].concat();
        String::from_utf8(told).expect("UTF-8")
    };
    let told = shown(&["config", "show"]);
    assert!(
        told.contains("key.pem") && !told.contains(&secret),
        "{told}"
    );
    // A key that is none, with words of its own.
    fs::write(&pair.key, "-----BEGIN PRIVATE KEY-----\nhunter2\n").expect("a file of ours");
    let told = shown(&["config", "check"]);
    assert!(told.contains("no private key found"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}
