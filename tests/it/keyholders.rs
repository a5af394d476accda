//! Five keyholders, five processes on loopback: any two may die at any moment, any two may keep everything.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keyfall::cell::{Level, Retirement, RootCell};
use keyfall::certificate::{Certificate, Grade, Retired, Trust};
use keyfall::engine::{Keeper, OpenAs, Request};
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::net::{EngineKey, open_cell, put_back, replace_member};
use keyfall::quorum::{Member, QuorumCell, Standing};
use keyfall::store::SledStore;
use keyfall::{Class, Engine, Erase, ErrorKind, Options, Put, RecordId, Result, Scope};

use crate::support::{copy, kind, ok, read, user};

/// Slots of a keyholder, for each store.
const SLOTS: [&str; 8] = ["slot-a", "slot-b", "slot-c", "slot-d", "slot-e", "slot-f", "slot-g", "slot-h"];

/// A keyholder that may run.
struct Keyholder {
    dir: PathBuf,
    address: String,
    process: Option<Child>,
}

impl Keyholder {
    fn make(dir: &Path, engine: &str) -> Self {
        let place = dir.display().to_string();
        ok(&["keyholder", "init", &place, "--accept-remnants"]);
        ok(&["keyholder", "allow", &place, engine]);
        let mut keyholder = Keyholder { dir: dir.to_owned(), address: "127.0.0.1:0".into(), process: None };
        keyholder.start();
        keyholder
    }

