//! The tables of `docs/probe-depths.md`, as far as a test can hold servers against them.

use dbvitals_verdict::{Depth, Path};

const DOCUMENT: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/probe-depths.md"
));

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Tcp,
    /// Over TCP, without a user.
    Stranger,
    /// Over TCP, as a user without any privilege.
    Unprivileged,
    Tls,
    Socket,
}

/// A line of a table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The line itself.
    pub(crate) text: String,
    pub(crate) depth: Depth,
    pub(crate) path: Path,
    pub(crate) way: Way,
    pub(crate) cost: Cost,
}

/// What one probe costs. A unix socket has no packets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cost {
    pub(crate) packets: Option<u64>,
    pub(crate) packets_in_all: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) round_trips: Option<u64>,
    pub(crate) sessions: u64,
    pub(crate) cpu_micros: f64,
    pub(crate) log_lines: u64,
    /// The last column, which is another one for each product: what is counted besides.
    pub(crate) besides: u64,
}

/// The rows of the table under this heading, in their order.
pub(crate) fn rows(heading: &str) -> Vec<Row> {
    let heading = format!("### {heading}");
    let lines = DOCUMENT.lines().skip_while(|line| *line != heading).skip(1);
    let rows: Vec<Row> = lines
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        // The names of the columns, and the rule below them.
        .skip(2)
        .map(row)
        .collect();
    assert!(!rows.is_empty(), "no table under {heading:?}");
    rows
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [depth, path, way, numbers @ ..] = &cells[..] else {
        panic!("too few columns: {line}");
    };
    let [packets, in_all, bytes, trips, sessions, cpu, log, besides] = numbers else {
        panic!("not the columns that are expected: {line}");
    };
    let number = |cell: &str| match cell {
        "–" => None,
        cell => Some(whole(cell, line)),
    };
    Row {
        text: line.to_owned(),
        depth: depth.parse().expect("a depth in the first column"),
        path: match *path {
            "held" => Path::Held,
            "fresh" => Path::Fresh,
            other => panic!("no path: {other:?}"),
        },
        way: match *way {
            "TCP" => Way::Tcp,
            "TCP, no user" => Way::Stranger,
            "TCP, no privileges" => Way::Unprivileged,
            "TLS" => Way::Tls,
            "socket" => Way::Socket,
            other => panic!("no way to a server: {other:?}"),
        },
        cost: Cost {
            packets: number(packets),
            packets_in_all: number(in_all),
            bytes: number(bytes),
            round_trips: number(trips),
            sessions: whole(sessions, line),
            cpu_micros: whole(cpu, line) as f64,
            log_lines: whole(log, line),
            besides: whole(besides, line),
        },
    }
}

/// A number, with a comma between its thousands.
fn whole(cell: &str, line: &str) -> u64 {
    let digits = cell.replace(',', "");
    let number = digits.parse();
    number.unwrap_or_else(|_| panic!("no number: {cell:?} in {line}"))
}

impl Row {
    /// The line with other figures, as it would stand in the document.
    pub(crate) fn with(&self, cost: &Cost) -> String {
        let names: Vec<&str> = self.text.split('|').take(4).collect();
        let packet = |number: Option<u64>| number.map_or("–".to_owned(), grouped);
        let cells = [
            packet(cost.packets),
            packet(cost.packets_in_all),
            packet(cost.bytes),
            packet(cost.round_trips),
            grouped(cost.sessions),
            grouped(cost.cpu_micros.round() as u64),
            grouped(cost.log_lines),
            grouped(cost.besides),
        ];
        format!("{}| {} |", names.join("|"), cells.join(" | "))
    }
}

fn grouped(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

/// How many bytes a write adds to this product's binary log or WAL.
pub(crate) fn log_bytes(product: &str) -> u64 {
    let line = DOCUMENT
        .lines()
        .find(|line| line.starts_with(&format!("| {product}, a write |")));
    let line = line.unwrap_or_else(|| panic!("no line for a write on {product}"));
    let cell = line.split('|').nth(2).map(str::trim);
    whole(cell.unwrap_or_default(), line)
}

/// The statements that make the table for writes, as the document has them after this remark.
pub(crate) fn table_sql(remark: &str) -> String {
    let lines = DOCUMENT.lines().skip_while(|line| *line != remark).skip(1);
    let statements = lines.take_while(|line| !line.starts_with("--") && !line.starts_with("```"));
    let sql: String = statements.collect::<Vec<_>>().join("\n");
    assert!(
        sql.contains("CREATE TABLE"),
        "no statements after {remark:?}"
    );
    sql
}
