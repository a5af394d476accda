//! A log line with a user's name is the copy that no erase reaches.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::kit::Service;
use super::page::{Session, between, post};
use super::uploads::{BYTES, begin, tus};

#[test]
fn no_log_line_has_a_name_an_id_or_a_purpose() {
    let service = Service::start();
    let name = "Zwetschgenhuber";
    let ada = service.user(name);
    let id = service.put(&ada, "audio", b"wort-im-inhalt");
    let path = format!("/v1/records/{id}");
    service.admin("GET", &path).header("Keyfall-Purpose", "zweck-unikat").send();
    service.admin("GET", &format!("/v1/users/{ada}/report")).send();
    service.admin("GET", &format!("/v1/users/{ada}/records?class=klassenunikat")).send();
    service.admin("GET", "/v1/users/u_falsch-unikat").send();
    service.admin("POST", "/v1/users").json("{\"falsch\":\"feld-unikat\"}");
    let erase = format!(
        "{{\"scope\":{{\"user\":\"{ada}\"}},\"authority\":\"amt-unikat\",\"ground\":\"grund-unikat\"}}"
    );
    assert_eq!(service.admin("POST", "/v1/erasures").json(&erase).status, 200);
    service.admin("GET", &path).send();
    let log = service.log();
    assert!(log.contains("/v1/erasures") && log.contains("status=410"), "it logs: {log}");
    let secrets = [
        name,
        &ada,
        &id,
        "zweck-unikat",
        "klassenunikat",
        "falsch-unikat",
        "feld-unikat",
        "amt-unikat",
        "grund-unikat",
        "wort-im-inhalt",
        &service.token,
    ];
    let metrics = service.admin("GET", "/metrics").send().text();
    let ready = service.ask("GET", "/readyz").send().text();
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log");
        assert!(!metrics.contains(secret), "{secret} is in a metric");
        assert!(!ready.contains(secret), "{secret} is in what says that it is ready");
    }
    // Nor has any file of the service.
    let book = std::fs::read_to_string(service.dir.join("a.db.service/credentials.json"));
    let book = book.unwrap_or_default();
    assert!(!book.contains(name) && !book.contains(&ada));
}

#[test]
fn no_log_line_and_no_metric_has_a_credential_or_what_it_says() {
    let service = Service::start();
    let ada = service.user("Zwetschgenhuber");
    let id = service.put(&ada, "audio", b"RIFF");
    let token = service.credential(
        "{\"principal\":\"amt-unikat\",\"scopes\":[\"read\",\"page\",\"put\"],\"users\":\"any\",\
         \"purposes\":[\"zweck-unikat\"],\"default_purpose\":\"zweck-unikat\"}",
    );
    let by = |method: &str, path: &str| {
        service.ask(method, path).header("Authorization", &format!("Bearer {token}"))
    };
    assert_eq!(by("GET", &format!("/v1/records/{id}")).send().status, 200);
    by("GET", &format!("/v1/records/{id}")).header("Keyfall-Purpose", "falsch-unikat").send();
    let path = format!("/v1/users/{ada}/records");
    let put = by("POST", &path)
        .header("Keyfall-Class", "klasse-unikat")
        .header("Keyfall-Name", "name-unikat")
        .header("Keyfall-Meta", "schluessel=wert-unikat")
        .header("If-None-Match", "*")
        .header("Content-Type", "text/typ-unikat")
        .body(b"inhalt-unikat");
    assert_eq!(put.status, 201, "{}", put.text());
    by("GET", &format!("{path}?prefix=anfang-unikat")).send();
    let link = by("POST", &format!("/v1/users/{ada}/page-links")).json("{}").json();
    let url = link["url"].as_str().unwrap();
    let asked = service.ask("GET", url).send();
    let first = asked.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let form = asked.text().split("name=\"entry\" value=\"").nth(1).unwrap().to_owned();
    let form = format!("entry={}", form.split('"').next().unwrap());
    let entered = service
        .ask("POST", url)
        .header("Cookie", &first)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form.as_bytes());
    let cookie = entered.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    service.ask("GET", "/page").header("Cookie", &cookie).send();
    for wrong in ["kf_geheim-unikat", "eyJhbGciOiJub25lIn0.e30.", "Basic-unikat"] {
        service.ask("GET", "/v1/status").header("Authorization", &format!("Bearer {wrong}")).send();
    }
    service.ask("GET", "/weg-unikat?frage-unikat").send();
    let key = "idempotenz-unikat-0123456789";
    let erase = format!("{{\"scope\":{{\"user\":\"{ada}\"}},\"reason\":\"grund-unikat\"}}");
    service.admin("POST", "/v1/erasures").header("Idempotency-Key", key).json(&erase);
    let metrics = service.admin("GET", "/metrics").send().text();
    let log = service.log();
    assert!(metrics.contains("keyfall_commits_total{kind=\"put\"}"), "{metrics}");
    let list = service.admin("GET", "/v1/credentials").send().json();
    let secrets = [
        "Zwetschgenhuber",
        "unikat",
        &ada,
        &id,
        put.json()["id"].as_str().unwrap_or("none"),
        &token,
        list[0]["id"].as_str().unwrap(),
        url.rsplit('/').next().unwrap(),
        cookie.split_once('=').unwrap().1,
        first.split_once('=').unwrap().1,
        form.split_once('=').unwrap().1,
        "eyJhbGciOiJub25lIn0",
    ]
    .map(str::to_owned);
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
        assert!(!metrics.contains(&secret), "{secret} is in a metric");
    }
}

