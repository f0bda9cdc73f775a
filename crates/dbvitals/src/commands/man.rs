//! `man`: a manual page per command, made from the arguments and their help.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::cli::{Cli, ManArgs};
use crate::exit::Exit;
use crate::misuse::Misuse;
use crate::suggestion::hint;

/// One page: its name, as in `dbvitals-config-check`, and its roff.
struct Page {
    name: String,
    roff: Vec<u8>,
}

/// Prints one page or all, or writes all into a directory.
pub(crate) fn run(args: &ManArgs) -> anyhow::Result<Exit> {
    // Built as a whole, so that every command knows its full name and the common arguments.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    render(&command, "dbvitals", &mut pages)?;
    if let Some(directory) = &args.directory {
        write_files(directory, &pages)?;
        return Ok(Exit::Fine);
    }
    let mut out = io::stdout().lock();
    if args.command.is_empty() {
        for page in &pages {
            out.write_all(&page.roff)?;
        }
        return Ok(Exit::Fine);
    }
    let wanted = format!("dbvitals-{}", args.command.join("-"));
    let Some(page) = pages.iter().find(|page| page.name == wanted) else {
        let known = pages.iter().map(|page| page.name.as_str());
        let known: Vec<_> = known
            .filter_map(|name| name.strip_prefix("dbvitals-"))
            .collect();
        let asked = args.command.join("-");
        let hint = hint(&asked, &known);
        return Err(Misuse(format!("there is no command {asked:?}; {hint}")).into());
    };
    out.write_all(&page.roff)?;
    Ok(Exit::Fine)
}

/// Renders a command and all below it.
fn render(command: &Command, name: &str, pages: &mut Vec<Page>) -> io::Result<()> {
    let page = command.clone().display_name(name.to_owned());
    let mut roff = Vec::new();
    let source = concat!("dbvitals ", env!("CARGO_PKG_VERSION"));
    Man::new(page)
        .title(name.to_uppercase())
        .source(source)
        .render(&mut roff)?;
    pages.push(Page {
        name: name.to_owned(),
        roff,
    });
    for below in command.get_subcommands() {
        let name = format!("{name}-{}", below.get_name());
        render(below, &name, pages)?;
    }
    Ok(())
}

fn write_files(directory: &Path, pages: &[Page]) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    for page in pages {
        let path = directory.join(format!("{}.1", page.name));
        fs::write(&path, &page.roff).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
