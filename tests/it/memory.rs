//! A recording of 1 GiB goes in and out in less than 64 MiB above the empty engine. SPEC §4.4,
//! §5.5.

use std::io::{Read, Write};
use std::process::{Child, Stdio};

use crate::command_line::Cli;
use crate::support::bytes;

const LIMIT_KIB: u64 = 64 * 1024;
const BLOCK: usize = 1 << 20;

/// The most memory that a running process had resident, KiB.
fn peak(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_gibibyte_streams_through() {
    let cli = Cli::new();
    let block = bytes(7, BLOCK);
    let mut child = cli
        .command(&["put", "store", "--user", "ada", "--class", "audio", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // With a byte in hand and no more to come the engine is open and waits.
    stdin.write_all(&block[..1]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let empty = peak(&child);
    stdin.write_all(&block[1..]).unwrap();
    for n in 1..1024u32 {
        stdin.write_all(&n.to_be_bytes()).unwrap();
        stdin.write_all(&block[4..]).unwrap();
    }
    stdin.flush().unwrap();
    let put = peak(&child);
    drop(stdin);
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    let id = String::from_utf8(out.stdout).unwrap();

    let mut child =
        cli.command(&["get", "store", id.trim()]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut back = vec![0; BLOCK];
    for n in 0..1023u32 {
        stdout.read_exact(&mut back).unwrap();
        assert!(back[4..] == block[4..] && (n == 0 || back[..4] == n.to_be_bytes()), "block {n}");
    }
    let get = peak(&child);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), BLOCK);
    assert!(child.wait().unwrap().success());
    println!("empty {empty} KiB, put {put} KiB, get {get} KiB");
    assert!(
        put < empty + LIMIT_KIB && get < empty + LIMIT_KIB,
        "empty {empty} KiB, put {put} KiB, get {get} KiB"
    );
}
