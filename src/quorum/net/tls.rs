//! The channel: rustls with aws-lc-rs, held to one protocol, one key exchange, and keys that were
//! pinned.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, DistinguishedName, Error as TlsError,
    NamedGroup, ServerConfig, SignatureScheme,
};
use zeroize::Zeroizing;

use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};

/// DER of an Ed25519 public key up to its 32 bytes (RFC 8410, 4).
const SPKI: [u8; 12] = [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00];
/// DER of an Ed25519 private key up to its 32 bytes (RFC 8410, 7).
const PKCS8: [u8; 16] = [
    0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    // A recorded deposit must not open when one of the two exchanges falls, nor when both sides'
    // keys are stolen.
    provider.kx_groups = vec![kx_group::X25519MLKEM768];
    Arc::new(provider)
}

fn failed(e: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Io, format!("the channel cannot be set up: {e}"))
}

fn certified(provider: &CryptoProvider, seed: &Key, public: [u8; 32]) -> Result<Arc<CertifiedKey>> {
    let pkcs8 = Zeroizing::new([&PKCS8[..], seed.bytes()].concat());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(&pkcs8[..])).clone_key();
    let signer = provider.key_provider.load_private_key(private).map_err(failed)?;
    Ok(Arc::new(CertifiedKey::new(
        vec![CertificateDer::from([&SPKI[..], &public].concat())],
        signer,
    )))
}

/// Which side broke a handshake off, if the network did not.
pub(super) enum BrokenOff {
    /// This side, and why.
    Here(String),
    /// The other side, which gives no reason: it does not take the key that it was shown, as far as
    /// it was shown one.
    There,
}

/// Tells a handshake that was broken off from one that failed otherwise.
pub(super) fn broken_off(e: &(dyn std::error::Error + 'static)) -> Option<BrokenOff> {
    let io = e
        .downcast_ref::<std::io::Error>()
        .or_else(|| e.source()?.downcast_ref::<std::io::Error>())?;
    match io.get_ref()?.downcast_ref::<TlsError>()? {
        TlsError::General(why) => Some(BrokenOff::Here(why.clone())),
        TlsError::AlertReceived(AlertDescription::HandshakeFailure) => Some(BrokenOff::There),
        _ => None,
    }
}

/// Takes the peers whose key some check takes; it says why it does not take another.
struct Pinned<F> {
    accepts: F,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<F> fmt::Debug for Pinned<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pinned")
    }
}

impl<F: Fn(&[u8; 32]) -> Result<(), String>> Pinned<F> {
    fn check(&self, spki: &CertificateDer<'_>) -> Result<(), TlsError> {
        let key: Option<&[u8; 32]> =
            spki.strip_prefix(&SPKI[..]).and_then(|key| key.try_into().ok());
        let key =
            key.ok_or_else(|| TlsError::General("the other side shows no Ed25519 key".into()))?;
        (self.accepts)(key).map_err(TlsError::General)
    }

    fn signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signed, &self.algorithms)
    }
}

fn no_tls12() -> TlsError {
    TlsError::General("TLS 1.3 only".into())
}

impl<F: Fn(&[u8; 32]) -> Result<(), String> + Send + Sync> ServerCertVerifier for Pinned<F> {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.check(end).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.signature(message, spki, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl<F: Fn(&[u8; 32]) -> Result<(), String> + Send + Sync> ClientCertVerifier for Pinned<F> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.check(end).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.signature(message, spki, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The engine's side, towards one keyholder.
pub(super) fn client(
    seed: &Key,
    public: [u8; 32],
    keyholder: [u8; 32],
) -> Result<Arc<ClientConfig>> {
    let provider = provider();
    let pinned = Pinned {
        accepts: move |key: &[u8; 32]| {
            if *key == keyholder { Ok(()) } else { Err("it shows another key".to_owned()) }
        },
        algorithms: provider.signature_verification_algorithms,
    };
    let key = certified(&provider, seed, public)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)));
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// The keyholder's side, towards the engines that `accepts` knows; of another it says why not.
pub(super) fn server(
    seed: &Key,
    public: [u8; 32],
    accepts: impl Fn(&[u8; 32]) -> Result<(), String> + Send + Sync + 'static,
) -> Result<Arc<ServerConfig>> {
    let provider = provider();
    let pinned = Pinned { accepts, algorithms: provider.signature_verification_algorithms };
    let key = certified(&provider, seed, public)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?;
    let mut config = builder
        .with_client_cert_verifier(Arc::new(pinned))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// The peer's pinned key, once the handshake is done; fails if another exchange was agreed on.
pub(super) fn peer(
    certificates: Option<&[CertificateDer<'_>]>,
    group: Option<&dyn rustls::crypto::SupportedKxGroup>,
) -> Result<[u8; 32]> {
    if group.map(rustls::crypto::SupportedKxGroup::name) != Some(NamedGroup::X25519MLKEM768) {
        return Err(failed("the key exchange is not X25519MLKEM768"));
    }
    let key = certificates.and_then(|c| c.first()).and_then(|c| c.strip_prefix(&SPKI[..]));
    key.and_then(|key| key.try_into().ok()).ok_or_else(|| failed("the peer showed no key"))
}
