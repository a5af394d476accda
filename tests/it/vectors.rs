//! Vectors that the second reader, `tests/oracle.py`, wrote from SPEC.md alone; and that reader
//! over a store that this one wrote. SPEC §12.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use keyfall::cell::FileCell;
use keyfall::engine::{CopyMode, UploadState};
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{Class, Engine, ErrorKind, Options, Put, Query, RecordId, Result, Scope};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::{bytes, open_files, read_record, user};

fn open(dir: &Path) -> Result<Engine> {
    open_files(&dir.join("store"), &dir.join("cell"))
}

fn hash(content: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(content))
}

fn unpack(vector: &Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, packed) in vector["files"].as_object().unwrap() {
        let packed = BASE64.decode(packed.as_str().unwrap().as_bytes()).unwrap();
        let to = dir.path().join(path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, miniz_oxide::inflate::decompress_to_vec_zlib(&packed).unwrap()).unwrap();
    }
    dir
}

/// An upload, as the second reader tells of it.
fn upload(it: &UploadState) -> Value {
    serde_json::json!({
        "id": it.id.to_string(), "user": it.user.as_str(), "class": it.class.as_str(),
        "offset": it.offset, "length": it.length, "expires": it.expires.0, "purpose": it.purpose,
        "name": it.name, "meta": it.meta,
    })
}

/// Who opened a record and what for, as the second reader tells of it.
fn opened(engine: &Engine, id: &RecordId) -> Value {
    let accesses = engine.accesses(id).unwrap().into_iter();
    accesses.map(|it| serde_json::json!([it.principal, it.purpose])).collect()
}

fn check(name: &str, vector: &Value) {
    let dir = unpack(vector);
    let expected = &vector["expected"];
    let engine = open(dir.path());
    if let Some(error) = expected["error"].as_str() {
        let e = engine.expect_err(name);
        assert_eq!(format!("{:?}", e.kind()), error, "{name}: {e}");
        return;
    }
    let engine = engine.unwrap_or_else(|e| panic!("{name}: {e}"));
    let id = |v: &Value| v.as_str().unwrap().parse::<RecordId>().unwrap();
    let (records, unreadable) =
        (expected["records"].as_array().unwrap(), expected["unreadable"].as_array().unwrap());
    for record in records {
        let info = engine.info(&id(&record["id"])).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(info.user.as_str(), record["user"].as_str().unwrap(), "{name}");
        assert_eq!(info.class.as_str(), record["class"].as_str().unwrap(), "{name}");
        assert_eq!(info.purpose, record["purpose"].as_str().unwrap(), "{name}");
        assert_eq!(
            info.name.as_deref(),
            record["name"].as_str().filter(|n| !n.is_empty()),
            "{name}"
        );
        let meta = record["meta"].as_object().cloned().unwrap_or_default();
        assert_eq!(serde_json::json!(info.meta), Value::Object(meta), "{name}");
        let by = record.get("opened").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        assert_eq!(opened(&engine, &info.id), by, "{name}");
        if let Some(own) = &info.name {
            assert_eq!(engine.find(&info.user, own).unwrap(), info, "{name}");
        }
        if let Some(digest) = info.digest {
            assert_eq!(HEXLOWER.encode(&digest), record["sha256"].as_str().unwrap(), "{name}");
        }
        assert_eq!(
            hash(&read_record(&engine, &info.id).unwrap()),
            record["sha256"].as_str().unwrap(),
            "{name}"
        );
    }
    for record in expected["erased"].as_array().unwrap() {
        assert_eq!(
            read_record(&engine, &id(record)).unwrap_err().kind(),
            ErrorKind::Erased,
            "{name}"
        );
    }
    for record in expected["held"].as_array().into_iter().flatten() {
        assert_eq!(
            engine.erase(Scope::Record(id(record))).unwrap_err().kind(),
            ErrorKind::Held,
            "{name}"
        );
    }
    if let Some(plans) = expected["plans"].as_array() {
        let user = user("ada");
        let due: Vec<u64> =
            engine.plans(&user).list().unwrap().iter().map(|plan| plan.due.0).collect();
        assert_eq!(
            due,
            plans.iter().map(|due| due.as_u64().unwrap()).collect::<Vec<_>>(),
            "{name}"
        );
        let report = engine.report(&user).unwrap();
        assert_eq!(report.next_due.map(|due| due.0), plans[0].as_u64());
        assert_eq!(report.pending.map(|due| due.0), expected["pending"].as_u64());
        assert_eq!(report.policies.len() as u64, expected["policies"].as_u64().unwrap());
        assert_eq!(report.store_policies.len() as u64, expected["policies"].as_u64().unwrap());
        let named = engine.list(&Query::default()).unwrap().records.into_iter();
        let named =
            named.filter(|r| engine.get(&r.id).is_err_and(|e| e.kind() == ErrorKind::Refused));
        assert_eq!(named.count() as u64, expected["named"].as_u64().unwrap());
    }
    if let Some(keys) = expected["inbox_keys"].as_array() {
        let report = engine.report(&user("ada")).unwrap();
        assert_eq!(
            report.inbox_keys.iter().map(|at| at.0).collect::<Vec<_>>(),
            [keys[0].as_u64().unwrap()]
        );
        assert_eq!(report.grants.len() as u64, expected["grants"].as_u64().unwrap());
        assert_eq!(report.grants[0].1.name, "Ride skill");
        let sets: Vec<_> =
            report.sets.iter().map(|(name, n)| serde_json::json!([name, n])).collect();
        assert_eq!(sets, *expected["sets"].as_array().unwrap());
    }
    if let Some(uploads) = expected["uploads"].as_array() {
        let mut found: Vec<Value> =
            engine.uploads().list(&user("ada")).unwrap().iter().map(upload).collect();
        found.sort_by_key(|it| it["expires"].as_u64());
        assert_eq!(found, *uploads, "{name}");
        for id in uploads.iter().map(|it| it["id"].as_str().unwrap().parse().unwrap()) {
            let state = engine.uploads().state(&id).unwrap();
            if state.length.is_none() {
                let id = engine.uploads().finish(&id).unwrap();
                assert_eq!(engine.info(&id).unwrap().length, state.offset, "{name}");
            } else {
                engine.uploads().abort(&id).unwrap();
            }
        }
        return;
    }
    for record in unreadable {
        assert_eq!(
            read_record(&engine, &id(record)).unwrap_err().kind(),
            ErrorKind::Corrupt,
            "{name}"
        );
    }
    if let Ok(listing) = engine.list(&Query::default()) {
        let named = expected["named"].as_u64().unwrap_or(0) as usize;
        assert!((0..=unreadable.len()).contains(&(listing.records.len() - named - records.len())));
    } else {
        assert!(!unreadable.is_empty(), "{name}: it cannot be listed");
    }
}

