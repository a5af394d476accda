//! kill -9 at random moments of import and erase: what was acknowledged is there, what was erased is not, the store opens.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::FileCell;
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{Engine, ErrorKind, Options, RecordId};

use crate::command_line::Cli;
use crate::corpus::make_corpus;
use crate::support::{bytes, kind, read};

const CLIPS: usize = 70;

struct Record {
    user: String,
    /// The clip's content, for recordings.
    content: Option<Vec<u8>>,
}

fn open(cli: &Cli) -> Engine {
    let store = SledStore::open(&cli.path("store")).unwrap();
    let cell = FileCell::open(&cli.path("store.cell"), Arc::new(System)).unwrap();
    Engine::open(Arc::new(store), Arc::new(cell), Options::default()).unwrap()
}

/// A moment between nothing and a little more than the whole command takes.
fn moment(seed: u64, typical: Duration) -> Duration {
    let random = u64::from_le_bytes(bytes(seed, 8).try_into().unwrap());
    typical.mul_f64((random % 1000) as f64 / 1000.0 * 1.2)
}

#[test]
fn killed_at_any_moment() {
    let rounds: u64 = std::env::var("KEYFALL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let seed: u64 = std::env::var("KEYFALL_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    println!("KEYFALL_SEED={seed}");
    let cli = Cli::new();
    cli.ok(&["copy", "add", "store", "replica"]);
    let mut live: BTreeMap<RecordId, Record> = BTreeMap::new();
    let mut erased: Vec<RecordId> = Vec::new();
    let (mut import_takes, mut erase_takes) = (Duration::from_millis(120), Duration::from_millis(40));
    let (mut cut_imports, mut cut_erases, mut acknowledged) = (0, 0, 0);
    for round in 0..rounds {
        let corpus = cli.path("corpus");
        make_corpus(&corpus, 3, CLIPS, 1500, &format!("r{round}"));
        let began = Instant::now();
        let mut child = cli
            .command(&["import", "store", "corpus", "--actions", "corpus/actions.jsonl", "--ids"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).collect::<Vec<_>>());
        // Some rounds run to the end, so that the typical time is known.
        if round % 10 != 0 {
            std::thread::sleep(moment(seed + round * 2, import_takes));
            child.kill().unwrap();
        }
        let whole = child.wait().unwrap().success();
        if whole && round % 10 == 0 {
            import_takes = began.elapsed();
        }
        cut_imports += u64::from(!whole);
        for line in reader.join().unwrap() {
            let fields: Vec<&str> = line.split('\t').collect();
            // The last line may be cut short.
            let Some(Ok(id)) = fields.first().map(|f| f.parse::<RecordId>()) else {
                continue;
            };
            if let [_, user, class, clip] = &fields[..] {
                let content = (*class == "audio").then(|| std::fs::read(corpus.join(clip)).unwrap());
                live.insert(id, Record { user: (*user).to_owned(), content });
                acknowledged += 1;
            }
        }

        let all = round % 20 == 19 || round + 1 == rounds;
        verify(&open(&cli), &live, &erased, all);

        let Some(user) = live.values().nth(bytes(round, 1)[0] as usize % live.len().max(1)).map(|r| r.user.clone())
        else {
            continue;
        };
        let began = Instant::now();
        let mut child = cli
            .command(&["erase", "store", "--user", &user, "--yes"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if round % 10 != 5 {
            std::thread::sleep(moment(seed + round * 2 + 1, erase_takes));
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        if status.success() && round % 10 == 5 {
            erase_takes = began.elapsed();
        }
        cut_erases += u64::from(!status.success());
        let ids: Vec<RecordId> = live.iter().filter(|(_, r)| r.user == user).map(|(id, _)| *id).collect();
        let engine = open(&cli);
        let gone = kind_of(&engine, &ids[0]) == Some(ErrorKind::Erased);
        assert!(gone || !status.success(), "an acknowledged erase is not erased");
        for id in &ids {
            assert_eq!(kind_of(&engine, id) == Some(ErrorKind::Erased), gone, "an erase is whole or not at all");
            if gone {
                live.remove(id);
                erased.push(*id);
            }
        }
        if all {
            verify(&engine, &live, &erased, true);
            let audit = engine.audit(&[], &mut |_| {}).unwrap();
            assert!(audit.is_clean(), "{audit:?}");
        }
    }
    println!(
        "{rounds} rounds: {cut_imports} imports and {cut_erases} erases cut, {acknowledged} records acknowledged, {} erased",
        erased.len()
    );
    assert!(
        rounds < 50 || (cut_imports > rounds / 4 && cut_erases > rounds / 4),
        "the kills hit: {cut_imports} {cut_erases}"
    );
}

fn kind_of(engine: &Engine, id: &RecordId) -> Option<ErrorKind> {
    read(engine, id).err().map(|e| e.kind())
}

fn verify(engine: &Engine, live: &BTreeMap<RecordId, Record>, erased: &[RecordId], all: bool) {
    let skip = if all { 0 } else { live.len().saturating_sub(250) };
    // Ids are ordered by time: the newest are at the end.
    for (id, record) in live.iter().skip(skip) {
        let content = read(engine, id).unwrap_or_else(|e| panic!("acknowledged and lost: {e}"));
        if let Some(expected) = &record.content {
            assert_eq!(&content, expected);
        }
    }
    let skip = if all { 0 } else { erased.len().saturating_sub(100) };
    for id in &erased[skip..] {
        assert_eq!(kind(read(engine, id)), ErrorKind::Erased, "erased and back");
    }
}
