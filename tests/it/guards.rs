//! Before an act that cannot be undone, input is read strictly, and the program says what will
//! fall. SPEC §3, §6.4.

use std::time::Duration;

use crate::command_line::{Cli, json};

#[test]
fn a_time_of_day_without_a_zone_is_refused_by_every_option() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"now");
    cli.ok(&["key", "a.key"]);
    for time in [
        "2020-11-26T23:59:59",
        "2020-11-26 23:59",
        "20201126",
        "2020-11",
        "yesterday",
        "2020-02-30",
        "1600000000",
    ] {
        for args in [
            &["erase", "store", "--user", "ada", "--yes", "--after", time][..],
            &["erase", "store", "--user", "ada", "--yes", "--before", time],
            &["list", "store", "--after", time],
            &["list", "store", "--before", time],
            &["policy", "set", "store", "--class", "audio", "--yes", "--until", time],
            &[
                "grant",
                "add",
                "store",
                "--to",
                "a.key.pub",
                "--name",
                "n",
                "--user",
                "ada",
                "--purpose",
                "p",
                "--until",
                time,
            ],
        ] {
            cli.fails(2, args);
        }
    }
    let e = cli
        .fails(2, &["erase", "store", "--user", "ada", "--after", "2020-11-26T23:59:59", "--yes"]);
    assert!(e.contains("2020-11-26T23:59:59Z"), "it says how to write it: {e}");
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"now");
    for before in [
        "2020-11-26",
        "2020-11-26T23:59:59Z",
        "2020-11-26T23:59:59+01:00",
        "2020-11-26T23:59:59[Europe/Berlin]",
    ] {
        cli.ok(&["erase", "store", "--user", "ada", "--before", before, "--yes"]);
    }
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"now");
}

#[test]
fn a_length_of_time_that_can_be_meant_in_two_ways_is_refused() {
    let cli = Cli::new();
    let id = cli.put("ada", "audio", b"now");
    for span in ["6m", "1h 6m", "1h6m", "6 m", "6M", "6mo", "1y", "-1d", "soon"] {
        for args in [
            &["policy", "set", "store", "--class", "audio", "--yes", "--max-age", span][..],
            &["erase", "store", "--user", "ada", "--yes", "--in", span],
            &["erase", "store", "--user", "ada", "--yes", "--final-within", span],
        ] {
            cli.fails(2, args);
        }
    }
    let e =
        cli.fails(2, &["policy", "set", "store", "--class", "audio", "--max-age", "6m", "--yes"]);
    assert!(e.contains("min") && e.contains("mo"), "{e}");
    assert_eq!(cli.run(&["get", "store", &id]).stdout, b"now");
    for span in ["6min", "1h6min", "PT6M", "P1DT6M", "6 minutes", "2w", "90d"] {
        cli.ok(&["policy", "set", "store", "--class", "audio", "--max-age", span]);
    }
    let shown = cli.ok(&["policy", "set", "store", "--class", "audio", "--max-age", "90min"]);
    assert!(shown.contains("class audio: at most 1h30min\n"), "as it can be typed: {shown}");
}

#[test]
fn a_policy_asks_where_records_fall_at_once() {
    let cli = Cli::new();
    let ids: Vec<_> = (0..3).map(|_| cli.put("ada", "audio", b"x")).collect();
    cli.put("ben", "audio", b"x");
    std::thread::sleep(Duration::from_millis(1100));
    for limit in [["--max-age", "1s"], ["--until", "2020-01-01"]] {
        let e =
            cli.fails(2, &[&["policy", "set", "store", "--class", "audio"][..], &limit].concat());
        assert!(e.contains("4 records") && e.contains("--yes"), "{e}");
        let e = cli.fails(
            2,
            &[&["policy", "set", "store", "--class", "audio", "--user", "ada"][..], &limit]
                .concat(),
        );
        assert!(e.contains("3 records"), "{e}");
    }
    let e = cli.fails(2, &["policy", "set", "store", "--class", "audio", "--max-records", "1"]);
    assert!(e.contains("2 records"), "{e}");
    // A user's own policy stands in the place of the store's.
    cli.ok(&["policy", "set", "store", "--class", "audio", "--user", "ada", "--max-age", "90d"]);
    let e = cli.fails(2, &["policy", "set", "store", "--class", "audio", "--max-age", "1s"]);
    assert!(e.contains("1 record "), "{e}");
    let told = json(&cli.ok(&[
        "policy",
        "set",
        "store",
        "--class",
        "audio",
        "--max-age",
        "1s",
        "--yes",
        "--json",
    ]));
    assert_eq!(told["expired"], 1);
    assert_eq!(cli.run(&["get", "store", &ids[0]]).stdout, b"x");
    // And taking it back lets the store's fall upon her.
    let e = cli.fails(2, &["policy", "unset", "store", "--class", "audio", "--user", "ada"]);
    assert!(e.contains("3 records"), "{e}");
    assert_eq!(cli.run(&["get", "store", &ids[0]]).stdout, b"x");
    cli.ok(&["policy", "unset", "store", "--class", "audio", "--user", "ada", "--yes"]);
    cli.ok(&["tend", "store"]);
    cli.fails(3, &["get", "store", &ids[0]]);
    // Nothing falls: nothing is asked.
    cli.ok(&["policy", "set", "store", "--class", "transcript", "--max-age", "1s"]);
}

#[test]
fn every_command_says_what_it_erased_since_it_was_due() {
    let cli = Cli::new();
    let goes = cli.put("ada", "audio", b"x");
    cli.put("ben", "audio", b"x");
    cli.put("cleo", "audio", b"x");
    cli.ok(&["erase", "store", "--record", &goes, "--in", "1s", "--yes"]);
    std::thread::sleep(Duration::from_millis(1100));
    // A command that only reads does nothing, and says that something is due.
    for look in [
        &["list", "store"][..],
        &["status", "store"],
        &["get", "store", &goes],
        &["report", "store", "--user", "ada"],
    ] {
        let out = cli.run(look);
        let e = String::from_utf8(out.stderr).unwrap();
        assert!(
            out.status.success()
                && e.contains("due or pending in store; `keyfall tend store`")
                && e.lines().count() == 1,
            "{e}"
        );
    }
    let out = cli.run(&["create", "store", "--user", "dora"]);
    let e = String::from_utf8(out.stderr).unwrap();
    assert!(
        out.status.success() && e.contains("1 planned erase done") && e.lines().count() == 1,
        "{e}"
    );
    assert!(cli.run(&["list", "store"]).stderr.is_empty(), "once");
    cli.ok(&["erase", "store", "--user", "ben", "--in", "1s", "--yes"]);
    std::thread::sleep(Duration::from_millis(1100));
    let out = cli.run(&["tend", "store", "--json"]);
    assert_eq!(json(&String::from_utf8(out.stdout).unwrap())["planned"], 1);
    cli.ok(&["erase", "store", "--user", "cleo", "--in", "1s", "--yes"]);
    std::thread::sleep(Duration::from_millis(1100));
    let out = cli.run(&["create", "store", "--user", "eve", "--json"]);
    assert_eq!(json(&String::from_utf8(out.stderr).unwrap())["tended"]["planned"], 1);
}
