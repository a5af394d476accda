//! Uploads that go on after a break, by the words of tus 1.0.0.

use super::kit::{Reply, Request, Service};

pub(super) const BYTES: &str = "application/offset+octet-stream";

pub(super) fn tus<'s>(service: &'s Service, method: &str, path: &str) -> Request<'s> {
    service.admin(method, path).header("Tus-Resumable", "1.0.0")
}

pub(super) fn begin(service: &Service, user: &str, length: usize, more: &[(&str, &str)]) -> String {
    let path = format!("/v1/users/{user}/uploads");
    let mut asked = tus(service, "POST", &path).header("Upload-Length", &length.to_string());
    for (name, value) in more {
        asked = asked.header(name, value);
    }
    let begun = asked.send();
    assert_eq!(begun.status, 201, "{}", begun.text());
    assert_eq!(begun.header("tus-resumable"), Some("1.0.0"));
    begun.header("location").unwrap().to_owned()
}

pub(super) fn append(service: &Service, at: &str, offset: usize, bytes: &[u8]) -> Reply {
    tus(service, "PATCH", at)
        .header("Content-Type", BYTES)
        .header("Upload-Offset", &offset.to_string())
        .body(bytes)
}

pub(super) fn offset(service: &Service, at: &str) -> usize {
    let head = tus(service, "HEAD", at).send();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("cache-control"), Some("no-store"));
    head.header("upload-offset").unwrap().parse().unwrap()
}

#[test]
fn an_upload_comes_in_parts_and_becomes_a_record() {
    let service = Service::start();
    let ada = service.user("ada");
    let can = service.ask("OPTIONS", &format!("/v1/users/{ada}/uploads")).send();
    assert_eq!((can.status, can.header("tus-version")), (204, Some("1.0.0")));
    assert!(can.header("tus-extension").unwrap().contains("creation"));
    // class audio, filetype audio/wav, filename wake.wav
    let metadata = "class YXVkaW8=,filetype YXVkaW8vd2F2,filename d2FrZS53YXY=,empty";
    let at = begin(&service, &ada, 10, &[("Upload-Metadata", metadata)]);
    assert_eq!(offset(&service, &at), 0);
    let first = append(&service, &at, 0, b"RIFF");
    assert_eq!((first.status, first.header("upload-offset")), (204, Some("4")));
    assert!(first.header("upload-expires").unwrap().ends_with(" GMT"));
    assert_eq!(first.header("keyfall-record"), None);
    let head = tus(&service, "HEAD", &at).send();
    assert_eq!(head.header("upload-length"), Some("10"));
    assert!(head.header("upload-metadata").unwrap().contains("filename d2FrZS53YXY="));

    let wrong = append(&service, &at, 2, b"xxxx");
    assert_eq!((wrong.status, wrong.kind()), (409, "offset".to_owned()));
    assert_eq!(wrong.header("upload-offset"), Some("4"));
    assert_eq!(wrong.header("tus-resumable"), Some("1.0.0"));
    assert_eq!(append(&service, &at, 4, b"far too many bytes").status, 413);
    let (cut, _) = at.split_once('.').unwrap();
    for other in [cut.to_owned(), format!("{cut}.aaaaaaaaaaaaaaaa")] {
        assert_eq!(append(&service, &other, 4, b"......").status, 404, "{other}");
        assert_eq!(tus(&service, "HEAD", &other).send().status, 404, "{other}");
    }
    let listed = service.admin("GET", &format!("/v1/users/{ada}/records")).send().json();
    assert!(listed["records"].as_array().unwrap().is_empty(), "it is no record yet");

    let last = append(&service, &at, 4, b"......");
    assert_eq!((last.status, last.header("upload-offset")), (204, Some("10")));
    let id = last.header("keyfall-record").unwrap().to_owned();
    let got = service.admin("GET", &format!("/v1/records/{id}")).send();
    assert_eq!(got.body, b"RIFF......");
    assert_eq!(got.header("content-type"), Some("audio/wav"));
    assert_eq!(got.header("keyfall-class"), Some("audio"));
    // Who did not hear that it is whole asks again, or sends the last bytes again.
    let again = append(&service, &at, 4, b"......");
    assert_eq!((again.status, again.header("upload-offset")), (409, Some("10")));
    let again = append(&service, &at, 10, b"");
    assert_eq!((again.status, again.header("keyfall-record")), (204, Some(id.as_str())));
    let head = tus(&service, "HEAD", &at).send();
    assert_eq!((head.status, head.header("upload-offset")), (200, Some("10")));
    assert_eq!(head.header("keyfall-record"), Some(id.as_str()));
}

