//! The life of a record, and parts of it.

use super::kit::Service;

#[test]
fn a_record_is_put_found_read_and_gone_for_good_when_it_is_erased() {
    let service = Service::start();
    let ada = service.user("ada");
    assert_eq!(service.user("ada"), ada, "the same user has the same handle");
    let path = format!("/v1/users/{ada}/records");
    let put = service
        .admin("POST", &path)
        .header("Keyfall-Class", "audio")
        .header("Keyfall-Purpose", "voice")
        .header("Content-Type", "audio/wav")
        .body(b"RIFF....");
    assert_eq!(put.status, 201);
    let id = put.json()["id"].as_str().unwrap().to_owned();
    let address = format!("/v1/records/{id}");
    assert_eq!(put.header("location"), Some(address.as_str()));
    assert_eq!(put.header("etag"), Some(format!("\"{id}\"").as_str()));
    let digest = "sha-256=:4E/nN9pxiRGFaMlARDbtB2QDogK5SPwFYz7AebB2Oyk=:";
    let sum = put.header("repr-digest").unwrap();
    assert!(sum.starts_with("sha-256=:") && sum.len() == digest.len(), "{sum}");

    let got = service.admin("GET", &address).send();
    assert_eq!((got.status, got.body.as_slice()), (200, &b"RIFF...."[..]));
    assert_eq!(got.header("content-type"), Some("audio/wav"));
    assert_eq!(got.header("content-length"), Some("8"));
    assert_eq!(got.header("cache-control"), Some("no-store"));
    assert_eq!(got.header("accept-ranges"), Some("bytes"));
    let head = service.admin("HEAD", &address).send();
    assert_eq!((head.status, head.header("content-length")), (200, Some("8")));

    let text = service
        .admin("POST", &path)
        .header("Keyfall-Class", "transcript")
        .header("Keyfall-From", &id)
        .body(b"wake me at six");
    let text = text.json()["id"].as_str().unwrap().to_owned();
    let lineage = service.admin("GET", &format!("{address}/lineage")).send().json();
    assert_eq!(lineage["derived"][0], text.as_str());

    let listed = service.admin("GET", &format!("{path}?limit=1")).send();
    assert_eq!(listed.json()["records"].as_array().unwrap().len(), 1);
    let link = listed.header("link").unwrap();
    let next = link.strip_prefix('<').unwrap().split('>').next().unwrap();
    assert!(link.ends_with("; rel=\"next\""));
    let second = service.admin("GET", next).send();
    assert_eq!(second.json()["records"].as_array().unwrap().len(), 1);
    assert_eq!(second.header("link"), None);

    let erased = service
        .admin("POST", "/v1/erasures")
        .json(&format!("{{\"scope\":{{\"record\":\"{id}\"}},\"certificate\":true}}"));
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert_eq!(erased.json()["state"], "complete");
    for gone in [&id, &text] {
        for method in ["GET", "HEAD"] {
            let got = service.admin(method, &format!("/v1/records/{gone}")).send();
            assert_eq!(got.status, 410);
            assert_eq!(got.header("clear-site-data"), Some("\"cache\""));
        }
    }
    let again = service
        .admin("POST", "/v1/erasures")
        .json(&format!("{{\"scope\":{{\"record\":\"{id}\"}}}}"));
    assert_eq!((again.status, &again.json()["already"]), (200, &serde_json::json!(true)));
}

