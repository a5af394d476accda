//! What operators install: alert rules, the dashboard, the unit, completions, the man page. Each
//! metric that a rule or a panel names is one that the service has.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::kit::{Service, absent};

const RULES: &str = include_str!("../../deploy/alerts.yml");
const DASHBOARD: &str = include_str!("../../deploy/dashboard.json");
const RUNBOOKS: &str = include_str!("../../../docs/operations.md");

/// What only a cell of keyholders has.
const OF_KEYHOLDERS: &[&str] = &["keyfall_keyholder_up", "keyfall_keyholders_needed"];

/// The names of metrics in a text, without what histograms and summaries append.
fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c))
        .filter(|name| name.starts_with("keyfall_") || name.starts_with("http_server_"))
        .map(|name| {
            let stem = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
            stem.unwrap_or(name).to_owned()
        })
        .collect()
}

/// A service with a copy, in which something was put, read for a purpose and erased.
fn busy() -> (tempfile::TempDir, Service) {
    let dir = tempfile::TempDir::new().unwrap();
    let builder = keyfall::Builder::at(dir.path().join("a.db")).accept_remnants();
    let engine = builder.open_or_create().unwrap();
    let copy = dir.path().join("copy");
    let mode = keyfall::engine::CopyMode::InStep;
    engine.copies().add(copy.to_str().unwrap(), mode, &mut |_| {}).unwrap();
    engine.close().unwrap();
    let service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    let read = service.admin("GET", &format!("/v1/records/{id}"));
    assert_eq!(read.header("Keyfall-Purpose", "a test").send().status, 200);
    let json = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
    service.admin("POST", "/v1/erasures").json(&json);
    (dir, service)
}

/// The metrics of such a service.
fn emitted() -> BTreeSet<String> {
    let (_dir, service) = busy();
    // The disk is measured beside the first requests.
    for _ in 0..100 {
        let text = service.admin("GET", "/metrics").send().text();
        if text.contains("keyfall_erase_floor_seconds") {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            return named(&lines.collect::<Vec<_>>().join("\n"));
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("the floor was not measured");
}

#[test]
fn rules_and_panels_name_metrics_that_the_service_has() {
    let mut has = emitted();
    assert!(!has.contains("keyfall_made_up"), "a metric that is not there is seen to be missing");
    // A test without keyholders finds them where they are set.
    let source = include_str!("../../src/standing.rs");
    for name in OF_KEYHOLDERS {
        assert!(source.contains(&format!("gauge!(\"{name}\"")), "{name}");
        has.insert((*name).to_owned());
    }
    let rules = RULES.lines().filter(|line| !line.trim_start().starts_with('#'));
    let rules = rules.collect::<Vec<_>>().join("\n");
    for (from, text) in [("alerts.yml", rules.as_str()), ("dashboard.json", DASHBOARD)] {
        let lacking: Vec<_> = named(text).difference(&has).cloned().collect();
        assert!(lacking.is_empty(), "{from} names {lacking:?}; the service has {has:?}");
        assert!(named(text).len() >= 8, "{from} names metrics");
    }
}

#[test]
fn each_panel_has_a_title_a_unit_and_a_description() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        let unit = &panel["fieldConfig"]["defaults"]["unit"];
        assert!(text(&panel["title"]) && text(&panel["description"]) && text(unit), "{panel}");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && targets.iter().all(|one| text(&one["expr"])), "{panel}");
    }
    assert!(panels.len() >= 15);
}

#[test]
fn each_alert_links_to_its_runbook() {
    let alerts: Vec<&str> =
        RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 11);
    for alert in alerts {
        let link = format!("runbook_url: docs/operations.md#{}\n", alert.to_lowercase());
        assert!(RULES.contains(&link), "{link}");
        let heading = format!("\n### {alert}\n");
        let (_, section) = RUNBOOKS.split_once(&heading).unwrap_or_else(|| panic!("{alert}"));
        let section = section.split("\n##").next().unwrap();
        for part in ["**Means**", "**Look at**", "**Do**", "```console"] {
            assert!(section.contains(part), "{alert}: {part}");
        }
    }
}

#[test]
fn rules_fire_and_stay_silent_where_promtool_is_present() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for args in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        let Some(out) = present(Command::new("promtool").args(args).current_dir(&deploy)) else {
            return;
        };
        assert!(out.status.success(), "{args:?}: {}", said(&out));
    }
}

