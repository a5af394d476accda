//! Puts that are repeated under an `Idempotency-Key`, and how long a record of a credential is.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::certificates::wait_for;
use super::kit::{Reply, Request, Service, absent, goes_on, moment};

const KEY: &str = "0b5f7a52-9d0c-4b39-9dc0-000000000001";

fn keyed<'s>(service: &'s Service, user: &str, key: &str) -> Request<'s> {
    let request = service.admin("POST", &format!("/v1/users/{user}/records"));
    request.header("Keyfall-Class", "audio").header("Idempotency-Key", key)
}

fn count(service: &Service, user: &str) -> usize {
    let listed = service.admin("GET", &format!("/v1/users/{user}/records")).send().json();
    listed["records"].as_array().unwrap().len()
}

fn same(one: &Reply, other: &Reply) {
    assert_eq!((one.status, other.status), (201, 201), "{} {}", one.text(), other.text());
    assert_eq!(one.json(), other.json());
    for name in ["location", "etag", "repr-digest"] {
        assert!(one.header(name).is_some() && one.header(name) == other.header(name), "{name}");
    }
}

/// A client that did not hear of it sent it again, and it was stored twice.
#[test]
fn a_put_that_is_repeated_with_its_key_is_stored_once() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let (ada, ben) = (service.user("ada"), service.user("ben"));
    let first = keyed(&service, &ada, KEY).body(b"RIFF....");
    same(&first, &keyed(&service, &ada, KEY).body(b"RIFF...."));
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    service = Service::over(dir.path(), &[]);
    same(&first, &keyed(&service, &ada, KEY).body(b"RIFF...."));
    assert_eq!(count(&service, &ada), 1);

    // Another body, another header, another user: another request.
    let used =
        |reply: Reply| assert_eq!((reply.status, reply.kind()), (422, "key-used".to_owned()));
    used(keyed(&service, &ada, KEY).body(b"RIFF...x"));
    used(keyed(&service, &ada, KEY).header("Content-Type", "audio/wav").body(b"RIFF...."));
    used(keyed(&service, &ben, KEY).body(b"RIFF...."));
    assert_eq!(keyed(&service, &ada, "short").body(b"RIFF....").status, 400);
    let other = keyed(&service, &ada, "0b5f7a52-9d0c-4b39-9dc0-000000000002").body(b"RIFF....");
    assert_ne!(other.json()["id"], first.json()["id"]);
    assert_eq!((count(&service, &ada), count(&service, &ben)), (2, 0));

    // One with a name, in the place of another: also repeated it is the one.
    let named = |if_match: Option<&str>, key: &str, body: &[u8]| {
        let mut put = keyed(&service, &ben, key).header("Keyfall-Name", "n");
        if let Some(tag) = if_match {
            put = put.header("If-Match", tag);
        }
        put.body(body)
    };
    let one = named(None, "0b5f7a52-9d0c-4b39-9dc0-000000000003", b"one");
    let tag = one.header("etag").unwrap().to_owned();
    let two = named(Some(&tag), "0b5f7a52-9d0c-4b39-9dc0-000000000004", b"two");
    same(&two, &named(Some(&tag), "0b5f7a52-9d0c-4b39-9dc0-000000000004", b"two"));
    assert_eq!(count(&service, &ben), 1);
    for file in std::fs::read_dir(dir.path().join("a.db.service/answers")).unwrap() {
        let kept = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!kept.contains("interaction") && !kept.contains(&ada), "it is sealed");
    }
}

