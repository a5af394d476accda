//! The document that describes the service.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Map, Value};

use super::kit::Service;

fn printed() -> String {
    let printed = Command::new(env!("CARGO_BIN_EXE_keyfalld")).arg("--openapi").output().unwrap();
    String::from_utf8(printed.stdout).unwrap()
}

#[test]
fn the_document_that_is_committed_is_the_programs() {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let committed = std::fs::read_to_string(committed).unwrap();
    assert!(printed() == committed, "write it again: keyfalld --openapi > server/openapi.json");
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

/// The document, and what is wrong with it.
struct Look {
    document: Value,
    wrong: Vec<String>,
}

impl Look {
    fn new() -> Self {
        Look { document: serde_json::from_str(&printed()).unwrap(), wrong: Vec::new() }
    }

    /// Each operation, by `METHOD /path`.
    fn operations(&self) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                all.push((format!("{} {path}", method.to_uppercase()), operation.clone()));
            }
        }
        assert!(all.len() >= 53, "{}", all.len());
        all
    }

    fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(what());
        }
    }

    fn end(self) {
        assert!(self.wrong.is_empty(), "{} faults:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }

    /// Looks at a schema and all that it is made of.
    fn schema(&mut self, of: &str, schema: &Value, seen: &mut BTreeSet<String>) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.strip_prefix("#/components/schemas/").unwrap().to_owned();
            let named = self.document["components"]["schemas"][&name].clone();
            if seen.insert(name.clone()) {
                self.schema(&name, &named, seen);
            }
            return;
        }
        const SAYS: [&str; 7] = ["type", "$ref", "oneOf", "allOf", "anyOf", "enum", "const"];
        let says = SAYS.iter().any(|key| schema.get(key).is_some());
        self.unless(says, || format!("{of}: a value of any kind"));
        if schema["type"] == "object" {
            let bare = ["properties", "additionalProperties"].iter().all(|it| schema[it].is_null());
            self.unless(!bare, || format!("{of}: an object of any kind"));
        }
        for (name, property) in schema["properties"].as_object().unwrap_or(&Map::new()) {
            let of = format!("{of}.{name}");
            let refers = ["$ref", "oneOf"].iter().any(|key| !property[key].is_null());
            let described = refers || property["description"].is_string();
            let tag = property["enum"].as_array().is_some_and(|one| one.len() == 1);
            self.unless(described || tag, || format!("{of}: no description"));
            self.schema(&of, property, seen);
        }
        for key in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(key).filter(|inner| inner.is_object()) {
                self.schema(&format!("{of}.{key}"), inner, seen);
            }
        }
        for key in ["oneOf", "allOf", "anyOf"] {
            for inner in schema[key].as_array().unwrap_or(&Vec::new()) {
                self.schema(of, inner, seen);
            }
        }
    }
}

#[test]
fn each_answer_and_each_body_has_a_type_and_each_operation_says_what_it_does() {
    let mut look = Look::new();
    let (mut seen, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for (name, operation) in look.operations() {
        for key in ["summary", "description", "operationId"] {
            let said = operation[key].as_str().is_some_and(|text| !text.is_empty());
            look.unless(said, || format!("{name}: no {key}"));
        }
        look.unless(operation["tags"][0].is_string(), || format!("{name}: no tag"));
        let id = operation["operationId"].to_string();
        look.unless(ids.insert(id), || format!("{name}: its operationId is another's"));
        for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
            let of = format!("{name} {}", parameter["name"]);
            let said = parameter["description"].as_str().is_some_and(|text| !text.is_empty());
            look.unless(said, || format!("{of}: no description"));
            look.schema(&of, &parameter["schema"], &mut seen);
        }
        for (kind, body) in operation["requestBody"]["content"].as_object().unwrap_or(&Map::new()) {
            look.schema(&format!("{name} body {kind}"), &body["schema"], &mut seen);
        }
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let of = format!("{name} {status}");
            look.unless(answer["description"] != "", || format!("{of}: no description"));
            for (header, told) in answer["headers"].as_object().unwrap_or(&Map::new()) {
                let said = told["description"].is_string();
                look.unless(said, || format!("{of} {header}: no description"));
            }
            let begun = name.ends_with("/uploads") && status == "201";
            let bodiless = name.starts_with("HEAD") || begun || ["204", "304"].contains(&&**status);
            look.unless(bodiless == answer["content"].is_null(), || format!("{of}: its body"));
            for (kind, body) in answer["content"].as_object().unwrap_or(&Map::new()) {
                let problem = !status.starts_with('2') && status != "503";
                let right = !problem || kind == "application/problem+json";
                look.unless(right, || format!("{of}: not a problem"));
                look.schema(&of, &body["schema"], &mut seen);
            }
        }
    }
    for name in look.document["components"]["schemas"].as_object().unwrap().clone().keys() {
        look.unless(seen.contains(name), || format!("{name}: nothing is of it"));
    }
    look.end();
}

