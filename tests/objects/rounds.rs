//! How many round trips come one after another from the moment at which a standby takes the writer
//! for gone until its first put is durable. What is sent at the same time is one round, whatever
//! each request takes: so a store far away and keyholders near by count alike.

use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use keyfall::cell::{MemoryCell, Owner, RootCell};
use keyfall::engine::CopyMode;
use keyfall::env::{SharedEnv, System};
use keyfall::opening::{Beside, StandBy};
use keyfall::promise::{RootId, Statement};
use keyfall::quorum::{Held, Holder, Keyholder, QuorumCell, Share};
use keyfall::store::{ObjectLog, Store, StoreId};
use keyfall::{Builder, Engine, Result, Scope};
use keyfall_objects::{Created, Listed, MemoryObjects, Objects};

use crate::engines::{options, put, read, user, with_copies_in};

/// Within this time every request comes that does not depend on an answer.
const SETTLES: Duration = Duration::from_millis(200);

/// Holds requests back until no other comes, and lets all of them go: a round.
#[derive(Default)]
struct Gate {
    state: Mutex<Passing>,
    moved: Condvar,
}

#[derive(Default)]
struct Passing {
    /// Whether requests are held back.
    holds: bool,
    /// What waits.
    waiting: Vec<String>,
    rounds: Vec<Vec<String>>,
}

impl Gate {
    fn pass(&self, what: String) {
        let mut state = self.state.lock().unwrap();
        if !state.holds {
            return;
        }
        let round = state.rounds.len();
        state.waiting.push(what);
        self.moved.notify_all();
        while state.rounds.len() == round {
            state = self.moved.wait(state).unwrap();
        }
    }

    fn hold(&self) {
        self.state.lock().unwrap().holds = true;
    }

    /// Lets everything go, and gives the rounds up to now.
    fn open(&self) -> Vec<Vec<String>> {
        let mut state = self.state.lock().unwrap();
        state.holds = false;
        assert!(state.waiting.is_empty());
        std::mem::take(&mut state.rounds)
    }

    /// Lets rounds go, until the gate is dropped by all others.
    fn run(self: &Arc<Self>) {
        let gate = Arc::clone(self);
        std::thread::spawn(move || {
            while Arc::strong_count(&gate) > 1 {
                let state = gate.state.lock().unwrap();
                let came = state.waiting.len();
                let (mut state, _) = gate.moved.wait_timeout(state, SETTLES).unwrap();
                if came > 0 && came == state.waiting.len() {
                    let mut round = std::mem::take(&mut state.waiting);
                    round.sort();
                    state.rounds.push(round);
                    gate.moved.notify_all();
                }
            }
        });
    }
}

struct Slow {
    inner: MemoryObjects,
    gate: Arc<Gate>,
}

impl Objects for Slow {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn is_far(&self) -> bool {
        true
    }
    fn create(&self, name: &str, bytes: &[u8]) -> keyfall_objects::Result<Created> {
        self.gate.pass(format!("create {name}"));
        self.inner.create(name, bytes)
    }
    fn get(&self, name: &str) -> keyfall_objects::Result<Option<Vec<u8>>> {
        self.gate.pass(format!("get {name}"));
        self.inner.get(name)
    }
    fn get_range(&self, name: &str, a: u64, n: u64) -> keyfall_objects::Result<Option<Vec<u8>>> {
        self.gate.pass(format!("get {name} from {a}"));
        self.inner.get_range(name, a, n)
    }
    fn list(&self, at: &str, after: &str, n: usize) -> keyfall_objects::Result<Vec<Listed>> {
        self.gate.pass(format!("list {at}"));
        self.inner.list(at, after, n)
    }
    fn head(&self, name: &str) -> keyfall_objects::Result<Option<u64>> {
        self.gate.pass(format!("head {name}"));
        self.inner.head(name)
    }
    fn delete(&self, name: &str) -> keyfall_objects::Result<()> {
        self.gate.pass(format!("delete {name}"));
        self.inner.delete(name)
    }
}

struct Far {
    inner: Arc<Holder>,
    gate: Arc<Gate>,
}

impl Keyholder for Far {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn key(&self) -> [u8; 32] {
        self.inner.key()
    }
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()> {
        self.gate.pass("keyholder: claim".into());
        self.inner.claim(store, owner, mark)
    }
    fn deposit(&self, store: StoreId, owner: &Owner, share: &Share) -> Result<()> {
        self.gate.pass("keyholder: deposit".into());
        self.inner.deposit(store, owner, share)
    }
    fn load(&self, store: StoreId) -> Result<Held> {
        self.gate.pass("keyholder: load".into());
        self.inner.load(store)
    }
    fn retire(
        &self,
        store: StoreId,
        owner: &Owner,
        keep: &RootId,
        given_up: &[RootId],
        mark: u64,
    ) -> Result<Statement> {
        self.gate.pass("keyholder: retire".into());
        self.inner.retire(store, owner, keep, given_up, mark)
    }
}

