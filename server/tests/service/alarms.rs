//! Story 8: what is broken fires its own alert, and no other, within two minutes. The rules see
//! what the service says of itself.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use keyfall::Builder;
use keyfall::engine::CopyMode;

use super::kit::Service;

/// The names of the alerts that fire two minutes after the metrics became these and stayed so;
/// nothing where promtool is not installed.
fn fired(dir: &Path, metrics: &str) -> Option<Vec<String>> {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/alerts.yml");
    let text = std::fs::read_to_string(&rules).unwrap();
    let alerts: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 8);
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
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
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
fn soon(within: impl Fn() -> bool, what: &str) {
    for _ in 0..2400 {
        if within() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what}");
}

#[test]
fn a_copy_in_step_that_is_cut_off_fires_its_alert_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let builder = Builder::at(dir.path().join("a.db")).accept_remnants();
    let engine = builder.open_or_create().unwrap();
    let (copy, away) = (dir.path().join("copy"), dir.path().join("away"));
    engine.copies().add(copy.to_str().unwrap(), CopyMode::InStep, &mut |_| {}).unwrap();
    engine.close().unwrap();
    let service = Service::over(dir.path(), &[]);
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