#[test]
fn an_upload_begins_with_bytes_or_is_empty() {
    let service = Service::start();
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/uploads");
    let begun = tus(&service, "POST", &path)
        .header("Upload-Length", "6")
        .header("Keyfall-Class", "audio")
        .header("Content-Type", BYTES)
        .body(b"RIFF");
    assert_eq!((begun.status, begun.header("upload-offset")), (201, Some("4")));
    let at = begun.header("location").unwrap();
    assert!(append(&service, at, 4, b"..").header("keyfall-record").is_some());
    let empty = tus(&service, "POST", &path)
        .header("Upload-Length", "0")
        .header("Keyfall-Class", "audio")
        .send();
    assert_eq!(empty.status, 201);
    assert!(empty.header("keyfall-record").is_some());
}

/// One that was begun through the library may have no length: the service tells how far it is, and
/// does not end it.
#[test]
fn an_upload_without_a_length_is_not_ended_by_who_asks() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    service.signal("-TERM");
    service.child.wait().unwrap();
    let store = dir.path().join("a.db");
    let engine = keyfall::open(&store).unwrap();
    let put = keyfall::Put::new(keyfall::UserId::new("ada").unwrap(), keyfall::Class::audio());
    let upload = engine.uploads().begin(put.name("endless.ogg")).unwrap();
    engine.uploads().append(&upload, 0, &b"so far"[..]).unwrap();
    engine.close().unwrap();
    service = Service::over(dir.path(), &[]);
    let at = format!("/v1/uploads/{upload}");
    let head = tus(&service, "HEAD", &at).send();
    assert_eq!((head.status, head.header("upload-offset")), (200, Some("6")));
    assert_eq!((head.header("upload-length"), head.header("keyfall-record")), (None, None));
    let more = append(&service, &at, 6, b", and more");
    assert_eq!((more.status, more.header("upload-offset")), (204, Some("16")));
    assert_eq!((offset(&service, &at), more.header("keyfall-record")), (16, None));
    let listed = service.admin("GET", &format!("/v1/users/{ada}/records")).send().json();
    assert!(listed["records"].as_array().unwrap().is_empty(), "it is no record yet");
}

/// Of two requests that bring the last byte both are answered as the document says.
#[test]
fn two_that_bring_the_last_byte_are_answered_alike() {
    let service = Service::start();
    let ada = service.user("ada");
    for _ in 0..20 {
        let at = begin(&service, &ada, 1, &[("Keyfall-Class", "audio")]);
        let replies: Vec<Reply> = std::thread::scope(|threads| {
            let send = || append(&service, &at, 0, b"x");
            let two = [threads.spawn(send), threads.spawn(send)];
            two.into_iter().map(|reply| reply.join().unwrap()).collect()
        });
        let records: Vec<_> = replies.iter().filter(|reply| reply.status == 204).collect();
        assert!(!records.is_empty());
        for reply in &replies {
            assert!([204, 409].contains(&reply.status), "{} {}", reply.status, reply.text());
            let record = reply.header("keyfall-record");
            assert!(reply.status == 409 || record == records[0].header("keyfall-record"));
        }
    }
}

#[test]
fn what_is_no_upload_is_refused_with_a_word() {
    let service = Service::start();
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/uploads");
    let is = |reply: Reply, status: u16, kind: &str| {
        assert_eq!((reply.status, reply.kind()), (status, kind.to_owned()), "{}", reply.text());
    };
    let class = ("Keyfall-Class", "audio");
    let post = |version: &str, more: &[(&str, &str)]| {
        let mut asked = service.admin("POST", &path).header("Tus-Resumable", version);
        for (name, value) in more {
            asked = asked.header(name, value);
        }
        asked.send()
    };
    is(post("0.2.2", &[class, ("Upload-Length", "1")]), 412, "precondition");
    is(post("1.0.0", &[class]), 400, "invalid");
    is(post("1.0.0", &[class, ("Upload-Length", "-1")]), 400, "invalid");
    is(post("1.0.0", &[class, ("Upload-Length", "99999999999999999")]), 413, "too-large");
    is(post("1.0.0", &[("Upload-Length", "1")]), 400, "invalid");
    is(post("1.0.0", &[class, ("Upload-Length", "1"), ("Upload-Metadata", "a !")]), 400, "invalid");
    is(
        tus(&service, "PATCH", "/v1/uploads/none").header("Content-Type", BYTES).body(b"x"),
        404,
        "absent",
    );
    let at = begin(&service, &ada, 4, &[class]);
    let untyped = tus(&service, "PATCH", &at).header("Upload-Offset", "0").body(b"x");
    is(untyped, 415, "media-type");
    let narrow = service.credential(&format!(
        "{{\"principal\":\"p\",\"scopes\":[\"put\"],\"users\":[\"{}\"],\"purposes\":[]}}",
        service.user("bob")
    ));
    let other = service
        .ask("PATCH", &at)
        .header("Authorization", &format!("Bearer {narrow}"))
        .header("Tus-Resumable", "1.0.0")
        .header("Content-Type", BYTES)
        .header("Upload-Offset", "0")
        .body(b"x");
    is(other, 403, "forbidden");
}

