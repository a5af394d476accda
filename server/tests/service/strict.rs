//! What is refused because it says two things, or says what cannot be.

use std::io::Write;
use std::net::TcpStream;

use keyfall::env::System;
use keyfall::sealed::{Identity, InboxKey, seal};
use keyfall::{Class, Put, UserId};

use super::kit::{Reply, Service};

const KEY: &str = "0b5f7a52-9d0c-4b39-9dc0-00000000000";

/// A request as it is written.
fn raw(service: &Service, text: &str) -> Reply {
    let mut stream = TcpStream::connect(&service.address).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    Reply::read(stream, false)
}

#[test]
fn a_field_that_stands_once_is_refused_if_it_comes_twice() {
    let service = Service::start();
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/records");
    let put = || service.admin("POST", &path).header("Keyfall-Class", "note");
    let (key, token) = (format!("{KEY}1"), format!("Bearer {}", service.token));
    let twice = [
        ("Keyfall-Class", "audio"),
        ("Content-Type", "text/plain"),
        ("Keyfall-Name", "n"),
        ("Keyfall-Purpose", "p"),
        ("Keyfall-Created", "2026-01-01"),
        ("Idempotency-Key", key.as_str()),
        ("Authorization", token.as_str()),
    ];
    for (name, value) in twice {
        let asked = put().header(name, value).header(name, value).body(b"x");
        assert_eq!((asked.status, asked.kind()), (400, "invalid".to_owned()), "{name}");
        assert!(asked.text().contains(&name.to_lowercase()), "{name}: {}", asked.text());
    }
    let asked = service.admin("GET", &path).header("Host", "y").send();
    assert_eq!((asked.status, asked.kind()), (400, "invalid".to_owned()), "two hosts");
    // Those that are lists may.
    let sources = [service.put(&ada, "audio", b"a"), service.put(&ada, "audio", b"b")];
    let many = put().header("Keyfall-From", &sources[0]).header("Keyfall-From", &sources[1]);
    let many = many.header("Keyfall-Meta", "a=1").header("Keyfall-Meta", "b=1,2").body(b"x");
    let joined = put().header("Keyfall-From", &sources.join(", ")).body(b"y");
    for put in [many, joined] {
        assert_eq!(put.status, 201, "{}", put.text());
        let id = put.json()["id"].as_str().unwrap().to_owned();
        let of = service.admin("GET", &format!("/v1/records/{id}/lineage")).send().json();
        assert_eq!(of["sources"].as_array().unwrap().len(), 2, "{of}");
    }
}

