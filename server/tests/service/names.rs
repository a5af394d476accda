//! Names that applications give their records, and what they say of them.

use super::kit::{Reply, Service};

/// A put of a transcript under a name, with more headers.
fn put(service: &Service, handle: &str, name: &str, body: &str, more: &[(&str, &str)]) -> Reply {
    put_as(service, &service.token, handle, name, body, more)
}

fn put_as(
    service: &Service,
    token: &str,
    handle: &str,
    name: &str,
    body: &str,
    more: &[(&str, &str)],
) -> Reply {
    let request = service
        .ask("POST", &format!("/v1/users/{handle}/records"))
        .header("Authorization", &format!("Bearer {token}"))
        .header("Keyfall-Class", "transcript")
        .header("Keyfall-Name", name);
    let request = more.iter().fold(request, |request, header| request.header(header.0, header.1));
    request.body(body.as_bytes())
}

fn id(reply: &Reply) -> String {
    assert_eq!(reply.status, 201, "{}", reply.text());
    reply.json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_named_record_is_found_repeated_and_replaced() {
    let service = Service::start();
    let ada = service.user("ada");
    let said = [("Keyfall-Meta", "device=kitchen"), ("Keyfall-Meta", "room=two = 2")];
    let first = put(&service, &ada, "2026/wake \u{e9}", "wake me", &said);
    let first_id = id(&first);
    assert_eq!(id(&put(&service, &ada, "2026/wake \u{e9}", "wake me", &said)), first_id);

    for method in ["GET", "HEAD"] {
        let got = service.admin(method, &format!("/v1/records/{first_id}")).send();
        assert_eq!(got.header("keyfall-name"), Some("2026/wake \u{e9}"), "{method}");
        let told: Vec<_> = got.headers.iter().filter(|(n, _)| n == "keyfall-meta").collect();
        assert_eq!((told[0].1.as_str(), told[1].1.as_str()), ("device=kitchen", "room=two = 2"));
        assert_eq!(got.header("repr-digest"), first.header("repr-digest"), "{method}");
    }
    let listed = |query: &str| {
        let path = format!("/v1/users/{ada}/records?{query}");
        let got = service.admin("GET", &path).send();
        assert_eq!(got.status, 200, "{}", got.text());
        got.json()["records"].as_array().unwrap().clone()
    };
    let found = listed("name=2026/wake%20%C3%A9");
    assert_eq!(found[0]["id"], first_id.as_str());
    assert_eq!(found[0]["meta"]["device"], "kitchen");
    assert_eq!(found[0]["sha256"].as_str().unwrap().len(), 64);
    assert!(listed("name=2026").is_empty());

    let second_id = id(&put(&service, &ada, "2026/wake \u{e9}", "let me sleep", &[]));
    assert_ne!(second_id, first_id);
    let gone = service.admin("GET", &format!("/v1/records/{first_id}")).send();
    assert_eq!((gone.status, gone.kind()), (410, "erased".to_owned()));
    assert_eq!(listed("prefix=2026/").len(), 1);
}

#[test]
fn a_precondition_of_a_put_is_about_the_record_with_its_name() {
    let service = Service::start();
    let ada = service.user("ada");
    let first = id(&put(&service, &ada, "a", "one", &[("If-None-Match", "*")]));
    let refused = |body: &str, header: (&str, &str), status: u16, kind: &str| {
        let got = put(&service, &ada, "a", body, &[header]);
        assert_eq!((got.status, got.kind()), (status, kind.to_owned()), "{}", got.text());
    };
    // The same put again is the same put.
    assert_eq!(id(&put(&service, &ada, "a", "one", &[("If-None-Match", "*")])), first);
    refused("two", ("If-None-Match", "*"), 412, "precondition");
    refused("two", ("If-None-Match", "\"x\""), 400, "invalid");
    refused("two", ("If-Match", "*"), 400, "invalid");
    let tag = format!("\"{first}\"");
    let second = id(&put(&service, &ada, "a", "two", &[("If-Match", &tag)]));
    refused("three", ("If-Match", &tag), 412, "precondition");
    assert_eq!(service.admin("GET", &format!("/v1/records/{second}")).send().body, b"two");

    let unnamed = service
        .admin("POST", &format!("/v1/users/{ada}/records"))
        .header("Keyfall-Class", "transcript")
        .header("If-None-Match", "*")
        .body(b"x");
    assert_eq!((unnamed.status, unnamed.kind()), (400, "invalid".to_owned()));
}

#[test]
fn a_credential_that_only_puts_replaces_nothing() {
    let service = Service::start();
    let ada = service.user("ada");
    let token = service.credential("{\"principal\":\"p\",\"scopes\":[\"put\"],\"users\":\"any\"}");
    let first = put_as(&service, &token, &ada, "a", "one", &[("If-None-Match", "*")]);
    let tag = format!("\"{}\"", id(&first));
    for more in [&[][..], &[("If-Match", tag.as_str())]] {
        assert_eq!(put_as(&service, &token, &ada, "a", "two", more).status, 403);
    }
    assert_eq!(put_as(&service, &token, &ada, "b", "two", &[]).status, 403);
}

#[test]
fn a_listing_by_name_goes_on_where_its_page_ended() {
    let service = Service::start();
    let ada = service.user("ada");
    for name in ["a/3", "a/1 & 2", "b/1", "a/2"] {
        put(&service, &ada, name, name, &[]);
    }
    service.put(&ada, "transcript", b"no name");
    let mut path = format!("/v1/users/{ada}/records?prefix=a/&limit=1");
    let mut names = Vec::new();
    loop {
        let page = service.admin("GET", &path).send();
        let records = page.json()["records"].as_array().unwrap().clone();
        names.extend(records.iter().map(|one| one["name"].as_str().unwrap().to_owned()));
        let Some(link) = page.header("link") else { break };
        link.strip_prefix('<').unwrap().split('>').next().unwrap().clone_into(&mut path);
    }
    assert_eq!(names, ["a/1 & 2", "a/2", "a/3"]);
}
