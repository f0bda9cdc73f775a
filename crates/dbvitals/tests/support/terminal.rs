//! A terminal for a program to run in, and what it shows.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dbvitals_testkit::eventually;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A program in a terminal; it ends with this value.
pub(crate) struct Terminal {
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Runs a command in a terminal of this size.
    pub(crate) fn run(command: &mut Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
        grantpt(&master).expect("a terminal of our own");
        unlockpt(&master).expect("a terminal of our own");
        let name = ptsname(&master, Vec::new()).expect("a terminal has a name");
        let slave = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
        let slave = slave.expect("a terminal of our own");
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&slave, size).expect("a terminal has a size");
        let other = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("a descriptor"));
        let child = command
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .stdin(other(&slave))
            .stdout(other(&slave))
            .stderr(other(&slave))
            .spawn()
            .expect("dbvitals can be started");
        // Lets go of the terminal's other side, so that its end is seen.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        drop(slave);
        let shown = Arc::<Mutex<Vec<u8>>>::default();
        let own = Arc::clone(&shown);
        let mut master = File::from(master);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end of the other side is an error.
            while let Ok(count @ 1..) = master.read(&mut buffer) {
                own.lock()
                    .expect("nobody panicked")
                    .extend(&buffer[..count]);
            }
        });
        Self { child, shown }
    }

    /// All bytes that came so far.
    pub(crate) fn shown(&self) -> String {
        let shown = self.shown.lock().expect("nobody panicked");
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Waits until something is shown that was not there after so many bytes.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str, after: usize, patience: Duration) {
        let seen = eventually(patience, || {
            self.shown()
                .get(after..)
                .is_some_and(|it| it.contains(text))
        });
        assert!(seen, "no {text:?} in {:?}", self.shown());
    }

    /// Sends a signal, and waits for the end.
    pub(crate) fn end(mut self, signal: Signal, patience: Duration) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        let mut code = None;
        let ended = eventually(patience, || {
            let status = self.child.try_wait().expect("a child can be waited for");
            code = status.map(|it| it.code());
            code.is_some()
        });
        assert!(ended, "it goes on");
        // What it wrote last is on its way.
        let last = "\u{1b}[?1049l";
        eventually(patience, || self.shown().ends_with(last));
        (code.flatten(), self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
