//! serve
use crate::cli::ServeArgs;
use crate::exit::Exit;
pub(crate) fn run(_args: &ServeArgs, _json: bool) -> anyhow::Result<Exit> {
    Ok(Exit::Fine)
}
