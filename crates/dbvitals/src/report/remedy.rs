//! What to do about a cause, in a sentence or two that a tired person can act on.
//!
//! A remedy is as specific as the evidence: where the server gave a number or an SQLSTATE, that
//! decides; its text is looked at only for what no number tells, and a translated one costs a
//! hint, never a cause. What depends on the product is in `remedy/mysql.rs` and
//! `remedy/postgres.rs`; the long version of each remedy is the cause's page in `docs/causes`.
//! Callers: the ladder, the document, `check` on
//! standard error, and the agent's API.

mod case;
mod certificate;
mod mysql;
mod postgres;

use dbvitals_probe::Protocol;
use dbvitals_verdict::{Cause, Observation, Phase};

use case::{Case, Subject};

/// The remedy for a cause that an observation at a target ended with.
pub(crate) fn remedy<'a>(
    cause: Cause,
    target: impl Into<Subject<'a>>,
    observation: &'a Observation,
) -> String {
    let target = target.into();
    let case = Case::new(target, observation);
    let specific = match target.protocol {
        Protocol::MySql => mysql::remedy(cause, &case),
        Protocol::Postgres => postgres::remedy(cause, &case),
        Protocol::Opaque => None,
    };
    specific.unwrap_or_else(|| general(cause, &case))
}

/// What holds for every product.
fn general(cause: Cause, case: &Case<'_>) -> String {
    let Case { address, user, .. } = case;
    match cause {
        Cause::Refused if case.is_unix => format!(
            "Start the server, or correct the socket's path: nobody listens at {address}. The server's log says why it is gone, and its setting where its socket is."
        ),
        Cause::Refused => format!(
            "Start the server, or correct the address: nothing listens at {address}. `ss -ltn` on that host shows what does; a server that runs may listen on another address only ({}).",
            case.words.listen_setting
        ),
        Cause::Unreachable => format!(
            "Check routes, addresses and firewalls between this host and {address} (`ip route get ADDRESS`, then the same from the other side); a host that is off looks the same."
        ),
        Cause::ConnectTimeout => format!(
            "The host may be off, a firewall may drop packets, or the accept queue at {address} is full: look from the server's own host, where `{}` shows a full queue.",
            queues(case)
        ),
        Cause::Reset | Cause::Closed => format!(
            "Look into the server's log at {address}: it may be crashing, stopping, or refusing this host (TCP wrappers, a proxy in between)."
        ),
        Cause::NoGreeting => format!(
            "The kernel accepts for a server that does not: look whether the process at {address} is stopped, swapping, or out of threads. In `ps -C {} -o pid,stat,wchan:20,args`, T is stopped (kill -CONT PID) and D waits for its disk.",
            case.words.processes
        ),
        Cause::Unresponsive => unresponsive(case),
        Cause::WrongProtocol => format!(
            "Correct the port or the scheme: {address} is something else."
        ),
        Cause::Malformed => format!(
            "Look at what stands between this host and {address}: a proxy, or a server of a version that is not known here."
        ),
        Cause::StartingUp => "Wait: the server is replaying its log; `dbvitals wait` does that for you.".to_owned(),
        Cause::ShuttingDown => "Wait for the stop to end, or find out who ordered it in the server's log.".to_owned(),
        Cause::InRecovery => "Wait for recovery to end, or promote the server if it is meant to take writes.".to_owned(),
        Cause::ReadOnly => "Send writes to the primary; take this server out of read-only mode only if it is to be the primary and no other one is.".to_owned(),
        Cause::NotPrimary => "Send this traffic to the server that is the primary now; promote this one only if the other is known to be gone.".to_owned(),
        Cause::NotReplica => "Correct what is wanted if this server is the primary by right; if it should follow, look why it stopped to, or was promoted, before it is attached again.".to_owned(),
        Cause::Lagging => "Find out what delays replication: its threads, the network, or a long transaction.".to_owned(),
        Cause::NotSynced => "Look at the cluster's state on this node and on the others.".to_owned(),
        Cause::RejectingQueries => "The server takes logins and refuses work: look into its log, and at its cluster's state.".to_owned(),
        Cause::AssertionFailed => "The server works and the answer is not the one you wanted: correct the data, or the expected value.".to_owned(),
        Cause::WriteFailed => "Look into the server's log for the failed commit.".to_owned(),
        Cause::DiskFull => "Make room on the server's disk (`df -h` on its data directory), starting with what nothing needs any more.".to_owned(),
        Cause::TlsUntrusted => certificate::untrusted(case),
        Cause::TlsExpired => certificate::expired(case),
        Cause::TlsWrongName => certificate::wrong_name(case),
        Cause::TooManyConnections => "Find who holds the connections, lower the pools' sizes, or raise the server's limit.".to_owned(),
        Cause::QueueFull => format!(
            "The server accepts too slowly: look whether it is stuck, then at its backlog. `{}` on its host shows the queue, its limit and where that comes from, overflows, and who waits.",
            queues(case)
        ),
        Cause::NotAccepting => format!(
            "Look whether the process is stopped, waits for its disk, or is out of threads, before its clients run into their timeouts: `{}` on its host names the process, what it does, and who waits.",
            queues(case)
        ),
        Cause::OverBudget => "Find out what makes the server slow, or raise the budget (slow_over, --slow-over); it is held against the answer, not against the way there.".to_owned(),
        Cause::AccessDenied => access_denied(case),
        Cause::HostBlocked => "Stop whatever breaks off its logins on this host, then have the server forget it.".to_owned(),
        Cause::CheckUserLimit => format!(
            "Raise the connection limit of {user}, or find out who else uses it; dbvitals needs two sessions per server."
        ),
        Cause::BadQuery => format!("Correct the statement, or grant {user} what it needs."),
        Cause::DnsFailed => format!(
            "Correct the name, or repair this host's name resolution (`getent hosts {}`, /etc/resolv.conf); an address in place of the name avoids the question.",
            case.host
        ),
        Cause::OutOfDescriptors => "Raise this process's limit of open files (ulimit -n, LimitNOFILE=).".to_owned(),
        Cause::AgentStalled => "Give this host or this process more CPU: it was too late to judge anybody.".to_owned(),
        Cause::SessionLost => "Nothing has to be done; somebody or some timeout ended the session.".to_owned(),
    }
}

