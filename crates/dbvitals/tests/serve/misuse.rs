//! What `serve` refuses to start with: exit code 3, a sentence for each mistake, nothing started; and
//! what it only warns of.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Command;

use dbvitals_testkit::{Port, Script, ScriptedServer, eventually};

use crate::agent::{Agent, ConfigFile, PATIENCE, serve};
use crate::gate::GatePort;
use crate::socket_gate::SocketGate;

/// Runs a command that is refused and returns its sentences, one a line.
pub(crate) fn refusal(mut command: Command) -> Vec<String> {
    let mut child = command.spawn().expect("dbvitals can be started");
    let mut ended = || {
        child
            .try_wait()
            .expect("a child can be waited for")
            .is_some()
    };
    if !eventually(PATIENCE, &mut ended) {
        child.kill().expect("a child can be killed");
    }
    let output = child.wait_with_output().expect("its output can be read");
    let told = String::from_utf8(output.stderr).expect("sentences are UTF-8");
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert_eq!(output.stdout, b"", "{told}");
    assert!(
        !told.contains("watching") && !told.contains("panicked"),
        "{told}"
    );
    told.lines().map(str::to_owned).collect()
}

/// Checks that arguments are refused with one sentence that contains these parts.
fn check_refused(arguments: &[&str], parts: &[&str]) {
    check_one(refusal(serve(arguments)), parts);
}

fn check_one(told: Vec<String>, parts: &[&str]) {
    let [sentence] = &told[..] else {
        panic!("not one sentence: {told:#?}");
    };
    assert!(sentence.starts_with("dbvitals: "), "{sentence}");
    for part in parts {
        assert!(sentence.contains(part), "no {part:?} in: {sentence}");
    }
}

#[test]
fn one_gate_does_not_stand_for_two_targets() {
    let targets = [
        "--http",
        "off",
        "--gate",
        "13306",
        "tcp://127.0.0.1:1",
        "tcp://127.0.0.1:2",
    ];
    check_refused(
        &targets,
        &["--gate stands for one target", "there are 2", "[gate.NAME]"],
    );
}

#[test]
fn targets_are_told_apart_by_their_names() {
    check_refused(
        &[
            "--http",
            "off",
            "db=tcp://127.0.0.1:1",
            "db=tcp://127.0.0.1:2",
        ],
        &["\"db\" is named twice", "NAME=URL"],
    );
}

#[test]
fn an_address_is_watched_once() {
    check_refused(
        &[
            "--http",
            "off",
            "a=tcp://127.0.0.1:1",
            "b=tcp://127.0.0.1:1",
        ],
        &["127.0.0.1:1", "watched already", "\"a\""],
    );
}

#[test]
fn a_name_without_an_address_is_refused() {
    check_refused(
        &["--http", "off", "tcp://no-such-host.invalid:1"],
        &[
            "cannot resolve \"no-such-host.invalid\"",
            "write an address",
        ],
    );
}

#[test]
fn wrong_urls_and_addresses_are_refused() {
    check_refused(
        &["--http", "off", "oracle://db"],
        &["oracle://", "mysql://"],
    );
    check_refused(&["--http", "off", "db:3306"], &["is no URL"]);
    let target = "tcp://127.0.0.1:1";
    check_refused(
        &["--http", "8306", target],
        &["\"8306\"", "127.0.0.1:8306, or off"],
    );
    check_refused(
        &["--gate", "0", target],
        &["\"0\"", "a port from 1 to 65535"],
    );
    check_refused(
        &["--gate", "localhost:1", target],
        &["\"localhost:1\"", "ADDRESS:PORT"],
    );
}

#[test]
fn a_configuration_does_not_go_with_targets() {
    let config = ConfigFile::new("[backend.a]\nurl = \"tcp://127.0.0.1:1\"\n");
    let mut command = config.serve();
    command.arg("tcp://127.0.0.1:2");
    let told = refusal(command).join("\n");
    assert!(told.contains("cannot be used with"), "{told}");
    let mut command = config.serve();
    command.args(["--gate", "13306"]);
    let told = refusal(command).join("\n");
    assert!(told.contains("cannot be used with"), "{told}");
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    check_refused(
        &["-c", "/no/such/dbvitals.toml"],
        &["/no/such/dbvitals.toml", "No such file or directory", "-c"],
    );
    let directory = env!("CARGO_TARGET_TMPDIR");
    check_refused(&["-c", directory], &[directory, "Is a directory"]);
}

