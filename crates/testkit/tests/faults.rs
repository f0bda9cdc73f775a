//! The catalogue of faults agrees with itself and with the document that is made of it.

use std::collections::{BTreeMap, BTreeSet};

use dbvitals_testkit::{Column, fault_catalogue};

const DOCUMENT: &str = include_str!("../../../docs/faults.md");

#[test]
fn each_fault_has_a_name_of_its_own_and_something_to_say() {
    let mut seen = BTreeSet::new();
    for fault in fault_catalogue() {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(
            !fault.name.is_empty() && fault.name.chars().all(plain),
            "{fault:?}"
        );
        assert!(
            fault.what.ends_with('.') && fault.what.len() <= 100,
            "{}",
            fault.what
        );
        assert!(!fault.on.is_empty(), "{fault:?}");
        for stand in fault.on {
            assert!(
                seen.insert(format!("{} on {stand}", fault.name)),
                "{}: twice",
                fault.name
            );
        }
        let columns = Column::ALL.map(|column| column.tellings(&fault).len());
        assert!(
            columns.iter().sum::<usize>() > 0,
            "{}: nothing is asked",
            fault.name
        );
    }
}

#[test]
fn the_document_has_the_catalogues_rows_with_the_catalogues_truths() {
    let mut rows = tables("| fault | on |").into_iter();
    for fault in fault_catalogue() {
        for stand in fault.on {
            let row = rows
                .next()
                .expect("a row of the document for each of the catalogue");
            assert_eq!(row["fault"], fault.name);
            assert_eq!(row["on"], stand.to_string());
            for column in Column::ALL {
                let cell = row.get(column.name()).map_or("–", String::as_str);
                // The report marked it; the program's own test fails for it.
                if cell.starts_with("WRONG ") {
                    continue;
                }
                let tellings = column.tellings(&fault);
                let said = without_seconds(cell);
                let right = match tellings.is_empty() {
                    true => said == "–",
                    false => tellings.contains(&said),
                };
                let name = fault.name;
                assert!(
                    right,
                    "{name} on {stand}, {column}: {cell}, not {tellings:?}"
                );
            }
        }
    }
    assert_eq!(rows.next(), None, "a row too many");
}

#[test]
fn the_document_says_what_is_done_under_a_heading_for_each_kind() {
    let mut rows = tables("| fault | what is done |").into_iter();
    let mut told = BTreeSet::new();
    for fault in fault_catalogue() {
        if told.insert((fault.name, fault.what)) {
            let row = rows.next().expect("a row of the document for each fault");
            assert_eq!(row["fault"], fault.name);
            assert_eq!(row["what is done"], fault.what);
        }
        let heading = format!("## {}", fault.group);
        assert!(DOCUMENT.lines().any(|line| line == heading), "{heading}");
    }
    assert_eq!(rows.next(), None, "a row too many");
}

#[test]
fn the_document_counts_its_cells() {
    let rows = tables("| fault | on |").into_iter();
    let cells = rows.flat_map(|row| row.into_iter().filter(|(column, _)| is_asked(column)));
    let cells: Vec<_> = cells
        .map(|(_, cell)| cell)
        .filter(|cell| cell != "–" && cell != "left out")
        .collect();
    let wrong = cells.iter().filter(|cell| cell.starts_with("WRONG "));
    let right = cells.len() - wrong.count();
    let sum = format!("**{} cells, {right} of them right.**", cells.len());
    assert!(DOCUMENT.contains(&sum), "{sum}");
}

fn is_asked(column: &str) -> bool {
    Column::ALL.iter().any(|it| it.name() == column)
}

/// The rows of all of the document's tables that begin so, each cell with the head of its column.
fn tables(head: &str) -> Vec<BTreeMap<String, String>> {
    let mut rows = Vec::new();
    let mut lines = DOCUMENT.lines();
    while let Some(first) = lines.find(|line| line.starts_with(head)) {
        let columns = cells(first);
        let body = lines.by_ref().skip(1);
        for row in body.take_while(|line| line.starts_with('|')) {
            rows.push(columns.iter().cloned().zip(cells(row)).collect());
        }
    }
    rows
}

fn cells(row: &str) -> Vec<String> {
    let cells = row.trim_matches('|').split('|');
    cells.map(|cell| cell.trim().to_owned()).collect()
}

/// `down: refused, 0.00 s; up, 0.84 s` without the times.
fn without_seconds(cell: &str) -> String {
    let parts = cell.split("; ").map(|part| match part.rsplit_once(", ") {
        Some((said, time)) if time.ends_with(" s") => said,
        _ => part,
    });
    parts.collect::<Vec<_>>().join("; ")
}