#[test]
fn every_vector_is_read_as_it_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let (mut n, mut errors) = (0, 0);
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let vector: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        check(path.file_stem().unwrap().to_str().unwrap(), &vector);
        n += 1;
        errors += usize::from(vector["expected"]["error"].is_string());
    }
    assert!(n >= 16 && errors >= 7, "{n} vectors, {errors} errors");
}

fn oracle(arguments: &[&Path]) -> Option<String> {
    let has = Command::new("python3")
        .args(["-c", "import cryptography, base64; base64.b32hexencode"])
        .output();
    if !has.is_ok_and(|o| o.status.success()) {
        println!("skipped: python3 with the package cryptography is not installed");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle.py");
    let out = Command::new("python3").arg(script).args(arguments).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(String::from_utf8(out.stdout).unwrap())
}

#[test]
fn the_second_reader_reads_what_the_first_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let (store, cell) = (dir.path().join("store"), dir.path().join("cell"));
    let made = (
        SledStore::create(&store).unwrap(),
        FileCell::create(&cell, true, Arc::new(System)).unwrap(),
    );
    let engine = Engine::init(Arc::new(made.0), Arc::new(made.1), Options::default()).unwrap();
    // Enough users for a tree of two levels, enough records of one for a class tree of two.
    for n in 0..140u64 {
        let put = Put::new(user(&format!("user {n} \u{1F3A4}")), Class::transcript())
            .purpose(format!("number {n}"));
        engine.put(put.media_type("text/plain"), &bytes(n, n as usize)[..]).unwrap();
    }
    for (n, len) in [0, 1, 16_383, 16_384, 16_385, 262_144, 700_000].into_iter().enumerate() {
        engine.put(Put::new(user("ada"), Class::audio()), &bytes(n as u64, len)[..]).unwrap();
    }
    let mut batch = engine.batch();
    for n in 0..90u64 {
        batch.add(Put::new(user("ada"), Class::action()), &bytes(n, 30)[..]).unwrap();
    }
    let ids = batch.commit().unwrap();
    // Enough names for a tree of two levels, labels of several pieces; some of one class.
    for n in 0..300 {
        let put = Put::new(user("ada"), Class::new("note").unwrap()).name(format!("notes/{n}"));
        engine.put(put, &bytes(n, 20)[..]).unwrap();
    }
    let long = Put::new(user("ada"), Class::audio()).name("n".repeat(1024));
    engine.put(long.meta("k", "v".repeat(2000)), &bytes(1, 5000)[..]).unwrap();
    let few = Put::new(user("user 1 \u{1F3A4}"), Class::action()).name("a").meta("k", "v");
    let few = engine.put(few, &bytes(2, 600)[..]).unwrap();
    let derived = Put::new(user("user 2 \u{1F3A4}"), Class::action()).name("b");
    let derived = engine.put(derived.derived_from(few), &bytes(3, 600)[..]).unwrap();
    for (n, why) in ["to hear it", "to hear it again", "for a report"].into_iter().enumerate() {
        engine.open_as(&derived, &format!("page {n}"), why).unwrap();
        engine.get_as(&ids[7], "analyst \u{1F3A4}", why).unwrap();
    }
    for id in &ids[..5] {
        engine.erase(Scope::Record(*id)).unwrap();
    }
    for n in (0..140).step_by(9) {
        engine.erase(Scope::user(user(&format!("user {n} \u{1F3A4}")))).unwrap();
    }
    engine
        .copies()
        .add(dir.path().join("copy").to_str().unwrap(), CopyMode::InStep, &mut |_| {})
        .unwrap();

    let mut uploads = Vec::new();
    for (n, derived) in [(3u64, false), (0, true), (2, true)] {
        let mut put = Put::new(user("ada"), Class::audio()).length(99_999).meta("n", n.to_string());
        if derived {
            put = put.derived_from(ids[9]).name(format!("upload {n}")).if_absent();
        }
        let id = engine.uploads().begin(put.purpose(format!("half {n}"))).unwrap();
        for part in 0..n {
            engine.uploads().append(&id, part * 20_000, &bytes(part, 20_000)[..]).unwrap();
        }
        let mut told = upload(&engine.uploads().state(&id).unwrap());
        let there: Vec<u8> = (0..n).flat_map(|part| bytes(part, 20_000)).collect();
        told["sha256"] = hash(&there).into();
        told["media_type"] = "application/octet-stream".into();
        uploads.push(told);
    }
    uploads.sort_by_key(|it| it["id"].to_string());

    let mut expected = BTreeMap::new();
    for info in engine.list(&Query::default()).unwrap().records {
        let content = read_record(&engine, &info.id).unwrap();
        expected.insert(
            info.id.to_string(),
            serde_json::json!({
                "id": info.id.to_string(), "user": info.user.as_str(), "class": info.class.as_str(), "length": info.length,
                "created": info.created.0, "media_type": info.media_type, "purpose": info.purpose, "sha256": hash(&content),
                "name": info.name, "meta": info.meta, "opened": opened(&engine, &info.id),
            }),
        );
    }
    drop(engine);
    for store in [store, dir.path().join("copy")] {
        let Some(listed) = oracle(&[Path::new("list"), &store, &cell]) else { return };
        let found: BTreeMap<String, Value> = listed
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|record| (record["id"].as_str().unwrap().to_owned(), record))
            .collect();
        assert_eq!(found.len(), expected.len());
        assert_eq!(found, expected);
        let Some(listed) = oracle(&[Path::new("uploads"), &store, &cell]) else { return };
        let mut found: Vec<Value> =
            listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        found.sort_by_key(|it| it["id"].to_string());
        assert_eq!(found, uploads);
    }
}

