//! `keyfall realm`, and the commands that take a realm as their store.

use crate::command_line::{Cli, json};

fn realm() -> Cli {
    let cli = Cli::empty();
    cli.ok(&["realm", "init", "home", "--shards", "4", "--accept-remnants"]);
    std::fs::write(cli.path("clip"), "RIFF").unwrap();
    cli
}

fn one_line(stderr: &str) {
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
}

const NAMES: [&str; 6] = ["ada", "ben", "chloe", "dora", "{home-1}eve", "{home-1}fay"];

/// A recording of each user.
struct Recorded {
    name: String,
    shard: String,
    id: String,
}

/// Recordings of `NAMES`, and of guests until two shards have some: which shard a user is in hangs
/// on a random key, and six users can be in one.
fn recorded(cli: &Cli) -> Vec<Recorded> {
    let guests = (0..64).map(|n| format!("guest {n}"));
    let mut all: Vec<Recorded> = Vec::new();
    for name in NAMES.map(String::from).into_iter().chain(guests) {
        if all.len() >= NAMES.len() && all.iter().any(|one| one.shard != all[0].shard) {
            break;
        }
        let id = cli.ok(&["put", "home", "--user", &name, "--class", "audio", "clip"]);
        let shard = cli.ok(&["realm", "find", "home", "--user", &name]);
        all.push(Recorded { name, shard, id });
    }
    all
}

