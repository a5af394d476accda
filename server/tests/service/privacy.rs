//! A log line with a user's name is the copy that no erase reaches.

use super::kit::Service;

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
    let entered = service.ask("POST", url).body(b"");
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
        "eyJhbGciOiJub25lIn0",
    ]
    .map(str::to_owned);
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
        assert!(!metrics.contains(&secret), "{secret} is in a metric");
    }
}
