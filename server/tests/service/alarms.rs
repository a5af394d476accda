//! Story 8: what is broken fires its own alert, and no other, within two minutes. The rules see
//! what the service says of itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use keyfall::engine::CopyMode;
use keyfall::env::{Env, System};
use keyfall::{Builder, Class, Engine, Error, Policy, Put, Timestamp, UserId};

use super::keyholders::Keyholders;
use super::kit::{Service, absent};

/// The names of the alerts that fire two minutes after the metrics became these and stayed so;
/// nothing where promtool is not installed.
fn fired(dir: &Path, metrics: &str) -> Option<Vec<String>> {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/alerts.yml");
    let text = std::fs::read_to_string(&rules).unwrap();
    let alerts: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 11);
    let mut test = format!(
        "rule_files: ['{}']\nevaluation_interval: 15s\ntests:\n  - interval: 15s\n    input_series:\n",
        rules.display()
    );
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    for (name, value) in lines.filter_map(|line| line.rsplit_once(' ')) {
        let Ok(value) = value.parse::<f64>() else { continue };
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        let joint = if labels == "}" { "" } else { "," };
        test +=
            &format!("      - series: '{name}{{instance=\"a\",job=\"keyfalld\"{joint}{labels}'\n");
        test += &format!("        values: '{value}+0x8'\n");
    }
    test += "    alert_rule_test:\n";
    for alert in &alerts {
        test += &format!("      - {{eval_time: 2m, alertname: {alert}, exp_alerts: []}}\n");
    }
    let file = dir.join("alarms.test.yml");
    std::fs::write(&file, test).unwrap();
    let mut promtool = Command::new("promtool");
    promtool.args(["test", "rules"]).arg(&file).stdin(Stdio::null());
    let out = match promtool.output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            absent("promtool");
            return None;
        }
        out => out.unwrap(),
    };
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    let names = said.split("alertname: ").skip(1);
    let fired: Vec<_> =
        names.map(|rest| rest.split(',').next().unwrap().trim().to_owned()).collect();
    assert_eq!(out.status.success(), fired.is_empty(), "{said}");
    assert!(fired.iter().all(|name| alerts.contains(&name.as_str())), "{said}");
    Some(fired)
}

/// Fails unless these alerts fire and no others.
fn fires(service: &Service, alerts: &[&str]) {
    let metrics = service.admin("GET", "/metrics").send().text();
    if let Some(fired) = fired(&service.dir, &metrics) {
        assert_eq!(fired, alerts, "{metrics}");
    }
}

fn ready(service: &Service) -> (u16, String) {
    let answer = service.ask("GET", "/readyz").send();
    (answer.status, answer.text())
}

/// What `within` says comes true, within two minutes.
fn soon(mut within: impl FnMut() -> bool, what: &str) {
    for _ in 0..2400 {
        if within() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what}");
}

/// A service over a store with a copy in step, and where that is.
fn with_a_copy(dir: &Path) -> (Service, PathBuf) {
    let engine = Builder::at(dir.join("a.db")).accept_remnants().open_or_create().unwrap();
    let copy = dir.join("copy");
    engine.copies().add(copy.to_str().unwrap(), CopyMode::InStep, &mut |_| {}).unwrap();
    engine.close().unwrap();
    (Service::over(dir, &[]), copy)
}

/// Nobody writes when its disk goes, nor when it is back.
#[test]
fn a_copy_in_step_that_goes_while_the_service_runs_is_missed_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let (service, copy) = with_a_copy(dir.path());
    let away = dir.path().join("away");
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    assert_eq!(ready(&service).0, 200, "{}", ready(&service).1);
    fires(&service, &[]);
    let path = format!("/v1/users/{ada}/records");
    let put = || service.admin("POST", &path).header("Keyfall-Class", "audio").body(b"RIFF....");
    for _ in 0..2 {
        std::fs::rename(&copy, &away).unwrap();
        soon(|| ready(&service).0 == 503, "it is not ready");
        assert!(!ready(&service).1.contains("\"copies\":\"ok\""), "{}", ready(&service).1);
        fires(&service, &["KeyfallCopyDown"]);
        assert_eq!(put().status, 503, "nothing is acknowledged that is not in the copy");
        let read = service.admin("GET", &format!("/v1/records/{id}")).send();
        assert_eq!(read.status, 200, "it is read all the same");

        std::fs::rename(&away, &copy).unwrap();
        soon(|| ready(&service).0 == 200, "it is ready again");
        fires(&service, &[]);
        assert_eq!(put().status, 201);
    }
}

