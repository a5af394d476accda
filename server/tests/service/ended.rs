//! What ended stays ended: openings, credentials, limits that are raced.

use std::os::unix::fs::symlink;
use std::thread;

use super::certificates::wait_for;
use super::kit::{Reply, Service};
use super::page::Session;
use super::uploads::{BYTES, append, begin, tus};

/// An answer that says nothing of a record.
fn silent(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{}", reply.text());
    let told = |name: &str| name.starts_with("keyfall-") || ["etag", "repr-digest"].contains(&name);
    let told: Vec<_> = reply.headers.iter().filter(|(name, _)| told(name)).collect();
    assert!(told.is_empty() && reply.header("content-range").is_none(), "{told:?}");
}

fn open(service: &Service, id: &str, json: &str) -> Reply {
    service.admin("POST", &format!("/v1/records/{id}/openings")).json(json)
}

fn address(opened: &Reply) -> String {
    assert_eq!(opened.status, 201, "{}", opened.text());
    opened.json()["opening"].as_str().unwrap().to_owned()
}

#[test]
fn an_opening_says_nothing_of_a_record_that_fell_nor_after_its_end() {
    let service = Service::start();
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/records");
    let put = service.admin("POST", &path).header("Keyfall-Class", "audio");
    let put = put.header("Keyfall-Name", "a-secret").header("Keyfall-Meta", "of=it").body(b"RIFF");
    let id = put.json()["id"].as_str().unwrap().to_owned();
    let short = address(&open(&service, &id, "{\"purpose\":\"x\",\"seconds\":1}"));
    let long = address(&open(&service, &id, "{\"purpose\":\"x\"}"));
    let asks = [("If-None-Match", "*"), ("Range", "bytes=999-"), ("If-Match", "\"x\"")];
    let ask = |method: &str, at: &str, of: (&str, &str)| {
        service.ask(method, at).header(of.0, of.1).send()
    };
    assert_eq!(ask("GET", &long, asks[0]).status, 304);
    assert_eq!(ask("GET", &long, asks[1]).status, 416);
    thread::sleep(std::time::Duration::from_millis(1200));
    for of in asks {
        silent(&ask("GET", &short, of), 404);
    }
    let erase = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
    assert_eq!(service.admin("POST", "/v1/erasures").json(&erase).status, 200);
    for of in asks {
        silent(&ask("GET", &long, of), 404);
        silent(&ask("HEAD", &long, of), 404);
    }
    // It keeps no place from others.
    let other = service.put(&ada, "audio", b"RIFF");
    assert_eq!(at_once(20, 201, || open(&service, &other, "{\"purpose\":\"x\"}")), 8);
}

#[test]
fn an_opening_ends_with_its_credential() {
    let service = Service::start();
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    let token = service.credential(
        "{\"principal\":\"p\",\"scopes\":[\"read\"],\"users\":\"any\",\"purposes\":[\"x\"]}",
    );
    let asked = service.ask("POST", &format!("/v1/records/{id}/openings"));
    let at = asked.header("Authorization", &format!("Bearer {token}"));
    let at = address(&at.json("{\"purpose\":\"x\"}"));
    let others = address(&open(&service, &id, "{\"purpose\":\"x\"}"));
    assert_eq!(service.ask("GET", &at).send().status, 200);
    let list = service.admin("GET", "/v1/credentials").send().json();
    let credential = list[0]["id"].as_str().unwrap().to_owned();
    let end = service.admin("DELETE", &format!("/v1/credentials/{credential}")).send();
    assert_eq!(end.status, 204);
    silent(&service.ask("GET", &at).send(), 404);
    assert_eq!(service.ask("GET", &others).send().status, 200);
}

