//! What a credential allows, endpoint by endpoint.

use super::kit::Service;

/// Every operation, with the scope that it needs.
const OPERATIONS: &[(&str, &str, &str)] = &[
    ("POST", "/v1/users", "put"),
    ("POST", "/v1/users/{ada}/records", "put"),
    ("GET", "/v1/users/{ada}", "report"),
    ("GET", "/v1/users/{ada}/report", "report"),
    ("GET", "/v1/users/{ada}/records", "report"),
    ("GET", "/v1/users/{ada}/plans", "report"),
    ("GET", "/v1/users/{ada}/holds", "report"),
    ("GET", "/v1/users/{ada}/policies", "report"),
    ("GET", "/v1/users/{ada}/grants", "report"),
    ("GET", "/v1/records/{id}", "read"),
    ("HEAD", "/v1/records/{id}", "read"),
    ("GET", "/v1/records/{id}/lineage", "report"),
    ("GET", "/v1/records/{id}/openings", "report"),
    ("POST", "/v1/erasures?dry_run=true", "erase"),
    ("GET", "/v1/erasures/e_0000000000000001", "erase"),
    ("POST", "/v1/users/{ada}/holds", "rules"),
    ("PUT", "/v1/users/{ada}/policies?dry_run=true", "rules"),
    ("PUT", "/v1/policies?dry_run=true", "rules"),
    ("GET", "/v1/policies", "rules"),
    ("POST", "/v1/users/{ada}/grants", "rules"),
    ("GET", "/v1/users/{ada}/inbox", "inbox"),
    ("POST", "/v1/inbox", "inbox"),
    ("POST", "/v1/users/{ada}/page-links", "page"),
    ("GET", "/v1/status", "status"),
    ("GET", "/metrics", "status"),
    ("GET", "/v1/credentials", "admin"),
    ("POST", "/v1/credentials", "admin"),
];

fn body(path: &str, ada: &str) -> String {
    match path {
        "/v1/users" => "{\"name\":\"ada\"}".to_owned(),
        "/v1/erasures?dry_run=true" => format!("{{\"scope\":{{\"user\":\"{ada}\"}}}}"),
        path if path.contains("policies") => "{\"class\":\"audio\",\"max_age\":\"90d\"}".to_owned(),
        path if path.ends_with("holds") => "{\"reason\":\"a\",\"authority\":\"b\"}".to_owned(),
        path if path.ends_with("grants") => {
            "{\"to\":\"no key\",\"name\":\"n\",\"purpose\":\"p\"}".to_owned()
        }
        "/v1/credentials" => {
            "{\"principal\":\"p\",\"scopes\":[\"put\"],\"users\":\"any\"}".to_owned()
        }
        _ => "{}".to_owned(),
    }
}

#[test]
fn each_operation_wants_its_scope_its_user_and_a_credential() {
    let service = Service::start();
    let (ada, ben) = (service.user("ada"), service.user("ben"));
    let id = service.put(&ada, "audio", b"RIFF....");
    let scopes = [
        "put",
        "read",
        "read:audio",
        "report",
        "erase",
        "rules",
        "inbox",
        "page",
        "status",
        "admin",
    ];
    let made = |scope: &str, users: &str| {
        service.credential(&format!(
            "{{\"principal\":\"p\",\"scopes\":[\"{scope}\"],\"users\":{users},\"purposes\":[\"*\"]}}"
        ))
    };
    let ask = |method: &str, path: &str, token: &str| {
        let filled = path.replace("{ada}", &ada).replace("{id}", &id);
        let request = service
            .ask(method, &filled)
            .header("Authorization", &format!("Bearer {token}"))
            .header("Keyfall-Class", "audio")
            .header("Content-Type", "application/json");
        request.body(body(path, &ada).as_bytes()).status
    };
    for scope in scopes {
        let token = made(scope, "\"any\"");
        for (method, path, needs) in OPERATIONS {
            let allowed =
                [*needs, "admin"].contains(&scope) || (*needs == "read" && scope == "read:audio");
            let status = ask(method, path, &token);
            assert!(![401, 500, 503].contains(&status), "{method} {path} as {scope}: {status}");
            assert_eq!(status != 403, allowed, "{method} {path} as {scope}: {status}");
        }
    }
    let other = made("admin", &format!("[\"{ben}\"]"));
    for (method, path, _) in OPERATIONS.iter().filter(|(_, path, _)| path.contains('{')) {
        assert_eq!(ask(method, path, &other), 403, "{method} {path} for another user");
    }
    for (method, path, _) in OPERATIONS {
        assert_eq!(ask(method, path, "kf_wrong"), 401, "{method} {path}");
    }
    let text = made("read:transcript", "\"any\"");
    assert_eq!(ask("GET", "/v1/records/{id}", &text), 403);
}

