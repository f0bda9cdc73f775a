//! The unit in `packaging/`, as systemd's own tools judge it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dbvitals_testkit::left_out;

/// The worst exposure that the unit may have; systemd counts from 0, safe, to 10.
const EXPOSURE_MAX: f64 = 2.0;
/// The first version of systemd that knows Type=notify-reload.
const KNOWS_RELOAD: u32 = 253;

fn packaged(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("packaging/systemd").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn analyze(arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("systemd-analyze");
    let command = command.args(arguments).env("SYSTEMD_PAGER", "cat");
    command.output().ok()
}

fn version() -> Option<u32> {
    let told = analyze(&["--version"])?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    told.split_whitespace().nth(1)?.parse().ok()
}

/// The unit as this machine would run it, with the drop-in where it is needed, and with this very
/// program in place of the installed one.
fn unit(version: u32) -> PathBuf {
    let name = format!("dbvitals-unit-{version}");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let own = directory.join("dbvitals.service.d");
    fs::create_dir_all(&own).expect("the target directory can be written");
    let mut unit = packaged("dbvitals.service");
    let hold = packaged("dbvitals.service.d/hold-gates.conf");
    fs::write(own.join("hold-gates.conf"), hold).expect("a file can be written");
    if version < KNOWS_RELOAD {
        let drop_in = packaged("dbvitals.service.d/before-253.conf");
        fs::write(own.join("before-253.conf"), drop_in).expect("a file can be written");
        // A drop-in changes what the older systemd has told already: that it knows no such type.
        unit = unit.replace("Type=notify-reload\n", "");
    }
    let unit = unit.replace("/usr/bin/dbvitals", env!("CARGO_BIN_EXE_dbvitals"));
    let path = directory.join("dbvitals.service");
    fs::write(&path, unit).expect("a file can be written");
    path
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let Some(version) = version() else {
        return left_out("the unit", "needs systemd-analyze");
    };
    let unit = unit(version);
    let unit = unit.to_str().expect("paths of tests are UTF-8");
    let verified = analyze(&["verify", "--man=no", unit]).expect("it is installed");
    let told = String::from_utf8_lossy(&verified.stderr).into_owned();
    // Other units of the machine are not ours to judge.
    let ours: Vec<_> = told
        .lines()
        .filter(|line| line.contains("dbvitals"))
        .collect();
    assert!(ours.is_empty(), "{told}");
    assert!(verified.status.success(), "{told}");
}

#[test]
fn the_unit_gives_little_away() {
    // Judging a file, rather than a running unit, came with this version.
    let Some(version) = version().filter(|version| *version >= 250) else {
        return left_out("the unit's exposure", "needs systemd-analyze 250");
    };
    let unit = unit(version);
    let unit = unit.to_str().expect("paths of tests are UTF-8");
    let judged = analyze(&["security", "--offline=true", "--no-pager", unit]);
    let judged = judged.expect("it is installed");
    let told = String::from_utf8_lossy(&judged.stdout).into_owned();
    let exposure = told
        .lines()
        .find_map(|line| line.split_once("Overall exposure level for dbvitals.service: "))
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok());
    let exposure = exposure.unwrap_or_else(|| panic!("no exposure: {judged:?}"));
    assert!(exposure <= EXPOSURE_MAX, "{exposure}:\n{told}");
}
