//! Every fault of the catalogue is told right, at each depth and under `serve`, in time.

use std::path::Path;

use dbvitals_testkit::{FaultReport, fault_catalogue, require_servers};
use dbvitals_verdict::{Cause, Verdict};

#[test]
fn every_fault_is_told_right_and_in_time() {
    require_servers!();
    let report = FaultReport::run(Path::new(env!("CARGO_BIN_EXE_dbvitals")), "");
    println!("{report}");
    assert!(report.cells() > 0);
    let wrong = report.wrong();
    assert!(
        wrong.is_empty(),
        "{} cells are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_truths_are_told_in_the_programs_own_words() {
    let verdicts = [
        Verdict::Unknown,
        Verdict::Up,
        Verdict::Degraded,
        Verdict::Down,
    ];
    for fault in fault_catalogue() {
        let checks = fault.checks.iter().map(|check| check.truth);
        let steps = fault.watch.iter().flat_map(|watch| watch.steps);
        for truth in checks.chain(steps.map(|step| step.truth)) {
            let is_known = verdicts
                .iter()
                .any(|verdict| verdict.name() == truth.verdict);
            assert!(is_known, "{}: {truth:?}", fault.name);
            for cause in truth.causes.iter().filter(|cause| !cause.is_empty()) {
                assert!(cause.parse::<Cause>().is_ok(), "{}: {cause}", fault.name);
            }
        }
    }
}
