//! The network namespaces that are looked into, and what all of their listeners are like at one
//! moment.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::Context;
use dbvitals_acceptqueue::{
    Blocked, Counters, Listener, Listeners, Namespace, Owners, Process, Sight, Waiting, namespaces,
    overflows_of,
};

use super::place::Place;
use crate::cli::QueuesArgs;
use crate::misuse::Misuse;

/// Where those namespaces are that have no process.
const NAMED: &str = "/run/netns";

/// What is looked into, and for what.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) namespaces: Vec<Part>,
    /// Everything, if empty.
    pub(super) places: Vec<Place>,
}

/// One namespace of a scope.
#[derive(Debug)]
pub(super) struct Part {
    namespace: Namespace,
    /// How it is called, unless it is the caller's own.
    pub(super) name: Option<String>,
}

/// What is known of a namespace at one moment.
#[derive(Debug, Clone)]
pub(super) struct NamespaceFacts {
    pub(super) id: u64,
    pub(super) name: Option<String>,
    pub(super) sight: Sight,
    pub(super) counters: Counters,
    pub(super) somaxconn: Option<u32>,
}

/// A listener that was asked for, and the index of its namespace.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) namespace: usize,
    pub(super) listener: Listener,
}

/// All that is known of a listener at one moment.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) found: Found,
    /// Its processes, as far as they can be seen.
    pub(super) processes: Vec<Process>,
    /// Who waits, where it was asked.
    pub(super) waiting: Option<Waiting>,
    /// How many are blocked in a connect to it, where it was asked.
    pub(super) blocked: Option<usize>,
}

/// Everything at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) namespaces: Vec<NamespaceFacts>,
    pub(super) entries: Vec<Entry>,
    /// The processes of clients on this machine, by the inodes of their sockets.
    pub(super) clients: BTreeMap<u32, Process>,
    /// Processes whose sockets could not be seen.
    pub(super) hidden_processes: usize,
    /// Processes of which it could not be seen whether they are blocked.
    pub(super) hidden_clients: usize,
}

impl Scope {
    /// Opens what the arguments ask for.
    pub(super) fn open(args: &QueuesArgs) -> anyhow::Result<Self> {
        let places = args.places.iter().map(|text| Place::parse(text));
        let places = places.collect::<Result<_, _>>()?;
        let namespaces = match (args.pid, args.everywhere) {
            (Some(pid), _) => vec![of_process(pid)?],
            (None, false) => vec![own()?],
            (None, true) => everywhere()?,
        };
        Ok(Self { namespaces, places })
    }

    /// The listeners asked for, at this moment, and the places where none is. Cheap: a watch does
    /// it many times a second.
    pub(super) fn sample(&mut self) -> anyhow::Result<(Vec<Found>, Vec<Listeners>)> {
        let mut found = Vec::new();
        let mut samples = Vec::new();
        for (index, part) in self.namespaces.iter_mut().enumerate() {
            let sample = part.namespace.sample().context("failed to sample")?;
            let mut seen = BTreeSet::new();
            let named = self
                .places
                .iter()
                .flat_map(|place| part.find(place, &sample));
            let all = sample.iter().filter(|_| self.places.is_empty());
            for listener in named.chain(all) {
                if seen.insert((listener.inode, listener.cookie)) {
                    found.push(Found {
                        namespace: index,
                        listener: listener.clone(),
                    });
                }
            }
            samples.push(sample);
        }
        Ok((found, samples))
    }

    /// The places at which nothing listens.
    pub(super) fn vacant(&self, samples: &[Listeners]) -> Vec<&Place> {
        let is_vacant = |place: &&Place| {
            let mut parts = self.namespaces.iter().zip(samples);
            parts.all(|(part, sample)| part.find(place, sample).is_empty())
        };
        self.places.iter().filter(is_vacant).collect()
    }

    /// How many network namespaces are there that are not looked into.
    pub(super) fn others(&self) -> usize {
        let known: BTreeSet<_> = self.namespaces.iter().map(|it| it.namespace.id()).collect();
        let all = namespaces().unwrap_or_default();
        all.into_keys().filter(|id| !known.contains(id)).count()
    }

    /// What the namespaces count.
    pub(super) fn facts(&mut self) -> anyhow::Result<Vec<NamespaceFacts>> {
        let parts = self.namespaces.iter_mut();
        parts
            .map(|part| {
                Ok(NamespaceFacts {
                    id: part.namespace.id(),
                    name: part.name.clone(),
                    sight: part.namespace.sight(),
                    counters: part.namespace.counters()?,
                    somaxconn: part.namespace.somaxconn(),
                })
            })
            .collect()
    }

    /// Who waits at a listener.
    pub(super) fn waiting(
        &mut self,
        found: &Found,
        samples: &[Listeners],
    ) -> anyhow::Result<Option<Waiting>> {
        let part = self.namespaces.get_mut(found.namespace);
        match part.zip(samples.get(found.namespace)) {
            Some((part, sample)) => Ok(Some(part.namespace.waiting(&found.listener, sample)?)),
            None => Ok(None),
        }
    }