#[test]
fn a_range_is_the_bytes_that_were_asked_for() {
    let service = Service::start();
    let ada = service.user("ada");
    let content: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let id = service.put(&ada, "audio", &content);
    let table: &[(&str, u16, std::ops::Range<usize>)] = &[
        ("bytes=0-0", 206, 0..1),
        ("bytes=0-99", 206, 0..100),
        ("bytes=70000-140000", 206, 70_000..140_001),
        ("bytes=199999-", 206, 199_999..200_000),
        ("bytes=-10", 206, 199_990..200_000),
        ("bytes=-500000", 206, 0..200_000),
        ("bytes=0-0,5-6", 200, 0..200_000),
        ("nonsense", 200, 0..200_000),
        ("bytes=200000-", 416, 0..0),
    ];
    for (range, status, part) in table {
        let path = format!("/v1/records/{id}");
        let got = service.admin("GET", &path).header("Range", range).send();
        assert_eq!(got.status, *status, "{range}");
        if *status == 416 {
            assert_eq!(got.header("content-range"), Some("bytes */200000"));
            assert_eq!(got.kind(), "range");
            continue;
        }
        assert!(got.whole && got.body == content[part.clone()], "{range}");
        if *status == 206 {
            let expected = format!("bytes {}-{}/200000", part.start, part.end - 1);
            assert_eq!(got.header("content-range"), Some(expected.as_str()));
        }
        let stale = service
            .admin("GET", &path)
            .header("Range", range)
            .header("If-Range", "\"another\"")
            .send();
        assert_eq!((stale.status, stale.body.len()), (200, content.len()), "{range}");
    }
    let path = format!("/v1/records/{id}");
    let etag = format!("\"{id}\"");
    assert_eq!(service.admin("GET", &path).header("If-None-Match", &etag).send().status, 304);
    assert_eq!(service.admin("GET", &path).header("If-Match", "\"other\"").send().status, 412);
}

#[test]
fn what_is_no_record_is_refused_with_a_word() {
    let service = Service::start();
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/records");
    let refused = |request: super::kit::Request<'_>, status, kind: &str| {
        let got = request.body(b"x");
        assert_eq!((got.status, got.kind()), (status, kind.to_owned()), "{}", got.text());
    };
    refused(service.admin("POST", &path), 400, "invalid");
    refused(service.admin("POST", &path).header("Keyfall-Class", "Audio!"), 400, "invalid");
    let unknown = "/v1/users/u_nobody/records";
    refused(service.admin("POST", unknown).header("Keyfall-Class", "audio"), 404, "absent");
    refused(service.ask("POST", &path), 401, "unauthorized");
    assert_eq!(service.admin("GET", "/v1/records/none").send().kind(), "absent");
    assert_eq!(service.admin("GET", "/v1/nothing").send().kind(), "absent");
    assert_eq!(service.admin("PATCH", "/v1/users").body(b"").kind(), "method");
}

/// It listed ids of others, which have the others' handles in them.
#[test]
fn a_lineage_names_no_record_of_a_user_whom_the_credential_is_not_for() {
    let service = Service::start();
    let (ada, ben) = (service.user("ada"), service.user("ben"));
    let of_ada = service.put(&ada, "audio", b"RIFF....");
    let derived = |from: &str| {
        let put = service.admin("POST", &format!("/v1/users/{ben}/records"));
        let put = put.header("Keyfall-Class", "transcript").header("Keyfall-From", from).body(b"x");
        assert_eq!(put.status, 201, "{}", put.text());
        put.json()["id"].as_str().unwrap().to_owned()
    };
    let of_ben = derived(&of_ada);
    let again = derived(&of_ben);
    let token = service.credential(&format!(
        "{{\"principal\":\"p\",\"scopes\":[\"report\"],\"users\":[\"{ben}\"]}}"
    ));
    let path = format!("/v1/records/{of_ben}/lineage");
    let told = service.ask("GET", &path).header("Authorization", &format!("Bearer {token}")).send();
    assert!(!told.text().contains(&ada) && !told.text().contains(&of_ada), "{}", told.text());
    let told = told.json();
    assert_eq!((&told["elsewhere"], &told["derived"][0]), (&1.into(), &again.into()), "{told}");
    let all = service.admin("GET", &path).send().json();
    assert_eq!((&all["elsewhere"], &all["sources"][0]), (&0.into(), &of_ada.into()), "{all}");
}
