//! Where an agent and those who ask it meet: the control sockets of this machine, and HTTP.
//!
//! `serve` takes the first place that it can have; `status` and `set` look at all of them. An agent
//! of systemd's has the directory that systemd made for it, one with a state directory meets people
//! there, and any other in the directory of whoever started it, or of the machine.

use std::env;
use std::path::{Path, PathBuf};

/// The name of a control socket, in whichever directory.
const SOCKET: &str = "control.sock";
/// Where the agent of the machine is met.
const MACHINE: &str = "/run/dbvitals";
/// The state directory that the documents and the systemd unit have.
const STATE: &str = "/var/lib/dbvitals";

/// The socket of a state directory.
pub(crate) fn of_state_dir(directory: &Path) -> PathBuf {
    directory.join(SOCKET)
}

/// The socket in the directory that systemd made for the service.
pub(crate) fn of_service() -> Option<PathBuf> {
    let directories = env::var_os("RUNTIME_DIRECTORY")?;
    let first = env::split_paths(&directories).next()?;
    Some(first.join(SOCKET))
}

/// The sockets of agents that were told of no directory: that of whoever started it, and the
/// machine's.
pub(crate) fn usual_sockets() -> Vec<PathBuf> {
    let of_session = env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    let of_session = of_session.map(|directory| Path::new(&directory).join("dbvitals"));
    let directories = of_session.into_iter().chain([MACHINE.into()]);
    directories
        .map(|directory| directory.join(SOCKET))
        .collect()
}

/// Where an agent may be met by who knows nothing of it.
pub(crate) fn known_sockets() -> Vec<PathBuf> {
    let mut sockets = usual_sockets();
    sockets.push(of_state_dir(Path::new(STATE)));
    sockets
}
