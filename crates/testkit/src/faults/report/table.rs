//! The report as people read it: a table of faults and depths, on a terminal or in a document.
//!
//! A cell of the document ends with its seconds; what stands before is one of the truth's tellings,
//! which is how a test compares the document with the catalogue.

use std::fmt::{self, Write as _};

use super::{Cell, FaultReport, Row};
use crate::faults::{Fault, Step};

/// The columns: the depths of `check`, then `serve`.
const NAMES: [&str; 6] = ["connect", "greeting", "login", "ping", "query", "serve"];

/// A column of the table.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Column(usize);

impl Column {
    /// All columns, in order.
    pub const ALL: [Self; NAMES.len()] = [Self(0), Self(1), Self(2), Self(3), Self(4), Self(5)];
    /// The shallowest depth of `check`.
    pub(super) const FIRST: Self = Self(0);
    /// What `serve` concludes.
    pub(super) const SERVE: Self = Self(NAMES.len() - 1);

    /// The column of a depth.
    pub(super) fn of(depth: &str) -> Self {
        let place = NAMES.iter().position(|name| *name == depth);
        Self(place.expect("a depth of the catalogue has a column"))
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
    /// What is done, and what was said, in Markdown, as both stand in the documentation.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from("| fault | what is done |\n|---|---|\n");
        let mut before = ("", "");
        for Fault { name, what, .. } in self.rows.iter().map(|row| &row.fault) {
            if before != (name, what) {
                push(&mut text, format_args!("| {name} | {what} |\n"));
            }
            before = (name, what);
        }
        text.push_str("\n| fault | on |");
        for column in Column::ALL {
            push(&mut text, format_args!(" {column} |"));
        }
        text.push_str("\n|---|---|");
        text.push_str(&"---|".repeat(NAMES.len()));
        text.push('\n');
        for row in &self.rows {
            push(
                &mut text,
                format_args!("| {} | {} |", row.fault.name, row.stand),
            );
            for column in Column::ALL {
                push(&mut text, format_args!(" {} |", row.shown(column)));
            }
            text.push('\n');
        }
        text
    }
}

impl Row {
    /// What stands in a column, marked where it is wrong.
    fn shown(&self, column: Column) -> String {
        if self.is_left_out {
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
        let columns = Column::ALL.map(|column| {
            let cells = self
                .rows
                .iter()
                .map(|row| row.shown(column).chars().count());
            (
                column,
                cells.max().unwrap_or_default().max(column.name().len()),
            )
        });
        let names = self.rows.iter().map(Row::name);
        let width = names.map(|name| name.len()).max().unwrap_or_default();
        write!(f, "{:width$}", "fault")?;
        for (column, width) in columns {
            write!(f, "  {column:width$}")?;
        }
        for row in &self.rows {
            write!(f, "\n{:width$}", row.name())?;
            for (column, width) in columns {
                write!(f, "  {:width$}", row.shown(column))?;
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
