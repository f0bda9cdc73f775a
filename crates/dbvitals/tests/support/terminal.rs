//! A terminal for a program to run in, and what it shows.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dbvitals_testkit::eventually;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// A program in a terminal; it ends with this value.
pub(crate) struct Terminal {
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    /// The side of whoever sits at it.
    own: File,
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
        let seat = File::from(other_side(&master));
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
        Self {
            child,
            shown,
            own: seat,
        }
    }

    /// Presses keys.
    pub(crate) fn press(&self, keys: &str) {
        let mut own = &self.own;
        own.write_all(keys.as_bytes())
            .expect("the terminal is there");
    }

    /// Gives the terminal another size, as a window is given one.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.own, size).expect("a terminal has a size");
        // It is nobody's controlling terminal, so the kernel tells nobody.
        self.signal(Signal::WINCH);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// The program's number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the terminal edits lines and shows what is typed, as it does for a shell.
    pub(crate) fn is_cooked(&self) -> bool {
        let state = tcgetattr(&self.own).expect("a terminal has a state");
        let cooked = LocalModes::ICANON | LocalModes::ECHO;
        state.local_modes.contains(cooked)
    }

    /// Waits for the program's own end.
    #[track_caller]
    pub(crate) fn wait(&mut self, patience: Duration) -> Option<i32> {
        let mut code = None;
        let ended = eventually(patience, || {
            let status = self.child.try_wait().expect("a child can be waited for");
            code = status.map(|it| it.code());
            code.is_some()
        });
        assert!(ended, "it goes on: {:?}", self.shown());
        code.flatten()
    }

    /// All bytes that came so far.
    pub(crate) fn shown(&self) -> String {
        let shown = self.shown.lock().expect("nobody panicked");
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// The lines that are to be seen now, for a program that draws over a whole terminal.
    pub(crate) fn screen(&self) -> String {
        let shown = self.shown();
        let taken = shown.rfind("\u{1b}[?1049h").map_or("", |at| &shown[at..]);
        screen(taken)
    }

    /// Waits until this is to be seen.
    #[track_caller]
    pub(crate) fn wait_for_screen(&self, text: &str, patience: Duration) {
        let seen = eventually(patience, || self.screen().contains(text));
        assert!(
            seen,
            "no {text:?} in\n{}\nof {:?}",
            self.screen(),
            self.shown()
        );
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

fn other_side(side: &OwnedFd) -> OwnedFd {
    side.try_clone().expect("a descriptor")
}

/// What stands where, after all these orders: letters, moves of the cursor, and clearing.
fn screen(shown: &str) -> String {
    let mut lines: Vec<Vec<char>> = Vec::new();
    let (mut x, mut y) = (0, 0);
    let mut letters = shown.chars();
    while let Some(letter) = letters.next() {
        if letter != '\u{1b}' {
            lines.resize(lines.len().max(y + 1), Vec::new());
            let line = &mut lines[y];
            line.resize(line.len().max(x + 1), ' ');
            line[x] = letter;
            x += 1;
            continue;
        }
        let mut order = String::new();
        for letter in letters.by_ref().skip_while(|it| *it == '[') {
            order.push(letter);
            if letter.is_ascii_alphabetic() {
                break;
            }
        }
        match order.split_at(order.len().saturating_sub(1)) {
            (place, "H") => {
                let (row, column) = place.split_once(';').unwrap_or(("1", "1"));
                let number = |text: &str| text.parse().unwrap_or(1_usize).max(1) - 1;
                (y, x) = (number(row), number(column));
            }
            ("2", "J") => lines.clear(),
            _ => {}
        }
    }
    let lines = lines.iter().map(|line| line.iter().collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
