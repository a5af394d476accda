//! How the program ends, and what of its configuration is in force.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::certificates::{Authority, LONG};
use super::kit::Service;
use super::tls::text;

fn program(dir: &Path, more: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_keyfalld"));
    program.args(["--listen", "127.0.0.1:0", "--accept-remnants", "--log", "error"]);
    program.args(["--store", "a.db", "--admin-token-file", "token"]).args(more);
    program.current_dir(dir).stdin(Stdio::null());
    program
}

fn ends(dir: &Path, more: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = program(dir, more).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// Whatever it was, the program ended with 1.
#[test]
fn the_program_ends_with_the_codes_of_the_command_line() {
    let dir = tempfile::TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    // 2: what it was told cannot be.
    for wrong in [
        &["--config", "missing.toml"][..],
        &["--listen", "192.0.2.1:7400"],
        &["--tls-cert", "cert.pem"],
        &["--no-such-flag"],
        &["--burst", "0"],
        &["--requests-per-second", "0"],
    ] {
        let (code, said) = ends(dir.path(), wrong);
        assert_eq!(code, Some(2), "{wrong:?}: {said}");
    }
    std::fs::write(at("bad.toml"), "burst = \"many\"\n").unwrap();
    assert_eq!(ends(dir.path(), &["--config", "bad.toml"]).0, Some(2));
    assert_eq!(ends(dir.path(), &["--config", "bad.toml", "--check-config"]).0, Some(2));
    // 1: the system says no.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut last = Command::new(env!("CARGO_BIN_EXE_keyfalld"));
    last.args(["--listen", &address, "--store", "a.db", "--admin-token-file", "token"]);
    let last = last.current_dir(dir.path()).output().unwrap();
    assert_eq!(last.status.code(), Some(1), "{}", String::from_utf8_lossy(&last.stderr));
    assert!(!at("a.db").exists());
    // 6: store and cell do not fit; 4 and 5: there is none, or it is damaged.
    drop(Service::over(dir.path(), &[]));
    let other = tempfile::TempDir::new().unwrap();
    drop(Service::over(other.path(), &[]));
    std::fs::rename(at("a.db.cell"), at("own.cell")).unwrap();
    let foreign = other.path().join("a.db.cell");
    let (code, said) = ends(dir.path(), &["--cell", text(&foreign)]);
    assert_eq!(code, Some(6), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// A second one waited in silence, and then ended with 1.
#[test]
fn a_second_service_says_at_once_what_it_waits_for_and_then_how_to_go_on() {
    let dir = tempfile::TempDir::new().unwrap();
    let service = Service::over(dir.path(), &[]);
    let mut second = program(dir.path(), &[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(second.stderr.take().unwrap()).lines();
    let said = lines.next().unwrap().unwrap();
    assert!(second.try_wait().unwrap().is_none(), "it waits: {said}");
    let holder = format!("in use: by process {}", service.child.id());
    assert!(said.starts_with("keyfalld: waiting 10 s for the store: "), "{said}");
    assert!(said.contains(&holder) && !said.contains("Builder"), "{said}");
    let last = lines.next().unwrap().unwrap();
    assert!(last.contains("one service has a store: end the other"), "{last}");
    assert!(last.contains(&holder) && !last.contains("Builder"), "{last}");
    assert_eq!(second.wait().unwrap().code(), Some(8));
    assert_eq!(lines.count(), 0);
    // One that ends in time is waited for.
    let mut third = program(dir.path(), &[]);
    let mut third = third.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(third.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("waiting 10 s for the store"));
    drop(service);
    let mut said = String::new();
    BufReader::new(third.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("listening on "), "{said}");
    third.kill().unwrap();
    third.wait().unwrap();
}

/// Each key, with three values that differ: of the file, of the environment, of the flag.
const KEYS: &[(&str, [&str; 3])] = &[
    ("store", ["\"f.db\"", "\"e.db\"", "\"a.db\""]),
    ("cell", ["\"f.cell\"", "\"e.cell\"", "\"c.cell\""]),
    ("single_machine", ["true", "false", "true"]),
    ("standby", ["true", "false", "true"]),
    ("beat", ["\"2000ms\"", "\"3000ms\"", "\"4000ms\""]),
    ("gone_after", ["\"20000ms\"", "\"30000ms\"", "\"40000ms\""]),
    ("object_cache", ["\"f.cache\"", "\"e.cache\"", "\"c.cache\""]),
    ("object_cache_bytes", ["1", "2", "3"]),
    ("state", ["\"f.state\"", "\"e.state\"", "\"c.state\""]),
    ("backup", ["\"f.backup\"", "\"e.backup\"", "\"c.backup\""]),
    ("accept_remnants", ["true", "false", "true"]),
    ("listen", ["\"127.0.0.1:1\"", "\"127.0.0.1:2\"", "\"127.0.0.1:3\""]),
    ("admin_token_file", ["\"f.token\"", "\"e.token\"", "\"c.token\""]),
    ("public_url", ["\"https://f.example\"", "\"https://e.example\"", "\"https://c.example\""]),
    ("tls_cert", ["\"f.cert\"", "\"e.cert\"", "\"c.cert\""]),
    ("tls_key", ["\"f.key\"", "\"e.key\"", "\"c.key\""]),
    ("tls_by_proxy", ["true", "false", "true"]),
    ("trusted_proxies", ["\"10.0.0.0/8\"", "\"10.1.0.0/16\"", "\"::1, 10.0.0.1\""]),
    ("proxy_header", ["\"forwarded\"", "\"x-forwarded-for\"", "\"forwarded\""]),
    ("client_ca", ["\"f.ca\"", "\"e.ca\"", "\"c.ca\""]),
    ("client_crl", ["\"f.crl\"", "\"e.crl\"", "\"c.crl\""]),
    ("client_cert", ["\"required\"", "\"optional\"", "\"required\""]),
    ("jwks", ["\"f.jwks\"", "\"e.jwks\"", "\"c.jwks\""]),
    ("jwt_issuer", ["\"f\"", "\"e\"", "\"c\""]),
    ("jwt_audience", ["\"f\"", "\"e\"", "\"c\""]),
    ("log", ["\"error\"", "\"warn\"", "\"debug\""]),
    ("log_json", ["true", "false", "true"]),
    ("min_free_bytes", ["1", "2", "3"]),
    ("max_record_bytes", ["1", "2", "3"]),
    ("idle_seconds", ["1", "2", "3"]),
    ("requests_per_second", ["1", "2", "3"]),
    ("burst", ["1", "2", "3"]),
];

/// What the other keys must say for one to be right.
const BESIDE: &[(&str, &str)] = &[
    ("store", "a.db"),
    ("admin_token_file", "token"),
    ("tls_cert", "f.cert"),
    ("tls_key", "f.key"),
    ("client_ca", "f.ca"),
    ("trusted_proxies", "10.0.0.0/8"),
    ("jwks", "f.jwks"),
    ("jwt_issuer", "f"),
    ("jwt_audience", "f"),
];

/// What the others must say instead beside a key of a store that machines share.
fn shared(key: &str) -> &'static [(&'static str, &'static str)] {
    match key {
        "single_machine" | "standby" | "beat" | "object_cache" => {
            &[("store", "\"s3://bucket/a\""), ("cell", "\"shared.cell\"")]
        }
        "gone_after" => {
            &[("store", "\"s3://bucket/a\""), ("cell", "\"shared.cell\""), ("standby", "true")]
        }
        _ => &[],
    }
}

/// Files that the keys name: the same under each name.
fn files(dir: &Path) {
    let authority = Authority::new(&dir.join("ca"));
    let server = authority.issue("server", "IP:127.0.0.1", LONG);
    let list = authority.list("list.pem", LONG);
    let jwks = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",\
                \"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";
    // A cell that is spread over keyholders.
    std::fs::create_dir(dir.join("shared.cell")).unwrap();
    std::fs::write(dir.join("shared.cell/quorum.json"), "{}").unwrap();
    for name in ["f", "e", "c"] {
        let at = |ending: &str| dir.join(format!("{name}.{ending}"));
        std::fs::copy(&server.cert, at("cert")).unwrap();
        std::fs::copy(&server.key, at("key")).unwrap();
        std::fs::copy(authority.file(), at("ca")).unwrap();
        std::fs::copy(&list, at("crl")).unwrap();
        std::fs::write(at("jwks"), jwks).unwrap();
    }
}

#[test]
fn the_environment_is_over_the_file_and_flags_are_over_both_for_each_key() {
    let dir = tempfile::TempDir::new().unwrap();
    files(dir.path());
    // The document of flags has no key that is not here.
    let help = Command::new(env!("CARGO_BIN_EXE_keyfalld")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let flags: Vec<String> =
        flags.map(|flag| flag.split([' ', '=']).next().unwrap().replace('-', "_")).collect();
    let others = ["config", "check_config", "openapi"];
    for flag in flags.iter().filter(|flag| !others.contains(&flag.as_str())) {
        assert!(KEYS.iter().any(|(key, _)| key == flag), "{flag} is tested");
    }
    for (key, values) in KEYS {
        let instead = shared(key);
        let mut file: String = BESIDE
            .iter()
            .filter(|(other, _)| other != key && !instead.iter().any(|(of, _)| of == other))
            .map(|(other, value)| format!("{other} = \"{value}\"\n"))
            .chain(instead.iter().map(|(other, value)| format!("{other} = {value}\n")))
            .collect();
        file += &format!("{key} = {}\n", values[0]);
        std::fs::write(dir.path().join("c.toml"), file).unwrap();
        for said in 1..=3 {
            let mut program = Command::new(env!("CARGO_BIN_EXE_keyfalld"));
            program.args(["--check-config", "--config", "c.toml"]).current_dir(dir.path());
            // One that is empty is none.
            let of_environment = if said >= 2 { values[1].trim_matches('"') } else { "" };
            program.env(format!("KEYFALL_{}", key.to_uppercase()), of_environment);
            if said == 3 {
                let flag = format!("--{}", key.replace('_', "-"));
                assert!(flags.contains(&(*key).to_owned()), "{flag} is a flag");
                program.arg(flag);
                // A flag that says yes has no value.
                if values[2] != "true" {
                    program.arg(values[2].trim_matches('"'));
                }
            }
            let Output { status, stdout, stderr } = program.output().unwrap();
            assert!(status.success(), "{key}, {said}: {}", String::from_utf8_lossy(&stderr));
            let expected = format!("{key} = {}", values[said - 1]);
            let stdout = String::from_utf8(stdout).unwrap();
            assert!(stdout.lines().any(|line| line == expected), "{expected} of {stdout}");
        }
    }
}

/// A log on a full disk, or one that nobody read any more, took every request with it.
#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>/dev/full", env!("CARGO_BIN_EXE_keyfalld")]);
    let service = Service::run(command, dir.path(), &[]);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(service.ask("GET", path).send().status, 200, "{path}");
    }
    let ada = service.user("ada");
    service.put(&ada, "audio", b"RIFF....");
}

/// The error named a directory alone: neither what was to be made in it nor what to do.
#[test]
fn a_place_that_cannot_be_made_is_named_with_a_remedy() {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join("notes"), "milk").unwrap();
    let (code, said) = ends(dir.path(), &["--state", "notes/service"]);
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.starts_with("keyfalld: notes/service cannot be made: "), "{said}");
    assert!(said.trim_end().ends_with("a part of this path is a file: check it"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
}

/// It was read by nobody, and nobody was told.
#[test]
fn a_setting_that_is_none_is_told_where_the_configuration_is_checked() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut program = program(dir.path(), &["--check-config"]);
    let Output { status, stderr, .. } = program.env("KEYFALL_STROE", "x").output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(status.success() && said.contains("KEYFALL_STROE is in the environment"), "{said}");
}
