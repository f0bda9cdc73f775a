//! What statements answered: small tables of text.
//!
//! A probe asks for a handful of values; whatever else a server sends is counted and dropped, so
//! an answer never holds more than [`ANSWER_LENGTH_MAX`] bytes in a few thousand cells. Written by
//! the clients of both protocols, read by whoever asked.

use std::fmt;

/// How many bytes of names and values one answer keeps; what comes after them is cut off.
pub const ANSWER_LENGTH_MAX: usize = 64 << 10;

/// How many names and values one answer keeps, empty ones included.
const CELLS_MAX: usize = 4096;

/// A value of a row, as text; `None` is NULL.
type Cell = Option<Vec<u8>>;

/// The answer to a query: one table for each of its statements that returned rows.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    tables: Vec<Table>,
    room: Room,
}

/// Answers are compared by what they hold, not by the room that is left.
impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        self.tables == other.tables
    }
}

impl Eq for Answer {}

/// What may still be kept.
#[derive(Debug, Clone)]
struct Room {
    length: usize,
    cells: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            length: ANSWER_LENGTH_MAX,
            cells: CELLS_MAX,
        }
    }
}

impl Room {
    /// As much of these bytes as there is room for.
    fn take<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.cells = self.cells.checked_sub(1)?;
        let kept = bytes.get(..self.length).unwrap_or(bytes);
        self.length -= kept.len();
        Some(kept)
    }

    fn is_full(&self) -> bool {
        self.length == 0 || self.cells == 0
    }
}

impl Answer {
    /// An answer of these tables, for servers that speak from a script.
    pub fn of(tables: Vec<Table>) -> Self {
        Self {
            tables,
            room: Room::default(),
        }
    }

    /// An answer of one row with one column, for servers that speak from a script.
    pub fn of_value(column: &str, value: Option<&str>) -> Self {
        Self::of(vec![Table::new([column]).with_row([value])])
    }

    /// The tables, in the order of the statements.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The first column of the first row of the first table: `None` where it is NULL, or where
    /// there is no row.
    pub fn value(&self) -> Option<&[u8]> {
        let row = self.tables.first()?.rows.first()?;
        row.first()?.as_deref()
    }

    /// Whether nothing more is kept.
    pub(crate) fn is_full(&self) -> bool {
        self.room.is_full()
    }

    pub(crate) fn begin_table(&mut self) {
        if !self.is_full() && self.room.take(b"").is_some() {
            self.tables.push(Table::default());
        }
    }

    pub(crate) fn push_column(&mut self, name: &[u8]) {
        if let Some(table) = self.tables.last_mut()
            && let Some(kept) = self.room.take(name)
        {
            table
                .columns
                .push(String::from_utf8_lossy(kept).into_owned());
        }
    }

    /// Adds a row; what is left of it when the answer is full is missing.
    pub(crate) fn push_row<'a>(&mut self, values: impl IntoIterator<Item = Option<&'a [u8]>>) {
        let Some(table) = self.tables.last_mut() else {
            return;
        };
        if self.room.is_full() {
            return;
        }
        let mut row = Vec::with_capacity(table.columns.len());
        for value in values {
            let Some(kept) = self.room.take(value.unwrap_or_default()) else {
                break;
            };
            row.push(value.map(|_| kept.to_vec()));
        }
        table.rows.push(row);
    }
}

/// Rows under named columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table of these columns, without rows.
    pub fn new<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            columns: columns.into_iter().map(str::to_owned).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    #[must_use]
    pub fn with_row<'a>(mut self, values: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let values = values.into_iter();
        self.rows
            .push(values.map(|value| value.map(Into::into)).collect());
        self
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row {
            columns: &self.columns,
            cells,
        })
    }
}

/// One row of a [`Table`].
#[derive(Clone, Copy)]
pub struct Row<'a> {
    columns: &'a [String],
    cells: &'a [Cell],
}

impl<'a> Row<'a> {
    /// The value in a column; `None` where there is no such column, or NULL, or no UTF-8 in it.
    /// The column's name is compared without regard to case: servers differ in it.
    pub fn value(self, column: &str) -> Option<&'a str> {
        let at = self
            .columns
            .iter()
            .position(|name| name.eq_ignore_ascii_case(column))?;
        let cell = self.cells.get(at)?.as_deref()?;
        std::str::from_utf8(cell).ok()
    }

    /// The values in their order, NULL as `None`.
    pub fn values(self) -> impl Iterator<Item = Option<&'a [u8]>> {
        self.cells.iter().map(Option::as_deref)
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.cells.iter().map(|cell| {
            let text = cell.as_deref();
            text.map(String::from_utf8_lossy)
        });
        f.debug_map()
            .entries(self.columns.iter().zip(values))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_columns() {
        let table =
            Table::new(["Slave_IO_Running", "Seconds_Behind_Master"]).with_row([Some("Yes"), None]);
        let rows: Vec<_> = table.rows().collect();
        assert_eq!(rows[0].value("slave_io_running"), Some("Yes"));
        assert_eq!(rows[0].value("Seconds_Behind_Master"), None);
        assert_eq!(rows[0].value("Seconds_Behind_Source"), None);
        assert_eq!(Answer::of(vec![table]).value(), Some(&b"Yes"[..]));
        assert_eq!(Answer::default().value(), None);
    }

    #[test]
    fn an_answer_keeps_no_more_than_its_room() {
        let mut answer = Answer::default();
        answer.begin_table();
        answer.push_column(b"text");
        let long = vec![b'x'; ANSWER_LENGTH_MAX];
        answer.push_row([Some(&long[..])]);
        assert!(answer.is_full());
        let kept = answer.value().map(<[u8]>::len);
        assert_eq!(kept, Some(ANSWER_LENGTH_MAX - "text".len()));
        answer.begin_table();
        assert_eq!(answer.tables().len(), 1);
    }

    #[test]
    fn empty_values_take_room_too() {
        let mut answer = Answer::default();
        answer.begin_table();
        while !answer.is_full() {
            answer.push_row([None, Some(&b""[..])]);
        }
        assert!(answer.tables()[0].rows().len() <= CELLS_MAX);
    }
}
