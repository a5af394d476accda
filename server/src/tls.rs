//! TLS: the service's certificate, and those of its clients.
//!
//! TLS 1.3 alone, with X25519MLKEM768 where the client has it. No session is resumed, so that each
//! connection proves its certificate to the authorities of the day.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs::{self, kx_group};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{
    NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier,
};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tower_http::add_extension::AddExtension;

use crate::config::{ClientCert, Config};
use crate::crl;
use crate::peer::Peer;
use crate::renewed::{Contents, Renewed};
use crate::socket::{Line, Lines, Traffic, prompt};
use crate::words::now;

/// For so long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// TLS, as its files say.
#[derive(Clone)]
pub(crate) struct Tls {
    identity: Arc<Renewed<Identity>>,
}

/// What the files of TLS come to.
pub(crate) struct Identity {
    server: Arc<ServerConfig>,
    /// Checks client certificates, if there are authorities for them.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Tls {
    /// TLS as it was told, if it was.
    ///
    /// # Errors
    /// What is wrong with a file, and what to do about it.
    pub(crate) fn open(config: &Config) -> io::Result<Option<Self>> {
        let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else {
            return Ok(None);
        };
        let mut places = vec![cert.clone(), key.clone()];
        // Lists without authorities are refused with the configuration.
        places.extend(config.client_ca.iter().chain(&config.client_crl).cloned());
        let (named, required) = (places.clone(), config.client_cert == ClientCert::Required);
        let make = move |contents: &Contents| identity(contents, &named, required);
        Ok(Some(Tls { identity: Arc::new(Renewed::open(places, make)?) }))
    }

    /// The files, to be looked at again.
    pub(crate) fn files(&self) -> Arc<Renewed<Identity>> {
        Arc::clone(&self.identity)
    }

    async fn shake(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Peer)> {
        prompt(&stream)?;
        let identity = self.identity.now();
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.server));
        let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
        let files = Arc::clone(&self.identity);
        let peer = Peer::new(chain, move || files.now().clients.clone());
        Ok((stream, peer))
    }
}

/// Accepts connections over TLS, as many as there may be.
#[derive(Clone)]
pub(crate) struct Secure {
    pub(crate) tls: Tls,
    pub(crate) lines: Lines,
}

impl<S: Send + 'static> Accept<TcpStream, S> for Secure {
    type Stream = Line<TlsStream<TcpStream>>;
    type Service = AddExtension<AddExtension<S, Peer>, Traffic>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Secure { tls, lines } = self.clone();
        Box::pin(async move {
            // The handshake has its place too.
            let place = lines.place(stream.peer_addr()?.ip())?;
            let (stream, peer) = tls.shake(stream).await?;
            let line = lines.line(stream, place);
            let traffic = line.traffic();
            Ok((line, AddExtension::new(AddExtension::new(service, peer), traffic)))
        })
    }
}

/// Certificate, key and authorities, of their files.
fn identity(
    contents: &Contents,
    places: &[impl AsRef<Path>],
    required: bool,
) -> Result<Identity, String> {
    let place = |n: usize| places[n].as_ref().display();
    let chain = certificates(&contents[0]).filter(|chain| !chain.is_empty()).ok_or_else(|| {
        let remedy = "give the service's certificate and its chain, in PEM";
        format!("{}: there is no certificate in it; {remedy}", place(0))
    })?;
    let key = PrivateKeyDer::from_pem_slice(&contents[1]).map_err(|_| {
        let remedy = "give the key of the certificate, in PEM and not encrypted";
        format!("{}: there is no private key in it; {remedy}", place(1))
    })?;
    let provider = provider();
    let at = |n: usize| move |wrong: String| format!("{}: {wrong}", place(n));
    let revoked = match contents.get(3) {
        Some(lists) => crl::lists(lists, now()).map_err(at(3))?,
        None => Vec::new(),
    };
    let clients = match contents.get(2) {
        Some(authorities) => {
            Some(clients(authorities, revoked, &provider, required).map_err(at(2))?)
        }
        None => None,
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| e.to_string())?;
    let builder = match &clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
        None => builder.with_no_client_auth(),
    };
    let mut server = builder.with_single_cert(chain, key).map_err(|e| match e {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let remedy = "give the two that were made together";
            format!("{} is not the key of {}; {remedy}", place(1), place(0))
        }
        e => format!("{} cannot be used with {}: {e}; issue it again", place(0), place(1)),
    })?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.max_early_data_size = 0;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Identity { server: Arc::new(server), clients })
}

/// The certificates of a file in PEM; `None` if it cannot be read.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()
}

/// What checks client certificates. With lists of those revoked, each certificate of a chain must be
/// of an authority that has one, and a list that ended opens nothing.
fn clients(
    pem: &[u8],
    revoked: Vec<CertificateRevocationListDer<'static>>,
    provider: &Arc<CryptoProvider>,
    required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let none = || {
        "there is no authority in it; give the certificates of those who issue client \
         certificates, in PEM"
            .to_owned()
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).ok_or_else(none)? {
        roots.add(certificate).map_err(|_| none())?;
    }
    let provider = Arc::clone(provider);
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = builder.with_crls(revoked).enforce_revocation_expiration();
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|e| match e {
        VerifierBuilderError::InvalidCrl(e) => {
            format!("a list of revoked certificates cannot be used: {e:?}; have it issued again")
        }
        _ => none(),
    })
}

fn provider() -> Arc<CryptoProvider> {
    let kx_groups =
        vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}
