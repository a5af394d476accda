//! Shared by the tests: an engine over recording memory stores with named places for copies, and
//! short ways to ask it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{DueOutcome, Fact, Geometry, Keeper};
use keyfall::env::{Env, System};
use keyfall::store::{MemoryStore, Store};
use keyfall::testing::{Defect, HoardingCell, RecordingStore, Seeded, Tape};
use keyfall::{
    Class, Engine, Error, ErrorKind, InteractionId, Options, Put, RecordId, Result, Timestamp,
};

pub use crate::common::{bytes, open_files, read_record, user};

/// Every file below a directory, with its bytes.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    all
}

/// A world of memory stores that all write onto one tape.
pub struct World {
    pub tape: Arc<Tape>,
    pub cell: Arc<HoardingCell>,
    pub places: Arc<Mutex<HashMap<String, Arc<MemoryStore>>>>,
    pub options: Options,
    pub env: Arc<Seeded>,
    pub store: Arc<dyn Store>,
    pub engine: Option<Engine>,
}

pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// Pages so small that trees of a few records have several levels.
pub const SMALL_PAGES: Geometry = Geometry { page_bytes: 1024, fan_bits: 2, ..Geometry::DEFAULT };

impl World {
    pub fn new(seed: u64, geometry: Geometry) -> Self {
        Self::with_defect(seed, geometry, None)
    }

    pub fn with_defect(seed: u64, geometry: Geometry, defect: Option<Defect>) -> Self {
        let env = Arc::new(Seeded::new(seed));
        let tape = Tape::new();
        let places: Arc<Mutex<HashMap<String, Arc<MemoryStore>>>> = Arc::default();
        let (known, onto) = (Arc::clone(&places), Arc::clone(&tape));
        let options = Options::new()
            .env(env.clone())
            .geometry(geometry)
            .cache_bytes(1 << 20)
            .open_copy(Arc::new(move |place: &str, _create: bool| -> Result<Arc<dyn Store>> {
                if place.starts_with("gone") {
                    return Err(Error::new(ErrorKind::Io, format!("{place} is out of reach")));
                }
                let store = Arc::clone(known.lock().unwrap().entry(place.to_owned()).or_default());
                Ok(Arc::new(RecordingStore::new(store, Arc::clone(&onto))))
            }))
            .defect(defect)
            .keeper(Keeper::ByHand);
        let cell = Arc::new(HoardingCell::new(Arc::new(MemoryCell::new())));
        let store: Arc<dyn Store> =
            Arc::new(RecordingStore::new(Arc::new(MemoryStore::new()), Arc::clone(&tape)));
        let engine =
            Engine::init(Arc::clone(&store), cell.clone() as Arc<dyn RootCell>, options.clone())
                .unwrap();
        World { tape, cell, places, options, env, store, engine: Some(engine) }
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("the engine is open")
    }

    pub fn place(&self, place: &str) -> Arc<MemoryStore> {
        Arc::clone(&self.places.lock().unwrap()[place])
    }

    pub fn reopen(&mut self) {
        self.engine = None;
        let cell: Arc<dyn RootCell> = self.cell.clone();
        self.engine =
            Some(Engine::open(Arc::clone(&self.store), cell, self.options.clone()).unwrap());
    }

    pub fn put(&self, name: &str, class: Class, content: &[u8]) -> RecordId {
        self.engine().put(Put::new(user(name), class), content).unwrap()
    }

    pub fn put_for(&self, name: &str, class: Class, purpose: &str) -> RecordId {
        self.engine().put(Put::new(user(name), class).purpose(purpose), &b"content"[..]).unwrap()
    }

    /// Has the engine do what is due.
    pub fn tend(&self) -> DueOutcome {
        self.engine().run_due(&mut |_| {}).unwrap()
    }

    pub fn in_days(&self, days: u64) -> Timestamp {
        Timestamp(self.env.now().0 + days * 86_400_000)
    }

