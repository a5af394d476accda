//! Erasing, certificates, holds and plans.

use std::sync::Barrier;
use std::time::Duration;

use keyfall::certificate::{Certificate, Trust};

use super::kit::{Reply, Service, goes_on};

fn erase(service: &Service, json: &str) -> Reply {
    service.admin("POST", "/v1/erasures").json(json)
}

fn whole(handle: &str) -> String {
    format!(
        "{{\"scope\":{{\"user\":\"{handle}\"}},\"authority\":\"ada herself\",\"ground\":\"GDPR, 17\"}}"
    )
}

#[test]
fn an_erased_user_is_gone_everywhere_and_the_certificate_holds() {
    let service = Service::start();
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    let dry = service.admin("POST", "/v1/erasures?dry_run=true").json(&whole(&ada)).json();
    assert_eq!(dry["records"][0]["class"], "audio");
    assert_eq!(dry["records"][0]["records"], 1);
    assert_eq!(service.admin("GET", &format!("/v1/records/{id}")).send().status, 200);

    let erased = erase(&service, &whole(&ada));
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert_eq!(erased.json()["records"], 1);
    let paths = ["", "/report", "/records", "/holds", "/grants", "/plans", "/policies", "/inbox"];
    for path in paths {
        let got = service.admin("GET", &format!("/v1/users/{ada}{path}")).send();
        assert_eq!((got.status, got.kind()), (410, "erased".to_owned()), "{path}");
    }
    let put = service.admin("POST", &format!("/v1/users/{ada}/records"));
    assert_eq!(put.header("Keyfall-Class", "audio").body(b"x").status, 410);
    assert_eq!(service.admin("GET", &format!("/v1/records/{id}")).send().status, 410);
    assert_eq!(erase(&service, &whole(&ada)).status, 410);
    assert_ne!(service.user("ada"), ada, "another life, another handle");
    assert_eq!(service.admin("GET", &format!("/v1/users/{ada}")).send().status, 410);

    let certificate = erased.json()["certificate"].as_str().unwrap().to_owned();
    let key = service.ask("GET", "/log/key").send().text().trim().parse().unwrap();
    let verified = certificate.parse::<Certificate>().unwrap().verify(&Trust::in_log(key));
    assert!(verified.is_ok(), "{verified:?}");
    let verify = |text: &str| {
        service.ask("POST", "/v1/certificates:verify").body(text.as_bytes()).json()["holds"].clone()
    };
    assert_eq!(verify(&certificate), true);
    assert_eq!(verify(&certificate.replace("ada herself", "bob himself")), false);
    let at = erased.header("location").unwrap().to_owned();
    assert_eq!(service.admin("GET", &at).send().json()["state"], "complete");
    assert_eq!(service.admin("DELETE", &at).send().status, 409);
}

#[test]
fn a_hold_refuses_and_a_class_can_stay() {
    let service = Service::start();
    let ada = service.user("ada");
    service.put(&ada, "audio", b"RIFF....");
    service.put(&ada, "action", b"{}");
    let holds = format!("/v1/users/{ada}/holds");
    let hold = service
        .admin("POST", &holds)
        .json("{\"class\":\"action\",\"reason\":\"claim 17\",\"authority\":\"court\"}");
    let number = hold.json()["number"].as_str().unwrap().to_owned();
    let held = erase(&service, &whole(&ada));
    assert_eq!((held.status, held.kind()), (423, "held".to_owned()));
    assert_eq!(held.json()["holds"][0], number.as_str());
    let dry = service.admin("POST", "/v1/erasures?dry_run=true").json(&whole(&ada)).json();
    assert_eq!((&dry["held"], &dry["holds"][0]["number"]), (&true.into(), &number.clone().into()));
    let lift = service
        .admin("POST", &format!("{holds}/{number}/lift"))
        .json("{\"reason\":\"settled\",\"authority\":\"court\"}");
    assert_eq!(lift.status, 204);

    let keep = format!(
        "{{\"scope\":{{\"user\":\"{ada}\"}},\"keep\":[\"action\"],\"reason\":\"tax law\"}}"
    );
    let dry = service.admin("POST", "/v1/erasures?dry_run=true").json(&keep).json();
    assert_eq!(dry["kept"][0]["class"], "action");
    assert_eq!(erase(&service, &keep).json()["records"], 1);
    let user = service.admin("GET", &format!("/v1/users/{ada}")).send().json();
    let left = user["classes"].as_array().unwrap().iter().filter(|class| class["records"] != 0);
    assert_eq!(left.count(), 1);
}

