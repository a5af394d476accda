//! The rest of the resources: inbox, export, log, metrics, limits.

use std::io::Cursor;

use super::kit::{Reply, Service};

#[test]
fn an_envelope_becomes_a_record_once() {
    let service = Service::start();
    let ada = service.user("ada");
    let key = service.admin("GET", &format!("/v1/users/{ada}/inbox")).send().json();
    let key: keyfall::sealed::InboxKey = key["key"].as_str().unwrap().parse().unwrap();
    let user = keyfall::UserId::new("ada").unwrap();
    let put = keyfall::Put::new(user, keyfall::Class::audio());
    let mut envelope = Vec::new();
    keyfall::sealed::seal(&put, &b"RIFF...."[..], &key, &keyfall::env::System, &mut envelope)
        .unwrap();
    let first = service.admin("POST", "/v1/inbox").body(&envelope);
    assert_eq!(first.status, 201, "{}", first.text());
    let again = service.admin("POST", "/v1/inbox").body(&envelope);
    assert_eq!((again.status, &again.json()["id"]), (200, &first.json()["id"]));
    let at = first.header("location").unwrap();
    assert_eq!(service.admin("GET", at).send().body, b"RIFF....");
    envelope[200] ^= 1;
    assert_eq!(service.admin("POST", "/v1/inbox").body(&envelope).status, 400);
}

#[test]
fn an_export_has_each_record_and_the_report() {
    let service = Service::start();
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    let archive = service.admin("GET", &format!("/v1/users/{ada}/export.zip")).send();
    assert_eq!(archive.status, 200);
    assert!(archive.whole);
    let mut archive = zip::ZipArchive::new(Cursor::new(archive.body)).unwrap();
    let names: Vec<String> = (0..archive.len())
        .map(|n| archive.by_index(n).unwrap().name().unwrap().into_owned())
        .collect();
    let pages = ["index.html", "check.html", "page.css", "page.js", "verify.js", "report.json"];
    assert!(pages.iter().all(|page| names.iter().any(|name| name == page)), "{names:?}");
    assert_eq!(names.len(), pages.len() + 1, "{names:?}");
    let mut content = Vec::new();
    let mut file = archive.by_name(&format!("records/{id}")).unwrap();
    std::io::Read::read_to_end(&mut file, &mut content).unwrap();
    assert_eq!(content, b"RIFF....");
}

#[test]
fn the_log_is_served_as_tiles_that_lead_to_its_checkpoint() {
    let service = Service::start();
    for name in ["ada", "ben", "chloe"] {
        let handle = service.user(name);
        let json = format!("{{\"scope\":{{\"user\":\"{handle}\"}}}}");
        assert_eq!(service.admin("POST", "/v1/erasures").json(&json).status, 200);
    }
    let key = service.ask("GET", "/log/key").send().text().trim().parse().unwrap();
    let fetch = |path: &str| {
        let got = service.ask("GET", &format!("/log/{path}")).send();
        match got.status {
            200 => Ok(got.body),
            _ => Err(keyfall::Error::new(keyfall::ErrorKind::Absent, path.to_owned())),
        }
    };
    let (checkpoint, _) =
        keyfall::log::check_files(&fetch, &key, None, &mut |_, _| Ok(())).unwrap();
    assert!(checkpoint.size >= 3);
    for path in ["tile/0/999", "tile/9/000", "tile/0/abc", "tile/0/000.p/0", "tile/x/000"] {
        assert_eq!(service.ask("GET", &format!("/log/{path}")).send().status, 404, "{path}");
    }
}

#[test]
fn metrics_count_and_name_nobody() {
    let service = Service::start();
    let ada = service.user("ada-the-metric");
    let id = service.put(&ada, "audio", b"RIFF....");
    service.put(&ada, "diagnosis-of-ada", b"x");
    let json = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
    service.admin("POST", "/v1/erasures").json(&json);
    let metrics = service.admin("GET", "/metrics").send().text();
    for line in [
        "keyfall_class_puts_total{class=\"audio\"} 1",
        "keyfall_class_puts_total{class=\"other\"} 1",
        "keyfall_erases_total{scope=\"record\",outcome=\"final\"} 1",
        "keyfall_users 1",
        "keyfall_poisoned 0",
        "route=\"/v1/users/{handle}/records\"",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    for name in ["ada-the-metric", &ada, &id, "diagnosis"] {
        assert!(!metrics.contains(name), "{name}");
    }
}

#[test]
fn a_principal_that_asks_too_often_waits() {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join("keyfall.toml"), "requests_per_second = 1\nburst = 3\n")
        .unwrap();
    let config = dir.path().join("keyfall.toml");
    let service = Service::over(dir.path(), &["--config", config.to_str().unwrap()]);
    // All ask before one of them hears: answers may take longer than the limit lets wait.
    let asked: Vec<_> = (0..40).map(|_| service.admin("GET", "/v1/status").stream()).collect();
    let replies: Vec<_> = asked.into_iter().map(|stream| Reply::read(stream, false)).collect();
    assert!(replies.iter().filter(|reply| reply.status == 200).count() >= 3);
    let limited = replies.iter().find(|reply| reply.status == 429).unwrap();
    assert_eq!((limited.kind(), limited.header("retry-after")), ("rate".to_owned(), Some("1")));
    assert_eq!(service.ask("GET", "/readyz").send().status, 200);
}
