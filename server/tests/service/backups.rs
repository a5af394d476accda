//! Backups that a service makes while it serves.

use std::io::Read;
use std::path::Path;

use keyfall::engine::CopyMode;
use keyfall::{Builder, ErrorKind, RecordId};

use super::kit::{Reply, Service};
use super::tls::{refused, text};

fn back_up(service: &Service) -> Reply {
    service.admin("POST", "/v1/backups").send()
}

fn started(dir: &Path) -> Service {
    Service::over(dir, &["--backup", text(&dir.join("backup"))])
}

#[test]
fn a_backup_of_a_service_that_runs_restores_what_lives_and_nothing_that_was_erased() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = started(dir.path());
    let ada = service.user("ada");
    let sound = vec![7; 700_000];
    let kept = service.put(&ada, "audio", &sound);
    let erased = service.put(&ada, "audio", b"RIFF....");
    assert!(back_up(&service).json()["blobs"].as_u64().unwrap() > 0);
    let json = format!("{{\"scope\":{{\"record\":\"{erased}\"}}}}");
    assert_eq!(service.admin("POST", "/v1/erasures").json(&json).status, 200);
    // Puts go on while it is made.
    let made = std::thread::scope(|threads| {
        let puts = threads.spawn(|| {
            for _ in 0..50 {
                service.put(&ada, "transcript", b"wake me at six");
            }
        });
        let made = back_up(&service);
        puts.join().unwrap();
        made
    });
    assert_eq!(made.status, 200, "{}", made.text());
    assert!(made.json()["epoch"].as_u64().unwrap() > 1);
    let again = back_up(&service).json();
    let status = service.admin("GET", "/v1/status").send().json();
    assert_eq!((&again["epoch"], &again["commit"]), (&status["epoch"], &status["commit"]));
    assert_eq!(back_up(&service).json()["blobs"], 0, "nothing is copied twice");
    let metrics = service.admin("GET", "/metrics").send().text();
    let at = metrics.lines().find_map(|line| {
        line.strip_prefix("keyfall_last_backup_timestamp_seconds ")?.parse::<f64>().ok()
    });
    assert!(at.unwrap() > 1e9, "{at:?}");
    service.signal("-TERM");
    assert!(service.child.wait().unwrap().success());

    // The store is lost; its cell is left.
    std::fs::remove_dir_all(dir.path().join("a.db")).unwrap();
    let cell = dir.path().join("a.db.cell");
    let restored = Builder::at(dir.path().join("new.db")).cell_at(&cell).accept_remnants();
    restored.restore(&[dir.path().join("backup")], &mut |_| {}).unwrap();
    let engine = restored.take_over().open().unwrap();
    let (kept, erased): (RecordId, RecordId) = (kept.parse().unwrap(), erased.parse().unwrap());
    let mut read = Vec::new();
    engine.get(&kept).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == sound);
    assert_eq!(engine.get(&erased).unwrap_err().kind(), ErrorKind::Erased);
    let query = keyfall::Query::default();
    assert_eq!(engine.list(&query.limit(1000)).unwrap().records.len(), 51);
}

#[test]
fn a_credential_for_backups_makes_them_and_does_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let service = started(dir.path());
    let credential = |scope: &str| {
        service.credential(&format!(
            "{{\"principal\":\"timer\",\"scopes\":[\"{scope}\"],\"users\":\"any\",\"purposes\":[]}}"
        ))
    };
    let (timer, looker) = (credential("backup"), credential("status"));
    let ask = |token: &str, method: &str, path: &str| {
        service.ask(method, path).header("Authorization", &format!("Bearer {token}")).send().status
    };
    assert_eq!(ask(&timer, "POST", "/v1/backups"), 200);
    assert_eq!(ask(&looker, "POST", "/v1/backups"), 403);
    assert_eq!(ask(&timer, "GET", "/v1/status"), 403);
    assert_eq!(service.ask("POST", "/v1/backups").send().status, 401);
}

#[test]
fn a_place_that_is_none_for_a_backup_is_refused() {
    let service = Service::start();
    let none = back_up(&service);
    assert_eq!((none.status, none.kind()), (409, "refused".to_owned()));

    let dir = tempfile::tempdir().unwrap();
    for inside in ["a.db/backup", "a.db.cell/backup", "a.db", "a.db.service/answers"] {
        let said = refused(dir.path(), &["--backup", inside]);
        assert!(said.contains("backup"), "{said}");
    }
    let builder = Builder::at(dir.path().join("a.db")).accept_remnants();
    let engine = builder.open_or_create().unwrap();
    let place = dir.path().join("backup");
    engine.copies().add(text(&place), CopyMode::Behind, &mut |_| {}).unwrap();
    engine.close().unwrap();
    let service = started(dir.path());
    let copy = back_up(&service);
    assert_eq!((copy.status, copy.kind()), (409, "refused".to_owned()));
    assert!(service.log().contains("is a registered copy"));
}