/// The service is killed at many points of a put, and the same request comes once more.
#[test]
fn a_put_is_stored_once_whenever_the_service_is_killed() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let (mut stored, mut lost) = (0, 0);
    for round in 0u64.. {
        if !goes_on(round, 20, stored > 0) {
            break;
        }
        let key = format!("0b5f7a52-9d0c-4b39-9dc1-{round:012}");
        let body = format!("round {round}");
        let stream = keyed(&service, &ada, &key).with(body.as_bytes()).stream();
        std::thread::sleep(moment(round));
        service.child.kill().unwrap();
        service.child.wait().unwrap();
        let answered = Reply::try_read(stream, false).is_ok();
        service = Service::over(dir.path(), &[]);
        let was_stored = count(&service, &ada) > round as usize;
        stored += u32::from(was_stored);
        lost += u32::from(was_stored && !answered);
        let again = keyed(&service, &ada, &key).body(body.as_bytes());
        assert_eq!(again.status, 201, "round {round}: {}", again.text());
        assert_eq!(count(&service, &ada), round as usize + 1, "round {round}");
    }
    println!("{stored} were stored before the kill; of {lost} the answer was lost");
}

fn answers(dir: &Path) -> BTreeSet<PathBuf> {
    let kept = std::fs::read_dir(dir.join("a.db.service/answers")).unwrap();
    let kept = kept.map(|file| file.unwrap().path());
    kept.filter(|place| place.extension().is_none()).collect()
}

/// Puts with these headers, and leaves of it what a crash between the commit and the answer leaves:
/// the record, and what was kept before it was put.
fn put_and_crash(service: &mut Service, head: &str, body: &[u8]) -> Reply {
    let before = answers(&service.dir);
    let mut stream = TcpStream::connect(&service.address).unwrap();
    let head = format!(
        "{head}Host: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {}\r\n\r\n",
        service.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let dir = service.dir.clone();
    wait_for("it is about to be put", || answers(&dir).len() > before.len());
    let place = answers(&dir).difference(&before).next().unwrap().clone();
    let kept = std::fs::read(&place).unwrap();
    stream.write_all(body).unwrap();
    let first = Reply::try_read(stream, false).unwrap();
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    std::fs::write(&place, kept).unwrap();
    *service = Service::over(&dir, &[]);
    first
}

/// The same put once more: by the lines that [`put_and_crash`] sent.
fn again(service: &Service, head: &str, body: &[u8]) -> Reply {
    let path = head.split(' ').nth(1).unwrap();
    let mut put = service.admin("POST", path);
    for line in head.lines().skip(1) {
        let (header, value) = line.split_once(": ").unwrap();
        put = put.header(header, value);
    }
    put.body(body)
}

/// The beginning of a put under a key.
fn head_of(user: &str, key: &str, more: &str) -> String {
    format!(
        "POST /v1/users/{user}/records HTTP/1.1\r\nKeyfall-Class: note\r\n\
         Idempotency-Key: {key}\r\n{more}"
    )
}

fn id_of(put: &Reply) -> String {
    put.json()["id"].as_str().unwrap().to_owned()
}

fn erase(service: &Service, scope: &str) {
    let erased = service.admin("POST", "/v1/erasures").json(&format!("{{\"scope\":{scope}}}"));
    assert_eq!(erased.status, 200, "{}", erased.text());
}

fn erase_record(service: &Service, id: &str) {
    erase(service, &format!("{{\"record\":\"{id}\"}}"));
}

fn is_erased(reply: &Reply) {
    assert_eq!((reply.status, reply.kind()), (410, "erased".to_owned()), "{}", reply.text());
}

const OWN: &str = "Keyfall-Interaction: 01890a5d-ac96-774b-bcce-b302099a8057\r\n";

/// It was put once more after its erase: nothing was found by what was kept, and that counted as not
/// put.
#[test]
fn a_put_whose_answer_was_lost_does_not_come_back_after_its_erase() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    // One that stays is in the interaction before.
    let stays = service.admin("POST", &format!("/v1/users/{ada}/records"));
    let stays = stays.header("Keyfall-Class", "note").header("Keyfall-Interaction", &OWN[21..57]);
    assert_eq!(stays.body(b"stays").status, 201);
    let named = "Keyfall-Name: n\r\n";
    let both = format!("{named}{OWN}");
    for (n, more) in ["", OWN, named, &both].into_iter().enumerate() {
        let key = format!("0b5f7a52-9d0c-4b39-9dc5-{n:012}");
        let head = head_of(&ada, &key, more);
        let first = put_and_crash(&mut service, &head, b"my secret words");
        assert_eq!((first.status, count(&service, &ada)), (201, 2), "{}", first.text());
        erase_record(&service, &id_of(&first));
        is_erased(&again(&service, &head, b"my secret words"));
        // Also what asks for something else, and after one more start.
        is_erased(&again(&service, &head, b"other words"));
        is_erased(&again(&service, &head_of(&ada, &key, "Keyfall-Meta: a=b\r\n"), b"x"));
        drop(service);
        service = Service::over(dir.path(), &[]);
        is_erased(&again(&service, &head, b"my secret words"));
        assert_eq!(count(&service, &ada), 1, "{more:?}");
    }
}