/// A copy in step, far away as its store is, is given a commit's blobs while the store takes the
/// commit; its head follows, for no copy is ever ahead. An erase reads both back at once.
#[test]
fn a_copy_in_step_far_away_takes_two_rounds_more() {
    let gate = Arc::new(Gate::default());
    gate.run();
    let far = || Arc::new(Slow { inner: MemoryObjects::new(), gate: Arc::clone(&gate) });
    let store = Arc::new(ObjectLog::create(far()).unwrap());
    let engine = Engine::init(store, Arc::new(MemoryCell::new()), with_copies_in(far())).unwrap();
    put(&engine, 1, b"alone").unwrap();
    let rounds = |act: &dyn Fn()| -> Vec<Vec<String>> {
        gate.hold();
        act();
        let rounds = gate.open();
        rounds.iter().for_each(|round| eprintln!("{round:?}"));
        rounds
    };
    let puts = |n| _ = put(&engine, n, b"a voice").unwrap();
    let erases = |n| _ = engine.erase(Scope::user(user(n))).unwrap();
    assert_eq!((rounds(&|| puts(2)).len(), rounds(&|| erases(2)).len()), (1, 2));
    engine.copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
    put(&engine, 1, b"with a copy").unwrap();
    engine.erase(Scope::user(user(1))).unwrap();
    for n in 3..6 {
        let (put, erase) = (rounds(&|| puts(n)), rounds(&|| erases(n)));
        assert_eq!((put.len(), erase.len()), (3, 4), "{put:?}, {erase:?}");
        // With the store's create the copy is looked at; its head is the last create.
        assert_eq!([put[0].len(), put[1].len(), put[2].len()], [2, 1, 1], "{put:?}");
        assert_eq!(erase.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1, 3], "{erase:?}");
    }
}

#[test]
fn five_round_trips_from_a_writer_that_is_gone_to_the_first_put() {
    let dir = tempfile::tempdir().unwrap();
    let env: SharedEnv = Arc::new(System);
    let gate = Arc::new(Gate::default());
    gate.run();
    let holder = |n: u8| {
        let place = dir.path().join(format!("keyholder {n}"));
        Arc::new(keyfall::testing::holder(&place, n, &env))
    };
    let holders: Vec<Arc<Holder>> = (1..4).map(holder).collect();
    let cell = |store| -> Arc<dyn RootCell> {
        let far = |inner: &Arc<Holder>| -> Arc<dyn Keyholder> {
            Arc::new(Far { inner: Arc::clone(inner), gate: Arc::clone(&gate) })
        };
        let members = holders.iter().map(far).collect();
        let cell = QuorumCell::in_process(members, (2, 0), store, Arc::clone(&env)).unwrap();
        Arc::new(cell.at_once().unwrap())
    };
    let slow = Slow { inner: MemoryObjects::new(), gate: Arc::clone(&gate) };
    let objects: Arc<dyn Objects> = Arc::new(slow);
    let log =
        || -> Arc<dyn Store> { Arc::new(ObjectLog::open_or_create(Arc::clone(&objects)).unwrap()) };
    let engine = Engine::init(log(), cell(None), options()).unwrap();
    let erased = put(&engine, 1, b"before").unwrap();
    engine.erase(Scope::record(erased)).unwrap();
    let kept = put(&engine, 1, b"kept").unwrap();
    engine.ownership().beat().unwrap();

    let how = StandBy::new().every(Duration::from_millis(5)).gone_after(Duration::from_millis(40));
    let beside = Builder::over(log(), cell(Some(engine.id()))).options(options());
    let next = beside.stand_by(&how, &mut |beside| {
        if let Beside::Gone(_) = beside {
            gate.hold();
        }
        ControlFlow::Continue(())
    });
    let next = next.unwrap().unwrap();
    put(&next, 1, b"in its place").unwrap();
    let rounds = gate.open();
    println!("{} rounds", rounds.len());
    rounds.iter().for_each(|round| println!("  {}", round.join(", ")));
    assert!(rounds.len() <= 5, "{} round trips come one after another", rounds.len());
    // All that an opening does was done.
    assert_eq!(read(&next, &kept).unwrap(), b"kept");
    assert!(next.status().unwrap().finality.is_final());
    assert_eq!(put(&engine, 1, b"late").unwrap_err().kind(), keyfall::ErrorKind::Fenced);
}
