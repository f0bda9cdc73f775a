//! The rows: what can be measured, a file each.

mod build;
mod cost;
mod growth;
mod health;
mod memory;
mod ping;
mod punctuality;
mod start;
mod verdict;

use crate::bench::Bench;
use crate::sheet::Sheet;

/// One row of the benchmarks.
pub(crate) struct Row {
    /// The subcommand.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Measures; a sheet for each case.
    pub(crate) run: fn(&Bench) -> anyhow::Result<Vec<Sheet>>,
}

/// The rows, in the order in which `all` measures them.
pub(crate) const ALL: &[Row] = &[
    ping::ROW,
    cost::ROW,
    memory::ROW,
    punctuality::ROW,
    verdict::MYSQL,
    verdict::POSTGRES,
    health::ROW,
    start::ROW,
    growth::ROW,
];

/// Those that take minutes by themselves: `all` measures them where that is asked for.
pub(crate) const SLOW: &[Row] = &[build::ROW];
