//! Operators' orders: kept over restarts, ended by themselves when their time is up.
//!
//! The state directory holds the newest generation (`orders.json`) and the one before it
//! (`orders.previous.json`). A generation is written beside, synced, and renamed over the newest, which
//! has become the previous one by then, under both names: there is a newest one at every moment. A
//! disk that is full costs neither. What cannot be read is set aside under another name, never
//! overwritten. Without a directory, orders last as long as the agent. One agent uses a directory.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dbvitals_verdict::Admin;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::agent::board::Order;

const NEWEST: &str = "orders.json";
const PREVIOUS: &str = "orders.previous.json";
/// The next generation, and the next previous one, on their way to their names.
const BESIDE: [&str; 2] = ["orders.new.json", "orders.previous.new.json"];
/// The process number of the agent that uses the directory.
const OWNER: &str = "agent.pid";
const OWNER_BYTES_MAX: u64 = 32;
const SCHEMA: &str = "dbvitals.orders.v1";

/// All orders that hold.
#[derive(Debug)]
pub(crate) struct Orders {
    directory: Option<Directory>,
    standing: Mutex<BTreeMap<String, Standing>>,
    /// The newest generation on disk is not what stands.
    is_behind: AtomicBool,
    /// An order was given: the next end may be another one.
    given: Notify,
}

/// A state directory that no other agent uses.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    /// Its lock goes with the process, however that ends.
    _lock: File,
}

/// One order that holds: anything but ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Drain,
    Maint,
}

/// A generation on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Generation {
    schema: String,
    orders: BTreeMap<String, Standing>,
}

impl Orders {
    /// Orders that end with the agent.
    pub(crate) fn in_memory() -> Self {
        Self {
            directory: None,
            standing: Mutex::default(),
            is_behind: AtomicBool::new(false),
            given: Notify::new(),
        }
    }

    /// Reads the orders of a state directory, which is made where it is missing; also says what a
    /// person should know about that.
    ///
    /// # Errors
    ///
    /// Where the directory can be neither used nor made, or another agent uses it.
    pub(crate) fn open(directory: &Path, now: Timestamp) -> io::Result<(Self, Vec<String>)> {
        let directory = Directory::open(directory)?;
        let mut notices = Vec::new();
        let mut read = |name| read(&directory.path.join(name), now, &mut notices);
        let newest = read(NEWEST);
        let standing = match newest {
            Some(newest) => Some(newest),
            None => read(PREVIOUS),
        };
        if !notices.is_empty() {
            notices.push(match standing {
                Some(_) => "the operators' orders of the generation before hold: the order that was given last may be missing".to_owned(),
                None => "no generation of the operators' orders can be read: all backends start ready".to_owned(),
            });
        }
        let orders = Self {
            directory: Some(directory),
            standing: Mutex::new(standing.unwrap_or_default()),
            is_behind: AtomicBool::new(false),
            given: Notify::new(),
        };
        orders.forget_ended(now);
        Ok((orders, notices))
    }

    /// The order that holds for a backend.
    pub(crate) fn admin(&self, name: &str) -> Admin {
        self.lock()
            .get(name)
            .map_or(Admin::Ready, |it| it.state.into())
    }

    /// What was said with the order that holds for a backend.
    pub(crate) fn order(&self, name: &str) -> Option<Order> {
        let standing = self.lock();
        standing.get(name).map(|it| Order {
            reason: it.reason.clone(),
            until: it.until,
        })
    }

    /// Gives an order, and keeps it.
    ///
    /// # Errors
    ///
    /// Where it could not be kept on disk; then it holds for as long as the agent runs, unless the
    /// disk can be written again before.
    pub(crate) fn give(&self, name: &str, admin: Admin, order: Order) -> io::Result<()> {
        let mut standing = self.lock();
        match State::of(admin) {
            None => {
                standing.remove(name);
            }
            Some(state) => {
                let Order { reason, until } = order;
                let given = Standing {
                    state,
                    reason,
                    until,
                };
                standing.insert(name.to_owned(), given);
            }
        }
        self.given.notify_one();
        self.keep(&standing)
    }

    /// Waits until an order is given. Cancel safe.
    pub(crate) async fn given(&self) {
        self.given.notified().await;
    }

