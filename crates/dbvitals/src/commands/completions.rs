//! `completions`: what makes a shell complete dbvitals' arguments, made from the arguments
//! themselves, so that it never lags behind them.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use crate::cli::{Cli, CompletionShell, CompletionsArgs};
use crate::exit::Exit;

/// Prints the completions for one shell.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let shell = match args.shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "dbvitals", &mut script);
    io::stdout().write_all(&script)?;
    Ok(Exit::Fine)
}