/// Links went on to let in, and what they had let in went on for twelve hours.
#[test]
fn a_page_ends_with_the_credential_that_let_in() {
    let service = Service::start();
    let ada = service.user("ada");
    service.put(&ada, "audio", b"RIFF....");
    let limited = "{\"principal\":\"p\",\"scopes\":[\"page\"],\"users\":\"any\"}";
    let token = format!("Bearer {}", service.credential(limited));
    let link = || {
        let asked = service.ask("POST", &format!("/v1/users/{ada}/page-links"));
        let made = asked.header("Authorization", &token).json("{}");
        made.json()["url"].as_str().unwrap().to_owned()
    };
    let (session, unused) = (Session::by(&service, &link(), None), link());
    let others = Session::enter(&service, &ada, None);
    assert_eq!(session.get(&service, "/page").status, 200);
    assert_eq!(service.ask("GET", &unused).send().status, 200);
    let list = service.admin("GET", "/v1/credentials").send().json();
    let credential = list[0]["id"].as_str().unwrap();
    let end = service.admin("DELETE", &format!("/v1/credentials/{credential}")).send();
    assert_eq!(end.status, 204);
    assert_eq!(session.get(&service, "/page").status, 401);
    assert_eq!(session.erase(&service, "all=1").send().status, 401);
    assert_eq!(service.ask("GET", &unused).send().status, 410);
    assert_eq!(others.get(&service, "/page").status, 200);
}

/// So many requests at once, and how many of them had this status.
fn at_once(requests: usize, status: u16, ask: impl Fn() -> Reply + Sync) -> usize {
    thread::scope(|scope| {
        let asked: Vec<_> = (0..requests).map(|_| scope.spawn(|| ask().status)).collect();
        let ended = asked.into_iter().map(|one| one.join().unwrap());
        ended.filter(|one| *one == status).count()
    })
}

#[test]
fn a_limit_holds_for_requests_that_come_at_once() {
    let service = Service::start();
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    assert_eq!(at_once(40, 201, || open(&service, &id, "{\"purpose\":\"x\"}")), 8);
    let path = format!("/v1/users/{ada}/uploads");
    let begun = at_once(100, 201, || {
        let asked = tus(&service, "POST", &path).header("Upload-Length", "10");
        asked.header("Keyfall-Class", "audio").send()
    });
    assert_eq!(begun, 64);
}

/// A clock that ran ahead ended it for good, and nothing said so.
#[test]
fn that_a_credential_ended_is_said_and_taken_back() {
    let dir = tempfile::TempDir::new().unwrap();
    let service = Service::over(dir.path(), &[]);
    let until = keyfall::Timestamp::now().0 + 1500;
    let until = keyfall::Timestamp(until).to_string();
    let token = service.credential(&format!(
        "{{\"principal\":\"p\",\"scopes\":[\"status\"],\"users\":\"any\",\"until\":\"{until}\"}}"
    ));
    let asked = |service: &Service| {
        let asked = service.ask("GET", "/v1/status");
        asked.header("Authorization", &format!("Bearer {token}")).send()
    };
    let first = asked(&service);
    assert_eq!((first.status, &first.json()["credentials_ended"]), (200, &0.into()));
    wait_for("it ends", || asked(&service).status == 401);
    drop(service);
    let service = Service::over(dir.path(), &[]);
    wait_for("it is told", || service.log().contains("passed their end"));
    let file = dir.path().join("a.db.service/credentials.json");
    assert!(std::fs::read_to_string(file).unwrap().contains("\"over\": true"));
    let status = service.admin("GET", "/v1/status").send().json();
    assert_eq!(status["credentials_ended"], 1);
    let list = service.admin("GET", "/v1/credentials").send().json();
    assert_eq!(list[0]["ended"], true);
    let at = format!("/v1/credentials/{}/renewal", list[0]["id"].as_str().unwrap());
    let refused = service.admin("POST", &at).json("{}");
    assert_eq!((refused.status, refused.kind()), (409, "refused".to_owned()));
    let renewed = service.admin("POST", &at).json("{\"until\":\"2099-01-01\"}");
    assert_eq!((renewed.status, &renewed.json()["ended"]), (200, &false.into()));
    assert_eq!(asked(&service).status, 200);
    assert_eq!(service.admin("POST", &at).json("{}").status, 200, "its end is not past");
    drop(service);
    let service = Service::over(dir.path(), &[]);
    assert_eq!(asked(&service).status, 200);
    let none = service.admin("POST", "/v1/credentials/c_none/renewal").json("{}");
    assert_eq!(none.status, 404);
}

