//! Encrypted connections: TLS by rustls, with the certificate's chain and name checked.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::place::Roots;

/// What makes encrypted connections.
pub(super) fn connector(roots: &Roots) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(match roots {
            Roots::System => of_the_system()?,
            Roots::File(file) => of_a_file(file)?,
        })
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn of_the_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => Err("this system has no certificate authorities; name a file of them in \
                     PGSSLROOTCERT"
            .into()),
        false => Ok(roots),
    }
}

fn of_a_file(file: &Path) -> Result<RootCertStore, String> {
    let shown = file.display();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|e| format!("{shown}: {e}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|e| format!("{shown}: {e}"))?;
        roots.add(certificate).map_err(|e| format!("{shown}: {e}"))?;
    }
    match roots.is_empty() {
        true => Err(format!("{shown}: no certificate is in it; name a file in PEM")),
        false => Ok(roots),
    }
}