#[test]
fn a_copy_in_step_that_is_cut_off_fires_its_alert_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (service, copy) = with_a_copy(dir.path());
    let away = dir.path().join("away");
    let ada = service.user("ada");
    assert_eq!(ready(&service).0, 200, "{}", ready(&service).1);
    fires(&service, &[]);
    drop(service);

    std::fs::rename(&copy, &away).unwrap();
    let service = Service::over(dir.path(), &[]);
    let path = format!("/v1/users/{ada}/records");
    let put = || service.admin("POST", &path).header("Keyfall-Class", "audio").body(b"RIFF....");
    assert_eq!(put().status, 503, "nothing is acknowledged that is not in the copy");
    fires(&service, &["KeyfallCopyDown"]);
    soon(|| ready(&service).0 == 503, "it is not ready");

    std::fs::rename(&away, &copy).unwrap();
    soon(|| put().status == 201, "it goes on");
    soon(|| ready(&service).0 == 200, "it is ready again");
    fires(&service, &[]);
}

/// It holds up nothing.
#[test]
fn a_copy_that_is_behind_and_away_fires_nothing_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let builder = Builder::at(dir.path().join("a.db")).accept_remnants();
    let engine = builder.open_or_create().unwrap();
    let copy = dir.path().join("copy");
    engine.copies().add(copy.to_str().unwrap(), CopyMode::Behind, &mut |_| {}).unwrap();
    engine.close().unwrap();
    std::fs::rename(&copy, dir.path().join("away")).unwrap();
    let service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    service.put(&ada, "audio", b"RIFF....");
    let metrics = service.admin("GET", "/metrics").send().text();
    for line in ["keyfall_copy_up{copy=\"0\"} 0", "keyfall_copy_in_step{copy=\"0\"} 0"] {
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }
    assert_eq!(ready(&service).0, 200);
    fires(&service, &[]);
}

#[test]
fn keyholders_that_stop_fire_their_alert_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    // Four, of whom two give the root key back and three must hold the next.
    let keyholders = Keyholders::of(4, dir.path());
    let service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    soon(|| ready(&service).0 == 200, "it is ready");
    fires(&service, &[]);
    keyholders.away(1);
    let up = || {
        let metrics = service.admin("GET", "/metrics").send().text();
        let up = metrics.lines().filter(|line| line.starts_with("keyfall_keyholder_up{"));
        up.filter(|line| line.ends_with(" 1")).count()
    };
    soon(|| up() == 3, "one is seen to be away");
    fires(&service, &[]);
    keyholders.away(2);
    soon(|| ready(&service).0 == 503, "it is not ready");
    assert!(ready(&service).1.contains("2 of 4 keyholders answer"), "{}", ready(&service).1);
    fires(&service, &["KeyfallKeyholdersAtThreshold"]);
    let erase = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
    let refused = service.admin("POST", "/v1/erasures").json(&erase);
    assert_eq!((refused.status, refused.kind()), (503, "keyholders".to_owned()));
    keyholders.back();
    soon(|| ready(&service).0 == 200, "it is ready again");
    fires(&service, &[]);
    assert_eq!(service.admin("POST", "/v1/erasures").json(&erase).status, 200);
}

