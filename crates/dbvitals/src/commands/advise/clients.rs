//! The pools that people use: what to set in each, in its own words, and what its defaults do.
//!
//! A client is data and two functions; its defaults are those of its documentation and source, in
//! the versions that the files of `clients/` name. To add one: a name in `cli.rs`, an entry in one
//! of those files, and a line in [`all`].

mod go;
mod jvm;
mod node;
mod pgbouncer;
mod python;
mod ruby;
mod rust;

use std::time::Duration;

use clap::ValueEnum as _;
use dbvitals_probe::Protocol;

use super::contradiction::Bounds;
use super::limits::Limits;
use super::page::span;
use super::setting::{Setting, Syntax};
use super::shape::Shape;
use super::share::Share;
use crate::cli::PoolClient;

/// A pool that people use.
pub(super) struct Client {
    pub(super) name: PoolClient,
    title: &'static str,
    /// The protocols that it pools connections of.
    protocols: &'static [Protocol],
    syntax: Syntax,
    /// How it bounds connections if nothing is set.
    defaults: Bounds,
    /// How many it opens if nothing is set, where that is no number that is known here.
    size_follows: Option<&'static str>,
    /// How it finds dead connections if nothing is set, with MySQL and with PostgreSQL.
    looks: (Looks, Looks),
    settings: fn(&Limits, &Shape) -> Vec<Setting>,
    /// What else its users have to know.
    notes: fn(&Limits, &Shape) -> Vec<&'static str>,
}

/// How a client finds a dead connection before an application meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looks {
    /// Not at all.
    Never,
    /// Without a round trip, by its socket.
    AtSocket,
    /// When it is used; what was asked is asked again on another.
    AtFirstUse,
    /// By a ping at each checkout.
    Pings,
    /// By a ping where it was not used for a while.
    PingsAfterIdling,
}

/// What is said for one client.
#[derive(Debug)]
pub(super) struct Advice {
    name: PoolClient,
    pub(super) title: &'static str,
    pub(super) syntax: Syntax,
    pub(super) settings: Vec<Setting>,
    pub(super) by_default: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl Advice {
    /// The name on the command line and in JSON.
    pub(super) fn key(&self) -> String {
        key(self.name)
    }
}

/// The name of a client on the command line and in JSON.
pub(super) fn key(client: PoolClient) -> String {
    let value = client.to_possible_value();
    value.map_or_else(String::new, |it| it.get_name().to_owned())
}

const BOTH: &[Protocol] = &[Protocol::MySql, Protocol::Postgres];
const MYSQL: &[Protocol] = &[Protocol::MySql];
const POSTGRES: &[Protocol] = &[Protocol::Postgres];

/// All of them, as they are shown.
pub(super) fn all() -> Vec<Client> {
    vec![
        go::database_sql(),
        go::pgx(),
        jvm::hikaricp(),
        ruby::rails(),
        python::sqlalchemy(),
        node::pg(),
        node::mysql2(),
        rust::sqlx(),
        rust::deadpool(),
        rust::bb8(),
        rust::dbvitals_pool(),
        pgbouncer::pgbouncer(),
    ]
}

impl Client {
    pub(super) fn speaks(&self, protocol: Protocol) -> bool {
        self.protocols.contains(&protocol)
    }

    /// The protocols that it speaks, by their names.
    pub(super) fn languages(&self) -> String {
        let names = self.protocols.iter().map(|protocol| match protocol {
            Protocol::MySql => "MySQL",
            Protocol::Postgres => "PostgreSQL",
            Protocol::Opaque => "any",
        });
        names.collect::<Vec<_>>().join(" and ")
    }

    pub(super) fn advise(&self, limits: &Limits, share: &Share, shape: &Shape) -> Advice {
        let notes = (self.notes)(limits, shape);
        Advice {
            name: self.name,
            title: self.title,
            syntax: self.syntax,
            settings: (self.settings)(limits, shape),
            by_default: self.by_default(limits, share),
            notes: notes.into_iter().map(str::to_owned).collect(),
        }
    }

    /// What comes of it on this server if nothing is set.
    fn by_default(&self, limits: &Limits, share: &Share) -> Vec<String> {
        let told = [self.stale_by_default(limits), self.many_by_default(share)];
        told.into_iter().flatten().collect()
    }

    /// What becomes of a connection that died.
    fn stale_by_default(&self, limits: &Limits) -> Option<String> {
        let looks = match limits.is_mysql() {
            true => self.looks.0,
            false => self.looks.1,
        };
        let stale = limits.idle.filter(|limit| !self.defaults.protects(*limit));
        let stale = stale.map(|limit| format!("{}, {}", limits.idle_setting, span(limit)));
        match (looks, stale) {
            (Looks::Never, Some(limit)) => Some(format!(
                "a connection may idle for longer than {limit}: the query that gets it fails"
            )),
            (Looks::Never, None) => Some(
                "nobody looks whether a connection lives before it is used: one that was killed fails a query".to_owned(),
            ),
            (Looks::AtFirstUse, Some(limit)) => Some(format!(
                "what idled for longer than {limit}, is found dead at its next use, and the query is repeated; the server logs each"
            )),
            (Looks::Pings, _) => Some("each checkout pings: a round trip for every use".to_owned()),
            (Looks::AtSocket | Looks::AtFirstUse | Looks::PingsAfterIdling, _) => None,
        }
    }

    /// Whether the server admits as many as are opened.
    fn many_by_default(&self, share: &Share) -> Option<String> {
        let admitted = share.admitted?;
        let instances = share.instances;
        match (self.defaults.max_open, self.size_follows) {
            (None, None) => Some(format!(
                "as many connections are opened as are asked for; the server admits {admitted}"
            )),
            (None, Some(size)) => Some(format!(
                "each instance opens {size}; the server admits {admitted} to all of them"
            )),
            (Some(each), _) if each.saturating_mul(instances) <= admitted => None,
            (Some(each), _) if instances == 1 => Some(format!(
                "up to {each} connections are more than the {admitted} that the server admits"
            )),
            (Some(each), _) => Some(format!(
                "{instances} instances with {each} connections each are more than the {admitted} that the server admits"
            )),
        }
    }
}

/// Bounds as defaults are written down: a number, and times in seconds.
fn bounds(max_open: Option<u32>, lifetime_s: Option<u64>, idle_s: Option<u64>) -> Bounds {
    Bounds {
        max_open,
        max_lifetime: lifetime_s.map(Duration::from_secs),
        max_idle_time: idle_s.map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests;
