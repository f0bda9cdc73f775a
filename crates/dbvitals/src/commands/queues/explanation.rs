//! What is seen of a queue, in sentences: what it means, where its limit comes from, what to do.

use dbvitals_acceptqueue::{Counters, Family, Listener, ProcessState, Sight, Waiting};

use super::page::range;
use super::scope::{Entry, NamespaceFacts, Snapshot};
use super::{judgement, setting};
use crate::exit::Exit;

/// What is worth saying of a listener; all of it where it was named.
pub(super) fn explain(entry: &Entry, snapshot: &Snapshot, is_named: bool) -> Vec<String> {
    let Some(facts) = snapshot.namespaces.get(entry.found.namespace) else {
        return Vec::new();
    };
    let listener = &entry.found.listener;
    let exit = judgement::of(listener);
    let mut said = Vec::new();
    said.extend(fill(listener, exit));
    said.extend(standstill(entry));
    if let Some(waiting) = &entry.waiting {
        said.extend(outside(waiting, listener));
    }
    said.extend(blocked(entry, snapshot));
    said.extend(overflows(entry, snapshot, facts));
    if listener.port().is_some() && (is_named || exit != Exit::Fine) {
        said.extend(half_open(facts));
    }
    if is_named || exit != Exit::Fine {
        said.extend(limit(entry, facts));
    }
    if listener.port().is_none() && exit != Exit::Fine {
        said.push("net.unix.max_dgram_qlen has nothing to do with it: that is the queue of datagram sockets.".to_owned());
    }
    if is_named {
        said.extend(hidden(entry, snapshot, facts));
    }
    said
}

fn fill(listener: &Listener, exit: Exit) -> Option<String> {
    let capacity = listener.capacity()?;
    let length = listener.length;
    let is_unix = listener.family() == Family::Unix;
    match exit {
        Exit::Critical if is_unix => Some(format!(
            "Full: {length} wait where {capacity} fit. A connect that blocks now waits without limit, and one that does not gets EAGAIN (\"Resource temporarily unavailable\"); nothing is logged or counted anywhere."
        )),
        Exit::Critical => Some(format!(
            "Full: {length} wait where {capacity} fit. SYNs are dropped in silence, and clients repeat them after 1, 2, 3 s and more: connect times of whole seconds are the sign."
        )),
        Exit::Warning => Some(format!(
            "Nearly full: {length} wait where {capacity} fit. The server accepts more slowly than clients come, or not at all."
        )),
        Exit::Fine | Exit::Unknown => None,
    }
}

/// A process that does not run does not accept.
fn standstill(entry: &Entry) -> Option<String> {
    let processes = &entry.processes;
    let process = processes.first()?;
    let all = |state: ProcessState| processes.iter().all(|it| it.state == state);
    let Listener { length, .. } = entry.found.listener;
    let pids: Vec<_> = processes
        .iter()
        .take(8)
        .map(|it| it.pid.to_string())
        .collect();
    let who = format!("{} ({})", process.command, pids.join(", "));
    if all(ProcessState::Stopped) {
        let left = entry.found.listener.capacity();
        let left = left.map_or(0, |capacity| capacity.saturating_sub(length));
        let still = match left {
            0 => String::new(),
            left => format!(" A check that only connects would still pass, {left} more times."),
        };
        return Some(format!(
            "{who} is stopped (state T): nothing is accepted, and {length} wait, until `kill -CONT {}`.{still}",
            pids.join(" ")
        ));
    }
    all(ProcessState::Waiting)
        .then(|| format!("{who} waits for a disk (state D) and accepts nothing meanwhile."))
}

/// Those who are neither connected nor refused.
fn outside(waiting: &Waiting, listener: &Listener) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(most) = waiting.knocking.iter().map(|it| it.repeats).max()
        && most > 0
    {
        said.push(format!(
            "{} of this host: not answered; the longest has repeated its SYN {}.",
            clients(waiting.knocking.len()),
            match most {
                1 => "once".to_owned(),
                most => format!("{most} times"),
            }
        ));
    }
    let ghosts = waiting.ghosts.len();
    let half = waiting.ghosts.iter().filter(|it| it.is_half_open).count();
    let unknown = ghosts - half;
    let is_full = listener.is_full() == Some(true);
    if unknown > 0 {
        said.push(format!(
            "{} of this host believe to be connected, and the server knows nothing of them: they came with SYN cookies while the queue was full. One that waits for the server's first words, as MySQL's do, waits until its own timeout.",
            clients(unknown)
        ));
    }
    if half > 0 && is_full {
        said.push(format!(
            "{} of this host believe to be connected, while the server has dropped their last acknowledgement: they are served at one of its repeated answers (after 1, 3, 7, 15 s) if there is room then, or when they speak first.",
            clients(half)
        ));
    } else if half > 0 {
        said.push(format!(
            "{} of this host are connected and have said nothing; the server holds them half open, as one does that defers accept (TCP_DEFER_ACCEPT).",
            clients(half)
        ));
    }
    said
}

