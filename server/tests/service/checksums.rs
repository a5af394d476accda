//! Uploads whose bytes are checked, and whose methods stand in a header.

use sha2::{Digest, Sha256};

use super::kit::{Reply, Service};
use super::uploads::{BYTES, append, begin, offset, tus};

const CLASS: (&str, &str) = ("Keyfall-Class", "audio");
/// SHA-1 of `RIFF`, by `openssl dgst -sha1`.
const SHA1_OF_RIFF: &str = "sha1 bKChLCPwNxngIp/oXjTJjecHk5c=";

fn sha256(bytes: &[u8]) -> String {
    format!("sha256 {}", data_encoding::BASE64.encode(&Sha256::digest(bytes)))
}

/// Appends bytes that are said to have a sum.
fn checked(service: &Service, at: &str, from: usize, bytes: &[u8], sum: &str) -> Reply {
    tus(service, "PATCH", at)
        .header("Content-Type", BYTES)
        .header("Upload-Offset", &from.to_string())
        .header("Upload-Checksum", sum)
        .body(bytes)
}

fn is_mismatch(reply: &Reply) {
    assert_eq!((reply.status, reply.kind()), (460, "checksum".to_owned()), "{}", reply.text());
}

#[test]
fn bytes_with_another_sum_are_dropped_and_can_be_sent_again() {
    let service = Service::start();
    let ada = service.user("ada");
    let can = service.ask("OPTIONS", &format!("/v1/users/{ada}/uploads")).send();
    assert!(can.header("tus-extension").unwrap().split(',').any(|it| it == "checksum"));
    assert_eq!(can.header("tus-checksum-algorithm"), Some("sha256,sha1"));

    // Short; of several pieces; of several segments, and longer than a part of an upload without a
    // sum.
    let content: Vec<u8> = (0..9_100_000u32).map(|n| (n % 251) as u8).collect();
    let at = begin(&service, &ada, content.len(), &[CLASS]);
    let mut from = 0;
    for length in [4, 30_000, 300_000, 8_769_996] {
        let piece = &content[from..from + length];
        let mut torn = piece.to_vec();
        *torn.last_mut().unwrap() ^= 1;
        is_mismatch(&checked(&service, &at, from, &torn, &sha256(piece)));
        assert_eq!(offset(&service, &at), from, "nothing of it was kept");
        let kept = checked(&service, &at, from, piece, &sha256(piece));
        assert_eq!(kept.status, 204, "{}", kept.text());
        from += length;
        assert_eq!(kept.header("upload-offset"), Some(from.to_string().as_str()));
    }
    // The last bytes have no sum.
    let last = append(&service, &at, from, &content[from..]);
    let id = last.header("keyfall-record").unwrap();
    assert!(service.admin("GET", &format!("/v1/records/{id}")).send().body == content);
}

#[test]
fn what_is_no_sum_or_of_another_algorithm_is_refused() {
    let service = Service::start();
    let ada = service.user("ada");
    let at = begin(&service, &ada, 4, &[CLASS]);
    for sum in ["", "sha256", "sha256 ", "sha256 xx", "md5 1B2M2Y8AsgTpgAmY7PhCfg==", "sha1 AAAA"] {
        let reply = checked(&service, &at, 0, b"RIFF", sum);
        assert_eq!((reply.status, reply.kind()), (400, "invalid".to_owned()), "{sum}");
    }
    is_mismatch(&checked(&service, &at, 0, b"", &sha256(b"RIFF")));
    is_mismatch(&checked(&service, &at, 0, b"RIFX", SHA1_OF_RIFF));
    assert_eq!(checked(&service, &at, 0, b"RIFF and more", &sha256(b"RIFF")).status, 413);
    assert_eq!(offset(&service, &at), 0);
    assert_eq!(checked(&service, &at, 0, b"", &sha256(b"")).status, 204);
    assert_eq!(checked(&service, &at, 0, b"RIFF", SHA1_OF_RIFF).status, 204);
}

#[test]
fn an_upload_that_begins_with_other_bytes_is_not_begun() {
    let service = Service::start();
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/uploads");
    let post = |bytes: &[u8]| {
        tus(&service, "POST", &path)
            .header("Upload-Length", "6")
            .header("Keyfall-Class", "audio")
            .header("Content-Type", BYTES)
            .header("Upload-Checksum", SHA1_OF_RIFF)
            .body(bytes)
    };
    // As many as a user may have unfinished.
    for _ in 0..64 {
        is_mismatch(&post(b"RIFX"));
    }
    let begun = post(b"RIFF");
    assert_eq!((begun.status, begun.header("upload-offset")), (201, Some("4")), "{}", begun.text());
}

#[test]
fn the_method_of_an_upload_may_stand_in_a_header() {
    let service = Service::start();
    let ada = service.user("ada");
    let at = begin(&service, &ada, 8, &[CLASS]);
    let over = |method: &str, named: &str, path: &str| {
        tus(&service, method, path).header("X-HTTP-Method-Override", named)
    };
    let patched = over("POST", "PATCH", &at)
        .header("Content-Type", BYTES)
        .header("Upload-Offset", "0")
        .body(b"RIFF");
    assert_eq!((patched.status, patched.header("upload-offset")), (204, Some("4")));
    let head = over("GET", "HEAD", &at).send();
    assert_eq!((head.status, head.header("upload-offset")), (200, Some("4")));
    // The actual method is ignored.
    let head = over("DELETE", "HEAD", &at).send();
    assert_eq!((head.status, head.header("upload-offset")), (200, Some("4")));
    for none in ["BREW", "no method", "CONNECT", ""] {
        let reply = over("POST", none, &at).send();
        assert_eq!((reply.status, reply.kind()), (405, "method".to_owned()), "{none}");
    }
    assert_eq!(over("POST", "DELETE", &at).send().status, 204);
    assert_eq!(tus(&service, "HEAD", &at).send().status, 410);

    // Elsewhere the header means nothing.
    let id = service.put(&ada, "audio", b"RIFF");
    let path = format!("/v1/records/{id}");
    assert_eq!(over("GET", "DELETE", &path).send().status, 200);
    let path = format!("/v1/users/{ada}/records");
    assert_eq!(over("GET", "POST", &path).send().status, 200);
}
