//! Story 9: every way to the bytes of a class with named readers writes who and why before the
//! first byte, or is refused.

use std::io::{Read, Write};
use std::path::Path;

use keyfall::engine::Grant;
use keyfall::env::System;
use keyfall::sealed::Identity;
use keyfall::{Builder, Class, Engine, ErrorKind, Policy, Put, RecordId, UserId};
use serde_json::Value;

use super::kit::{Reply, Service};
use super::page::{Session, between};

/// What no answer may have before it is written who reads it: it is no word of any page.
const BYTES: &[u8] = b"quixotic walrus at the vestibule";
const PURPOSE: &str = "a complaint";

/// The answers of the service that are no JSON, and whether bytes of records are in them.
const OTHERS: &[(&str, &str, bool)] = &[
    ("get", "/healthz", false),
    ("get", "/log/checkpoint", false),
    ("get", "/log/key", false),
    ("get", "/log/tile/{level}/{path}", false),
    ("get", "/metrics", false),
    ("get", "/v1/openings/{token}", true),
    ("get", "/v1/records/{id}", true),
    // A grantee's, who is named by the grant: among the ways of the library, below.
    ("post", "/v1/requests", true),
    ("get", "/v1/users/{handle}/export.zip", true),
    ("post", "/v1/users/{handle}/exports", true),
    ("get", "/v1/users/{handle}/report", false),
];

/// The paths of the page that answer with what records hold.
const OF_PAGE: &[&str] = &["/page", "/page/export.zip", "/page/records/{id}"];
const OF_PAGE_WITHOUT: &[&str] = &[
    "/",
    "/page/assets/{name}",
    "/page/check",
    "/page/done/{number}",
    "/page/enter/{token}",
    "/page/erase",
    "/page/erase/cancel",
    "/page/erase/later",
    "/page/erase/now",
    "/page/keep",
    "/page/leave",
    "/page/proofs",
    "/page/proofs/{name}",
    "/page/receipt",
    "/page/sure",
    "/page/{*rest}",
];

/// A way that is added is looked at here before it goes out.
#[test]
fn no_way_to_bytes_is_missing_in_the_table() {
    let document: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Some(responses) = operation["responses"].as_object() else { continue };
            let kinds = responses.values().filter_map(|answer| answer["content"].as_object());
            if kinds.flat_map(|kinds| kinds.keys()).any(|kind| !kind.ends_with("json")) {
                found.push((method.as_str(), path.as_str()));
            }
        }
    }
    found.sort_unstable();
    let mut table: Vec<_> = OTHERS.iter().map(|(method, path, _)| (*method, *path)).collect();
    table.sort_unstable();
    assert_eq!(found, table);
    let routes = include_str!("../../src/page/mod.rs");
    let mut routes: Vec<_> = routes.split(".route(\"").skip(1).collect();
    routes.iter_mut().for_each(|route| *route = route.split('"').next().unwrap());
    routes.sort_unstable();
    let mut table: Vec<_> = OF_PAGE.iter().chain(OF_PAGE_WITHOUT).copied().collect();
    table.sort_unstable();
    assert_eq!(routes, table);
}

/// A record that only named readers read, longer than what goes out at once.
struct Kept {
    service: Service,
    ada: String,
    id: String,
}

impl Kept {
    fn start(dir: &Path) -> Kept {
        let service = Service::over(dir, &[]);
        let ada = service.user("ada");
        let path = format!("/v1/users/{ada}/policies");
        let json = "{\"class\":\"transcript\",\"readers_named\":true}";
        assert_eq!(service.admin("PUT", &path).json(json).status, 204);
        let text = BYTES.repeat(60_000);
        let put = service
            .admin("POST", &format!("/v1/users/{ada}/records"))
            .header("Keyfall-Class", "transcript")
            .header("Content-Type", "text/plain")
            .body(&text);
        assert_eq!(put.status, 201, "{}", put.text());
        let id = put.json()["id"].as_str().unwrap().to_owned();
        Kept { service, ada, id }
    }

    /// Who opened it, and what for.
    fn readers(&self) -> Vec<(String, String)> {
        let path = format!("/v1/records/{}/openings", self.id);
        let lines = self.service.admin("GET", &path).send().json();
        let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        let lines = lines.as_array().unwrap().iter();
        lines.map(|line| (text(line, "principal"), text(line, "purpose"))).collect()
    }

    /// Reads until the bytes come, then kills the service at once: what was to be written before is
    /// written, or never.
    /// What is sealed shows no bytes, and is longer than what goes before them.
    fn read_and_kill(&mut self, mut answer: impl Read, dir: &Path) -> Vec<(String, String)> {
        let (mut read, mut piece) = (Vec::new(), [0; 4096]);
        while !holds(&read) && read.len() < 400_000 {
            let n = answer.read(&mut piece).unwrap();
            assert!(n > 0, "no bytes came: {}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&piece[..n]);
        }
        self.service.child.kill().unwrap();
        self.service.child.wait().unwrap();
        self.service = Service::over(dir, &[]);
        self.readers()
    }
}

/// A request for an export that somebody else opens.
fn to_a_key() -> String {
    let key = Identity::new(&System).unwrap().public().unwrap();
    format!("{{\"to\":\"{key}\"}}")
}

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(BYTES.len()).any(|window| window == BYTES)
}

