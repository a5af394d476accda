//! Client certificates that their authority revoked.

use std::path::Path;

use super::certificates::{Authority, LONG, PAST, Pair, client, status, wait_for};
use super::tls::{bind, refused, started, text};

/// The name of the certificates of a desk.
const DESK: &str = "{\"uri\":\"spiffe://voice.example/desk\"}";

#[test]
fn a_revoked_certificate_is_refused_and_another_passes() {
    let dir = tempfile::TempDir::new().unwrap();
    let authority = Authority::new(&dir.path().join("ca"));
    let server = authority.issue("server", "IP:127.0.0.1", LONG);
    let desk = authority.issue("desk", "URI:spiffe://voice.example/desk", LONG);
    let lost = authority.issue("lost", "URI:spiffe://voice.example/desk", LONG);
    let (ca, list) = (authority.file(), authority.list("list.pem", LONG));
    let service =
        started(dir.path(), &server, &["--client-ca", text(&ca), "--client-crl", text(&list)]);
    assert_eq!(bind(&service, &authority, DESK, "support case").status, 201);
    let ask =
        |pair: &Pair| status(&client(&authority, Some(pair)), &service.address, "GET /v1/status");
    assert_eq!((ask(&desk).unwrap(), ask(&lost).unwrap()), (200, 200));
    authority.revoke(&lost);
    authority.list("list.pem", LONG);
    service.signal("-HUP");
    wait_for("the revoked one is refused", || ask(&lost).is_err());
    assert_eq!(ask(&desk).unwrap(), 200);
    assert_eq!(status(&client(&authority, None), &service.address, "GET /healthz").unwrap(), 200);

    // A list that cannot be used does not take the place of one that can.
    std::fs::write(&list, "torn").unwrap();
    service.signal("-HUP");
    wait_for("it is told", || service.log().contains("no list of revoked certificates in it"));
    assert!(ask(&lost).is_err());
    assert_eq!(ask(&desk).unwrap(), 200);
}

/// Whether a certificate of an authority that gave no list was revoked cannot be known.
#[test]
fn an_authority_without_a_list_opens_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let (one, other) = (
        Authority::named(&dir.path().join("one"), "one"),
        Authority::named(&dir.path().join("other"), "other"),
    );
    let server = one.issue("server", "IP:127.0.0.1", LONG);
    let both = dir.path().join("both.pem");
    let read = |authority: &Authority| std::fs::read_to_string(authority.file()).unwrap();
    std::fs::write(&both, read(&one) + &read(&other)).unwrap();
    let list = one.list("list.pem", LONG);
    let service =
        started(dir.path(), &server, &["--client-ca", text(&both), "--client-crl", text(&list)]);
    let ask = |pair: &Pair| status(&client(&one, Some(pair)), &service.address, "GET /healthz");
    assert_eq!(ask(&one.issue("listed", "DNS:any.example", LONG)).unwrap(), 200);
    assert!(ask(&other.issue("unlisted", "DNS:any.example", LONG)).is_err());
}

#[test]
fn a_list_that_cannot_be_used_is_one_line_with_its_remedy() {
    let dir = tempfile::TempDir::new().unwrap();
    let authority = Authority::new(&dir.path().join("ca"));
    let server = authority.issue("server", "IP:127.0.0.1", LONG);
    let (cert, key, ca) = (text(&server.cert), text(&server.key), authority.file());
    let with = |list: &Path| {
        let list = text(list);
        let tls = ["--tls-cert", cert, "--tls-key", key, "--client-ca", text(&ca)];
        refused(dir.path(), &[&tls[..], &["--client-crl", list]].concat())
    };
    let at = |name: &str| dir.path().join(name);
    assert!(with(&at("missing")).contains("missing: "));
    std::fs::write(at("torn"), "nothing").unwrap();
    assert!(with(&at("torn")).contains("give those of the authorities, in PEM"));
    let said = with(&authority.list("past.pem", PAST));
    assert!(said.contains("ended at 20210101000000 (UTC)"), "{said}");
    assert!(said.contains("get its authority's newest"), "{said}");
    // One of two ended.
    let good = std::fs::read_to_string(authority.list("good.pem", LONG)).unwrap();
    let past = std::fs::read_to_string(authority.list("past.pem", PAST)).unwrap();
    std::fs::write(at("two"), good.clone() + &past).unwrap();
    assert!(with(&at("two")).contains("list 2 of revoked certificates ended"));
    // Two of one authority: the older one would count if it came first.
    authority.revoke(&authority.issue("lost", "DNS:any.example", LONG));
    let newer = std::fs::read_to_string(authority.list("newer.pem", LONG)).unwrap();
    std::fs::write(at("both"), good + &newer).unwrap();
    assert!(with(&at("both")).contains("list 2 of revoked certificates is the second of one"));
    // Its bytes are those of something else.
    let other = std::fs::read_to_string(&ca).unwrap().replace("CERTIFICATE", "X509 CRL");
    std::fs::write(at("other"), other).unwrap();
    assert!(with(&at("other")).contains("cannot be read"));
    let alone = refused(dir.path(), &["--tls-cert", cert, "--tls-key", key, "--client-crl", cert]);
    assert!(alone.contains("--client-ca"), "{alone}");
}
