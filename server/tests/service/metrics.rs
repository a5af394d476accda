//! Metrics that the service sets itself.

use keyfall::engine::CopyMode;

use super::kit::Service;

/// The values of a metric, each with its labels.
fn of(service: &Service, name: &str) -> Vec<(String, f64)> {
    let text = service.admin("GET", "/metrics").send().text();
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    let own = lines.filter(|(labels, _)| labels.is_empty() || labels.starts_with('{'));
    own.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}

fn one(service: &Service, name: &str) -> f64 {
    let values = of(service, name);
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0].1
}

#[test]
fn pages_that_are_found_in_the_cache_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    let hits = one(&service, "keyfall_page_cache_hits_total");
    assert!(hits > 0.0);
    assert_eq!(service.admin("GET", &format!("/v1/records/{id}")).send().status, 200);
    assert!(one(&service, "keyfall_page_cache_hits_total") > hits);
    // What another process wrote is not in it.
    drop(service);
    let service = Service::over(dir.path(), &[]);
    assert_eq!(service.admin("GET", &format!("/v1/records/{id}")).send().status, 200);
    assert!(one(&service, "keyfall_page_cache_misses_total") > 0.0);
}

#[test]
fn leaves_that_no_checkpoint_covered_are_counted() {
    let service = Service::start();
    let ada = service.user("ada");
    let left = || one(&service, "keyfall_log_unpublished_leaves");
    assert_eq!(left(), 0.0);
    for erased in 1..=2 {
        let id = service.put(&ada, "audio", b"RIFF....");
        let json = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
        assert_eq!(service.admin("POST", "/v1/erasures").json(&json).status, 200);
        assert_eq!(left(), f64::from(erased));
    }
    assert_eq!(service.ask("GET", "/log/checkpoint").send().status, 200);
    assert_eq!(left(), 0.0);
}

#[test]
fn an_erase_is_measured_whole_and_in_its_stages() {
    let service = Service::start();
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    let json = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
    assert_eq!(service.admin("POST", "/v1/erasures").json(&json).status, 200);
    let sums = of(&service, "keyfall_erase_duration_seconds_sum");
    let stage = |name: &str| {
        let named = sums.iter().filter(|(labels, _)| labels.contains(&format!("stage=\"{name}\"")));
        let named: Vec<_> = named.collect();
        assert_eq!(named.len(), 1, "{sums:?}");
        assert!(
            named[0].0.contains("scope=\"record\"") && named[0].0.contains("outcome=\"final\"")
        );
        named[0].1
    };
    let (whole, wait, work) = (stage("whole"), stage("wait"), stage("work"));
    assert!(whole > 0.0 && (whole - wait - work).abs() < 1e-9, "{whole} {wait} {work}");
    assert_eq!(sums.len(), 3);
}

#[test]
fn whether_a_copy_is_up_is_said_once_and_as_it_is_now() {
    let dir = tempfile::tempdir().unwrap();
    let builder = keyfall::Builder::at(dir.path().join("a.db")).accept_remnants();
    let engine = builder.open_or_create().unwrap();
    let (copy, away) = (dir.path().join("copy"), dir.path().join("away"));
    let place = copy.to_str().unwrap();
    engine.copies().add(place, CopyMode::InStep, &mut |_| {}).unwrap();
    engine.close().unwrap();
    std::fs::rename(&copy, &away).unwrap();
    let service = Service::over(dir.path(), &[]);
    let user = service.admin("POST", "/v1/users").json("{\"name\":\"ada\"}");
    assert_eq!((user.status, user.kind()), (503, "copy".to_owned()));
    let up = |value| vec![("{copy=\"0\"}".to_owned(), value)];
    assert_eq!(of(&service, "keyfall_copy_up"), up(0.0));
    std::fs::rename(&away, &copy).unwrap();
    assert_eq!(of(&service, "keyfall_copy_up"), up(1.0));
    service.user("ada");
    assert_eq!(of(&service, "keyfall_copy_up"), up(1.0));
}

/// Anybody may send a method of their own making.
#[test]
fn a_method_that_nobody_knows_is_neither_counted_nor_logged_by_its_name() {
    let service = Service::start();
    service.ask("MENSCHUNIKAT", "/healthz").send();
    let metrics = service.admin("GET", "/metrics").send().text();
    assert!(metrics.contains("method=\"_OTHER\""), "{metrics}");
    assert!(!metrics.contains("UNIKAT") && !service.log().contains("UNIKAT"));
}

/// As `keyfall drill --metrics-file` writes it.
#[test]
fn what_a_drill_found_is_passed_on() {
    let service = Service::start();
    let drilled = || of(&service, "keyfall_restore_drill_rto_seconds");
    assert_eq!(drilled(), [], "there was none");
    let dir = service.dir.join("a.db.service/metrics");
    std::fs::create_dir_all(&dir).unwrap();
    let text = "keyfall_last_restore_drill_timestamp_seconds 1790000000.000\n\
                keyfall_restore_drill_rto_seconds 12.500\n\
                keyfall_restore_drill_rpo_seconds 3600.000\n";
    std::fs::write(dir.join("drill.prom"), text).unwrap();
    assert_eq!(drilled(), [(String::new(), 12.5)]);
    assert_eq!(one(&service, "keyfall_restore_drill_rpo_seconds"), 3600.0);
    assert_eq!(one(&service, "keyfall_last_restore_drill_timestamp_seconds"), 1.79e9);
}
