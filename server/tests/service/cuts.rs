//! What an erase cuts never looks whole, and what breaks goes on: as `curl` sees it.

use std::io::{Cursor, Read};
use std::path::Path;
use std::process::{Command, Output};

use super::certificates::{Authority, LONG};
use super::kit::Service;
use super::tls::{started, text};

/// Runs `curl` against a service, as its admin.
fn curl(service: &Service, scheme: &str, path: &str, more: &[&str]) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-H", &format!("Authorization: Bearer {}", service.token)]).args(more);
    curl.arg(format!("{scheme}://{}{path}", service.address));
    curl
}

fn ran(mut command: Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("these tests need curl: {e}"))
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

/// Erases a record while `curl` reads slowly; gives how `curl` ended and what it wrote.
fn cut(service: &Service, id: &str, slow: Command, out: &Path) -> (Option<i32>, String, usize) {
    let mut slow = slow;
    slow.args(["--limit-rate", "2M", "-w", "%{http_version} %{http_code}", "-o"]).arg(out);
    let reading = slow.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let reading = reading.spawn().unwrap();
    super::certificates::wait_for("it reads", || out.metadata().is_ok_and(|m| m.len() > 1 << 16));
    let json = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
    let erased = ran(curl(
        service,
        if slow_is_tls(&slow) { "https" } else { "http" },
        "/v1/erasures",
        &["-k", "-H", "Content-Type: application/json", "-d", &json],
    ));
    assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    let ended = reading.wait_with_output().unwrap();
    let read = std::fs::metadata(out).unwrap().len() as usize;
    (ended.status.code(), String::from_utf8_lossy(&ended.stdout).into_owned(), read)
}

fn slow_is_tls(slow: &Command) -> bool {
    slow.get_args().any(|argument| argument.to_string_lossy().starts_with("https://"))
}

/// RST_STREAM over HTTP/2, in the clear and over TLS; less than `Content-Length` over HTTP/1.1.
#[test]
fn a_record_that_is_erased_while_it_is_read_ends_broken_over_each_http() {
    let dir = tempfile::TempDir::new().unwrap();
    let authority = Authority::new(&dir.path().join("ca"));
    let server = authority.issue("server", "IP:127.0.0.1", LONG);
    let plain = Service::start();
    let secure = started(dir.path(), &server, &[]);
    // 18: a partial file. 92: the stream was not closed as it should be.
    let table = [
        (&plain, "http", "--http1.1", "1.1 200", 18),
        (&plain, "http", "--http2-prior-knowledge", "2 200", 92),
        (&secure, "https", "--http2", "2 200", 92),
    ];
    let out = dir.path().join("out");
    for (service, scheme, version, said, code) in table {
        let put = |class: &str| {
            let path = "/v1/users";
            let json = ["-k", "-H", "Content-Type: application/json", "-d", "{\"name\":\"ada\"}"];
            let user = ran(curl(service, scheme, path, &json)).stdout;
            let user: serde_json::Value = serde_json::from_slice(&user).unwrap();
            let file = dir.path().join("in");
            std::fs::write(&file, content(24 << 20)).unwrap();
            let path = format!("/v1/users/{}/records", user["handle"].as_str().unwrap());
            let data = format!("@{}", text(&file));
            let class = format!("Keyfall-Class: {class}");
            let more = ["-k", "-H", &class, "--data-binary", &data];
            let put: serde_json::Value =
                serde_json::from_slice(&ran(curl(service, scheme, &path, &more)).stdout).unwrap();
            put["id"].as_str().unwrap().to_owned()
        };
        let id = put("audio");
        let _ = std::fs::remove_file(&out);
        let slow = curl(service, scheme, &format!("/v1/records/{id}"), &["-k", version]);
        let (ended, told, read) = cut(service, &id, slow, &out);
        assert_eq!((ended, told.as_str()), (Some(code), said), "{version}");
        assert!(read > 0 && read < 24 << 20, "{version}: {read}");
    }
}