#[test]
fn a_put_whose_answer_was_lost_is_not_of_the_next_life_of_its_user() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    for (n, more) in ["", "Keyfall-Name: n\r\n", OWN].into_iter().enumerate() {
        let name = format!("ada-{n}");
        let old = service.user(&name);
        let key = format!("0b5f7a52-9d0c-4b39-9dc6-{n:012}");
        put_and_crash(&mut service, &head_of(&old, &key, more), b"my secret words");
        erase(&service, &format!("{{\"user\":\"{old}\"}}"));
        let new = service.user(&name);
        assert_ne!(old, new);
        for handle in [&new, &old, &new] {
            is_erased(&again(&service, &head_of(handle, &key, more), b"my secret words"));
        }
        assert_eq!(count(&service, &new), 0, "{more:?}");
    }
}

/// The put changed nothing, since the record with the name was the same. Its answer was lost, and
/// after the erase of that record the put would have brought it back.
#[test]
fn a_put_that_changed_nothing_does_not_bring_back_what_it_met() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let plain = service.admin("POST", &format!("/v1/users/{ada}/records"));
    let plain = plain.header("Keyfall-Class", "note").header("Keyfall-Name", "n");
    let there = id_of(&plain.body(b"my secret words"));
    let head = head_of(&ada, "0b5f7a52-9d0c-4b39-9dc7-000000000001", "Keyfall-Name: n\r\n");
    assert_eq!(id_of(&put_and_crash(&mut service, &head, b"my secret words")), there);
    assert_eq!(id_of(&again(&service, &head, b"my secret words")), there);
    let key = "0b5f7a52-9d0c-4b39-9dc7-000000000002";
    let head = head_of(&ada, key, "Keyfall-Name: n\r\n");
    assert_eq!(id_of(&put_and_crash(&mut service, &head, b"my secret words")), there);
    erase_record(&service, &there);
    is_erased(&again(&service, &head, b"my secret words"));
    assert_eq!(count(&service, &ada), 0);
}

/// A list does not have its digest, and it was put twice.
#[test]
fn a_derived_put_is_stored_once_after_a_crash_before_its_answer() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let from = format!("Keyfall-From: {}\r\n", service.put(&ada, "audio", b"RIFF...."));
    let head = head_of(&ada, KEY, &from);
    let first = put_and_crash(&mut service, &head, b"what was said");
    same(&first, &again(&service, &head, b"what was said"));
    assert_eq!(count(&service, &ada), 2);
}

/// A put that was cut off was not put: what others put into the interaction meanwhile, and erased,
/// says nothing of it.
#[test]
fn a_put_that_was_cut_off_is_put_after_an_erase_of_others() {
    let service = Service::start();
    let ada = service.user("ada");
    let head = head_of(&ada, KEY, OWN);
    let mut stream = TcpStream::connect(&service.address).unwrap();
    let begun = format!(
        "{head}Host: x\r\nAuthorization: Bearer {}\r\nContent-Length: 100\r\n\r\nhalf",
        service.token
    );
    stream.write_all(begun.as_bytes()).unwrap();
    wait_for("it is about to be put", || !answers(&service.dir).is_empty());
    drop(stream);
    let other = service.admin("POST", &format!("/v1/users/{ada}/records"));
    let other = other.header("Keyfall-Class", "note").header("Keyfall-Interaction", &OWN[21..57]);
    erase_record(&service, &id_of(&other.body(b"another's")));
    let busy = |reply: &Reply| reply.status == 409;
    let mut reply = again(&service, &head, b"whole");
    wait_for("it is served no more", || {
        if busy(&reply) {
            reply = again(&service, &head, b"whole");
        }
        !busy(&reply)
    });
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(count(&service, &ada), 1);
}

