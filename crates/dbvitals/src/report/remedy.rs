//! What to do about a cause, in a sentence that a tired person can act on.

use dbvitals_probe::Protocol;
use dbvitals_verdict::Cause;

use crate::target_url::TargetUrl;

/// The remedy for a cause at a target.
pub(crate) fn remedy(cause: Cause, target: &TargetUrl) -> String {
    let address = &target.address;
    let user = target.user.as_deref().unwrap_or("the check's user");
    let mysql = target.protocol == Protocol::MySql;
    match cause {
        Cause::Refused => format!(
            "Start the server, or correct the address: nothing listens at {address}."
        ),
        Cause::Unreachable => format!(
            "Check routes, addresses and firewalls between this host and {address}."
        ),
        Cause::ConnectTimeout => format!(
            "The host may be off, a firewall may drop packets, or the accept queue at {address} is full: look from the server's own host."
        ),
        Cause::Reset | Cause::Closed => format!(
            "Look into the server's log at {address}: it may be crashing, stopping, or refusing this host (TCP wrappers, a proxy in between)."
        ),
        Cause::NoGreeting => format!(
            "The kernel accepts for a server that does not: look whether the process at {address} is stopped, swapping, or out of threads."
        ),
        Cause::Unresponsive => format!(
            "The server at {address} hangs: look for a full disk, a global lock, or exhausted CPU, before you restart it."
        ),
        Cause::WrongProtocol => format!(
            "Correct the port or the scheme: {address} is something else."
        ),
        Cause::Malformed => format!(
            "Look at what stands between this host and {address}: a proxy, or a server of a version that is not known here."
        ),
        Cause::StartingUp => "Wait: the server is replaying its log; `dbvitals wait` does that for you.".to_owned(),
        Cause::ShuttingDown => "Wait for the stop to end, or find out who ordered it in the server's log.".to_owned(),
        Cause::InRecovery => "Wait for recovery to end, or promote the server if it is meant to take writes.".to_owned(),
        Cause::ReadOnly | Cause::NotPrimary | Cause::NotReplica => "Point this traffic at the server that has the role now, or change this one's role.".to_owned(),
        Cause::Lagging => "Find out what delays replication: its threads, the network, or a long transaction.".to_owned(),
        Cause::NotSynced => "Look at the cluster's state on this node (SHOW STATUS LIKE 'wsrep%', or the group's members).".to_owned(),
        Cause::RejectingQueries => "The server takes logins and refuses work: look into its log, and at its cluster's state.".to_owned(),
        Cause::AssertionFailed => "The server works and the answer is not the one you wanted: correct the data, or the expected value.".to_owned(),
        Cause::WriteFailed => "Look into the server's log for the failed commit.".to_owned(),
        Cause::DiskFull => "Make room on the server's disk, starting with old binary logs or WAL that nothing needs.".to_owned(),
        Cause::TlsUntrusted => "Name the authority that signed the server's certificate with ca=FILE, enable TLS on the server, or ask for less with tls=require or tls=prefer.".to_owned(),
        Cause::TlsExpired => "Renew the server's certificate, and check the clocks of both machines.".to_owned(),
        Cause::TlsWrongName => "Use the host name that stands in the certificate, or issue one that names this host.".to_owned(),
        Cause::TooManyConnections if mysql => "Find who holds the connections (SHOW PROCESSLIST), lower the pools' sizes, or raise max_connections.".to_owned(),
        Cause::TooManyConnections => "Find who holds the connections (pg_stat_activity), lower the pools' sizes, or raise max_connections.".to_owned(),
        Cause::QueueFull => "The server accepts too slowly: look whether it is stuck, then at its backlog.".to_owned(),
        Cause::OverBudget => "Find out what makes the server slow, or raise the budget.".to_owned(),
        Cause::AccessDenied if mysql => format!(
            "Check the password of {user}, that it may connect from this host, and its database; a server with require_secure_transport refuses plain logins the same way (use tls=require)."
        ),
        Cause::AccessDenied => format!(
            "Check the password of {user}, its database, and the server's pg_hba.conf for this host."
        ),
        Cause::HostBlocked => "Stop whatever breaks off its logins on this host, then run FLUSH HOSTS on the server.".to_owned(),
        Cause::CheckUserLimit => format!(
            "Raise the connection limit of {user}, or find out who else uses it; dbvitals needs two sessions per server."
        ),
        Cause::BadQuery => "Correct the statement, or grant the check's user what it needs.".to_owned(),
        Cause::DnsFailed => "Correct the name, or repair this host's name resolution (/etc/resolv.conf); an address in place of the name avoids the question.".to_owned(),
        Cause::OutOfDescriptors => "Raise this process's limit of open files (ulimit -n, LimitNOFILE=).".to_owned(),
        Cause::AgentStalled => "Give this host or this process more CPU: it was too late to judge anybody.".to_owned(),
        Cause::SessionLost => "Nothing has to be done; somebody or some timeout ended the session.".to_owned(),
    }
}