#[test]
fn an_erase_is_planned_seen_and_cancelled() {
    let service = Service::start();
    let ada = service.user("ada");
    let json = format!("{{\"scope\":{{\"user\":\"{ada}\"}},\"in\":\"30d\"}}");
    let planned = erase(&service, &json);
    assert_eq!((planned.status, &planned.json()["state"]), (202, &"planned".into()));
    let at = planned.header("location").unwrap().to_owned();
    assert_eq!(service.admin("GET", &at).send().json()["state"], "planned");
    let plans = service.admin("GET", &format!("/v1/users/{ada}/plans")).send().json();
    assert_eq!(plans[0]["id"], planned.json()["id"]);
    assert_eq!(service.admin("DELETE", &at).send().status, 204);
    assert_eq!(service.admin("GET", &at).send().status, 404);
}

#[test]
fn a_list_of_erases_has_an_outcome_each() {
    let service = Service::start();
    let (ada, ben) = (service.user("ada"), service.user("ben"));
    let list = format!("[{},{},{{\"scope\":{{}}}}]", whole(&ada), whole(&ben));
    let done = erase(&service, &list);
    assert_eq!(done.status, 207, "{}", done.text());
    let statuses = done.json();
    let statuses: Vec<&serde_json::Value> =
        statuses.as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, [200, 200, 400]);
    let instance = done.json()[2]["problem"]["instance"].as_str().unwrap().to_owned();
    assert!(instance.starts_with("/answers/") && instance.len() > 20, "{instance}");
}

/// A service that was killed once the erase was done, and before its caller had the answer, made
/// the erase again and answered without a certificate.
#[test]
fn the_same_key_gives_the_same_certificate_also_after_a_kill() {
    let dir = tempfile::TempDir::new().unwrap();
    let key = "0b5f7a52-9d0c-4b39-9d80-000000000001";
    let mut service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    service.put(&ada, "audio", b"RIFF....");
    let ask = |service: &Service, json: &str| {
        service.admin("POST", "/v1/erasures").header("Idempotency-Key", key).json(json)
    };
    let first = ask(&service, &whole(&ada));
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(ask(&service, &whole(&ada)).body, first.body, "the same answer");
    let other = ask(&service, &whole(&ada).replace("herself", "again"));
    assert_eq!((other.status, other.kind()), (422, "key-used".to_owned()));
    let answers = dir.path().join("a.db.service/answers");
    for file in std::fs::read_dir(answers).unwrap() {
        let kept = std::fs::read_to_string(file.unwrap().path()).unwrap();
        // Noise in letters and digits says `ada` now and then, and this never.
        assert!(!kept.contains("herself") && !kept.contains(key), "what is kept is sealed");
    }

    // Killed at many points of the erase: each time the second answer has the certificate.
    let mut lost = 0;
    for round in 0u64.. {
        if !goes_on(round, 12, lost > 0) {
            break;
        }
        let user = service.user(&format!("user {round}"));
        service.put(&user, "audio", b"RIFF....");
        let key = format!("0b5f7a52-9d0c-4b39-9d81-{round:012}");
        let request = service.admin("POST", "/v1/erasures").header("Idempotency-Key", &key);
        let request = request.header("Content-Type", "application/json");
        let stream = request.with(whole(&user).as_bytes()).stream();
        std::thread::sleep(Duration::from_millis(round * round / 3));
        service.child.kill().unwrap();
        service.child.wait().unwrap();
        drop(stream);
        service = Service::over(dir.path(), &[]);
        let was_done = service.admin("GET", &format!("/v1/users/{user}")).send().status == 410;
        lost += u32::from(was_done);
        let again = service.admin("POST", "/v1/erasures").header("Idempotency-Key", &key);
        let again = again.json(&whole(&user));
        assert_eq!(again.status, 200, "round {round}, done {was_done}: {}", again.text());
        assert_eq!(again.json()["records"], 1);
        let certificate = again.json()["certificate"].as_str().unwrap().to_owned();
        let log = service.ask("GET", "/log/key").send().text().trim().parse().unwrap();
        certificate.parse::<Certificate>().unwrap().verify(&Trust::in_log(log)).unwrap();
    }
}