#[test]
fn each_mistake_of_a_configuration_has_its_place_and_its_line() {
    let config = ConfigFile::new(
        "[agent]\nhtpp = \"off\"\n\
         [backend.a]\nurl = \"tcp://127.0.0.1:1\"\ninterval = 5\nfall = 0\n\
         [gate.g]\nlisten = \"127.0.0.1:1\"\nof = \"b\"\n",
    );
    let name = config.path.display();
    let told = refusal(config.serve());
    let expected = [
        (
            2,
            1,
            "unknown key \"htpp\" in [agent]; did you mean \"http\"?",
        ),
        (5, 12, "interval: 5 is no duration"),
        (6, 8, "fall must be above zero"),
        (9, 6, "there is no backend \"b\""),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (line, (row, column, message)) in told.iter().zip(expected) {
        let place = format!("dbvitals: {name}:{row}:{column}: ");
        assert!(
            line.starts_with(&place) && line.contains(message),
            "{place}{message}: {line}"
        );
    }
}

#[test]
fn a_configuration_that_is_no_toml_has_its_place_and_keeps_its_secrets() {
    let config = ConfigFile::new("[backend.a]\nurl = \"mysql://u:hunter2@127.0.0.1\n");
    let told = refusal(config.serve());
    check_one(
        told.clone(),
        &[&format!("{}:2:", config.path.display()), "no TOML"],
    );
    assert!(!told[0].contains("hunter2"), "{told:?}");
}

#[test]
fn addresses_in_use_are_told_before_anything_starts() {
    let watched = ScriptedServer::start(Script::Silent);
    let target = format!("db=mysql://u@{}", watched.address());
    let gate = GatePort::reserve();
    let listen = gate.address().to_string();
    let squatter = TcpListener::bind(gate.address()).unwrap();
    let parts = [
        "cannot listen at",
        &listen,
        "in use",
        "choose another address",
    ];
    check_refused(&["--http", "off", "--gate", &listen, &target], &parts);
    check_refused(&["--http", &listen, &target], &parts);
    // A port of all addresses is not free where one address has it.
    let port = gate.address().port().to_string();
    check_refused(
        &["--http", "off", "--gate", &port, &target],
        &["cannot listen at", &port],
    );
    drop(squatter);

    // The gate's address is free, the one of HTTP is not: the gate does not listen for a moment.
    let http = Port::reserve();
    let http_address = format!("127.0.0.1:{}", http.number());
    let squatter = TcpListener::bind(&http_address).unwrap();
    let vigil = gate.watch();
    let arguments = ["--http", &http_address, "--gate", &listen, &target];
    check_refused(&arguments, &["cannot listen at", &http_address]);
    assert_eq!(vigil.end().open, 0);
    drop(squatter);
    assert_eq!(watched.accepted(), 0, "something was probed");
}

#[test]
fn a_gate_and_http_do_not_share_an_address() {
    let gate = GatePort::reserve();
    let listen = gate.address().to_string();
    let port = gate.address().port().to_string();
    let target = "tcp://127.0.0.1:1";
    for gate in [&listen, &port] {
        let arguments = ["--http", &listen, "--gate", gate, target];
        check_refused(&arguments, &["--gate", "--http", &port]);
    }
    let config = ConfigFile::new(&format!(
        "[backend.a]\nurl = \"{target}\"\n[gate.g]\nlisten = \"{listen}\"\nof = \"a\"\n"
    ));
    let mut command = config.serve();
    command.args(["--http", &listen]);
    check_one(refusal(command), &["gate \"g\"", "--http", &port]);
}

#[test]
fn mysql_without_a_user_is_watched_and_the_way_to_more_is_said() {
    let watched = ScriptedServer::start(Script::Silent);
    let url = format!("db=mysql://{}", watched.address());
    let agent = Agent::start(serve([url]));
    let log = agent.log();
    let notice = log
        .lines()
        .find(|line| line.contains("names no user"))
        .expect(&log);
    for part in [
        "db",
        "leaves a line in the server's log",
        "CREATE USER vitals",
    ] {
        assert!(notice.contains(part), "{notice}");
    }
    let config = ConfigFile::new(&format!(
        "[backend.db]\nurl = \"mysql://{}\"\n",
        watched.address()
    ));
    let agent = Agent::start(config.serve());
    let log = agent.log();
    assert!(log.contains("names no user"), "{log}");
}

#[test]
fn a_password_in_the_url_of_a_configuration_is_warned_of_once_and_not_shown() {
    let watched = ScriptedServer::start(Script::Silent);
    let config = ConfigFile::new(&format!(
        "[backend.db]\nurl = \"mysql://u:hunter2@{}\"\n",
        watched.address()
    ));
    let agent = Agent::start(config.serve());
    let log = agent.log();
    assert_eq!(
        log.matches("the password in the url of db").count(),
        1,
        "{log}"
    );
    assert!(
        log.contains("password_file") && !log.contains("hunter2"),
        "{log}"
    );
}

#[test]
fn a_gate_takes_no_socket_that_is_somebody_s_and_replaces_no_file() {
    let target = "tcp://127.0.0.1:1";
    let gate = SocketGate::new("refused");
    let given = gate.address();
    let arguments = ["--http", "off", "--gate", &given, target];
    let listener = UnixListener::bind(gate.path()).expect("it is free");
    check_refused(&arguments, &[&given, "somebody listens there"]);
    assert!(gate.is_open());
    drop(listener);
    std::fs::remove_file(gate.path()).expect("it is there");
    std::fs::write(gate.path(), "a will").expect("it can be written");
    check_refused(&arguments, &[&given, "a file that is no socket"]);
    let kept = std::fs::read_to_string(gate.path());
    assert_eq!(kept.expect("it is there"), "a will");

    let own = format!("unix://{}", gate.path().display());
    let arguments = ["--http", "off", "--gate", &given, &own];
    check_refused(&arguments, &["the socket of the target itself"]);
}

#[test]
fn a_control_socket_replaces_no_file_either() {
    let control = SocketGate::new("control");
    std::fs::write(control.path(), "a will").expect("it can be written");
    let config = ConfigFile::new(&format!(
        "[agent]\ncontrol = \"{}\"\nhttp = \"off\"\n[backend.db]\nurl = \"tcp://127.0.0.1:1\"\n",
        control.path().display()
    ));
    check_one(
        refusal(config.serve()),
        &["the control socket", "a file that is no socket"],
    );
    assert!(control.path().exists());
}