#[test]
fn a_key_of_an_erase_is_not_for_a_put() {
    let service = Service::start();
    let ada = service.user("ada");
    let scope = format!("{{\"scope\":{{\"record\":\"{}\"}}}}", service.put(&ada, "note", b"x"));
    let erase = || service.admin("POST", "/v1/erasures").header("Idempotency-Key", KEY);
    assert_eq!(erase().json(&scope).status, 200);
    let put = keyed(&service, &ada, KEY).body(b"RIFF....");
    assert_eq!((put.status, put.kind()), (422, "key-used".to_owned()), "{}", put.text());
    assert_eq!(erase().json(&scope).status, 200, "it has its answer still");
}

/// The library that puts another clock below a program, where it is installed.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// A policy erased by a clock that was two days ahead. Once it was right, puts with a key were
/// refused as erased until the two days were over; those without were not.
#[test]
fn a_put_with_a_key_is_taken_after_a_clock_that_was_ahead() {
    if !Path::new(FAKETIME).exists() {
        return absent("libfaketime");
    }
    let dir = tempfile::TempDir::new().unwrap();
    let service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let policy = service.admin("PUT", &format!("/v1/users/{ada}/policies"));
    let policy = policy.json("{\"class\":\"audio\",\"max_age\":\"1d\"}");
    assert!(policy.status < 300, "{}", policy.text());
    service.put(&ada, "audio", b"RIFF....");
    drop(service);
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyfalld"));
    command.env("LD_PRELOAD", FAKETIME).env("FAKETIME", "+2d");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let service = Service::run(command, dir.path(), &[]);
    wait_for("the policy erased it", || count(&service, &ada) == 0);
    drop(service);
    let service = Service::over(dir.path(), &[]);
    let plain = service.put(&ada, "audio", b"RIFF....");
    let put = || keyed(&service, &ada, KEY).header("Keyfall-Created", "2026-01-02T03:04:05Z");
    let first = put().body(b"RIFF....");
    assert_eq!(first.status, 201, "{}", first.text());
    same(&first, &put().body(b"RIFF...."));
    for id in [plain, id_of(&first)] {
        assert_eq!(service.admin("GET", &format!("/v1/records/{id}")).send().body, b"RIFF....");
    }
}

/// It was answered by 412: the record that it had put had the name.
#[test]
fn a_put_with_a_precondition_is_answered_again_after_a_crash_before_its_answer() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let named = |service: &Service, name: &str, body: &[u8]| {
        let put = service.admin("POST", &format!("/v1/users/{ada}/records"));
        put.header("Keyfall-Class", "note").header("Keyfall-Name", name).body(body)
    };
    let old = named(&service, "old", b"one").header("etag").unwrap().to_owned();
    let own = "Keyfall-Interaction: 01890a5d-ac96-774b-bcce-b302099a8057\r\n";
    let cases = [
        ("old", "If-Match", &*old, own),
        ("new", "If-None-Match", "*", own),
        ("newer", "If-None-Match", "*", ""),
    ];
    for (n, (name, condition, tag, more)) in cases.into_iter().enumerate() {
        let key = format!("0b5f7a52-9d0c-4b39-9dc3-{n:012}");
        let head = |of: &str| {
            format!(
                "POST /v1/users/{ada}/records HTTP/1.1\r\nKeyfall-Class: audio\r\n\
                 Keyfall-Created: 2026-01-02T03:04:05Z\r\n\
                 Keyfall-Name: {of}\r\n{condition}: {tag}\r\nIdempotency-Key: {key}\r\n{more}"
            )
        };
        let first = put_and_crash(&mut service, &head(name), b"two");
        let again = |service: &Service, body: &[u8]| again(service, &head(name), body);
        same(&first, &again(&service, b"two"));
        same(&first, &again(&service, b"two"));
        assert_eq!(again(&service, b"three").kind(), "key-used", "{name}");
    }
    assert_eq!(count(&service, &ada), 3);
}

