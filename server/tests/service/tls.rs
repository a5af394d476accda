//! TLS in the process, and client certificates in place of tokens.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use super::certificates::{Authority, LONG, PAST, Pair, client, connect, status, wait_for};
use super::kit::{Reply, Service};

/// Runs the program until it ends, with what it must be told.
fn run(dir: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyfalld"))
        .args(["--check-config", "--store", "a.db", "--admin-token-file", "token"])
        .args(more)
        .current_dir(dir)
        .output()
        .unwrap()
}

/// What it says of its configuration.
pub(super) fn refused(dir: &Path, more: &[&str]) -> String {
    let ran = run(dir, more);
    assert!(!ran.status.success(), "{more:?}");
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(super) fn started(dir: &Path, server: &Pair, more: &[&str]) -> Service {
    let mut arguments = vec!["--tls-cert", text(&server.cert), "--tls-key", text(&server.key)];
    arguments.extend(more);
    Service::over(dir, &arguments)
}

#[test]
fn nothing_is_served_in_the_clear_to_elsewhere_unless_a_proxy_ends_tls() {
    let dir = tempfile::TempDir::new().unwrap();
    for address in ["0.0.0.0:7400", "[::]:7400", "192.0.2.1:7400"] {
        let said = refused(dir.path(), &["--listen", address]);
        assert!(said.contains("--tls-cert") && said.contains("--tls-by-proxy"), "{said}");
        assert!(run(dir.path(), &["--listen", address, "--tls-by-proxy"]).status.success());
    }
    for address in ["127.0.0.1:7400", "127.8.8.8:7400", "[::1]:7400"] {
        assert!(run(dir.path(), &["--listen", address]).status.success(), "{address}");
    }
}

#[test]
fn a_bad_file_is_one_line_with_its_remedy() {
    let dir = tempfile::TempDir::new().unwrap();
    let authority = Authority::new(&dir.path().join("ca"));
    let (one, other) = (
        authority.issue("one", "IP:127.0.0.1", LONG),
        authority.issue("other", "IP:127.0.0.1", LONG),
    );
    let (cert, key) = (text(&one.cert), text(&one.key));
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "nothing").unwrap();
    let empty = text(&empty);
    let tls = |cert: &str, key: &str, more: &[&str]| {
        refused(dir.path(), &[&["--tls-cert", cert, "--tls-key", key][..], more].concat())
    };
    assert!(tls("missing.pem", key, &[]).contains("missing.pem: "));
    assert!(tls(empty, key, &[]).contains("give the service's certificate and its chain"));
    assert!(tls(cert, empty, &[]).contains("give the key of the certificate"));
    assert!(tls(cert, text(&other.key), &[]).contains("give the two that were made together"));
    assert!(tls(cert, key, &["--client-ca", empty]).contains("there is no authority in it"));
    assert!(refused(dir.path(), &["--tls-cert", cert]).contains("--tls-key"));
    assert!(refused(dir.path(), &["--client-ca", cert]).contains("need TLS"));
    assert!(tls(cert, key, &["--client-cert", "required"]).contains("--client-ca"));
    assert!(run(dir.path(), &["--tls-cert", cert, "--tls-key", key]).status.success());
}