/// The first principal left no upload of the user to any other one.
#[test]
fn each_principal_has_uploads_of_its_own() {
    let service = Service::start();
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/uploads");
    let begin = |token: &str| {
        let asked = service.ask("POST", &path).header("Authorization", &format!("Bearer {token}"));
        let asked = asked.header("Tus-Resumable", "1.0.0").header("Upload-Length", "10");
        asked.header("Keyfall-Class", "audio").send()
    };
    let principal = |name: &str| {
        service.credential(&format!(
            "{{\"principal\":\"{name}\",\"scopes\":[\"put\"],\"users\":\"any\"}}"
        ))
    };
    let greedy = [principal("greedy"), principal("greedy")];
    for n in 0..64 {
        assert_eq!(begin(&greedy[n % 2]).status, 201);
    }
    let refused = begin(&greedy[0]);
    assert_eq!((refused.status, refused.kind()), (409, "limit".to_owned()));
    let other = begin(&principal("other"));
    assert_eq!(other.status, 201, "{}", other.text());
    // One that ends makes room.
    let end = service.admin("DELETE", other.header("location").unwrap());
    assert_eq!(end.header("Tus-Resumable", "1.0.0").send().status, 204);
    assert_eq!(begin(&greedy[0]).status, 409, "it was another's");
    // All of a user together, but the first of each.
    for name in ["greedy too", "as greedy"] {
        let token = principal(name);
        assert!((0..64).all(|_| begin(&token).status == 201));
    }
    let late: Vec<u16> = (0..5).map(|_| principal("late")).map(|it| begin(&it).status).collect();
    assert_eq!(late, [201, 201, 201, 201, 409]);
    assert_eq!(begin(&principal("latest")).status, 201);
}

#[test]
fn the_last_byte_of_an_upload_replaces_a_record_only_for_whoever_may_erase() {
    let service = Service::start();
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/records");
    let put = service.admin("POST", &path).header("Keyfall-Class", "note");
    let old =
        put.header("Keyfall-Name", "n").body(b"old").json()["id"].as_str().unwrap().to_owned();
    let token = service
        .credential(&format!("{{\"principal\":\"p\",\"scopes\":[\"put\"],\"users\":[\"{ada}\"]}}"));
    let limited = format!("Bearer {token}");
    let patch = |at: &str, offset: &str, bytes: &[u8]| {
        let asked = service.ask("PATCH", at).header("Authorization", &limited);
        let asked = asked.header("Tus-Resumable", "1.0.0").header("Content-Type", BYTES);
        asked.header("Upload-Offset", offset).body(bytes)
    };
    let named = |name: &str, more: &[(&str, &str)]| {
        let said = [&[("Keyfall-Class", "note"), ("Keyfall-Name", name)][..], more].concat();
        begin(&service, &ada, 3, &said)
    };
    let at = named("n", &[]);
    assert_eq!(patch(&at, "0", b"new").kind(), "forbidden");
    assert_eq!(append(&service, &at, 0, b"ne").status, 204);
    assert_eq!(patch(&at, "2", b"w").kind(), "forbidden");
    let head = |at: &str| {
        let asked = service.ask("HEAD", at).header("Authorization", &limited);
        asked.header("Tus-Resumable", "1.0.0").send()
    };
    assert_eq!((head(&at).status, head(&at).header("upload-offset")), (200, Some("2")));
    let old = format!("/v1/records/{old}");
    assert_eq!(service.admin("GET", &old).send().body, b"old");
    // What replaces nothing needs no more than to put.
    let absent = named("other", &[("If-None-Match", "*")]);
    assert_eq!(patch(&absent, "0", b"new").status, 204);
    let nameless = begin(&service, &ada, 3, &[("Keyfall-Class", "note")]);
    assert_eq!(patch(&nameless, "0", b"new").status, 204);
    let end = |at: &str| {
        let asked = service.ask("DELETE", at).header("Authorization", &limited);
        asked.header("Tus-Resumable", "1.0.0").send()
    };
    assert_eq!((end(&at).kind(), end(&format!("{at}.other")).status), ("forbidden".into(), 404));
    assert_eq!(append(&service, &at, 2, b"w").status, 204);
    assert_eq!(service.admin("GET", &old).send().status, 410);
    // An address that its creation did not give ends nothing.
    let nameless = begin(&service, &ada, 3, &[("Keyfall-Class", "note")]);
    let (id, mark) = nameless.split_once('.').unwrap();
    assert_eq!((end(id).status, end(&format!("{id}.{mark}x")).status), (404, 404));
    assert_eq!(append(&service, &nameless, 0, b"ne").status, 204);
    assert_eq!(end(&nameless).status, 204);
}

