//! Stored bytes that are damaged: a problem where nothing of them can be read, and an answer that
//! ends broken, counted and logged, where the rest cannot.

use std::path::{Path, PathBuf};

use super::kit::Service;
use super::page::{Session, between};

const LENGTH: usize = 1_500_000;

/// The file of the store's log that grows, and how long it is.
fn log(dir: &Path) -> (PathBuf, u64) {
    let files = std::fs::read_dir(dir.join("a.db/log")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|at| at.extension().is_some_and(|e| e == "log")).collect();
    files.sort();
    let newest = files.pop().unwrap();
    let length = newest.metadata().unwrap().len();
    (newest, length)
}

fn flip(place: &Path, from: u64, until: u64) {
    let mut bytes = std::fs::read(place).unwrap();
    bytes[from as usize..until as usize].iter_mut().for_each(|byte| *byte ^= 0x5a);
    std::fs::write(place, bytes).unwrap();
}

fn counted(service: &Service, name: &str) -> f64 {
    let metrics = service.admin("GET", "/metrics").send().text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(f64::NAN, |value| value.parse().unwrap())
}

/// It was answered by 200 and nothing, and nothing was counted or logged.
#[test]
fn what_cannot_be_read_is_a_problem_and_what_ends_broken_is_counted_and_logged() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let user = service.user("mensch-unikat");
    let bytes: Vec<u8> = (0..LENGTH).map(|n| (n % 251) as u8).collect();
    let (_, before) = log(dir.path());
    let first = service.put(&user, "audio", &bytes);
    let (place, between_them) = log(dir.path());
    let last = service.put(&user, "audio", &bytes);
    service.signal("-TERM");
    service.child.wait().unwrap();
    let (same, after) = log(dir.path());
    assert_eq!(place, same);
    // The first lies there from before the place where the file ended.
    let half = (between_them + after) / 2;
    flip(&place, before + 20_000, between_them - 40_000);
    flip(&place, half, after - 40_000);
    service = Service::over(dir.path(), &[]);
    let name = "keyfall_answers_broken_total";
    assert_eq!(counted(&service, name), 0.0);

    let at = format!("/v1/records/{last}");
    let corrupt = |reply: super::kit::Reply| {
        assert_eq!((reply.status, reply.kind()), (500, "corrupt".to_owned()));
        assert!(reply.whole);
    };
    corrupt(service.admin("GET", &at).send());
    corrupt(service.admin("GET", &at).header("Range", "bytes=0-0").send());
    let opened = service.admin("POST", &format!("{at}/openings")).json("{\"purpose\":\"x\"}");
    let opening = opened.json()["opening"].as_str().unwrap().to_owned();
    corrupt(service.ask("GET", &opening).send());
    let session = Session::enter(&service, &user, None);
    let page = session.get(&service, "/page").text();
    let sounds: Vec<_> = page.split("<audio").skip(1).collect();
    let sounds: Vec<_> =
        sounds.iter().map(|sound| between(sound, "src=\"", "\"").unwrap()).collect();
    assert_eq!(sounds.len(), 2);
    let heard: Vec<_> = sounds.iter().map(|at| session.get(&service, at)).collect();
    assert_eq!(heard.iter().filter(|reply| reply.status == 500).count(), 1);
    assert_eq!(heard.iter().filter(|reply| reply.status == 200 && !reply.whole).count(), 1);
    assert_eq!(counted(&service, name), 1.0, "the one that had begun");

    let broken = service.admin("GET", &format!("/v1/records/{first}")).send();
    assert_eq!((broken.status, broken.whole), (200, false));
    assert!(!broken.body.is_empty() && bytes.starts_with(&broken.body));
    assert_eq!(counted(&service, name), 2.0);
    // An archive has begun before it comes to what is damaged, or has not.
    let archive = service.admin("GET", &format!("/v1/users/{user}/export.zip")).send();
    let begun = f64::from(u8::from(archive.status == 200));
    assert!(archive.status == 500 || !archive.whole, "{}", archive.status);
    assert_eq!(counted(&service, name), 2.0 + begun);
    let logged = service.log();
    let lines: Vec<_> = logged.lines().filter(|line| line.contains("ended broken")).collect();
    assert!(lines.len() >= 2 && lines.iter().all(|line| line.contains("Corrupt")), "{lines:#?}");
    for told in [&*first, &*last, &*user, "mensch-unikat"] {
        assert!(lines.iter().all(|line| !line.contains(told)), "{lines:#?}");
    }

    // What an erase cuts, or a caller who goes away, is no such failure.
    let json = format!("{{\"scope\":{{\"record\":\"{last}\"}}}}");
    assert_eq!(service.admin("POST", "/v1/erasures").json(&json).status, 200);
    assert_eq!(service.admin("GET", &at).send().status, 410);
    assert_eq!(counted(&service, name), 2.0 + begun);
}
