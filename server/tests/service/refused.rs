//! What is refused is refused before the first byte of an answer.

use std::io::Cursor;

use keyfall::env::System;
use keyfall::sealed::{Identity, Ticket};

use super::kit::{Reply, Service};

fn policy(service: &Service, path: &str, json: &str) {
    let set = service.admin("PUT", path).json(json);
    assert!([200, 204].contains(&set.status), "{}", set.text());
}

fn export(service: &Service, handle: &str, purpose: Option<&str>) -> Reply {
    let asked = service.admin("GET", &format!("/v1/users/{handle}/export.zip"));
    match purpose {
        Some(purpose) => asked.header("Keyfall-Purpose", purpose).send(),
        None => asked.send(),
    }
}

fn is_whole(reply: &Reply) -> bool {
    let archive = zip::ZipArchive::new(Cursor::new(reply.body.clone()));
    reply.status == 200 && reply.whole && archive.is_ok()
}

/// It was answered by 200, and cut.
#[test]
fn an_export_for_no_purpose_is_refused_where_readers_must_be_named() {
    let service = Service::start();
    let (ada, ben) = (service.user("ada"), service.user("ben"));
    // Much that may be read comes before what may not.
    for user in [&ada, &ben] {
        service.put(user, "note", &[7; 300_000]);
        service.put(user, "audio", b"RIFF....");
    }
    assert!(is_whole(&export(&service, &ada, None)));
    let named = "{\"class\":\"audio\",\"readers_named\":true}";
    policy(&service, "/v1/policies", named);
    let refused = export(&service, &ada, None);
    assert_eq!((refused.status, refused.kind()), (403, "forbidden".to_owned()));
    assert!(refused.text().contains("Keyfall-Purpose"), "{}", refused.text());
    assert!(is_whole(&export(&service, &ada, Some("to take it along"))));
    // A user with a policy of their own, and a user with no records of that class.
    policy(&service, &format!("/v1/users/{ben}/policies"), "{\"class\":\"audio\"}");
    assert!(is_whole(&export(&service, &ben, None)));
    let chloe = service.user("chloe");
    service.put(&chloe, "note", b"x");
    assert!(is_whole(&export(&service, &chloe, None)));
    policy(&service, &format!("/v1/users/{chloe}/policies"), &named.replace("audio", "note"));
    assert_eq!(export(&service, &chloe, None).status, 403);
}

/// Whatever was wrong with it, it was answered by 200, and cut.
#[test]
fn a_grantee_s_request_that_opens_nothing_is_refused_by_a_status() {
    let service = Service::start();
    let ada = service.user("ada");
    service.put(&ada, "audio", b"RIFF....");
    let ask = |request: &[u8]| service.ask("POST", "/v1/requests").body(request);
    assert_eq!(ask(b"KF, but no request").status, 400);
    let identity = Identity::new(&System).unwrap();
    let grants = format!("/v1/users/{ada}/grants");
    let grant = format!(
        "{{\"to\":\"{}\",\"name\":\"the lab\",\"purpose\":\"research\"}}",
        identity.public().unwrap()
    );
    let given = service.admin("POST", &grants).json(&grant);
    assert_eq!(given.status, 201, "{}", given.text());
    let ticket: Ticket = given.json()["ticket"].as_str().unwrap().parse().unwrap();
    let (request, _) = identity.ask(&ticket, &System).unwrap();
    let parcel = ask(&request);
    assert!(parcel.status == 200 && parcel.whole, "{}", parcel.text());
    let stranger = Identity::new(&System).unwrap();
    let (forged, _) = stranger.ask(&ticket, &System).unwrap();
    let refused = ask(&forged);
    assert!((400..500).contains(&refused.status), "{}", refused.status);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let number = given.json()["number"].as_str().unwrap().to_owned();
    assert_eq!(service.admin("DELETE", &format!("{grants}/{number}")).send().status, 204);
    let (request, _) = identity.ask(&ticket, &System).unwrap();
    let refused = ask(&request);
    assert!((400..500).contains(&refused.status), "{}", refused.status);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
}