const LIMITED: &str = "{\"principal\":\"p\",\"scopes\":[\"status\"],\"users\":\"any\"";

fn status(service: &Service, token: &str) -> u16 {
    let asked = service.ask("GET", "/v1/status");
    asked.header("Authorization", &format!("Bearer {token}")).send().status
}

#[test]
fn a_credential_ends_at_once_also_on_a_full_disk() {
    let dir = tempfile::TempDir::new().unwrap();
    let service = Service::over(dir.path(), &[]);
    let token = service.credential(&format!("{LIMITED}}}"));
    let list = service.admin("GET", "/v1/credentials").send().json();
    let at = format!("/v1/credentials/{}", list[0]["id"].as_str().unwrap());
    let beside = dir.path().join("a.db.service/credentials.json.new");
    symlink("/dev/full", &beside).unwrap();
    assert_eq!(status(&service, &token), 200);
    for _ in 0..2 {
        let end = service.admin("DELETE", &at).send();
        assert_eq!((end.status, end.kind()), (507, "full".to_owned()), "{}", end.text());
        assert!(end.text().contains("opens nothing any more"), "{}", end.text());
        assert_eq!(status(&service, &token), 401);
    }
    assert!(service.log().contains("no storage space"), "the log says why");
    std::fs::remove_file(&beside).unwrap();
    assert_eq!(service.admin("DELETE", &at).send().status, 204);
    assert_eq!(service.admin("DELETE", &at).send().status, 404);
    drop(service);
    assert_eq!(status(&Service::over(dir.path(), &[]), &token), 401);
}

#[test]
fn a_clock_that_is_set_back_brings_no_credential_back() {
    let dir = tempfile::TempDir::new().unwrap();
    let service = Service::over(dir.path(), &[]);
    let until = keyfall::Timestamp(keyfall::Timestamp::now().0 + 4000).to_string();
    let token = service.credential(&format!("{LIMITED},\"until\":\"{until}\"}}"));
    let stays = service.credential(&format!("{LIMITED},\"until\":\"2090-01-01\"}}"));
    drop(service);
    thread::sleep(std::time::Duration::from_millis(4100));
    let book = dir.path().join("a.db.service/credentials.json");
    let read = || std::fs::read_to_string(&book).unwrap();
    let service = Service::over(dir.path(), &[]);
    super::certificates::wait_for("the end is noted", || read().contains("\"over\""));
    drop(service);
    // As if it were before.
    let text = read().replace(&until, "2095-01-01");
    std::fs::write(&book, text).unwrap();
    let service = Service::over(dir.path(), &[]);
    assert_eq!((status(&service, &token), status(&service, &stays)), (401, 200));
}

#[test]
fn a_handle_is_the_same_however_it_is_written() {
    let service = Service::start();
    let ada = service.user("ada");
    let loud = format!("u_{}", ada[2..].to_uppercase());
    assert_ne!(loud, ada);
    service.credential(&format!(
        "{{\"principal\":\"p\",\"scopes\":[\"erase\"],\"users\":[\"{loud}\"]}}"
    ));
    let list = || service.admin("GET", "/v1/credentials").send().json();
    assert_eq!(list()[0]["users"][0], ada.as_str());
    let erase = format!("{{\"scope\":{{\"user\":\"{ada}\"}}}}");
    assert_eq!(service.admin("POST", "/v1/erasures").json(&erase).status, 200);
    assert!(list().as_array().unwrap().is_empty(), "it is for nobody else");
}

