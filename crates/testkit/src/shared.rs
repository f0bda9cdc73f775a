//! What test processes of one user share: data directories to copy from, and who uses which port.
//!
//! Test runners start a process per test, so what is dear to make is kept in a directory beside
//! them: `dbvitals-testkit-UID` in the system's temporary directory. File locks order those who
//! meet there, and the kernel lets go of a lock when its process ends. Called by the two servers
//! and by the scripted one.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, process};

use rustix::process::geteuid;

use crate::account;
use crate::clock::eventually;
use crate::guardian::Guardian;

/// Below the range from which outgoing connections take theirs, so that nobody moves into the port
/// of a server that is down.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;

/// How long a process may take to become another program.
const FORKING: Duration = Duration::from_secs(5);

/// A TCP port that no other test uses as long as this value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a port that is free on every local address.
    ///
    /// # Panics
    ///
    /// Panics when none of ten thousand is free.
    #[must_use]
    pub fn reserve() -> Self {
        let directory = shared_directory();
        let first = process::id().wrapping_mul(37);
        (0..u32::from(PORTS))
            .map(|offset| first.wrapping_add(offset) % u32::from(PORTS))
            .map(|offset| FIRST_PORT + u16::try_from(offset).expect("less than PORTS"))
            .find_map(|number| Self::reserve_number(&directory, number))
            .unwrap_or_else(|| panic!("no free port from {FIRST_PORT} on"))
    }

    fn reserve_number(directory: &Path, number: u16) -> Option<Self> {
        let lock = open_lock(&directory.join(format!("port-{number}.lock")));
        lock.try_lock().ok()?;
        is_free(number).then_some(Self {
            number,
            _lock: lock,
        })
    }

    /// Listens at the port on an address of this machine.
    ///
    /// # Panics
    ///
    /// Panics when somebody else does.
    pub(crate) fn listen(&self, host: IpAddr) -> TcpListener {
        let mut listener = None;
        // A process that was being started while the port was tried has a copy of the socket that
        // tried it, until it becomes another program.
        eventually(FORKING, || {
            listener = TcpListener::bind((host, self.number)).ok();
            listener.is_some()
        });
        listener.unwrap_or_else(|| panic!("the reserved port {} is not free", self.number))
    }

    /// Returns the port's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Copies the data directory that `make` makes to `target`; it is made once per `recipe`.
///
/// `make` gets the path of a directory to create. The recipe holds all that the outcome depends
/// on: a change of the server's version or of the SQL leads to another template.
///
/// # Panics
///
/// Panics when the template cannot be made or copied.
pub(crate) fn copy_template(recipe: &str, make: impl FnOnce(&Path), target: &Path) {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let template = shared_directory().join(format!("template-{:016x}", hasher.finish()));
    let lock = open_lock(&template.with_extension("lock"));
    lock.lock().expect("a template can be locked");
    if !template.exists() {
        let guardian = Guardian::new();
        let unfinished = guardian.directory().join("template");
        make(&unfinished);
        fs::rename(unfinished, &template).expect("a finished template can be moved into place");
    }
    drop(lock);
    let arguments = [
        OsStr::new("-a"),
        OsStr::new("--reflink=auto"),
        OsStr::new("--"),
    ];
    let paths = [template.as_os_str(), target.as_os_str()];
    account::run(Path::new("cp"), &[&arguments[..], &paths[..]].concat(), "");
}

/// The directory that this user's test processes share, made by whoever comes first.
fn shared_directory() -> PathBuf {
    let user = geteuid().as_raw();
    let directory = env::temp_dir().join(format!("dbvitals-testkit-{user}"));
    match fs::create_dir(&directory) {
        // The servers' account copies from here, whatever the caller's umask.
        Ok(()) => fs::set_permissions(&directory, Permissions::from_mode(0o755))
            .expect("one's own directory can be opened to others"),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => panic!("cannot make {}: {error}", directory.display()),
    }
    let owner = fs::symlink_metadata(&directory)
        .map(|metadata| metadata.uid())
        .ok();
    assert_eq!(
        owner,
        Some(user),
        "{} belongs to somebody else: remove it",
        directory.display()
    );
    directory
}

fn open_lock(path: &Path) -> File {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

/// Whether no address of this machine has a listener at the port.
fn is_free(port: u16) -> bool {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::AddrInUse => false,
        // No IPv6 here.
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::Port;

    #[test]
    fn a_port_is_reserved_for_one_at_a_time() {
        let ports: Vec<Port> = (0..20).map(|_| Port::reserve()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), ports.len());
        let listeners = numbers
            .iter()
            .map(|port| TcpListener::bind(("127.0.0.1", *port)));
        assert!(listeners.collect::<Result<Vec<_>, _>>().is_ok());
    }
}
