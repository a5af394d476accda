//! Openings: one line in the report, many ranges.

use super::kit::Service;

#[test]
fn a_player_seeks_and_the_report_has_one_line() {
    let service = Service::start();
    let ada = service.user("ada");
    let content: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let id = service.put(&ada, "audio", &content);
    let path = format!("/v1/records/{id}/openings");
    let none = service.admin("POST", &path).json("{}");
    assert_eq!((none.status, none.kind()), (400, "invalid".to_owned()));
    let opened = service.admin("POST", &path).json("{\"purpose\":\"a complaint\"}");
    assert_eq!(opened.status, 201, "{}", opened.text());
    let at = opened.json()["opening"].as_str().unwrap().to_owned();
    assert_eq!(opened.header("location"), Some(at.as_str()));
    for n in 0..20 {
        let range = format!("bytes={}-{}", n * 5000, n * 5000 + 99);
        let got = service.ask("GET", &at).header("Range", &range).send();
        assert_eq!((got.status, &got.body[..]), (206, &content[n * 5000..n * 5000 + 100]));
    }
    assert_eq!(service.ask("GET", &at).send().body, content);
    assert_eq!(service.ask("HEAD", &at).send().header("content-length"), Some("200000"));
    let lines = service.admin("GET", &path).send().json();
    assert_eq!(lines.as_array().unwrap().len(), 1, "{lines}");
    assert_eq!(lines[0]["purpose"], "a complaint");

    let metrics = service.admin("GET", "/metrics").send().text();
    let counted = metrics.lines().filter(|line| line.starts_with("keyfall_openings_total{"));
    let counted: Vec<&str> = counted.collect();
    assert!(matches!(counted[..], [line] if line.ends_with(" 1")), "{counted:?}");

    assert_eq!(service.ask("DELETE", &at).send().status, 204);
    assert_eq!(service.ask("GET", &at).send().kind(), "absent");
    assert!(!service.log().contains(at.rsplit('/').next().unwrap()), "the token is in no log line");
}

#[test]
fn an_opening_ends_with_its_record_and_with_its_time() {
    let service = Service::start();
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    let path = format!("/v1/records/{id}/openings");
    let open = |json: &str| service.admin("POST", &path).json(json);
    let short = open("{\"purpose\":\"a complaint\",\"seconds\":1}").json();
    let long = open("{\"purpose\":\"a complaint\"}").json();
    let of = |opened: &serde_json::Value| opened["opening"].as_str().unwrap().to_owned();
    assert_eq!(open("{\"purpose\":\"x\",\"seconds\":601}").status, 400);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(service.ask("GET", &of(&short)).send().status, 404);
    assert_eq!(service.ask("GET", &of(&long)).send().status, 200);
    let held: Vec<_> = (0..7).map(|_| open("{\"purpose\":\"x\"}").status).collect();
    assert_eq!(held, [201; 7]);
    assert_eq!(open("{\"purpose\":\"x\"}").kind(), "limit");
    let erase = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
    assert_eq!(service.admin("POST", "/v1/erasures").json(&erase).status, 200);
    // Of what fell nothing is said, and it takes no place.
    let other = service.put(&ada, "audio", b"RIFF....");
    let path = format!("/v1/records/{other}/openings");
    let open = || service.admin("POST", &path).json("{\"purpose\":\"x\"}").status;
    assert_eq!([(); 9].map(|()| open()), [201, 201, 201, 201, 201, 201, 201, 201, 409]);
    for method in ["GET", "HEAD"] {
        let over = service.ask(method, &of(&long)).send();
        assert_eq!((over.status, over.header("clear-site-data")), (404, None), "{method}");
    }
}
