//! Measures dbvitals side by side with what it is compared with.
//!
//! One command per row, `all` for all of them. Each row runs its sides in turn and gives sheets:
//! printed as tables, and written as JSON lines where a file is named.

mod agent;
mod bench;
mod child;
mod clock;
mod haproxy;
mod http;
mod machine;
mod peers;
mod pgpool;
mod real;
mod rows;
mod scripted;
mod sheet;
mod side;

use std::fs::File;
use std::io::{LineWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::bench::Bench;
use crate::machine::Machine;
use crate::rows::Row;

/// The flag of `all` for rows that it leaves out otherwise.
const SLOW: &str = "slow";

fn main() -> anyhow::Result<()> {
    let matches = command().get_matches();
    let Some((name, asked)) = matches.subcommand() else {
        return Ok(());
    };
    if name == "list" {
        for row in every_row() {
            tell(&format!("{:12} {}", row.name, row.about));
        }
        return Ok(());
    }
    let chosen: Vec<_> = match name {
        "all" if !asked.get_flag(SLOW) => rows::ALL.iter().collect(),
        "all" => every_row().collect(),
        name => every_row().filter(|row| row.name == name).collect(),
    };
    run(&chosen, asked)
}

fn every_row() -> impl Iterator<Item = &'static Row> {
    rows::ALL.iter().chain(rows::SLOW)
}

fn command() -> Command {
    let options = |command: Command| {
        command
            .arg(number("rounds", "How often each side runs [default: 5]"))
            .arg(number("seconds", "How long a run measures [default: 10]"))
            .arg(number(
                "sessions",
                "Sessions, instead of the row's own numbers",
            ))
            .arg(
                Arg::new("only")
                    .long("only")
                    .value_name("TEXT")
                    .help("Only cases that have TEXT in their name: of ping, cost, verdict-*"),
            )
            .arg(
                Arg::new("json")
                    .long("json")
                    .value_name("FILE")
                    .value_parser(value_parser!(PathBuf))
                    .help("Append a JSON object per figure to FILE"),
            )
    };
    let slow = Arg::new(SLOW)
        .long(SLOW)
        .action(ArgAction::SetTrue)
        .help("Also measure what takes minutes by itself: build");
    let one = every_row().map(|row| options(Command::new(row.name).about(row.about)));
    Command::new("dbvitals-bench")
        .about("Measures dbvitals side by side with what it is compared with")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("Lists the rows"))
        .subcommand(options(Command::new("all").about("Measures all rows")).arg(slow))
        .subcommands(one)
}

fn number(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("N")
        .value_parser(value_parser!(u32).range(1..))
        .help(help)
}

fn run(rows: &[&Row], asked: &ArgMatches) -> anyhow::Result<()> {
    let mut json = asked.get_one::<PathBuf>("json").map(open).transpose()?;
    let machine = Machine::here();
    tell(&machine.to_string());
    if let Some(file) = &mut json {
        writeln!(file, "{}", machine.json())?;
    }
    let bench = Bench::prepare(
        asked.get_one("rounds").copied(),
        asked.get_one("seconds").copied(),
        asked.get_one("sessions").copied(),
        asked.get_one("only").cloned(),
    )?;
    for row in rows {
        tell(&format!("\n{}: {}", row.name, row.about));
        let sheets = (row.run)(&bench).with_context(|| format!("the row {:?} failed", row.name))?;
        for sheet in sheets {
            tell(&sheet.to_string());
            for line in sheet.json(row.name) {
                if let Some(file) = &mut json {
                    writeln!(file, "{line}")?;
                }
            }
        }
    }
    Ok(())
}

fn open(path: &PathBuf) -> anyhow::Result<LineWriter<File>> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.with_context(|| format!("failed to open {}", path.display()))?;
    Ok(LineWriter::new(file))
}

#[expect(
    clippy::print_stdout,
    reason = "the tables are what this program is for"
)]
fn tell(text: &str) {
    println!("{text}");
}
