//! `check` against what is no database, or not a good one, and against names: no real server runs.
//!
//! Whatever answers, the check ends within its timeout and tells the right cause.

#[path = "support/finding.rs"]
mod finding;
#[path = "support/program.rs"]
mod program;

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use dbvitals_testkit::{Script, ScriptedServer, left_out};
use serde_json::{Value, json};

use crate::finding::Finding;
use crate::program::{Run, dbvitals};

const TIMEOUT: Duration = Duration::from_millis(500);
const PROTOCOLS: [&str; 2] = ["mysql", "postgres"];

/// Lets a server play a script, checks it with one of the protocols, and expects an end in time.
fn check(scheme: &str, script: Script, options: &str) -> Finding {
    let server = ScriptedServer::start(script);
    let url = format!("{scheme}://vitals@{}{options}", server.address());
    let finding = Finding::of(&url, &["--timeout", "500ms"]);
    finding.assert_within(TIMEOUT);
    finding
}

/// What MariaDB says first.
fn mysql_greeting() -> Vec<u8> {
    let payload = [
        b"\x0a5.5.5-10.11.6-MariaDB\0\x2a\0\0\0".as_slice(),
        // Half of the salt, capabilities, character set, status, more capabilities, salt's length.
        b"abcdefgh\0\xfe\xf7\x2d\x02\0\xff\x81\x15",
        &[0; 10],
        b"ijklmnopqrst\0mysql_native_password\0",
    ]
    .concat();
    let length = u8::try_from(payload.len()).expect("a greeting is short");
    [&[length, 0, 0, 0], payload.as_slice()].concat()
}

/// What PostgreSQL says first to who asks for no TLS: a request for a password as md5.
fn postgres_greeting() -> Vec<u8> {
    b"R\0\0\0\x0c\0\0\0\x05salt".to_vec()
}

fn greeting(scheme: &str) -> Vec<u8> {
    match scheme {
        "mysql" => mysql_greeting(),
        _ => postgres_greeting(),
    }
}

#[test]
fn a_server_without_a_word_has_no_greeting() {
    for scheme in PROTOCOLS {
        let finding = check(scheme, Script::Silent, "");
        finding.assert_told("down, no_greeting (dead), exit 2");
        assert_eq!(finding.phases(), "connect greeting!");
        assert_eq!(finding.text("depth_reached"), "connect");
        assert_eq!(finding.result["server"], Value::Null);
    }
}

#[test]
fn a_greeting_slower_than_the_timeout_is_none() {
    for scheme in PROTOCOLS {
        let bytes = greeting(scheme);
        let every = Duration::from_millis(100);
        let finding = check(scheme, Script::Trickle { bytes, every }, "?tls=off");
        finding.assert_told("down, no_greeting (dead), exit 2");
    }
}

#[test]
fn a_greeting_in_small_pieces_is_one() {
    for scheme in PROTOCOLS {
        let bytes = greeting(scheme);
        let every = Duration::from_millis(1);
        let finding = check(
            scheme,
            Script::Trickle { bytes, every },
            "?tls=off&depth=greeting",
        );
        finding.assert_told("up, exit 0");
        assert_eq!(finding.phases(), "connect greeting");
    }
}

#[test]
fn a_server_that_falls_silent_in_the_login_is_unresponsive() {
    for scheme in PROTOCOLS {
        let finding = check(scheme, Script::Bytes(greeting(scheme)), "?tls=off");
        finding.assert_told("down, unresponsive (dead), exit 2");
        assert_eq!(finding.phases(), "connect greeting login!");
        assert_eq!(finding.text("depth_reached"), "greeting");
    }
}

#[test]
fn a_server_that_falls_silent_in_the_tls_handshake_is_unresponsive() {
    let finding = check("postgres", Script::Bytes(b"S".to_vec()), "?tls=require");
    finding.assert_told("down, unresponsive (dead), exit 2");
    assert_eq!(finding.phases(), "connect tls!");
}

#[test]
fn closing_and_resetting_are_told_apart() {
    for scheme in PROTOCOLS {
        let finding = check(scheme, Script::CloseAtOnce, "");
        finding.assert_told("down, closed (dead), exit 2");
        let finding = check(scheme, Script::ResetAtOnce, "");
        finding.assert_told("down, reset (dead), exit 2");
    }
}

#[test]
fn a_web_server_is_no_database() {
    let finding = check("postgres", Script::HttpServer, "");
    finding.assert_told("down, wrong_protocol (dead), exit 2");
    assert!(finding.text("detail").contains("HTTP"), "{finding:?}");
    // MySQL's clients listen first, and so do web servers.
    let finding = check("mysql", Script::HttpServer, "");
    finding.assert_told("down, no_greeting (dead), exit 2");
}

#[test]
fn one_database_is_not_the_other() {
    let finding = check("postgres", Script::Bytes(mysql_greeting()), "");
    finding.assert_told("down, wrong_protocol (dead), exit 2");
    assert!(finding.text("detail").contains("MariaDB"), "{finding:?}");
    assert!(
        finding.text("remedy").contains("port or the scheme"),
        "{finding:?}"
    );
}

#[test]
fn an_ssh_server_is_no_database() {
    for scheme in PROTOCOLS {
        let banner = Script::Bytes(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec());
        let finding = check(scheme, banner, "");
        finding.assert_told("down, wrong_protocol (dead), exit 2");
        assert!(finding.text("detail").contains("SSH"), "{finding:?}");
    }
}

