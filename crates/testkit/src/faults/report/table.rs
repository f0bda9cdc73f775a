//! The report as people read it: a table of faults and depths, on a terminal or in a document.
//!
//! A cell of the document ends with its seconds; what stands before is one of the truth's tellings,
//! which is how a test compares the document with the catalogue.

use std::fmt::{self, Write as _};

use super::{Cell, FaultReport, Row};
use crate::faults::{Fault, Step};

/// The columns: depths of `check`, among them what may be expected at the depth, then `serve`.
const NAMES: [&str; 13] = [
    "connect", "greeting", "login", "ping", "query", "role", "primary", "replica", "writable",
    "lag", "max_lag", "write", "serve",
];

/// A column of the table.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Column(usize);

impl Column {
    /// All columns, in order.
    pub const ALL: [Self; NAMES.len()] = {
        let mut all = [Self(0); NAMES.len()];
        let mut place = 0;
        while place < all.len() {
            all[place] = Self(place);
            place += 1;
        }
        all
    };
    /// The shallowest depth of `check`.
    pub(super) const FIRST: Self = Self(0);
    /// What `serve` concludes.
    pub(super) const SERVE: Self = Self(NAMES.len() - 1);

    /// The column of that name.
    pub(super) fn of(name: &str) -> Self {
        let place = NAMES.iter().position(|it| *it == name);
        Self(place.expect("what the catalogue asks has a column"))
    }

    /// The column's name: a depth, or `serve`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES[self.0]
    }

    /// What may stand in the column for a fault, without seconds; nothing where it is not asked.
    #[must_use]
    pub fn tellings(self, fault: &Fault) -> Vec<String> {
        if self != Self::SERVE {
            let check = fault.check(self.name());
            return check.map_or_else(Vec::new, |check| check.truth.tellings());
        }
        let steps = fault.watch.iter().flat_map(|watch| watch.steps);
        let steps = steps.map(Step::tellings);
        let joined = |heads: Vec<String>, tails: Vec<String>| {
            let pairs = heads.iter().flat_map(|head| {
                let join = move |tail: &String| join(head, tail);
                tails.iter().map(join).collect::<Vec<_>>()
            });
            pairs.collect()
        };
        steps.reduce(joined).unwrap_or_default()
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is told of one step, and of those before.
pub(super) fn join(before: &str, telling: &str) -> String {
    match before {
        "" => telling.to_owned(),
        before => format!("{before}; {telling}"),
    }
}

impl FaultReport {
    /// How many cells are right, and for each kind of fault what is done and what was said, in
    /// Markdown, as they stand in the documentation.
    #[must_use]
    pub fn markdown(&self) -> String {
        let cells = self.cells();
        let right = cells - self.wrong().len();
        let mut text = format!("**{cells} cells, {right} of them right.**\n");
        for rows in self
            .rows
            .chunk_by(|row, next| row.fault.group == next.fault.group)
        {
            push(&mut text, format_args!("\n## {}\n\n", rows[0].fault.group));
            push_deeds(&mut text, rows);
            push_words(&mut text, rows);
        }
        text
    }
}

/// A table of what is done.
fn push_deeds(text: &mut String, rows: &[Row]) {
    text.push_str("| fault | what is done |\n|---|---|\n");
    let mut before = ("", "");
    for Fault { name, what, .. } in rows.iter().map(|row| &row.fault) {
        if before != (name, what) {
            push(text, format_args!("| {name} | {what} |\n"));
        }
        before = (name, what);
    }
}

/// A table of what was said, with the columns in which something was.
fn push_words(text: &mut String, rows: &[Row]) {
    let columns = columns(rows);
    text.push_str("\n| fault | on |");
    for column in &columns {
        push(text, format_args!(" {column} |"));
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(columns.len()));
    text.push('\n');
    for row in rows {
        push(text, format_args!("| {} | {} |", row.fault.name, row.stand));
        for column in &columns {
            push(text, format_args!(" {} |", row.shown(*column)));
        }
        text.push('\n');
    }
}

/// The columns in which any of the rows has something to say.
fn columns(rows: &[Row]) -> Vec<Column> {
    let is_used = |column: &Column| rows.iter().any(|row| row.asks(*column));
    Column::ALL.into_iter().filter(is_used).collect()
}

impl Row {
    /// Whether there is a truth in a column.
    fn asks(&self, column: Column) -> bool {
        !column.tellings(&self.fault).is_empty()
    }

    /// What stands in a column, marked where it is wrong.
    fn shown(&self, column: Column) -> String {
        if self.is_left_out && self.asks(column) {
            return "left out".to_owned();
        }
        let cell = self.cells.iter().find(|cell| cell.column == column);
        let Some(Cell { said, wrong, .. }) = cell else {
            return "–".to_owned();
        };
        match wrong.is_empty() {
            true => said.clone(),
            false => format!("WRONG {said}"),
        }
    }
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = columns(&self.rows).into_iter().map(|column| {
            let rows = self.rows.iter();
            let cells = rows.map(|row| row.shown(column).chars().count());
            let widest = cells.max().unwrap_or_default();
            (column, widest.max(column.name().len()))
        });
        let columns: Vec<_> = columns.collect();
        let names = self.rows.iter().map(Row::name);
        let width = names.map(|name| name.len()).max().unwrap_or_default();
        write!(f, "{:width$}", "fault")?;
        for (column, width) in &columns {
            write!(f, "  {column:width$}", width = *width)?;
        }
        for row in &self.rows {
            write!(f, "\n{:width$}", row.name())?;
            for (column, width) in &columns {
                write!(f, "  {:width$}", row.shown(*column), width = *width)?;
            }
        }
        let wrong = self.wrong();
        write!(
            f,
            "\n{} of {} cells right",
            self.cells() - wrong.len(),
            self.cells()
        )?;
        wrong
            .iter()
            .try_for_each(|wrong| write!(f, "\nWRONG {wrong}"))
    }
}

impl Row {
    fn name(&self) -> String {
        format!("{} on {}", self.fault.name, self.stand)
    }
}

fn push(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("a string takes all that is written");
}
