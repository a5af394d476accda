//! Five keyholders, five processes on loopback: any two may die at any moment, any two may keep
//! everything. SPEC §15.

mod away;
mod copied;
mod engines;
mod liars;
mod many_stores;
mod network;
mod newcomers;
mod put_back;
mod replaced;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use keyfall::cell::{Durable, Owner, RootCell};
use keyfall::certificate::{Certificate, Grade, Retired, Trust};
use keyfall::engine::{Keeper, OpenAs};
use keyfall::env::{SharedEnv, System};
use keyfall::promise::RootId;
use keyfall::quorum::net::{Replaced, open_cell, replace_member};
use keyfall::quorum::{Member, QuorumCell, Standing};
use keyfall::store::{SledStore, StoreId};
use keyfall::{Class, Engine, Erase, Options, Put, RecordId, Result, Scope};

use crate::support::{ok, user};

/// Slots of a keyholder, for each store.
const SLOTS: [&str; 8] =
    ["slot-a", "slot-b", "slot-c", "slot-d", "slot-e", "slot-f", "slot-g", "slot-h"];

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
        let mut keyholder =
            Keyholder { dir: dir.to_owned(), address: "127.0.0.1:0".into(), process: None };
        keyholder.start();
        keyholder
    }

    /// Starts it, where it was before if it ran; gives KEY@ADDRESS.
    fn start(&mut self) -> String {
        let mut process = Command::new(env!("CARGO_BIN_EXE_keyfall"))
            .args([
                "keyholder",
                "serve",
                &self.dir.display().to_string(),
                "--listen",
                &self.address,
            ])
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
            place
                .keyholders
                .push(Keyholder::make(Path::new(&place.at(&format!("kh{number}"))), engine.trim()));
        }
        let (threshold, liars, store) =
            (threshold.to_string(), liars.to_string(), place.at("store"));
        let margin = margin.to_string();
        let members: Vec<String> = place.keyholders.iter_mut().map(Keyholder::restart).collect();
        let mut args =
            vec!["init", &store, "--threshold", &threshold, "--liars", &liars, "--margin", &margin];
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
    fn restart(&mut self) -> String {
        self.kill();
        self.start()
    }
}

fn put(engine: &Engine, name: &str) -> RecordId {
    engine.put(Put::new(user(name), Class::audio()), name.as_bytes()).unwrap()
}

fn certified(engine: &Engine, name: &str) -> Certificate {
    let erase = Erase::new(Scope::user(user(name))).certified("", "");
    engine.erase(erase).unwrap().certificate.unwrap().sign().unwrap()
}

fn grade(engine: &Engine, certificate: &Certificate) -> Grade {
    let text: Certificate = certificate.to_string().parse().unwrap();
    text.verify(&Trust::in_log(engine.log().key().unwrap())).unwrap().judged.grade
}

fn certified_elsewhere(place: &Place) -> keyfall::certificate::Said {
    let engine = place.open().unwrap();
    put(&engine, "ada");
    let Retired::Stated(said) = certified(&engine, "ada").facts.outcome.retired else {
        panic!("keyholders say it")
    };
    said[0].clone()
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

fn leaving(place: &Place) -> usize {
    list(place)[1].as_array().unwrap().len()
}

/// The keyholders as they stand in the cell's file, and those that were replaced.
fn list(place: &Place) -> [serde_json::Value; 2] {
    let text =
        std::fs::read_to_string(Path::new(&place.at("store.cell")).join("quorum.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    ["keyholders", "leaving"].map(|field| config[field].clone())
}

/// Puts a new keyholder into the first place.
fn replaced(place: &Place, engine: &str, name: &str) -> Keyholder {
    let mut fresh = Keyholder::make(Path::new(&place.at(name)), engine);
    let member = fresh.restart();
    ok(&["keyholder", "replace", &place.at("store"), "--number", "1", "--with", &member]);
    fresh
}

fn member_of(line: &str) -> Member {
    let (key, address) = line.split_once('@').unwrap();
    Member { key: key.into(), address: address.into() }
}

/// A replacement that is cut short before an epoch begins: the list names the new keyholder.
fn cut_short(place: &Place, number: usize, line: &str) -> Replaced {
    let (cell, env) = (place.at("store.cell"), Arc::new(System) as SharedEnv);
    replace_member(Path::new(&cell), number, member_of(line), &env).unwrap()
}

/// A cell that owns the store, and has kept its root key, which is returned too.
fn owned(place: &Place) -> (QuorumCell, StoreId, RootId) {
    let cell = place.cell();
    let contents = cell.load().unwrap();
    let (store, owner) = (contents.store.unwrap(), contents.owner.unwrap());
    let running = contents.keys[0].id;
    cell.claim(store, &Owner { claim: owner.claim + 1, ..owner }, 0).unwrap();
    cell.retire(&running, Durable::assumed_for_a_test()).unwrap();
    (cell, store, running)
}

/// A root key of an epoch, drawn by the list of the cell.
fn drawn(cell: &QuorumCell, epoch: u64, attempt: u8) -> RootId {
    let mut id = RootId { epoch, attempt: [attempt; 16] };
    cell.brand(&mut id);
    id
}