    /// Starts it, where it was before if it ran; gives KEY@ADDRESS.
    fn start(&mut self) -> String {
        let mut process = Command::new(env!("CARGO_BIN_EXE_keyfall"))
            .args(["keyholder", "serve", &self.dir.display().to_string(), "--listen", &self.address])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let line = BufReader::new(process.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        self.address = line.split_once('@').unwrap().1.to_owned();
        self.process = Some(process);
        line
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// It is there and does not answer.
    fn stop(&self, stopped: bool) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        let signal = if stopped { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Keyholder {
    fn drop(&mut self) {
        self.kill();
    }
}

pub struct Place {
    dir: tempfile::TempDir,
    keyholders: Vec<Keyholder>,
}

impl Place {
    /// A store whose root key is spread over `n` keyholders.
    pub fn new(n: usize, threshold: u8, liars: u8) -> Self {
        Place::with_margin(n, threshold, liars, 1)
    }

    fn with_margin(n: usize, threshold: u8, liars: u8, margin: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut place = Place { dir, keyholders: Vec::new() };
        let engine = ok(&["keyholder", "engine", &place.at("store.cell")]);
        for number in 0..n {
            place.keyholders.push(Keyholder::make(Path::new(&place.at(&format!("kh{number}"))), engine.trim()));
        }
        let (threshold, liars, store) = (threshold.to_string(), liars.to_string(), place.at("store"));
        let margin = margin.to_string();
        let members: Vec<String> = place.keyholders.iter_mut().map(Keyholder::start_anew).collect();
        let mut args = vec!["init", &store, "--threshold", &threshold, "--liars", &liars, "--margin", &margin];
        for member in &members {
            args.extend(["--keyholder", member]);
        }
        let told = ok(&args);
        assert!(told.contains("L3") && told.contains("keyholders"), "{told}");
        place
    }

    pub fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn cell(&self) -> QuorumCell {
        let env: SharedEnv = Arc::new(System);
        open_cell(Path::new(&self.at("store.cell")), &env).unwrap().unwrap()
    }

    fn open(&self) -> Result<Engine> {
        self.open_as(OpenAs::Owner)
    }

    fn open_as(&self, open_as: OpenAs) -> Result<Engine> {
        let store = SledStore::open(Path::new(&self.at("store")))?;
        let options = Options::new().keeper(Keeper::ByHand).open_as(open_as);
        Engine::open(Arc::new(store), Arc::new(self.cell()), options)
    }

    fn standing(&self) -> Vec<Standing> {
        let cell = self.cell();
        let newest = cell.load().unwrap().keys.iter().map(|key| key.id).max().unwrap();
        cell.standing(&newest).into_iter().map(|alive| alive.standing).collect()
    }
}

impl Keyholder {
    fn start_anew(&mut self) -> String {
        self.kill();
        self.start()
    }
}

fn put(engine: &Engine, name: &str) -> RecordId {
    engine.put(Put::new(user(name), Class::audio()), name.as_bytes()).unwrap()
}

fn certified(engine: &Engine, name: &str) -> Certificate {
    let erase = Erase::new(Scope::user(user(name))).certified(Request::default());
    engine.erase(erase).unwrap().certificate.unwrap().sign().unwrap()
}

fn grade(engine: &Engine, certificate: &Certificate) -> Grade {
    let text: Certificate = certificate.to_string().parse().unwrap();
    text.verify(&Trust::in_log(engine.log().key().unwrap())).unwrap().judged.grade
}

#[test]
fn five_keyholders_hold_the_key_and_an_erase_is_final_with_their_signatures() {
    let place = Place::new(5, 3, 1);
    let engine = place.open().unwrap();
    let (ada, ben) = (put(&engine, "ada"), put(&engine, "ben"));
    let certificate = certified(&engine, "ada");
    assert_eq!(grade(&engine, &certificate), Grade::Final);
    assert_eq!(engine.promise().level, Level::L3);
    let Retired::Stated(said) = &certificate.facts.outcome.retired else { panic!("keyholders say it") };
    assert!(said.len() >= 4, "{} statements", said.len());
    assert_eq!(kind(read(&engine, &ada)), ErrorKind::Erased);
    assert_eq!(read(&engine, &ben).unwrap(), b"ben");
    drop(engine);
    assert_eq!(place.standing(), vec![Standing::Whole; 5]);
    let told = ok(&["keyholder", "status", &place.at("store")]);
    assert_eq!(told.matches("whole").count(), 5, "{told}");
    // Nothing in a keyholder's directory, or in the cell's, is the root key or opens the store alone.
    let status = ok(&["status", &place.at("store")]);
    assert!(status.contains("keyholders"), "{status}");
    // A statement of a keyholder that is not of this store, of another epoch, or twice, is refused.
    let engine = place.open().unwrap();
    let trust = Trust::in_log(engine.log().key().unwrap());
    let forged = |change: &dyn Fn(&mut Vec<keyfall::certificate::Said>)| {
        let mut facts = certificate.facts.clone();
        if let Retired::Stated(said) = &mut facts.outcome.retired {
            change(said);
        }
        kind(facts.judge().map(|judged| judged.grade))
    };
    assert_eq!(forged(&|said| said[1] = said[0].clone()), ErrorKind::Corrupt);
    assert_eq!(forged(&|said| said[0].epoch -= 1), ErrorKind::Corrupt);
    assert_eq!(forged(&|said| said[0].epoch += 1), ErrorKind::Corrupt);
    assert_eq!(forged(&|said| said[0].attempt = "00".repeat(16)), ErrorKind::Corrupt);
    assert_eq!(forged(&|said| said[0].time += 1), ErrorKind::Corrupt);
    let other = Place::new(3, 2, 0);
    let foreign = certified_elsewhere(&other);
    assert_eq!(forged(&|said| said[0] = foreign.clone()), ErrorKind::Corrupt);
    let mut fewer = certificate.facts.clone();
    if let Retired::Stated(said) = &mut fewer.outcome.retired {
        said.truncate(3);
    }
    assert_eq!(fewer.judge().unwrap().grade, Grade::Pending, "three of five say too little when one may lie");
    certificate.verify(&trust).unwrap();
}

fn certified_elsewhere(place: &Place) -> keyfall::certificate::Said {
    let engine = place.open().unwrap();
    put(&engine, "ada");
    let Retired::Stated(said) = certified(&engine, "ada").facts.outcome.retired else { panic!("keyholders say it") };
    said[0].clone()
}

#[test]
fn with_two_killed_an_erase_goes_through_and_is_final_when_they_are_back() {
    let mut place = Place::with_margin(5, 3, 1, 0);
    let engine = place.open().unwrap();
    let ids: Vec<RecordId> = (0..4).map(|n| put(&engine, &format!("user {n}"))).collect();
    place.keyholders[1].kill();
    place.keyholders[4].kill();
    let done = engine.erase(Erase::new(Scope::user(user("user 0"))).certified(Request::default())).unwrap();
    let Some(Retirement::Stated { statements, needed }) = &done.retirement else { panic!("{done:?}") };
    assert_eq!((statements.len(), *needed), (3, 4));
    let pending = done.certificate.unwrap().sign().unwrap();
    assert_eq!(grade(&engine, &pending), Grade::Pending);
    assert!(engine.status().unwrap().unsettled.unwrap().contains("3 of 4 keyholders"));
    assert_eq!(kind(read(&engine, &ids[0])), ErrorKind::Erased);
    // It goes on: another erase, and a restart, with three of five.
    engine.erase(Scope::user(user("user 1"))).unwrap();
    drop(engine);
    let engine = place.open().unwrap();
    assert_eq!(read(&engine, &ids[2]).unwrap(), b"user 2");
    place.keyholders[1].start();
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(engine.status().unwrap().unsettled, None);
    let upgraded = engine.certificates().upgrade(&pending, None).unwrap();
    assert_eq!(grade(&engine, &upgraded), Grade::Final);
    drop(engine);
    // It has its share of the running key too.
    assert!(matches!(place.standing()[..], [_, Standing::Whole, _, _, Standing::Away(_)]), "{:?}", place.standing());
    place.keyholders[4].start();
    ok(&["keyholder", "renew", &place.at("store")]);
    assert_eq!(place.standing(), vec![Standing::Whole; 5]);
    assert_eq!(read(&place.open().unwrap(), &ids[3]).unwrap(), b"user 3");
}

#[test]
fn two_killed_and_started_at_any_moment_lose_nothing() {
    let mut place = Place::new(5, 3, 1);
    let engine = place.open().unwrap();
    let stays = put(&engine, "stays");
    let rounds = std::env::var("KEYFALL_KEYHOLDER_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(30_u64);
    let ended = Arc::new(AtomicBool::new(false));
    let (flag, eraser) = (Arc::clone(&ended), engine.clone());
    let thread = std::thread::spawn(move || {
        let (mut erased, mut failed) = (Vec::new(), 0_u64);
        for n in 0.. {
            if flag.load(Ordering::SeqCst) {
                break;
            }
            let id = put(&eraser, &format!("user {n}"));
            match eraser.erase(Scope::Record(id)) {
                Ok(_) => erased.push(id),
                // Both of its tries met dead keyholders; nothing was erased, or it is published and said so.
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Io, "{e}");
                    failed += 1;
                }
            }
        }
        (erased, failed)
    });
    let mut seed = 7_u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..rounds {
        let (a, b) = (next(5) as usize, next(5) as usize);
        place.keyholders[a].kill();
        std::thread::sleep(Duration::from_millis(next(15)));
        place.keyholders[b].kill();
        std::thread::sleep(Duration::from_millis(next(15)));
        place.keyholders[a].start_anew();
        if a != b {
            place.keyholders[b].start_anew();
        }
        std::thread::sleep(Duration::from_millis(20 + next(60)));
    }
    ended.store(true, Ordering::SeqCst);
    let (erased, failed) = thread.join().unwrap();
    // While two are away nothing is changed, and on a busy machine that is most of the time.
    assert!(erased.len() as u64 >= rounds / 10, "{} erases, {failed} failed", erased.len());
    println!("{rounds} rounds: {} erases went through, {failed} said that they did not", erased.len());
    drop(engine);
    let engine = place.open().unwrap();
    assert_eq!(read(&engine, &stays).unwrap(), b"stays");
    for id in &erased {
        assert_eq!(kind(read(&engine, id)), ErrorKind::Erased);
    }
    engine.rekey().unwrap();
    drop(engine);
    assert_eq!(place.standing(), vec![Standing::Whole; 5]);
}

#[test]
fn with_three_lost_it_says_so_and_nothing_else_is_damaged() {
    let mut place = Place::with_margin(5, 3, 1, 0);
    let engine = place.open().unwrap();
    let id = put(&engine, "ada");
    for n in [0, 2, 3] {
        place.keyholders[n].kill();
    }
    let e = engine.erase(Scope::user(user("ada"))).unwrap_err();
    assert!(e.kind() == ErrorKind::Io && e.to_string().contains("2 of 5 keyholders"), "{e}");
    assert_eq!(read(&engine, &id).unwrap(), b"ada", "nothing was erased, and reading goes on");
    drop(engine);
    let told = ok(&["keyholder", "status", &place.at("store")]);
    assert!(told.contains("root key of epoch 1: held by 2 of 5, 3 are needed, so it cannot be had"), "{told}");
    let e = place.open().unwrap_err();
    assert!(e.to_string().contains("the root key cannot be had") && e.to_string().contains("3 are needed"), "{e}");
    place.keyholders[2].start();
    let engine = place.open().unwrap();
    assert_eq!(read(&engine, &id).unwrap(), b"ada");
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(kind(read(&engine, &id)), ErrorKind::Erased);
}

/// Shares that lie in a keyholder's files: of which key, where, what.
fn shares_in(dir: &Path) -> Vec<keyfall::quorum::Share> {
    let mut shares = Vec::new();
    for store in std::fs::read_dir(dir.join("stores")).unwrap() {
        for slot in SLOTS {
            let bytes = std::fs::read(store.as_ref().unwrap().path().join(slot)).unwrap();
            shares.extend(keyfall::testing::share_in(&bytes));
        }
    }
    shares
}

/// Passes on what goes to and fro, and keeps all of it.
fn recorded(to: String, tape: Arc<std::sync::Mutex<Vec<u8>>>) -> String {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let pass = |mut from: TcpStream, mut to: TcpStream, tape: Arc<std::sync::Mutex<Vec<u8>>>| {
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                tape.lock().unwrap().extend_from_slice(&buffer[..n]);
                if to.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(std::net::Shutdown::Both);
        })
    };
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (Ok(near), Ok(far)) = (near, TcpStream::connect(&to)) else { continue };
            pass(near.try_clone().unwrap(), far.try_clone().unwrap(), Arc::clone(&tape));
            pass(far, near, Arc::clone(&tape));
        }
    });
    address
}

#[test]
fn a_recording_of_the_network_holds_no_share_and_no_name() {
    let place = Place::new(3, 2, 0);
    let tape: Arc<std::sync::Mutex<Vec<u8>>> = Arc::default();
    let config = Path::new(&place.at("store.cell")).join("quorum.json");
    let mut text = std::fs::read_to_string(&config).unwrap();
    for keyholder in &place.keyholders {
        text = text.replace(&keyholder.address, &recorded(keyholder.address.clone(), Arc::clone(&tape)));
    }
    std::fs::write(&config, text).unwrap();
    let engine = place.open().unwrap();
    put(&engine, "ada");
    let mut shares: Vec<_> = place.keyholders.iter().flat_map(|kh| shares_in(&kh.dir)).collect();
    engine.erase(Scope::user(user("ada"))).unwrap();
    shares.extend(place.keyholders.iter().flat_map(|kh| shares_in(&kh.dir)));
    assert_eq!(shares.len(), 6);
    let tape = tape.lock().unwrap();
    assert!(tape.len() > 10_000, "{} bytes were recorded", tape.len());
    let holds = |needle: &[u8]| tape.windows(needle.len()).any(|window| window == needle);
    for share in &shares {
        assert!(!holds(&share.value.bytes()[..8]) && !holds(&share.commitment[..8]) && !holds(&share.id.attempt[..8]));
        assert_eq!(format!("{share:?}"), format!("Share({} of {:?})", share.x, share.id), "a share does not print");
    }
    // The positive control: what is not secret of a handshake is there. The hybrid exchange, 0x11EC, is the only one offered.
    assert!(holds(&[0x11, 0xEC]));
}

