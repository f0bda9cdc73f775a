//! What happened in a world, for the person who has to find out why it went wrong.
//!
//! A world is played silently first; only one that fails is played again with the journal open.

use std::collections::VecDeque;
use std::fmt;

use dbvitals_verdict::Moment;

/// The newest lines of a world's log.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    lines: VecDeque<String>,
    lines_max: usize,
}

impl Journal {
    /// A journal that keeps so many lines; none where that is 0.
    pub(crate) fn keeping(lines_max: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            lines_max,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lines_max > 0
    }

    pub(crate) fn write(&mut self, at: Moment, line: fmt::Arguments<'_>) {
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
        }
        let ms = at.as_nanos() as f64 / 1e6;
        self.lines.push_back(format!("{ms:>12.3} ms  {line}"));
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Writes a line, if anybody is going to read it.
macro_rules! note {
    ($journal:expr, $at:expr, $($line:tt)*) => {
        if $journal.is_open() {
            $journal.write($at, format_args!($($line)*));
        }
    };
}
pub(crate) use note;