    pub fn days_pass(&self, days: u64) {
        self.env.advance(days * 86_400_000);
    }

    /// Sets the clock wrong by so many milliseconds.
    pub fn wrong_by(&self, ms: i64) {
        self.env.set_wrong(ms);
    }

    /// Lets so many milliseconds pass.
    pub fn pass(&self, ms: i64) {
        self.env.advance(ms as u64);
    }

    /// The program ends, time passes, and it is started again.
    pub fn closed_for(&mut self, ms: i64) {
        self.engine = None;
        self.pass(ms);
        self.reopen();
    }

    /// Puts what a device recorded so many milliseconds ago, under an id that it made itself.
    pub fn put_began(&self, name: &str, class: Class, ago: i64) -> Result<RecordId> {
        let began = Timestamp(self.env.now().0.checked_add_signed(-ago).unwrap());
        let id = InteractionId::from_parts(began, [7; 10]);
        self.engine().put(Put::new(user(name), class).interaction(id), &b"late"[..])
    }
}

/// How long a command takes, as its kills find out: of those that come at moments by chance two of
/// three hit, whatever the machine does meanwhile.
pub struct Pace(pub Duration);

impl Pace {
    /// A moment between nothing and a little more than the whole command takes.
    pub fn moment(&self, random: u64) -> Duration {
        self.0.mul_f64((random % 1000) as f64 / 1000.0 * 1.2)
    }

    /// The kill at such a moment cut it short, or came too late.
    pub fn ended(&mut self, whole: bool) {
        self.0 = self.0.mul_f64(if whole { 0.8 } else { 1.1 });
    }
}

/// A number by chance.
pub fn random(seed: u64) -> u64 {
    u64::from_le_bytes(bytes(seed, 8).try_into().unwrap())
}

/// Copies a file or a directory to a place that is not there.
pub fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Whether strace can be used; says so where it cannot.
pub fn has_strace() -> bool {
    let has = Command::new("strace").arg("-V").output().is_ok_and(|o| o.status.success());
    if !has {
        println!("skipped: strace is not installed");
    }
    has
}

/// What a user's history records, in order.
pub fn facts(engine: &Engine, name: &str) -> Vec<Fact> {
    engine.history(&user(name)).unwrap().into_iter().map(|(_, fact)| fact).collect()
}

pub fn error_kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("it must fail").kind()
}

/// A cell over keyholders in this process, each with slots in a directory that lasts as long as the
/// process.
pub fn quorum(n: usize, threshold: u8, liars: u8) -> keyfall::quorum::QuorumCell {
    let env: keyfall::env::SharedEnv = Arc::new(System);
    let dir = tempfile::tempdir().unwrap().keep();
    let member = |n: usize| keyfall::testing::holder(&dir.join(n.to_string()), n as u8, &env);
    let members =
        (0..n).map(|n| Arc::new(member(n)) as Arc<dyn keyfall::quorum::Keyholder>).collect();
    keyfall::quorum::QuorumCell::in_process(members, (threshold, liars), None, env).unwrap()
}

/// Runs the program; whether it went well, and what it said.
pub fn run(args: &[&str]) -> (bool, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_keyfall")).args(args).output().unwrap();
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.success(), text)
}

/// Runs the program, which must go well.
pub fn ok(args: &[&str]) -> String {
    let (done, text) = run(args);
    assert!(done, "{args:?}: {text}");
    text
}

/// Runs a script as root of namespaces of its own, so that it can mount. Says why where the system
/// forbids it.
pub fn in_namespace(script: &str) -> Option<Output> {
    let probe = Command::new("unshare").args(["-rm", "true"]).output();
    if !probe.is_ok_and(|p| p.status.success()) {
        println!("skipped: no user namespaces here");
        return None;
    }
    Some(Command::new("unshare").args(["-rm", "sh", "-c", script]).output().unwrap())
}