fn clients(count: usize) -> String {
    match count {
        1 => "1 client".to_owned(),
        count => format!("{count} clients"),
    }
}

fn blocked(entry: &Entry, snapshot: &Snapshot) -> Option<String> {
    let count = entry.blocked?;
    let hidden = match snapshot.hidden_clients {
        0 => String::new(),
        hidden => format!(
            " {hidden} processes could not be looked into; root with CAP_SYS_PTRACE sees them too."
        ),
    };
    let who = match count {
        0 => "No client was found blocked in a connect.".to_owned(),
        1 => "1 client is blocked in a connect.".to_owned(),
        count => format!("{count} clients are blocked in a connect."),
    };
    Some(who + &hidden)
}

fn overflows(entry: &Entry, snapshot: &Snapshot, facts: &NamespaceFacts) -> Option<String> {
    let drops = entry.found.listener.drops?;
    let overflows = entry.overflows(snapshot).filter(|it| *it.end() > 0)?;
    Some(format!(
        "Since it listens it dropped {drops} packets; {} of that were overflows. The kernel counts a dropped SYN once, a dropped acknowledgement twice, and a handshake that its client broke off, as a quiet health check does, once as well; all listeners of this network namespace had {} overflows (ListenOverflows).",
        range(&overflows),
        facts.counters.listen_overflows
    ))
}

/// What became of those who came while too many were half open: they never got as far as the queue.
fn half_open(facts: &NamespaceFacts) -> Option<String> {
    let Counters {
        request_queue_drops: dropped,
        cookies_sent: cookies,
        ..
    } = facts.counters;
    let became = match (dropped, cookies) {
        (0, 0) => return None,
        (dropped, 0) => format!("{dropped} SYNs were dropped for it (TCPReqQFullDrop)"),
        (0, cookies) => format!("{cookies} SYNs were answered with a cookie (SyncookiesSent)"),
        (dropped, cookies) => format!(
            "{dropped} SYNs were dropped for it (TCPReqQFullDrop), and {cookies} answered with a cookie (SyncookiesSent)"
        ),
    };
    Some(format!(
        "Too many connections were half open at listeners of this network namespace: {became}. If that grows while clients cannot connect, it is the SYN path and not the accept queue."
    ))
}

/// Where the limit comes from, and what would raise it.
fn limit(entry: &Entry, facts: &NamespaceFacts) -> Option<String> {
    let limit = entry.found.listener.limit?;
    let command = entry.processes.first().map(|it| it.command.as_str());
    let program = command.and_then(setting::of);
    let raise = program.unwrap_or("the backlog it is configured with");
    let Some(somaxconn) = facts.somaxconn else {
        return Some(format!(
            "The limit in force, {limit}, was taken when listen() was called. To raise it: {raise}, then restart the listener."
        ));
    };
    Some(if limit < somaxconn {
        format!(
            "The limit in force, {limit}, was taken when listen() was called: its argument, or net.core.somaxconn if that was {limit} then. The sysctl is {somaxconn} now; a change of either needs a restart of the listener. To raise it: {raise}."
        )
    } else if limit == somaxconn {
        format!(
            "The limit in force, {limit}, is net.core.somaxconn: listen() was given as much, or more. To raise it: the sysctl, and {raise}, if that is not more already; then restart the listener."
        )
    } else {
        format!(
            "The limit in force, {limit}, is more than net.core.somaxconn, which was lowered to {somaxconn} since; it stays until the listener is restarted."
        )
    })
}

