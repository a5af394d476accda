//! How the service stops.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::certificates::wait_for;
use super::kit::{Reply, Service};

#[test]
fn an_upload_that_its_client_left_keeps_the_service_from_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..6 {
        let mut service = Service::over(dir.path(), &[]);
        let ada = service.user("ada");
        let path = format!("/v1/users/{ada}/uploads");
        let begun = service
            .admin("POST", &path)
            .header("Tus-Resumable", "1.0.0")
            .header("Upload-Length", "3000000")
            .header("Keyfall-Class", "audio")
            .send();
        let at = begun.header("location").unwrap();
        let mut stream = TcpStream::connect(&service.address).unwrap();
        let head = format!(
            "PATCH {at} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
             Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\n\
             Upload-Offset: 0\r\nContent-Length: 3000000\r\n\r\n",
            service.token
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![7; 400_000]).unwrap();
        std::thread::sleep(Duration::from_millis(round * 11));
        drop(stream);
        service.signal("-TERM");
        assert!(service.child.wait().unwrap().success(), "{}", service.log());
    }
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(!log.contains("without closing") && !log.contains("still open"), "{log}");
}

/// A file beside the store remembers where the cell is.
#[test]
fn a_store_whose_cell_lies_elsewhere_is_ready_after_a_start_that_does_not_name_it() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    let mut service = Service::over(dir.path(), &["--cell", elsewhere.to_str().unwrap()]);
    for _ in 0..2 {
        let ready = service.ask("GET", "/readyz").send();
        assert_eq!(ready.status, 200, "{}", ready.text());
        service.signal("-TERM");
        assert!(service.child.wait().unwrap().success());
        service = Service::over(dir.path(), &[]);
    }
    std::fs::rename(&elsewhere, dir.path().join("gone")).unwrap();
    let ready = service.ask("GET", "/readyz").send();
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert!(!ready.text().contains("elsewhere"), "no place is named: {}", ready.text());
}

#[test]
fn a_stop_finishes_what_was_begun_and_loses_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", &vec![7; 16 << 20]);
    let path = format!("/v1/records/{id}");
    let stream = service.admin("GET", &path).stream();
    assert_eq!(stream.peek(&mut [0]).unwrap(), 1, "it has begun");
    service.signal("-TERM");
    wait_for("nothing more is accepted", || TcpStream::connect(&service.address).is_err());
    let reply = Reply::read(stream, false);
    assert!(reply.whole && reply.body.len() == 16 << 20, "what was begun is finished");
    let began = std::time::Instant::now();
    let status = service.child.wait().unwrap();
    assert!(status.success(), "{status}\n{}", service.log());
    assert!(began.elapsed() < Duration::from_secs(30));
    drop(service);

    let service = Service::over(dir.path(), &[]);
    assert_eq!(service.admin("GET", &path).send().body.len(), 16 << 20);
    service.signal("-INT");
}

/// Clients put until the service is gone. Each put that was answered by 201 is there afterwards.
#[test]
fn a_stop_under_load_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let (address, token) = (service.address.clone(), service.token.clone());
    let count = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (address, token, ada) = (address.clone(), token.clone(), ada.clone());
            let count = Arc::clone(&count);
            std::thread::spawn(move || acknowledged(&address, &token, &ada, &count))
        })
        .collect();
    wait_for("they are answered", || count.load(Ordering::SeqCst) > 8);
    service.signal("-TERM");
    let began = std::time::Instant::now();
    let status = service.child.wait().unwrap();
    assert!(status.success(), "{status}\n{}", service.log());
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let put: Vec<String> = clients.into_iter().flat_map(|one| one.join().unwrap()).collect();
    assert!(put.len() > 8, "{}", put.len());
    drop(service);
    let service = Service::over(dir.path(), &[]);
    for id in put {
        let read = service.admin("GET", &format!("/v1/records/{id}")).send();
        assert_eq!((read.status, read.body.as_slice()), (200, &b"RIFF...."[..]), "{id}");
    }
}

