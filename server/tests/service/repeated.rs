//! Credentials and the users that they are for: what becomes of them when such a user is erased,
//! and how a caller whose credential ended by an erase gets the answer of it again.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::certificates::{Authority, LONG, client, connect};
use super::kit::{Reply, Service};
use super::tls::{started, text};

fn credential(service: &Service, principal: &str, users: &[&str]) -> String {
    let credential = json!({
        "principal": principal, "scopes": ["read", "report", "erase", "status"], "users": users,
    });
    service.credential(&credential.to_string())
}

/// Erases all of a user with a token, under a key; later, if that is said.
fn erase(service: &Service, token: &str, user: &str, key: &str, later: Option<&str>) -> Reply {
    let mut json = json!({"scope": {"user": user}, "authority": "ada herself"});
    if let Some(later) = later {
        json["in"] = later.into();
    }
    let request = service.ask("POST", "/v1/erasures");
    let request = request.header("Authorization", &format!("Bearer {token}"));
    request.header("Idempotency-Key", key).json(&json.to_string())
}

/// The principals that have a credential.
fn principals(service: &Service) -> Vec<String> {
    let list = service.admin("GET", "/v1/credentials").send().json();
    let names = list.as_array().unwrap().iter();
    names.map(|one| one["principal"].as_str().unwrap().to_owned()).collect()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The erase ended the credential, and the same request was answered by 401.
#[test]
fn a_credential_that_its_erase_ended_gets_that_answer_again_and_nothing_else() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let (ada, ben) = (service.user("ada"), service.user("ben"));
    service.put(&ada, "audio", b"RIFF....");
    let alone = credential(&service, "mensch-unikat", &[&ada]);
    let key = "0b5f7a52-9d0c-4b39-9db0-000000000001";
    let first = erase(&service, &alone, &ada, key, None);
    assert_eq!(first.status, 200, "{}", first.text());
    assert!(first.json()["certificate"].is_string());
    assert!(principals(&service).is_empty(), "it was for nobody else");
    // Also after a start.
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    service = Service::over(dir.path(), &[]);
    let again = erase(&service, &alone, &ada, key, None);
    assert_eq!((again.status, again.json()), (200, first.json()), "{}", again.text());

    let other = "0b5f7a52-9d0c-4b39-9db0-000000000002";
    assert_eq!(erase(&service, &alone, &ada, other, None).status, 401);
    assert_eq!(erase(&service, "kf_made-up", &ada, key, None).status, 401);
    assert_eq!(erase(&service, &alone, &ben, key, None).status, 422, "another request");
    let bearer = format!("Bearer {alone}");
    let list = service.ask("POST", "/v1/erasures").header("Authorization", &bearer);
    let list = list.header("Idempotency-Key", key);
    let list = list.json(&json!([{"scope": {"user": ada}}]).to_string());
    assert_eq!(list.status, 401, "{}", list.text());
    let at = first.header("location").unwrap();
    for path in ["/v1/status", "/v1/erasures/e_0000000000000001", at] {
        let asked = service.ask("GET", path).header("Authorization", &bearer);
        assert_eq!(asked.header("Idempotency-Key", key).send().status, 401, "{path}");
    }
    for file in std::fs::read_dir(dir.path().join("a.db.service/answers")).unwrap() {
        let kept = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!kept.contains("unikat") && !kept.contains(&alone), "it is sealed");
    }
}

/// It lost one of its users, and the same request was answered by 403.
#[test]
fn a_credential_that_lost_a_user_gets_the_answer_of_that_erase_again() {
    let service = Service::start();
    let (ada, ben) = (service.user("ada"), service.user("ben"));
    let both = credential(&service, "the parents", &[&ada, &ben]);
    let key = "0b5f7a52-9d0c-4b39-9db0-000000000003";
    let first = erase(&service, &both, &ada, key, None);
    let again = erase(&service, &both, &ada, key, None);
    assert_eq!((again.status, again.json()), (200, first.json()), "{}", again.text());
    let other = "0b5f7a52-9d0c-4b39-9db0-000000000004";
    assert_eq!(erase(&service, &both, &ada, other, None).status, 403);
}

