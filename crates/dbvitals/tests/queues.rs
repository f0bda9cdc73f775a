//! `queues` as people run it: what it shows and says of real listeners, for whom, and how it ends.

#[path = "support/program.rs"]
mod program;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../../acceptqueue/tests/support/stage.rs"]
mod stage;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dbvitals_testkit::{eventually, left_out};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::{Run, dbvitals};
use crate::stage::{Eye, Stage};

const SOON: Duration = Duration::from_secs(5);

fn queues(stage: &Stage, eye: Eye, arguments: &[&str]) -> Run {
    let arguments = [&["queues"], arguments].concat();
    stage.inside_as(eye, || Run::of(&mut dbvitals(&arguments)))
}

fn document(stage: &Stage, eye: Eye, arguments: &[&str]) -> (Value, i32) {
    let run = queues(stage, eye, &[&["--json"], arguments].concat());
    assert_eq!(run.stderr, "", "{run:?}");
    let document: Value = serde_json::from_str(&run.stdout).expect("one document");
    assert_eq!(document["schema"], "dbvitals.queues.v1");
    (document, run.code)
}

/// The one listener of a document.
fn one(stage: &Stage, eye: Eye, place: &str) -> (Value, i32) {
    let (mut document, code) = document(stage, eye, &[place]);
    let listeners = document["listeners"].as_array().map(Vec::len);
    assert_eq!(listeners, Some(1), "{document}");
    (document["listeners"][0].take(), code)
}

/// Connects one after the other until so many wait.
fn fill(stage: &Stage, at: SocketAddr, length: u32) -> Vec<socket2::Socket> {
    let clients = (0..length).map(|_| stage.knock(at)).collect();
    let waits = || {
        stage
            .ss()
            .iter()
            .any(|row| (&row.0, row.1) == (&at.to_string(), length))
    };
    assert!(
        eventually(SOON, waits),
        "{length} at {at}: {:?}",
        stage.ss()
    );
    clients
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

/// Whether everybody may run what is tested here.
fn nobody_may_run(test: &str, stage: &Stage) -> bool {
    let run = || dbvitals(&["--version"]).output().is_ok();
    let may = stage.inside_as(Eye::Nobody, run);
    if !may {
        left_out(test, "needs a target directory that everybody may enter");
    }
    may
}

#[test]
fn the_exit_code_tells_how_full_the_fullest_is() {
    let Some(stage) = Stage::set_up("the_exit_code_tells_how_full") else {
        return;
    };
    let (_listener, at) = stage.listen_tcp("127.0.0.1:0", 9);
    let port = at.port().to_string();
    assert_eq!(queues(&stage, Eye::Root, &[&port]).code, 0);
    let mut clients = fill(&stage, at, 8);
    assert_eq!(queues(&stage, Eye::Root, &[&port]).code, 0);
    clients.push(stage.knock(at));
    let code = |code| eventually(SOON, || queues(&stage, Eye::Root, &[&port]).code == code);
    assert!(code(1), "nine of ten");
    clients.push(stage.knock(at));
    assert!(code(2), "ten of ten");
    assert_eq!(queues(&stage, Eye::Root, &[]).code, 2, "and among all");
    let run = queues(&stage, Eye::Root, &["1"]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("nothing listens at port 1"), "{run:?}");
    let run = queues(&stage, Eye::Root, &["localhost"]);
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("name a port (3306)"), "{run:?}");
}

