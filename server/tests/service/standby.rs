//! Two services over one store: one serves it, the other one waits, and takes over.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyfall::Builder;
use keyfall::env::System;
use keyfall::quorum::Member;
use keyfall::quorum::net::{EngineKey, KeyholderDir, Server};

use super::certificates::wait_for;
use super::kit::Service;
use super::places::places;
use super::stop::acknowledged;
use super::tls::text;

/// Three keyholders in this process, that know the engine whose key is in the cell's directory.
fn keyholders(dir: &Path, cell: &Path) -> Vec<Member> {
    std::fs::create_dir_all(cell).unwrap();
    let engine = EngineKey::in_dir(cell, &System).unwrap().id();
    let one = |n: u32| {
        let at = dir.join(format!("keyholder {n}"));
        let keyholder = KeyholderDir::create(&at, true, &System).unwrap();
        KeyholderDir::allow(&at, engine, None).unwrap();
        let key = keyholder.id().to_string();
        let server = Server::bind(keyholder, "127.0.0.1:0", Arc::new(System)).unwrap();
        let address = server.address().unwrap().to_string();
        std::thread::spawn(move || server.run(&|_| {}));
        Member { key, address }
    };
    (0..3).map(one).collect()
}

/// A store on a directory of objects, whose root key is spread over keyholders, and how it is opened.
fn made(dir: &Path) -> (String, Builder) {
    let store = format!("file://{}/objects", dir.display());
    let members = keyholders(dir, &dir.join("cell"));
    let builder = Builder::at(&store).cell_at(dir.join("cell")).keyholders(members, (2, 1));
    builder.create().unwrap().close().unwrap();
    (store, builder)
}

/// A machine: its cell, its files, and the token that both machines know.
fn service(dir: &Path, name: &str, store: &str, more: &[&str]) -> Service {
    let (own, cell) = (dir.join(name), dir.join(name).join("cell"));
    std::fs::create_dir_all(&own).unwrap();
    if !cell.exists() {
        let copied = Command::new("cp").arg("-a").args([&dir.join("cell"), &cell]).status();
        assert!(copied.unwrap().success());
    }
    std::fs::write(own.join("token"), "a token of more than twenty characters").unwrap();
    let arguments = ["--cell", text(&cell), "--beat", "200ms"];
    Service::at(&own, store, &[&arguments[..], more].concat())
}

const WAITS: [&str; 3] = ["--standby", "--gone-after", "1s"];