/// A planned erase took the user and left the credential: whoever had it was told the handle.
#[test]
fn a_planned_erase_ends_what_an_immediate_one_ends_and_its_certificate_is_to_be_had() {
    let service = Service::start();
    let (ada, ben) = (service.user("ada"), service.user("ben"));
    service.put(&ada, "audio", b"RIFF....");
    let alone = credential(&service, "alone", &[&ada]);
    credential(&service, "both", &[&ada, &ben]);
    let key = "0b5f7a52-9d0c-4b39-9db0-000000000005";
    let planned = erase(&service, &alone, &ada, key, Some("1s"));
    assert_eq!(planned.status, 202, "{}", planned.text());
    wait_until("its credential ends", || principals(&service) == ["both"]);
    let list = service.admin("GET", "/v1/credentials").send().json();
    assert_eq!(list[0]["users"], json!([ben]));

    let certificate = |reply: &Reply| -> Value { reply.json()["certificate"].clone() };
    let bearer = format!("Bearer {alone}");
    let asked = service.ask("GET", planned.header("location").unwrap());
    let asked = asked.header("Authorization", &bearer).header("Idempotency-Key", key).send();
    assert_eq!(asked.status, 200, "{}", asked.text());
    assert!(certificate(&asked).as_str().unwrap().contains("ada"));
    // What the request was answered before is what it is answered now.
    let again = erase(&service, &alone, &ada, key, Some("1s"));
    assert_eq!((again.status, again.json()), (202, planned.json()));
}

/// Whoever erases, and in whichever process.
#[test]
fn a_credential_ends_also_if_the_page_or_another_process_erased_its_user() {
    let dir = tempfile::TempDir::new().unwrap();
    let service = Service::over(dir.path(), &[]);
    let (ada, ben) = (service.user("ada"), service.user("ben"));
    for user in [&ada, &ben] {
        service.put(user, "audio", b"RIFF....");
    }
    credential(&service, "of ada", &[&ada]);
    credential(&service, "of ben", &[&ben]);
    super::page::erase_everything(&service, &ada);
    wait_until("the page erased her", || principals(&service) == ["of ben"]);
    drop(service);
    let builder = keyfall::Builder::at(dir.path().join("a.db")).accept_remnants();
    let engine = builder.wait_for_lock(Duration::from_secs(10)).open().unwrap();
    let ben = keyfall::UserId::new("ben").unwrap();
    engine.erase(keyfall::Scope::user(ben)).unwrap();
    engine.close().unwrap();
    let service = Service::over(dir.path(), &[]);
    wait_until("another process erased him", || principals(&service).is_empty());
}

#[test]
fn a_client_certificate_whose_credential_ended_gets_the_answer_again() {
    let dir = tempfile::TempDir::new().unwrap();
    let authority = Authority::new(&dir.path().join("ca"));
    let server = authority.issue("server", "IP:127.0.0.1", LONG);
    let pair = authority.issue("ada", "URI:spiffe://home/ada", LONG);
    let more = ["--client-ca", text(&authority.file())].map(str::to_owned);
    let service = started(dir.path(), &server, &[&more[0], &more[1]]);
    let (trusted, own) = (client(&authority, None), client(&authority, Some(&pair)));
    let say = |own_one: bool, path: &str, more: &str, body: &str| {
        let by = if own_one { &own } else { &trusted };
        let mut stream = connect(by, &service.address);
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        Reply::try_read(stream, false).unwrap()
    };
    let admin = format!("Authorization: Bearer {}\r\n", service.token);
    let ada = say(false, "/v1/users", &admin, "{\"name\":\"ada\"}").json();
    let ada = ada["handle"].as_str().unwrap().to_owned();
    let credential = json!({
        "principal": "ada", "scopes": ["erase"], "users": [ada],
        "certificate": {"uri": "spiffe://home/ada"},
    });
    let made = say(false, "/v1/credentials", &admin, &credential.to_string());
    assert_eq!(made.status, 201, "{}", made.text());
    let json = json!({"scope": {"user": ada}, "certificate": true}).to_string();
    let key = "Idempotency-Key: 0b5f7a52-9d0c-4b39-9db0-000000000006\r\n";
    let first = say(true, "/v1/erasures", key, &json);
    assert_eq!(first.status, 200, "{}", first.text());
    let again = say(true, "/v1/erasures", key, &json);
    assert_eq!((again.status, again.json()), (200, first.json()), "{}", again.text());
    assert_eq!(say(false, "/v1/erasures", key, &json).status, 401);
}