#[test]
fn the_document_has_what_the_kernel_has_for_every_user() {
    let test = "the_document_has_what_the_kernel_has";
    let Some(stage) = Stage::set_up(test) else {
        return;
    };
    let (_tcp, at) = stage.listen_tcp("127.0.0.1:0", 2);
    let (_unix, path) = stage.listen_unix("short.sock", 3);
    let clients = fill(&stage, at, 3);
    let mut waiting: Vec<_> = clients
        .iter()
        .map(|it| {
            it.local_addr()
                .expect("bound")
                .as_socket()
                .expect("TCP")
                .to_string()
        })
        .collect();
    waiting.sort();
    let _unix_client = Stage::connect_unix(&path);
    let mut eyes = vec![Eye::Root];
    eyes.extend(nobody_may_run(test, &stage).then_some(Eye::Nobody));
    for eye in eyes {
        let (tcp, code) = one(&stage, eye, &at.to_string());
        assert_eq!(code, 2);
        assert_eq!(tcp["local"], at.to_string());
        assert_eq!(
            (&tcp["family"], &tcp["full"]),
            (&"tcp4".into(), &true.into())
        );
        assert_eq!((&tcp["length"], &tcp["limit"]), (&3.into(), &2.into()));
        assert_eq!(tcp["drops"], 0);
        let mut told: Vec<_> = tcp["waiting"].as_array().expect("a list").clone();
        told.sort_by_key(ToString::to_string);
        assert_eq!(told, waiting);
        let explained = tcp["explanation"].to_string();
        assert!(explained.contains("whole seconds"), "{explained}");
        let (unix, code) = one(&stage, eye, text(&path));
        assert_eq!(code, 0);
        assert_eq!((&unix["length"], &unix["limit"]), (&1.into(), &3.into()));
        assert_eq!(
            (&unix["family"], &unix["drops"]),
            (&"unix".into(), &Value::Null)
        );
        let own = std::process::id();
        match eye {
            Eye::Root | Eye::BoundedRoot => assert_eq!(unix["pid"], own),
            Eye::Nobody => {
                assert_eq!(unix["pid"], Value::Null);
                let explained = unix["explanation"].to_string();
                assert!(
                    explained.contains("Who listens (of user 0) is hidden"),
                    "{explained}"
                );
            }
        }
    }
    let (document, _) = document(&stage, Eye::Root, &[]);
    assert_eq!(document["listeners"].as_array().map(Vec::len), Some(2));
    assert_eq!(document["namespace"]["listen_overflows"], 0);
    assert_eq!(document["namespace"]["listen_drops"], 0);
}

#[test]
fn the_limit_in_force_is_traced_to_where_it_comes_from() {
    let Some(stage) = Stage::set_up("the_limit_in_force_is_traced") else {
        return;
    };
    stage.set("core/somaxconn", "64");
    let (_listener, at) = stage.listen_tcp("127.0.0.1:0", 5000);
    let said = |somaxconn: &str| {
        stage.set("core/somaxconn", somaxconn);
        queues(&stage, Eye::Root, &[&at.port().to_string()]).stdout
    };
    for (somaxconn, words) in [
        ("64", "64, is net.core.somaxconn"),
        (
            "4096",
            "The sysctl is 4096 now; a change of either needs a restart",
        ),
        ("8", "lowered to 8 since"),
    ] {
        let said = said(somaxconn);
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn three_hundred_clients_at_once_are_seen_to_fill_wait_and_drain() {
    let Some(stage) = Stage::set_up("three_hundred_clients_at_once") else {
        return;
    };
    let (listener, path) = stage.listen_unix("slow.sock", 100);
    let arguments = [
        "--watch",
        "--interval",
        "200ms",
        "--for",
        "20s",
        text(&path),
    ];
    let mut watch = Watching::start(&stage, &arguments);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..300)
            .map(|_| scope.spawn(|| Stage::connect_unix(&path)))
            .collect();
        // The acceptor sleeps until everybody is seen to wait.
        watch.listen_for("199 blocked in connect");
        for _ in 0..300 {
            drop(listener.accept().expect("somebody waits"));
            thread::sleep(Duration::from_millis(2));
        }
        for client in clients {
            drop(client.join().expect("connected"));
        }
    });
    watch.listen_for("slow.sock: drained");
    let run = watch.end();
    assert_eq!(run.code, 2, "it was full: {run:?}");
    for words in [
        "slow.sock: full, 101/100",
        "101/100  peak 101",
        "199 blocked in connect",
        "slow.sock: drained, ",
        "peak 101, at most 199 blocked in connect",
    ] {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
}

