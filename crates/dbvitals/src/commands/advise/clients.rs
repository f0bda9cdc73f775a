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
    /// How it finds dead connections if nothing is set, with MySQL and with PostgreSQL.
    looks: (Looks, Looks),
    settings: fn(&Shape) -> Vec<Setting>,
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
        let value = self.name.to_possible_value();
        value.map_or_else(String::new, |it| it.get_name().to_owned())
    }
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

    pub(super) fn advise(&self, limits: &Limits, share: &Share, shape: &Shape) -> Advice {
        let notes = (self.notes)(limits, shape);
        Advice {
            name: self.name,
            title: self.title,
            syntax: self.syntax,
            settings: (self.settings)(shape),
            by_default: self.by_default(limits, share),
            notes: notes.into_iter().map(str::to_owned).collect(),
        }
    }

    /// What comes of it on this server if nothing is set.
    fn by_default(&self, limits: &Limits, share: &Share) -> Vec<String> {
        let looks = match limits.product {
            Some("mysql" | "mariadb") => self.looks.0,
            _ => self.looks.1,
        };
        let stale = limits.idle.filter(|limit| self.defaults.outlives(*limit));
        let mut told = Vec::new();
        match (looks, stale) {
            (Looks::Never, Some(limit)) => told.push(format!(
                "a connection may idle for longer than {}, {}: the query that gets it fails",
                limits.idle_setting,
                span(limit)
            )),
            (Looks::Never, None) => told.push(
                "nobody looks whether a connection lives before it is used: one that was killed fails a query".to_owned(),
            ),
            (Looks::AtFirstUse, Some(limit)) => told.push(format!(
                "what idled for longer than {}, {}, is found dead at its next use, and the query is repeated; the server logs each",
                limits.idle_setting,
                span(limit)
            )),
            (Looks::Pings, _) => told.push("each checkout pings: a round trip for every use".to_owned()),
            (Looks::AtSocket | Looks::AtFirstUse | Looks::PingsAfterIdling, _) => {}
        }
        match (self.defaults.max_open, share.admitted) {
            (None, Some(admitted)) => told.push(format!(
                "as many connections are opened as are asked for; the server admits {admitted}"
            )),
            (Some(each), Some(admitted)) if each.saturating_mul(share.instances) > admitted => {
                told.push(format!(
                    "{} instances with {each} connections each are more than the {admitted} that the server admits",
                    share.instances
                ));
            }
            _ => {}
        }
        told
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
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum as _;

    use super::*;

    fn limits(idle_s: u64) -> Limits {
        Limits {
            product: Some("mariadb"),
            idle: Some(Duration::from_secs(idle_s)),
            idle_setting: "wait_timeout",
            max_connections: Some(151),
            ..Limits::default()
        }
    }

    fn advice(idle_s: u64, instances: u32) -> Vec<Advice> {
        let limits = limits(idle_s);
        let share = Share::of(&limits, instances);
        let shape = Shape::of(&limits, &share);
        let clients = all();
        let advised = clients.iter().map(|it| it.advise(&limits, &share, &shape));
        advised.collect()
    }

    #[test]
    fn every_name_of_the_command_line_has_its_advice() {
        let keys: BTreeSet<_> = advice(600, 1).iter().map(Advice::key).collect();
        let names = PoolClient::value_variants().iter();
        let names: BTreeSet<_> = names
            .map(|it| it.to_possible_value().unwrap().get_name().to_owned())
            .collect();
        assert_eq!(keys, names);
    }

    #[test]
    fn every_setting_has_a_reason_and_no_name_comes_twice() {
        for advice in [1, 5, 40, 90, 600, 28_800]
            .map(|it| advice(it, 4))
            .iter()
            .flatten()
        {
            let settings = &advice.settings;
            assert!(
                settings.iter().all(|it| !it.reason.is_empty()),
                "{advice:?}"
            );
            let keys: BTreeSet<_> = settings.iter().map(|it| it.key).collect();
            assert_eq!(keys.len(), settings.len(), "{advice:?}");
        }
    }

    #[test]
    fn defaults_are_held_against_the_server() {
        let told = |idle_s, instances, key: &str| {
            let mut advice = advice(idle_s, instances);
            advice.retain(|it| it.key() == key);
            advice.remove(0).by_default
        };
        let stale = "a connection may idle for longer than wait_timeout, 60 s: the query that gets it fails";
        assert_eq!(told(60, 1, "sqlalchemy"), [stale]);
        let many = told(28_800, 20, "bb8");
        assert!(
            many[1].starts_with("20 instances with 10 connections"),
            "{many:?}"
        );
        assert_eq!(told(28_800, 1, "pgx"), [""; 0]);
    }
}
