//! The advice as people read it.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::Counsel;
use super::clients::Advice;
use super::contradiction::Weight;
use super::limits::Limits;
use super::share::Share;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const WARNING: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
/// Lines of code are set apart from their reasons up to this column.
const CODE_COLUMNS: usize = 46;

/// A time in its largest whole unit: `90 s`, `24 min`, `8 h`.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        _ if seconds >= 3600 && seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ if seconds > 60 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// Writes all there is to say.
pub(super) fn write_page(out: &mut dyn Write, counsel: &Counsel) -> io::Result<()> {
    let Counsel { limits, share, .. } = counsel;
    writeln!(
        out,
        "{BOLD}{}{BOLD:#}  {DIM}{}{DIM:#}",
        counsel.target.name,
        limits.server()
    )?;
    for (title, value, note) in rows(limits, share) {
        writeln!(out, "  {title:<18} {value:>8}   {DIM}{note}{DIM:#}")?;
    }
    for found in &counsel.contradictions {
        let paint = match found.weight {
            Weight::Warning => WARNING,
            Weight::Note => BOLD,
        };
        let weight = found.weight.name();
        writeln!(out, "\n{paint}{weight}{paint:#}  {}", found.sentence)?;
    }
    for advice in &counsel.advice {
        write_client(out, advice)?;
    }
    if !counsel.check_user.is_empty() {
        writeln!(out, "\n{BOLD}a user for checks, without privileges{BOLD:#}")?;
    }
    for grant in &counsel.check_user {
        writeln!(out, "  {};   {DIM}{}{DIM:#}", grant.sql, grant.what_for)?;
    }
    Ok(())
}

/// What the server said, and what follows for each instance.
fn rows(limits: &Limits, share: &Share) -> Vec<(&'static str, String, String)> {
    let count = |count: Option<u32>| count.map(|it| it.to_string());
    let time = |time: Option<Duration>| time.map(span);
    let name = limits.idle_setting;
    let used = limits.used.map(|used| format!(", {used} in use"));
    let reserved = match limits.reserved {
        0 => String::new(),
        reserved => format!(", {reserved} of them reserved"),
    };
    let idle_note = match limits.idle {
        Some(_) => format!("{name}: a session that idles for longer is ended"),
        None => format!("{name} is off: the server lets sessions idle, a router may not"),
    };
    let rows = [
        (
            "idle limit",
            Some(time(limits.idle).unwrap_or("none".to_owned())),
            idle_note,
        ),
        (
            "interactive",
            time(limits.interactive),
            "interactive_timeout: the same for clients that call themselves so".to_owned(),
        ),
        (
            "idle transaction",
            time(limits.idle_transaction),
            "a session that idles inside of a transaction is ended".to_owned(),
        ),
        (
            "connections",
            count(limits.max_connections),
            format!("at most{reserved}{}", used.unwrap_or_default()),
        ),
        (
            "this user's",
            count(limits.user),
            "the limit of its account, its role or its database".to_owned(),
        ),
        (
            "accept queue",
            count(limits.backlog),
            "connects that may wait at a time".to_owned(),
        ),
        ("share", count(share.each), told(share)),
    ];
    let known = rows.into_iter();
    known
        .filter_map(|(title, value, note)| Some((title, value?, note)))
        .collect()
}

fn told(share: &Share) -> String {
    let whose = match share.instances {
        1 => "for the one instance".to_owned(),
        instances => format!("for each of {instances} instances"),
    };
    match share.kept_back {
        0 => whose,
        kept => format!("{whose}; {kept} are kept back for administrators, backups and checks"),
    }
}

fn write_client(out: &mut dyn Write, advice: &Advice) -> io::Result<()> {
    writeln!(out, "\n{BOLD}{}{BOLD:#}", advice.title)?;
    for setting in &advice.settings {
        let line = setting.line(advice.syntax);
        let reason = &setting.reason;
        writeln!(out, "  {line:<CODE_COLUMNS$}  {DIM}{reason}{DIM:#}")?;
    }
    for sentence in &advice.by_default {
        writeln!(out, "  {BOLD}by default{BOLD:#}  {sentence}")?;
    }
    for note in &advice.notes {
        writeln!(out, "  {DIM}note{DIM:#}  {note}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_whole_units() {
        let shown = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(shown(28_800), "8 h");
        assert_eq!(shown(1_440), "24 min");
        assert_eq!(shown(90), "90 s");
        assert_eq!(shown(60), "60 s");
        assert_eq!(span(Duration::from_millis(300)), "300 ms");
    }
}
