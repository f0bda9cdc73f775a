//! Clients blocked in a connect to a unix socket whose queue is full.
//!
//! The kernel counts them nowhere. They are found as tasks that sleep in the kernel's
//! `unix_wait_for_peer`; writers to a full datagram socket sleep there too, so the system call is
//! looked at, and the address that it was given says which listener they want. All that needs the
//! right to trace the task: one's own user's, or CAP_SYS_PTRACE.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::answer::FileId;
use crate::listener::Listener;
use crate::name::UnixName;
use crate::process::{Process, pids};

/// Where the kernel lets them sleep.
const SLEEPS_IN: &[u8] = b"unix_wait_for_peer";
/// What stands there of a task that runs, and of one that may not be looked at.
const UNTOLD: &[u8] = b"0";
/// The number of the system call, where it is known.
#[cfg(target_arch = "x86_64")]
const CONNECT: &str = "42";
#[cfg(any(
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64"
))]
const CONNECT: &str = "203";
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64"
)))]
const CONNECT: &str = "unknown";
/// The longest address of a unix socket, and the part of it before the name.
const ADDRESS_MAX: usize = 110;
const FAMILY: usize = 2;

/// Clients blocked in a connect to a unix socket, on the whole machine.
#[derive(Debug, Clone, Default)]
pub struct Blocked {
    /// The tasks, with what they connect to.
    pub clients: Vec<BlockedClient>,
    /// How many processes could not be looked into: other users', or, without CAP_SYS_PTRACE,
    /// those that may do more than oneself.
    pub hidden: usize,
}

/// A task blocked in a connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedClient {
    /// Its process.
    pub process: Process,
    /// What it connects to, by the name it used.
    pub name: UnixName,
    /// The file of that name, as the task sees it.
    pub file: Option<FileId>,
}

impl Blocked {
    /// Looks at all tasks of the machine.
    ///
    /// # Errors
    ///
    /// Fails where there is no /proc.
    pub fn find() -> io::Result<Self> {
        let mut blocked = Self::default();
        for pid in pids()? {
            // Who ended meanwhile has no tasks.
            let tasks = fs::read_dir(format!("/proc/{pid}/task"));
            let tasks = tasks.into_iter().flatten();
            for task in tasks.flatten() {
                match look_at(pid, &task.path()) {
                    Sleep::InConnect(client) => blocked.clients.push(client),
                    Sleep::Elsewhere => {}
                    Sleep::Hidden => {
                        blocked.hidden += 1;
                        break;
                    }
                }
            }
        }
        Ok(blocked)
    }

    /// Those that want this listener, as far as it can be told.
    pub fn at(&self, listener: &Listener) -> impl Iterator<Item = &BlockedClient> {
        let wants = |client: &&BlockedClient| listener.is_at(&client.name, client.file);
        self.clients.iter().filter(wants)
    }
}

/// Where a task sleeps, if it does.
enum Sleep {
    InConnect(BlockedClient),
    Elsewhere,
    /// This process may not see it.
    Hidden,
}

fn look_at(pid: u32, task: &Path) -> Sleep {
    // Who has ended sleeps nowhere.
    let place = fs::read(task.join("wchan")).unwrap_or_default();
    if place != SLEEPS_IN && place != UNTOLD {
        return Sleep::Elsewhere;
    }
    let client = match fs::read_to_string(task.join("syscall")) {
        Ok(call) if place == SLEEPS_IN => blocked_client(pid, task, &call),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Sleep::Hidden,
        Ok(_) | Err(_) => None,
    };
    client.map_or(Sleep::Elsewhere, Sleep::InConnect)
}

fn blocked_client(pid: u32, task: &Path, call: &str) -> Option<BlockedClient> {
    let (at, length) = connect_address(call)?;
    let mut address = [0; ADDRESS_MAX];
    let address = address.get_mut(..length)?;
    let memory = File::open(task.join("mem")).ok()?;
    memory.read_exact_at(address, at).ok()?;
    let name = UnixName::from_kernel(address.get(FAMILY..)?);
    let file = name.path().and_then(|path| {
        // As the task sees it: from its own root, or from where it stands.
        let seen = match path.strip_prefix("/") {
            Ok(path) => task.join("root").join(path),
            Err(_) => task.join("cwd").join(path),
        };
        FileId::of(&seen).ok()
    });
    Some(BlockedClient {
        process: Process::look_at(pid)?,
        name,
        file,
    })
}

/// Where a task's memory has the address it connects to, and how long that is. The file `syscall`
/// has the number of the call and its arguments.
pub(crate) fn connect_address(call: &str) -> Option<(u64, usize)> {
    let mut words = call.split_whitespace();
    if words.next()? != CONNECT {
        return None;
    }
    let mut arguments = words.map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    let (_descriptor, at, length) = (arguments.next()??, arguments.next()??, arguments.next()??);
    let length = usize::try_from(length).ok()?;
    (FAMILY..=ADDRESS_MAX)
        .contains(&length)
        .then_some((at, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connect_has_an_address_and_none_is_too_long() {
        let call = |number: &str, length: &str| {
            connect_address(&format!(
                "{number} 0x3 0x7ffd12 {length} 0x0 0x0 0x0 0x1 0x2"
            ))
        };
        assert_eq!(call(CONNECT, "0x6e"), Some((0x7f_fd12, 110)));
        assert_eq!(call(CONNECT, "0x6f"), None);
        assert_eq!(call(CONNECT, "0x1"), None);
        assert_eq!(call("46", "0x6e"), None);
        assert_eq!(connect_address("running"), None);
        assert_eq!(connect_address(&format!("{CONNECT} 0x3")), None);
    }
}
