//! The hooks' part of `/metrics`.

use std::fmt::{self, Write};

use super::{Label, head};
use crate::agent::hooks::HookRecords;

/// Writes the counters of all hooks, those at zero too; nothing where there are no hooks.
pub(crate) fn write(out: &mut String, records: &HookRecords) -> fmt::Result {
    let hooks = records.all();
    if hooks.is_empty() {
        return Ok(());
    }
    let name = "dbvitals_hook_runs_total";
    head(out, name, "counter", "Runs of hooks, by how they ended.")?;
    for (hook, record) in &hooks {
        let hook = Label(hook);
        for (outcome, count) in record.counts() {
            let outcome = outcome.name();
            writeln!(
                out,
                "{name}{{hook=\"{hook}\",outcome=\"{outcome}\"}} {count}"
            )?;
        }
    }
    Ok(())
}
