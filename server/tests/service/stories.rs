//! Stories of those who use the service, each from its beginning to its end: one queue for all
//! requests (5), the parent (7).

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use keyfall::certificate::{Certificate, Trust};
use keyfall::engine::CopyMode;
use keyfall::{Builder, ErrorKind, RecordId};

use super::kit::{Reply, Service};
use super::page::{Session, between};
use super::tls::text;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const GUARDIAN: &str = "Erika Muster";
const WORDS: [&str; 2] = ["an owl sat on the moon", "and a fox sang to it"];

/// Keeps a text in an exchange that began so long ago, and gives its id.
fn said(service: &Service, user: &str, text: &str, ago: Duration) -> String {
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() - ago;
    let time = format!("{:012x}", began.as_millis());
    let exchange = format!("{}-{}-7001-8001-{:012x}", &time[..8], &time[8..], text.len());
    let put = service.admin("POST", &format!("/v1/users/{user}/records"));
    let put = put.header("Keyfall-Class", "transcript").header("Content-Type", "text/plain");
    let put = put.header("Keyfall-Interaction", &exchange).body(text.as_bytes());
    assert_eq!(put.status, 201, "{}", put.text());
    put.json()["id"].as_str().unwrap().to_owned()
}

fn status(service: &Service, id: &str) -> u16 {
    service.admin("HEAD", &format!("/v1/records/{id}")).send().status
}

fn most_seconds(service: &Service, user: &str) -> u64 {
    let policies = service.admin("GET", &format!("/v1/users/{user}/policies")).send().json();
    let own = policies.as_array().unwrap().iter();
    let ages = own.filter(|policy| policy["class"] == "transcript");
    ages.filter_map(|policy| policy["max_age_seconds"].as_u64()).max().unwrap()
}

fn erase(service: &Service, json: &str) -> Reply {
    service.admin("POST", "/v1/erasures").json(json)
}

/// Whether the file verifies by the public key of the log alone.
fn holds(service: &Service, certificate: &str) -> bool {
    let key = service.ask("GET", "/log/key").send().text().trim().parse().unwrap();
    let certificate = certificate.parse::<Certificate>();
    certificate.is_ok_and(|certificate| certificate.verify(&Trust::in_log(key)).is_ok())
}