/// What comes of a way of which no reader is written.
fn gives_nothing(kept: &Kept, name: &str, answer: &Reply) {
    assert!(!holds(&answer.body), "{name}: {}", answer.status);
    assert_eq!(kept.readers(), [], "{name}");
}

#[test]
fn without_a_purpose_nothing_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::start(dir.path());
    let (service, ada, id) = (&kept.service, &kept.ada, &kept.id);
    let desk = service.credential(&format!(
        "{{\"principal\":\"desk\",\"scopes\":[\"read\",\"report\"],\"users\":[\"{ada}\"],\
         \"purposes\":[\"{PURPOSE}\"]}}"
    ));
    let by = |method: &str, path: &str| {
        service.ask(method, path).header("Authorization", &format!("Bearer {desk}"))
    };
    let record = format!("/v1/records/{id}");
    for range in [None, Some("bytes=0-31")] {
        let mut request = by("GET", &record);
        if let Some(range) = range {
            request = request.header("Range", range);
        }
        let refused = request.send();
        assert_eq!(refused.status, 403, "{}", refused.text());
        gives_nothing(&kept, "a record", &refused);
    }
    let other = by("GET", &record).header("Keyfall-Purpose", "curiosity").send();
    assert_eq!(other.status, 403);
    gives_nothing(&kept, "a purpose that is not the credential's", &other);
    let opening = by("POST", &format!("{record}/openings")).json("{}");
    assert_eq!(opening.status, 400, "{}", opening.text());
    gives_nothing(&kept, "an opening", &opening);
    let export = format!("/v1/users/{ada}/export.zip");
    gives_nothing(&kept, "an export", &by("GET", &export).send());
    let sealed = by("POST", &format!("/v1/users/{ada}/exports")).json(&to_a_key());
    assert_eq!(sealed.status, 403, "{}", sealed.text());
    gives_nothing(&kept, "a sealed export", &sealed);
    for path in [
        format!("/v1/users/{ada}"),
        format!("/v1/users/{ada}/records"),
        format!("/v1/users/{ada}/report"),
        format!("{record}/lineage"),
        format!("{record}/openings"),
    ] {
        let listed = by("GET", &path).send();
        assert_eq!(listed.status, 200, "{path}: {}", listed.text());
        gives_nothing(&kept, &path, &listed);
    }
    let session = Session::enter(service, ada, None);
    let list = session.get(service, "/page");
    assert!(list.text().contains("Opening this is written down"), "{}", list.text());
    gives_nothing(&kept, "the list of the page", &list);
    for path in ["/page/proofs", "/page/keep", "/page/sure"] {
        gives_nothing(&kept, path, &session.get(service, path));
    }
    for path in [&record, &export, "/page", "/page/export.zip"] {
        gives_nothing(&kept, path, &service.ask("GET", path).send());
    }
}

#[test]
fn who_reads_and_why_is_written_before_the_first_byte() {
    let desk = ("desk".to_owned(), PURPOSE.to_owned());
    let person =
        ("the person, on their page".to_owned(), "to hear or read it on the page".to_owned());
    for way in ["record", "part", "default", "opening", "export", "sealed", "page", "page export"] {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = Kept::start(dir.path());
        let (ada, record) = (kept.ada.clone(), format!("/v1/records/{}", kept.id));
        let default = if way == "default" { ",\"default_purpose\":\"a complaint\"" } else { "" };
        let token = kept.service.credential(&format!(
            "{{\"principal\":\"desk\",\"scopes\":[\"read\",\"report\"],\"users\":[\"{ada}\"],\
             \"purposes\":[\"{PURPOSE}\"]{default}}}"
        ));
        let service = &kept.service;
        let by = |method: &str, path: &str| {
            service.ask(method, path).header("Authorization", &format!("Bearer {token}"))
        };
        let said = |path: &str| by("GET", path).header("Keyfall-Purpose", PURPOSE);
        let answer = match way {
            "record" => said(&record).stream(),
            "part" => said(&record).header("Range", "bytes=32-200000").stream(),
            "default" => by("GET", &record).stream(),
            "opening" => {
                let json = format!("{{\"purpose\":\"{PURPOSE}\"}}");
                let opened = by("POST", &format!("{record}/openings")).json(&json).json();
                service.ask("GET", opened["opening"].as_str().unwrap()).stream()
            }
            "export" => said(&format!("/v1/users/{ada}/export.zip")).stream(),
            "sealed" => {
                let path = format!("/v1/users/{ada}/exports");
                let asked = by("POST", &path).header("Keyfall-Purpose", PURPOSE);
                asked
                    .header("Content-Type", "application/json")
                    .with(to_a_key().as_bytes())
                    .stream()
            }
            page => {
                let session = Session::enter(service, &ada, None);
                let list = session.get(service, "/page").text();
                let number = between(&list, "/page/records/", "\"").unwrap();
                let path = match page {
                    "page" => format!("/page/records/{number}"),
                    _ => "/page/export.zip".to_owned(),
                };
                service.ask("GET", &path).header("Cookie", &session.cookie).stream()
            }
        };
        let written = kept.read_and_kill(answer, dir.path());
        let expected = if way.starts_with("page") { &person } else { &desk };
        assert_eq!(written.as_slice(), std::slice::from_ref(expected), "{way}");
        let log = kept.service.log();
        for secret in [PURPOSE, &kept.id, &ada, "quixotic", &token] {
            assert!(!log.contains(secret), "{way}: {secret} is in the log");
        }
    }
}

