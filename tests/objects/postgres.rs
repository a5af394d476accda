//! Engines over PostgreSQL: what a failover does to them, how many round trips they make and how
//! long that takes beside a bare insert, and the program. Each test makes its servers.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{CopyMode, OpenAs, restore};
use keyfall::store::{MemoryStore, ObjectLog, Store};
use keyfall::{Engine, ErrorKind, RecordId, Result, Scope};
use keyfall_objects::postgres::PostgresObjects;
use keyfall_objects::{MemoryObjects, Objects};

use crate::cluster::wire::Wire;
use crate::cluster::{Server, directory, programs};
use crate::engines::{options, put, read, user};

fn rows(url: &str) -> Arc<dyn Objects> {
    Arc::new(PostgresObjects::at(url).unwrap())
}

fn opened(url: &str) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(ObjectLog::open(rows(url))?))
}

fn made(url: &str) -> Arc<dyn Store> {
    Arc::new(ObjectLog::create(rows(url)).unwrap())
}

/// An asynchronous standby is promoted that lacks puts and an erase: it is not opened, what is
/// missing is said, and a copy in step restores all of it.
#[test]
fn a_standby_that_lacks_an_erase_is_not_opened_and_a_copy_in_step_restores() {
    let Some(bin) = programs() else { return };
    let dir = directory();
    let primary = Server::make(&bin, dir.path(), "a");
    let standby = primary.standby("b");
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let copy: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let there = Arc::clone(&copy);
    let options = || {
        let there = Arc::clone(&there);
        options().open_copy(Arc::new(move |_: &str, _| Ok(Arc::clone(&there))))
    };
    let engine = Engine::init(made(&primary.url("")), Arc::clone(&cell), options()).unwrap();
    engine.copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
    let ids: Vec<RecordId> = (0..5).map(|n| put(&engine, n, &[n as u8; 3000]).unwrap()).collect();
    primary.until(
        "select bool_and(flush_lsn >= pg_current_wal_flush_lsn()) from pg_stat_replication",
        "t",
    );
    standby.stop("fast");
    let late = put(&engine, 7, b"late").unwrap();
    engine.erase(Scope::user(user(1))).unwrap();
    primary.kill();
    drop(engine);
    standby.start();
    standby.promote();

    let e = opened(&standby.url("")).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Medium, "{e}");
    let text = e.to_string();
    let (_, accept) = text.split_once("accept=").unwrap();
    let accept = accept.split_whitespace().next().unwrap();
    eprintln!("{e}");
    // Whoever accepts it all the same is stopped by the cell.
    let store = opened(&standby.url(&format!("&accept={accept}"))).unwrap();
    let e = Engine::open(store, Arc::clone(&cell), options()).err().unwrap();
    eprintln!("{e}");
    assert!(matches!(e.kind(), ErrorKind::Mismatch | ErrorKind::Refused), "{e:?}");

    let fresh = standby.url("&store=restored");
    let target = made(&fresh);
    restore(&*cell, &[copy], &*target, &mut |_| {}).unwrap();
    drop(target);
    let engine =
        Engine::open(opened(&fresh).unwrap(), cell, options().open_as(OpenAs::TakeOver)).unwrap();
    assert_eq!(read(&engine, &late).unwrap(), b"late");
    assert_eq!(read(&engine, &ids[2]).unwrap(), [2; 3000]);
    assert_eq!(read(&engine, &ids[1]).unwrap_err().kind(), ErrorKind::Erased);
}

