//! Hooks: what a pool tells while it works.

use std::panic::Location;
use std::time::Duration;

use crate::ending::Ending;

/// Is told of what happens to a pool's connections. Called outside of all locks, from the task
/// that found out, so it must not block.
pub trait Observer: Send + Sync + 'static {
    /// A connection was opened.
    fn opened(&self, connection: u64, took: Duration) {
        let _ = (connection, took);
    }

    /// An attempt to open a connection failed.
    fn attempt_failed(&self, error: &str) {
        let _ = error;
    }

    /// A connection is no more.
    fn ended(&self, ended: &Ended) {
        let _ = ended;
    }

    /// A lease is out for longer than `leak_after`. Told once for each.
    fn leaked(&self, leak: &Leak) {
        let _ = leak;
    }
}

/// A connection that is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Its number, counted from the pool's start.
    pub connection: u64,
    /// Why.
    pub ending: Ending,
    /// How long it was open.
    pub age: Duration,
    /// How long the server had not answered on it.
    pub silence: Duration,
    /// How often it was checked out.
    pub uses: u64,
}

/// A lease that is out for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leak {
    /// The connection's number, counted from the pool's start.
    pub connection: u64,
    /// Where it was checked out.
    pub place: &'static Location<'static>,
    /// For how long it is out.
    pub held: Duration,
}

/// Says nothing to nobody.
#[derive(Debug)]
pub(crate) struct Nobody;

impl Observer for Nobody {}