#[test]
fn a_watch_counts_the_overflows_of_its_own_time() {
    let Some(stage) = Stage::set_up("a_watch_counts_the_overflows") else {
        return;
    };
    let (listener, at) = stage.listen_tcp("127.0.0.1:0", 2);
    let full = fill(&stage, at, 3);
    let before: Vec<_> = (0..5).map(|_| stage.knock(at)).collect();
    assert!(eventually(SOON, || stage.ss()[0].3 >= Some(5)));
    drop(before);
    let arguments = ["--json", "--watch", "--interval", "100ms", "--for", "20s"];
    let mut watch = Watching::start(&stage, &arguments);
    watch.listen_for("dbvitals.queues.v1");
    let knocking: Vec<_> = (0..7).map(|_| stage.knock(at)).collect();
    watch.listen_for("7 overflows, 3/2");
    let run = watch.end();
    drop((knocking, full, listener));
    assert_eq!((run.code, run.stderr.as_str()), (2, ""));
    let last = run.stdout.lines().last().expect("a tick");
    let last: Value = serde_json::from_str(last).expect("a document a line");
    let listener = &last["listeners"][0];
    assert_eq!(listener["peak"], 3);
    let lately = listener["overflows_lately"]["max"].as_u64();
    let drops = listener["drops"].as_u64();
    // A second later each of them knocks again.
    assert!(lately == Some(7) || lately == Some(14), "{listener}");
    assert!(drops >= lately.map(|lately| lately + 5), "{listener}");
}

#[test]
fn a_stopped_server_is_told_by_its_name_before_its_queue_is_full() {
    let Some(stage) = Stage::set_up("a_stopped_server_is_told") else {
        return;
    };
    let (listener, at) = stage.listen_tcp("127.0.0.1:0", 9);
    let input = Stdio::from(std::os::fd::OwnedFd::from(listener));
    let child = Command::new("sleep").arg("60").stdin(input).spawn();
    let child = Ward(child.expect("sleep"));
    kill_process(Pid::from_child(&child.0), Signal::STOP).expect("it lives");
    let _clients = fill(&stage, at, 2);
    let words = format!("kill -CONT {}", child.0.id());
    let run = || queues(&stage, Eye::Root, &[&at.port().to_string()]);
    assert!(
        eventually(SOON, || run().stdout.contains(&words)),
        "{:?}",
        run()
    );
    let run = run();
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stdout.contains("would still pass, 8 more times"),
        "{run:?}"
    );
}

#[test]
fn a_watch_says_of_a_queue_that_grows_and_does_not_move_that_nobody_accepts() {
    let Some(stage) = Stage::set_up("a_watch_says_of_a_queue_that_grows") else {
        return;
    };
    let (_listener, at) = stage.listen_tcp("127.0.0.1:0", 99);
    let port = at.port().to_string();
    let arguments = ["--watch", "--interval", "100ms", "--for", "20s", &port];
    let mut watch = Watching::start(&stage, &arguments);
    let is_told = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut clients = Vec::new();
            while !is_told.load(Ordering::Relaxed) && clients.len() < 70 {
                clients.push(stage.knock(at));
                thread::sleep(Duration::from_millis(100));
            }
        });
        watch.listen_for("the server accepts nothing");
        is_told.store(true, Ordering::Relaxed);
    });
    let run = watch.end();
    assert_eq!(run.code, 0, "it had room: {run:?}");
}