#[test]
fn the_purpose_is_the_credentials_and_stands_in_the_report() {
    let service = Service::start();
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    let token = service.credential(
        "{\"principal\":\"desk 7\",\"scopes\":[\"read:audio\"],\"users\":\"any\",\
         \"purposes\":[\"support case\",\"audit\"],\"default_purpose\":\"audit\"}",
    );
    let read = |purpose: Option<&str>| {
        let path = format!("/v1/records/{id}");
        let request = service.ask("GET", &path).header("Authorization", &format!("Bearer {token}"));
        match purpose {
            Some(purpose) => request.header("Keyfall-Purpose", purpose).send().status,
            None => request.send().status,
        }
    };
    assert_eq!(read(Some("support case")), 200);
    assert_eq!(read(None), 200);
    assert_eq!(read(Some("curiosity")), 403);
    let openings = service.admin("GET", &format!("/v1/records/{id}/openings")).send().json();
    let told: Vec<(&str, &str)> = openings
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["principal"].as_str().unwrap(), one["purpose"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("desk 7", "support case"), ("desk 7", "audit")]);

    let named = "{\"class\":\"audio\",\"readers_named\":true}";
    assert_eq!(service.admin("PUT", "/v1/policies").json(named).status, 204);
    assert_eq!(service.admin("GET", &format!("/v1/records/{id}")).send().status, 403);
    assert_eq!(read(Some("support case")), 200);
}

#[test]
fn a_credential_ends_and_is_kept_as_a_hash() {
    let dir = tempfile::TempDir::new().unwrap();
    let service = Service::over(dir.path(), &[]);
    let json = |until: &str| {
        format!("{{\"principal\":\"p\",\"scopes\":[\"status\"],\"users\":\"any\"{until}}}")
    };
    let token = service.credential(&json(""));
    let until = keyfall::Timestamp(keyfall::Timestamp::now().0 + 4000);
    let past = service.credential(&json(&format!(",\"until\":\"{until}\"")));
    std::thread::sleep(std::time::Duration::from_millis(4100));
    let status = |service: &Service, token: &str| {
        let request = service.ask("GET", "/v1/status");
        request.header("Authorization", &format!("Bearer {token}")).send().status
    };
    assert_eq!((status(&service, &token), status(&service, &past)), (200, 401));
    let book = std::fs::read_to_string(dir.path().join("a.db.service/credentials.json")).unwrap();
    assert!(!book.contains(&token));
    use std::os::unix::fs::PermissionsExt;
    for file in ["token", "a.db.service/credentials.json"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    drop(service);

    let service = Service::over(dir.path(), &[]);
    assert_eq!(status(&service, &token), 200, "it is in the book");
    let list = service.admin("GET", "/v1/credentials").send().json();
    let id = list[0]["id"].as_str().unwrap();
    assert_eq!(service.admin("DELETE", &format!("/v1/credentials/{id}")).body(b"").status, 204);
    assert_eq!(status(&service, &token), 401);
}

/// What a credential for some users is told of others.
#[test]
fn nobody_learns_whether_another_user_is_there() {
    let service = Service::start();
    let (ada, _) = (service.user("ada"), service.user("ben"));
    let limited = format!("{{\"principal\":\"p\",\"scopes\":[\"put\"],\"users\":[\"{ada}\"]}}");
    let token = format!("Bearer {}", service.credential(&limited));
    let make = |name: &str| {
        let request = service.ask("POST", "/v1/users").header("Authorization", &token);
        let reply = request.json(&format!("{{\"name\":\"{name}\"}}"));
        (reply.status, reply.json()["detail"].clone())
    };
    assert_eq!(make("ada").0, 200);
    let (there, not_there) = (make("ben"), make("carl"));
    assert_eq!((there.0, &there), (403, &not_there));
}
