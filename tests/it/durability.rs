//! The order of writes and syncs as the kernel sees them: nothing is acknowledged or destroyed
//! before what it depends on is synced. Needs strace; without it the test says that it was skipped.
//! SPEC §6, §9.

use std::process::Command;

use crate::command_line::Cli;
use crate::support::has_strace;

/// A system call on a file, in order.
#[derive(Debug)]
struct Call {
    name: String,
    line: String,
}

/// Runs the program under strace and returns its calls.
fn traced(cli: &Cli, args: &[&str]) -> Option<Vec<Call>> {
    if !has_strace() {
        return None;
    }
    let trace = cli.path("trace");
    let calls = "trace=pwrite64,write,fdatasync,fsync,fallocate,unlink,unlinkat";
    let out = Command::new("strace")
        .args(["-f", "-y", "-s", "16", "-e", calls, "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_keyfall"))
        .args(args)
        .current_dir(cli.dir.path())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = std::fs::read_to_string(&trace).unwrap();
    let parse = |line: &str| {
        let call = line.split_once(' ')?.1.trim_start();
        let name = call.split('(').next()?.to_owned();
        Some(Call { name, line: call.to_owned() })
    };
    Some(text.lines().filter_map(parse).collect())
}

/// Where the first call of this name on a path with this part stands, from `from` on.
fn find(calls: &[Call], from: usize, name: &str, part: &str) -> usize {
    calls[from..]
        .iter()
        .position(|c| c.name == name && c.line.contains(part))
        .map(|at| at + from)
        .unwrap_or_else(|| panic!("no {name} on {part} behind call {from}: {calls:#?}"))
}

fn last(calls: &[Call], name: &str, part: &str) -> usize {
    calls.iter().rposition(|c| c.name == name && c.line.contains(part)).unwrap()
}

/// Where the answer goes out.
fn answer(calls: &[Call]) -> usize {
    calls.iter().position(|c| c.name == "write" && c.line.starts_with("write(1<")).unwrap()
}

#[test]
fn a_put_is_synced_on_every_copy_in_step_before_it_is_acknowledged() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"first");
    cli.ok(&["copy", "add", "store", "replica"]);
    std::fs::write(cli.path("wake.wav"), [7; 300_000]).unwrap();
    let Some(calls) =
        traced(&cli, &["put", "store", "--user", "ada", "--class", "audio", "wake.wav"])
    else {
        return;
    };
    let told = answer(&calls);
    // Closing syncs too, so look just after the commit itself: the copy is written to only when the
    // store is synced.
    let to_copy = find(&calls, 0, "pwrite64", "/replica/log/");
    let to_store = calls[..to_copy]
        .iter()
        .rposition(|c| c.name == "pwrite64" && c.line.contains("/store/log/"))
        .unwrap();
    assert!(find(&calls, to_store, "fdatasync", "/store/log/") < to_copy, "{calls:#?}");
    for log in ["/store/log/", "/replica/log/"] {
        let written = calls[..told]
            .iter()
            .rposition(|c| c.name == "pwrite64" && c.line.contains(log))
            .unwrap();
        let synced = find(&calls, written, "fdatasync", log);
        assert!(synced < told, "acknowledged before {log} was synced: {calls:#?}");
    }
}

#[test]
fn an_erase_deposits_publishes_copies_and_only_then_destroys() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"first");
    cli.ok(&["copy", "add", "store", "replica"]);
    let Some(calls) = traced(&cli, &["erase", "store", "--user", "ada", "--yes"]) else { return };
    // Opening destroys once more what an earlier process may have failed to sync.
    let opening = find(&calls, 0, "pwrite64", "/slot-");
    let deposit = find(&calls, opening + 1, "pwrite64", "/slot-");
    let deposited = find(&calls, deposit, "fdatasync", "/slot-");
    let publish = find(&calls, deposited, "pwrite64", "/store/log/");
    assert!(
        !calls[opening..deposited].iter().any(|c| c.name == "pwrite64" && c.line.contains("/log/")),
        "published too early"
    );
    let published = find(&calls, publish, "fdatasync", "/store/log/");
    let copy = find(&calls, published, "pwrite64", "/replica/log/");
    let copied = find(&calls, copy, "fdatasync", "/replica/log/");
    let retire = find(&calls, deposited + 1, "pwrite64", "/slot-");
    assert!(retire > copied, "destroyed before the new pages were durable: {calls:#?}");
    let retired = find(&calls, retire, "fdatasync", "/slot-");
    let slot = |at: usize| calls[at].line.split("/slot-").nth(1).unwrap().chars().next();
    assert_ne!(slot(deposit), slot(retire), "the old slot is overwritten, not the new one");
    assert!(retired < answer(&calls), "acknowledged before the old root key was destroyed");
    assert_eq!(
        calls.iter().filter(|c| c.name == "pwrite64" && c.line.contains("/slot-")).count(),
        3
    );
}

#[test]
fn the_index_is_synced_before_bytes_are_given_back() {
    let cli = Cli::new();
    std::fs::write(cli.path("wake.wav"), [7; 300_000]).unwrap();
    cli.ok(&["put", "store", "--user", "ada", "--class", "audio", "wake.wav"]);
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    let Some(calls) = traced(&cli, &["discard", "store"]) else { return };
    let punched = find(&calls, 0, "fallocate", "/store/log/");
    let forgot = calls[..punched]
        .iter()
        .rposition(|c| c.name == "pwrite64" && c.line.contains("/index/"))
        .unwrap();
    let synced = find(&calls, forgot, "fsync", "/index/db");
    assert!(synced < punched, "sled's flush is no barrier: {calls:#?}");
    // And at closing: what sled wrote last is synced.
    let closing = last(&calls, "pwrite64", "/index/db");
    assert!(last(&calls, "fsync", "/index/db") > closing || closing < punched, "{calls:#?}");
}
