//! Power cuts on real files. A process over the default stack, sled included, runs under strace; from its writes, syncs,
//! truncations and names every state is built that a power cut could leave at any moment, and opened: what was acknowledged is
//! there, what was erased is not. Needs strace; without it the tests say that they were skipped.
//!
//! What this cannot show: a disk that lies about its cache, and directories that vanish as a whole (they are taken as durable
//! when they are made).

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use keyfall::cell::FileCell;
use keyfall::engine::{CopyMode, Keeper};
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{Class, Engine, ErrorKind, Options, Put, RecordId, Scope};

use crate::support::{bytes, has_strace, open_files, read, user};

fn open(dir: &Path) -> keyfall::Result<Engine> {
    open_files(&dir.join("store"), &dir.join("cell"))
}

/// The process that is recorded. It says on its standard output what is acknowledged.
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
        let id = engine.put(Put::new(user(&format!("u{}", n % 4)), Class::audio()), &bytes(n as u64, len)[..]).unwrap();
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
    let of_u2: Vec<String> = ids.iter().filter(|(n, _)| n % 4 == 2).map(|(_, id)| id.to_string()).collect();
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

#[derive(Clone, Debug)]
enum Event {
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    Truncate(PathBuf, u64),
    Punch(PathBuf, u64, u64),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
    /// A line of the process's own.
    Said(String),
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits.map(|d| u8::from_str_radix(&d[..2], 16).unwrap()).collect()
}

/// The strings in quotes, and what stands between angle brackets behind the first number.
fn quoted(line: &str) -> Vec<String> {
    line.split('"').skip(1).step_by(2).map(|hex| String::from_utf8(unhex(hex)).unwrap_or_default()).collect()
}

fn on(line: &str) -> Option<PathBuf> {
    let path = &line[line.find('<')? + 1..line.find('>')?];
    Some(PathBuf::from(if path.starts_with("\\x") { String::from_utf8(unhex(path)).ok()? } else { path.to_owned() }))
}

fn numbers(line: &str) -> Vec<u64> {
    let tail = line.rsplit('"').next().unwrap_or(line);
    let tail = tail.split(") = ").next().unwrap_or(tail);
    tail.split(", ").filter_map(|n| n.trim_end_matches(')').trim().parse().ok()).collect()
}