#[test]
fn noise_is_no_database() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let noise: Vec<u8> = (0..4096).map(|_| random.u8(..)).collect();
        for scheme in PROTOCOLS {
            let finding = check(scheme, Script::Bytes(noise.clone()), "");
            let told = finding.told();
            let right = ["wrong_protocol", "malformed"]
                .map(|cause| format!("down, {cause} (dead), exit 2"));
            assert!(right.contains(&told), "seed {seed}, {scheme}: {told}");
        }
    }
}

#[test]
fn a_flood_ends_in_time() {
    for scheme in PROTOCOLS {
        let finding = check(scheme, Script::Endless(vec![b'A'; 65536]), "");
        finding.assert_told("down, wrong_protocol (dead), exit 2");
    }
    // Notices are allowed at any time, and say nothing.
    let notice = b"N\0\0\0\x0cSNOTICE\0".repeat(5000);
    let finding = check("postgres", Script::Endless(notice), "?tls=off");
    finding.assert_told("down, no_greeting (dead), exit 2");
}

#[test]
fn a_full_accept_queue_times_out() {
    for scheme in PROTOCOLS {
        let finding = check(scheme, Script::NeverAccepts, "");
        finding.assert_told("down, connect_timeout (dead), exit 2");
        assert_eq!(finding.phases(), "connect!");
    }
}

#[test]
fn many_silent_servers_take_no_longer_than_one() {
    let servers: Vec<_> = (0..20)
        .map(|_| ScriptedServer::start(Script::Silent))
        .collect();
    let urls: Vec<_> = servers
        .iter()
        .map(|server| format!("mysql://{}", server.address()))
        .collect();
    let mut command = dbvitals(&["check", "--json", "--timeout", "500ms"]);
    let run = Run::of(command.args(&urls));
    assert_eq!(run.code, 2, "{run:?}");
    let document: Value = serde_json::from_str(&run.stdout).expect("a document");
    let results = document["results"].as_array().expect("a list of results");
    assert_eq!(results.len(), 20);
    for result in results {
        assert_eq!(result["cause"], json!("no_greeting"));
        assert!(
            result["took_ms"].as_f64().is_some_and(|ms| ms <= 600.0),
            "{result}"
        );
    }
}

#[test]
fn a_name_without_an_address_is_the_askers_fault() {
    let url = "mysql://vitals@no-such-host.invalid";
    let finding = Finding::of(url, &["--timeout", "500ms"]);
    finding.assert_told("unknown, dns_failed (ours), exit 3");
    assert_eq!(finding.phases(), "resolve!");
    finding.assert_within(TIMEOUT);

    let run = Run::of(&mut dbvitals(&["check", "--timeout", "500ms", url]));
    assert_eq!((run.code, run.stderr.lines().count()), (3, 1), "{run:?}");
    for words in [
        "no-such-host.invalid",
        "could not be resolved",
        "Correct the name",
    ] {
        assert!(run.stderr.contains(words), "no {words:?} in {}", run.stderr);
    }
}

#[test]
fn the_next_address_of_a_name_is_tried_when_one_refuses() {
    let Some(names) = OwnNames::new("127.0.0.1 two.test\n::1 two.test\n") else {
        let name = "the_next_address_of_a_name_is_tried_when_one_refuses";
        left_out(
            name,
            "needs the right to make a mount namespace (unshare --user --mount)",
        );
        return;
    };
    // Whichever address comes first: with one of the two listeners it is the one that refuses.
    let listeners = [
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"),
        TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("a free port"),
    ];
    for listener in listeners {
        let port = listener
            .local_addr()
            .expect("a listener has an address")
            .port();
        let url = format!("tcp://two.test:{port}");
        let run = Run::of(&mut names.command(&["check", "--json", &url]));
        let document: Value = serde_json::from_str(&run.stdout).expect("a document");
        assert_eq!(
            (run.code, &document["results"][0]["verdict"]),
            (0, &json!("up"))
        );

        drop(listener);
        let run = Run::of(&mut names.command(&["check", "--json", &url]));
        let document: Value = serde_json::from_str(&run.stdout).expect("a document");
        assert_eq!(
            (run.code, &document["results"][0]["cause"]),
            (2, &json!("refused"))
        );
    }
}

/// A list of host names that holds for the programs started with it, and for no others.
struct OwnNames {
    hosts: PathBuf,
}

impl OwnNames {
    /// Writes the list, unless the system does not let us put it in the place of `/etc/hosts`.
    fn new(list: &str) -> Option<Self> {
        let file = format!("dbvitals-hosts-{}", std::process::id());
        let names = Self {
            hosts: std::env::temp_dir().join(file),
        };
        fs::write(&names.hosts, list).expect("the temporary directory can be written");
        let tried = names.command(&["--version"]).output();
        tried
            .is_ok_and(|output| output.status.success())
            .then_some(names)
    }

    /// The program, in a mount namespace of its own.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg(r#"mount --bind "$0" /etc/hosts && exec "$@""#)
            .arg(&self.hosts)
            .arg(env!("CARGO_BIN_EXE_dbvitals"))
            .args(arguments);
        command
    }
}

impl Drop for OwnNames {
    fn drop(&mut self) {
        // It is in the directory for what may vanish, if it is not gone now.
        let _ = fs::remove_file(&self.hosts);
    }
}