/// What could not be seen.
fn hidden(entry: &Entry, snapshot: &Snapshot, facts: &NamespaceFacts) -> Vec<String> {
    let mut said = Vec::new();
    let listener = &entry.found.listener;
    if entry.processes.is_empty() && snapshot.hidden_processes > 0 {
        let user = listener
            .uid
            .map_or_else(String::new, |uid| format!(" (of user {uid})"));
        said.push(format!(
            "Who listens{user} is hidden from this user; root sees it."
        ));
    }
    if entry.processes.is_empty() && snapshot.hidden_processes == 0 {
        said.push(
            "No process that can be seen from here holds it: it is outside of this container, or /proc hides it.".to_owned(),
        );
    }
    if facts.sight == Sight::Tables {
        let kind = match listener.family() {
            Family::Unix => "Limits, who waits, and clients of other namespaces",
            Family::Tcp4 | Family::Tcp6 => "Limits and drops",
        };
        said.push(format!(
            "{kind} cannot be seen in another network namespace without CAP_SYS_ADMIN; run as root."
        ));
    }
    said
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dbvitals_acceptqueue::{Listeners, Process};

    use super::super::scope::Found;
    use super::*;

    /// A unix listener, as the kernel's table has it, with a limit.
    fn entry(length: u32, limit: u32, process: &str, state: ProcessState) -> Entry {
        let table = b"header\n0: 00000002 00000000 00010000 0001 01 42 /run/x.sock\n";
        let listeners = Listeners::from_tables(b"", table);
        let listener = listeners.iter().next().expect("one listener").clone();
        Entry {
            found: Found {
                namespace: 0,
                listener: Listener {
                    length,
                    limit: Some(limit),
                    ..listener
                },
            },
            processes: vec![Process {
                pid: 7,
                command: process.to_owned(),
                state,
            }],
            waiting: None,
            blocked: (length > limit).then_some(199),
        }
    }

    fn said(entry: Entry, somaxconn: u32, is_named: bool) -> String {
        said_where(entry, somaxconn, is_named, Counters::default())
    }

    fn said_where(entry: Entry, somaxconn: u32, is_named: bool, counters: Counters) -> String {
        let facts = NamespaceFacts {
            id: 1,
            name: None,
            sight: Sight::Whole,
            counters,
            somaxconn: Some(somaxconn),
        };
        let snapshot = Snapshot {
            namespaces: vec![facts],
            entries: Vec::new(),
            clients: BTreeMap::new(),
            hidden_processes: 0,
            hidden_clients: 0,
        };
        explain(&entry, &snapshot, is_named).join("\n")
    }

    #[test]
    fn the_limit_is_traced_to_listen_or_the_sysctl_then_or_since() {
        let limit = |limit, somaxconn| {
            said(
                entry(0, limit, "php-fpm8.2", ProcessState::Alive),
                somaxconn,
                true,
            )
        };
        assert!(limit(100, 4096).contains("The sysctl is 4096 now; a change of either needs"));
        assert!(limit(100, 4096).contains("listen.backlog"));
        assert!(limit(128, 128).contains("128, is net.core.somaxconn:"));
        assert!(limit(128, 64).contains("lowered to 64 since"));
    }

    #[test]
    fn the_syn_path_is_told_of_where_it_was_too_narrow() {
        let line = b"0: 0100007F:0CEA 00000000:0000 0A 0:0 00:00000000 00000000 0 0 42 1 0";
        let listeners = Listeners::from_tables(line, b"");
        let listener = listeners.iter().next().expect("one listener").clone();
        let said = |request_queue_drops, cookies_sent| {
            let mut entry = entry(0, 80, "x", ProcessState::Alive);
            entry.found.listener = listener.clone();
            let counters = Counters {
                request_queue_drops,
                cookies_sent,
                ..Counters::default()
            };
            said_where(entry, 4096, true, counters)
        };
        assert!(!said(0, 0).contains("half open"), "{}", said(0, 0));
        assert!(said(7, 0).contains("7 SYNs were dropped for it (TCPReqQFullDrop)."));
        assert!(said(0, 9).contains("9 SYNs were answered with a cookie (SyncookiesSent)."));
        let both = said(7, 9);
        assert!(
            both.contains("7 SYNs were dropped") && both.contains("and 9 answered"),
            "{both}"
        );
    }

    #[test]
    fn a_quiet_queue_that_nobody_named_needs_no_words() {
        assert_eq!(
            said(entry(3, 80, "x", ProcessState::Alive), 4096, false),
            ""
        );
    }

    #[test]
    fn a_full_unix_queue_tells_of_the_blocked_and_of_the_wrong_sysctl() {
        let said = said(entry(101, 100, "x", ProcessState::Alive), 4096, false);
        for words in [
            "101 wait where 101 fit",
            "199 clients are blocked",
            "max_dgram_qlen",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }

    #[test]
    fn a_stopped_server_is_told_before_its_queue_is_full() {
        let said = said(entry(2, 80, "mariadbd", ProcessState::Stopped), 4096, false);
        assert!(said.contains("kill -CONT 7"), "{said}");
        assert!(said.contains("would still pass, 79 more times"), "{said}");
    }
}
