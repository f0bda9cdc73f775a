//! The program while it waits: what it tells is heard line by line, as it comes.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use dbvitals_probe::Clock;
use dbvitals_verdict::Moment;

use crate::program::{Run, dbvitals};

/// The program while it waits.
pub(crate) struct Waiting {
    pub(crate) child: Ward,
    /// Where it tells how things are: standard error, or standard output with `--json`.
    told: BufReader<Box<dyn Read>>,
    json: bool,
    heard: String,
    clock: Clock,
}

impl Waiting {
    /// Starts a wait of a minute at most, with the password of the testkit's users.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = dbvitals(&[&["wait", "--for", "60s"], arguments].concat())
            .env("DBVITALS_PASSWORD", "secret")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("dbvitals can be started");
        let json = arguments.contains(&"--json");
        let told: Box<dyn Read> = match json {
            true => Box::new(child.stdout.take().expect("standard output is a pipe")),
            false => Box::new(child.stderr.take().expect("standard error is a pipe")),
        };
        Self {
            child: Ward(child),
            told: BufReader::new(told),
            json,
            heard: String::new(),
            clock: Clock::start(),
        }
    }

    /// Listens until a line comes that contains `words`.
    pub(crate) fn listen_for(&mut self, words: &str) {
        let before = self.heard.len();
        while !self.heard[before..].contains(words) {
            let heard = self.listen();
            assert!(
                heard,
                "the program ended before it said {words:?}: {}",
                self.heard
            );
        }
    }

    /// Listens to one more line; there is none after the end.
    fn listen(&mut self) -> bool {
        let read = self.told.read_line(&mut self.heard);
        read.expect("what is told is UTF-8") > 0
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Waits for the end of the program, and tells how long that took since a moment.
    pub(crate) fn ended_since(mut self, moment: Moment) -> (Run, Duration) {
        while self.listen() {}
        let status = self.child.0.wait().expect("a child can be waited for");
        let took = self.clock.now().since(moment);
        let told = std::mem::take(&mut self.heard).into_bytes();
        let Child { stdout, stderr, .. } = &mut self.child.0;
        let (stdout, stderr) = match self.json {
            true => (told, read_rest(stderr)),
            false => (read_rest(stdout), told),
        };
        let run = Run::ended(Output {
            status,
            stdout,
            stderr,
        });
        (run, took)
    }
}

fn read_rest(pipe: &mut Option<impl Read>) -> Vec<u8> {
    let mut rest = Vec::new();
    let pipe = pipe.as_mut().expect("a pipe that nobody took");
    pipe.read_to_end(&mut rest).expect("a pipe can be read");
    rest
}

/// A process that does not outlive its test.
pub(crate) struct Ward(pub(crate) Child);

impl Ward {
    pub(crate) fn is_running(&mut self) -> bool {
        let status = self.0.try_wait().expect("a child can be looked at");
        status.is_none()
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        // Most have ended long before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