#[test]
fn an_export_that_an_erase_cuts_never_looks_complete() {
    let service = Service::start();
    let dir = tempfile::TempDir::new().unwrap();
    for (round, version) in ["--http1.1", "--http2-prior-knowledge"].into_iter().enumerate() {
        let ada = service.user(&format!("ada {round}"));
        let first = service.put(&ada, "audio", &content(8 << 20));
        let last = service.put(&ada, "audio", &content(8 << 20));
        let path = format!("/v1/users/{ada}/export.zip");
        // The one that is sent then, and one that comes later, or came before.
        for id in [last, first] {
            let out = dir.path().join("out.zip");
            let _ = std::fs::remove_file(&out);
            let slow = curl(&service, "http", &path, &[version]);
            let (ended, told, _) = cut(&service, &id, slow, &out);
            assert!(told.ends_with(" 200"), "{told}");
            assert!([Some(18), Some(56), Some(92)].contains(&ended), "{version}: {ended:?}");
            let got = std::fs::read(&out).unwrap();
            assert!(zip::ZipArchive::new(Cursor::new(got)).is_err(), "{version}: it has no end");
        }
        // What nobody cut is whole.
        let out = dir.path().join("whole.zip");
        let whole = ran(curl(&service, "http", &path, &[version, "-o", text(&out)]));
        assert!(whole.status.success());
        let mut archive = zip::ZipArchive::new(std::fs::File::open(&out).unwrap()).unwrap();
        let mut report = String::new();
        archive.by_name("report.json").unwrap().read_to_string(&mut report).unwrap();
        assert!(report.contains("classes"), "{report}");
    }
}

#[test]
fn curl_goes_on_where_it_stopped_and_gets_the_whole_of_another_record() {
    let service = Service::start();
    let ada = service.user("ada");
    let bytes = content(300_000);
    let id = service.put(&ada, "audio", &bytes);
    let other = service.put(&ada, "audio", &content(1000));
    let dir = tempfile::TempDir::new().unwrap();
    let out = dir.path().join("out");
    let at = |id: &str| format!("/v1/records/{id}");
    let to = text(&out);
    let head = ["-o", to, "-w", "%{http_code}"];
    let get = |id: &str, more: &[&str]| {
        let got = ran(curl(&service, "http", &at(id), &[&head[..], more].concat()));
        (got.status.code(), String::from_utf8(got.stdout).unwrap())
    };
    // A part of it is there, as after a break.
    std::fs::write(&out, &bytes[..123_456]).unwrap();
    assert_eq!(get(&id, &["-C", "-"]), (Some(0), "206".to_owned()));
    assert!(std::fs::read(&out).unwrap() == bytes);
    // All of it is there: there is no more.
    assert_eq!(get(&id, &["-C", "-"]).1, "416");
    std::fs::remove_file(&out).unwrap();
    // If-Range: the rest if the tag still matches, the whole record if it does not.
    let tag = |id: &str| format!("If-Range: \"{id}\"");
    assert_eq!(get(&id, &["-r", "299990-", "-H", &tag(&id)]).1, "206");
    assert!(std::fs::read(&out).unwrap() == bytes[299_990..]);
    assert_eq!(get(&id, &["-r", "299990-", "-H", &tag(&other)]).1, "200");
    assert!(std::fs::read(&out).unwrap() == bytes);
    assert_eq!(get(&other, &["-r", "1000-"]).1, "416");
    let shown = ran(curl(&service, "http", &at(&other), &["-r", "1000-", "-i"]));
    let shown = String::from_utf8_lossy(&shown.stdout).to_ascii_lowercase();
    assert!(shown.contains("content-range: bytes */1000"), "{shown}");
    // An opening, which players seek in, does the same.
    let opened = service.admin("POST", &format!("{}/openings", at(&id)));
    let opened = opened.json("{\"purpose\":\"to hear it\"}").json();
    let opening = opened["opening"].as_str().unwrap();
    std::fs::write(&out, &bytes[..100]).unwrap();
    let url = format!("http://{}{opening}", service.address);
    let mut again = Command::new("curl");
    again.args(["-sS", "-C", "-"]).args(head).arg(url);
    assert_eq!(ran(again).stdout, b"206");
    assert!(std::fs::read(&out).unwrap() == bytes);
}
