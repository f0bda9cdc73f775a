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
        _ if time.subsec_nanos() > 0 => format!("{} ms", time.as_micros() as f64 / 1e3),
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
        writeln!(out, "\n{BOLD}a user for checks{BOLD:#}")?;
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
    let rows = [
        ("idle limit", Some(idle_limit(limits)), idle_note(limits)),
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
            connections_note(limits),
        ),
        (
            "this user's",
            count(limits.user),
            "the limit of its account or its role".to_owned(),
        ),
        (
            "this database's",
            count(limits.database),
            "the limit of all its users together".to_owned(),
        ),
        (
            "accept queue",
            count(limits.backlog),
            format!(
                "{}: connects that may wait at a time; the kernel's somaxconn may be lower",
                limits.backlog_setting
            ),
        ),
        ("share", count(share.each), told(share)),
    ];
    let known = rows.into_iter();
    known
        .filter_map(|(title, value, note)| Some((title, value?, note)))
        .collect()
}

fn idle_limit(limits: &Limits) -> String {
    match limits.idle {
        Some(limit) => span(limit),
        None if limits.idle_told => "none".to_owned(),
        None => "not told".to_owned(),
    }
}

fn idle_note(limits: &Limits) -> String {
    let name = limits.idle_setting;
    match limits.idle {
        Some(_) => format!("{name}: a session that idles for longer is ended"),
        None if limits.idle_told => {
            format!("{name} is off: the server lets sessions idle, a router may not")
        }
        None => format!("{name} is not in the answer: ask as another user, or look there"),
    }
}

fn connections_note(limits: &Limits) -> String {
    let reserved = match limits.reserved {
        0 => String::new(),
        reserved => format!(", {reserved} of them reserved"),
    };
    let used = match (limits.used, limits.product) {
        (None, _) => String::new(),
        // Some of its workers count as well; who may not look at them cannot tell them apart.
        (Some(used), Some("postgresql")) => format!(", about {used} in use"),
        (Some(used), _) => format!(", {used} in use"),
    };
    format!("{}: at most{reserved}{used}", limits.connections_setting)
}

fn told(share: &Share) -> String {
    let whose = match share.instances {
        1 => "for the one instance".to_owned(),
        instances => format!("for each of {instances} instances"),
    };
    let are = match share.kept_back {
        0 => return whose,
        1 => "is",
        _ => "are",
    };
    let kept = share.kept_back;
    format!("{whose}; {kept} {are} kept back for administrators, backups and checks")
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
        assert_eq!(span(Duration::from_millis(1_500)), "1500 ms");
        assert_eq!(span(Duration::from_micros(500)), "0.5 ms");
    }

    #[test]
    fn a_limit_that_was_not_told_is_not_called_off() {
        let limits = |idle_told| Limits {
            idle_told,
            idle_setting: "wait_timeout",
            ..Limits::default()
        };
        let row = |limits: &Limits| rows(limits, &Share::of(limits, 1)).remove(0);
        let (_, value, note) = row(&limits(false));
        assert_eq!(value, "not told");
        assert!(note.contains("not in the answer"), "{note}");
        let (_, value, note) = row(&limits(true));
        assert_eq!(value, "none");
        assert!(note.starts_with("wait_timeout is off"), "{note}");
    }

    #[test]
    fn what_postgres_counts_is_told_with_care() {
        let note = |product| {
            connections_note(&Limits {
                product: Some(product),
                used: Some(7),
                connections_setting: "max_connections",
                ..Limits::default()
            })
        };
        assert_eq!(
            note("postgresql"),
            "max_connections: at most, about 7 in use"
        );
        assert_eq!(note("mariadb"), "max_connections: at most, 7 in use");
    }
}
