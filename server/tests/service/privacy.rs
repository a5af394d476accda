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
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    // Nor has any file of the service.
    let book = std::fs::read_to_string(service.dir.join("a.db.service/credentials.json"));
    let book = book.unwrap_or_default();
    assert!(!book.contains(name) && !book.contains(&ada));
}