/// Players that read some at a time, players that have enough for now and read on once they are told
/// that it was erased, and callers that read as fast as they can.
/// The time is that of the service: on a machine with other work a thread of this test may wait as
/// long for a processor, so the best of five rounds counts.
#[test]
fn fifty_streams_that_an_erase_cuts_end_broken_within_a_tenth_of_a_second() {
    let service = Service::start();
    let mut all = Vec::new();
    while all.len() < 5 && all.last().is_none_or(|late| *late >= 100) {
        all.push(late_of_fifty(&service));
    }
    assert!(all.iter().any(|late| *late < 100), "{all:?}");
}

/// By how many milliseconds after the erase returned the last of fifty streams ended.
fn late_of_fifty(service: &Service) -> u128 {
    const STREAMS: usize = 50;
    let ada = service.user("ada");
    let content = vec![7u8; 64 << 20];
    let id = service.put(&ada, "audio", &content);
    let (begun, path) = (Barrier::new(STREAMS + 1), format!("/v1/records/{id}"));
    let (read_on, erased) =
        (Barrier::new(STREAMS / 5 + 1), format!("{{\"scope\":{{\"record\":\"{id}\"}}}}"));
    std::thread::scope(|scope| {
        let streams: Vec<_> = (0..STREAMS)
            .map(|n| {
                let (begun, read_on, path) = (&begun, &read_on, &path);
                scope.spawn(move || {
                    let stream = service.admin("GET", path).stream();
                    // The answer has begun.
                    assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
                    begun.wait();
                    match n % 5 {
                        0 => {
                            read_on.wait();
                            Reading { stream, pause: Duration::ZERO }.read()
                        }
                        1 => Reading { stream, pause: Duration::from_millis(1) }.read(),
                        _ => Reading { stream, pause: Duration::from_millis(5) }.read(),
                    }
                })
            })
            .collect();
        begun.wait();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(erase(service, &erased).status, 200);
        let returned = std::time::Instant::now();
        read_on.wait();
        let ends: Vec<_> = streams.into_iter().map(|stream| stream.join().unwrap()).collect();
        assert!(ends.iter().all(|(read, _)| *read < content.len()), "none gets the last byte");
        let late = ends.iter().map(|(_, ended)| ended.saturating_duration_since(returned));
        let late = late.map(|late| late.as_millis()).max().unwrap();
        // What a caller that did not read gets is what its own system had taken, or nearly so.
        let waited: Vec<usize> = ends.iter().step_by(5).map(|(read, _)| *read).collect();
        assert!(waited.iter().all(|read| *read < 1 << 20), "{waited:?}");
        late
    })
}

/// A caller that reads 64 KiB at a time, with a pause between.
struct Reading {
    stream: std::net::TcpStream,
    pause: Duration,
}

impl Reading {
    /// Reads to the end: how much, and when that was.
    fn read(mut self) -> (usize, std::time::Instant) {
        use std::io::Read;
        let (mut read, mut piece) = (0, vec![0; 64 << 10]);
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) | Err(_) => return (read, std::time::Instant::now()),
                Ok(n) => read += n,
            }
            std::thread::sleep(self.pause);
        }
    }
}