    /// When the next order ends by itself.
    pub(crate) fn next_end(&self) -> Option<Timestamp> {
        self.lock().values().filter_map(|it| it.until).min()
    }

    /// Forgets orders whose time is up; answers whose they were. What could not be kept before is
    /// kept now, if that is possible.
    pub(crate) fn forget_ended(&self, now: Timestamp) -> Vec<String> {
        let mut standing = self.lock();
        let ended = |it: &Standing| it.until.is_some_and(|until| until <= now);
        let names: Vec<_> = standing
            .iter()
            .filter(|(_, it)| ended(it))
            .map(|(name, _)| name.clone())
            .collect();
        standing.retain(|_, it| !ended(it));
        if !names.is_empty() || self.is_behind.load(Ordering::Relaxed) {
            // What cannot be written now is found ended again at the next start.
            let _ = self.keep(&standing);
        }
        names
    }

    fn keep(&self, standing: &BTreeMap<String, Standing>) -> io::Result<()> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        let kept = directory.keep(standing);
        self.is_behind.store(kept.is_err(), Ordering::Relaxed);
        kept
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory {
    fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        // The directory itself: there may be no room for a file.
        let lock = File::open(path)?;
        let owner = path.join(OWNER);
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // Who it is is good to know, and no more.
                let mut told = String::new();
                let _ = File::open(owner)
                    .map(|file| file.take(OWNER_BYTES_MAX).read_to_string(&mut told));
                let owner = told.trim_matches(|it: char| !it.is_ascii_digit());
                let why = format!("another agent uses it, process {owner}");
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
            }
            // Some filesystems lock no directories.
            Err(TryLockError::Error(_)) => {}
        }
        let _ = fs::write(owner, format!("{}\n", std::process::id()));
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Makes this the newest generation.
    fn keep(&self, standing: &BTreeMap<String, Standing>) -> io::Result<()> {
        let generation = Generation {
            schema: SCHEMA.to_owned(),
            orders: standing.clone(),
        };
        let names = [NEWEST, PREVIOUS].map(|name| self.path.join(name));
        let [newest, previous] = &names;
        let beside = BESIDE.map(|name| self.path.join(name));
        let [new_newest, new_previous] = &beside;
        let mut file = File::create(new_newest)?;
        serde_json::to_writer_pretty(&mut file, &generation)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        // An agent that crashed may have left it.
        let _ = fs::remove_file(new_previous);
        match fs::hard_link(newest, new_previous) {
            Ok(()) => fs::rename(new_previous, previous)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Some filesystems have no links; theirs is without a newest one for a moment.
            Err(_) => fs::rename(newest, previous)?,
        }
        fs::rename(new_newest, newest)?;
        File::open(&self.path)?.sync_all()
    }
}

/// Reads one generation; what is there and cannot be read is set aside.
fn read(
    path: &Path,
    now: Timestamp,
    notices: &mut Vec<String>,
) -> Option<BTreeMap<String, Standing>> {
    let why = match fs::read(path) {
        Ok(text) => match serde_json::from_slice::<Generation>(&text) {
            Ok(generation) if generation.schema == SCHEMA => return Some(generation.orders),
            Ok(generation) => format!("it is of the schema {:?}", generation.schema),
            Err(error) => error.to_string(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => dbvitals_probe::plain(&error),
    };
    let aside = path.with_extension(format!("broken-{}", now.as_second()));
    let moved = match fs::rename(path, &aside) {
        Ok(()) => format!("it is set aside as {}", aside.display()),
        Err(error) => format!("it stays: {}", dbvitals_probe::plain(&error)),
    };
    notices.push(format!(
        "{} holds no operators' orders ({why}); {moved}",
        path.display()
    ));
    None
}

impl State {
    fn of(admin: Admin) -> Option<Self> {
        match admin {
            Admin::Ready => None,
            Admin::Drain => Some(Self::Drain),
            Admin::Maint => Some(Self::Maint),
        }
    }
}

impl From<State> for Admin {
    fn from(state: State) -> Self {
        match state {
            State::Drain => Self::Drain,
            State::Maint => Self::Maint,
        }
    }
}

#[cfg(test)]
mod tests;
