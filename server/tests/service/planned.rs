//! Certificates of erases that were planned over HTTP.

use std::time::{Duration, Instant};

use keyfall::certificate::{Certificate, Trust};

use super::kit::{Reply, Service, goes_on, moment};

const KEY: &str = "0b5f7a52-9d0c-4b39-9d82-000000000001";

/// Plans an erase of all of a user; gives its address.
fn plan(service: &Service, handle: &str, later: &str, key: &str) -> String {
    let json = format!(
        "{{\"scope\":{{\"user\":\"{handle}\"}},\"in\":\"{later}\",\"authority\":\"ada herself\",\
         \"ground\":\"GDPR, 17\"}}"
    );
    let request = service.admin("POST", "/v1/erasures").header("Idempotency-Key", key);
    let planned = request.json(&json);
    assert_eq!(planned.status, 202, "{}", planned.text());
    planned.header("location").unwrap().to_owned()
}

fn ask(service: &Service, at: &str, key: &str) -> Reply {
    service.admin("GET", at).header("Idempotency-Key", key).send()
}

/// Waits until a user is gone.
fn gone(service: &Service, handle: &str) {
    let began = Instant::now();
    while service.admin("GET", &format!("/v1/users/{handle}")).send().status != 410 {
        assert!(began.elapsed() < Duration::from_secs(60), "it is due, and not done");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Nobody waits for an erase that was planned: it had no certificate.
#[test]
fn a_planned_erase_has_its_certificate_once_it_is_done() {
    let service = Service::start();
    let ada = service.user("mensch-unikat");
    service.put(&ada, "audio", b"RIFF....");
    let unkeyed =
        format!("{{\"scope\":{{\"user\":\"{ada}\"}},\"in\":\"1s\",\"certificate\":true}}");
    let unkeyed = service.admin("POST", "/v1/erasures").json(&unkeyed);
    assert_eq!((unkeyed.status, unkeyed.kind()), (400, "invalid".to_owned()));
    let other = "{\"principal\":\"desk\",\"scopes\":[\"erase\"],\"users\":\"any\"}";
    let other = format!("Bearer {}", service.credential(other));
    let at = plan(&service, &ada, "1s", KEY);
    gone(&service, &ada);
    let done = ask(&service, &at, KEY);
    assert_eq!((done.status, &done.json()["state"]), (200, &"complete".into()), "{}", done.text());
    assert_eq!(at, format!("/v1/erasures/{}", done.json()["id"].as_str().unwrap()));
    let certificate = done.json()["certificate"].as_str().unwrap().to_owned();
    assert!(certificate.contains("mensch-unikat") && certificate.contains("GDPR, 17; receipt "));
    let log = service.ask("GET", "/log/key").send().text().trim().parse().unwrap();
    certificate.parse::<Certificate>().unwrap().verify(&Trust::in_log(log)).unwrap();
    let again = ask(&service, &at, KEY).json();
    let again: Certificate = again["certificate"].as_str().unwrap().parse().unwrap();
    let first: Certificate = certificate.parse().unwrap();
    assert_eq!(again.facts.body, first.facts.body, "as often as it is asked for");

    // Without the key, with another and as somebody else there is nothing.
    assert_eq!(service.admin("GET", &at).send().status, 410);
    assert_eq!(ask(&service, &at, "0b5f7a52-9d0c-4b39-9d82-000000000002").status, 410);
    let asked = service.ask("GET", &at).header("Authorization", &other);
    assert_eq!(asked.header("Idempotency-Key", KEY).send().status, 410);
    for file in std::fs::read_dir(service.dir.join("a.db.service/receipts")).unwrap() {
        let kept = std::fs::read(file.unwrap().path()).unwrap();
        let kept = String::from_utf8_lossy(&kept).into_owned();
        assert!(!kept.contains("unikat") && !kept.contains("GDPR") && !kept.contains(KEY));
    }
}

/// A service that is killed at the moment when it is due, at many points of it.
#[test]
fn the_certificate_of_a_planned_erase_is_there_also_after_a_kill() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let mut done = 0;
    for round in 0u64.. {
        if !goes_on(round, 12, done > 0) {
            break;
        }
        let user = service.user(&format!("user {round}"));
        service.put(&user, "audio", b"RIFF....");
        let key = format!("0b5f7a52-9d0c-4b39-9d83-{round:012}");
        let asked = Instant::now();
        let at = plan(&service, &user, "1s", &key);
        let due = Duration::from_millis(990 + 6 * round) + moment(round);
        std::thread::sleep(due.saturating_sub(asked.elapsed()));
        service.child.kill().unwrap();
        service.child.wait().unwrap();
        service = Service::over(dir.path(), &[]);
        done += u32::from(service.admin("GET", &format!("/v1/users/{user}")).send().status == 410);
        gone(&service, &user);
        let found = ask(&service, &at, &key);
        assert_eq!(found.status, 200, "round {round}: {}", found.text());
        assert_eq!(found.json()["records"], 1);
        let certificate = found.json()["certificate"].as_str().unwrap().to_owned();
        let log = service.ask("GET", "/log/key").send().text().trim().parse().unwrap();
        certificate.parse::<Certificate>().unwrap().verify(&Trust::in_log(log)).unwrap();
    }
}

/// A service that is killed while it plans an erase, and is asked for the same once more: it was
/// planned twice, and to cancel it cancelled one.
#[test]
fn an_erase_is_planned_once_whenever_the_service_is_killed() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let mut cut = 0;
    for round in 0u64.. {
        if !goes_on(round, 24, cut > 0) {
            break;
        }
        let user = service.user(&format!("user {round}"));
        service.put(&user, "audio", b"RIFF....");
        let key = format!("0b5f7a52-9d0c-4b39-9d84-{round:012}");
        let json = format!("{{\"scope\":{{\"user\":\"{user}\"}},\"in\":\"30d\"}}");
        let request = service.admin("POST", "/v1/erasures").header("Idempotency-Key", &key);
        let header = ("Content-Type", "application/json");
        let asked = request.header(header.0, header.1).with(json.as_bytes()).stream();
        // Late and early in turns: an early kill cuts the answer off.
        std::thread::sleep(moment(round % 24));
        service.child.kill().unwrap();
        service.child.wait().unwrap();
        cut += u32::from(Reply::try_read(asked, false).is_err());
        service = Service::over(dir.path(), &[]);
        let request = service.admin("POST", "/v1/erasures").header("Idempotency-Key", &key);
        let again = request.json(&json);
        assert_eq!(again.status, 202, "round {round}: {}", again.text());
        let plans = service.admin("GET", &format!("/v1/users/{user}/plans")).send().json();
        let ids: Vec<_> = plans.as_array().unwrap().iter().map(|plan| &plan["id"]).collect();
        assert_eq!(ids, [&again.json()["id"]], "round {round}");
        let at = again.header("location").unwrap().to_owned();
        assert_eq!(service.admin("DELETE", &at).send().status, 204);
    }
}