/// Puts, one connection each, until none is answered; counts those that were, and gives their ids.
pub(super) fn acknowledged(
    address: &str,
    token: &str,
    user: &str,
    count: &AtomicUsize,
) -> Vec<String> {
    let request = format!(
        "POST /v1/users/{user}/records HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nKeyfall-Class: audio\r\nContent-Length: 8\r\n\r\nRIFF...."
    );
    let mut ids = Vec::new();
    while let Ok(mut stream) = std::net::TcpStream::connect(address) {
        let mut reply = String::new();
        // One that is cut off was not acknowledged.
        if stream.write_all(request.as_bytes()).is_err()
            || stream.read_to_string(&mut reply).is_err()
            || !reply.starts_with("HTTP/1.1 201 ")
        {
            break;
        }
        let (_, body) = reply.split_once("\r\n\r\n").unwrap();
        let Ok(json) = serde_json::from_str::<serde_json::Value>(body) else { break };
        ids.push(json["id"].as_str().unwrap().to_owned());
        count.fetch_add(1, Ordering::SeqCst);
    }
    ids
}

#[test]
fn health_and_readiness_need_no_credential() {
    let service = Service::start();
    assert_eq!(service.ask("GET", "/healthz").send().status, 200);
    assert_eq!(service.ask("GET", "/livez").send().status, 200);
    let ready = service.ask("GET", "/readyz").send();
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()), "{}", ready.text());
    assert!(ready.json()["checks"].as_object().unwrap().values().all(|check| check == "ok"));
}

#[test]
fn readiness_names_what_is_the_matter_and_no_place() {
    let dir = tempfile::TempDir::new().unwrap();
    let service = Service::over(dir.path(), &[]);
    let said = |check: &str| {
        let ready = service.ask("GET", "/readyz").send();
        assert_eq!(ready.header("retry-after"), (ready.status == 503).then_some("5"));
        assert!(!ready.text().contains(dir.path().to_str().unwrap()));
        (ready.status, ready.json()["checks"][check].as_str().unwrap().to_owned())
    };
    for (check, place) in [("cell", "a.db.cell"), ("state", "a.db.service"), ("store", "a.db")] {
        let (from, to) = (dir.path().join(place), dir.path().join("away"));
        std::fs::rename(&from, &to).unwrap();
        let (status, why) = said(check);
        assert!(status == 503 && why.contains("cannot be written to"), "{check}: {why}");
        std::fs::rename(&to, &from).unwrap();
        assert_eq!(said(check), (200, "ok".to_owned()));
    }
    drop(service);

    let config = dir.path().join("keyfall.toml");
    std::fs::write(&config, "min_free_bytes = 1_000_000_000_000_000\n").unwrap();
    let service = Service::over(dir.path(), &["--config", config.to_str().unwrap()]);
    let ready = service.ask("GET", "/readyz").send();
    assert_eq!(ready.status, 503);
    assert!(ready.json()["checks"]["disk"].as_str().unwrap().contains("are free"));
}

/// A pipe whose other end nobody reads.
#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Command::new(env!("CARGO_BIN_EXE_keyfalld"))
        .args(["--listen", "127.0.0.1:0", "--accept-remnants", "--store"])
        .arg(dir.path().join("a.db"))
        .arg("--admin-token-file")
        .arg(dir.path().join("token"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(service.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().split_once("://").unwrap().1.to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // More lines than a pipe and the queue before it hold.
    let asked = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
    for _ in 0..200 {
        stream.write_all(asked.as_bytes()).unwrap();
        let (mut answers, mut piece) = (0, [0; 64 << 10]);
        let mut text = Vec::new();
        while answers < 50 {
            let n = stream.read(&mut piece).expect("it answers");
            assert_ne!(n, 0, "it answers");
            text.extend_from_slice(&piece[..n]);
            answers = text.windows(7).filter(|part| *part == b"\r\n\r\nok\n").count();
        }
    }
    let token = std::fs::read_to_string(dir.path().join("token")).unwrap();
    let asked = format!(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    stream.write_all(asked.as_bytes()).unwrap();
    let metrics = Reply::read(stream, false).text();
    let lost = metrics.lines().find_map(|l| l.strip_prefix("keyfall_log_lines_lost_total "));
    assert!(lost.unwrap().parse::<u64>().unwrap() > 0, "{metrics}");
    let told = Command::new("kill").arg("-TERM").arg(service.id().to_string()).status().unwrap();
    assert!(told.success());
    let ends = (0..1200).find_map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        service.try_wait().unwrap()
    });
    let ended = ends.unwrap_or_else(|| {
        let _ = service.kill();
        panic!("it does not end");
    });
    assert!(ended.success(), "{ended}");
}
