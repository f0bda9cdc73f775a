//! The log: transitions always, probes on request, through a writer that never waits.
//!
//! Lines go to standard error by way of a bounded queue and a thread of its own. Where standard
//! error is blocked and the queue full, lines are lost, not probes; how many is said at the end.
//! They are text, text as the systemd journal likes it, or JSON.

use std::io;
use std::time::Duration;

use dbvitals_verdict::{Cause, Change, Observation, Standing, Transition, Verdict};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;

use crate::agent::board::BackendBoard;
use crate::cli::LogFormat;
use crate::duration;
use crate::journal::{self, Prefixed};

/// Starts the log; it ends, and is written out, when the guard is dropped.
pub(crate) fn start(debug: bool, format: LogFormat) -> WorkerGuard {
    let (writer, guard): (NonBlocking, _) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(10_000)
        .finish(io::stderr());
    let level = match debug {
        true => LevelFilter::DEBUG,
        false => LevelFilter::INFO,
    };
    let colours = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let log = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_target(false)
        .with_max_level(level);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text if journal::is_read() => log
            .with_ansi(false)
            .without_time()
            .with_level(false)
            .map_event_format(Prefixed)
            .init(),
        LogFormat::Text => log.with_ansi(colours).init(),
    }
    guard
}

/// Logs a transition with what it rests on.
pub(crate) fn transition(backend: &BackendBoard, transition: &Transition) {
    let name = &*backend.name;
    let evidence = &transition.evidence;
    match transition.change {
        Change::Verdict { from, to } => {
            let cause = evidence.cause.map(Cause::name);
            let detail = evidence
                .decisive()
                .filter(|_| to != Verdict::Up)
                .and_then(|observation| observation.detail.as_deref());
            match to {
                Verdict::Up => tracing::info!(backend = name, %from, %to, "verdict changed"),
                Verdict::Unknown | Verdict::Degraded | Verdict::Down => {
                    let (held, fresh) = (word(&evidence.held), word(&evidence.fresh));
                    tracing::warn!(
                        backend = name, %from, %to, cause, held, fresh, detail,
                        "verdict changed"
                    );
                }
            }
        }
        Change::Role { from, to } => {
            let from = from.map(|role| role.name());
            tracing::warn!(backend = name, from, to = to.name(), "role changed");
        }
        Change::Admin { from, to } => {
            tracing::info!(backend = name, %from, %to, "admin state changed");
        }
    }
}

/// What a path saw last, in a word: a cause, or that all is well.
pub(crate) fn word(observation: &Option<Observation>) -> Option<&'static str> {
    let observation = observation.as_ref()?;
    Some(observation.outcome.cause().map_or("pass", Cause::name))
}

/// Logs that a held session was lost while a fresh one works.
pub(crate) fn session_lost(backend: &BackendBoard, standing: &Standing) {
    let why = standing.evidence.held.as_ref();
    tracing::info!(
        backend = &*backend.name,
        lost = standing.sessions_lost,
        detail = why.and_then(|observation| observation.detail.as_deref()),
        "a held session was lost, a fresh one works"
    );
}

/// Logs that the agent was late, which is nobody's fault but its own.
pub(crate) fn stall(late: Duration, stalls: u64) {
    tracing::warn!(
        late = %duration::show(late),
        stalls,
        "the agent was too late to judge anybody: timeouts of that time are agent_stalled"
    );
}

/// Logs what a look at the accept queue found wrong, before anybody was asked, or that it is over.
pub(crate) fn queue(backend: &BackendBoard, observation: &Observation) {
    let name = &*backend.name;
    let detail = observation.detail.as_deref();
    match observation.outcome.cause() {
        None => tracing::info!(backend = name, "the accept queue has room and moves again"),
        Some(Cause::NotAccepting) => tracing::warn!(
            backend = name,
            cause = Cause::NotAccepting.name(),
            detail,
            "suspected to be frozen: clients wait and nobody is accepted"
        ),
        Some(cause) => tracing::warn!(backend = name, %cause, detail, "the accept queue is full"),
    }
}

/// Logs that the check fails by the checker's own fault.
pub(crate) fn own_fault(backend: &BackendBoard, cause: Cause, detail: Option<&str>) {
    tracing::warn!(
        backend = &*backend.name,
        %cause,
        detail,
        "the check itself fails; that alone takes no server out of rotation"
    );
}

/// Logs a probe, where that was asked for.
pub(crate) fn observation(backend: &BackendBoard, observation: &Observation) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let phases: Vec<_> = observation
        .phases
        .iter()
        .map(|(phase, took, _)| format!("{phase} {}", duration::show(took)))
        .collect();
    tracing::debug!(
        backend = &*backend.name,
        path = observation.path.name(),
        outcome = observation.outcome.cause().map_or("pass", Cause::name),
        took = %duration::show(observation.took()),
        phases = phases.join(", "),
        detail = observation.detail.as_deref(),
        "probe ended"
    );
}