#[test]
fn two_that_keep_everything_and_all_the_bytes_of_the_store_open_nothing_erased() {
    let place = Place::new(5, 3, 1);
    let (store, engine) = (place.at("store"), place.open().unwrap());
    let (ada, ben) = (put(&engine, "ada"), put(&engine, "ben"));
    // Two keyholders keep a copy of all that they ever had: here, of their directories before the erase.
    let disloyal = [1, 3];
    let mut kept: Vec<_> = disloyal.iter().flat_map(|n| shares_in(&place.keyholders[*n].dir)).collect();
    copy(Path::new(&store), Path::new(&place.at("tape")));
    let old = engine.head().epoch;
    let certificate = certified(&engine, "ada");
    assert_eq!(grade(&engine, &certificate), Grade::Final);
    // What the other three have now, everything is taken too.
    for n in 0..5 {
        kept.extend(shares_in(&place.keyholders[n].dir));
    }
    let of_old = || kept.iter().filter(|share| share.id.epoch == old);
    assert_eq!(of_old().count(), 2, "the loyal ones destroyed theirs");
    assert!(keyfall::testing::key_of(&of_old().collect::<Vec<_>>()).is_none());
    // The positive control: three shares of the epoch that lives give its key.
    let live: Vec<_> = kept.iter().filter(|share| share.id.epoch == old + 1).collect();
    assert!(keyfall::testing::key_of(&live[..3]).is_some());
    assert!(keyfall::testing::key_of(&live[..2]).is_none());
    drop(engine);
    // The store as it was on the tape does not open with the keyholders as they are.
    let taped = SledStore::open(Path::new(&place.at("tape"))).unwrap();
    let e = Engine::open(Arc::new(taped), Arc::new(place.cell()), Options::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Mismatch, "{e}");
    let engine = place.open().unwrap();
    assert_eq!(read(&engine, &ben).unwrap(), b"ben");
    assert_eq!(kind(read(&engine, &ada)), ErrorKind::Erased);
}

#[test]
fn one_restored_from_a_backup_of_itself_and_one_that_lies_are_named() {
    let mut place = Place::new(5, 3, 1);
    let engine = place.open().unwrap();
    let stays = put(&engine, "stays");
    let backup = place.at("backup");
    copy(&place.keyholders[2].dir, Path::new(&backup));
    put(&engine, "ada");
    engine.erase(Scope::user(user("ada"))).unwrap();
    drop(engine);
    // Restored: it holds a share of the epoch that ended.
    place.keyholders[2].kill();
    std::fs::remove_dir_all(&place.keyholders[2].dir).unwrap();
    copy(Path::new(&backup), &place.keyholders[2].dir);
    place.keyholders[2].start();
    assert_eq!(place.standing()[2], Standing::Behind);
    // Four others suffice; it is told again to destroy what it should not have.
    let engine = place.open().unwrap();
    assert_eq!(read(&engine, &stays).unwrap(), b"stays");
    drop(engine);
    assert_eq!(place.standing(), vec![Standing::Whole; 5]);

    // One whose share is wrong: it is found out, named, and does no harm.
    place.keyholders[0].kill();
    for store in std::fs::read_dir(place.keyholders[0].dir.join("stores")).unwrap() {
        for slot in SLOTS {
            let path = store.as_ref().unwrap().path().join(slot);
            let mut bytes = std::fs::read(&path).unwrap();
            if keyfall::testing::share_in(&bytes).is_some() {
                bytes[50] ^= 1;
                let sum = sha2::Digest::finalize(sha2::Digest::chain_update(
                    <sha2::Sha256 as sha2::Digest>::new(),
                    &bytes[..480],
                ));
                bytes[480..512].copy_from_slice(&sum);
                std::fs::write(&path, bytes).unwrap();
            }
        }
    }
    place.keyholders[0].start();
    assert_eq!(place.standing()[0], Standing::Lies);
    let engine = place.open().unwrap();
    assert_eq!(read(&engine, &stays).unwrap(), b"stays");
}

#[test]
fn one_that_is_there_and_silent_holds_up_nobody_for_long() {
    let place = Place::new(5, 3, 1);
    let engine = place.open().unwrap();
    put(&engine, "ada");
    place.keyholders[1].stop(true);
    let began = Instant::now();
    let done = engine.erase(Scope::user(user("ada"))).unwrap();
    assert!(done.retirement.unwrap().is_final());
    // No timed test: only that it did not wait for an answer that never comes.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    place.keyholders[1].stop(false);
    // What it was told meanwhile arrives late, and in order; it says nothing that was not so.
    engine.rekey().unwrap();
    drop(engine);
    assert_eq!(place.standing(), vec![Standing::Whole; 5]);
}

