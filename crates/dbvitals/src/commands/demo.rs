//! demo
use crate::cli::DemoArgs;
use crate::exit::Exit;
pub(crate) fn run(_args: &DemoArgs, _json: bool) -> anyhow::Result<Exit> {
    Ok(Exit::Fine)
}
