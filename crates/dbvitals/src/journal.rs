//! Lines for the systemd journal: it keeps the time itself, and takes a line's priority from a
//! number in front of it, see sd-daemon(3). For the log, and for what ends a command.

use std::env;
use std::fmt;
use std::io;

use rustix::fs::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Whether standard error goes to the journal. A process that the service starts, and whose
/// standard error goes elsewhere, has the variable as well, so the two are compared.
pub(crate) fn is_read() -> bool {
    let stream = env::var("JOURNAL_STREAM").unwrap_or_default();
    let Ok(stat) = fstat(io::stderr()) else {
        return false;
    };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// Each line of an error, with the priority in front where the journal reads it.
pub(crate) fn marked(error: &str) -> String {
    match is_read() {
        true => format!("<3>{}", error.replace('\n', "\n<3>")),
        false => error.to_owned(),
    }
}

/// A format with the priority in front.
#[derive(Debug)]
pub(crate) struct Prefixed<F>(pub(crate) F);

impl<S, N, F> FormatEvent<S, N> for Prefixed<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// Syslog's priorities: error, warning, informational, debug.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
