//! TLS towards a server: four policies, and what a failed handshake means.
//!
//! `prefer` and `require` encrypt and ask nothing about the certificate, as the databases' own
//! clients do; `verify` asks everything. The handshake itself is rustls', with ring.
//!
//! The certificate is verified after the handshake, before a word is said: a MySQL server counts
//! handshakes that are broken off, and blocks the host of a checker that distrusts it once a
//! second. That the peer has the certificate's key is proved during the handshake all the same.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dbvitals_verdict::Cause;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};

use crate::failure::plain;

/// Whether and how a session is encrypted.
#[derive(Debug, Clone)]
pub enum TlsPolicy {
    /// Never.
    Off,
    /// Where the server has it; plain text where it has not, or where the handshake fails.
    Prefer(TlsConfig),
    /// Always, whatever the certificate.
    Require(TlsConfig),
    /// Always, and the certificate must be trusted, valid today, and name the host.
    Verify(TlsConfig),
}

impl TlsPolicy {
    pub(crate) fn config(&self) -> Option<&TlsConfig> {
        match self {
            Self::Off => None,
            Self::Prefer(config) | Self::Require(config) | Self::Verify(config) => Some(config),
        }
    }
}

/// A ready TLS configuration; cheap to clone, and dear to make.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    client: Arc<ClientConfig>,
    /// Who judges the certificate once the handshake is over; nobody where any will do.
    judge: Option<Arc<WebPkiServerVerifier>>,
}

/// Why a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// The file with the certificate authorities cannot be read.
    #[error(
        "cannot read the certificate authorities in {}: {}; the file must exist and be readable",
        path.display(),
        plain(source)
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file has no certificate in it.
    #[error("no certificate found in {}; it must hold PEM blocks that begin with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// The machine's own store of authorities is empty.
    #[error("this machine's store of certificate authorities is empty; name a file with ca=")]
    NoSystemStore,
    /// rustls refused.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] Error),
}

/// ring, with P-256 proposed first: PostgreSQL up to 17 takes no other curve unless told to
/// (`ssl_ecdh_curve`), and a wrong first proposal costs each login a round trip.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![
            ring::kx_group::SECP256R1,
            ring::kx_group::X25519,
            ring::kx_group::SECP384R1,
        ],
        ..ring::default_provider()
    })
}

impl TlsConfig {
    /// Encrypts and believes any certificate. There is nothing to tell one such configuration from
    /// another, so all targets of a program can have clones of one.
    pub fn encrypt_only() -> Result<Self, TlsConfigError> {
        Self::new(provider(), None)
    }

    /// Encrypts and verifies, against the authorities of a PEM file or, without one, against the
    /// machine's own store.
    pub fn verify(ca: Option<&Path>) -> Result<Self, TlsConfigError> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(path) => add_file(&mut roots, path)?,
            None => {
                let store = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(store.certs);
                if roots.is_empty() {
                    return Err(TlsConfigError::NoSystemStore);
                }
            }
        }
        let provider = provider();
        let judge =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
        Self::new(provider, Some(judge))
    }

    fn new(
        provider: Arc<CryptoProvider>,
        judge: Option<Arc<WebPkiServerVerifier>>,
    ) -> Result<Self, TlsConfigError> {
        let unjudged = Unjudged {
            provider: Arc::clone(&provider),
            judge: judge.clone(),
        };
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(unjudged))
            .with_no_client_auth();
        // Each connection is judged by the certificate that it showed itself.
        client.resumption = Resumption::disabled();
        Ok(Self {
            client: Arc::new(client),
            judge,
        })
    }

    /// Begins a handshake with the server of this name or IP address.
    pub(crate) fn connect(&self, host: &str) -> Result<ClientConnection, Error> {
        let name = server_name(host)?;
        ClientConnection::new(Arc::clone(&self.client), name)
    }

    /// Judges the peer of a handshake that is complete.
    pub(crate) fn judge(&self, connection: &ClientConnection, host: &str) -> Result<(), Error> {
        let Some(judge) = &self.judge else {
            return Ok(());
        };
        let name = server_name(host)?;
        let chain = connection.peer_certificates().unwrap_or_default();
        let (end_entity, intermediates) =
            chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        judge
            .verify_server_cert(end_entity, intermediates, &name, &[], UnixTime::now())
            .map(|_| ())
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| Error::General("the host is no name that TLS can verify".to_owned()))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsConfigError> {
    let unreadable = |source| TlsConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let pem = std::fs::read(path).map_err(unreadable)?;
    for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
        roots.add(certificate)?;
    }
    if roots.is_empty() {
        return Err(TlsConfigError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// Tells a failed handshake's cause.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign, growing list: whatever is not about dates or names is a lack of trust"
)]
pub(crate) fn cause_of(error: &Error) -> Cause {
    let Error::InvalidCertificate(certificate) = error else {
        return Cause::TlsUntrusted;
    };
    match certificate {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Cause::TlsExpired,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Cause::TlsWrongName
        }
        _ => Cause::TlsUntrusted,
    }
}

/// Takes the certificate as it is: it is judged later, or never.
///
/// Where it is judged, the peer has to prove now that it owns it. Where it is not, nothing is asked
/// of it at all, so that X.509 v1 certificates pass, too, which rustls would refuse to parse.
#[derive(Debug)]
struct Unjudged {
    provider: Arc<CryptoProvider>,
    judge: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Unjudged {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.judge {
            Some(judge) => judge.verify_tls12_signature(message, certificate, signature),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.judge {
            Some(judge) => judge.verify_tls13_signature(message, certificate, signature),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