#[test]
fn one_that_was_replaced_and_is_silent_holds_up_nobody() {
    let place = Place::new(5, 3, 1);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    put(&place.open().unwrap(), "ada");
    place.keyholders[0].stop(true);
    let _fresh = replaced(&place, engine_key.trim(), "kh-new");
    let began = Instant::now();
    let engine = place.open().unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    engine.status().unwrap();
    drop(engine);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn a_lost_one_is_replaced_by_one_command_and_its_share_says_nothing() {
    let mut place = Place::new(5, 3, 1);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let engine = place.open().unwrap();
    let stays = put(&engine, "stays");
    put(&engine, "ben");
    let before = certified(&engine, "ben");
    drop(engine);
    let taken = shares_in(&place.keyholders[3].dir);
    place.keyholders[3].kill();
    let mut fresh = Keyholder::make(Path::new(&place.at("kh-new")), engine_key.trim());
    let member = fresh.start_anew();
    let told = ok(&["keyholder", "replace", &place.at("store"), "--number", "4", "--with", &member]);
    // Of the old root key four loyal ones are needed among six, of whom one was dealt nothing.
    assert!(told.contains("statements of 5"), "{told}");
    assert_eq!(place.standing(), vec![Standing::Whole; 5]);
    let engine = place.open().unwrap();
    assert_eq!(read(&engine, &stays).unwrap(), b"stays");
    put(&engine, "ada");
    let certificate = certified(&engine, "ada");
    assert_eq!(grade(&engine, &certificate), Grade::Final);
    assert_eq!(certificate.facts.body.cell.keyholders.as_ref().unwrap().keys.len(), 5);
    // One from before the change is upgraded by what its own keyholders say, and nobody else.
    let upgraded = engine.certificates().upgrade(&before, None).unwrap();
    assert_eq!(grade(&engine, &upgraded), Grade::Final);
    drop(engine);
    // The share of the one that was lost, with two others of today: of different polynomials.
    let mut mixed = taken;
    mixed.extend(shares_in(&place.keyholders[0].dir).into_iter().take(1));
    mixed.extend(shares_in(&place.keyholders[1].dir).into_iter().take(1));
    assert!(keyfall::testing::key_of(&mixed.iter().collect::<Vec<_>>()).is_none());
    // It comes back, and is told to destroy what it has.
    place.keyholders[3].start();
    let engine = place.open().unwrap();
    engine.run_due(&mut |_| {}).unwrap();
    drop(engine);
    assert!(shares_in(&place.keyholders[3].dir).is_empty());
    let refused = replace_member(
        Path::new(&place.at("store.cell")),
        9,
        Member { key: member.split_once('@').unwrap().0.into(), address: "127.0.0.1:1".into() },
        &(Arc::new(System) as SharedEnv),
    );
    assert_eq!(kind(refused), ErrorKind::Invalid);
}

#[test]
fn a_stranger_is_not_heard_and_another_exchange_not_agreed_on() {
    let place = Place::new(3, 2, 0);
    let engine = place.open().unwrap();
    put(&engine, "ada");
    drop(engine);
    // Another engine's key, with the same list of keyholders.
    let stranger = place.at("stranger.cell");
    copy(Path::new(&place.at("store.cell")), Path::new(&stranger));
    std::fs::remove_file(format!("{stranger}/engine.key")).unwrap();
    let id = EngineKey::in_dir(Path::new(&stranger), &System).unwrap().id();
    let env: SharedEnv = Arc::new(System);
    let cell = open_cell(Path::new(&stranger), &env).unwrap().unwrap();
    assert_eq!(kind(cell.load()), ErrorKind::Io);
    // Let in, it still has no right to a store that another engine made.
    for keyholder in &place.keyholders {
        ok(&["keyholder", "allow", &keyholder.dir.display().to_string(), &id.to_string()]);
    }
    let e = open_cell(Path::new(&stranger), &env).unwrap().unwrap().load().unwrap_err();
    assert!(e.to_string().contains("another engine"), "{e}");
    let store = std::fs::read_dir(place.keyholders[0].dir.join("stores")).unwrap().next().unwrap().unwrap();
    let store = store.file_name().to_string_lossy().into_owned();
    for keyholder in &place.keyholders {
        let dir = keyholder.dir.display().to_string();
        ok(&["keyholder", "allow", &dir, &id.to_string(), "--store", &store]);
    }
    assert_eq!(open_cell(Path::new(&stranger), &env).unwrap().unwrap().load().unwrap().keys.len(), 1);
    // A client of TLS 1.3 that offers X25519 alone, as most do, is turned away.
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client = rustls::ClientConnection::new(Arc::new(config), "keyholder.invalid".try_into().unwrap()).unwrap();
    let mut socket = std::net::TcpStream::connect(&place.keyholders[0].address).unwrap();
    assert!(client.complete_io(&mut socket).is_err());
    assert!(client.is_handshaking());
}

#[test]
fn with_exactly_as_many_as_are_needed_an_erase_changes_nothing_and_status_says_so() {
    let mut place = Place::new(5, 3, 1);
    let engine = place.open().unwrap();
    let (ada, stays) = (put(&engine, "ada"), put(&engine, "stays"));
    place.keyholders[3].kill();
    place.keyholders[4].kill();
    let e = engine.erase(Scope::user(user("ada"))).unwrap_err();
    assert!(e.kind() == ErrorKind::Io && e.to_string().contains("nothing was changed"), "{e}");
    assert_eq!(read(&engine, &ada).unwrap(), b"ada");
    drop(engine);
    let told = ok(&["keyholder", "status", &place.at("store")]);
    assert!(
        told.contains(
            "of epoch 1: held by 3 of 5, 3 are needed, none may be lost; nothing is destroyed before more hold it"
        ),
        "{told}"
    );
    // The last two come back, and one of the three is lost: four of five are well, and everything is there.
    place.keyholders[3].start();
    place.keyholders[4].start();
    let engine = place.open().unwrap();
    let certificate = certified(&engine, "ada");
    assert_eq!(grade(&engine, &certificate), Grade::Final);
    assert_eq!(engine.status().unwrap().unsettled, None);
    assert_eq!(kind(read(&engine, &ada)), ErrorKind::Erased);
    drop(engine);
    place.keyholders[2].kill();
    let told = ok(&["keyholder", "status", &place.at("store")]);
    assert!(told.contains("held by 4 of 5, 3 are needed, 1 may be lost\n"), "{told}");
    assert_eq!(read(&place.open().unwrap(), &stays).unwrap(), b"stays");
}

/// Of the key that reached x shares were left with one that was lost and one that was away; a rekey, counted among the keyholders of the next
/// epoch alone, said final.
#[test]
fn an_epoch_is_final_by_its_own_keyholders_and_not_by_those_of_a_later_one() {
    let mut place = Place::with_margin(5, 3, 1, 0);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let engine = place.open().unwrap();
    put(&engine, "x");
    put(&engine, "stays");
    place.keyholders[4].kill();
    place.keyholders[0].kill();
    let erase = Erase::new(Scope::user(user("x"))).certified(Request::default());
    let certificate = engine.erase(erase).unwrap().certificate.unwrap().sign().unwrap();
    drop(engine);
    let mut fresh = Keyholder::make(Path::new(&place.at("kh-new")), engine_key.trim());
    let member = fresh.start_anew();
    let told = ok(&["keyholder", "replace", &place.at("store"), "--number", "1", "--with", &member]);
    assert!(told.contains("4 statements of 5") && told.contains("pending"), "{told}");
    for _ in 0..2 {
        let told = ok(&["keyholder", "renew", &place.at("store")]);
        assert!(told.contains("pending"), "{told}");
    }
    let engine = place.open().unwrap();
    assert!(engine.status().unwrap().unsettled.unwrap().contains("pending"));
    assert_eq!(grade(&engine, &engine.certificates().upgrade(&certificate, None).unwrap()), Grade::Pending);
    // The one that was away is back: of the first epoch four have signed now who were dealt a share.
    place.keyholders[4].start();
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(engine.status().unwrap().unsettled, None);
    assert_eq!(grade(&engine, &engine.certificates().upgrade(&certificate, None).unwrap()), Grade::Final);
    drop(engine);
    let told = ok(&["keyholder", "renew", &place.at("store")]);
    assert!(told.contains("5 statements of 4") && told.contains("final"), "{told}");
}

fn leaving(place: &Place) -> usize {
    list(place)[1].as_array().unwrap().len()
}

/// The keyholders as they stand in the cell's file, and those that were replaced.
fn list(place: &Place) -> [serde_json::Value; 2] {
    let text = std::fs::read_to_string(Path::new(&place.at("store.cell")).join("quorum.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    ["keyholders", "leaving"].map(|field| config[field].clone())
}

/// Puts a new keyholder into the first place.
fn replaced(place: &Place, engine: &str, name: &str) -> Keyholder {
    let mut fresh = Keyholder::make(Path::new(&place.at(name)), engine);
    let member = fresh.start_anew();
    ok(&["keyholder", "replace", &place.at("store"), "--number", "1", "--with", &member]);
    fresh
}

#[test]
fn of_two_that_left_one_place_each_is_asked_until_it_has_signed_itself() {
    let mut place = Place::new(5, 3, 1);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let engine = place.open().unwrap();
    put(&engine, "x");
    drop(engine);
    place.keyholders[0].kill();
    let mut second = replaced(&place, engine_key.trim(), "second");
    second.kill();
    let third = replaced(&place, engine_key.trim(), "third");
    assert_eq!(leaving(&place), 2);
    assert_eq!(shares_in(&second.dir).len(), 1);
    place.keyholders[0].start();
    place.open().unwrap().run_due(&mut |_| {}).unwrap();
    assert_eq!(leaving(&place), 1, "the second has not signed yet");
    second.start();
    place.open().unwrap().run_due(&mut |_| {}).unwrap();
    assert_eq!(leaving(&place), 0);
    assert_eq!((shares_in(&second.dir).len(), shares_in(&third.dir).len()), (0, 1));
}

/// A machine was restored from a backup: its list named two keyholders that had been replaced since, and an erase was final while three of
/// those that held shares of the old key had not been asked.
#[test]
fn a_list_of_keyholders_that_came_back_older_makes_nothing_final() {
    let place = Place::new(5, 3, 1);
    let (store, engine_key) = (place.at("store"), ok(&["keyholder", "engine", &place.at("store.cell")]));
    let engine = place.open().unwrap();
    let stays = put(&engine, "stays");
    put(&engine, "ada");
    drop(engine);
    let list = Path::new(&place.at("store.cell")).join("quorum.json");
    let older = std::fs::read(&list).unwrap();
    let mut fresh = Vec::new();
    for number in ["4", "5"] {
        let mut keyholder = Keyholder::make(Path::new(&place.at(&format!("kh-new{number}"))), engine_key.trim());
        let member = keyholder.start_anew();
        ok(&["keyholder", "replace", &store, "--number", number, "--with", &member]);
        fresh.push(keyholder);
    }
    let newest = std::fs::read(&list).unwrap();
    std::fs::write(&list, &older).unwrap();
    let e = place.open().unwrap_err();
    assert!(e.kind() == ErrorKind::Mismatch && e.to_string().contains("put back the newest quorum.json"), "{e}");
    assert_eq!(read(&place.open_as(OpenAs::ReadOnly).unwrap(), &stays).unwrap(), b"stays");
    ok(&["list", &store]);
    std::fs::write(&list, newest).unwrap();
    assert_eq!(place.open().unwrap().read_only(), None);
    // Taken over as it is, it says what it cannot know, for good.
    std::fs::write(&list, &older).unwrap();
    let engine = place.open_as(OpenAs::TakeOver).unwrap();
    let certificate = certified(&engine, "ada");
    assert_eq!(grade(&engine, &certificate), Grade::Pending);
    assert!(fresh.iter().all(|keyholder| !shares_in(&keyholder.dir).is_empty()), "they were not asked");
    drop(engine);
    let engine = place.open().unwrap();
    assert!(!engine.rekey().unwrap().is_final());
    assert!(engine.status().unwrap().unsettled.unwrap().contains("pending"));
    assert_eq!(grade(&engine, &engine.certificates().upgrade(&certificate, None).unwrap()), Grade::Pending);
    assert!(engine.promise().statement.contains("not known any more"));
    assert_eq!(read(&engine, &stays).unwrap(), b"stays");
}

/// Has a keyholder's directory tell of a claim that no engine made.
fn lies_about_the_owner(keyholder: &Keyholder, store: keyfall::store::StoreId) {
    let lie = keyfall::cell::Owner { instance: [9; 16], claim: u64::MAX, token: [9; 16] };
    let env: SharedEnv = Arc::new(System);
    let holder = keyfall::testing::holder(&keyholder.dir, 1, &env);
    keyfall::quorum::Keyholder::claim(&holder, store, &lie, u64::MAX).unwrap();
}

#[test]
fn neither_one_that_lies_nor_one_that_was_replaced_says_who_owns_the_store() {
    let mut place = Place::new(5, 3, 1);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let store = place.open().unwrap().id();
    place.keyholders[0].kill();
    let _fresh = replaced(&place, engine_key.trim(), "kh-new");
    place.keyholders[1].kill();
    for n in [0, 1] {
        lies_about_the_owner(&place.keyholders[n], store);
        place.keyholders[n].start();
    }
    let engine = place.open().unwrap();
    assert_eq!(engine.read_only(), None);
    put(&engine, "ada");
    engine.erase(Scope::user(user("ada"))).unwrap();
    drop(engine);
    ok(&["put", &place.at("store"), "--user", "ben", "--class", "audio", "--take-over", "Cargo.toml"]);
    assert_eq!(place.open().unwrap().read_only(), None);
}

#[test]
fn one_that_was_replaced_and_moved_is_asked_where_it_is_now() {
    let mut place = Place::new(5, 3, 1);
    let (store, engine_key) = (place.at("store"), ok(&["keyholder", "engine", &place.at("store.cell")]));
    put(&place.open().unwrap(), "x");
    place.keyholders[0].kill();
    let _fresh = replaced(&place, engine_key.trim(), "kh-new");
    place.keyholders[0].address = "127.0.0.1:0".into();
    let line = place.keyholders[0].start();
    let (key, there) = line.split_once('@').unwrap();
    let told = ok(&["keyholder", "status", &store]);
    assert!(told.contains(key) && told.contains("no share from before epoch 2; it is away"), "{told}");
    assert!(ok(&["keyholder", "status", &store, "--json"]).contains("\"leaving\""));
    let (done, text) = crate::support::run(&["keyholder", "move", &store, key, &place.keyholders[1].address]);
    assert!(!done && text.contains("pinned"), "{text}");
    ok(&["keyholder", "move", &store, key, there]);
    let told = ok(&["keyholder", "status", &store]);
    assert!(told.contains("it is there, and `tend` asks it"), "{told}");
    ok(&["tend", &store]);
    assert_eq!(leaving(&place), 0);
    assert!(shares_in(&place.keyholders[0].dir).is_empty());
    assert!(!ok(&["keyholder", "status", &store]).contains(key));
    let (done, text) = crate::support::run(&["keyholder", "move", &store, key, there]);
    assert!(!done && text.contains("no keyholder of the store has this key"), "{text}");
}

#[test]
fn what_one_signed_that_was_replaced_is_not_forgotten() {
    let mut place = Place::with_margin(5, 3, 1, 0);
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let engine = place.open().unwrap();
    put(&engine, "x");
    place.keyholders[0].kill();
    place.keyholders[4].kill();
    let erase = Erase::new(Scope::user(user("x"))).certified(Request::default());
    let certificate = engine.erase(erase).unwrap().certificate.unwrap().sign().unwrap();
    assert_eq!(grade(&engine, &certificate), Grade::Pending);
    drop(engine);
    let _fresh = replaced(&place, engine_key.trim(), "kh-new");
    // The one that was replaced comes back, signs, is let go, and is gone for good.
    place.keyholders[0].start();
    place.open().unwrap().run_due(&mut |_| {}).unwrap();
    assert_eq!(leaving(&place), 0);
    place.keyholders[0].kill();
    ok(&["keyholder", "renew", &place.at("store")]);
    ok(&["keyholder", "renew", &place.at("store")]);
    let engine = place.open().unwrap();
    assert_eq!(engine.status().unwrap().unsettled, None);
    assert_eq!(grade(&engine, &engine.certificates().upgrade(&certificate, None).unwrap()), Grade::Final);
}

#[test]
fn a_look_works_while_an_engine_has_the_cell_and_another_engine_does_not() {
    let place = Place::new(3, 2, 0);
    let engine = place.open().unwrap();
    let id = put(&engine, "ada");
    assert_eq!(place.standing(), vec![Standing::Whole; 3]);
    ok(&["keyholder", "status", &place.at("store")]);
    let other = place.cell();
    let keep = other.load().unwrap().keys[0].id;
    assert_eq!(kind(other.retire(&keep, keyfall::cell::Durable::assumed_for_a_test())), ErrorKind::Locked);
    let moved = keyfall::quorum::net::move_member(
        Path::new(&place.at("store.cell")),
        1,
        "127.0.0.1:1",
        false,
        &(Arc::new(System) as SharedEnv),
    );
    assert_eq!(kind(moved), ErrorKind::Locked);
    assert_eq!(read(&engine, &id).unwrap(), b"ada");
    engine.rekey().unwrap();
    drop(engine);
    // The lock is free, and it never claimed the store.
    let keep = other.load().unwrap().keys[0].id;
    let refused =
        |other: &keyfall::quorum::QuorumCell| kind(other.retire(&keep, keyfall::cell::Durable::assumed_for_a_test()));
    // What the cell keeps went on since this handle read it.
    assert_eq!(refused(&other), ErrorKind::Locked);
    assert_eq!(refused(&place.cell()), ErrorKind::Fenced);
}

#[test]
fn a_keyholder_that_has_another_address_is_moved_by_one_command() {
    let mut place = Place::new(3, 2, 0);
    let id = put(&place.open().unwrap(), "ada");
    place.keyholders[1].kill();
    place.keyholders[1].address = "127.0.0.1:0".into();
    place.keyholders[1].start();
    let (store, there, other) =
        (place.at("store"), place.keyholders[1].address.clone(), place.keyholders[2].address.clone());
    let fails = |args: &[&str], words: &str| {
        let (done, text) = crate::support::run(args);
        assert!(!done && text.contains(words), "{args:?}: {text}");
    };
    fails(&["keyholder", "move", &store, "2", &other], "pinned");
    fails(&["keyholder", "move", &store, "2", "127.0.0.1:1"], "cannot be reached");
    fails(&["keyholder", "move", &store, "9", &there], "no keyholder 9");
    fails(&["keyholder", "move", &store, "2", "somewhere"], "HOST:PORT");
    fails(&["keyholder", "move", &store, "two", &there], "no number, and no keyholder's key");
    ok(&["keyholder", "move", &store, "2", &there]);
    assert_eq!(place.standing(), vec![Standing::Whole; 3]);
    assert_eq!(read(&place.open().unwrap(), &id).unwrap(), b"ada");
    // Where it is not there yet, a person may know better.
    ok(&["keyholder", "move", &store, "2", "127.0.0.1:1", "--offline"]);
    assert!(matches!(place.standing()[1], Standing::Away(_)));
    ok(&["keyholder", "move", &store, "2", &there]);
}

#[test]
fn an_engine_has_so_many_stores_with_a_keyholder_and_no_more() {
    let place = Place::new(3, 2, 0);
    let dir = place.keyholders[0].dir.display().to_string();
    let engine = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let config = std::fs::read_to_string(Path::new(&place.at("store.cell")).join("quorum.json")).unwrap();
    let members = serde_json::from_str::<keyfall::quorum::Config>(&config).unwrap().keyholders;
    let env: SharedEnv = Arc::new(System);
    // The same engine, for any number of store ids.
    let deposit = |n: u8| {
        let other = place.at(&format!("other{n}.cell"));
        std::fs::create_dir(&other).unwrap();
        copy(&Path::new(&place.at("store.cell")).join("engine.key"), Path::new(&other));
        let cell = keyfall::quorum::net::make_cell(Path::new(&other), members.clone(), (3, 1), &env).unwrap();
        let id = keyfall::cell::RootId { epoch: 1, attempt: [n; 16] };
        cell.deposit(keyfall::store::StoreId([n; 16]), &id, &keyfall::crypto::Key::copied_from(&[n; 32]))
    };
    for n in 1..8 {
        deposit(n).unwrap();
    }
    let e = deposit(8).unwrap_err();
    assert!(e.to_string().contains("8 stores") && e.to_string().contains("--stores"), "{e}");
    for keyholder in &place.keyholders {
        ok(&["keyholder", "allow", &keyholder.dir.display().to_string(), engine.trim(), "--stores", "9"]);
    }
    deposit(9).unwrap();
    deposit(10).unwrap_err();
    // A store can be kept for an engine before there is a share of it; what is no store's id is refused.
    ok(&["keyholder", "allow", &dir, engine.trim(), "--store", &"ab".repeat(16)]);
    assert_eq!(
        kind(keyfall::quorum::net::KeyholderDir::allow(Path::new(&dir), engine.trim().parse().unwrap(), Some("../x"))),
        ErrorKind::Invalid
    );
}

/// A client that sends the head of a TLS record, and a byte now and then: none of its reads takes long.
fn dawdle(address: &str, connections: usize, ended: &Arc<AtomicBool>) -> std::thread::JoinHandle<usize> {
    use std::io::{Read, Write};
    let connect = || {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.write_all(&[0x16, 3, 1, 0x10, 0]).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let mut sockets: Vec<_> = (0..connections).map(|_| connect()).collect();
    let ended = Arc::clone(ended);
    std::thread::spawn(move || {
        while !ended.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_secs(1));
            sockets.retain_mut(|socket| !matches!(socket.read(&mut [0; 64]), Ok(0)) && socket.write_all(&[1]).is_ok());
        }
        sockets.len()
    })
}

#[test]
fn strangers_that_take_their_time_keep_no_engine_out() {
    let place = Place::new(3, 2, 0);
    let id = put(&place.open().unwrap(), "ada");
    let ended = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> =
        place.keyholders[..2].iter().map(|keyholder| dawdle(&keyholder.address, 400, &ended)).collect();
    let began = Instant::now();
    let engine = place.open().unwrap();
    assert_eq!(read(&engine, &id).unwrap(), b"ada");
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // No handshake takes longer than it may, however often a byte comes.
    std::thread::sleep(Duration::from_secs(8));
    ended.store(true, Ordering::SeqCst);
    let left: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(left, 0, "connections are left");
}

#[test]
fn a_keyholder_without_file_descriptors_waits_and_says_so_once() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("kh");
    ok(&["keyholder", "init", &place.display().to_string(), "--accept-remnants"]);
    let script = format!(
        "ulimit -n 24; exec {} keyholder serve {} --listen 127.0.0.1:0",
        env!("CARGO_BIN_EXE_keyfall"),
        place.display()
    );
    let mut process =
        Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let line = BufReader::new(process.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let address = line.split_once('@').unwrap().1.to_owned();
    let sockets: Vec<_> = (0..60).filter_map(|_| std::net::TcpStream::connect(&address).ok()).collect();
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    std::thread::sleep(Duration::from_millis(300));
    let before = used();
    std::thread::sleep(Duration::from_secs(3));
    // Hundredths of a second, of three hundred.
    let busy = used() - before;
    drop(sockets);
    process.kill().unwrap();
    let mut told = String::new();
    std::io::Read::read_to_string(&mut process.stderr.take().unwrap(), &mut told).unwrap();
    process.wait().unwrap();
    assert!(busy < 100, "{busy} hundredths of a second");
    assert_eq!(told.matches("connections cannot be taken").count(), 1, "{told}");
}

/// A command that only looks said that everything is final and clean while keyholders had not signed.
#[test]
fn whatever_looks_while_keyholders_are_away_says_pending() {
    for (liars, margin, away, stated) in [(2, 1, &[4][..], "4 of 5"), (1, 0, &[3, 4][..], "3 of 4")] {
        let mut place = Place::with_margin(5, 3, liars, margin);
        let engine = place.open().unwrap();
        put(&engine, "ada");
        put(&engine, "ben");
        drop(engine);
        away.iter().for_each(|n| place.keyholders[*n].kill());
        let store = place.at("store");
        assert!(ok(&["erase", &store, "--user", "ada", "--yes"]).contains("pending"));
        let options = Options::new().keeper(Keeper::ByHand).open_as(OpenAs::ReadOnly);
        let blobs = SledStore::look(Path::new(&store)).unwrap();
        let look = Engine::open(Arc::new(blobs), Arc::new(place.cell()), options).unwrap();
        let status = look.status().unwrap();
        assert!(!status.finality.is_final() && status.unsettled.is_some(), "{status:?}");
        assert_eq!(look.report(&user("ben")).unwrap().finality, status.finality);
        assert!(!look.audit(&[], &mut |_| {}).unwrap().is_clean());
        assert!(look.ownership().owes().unwrap(), "the owner is to ask again");
        drop(look);
        let told = ok(&["status", &store, "--json"]);
        assert!(told.contains("\"final\": false") && told.contains("\"settled\": false"), "{told}");
        assert!(ok(&["status", &store]).contains(stated));
        assert!(ok(&["report", &store, "--user", "ben"]).contains("pending"));
        let told = ok(&["audit", &store]);
        assert!(told.contains("pending") && !told.contains("clean: "), "{told}");
        away.iter().for_each(|n| drop(place.keyholders[*n].start()));
        ok(&["tend", &store]);
        let told: serde_json::Value = serde_json::from_str(&ok(&["status", &store, "--json"])).unwrap();
        assert_eq!((&told["final"], &told["settled"]), (&true.into(), &true.into()), "it asked again: {told}");
        assert!(ok(&["audit", &store]).contains("clean: "));
    }
}

/// Those that stayed were told to have been away.
#[test]
fn keyholders_that_hold_a_share_of_an_attempt_that_failed_are_told_as_that() {
    let mut place = Place::new(5, 3, 1);
    let store = place.at("store");
    put(&place.open().unwrap(), "ada");
    let away = [3, 4];
    away.iter().for_each(|n| place.keyholders[*n].kill());
    let (done, text) = crate::support::run(&["erase", &store, "--user", "ada", "--yes"]);
    assert!(!done && text.contains("nothing was changed"), "{text}");
    let told = ok(&["keyholder", "status", &store]);
    assert_eq!(told.matches("of an attempt that failed").count(), 3, "{told}");
    assert!(!told.contains("it was away") && told.contains("held by 3 of 5"), "{told}");
    away.iter().for_each(|n| drop(place.keyholders[*n].start()));
    ok(&["tend", &store]);
    assert_eq!(ok(&["keyholder", "status", &store]).matches("whole").count(), 5);
}

/// A keyholder that no engine is allowed to speak to; gives its process, whose standard error can be read, and KEY@ADDRESS.
fn heard(dir: &str) -> (Child, String) {
    ok(&["keyholder", "init", dir, "--accept-remnants"]);
    let mut process = Command::new(env!("CARGO_BIN_EXE_keyfall"))
        .args(["keyholder", "serve", dir, "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(process.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    (process, line)
}

/// Ends it; gives what it said.
fn said(mut process: Child) -> String {
    process.kill().unwrap();
    let mut told = String::new();
    std::io::Read::read_to_string(&mut process.stderr.take().unwrap(), &mut told).unwrap();
    process.wait().unwrap();
    told
}

#[test]
fn init_says_which_keyholders_do_not_know_the_engine() {
    let place = Place::new(3, 2, 0);
    let engine = ok(&["keyholder", "engine", &place.at("new.cell")]);
    let (process, stranger) = heard(&place.at("strange"));
    let mut knows: Vec<Keyholder> =
        (0..3).map(|n| Keyholder::make(Path::new(&place.at(&format!("new{n}"))), engine.trim())).collect();
    let members: Vec<String> = knows.iter_mut().map(Keyholder::start_anew).collect();
    let store = place.at("new");
    let init = |members: &[&String]| {
        let mut args = vec!["init", &store, "--threshold", "2"];
        members.iter().for_each(|member| args.extend(["--keyholder", member.as_str()]));
        crate::support::run(&args)
    };
    // Three must take the root key.
    let (done, text) = init(&[&members[0], &members[1], &stranger]);
    assert!(!done && text.contains("does not know this engine; run there"), "{text}");
    let (done, text) = init(&[&members[0], &members[1], &members[2], &stranger]);
    assert!(done && text.contains("does not know this engine; run there"), "{text}");
    assert!(text.contains("it has no share yet"), "{text}");
    let told = ok(&["keyholder", "status", &store]);
    assert!(told.contains("refuses") && !told.contains("HandshakeFailure"), "{told}");
    ok(&["keyholder", "allow", &place.at("strange"), engine.trim()]);
    ok(&["tend", &store]);
    assert_eq!(ok(&["keyholder", "status", &store]).matches("whole").count(), 4);
    drop(said(process));
}

/// It looked like a network fault, and a replacement by such a keyholder was accepted.
#[test]
fn a_keyholder_that_does_not_know_the_engine_and_one_that_is_another_are_told_apart_on_both_sides() {
    let place = Place::new(3, 2, 0);
    let (store, engine) = (place.at("store"), ok(&["keyholder", "engine", &place.at("store.cell")]));
    let (process, line) = heard(&place.at("strange"));
    let before = list(&place);
    let (done, text) = crate::support::run(&["keyholder", "replace", &store, "--number", "3", "--with", &line]);
    let way = format!("does not know this engine; run there `keyfall keyholder allow DIR {}`", engine.trim());
    assert!(!done && text.contains(&way) && !text.contains("HandshakeFailure"), "{text}");
    // Another keyholder than the one that is meant is at the address.
    let other = ok(&["keyholder", "init", &place.at("other"), "--accept-remnants"]);
    let there = format!("{}@{}", other.trim(), line.split_once('@').unwrap().1);
    let (done, text) = crate::support::run(&["keyholder", "replace", &store, "--number", "3", "--with", &there]);
    assert!(!done && text.contains("is another than was pinned") && !text.contains("allow DIR"), "{text}");
    assert_eq!(list(&place), before, "nothing was changed");
    let told = said(process);
    let way = format!("run `keyfall keyholder allow {} {}`", place.at("strange"), engine.trim());
    assert!(told.contains(&way), "{told}");
    assert!(told.contains("another key is pinned") && !told.contains("HandshakeFailure"), "{told}");
}

fn member_of(line: &str) -> Member {
    let (key, address) = line.split_once('@').unwrap();
    Member { key: key.into(), address: address.into() }
}

/// One that worked was dropped for an address where nothing listened, and three such shut the store for writing.
#[test]
fn a_replacement_that_does_not_answer_changes_nothing() {
    let mut place = Place::new(5, 3, 1);
    let (store, cell) = (place.at("store"), place.at("store.cell"));
    let engine_key = ok(&["keyholder", "engine", &cell]);
    let stays = put(&place.open().unwrap(), "stays");
    let (before, other) = (list(&place), ok(&["keyholder", "init", &place.at("other"), "--accept-remnants"]));
    let nowhere = format!("{}@127.0.0.1:1", other.trim());
    for number in ["1", "2", "3"] {
        let (done, text) =
            crate::support::run(&["keyholder", "replace", &store, "--number", number, "--with", &nowhere]);
        assert!(!done && text.contains("nothing was changed") && text.contains("cannot be reached"), "{text}");
        assert_eq!(list(&place), before);
    }
    // A keyholder that the store has already is moved, not added a second time.
    let second = place.keyholders[1].start_anew();
    let (done, text) = crate::support::run(&["keyholder", "replace", &store, "--number", "1", "--with", &second]);
    assert!(!done && text.contains("`keyfall keyholder move [STORE] 2 HOST:PORT`"), "{text}");
    // What was dealt nothing leaves no trace when it is taken back.
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    let (cell, env, line) = (Path::new(&cell), Arc::new(System) as SharedEnv, fresh.start_anew());
    let replaced = replace_member(cell, 1, member_of(&line), &env).unwrap();
    assert_ne!(list(&place), before);
    put_back(cell, replaced).unwrap();
    assert_eq!(list(&place), before);
    let engine = place.open().unwrap();
    assert_eq!(read(&engine, &stays).unwrap(), b"stays");
    assert!(engine.rekey().unwrap().is_final());
}

#[test]
fn where_no_epoch_can_begin_the_one_that_was_replaced_is_put_back() {
    let mut place = Place::new(5, 3, 1);
    let store = place.at("store");
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    put(&place.open().unwrap(), "ada");
    let before = list(&place);
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    let line = fresh.start_anew();
    place.keyholders[3].kill();
    place.keyholders[4].kill();
    let args = ["keyholder", "replace", &store, "--number", "1", "--with", &line];
    let (done, text) = crate::support::run(&args);
    let is_so = format!("keyholder 1 is {} as before", place.keyholders[0].address);
    assert!(!done && text.contains(&is_so) && text.contains("3 of 5"), "{text}");
    // The new one was dealt its share of the running key: it is asked for its word.
    let [now, left] = list(&place);
    assert_eq!(now, before[0]);
    assert_eq!(left[0]["member"]["address"], fresh.address.as_str());
    place.keyholders[3].start();
    place.keyholders[4].start();
    // It comes back by the same command.
    let told = ok(&args);
    assert!(told.contains("final"), "{told}");
    assert_eq!((place.standing(), leaving(&place)), (vec![Standing::Whole; 5], 0));
    assert!(shares_in(&place.keyholders[0].dir).is_empty());
    let engine = place.open().unwrap();
    assert_eq!(grade(&engine, &certified(&engine, "ada")), Grade::Final);
}

/// The one that was replaced is lost: putting it back would leave one share less.
#[test]
fn where_no_epoch_can_begin_a_new_keyholder_stays_in_the_place_of_a_lost_one() {
    let mut place = Place::with_margin(5, 3, 1, 2);
    let store = place.at("store");
    let engine_key = ok(&["keyholder", "engine", &place.at("store.cell")]);
    let stays = put(&place.open().unwrap(), "stays");
    let mut fresh = Keyholder::make(Path::new(&place.at("fresh")), engine_key.trim());
    let line = fresh.start_anew();
    place.keyholders[0].kill();
    place.keyholders[3].kill();
    let (done, text) = crate::support::run(&["keyholder", "replace", &store, "--number", "1", "--with", &line]);
    let is_so = format!("keyholder 1 is {} now", fresh.address);
    assert!(!done && text.contains(&is_so) && text.contains("keyholder renew"), "{text}");
    assert_eq!(list(&place)[0][0]["address"], fresh.address.as_str());
    place.keyholders[3].start();
    let told = ok(&["keyholder", "renew", &store]);
    assert!(told.contains("final"), "{told}");
    assert_eq!((place.standing(), leaving(&place)), (vec![Standing::Whole; 5], 1));
    assert_eq!(read(&place.open().unwrap(), &stays).unwrap(), b"stays");
}

/// Three were replaced, the machine stopped before an epoch began each time, and the new ones are gone: too few of the list take a claim.
#[test]
fn those_that_were_replaced_can_be_put_back_though_too_few_of_the_list_are_there() {
    let mut place = Place::new(5, 3, 1);
    let (store, cell) = (place.at("store"), place.at("store.cell"));
    let engine_key = ok(&["keyholder", "engine", &cell]);
    let lines: Vec<String> = place.keyholders.iter_mut().map(Keyholder::start_anew).collect();
    let stays = put(&place.open().unwrap(), "stays");
    let before = list(&place);
    let env: SharedEnv = Arc::new(System);
    for number in 1..=3 {
        let mut fresh = Keyholder::make(Path::new(&place.at(&format!("fresh{number}"))), engine_key.trim());
        replace_member(Path::new(&cell), number, member_of(&fresh.start_anew()), &env).unwrap();
    }
    ok(&["list", &store]);
    let put_it = ["put", &store, "--user", "ada", "--class", "audio", "Cargo.toml"];
    let (done, text) = crate::support::run(&put_it);
    assert!(!done && text.contains("2 of 5") && text.contains("put back one that was replaced"), "{text}");
    let told = ok(&["keyholder", "status", &store]);
    assert!(told.contains("held by 2 of 5 and 3 that were replaced, 3 are needed, 2 may be lost"), "{told}");
    assert!(told.contains(&format!("--number 2 --with {}` has it back", lines[1])), "{told}");
    // To its own place, and to no other while it may hold a share.
    let (done, text) = crate::support::run(&["keyholder", "replace", &store, "--number", "2", "--with", &lines[0]]);
    assert!(!done && text.contains("2 of 5"), "{text}");
    assert_eq!(kind(replace_member(Path::new(&cell), 2, member_of(&lines[0]), &env)), ErrorKind::Invalid);
    for number in [3, 1, 2] {
        let told = ok(&["keyholder", "replace", &store, "--number", &number.to_string(), "--with", &lines[number - 1]]);
        assert!(told.contains("no epoch begins"), "the one that goes was dealt nothing: {told}");
    }
    assert_eq!((list(&place), place.standing()), (before, vec![Standing::Whole; 5]));
    ok(&put_it);
    let engine = place.open().unwrap();
    assert_eq!(read(&engine, &stays).unwrap(), b"stays");
    assert!(engine.erase(Scope::user(user("ada"))).unwrap().finality.is_final());
}

#[test]
fn what_was_moved_allowed_or_signed_is_said() {
    let mut place = Place::new(5, 3, 1);
    let (store, engine) = (place.at("store"), ok(&["keyholder", "engine", &place.at("store.cell")]));
    put(&place.open().unwrap(), "x");
    let line = place.keyholders[0].start_anew();
    place.keyholders[0].kill();
    let fresh = replaced(&place, engine.trim(), "kh-new");
    let told = ok(&["keyholder", "allow", &fresh.dir.display().to_string(), engine.trim(), "--stores", "9"]);
    assert!(told.contains("may speak to the keyholder in") && told.contains("it may have 9 stores there"), "{told}");
    place.keyholders[0].start();
    let told = ok(&["tend", &store]);
    assert!(told.contains(&format!("the keyholder {line}, which was replaced, has signed")), "{told}");
    assert!(!ok(&["tend", &store]).contains("has signed"));
    place.keyholders[1].kill();
    place.keyholders[1].address = "127.0.0.1:0".into();
    place.keyholders[1].start();
    let there = place.keyholders[1].address.clone();
    let told = ok(&["keyholder", "move", &store, "2", &there]);
    assert!(told.contains(&format!("keyholder 2 is asked at {there} from now on; it answers there")), "{told}");
    let told = ok(&["keyholder", "move", &store, "2", &there, "--offline"]);
    assert!(told.contains("was not looked at"), "{told}");
}

/// A renewal was told as an erase.
#[test]
fn an_epoch_that_began_without_an_erase_is_not_told_as_one() {
    let mut place = Place::new(5, 3, 2);
    let store = place.at("store");
    put(&place.open().unwrap(), "ada");
    place.keyholders[4].kill();
    ok(&["keyholder", "renew", &store]);
    let commands: [&[&str]; 4] =
        [&["tend", &store], &["status", &store], &["report", &store, "--user", "ada"], &["audit", &store]];
    for command in commands {
        let told = ok(command);
        assert!(told.contains("the destruction of older root keys is pending"), "{command:?}: {told}");
        assert!(!told.contains("erased last") && !told.contains("last erase"), "{command:?}: {told}");
    }
    place.keyholders[4].start();
    let told = ok(&["tend", &store]);
    assert!(told.contains("every older root key counts as destroyed") && !told.contains("pending"), "{told}");
}
