//! The file of a unix socket: made with its socket, removed with it.
//!
//! A file that a dead process left behind is replaced. Anything else that stands at the path is
//! somebody's: a socket at which somebody listens, or a file that is none, is refused and stays.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

/// A file at which a socket is bound; removed with this value.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode: somebody may have put another file there meanwhile.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// Binds a socket that does not block at a path; it does not listen yet, so nobody connects
    /// before the file has its mode. The directory is made where it is missing.
    ///
    /// # Errors
    ///
    /// Where somebody listens there, or what is there is no socket, or the directory is closed.
    pub(crate) fn bind(path: &Path, mode: u32) -> io::Result<(Self, Socket)> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let socket = new_socket()?;
        let address = SockAddr::unix(path)?;
        if let Err(error) = socket.bind(&address) {
            if error.kind() != ErrorKind::AddrInUse {
                return Err(error);
            }
            expect_left_behind(path, &address)?;
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        let file = Self {
            path: path.to_owned(),
            identity: fs::symlink_metadata(path).ok().as_ref().map(identity),
        };
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        Ok((file, socket))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path).ok();
        if there.is_some() && there.as_ref().map(identity) == self.identity {
            // A file that stays is replaced by who listens there next.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn new_socket() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)
}

fn identity(there: &Metadata) -> (u64, u64) {
    (there.dev(), there.ino())
}

/// Expects what stands at a path to be a socket at which nobody listens any more.
fn expect_left_behind(path: &Path, address: &SockAddr) -> io::Result<()> {
    let taken = |what| Err(io::Error::new(ErrorKind::AddrInUse, what));
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return taken("a file that is no socket is there");
        }
        Ok(_) => {}
        Err(error) => return Err(error),
    }
    let Err(error) = new_socket()?.connect(address) else {
        return taken("somebody listens there");
    };
    match Errno::from_io_error(&error) {
        Some(Errno::CONNREFUSED) => Ok(()),
        // Its queue is full, or it is a socket of another kind.
        Some(Errno::AGAIN | Errno::PROTOTYPE) => taken("somebody listens there"),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;

    /// A path in the temporary directory, whose own file is removed with this value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("dbvitals-{}-{name}.sock", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[track_caller]
    fn check_refused(path: &Path, expected: &str) {
        let before = fs::symlink_metadata(path).unwrap().ino();
        let error = SocketFile::bind(path, 0o666).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(fs::symlink_metadata(path).unwrap().ino(), before);
    }

    #[test]
    fn the_file_has_its_mode_before_anybody_may_connect_and_goes_with_the_socket() {
        let scratch = Scratch::new("mode");
        let (file, socket) = SocketFile::bind(&scratch.0, 0o666).unwrap();
        let mode = fs::metadata(&scratch.0).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o666);
        assert!(UnixStream::connect(&scratch.0).is_err());
        socket.listen(1).unwrap();
        assert!(UnixStream::connect(&scratch.0).is_ok());
        drop((file, socket));
        assert!(!scratch.0.exists());
    }

    #[test]
    fn what_a_dead_process_left_behind_is_replaced() {
        let scratch = Scratch::new("left");
        drop(UnixListener::bind(&scratch.0).unwrap());
        assert!(scratch.0.exists());
        let (file, socket) = SocketFile::bind(&scratch.0, 0o660).unwrap();
        socket.listen(1).unwrap();
        assert!(UnixStream::connect(file.path()).is_ok());
    }

    #[test]
    fn what_is_somebody_s_stays() {
        let scratch = Scratch::new("alive");
        let listener = UnixListener::bind(&scratch.0).unwrap();
        check_refused(&scratch.0, "somebody listens there");
        drop(listener);
        fs::remove_file(&scratch.0).unwrap();

        let datagrams = UnixDatagram::bind(&scratch.0).unwrap();
        check_refused(&scratch.0, "somebody listens there");
        drop(datagrams);
        fs::remove_file(&scratch.0).unwrap();

        fs::write(&scratch.0, "a will").unwrap();
        check_refused(&scratch.0, "no socket");
        fs::remove_file(&scratch.0).unwrap();
        std::os::unix::fs::symlink("/nowhere", &scratch.0).unwrap();
        check_refused(&scratch.0, "no socket");
    }

    #[test]
    fn a_full_queue_is_a_living_listener() {
        let scratch = Scratch::new("full");
        let (_file, socket) = SocketFile::bind(&scratch.0, 0o666).unwrap();
        socket.listen(0).unwrap();
        let _waiting = UnixStream::connect(&scratch.0).unwrap();
        check_refused(&scratch.0, "somebody listens there");
    }

    #[test]
    fn a_file_that_another_put_there_is_not_removed() {
        let scratch = Scratch::new("other");
        let (file, _socket) = SocketFile::bind(&scratch.0, 0o666).unwrap();
        fs::remove_file(&scratch.0).unwrap();
        let _other = UnixListener::bind(&scratch.0).unwrap();
        drop(file);
        assert!(UnixStream::connect(&scratch.0).is_ok());
    }
}
