//! What an erase leaves in memory: nothing. A process fills a store, reads, erases; its whole
//! memory is searched from outside for the keys and texts of what was erased, which another engine
//! read from a copy of the files before. SPEC §4.3, §10.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Barrier};

use keyfall::cell::FileCell;
use keyfall::engine::Grant;
use keyfall::env::System;
use keyfall::sealed::{self, Identity};
use keyfall::store::SledStore;
use keyfall::testing::secrets;
use keyfall::{Class, Engine, ErrorKind, Options, Put, Query, RecordId, RecordInfo, Scope, UserId};
use zeroize::{Zeroize, Zeroizing};

use crate::support::{self, bytes, error_kind};

const USERS: usize = 3;
const RECORDS: u64 = 6;

/// Texts that stand nowhere in the program.
fn text(seed: u64) -> String {
    (0..40).map(|at| char::from(b'a' + byte(seed, at) % 26)).collect()
}

fn name(person: usize) -> UserId {
    UserId::new(text(77 + person as u64)).unwrap()
}

/// Content made as it is read, so that no copy of it is the test's own.
struct Made {
    seed: u64,
    at: usize,
    len: usize,
}

fn byte(seed: u64, at: usize) -> u8 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (at as u64 / 8).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 29)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z >> (at % 8 * 8)) as u8
}

impl Read for Made {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = out.len().min(self.len - self.at);
        for (i, b) in out[..n].iter_mut().enumerate() {
            *b = byte(self.seed, self.at + i);
        }
        self.at += n;
        Ok(n)
    }
}

/// Takes bytes and keeps none.
struct Nowhere(u64);

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn seed(person: usize, n: u64) -> u64 {
    1000 * (person as u64 + 1) + n
}

/// What a record was opened for.
fn why(person: usize, n: u64) -> Zeroizing<String> {
    Zeroizing::new(text(seed(person, n) + 950))
}

fn len(n: u64) -> usize {
    [90, 300, 5_000, 16_384, 60_000, 300_000][n as usize % 6]
}

fn open(dir: &Path) -> Engine {
    let store = SledStore::open_or_create(&dir.join("store")).unwrap();
    let cell = dir.join("cell");
    let (cell, make): (_, fn(_, _, _) -> _) = if cell.exists() {
        (FileCell::open(&cell, Arc::new(System)), Engine::open)
    } else {
        (FileCell::create(&cell, true, Arc::new(System)), Engine::init)
    };
    make(Arc::new(store), Arc::new(cell.unwrap()), Options::default()).unwrap()
}

