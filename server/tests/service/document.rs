//! The document that describes the service.

use std::process::Command;

use super::kit::Service;

#[test]
fn the_document_that_is_committed_is_the_programs() {
    let printed = Command::new(env!("CARGO_BIN_EXE_keyfalld")).arg("--openapi").output().unwrap();
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let committed = std::fs::read_to_string(committed).unwrap();
    assert!(
        String::from_utf8(printed.stdout).unwrap() == committed,
        "write it again: keyfalld --openapi > server/openapi.json"
    );
}

#[test]
fn the_document_and_its_page_are_served_and_fetch_nothing_from_elsewhere() {
    let service = Service::start();
    let document = service.ask("GET", "/openapi.json").send().json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/v1/erasures"]["post"]["responses"]["202"].is_object());
    let page = service.ask("GET", "/docs").send();
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("http://") && !page.text().contains("https://"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
}