#[test]
fn an_upload_ends_and_falls_with_its_user() {
    let service = Service::start();
    let (ada, bob) = (service.user("ada"), service.user("bob"));
    let class = ("Keyfall-Class", "audio");
    let at = begin(&service, &ada, 8, &[class]);
    append(&service, &at, 0, b"half");
    assert_eq!(tus(&service, "DELETE", &at).send().status, 204);
    assert_eq!(tus(&service, "HEAD", &at).send().status, 410);
    assert_eq!(append(&service, &at, 4, b"rest").status, 410);

    let at = begin(&service, &bob, 8, &[class]);
    append(&service, &at, 0, b"half");
    let erase = format!("{{\"scope\":{{\"user\":\"{bob}\"}}}}");
    assert_eq!(service.admin("POST", "/v1/erasures").json(&erase).status, 200);
    assert_eq!(append(&service, &at, 4, b"rest").status, 410);
}

/// They were 404, as if there had never been such an upload.
#[test]
fn an_upload_whose_record_was_erased_is_erased() {
    let service = Service::start();
    let ada = service.user("ada");
    let class = ("Keyfall-Class", "audio");
    for name in [&[class][..], &[class, ("Keyfall-Name", "n")]] {
        let at = begin(&service, &ada, 8, name);
        let last = append(&service, &at, 0, b"RIFF....");
        let id = last.header("keyfall-record").unwrap();
        let there = if name.len() == 1 { 200 } else { 404 };
        assert_eq!(tus(&service, "HEAD", &at).send().status, there, "it is a record");
        let erase = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
        assert_eq!(service.admin("POST", "/v1/erasures").json(&erase).status, 200);
        assert_eq!(tus(&service, "HEAD", &at).send().status, 410);
        for offset in [0, 8] {
            let late = append(&service, &at, offset, b"RIFF....");
            assert_eq!((late.status, late.kind()), (410, "erased".to_owned()));
        }
    }
}

#[test]
fn an_upload_outlives_kills_of_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let named = ("Keyfall-Name", "2026/11/26/wake.wav");
    let at = begin(&service, &ada, content.len(), &[("Keyfall-Class", "audio"), named]);
    let (mut kills, mut there) = (0, 0);
    while there < content.len() {
        if kills < 10 {
            // In the middle of a body: some of it came, some did not.
            let asked = tus(&service, "PATCH", &at)
                .header("Content-Type", BYTES)
                .header("Upload-Offset", &there.to_string())
                .with(&content[there..there + 200_000]);
            let stream = asked.stream();
            std::thread::sleep(std::time::Duration::from_millis(3 * kills));
            service.signal("-KILL");
            service.child.wait().unwrap();
            drop(stream);
            service = Service::over(dir.path(), &[]);
            kills += 1;
        } else {
            let end = content.len().min(there + 700_000);
            append(&service, &at, there, &content[there..end]);
            if end == content.len() {
                break;
            }
        }
        let now = offset(&service, &at);
        assert!(now >= there, "what was acknowledged is there");
        there = now;
    }
    let path = format!("/v1/users/{ada}/records?name=2026/11/26/wake.wav");
    let found = service.admin("GET", &path).send().json();
    let id = found["records"][0]["id"].as_str().unwrap().to_owned();
    let got = service.admin("GET", &format!("/v1/records/{id}")).send();
    assert!(got.body == content, "the bytes are those that were sent");
}