#[test]
fn an_erase_that_never_was_is_not_complete() {
    let service = Service::start();
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    let erase = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
    let done = service.admin("POST", "/v1/erasures").json(&erase).json();
    let of = |epoch: u64| service.admin("GET", &format!("/v1/erasures/e_{epoch:016x}")).send();
    let epoch = done["epoch"].as_u64().unwrap();
    assert_eq!(of(epoch).json()["state"], "complete");
    assert_eq!(of(epoch + 1).status, 404);
    assert_eq!(of(0).status, 404);
}

#[test]
fn a_tile_beyond_all_numbers_is_not_there() {
    let service = Service::start();
    for level in ["0", "entries"] {
        let path = format!("/log/tile/{level}/x072/x057/x594/x037/x927/935");
        assert_eq!(service.ask("GET", &path).send().status, 404, "{level}");
    }
}

#[test]
fn a_grant_is_for_a_purpose_of_the_credential() {
    let service = Service::start();
    let ada = service.user("ada");
    let token = service.credential(&format!(
        "{{\"principal\":\"p\",\"scopes\":[\"rules\"],\"users\":[\"{ada}\"],\"purposes\":[\"care\"]}}"
    ));
    let grant = |purpose: &str| {
        let asked = service.ask("POST", &format!("/v1/users/{ada}/grants"));
        let asked = asked.header("Authorization", &format!("Bearer {token}"));
        asked.json(&format!("{{\"to\":\"no key\",\"name\":\"n\",\"purpose\":\"{purpose}\"}}"))
    };
    assert_eq!(grant("curiosity").kind(), "forbidden");
    assert_eq!(grant("care").kind(), "invalid", "its key is none");
}

#[test]
fn an_answer_that_is_no_text_is_no_answer() {
    let service = Service::start();
    let ada = service.user("ada");
    let put = || {
        let asked = service.admin("POST", &format!("/v1/users/{ada}/records"));
        let asked = asked.header("Keyfall-Class", "audio");
        asked.header("Idempotency-Key", "a-key-of-enough-characters").body(b"RIFF").status
    };
    assert_eq!(put(), 201);
    let answers = std::fs::read_dir(service.dir.join("a.db.service/answers")).unwrap();
    for answer in answers {
        std::fs::write(answer.unwrap().path(), [0xff, 0xfe]).unwrap();
    }
    assert_eq!(put(), 201);
}

#[test]
fn a_plan_that_was_cancelled_is_not_answered_with_as_if_it_waited() {
    let service = Service::start();
    let ada = service.user("ada");
    service.put(&ada, "audio", b"RIFF....");
    let plan = |within: &str, key: &str| {
        let json =
            format!("{{\"scope\":{{\"user\":\"{ada}\",\"class\":\"audio\"}},\"in\":\"{within}\"}}");
        let asked = service.admin("POST", "/v1/erasures").header("Idempotency-Key", key);
        asked.json(&json)
    };
    let first = plan("7d", "a-key-of-enough-characters");
    assert_eq!((first.status, &first.json()["state"]), (202, &"planned".into()));
    assert_eq!(plan("7d", "a-key-of-enough-characters").json(), first.json());
    let at = format!("/v1/erasures/{}", first.json()["id"].as_str().unwrap());
    assert_eq!(service.admin("DELETE", &at).send().status, 204);
    let again = plan("7d", "a-key-of-enough-characters");
    assert_eq!((again.status, again.kind()), (409, "refused".to_owned()));
    // One that was done has its answer as before.
    let done = plan("1s", "another-key-of-enough-characters");
    let of_class = format!("/v1/users/{ada}/records?class=audio");
    super::certificates::wait_for("it is done", || {
        let left = service.admin("GET", &of_class).send().json();
        left["records"].as_array().unwrap().is_empty()
    });
    assert_eq!(plan("1s", "another-key-of-enough-characters").json(), done.json());
}