    /// All that can be known of the listeners asked for. Who waits is asked where somebody does,
    /// and where a listener is named: there may be those whom it does not know of.
    pub(super) fn snapshot(
        &mut self,
        found: Vec<Found>,
        samples: &[Listeners],
    ) -> anyhow::Result<Snapshot> {
        let named = !self.places.is_empty();
        let mut entries = Vec::new();
        for found in found {
            let waiting = match named || found.listener.length > 0 {
                true => self.waiting(&found, samples)?,
                false => None,
            };
            entries.push(Entry {
                found,
                processes: Vec::new(),
                waiting,
                blocked: None,
            });
        }
        let mut snapshot = Snapshot {
            namespaces: self.facts()?,
            entries,
            clients: BTreeMap::new(),
            hidden_processes: 0,
            hidden_clients: 0,
        };
        snapshot.look_for_owners()?;
        snapshot.look_for_blocked()?;
        Ok(snapshot)
    }
}

impl Part {
    /// What listens at a place. Beside another process a path may lead elsewhere than here: there,
    /// the name counts too.
    fn find<'a>(&self, place: &Place, sample: &'a Listeners) -> Vec<&'a Listener> {
        match (place, place.find(sample)) {
            (Place::Name(name), found) if found.is_empty() && self.name.is_some() => {
                sample.named(name)
            }
            (_, found) => found,
        }
    }
}

impl Entry {
    /// How many connections met its queue full since it listens; `None` where nothing counts them.
    pub(super) fn overflows(&self, snapshot: &Snapshot) -> Option<RangeInclusive<u64>> {
        let listener = &self.found.listener;
        let drops = listener.drops.filter(|_| listener.port().is_some())?;
        let facts = snapshot.namespaces.get(self.found.namespace)?;
        Some(overflows_of(drops.into(), &facts.counters))
    }
}

impl Snapshot {
    fn look_for_owners(&mut self) -> anyhow::Result<()> {
        let mut inodes = BTreeSet::new();
        for entry in &self.entries {
            inodes.insert(entry.found.listener.inode);
            inodes.extend(entry.waiting.iter().flat_map(client_inodes));
        }
        let owners = Owners::find(&inodes)?;
        self.hidden_processes = owners.hidden;
        for entry in &mut self.entries {
            entry.processes = owners.of(entry.found.listener.inode).to_owned();
            let clients = entry.waiting.iter().flat_map(client_inodes);
            let clients = clients.filter_map(|inode| Some((inode, owners.of(inode).first()?)));
            let clients = clients.map(|(inode, process)| (inode, process.clone()));
            self.clients.extend(clients);
        }
        Ok(())
    }

    /// Nobody is blocked where there is room.
    fn look_for_blocked(&mut self) -> anyhow::Result<()> {
        let may_block = |entry: &Entry| may_block(&entry.found.listener);
        if !self.entries.iter().any(may_block) {
            return Ok(());
        }
        let blocked = Blocked::find()?;
        self.hidden_clients = blocked.hidden;
        for entry in self.entries.iter_mut().filter(|entry| may_block(entry)) {
            entry.blocked = Some(blocked.at(&entry.found.listener).count());
        }
        Ok(())
    }
}

/// Whether clients may be blocked in a connect to a listener.
pub(super) fn may_block(listener: &Listener) -> bool {
    listener.port().is_none() && listener.length > 0 && listener.is_full() != Some(false)
}

fn client_inodes(waiting: &Waiting) -> impl Iterator<Item = u32> {
    let peers = waiting.peers.iter().filter_map(|it| it.client_inode);
    let knocking = waiting.knocking.iter().map(|it| it.client_inode);
    let ghosts = waiting.ghosts.iter().map(|it| it.client_inode);
    peers.chain(knocking).chain(ghosts)
}

fn own() -> anyhow::Result<Part> {
    Ok(Part {
        namespace: Namespace::current()?,
        name: None,
    })
}

fn of_process(pid: u32) -> Result<Part, Misuse> {
    let namespace = Namespace::of_process(pid)
        .map_err(|error| Misuse(format!("cannot look beside process {pid}: {error}")))?;
    Ok(Part {
        namespace,
        name: Some(name_of(pid)),
    })
}

fn name_of(pid: u32) -> String {
    match Process::look_at(pid) {
        Some(process) => format!("{} ({pid})", process.command),
        None => format!("process {pid}"),
    }
}

/// The caller's own, then those of processes, then those that only have a name. One that vanishes
/// meanwhile is left out.
fn everywhere() -> anyhow::Result<Vec<Part>> {
    let mut parts = vec![own()?];
    for (id, pid) in namespaces()? {
        let namespace = Namespace::of_process(pid).ok();
        let is_new = parts.iter().all(|part| part.namespace.id() != id);
        parts.extend(namespace.filter(|_| is_new).map(|namespace| Part {
            namespace,
            name: Some(name_of(pid)),
        }));
    }
    let files = std::fs::read_dir(Path::new(NAMED)).into_iter().flatten();
    for file in files.flatten() {
        let Ok(namespace) = Namespace::of_file(&file.path()) else {
            continue;
        };
        if parts
            .iter()
            .all(|part| part.namespace.id() != namespace.id())
        {
            parts.push(Part {
                namespace,
                name: Some(file.file_name().to_string_lossy().into_owned()),
            });
        }
    }
    Ok(parts)
}