#[test]
fn a_watch_survives_a_restart_of_the_listener_and_tells_of_it() {
    let Some(stage) = Stage::set_up("a_watch_survives_a_restart") else {
        return;
    };
    let (first, at) = stage.listen_tcp("127.0.0.1:0", 9);
    let place = at.to_string();
    let arguments = ["--watch", "--interval", "100ms", "--for", "20s", &place];
    let mut watch = Watching::start(&stage, &arguments);
    watch.listen_for("0/9");
    drop(first);
    watch.listen_for(&format!("{place}: listens no more"));
    watch.listen_for(&format!("nothing listens at {place}"));
    let (_second, _) = stage.listen_tcp(&place, 5);
    watch.listen_for(&format!("somebody listens at {place}"));
    watch.listen_for("0/5");
    assert_eq!(watch.end().code, 2);
}

#[test]
fn another_namespace_is_looked_into_by_a_process_in_it_or_with_all_others() {
    let Some(stage) = Stage::set_up("another_namespace_is_looked_into") else {
        return;
    };
    let (_listener, at) = stage.listen_tcp("127.0.0.1:0", 9);
    let _clients = fill(&stage, at, 2);
    let (pid, place) = (stage.network.pid().to_string(), at.to_string());
    for arguments in [&["--pid", &pid][..], &["--everywhere"]] {
        let arguments = [&["queues", "--json", &place], arguments].concat();
        let run = Run::of(&mut dbvitals(&arguments));
        let document: Value = serde_json::from_str(&run.stdout).expect("one document");
        let listener = &document["listeners"][0];
        assert_eq!(
            (&listener["length"], &listener["limit"]),
            (&2.into(), &9.into())
        );
        let id = &listener["namespace"];
        let namespaces = document["namespaces"].as_array().expect("a list");
        let named = namespaces.iter().find(|it| it["id"] == *id);
        let name = named.and_then(|it| it["name"].as_str());
        let ends = format!(" ({pid})");
        assert!(name.is_some_and(|it| it.ends_with(&ends)), "{document}");
    }
    let run = Run::of(&mut dbvitals(&["queues", &place]));
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("--everywhere looks there"), "{run:?}");
}

/// A process that does not outlive its test.
struct Ward(Child);

impl Drop for Ward {
    fn drop(&mut self) {
        // Most have ended long before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A watch, heard line by line.
struct Watching {
    child: Ward,
    told: BufReader<ChildStdout>,
    heard: String,
}

impl Watching {
    fn start(stage: &Stage, arguments: &[&str]) -> Self {
        let arguments = [&["queues"], arguments].concat();
        let mut command = dbvitals(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = stage.inside(|| command.spawn());
        let mut child = Ward(child.expect("dbvitals can be started"));
        let told = BufReader::new(child.0.stdout.take().expect("a pipe"));
        Self {
            child,
            told,
            heard: String::new(),
        }
    }

    /// Listens until it has said these words; it ends by itself.
    fn listen_for(&mut self, words: &str) {
        while !self.heard.contains(words) {
            let read = self.told.read_line(&mut self.heard).expect("UTF-8");
            assert!(read > 0, "it never said {words:?}: {}", self.heard);
        }
    }

    /// Tells it to end.
    fn end(mut self) -> Run {
        let pid = Pid::from_child(&self.child.0);
        kill_process(pid, Signal::TERM).expect("it runs");
        let mut stdout = self.heard.into_bytes();
        self.told.read_to_end(&mut stdout).expect("a pipe");
        let mut stderr = Vec::new();
        let pipe = self.child.0.stderr.as_mut().expect("a pipe");
        pipe.read_to_end(&mut stderr).expect("a pipe");
        let status = self.child.0.wait().expect("a child");
        Run::ended(Output {
            status,
            stdout,
            stderr,
        })
    }
}

#[test]
fn the_experiments_of_the_document_come_out_as_it_says() {
    let test = "the_experiments_of_the_document";
    let Some(stage) = Stage::set_up(test) else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = script.join("../../docs/accept-queues/experiments.py");
    let run = stage.inside(|| Command::new("python3").arg(script).output());
    let Ok(output) = run else {
        left_out(test, "needs python3");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.matches("\n  yes  ").count() > 20, "{said}");
}
