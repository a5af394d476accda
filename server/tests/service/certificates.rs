//! Certificates and keys that a test makes, with the system's `openssl`, and requests over TLS.
//! `openssl` is what operators make them with; and no library for it is among the dependencies.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::kit::Reply;

/// From when to when a certificate is valid.
pub(super) const LONG: [&str; 2] = ["20200101000000Z", "20990101000000Z"];
pub(super) const PAST: [&str; 2] = ["20200101000000Z", "20210101000000Z"];

/// An authority in a directory of its own.
pub(super) struct Authority {
    dir: PathBuf,
}

/// A certificate with its key, in files.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

impl Authority {
    pub(super) fn new(dir: &Path) -> Authority {
        Authority::named(dir, "authority")
    }

    /// An authority of this name.
    pub(super) fn named(dir: &Path, name: &str) -> Authority {
        std::fs::create_dir_all(dir).unwrap();
        let authority = Authority { dir: dir.to_owned() };
        let config = format!(
            "[req]\ndistinguished_name=dn\nprompt=no\nx509_extensions=ext\n\
             [dn]\nCN={name}\n[ext]\nbasicConstraints=critical,CA:TRUE\n"
        );
        std::fs::write(dir.join("ca.cnf"), config).unwrap();
        std::fs::write(dir.join("index.txt"), "").unwrap();
        authority.openssl(
            "req -x509 -config ca.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
             -keyout ca.key -out ca.pem -days 9999",
        );
        authority
    }

    pub(super) fn file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Issues a certificate for a name, such as `IP:127.0.0.1` or `URI:spiffe://a/b`.
    pub(super) fn issue(&self, file: &str, name: &str, valid: [&str; 2]) -> Pair {
        let config = format!(
            "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN={file}\n\
             [ext]\nbasicConstraints=critical,CA:FALSE\nsubjectAltName={name}\n\
             [ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\n\
             certificate=ca.pem\nprivate_key=ca.key\ndefault_md=sha256\npolicy=p\n\
             x509_extensions=ext\nunique_subject=no\n[p]\ncommonName=supplied\n"
        );
        std::fs::write(self.dir.join(format!("{file}.cnf")), config).unwrap();
        let [from, until] = valid;
        self.openssl(&format!(
            "req -new -config {file}.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
             -keyout {file}.key -out {file}.csr"
        ));
        self.openssl(&format!(
            "ca -batch -notext -config {file}.cnf -startdate {from} -enddate {until} \
             -in {file}.csr -out {file}.pem"
        ));
        let at = |ending: &str| self.dir.join(format!("{file}.{ending}"));
        Pair { cert: at("pem"), key: at("key") }
    }

    /// Revokes a certificate; the next list has it.
    pub(super) fn revoke(&self, pair: &Pair) {
        self.openssl(&format!("ca {} -revoke {}", self.lists(), pair.cert.display()));
    }

    /// Issues the list of revoked certificates.
    pub(super) fn list(&self, file: &str, valid: [&str; 2]) -> PathBuf {
        let [from, until] = valid;
        let place = self.dir.join(file);
        self.openssl(&format!(
            "ca {} -gencrl -crl_lastupdate {from} -crl_nextupdate {until} -out {}",
            self.lists(),
            place.display()
        ));
        place
    }

    fn lists(&self) -> &'static str {
        let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\n\
                      certificate=ca.pem\nprivate_key=ca.key\ndefault_md=sha256\n\
                      unique_subject=no\n";
        std::fs::write(self.dir.join("list.cnf"), config).unwrap();
        let number = self.dir.join("crlnumber");
        if !number.exists() {
            std::fs::write(number, "01\n").unwrap();
        }
        "-config list.cnf"
    }

    fn openssl(&self, arguments: &str) {
        openssl(&self.dir, arguments);
    }
}

/// Runs `openssl` in a directory.
pub(super) fn openssl(dir: &Path, arguments: &str) {
    let ran = Command::new("openssl").args(arguments.split_whitespace()).current_dir(dir).output();
    let ran = ran.unwrap_or_else(|e| panic!("these tests need openssl: {e}"));
    assert!(ran.status.success(), "{arguments}: {}", String::from_utf8_lossy(&ran.stderr));
}

impl Pair {
    /// SHA-256 of the certificate.
    pub(super) fn sha256(&self) -> String {
        use sha2::Digest;
        let der = CertificateDer::from_pem_file(&self.cert).unwrap();
        data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(&der))
    }
}

/// A client that believes an authority, and may show a certificate.
pub(super) fn client(authority: &Authority, shows: Option<&Pair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file()).unwrap()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    Arc::new(match shows {
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_file(&pair.cert).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    })
}

/// A connection over TLS.
pub(super) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Opens a connection; the handshake is done with the first bytes.
pub(super) fn connect(client: &Arc<ClientConfig>, address: &str) -> Stream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let name = "127.0.0.1".try_into().unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(client), name).unwrap(), socket)
}

/// Sends a request, and gives the status of the answer; `Err` if TLS fails.
pub(super) fn status(
    client: &Arc<ClientConfig>,
    address: &str,
    request: &str,
) -> std::io::Result<u16> {
    let mut stream = connect(client, address);
    write!(stream, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    // In TLS 1.3 a client certificate is refused after the client's handshake is done.
    Ok(Reply::try_read(stream, false)?.status)
}

/// Waits for something to become so.
pub(super) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
