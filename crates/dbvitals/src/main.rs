//! dbvitals: knows whether a database server is really alive and fit.
//!
//! The life of the process: read the arguments, run one command, tell in one sentence what went
//! wrong, and end with one of four exit codes.

mod agent;
mod agent_client;
mod cli;
mod commands;
mod config;
mod demo;
mod depth;
mod descriptors;
mod discovery;
mod duration;
mod exit;
mod expectation;
mod journal;
mod locality;
mod misuse;
mod password;
mod pings;
mod probing;
mod record;
mod rehearsal;
mod report;
mod shared_parts;
mod standstill;
mod suggestion;
mod systemd;
mod target_url;
mod whereabouts;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return tell_usage(&error),
    };
    let json = cli.json;
    let ended = match &cli.command {
        Command::Check(args) => commands::check::run(args, json),
        Command::Wait(args) => commands::wait::run(args, json),
        Command::Serve(args) => commands::serve::run(args, json),
        Command::Status(args) => commands::status::run(args, json),
        Command::Top(args) => commands::top::run(args, json),
        Command::Set(args) => commands::set::run(args, json),
        Command::Demo(args) => commands::demo::run(args, json),
        Command::Config(args) => commands::config::run(args, json),
        Command::Completions(args) => commands::completions::run(args),
        Command::Man(args) => commands::man::run(args),
        Command::Explain(args) => commands::explain::run(args, json),
        Command::Advise(args) => commands::advise::run(args, json),
        Command::Queues(args) => commands::queues::run(args, json),
        Command::Replay(args) => commands::replay::run(args, json),
        Command::Pings(args) => commands::pings::run(args, json),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(error) if is_broken_pipe(&error) => Exit::Fine.into(),
        Err(error) => {
            misuse::tell_failure(&format!("{error:#}"));
            Exit::Unknown.into()
        }
    }
}

/// Help and version are answers; everything else that clap says is misuse, which is 3 here.
fn tell_usage(error: &clap::Error) -> ExitCode {
    // Where even the message cannot be written, the exit code still tells.
    let _ = error.print();
    match error.use_stderr() {
        true => Exit::Unknown.into(),
        false => Exit::Fine.into(),
    }
}

/// Whoever read the output closed it, as `head` does; nothing is wrong.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
