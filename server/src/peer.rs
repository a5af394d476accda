//! The client of a connection, by its certificate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use utoipa::ToSchema;

/// After so many seconds a certificate is checked again on a connection that lasts.
const CHECKED_FOR: u64 = 60;

/// What a client certificate is known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CertificateName {
    /// The URI in it, as a subject alternative name; it has no other URI.
    #[schema(example = "spiffe://example.org/desk")]
    Uri(String),
    /// SHA-256 of it, in hexadecimal: this certificate alone.
    Sha256(String),
}

/// What checks client certificates now.
type Verifier = dyn Fn() -> Option<Arc<dyn ClientCertVerifier>> + Send + Sync;

/// The client of a connection over TLS. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peer {
    shared: Arc<Shared>,
}

struct Shared {
    /// Its certificate and those above it; empty if it showed none.
    chain: Vec<CertificateDer<'static>>,
    names: Vec<CertificateName>,
    verifier: Box<Verifier>,
    /// When the chain was found right, in seconds since 1970.
    checked: AtomicU64,
}

impl Peer {
    /// The client that showed these certificates in its handshake, which checked them.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        verifier: impl Fn() -> Option<Arc<dyn ClientCertVerifier>> + Send + Sync + 'static,
    ) -> Self {
        let names = chain.first().map(names).unwrap_or_default();
        let checked = AtomicU64::new(UnixTime::now().as_secs());
        Peer { shared: Arc::new(Shared { chain, names, verifier: Box::new(verifier), checked }) }
    }

    /// What its certificate is known by; nothing if it has none, or if that has ended since.
    pub(crate) fn names(&self) -> &[CertificateName] {
        if self.is_right() { &self.shared.names } else { &[] }
    }

    fn is_right(&self) -> bool {
        let Some((end, above)) = self.shared.chain.split_first() else { return false };
        let now = UnixTime::now();
        let checked = self.shared.checked.load(Ordering::Relaxed);
        if now.as_secs().abs_diff(checked) < CHECKED_FOR {
            return true;
        }
        let verifier = (self.shared.verifier)();
        let right = verifier.is_some_and(|it| it.verify_client_cert(end, above, now).is_ok());
        if right {
            self.shared.checked.store(now.as_secs(), Ordering::Relaxed);
        }
        right
    }
}

fn names(of: &CertificateDer<'static>) -> Vec<CertificateName> {
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(of));
    let mut names = vec![CertificateName::Sha256(digest)];
    if let Ok(certificate) = webpki::EndEntityCert::try_from(of) {
        let mut uris = certificate.valid_uri_names();
        // Of several it could not be said which one it is.
        if let (Some(uri), None) = (uris.next(), uris.next()) {
            names.push(CertificateName::Uri(uri.to_owned()));
        }
    }
    names
}