/// A server is set back to a point in time before an erase: it is not opened, what it lacks is
/// said, and a copy in step restores all of it.
#[test]
fn a_server_that_is_set_back_to_before_an_erase_is_not_opened() {
    let Some(bin) = programs() else { return };
    let dir = directory();
    let server = Server::make(&bin, dir.path(), "a");
    server.archives();
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let copy: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let there = Arc::clone(&copy);
    let options = || {
        let there = Arc::clone(&there);
        options().open_copy(Arc::new(move |_: &str, _| Ok(Arc::clone(&there))))
    };
    let engine = Engine::init(made(&server.url("")), Arc::clone(&cell), options()).unwrap();
    engine.copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
    let ids: Vec<RecordId> = (0..5).map(|n| put(&engine, n, &[n as u8; 3000]).unwrap()).collect();
    let back = server.base("b");
    server.sql("select pg_create_restore_point('before')");
    engine.erase(Scope::user(user(1))).unwrap();
    let late = put(&engine, 7, b"late").unwrap();
    server.sql("select pg_switch_wal()");
    drop(engine);
    server.stop("fast");
    back.recover_to("before");

    let e = opened(&back.url("")).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Medium, "{e}");
    let text = e.to_string();
    eprintln!("{text}");
    let (_, accept) = text.split_once("accept=").unwrap();
    let accept = accept.split_whitespace().next().unwrap();
    // Whoever accepts it all the same is stopped by the cell, and told what is missing.
    let store = opened(&back.url(&format!("&accept={accept}"))).unwrap();
    let e = Engine::open(store, Arc::clone(&cell), options()).err().unwrap();
    eprintln!("{e}");
    assert!(matches!(e.kind(), ErrorKind::Mismatch | ErrorKind::Refused), "{e:?}");
    assert!(e.to_string().contains("epoch"), "{e}");

    let fresh = back.url("&store=restored");
    let target = made(&fresh);
    restore(&*cell, &[copy], &*target, &mut |_| {}).unwrap();
    drop(target);
    let engine =
        Engine::open(opened(&fresh).unwrap(), cell, options().open_as(OpenAs::TakeOver)).unwrap();
    assert_eq!(read(&engine, &late).unwrap(), b"late");
    assert_eq!(read(&engine, &ids[2]).unwrap(), [2; 3000]);
    assert_eq!(read(&engine, &ids[1]).unwrap_err().kind(), ErrorKind::Erased);
}

/// The server is killed under an engine that puts and erases, again and again.
#[test]
fn the_server_is_killed_under_an_engine() {
    let Some(bin) = programs() else { return };
    let dir = directory();
    let server = Server::make(&bin, dir.path(), "a");
    let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
    let url = server.url("&timeout=5");
    let engine = Engine::init(made(&url), Arc::clone(&cell), options()).unwrap();
    let (mut kept, mut erased) = (Vec::new(), Vec::new());
    let rounds = std::env::var("KEYFALL_POSTGRES_ROUNDS").ok().and_then(|n| n.parse().ok());
    for round in 0..rounds.unwrap_or(3) {
        std::thread::scope(|scope| {
            let server = &server;
            let killer = scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(150));
                server.kill();
                server.start();
            });
            let mut n = 0;
            while !killer.is_finished() {
                let who = round * 10_000 + n;
                n += 1;
                let id = put(&engine, who, &[3; 2000]).unwrap();
                if n % 3 == 0 {
                    engine.erase(Scope::user(user(who))).unwrap();
                    erased.push(id);
                } else {
                    kept.push(id);
                }
            }
            killer.join().unwrap();
        });
    }
    drop(engine);
    let engine = Engine::open(opened(&url).unwrap(), cell, options()).unwrap();
    for id in &kept {
        assert_eq!(read(&engine, id).unwrap(), [3; 2000]);
    }
    for id in &erased {
        assert_eq!(read(&engine, id).unwrap_err().kind(), ErrorKind::Erased);
    }
    eprintln!("{} kept, {} erased, 0 lost", kept.len(), erased.len());
}

/// Counted on the wire: 1 for a put, 2 for an erase; with a standby asked for, one more to create.
#[test]
fn a_put_is_one_round_trip_and_an_erase_two() {
    let Some(bin) = programs() else { return };
    let dir = directory();
    let server = Server::make(&bin, dir.path(), "a");
    let wire = Wire::to(&server.socket());
    let engine = Engine::init(made(&wire.url("")), Arc::new(MemoryCell::new()), options()).unwrap();
    assert_trips(&engine, &wire, 1, "round trips of 20 puts and of 20 erases");
    drop(engine);
    let url = wire.url("&prepared=on&store=third");
    let engine = Engine::init(made(&url), Arc::new(MemoryCell::new()), options()).unwrap();
    // Each connection prepares a statement when it is sent for the second time: a trip more. What
    // is asked once a second may be asked over another connection.
    counted(&engine, &wire, 1000);
    assert_trips(&engine, &wire, 2, "the same with prepared statements");
    drop(engine);
    let url = wire.url("&durable=managed&store=fourth");
    let engine = Engine::init(made(&url), Arc::new(MemoryCell::new()), options()).unwrap();
    assert_trips(&engine, &wire, 1, "the same where the service's word is taken");
    drop(engine);
    let standby = server.standby("b");
    server.set("synchronous_standby_names", "b");
    server.until("select sync_state from pg_stat_replication", "sync");
    let url = wire.url("&durable=standby(1)&store=second");
    let engine = Engine::init(made(&url), Arc::new(MemoryCell::new()), options()).unwrap();
    let (puts, erases) = counted(&engine, &wire, 0);
    // A standby that is late by a moment is asked again.
    assert!((40..60).contains(&puts) && (60..80).contains(&erases), "{puts} {erases}");
    eprintln!("with a standby: {puts} for 20 puts, {erases} for 20 erases");
    drop((engine, standby));
}