#[test]
fn a_realm_is_taken_as_a_store() {
    let cli = realm();
    for name in NAMES {
        cli.ok(&["create", "home", "--user", name]);
    }
    let records = recorded(&cli);
    for Recorded { name, shard, id } in &records {
        assert_eq!(cli.ok(&["get", "home", id]), "RIFF");
        assert_eq!(json(&cli.ok(&["info", "home", id, "--json"]))["user"], **name);
        let listed = json(&cli.ok(&["list", "home", "--user", name, "--json"]));
        assert_eq!(listed.as_array().unwrap().len(), 1);
        assert!(cli.ok(&["report", "home", "--user", name]).contains(id));
        assert_eq!(cli.ok(&["realm", "find", "home", "--record", id]), *shard);
        // A shard is a store, for the commands that take one.
        assert!(cli.ok(&["list", shard, "--user", name]).contains(id));
        cli.ok(&["hold", "list", shard, "--user", name]);
    }
    assert_eq!(records[4].shard, records[5].shard, "one household");
    let all = json(&cli.ok(&["list", "home", "--json"]));
    assert_eq!(all.as_array().unwrap().len(), records.len());
    assert_eq!(
        json(&cli.ok(&["list", "home", "--json", "--limit", "4"])).as_array().unwrap().len(),
        4
    );
    let told = cli.ok(&["erase", "home", "--user", "ada", "--yes"]);
    assert!(told.contains("erased everything of user ada: 1 record"), "{told}");
    cli.fails(3, &["list", "home", "--user", "ada"]);
    cli.ok(&["erase", "home", "--user", "ben", "--yes", "-o", "ben.erased"]);
    cli.ok(&["certificate", "show", "ben.erased"]);
    let audits = json(&cli.ok(&["audit", "home", "--json", "--metrics-file", "audit.prom"]));
    let shards = audits["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 4);
    assert!(shards.iter().all(|audit| audit["audit"]["clean"] == true), "{audits}");
    assert_eq!(
        (&audits["clean"], &audits["verdict"]),
        (&true.into(), &"4 of 4 shards are clean".into())
    );
    assert!(cli.path("audit.prom").exists());
    let told = cli.ok(&["audit", "home"]);
    let each = told.lines().filter(|line| line.contains("/shard-00") && line.contains(": clean: "));
    assert_eq!(each.count(), 4, "{told}");
    assert!(told.trim_end().ends_with("realm home: 4 of 4 shards are clean"), "{told}");
}

#[test]
fn what_a_realm_cannot_be_is_said_in_one_line() {
    let cli = realm();
    let id = cli.ok(&["put", "home", "--user", "ada", "--class", "audio", "clip"]);
    let near = cli.ok(&["realm", "find", "home", "--user", "ada"]);
    let far = ["ben", "chloe", "dora", "eve", "fay", "gus", "hal"]
        .into_iter()
        .find(|name| cli.ok(&["realm", "find", "home", "--user", name]) != near)
        .unwrap();
    let derive = ["put", "home", "--user", far, "--class", "transcript", "--from", &id, "clip"];
    let e = cli.fails(6, &derive);
    one_line(&e);
    assert!(e.contains(&near) && e.contains("{GROUP}NAME"), "{e}");
    let e = cli.fails(2, &["status", "home"]);
    one_line(&e);
    assert!(e.contains("`keyfall realm find home --user U`"), "{e}");
    one_line(&cli.fails(2, &["backup", "home", "backup"]));
    one_line(&cli.fails(2, &["list", "home", "--cell", "elsewhere"]));
    let e = cli.fails(6, &["put", &near, "--user", far, "--class", "audio", "clip"]);
    one_line(&e);
    assert!(e.contains("name the realm's directory"), "{e}");
    one_line(&cli.fails(6, &["erase", &near, "--user", far, "--yes"]));
    let e = cli.fails(1, &["realm", "init", "home", "--shards", "4"]);
    one_line(&e);
    assert!(e.contains("already; open it"), "{e}");
    one_line(&cli.fails(2, &["realm", "init", "other", "--shards", "0"]));
    let e = cli.fails(4, &["realm", "status", "nowhere"]);
    one_line(&e);
    assert!(e.contains("`keyfall realm init nowhere`"), "{e}");
}

#[test]
fn a_missing_shard_is_told_and_keeps_nobody_else_waiting() {
    let cli = realm();
    let ids: Vec<(String, String)> =
        recorded(&cli).into_iter().map(|one| (one.shard, one.id)).collect();
    let (gone, _) = ids[0].clone();
    let (place, aside) = (cli.path(&gone), cli.path("aside"));
    std::fs::rename(&place, &aside).unwrap();
    let e = cli.fails(4, &["realm", "status", "home"]);
    one_line(&e);
    assert!(e.contains("1 of 4 shards") && e.contains(&gone), "{e}");
    let out = cli.run(&["realm", "status", "home", "--json"]);
    let status = json(&String::from_utf8(out.stdout).unwrap());
    let opens = status["shards"].as_array().unwrap().iter().filter(|s| s["opens"] == true);
    assert_eq!(opens.count(), 3);
    for (shard, id) in &ids {
        if *shard == gone {
            one_line(&cli.fails(4, &["get", "home", id]));
            one_line(&cli.fails(4, &["erase", "home", "--record", id, "--yes"]));
        } else {
            assert_eq!(cli.ok(&["get", "home", id]), "RIFF");
        }
    }
    one_line(&cli.fails(4, &["list", "home"]));
    // Another shard in its place, with its cell beside: refused. As it was: all is there.
    let other = ids.iter().map(|(shard, _)| shard).find(|shard| **shard != gone).unwrap();
    let exchange = |from: &str, to: &str| {
        for end in ["", ".cell"] {
            let path = |name: &str| cli.path(&format!("{name}{end}"));
            std::fs::rename(path(from), path(to)).unwrap();
        }
    };
    std::fs::rename(&aside, &place).unwrap();
    exchange(&gone, "aside");
    exchange(other, &gone);
    exchange("aside", other);
    for (_, id) in &ids[..1] {
        let e = cli.fails(6, &["get", "home", id]);
        one_line(&e);
        assert!(e.contains("two shards were exchanged; put each back in its place"), "{e}");
    }
    exchange(other, "aside");
    exchange(&gone, other);
    exchange("aside", &gone);
    // The stores alone: a realm takes no `--cell`, which was all that was said.
    let alone = |from: &str, to: &str| std::fs::rename(cli.path(from), cli.path(to)).unwrap();
    alone(&gone, "aside");
    alone(other, &gone);
    alone("aside", other);
    let e = cli.fails(6, &["get", "home", &ids[0].1]);
    one_line(&e);
    assert!(e.contains("were exchanged; put each back in its place"), "{e}");
    assert!(!e.contains("--cell"), "{e}");
    alone(other, "aside");
    alone(&gone, other);
    alone("aside", &gone);
    for (_, id) in &ids {
        cli.ok(&["get", "home", id]);
    }
    cli.ok(&["realm", "status", "home"]);
}

/// Of a copy that is gone, or too old, nothing can be restored: the number of copies alone said the
/// same of it as of a good one.
#[test]
fn the_status_of_a_realm_counts_the_copies_that_restore() {
    let cli = realm();
    for copy in ["good", "gone"] {
        cli.ok(&["copy", "add", "home/shard-000", copy]);
    }
    let counts = || {
        let status = json(&cli.ok(&["realm", "status", "home", "--json"]));
        let shard = &status["shards"][0];
        (shard["copies"].as_u64(), shard["copies_that_restore"].as_u64())
    };
    assert_eq!(counts(), (Some(2), Some(2)));
    std::fs::rename(cli.path("gone"), cli.path("aside")).unwrap();
    assert_eq!(counts(), (Some(2), Some(1)));
    let said = cli.ok(&["realm", "status", "home"]);
    assert!(said.contains("2, 1 restore"), "{said}");
    std::fs::rename(cli.path("aside"), cli.path("gone")).unwrap();
    assert_eq!(counts(), (Some(2), Some(2)));
}

/// Two processes have one realm: a shard is open in one of them at a time.
#[test]
fn a_shard_is_open_in_one_process_at_a_time() {
    let cli = realm();
    let names: Vec<String> = (0..12).map(|n| format!("user {n}")).collect();
    let held = cli.ok(&["realm", "find", "home", "--user", &names[0]]);
    let realm = keyfall::realm::Realm::open(cli.path("home")).unwrap();
    let number = realm.shard_of(&crate::support::user(&names[0])).unwrap().number;
    realm.close().unwrap();
    let realm = keyfall::realm::Realm::open(cli.path("home")).unwrap();
    let engine = realm.engine_at(number).unwrap();
    let mut others = 0;
    for name in &names {
        let args = ["put", "home", "--user", name, "--class", "audio", "clip"];
        if cli.ok(&["realm", "find", "home", "--user", name]) == held {
            let e = cli.fails(8, &args);
            one_line(&e);
            assert!(e.contains("is in use"), "{e}");
        } else {
            cli.ok(&args);
            others += 1;
        }
    }
    assert!(others > 3);
    assert!(engine.read_only().is_none());
}

#[test]
fn shards_and_cells_elsewhere() {
    let cli = Cli::empty();
    let init = ["realm", "init", "home", "--shards", "2", "--accept-remnants"];
    cli.ok(&[&init[..], &["--at", "far", "--cells", "keys", "--log-origin", "log.example/home"]]
        .concat());
    assert!(cli.path("far/shard-001").is_dir() && cli.path("keys/shard-001.cell").is_dir());
    std::fs::write(cli.path("clip"), "RIFF").unwrap();
    let id = cli.ok(&["put", "home", "--user", "ada", "--class", "audio", "clip"]);
    cli.ok(&["erase", "home", "--record", &id, "--yes", "-o", "cert"]);
    let number: usize =
        json(&cli.ok(&["realm", "find", "home", "--user", "ada", "--json"]))["shard"]
            .as_u64()
            .unwrap()
            .try_into()
            .unwrap();
    let signed = std::fs::read_to_string(cli.path("cert")).unwrap();
    assert!(signed.contains(&format!("log.example/home/{number}")), "{signed}");
    assert!(cli.ok(&["audit", "home"]).contains("clean"));
}

/// The answer was to restore a copy there, with the cell of the shard that lives elsewhere.
#[test]
fn a_shard_that_is_named_in_its_realm_and_lies_elsewhere_is_found() {
    let cli = Cli::empty();
    let stores = cli.path("stores").display().to_string();
    cli.ok(&["realm", "init", "home", "--shards", "2", "--at", &stores, "--accept-remnants"]);
    for args in [&["copy", "add", "home/shard-001", "copy"][..], &["status", "home/shard-001"]] {
        let e = cli.fails(2, args);
        one_line(&e);
        assert!(!e.contains("restore"), "{e}");
        // What is to be typed works, with no cell where the store says which is its own.
        let typed: Vec<&str> =
            e.trim_end().split_once("name it as ").unwrap().1.split(' ').collect();
        assert_eq!(typed[0], format!("{stores}/shard-001"), "{e}");
        cli.ok(&[&["status"], &typed[..]].concat());
    }
}

/// Where shards lie elsewhere, the place of one in the realm's directory is no place for a store;
/// the others are shown where one does not open; and what helps is not an option that a realm does
/// not take.
#[test]
fn what_is_said_of_shards_elsewhere_leads_to_them() {
    let cli = Cli::empty();
    let init = ["realm", "init", "home", "--shards", "2", "--accept-remnants"];
    cli.ok(&[&init[..], &["--at", "far", "--cells", "keys"]].concat());
    std::fs::write(cli.path("clip"), "RIFF").unwrap();
    let ids: Vec<(bool, String)> =
        recorded(&cli).into_iter().map(|one| (one.shard.ends_with("shard-001"), one.id)).collect();
    let e = cli.fails(2, &["copy", "add", "home/shard-000", "replica"]);
    one_line(&e);
    assert!(e.contains("name it as ") && !e.contains("keyfall init"), "{e}");
    let shown = cli.ok(&["realm", "status", "home"]);
    assert!(shown.contains("CELL") && shown.contains("keys/shard-001.cell"), "{shown}");
    let (cell, aside) = (cli.path("keys/shard-001.cell"), cli.path("aside"));
    std::fs::rename(&cell, &aside).unwrap();
    for args in [&["realm", "status", "home"][..], &["list", "home"]] {
        let e = cli.fails(4, args);
        one_line(&e);
        assert!(e.contains("1 of 2 shards") && e.contains("put it back there"), "{e}");
        assert!(!e.contains("--cell"), "{e}");
    }
    let out = cli.run(&["list", "home"]);
    let listed = String::from_utf8(out.stdout).unwrap();
    for (gone, id) in &ids {
        assert_eq!(listed.contains(id), !*gone, "{listed}");
    }
    std::fs::rename(&aside, &cell).unwrap();
    let listed = cli.ok(&["list", "home"]);
    assert!(ids.iter().all(|(_, id)| listed.contains(id)), "{listed}");
}