/// The command that shows the accept queue, on the server's own host.
fn queues(case: &Case<'_>) -> String {
    match case.port {
        Some(port) => format!("dbvitals queues {port}"),
        None => format!("dbvitals queues {}", case.address),
    }
}

/// Before the connection stands, it is this host that denies.
fn access_denied(case: &Case<'_>) -> String {
    let Case { address, user, .. } = case;
    match (case.phase, case.is_unix) {
        (Some(Phase::Connect), true) => format!(
            "This process may not open the socket {address}: grant its account write permission on it and search permission on the directories above, or use the group that the server's package made for that."
        ),
        (Some(Phase::Connect), false) => format!(
            "This host itself forbids the connect to {address}: look at its firewall, its `prohibit` routes, and the security policy (SELinux, cgroup) of this process."
        ),
        _ => format!("Check the password of {user}, and what the server's log says of this login."),
    }
}

/// A server that fell silent, by what it was asked last.
fn unresponsive(case: &Case<'_>) -> String {
    let address = &case.address;
    match case.phase {
        Some(Phase::Tls) => format!(
            "The server at {address} agreed to TLS and fell silent: if plain logins work (tls=off), its TLS or a proxy in between is at fault; else it hangs as a whole."
        ),
        Some(Phase::Query | Phase::Role | Phase::Lag) => format!(
            "The server at {address} pings and the statement hangs: look for what it waits for ({}), a lock or a full disk, before you restart anything.",
            case.words.sessions
        ),
        _ => format!(
            "The server at {address} hangs: look for a full disk, a global lock, or exhausted CPU, before you restart it; sessions that are open already may still tell ({}).",
            case.words.sessions
        ),
    }
}

#[cfg(test)]
mod tests;
