//! Random histories against a plain model, with the archive adversary at the end of each. proptest prints the seed and
//! the shortest history that fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyfall::cell::RootCell;
use keyfall::engine::{CopyMode, Geometry, When, restore};
use keyfall::store::{MemoryStore, Store};
use keyfall::testing::RecordingStore;
use keyfall::{Class, Engine, ErrorKind, InteractionId, Put, Query, RecordId, Scope, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::support::{SMALL, World, bytes, read, user};

const USERS: [&str; 4] = ["ada", "bob", "Ünïcode \u{1F3A4}", "\u{0}nul"];

fn class(n: u8) -> Class {
    match n % 4 {
        0 => Class::audio(),
        1 => Class::transcript(),
        2 => Class::action(),
        _ => Class::new("profile.health").unwrap(),
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put { user: u8, class: u8, interaction: Option<u8>, len: u16 },
    Batch { user: u8, records: u8 },
    Create(u8),
    EraseUser(u8),
    EraseClass(u8, u8),
    EraseInteraction { user: u8, interaction: u8, class: Option<u8> },
    EraseRecord(u8),
    EraseRange { user: u8, class: Option<u8>, from: Option<u8>, until: Option<u8> },
    CopyAdd { place: u8, in_step: bool },
    CopySync,
    CopyRemove(u8),
    Backup,
    Discard,
    Restore,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..4u8, 0..4u8, proptest::option::of(any::<u8>()), prop_oneof![4 => 0..200u16, 1 => 0..40_000u16])
            .prop_map(|(user, class, interaction, len)| Op::Put { user, class, interaction, len }),
        2 => (0..4u8, 1..12u8).prop_map(|(user, records)| Op::Batch { user, records }),
        1 => (0..4u8).prop_map(Op::Create),
        2 => (0..4u8).prop_map(Op::EraseUser),
        1 => (0..4u8, 0..4u8).prop_map(|(u, c)| Op::EraseClass(u, c)),
        2 => (0..4u8, any::<u8>(), proptest::option::of(0..4u8))
            .prop_map(|(user, interaction, class)| Op::EraseInteraction { user, interaction, class }),
        2 => any::<u8>().prop_map(Op::EraseRecord),
        1 => (0..4u8, proptest::option::of(0..4u8), proptest::option::of(any::<u8>()), proptest::option::of(any::<u8>()))
            .prop_map(|(user, class, from, until)| Op::EraseRange { user, class, from, until }),
        1 => (0..2u8, any::<bool>()).prop_map(|(place, in_step)| Op::CopyAdd { place, in_step }),
        1 => Just(Op::CopySync),
        1 => (0..2u8).prop_map(Op::CopyRemove),
        1 => Just(Op::Backup),
        1 => Just(Op::Discard),
        1 => Just(Op::Restore),
        2 => Just(Op::Reopen),
    ]
}

struct Record {
    id: RecordId,
    class: Class,
    content: Vec<u8>,
}

#[derive(Clone)]
struct Fence {
    class: Option<Class>,
    what: Fenced,
}

#[derive(Clone)]
enum Fenced {
    Interaction(InteractionId),
    Range(u64, u64),
}

#[derive(Default)]
struct User {
    erased: bool,
    records: Vec<Record>,
    fences: Vec<Fence>,
}

/// The plain model: maps and lists.
#[derive(Default)]
struct Model {
    users: BTreeMap<&'static str, User>,
    erased: Vec<RecordId>,
    interactions: Vec<InteractionId>,
}

impl Model {
    fn fenced(&self, name: &str, class: &Class, interaction: InteractionId) -> bool {
        let Some(user) = self.users.get(name) else {
            return false;
        };
        user.erased
            || user.fences.iter().any(|f| {
                f.class.as_ref().is_none_or(|c| c == class)
                    && match f.what {
                        Fenced::Interaction(i) => i == interaction,
                        Fenced::Range(a, b) => (a..=b).contains(&interaction.began().0),
                    }
            })
    }

