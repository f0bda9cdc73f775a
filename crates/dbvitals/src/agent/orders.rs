//! Operators' orders: kept over restarts, ended by themselves when their time is up.
//!
//! The state directory holds the newest generation (`orders.json`) and the one before it
//! (`orders.previous.json`). A generation is written beside, synced, and renamed into place, so a
//! crash at any moment leaves one that can be read. What cannot be read is set aside under another
//! name, never overwritten. Without a directory, orders last as long as the agent.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dbvitals_verdict::Admin;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::agent::board::Order;

const NEWEST: &str = "orders.json";
const PREVIOUS: &str = "orders.previous.json";
const SCHEMA: &str = "dbvitals.orders.v1";

/// All orders that hold.
#[derive(Debug)]
pub(crate) struct Orders {
    directory: Option<PathBuf>,
    standing: Mutex<BTreeMap<String, Standing>>,
    /// An order was given: the next end may be another one.
    given: Notify,
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
            given: Notify::new(),
        }
    }

    /// Reads the orders of a state directory, which is made where it is missing; also says what a
    /// person should know about that.
    ///
    /// # Errors
    ///
    /// Where the directory can be neither used nor made.
    pub(crate) fn open(directory: &Path, now: Timestamp) -> io::Result<(Self, Vec<String>)> {
        fs::create_dir_all(directory)?;
        let mut notices = Vec::new();
        let standing = [NEWEST, PREVIOUS]
            .into_iter()
            .find_map(|name| read(&directory.join(name), now, &mut notices));
        if standing.is_none() && !notices.is_empty() {
            notices.push(
                "no generation of the operators' orders can be read: all backends start ready"
                    .to_owned(),
            );
        }
        let orders = Self {
            directory: Some(directory.to_owned()),
            standing: Mutex::new(standing.unwrap_or_default()),
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
    /// Where it could not be kept on disk; then it holds for as long as the agent runs.
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

    /// Forgets orders whose time is up; answers whose they were.
    pub(crate) fn forget_ended(&self, now: Timestamp) -> Vec<String> {
        let mut standing = self.lock();
        let ended = |it: &Standing| it.until.is_some_and(|until| until <= now);
        let names: Vec<_> = standing
            .iter()
            .filter(|(_, it)| ended(it))
            .map(|(name, _)| name.clone())
            .collect();
        if !names.is_empty() {
            standing.retain(|_, it| !ended(it));
            // What cannot be written now is found ended again at the next start.
            let _ = self.keep(&standing);
        }
        names
    }

    fn keep(&self, standing: &BTreeMap<String, Standing>) -> io::Result<()> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        let generation = Generation {
            schema: SCHEMA.to_owned(),
            orders: standing.clone(),
        };
        let beside = directory.join("orders.new.json");
        let newest = directory.join(NEWEST);
        let mut file = File::create(&beside)?;
        serde_json::to_writer_pretty(&mut file, &generation)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        match fs::rename(&newest, directory.join(PREVIOUS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::rename(&beside, &newest)?;
        File::open(directory)?.sync_all()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads one generation; what is there and cannot be read is set aside.
fn read(
    path: &Path,
    now: Timestamp,
    notices: &mut Vec<String>,
) -> Option<BTreeMap<String, Standing>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            notices.push(format!(
                "the operators' orders in {} cannot be read: {}",
                path.display(),
                dbvitals_probe::plain(&error)
            ));
            return None;
        }
    };
    let why = match serde_json::from_slice::<Generation>(&text) {
        Ok(generation) if generation.schema == SCHEMA => return Some(generation.orders),
        Ok(generation) => format!("it is of the schema {:?}", generation.schema),
        Err(error) => error.to_string(),
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
mod tests {
    use super::*;

    /// A directory that is removed with this value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("dbvitals-{name}-{}", std::process::id()));
            Self(path)
        }

        fn open(&self) -> (Orders, Vec<String>) {
            Orders::open(&self.0, at(0)).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn until(second: Option<i64>) -> Order {
        Order {
            reason: Some("disk swap".to_owned()),
            until: second.map(at),
        }
    }

    #[test]
    fn orders_are_back_after_a_restart_until_their_time_is_up() {
        let scratch = Scratch::new("restart");
        let (orders, notices) = scratch.open();
        assert_eq!(notices, [""; 0]);
        orders.give("a", Admin::Drain, until(Some(100))).unwrap();
        orders.give("b", Admin::Maint, until(None)).unwrap();
        drop(orders);
        let (orders, _) = scratch.open();
        assert_eq!(orders.admin("a"), Admin::Drain);
        assert_eq!(orders.order("a"), Some(until(Some(100))));
        assert_eq!(orders.admin("c"), Admin::Ready);
        assert_eq!(orders.next_end(), Some(at(100)));
        assert_eq!(orders.forget_ended(at(100)), ["a"]);
        orders.give("b", Admin::Ready, until(None)).unwrap();
        drop(orders);
        let (orders, _) = scratch.open();
        assert_eq!(
            (orders.admin("a"), orders.admin("b")),
            (Admin::Ready, Admin::Ready)
        );
    }

    #[test]
    fn a_torn_generation_falls_back_to_the_one_before() {
        let scratch = Scratch::new("torn");
        let (orders, _) = scratch.open();
        orders.give("a", Admin::Drain, until(None)).unwrap();
        orders.give("b", Admin::Maint, until(None)).unwrap();
        drop(orders);
        fs::write(scratch.0.join(NEWEST), "{\"schema\":\"dbvit").unwrap();
        let (orders, notices) = scratch.open();
        assert_eq!(
            (orders.admin("a"), orders.admin("b")),
            (Admin::Drain, Admin::Ready)
        );
        assert!(notices[0].contains("set aside as"), "{notices:?}");
        // The next order does not bury what was set aside.
        orders.give("b", Admin::Maint, until(None)).unwrap();
        let files = fs::read_dir(&scratch.0).unwrap().count();
        assert_eq!(files, 3);
    }

    #[test]
    fn alien_files_leave_all_backends_ready_and_are_said_loudly() {
        let scratch = Scratch::new("alien");
        drop(scratch.open());
        fs::write(
            scratch.0.join(NEWEST),
            "{\"schema\":\"other\",\"orders\":{}}",
        )
        .unwrap();
        fs::write(scratch.0.join(PREVIOUS), [0xff; 9]).unwrap();
        let (orders, notices) = scratch.open();
        assert_eq!(orders.admin("a"), Admin::Ready);
        assert_eq!(notices.len(), 3, "{notices:?}");
        assert!(notices[2].contains("start ready"), "{notices:?}");
    }
}
