//! Certificates for tests: an authority of the test's own and whatever it signs.
//!
//! The files go with the [`TestAuthority`] that made them. A server gets copies that its account
//! can read when it starts, so one pair of files serves any number of servers. No clock is read:
//! what is valid is so from 2020 to 2090, what is expired was valid in 2019.

mod first_version;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::account;
use crate::guardian::Guardian;

/// When a certificate holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Validity {
    /// Now.
    Current,
    /// No longer.
    Expired,
    /// Not before the year 2090.
    Future,
}

/// The PEM files of a certificate, of its key, and of the authority a client has to trust.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The authority's certificate; a self-signed certificate is its own authority.
    pub authority: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's private key, in PKCS #8.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Copies the certificate and the key to a server's directory, for its account to read.
    pub(crate) fn hand_over(&self, directory: &Path) -> [PathBuf; 2] {
        [
            (&self.certificate, "certificate.pem"),
            (&self.key, "key.pem"),
        ]
        .map(|(source, name)| {
            let contents = fs::read(source)
                .unwrap_or_else(|error| panic!("cannot read {}: {error}", source.display()));
            let target = directory.join(name);
            account::write_private(&target, &contents);
            target
        })
    }
}

/// A private certificate authority whose files vanish with it.
pub struct TestAuthority {
    guardian: Guardian,
    issuer: CertifiedIssuer<'static, KeyPair>,
    issued: AtomicU32,
}

impl TestAuthority {
    /// Makes an authority.
    ///
    /// # Panics
    ///
    /// Panics when its files cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let mut params = params(&[], Validity::Current);
        params
            .distinguished_name
            .push(DnType::CommonName, "dbvitals test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, new_key()).expect("sound parameters");
        let guardian = Guardian::new();
        write(&guardian.directory().join("authority.pem"), &issuer.pem());
        Self {
            guardian,
            issuer,
            issued: AtomicU32::new(0),
        }
    }

    /// Returns the path of the authority's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.guardian.directory().join("authority.pem")
    }

    /// Issues a certificate for host names and IP addresses.
    ///
    /// # Panics
    ///
    /// Panics when a name is not a host name, or the files cannot be written.
    #[must_use]
    pub fn issue(&self, names: &[&str], validity: Validity) -> TlsFiles {
        let key = new_key();
        let mut params = server_params(names, validity);
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("sound parameters");
        let [certificate, key] = self.store(&certificate, &key);
        TlsFiles {
            authority: self.certificate(),
            certificate,
            key,
        }
    }

    /// Makes a certificate that this authority knows nothing of: it is signed with its own key.
    ///
    /// # Panics
    ///
    /// Panics as [`issue`](Self::issue) does.
    #[must_use]
    pub fn self_signed(&self, names: &[&str], validity: Validity) -> TlsFiles {
        let key = new_key();
        let certificate = server_params(names, validity).self_signed(&key);
        let [certificate, key] = self.store(&certificate.expect("sound parameters"), &key);
        TlsFiles {
            authority: certificate.clone(),
            certificate,
            key,
        }
    }

    /// Issues a certificate of X.509's first version, as old tools and some servers make them: it
    /// has no extensions, so it names its host in the subject alone.
    ///
    /// # Panics
    ///
    /// Panics as [`issue`](Self::issue) does.
    #[must_use]
    pub fn issue_v1(&self, names: &[&str]) -> TlsFiles {
        let key = new_key();
        let certificate = server_params(names, Validity::Current)
            .signed_by(&key, &self.issuer)
            .expect("sound parameters");
        let certificate = first_version::of(certificate.der(), self.issuer.key());
        let [certificate, key] = self.store_pem(&certificate, &key);
        TlsFiles {
            authority: self.certificate(),
            certificate,
            key,
        }
    }

    fn store(&self, certificate: &Certificate, key: &KeyPair) -> [PathBuf; 2] {
        self.store_pem(&certificate.pem(), key)
    }

    fn store_pem(&self, certificate: &str, key: &KeyPair) -> [PathBuf; 2] {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let file = |kind| {
            self.guardian
                .directory()
                .join(format!("{kind}-{number}.pem"))
        };
        let paths = [file("certificate"), file("key")];
        write(&paths[0], certificate);
        write(&paths[1], &key.serialize_pem());
        paths
    }
}

impl Default for TestAuthority {
    fn default() -> Self {
        Self::new()
    }
}

fn server_params(names: &[&str], validity: Validity) -> CertificateParams {
    let mut params = params(names, validity);
    let name = names
        .first()
        .copied()
        .expect("a certificate is for one name or more");
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn params(names: &[&str], validity: Validity) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names are host names or IP addresses");
    let (first_year, last_year) = match validity {
        Validity::Current => (2020, 2090),
        Validity::Expired => (2019, 2020),
        Validity::Future => (2090, 2095),
    };
    params.not_before = date_time_ymd(first_year, 1, 1);
    params.not_after = date_time_ymd(last_year, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("the system has randomness")
}

fn write(path: &Path, pem: &str) {
    fs::write(path, pem).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
