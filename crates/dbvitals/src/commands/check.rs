//! `check`: one shot at each target, and a ladder that shows how far it went.

use std::io::{self, Write};
use std::sync::Arc;

use dbvitals_probe::{Statement, TargetId};
use dbvitals_verdict::{Depth, Verdict};

use super::{Asked, read_targets};
use crate::cli::CheckArgs;
use crate::exit::Exit;
use crate::expectation::Expectation;
use crate::misuse::{Misuse, tell};
use crate::probing::Asker;
use crate::report::{Finding, document, plugin_line, print_ladder, remedy};
use crate::shared_parts::SharedParts;

/// Probes every target once, or `--count` times, and reports.
pub(crate) fn run(args: &CheckArgs, json: bool) -> anyhow::Result<Exit> {
    let statement = args.query.as_ref().map(|sql| {
        Arc::new(Statement {
            sql: sql.clone(),
            equals: args.equals.clone(),
        })
    });
    let depth = match (args.depth, &statement) {
        (Some(depth), Some(_)) => Some(depth.max(Depth::Query)),
        (None, Some(_)) => Some(Depth::Query),
        (depth, None) => depth,
    };
    let asked = Asked {
        depth,
        expectation: Expectation {
            want: args.expect,
            max_lag: args.max_lag,
        },
        ..Asked::default()
    };
    let mut shared = SharedParts::default();
    let mut targets = read_targets(&args.targets, asked, &args.password, &mut shared)?;
    for (_, target, _) in &mut targets {
        target.statement.clone_from(&statement);
    }
    let mut asker = Asker::new(targets.iter().map(|(_, target, _)| target.clone()))?;
    let questions: Vec<_> = (0..)
        .map(TargetId)
        .zip(&targets)
        .map(|(id, (_, _, depth))| (id, *depth))
        .collect();
    let mut worst = Exit::Fine;
    let mut next_round = asker.clock.now();
    for round in 0..args.count {
        if round > 0 {
            next_round = next_round + args.interval;
            asker.sleep_until(next_round)?;
        }
        let mut observations = asker.ask(&questions, args.timeout)?;
        if let Some(budget) = args.slow_over {
            observations
                .iter_mut()
                .for_each(|observation| observation.hold_against_budget(budget));
        }
        let findings: Vec<_> = targets
            .iter()
            .zip(&observations)
            .map(|((url, _, depth), observation)| Finding {
                target: url,
                depth: *depth,
                observation,
            })
            .collect();
        print(&findings, args.nagios, json).map_err(told_of_stdout)?;
        complain(&findings);
        asker.say_goodbyes()?;
        worst = findings.iter().map(Finding::exit).fold(worst, Exit::worst);
    }
    Ok(worst)
}

fn print(findings: &[Finding<'_>], nagios: bool, json: bool) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &document(findings))?;
        writeln!(out)?;
    } else if nagios {
        writeln!(out, "{}", plugin_line(findings))?;
    } else {
        for finding in findings {
            print_ladder(&mut out, finding)?;
        }
    }
    out.flush()
}

/// Says on standard error where the asker, not a server, is at fault.
fn complain(findings: &[Finding<'_>]) {
    for finding in findings {
        if let Some(cause) = finding.cause().filter(|_| is_misuse(finding)) {
            tell(&format!(
                "{}: {} {}",
                finding.target.name,
                finding.detail(),
                remedy(cause, finding.target, finding.observation)
            ));
        }
    }
}

/// Whether a probe ended by the asker's own fault, and proves nothing about any server.
fn is_misuse(finding: &Finding<'_>) -> bool {
    finding.verdict() == Verdict::Unknown
}

fn told_of_stdout(error: io::Error) -> anyhow::Error {
    // Whoever closed the pipe has read enough; that is nobody's mistake.
    if error.kind() == io::ErrorKind::BrokenPipe {
        return error.into();
    }
    Misuse(format!(
        "cannot write the report to standard output: {error}"
    ))
    .into()
}