/// A certificate is found under the id of its own plan, and a key that served for two plans stays
/// until both are over.
#[test]
fn a_key_that_served_twice_gives_nobody_the_certificate_of_another() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let (ada, ben) = (service.user("ada"), service.user("ben"));
    for user in [&ada, &ben] {
        service.put(user, "audio", b"RIFF....");
    }
    let first = plan(&service, &ada, "6s", KEY);
    // As after a day: what was answered is gone.
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    std::fs::remove_dir_all(dir.path().join("a.db.service/answers")).unwrap();
    service = Service::over(dir.path(), &[]);
    let second = plan(&service, &ben, "30d", KEY);
    assert_eq!(service.admin("DELETE", &second).send().status, 204);
    gone(&service, &ada);
    let done = ask(&service, &first, KEY);
    assert!(done.json()["certificate"].as_str().unwrap().contains("ada"), "{}", done.text());
    let number = first.rsplit_once('_').unwrap().1;
    let under_ben = format!("{}_{number}", second.rsplit_once('_').unwrap().0);
    assert_ne!(under_ben, second);
    assert_eq!(ask(&service, &under_ben, KEY).status, 404);
}

#[test]
fn a_plan_that_was_cancelled_leaves_no_receipt() {
    let service = Service::start();
    let ada = service.user("ada");
    let at = plan(&service, &ada, "30d", KEY);
    let receipts = || std::fs::read_dir(service.dir.join("a.db.service/receipts")).unwrap().count();
    assert_eq!(receipts(), 1);
    assert_eq!(ask(&service, &at, KEY).json()["state"], "planned");
    assert_eq!(service.admin("DELETE", &at).send().status, 204);
    assert_eq!((receipts(), ask(&service, &at, KEY).status), (0, 404));
}
