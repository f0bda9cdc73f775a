//! Lines of coloured text that know their width, so that they can be cut to a terminal's.
//!
//! Servers have a say in what is shown, and terminals obey control characters: none gets through.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

pub(super) const PLAIN: Style = Style::new();
pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const ALARM: Style = AnsiColor::Red.on_default().bold();

/// Text in one style.
pub(super) type Span = (Style, String);

/// Text, line by line.
#[derive(Debug, Default)]
pub(super) struct Page {
    lines: Vec<Vec<Span>>,
}

/// A table whose columns are as wide as they have to be; empty ones are left out.
#[derive(Debug)]
pub(super) struct Columns {
    heads: Vec<&'static str>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<Span>,
    /// Lines that belong to it, below.
    notes: Vec<Vec<Span>>,
}

impl Page {
    /// Adds a line.
    pub(super) fn line(&mut self, spans: impl IntoIterator<Item = Span>) {
        let clean = |(style, text): Span| (style, clean(&text));
        self.lines.push(spans.into_iter().map(clean).collect());
    }

    /// Adds an empty line.
    pub(super) fn gap(&mut self) {
        self.lines.push(Vec::new());
    }

    /// Adds another page's lines.
    pub(super) fn append(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Keeps so many lines.
    pub(super) fn cut(&mut self, lines: usize) {
        self.lines.truncate(lines);
    }

    /// Writes all lines, no wider than that many columns where that is given.
    pub(super) fn write(&self, out: &mut impl Write, columns: Option<usize>) -> io::Result<()> {
        for line in &self.lines {
            write_line(out, line, columns, true)?;
            writeln!(out)?;
        }
        Ok(())
    }

    /// Writes over what is on a terminal, line by line, and clears the rest.
    pub(super) fn draw(
        &self,
        out: &mut impl Write,
        columns: usize,
        with_colours: bool,
    ) -> io::Result<()> {
        write!(out, "\x1b[H")?;
        for (number, line) in self.lines.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            write_line(out, line, Some(columns), with_colours)?;
            write!(out, "\x1b[K")?;
        }
        write!(out, "\x1b[J")
    }
}

fn write_line(
    out: &mut impl Write,
    line: &[Span],
    columns: Option<usize>,
    with_colours: bool,
) -> io::Result<()> {
    let width: usize = line.iter().map(|(_, text)| text.chars().count()).sum();
    let mut left = columns.filter(|columns| width > *columns);
    for (style, text) in line {
        let shown: String = match &mut left {
            None => text.clone(),
            Some(left) => {
                let shown: String = text.chars().take(left.saturating_sub(1)).collect();
                *left = left.saturating_sub(text.chars().count().min(*left));
                shown
            }
        };
        match with_colours {
            true => write!(out, "{style}{shown}{style:#}")?,
            false => write!(out, "{shown}")?,
        }
        if left == Some(0) {
            return write!(out, "…");
        }
    }
    Ok(())
}

impl Columns {
    pub(super) fn new(heads: &[&'static str]) -> Self {
        Self {
            heads: heads.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, with lines that stand below it.
    pub(super) fn row(&mut self, cells: Vec<Span>, notes: Vec<Vec<Span>>) {
        self.rows.push(Row { cells, notes });
    }

    /// Adds all of it to a page.
    pub(super) fn add_to(self, page: &mut Page) {
        let widths: Vec<usize> = (0..self.heads.len()).map(|it| self.width(it)).collect();
        let heads = self.heads.iter().map(|head| (DIM, (*head).to_owned()));
        page.line(padded(heads, &widths));
        for row in self.rows {
            page.line(padded(row.cells, &widths));
            for note in row.notes {
                page.line(note);
            }
        }
    }

    /// The width of a column: 0 where it says nothing.
    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.cells.get(column));
        let widest = cells.map(|(_, text)| clean(text).chars().count()).max();
        match widest.unwrap_or_default() {
            0 => 0,
            widest => widest.max(self.heads[column].len()),
        }
    }
}

fn padded(cells: impl IntoIterator<Item = Span>, widths: &[usize]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for ((style, text), width) in cells.into_iter().zip(widths).filter(|(_, it)| **it > 0) {
        let gap = if spans.is_empty() { "" } else { "  " };
        let text = clean(&text);
        let pad = width.saturating_sub(text.chars().count());
        spans.push((PLAIN, gap.to_owned()));
        spans.push((style, text));
        spans.push((PLAIN, " ".repeat(pad)));
    }
    // Nothing is to be seen of space at the end.
    while spans.last().is_some_and(|(_, text)| text.trim().is_empty()) {
        spans.pop();
    }
    spans
}

/// The text without anything that a terminal would obey, or that would turn it around.
pub(in crate::commands) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' | '\r' => clean.push(' '),
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                clean.extend(letter.escape_unicode());
            }
            letter if letter.is_control() => clean.extend(letter.escape_unicode()),
            letter => clean.push(letter),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(page: &Page, columns: Option<usize>) -> String {
        let mut out = Vec::new();
        page.write(&mut out, columns).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn plain(text: &str) -> Span {
        (PLAIN, text.to_owned())
    }

    #[test]
    fn columns_are_as_wide_as_they_have_to_be_and_empty_ones_are_left_out() {
        let mut columns = Columns::new(&["name", "role", "age"]);
        columns.row(vec![plain("orders-1"), plain(""), plain("3 s")], Vec::new());
        columns.row(
            vec![plain("a"), plain(""), plain("")],
            vec![vec![plain("  note")]],
        );
        let mut page = Page::default();
        columns.add_to(&mut page);
        let text = written(&page, None);
        let text = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(text, "name      age\norders-1  3 s\na\n  note\n");
    }

    #[test]
    fn a_line_that_is_too_long_says_so() {
        let mut page = Page::default();
        page.line([plain("abc"), plain("def")]);
        assert_eq!(written(&page, Some(6)), "abcdef\n");
        assert_eq!(written(&page, Some(5)), "abcd…\n");
        assert_eq!(written(&page, Some(3)), "ab…\n");
        assert_eq!(written(&page, Some(1)), "…\n");
    }

    #[test]
    fn what_a_server_says_cannot_steer_a_terminal() {
        assert_eq!(clean("a\x1b[2Jb\x07"), "a\\u{1b}[2Jb\\u{7}");
        assert_eq!(clean("two\nlines"), "two lines");
        assert_eq!(clean("\u{9b}1m\u{202e}x"), "\\u{9b}1m\\u{202e}x");
        assert_eq!(clean("größer – 3 µs"), "größer – 3 µs");
    }
}