/// A store that the second reader made, opened without its realm's map: who is in it stays at home.
#[test]
fn what_is_written_into_a_store_of_a_realm_is_bound_to_the_realm() {
    let vector = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/realm.json");
    let dir = unpack(&serde_json::from_str(&std::fs::read_to_string(vector).unwrap()).unwrap());
    let (store, cell) = (dir.path().join("store"), dir.path().join("cell"));
    for round in 0..2 {
        let engine = open(dir.path()).unwrap();
        let stranger = Put::new(user("dora"), Class::audio());
        assert_eq!(engine.put(stranger, &b"lost"[..]).unwrap_err().kind(), ErrorKind::Refused);
        let here = engine.users(None, 1).unwrap().remove(0).0;
        let source =
            engine.put(Put::new(here.clone(), Class::audio()), &bytes(round, 300_000)[..]).unwrap();
        let other = engine.put(Put::new(here.clone(), Class::audio()), &b"other"[..]).unwrap();
        let derived = Put::new(here.clone(), Class::action());
        let derived = derived.derived_from(source).derived_from(other);
        let derived = engine.put(derived, &b"it rings"[..]).unwrap();
        engine.detach(&derived, "it rings all the same").unwrap();
        engine.erase(Scope::Record(other)).unwrap();
        assert_eq!(read_record(&engine, &derived).unwrap(), b"it rings");
        assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    }
    let Some(listed) = oracle(&[Path::new("list"), &store, &cell]) else { return };
    let contents = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(contents.filter(|record| record["sha256"].is_string()).count(), 4 + 2 * 2);
    let Some(head) = oracle(&[Path::new("head"), &store, &cell]) else { return };
    let head: Value = serde_json::from_str(&head).unwrap();
    assert_ne!(head["realm"], head["store"]);
    assert_eq!(head["segment"].as_u64(), Some(262_144));
}

#[test]
fn the_vectors_are_those_that_the_second_reader_makes() {
    let dir = tempfile::tempdir().unwrap();
    if oracle(&[Path::new("vectors"), dir.path()]).is_none() {
        return;
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let vector = |path: &Path| -> Value {
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
        };
        let (made, there) = (vector(&entry.path()), vector(&kept.join(entry.file_name())));
        // Compressed alike by every zlib or not: what counts is what they say.
        assert_eq!((&made["about"], &made["expected"]), (&there["about"], &there["expected"]));
    }
}