    fn drop_where(&mut self, name: &str, gone: impl Fn(&Record) -> bool) -> u64 {
        let Some(user) = self.users.get_mut(name) else {
            return 0;
        };
        let (out, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut user.records).into_iter().partition(gone);
        user.records = stay;
        self.erased.extend(out.iter().map(|r| r.id));
        out.len() as u64
    }

    fn live(&self) -> BTreeMap<RecordId, (&'static str, &Record)> {
        self.users.iter().flat_map(|(n, u)| u.records.iter().map(|r| (r.id, (*n, r)))).collect()
    }
}

struct Run {
    world: World,
    model: Model,
    seed: u64,
    n: u64,
}

impl Run {
    fn name(n: u8) -> &'static str {
        USERS[usize::from(n) % USERS.len()]
    }

    fn pick(&self, n: u8) -> Option<InteractionId> {
        let all = &self.model.interactions;
        (!all.is_empty()).then(|| all[usize::from(n) % all.len()])
    }

    fn content(&mut self, len: u16) -> Vec<u8> {
        self.n += 1;
        bytes(self.seed.wrapping_add(self.n), usize::from(len))
    }

    fn live_user(&self, name: &str) -> bool {
        self.model.users.get(name).is_some_and(|u| !u.erased)
    }

    fn put(&mut self, name: &'static str, items: Vec<(Class, Option<InteractionId>, Vec<u8>)>) {
        let engine = self.world.engine().clone();
        let mut batch = engine.batch();
        let mut refused = false;
        for (class, interaction, content) in &items {
            let mut put = Put::new(user(name), class.clone());
            if let Some(i) = interaction {
                put = put.interaction(*i);
            }
            let expect = match interaction {
                Some(i) => self.model.fenced(name, class, *i),
                None => self.model.users.get(name).is_some_and(|u| u.erased),
            };
            match batch.add(put, &content[..]) {
                Ok(()) => assert!(!expect, "a put behind a fence was let in"),
                Err(e) => {
                    assert!(expect, "a put was refused: {e}");
                    assert_eq!(e.kind(), ErrorKind::Erased);
                    refused = true;
                }
            }
        }
        if refused {
            return;
        }
        let ids = batch.commit().unwrap();
        let model = self.model.users.entry(name).or_default();
        for ((class, _, content), id) in items.into_iter().zip(ids) {
            self.model.interactions.push(id.interaction());
            model.records.push(Record { id, class, content });
        }
    }

    fn step(&mut self, op: &Op) {
        let engine = self.world.engine().clone();
        self.world.env.advance(5);
        match *op {
            Op::Put { user: u, class: c, interaction, len } => {
                let content = self.content(len);
                let interaction = interaction.and_then(|n| self.pick(n));
                self.put(Self::name(u), vec![(class(c), interaction, content)]);
            }
            Op::Batch { user: u, records } => {
                let items = (0..records).map(|n| (class(n), None, self.content(40))).collect();
                self.put(Self::name(u), items);
            }
            Op::Create(u) => {
                engine.create_user(&user(Self::name(u))).unwrap();
                let model = self.model.users.entry(Self::name(u)).or_default();
                if model.erased {
                    *model = User::default();
                }
            }
            Op::EraseUser(u) => {
                let name = Self::name(u);
                match engine.erase(Scope::user(user(name))) {
                    Ok(done) => {
                        assert_eq!(done.already, !self.live_user(name));
                        assert_eq!(done.records, Some(self.model.drop_where(name, |_| true)));
                        self.model.users.get_mut(name).unwrap().erased = true;
                    }
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::Absent);
                        assert!(!self.model.users.contains_key(name));
                    }
                }
            }
            Op::EraseClass(u, c) => self.erase_part(Self::name(u), Some(class(c)), When::Ever),
            Op::EraseInteraction { user: u, interaction, class: c } => {
                if let Some(i) = self.pick(interaction) {
                    self.erase_part(Self::name(u), c.map(class), When::Interaction(i));
                }
            }
            Op::EraseRange { user: u, class: c, from, until } => {
                let time = |n: Option<u8>| n.and_then(|n| self.pick(n)).map(|i| i.began());
                let (from, until) = (time(from), time(until));
                if from.zip(until).is_none_or(|(f, u)| f < u) {
                    self.erase_part(Self::name(u), c.map(class), When::Between { from, until });
                }
            }
            Op::EraseRecord(n) => {
                let ids: Vec<RecordId> =
                    self.model.live().into_keys().chain(self.model.erased.iter().copied()).collect();
                if ids.is_empty() {
                    return;
                }
                let id = ids[usize::from(n) % ids.len()];
                let done = engine.erase(Scope::Record(id)).unwrap();
                let mut n = 0;
                for name in USERS {
                    n += self.model.drop_where(name, |r| r.id == id);
                }
                assert_eq!((done.records, done.already), (Some(n), n == 0));
            }
            Op::CopyAdd { place, in_step } => {
                let mode = if in_step { CopyMode::InStep } else { CopyMode::Behind };
                match engine.copy_add(&format!("copy{place}"), mode, |_| {}) {
                    Ok(_) => {}
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Exists),
                }
            }
            Op::CopySync => {
                engine.copy_sync(None, |_| {}).unwrap();
                for copy in engine.copy_status() {
                    assert_eq!((copy.head, copy.lacks_pages), (Some(engine.head()), Some(0)), "{copy:?}");
                }
            }
            Op::CopyRemove(place) => {
                if let Err(e) = engine.copy_remove(&format!("copy{place}")) {
                    assert_eq!(e.kind(), ErrorKind::Absent);
                }
            }
            Op::Backup => {
                let backup = (self.world.options.open_copy)("backup", true).unwrap();
                let done = engine.backup(&*backup, |_| {}).unwrap();
                assert_eq!(done.head, Some(engine.head()));
            }
            Op::Discard => {
                engine.discard(&mut |_| {}).unwrap();
            }
            Op::Restore => self.restore(&engine),
            Op::Reopen => {
                drop(engine);
                self.world.reopen();
            }
        }
    }

    fn erase_part(&mut self, name: &'static str, class: Option<Class>, when: When) {
        let engine = self.world.engine();
        let now = engine_time(&self.world);
        let scope = Scope::User { user: user(name), class: class.clone(), when };
        let in_class = |r: &Record| class.as_ref().is_none_or(|c| *c == r.class);
        let hit = move |r: &Record, when: When| match when {
            When::Ever => true,
            When::Interaction(i) => r.id.interaction() == i,
            When::Between { from, until } => {
                let t = r.id.interaction().began();
                from.is_none_or(|f| t >= f) && until.is_none_or(|u| t < u)
            }
        };
        match engine.erase(scope) {
            Ok(done) => {
                let live = self.live_user(name);
                let n = self.model.drop_where(name, |r| in_class(r) && hit(r, when));
                assert_eq!(done.records, Some(n));
                if !live {
                    assert!(done.already);
                    return;
                }
                let what = match when {
                    When::Ever => Fenced::Range(0, now),
                    When::Interaction(i) => Fenced::Interaction(i),
                    When::Between { from, until } => {
                        Fenced::Range(from.map_or(0, |f| f.0), until.map_or(now, |u| (u.0 - 1).min(now)))
                    }
                };
                self.model.users.get_mut(name).unwrap().fences.push(Fence { class, what });
            }
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Absent, "{e}");
                let holds =
                    self.model.users.get(name).is_some_and(|u| u.records.iter().any(|r| in_class(r) && hit(r, when)));
                assert!(!holds, "an erase missed a record");
            }
        }
    }

    /// Throws the store away and builds it anew from its copies, where one of them is at its state.
    fn restore(&mut self, engine: &Engine) {
        let places: Vec<Arc<dyn Store>> =
            self.world.places.lock().unwrap().values().map(|s| Arc::clone(s) as Arc<dyn Store>).collect();
        let newest = places.iter().filter_map(|s| s.head().unwrap()).map(|h| h.id).max();
        let cell: Arc<dyn RootCell> = self.world.cell.clone();
        let fresh = Arc::new(RecordingStore::new(Arc::new(MemoryStore::new()), Arc::clone(&self.world.tape)));
        match newest {
            Some(newest) if newest == engine.head() => {
                let done = restore(&*cell, &places, &*fresh, |_| {}).unwrap();
                assert_eq!(done.head, newest);
                self.world.store = fresh;
                self.world.reopen();
            }
            Some(newest) if newest.epoch < engine.head().epoch => {
                let e = restore(&*cell, &places, &*fresh, |_| {}).unwrap_err();
                assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
            }
            _ => {}
        }
    }

    /// The engine says what the model says, and the adversary knows nothing else.
    fn judge(&self) {
        let engine = self.world.engine();
        let live = self.model.live();
        for (id, (name, record)) in &live {
            assert_eq!(read(engine, id).unwrap(), record.content);
            assert_eq!(engine.info(id).unwrap().user.as_str(), *name);
        }
        for id in &self.model.erased {
            assert_eq!(read(engine, id).unwrap_err().kind(), ErrorKind::Erased, "{id}");
        }
        let listed = engine.list(&Query::default()).unwrap().records;
        assert_eq!(listed.len(), live.len());
        assert!(listed.iter().all(|r| live.contains_key(&r.id)));
        let cell: Arc<dyn RootCell> = self.world.cell.clone();
        let exposed = self.world.tape.exposed(&*cell).unwrap();
        assert_eq!(
            exposed.keys().collect::<Vec<_>>(),
            live.keys().collect::<Vec<_>>(),
            "the adversary opens what lives, and nothing else"
        );
        for (id, record) in &exposed {
            assert_eq!(record.content.as_ref(), Some(&live[id].1.content));
        }
        let audit = engine.audit(&[], &mut |_| {}).unwrap();
        assert!(audit.is_clean(), "{audit:?}");
    }
}