/// Takes what is written, and looks at the first of it who is written as its reader.
struct Looking<'e> {
    engine: &'e Engine,
    id: RecordId,
    first: Option<Vec<(String, String)>>,
    taken: Vec<u8>,
}

impl Write for Looking<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.first.get_or_insert_with(|| readers(self.engine, &self.id));
        self.taken.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn readers(engine: &Engine, id: &RecordId) -> Vec<(String, String)> {
    let lines = engine.accesses(id).unwrap().into_iter();
    lines.map(|line| (line.principal, line.purpose)).collect()
}

/// What of the library gives a reader or an opening, or writes what it read.
#[test]
fn each_way_of_the_library_names_its_reader_or_is_refused() {
    let source = include_str!("../../../src/engine/verbs/engine.rs");
    let gives = ["Result<Reader>", "Result<Opening>", "impl Write"];
    let functions = source.lines().filter_map(|line| line.trim().strip_prefix("pub fn "));
    let ways = functions.filter(|line| gives.iter().any(|it| line.contains(it)));
    let mut ways: Vec<_> = ways.map(|line| line.split(['(', '<']).next().unwrap()).collect();
    ways.sort_unstable();
    assert_eq!(ways, ["get", "get_as", "get_to", "open_as", "open_request"]);

    let dir = tempfile::tempdir().unwrap();
    let builder = Builder::at(dir.path().join("a.db")).accept_remnants();
    let engine = &builder.open_or_create().unwrap();
    engine.policies(None).set(&Policy::new(Class::audio()).readers_named()).unwrap();
    let ada = UserId::new("ada").unwrap();
    let put = || engine.put(Put::new(ada.clone(), Class::audio()), BYTES).unwrap();
    let looking = |id| Looking { engine, id, first: None, taken: Vec::new() };

    let id = put();
    assert_eq!(engine.get(&id).map(|_| ()).unwrap_err().kind(), ErrorKind::Refused);
    let mut out = looking(id);
    assert_eq!(engine.get_to(&id, &mut out).unwrap_err().kind(), ErrorKind::Refused);
    assert!(out.taken.is_empty() && readers(engine, &id).is_empty());

    let named = vec![("desk".to_owned(), PURPOSE.to_owned())];
    let reader = engine.get_as(&id, "desk", PURPOSE).unwrap();
    assert_eq!(readers(engine, &id), named, "before anything is read");
    drop(reader);
    let id = put();
    let opening = engine.open_as(&id, "desk", PURPOSE).unwrap();
    assert_eq!(readers(engine, &id), named, "before anything is read");
    opening.reader().unwrap();

    // A third party, and training: who it is was said when it was granted.
    let party = Identity::new(&System).unwrap();
    let public = party.public().unwrap();
    let id = put();
    let grant = Grant::new(&public, "Ride skill", "to order rides").class(Class::audio());
    let ticket = engine.grants(&ada).add(grant).unwrap();
    let learning = Grant::new(&public, "voices", "to learn voices").class(Class::audio());
    engine.grants(&ada).add(learning).unwrap();
    let set = engine.training().make("voices", &public, "to learn voices").unwrap();
    engine.training().add("voices", &[id]).unwrap();
    for (ticket, name, purpose) in
        [(ticket, "Ride skill", "to order rides"), (set, "voices", "to learn voices")]
    {
        let (request, _) = party.ask(&ticket, &System).unwrap();
        let before = readers(engine, &id).len();
        let mut out = looking(id);
        assert!(engine.open_request(&request, &mut out).unwrap().records > 0);
        let first = out.first.unwrap();
        assert_eq!(first.len(), before + 1, "{name}: {first:?}");
        let (who, why) = first.last().unwrap();
        assert!(who.contains(name) && why == purpose, "{who}, for: {why}");
        assert!(!holds(&out.taken), "it is sealed");
    }
}