/// One for a put, two for an erase. Once a second a writer asks as well for an object that it made
/// (SPEC 9.9), by at most `each` trips.
fn assert_trips(engine: &Engine, wire: &Wire, each: u64, what: &str) {
    let began = Instant::now();
    let (puts, erases) = counted(engine, wire, 0);
    let asked = (began.elapsed().as_secs() + 1) * each;
    let is_so = puts >= 20 && erases >= 40 && puts + erases <= 60 + asked;
    assert!(is_so, "{what}: {puts} and {erases}, and up to {asked} more");
}

/// Trips of 20 puts, and of 20 erases, of users from `first` on.
fn counted(engine: &Engine, wire: &Wire, first: u32) -> (u64, u64) {
    let puts = (first..first + 50).map(|n| put(engine, n, &[1; 2000]).unwrap());
    let ids: Vec<RecordId> = puts.collect();
    let (mut puts, mut erases) = (0, 0);
    for n in 0..20 {
        // The pages on its way are in memory; each that is not is one more read.
        read(engine, &ids[n as usize]).unwrap();
        wire.take();
        put(engine, first + 100 + n, &[2; 2000]).unwrap();
        puts += wire.take();
        engine.erase(Scope::user(user(first + n))).unwrap();
        erases += wire.take();
    }
    (puts, erases)
}

/// Beside pgbench's bare insert of as many bytes, a commit each, on the same server. KEYFALL_FIGURES
/// says how many of each.
#[test]
fn figures() {
    let Some(n) = std::env::var("KEYFALL_FIGURES").ok().and_then(|n| n.parse::<u32>().ok()) else {
        return;
    };
    let Some(bin) = programs() else { return };
    let dir = directory();
    let server = Server::make(&bin, dir.path(), "a");
    let objects = rows(&server.url("&store=bare"));
    let prepared = rows(&server.url("&store=prepared&prepared=on"));
    objects.create("c/0", b"x").unwrap();
    prepared.create("c/0", b"x").unwrap();
    let quick = made(&server.url("&store=quick&prepared=on"));
    let quick = Engine::init(quick, Arc::new(MemoryCell::new()), options()).unwrap();
    let engine =
        Engine::init(made(&server.url("")), Arc::new(MemoryCell::new()), options()).unwrap();
    let local = Engine::init(
        Arc::new(ObjectLog::create(Arc::new(MemoryObjects::new())).unwrap()),
        Arc::new(MemoryCell::new()),
        options(),
    )
    .unwrap();
    for n in 0..200 {
        put(&engine, n, &[1; 2000]).unwrap();
        put(&quick, n, &[1; 2000]).unwrap();
        put(&local, n, &[1; 2000]).unwrap();
    }
    let size = || server.sql("select pg_current_wal_insert_lsn() - '0/0'").parse::<f64>().unwrap();
    let stored = || {
        let all = "select coalesce(sum(length(bytes)), 0) from keyfall where store = 'keyfall'";
        server.sql_with_notices("keyfall", all).0.parse::<f64>().unwrap()
    };
    let each = |what: &str, act: &mut dyn FnMut(u32)| {
        let (wal, bytes) = (size(), stored());
        let mut times: Vec<Duration> = (0..n)
            .map(|n| {
                let began = Instant::now();
                act(n);
                began.elapsed()
            })
            .collect();
        times.sort();
        let (half, most) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        let (wal, bytes) = ((size() - wal) / f64::from(n), (stored() - bytes) / f64::from(n));
        eprintln!("{what:<24} p50 {half:?} p99 {most:?}, WAL {wal:.0} B, stored {bytes:.0} B each");
    };
    bare_inserts(&bin, dir.path(), &server, n, &size);
    each("create of 9,000 B", &mut |n| {
        objects.create(&format!("c/{}", n + 1), &[n as u8; 9000]).unwrap();
    });
    each("get of 9,000 B", &mut |n| {
        objects.get(&format!("c/{}", n + 1)).unwrap().unwrap();
    });
    each("create, prepared", &mut |n| {
        prepared.create(&format!("c/{}", n + 1), &[n as u8; 9000]).unwrap();
    });
    each("get, prepared", &mut |n| {
        prepared.get(&format!("c/{}", n + 1)).unwrap().unwrap();
    });
    each("put, prepared", &mut |n| {
        put(&quick, 1000 + n, &[1; 2000]).unwrap();
    });
    each("erase, prepared", &mut |n| {
        quick.erase(Scope::user(user(1000 + n))).unwrap();
    });
    each("put, memory", &mut |n| {
        put(&local, 1000 + n, &[1; 2000]).unwrap();
    });
    each("put", &mut |n| {
        put(&engine, 1000 + n, &[1; 2000]).unwrap();
    });
    each("erase, memory", &mut |n| {
        local.erase(Scope::user(user(1000 + n))).unwrap();
    });
    each("erase", &mut |n| {
        engine.erase(Scope::user(user(1000 + n))).unwrap();
    });
    bare_inserts(&bin, dir.path(), &server, n, &size);
}

