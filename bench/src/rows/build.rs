//! What it takes to build the program: all of it from nothing, and its own crate again.
//!
//! In a target directory of its own, which is removed afterwards; what has to be downloaded is there
//! before. It takes minutes, so `all` leaves it out unless it is told to take it along.

use std::fs;
use std::path::Path;
use std::process::id;
use std::time::Duration;

use super::{Row, start};
use crate::bench::{BUILD, Bench, cargo};
use crate::clock;
use crate::real;
use crate::sheet::Sheet;
use crate::side::{Measured, Side, in_turn};

pub(crate) const ROW: Row = Row {
    name: "build",
    about: "building the program in release from nothing (takes minutes), and its size",
    run,
};

fn run(bench: &Bench) -> anyhow::Result<Vec<Sheet>> {
    let target = bench.scratch.join("build");
    cargo(&target, &["fetch", "--locked"])?;
    let mut sides = [
        Side::new("from nothing", || {
            if target.exists() {
                fs::remove_dir_all(&target)?;
            }
            let mut measured = build(&target)?;
            measured.push(start::size(&target.join("release/dbvitals"))?);
            Ok(measured)
        }),
        Side::new("its own crate again", || {
            cargo(&target, &["clean", "--release", "--package", "dbvitals"])?;
            build(&target)
        }),
    ];
    // Once, whatever `--rounds` says: the second goes on from the first.
    let sheet = Sheet::new("cargo build --release", in_turn(1, &mut sides)?);
    fs::remove_dir_all(&target)?;
    Ok(vec![sheet])
}

fn build(target: &Path) -> anyhow::Result<Vec<Measured>> {
    let (started, before) = (clock::now(), real::ended_cpu(id())?);
    cargo(target, &BUILD)?;
    let took = started.elapsed();
    let cpu = real::ended_cpu(id())? - before;
    let seconds = |what, time: Duration| Measured::new(what, "s", time.as_secs_f64());
    Ok(vec![seconds("time", took), seconds("CPU", cpu)])
}
