//! The JSON of `demo`: schema `dbvitals.demo.v1`, one object per line. Fields are only ever added.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use dbvitals_verdict::{Cause, Moment};
use serde::Serialize;

use crate::demo::outcome::{Ledger, Outcome};
use crate::demo::script::{Expected, Scene};
use crate::demo::stage::Stage;
use crate::report::rounded_ms;

/// One line; `at_ms` counts from the start of the agent.
#[derive(Debug, Serialize)]
struct Line<T> {
    schema: &'static str,
    at_ms: f64,
    #[serde(flatten)]
    what: T,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum What {
    Opening {
        http: SocketAddr,
        page: String,
        servers: Vec<ServerEntry>,
    },
    Scene {
        server: &'static str,
        scene: &'static str,
        mood: &'static str,
        sentence: &'static str,
    },
    Outcome(OutcomeEntry),
    End {
        scenes: u64,
        right: u64,
        wrong: u64,
        late: u64,
    },
}

#[derive(Debug, Serialize)]
struct ServerEntry {
    name: &'static str,
    product: &'static str,
    address: SocketAddr,
    gate: SocketAddr,
}

#[derive(Debug, Serialize)]
struct OutcomeEntry {
    server: &'static str,
    scene: &'static str,
    mood: &'static str,
    expected: ExpectedEntry,
    verdict: &'static str,
    cause: Option<&'static str>,
    detail: Option<String>,
    noticed_after_ms: Option<f64>,
    promised_ms: Option<f64>,
    late: bool,
    passes: u64,
    pass_ms_mean: Option<f64>,
    gate: &'static str,
    gate_changed_after_ms: Option<f64>,
    right: bool,
}

#[derive(Debug, Serialize)]
struct ExpectedEntry {
    verdict: &'static str,
    /// Whether no other verdict may come in between.
    stays: bool,
    causes: Vec<&'static str>,
    gate: &'static str,
}

pub(super) fn write_opening(out: &mut dyn Write, stage: &Stage) -> io::Result<()> {
    let servers = stage.cast().iter().map(|member| ServerEntry {
        name: member.name.name(),
        product: member.name.dialect().product(),
        address: member.server.address(),
        gate: member.gate(),
    });
    let what = What::Opening {
        http: stage.http,
        page: stage.page(),
        servers: servers.collect(),
    };
    write(out, stage.started, what)
}

pub(super) fn write_scene(out: &mut dyn Write, at: Moment, scene: &Scene) -> io::Result<()> {
    let what = What::Scene {
        server: scene.server.name(),
        scene: scene.title,
        mood: scene.mood.name(),
        sentence: scene.sentence,
    };
    write(out, at, what)
}

pub(super) fn write_outcome(out: &mut dyn Write, outcome: &Outcome) -> io::Result<()> {
    let Outcome { scene, gate, .. } = outcome;
    let entry = OutcomeEntry {
        server: scene.server.name(),
        scene: scene.title,
        mood: scene.mood.name(),
        expected: expected_entry(scene.expected),
        verdict: outcome.verdict.name(),
        cause: outcome.cause.map(Cause::name),
        detail: outcome.detail.as_deref().map(str::to_owned),
        noticed_after_ms: outcome.noticed.map(rounded_ms),
        promised_ms: outcome.promised.map(rounded_ms),
        late: outcome.is_late(),
        passes: outcome.passes.count,
        pass_ms_mean: outcome.passes.mean().map(rounded_ms),
        gate: gate.word(),
        gate_changed_after_ms: gate.changed_after().map(rounded_ms),
        right: outcome.is_right(),
    };
    write(out, outcome.at, What::Outcome(entry))
}

pub(super) fn write_end(out: &mut dyn Write, at: Moment, ledger: &Ledger) -> io::Result<()> {
    let what = What::End {
        scenes: ledger.scenes,
        right: ledger.scenes - ledger.wrong,
        wrong: ledger.wrong,
        late: ledger.late,
    };
    write(out, at, what)
}

fn expected_entry(expected: Expected) -> ExpectedEntry {
    let (stays, causes) = match expected {
        Expected::StaysUp(_) => (true, &[][..]),
        Expected::Becomes(_, causes, _) => (false, causes),
    };
    ExpectedEntry {
        verdict: expected.verdict().name(),
        stays,
        causes: causes.iter().map(|cause| cause.name()).collect(),
        gate: match expected.opens_gate() {
            true => "open",
            false => "closed",
        },
    }
}

fn write(out: &mut dyn Write, at: Moment, what: What) -> io::Result<()> {
    let since_start: Duration = at.since(Moment::ORIGIN);
    let line = Line {
        schema: "dbvitals.demo.v1",
        at_ms: rounded_ms(since_start),
        what,
    };
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)
}