fn bare_inserts(bin: &Path, dir: &Path, server: &Server, n: u32, size: &dyn Fn() -> f64) {
    let table = "create table if not exists bare (bytes bytea); \
                 alter table bare alter bytes set storage external";
    server.sql_with_notices("keyfall", table);
    let script = dir.join("bare.sql");
    let bytes: String =
        (0..9000u32).map(|n| format!("{:02x}", n.wrapping_mul(2_654_435_761) >> 24)).collect();
    std::fs::write(&script, format!("insert into bare values ('\\x{bytes}');\n")).unwrap();
    let log = dir.join("bench").join("log");
    let _ = std::fs::create_dir(dir.join("bench"));
    let before = size();
    let out = Command::new(bin.join("pgbench"))
        .args(["-n", "-M", "prepared", "-c", "1", "-U", "postgres", "-l", "--log-prefix"])
        .arg(&log)
        .args(["-t", &n.to_string(), "-f"])
        .arg(&script)
        .args(server.libpq())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let wal = (size() - before) / f64::from(n);
    let mut times = Vec::new();
    for entry in std::fs::read_dir(dir.join("bench")).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let micros = text.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok());
        times.extend(micros.map(Duration::from_micros));
        std::fs::remove_file(file).unwrap();
    }
    times.sort();
    let (half, most) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    eprintln!("{:<24} p50 {half:?} p99 {most:?}, WAL {wal:.0} B", "bare insert of 9,000 B");
}

/// The program, over URLs alone: init, put, a copy, a backup, a restore into another store, audit.
#[test]
fn the_program() {
    let Some(bin) = programs() else { return };
    let dir = directory();
    let server = Server::make(&bin, dir.path(), "a");
    let keyfall = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_keyfall"))
            .args(args)
            .env("KEYFALL_CELL", dir.path().join("cell"))
            .current_dir(dir.path())
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        (out.status.success(), text)
    };
    let done = |args: &[&str]| {
        let (is_done, text) = keyfall(args);
        assert!(is_done, "{args:?}: {text}");
        text
    };
    let store = server.url("&store=one");
    std::fs::write(dir.path().join("voice"), b"a voice").unwrap();
    let (is_done, text) = keyfall(&["init", &store, "--accept-remnants"]);
    assert!(!is_done && text.contains("--single-machine"), "{text}");
    done(&["init", &store, "--accept-remnants", "--single-machine"]);
    let id = done(&["put", &store, "--user", "ada", "--class", "audio", "voice"]).trim().to_owned();
    done(&["copy", "add", &store, &server.url("&store=copy")]);
    done(&["backup", &store, &server.url("&store=backup")]);
    let restored = server.url("&store=restored");
    let text =
        done(&["restore", "--single-machine", "--into", &restored, &server.url("&store=backup")]);
    eprintln!("{text}");
    let text = done(&["get", &restored, &id, "-o", "back"]);
    assert_eq!(std::fs::read(dir.path().join("back")).unwrap(), b"a voice", "{text}");
    done(&["erase", &store, "--user", "ada", "--yes"]);
    let (is_done, text) = keyfall(&["get", &store, &id, "-o", "none"]);
    assert!(!is_done && text.contains("erased"), "{text}");
    eprintln!("{}", done(&["status", &store]));
    for (n, args) in [
        vec!["init", "SECRET"],
        vec!["status", "SECRET"],
        vec!["put", "SECRET", "--user", "ada", "voice"],
        vec!["copy", "add", &store, "SECRET"],
        vec!["backup", &store, "SECRET"],
        vec!["restore", "--into", "there", "SECRET"],
        vec!["restore", "--into", "SECRET", &store],
        vec!["audit", "SECRET"],
    ]
    .into_iter()
    .enumerate()
    {
        let secret = "postgres://ada:hunter2@localhost/keyfall";
        let args: Vec<&str> =
            args.into_iter().map(|arg| if arg == "SECRET" { secret } else { arg }).collect();
        let (is_done, text) = keyfall(&args);
        assert!(!is_done && !text.contains("hunter2"), "{n}: {text}");
    }
}
