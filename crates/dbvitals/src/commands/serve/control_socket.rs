//! The control socket: where operators of this machine ask and give orders.
//!
//! Its file's mode is 0660, so its directory and group say who may. A socket that an agent left
//! behind when it was killed is replaced; one at which somebody answers is not.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use tokio::net::UnixListener;

use crate::agent::listening::SocketFile;
use crate::misuse::Misuse;
use crate::whereabouts;

/// Who may ask.
const MODE: u32 = 0o660;
/// Operators who wait to be heard.
const BACKLOG: i32 = 128;

/// A control socket, removed with this value.
#[derive(Debug)]
pub(super) struct ControlSocket {
    file: SocketFile,
    listener: StdListener,
}

/// Binds the control socket: where it was asked for; else in the directory that systemd made, or in
/// the state directory; else where agents usually are, if that can be written and is free.
pub(super) fn bind(
    control: Option<&Path>,
    state_dir: Option<&Path>,
) -> Result<Option<ControlSocket>, Misuse> {
    if let Some(path) = control {
        return bind_named(path).map(Some);
    }
    if let Some(bound) = whereabouts::of_service().and_then(|path| bind_at(&path).ok()) {
        return Ok(Some(bound));
    }
    if let Some(directory) = state_dir {
        return bind_named(&whereabouts::of_state_dir(directory)).map(Some);
    }
    for path in whereabouts::usual_sockets() {
        match bind_at(&path) {
            Ok(bound) => return Ok(Some(bound)),
            // Of two agents that nobody told where to be met, one is.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
            Err(_) => {}
        }
    }
    Ok(None)
}

/// Binds where a person wants it, or says why not.
fn bind_named(path: &Path) -> Result<ControlSocket, Misuse> {
    bind_at(path).map_err(|error| {
        Misuse(format!(
            "cannot listen at the control socket {}: {}; name another as control in [agent]",
            path.display(),
            dbvitals_probe::plain(&error)
        ))
    })
}

fn bind_at(path: &Path) -> io::Result<ControlSocket> {
    let (file, socket) = SocketFile::bind(path, MODE)?;
    socket.listen(BACKLOG)?;
    let listener = socket.into();
    Ok(ControlSocket { file, listener })
}

impl ControlSocket {
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// A listener of the runtime's.
    pub(super) fn listen(&self) -> io::Result<UnixListener> {
        UnixListener::from_std(self.listener.try_clone()?)
    }
}
