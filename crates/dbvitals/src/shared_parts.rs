//! What many targets have in common: made once, and kept once for all of them.
//!
//! A fleet logs in as one user and trusts one authority. A TLS configuration is dear to make and
//! large to keep, and the machine's store of authorities takes milliseconds to load; accounts are
//! small, but there may be very many. Lives as long as targets are made: whoever reads a
//! configuration or a command line has one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dbvitals_probe::{TlsConfig, TlsConfigError};
use dbvitals_verdict::Plan;
use dbvitals_wire::Credentials;
use secrecy::ExposeSecret;

/// Whoever has more of a kind than this has written each of them by hand.
const KEPT_MAX: usize = 64;

/// The parts made so far.
#[derive(Debug, Default)]
pub(crate) struct SharedParts {
    encrypt_only: Option<TlsConfig>,
    /// By the file of the authority; the machine's own store where there is none.
    verifying: BTreeMap<Option<PathBuf>, TlsConfig>,
    /// The files of authorities, as they were read.
    authorities: BTreeMap<PathBuf, Arc<[u8]>>,
    credentials: Vec<Arc<Credentials>>,
    plans: Vec<Arc<Plan>>,
}

impl SharedParts {
    /// The TLS configuration that encrypts and believes any certificate.
    pub(crate) fn encrypt_only(&mut self) -> Result<TlsConfig, TlsConfigError> {
        if let Some(made) = &self.encrypt_only {
            return Ok(made.clone());
        }
        let made = TlsConfig::encrypt_only()?;
        Ok(self.encrypt_only.insert(made).clone())
    }

    /// The TLS configuration that verifies against this authority, or the machine's own store.
    pub(crate) fn verifying(
        &mut self,
        authority: Option<&Path>,
    ) -> Result<TlsConfig, TlsConfigError> {
        let authority = authority.map(Path::to_owned);
        if let Some(made) = self.verifying.get(&authority) {
            return Ok(made.clone());
        }
        let made = TlsConfig::verify(authority.as_deref())?;
        self.verifying.insert(authority, made.clone());
        Ok(made)
    }

    /// The certificates in the file of an authority; `None` where it cannot be read.
    pub(crate) fn authority(&mut self, path: &Path) -> Option<Arc<[u8]>> {
        if let Some(read) = self.authorities.get(path) {
            return Some(Arc::clone(read));
        }
        let read: Arc<[u8]> = std::fs::read(path).ok()?.into();
        self.authorities.insert(path.to_owned(), Arc::clone(&read));
        Some(read)
    }

    /// One account for all who log in alike.
    pub(crate) fn credentials(&mut self, own: Credentials) -> Arc<Credentials> {
        kept(&mut self.credentials, own, is_same_account)
    }

    /// One plan for all that are watched alike, found in the processor's cache besides.
    pub(crate) fn plan(&mut self, own: Plan) -> Arc<Plan> {
        kept(&mut self.plans, own, Plan::eq)
    }
}

/// The one of these that is the same, or this one from now on.
fn kept<T>(known: &mut Vec<Arc<T>>, own: T, is_same: impl Fn(&T, &T) -> bool) -> Arc<T> {
    if let Some(known) = known.iter().find(|known| is_same(known, &own)) {
        return Arc::clone(known);
    }
    let own = Arc::new(own);
    if known.len() < KEPT_MAX {
        known.push(Arc::clone(&own));
    }
    own
}

fn is_same_account(one: &Credentials, other: &Credentials) -> bool {
    fn exposed(it: &Credentials) -> Option<&str> {
        it.password.as_ref().map(ExposeSecret::expose_secret)
    }
    one.user == other.user && one.database == other.database && exposed(one) == exposed(other)
}

#[cfg(test)]
mod tests {
    use dbvitals_testkit::TestAuthority;
    use dbvitals_verdict::{Course, Depth};

    use super::*;

    #[test]
    fn who_logs_in_alike_has_one_account_and_who_does_not_has_another() {
        let mut shared = SharedParts::default();
        let vitals = || Credentials::new("vitals").with_password("secret");
        let one = shared.credentials(vitals());
        assert!(Arc::ptr_eq(&one, &shared.credentials(vitals())));
        for other in [
            Credentials::new("vitals"),
            Credentials::new("others").with_password("secret"),
            vitals().with_password("another"),
            vitals().with_database("orders"),
        ] {
            let other = shared.credentials(other);
            assert!(!Arc::ptr_eq(&one, &other), "{other:?}");
        }
    }

    #[test]
    fn so_many_accounts_that_each_is_its_own_are_not_searched_for_ever() {
        let mut shared = SharedParts::default();
        for number in 0..3 * KEPT_MAX {
            let user = format!("user{number}");
            assert_eq!(shared.credentials(Credentials::new(&*user)).user, user);
        }
        assert_eq!(shared.credentials.len(), KEPT_MAX);
    }

    #[test]
    fn one_plan_serves_all_that_are_watched_alike() {
        let mut shared = SharedParts::default();
        let mut plan = |depth| shared.plan(Plan::new(Course::Session { depth }));
        let one = plan(Depth::Ping);
        assert!(Arc::ptr_eq(&one, &plan(Depth::Ping)));
        assert!(!Arc::ptr_eq(&one, &plan(Depth::Role)));
    }

    #[test]
    fn an_authority_is_loaded_once_however_many_targets_trust_it() {
        let authority = TestAuthority::new();
        let path = &*authority.certificate();
        let mut shared = SharedParts::default();
        shared.verifying(Some(path)).expect("an authority");
        shared.authority(path).expect("an authority");
        std::fs::remove_file(path).expect("it is there");
        shared.verifying(Some(path)).expect("it is known");
        shared.authority(path).expect("it is known");
        let other = path.with_extension("other");
        assert!(shared.verifying(Some(&other)).is_err());
        assert!(shared.authority(&other).is_none());
    }
}