#[test]
fn a_body_that_is_packed_is_refused_and_not_kept_as_it_came() {
    let service = Service::start();
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/records");
    let put = || service.admin("POST", &path).header("Keyfall-Class", "note");
    let packed = put().header("Content-Encoding", "gzip").body(b"\x1f\x8b");
    assert_eq!((packed.status, packed.kind()), (415, "media-type".to_owned()));
    assert_eq!(put().header("Content-Encoding", "identity").body(b"x").status, 201);
    for coding in ["gzip, chunked", "deflate, chunked"] {
        let asked = raw(
            &service,
            &format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nKeyfall-Class: note\r\n\
                 Authorization: Bearer {}\r\nTransfer-Encoding: {coding}\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                service.token
            ),
        );
        assert_eq!((asked.status, asked.kind()), (501, "coding".to_owned()), "{coding}");
    }
    let listed = service.admin("GET", &path).send().json();
    assert_eq!(listed["records"].as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn nobody_puts_what_people_take_for_a_proof() {
    let service = Service::start();
    let ada = service.user("ada");
    let refused = |reply: Reply| {
        assert_eq!((reply.status, reply.kind()), (409, "refused".to_owned()), "{}", reply.text());
    };
    let path = format!("/v1/users/{ada}/records");
    let put = || service.admin("POST", &path).header("Keyfall-Class", "certificate");
    refused(put().body(b"x"));
    refused(put().header("Content-Type", "text/vnd.keyfall.certificate").body(b"x"));
    let upload = service.admin("POST", &format!("/v1/users/{ada}/uploads"));
    let upload = upload.header("Tus-Resumable", "1.0.0").header("Upload-Length", "1");
    // class certificate
    refused(upload.header("Upload-Metadata", "class Y2VydGlmaWNhdGU=").send());
    let key = service.admin("GET", &format!("/v1/users/{ada}/inbox")).send().json();
    let key: InboxKey = key["key"].as_str().unwrap().parse().unwrap();
    let sealed = |class: &str| {
        let put = Put::new(UserId::new("ada").unwrap(), Class::new(class).unwrap());
        let mut envelope = Vec::new();
        seal(&put, &b"x"[..], &key, &System, &mut envelope).unwrap();
        service.admin("POST", "/v1/inbox").body(&envelope)
    };
    refused(sealed("certificate"));
    assert_eq!(sealed("note").status, 201);
    let listed = service.admin("GET", &path).send().json();
    assert_eq!(listed["records"].as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn what_is_to_end_ends_at_a_time_to_come() {
    let service = Service::start();
    let ada = service.user("ada");
    let past = service.admin("POST", "/v1/credentials").json(
        "{\"principal\":\"p\",\"scopes\":[\"status\"],\"users\":\"any\",\"until\":\"2001-01-01\"}",
    );
    assert_eq!((past.status, past.kind()), (400, "invalid".to_owned()));
    assert_eq!(service.admin("GET", "/v1/credentials").send().json(), serde_json::json!([]));
    let key = Identity::new(&System).unwrap().public().unwrap();
    let grant =
        format!("{{\"to\":\"{key}\",\"name\":\"n\",\"purpose\":\"p\",\"until\":\"2001-01-01\"}}");
    let past = service.admin("POST", &format!("/v1/users/{ada}/grants")).json(&grant);
    assert_eq!((past.status, past.kind()), (400, "invalid".to_owned()));
}

#[test]
fn a_problem_is_named_by_a_whole_address_where_the_service_knows_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::over(dir.path(), &["--public-url", "https://voice.example/"]);
    let problem = service.ask("GET", "/v1/status").send().json();
    assert_eq!(problem["type"], "https://voice.example/docs#unauthorized");
}

#[test]
fn another_version_of_tus_is_told_which_there_are() {
    let service = Service::start();
    let ada = service.user("ada");
    for path in [format!("/v1/users/{ada}/uploads"), "/v1/uploads/x".to_owned()] {
        let method = if path.ends_with('x') { "PATCH" } else { "POST" };
        for version in [None, Some("0.2.2")] {
            let mut asked = service.admin(method, &path);
            if let Some(version) = version {
                asked = asked.header("Tus-Resumable", version);
            }
            let refused = asked.send();
            assert_eq!(refused.status, 412);
            assert_eq!(refused.header("tus-version"), Some("1.0.0"));
            assert_eq!(refused.header("tus-resumable"), Some("1.0.0"));
        }
    }
}

/// Whoever has the key of a put learns nothing of what was erased since.
#[test]
fn a_kept_answer_tells_nothing_of_what_fell() {
    let service = Service::start();
    let ada = service.user("ada");
    let put = |key: &str, class: &str, body: &[u8]| {
        let put = service.admin("POST", &format!("/v1/users/{ada}/records"));
        put.header("Keyfall-Class", class).header("Idempotency-Key", key).body(body)
    };
    let keys = [format!("{KEY}1"), format!("{KEY}2")];
    let id = put(&keys[0], "note", b"secret").json()["id"].as_str().unwrap().to_owned();
    assert_eq!(put(&keys[1], "note", b"other").status, 201);
    let erase = |scope: &str| {
        let erased = service.admin("POST", "/v1/erasures").json(&format!("{{\"scope\":{scope}}}"));
        assert_eq!(erased.status, 200, "{}", erased.text());
    };
    erase(&format!("{{\"record\":\"{id}\"}}"));
    let answers = |key: &str| {
        ["note", "audio"].map(|class| {
            [&b"secret"[..], b"guess"].map(|body| {
                let again = put(key, class, body);
                assert!(!again.text().contains(&id));
                (again.status, again.kind())
            })
        })
    };
    let gone = || (410, "erased".to_owned());
    assert_eq!(answers(&keys[0]), [[gone(), gone()], [gone(), gone()]]);
    let listed = service.admin("GET", &format!("/v1/users/{ada}/records")).send().json();
    assert_eq!(listed["records"].as_array().unwrap().len(), 1, "nothing is put again");
    erase(&format!("{{\"user\":\"{ada}\"}}"));
    assert_eq!(answers(&keys[1]), [[gone(), gone()], [gone(), gone()]]);
}

/// A plan that was held when it fell due.
#[test]
fn a_hold_that_is_lifted_lets_its_plan_be_done() {
    let service = Service::start();
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    let holds = format!("/v1/users/{ada}/holds");
    let hold = "{\"class\":\"audio\",\"reason\":\"a\",\"authority\":\"b\"}";
    let hold = service.admin("POST", &holds).json(hold).json();
    let number = hold["number"].as_str().unwrap();
    let plan = format!("{{\"scope\":{{\"user\":\"{ada}\",\"class\":\"audio\"}},\"in\":\"1s\"}}");
    assert_eq!(service.admin("POST", "/v1/erasures").json(&plan).status, 202);
    let refused = || {
        let report = service.admin("GET", &format!("/v1/users/{ada}/report")).send().json();
        let history = report["history"].as_array().unwrap().clone();
        history.iter().any(|fact| fact["what"] == "refused")
    };
    let wait = |what: &str, holds: &dyn Fn() -> bool| {
        let soon = (0..400).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            holds()
        });
        assert!(soon, "{what}");
    };
    wait("the hold refuses it", &refused);
    let lift = service.admin("POST", &format!("{holds}/{number}/lift"));
    assert_eq!(lift.json("{\"reason\":\"a\",\"authority\":\"b\"}").status, 204);
    let path = format!("/v1/records/{id}");
    wait("it is done", &|| service.admin("GET", &path).send().status == 410);
    let plans = service.admin("GET", &format!("/v1/users/{ada}/plans")).send().json();
    assert_eq!(plans, serde_json::json!([]));
}