/// The millisecond that the next erase will see as now.
fn engine_time(world: &World) -> u64 {
    let Timestamp(now) = keyfall::env::Env::now(&*world.env);
    now + 1
}

fn history(seed: u64, geometry: Geometry, ops: &[Op]) {
    let world = World::new(seed, geometry);
    let mut run = Run { world, model: Model::default(), seed, n: 0 };
    for op in ops {
        run.step(op);
    }
    run.judge();
}

/// Histories in each of the four tests; together at least 10,000.
const CASES: u32 = 2600;

/// `KEYFALL_HISTORIES` sets how many, `KEYFALL_SEED` replays a run: a run prints its seed.
fn config(test: &str) -> ProptestConfig {
    let from_env = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let cases = from_env("KEYFALL_HISTORIES").map_or(CASES, |n| n.div_ceil(4) as u32);
    let mut drawn = [0; 8];
    keyfall::env::Env::fill(&keyfall::env::System, &mut drawn).unwrap();
    let seed = from_env("KEYFALL_SEED").unwrap_or(u64::from_be_bytes(drawn));
    println!("{test}: {cases} histories, KEYFALL_SEED={seed}");
    let rng_seed = RngSeed::Fixed(seed);
    ProptestConfig { cases, max_shrink_iters: 2000, failure_persistence: None, rng_seed, ..ProptestConfig::default() }
}

macro_rules! histories {
    ($($name:ident: $geometry:expr, $ops:expr;)*) => {$(
        proptest! {
            #![proptest_config(config(stringify!($name)))]
            #[test]
            fn $name(seed in any::<u64>(), ops in proptest::collection::vec(op(), $ops)) {
                history(seed, $geometry, &ops);
            }
        }
    )*};
}

histories! {
    short_on_small_pages: SMALL, 1..12;
    middling_on_small_pages: SMALL, 8..30;
    middling_on_small_pages_wide: Geometry { page_bytes: 1024, fan_bits: 4 }, 8..30;
    on_the_default_geometry: Geometry::default(), 1..25;
}