#[test]
fn a_certificate_is_renewed_without_dropping_a_connection() {
    let dir = tempfile::TempDir::new().unwrap();
    let authority = Authority::new(&dir.path().join("ca"));
    let pair = authority.issue("server", "IP:127.0.0.1", LONG);
    let service = started(dir.path(), &pair, &[]);
    let client = client(&authority, None);
    assert_eq!(status(&client, &service.address, "GET /healthz").unwrap(), 200);

    let mut open = connect(&client, &service.address);
    write!(open, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = [0; 15];
    std::io::Read::read_exact(&mut open, &mut answer).unwrap();
    let shown = |stream: &super::certificates::Stream| {
        stream.conn.peer_certificates().unwrap()[0].as_ref().to_vec()
    };
    let before = shown(&open);

    let other = authority.issue("renewed", "IP:127.0.0.1", LONG);
    std::fs::copy(&other.cert, &pair.cert).unwrap();
    wait_for("a pair that does not fit is told", || service.log().contains("is not the key of"));
    assert_eq!(status(&client, &service.address, "GET /healthz").unwrap(), 200, "the old is used");
    std::fs::copy(&other.key, &pair.key).unwrap();
    service.signal("-HUP");
    wait_for("the new one is shown", || {
        let mut fresh = connect(&client, &service.address);
        let _ = write!(fresh, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let ok = Reply::try_read(&mut fresh, false).is_ok_and(|reply| reply.status == 200);
        ok && shown(&fresh) != before
    });
    // The connection from before goes on.
    write!(open, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut open, &mut rest);
    assert!(String::from_utf8_lossy(&rest).contains("HTTP/1.1 200"), "{rest:?}");
}

/// Makes a credential for a certificate, over TLS, as the admin.
pub(super) fn bind(service: &Service, authority: &Authority, name: &str, purpose: &str) -> Reply {
    let json = format!(
        "{{\"principal\":\"desk\",\"scopes\":[\"read\",\"status\"],\"users\":\"any\",\
         \"purposes\":[\"{purpose}\"],\"default_purpose\":\"{purpose}\",\"certificate\":{name}}}"
    );
    admin(service, authority, "POST /v1/credentials", &json)
}

fn admin(service: &Service, authority: &Authority, request: &str, json: &str) -> Reply {
    let mut stream = connect(&client(authority, None), &service.address);
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Keyfall-Class: audio\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
        service.token,
        json.len()
    )
    .unwrap();
    Reply::try_read(stream, false).unwrap()
}

#[test]
fn a_client_certificate_is_a_credential_and_its_purpose_is_what_the_user_reads() {
    let dir = tempfile::TempDir::new().unwrap();
    let authority = Authority::new(&dir.path().join("ca"));
    let foreign = Authority::new(&dir.path().join("foreign"));
    let server = authority.issue("server", "IP:127.0.0.1", LONG);
    let service = started(dir.path(), &server, &["--client-ca", text(&authority.file())]);
    let desk = authority.issue("desk", "URI:spiffe://voice.example/desk", LONG);
    let pinned = authority.issue("pinned", "DNS:pinned.example", LONG);
    let ask = |pair: Option<&Pair>, request: &str| {
        status(&client(&authority, pair), &service.address, request)
    };
    assert_eq!(ask(None, "GET /v1/status").unwrap(), 401);
    assert_eq!(ask(Some(&desk), "GET /v1/status").unwrap(), 401, "no credential is bound to it");

    let uri = "{\"uri\":\"spiffe://voice.example/desk\"}";
    let made = bind(&service, &authority, uri, "support case");
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(made.json()["token"].is_null());
    assert_eq!(bind(&service, &authority, uri, "another").status, 409, "one at a time");
    let sha256 = format!("{{\"sha256\":\"{}\"}}", pinned.sha256());
    assert_eq!(bind(&service, &authority, &sha256, "audit").status, 201);
    assert_eq!(ask(Some(&desk), "GET /v1/status").unwrap(), 200);
    assert_eq!(ask(Some(&pinned), "GET /v1/status").unwrap(), 200);
    assert_eq!(ask(Some(&desk), "GET /v1/credentials").unwrap(), 403, "not one of its scopes");

    let ada = admin(&service, &authority, "POST /v1/users", "{\"name\":\"ada\"}").json();
    let path = format!("/v1/users/{}/records", ada["handle"].as_str().unwrap());
    let put = admin(&service, &authority, &format!("POST {path}"), "RIFF").json();
    let record = format!("/v1/records/{}", put["id"].as_str().unwrap());
    assert_eq!(ask(Some(&desk), &format!("GET {record}")).unwrap(), 200);
    let openings = admin(&service, &authority, &format!("GET {record}/openings"), "").json();
    assert_eq!(openings[0]["principal"], "desk");
    assert_eq!(openings[0]["purpose"], "support case");

    // Expired; of an authority that is not believed, with a name that is; with two names.
    let past = authority.issue("past", "URI:spiffe://voice.example/desk", PAST);
    assert!(ask(Some(&past), "GET /healthz").is_err());
    let forged = foreign.issue("forged", "URI:spiffe://voice.example/desk", LONG);
    assert!(ask(Some(&forged), "GET /healthz").is_err());
    let two = authority.issue("two", "URI:spiffe://voice.example/desk,URI:urn:other:x", LONG);
    assert_eq!(ask(Some(&two), "GET /v1/status").unwrap(), 401);
    // Ended.
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let ended = admin(&service, &authority, &format!("DELETE /v1/credentials/{id}"), "");
    assert_eq!(ended.status, 204);
    assert_eq!(ask(Some(&desk), "GET /v1/status").unwrap(), 401);
    assert_eq!(ask(Some(&pinned), "GET /v1/status").unwrap(), 200);
    for secret in ["voice.example", &pinned.sha256(), "support case"] {
        assert!(!service.log().contains(secret), "{secret} is in the log");
    }
}

#[test]
fn where_client_certificates_are_required_nothing_is_answered_without_one() {
    let dir = tempfile::TempDir::new().unwrap();
    let authority = Authority::new(&dir.path().join("ca"));
    let server = authority.issue("server", "IP:127.0.0.1", LONG);
    let ca = authority.file();
    let required = ["--client-ca", text(&ca), "--client-cert", "required"];
    let service = started(dir.path(), &server, &required);
    let shown = authority.issue("shown", "DNS:any.example", LONG);
    let ask = |pair| status(&client(&authority, pair), &service.address, "GET /healthz");
    assert!(ask(None).is_err());
    assert_eq!(ask(Some(&shown)).unwrap(), 200);
}