/// The same by the program `keyfall-verify`, where it is built beside the service.
fn verifies(service: &Service, certificate: &str) -> bool {
    let program = Path::new(env!("CARGO_BIN_EXE_keyfalld")).with_file_name("keyfall-verify");
    if !program.exists() {
        println!("{} is not built: the library verifies", program.display());
        return holds(service, certificate);
    }
    let (key, file) = (service.ask("GET", "/log/key").send().text(), service.dir.join("a.erased"));
    std::fs::write(&file, certificate).unwrap();
    let out = Command::new(program).arg(&file).args(["--key", key.trim()]).output().unwrap();
    let code = out.status.code();
    assert!([Some(0), Some(5)].contains(&code), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(code == Some(0), holds(service, certificate), "the library says the same");
    code == Some(0)
}

#[test]
fn a_request_is_fulfilled_with_a_proof_or_denied_with_a_reason_or_revoked() {
    let service = Service::start();
    let [ada, ben, carl] = ["ada", "ben", "carl"].map(|name| service.user(name));
    let of = |user: &str| said(&service, user, WORDS[0], Duration::ZERO);
    let ids = [&ada, &ben, &carl].map(|user| of(user));
    let asked = |user: &str, more: &str| {
        format!("{{\"scope\":{{\"user\":\"{user}\"}},\"authority\":\"{user} by an agent\"{more}}}")
    };

    let fulfilled = erase(&service, &asked(&ada, ""));
    assert_eq!(fulfilled.status, 200, "{}", fulfilled.text());
    let certificate = fulfilled.json()["certificate"].as_str().unwrap().to_owned();
    assert!(certificate.contains("by an agent") && verifies(&service, &certificate));
    assert!(!verifies(&service, &certificate.replace("by an agent", "by no agent")));
    assert_eq!(status(&service, &ids[0]), 410);

    let hold = "{\"reason\":\"claim 17\",\"authority\":\"district court\"}";
    assert_eq!(service.admin("POST", &format!("/v1/users/{ben}/holds")).json(hold).status, 201);
    let denied = erase(&service, &asked(&ben, ""));
    assert_eq!((denied.status, denied.json()["kind"].as_str()), (423, Some("held")));
    let number = denied.json()["holds"][0].clone();
    let holds = service.admin("GET", &format!("/v1/users/{ben}/holds")).send().json();
    let named = holds.as_array().unwrap().iter().find(|hold| hold["number"] == number).unwrap();
    assert_eq!(
        (&named["reason"], &named["authority"]),
        (&"claim 17".into(), &"district court".into())
    );
    assert_eq!(status(&service, &ids[1]), 200);

    let key = "a-random-text-of-the-agent";
    let planned = service.admin("POST", "/v1/erasures").header("Idempotency-Key", key);
    let planned = planned.json(&asked(&carl, ",\"in\":\"7d\""));
    assert_eq!(planned.status, 202, "{}", planned.text());
    let plan = format!("/v1/erasures/{}", planned.json()["id"].as_str().unwrap());
    assert_eq!(service.admin("DELETE", &plan).send().status, 204);
    assert_eq!(status(&service, &ids[2]), 200, "it was revoked in time");
    let plans = service.admin("GET", &format!("/v1/users/{carl}/plans")).send().json();
    assert_eq!(plans.as_array().unwrap().len(), 0);
}

#[test]
fn the_words_of_a_child_are_kept_for_a_day_at_most_in_store_copy_and_backup() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let engine = Builder::at(place("a.db")).accept_remnants().open_or_create().unwrap();
    engine.copies().add(text(&place("copy")), CopyMode::InStep, &mut |_| {}).unwrap();
    engine.close().unwrap();
    let mut service = Service::over(dir.path(), &["--backup", text(&place("backup"))]);
    let kim = service.user("kim");
    let as_guardian = format!("{{\"role\":\"guardian\",\"guardian\":\"{GUARDIAN}\"}}");
    let guardian = Session::enter_as(&service, &kim, &as_guardian);
    let child = Session::enter_as(&service, &kim, "{\"role\":\"child\"}");
    let recent = said(&service, &kim, WORDS[1], Duration::ZERO);

    // The profile, and a child that would have more kept, by any choice.
    let made = guardian.send(&service, "/page/keep", "keep=day&child=1&sure=1");
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(most_seconds(&service, &kim), DAY.as_secs());
    for longer in ["months", "open"] {
        child.send(&service, "/page/keep", &format!("keep={longer}&sure=1"));
        child.send(&service, "/page/keep", &format!("keep={longer}&child=1&sure=1"));
        assert_eq!(most_seconds(&service, &kim), DAY.as_secs(), "{longer}");
    }

    // Said a day ago, but for half a minute: the guardian sees, hears and exports it.
    let old = said(&service, &kim, WORDS[0], DAY - Duration::from_secs(30));
    let page = guardian.get(&service, "/page").text();
    assert!(WORDS.iter().all(|words| page.contains(words)), "{page}");
    let export = guardian.get(&service, "/page/export.zip");
    let mut export = zip::ZipArchive::new(std::io::Cursor::new(export.body)).unwrap();
    for (id, words) in [(&old, WORDS[0]), (&recent, WORDS[1])] {
        let mut file = export.by_name(&format!("records/{id}.txt")).unwrap();
        assert_eq!(std::io::read_to_string(&mut file).unwrap(), words);
    }
    let backup = service.admin("POST", "/v1/backups").send();
    assert_eq!(backup.status, 200, "{}", backup.text());
    assert_eq!(status(&service, &old), 200, "the backup has it");

    // The day is over.
    for _ in 0..2400 {
        if status(&service, &old) == 410 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((status(&service, &old), status(&service, &recent)), (410, 200));
    nowhere(&mut service, dir.path(), &old, &recent);

    // The guardian erases the rest; the proof says who did.
    let service = Service::over(dir.path(), &["--backup", text(&place("backup"))]);
    let guardian = Session::enter_as(&service, &kim, &as_guardian);
    let done = guardian.done(&service, "/page/erase/now", "class=transcript");
    let proof = between(&done, "href=\"/page/proofs/", ".erased\"").unwrap();
    let proof = guardian.get(&service, &format!("/page/proofs/{proof}.erased")).text();
    assert!(proof.contains(&format!("\"authority\": \"guardian: {GUARDIAN}\"")), "{proof}");
    assert!(holds(&service, &proof));
    assert_eq!(status(&service, &recent), 410);
}

/// Stops the service, and looks for what was erased wherever it was: with the cell, by each place
/// alone, by every key on every blob, and in what is restored from all of them.
fn nowhere(service: &mut Service, dir: &Path, erased: &str, there: &str) {
    service.signal("-TERM");
    assert!(service.child.wait().unwrap().success());
    let [erased, there] = [erased, there].map(|id| id.parse::<RecordId>().unwrap());
    let cell = dir.join("a.db.cell");
    let at = |name: &str| Builder::at(dir.join(name)).cell_at(&cell).accept_remnants();
    for name in ["a.db", "copy"] {
        let engine = at(name).read_only().open().unwrap();
        assert_eq!(engine.get(&erased).unwrap_err().kind(), ErrorKind::Erased, "{name}");
        assert!(engine.get(&there).is_ok(), "{name}");
        engine.close().unwrap();
    }
    let alone = at("backup").read_only().open().unwrap_err();
    assert_eq!(alone.kind(), ErrorKind::Mismatch, "{alone}");
    let store = at("a.db").open().unwrap();
    let backup = keyfall::opening::copy_as_it_is(&dir.join("backup")).unwrap();
    let audit = store.audit(&[backup], &mut |_| {}).unwrap();
    assert!(audit.is_clean() && audit.places.len() == 3, "{audit:?}");
    store.close().unwrap();
    let places = ["a.db", "copy", "backup"].map(|name| dir.join(name));
    at("restored").restore(&places, &mut |_| {}).unwrap();
    let engine = at("restored").read_only().open().unwrap();
    assert_eq!(engine.get(&erased).unwrap_err().kind(), ErrorKind::Erased);
    assert!(engine.get(&there).is_ok());
}
