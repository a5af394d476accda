//! What proof costs: one erase without a log (a seeded defect), with it, with a certificate; with
//! three and five keyholders on loopback; each beside the floor of one durable write in the same
//! run, interleaved rounds, medians. Then how fast certificates, and proofs of a log of a million
//! leaves, are verified.
//!
//! `cargo bench --bench proof`; `KEYFALL_BENCH_DIR` names the disk to measure (default: the
//! temporary directory).
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::{FileCell, RootCell};
use keyfall::certificate::{Certificate, Trust};
use keyfall::engine::Keeper;
use keyfall::env::{SharedEnv, System};
use keyfall::log::{Checkpoint, Frontier, Hash, Signer, inclusion, verify_inclusion};
use keyfall::quorum::Member;
use keyfall::quorum::net::{EngineKey, KeyholderDir, Server, make_cell};
use keyfall::store::SledStore;
use keyfall::testing::Defect;
use keyfall::{Class, Engine, Erase, Options, Put, Scope, UserId};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A keyholder in a thread of this process, reached over a real channel.
fn keyholder(dir: &Path, engine: &EngineKey) -> Member {
    let env: SharedEnv = Arc::new(System);
    let made = KeyholderDir::create(dir, true, &System).unwrap();
    KeyholderDir::allow(dir, engine.id(), None).unwrap();
    let key = made.id().to_string();
    let server = Server::bind(made, "127.0.0.1:0", env).unwrap();
    let address = server.address().unwrap().to_string();
    // It ends with the process.
    std::thread::spawn(move || server.run(&|told| eprintln!("{told}")));
    Member { key, address }
}

fn engine(dir: &Path, keyholders: usize, defect: Option<Defect>) -> Engine {
    std::fs::create_dir_all(dir).unwrap();
    let store = SledStore::create(&dir.join("store")).unwrap();
    let cell: Arc<dyn RootCell> = if keyholders == 0 {
        Arc::new(FileCell::create(&dir.join("cell"), true, Arc::new(System)).unwrap())
    } else {
        let key = EngineKey::in_dir(&dir.join("cell"), &System).unwrap();
        let members =
            (0..keyholders).map(|n| keyholder(&dir.join(format!("kh{n}")), &key)).collect();
        let threshold = keyholders as u8 / 2 + 1;
        let env: SharedEnv = Arc::new(System);
        Arc::new(make_cell(&dir.join("cell"), members, (threshold, 1), &env).unwrap())
    };
    let options = Options::new().keeper(Keeper::ByHand).defect(defect);
    Engine::init(Arc::new(store), cell, options).unwrap()
}

fn quantile(samples: &mut [Duration], q: f64) -> Duration {
    samples.sort_unstable();
    samples[((samples.len() - 1) as f64 * q) as usize]
}

struct Case {
    what: &'static str,
    engine: Engine,
    certified: bool,
    samples: Vec<Duration>,
}

/// How much is measured.
struct Size {
    rounds: usize,
    users: usize,
    leaves: usize,
    certificates: usize,
}

