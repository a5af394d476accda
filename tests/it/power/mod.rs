//! Power cuts on real files. A process over the default stack, sled included, runs under strace;
//! from its writes, syncs, truncations and names every state is built that a power cut could leave
//! at any moment, and opened: what was acknowledged is there, what was erased is not. Needs strace;
//! without it the tests say that they were skipped. SPEC §6, §9.
//!
//! What this cannot show: a disk that lies about its cache, and directories that vanish as a whole
//! (they are taken as durable when they are made).

mod medium;
mod trace;

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use self::medium::{Honoured, Medium};
use self::trace::{Event, events};
use keyfall::cell::FileCell;
use keyfall::engine::{CopyMode, Keeper};
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{Class, Engine, ErrorKind, Options, Put, RecordId, Scope};

use crate::support::{bytes, has_strace, open_files, read_record, user};

fn open(dir: &Path) -> keyfall::Result<Engine> {
    open_files(&dir.join("store"), &dir.join("cell"))
}

/// The process that is recorded. It prints what is acknowledged.
#[test]
#[ignore = "it is started by the tests below"]
fn child() {
    let Ok(dir) = std::env::var("KEYFALL_POWER") else { return };
    let dir = Path::new(&dir);
    let mut engine = {
        let store = SledStore::create(&dir.join("store")).unwrap();
        let cell = FileCell::create(&dir.join("cell"), true, Arc::new(System)).unwrap();
        // One thread: its calls are the order of what is recorded.
        let options = Options::new().keeper(Keeper::ByHand);
        Engine::init(Arc::new(store), Arc::new(cell), options).unwrap()
    };
    println!("\n@made");
    let mut ids: Vec<(usize, RecordId)> = Vec::new();
    let put = |engine: &Engine, ids: &mut Vec<(usize, RecordId)>, n: usize| {
        let len = [100, 3_000, 40_000][n % 3];
        println!("\n@putting {n} {len}");
        let id = engine
            .put(Put::new(user(&format!("u{}", n % 4)), Class::audio()), &bytes(n as u64, len)[..])
            .unwrap();
        println!("\n@put {n} {len} {id}");
        ids.push((n, id));
    };
    for n in 0..8 {
        put(&engine, &mut ids, n);
    }
    println!("\n@erasing {}", ids[1].1);
    engine.erase(Scope::Record(ids[1].1)).unwrap();
    println!("\n@erased {}", ids[1].1);
    for n in 8..12 {
        put(&engine, &mut ids, n);
    }
    engine.copies().add(dir.join("copy").to_str().unwrap(), CopyMode::Behind, &mut |_| {}).unwrap();
    drop(engine);
    engine = open(dir).unwrap();
    let of_u2: Vec<String> =
        ids.iter().filter(|(n, _)| n % 4 == 2).map(|(_, id)| id.to_string()).collect();
    println!("\n@erasing {}", of_u2.join(" "));
    engine.erase(Scope::user(user("u2"))).unwrap();
    println!("\n@erased {}", of_u2.join(" "));
    engine.discard(&mut |_| {}).unwrap();
    for n in [12, 13, 15, 16] {
        put(&engine, &mut ids, n);
    }
    drop(engine);
    let engine = open(dir).unwrap();
    put(&engine, &mut ids, 17);
}

/// What the process said that it had done.
#[derive(Default)]
struct Acknowledged {
    made: bool,
    live: BTreeMap<RecordId, (u64, usize)>,
    erased: Vec<RecordId>,
    erasing: Vec<RecordId>,
}

impl Acknowledged {
    fn hear(&mut self, said: &str) {
        let words: Vec<&str> = said.split(' ').collect();
        let ids =
            || words[1..].iter().map(|id| id.parse::<RecordId>().unwrap()).collect::<Vec<_>>();
        match words[0] {
            "made" => self.made = true,
            "put" => drop(self.live.insert(
                words[3].parse().unwrap(),
                (words[1].parse().unwrap(), words[2].parse().unwrap()),
            )),
            "erasing" => self.erasing = ids(),
            "erased" => {
                self.erasing.clear();
                for id in ids() {
                    self.live.remove(&id);
                    self.erased.push(id);
                }
            }
            _ => {}
        }
    }

