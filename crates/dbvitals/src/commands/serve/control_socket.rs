//! The control socket: where operators of this machine ask and give orders.
//!
//! Its file's mode is 0660, so its directory and group say who may. A socket that an agent left
//! behind when it was killed is replaced; one at which somebody answers is not.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::misuse::Misuse;
use crate::whereabouts;

/// A control socket, removed with this value.
#[derive(Debug)]
pub(super) struct ControlSocket {
    path: PathBuf,
    /// Device and inode of the file, by which it is known when it is removed.
    identity: (u64, u64),
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
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let listener = match StdListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if !fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(io::Error::new(error.kind(), "what is there is no socket"));
            }
            if UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(error.kind(), "another agent answers there"));
            }
            fs::remove_file(path)?;
            StdListener::bind(path)?
        }
        bound => bound?,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(ControlSocket {
        path: path.to_owned(),
        identity: identity(path)?,
        listener,
    })
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
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
        // Another agent may have taken the place; a file that stays is replaced by the next.
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