/// Parses what strace wrote into events below `dir`.
fn events(trace: &str, dir: &Path) -> Vec<Event> {
    let mut unfinished: BTreeMap<&str, String> = BTreeMap::new();
    let mut ends: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let (mut events, mut said) = (Vec::new(), String::new());
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let mut call = rest.trim_start().to_owned();
        if let Some(begun) = call.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, begun.to_owned());
            continue;
        }
        if call.starts_with("<... ") {
            let Some(begun) = unfinished.remove(pid) else { continue };
            let tail = call.split_once("resumed>").map_or("", |(_, tail)| tail);
            // strace sets the results of short calls in a column.
            let tail =
                tail.rsplit_once(')').map_or(tail.to_owned(), |(more, end)| format!("{more}) {}", end.trim_start()));
            call = begun + &tail;
        }
        let Some((name, arguments)) = call.split_once('(') else { continue };
        if !call.contains(") = ") || call.contains(") = -1 ") {
            continue;
        }
        let result: u64 =
            call.rsplit(") = ").next().and_then(|r| r.split(['<', ' ']).next()?.parse().ok()).unwrap_or(0);
        let below = |path: PathBuf| path.starts_with(dir).then_some(path);
        match name {
            "write" if arguments.starts_with("1<") => {
                said.push_str(&quoted(arguments).concat());
                while let Some((one, rest)) = said.clone().split_once('\n') {
                    if let Some(word) = one.strip_prefix('@') {
                        events.push(Event::Said(word.to_owned()));
                    }
                    said = rest.to_owned();
                }
            }
            "openat" if arguments.contains("O_CREAT") => {
                if let Some(path) = below(PathBuf::from(&quoted(arguments)[0])) {
                    events.push(Event::Create(path.clone()));
                    if arguments.contains("O_TRUNC") {
                        events.push(Event::Truncate(path.clone(), 0));
                    }
                    ends.insert(path, 0);
                }
            }
            "pwrite64" | "write" => {
                let Some(path) = on(arguments).and_then(below) else { continue };
                let mut data = unhex(arguments.split('"').nth(1).unwrap());
                assert_eq!(data.len() as u64, numbers(arguments)[0], "strace keeps whole writes");
                data.truncate(result as usize);
                let end = ends.entry(path.clone()).or_insert(0);
                let at = if name == "write" { *end } else { numbers(arguments)[1] };
                if name == "write" {
                    *end += data.len() as u64;
                }
                events.push(Event::Write(path, at, data));
            }
            "ftruncate" => {
                if let Some(path) = on(arguments).and_then(below) {
                    events.push(Event::Truncate(path, numbers(arguments)[0]));
                }
            }
            "fallocate" => {
                if let Some(path) = on(arguments).and_then(below) {
                    let n = numbers(arguments);
                    let (at, len) = (n[n.len() - 2], n[n.len() - 1]);
                    events.push(if arguments.contains("PUNCH_HOLE") {
                        Event::Punch(path, at, len)
                    } else {
                        Event::Truncate(path, at + len)
                    });
                }
            }
            "fsync" | "fdatasync" => events.extend(on(arguments).and_then(below).map(Event::Sync)),
            "rename" | "renameat" | "renameat2" => {
                let names = quoted(arguments);
                if let Some(from) = below(PathBuf::from(&names[0])) {
                    events.push(Event::Rename(from, PathBuf::from(&names[1])));
                }
            }
            "unlink" | "unlinkat" => events.extend(below(PathBuf::from(&quoted(arguments)[0])).map(Event::Unlink)),
            _ => {}
        }
    }
    events
}

/// A file's bytes on the medium, and what may come to be there.
#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    dirty: Vec<Event>,
}

fn apply(bytes: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write(_, at, data) => {
            let to = *at as usize + data.len();
            if bytes.len() < to {
                bytes.resize(to, 0);
            }
            bytes[*at as usize..to].copy_from_slice(data);
        }
        Event::Truncate(_, len) => bytes.resize(*len as usize, 0),
        Event::Punch(_, at, len) => {
            let to = ((at + len) as usize).min(bytes.len());
            bytes[(*at as usize).min(to)..to].fill(0);
        }
        _ => {}
    }
}

/// Names and files while the recording is played; names change durably only with their directory.
#[derive(Clone, Debug, Default)]
struct Medium {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
}

/// Which syncs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Honoured {
    All,
    /// As if sled's `flush` stood alone: no sync of the index.
    AllButIndex,
    AllButLog,
}

impl Medium {
    fn play(&mut self, event: &Event, honoured: Honoured) {
        match event {
            Event::Create(path) => {
                if !self.names.contains_key(path) {
                    self.inodes.push(Inode::default());
                    self.names.insert(path.clone(), self.inodes.len() - 1);
                }
            }
            Event::Write(path, ..) | Event::Truncate(path, _) | Event::Punch(path, ..) => {
                if let Some(at) = self.names.get(path) {
                    self.inodes[*at].dirty.push(event.clone());
                }
            }
            Event::Sync(path) => {
                let text = path.to_string_lossy();
                let ignored = match honoured {
                    Honoured::All => false,
                    Honoured::AllButIndex => text.contains("/index"),
                    Honoured::AllButLog => text.contains("/log/"),
                };
                if ignored {
                    return;
                }
                if let Some(at) = self.names.get(path) {
                    let inode = &mut self.inodes[*at];
                    for event in std::mem::take(&mut inode.dirty) {
                        apply(&mut inode.durable, &event);
                    }
                } else {
                    // A directory.
                    self.durable_names.retain(|p, _| p.parent() != Some(path));
                    let here = self.names.iter().filter(|(p, _)| p.parent() == Some(path));
                    self.durable_names.extend(here.map(|(p, i)| (p.clone(), *i)));
                }
            }
            Event::Rename(from, to) => {
                if let Some(at) = self.names.remove(from) {
                    self.names.insert(to.clone(), at);
                }
            }
            Event::Unlink(path) => drop(self.names.remove(path)),
            Event::Said(_) => {}
        }
    }

