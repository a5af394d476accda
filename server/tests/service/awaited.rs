//! What is done although a copy in step was lost: it is said as it is, and its proof comes once the
//! copy is back.

use std::path::{Path, PathBuf};

use keyfall::Builder;
use keyfall::engine::CopyMode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::certificates::wait_for;
use super::kit::{Reply, Service};
use super::page::{Session, between, holds, proofs};

const KEY: &str = "0b5f7a52-9d0c-4b39-9da0-000000000001";

/// A store with a copy in step.
struct Stored {
    dir: TempDir,
}

impl Stored {
    fn new() -> Stored {
        let dir = TempDir::new().unwrap();
        let stored = Stored { dir };
        let builder = Builder::at(stored.path("a.db")).accept_remnants();
        let engine = builder.open_or_create().unwrap();
        let copy = stored.path("copy");
        engine.copies().add(copy.to_str().unwrap(), CopyMode::InStep, &mut |_| {}).unwrap();
        engine.close().unwrap();
        stored
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn service(&self) -> Service {
        Service::over(self.dir.path(), &[])
    }

    /// The service, started again.
    fn again(&self, service: Service) -> Service {
        drop(service);
        self.service()
    }

    /// The service, started again, and somebody on the page of a user when the copy is lost.
    fn met(&self, service: Service, user: &str) -> (Service, Session) {
        let service = self.again(service);
        let session = Session::enter(&service, user, None);
        self.away(&service);
        (service, session)
    }

    /// Loses the copy, and waits until the service sees that: until then it writes on to the files
    /// that it has open.
    fn away(&self, service: &Service) {
        std::fs::rename(self.path("copy"), self.path("away")).unwrap();
        wait_for("the copy is seen to be away", || {
            let metrics = service.admin("GET", "/metrics").send().text();
            metrics.lines().any(|line| line == "keyfall_copy_up{copy=\"0\"} 0")
        });
    }

    /// Brings it back, and waits until nothing is pending, and the service is ready.
    fn back(&self, service: &Service) {
        std::fs::rename(self.path("away"), self.path("copy")).unwrap();
        wait_for("all is final", || {
            service.admin("GET", "/v1/status").send().json()["final"] == json!(true)
                && service.ask("GET", "/readyz").send().status == 200
        });
    }
}

fn status(service: &Service, id: &str) -> u16 {
    service.admin("GET", &format!("/v1/records/{id}")).send().status
}

fn plans(service: &Service, user: &str) -> usize {
    let plans = service.admin("GET", &format!("/v1/users/{user}/plans")).send().json();
    plans.as_array().unwrap().len()
}

fn title(page: &str) -> &str {
    between(page, "<h1", "</h1>").unwrap().split_once('>').unwrap().1
}

/// The answer without a certificate was kept in the place of the draft that the certificate comes
/// by: it never came.
#[test]
fn the_certificate_of_an_erase_that_met_a_lost_copy_comes_with_the_same_request() {
    let stored = Stored::new();
    let service = stored.service();
    let ada = service.user("ada");
    let ids: Vec<String> = (0..4).map(|_| service.put(&ada, "note", b"a note")).collect();
    service.put(&ada, "memo", b"a memo");
    let service = stored.again(service);
    let of = |id: &str| json!({"scope": {"record": id}, "authority": "the court"});
    let one = |service: &Service| -> Reply {
        let asked = service.admin("POST", "/v1/erasures").header("Idempotency-Key", KEY);
        asked.json(&of(&ids[0]).to_string())
    };
    stored.away(&service);
    let first = one(&service);
    assert_eq!((first.status, status(&service, &ids[0])), (202, 410), "{}", first.text());
    let again = one(&service);
    assert_eq!(again.status, 202, "{}", again.text());
    assert!(again.json().get("certificate").is_none(), "{}", again.text());
    stored.back(&service);
    let done = one(&service);
    assert_eq!(done.status, 200, "{}", done.text());
    let certificate = done.json()["certificate"].as_str().unwrap_or_default().to_owned();
    assert!(holds(&service, &certificate));
    assert_eq!(one(&service).json(), done.json());

    // Of a list each on its own.
    let listed = |service: &Service| -> Reply {
        let asked = service.admin("POST", "/v1/erasures").header("Idempotency-Key", KEY);
        asked.json(&Value::from_iter(ids[1..].iter().map(|id| of(id))).to_string())
    };
    let service = stored.again(service);
    stored.away(&service);
    let first = listed(&service);
    assert_eq!(first.status, 207, "{}", first.text());
    stored.back(&service);
    let done = listed(&service);
    assert_eq!(done.status, 200, "{}", done.text());
    for one in done.json().as_array().unwrap() {
        let certificate = one["erasure"]["certificate"].as_str().unwrap_or_default();
        assert!(holds(&service, certificate), "{one}");
    }
    // Of a class more may come: that nothing of it is there is what is seen.
    let service = stored.again(service);
    let class = json!({"scope": {"user": ada, "class": "memo"}, "certificate": true}).to_string();
    let other = KEY.replace("01", "02");
    let ask = || service.admin("POST", "/v1/erasures").header("Idempotency-Key", &other);
    stored.away(&service);
    let first = ask().json(&class);
    assert_eq!(first.status, 202, "{}", first.text());
    stored.back(&service);
    let fell = ask().json(&class);
    assert!(holds(&service, fell.json()["certificate"].as_str().unwrap_or_default()));

    let service = stored.again(service);
    assert_eq!(one(&service).json()["certificate"], certificate);
    assert_eq!(listed(&service).json(), done.json());
}

/// "Nothing was erased", it said, of what was gone for good once the copy was back.
#[test]
fn the_page_says_that_an_erase_is_not_final_and_has_its_proof_once_it_is() {
    for what in ["all=1", "class=note"] {
        let stored = Stored::new();
        let service = stored.service();
        let ada = service.user("ada");
        let note = service.put(&ada, "note", b"a note");
        service.put(&ada, "action", b"an action");
        let (service, session) = stored.met(service, &ada);
        let sent = session.erase(&service, what).send();
        assert_eq!(sent.status, 303, "{}", sent.text());
        assert_eq!(sent.header("clear-site-data").is_some(), what == "all=1");
        let at = sent.header("location").unwrap().to_owned();
        assert_eq!(status(&service, &note), 410);
        let said = session.get(&service, &at).text();
        assert_eq!(title(&said), "Gone from here. Not yet for good.", "{said}");
        assert!(said.contains("It is not finished: ") && !said.contains("Nothing was"), "{said}");
        let list = session.get(&service, "/page/proofs").text();
        assert!(list.contains("The proof of it is awaited."), "{list}");
        stored.back(&service);
        let list = session.get(&service, "/page/proofs").text();
        assert!(!list.contains("is awaited"), "{list}");
        let found = proofs(&service, &session, &list);
        assert_eq!(found.len(), 1, "{list}");
        assert!(holds(&service, &found[0]) && found[0].contains("ada"));
        let said = session.get(&service, &at).text();
        assert_eq!(title(&said), "Gone now, also from our backups.", "{said}");
        assert_eq!(proofs(&service, &session, &said), found);
        assert!(said.contains("1 note"), "{said}");
        // Where the person lives on it is among their records, once.
        let kept = service.admin("GET", &format!("/v1/users/{ada}/records?class=certificate"));
        let kept = kept.send();
        match what {
            "all=1" => assert_eq!(kept.status, 410),
            _ => assert_eq!(kept.json()["records"].as_array().unwrap().len(), 1),
        }
    }
}

/// It said that nothing was erased, and a plan stood of which nobody had the code.
#[test]
fn what_the_page_planned_although_a_copy_was_lost_is_said_to_be_planned() {
    let stored = Stored::new();
    let service = stored.service();
    let ada = service.user("ada");
    service.put(&ada, "note", b"a note");
    let (service, session) = stored.met(service, &ada);
    let said = session.done(&service, "/page/erase/later", "all=1");
    assert_eq!(plans(&service, &ada), 1);
    assert!(title(&said).starts_with("It goes on "), "{said}");
    assert!(said.contains("Keep this code for the proof"), "{said}");
    let keys = || {
        let receipts = std::fs::read_dir(stored.path("a.db.service/receipts")).unwrap();
        receipts.filter(|file| file.as_ref().unwrap().path().extension().is_some()).count()
    };
    assert_eq!(keys(), 1, "its receipt is kept");
    // Nothing more is planned, and nothing of that is said to be.
    let sent = session.send(&service, "/page/erase/later", "class=note");
    let said = match sent.header("location") {
        Some(at) => session.get(&service, at).text(),
        None => sent.text(),
    };
    assert_eq!(title(&said), "Nothing was erased", "{said}");
    assert_eq!(plans(&service, &ada), 1);
    stored.back(&service);
    assert_eq!(plans(&service, &ada), 1);
    // What could not be planned for the code alone leaves nothing in the list.
    let (service, session) = stored.met(service, &ada);
    let sent = session.send(&service, "/page/erase/later", "class=note");
    assert_eq!(plans(&service, &ada), 1, "{}", sent.text());
    stored.back(&service);
    let list = session.get(&service, "/page").text();
    assert!(!list.contains("among the proofs and are none") && list.contains("note"), "{list}");
    assert!(!list.contains("1 proof"), "{list}");
}

/// Both were done, under a sentence that nothing was.
#[test]
fn what_the_page_sets_or_calls_off_although_a_copy_was_lost_is_said_as_it_is() {
    let stored = Stored::new();
    let service = stored.service();
    let ada = service.user("ada");
    service.put(&ada, "note", b"a note");
    let session = Session::enter(&service, &ada, None);
    let said = session.done(&service, "/page/erase/later", "class=note");
    assert!(title(&said).starts_with("It goes on "), "{said}");
    let service = stored.again(service);
    let session = Session::enter(&service, &ada, None);
    let list = session.get(&service, "/page").text();
    let plan = between(&list, "name=\"plan\" value=\"", "\"").unwrap().to_owned();
    stored.away(&service);
    let off = session.send(&service, "/page/erase/cancel", &format!("plan={plan}"));
    assert_eq!(off.header("location"), Some("/page?said=cancelled"), "{}", off.text());
    assert_eq!(plans(&service, &ada), 0);
    stored.back(&service);

    let service = stored.again(service);
    let session = Session::enter(&service, &ada, None);
    let policies = || {
        let set = service.admin("GET", &format!("/v1/users/{ada}/policies")).send().json();
        set.as_array().unwrap().len()
    };
    stored.away(&service);
    let said = session.send(&service, "/page/keep", "keep=day&sure=1").text();
    assert_eq!(policies(), 1, "a part of it");
    assert!(said.contains("Only a part of it is set"), "{said}");
    assert!(!said.contains("Nothing was"), "{said}");
    stored.back(&service);
    let said = session.send(&service, "/page/keep", "keep=day&sure=1").text();
    assert!(said.contains("From now on: 1 day."), "{said}");
    assert!(policies() > 1);
}

/// A place of a copy is no part of what is told.
#[test]
fn nothing_of_a_lost_copy_is_told_but_that_it_is_lost() {
    let stored = Stored::new();
    let service = stored.service();
    let ada = service.user("ada");
    service.put(&ada, "note", b"a note");
    let (service, session) = stored.met(service, &ada);
    let said = session.done(&service, "/page/erase/now", "class=note");
    let place: &Path = stored.dir.path();
    assert!(!said.contains(place.to_str().unwrap()), "{said}");
}
