//! What one probe costs a server: the figures of `docs/probe-depths.md` that `explain` counts with.
//!
//! One row per product, depth and path, over TCP without TLS, as that page has them. A login of
//! another kind (TLS, a unix socket, a user without privileges) costs what the page says.

use dbvitals_probe::Protocol;
use dbvitals_verdict::{Depth, Path};

/// The cost of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figures {
    /// Packets that say something.
    pub(super) packets: u64,
    /// What they carry, both directions together.
    pub(super) bytes: u64,
    /// Sessions that the server sees begin.
    pub(super) sessions: u64,
    /// Of all the server's threads and processes.
    pub(super) cpu_micros: u64,
    /// Under the server's default settings.
    pub(super) log_lines: u64,
}

type Row = (Depth, Path, u64, u64, u64, u64, u64);

/// Depth, path, packets, bytes, sessions, CPU in microseconds, log lines.
const MARIADB: [Row; 14] = [
    (Depth::Listening, Path::Fresh, 0, 0, 0, 0, 0),
    (Depth::Connect, Path::Fresh, 3, 0, 0, 0, 0),
    (Depth::Greeting, Path::Fresh, 8, 236, 1, 30, 0),
    (Depth::Login, Path::Fresh, 8, 236, 1, 30, 0),
    (Depth::Ping, Path::Held, 2, 16, 0, 6, 0),
    (Depth::Ping, Path::Fresh, 10, 252, 1, 40, 0),
    (Depth::Query, Path::Held, 3, 174, 0, 15, 0),
    (Depth::Query, Path::Fresh, 11, 410, 1, 60, 0),
    (Depth::Role, Path::Held, 4, 3192, 0, 40, 0),
    (Depth::Role, Path::Fresh, 12, 3428, 1, 80, 0),
    (Depth::Lag, Path::Held, 4, 3192, 0, 40, 0),
    (Depth::Lag, Path::Fresh, 12, 3428, 1, 80, 0),
    (Depth::Write, Path::Held, 8, 3465, 0, 150, 0),
    (Depth::Write, Path::Fresh, 16, 3701, 1, 220, 0),
];

const POSTGRES: [Row; 14] = [
    (Depth::Listening, Path::Fresh, 0, 0, 0, 0, 0),
    (Depth::Connect, Path::Fresh, 3, 0, 0, 0, 0),
    (Depth::Greeting, Path::Fresh, 6, 108, 1, 2000, 0),
    (Depth::Login, Path::Fresh, 11, 898, 1, 2700, 0),
    (Depth::Ping, Path::Held, 2, 17, 0, 6, 0),
    (Depth::Ping, Path::Fresh, 13, 915, 1, 2800, 0),
    (Depth::Query, Path::Held, 2, 80, 0, 10, 0),
    (Depth::Query, Path::Fresh, 13, 978, 1, 3000, 0),
    (Depth::Role, Path::Held, 2, 617, 0, 60, 0),
    (Depth::Role, Path::Fresh, 13, 1515, 1, 3000, 0),
    (Depth::Lag, Path::Held, 2, 1193, 0, 140, 0),
    (Depth::Lag, Path::Fresh, 13, 2091, 1, 3600, 0),
    (Depth::Write, Path::Held, 4, 963, 0, 120, 0),
    (Depth::Write, Path::Fresh, 15, 1861, 1, 3500, 0),
];

/// A greeting that is read without a user, who is refused then.
const STRANGER_TO_MARIADB: Row = (Depth::Greeting, Path::Fresh, 7, 258, 1, 30, 1);
const STRANGER_TO_POSTGRES: Row = (Depth::Greeting, Path::Fresh, 6, 94, 1, 2000, 0);

/// What one probe costs; `None` where the page has no figure.
pub(super) fn figures(protocol: Protocol, user: bool, depth: Depth, path: Path) -> Option<Figures> {
    let (rows, stranger) = match protocol {
        Protocol::MySql | Protocol::Opaque => (&MARIADB, STRANGER_TO_MARIADB),
        Protocol::Postgres => (&POSTGRES, STRANGER_TO_POSTGRES),
    };
    let own = [stranger].into_iter().filter(|_| !user);
    let mut rows = own.chain(rows.iter().copied());
    let found = rows.find(|row| (row.0, row.1) == (depth, path));
    found.map(
        |(_, _, packets, bytes, sessions, cpu_micros, log_lines)| Figures {
            packets,
            bytes,
            sessions,
            cpu_micros,
            log_lines,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "../../docs/probe-depths.md";

    /// Depth, path, way and figures of each row of a product's table.
    fn rows(product: &str) -> Vec<(Depth, Path, String, Vec<u64>)> {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
        let page = std::fs::read_to_string(page).unwrap();
        let (_, section) = page.split_once(&format!("\n### {product}")).unwrap();
        let section = section.split("\n### ").next().unwrap();
        let row = |line: &str| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [_, depth, path, way, figures @ ..] = &cells[..] else {
                return None;
            };
            let paths = [Path::Held, Path::Fresh];
            let path = paths.into_iter().find(|it| it.name() == *path)?;
            let figures = figures.iter().map(|cell| cell.replace(',', "").parse());
            let figures: Vec<u64> = figures.map_while(Result::ok).collect();
            Some((depth.parse().ok()?, path, (*way).to_owned(), figures))
        };
        section.lines().filter_map(row).collect()
    }

    #[test]
    fn the_figures_are_those_of_the_page() {
        for (product, protocol) in [
            ("MariaDB", Protocol::MySql),
            ("PostgreSQL", Protocol::Postgres),
        ] {
            let mut compared = 0;
            for (depth, path, way, cells) in rows(product) {
                let user = match way.as_str() {
                    "TCP" => true,
                    "TCP, no user" => false,
                    _ => continue,
                };
                let [packets, _, bytes, _, sessions, cpu_micros, log_lines, _] = cells[..] else {
                    panic!("{product}, {depth}: {cells:?}");
                };
                let expected = Figures {
                    packets,
                    bytes,
                    sessions,
                    cpu_micros,
                    log_lines,
                };
                let ours = figures(protocol, user, depth, path);
                assert_eq!(ours, Some(expected), "{product}, {depth}, {}", path.name());
                compared += 1;
            }
            assert_eq!(compared, 15, "{product}");
        }
    }

    #[test]
    fn every_question_of_every_course_has_its_figures() {
        let products = [Protocol::MySql, Protocol::Postgres];
        for depth in Depth::ALL {
            for protocol in products {
                assert!(figures(protocol, true, depth, Path::Fresh).is_some());
                let held = figures(protocol, true, depth, Path::Held);
                assert_eq!(held.is_some(), depth.fits_held_session(), "{depth}");
            }
        }
    }
}
