//! `queues`: is an accept queue overflowing, whose, and since when.
//!
//! ```text
//!   Scope ── sample ──▶ Found ── snapshot ──▶ Snapshot ──▶ page, document
//!     (namespaces, places)  └─ watch ─▶ History ─▶ events ─┘   with sentences by explanation
//! ```
//!
//! Exit codes: 1 where a queue is over 80 % of what fits, or overflowed during the watch; 2 where
//! one is full, or nothing listens where it was asked.

mod document;
mod explanation;
mod history;
mod judgement;
mod page;
mod place;
mod scope;
mod setting;
mod watch;

use std::io::Write;

use self::document::document;
use self::page::write_page;
use self::scope::Scope;
use crate::cli::QueuesArgs;
use crate::exit::Exit;
use crate::misuse::tell;

/// Looks once, or watches.
pub(crate) fn run(args: &QueuesArgs, json: bool) -> anyhow::Result<Exit> {
    let mut scope = Scope::open(args)?;
    if args.watch {
        return watch::watch(scope, args, json);
    }
    let (found, samples) = scope.sample()?;
    let lengths = found.iter().map(|found| judgement::of(&found.listener));
    let mut exit = lengths.fold(Exit::Fine, Exit::worst);
    let vacant = scope.vacant(&samples);
    if !vacant.is_empty() {
        exit = Exit::Critical;
        let others = match (scope.others(), args.everywhere) {
            (0, _) | (_, true) => String::new(),
            (1, false) => "; one more is on this machine, and --everywhere looks there".to_owned(),
            (others, false) => {
                format!("; {others} more are on this machine, and --everywhere looks there")
            }
        };
        for place in vacant {
            tell(&format!(
                "nothing listens at {place} in this network namespace{others}"
            ));
        }
    }
    let is_named = !scope.places.is_empty();
    let snapshot = scope.snapshot(found, &samples)?;
    let mut out = anstream::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &document(&snapshot, is_named))?;
        writeln!(out)?;
    } else if !snapshot.entries.is_empty() {
        write_page(&mut out, &snapshot, is_named)?;
    }
    out.flush()?;
    Ok(exit)
}