/// Waits until readiness says something, and gives the status.
fn waits_for(service: &Service, wanted: &str) -> u16 {
    loop {
        let ready = service.ask("GET", "/readyz").send();
        if ready.text().contains(wanted) {
            return ready.status;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_second_service_waits_and_serves_once_the_first_is_gone() {
    let objects = tempfile::tempdir().unwrap();
    for store in places(objects.path()) {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let members = keyholders(dir, &dir.join("cell"));
        let builder = Builder::at(&store).cell_at(dir.join("cell")).keyholders(members, (2, 1));
        builder.create().unwrap().close().unwrap();
        let first = service(dir, "one", &store, &[]);
        let mut second = service(dir, "two", &store, &WAITS);
        assert!(!first.waits && second.waits);
        let ada = first.user("ada");
        let (kept, gone) = (first.put(&ada, "audio", b"kept"), first.put(&ada, "audio", b"gone"));
        let erase = format!("{{\"scope\":{{\"record\":\"{gone}\"}}}}");
        assert_eq!(first.admin("POST", "/v1/erasures").json(&erase).status, 200);
        assert_eq!(waits_for(&second, "another one serves the store"), 503);
        let ready = second.ask("GET", "/readyz").send();
        assert_eq!(ready.header("retry-after"), Some("5"));
        assert_eq!(ready.json()["ready"], false);
        assert_eq!(second.ask("GET", "/healthz").send().status, 200);
        let asked = second.admin("GET", &format!("/v1/records/{kept}")).send();
        assert_eq!((asked.status, asked.kind()), (503, "locked".to_owned()));

        let count = Arc::new(AtomicUsize::new(0));
        let putting = {
            let (address, token, ada) = (first.address.clone(), first.token.clone(), ada.clone());
            let count = Arc::clone(&count);
            std::thread::spawn(move || acknowledged(&address, &token, &ada, &count))
        };
        wait_for("puts are answered", || count.load(Ordering::SeqCst) > 3);
        first.signal("-KILL");
        let killed = Instant::now();
        let line = second.says();
        println!("{store}: killed, and taken over {:?} later", killed.elapsed());
        assert_eq!(line, format!("listening on http://{}", second.address), "{}", second.log());
        assert_eq!(second.ask("GET", "/readyz").send().status, 200);
        let mut put = putting.join().unwrap();
        assert!(put.len() > 3, "{}", put.len());
        put.push(kept);
        for id in &put {
            let read = second.admin("GET", &format!("/v1/records/{id}")).send();
            assert_eq!(read.status, 200, "{store}: {id} was acknowledged");
        }
        let read = second.admin("GET", &format!("/v1/records/{gone}")).send();
        assert_eq!(read.status, 410, "{store}");
        second.put(&ada, "audio", b"by the second");
        drop(first);
        stopped_and_replaced(dir, &store, second, &put[0]);
    }
}

/// The one that is stopped is replaced, and ends once it goes on, so that it is started again.
fn stopped_and_replaced(dir: &Path, store: &str, mut second: Service, id: &str) {
    let mut first = service(dir, "one", store, &WAITS);
    assert!(first.waits);
    assert_eq!(waits_for(&first, "another one serves the store"), 503);
    second.signal("-STOP");
    assert!(first.says().starts_with("listening on "), "{}", first.log());
    let erase = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
    assert_eq!(first.admin("POST", "/v1/erasures").json(&erase).status, 200);
    second.signal("-CONT");
    let path = format!("/v1/records/{id}");
    if let Ok(mut stream) = std::net::TcpStream::connect(&second.address) {
        use std::io::{Read, Write};
        let token = &second.token;
        let asked = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        let mut said = String::new();
        let _ = stream.write_all(asked.as_bytes());
        let _ = stream.read_to_string(&mut said);
        assert!(!said.contains(" 200 "), "{store}: the one before reads what was erased: {said}");
    }
    assert!(!second.child.wait().unwrap().success(), "it ends by itself");
    assert!(second.log().contains("another service has taken the store over"), "{}", second.log());
    assert_eq!(first.admin("GET", &path).send().status, 410);
}

/// One that never saw a sign of life says that it never takes over, and ends when it is told to.
#[test]
fn without_signs_of_life_a_standby_says_that_it_never_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (store, _) = made(dir);
    let mut standby = service(dir, "two", &store, &WAITS);
    assert_eq!(waits_for(&standby, "never takes over"), 503);
    standby.signal("-TERM");
    assert!(standby.child.wait().unwrap().success(), "{}", standby.log());
    let state = dir.join("two/cell.service");
    assert!(!state.exists(), "it has made nothing");
}

/// A program on another machine does not take the store from a service by mistake; where it is told
/// to, the service ends, though it never stood by.
#[test]
fn a_store_is_taken_on_purpose_alone_and_its_service_ends_then() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (store, builder) = made(dir);
    let mut first = service(dir, "one", &store, &[]);
    let id = first.put(&first.user("ada"), "audio", b"kept");
    // Its cell's directory is another machine's, as this process' is.
    let refused = builder.open().unwrap_err();
    assert_eq!(refused.kind(), keyfall::ErrorKind::Locked, "{refused}");
    assert_eq!(first.admin("GET", &format!("/v1/records/{id}")).send().status, 200);
    let _taken = builder.clone().take_over().open().unwrap();
    assert!(!first.child.wait().unwrap().success(), "it ends by itself");
    assert!(first.log().contains("another service has taken the store over"), "{}", first.log());
}

/// A token of its own would keep out whoever knows the first service's.
#[test]
fn a_standby_without_the_admins_token_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (store, _) = made(dir);
    let token = dir.join("token");
    let mut standby = Command::new(env!("CARGO_BIN_EXE_keyfalld"))
        .args(["--store", &store, "--cell", text(&dir.join("cell")), "--standby"])
        .args(["--listen", "127.0.0.1:0", "--admin-token-file", text(&token)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(standby.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("standing by on "), "{line}");
    standby.kill().unwrap();
    let log = standby.wait_with_output().unwrap().stderr;
    let said = format!("{} is not there", token.display());
    assert!(String::from_utf8(log).unwrap().contains(&said), "{said}");
    assert!(!token.exists());
}
