//! The terminal while it is ours: taken whole, and given back whatever ends the program.
//!
//! It is given back when the value is dropped, and, since a panic tells of itself before anything
//! is dropped, by a hook before that. Signals end the loop that owns the value.

use std::io::{self, BufWriter, Stdout};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::backend::CrosstermBackend;
use ratatui::{Frame, Terminal};
use rustix::process::{Signal, getpid, kill_process};

/// A terminal that is drawn on.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    hold: Hold,
}

/// The terminal's state, given back with this value.
#[derive(Debug)]
struct Hold {
    is_held: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn enter() -> io::Result<Self> {
        let hold = Hold {
            is_held: Arc::default(),
        };
        let is_held = Arc::clone(&hold.is_held);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back(&is_held);
            before(panic);
        }));
        hold.take()?;
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::new(io::stdout())))?;
        Ok(Self { terminal, hold })
    }

    /// Draws what is to be seen; only what changed is written.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(|_| ())
    }

    /// Gives the terminal back until somebody brings the program to the front again.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back(&self.hold.is_held);
        kill_process(getpid(), Signal::STOP)?;
        self.hold.take()?;
        // Clears it, so that all is drawn anew.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }
}

impl Hold {
    fn take(&self) -> io::Result<()> {
        self.is_held.store(true, Ordering::Relaxed);
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        give_back(&self.is_held);
    }
}

/// Gives the terminal back, once. Where it is gone, there is nothing to put back.
fn give_back(is_held: &AtomicBool) {
    if is_held.swap(false, Ordering::Relaxed) {
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    }
}

#[cfg(test)]
#[expect(dead_code, reason = "the tests of whole commands need more of it")]
#[path = "../../../tests/support/terminal.rs"]
mod terminal;

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::Command;
    use std::time::Duration;

    use super::terminal::Terminal as Pty;
    use super::*;

    const IN_A_TERMINAL: &str = "DBVITALS_TEST_IN_A_TERMINAL";
    const NAME: &str =
        "commands::top::screen::tests::a_panic_is_told_on_the_terminal_as_it_was_before";

    #[test]
    fn a_panic_is_told_on_the_terminal_as_it_was_before() {
        if env::var_os(IN_A_TERMINAL).is_some() {
            // This is the program that the test below runs.
            let mut screen = Screen::enter().unwrap();
            screen.draw(|_| panic!("something broke")).unwrap();
        }
        let program = env::current_exe().unwrap();
        let mut command = Command::new(program);
        command.args(["--exact", NAME, "--nocapture", "--test-threads=1"]);
        let mut pty = Pty::run(command.env(IN_A_TERMINAL, "yes"), 80, 24);
        let code = pty.wait(Duration::from_secs(10));
        let shown = pty.shown();
        assert_eq!(code, Some(101), "{shown}");
        let left = shown.find("\x1b[?1049l").unwrap();
        let told = shown.find("something broke").unwrap();
        assert!(shown.contains("\x1b[?1049h") && left < told, "{shown:?}");
        assert!(shown.contains("\x1b[?25h"), "{shown:?}");
        assert!(pty.is_cooked(), "lines are edited again");
    }
}
