//! Whose pings are counted together: by server, by client address, or by connection.
//!
//! A bounded number of groups; what comes beyond is counted with its server's others, and beyond
//! as many servers again with those of all.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::ValueEnum;
use dbvitals_wire::passive::Protocol;

use super::packet::Endpoint;
use super::tally::Tally;

/// So many groups are told apart.
const GROUPS_MAX: usize = 4096;

/// What makes a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupBy {
    /// The client's address
    Client,
    /// The connection
    Connection,
    /// Nothing else: the servers alone
    Server,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asker {
    /// All of a server's clients.
    Everybody,
    Client(IpAddr),
    Connection(Endpoint),
    /// Those for whom there was no room.
    Others,
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) server: Endpoint,
    pub(crate) protocol: Protocol,
    pub(crate) asker: Asker,
    pub(crate) tally: Tally,
}

/// A group's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupId(usize);

/// All groups.
#[derive(Debug)]
pub(super) struct Groups {
    by: GroupBy,
    ids: BTreeMap<(Endpoint, Asker), GroupId>,
    groups: Vec<Group>,
}

impl Groups {
    pub(super) fn new(by: GroupBy) -> Self {
        Self {
            by,
            ids: BTreeMap::new(),
            groups: Vec::new(),
        }
    }

    /// The group of a connection.
    pub(super) fn id_of(
        &mut self,
        client: Endpoint,
        server: Endpoint,
        protocol: Protocol,
    ) -> GroupId {
        let asker = match self.by {
            GroupBy::Client => Asker::Client(client.ip()),
            GroupBy::Connection => Asker::Connection(client),
            GroupBy::Server => Asker::Everybody,
        };
        let fallbacks = [
            (GROUPS_MAX, (server, Asker::Others)),
            (2 * GROUPS_MAX, (Endpoint::OTHERS, Asker::Others)),
        ];
        let (mut server, mut asker) = (server, asker);
        for (limit, fallback) in fallbacks {
            if self.groups.len() >= limit && !self.ids.contains_key(&(server, asker)) {
                (server, asker) = fallback;
            }
        }
        *self.ids.entry((server, asker)).or_insert_with(|| {
            self.groups.push(Group {
                server,
                protocol,
                asker,
                tally: Tally::default(),
            });
            GroupId(self.groups.len() - 1)
        })
    }

    pub(super) fn tally(&mut self, id: GroupId) -> Option<&mut Tally> {
        self.groups.get_mut(id.0).map(|group| &mut group.tally)
    }

    pub(super) fn into_groups(self) -> Vec<Group> {
        self.groups
    }
}
