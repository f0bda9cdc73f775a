//! HTTPS: a certificate and its key out of two PEM files, as the server of HTTP needs them.
//!
//! Both are read whole and held against each other before anything changes, so a renewal that went
//! wrong is told and leaves the old pair in force. What a key file has in it is never told.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, ServerConfig};

/// A certificate with its key, ready to be shown to clients.
#[derive(Clone)]
pub(crate) struct Tls(pub(super) Arc<ServerConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(…)")
    }
}

/// Which of the two files is at fault, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TlsFault {
    Certificate(String),
    Key(String),
}

impl Tls {
    /// Reads a chain of certificates, the server's own first, and the key of that one.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, TlsFault> {
        let chain = read_chain(certificate).map_err(TlsFault::Certificate)?;
        let key = read_key(key).map_err(TlsFault::Key)?;
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFault::Certificate(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut config = config.map_err(|error| fault_of(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

/// Which file rustls finds at fault; a kind of key that it does not know is the key's.
fn fault_of(error: &Error) -> TlsFault {
    if matches!(error, Error::InconsistentKeys(_)) {
        return TlsFault::Key("this is not the key of http_certificate".to_owned());
    }
    let told = format!("it cannot be used: {error}");
    match matches!(error, Error::InvalidCertificate(_)) {
        true => TlsFault::Certificate(told),
        false => TlsFault::Key(told),
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) | Err(_) => Err(format!(
            "no certificate found in {}; it must hold PEM blocks that begin with -----BEGIN CERTIFICATE-----",
            path.display()
        )),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = read(path)?;
    // What is wrong with a key is not told in its own words.
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        format!(
            "no private key found in {}; it must hold one PEM block, without a passphrase",
            path.display()
        )
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| {
        format!(
            "cannot read {}: {}; the file must exist and be readable by the user that runs dbvitals",
            path.display(),
            dbvitals_probe::plain(&error)
        )
    })
}