fn main() {
    // `cargo test --benches` runs this too: a few rounds show that it works.
    let quick = !std::env::args().any(|a| a == "--bench");
    let size = if quick {
        Size { rounds: 3, users: 100, leaves: 1 << 12, certificates: 20 }
    } else {
        Size { rounds: 300, users: 20_000, leaves: 1 << 20, certificates: 2000 }
    };
    let dir = match std::env::var_os("KEYFALL_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let mut cases = cases(dir.path());
    for case in &cases {
        let mut batch = case.engine.batch();
        for n in 0..size.users {
            batch.add(Put::new(user(&format!("user {n}")), Class::action()), &[7; 16][..]).unwrap();
        }
        batch.commit().unwrap();
    }
    let kept = erases(&mut cases, dir.path(), size.rounds);
    certificates(&cases[2].engine, &kept, size.certificates);
    log_proofs(size.leaves);
}

fn cases(dir: &Path) -> Vec<Case> {
    [
        ("erase, without a log", 0, Some(Defect::SkipLog), false),
        ("erase", 0, None, false),
        ("erase, certified", 0, None, true),
        ("erase, 3 keyholders", 3, None, false),
        ("erase, 5 keyholders", 5, None, false),
    ]
    .into_iter()
    .enumerate()
    .map(|(n, (what, keyholders, defect, certified))| {
        let engine = engine(&dir.join(n.to_string()), keyholders, defect);
        Case { what, engine, certified, samples: Vec::new() }
    })
    .collect()
}

/// Erases, and prints how long that takes; returns the certificates.
fn erases(cases: &mut [Case], dir: &Path, rounds: usize) -> Vec<Certificate> {
    let floor_file = File::create(dir.join("floor")).unwrap();
    let (mut floor, mut kept, mut signing) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let began = Instant::now();
        floor_file.write_all_at(&[9; 4096], round as u64 * 4096).unwrap();
        floor_file.sync_data().unwrap();
        floor.push(began.elapsed());
        let n = cases.len();
        for i in 0..n {
            // Another order in each round.
            let case = &mut cases[(i + round) % n];
            let erase = Erase::new(Scope::user(user(&format!("user {round}"))));
            let erase = if case.certified { erase.certified("", "") } else { erase };
            let began = Instant::now();
            let done = case.engine.erase(erase).unwrap();
            case.samples.push(began.elapsed());
            assert!(done.retirement.is_some_and(|retired| retired.is_final()));
            let began = Instant::now();
            kept.extend(done.certificate.map(|unsigned| unsigned.sign().unwrap()));
            signing.extend(case.certified.then(|| began.elapsed()));
        }
    }
    let floor = quantile(&mut floor, 0.5);
    println!("a durable write of 4 KiB (the floor)   p50 {floor:>9.1?}");
    let without = quantile(&mut cases[0].samples, 0.5);
    for case in cases {
        let (p50, p90) = (quantile(&mut case.samples, 0.5), quantile(&mut case.samples, 0.9));
        println!(
            "{:<24} p50 {p50:>9.1?}  p90 {p90:>9.1?}   {:>5.2}x the floor   {:.2}x without a log",
            case.what,
            p50.as_secs_f64() / floor.as_secs_f64(),
            p50.as_secs_f64() / without.as_secs_f64()
        );
    }
    println!(
        "(without a log: a defect that the tests find; three and five keyholders: threshold 2 and 3, one liar tolerated)"
    );
    println!("signing a certificate, after the erase: {:.1?}", quantile(&mut signing, 0.5));
    kept
}

/// Whole certificates, from their text.
fn certificates(engine: &Engine, kept: &[Certificate], certificates: usize) {
    let trust = Trust::in_log(engine.log().key().unwrap());
    let texts: Vec<String> =
        kept.iter().cycle().take(certificates).map(ToString::to_string).collect();
    let began = Instant::now();
    for text in &texts {
        text.parse::<Certificate>().unwrap().verify(&trust).unwrap();
    }
    println!(
        "a certificate verified from its text: {:.1?} each",
        began.elapsed() / certificates as u32
    );
}

/// Log proofs alone, under one checkpoint that was checked before.
fn log_proofs(leaves: usize) {
    let hashes: Vec<Hash> = (0..leaves as u64).map(|n| Hash::leaf(&n.to_be_bytes())).collect();
    let mut rows = vec![hashes];
    while rows[rows.len() - 1].len() > 1 {
        let row =
            rows[rows.len() - 1].chunks(2).map(|pair| Hash::node(&pair[0], &pair[1])).collect();
        rows.push(row);
    }
    let mut frontier = Frontier::default();
    rows[0].iter().for_each(|hash| frontier.push(*hash));
    let source = |level: u8, index: u64| Ok(rows[usize::from(level)][index as usize]);
    let proofs: Vec<Vec<Hash>> =
        (0..leaves as u64).map(|n| inclusion(&source, n, leaves as u64).unwrap()).collect();
    let signer = Signer::ed25519("example.com/log", &[7; 32]).unwrap();
    let root = frontier.root();
    let note = Checkpoint { origin: "example.com/log".into(), size: leaves as u64, root }
        .sign(&signer)
        .unwrap();
    let began = Instant::now();
    let checkpoint = Checkpoint::verified(&note, &signer.verifier()).unwrap();
    for (n, proof) in (0..).zip(&proofs) {
        verify_inclusion(rows[0][n as usize], n, checkpoint.size, proof, &checkpoint.root).unwrap();
    }
    let took = began.elapsed();
    println!(
        "{leaves} proofs of a log of {leaves} leaves, one checkpoint: {took:.2?}, {:.2?} each",
        took / leaves as u32
    );
}
