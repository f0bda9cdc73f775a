//! The primitives that the [`Ledger`](crate::ledger::Ledger) is built on, under names that the
//! model of `tests/model.rs` replaces with its own.

pub(crate) use std::sync::{Mutex, MutexGuard};