    /// What is wrong with a store that was opened from a state.
    fn verdict(&self, dir: &Path) -> Option<String> {
        let engine = match open(dir) {
            Ok(engine) => engine,
            Err(e) => return Some(format!("LOST: it does not open: {e}")),
        };
        let mut fell = HashSet::new();
        for (id, (n, len)) in &self.live {
            match read_record(&engine, id) {
                Ok(content) if content == bytes(*n, *len) => {}
                Ok(_) => return Some("LOST: other bytes".into()),
                Err(e) if e.kind() == ErrorKind::Erased && self.erasing.contains(id) => {
                    fell.insert(*id);
                }
                Err(e) => return Some(format!("LOST: {e}")),
            }
        }
        if !fell.is_empty() && fell.len() != self.erasing.len() {
            return Some("an erase is there in part".into());
        }
        for id in &self.erased {
            if !read_record(&engine, id).is_err_and(|e| e.kind() == ErrorKind::Erased) {
                return Some("FOUND: an erased record is back".into());
            }
        }
        None
    }
}

/// Records one run of the child.
fn recorded() -> Option<(tempfile::TempDir, Vec<Event>)> {
    if !has_strace() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, trace) = (dir.path().join("data"), dir.path().join("trace"));
    std::fs::create_dir(&data).unwrap();
    let calls = "trace=openat,write,pwrite64,writev,pwritev,fsync,fdatasync,ftruncate,fallocate,rename,renameat,\
                 renameat2,unlink,unlinkat";
    let out = Command::new("strace")
        .args(["-f", "-y", "-xx", "-s", "4194304", "-e", calls, "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["power::child", "--exact", "--ignored", "--nocapture"])
        .env("KEYFALL_POWER", &data)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let events = events(&std::fs::read_to_string(&trace).unwrap(), &data);
    assert!(
        events.iter().any(|e| matches!(e, Event::Said(s) if s.starts_with("put 17 "))),
        "it ran to its end"
    );
    Some((dir, events))
}

/// Opens states until `most` different ones were seen; returns how many, and what was wrong with
/// them.
fn look(
    data: &Path,
    events: &[Event],
    honoured: Honoured,
    ways: u64,
    most: usize,
) -> (usize, Vec<String>) {
    // In memory where that is possible: thousands of stores are written and read.
    let base = ["/dev/shm", "/tmp"].into_iter().map(Path::new).find(|p| p.is_dir()).unwrap();
    let scratch = tempfile::tempdir_in(base).unwrap();
    let (mut medium, mut known, mut seen, mut bad) =
        (Medium::default(), Acknowledged::default(), HashSet::new(), Vec::new());
    let every = (events.len() * ways as usize / most).max(1);
    let mut turn = 0;
    for event in events {
        medium.play(event, honoured);
        if let Event::Said(said) = event {
            known.hear(said);
        }
        if !known.made {
            continue;
        }
        for way in 0..ways {
            turn += 1;
            if turn % every != 0 {
                continue;
            }
            let state = medium.cut(way + if way > 1 { turn as u64 * 31 } else { 0 });
            let mut hash = DefaultHasher::new();
            (&state, known.live.len(), known.erased.len(), known.erasing.len()).hash(&mut hash);
            if !seen.insert(hash.finish()) {
                continue;
            }
            let dir = scratch.path().join(seen.len().to_string());
            for (path, bytes) in &state {
                let to = dir.join(path.strip_prefix(data).unwrap());
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                std::fs::write(to, bytes).unwrap();
            }
            for made in ["store/log", "store/index", "cell"] {
                std::fs::create_dir_all(dir.join(made)).unwrap();
            }
            std::fs::write(dir.join("cell/remnants-accepted"), "").unwrap();
            bad.extend(known.verdict(&dir));
            std::fs::remove_dir_all(&dir).unwrap();
        }
    }
    (seen.len(), bad)
}

#[test]
fn no_power_cut_loses_or_brings_back() {
    let Some((dir, events)) = recorded() else { return };
    let data = dir.path().join("data");
    let most =
        std::env::var("KEYFALL_POWER_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(4000);
    for honoured in [Honoured::All, Honoured::AllButIndex] {
        let (states, bad) = look(&data, &events, honoured, (most as u64 / 100).max(9), most);
        println!(
            "{} events, syncs honoured: {honoured:?}: {states} states, {} bad",
            events.len(),
            bad.len()
        );
        assert!(states > 100, "{states} states are too few");
        assert!(bad.is_empty(), "{bad:#?}");
    }
    // The same look finds what it must where the log is not synced.
    let (states, bad) = look(&data, &events, Honoured::AllButLog, 9, 300);
    println!("without the syncs of the log: {states} states, {} bad", bad.len());
    assert!(bad.iter().any(|b| b.starts_with("LOST")), "the look is blind");
}