#[test]
fn what_is_one_of_few_is_listed() {
    let look = Look::new();
    let schemas = &look.document["components"]["schemas"];
    let listed = |schema: &Value| {
        let name = schema["$ref"]
            .as_str()
            .or_else(|| schema["oneOf"].as_array()?.iter().find_map(|one| one["$ref"].as_str()));
        let schema = name.map_or(schema, |name| &schemas[name.rsplit_once('/').unwrap().1]);
        let own = || schema["oneOf"].as_array()?.iter().find_map(|one| one["enum"].as_array());
        let listed = schema["enum"].as_array().or_else(own);
        listed.map_or(0, |listed| listed.iter().filter(|one| one.is_string()).count())
    };
    for (of, property, n) in [
        ("ProblemBody", "kind", 27),
        ("Erasure", "state", 3),
        ("Checked", "grade", 3),
        ("NewPageLink", "role", 3),
    ] {
        assert!(listed(&schemas[of]["properties"][property]) >= n, "{of}.{property}");
    }
    let list = &look.document["paths"]["/v1/users/{handle}/records"]["get"]["parameters"];
    let order = list.as_array().unwrap().iter().find(|one| one["name"] == "order").unwrap();
    assert_eq!(listed(&order["schema"]), 2, "{order}");
    let scopes = &schemas["NewCredential"]["properties"]["scopes"]["items"];
    let name = scopes["$ref"].as_str().unwrap().rsplit_once('/').unwrap().1;
    assert!(schemas[name]["pattern"].as_str().unwrap().contains("put|read|report"), "{scopes}");
    let facts = schemas["Fact"]["oneOf"].as_array().unwrap();
    assert!(facts.len() >= 11, "{facts:?}");
}

/// What cannot become of an operation is not said of it.
#[test]
fn an_operation_says_what_may_become_of_it_and_nothing_else() {
    let look = Look::new();
    let mut sets = BTreeSet::new();
    for (name, operation) in look.operations() {
        let responses = operation["responses"].as_object().unwrap();
        let has = |status: &str| responses.contains_key(status);
        let erases = [
            "POST /v1/erasures",
            "POST /v1/users/{handle}/records",
            "POST /v1/users/{handle}/uploads",
            "HEAD /v1/uploads/{id}",
            "PATCH /v1/uploads/{id}",
        ];
        assert_eq!(has("423"), erases.contains(&&*name), "{name} and holds");
        let body = operation["requestBody"].is_object();
        assert_eq!(has("413"), body, "{name} and long bodies");
        if !body {
            assert!(!has("415"), "{name} and media types");
        }
        let open = operation["security"].as_array().is_some_and(Vec::is_empty)
            || operation["security"] == serde_json::json!([{}]);
        assert_eq!(has("403"), !open, "{name} and what the credential allows");
        assert!(!has("405"), "{name}: its path knows its method");
        if !name.contains('{') && name.starts_with("GET") {
            assert!(!has("404") && !has("410"), "{name}");
        }
        sets.insert(responses.keys().cloned().collect::<Vec<_>>());
    }
    let none = look.document["paths"]["/log/key"]["get"]["responses"].as_object().unwrap();
    for status in ["403", "404", "409", "410", "423", "507"] {
        assert!(!none.contains_key(status), "GET /log/key and {status}");
    }
    assert!(sets.len() >= 15, "{}", sets.len());
}

#[test]
fn the_document_says_where_the_service_is_and_has_examples() {
    let look = Look::new();
    assert_eq!(look.document["servers"][0]["url"], "/");
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        assert!(look.document["paths"][path]["get"].is_object(), "{path}");
    }
    let tags: BTreeSet<String> = look.document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap().to_owned())
        .collect();
    for (name, operation) in look.operations() {
        let tag = operation["tags"][0].as_str().unwrap();
        assert!(tags.contains(tag), "{name}: {tag}");
    }
    assert!(look.document.to_string().contains("X-HTTP-Method-Override"));
    for path in [
        "/v1/users",
        "/v1/erasures",
        "/v1/credentials",
        "/v1/users/{handle}/holds",
        "/v1/users/{handle}/grants",
        "/v1/users/{handle}/page-links",
        "/v1/records/{id}/openings",
    ] {
        let operation = &look.document["paths"][path]["post"];
        let body = &operation["requestBody"]["content"]["application/json"];
        assert!(body["example"].is_object() || body["examples"].is_object(), "{path}: its body");
        let done = ["200", "201"].map(|status| &operation["responses"][status]["content"]);
        let told = done.iter().map(|content| &content["application/json"]);
        let shows =
            |content: &Value| !content["example"].is_null() || !content["examples"].is_null();
        assert!(told.into_iter().any(shows), "{path}: its answer");
    }
    let dir = tempfile::tempdir().unwrap();
    let service = Service::over(dir.path(), &["--public-url", "https://voice.example"]);
    let served = service.ask("GET", "/openapi.json").send().json();
    assert_eq!(served["servers"][0]["url"], "https://voice.example");
}