/// What a page shows, plays, downloads, erases and refuses.
#[test]
fn no_log_line_has_anything_of_a_page_at_the_level_of_most_words() {
    let service = Service::start();
    let name = "Zwetschgenhuber";
    let ada = service.user(name);
    let put = |class: &str, media: &str, body: &[u8]| {
        let put = service.admin("POST", &format!("/v1/users/{ada}/records"));
        let put = put.header("Keyfall-Class", class).header("Content-Type", media);
        let put = put.header("Keyfall-Purpose", "zweck-unikat");
        put.header("Keyfall-Name", &format!("datei-unikat-{class}")).body(body).json()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let ids = [
        put("audio", "audio/wav", b"RIFF inhalt-unikat"),
        put("transcript", "text/plain", b"inhalt-unikat"),
        put("note", "text/plain", b"inhalt-unikat"),
    ];
    let link = service.admin("POST", &format!("/v1/users/{ada}/page-links")).json("{}").json();
    let link = link["url"].as_str().unwrap().to_owned();
    let session = Session::by(&service, &link, None);
    let page = session.get(&service, "/page").text();
    let sound = between(&page, "src=\"/page/records/", "\"").unwrap().to_owned();
    let played = format!("/page/records/{sound}");
    assert_eq!(session.get(&service, &played).status, 200);
    for (method, header) in [("HEAD", ("A", "unikat")), ("GET", ("Range", "bytes=1-3"))] {
        let asked = service.ask(method, &played).header("Cookie", &session.cookie);
        assert!([200, 206].contains(&asked.header(header.0, header.1).send().status));
    }
    assert_eq!(session.get(&service, "/page/export.zip").status, 200);
    let erased = session.erase(&service, "class=transcript").send();
    assert_eq!(erased.status, 303, "{}", erased.text());
    let done = session.get(&service, erased.header("location").unwrap()).text();
    let proof = between(&done, "href=\"/page/proofs/", "\"").unwrap();
    let proof = format!("/page/proofs/{proof}");
    let text = session.get(&service, &proof).text();
    assert!(text.contains(name), "{text}");
    assert_eq!(session.send(&service, "/page/erase/later", "class=note").status, 303);
    for bad in ["weg-unikat", "records/weg-unikat", "proofs/weg-unikat.erased", "enter/weg-unikat"]
    {
        let answer = session.get(&service, &format!("/page/{bad}?frage-unikat"));
        assert!(answer.status >= 400, "{bad}: {}", answer.status);
    }
    let forged = post(&service, "/page/erase/now", &session.cookie, "csrf=falsch-unikat&all=1");
    assert!(forged.status >= 400, "{}", forged.status);
    post(&service, "/page/receipt", "keks-unikat=1", "code=unikat-unikat");
    assert!(post(&service, "/page/erase/now", &session.cookie, "%unikat").status >= 400);

    let log = service.log();
    for line in ["/page/erase/now", "/page/export.zip", "status=303", "status=206"] {
        assert!(log.contains(line), "it logs {line}: {log}");
    }
    let metrics = service.admin("GET", "/metrics").send().text();
    let pairs = [session.cookie.as_str(), link.as_str()];
    let tokens = pairs.map(|pair| pair.rsplit(['=', '/']).next().unwrap());
    // The numbers of a page are of its session alone; they are not logged either.
    let pages = [&played, &proof, &session.csrf].map(String::as_str);
    let secrets = [name, "unikat", &ada, &ids[0], &ids[1], &ids[2], &service.token];
    for secret in secrets.into_iter().chain(tokens).chain(pages) {
        assert!(secret.len() > 5, "{secret} would be found by chance");
        assert!(!log.contains(secret), "{secret} is in the log");
        assert!(!metrics.contains(secret), "{secret} is in a metric");
    }
}

/// Every file below a place.
fn files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(below).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// Puts a record whose name, class, metadata and purpose can be searched for.
fn put(service: &Service, handle: &str, body: &[u8]) -> String {
    let put = service.admin("POST", &format!("/v1/users/{handle}/records"));
    let put = put.header("Keyfall-Class", "klasse-unikat").header("Keyfall-Name", "datei-unikat");
    let put = put.header("Keyfall-Meta", "schluessel-unikat=wert-unikat");
    let put = put.header("Idempotency-Key", &format!("schluessel-unikat-{handle}"));
    let put = put.header("Keyfall-Purpose", "zweck-unikat").body(body);
    put.json()["id"].as_str().unwrap().to_owned()
}

/// Erases one user with a credential for both, and has the erase of the other planned.
fn erase(service: &Service, gone: &str, later: &str) -> String {
    let credential = format!(
        "{{\"principal\":\"stelle\",\"scopes\":[\"erase\"],\"users\":[\"{gone}\",\"{later}\"]}}"
    );
    let token = service.credential(&credential);
    let ask = |user: &str, when: &str| {
        let json =
            format!("{{\"scope\":{{\"user\":\"{user}\"}},\"authority\":\"amt-unikat\"{when}}}");
        let asked = service.ask("POST", "/v1/erasures");
        let asked = asked.header("Authorization", &format!("Bearer {token}"));
        asked.header("Idempotency-Key", &format!("idempotenz-unikat-{user}")).json(&json).status
    };
    assert_eq!(ask(later, ",\"in\":\"30d\""), 202);
    assert_eq!(ask(gone, ""), 200);
    super::certificates::wait_for("it forgets her", || {
        !service.admin("GET", "/v1/credentials").send().text().contains(gone)
    });
    token
}

/// What must be nowhere that an erase does not reach: in no log, no temporary file, no file of the
/// service, no core file, and not in the clear in the store or in the cell.
#[test]
fn no_file_has_a_name_an_id_or_a_purpose_also_after_a_crash() {
    let dir = tempfile::TempDir::new().unwrap();
    let temp = dir.path().join("temporary");
    std::fs::create_dir(&temp).unwrap();
    let start = || {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\""]);
        command.arg(env!("CARGO_BIN_EXE_keyfalld")).env("TMPDIR", &temp).current_dir(dir.path());
        Service::run(command, dir.path(), &[])
    };
    let mut service = start();
    let (ada, ben) = (service.user("mensch-unikat"), service.user("mensch-unikat-ben"));
    // Short, and of several segments.
    let short = put(&service, &ada, b"inhalt-unikat");
    let long = put(&service, &ben, &b"inhalt-unikat ".repeat(400_000));
    let at =
        begin(&service, &ben, 100, &[("Keyfall-Class", "audio"), ("Keyfall-Meta", "a=unikat")]);
    tus(&service, "PATCH", &at)
        .header("Content-Type", BYTES)
        .header("Upload-Offset", "0")
        .body(b"inhalt-unikat im upload");
    for path in [format!("/v1/records/{short}"), format!("/v1/users/{ben}/export.zip")] {
        let read = service.admin("GET", &path).header("Keyfall-Purpose", "zweck-unikat").send();
        assert!(read.status == 200 && read.whole);
    }
    let token = erase(&service, &ada, &ben);
    // It crashes with all of that in its memory, and is started again.
    let (admin, address) = (service.token.clone(), service.address.clone());
    service.signal("-ABRT");
    service.child.wait().unwrap();
    service = start();
    assert_ne!(service.address, address);
    assert_eq!(service.admin("GET", &format!("/v1/records/{long}")).send().status, 200);
    service.signal("-TERM");
    service.child.wait().unwrap();

    let all = files(dir.path());
    assert!(all.iter().any(|file| file.starts_with(dir.path().join("a.db"))));
    assert!(all.iter().any(|file| file.starts_with(dir.path().join("a.db.cell"))));
    // Ben's handle stays in the credential that is for him, and the admin's token in its file.
    let own = [dir.path().join("a.db.service/credentials.json"), dir.path().join("token")];
    let secrets = ["unikat", &short, &long, &ada, &ben, &token, &admin];
    for file in all.iter().filter(|file| !own.contains(file)) {
        assert!(!file.file_name().unwrap().to_string_lossy().starts_with("core"), "{file:?}");
        let bytes = std::fs::read(file).unwrap();
        for secret in secrets {
            let there = bytes.windows(secret.len()).any(|at| at == secret.as_bytes());
            assert!(!there, "{secret} is in {file:?}");
        }
    }
    let book = std::fs::read_to_string(&own[0]).unwrap();
    assert!(book.contains(&ben) && !book.contains(&ada) && !book.contains("unikat"), "{book}");
}
