//! Runs dbvitals against the catalogue of faults and prints what it says of each, beside the truth.
//!
//! `cargo run -p dbvitals-testkit --bin fault-report -- [--program PATH] [--markdown] [FILTER]`
//!
//! The program is looked for next to this one: build it first. The filter keeps the faults whose
//! names contain it. Exits with 1 when a cell is wrong, with 3 when it was called in a wrong way.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use dbvitals_testkit::{FaultReport, fault_catalogue};

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "prints a report")]
fn main() -> ExitCode {
    let mut program = env::current_exe().map(|path| path.with_file_name("dbvitals"));
    let (mut markdown, mut filter) = (false, String::new());
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--markdown" => markdown = true,
            "--program" => program = Ok(PathBuf::from(arguments.next().unwrap_or_default())),
            option if option.starts_with('-') => {
                eprintln!("fault-report [--program PATH] [--markdown] [FILTER]");
                return ExitCode::from(3);
            }
            text => text.clone_into(&mut filter),
        }
    }
    let program = program.unwrap_or_default();
    if !program.is_file() {
        let shown = program.display();
        eprintln!("no program at {shown}: build it with cargo build, or name it with --program");
        return ExitCode::from(3);
    }
    let mut known = fault_catalogue().into_iter();
    if !known.any(|fault| fault.name.contains(&filter)) {
        eprintln!("no fault has {filter:?} in its name");
        return ExitCode::from(3);
    }
    let report = FaultReport::run(&program, &filter);
    match markdown {
        true => print!("{}", report.markdown()),
        false => println!("{report}"),
    }
    let wrong = report.wrong();
    if markdown {
        wrong.iter().for_each(|wrong| eprintln!("WRONG {wrong}"));
    }
    ExitCode::from(u8::from(!wrong.is_empty()))
}