/// A service over a store on a small disk in memory, in namespaces of its own; nothing where the
/// system forbids them.
fn on_a_small_disk(dir: &Path, size: &str) -> Option<Service> {
    let probe = Command::new("unshare").args(["-rm", "true"]).output();
    match probe {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            absent("unshare");
            return None;
        }
        // No program changes that.
        out if !out.as_ref().unwrap().status.success() => {
            println!("skipped: this system forbids namespaces: {out:?}");
            return None;
        }
        _ => {}
    }
    let disk = dir.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mut command = Command::new("unshare");
    let mount = format!("mount -t tmpfs -o size={size} tmpfs \"$0\" && exec \"$@\"");
    command.args(["-rm", "sh", "-c", &mount]).arg(&disk).arg(env!("CARGO_BIN_EXE_keyfalld"));
    let store = disk.join("a.db");
    let least = (4 << 20).to_string();
    let more = ["--min-free-bytes", least.as_str()];
    Some(Service::run_at(command, dir, store.to_str().unwrap(), &more))
}

#[test]
fn a_full_disk_fires_its_alert_and_no_other_and_erases_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let Some(service) = on_a_small_disk(dir.path(), "48m") else { return };
    let disk = format!("/proc/{}/root{}", service.child.id(), dir.path().join("disk").display());
    let ballast = Path::new(&disk).join("ballast");
    std::fs::write(&ballast, vec![1; 16 << 20]).unwrap();
    let ada = service.user("ada");
    assert_eq!(ready(&service).0, 200, "{}", ready(&service).1);
    fires(&service, &[]);

    let path = format!("/v1/users/{ada}/records");
    let put = || service.admin("POST", &path).header("Keyfall-Class", "audio").body(&[7; 1 << 18]);
    let mut ids = Vec::new();
    let refused = loop {
        let put = put();
        if put.status != 201 {
            break put;
        }
        ids.push(put.json()["id"].as_str().unwrap().to_owned());
        assert!(ids.len() < 200, "it is never full");
    };
    assert_eq!((refused.status, refused.kind()), (507, "full".to_owned()), "{}", refused.text());
    assert!(refused.text().contains("ask again once there is room"), "{}", refused.text());
    assert!(ids.len() > 20, "{} went in", ids.len());
    // The cleaner may give some room back: it is filled again.
    let full = || {
        put();
        ready(&service).0 == 503
    };
    soon(full, "it is not ready any more");
    assert!(ready(&service).1.contains("bytes are free"), "{}", ready(&service).1);
    fires(&service, &["KeyfallDiskFull"]);

    let status = |id: &str| service.admin("GET", &format!("/v1/records/{id}")).send().status;
    let erase = |id: &str| {
        let json = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
        let asked = service.admin("POST", "/v1/erasures").header("Idempotency-Key", &id[..40]);
        asked.json(&json)
    };
    for id in &ids[..3] {
        soon(|| put().status == 507, "it is full");
        assert_eq!(status(id), 200);
        let erased = erase(id);
        assert_eq!(erased.status, 200, "{}", erased.text());
        assert_eq!(status(id), 410);
    }
    fires(&service, &["KeyfallDiskFull"]);

    std::fs::remove_file(&ballast).unwrap();
    soon(|| put().status == 201, "it stores again");
    soon(|| ready(&service).0 == 200, "it is ready again");
    fires(&service, &[]);
    assert_eq!(status(&ids[3]), 200, "{}", ids[3]);
}

const HOUR: i64 = 60 * 60 * 1000;
const DAY: i64 = 24 * HOUR;

/// The system's clock, wrong by so many milliseconds.
struct WrongBy(i64);

impl Env for WrongBy {
    fn now(&self) -> Timestamp {
        Timestamp(System.now().0.saturating_add_signed(self.0))
    }

    fn fill(&self, out: &mut [u8]) -> Result<(), Error> {
        System.fill(out)
    }
}

/// The store below a directory, by a clock that is wrong by so much.
fn store_by(dir: &Path, wrong_by: i64) -> Engine {
    let builder = Builder::at(dir.join("a.db")).accept_remnants();
    builder.env(Arc::new(WrongBy(wrong_by))).open_or_create().unwrap()
}