    /// One state that a power cut could leave. `way` 0 keeps nothing that was not synced, 1 everything, others some sectors
    /// and some names.
    fn cut(&self, way: u64) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut random = bytes(way.wrapping_mul(977) + 5, 1 << 12).into_iter().cycle();
        let mut keep = || match way {
            0 => false,
            1 => true,
            // Some ways lose little, some much.
            way => random.next().unwrap() < [128, 230, 40][way as usize % 3],
        };
        let all: HashSet<&PathBuf> = self.names.keys().chain(self.durable_names.keys()).collect();
        let mut all: Vec<&PathBuf> = all.into_iter().collect();
        all.sort();
        let mut state = BTreeMap::new();
        for path in all {
            let (now, then) = (self.names.get(path), self.durable_names.get(path));
            let Some(at) = (if now == then || keep() { now } else { then }) else { continue };
            let inode = &self.inodes[*at];
            let mut bytes = inode.durable.clone();
            for event in &inode.dirty {
                match event {
                    Event::Write(path, at, data) if way > 1 => {
                        let mut from = 0;
                        while from < data.len() {
                            let n = (512 - (*at as usize + from) % 512).min(data.len() - from);
                            if keep() {
                                let piece = data[from..from + n].to_vec();
                                apply(&mut bytes, &Event::Write(path.clone(), at + from as u64, piece));
                            }
                            from += n;
                        }
                    }
                    event => {
                        if keep() {
                            apply(&mut bytes, event);
                        }
                    }
                }
            }
            state.insert(path.clone(), bytes);
        }
        state
    }
}

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
        let ids = || words[1..].iter().map(|id| id.parse::<RecordId>().unwrap()).collect::<Vec<_>>();
        match words[0] {
            "made" => self.made = true,
            "put" => drop(
                self.live.insert(words[3].parse().unwrap(), (words[1].parse().unwrap(), words[2].parse().unwrap())),
            ),
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
            match read(&engine, id) {
                Ok(content) if content == bytes(*n, *len) => {}
                Ok(_) => return Some("LOST: other bytes".into()),
                Err(e) if e.kind() == ErrorKind::Erased && self.erasing.contains(id) => drop(fell.insert(*id)),
                Err(e) => return Some(format!("LOST: {e}")),
            }
        }
        if !fell.is_empty() && fell.len() != self.erasing.len() {
            return Some("an erase is there in part".into());
        }
        for id in &self.erased {
            if !read(&engine, id).is_err_and(|e| e.kind() == ErrorKind::Erased) {
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
    assert!(events.iter().any(|e| matches!(e, Event::Said(s) if s.starts_with("put 17 "))), "it ran to its end");
    Some((dir, events))
}

/// Opens states until `most` different ones were looked at; returns how many, and what was wrong.
fn look(data: &Path, events: &[Event], honoured: Honoured, ways: u64, most: usize) -> (usize, Vec<String>) {
    // Memory, where there is some: thousands of stores are written and read.
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
    let most = std::env::var("KEYFALL_POWER_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(4000);
    for honoured in [Honoured::All, Honoured::AllButIndex] {
        let (states, bad) = look(&data, &events, honoured, (most as u64 / 100).max(9), most);
        println!("{} events, syncs honoured: {honoured:?}: {states} states, {} bad", events.len(), bad.len());
        assert!(states > 100, "{states} states are too few");
        assert!(bad.is_empty(), "{bad:#?}");
    }
    // The same look finds what it must where the log is not synced.
    let (states, bad) = look(&data, &events, Honoured::AllButLog, 9, 300);
    println!("without the syncs of the log: {states} states, {} bad", bad.len());
    assert!(bad.iter().any(|b| b.starts_with("LOST")), "the look is blind");
}
