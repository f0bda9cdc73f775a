//! The report finds out who lies: a program that calls everything up, and comes late.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use dbvitals_testkit::FaultReport;

/// Calls every target up, after 5 s by its own account, and watches nothing.
const LIAR: &str = r#"#!/bin/sh
echo '{"results":[{"verdict":"up","cause":null,"took_ms":5000.0}]}'
"#;

#[test]
fn a_program_that_calls_everything_up_and_late_is_found_out() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("liar");
    fs::write(&program, LIAR).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();

    // Two servers, each at five depths and watched, and only the connect is up.
    let report = FaultReport::run(&program, "tls_bytes");
    let wrong = report.wrong();
    assert_eq!((report.cells(), wrong.len()), (12, 12), "{report}");
    for wrong in &wrong {
        let is = |part: &str| wrong.contains(part);
        let late = is("the probe took 5000 ms");
        let untrue = is("right is down: wrong_protocol");
        match wrong {
            _ if is(", connect: ") => assert!(late && !untrue, "{wrong}"),
            _ if is(", serve: ") => assert!(untrue && is("the verdicts were []"), "{wrong}"),
            _ => assert!(late && untrue, "{wrong}"),
        }
    }
    assert!(report.markdown().contains("WRONG up, 5.00 s"), "{report}");
}