/// A store in which something was put by a clock that is wrong by so much, and is kept for 30 days.
fn put_by(dir: &Path, wrong_by: i64) {
    let engine = store_by(dir, wrong_by);
    let policy = Policy::new(Class::audio()).max_age(Duration::from_secs(30 * 24 * 3600));
    engine.policies(None).set(&policy).unwrap();
    let ada = UserId::new("ada").unwrap();
    engine.put(Put::new(ada, Class::audio()), &b"RIFF...."[..]).unwrap();
    engine.close().unwrap();
}

/// As a machine comes up with a clock that is months ahead: what passed its limit by that clock
/// alone is not late, and waits for somebody to say that the clock is right.
#[test]
fn a_clock_that_is_far_ahead_fires_its_alert_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    put_by(dir.path(), -60 * DAY);
    let service = Service::over(dir.path(), &[]);
    let status = service.admin("GET", "/v1/status").send().json();
    let clock = status["clock"].as_str().unwrap();
    assert!(clock.contains("what is due since then waits"), "{status}");
    assert!(clock.contains("`keyfall tend STORE --clock-is-right`"), "{status}");
    assert_eq!(status["users"], 1);
    fires(&service, &["KeyfallClockWrong"]);
    drop(service);
    // Somebody says that the clock is right, as `keyfall tend --clock-is-right` does.
    let engine = store_by(dir.path(), 0);
    engine.clock().trust().unwrap();
    engine.close().unwrap();
    let service = Service::over(dir.path(), &[]);
    let left = || service.admin("GET", "/v1/status").send().json()["next_due"].clone();
    soon(|| left().is_null(), "what passed its limit is erased");
    soon(|| ready(&service).0 == 200, "it is ready");
    fires(&service, &[]);
}

#[test]
fn a_clock_that_is_behind_fires_its_alert_and_no_other() {
    for behind in [HOUR, 60 * DAY] {
        let dir = tempfile::tempdir().unwrap();
        put_by(dir.path(), behind);
        let service = Service::over(dir.path(), &[]);
        fires(&service, &["KeyfallClockWrong"]);
        service.user("ben");
        drop(service);
        let engine = store_by(dir.path(), 0);
        engine.clock().trust().unwrap();
        engine.close().unwrap();
        let service = Service::over(dir.path(), &[]);
        assert_eq!(ready(&service).0, 200, "{}", ready(&service).1);
        fires(&service, &[]);
    }
}

/// The libraries that put another clock below a program, where they are installed.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// By less than 35 days, so that the engine believes it; a service that runs counts the time, and
/// knows better.
#[test]
fn a_clock_that_is_set_while_the_service_runs_fires_its_alert_and_no_other() {
    if !Path::new(FAKETIME).exists() {
        absent("libfaketime");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let clock = dir.path().join("clock");
    let set = |by: &str| std::fs::write(&clock, by).unwrap();
    set("+0");
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyfalld"));
    command.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", &clock);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let service = Service::run(command, dir.path(), &[]);
    let ada = service.user("ada");
    service.put(&ada, "audio", b"RIFF....");
    fires(&service, &[]);
    for by in ["+2d", "-2h"] {
        set(by);
        fires(&service, &["KeyfallClockWrong"]);
        assert_eq!(ready(&service).0, 200, "requests are served: {}", ready(&service).1);
        set("+0");
        fires(&service, &[]);
    }
    // What falls due by then is late, by the clock of nobody: it waits for the clock.
    let json = format!("{{\"scope\":{{\"user\":\"{ada}\"}},\"in\":\"6s\"}}");
    assert_eq!(service.admin("POST", "/v1/erasures").json(&json).status, 202);
    set("-2h");
    std::thread::sleep(Duration::from_secs(9));
    let users = || service.admin("GET", "/v1/status").send().json()["users"].clone();
    assert_eq!(users(), 1, "a clock that is behind delays what is due");
    fires(&service, &["KeyfallClockWrong"]);
    set("+0");
    soon(|| users() == 0, "it is done once the clock is right");
    fires(&service, &[]);
}
