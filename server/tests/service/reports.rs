//! Reports and exports in each form: for programs, for people, and sealed to a key.

use std::io::Write;

use keyfall::env::System;
use keyfall::sealed::{Identity, Item, Unpack, unpack};

use super::kit::Service;

#[test]
fn a_report_comes_in_the_form_that_is_asked_for() {
    let service = Service::start();
    let ada = service.user("ada");
    let put = service.admin("POST", &format!("/v1/users/{ada}/records"));
    let put = put.header("Keyfall-Class", "note").header("Keyfall-Name", "<script>alert(1)");
    assert_eq!(put.body(b"x").status, 201);
    let path = format!("/v1/users/{ada}/report");
    let report = |accept: &str| {
        let report = service.admin("GET", &path).header("Accept", accept).send();
        assert_eq!((report.status, report.header("cache-control")), (200, Some("no-store")));
        assert!(report.header("vary").unwrap().contains("accept"));
        report
    };
    let json = report("application/json");
    assert_eq!(json.header("content-type"), Some("application/json"));
    assert_eq!(json.json()["records"][0]["name"], "<script>alert(1)");
    assert_eq!(report("*/*").header("content-type"), Some("application/json"));

    let page = report("text/html,application/xhtml+xml,*/*;q=0.8");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let text = page.text();
    assert!(text.contains("What is kept about ada") && text.contains("note"), "{text}");
    assert!(!text.contains("<script") && text.contains("&lt;script&gt;"), "it is escaped");

    let linked = report("application/ld+json");
    assert_eq!(linked.header("content-type"), Some("application/ld+json"));
    let linked = linked.json();
    assert!(linked["@context"]["@vocab"].is_string());
    assert_eq!(linked["records"], json.json()["records"]);
}

/// What is in a parcel.
#[derive(Default)]
struct Unpacked {
    records: Vec<Vec<u8>>,
    files: Vec<(String, Vec<u8>)>,
}

impl Unpack for Unpacked {
    fn begin(&mut self, item: &Item) -> keyfall::Result<Box<dyn Write + '_>> {
        let to = match item {
            Item::File(name) => {
                self.files.push((name.clone(), Vec::new()));
                self.files.last_mut().map(|(_, bytes)| bytes)
            }
            _ => {
                self.records.push(Vec::new());
                self.records.last_mut()
            }
        };
        Ok(Box::new(to.unwrap()))
    }

    fn end(&mut self, _: &Item, fell: bool) -> keyfall::Result<()> {
        assert!(!fell);
        Ok(())
    }
}

/// As `keyfall export --to` does.
#[test]
fn an_export_is_sealed_to_a_key_that_the_request_names() {
    let service = Service::start();
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    let to = Identity::new(&System).unwrap();
    let key = to.public().unwrap().to_string();
    let path = format!("/v1/users/{ada}/exports");
    let ask = |token: &str, key: &str| {
        let asked = service.ask("POST", &path).header("Authorization", &format!("Bearer {token}"));
        asked.json(&format!("{{\"to\":\"{key}\"}}"))
    };
    let sealed = ask(&service.token, &key);
    assert_eq!(sealed.status, 200, "{}", sealed.text());
    assert!(sealed.whole && sealed.header("content-type") == Some("application/octet-stream"));
    let plain = |needle: &[u8]| sealed.body.windows(needle.len()).any(|part| part == needle);
    assert!(!plain(b"RIFF....") && !plain(b"audio") && !plain(id.as_bytes()), "it is sealed");

    // What the command line opens.
    let mut found = Unpacked::default();
    unpack(to.opening(), &sealed.body[..], &mut found).unwrap();
    assert_eq!(found.records, [b"RIFF....".to_vec()]);
    let names: Vec<&str> = found.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["report.json", "report.html"]);
    assert!(found.files[0].1.windows(id.len()).any(|part| part == id.as_bytes()));

    assert_eq!(ask(&service.token, "no key").kind(), "invalid");
    let reader =
        service.credential("{\"principal\":\"p\",\"scopes\":[\"read\"],\"users\":\"any\"}");
    assert_eq!(ask(&reader, &key).status, 403);
    // A policy that wants readers named holds for sealed exports too.
    let named = "{\"class\":\"audio\",\"readers_named\":true}";
    assert_eq!(service.admin("PUT", "/v1/policies").json(named).status, 204);
    assert_eq!(ask(&service.token, &key).status, 403);
    let asked = service.admin("POST", &path).header("Keyfall-Purpose", "to move");
    assert_eq!(asked.json(&format!("{{\"to\":\"{key}\"}}")).status, 200);
    let opened = service.admin("GET", &format!("/v1/records/{id}/openings")).send().json();
    assert_eq!(opened[0]["purpose"], "to move");
}
