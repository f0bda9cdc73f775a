//! A freeze as a picture for terminals of 80 columns: who asks, who is silent, what is concluded.

use std::io::{self, Write};
use std::time::Duration;

use dbvitals_verdict::{Cause, Moment, Outcome, Path, Plan};

use super::freeze::Freeze;
use super::promise::show_bound;

/// Columns for what a row is called.
const LABEL: usize = 9;
/// Columns for the time.
const WIDTH: usize = 80 - LABEL;

/// Writes the picture, and under it what happens when.
pub(super) fn write_picture(out: &mut dyn Write, plan: &Plan, freeze: &Freeze) -> io::Result<()> {
    let scale = Scale::of(freeze);
    write_row(out, "", &scale.axis())?;
    write_row(out, "server", &scale.server(freeze))?;
    for (label, path) in [("held", Path::Held), ("fresh", Path::Fresh)] {
        if freeze.probes.iter().any(|probe| probe.path == path) {
            write_row(out, label, &scale.probes(freeze, path))?;
        }
    }
    write_row(out, "verdict", &scale.verdict(freeze))?;
    write_row(out, "gate", &scale.gate(freeze))?;
    writeln!(out)?;
    let after = |moment: Moment| show_bound(moment.since(freeze.from));
    let mut tell = |at: Moment, what: String| {
        let at = match at == freeze.from {
            true => "0".to_owned(),
            false => format!("+{}", after(at)),
        };
        writeln!(out, "  {at:>9}  {what}")
    };
    tell(
        freeze.from,
        "the server freezes, just after an answer".into(),
    )?;
    tell(freeze.asked, "the next question is sent: silence".into())?;
    if let Some(at) = freeze.suspected {
        tell(at, "suspicion: a fresh session is tried beside it".into())?;
    }
    let cause = freeze.cause.map_or("silence", Cause::name);
    tell(
        freeze.down,
        format!(
            "the deadline, fall = {}: down ({cause}), the gate closes",
            plan.fall
        ),
    )?;
    tell(freeze.thaw, "the server goes on".into())?;
    tell(freeze.answered, "the first answer".into())?;
    tell(
        freeze.up,
        format!("rise = {}: up, the gate opens", plan.rise),
    )
}

fn write_row(out: &mut dyn Write, label: &str, row: &[char]) -> io::Result<()> {
    let text: String = row.iter().collect();
    writeln!(out, "{label:<LABEL$}{}", text.trim_end())
}

/// Which column is which moment.
struct Scale {
    from: Moment,
    to: Moment,
    zero: Moment,
}

impl Scale {
    fn of(freeze: &Freeze) -> Self {
        let length = freeze.up.since(freeze.from);
        Self {
            from: freeze.from - length / 8,
            to: freeze.up + length / 10,
            zero: freeze.from,
        }
    }

    fn column(&self, moment: Moment) -> usize {
        let share = moment.since(self.from).as_secs_f64() / self.to.since(self.from).as_secs_f64();
        ((share * WIDTH as f64) as usize).min(WIDTH - 1)
    }

    fn shows(&self, moment: Moment) -> bool {
        moment >= self.from && moment <= self.to
    }

    /// Time since the freeze, at round distances.
    fn axis(&self) -> Vec<char> {
        let mut row = vec![' '; WIDTH];
        let step = round_step(self.to.since(self.zero) / 5);
        for count in 0..10 {
            let at = self.zero + step * count;
            let label: Vec<char> = match count {
                0 => "0".chars().collect(),
                _ => show_round(step * count).chars().collect(),
            };
            let column = self.column(at);
            if !self.shows(at) || column + label.len() > WIDTH {
                break;
            }
            row[column..column + label.len()].copy_from_slice(&label);
        }
        row
    }

    fn server(&self, freeze: &Freeze) -> Vec<char> {
        let mut row = vec!['━'; WIDTH];
        let (from, thaw) = (self.column(freeze.from), self.column(freeze.thaw));
        row[from..thaw.max(from + 1)].fill('░');
        write_word(&mut row, from + 2, thaw, " frozen ");
        row
    }

    fn probes(&self, freeze: &Freeze, path: Path) -> Vec<char> {
        let mut row = vec![' '; WIDTH];
        let of_path = freeze.probes.iter().filter(|probe| probe.path == path);
        let shown = of_path.filter(|it| self.shows(it.started) || self.shows(it.ended));
        // The newest first: where one ends in the column in which the next begins, the end counts.
        for probe in shown.rev() {
            let (start, end) = (self.column(probe.started), self.column(probe.ended));
            row[start..end].fill('┄');
            row[start] = '├';
            row[end] = match (probe.outcome, end > start) {
                (Outcome::Pass, false) => '╿',
                (Outcome::Pass, true) => '┤',
                (Outcome::Fail(_), _) => '✗',
            };
        }
        row
    }

    fn verdict(&self, freeze: &Freeze) -> Vec<char> {
        let mut row = vec!['─'; WIDTH];
        let (down, up) = (self.column(freeze.down), self.column(freeze.up));
        write_word(&mut row, 0, down, "up ");
        row[down] = '┤';
        write_word(&mut row, down + 1, up, " down ");
        row[up] = '┤';
        write_word(&mut row, up + 1, WIDTH, " up");
        row
    }

    fn gate(&self, freeze: &Freeze) -> Vec<char> {
        let mut row = vec!['█'; WIDTH];
        let (down, up) = (self.column(freeze.down), self.column(freeze.up));
        row[down..up.max(down + 1)].fill(' ');
        write_word(&mut row, 1, down, " open ");
        write_word(&mut row, down + 2, up, "closed");
        row
    }
}

/// Writes a word into a row, where there is room for it.
fn write_word(row: &mut [char], from: usize, to: usize, word: &str) {
    let length = word.chars().count();
    if from + length <= to.min(row.len()) {
        for (place, letter) in row[from..].iter_mut().zip(word.chars()) {
            *place = letter;
        }
    }
}

/// The next 1, 2 or 5 of any power of ten.
fn round_step(least: Duration) -> Duration {
    let mut step = Duration::from_millis(1);
    loop {
        for factor in [1, 2, 5] {
            if step * factor >= least {
                return step * factor;
            }
        }
        step *= 10;
    }
}

fn show_round(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms < 1000 => format!("{ms} ms"),
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{:.1} s", ms as f64 / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use dbvitals_verdict::{Course, Depth};

    use super::*;

    #[test]
    fn a_picture_fits_into_80_columns_at_any_pace() {
        for (interval, timeout) in [(20, 60), (1000, 1000), (5000, 500), (60_000, 10)] {
            let plan = Plan {
                interval: Duration::from_millis(interval),
                timeout: Duration::from_millis(timeout),
                stale_after: Duration::from_secs(120),
                ..Plan::new(Course::Session { depth: Depth::Ping })
            };
            let freeze = Freeze::rehearse(&plan).unwrap();
            let mut out = Vec::new();
            write_picture(&mut out, &plan, &freeze).unwrap();
            let text = String::from_utf8(out).unwrap();
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }

    #[test]
    fn steps_are_round() {
        let ms = Duration::from_millis;
        assert_eq!(round_step(ms(3)), ms(5));
        assert_eq!(round_step(ms(640)), ms(1000));
        assert_eq!(round_step(ms(1001)), ms(2000));
    }
}
