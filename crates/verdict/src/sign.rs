//! A backend in a few words: all that services, gates and balancers' checks go by.
//!
//! Made from a [`Standing`], small enough to be compared and passed on at each change.

use crate::{Admin, Alarm, Cause, Class, Role, Standing, Verdict, Want};

/// What is told of a backend, or of a service, to whoever sends traffic there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sign {
    /// The conclusion.
    pub verdict: Verdict,
    /// The operator's order.
    pub admin: Admin,
    /// The server's role, as last seen; none for a service.
    pub role: Option<Role>,
    /// It refuses writes, as far as is known.
    pub read_only: bool,
    /// Others of its cluster are to take writes as well: a Galera node, or a member of a
    /// replication group with several primaries.
    pub shares_writes: bool,
    /// The cause behind the verdict.
    pub cause: Option<Cause>,
    /// The class of that cause.
    pub class: Option<Class>,
    /// What is wrong with a service although its members are well.
    pub alarm: Option<Alarm>,
}

impl Sign {
    /// Whether traffic may go there, whatever its role.
    pub fn is_fit(self) -> bool {
        self.admin == Admin::Ready && matches!(self.verdict, Verdict::Up | Verdict::Degraded)
    }

    /// Whether it is what is wanted, as far as its role goes.
    pub fn meets(self, want: Want) -> bool {
        self.lacks(want).is_none()
    }

    /// What it looks like to somebody who wants this: a server that is well and not what is
    /// wanted is down, and the cause says so.
    pub fn for_want(self, want: Want) -> Self {
        match (self.verdict, self.lacks(want)) {
            (Verdict::Up | Verdict::Degraded, Some(cause)) => Self {
                verdict: Verdict::Down,
                cause: Some(cause),
                class: Some(cause.default_class()),
                ..self
            },
            (Verdict::Up | Verdict::Degraded, None)
            | (Verdict::Unknown | Verdict::Down, Some(_) | None) => self,
        }
    }

    /// Why its role is not what is wanted.
    fn lacks(self, want: Want) -> Option<Cause> {
        let (lacking, cause) = match want {
            Want::Any => return None,
            Want::Primary if self.role == Some(Role::Primary) => (self.read_only, Cause::ReadOnly),
            Want::Primary => (true, Cause::NotPrimary),
            Want::Replica => (self.role != Some(Role::Replica), Cause::NotReplica),
            Want::Writable => (self.role.is_none() || self.read_only, Cause::ReadOnly),
        };
        lacking.then_some(cause)
    }

    /// Whether it takes writes and follows nobody.
    pub(crate) fn is_primary(self) -> bool {
        self.meets(Want::Primary)
    }
}

impl From<&Standing> for Sign {
    fn from(standing: &Standing) -> Self {
        let evidence = &standing.evidence;
        let facts = evidence.newest_facts();
        Self {
            verdict: standing.verdict,
            admin: standing.admin,
            role: standing.role,
            read_only: facts.and_then(|facts| facts.read_only).unwrap_or(false),
            shares_writes: facts.is_some_and(|facts| facts.shares_writes),
            cause: evidence.cause,
            class: evidence.class,
            alarm: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(role: Option<Role>, read_only: bool) -> Sign {
        Sign {
            verdict: Verdict::Up,
            role,
            read_only,
            ..Sign::default()
        }
    }

    #[test]
    fn a_role_is_what_is_wanted_or_says_what_it_lacks() {
        let check = |sign: Sign, expected: [Option<Cause>; 4]| {
            assert_eq!(Want::ALL.map(|want| sign.for_want(want).cause), expected);
            for want in Want::ALL {
                let seen = sign.for_want(want);
                assert_eq!(seen.is_fit(), sign.meets(want), "{sign:?} {want}");
            }
        };
        let (primary, replica) = (Some(Role::Primary), Some(Role::Replica));
        let not_replica = Some(Cause::NotReplica);
        let not_primary = Some(Cause::NotPrimary);
        let read_only = Some(Cause::ReadOnly);
        check(server(primary, false), [None, None, not_replica, None]);
        check(
            server(primary, true),
            [None, read_only, not_replica, read_only],
        );
        check(server(replica, true), [None, not_primary, None, read_only]);
        check(server(replica, false), [None, not_primary, None, None]);
        check(
            server(None, false),
            [None, not_primary, not_replica, read_only],
        );
    }

    #[test]
    fn what_is_not_known_stays_so_whatever_is_wanted() {
        let unknown = Sign::default();
        assert_eq!(unknown.for_want(Want::Primary), unknown);
    }
}
