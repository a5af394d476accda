//! Plans, policies and windows from the command line. SPEC §6.4, §6.5.

use std::time::Duration;

use crate::command_line::{Cli, json};

#[test]
fn the_program_tells_of_a_hold_that_covers_what_is_planned() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"wake me");
    let plan = ["erase", "store", "--user", "ada", "--in", "30d", "--yes"];
    assert!(!cli.ok(&plan).contains("hold"));
    cli.ok(&[
        "hold",
        "add",
        "store",
        "--user",
        "ada",
        "--reason",
        "a court asks",
        "--authority",
        "Amtsgericht",
    ]);
    let told = cli.ok(&plan);
    assert!(told.contains("under a legal hold now"), "{told}");
    let told: serde_json::Value =
        serde_json::from_str(&cli.ok(&[&plan[..], &["--json"]].concat())).unwrap();
    assert_eq!(told["held"], true);
    assert!(cli.ok(&["plan", "list", "store", "--user", "ada"]).contains("yes"));
    assert!(cli.ok(&["report", "store", "--user", "ada"]).contains("held now"));
}

#[test]
fn the_program_tells_beforehand_what_a_number_takes() {
    let cli = Cli::new();
    let put = |purpose: &str| {
        std::fs::write(cli.path("payload"), b"x").unwrap();
        cli.ok(&[
            "put",
            "store",
            "--user",
            "ada",
            "--class",
            "audio",
            "--purpose",
            purpose,
            "payload",
        ])
    };
    cli.ok(&[
        "policy",
        "set",
        "store",
        "--class",
        "audio",
        "--purpose",
        "treatment",
        "--max-age",
        "90d",
    ]);
    let treated = put("treatment");
    for purpose in ["treatment", "advice", "advice"] {
        put(purpose);
    }
    let refused =
        cli.fails(2, &["policy", "set", "store", "--class", "audio", "--max-records", "1"]);
    assert!(refused.contains("1 record of class audio"), "{refused}");
    let told =
        cli.ok(&["policy", "set", "store", "--class", "audio", "--max-records", "1", "--yes"]);
    assert!(told.contains("1 record passed it"), "{told}");
    cli.ok(&["get", "store", &treated, "-o", "out"]);
}

#[test]
fn plans_policies_and_windows_from_the_command_line() {
    let cli = Cli::new();
    let audio = cli.put("ada", "audio", b"wake me");
    cli.fails(2, &["erase", "store", "--user", "ada", "--in", "soon", "--yes"]);
    let told = cli.ok(&["erase", "store", "--user", "ada", "--in", "30d", "--yes", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let id = told["id"].as_str().unwrap();
    assert!(cli.ok(&["plan", "list", "store", "--user", "ada"]).contains(id));
    assert!(cli.ok(&["report", "store", "--user", "ada"]).contains("planned for"));
    cli.ok(&["plan", "cancel", "store", "--user", "ada", "--id", id]);
    cli.fails(4, &["plan", "cancel", "store", "--user", "ada", "--id", id]);
    cli.ok(&["erase", "store", "--record", &audio, "--in", "1s", "--yes"]);
    cli.ok(&["get", "store", &audio, "-o", "audio"]);
    std::thread::sleep(Duration::from_millis(1100));
    cli.ok(&["tend", "store"]);
    cli.fails(3, &["get", "store", &audio]);
    let audio = cli.put("ada", "audio", b"wake me");
    let told = cli.ok(&["erase", "store", "--record", &audio, "--final-within", "1h", "--yes"]);
    assert!(told.contains("pending until"), "{told}");
    assert!(told.starts_with("erased") && !told.contains("; epoch"), "none has begun: {told}");
    assert!(cli.ok(&["status", "store"]).contains("pending until"));
    let window = ["erase", "store", "--user", "ben", "--final-within", "1h", "--yes", "--json"];
    assert!(json(&cli.ok(&window))["epoch"].is_null(), "none has begun");
    assert!(cli.ok(&["audit", "store"]).contains("pending"));
    cli.ok(&["erase", "store", "--user", "ada", "--class", "audio", "--yes"]);
    assert!(!cli.ok(&["status", "store"]).contains("pending until"));
    cli.put("ada", "audio", b"x");
    let told = cli.ok(&[
        "policy",
        "set",
        "store",
        "--class",
        "audio",
        "--max-age",
        "90d",
        "--readers-named",
    ]);
    assert_eq!(
        told,
        "policy of the store, for all users: class audio: at most 90d, opened only for named readers"
    );
    assert!(cli.ok(&["policy", "list", "store"]).contains("90d"));
    assert!(cli.ok(&["tend", "store"]).contains("next due"));
    let audio = cli.put("ada", "audio", b"x");
    cli.fails(6, &["get", "store", &audio]);
    cli.ok(&["get", "store", &audio, "--as", "analyst", "--purpose", "to repair"]);
    cli.ok(&["export", "store", "--user", "ada", "out"]);
    let told = cli.ok(&[
        "policy",
        "set",
        "store",
        "--user",
        "ada",
        "--class",
        "audio",
        "--max-records",
        "1",
        "--yes",
    ]);
    assert!(told.contains("1 record passed it"), "{told}");
    cli.ok(&["policy", "unset", "store", "--user", "ada", "--class", "audio"]);
    cli.fails(4, &["policy", "unset", "store", "--user", "ada", "--class", "audio"]);
}