/// Alertmanager sends a link to people who are elsewhere.
#[test]
fn a_link_to_a_runbook_becomes_a_whole_address_as_the_rules_say() {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join("alerts.yml"), RULES).unwrap();
    let said = RULES.lines().find_map(|line| line.strip_prefix("#   sed ")).unwrap();
    let command = format!("sed {said}");
    let ran = Command::new("sh").args(["-c", &command]).current_dir(dir.path()).status().unwrap();
    assert!(ran.success(), "{command}");
    let rules = std::fs::read_to_string(dir.path().join("alerts.yml")).unwrap();
    let mut links = rules.lines().filter(|line| line.trim().starts_with("runbook_url: "));
    assert_eq!(links.clone().count(), 11);
    assert!(links.all(|link| link.contains(" https://git.example/keyfall/docs/operations.md#")));
}

/// Each metric says what it is, by the rules of Prometheus, and counters are there from the start.
#[test]
fn the_metrics_are_as_promtool_wants_them() {
    let (_dir, service) = busy();
    let metrics = service.admin("GET", "/metrics").send().text();
    for name in ["keyfall_tend_failures_total{", "keyfall_reads_cut_total{"] {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "{name}");
    }
    let lines = metrics.lines().filter(|line| line.starts_with("# TYPE "));
    for name in lines.filter_map(|line| line.split(' ').nth(2)) {
        assert!(metrics.contains(&format!("# HELP {name} ")), "{name} does not say what it is");
    }
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut promtool = match promtool.stderr(Stdio::piped()).spawn() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return absent("promtool"),
        promtool => promtool.unwrap(),
    };
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let out = promtool.wait_with_output().unwrap();
    assert!(out.status.success() && self::said(&out).is_empty(), "{}", self::said(&out));
}

#[test]
fn the_unit_is_hardened_where_systemd_is_present() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let unit = std::fs::read_to_string(deploy.join("keyfalld.service")).unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let place = dir.path().join("keyfalld.service");
    // The program is not installed here.
    std::fs::write(&place, unit.replace("/usr/bin/keyfalld", env!("CARGO_BIN_EXE_keyfalld")))
        .unwrap();
    let verify = &mut Command::new("systemd-analyze");
    let Some(out) = present(verify.args(["verify", "--man=no"]).arg(&place)) else { return };
    assert!(out.status.success() && said(&out).is_empty(), "{}", said(&out));
    // A threshold of 20 is an exposure of 2.0.
    let security = &mut Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--threshold=20"]).arg(&place);
    let out = present(security).unwrap();
    assert!(out.status.success(), "{}", said(&out));
}

#[test]
fn a_shell_takes_the_completions() {
    for (shell, check) in [("bash", &["-n"][..]), ("zsh", &["-n"]), ("fish", &["--no-execute"])] {
        let text = keyfalld(&["completions", shell]);
        assert!(text.contains("admin-token-file"), "{shell}");
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("completions");
        std::fs::write(&file, text).unwrap();
        let Some(out) = present(Command::new(shell).args(check).arg(&file)) else { continue };
        assert!(out.status.success(), "{shell}: {}", said(&out));
    }
    let offer = "source <(\"$0\" completions bash); COMP_WORDS=(keyfalld --adm); COMP_CWORD=1; \
                 _keyfalld keyfalld --adm keyfalld; echo \"${COMPREPLY[@]}\"";
    let program = env!("CARGO_BIN_EXE_keyfalld");
    let offered = present(Command::new("bash").args(["-c", offer, program])).unwrap();
    assert_eq!(said(&offered).trim(), "--admin-token-file");
}

#[test]
fn the_man_page_renders() {
    let dir = tempfile::TempDir::new().unwrap();
    keyfalld(&["man", dir.path().to_str().unwrap()]);
    let page = dir.path().join("keyfalld.1");
    assert!(keyfalld(&["man"]).contains(".TH keyfalld 1"));
    let groff = &mut Command::new("groff");
    let Some(out) = present(groff.args(["-man", "-ww", "-z", "-Tutf8"]).arg(&page)) else { return };
    assert!(out.status.success() && said(&out).is_empty(), "{}", said(&out));
}

fn keyfalld(args: &[&str]) -> String {
    let program = &mut Command::new(env!("CARGO_BIN_EXE_keyfalld"));
    let out = program.args(args).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", said(&out));
    String::from_utf8(out.stdout).unwrap()
}

/// Runs a program, if it is installed.
fn present(command: &mut Command) -> Option<Output> {
    match command.stdin(Stdio::null()).output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            absent(&command.get_program().to_string_lossy());
            None
        }
        out => Some(out.unwrap()),
    }
}

fn said(out: &Output) -> String {
    let (stdout, stderr) = (&out.stdout, &out.stderr);
    format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))
}
