//! What statements answered: small tables of text.
//!
//! A probe asks for a handful of values; whatever else a server sends is dropped, so an answer never
//! holds more than [`ANSWER_LENGTH_MAX`] bytes in [`ANSWER_CELLS_MAX`] cells. Written by the clients
//! of both protocols, read by whoever asked.

use std::fmt;

use crate::text;

/// How many bytes of names and values one answer keeps; what comes after them is cut off.
pub const ANSWER_LENGTH_MAX: usize = 64 << 10;

/// How many cells one answer keeps: names and values, empty ones too, and one more for each table
/// and each row, since a row need not have any value.
pub const ANSWER_CELLS_MAX: usize = 4096;

/// How many bytes of a value are kept as a word of [`Row::words`].
pub const WORD_LENGTH_MAX: usize = 128;

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
            cells: ANSWER_CELLS_MAX,
        }
    }
}

impl Room {
    /// A cell of its own, whatever will be in it.
    fn take_cell(&mut self) -> Option<()> {
        self.cells = self.cells.checked_sub(1)?;
        Some(())
    }

    /// As much of a value as there is room for.
    fn take_value<'a>(&mut self, value: &'a [u8]) -> Option<&'a [u8]> {
        self.take_cell()?;
        let kept = value.get(..self.length).unwrap_or(value);
        self.length -= kept.len();
        Some(kept)
    }

    /// As much of a name as there is room for. What is no UTF-8 in it is longer when it is kept.
    fn take_name(&mut self, name: &[u8]) -> Option<String> {
        self.take_cell()?;
        let kept = text::clean(name, self.length);
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
        if !self.is_full() && self.room.take_cell().is_some() {
            self.tables.push(Table::default());
        }
    }

    /// Names a column of the table that was begun last, unless that one is not kept.
    pub(crate) fn push_column(&mut self, name: &[u8]) {
        if self.is_full() {
            return;
        }
        if let Some(table) = self.tables.last_mut()
            && let Some(kept) = self.room.take_name(name)
        {
            table.columns.push(kept);
        }
    }

    /// Adds a row; what is left of it when the answer is full is missing.
    pub(crate) fn push_row<'a>(&mut self, values: impl IntoIterator<Item = Option<&'a [u8]>>) {
        if self.is_full() {
            return;
        }
        let Some(table) = self.tables.last_mut() else {
            return;
        };
        if self.room.take_cell().is_none() {
            return;
        }
        // No room is made for as many values as there are columns: a row may have fewer.
        let mut row = Vec::new();
        for value in values {
            let Some(kept) = self.room.take_value(value.unwrap_or_default()) else {
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

    /// The values in their order as words that may be shown, whatever a peer put into them: of at
    /// most [`WORD_LENGTH_MAX`] bytes, without control characters. NULL is `None`.
    pub fn words(self) -> impl Iterator<Item = Option<String>> {
        let word = |value| text::clean(value, WORD_LENGTH_MAX);
        self.values().map(move |value| value.map(word))
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
    fn words_are_short_and_harm_no_terminal() {
        let long = "x".repeat(2 * WORD_LENGTH_MAX);
        let table = Table::new(["a", "b", "c"]).with_row([Some("8.4\u{1b}[2J"), None, Some(&long)]);
        let words: Vec<_> = table.rows().flat_map(Row::words).collect();
        assert_eq!(words[..2], [Some("8.4 [2J".to_owned()), None]);
        assert_eq!(words[2].as_ref().map(String::len), Some(WORD_LENGTH_MAX));
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
        assert!(answer.tables()[0].rows().len() <= ANSWER_CELLS_MAX);
    }

    #[test]
    fn rows_without_values_take_room_too() {
        let mut answer = Answer::default();
        answer.begin_table();
        for _ in 0..2 * ANSWER_CELLS_MAX {
            answer.push_row([]);
        }
        assert_eq!(answer.tables()[0].rows().len(), ANSWER_CELLS_MAX - 1);
    }

    #[test]
    fn a_row_takes_no_memory_for_values_that_it_does_not_have() {
        let mut answer = Answer::default();
        answer.begin_table();
        for _ in 0..ANSWER_CELLS_MAX / 2 {
            answer.push_column(b"");
        }
        answer.push_row([None]);
        assert!(answer.tables[0].rows[0].capacity() < 16);
    }

    #[test]
    fn a_name_that_grows_when_it_becomes_text_takes_what_it_has_grown_to() {
        let mut answer = Answer::default();
        answer.begin_table();
        answer.push_column(&[0xff; ANSWER_LENGTH_MAX]);
        assert!(answer.tables()[0].columns()[0].len() <= ANSWER_LENGTH_MAX);
    }

    #[test]
    fn columns_that_are_not_kept_do_not_become_those_of_the_table_before() {
        let mut answer = Answer::default();
        answer.begin_table();
        answer.push_column(b"a");
        answer.push_row([Some(&[b'x'; ANSWER_LENGTH_MAX][..])]);
        answer.begin_table();
        answer.push_column(b"b");
        assert_eq!(answer.tables()[0].columns(), ["a"]);
    }
}