/// A source named in a header that does not exist went unseen, and nothing fell with it.
#[test]
fn slips_are_told_by_their_names() {
    let service = Service::start();
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/records");
    let put = |name: &str| {
        service.admin("POST", &path).header("Keyfall-Class", "audio").header(name, "x").body(b"x")
    };
    for name in ["Keyfall-Form", "Keyfall-Derived-From"] {
        let refused = put(name);
        assert_eq!((refused.status, refused.kind()), (400, "invalid".to_owned()));
        assert!(refused.text().contains(&name.to_lowercase()), "{}", refused.text());
        assert!(refused.text().contains("keyfall-from"), "{}", refused.text());
    }
    assert_eq!(put("Keyfall-Name").status, 201);
    // It would have put an end to the limit that stood.
    let limit = |json: &str| service.admin("PUT", "/v1/policies").json(json);
    assert_eq!(limit("{\"class\":\"audio\",\"max_age\":\"90d\"}").status, 204);
    let refused = limit("{\"class\":\"audio\"}");
    assert!(refused.status == 400 && refused.text().contains("max_age"), "{}", refused.text());
    let stands = service.admin("GET", "/v1/policies").send().text();
    assert!(stands.contains("\"max_age_seconds\":7776000"), "{stands}");
    for (json, told) in [
        ("\"scopes\":[\"put\",\"red\"],\"users\":\"any\"", "\\\"red\\\" is no scope"),
        ("\"scopes\":[\"put\"],\"users\":\"all\"", "users is \\\"any\\\", or a list of handles"),
        ("\"scopes\":[\"put\"],\"users\":[\"u_x\"]", "\\\"u_x\\\" is no handle"),
    ] {
        let refused = service.admin("POST", "/v1/credentials");
        let refused = refused.json(&format!("{{\"principal\":\"p\",{json}}}"));
        assert!(refused.status == 400 && refused.text().contains(told), "{}", refused.text());
    }
    let token = service.credential("{\"principal\":\"p\",\"scopes\":[\"put\"],\"users\":\"any\"}");
    let refused =
        service.ask("GET", "/v1/status").header("Authorization", &format!("Bearer {token}"));
    let refused = refused.send();
    assert!(refused.status == 403 && refused.text().contains("status"), "{}", refused.text());
}
