//! What is said of a request that is not taken: what is wrong, what became of it, and what to do.

use std::io::Write;
use std::net::TcpStream;

use super::kit::{Reply, Service};
use super::uploads::{BYTES, append, begin, offset, tus};

fn detail(reply: &Reply) -> String {
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    reply.json()["detail"].as_str().unwrap().to_owned()
}

/// They said that the request is not what the path takes, whatever was wrong with it.
#[test]
fn a_body_or_a_query_that_cannot_be_read_is_told_what_is_wrong_with_it() {
    let service = Service::start();
    let ada = service.user("ada");
    let post = |path: &str, body: &str| service.admin("POST", path).json(body);
    let bodies = [
        ("{\"name\":", "is not JSON", "line 1"),
        ("{\"falsch\":\"x\"}", "unknown field `falsch`", "/docs"),
        ("{}", "missing field `name`", "/docs"),
        ("[1]", "is not what this path takes", "/docs"),
    ];
    for (body, wrong, remedy) in bodies {
        let told = post("/v1/users", body);
        assert_eq!((told.status, told.kind()), (400, "invalid".to_owned()), "{body}");
        assert!(detail(&told).contains(wrong), "{body}: {}", detail(&told));
        assert!(detail(&told).contains(remedy), "{body}: {}", detail(&told));
    }
    let paths = [
        "/v1/users".to_owned(),
        "/v1/erasures".to_owned(),
        "/v1/credentials".to_owned(),
        "/v1/policies".to_owned(),
        format!("/v1/users/{ada}/holds"),
        format!("/v1/users/{ada}/grants"),
        format!("/v1/users/{ada}/page-links"),
    ];
    for path in &paths {
        let method = if path.ends_with("policies") { "PUT" } else { "POST" };
        let told = service.admin(method, path).header("Content-Type", "text/xml").body(b"{}");
        assert_eq!((told.status, told.kind()), (415, "media-type".to_owned()), "{path}");
        assert!(detail(&told).contains("send `Content-Type: application/json`"), "{path}");
    }
    for query in ["falsch=1", "limit=viele"] {
        let path = format!("/v1/users/{ada}/records?{query}");
        let told = service.admin("GET", &path).send();
        assert_eq!(told.status, 400, "{path}");
        assert!(detail(&told).starts_with("the query is not what this path takes: "), "{path}");
    }
    let told = service.admin("POST", "/v1/erasures?falsch=1").json("{}");
    assert!(detail(&told).contains("falsch"), "{}", detail(&told));
    let told = service.ask("POST", "/v1/certificates:verify").body(b"\xff\xfe");
    assert!(detail(&told).contains("not UTF-8"), "{}", detail(&told));
}

/// Sends a body in chunks, of which the second has no length, and reads the answer.
fn torn(service: &Service, request: &str, headers: &str, body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(&service.address).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         {headers}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        service.token,
        body.len()
    )
    .unwrap();
    stream.write_all(body).unwrap();
    stream.write_all(b"\r\nno length\r\n").unwrap();
    Reply::try_read(stream, false).unwrap()
}

/// It said that nothing was stored, of bytes that were.
#[test]
fn an_append_that_was_cut_says_what_arrived_and_where_to_go_on() {
    let service = Service::start();
    let ada = service.user("ada");
    let at = begin(&service, &ada, 1_000_000, &[("Keyfall-Class", "audio")]);
    let send = |from: usize, more: &str, bytes: &[u8]| {
        let headers = format!(
            "Tus-Resumable: 1.0.0\r\nContent-Type: {BYTES}\r\nUpload-Offset: {from}\r\n{more}"
        );
        torn(&service, &format!("PATCH {at}"), &headers, bytes)
    };
    let told = send(0, "", &[7; 300_000]);
    assert_eq!((told.status, told.kind()), (400, "cut".to_owned()), "{}", told.text());
    let there = offset(&service, &at);
    assert_eq!(told.header("upload-offset"), Some(there.to_string().as_str()));
    assert!(detail(&told).contains(&format!("the upload has {there} bytes: go on from there")));
    assert!(!told.text().contains("nothing was stored"));

    let sum = "Upload-Checksum: sha1 bKChLCPwNxngIp/oXjTJjecHk5c=\r\n";
    let told = send(there, sum, &[7; 1000]);
    assert_eq!(told.header("upload-offset"), Some(there.to_string().as_str()));
    assert!(detail(&told).contains("none of it was kept"), "{}", detail(&told));
    assert_eq!(offset(&service, &at), there);

    let last = append(&service, &at, there, &vec![7; 1_000_000 - there]);
    assert!(last.header("keyfall-record").is_some());
    let at = begin(&service, &ada, 10, &[("Keyfall-Class", "audio")]);
    let long = append(&service, &at, 0, b"far too many bytes");
    assert_eq!(long.status, 413);
    assert!(detail(&long).contains("what is left of Upload-Length"), "{}", detail(&long));
}

#[test]
fn a_put_that_was_cut_says_that_nothing_was_stored_and_nothing_is() {
    let service = Service::start();
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/records");
    let class = "Keyfall-Class: audio\r\n";
    let told = torn(&service, &format!("POST {path}"), class, b"RIFF");
    assert_eq!((told.status, told.kind()), (400, "cut".to_owned()), "{}", told.text());
    assert!(detail(&told).contains("nothing was stored; send it again"), "{}", detail(&told));
    let listed = service.admin("GET", &path).send().json();
    assert!(listed["records"].as_array().unwrap().is_empty());
}

/// Each was kept for a day although its client never heard of it: after 64 of them nothing could be
/// uploaded.
#[test]
fn uploads_whose_creation_failed_do_not_count() {
    let service = Service::start();
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/uploads");
    // Its name is taken, and all its bytes come at once.
    let named = service.admin("POST", &format!("/v1/users/{ada}/records"));
    let named = named.header("Keyfall-Class", "audio").header("Keyfall-Name", "taken");
    assert_eq!(named.body(b"RIFF").status, 201);
    for _ in 0..70 {
        let taken = tus(&service, "POST", &path)
            .header("Upload-Length", "4")
            .header("Keyfall-Class", "audio")
            .header("Keyfall-Name", "taken")
            .header("If-None-Match", "*")
            .header("Content-Type", BYTES)
            .body(b"RIFX");
        assert_eq!(taken.status, 412, "{}", taken.text());
    }
    // Longer than it was said to be; and clients that go away in the middle.
    for round in 0..70 {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
             Tus-Resumable: 1.0.0\r\nContent-Type: {BYTES}\r\nUpload-Length: 200000\r\n\
             Keyfall-Class: audio\r\nContent-Length: 200000\r\n\r\n",
            service.token
        );
        let mut stream = TcpStream::connect(&service.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![7; 1000 * round]).unwrap();
    }
    super::certificates::wait_for("an upload can be begun", || {
        let begun = tus(&service, "POST", &path)
            .header("Upload-Length", "4")
            .header("Keyfall-Class", "audio")
            .send();
        begun.status == 201
    });
}
