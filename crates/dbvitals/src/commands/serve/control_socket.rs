//! The control socket: where operators of this machine ask and give orders.
//!
//! Its file's mode is 0660, so its directory and group say who may. A socket that an agent left
//! behind when it was killed is replaced; one at which somebody answers is not.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener as StdListener, UnixStream};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::misuse::Misuse;

/// A control socket, removed with this value.
#[derive(Debug)]
pub(super) struct ControlSocket {
    path: PathBuf,
    listener: StdListener,
}

/// Binds the control socket: where it was asked for, else in the state directory.
pub(super) fn bind(
    control: Option<&Path>,
    state_dir: Option<&Path>,
) -> Result<Option<ControlSocket>, Misuse> {
    let path = match (control, state_dir) {
        (Some(path), _) => path.to_owned(),
        (None, Some(directory)) => directory.join("control.sock"),
        (None, None) => return Ok(None),
    };
    let bound = bind_at(&path).map_err(|error| {
        Misuse(format!(
            "cannot listen at the control socket {}: {}; name another as control in [agent]",
            path.display(),
            dbvitals_probe::plain(&error)
        ))
    })?;
    Ok(Some(bound))
}

fn bind_at(path: &Path) -> io::Result<ControlSocket> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let listener = match StdListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(error.kind(), "another agent answers there"));
            }
            std::fs::remove_file(path)?;
            StdListener::bind(path)?
        }
        bound => bound?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(ControlSocket {
        path: path.to_owned(),
        listener,
    })
}

impl ControlSocket {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A listener of the runtime's.
    pub(super) fn listen(&self) -> io::Result<UnixListener> {
        UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A file that stays is replaced by the next agent.
        let _ = std::fs::remove_file(&self.path);
    }
}
