//! The inbox: envelopes that concern other users than the credential is for.

use keyfall::env::System;
use keyfall::sealed::{InboxKey, seal};
use keyfall::{Class, Put, UserId};

use super::kit::{Reply, Service};

fn inbox(service: &Service, handle: &str) -> InboxKey {
    let key = service.admin("GET", &format!("/v1/users/{handle}/inbox")).send().json();
    key["key"].as_str().unwrap().parse().unwrap()
}

fn audio(name: &str) -> Put {
    Put::new(UserId::new(name).unwrap(), Class::audio())
}

fn sealed(put: &Put, key: &InboxKey, content: &[u8]) -> Vec<u8> {
    let mut envelope = Vec::new();
    seal(put, content, key, &System, &mut envelope).unwrap();
    envelope
}

fn accept(service: &Service, token: &str, envelope: &[u8]) -> Reply {
    let asked = service.ask("POST", "/v1/inbox");
    asked.header("Authorization", &format!("Bearer {token}")).body(envelope)
}

/// The answer to what never was an envelope said that it had been changed.
#[test]
fn what_is_no_envelope_is_told_so() {
    let service = Service::start();
    let eve = service.user("eve");
    let envelope = sealed(&audio("eve"), &inbox(&service, &eve), b"of eve");
    let asked = format!("/v1/users/{eve}/export.zip");
    let archive = service.admin("GET", &asked).send().body;
    assert!(archive.starts_with(b"PK"));
    let mut parcel = envelope.clone();
    parcel[9] = 2;
    let wav = [b"RIFF\x24\0\0\0WAVEfmt ".as_slice(), &[7; 100_000]].concat();
    let refused = |body: &[u8]| {
        let reply = accept(&service, &service.token, body);
        assert_eq!((reply.status, reply.kind()), (400, "invalid".to_owned()), "{}", reply.text());
        reply.json()["detail"].as_str().unwrap().to_owned()
    };
    for none in [&wav[..], &wav[..20], b"R", b"", b"{\"class\":\"audio\"}", &archive, &parcel] {
        let said = refused(none);
        assert!(said.contains("this is no envelope; `keyfall seal` makes one"), "{said}");
    }
    let mut changed = envelope.clone();
    *changed.last_mut().unwrap() ^= 1;
    for broken in [&changed[..], &envelope[..envelope.len() - 1], &envelope[..20], &envelope[..5]] {
        let said = refused(broken);
        assert!(said.contains("the envelope was changed, or cut short"), "{said}");
    }
    assert_eq!(accept(&service, &service.token, &envelope).status, 201);
}

#[test]
fn an_envelope_is_for_users_of_the_credential_and_from_none_but_their_records() {
    let service = Service::start();
    let (eve, bob) = (service.user("eve"), service.user("bob"));
    let bobs = service.put(&bob, "audio", b"of bob");
    let own = service.put(&eve, "audio", b"of eve");
    let token = service.credential(&format!(
        "{{\"principal\":\"p\",\"scopes\":[\"inbox\",\"rules\"],\"users\":[\"{eve}\"]}}"
    ));
    let (to_eve, to_bob) = (inbox(&service, &eve), inbox(&service, &bob));
    let from = |id: &str| audio("eve").derived_from(id.parse::<keyfall::RecordId>().unwrap());
    let forbidden = |envelope: &[u8]| {
        let reply = accept(&service, &token, envelope);
        assert_eq!((reply.status, reply.kind()), (403, "forbidden".to_owned()), "{}", reply.text());
    };
    // Long ones too, of which the engine sees the beginning first.
    for content in [&b"x"[..], &[7; 100_000]] {
        forbidden(&sealed(&audio("bob"), &to_bob, content));
        forbidden(&sealed(&from(&bobs), &to_eve, content));
        for put in [audio("eve"), from(&own)] {
            let taken = accept(&service, &token, &sealed(&put, &to_eve, content));
            assert_eq!(taken.status, 201, "{}", taken.text());
        }
    }
    let of = |handle: &str| service.admin("GET", &format!("/v1/users/{handle}/records")).send();
    assert_eq!(of(&bob).json()["records"].as_array().unwrap().len(), 1);
    assert_eq!(of(&eve).json()["records"].as_array().unwrap().len(), 5);
    // A hold on what is Eve's keeps nothing of Bob's.
    let hold = "{\"class\":\"audio\",\"reason\":\"a\",\"authority\":\"b\"}";
    let held = service.ask("POST", &format!("/v1/users/{eve}/holds"));
    let held = held.header("Authorization", &format!("Bearer {token}")).json(hold);
    assert_eq!(held.status, 201, "{}", held.text());
    let erase = format!("{{\"scope\":{{\"user\":\"{bob}\"}}}}");
    assert_eq!(service.admin("POST", "/v1/erasures").json(&erase).status, 200);
    // What was erased is not told of either.
    forbidden(&sealed(&from(&bobs), &to_eve, b"y"));
    forbidden(&sealed(&audio("bob"), &to_bob, b"y"));
}

/// It said that the state of the store, a policy or somebody's rights forbade it.
#[test]
fn an_envelope_whose_inbox_key_is_gone_is_refused_with_what_to_do() {
    let service = Service::start();
    let ada = service.user("ada");
    let key = inbox(&service, &ada);
    let [taken, late] = [b"taken", b"late!"].map(|content| sealed(&audio("ada"), &key, content));
    let first = accept(&service, &service.token, &taken);
    assert_eq!(first.status, 201, "{}", first.text());
    let erase = format!("{{\"scope\":{{\"record\":{}}}}}", first.json()["id"]);
    assert_eq!(service.admin("POST", "/v1/erasures").json(&erase).status, 200);
    for envelope in [&taken, &late] {
        let reply = accept(&service, &service.token, envelope);
        assert_eq!((reply.status, reply.kind()), (409, "refused".to_owned()), "{}", reply.text());
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("inbox key") && detail.contains("seal"), "{detail}");
    }
    let again = sealed(&audio("ada"), &inbox(&service, &ada), b"late!");
    assert_eq!(accept(&service, &service.token, &again).status, 201);
}