/// What another request put under the name meanwhile is not taken for the answer: it has replaced
/// what was put, which is erased.
#[test]
fn a_put_with_a_precondition_is_erased_after_a_crash_if_another_has_the_name_by_then() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let key = "0b5f7a52-9d0c-4b39-9dc4-000000000001";
    let own = "01890a5d-ac96-774b-bcce-b302099a8057";
    let head = format!(
        "POST /v1/users/{ada}/records HTTP/1.1\r\nKeyfall-Class: audio\r\nKeyfall-Name: n\r\n\
         If-None-Match: *\r\nIdempotency-Key: {key}\r\nKeyfall-Interaction: {own}\r\n"
    );
    put_and_crash(&mut service, &head, b"two");
    let put = |body: &[u8]| {
        let put = service.admin("POST", &format!("/v1/users/{ada}/records"));
        let put = put.header("Keyfall-Class", "audio").header("Keyfall-Name", "n");
        put.header("Keyfall-Interaction", own).body(body)
    };
    let other = put(b"another's").json()["id"].as_str().unwrap().to_owned();
    let again = service.admin("POST", &format!("/v1/users/{ada}/records"));
    let again = again.header("Keyfall-Class", "audio").header("Keyfall-Name", "n");
    let again = again.header("If-None-Match", "*").header("Idempotency-Key", key);
    let again = again.header("Keyfall-Interaction", own).body(b"two");
    is_erased(&again);
    let read = service.admin("GET", &format!("/v1/records/{other}")).send();
    assert_eq!(read.body, b"another's");
}

/// The limit was that of the service alone.
#[test]
fn a_credential_may_have_a_limit_of_its_own_for_every_way_to_put() {
    let service = Service::start();
    let ada = service.user("ada");
    let token = service.credential(
        "{\"principal\":\"device\",\"scopes\":[\"put\",\"inbox\"],\"users\":\"any\",\
         \"max_record_bytes\":100}",
    );
    let by = |path: &str| {
        let request = service.ask("POST", path).header("Keyfall-Class", "audio");
        request.header("Authorization", &format!("Bearer {token}"))
    };
    let records = format!("/v1/users/{ada}/records");
    assert_eq!(by(&records).body(&[7; 100]).status, 201);
    let long = by(&records).body(&[7; 101]);
    assert_eq!((long.status, long.kind()), (413, "too-large".to_owned()));
    let upload = |length: &str| {
        let begun = by(&format!("/v1/users/{ada}/uploads")).header("Tus-Resumable", "1.0.0");
        begun.header("Upload-Length", length).send().status
    };
    assert_eq!((upload("100"), upload("101")), (201, 413));
    let user = keyfall::UserId::new("ada").unwrap();
    let key = service.admin("GET", &format!("/v1/users/{ada}/inbox")).send().json();
    let key: keyfall::sealed::InboxKey = key["key"].as_str().unwrap().parse().unwrap();
    let put = keyfall::Put::new(user, keyfall::Class::audio());
    let mut envelope = Vec::new();
    keyfall::sealed::seal(&put, &[7; 4000][..], &key, &keyfall::env::System, &mut envelope)
        .unwrap();
    assert_eq!(by("/v1/inbox").body(&envelope).status, 413);
    assert_eq!(service.admin("POST", "/v1/inbox").body(&envelope).status, 201);
    let listed = service.admin("GET", "/v1/credentials").send().json();
    assert_eq!(listed[0]["max_record_bytes"], 100);
}