/// The process under test. It does what its standard input says.
#[test]
#[ignore = "it is started by the test below"]
fn child() {
    let Ok(dir) = std::env::var("KEYFALL_RESIDUE") else { return };
    let planted = std::env::var("KEYFALL_PLANTED").unwrap();
    let planted: Vec<u8> = (0..planted.len() / 2)
        .map(|i| u8::from_str_radix(&planted[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    let engine = open(Path::new(&dir));
    let mut ids: Vec<(usize, RecordId)> = Vec::new();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let done = match words[0] {
            "fill" => {
                fill(&engine, &mut ids);
                "filled"
            }
            "read" => {
                read_all(&engine, &ids);
                "was read"
            }
            "erase-user" => {
                let person: usize = words[1].parse().unwrap();
                engine.erase(Scope::user(name(person))).unwrap();
                ids.retain(|(owner, id)| {
                    assert!(*owner != person || engine.get(id).is_err());
                    *owner != person
                });
                "erased"
            }
            "erase-record" => {
                let id: RecordId = words[1].parse().unwrap();
                engine.erase(Scope::Record(id)).unwrap();
                // And what was derived from it.
                let before = ids.len();
                ids.retain(|(_, there)| engine.get(there).is_ok());
                assert_eq!(ids.len(), before - 2);
                assert_eq!(error_kind(engine.get(&id)), ErrorKind::Erased);
                "erased"
            }
            _ => break,
        };
        println!("\n@{done}");
        std::io::stdout().flush().unwrap();
    }
    assert_eq!(planted.len(), 32);
    std::hint::black_box(&planted);
}

/// Fills the store: records with lineage, records that arrive sealed, and a third party that opens
/// them.
fn fill(engine: &Engine, ids: &mut Vec<(usize, RecordId)>) {
    for person in 0..USERS {
        for n in 0..RECORDS {
            let class =
                [Class::audio(), Class::transcript(), Class::action()][n as usize % 3].clone();
            let mut put = Put::new(name(person), class).purpose(text(seed(person, n)));
            // Some have a name, some metadata, some both.
            if n % 2 == 0 {
                put = put.name(text(seed(person, n) + 500));
            }
            if n % 3 < 2 {
                put = put.meta("said", text(seed(person, n) + 700));
            }
            // The transcript from the recording, the action from the transcript.
            if let Some((_, last)) = ids.last().filter(|_| n % 3 > 0) {
                put = put.derived_from(*last);
            }
            let id = engine.put(put, Made { seed: seed(person, n), at: 0, len: len(n) }).unwrap();
            // Somebody opens it by name.
            let (who, why) = (Zeroizing::new(text(seed(person, n) + 900)), why(person, n));
            engine.open_as(&id, &who, &why).unwrap();
            println!("\n={person} {n} {id}");
            ids.push((person, id));
        }
    }
    let party = Identity::new(&System).unwrap();
    for person in 0..USERS {
        let put = Put::new(name(person), Class::new("sealed").unwrap());
        let (mut envelope, key) = (Vec::new(), engine.inbox(&name(person)).key().unwrap());
        let content = Made { seed: seed(person, RECORDS), at: 0, len: len(RECORDS) };
        sealed::seal(&put, content, &key, &System, &mut envelope).unwrap();
        ids.push((person, engine.accept(&envelope[..]).unwrap().id));
        let grant = Grant::new(&party.public().unwrap(), "a skill", "to help");
        let ticket = engine.grants(&name(person)).add(grant).unwrap();
        let (request, _) = party.ask(&ticket, &System).unwrap();
        assert_eq!(engine.open_request(&request, Nowhere(0)).unwrap().records, RECORDS + 1);
        engine.inbox(&name(person)).key().unwrap();
    }
    // What came in parts: one upload is a record then, the other is not finished.
    for (person, finishes) in (0..USERS).flat_map(|person| [(person, true), (person, false)]) {
        let (seed, uploads) = (seed(person, RECORDS + 1), engine.uploads());
        let put = Put::new(name(person), Class::audio()).purpose(text(seed));
        // Each has a name and metadata of its own.
        let own = seed + u64::from(finishes);
        let put = put.name(text(own + 500)).meta("said", text(own + 700));
        let upload = uploads.begin(put).unwrap();
        for at in [0, 40_000] {
            uploads.append(&upload, at as u64, Made { seed, at, len: at + 40_000 }).unwrap();
        }
        if finishes {
            ids.push((person, uploads.finish(&upload).unwrap()));
        }
    }
}

/// Reads everything, also on threads that then wait where they are, with what is on their stacks.
fn read_all(engine: &Engine, ids: &[(usize, RecordId)]) {
    let done = Arc::new(Barrier::new(5));
    for _ in 0..4 {
        let (engine, ids, done) = (engine.clone(), ids.to_vec(), Arc::clone(&done));
        std::thread::spawn(move || {
            for (_, id) in &ids {
                engine.get_to(id, &mut Nowhere(0)).unwrap();
            }
            done.wait();
            loop {
                std::thread::park();
            }
        });
    }
    done.wait();
    for (_, id) in ids {
        wipe(engine.info(id).unwrap());
        for mut access in engine.accesses(id).unwrap() {
            access.principal.zeroize();
            access.purpose.zeroize();
        }
    }
    engine.list(&Query::default()).unwrap().records.into_iter().for_each(wipe);
    let mut people: Vec<usize> = ids.iter().map(|(person, _)| *person).collect();
    people.dedup();
    for person in people {
        let query = Query::default().user(name(person)).name_prefix("");
        for info in engine.list(&query).unwrap().records {
            let record_name = info.name.clone().map(Zeroizing::new).unwrap();
            wipe(engine.find(&name(person), &record_name).unwrap());
            wipe(info);
        }
        for mut upload in engine.uploads().list(&name(person)).unwrap() {
            upload.purpose.zeroize();
            upload.name.zeroize();
            upload.meta.values_mut().for_each(Zeroize::zeroize);
        }
    }
}

/// The caller wipes what the engine gives out.
fn wipe(mut info: RecordInfo) {
    info.purpose.zeroize();
    info.name.zeroize();
    info.meta.values_mut().for_each(Zeroize::zeroize);
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(dir: &Path, planted: &[u8]) -> Self {
        let hex: String = planted.iter().map(|b| format!("{b:02x}")).collect();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["residue::child", "--exact", "--ignored", "--nocapture"])
            .env("KEYFALL_RESIDUE", dir)
            .env("KEYFALL_PLANTED", hex)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Process { child, stdin, lines: BufReader::new(stdout).lines() }
    }

    /// Tells it something, and returns the records it named in its answer.
    fn tell(&mut self, what: &str) -> Vec<(usize, u64, RecordId)> {
        writeln!(self.stdin, "{what}").unwrap();
        let mut ids = Vec::new();
        loop {
            let line = self.lines.next().unwrap_or_else(|| panic!("it died at {what}")).unwrap();
            if line.starts_with('@') {
                return ids;
            }
            if let Some(record) = line.strip_prefix('=') {
                let words: Vec<&str> = record.split(' ').collect();
                ids.push((
                    words[0].parse().unwrap(),
                    words[1].parse().unwrap(),
                    words[2].parse().unwrap(),
                ));
            }
        }
    }

    /// Which needles stand anywhere in its memory, by what they are.
    fn find(&self, needles: &[(String, Vec<u8>)]) -> BTreeSet<String> {
        // Of each needle every half of 16 bytes, so that a key that was partly overwritten is found
        // too.
        let mut halves: HashMap<u64, Vec<([u8; 8], &str)>> = HashMap::new();
        for (what, bytes) in needles {
            for half in bytes.chunks_exact(16) {
                let (first, rest) = half.split_at(8);
                let rest = <[u8; 8]>::try_from(rest).unwrap();
                halves
                    .entry(u64::from_le_bytes(first.try_into().unwrap()))
                    .or_default()
                    .push((rest, what));
            }
        }
        let mut sieve = vec![false; 1 << 24];
        halves.keys().for_each(|k| sieve[(*k & 0xFF_FFFF) as usize] = true);
        let pid = self.child.id();
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let (mut found, mut searched) = (BTreeSet::new(), 0);
        for line in maps.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let odd = fields.get(5).is_some_and(|f| f.starts_with("[v"));
            if !fields[1].starts_with('r') || odd {
                continue;
            }
            let (from, to) = fields[0].split_once('-').unwrap();
            let (from, to) =
                (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            let mut bytes = vec![0; (to - from) as usize];
            if memory.read_exact_at(&mut bytes, from).is_err() {
                assert!(fields.len() > 5, "memory that cannot be read: {line}");
                continue;
            }
            searched += bytes.len();
            for (at, window) in bytes.windows(16).enumerate() {
                let low = usize::from(window[0])
                    | usize::from(window[1]) << 8
                    | usize::from(window[2]) << 16;
                if sieve[low] {
                    let first = u64::from_le_bytes(window[..8].try_into().unwrap());
                    for (rest, what) in halves
                        .get(&first)
                        .into_iter()
                        .flatten()
                        .filter(|(r, _)| r[..] == window[8..])
                    {
                        let _ = rest;
                        let place = fields.get(5).unwrap_or(&"anonymous");
                        found.insert(format!("{what} in {place} at {:x}", from + at as u64));
                    }
                }
            }
        }
        assert!(searched > 1 << 20, "its memory was searched");
        found
    }
}

fn copied(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for part in ["store", "cell"] {
        support::copy(&dir.join(part), &copy.path().join(part));
    }
    copy
}

/// What is secret about a user or a record, read by another engine from a copy of the files; and
/// pieces of its content.
fn needles(
    dir: &Path,
    who: usize,
    records: &[(usize, u64, RecordId)],
    only: Option<&RecordId>,
) -> Vec<(String, Vec<u8>)> {
    let copy = copied(dir);
    let engine = open(copy.path());
    let mut needles: Vec<(String, Vec<u8>)> = secrets(&engine, &name(who), only)
        .unwrap()
        .iter()
        .map(|(what, s)| (what.clone(), s.to_vec()))
        .collect();
    for (_, n, _) in
        records.iter().filter(|(owner, _, id)| *owner == who && only.is_none_or(|o| o == id))
    {
        needles.push(("reader".to_owned(), text(seed(who, *n) + 900).into_bytes()));
        needles.push(("what it was opened for".to_owned(), why(who, *n).as_bytes().to_vec()));
        for at in (0..len(*n) - 16).step_by(1000) {
            needles.push((
                format!("content of record {n}"),
                (at..at + 16).map(|i| byte(seed(who, *n), i)).collect(),
            ));
        }
    }
    if only.is_none() {
        // Of the upload that is not finished.
        let seed = seed(who, RECORDS + 1);
        needles.push(("upload's name".to_owned(), text(seed + 500).into_bytes()));
        needles.push(("upload's metadata".to_owned(), text(seed + 700).into_bytes()));
        needles.push(("upload's purpose".to_owned(), text(seed).into_bytes()));
    }
    needles
}

#[test]
fn an_erase_leaves_nothing_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let planted = bytes(99, 32);
    let plant = [("the planted key".to_owned(), planted.clone())];
    let mut process = Process::start(dir.path(), &planted);
    let records = process.tell("fill");
    process.tell("read");

    let of_ada = needles(dir.path(), 0, &records, None);
    let before = process.find(&of_ada);
    assert!(!process.find(&plant).is_empty(), "the scan is blind");
    for what in [
        "root key",
        "record secret",
        "User page key",
        "Lineage page key",
        "name",
        "name of a record",
        "metadata",
        "purpose",
        "inbox key",
        "reader",
        "what it was opened for",
        "upload's name",
        "upload's metadata",
    ] {
        assert!(
            before.iter().any(|f| f.starts_with(what)),
            "the scan is blind for a {what}: {before:#?}"
        );
    }
    process.tell("erase-user 0");
    let after = process.find(&of_ada);
    assert!(after.is_empty(), "left in memory: {after:#?}");
    assert!(!process.find(&plant).is_empty(), "the scan is blind");

    // One record of a user who lives on.
    process.tell("read");
    let (_, _, id) = records.iter().find(|(who, n, _)| (*who, *n) == (1, 4)).unwrap();
    let of_record = needles(dir.path(), 1, &records, Some(id));
    assert!(!process.find(&of_record).is_empty());
    process.tell(&format!("erase-record {id}"));
    let after = process.find(&of_record);
    assert!(after.is_empty(), "left in memory: {after:#?}");
    process.tell("read");
    println!("{} and {} needles, before: {} hits", of_ada.len(), of_record.len(), before.len());
    drop(process.stdin);
    assert!(process.child.wait().unwrap().success());
}
