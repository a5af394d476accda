//! Each erase is judged alone: what fails for one caller, one user or one plan affects no other.
//! And what is recorded of it names nothing that fell. SPEC §6, §6.1, §6.2, §6.4.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyfall::cell::RootCell;
use keyfall::engine::{Fact, Follow, Grant, Hold};
use keyfall::store::BlobName;
use keyfall::store::{Blob, Cursor, Head, HeadId, MemoryStore, Published, Removed, Store, Usage};
use keyfall::{
    Class, Engine, Erase, Error, ErrorKind, Policy, Put, Query, RecordId, Scope, Timestamp, When,
};

use crate::support::{SMALL_PAGES, World, error_kind, facts, read_record, user};

const DAY: u64 = 86_400_000;

/// A store some of whose blobs give another bit back than was put.
#[derive(Default)]
struct Rotten {
    inner: MemoryStore,
    bad: Mutex<HashSet<BlobName>>,
    fails: Mutex<Option<ErrorKind>>,
}

impl Store for Rotten {
    fn place(&self) -> String {
        "rotten".into()
    }
    fn get(&self, name: &BlobName) -> keyfall::Result<Option<Vec<u8>>> {
        let mut blob = self.inner.get(name)?;
        if let Some(blob) = blob.as_mut().filter(|_| self.bad.lock().unwrap().contains(name)) {
            *blob.last_mut().unwrap() ^= 1;
        }
        Ok(blob)
    }
    fn put(&self, blobs: &[Blob]) -> keyfall::Result<()> {
        self.inner.put(blobs)
    }
    fn contains(&self, name: &BlobName) -> keyfall::Result<bool> {
        self.inner.contains(name)
    }
    fn head(&self) -> keyfall::Result<Option<Head>> {
        self.inner.head()
    }
    fn commit(
        &self,
        blobs: &[Blob],
        over: Option<HeadId>,
        head: &Head,
    ) -> keyfall::Result<Published> {
        match self.fails.lock().unwrap().take() {
            Some(kind) => Err(Error::new(kind, "the store fails")),
            None => self.inner.commit(blobs, over, head),
        }
    }
    fn names(
        &self,
        from: Cursor,
        limit: usize,
    ) -> keyfall::Result<(Vec<BlobName>, Option<Cursor>)> {
        self.inner.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> keyfall::Result<Removed> {
        self.inner.remove(names)
    }
    fn usage(&self) -> keyfall::Result<Usage> {
        self.inner.usage()
    }
}

/// A world whose store rots.
fn rotten(seed: u64, follow: Follow) -> (World, Arc<Rotten>) {
    let mut world = World::new(seed, SMALL_PAGES);
    let store = Arc::new(Rotten::default());
    world.engine = None;
    // Pages come from the store each time.
    world.options = world.options.clone().follow(follow).cache_bytes(0).clock_is_right(true);
    world.cell =
        Arc::new(keyfall::testing::HoardingCell::new(Arc::new(keyfall::cell::MemoryCell::new())));
    world.store = store.clone();
    let cell: Arc<dyn RootCell> = world.cell.clone();
    world.engine = Some(Engine::init(store.clone(), cell, world.options.clone()).unwrap());
    (world, store)
}

/// A world in which an erase follows so many links at once.
fn following(seed: u64, links: u64) -> World {
    let mut world = World::new(seed, SMALL_PAGES);
    world.options = world.options.clone().follow(Follow { links, users: 0 });
    world.reopen();
    world
}

fn derive(engine: &Engine, name: &str, class: Class, from: &[RecordId]) -> RecordId {
    let put = from.iter().fold(Put::new(user(name), class), |put, id| put.derived_from(*id));
    engine.put(put, &b"derived"[..]).unwrap()
}

fn but_transcripts(name: &str) -> Erase {
    Erase::new(Scope::user(user(name))).keep(Class::transcript(), "they are wanted")
}

fn count(engine: &Engine, name: &str) -> usize {
    engine.list(&Query::default().user(user(name))).unwrap().records.len()
}

/// One caller's erase shared its commit with another's, whose kept record had lost a source: both
/// were told "erased".
#[test]
fn an_erase_that_keeps_what_fell_before_is_done_and_fails_nobody() {
    for together in [true, false] {
        let world = following(1, 0);
        let engine = world.engine();
        let a1 = world.put("alice", Class::audio(), b"hers");
        let x1 = world.put("bob", Class::audio(), b"his");
        let (k1, k2) = (
            derive(engine, "bob", Class::transcript(), &[x1]),
            derive(engine, "bob", Class::transcript(), &[a1]),
        );
        let of_carl = world.put("carl", Class::audio(), b"his");
        let all: Vec<Erase> = vec![
            Scope::user(user("alice")).into(),
            Scope::user(user("carl")).into(),
            but_transcripts("bob"),
            Scope::Record(x1).into(),
        ];
        let outcomes: Vec<_> = if together {
            engine.erase_all(&all)
        } else {
            all.iter().map(|erase| engine.erase(erase.clone())).collect()
        };
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        for id in [a1, x1, k2, of_carl] {
            assert_eq!(error_kind(read_record(engine, &id)), ErrorKind::Erased);
        }
        assert_eq!(read_record(engine, &k1).unwrap(), b"derived");
        let kept = facts(engine, "bob").into_iter().find(|fact| matches!(fact, Fact::Kept { .. }));
        assert!(matches!(kept, Some(Fact::Kept { records: 1, .. })), "{kept:?}");
        engine.run_due(&mut |_| {}).unwrap();
        assert_eq!((count(engine, "bob"), engine.lineage(&k1).unwrap().sources.len()), (1, 0));
    }
}

/// What fell with one erase is not brought back by another of the same commit that keeps it.
#[test]
fn what_an_erase_took_is_not_kept_by_the_next_of_the_same_commit() {
    for links in [0, 100] {
        let world = following(2, links);
        let engine = world.engine();
        let x0 = world.put("carl", Class::audio(), b"the first");
        let x1 = derive(engine, "bob", Class::audio(), &[x0]);
        let k1 = derive(engine, "bob", Class::transcript(), &[x1]);
        let own = world.put("bob", Class::transcript(), b"his own");
        let outcomes = engine.erase_all(&[Scope::Record(x0).into(), but_transcripts("bob")]);
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(
            error_kind(read_record(engine, &k1)),
            ErrorKind::Erased,
            "{links} links are followed"
        );
        assert!(read_record(engine, &own).is_ok());
        engine.run_due(&mut |_| {}).unwrap();
        assert_eq!(count(engine, "bob"), 1);
        let exposed = world.tape.exposed(&*world.cell).unwrap();
        assert_eq!(exposed.into_keys().collect::<Vec<_>>(), [own]);
    }
}

/// A planned erase with `keep` was dropped without a word, having detached records for nothing.
#[test]
fn a_planned_erase_that_keeps_a_class_is_done_whatever_fell_meanwhile() {
    let world = following(3, 0);
    let engine = world.engine();
    let a1 = world.put("alice", Class::audio(), b"hers");
    let x1 = world.put("bob", Class::audio(), b"his");
    let (k1, k2) = (
        derive(engine, "bob", Class::transcript(), &[x1]),
        derive(engine, "bob", Class::transcript(), &[a1]),
    );
    engine.erase_at(but_transcripts("bob"), world.in_days(1)).unwrap();
    world.env.advance(2 * DAY);
    assert!(engine.erase(Scope::user(user("alice"))).unwrap().following);
    let done = engine.run_due(&mut |_| {}).unwrap();
    assert_eq!((done.planned, done.failed, done.derived), (1, 0, 1), "{done:?}");
    assert!(engine.plans(&user("bob")).list().unwrap().is_empty());
    for id in [a1, x1, k2] {
        assert_eq!(error_kind(read_record(engine, &id)), ErrorKind::Erased);
    }
    assert_eq!(read_record(engine, &k1).unwrap(), b"derived");
    assert!(facts(engine, "bob").iter().any(|fact| matches!(fact, Fact::Kept { records: 1, .. })));
    // It stands on its own, and still falls with what is asked for.
    engine.erase(Scope::user(user("bob"))).unwrap();
    assert_eq!(error_kind(read_record(engine, &k1)), ErrorKind::Erased);
}

/// Five users whose records hang together, and an erase for each.
fn five(world: &World) -> Vec<Erase> {
    let audio = world.put("alice", Class::audio(), b"hers");
    world.put("alice", Class::action(), b"an alarm");
    derive(world.engine(), "bob", Class::transcript(), &[audio]);
    world.put("bob", Class::audio(), b"his");
    let kept = derive(world.engine(), "carl", Class::transcript(), &[audio]);
    world.put("carl", Class::audio(), b"his");
    derive(world.engine(), "dana", Class::transcript(), &[kept]);
    world.put("erin", Class::audio(), b"hers");
    vec![
        Scope::class(user("alice"), Class::audio()).into(),
        Scope::class(user("bob"), Class::audio()).into(),
        Erase::new(Scope::user(user("carl"))).keep(Class::action(), "they are wanted"),
        Scope::user(user("dana")).into(),
        Scope::user(user("erin")).into(),
    ]
}

const FIVE: [&str; 5] = ["alice", "bob", "carl", "dana", "erin"];

/// Whether all pages of a user can be read.
fn is_whole(engine: &Engine, name: &str) -> bool {
    let listing = engine.list(&Query::default().user(user(name)));
    let entries = listing.is_ok_and(|l| l.records.iter().all(|r| engine.lineage(&r.id).is_ok()));
    entries
        && engine.history(&user(name)).is_ok()
        && engine.plans(&user(name)).list().is_ok()
        && engine.holds(&user(name)).list().is_ok()
}

/// Has the planned erases done; `false` where the head's own trees are damaged.
fn done_by_plan(engine: &Engine, whole: &[bool]) -> bool {
    let Ok(done) = engine.run_due(&mut |_| {}) else { return false };
    assert!(done.planned + done.failed + done.damaged >= 5, "{done:?}");
    assert!(
        done.planned as usize >= whole.iter().filter(|whole| **whole).count(),
        "{whole:?} {done:?}"
    );
    for trouble in done.troubles.iter().filter(|trouble| trouble.plan.is_some()) {
        assert!(trouble.user.is_some(), "{trouble}");
    }
    true
}

/// Erases them together; `false` where the head's own trees are damaged.
fn done_together(engine: &Engine, erases: &[Erase], whole: &[bool]) -> bool {
    let outcomes = engine.erase_all(erases);
    if outcomes.iter().all(Result::is_err) {
        return false;
    }
    for ((outcome, whole), name) in outcomes.iter().zip(whole).zip(FIVE) {
        if let Err(e) = outcome {
            assert!(!*whole, "{name} is whole: {e}");
            assert_eq!(e.kind(), ErrorKind::Corrupt, "{name}: {e}");
        }
    }
    true
}

/// Each blob of a store rots in turn. A user that can be read whole can be erased, whatever happens
/// to the others: alone, together with them, by plan, and where a link leads to them.
#[test]
fn a_user_whose_pages_are_whole_is_erased_whatever_is_damaged_elsewhere() {
    let mut damage = 0;
    for planned in [false, true] {
        let (mut world, store) = rotten(4, Follow::default());
        let erases = five(&world);
        if planned {
            for erase in &erases {
                world.engine().erase_at(erase.clone(), world.in_days(1)).unwrap();
            }
            world.env.advance(2 * DAY);
        }
        let whole: Vec<BlobName> = keyfall::testing::listed(&*store, 1000).unwrap();
        let (head, keys) =
            (store.head().unwrap().unwrap(), RootCell::load(&*world.cell).unwrap().keys);
        let id = world.engine().id();
        world.engine = None;
        for name in &whole {
            let rotten = Arc::new(Rotten::default());
            for other in &whole {
                rotten.put(&[(*other, store.get(other).unwrap().unwrap())]).unwrap();
            }
            rotten.commit(&[], None, &head).unwrap();
            let cell = keyfall::cell::MemoryCell::new();
            for key in &keys {
                cell.deposit(id, &key.id, &key.key).unwrap();
            }
            rotten.bad.lock().unwrap().insert(*name);
            let Ok(engine) = Engine::open(rotten.clone(), Arc::new(cell), world.options.clone())
            else {
                continue;
            };
            // Asked before anything is erased.
            let users: Vec<bool> = FIVE.iter().map(|name| is_whole(&engine, name)).collect();
            damage += users.iter().filter(|whole| !**whole).count();
            let done = if planned {
                done_by_plan(&engine, &users)
            } else {
                done_together(&engine, &erases, &users)
            };
            if !done {
                continue;
            }
            // Once it is restored, nothing is left to do that was asked for.
            rotten.bad.lock().unwrap().clear();
            world.env.advance(DAY);
            let done = engine.run_due(&mut |_| {}).unwrap();
            assert_eq!((done.failed, done.damaged), (0, 0), "{done:?}");
            if planned {
                assert_eq!(error_kind(engine.plans(&user("erin")).list()), ErrorKind::Erased);
                assert!(engine.plans(&user("alice")).list().unwrap().is_empty());
                assert_eq!(count(&engine, "alice"), 1);
                assert_eq!(count(&engine, "bob") + count(&engine, "carl"), 0);
            }
        }
    }
    assert!(damage > 10, "{damage}");
}

#[test]
fn a_plan_that_fails_is_reported_with_its_user_and_done_when_it_can_be() {
    let (world, store) = rotten(5, Follow::default());
    let engine = world.engine();
    let a1 = world.put("alice", Class::audio(), b"hers");
    let x1 = world.put("bob", Class::audio(), b"his");
    let text = derive(engine, "bob", Class::transcript(), &[a1]);
    let other = world.put("carl", Class::audio(), b"his");
    // Bob's needs a look at what Alice's page says; his second does not.
    let first = engine.erase_at(but_transcripts("bob"), world.in_days(1)).unwrap();
    let second = engine.erase_at(Scope::Record(x1), world.in_days(1)).unwrap();
    engine.erase_at(Scope::Record(other), world.in_days(1)).unwrap();
    let pending = engine.put(Put::new(user("dana"), Class::audio()), &b"x"[..]).unwrap();
    engine
        .erase(Erase::new(Scope::Record(pending)).final_within(Duration::from_secs(24 * 3600)))
        .unwrap();
    world.env.advance(2 * DAY);
    let live: Vec<BlobName> = keyfall::testing::listed(&*store, 1000).unwrap();
    // Rot whatever makes Alice, and nobody else, unreadable.
    let mut found = false;
    for name in &live {
        store.bad.lock().unwrap().insert(*name);
        let of = |name: &str| engine.list(&Query::default().user(user(name))).is_ok();
        found = !of("alice") && of("bob") && of("carl") && of("dana") && engine.status().is_ok();
        if found {
            break;
        }
        store.bad.lock().unwrap().clear();
    }
    assert!(found);
    let done = engine.run_due(&mut |_| {}).unwrap();
    assert_eq!((done.planned, done.failed, done.finalized), (2, 1, true), "{done:?}");
    let trouble = &done.troubles[0];
    assert_eq!(
        (trouble.user.clone(), trouble.plan, trouble.kind),
        (Some(user("bob")), Some(first.id), ErrorKind::Corrupt)
    );
    assert!(
        trouble.to_string().contains("bob")
            && trouble.to_string().contains(&format!("{:016x}", first.id))
    );
    assert_eq!(error_kind(engine.get(&other)), ErrorKind::Erased);
    assert_eq!(error_kind(engine.get(&x1)), ErrorKind::Erased);
    assert_eq!(
        engine.plans(&user("bob")).list().unwrap().iter().map(|plan| plan.id).collect::<Vec<_>>(),
        [first.id]
    );
    assert_ne!(first.id, second.id);
    // It stands in the history once, is not tried before an hour, and is done when it can be.
    assert_eq!(engine.run_due(&mut |_| {}).unwrap().failed, 0);
    world.env.advance(2 * 3_600_000);
    assert_eq!(engine.run_due(&mut |_| {}).unwrap().failed, 1);
    let failed = |engine: &Engine| {
        facts(engine, "bob").iter().filter(|f| matches!(f, Fact::Failed { .. })).count()
    };
    assert_eq!(failed(engine), 1);
    store.bad.lock().unwrap().clear();
    world.env.advance(2 * 3_600_000);
    assert_eq!(engine.run_due(&mut |_| {}).unwrap().planned, 1);
    assert!(engine.plans(&user("bob")).list().unwrap().is_empty());
    assert!(read_record(engine, &text).is_ok());
}

#[test]
fn what_can_never_be_done_is_refused_when_it_is_planned() {
    let world = World::new(6, SMALL_PAGES);
    let engine = world.engine();
    world.put("ada", Class::audio(), b"x");
    let span = |from: Option<u64>, until: Option<u64>| {
        let when = When::Between { from: from.map(Timestamp), until: until.map(Timestamp) };
        Erase::new(Scope::User { user: user("ada"), class: None, when })
    };
    let own = Class::new("own").unwrap();
    let bad = [
        span(Some(2000), Some(1000)),
        span(Some(1000), Some(1000)),
        span(None, Some(0)),
        span(Some(1 << 48), None),
        span(None, Some(1 << 48)),
        Erase::new(Scope::user(user("ada"))).keep(Class::action(), ""),
        Erase::new(Scope::class(user("ada"), Class::audio())).keep(Class::action(), "why"),
        Erase::new(Scope::user(user("ada"))).keep(own.clone(), "one").keep(own, "another"),
        Erase::new(Scope::user(user("ada"))).final_within(Duration::from_secs(24 * 3600 + 1)),
    ];
    let later = world.in_days(1);
    for erase in bad {
        assert_eq!(
            error_kind(engine.erase_at(erase.clone(), later)),
            ErrorKind::Invalid,
            "{erase:?}"
        );
        assert_eq!(error_kind(engine.erase(erase.clone())), ErrorKind::Invalid, "{erase:?}");
        let of_nobody = Erase::clone(&erase);
        assert_eq!(error_kind(engine.erase_all(&[of_nobody]).remove(0)), ErrorKind::Invalid);
    }
    assert!(
        engine.plans(&user("ada")).list().unwrap().is_empty()
            && engine.status().unwrap().next_due.is_none()
    );
    // A window within a day is one that a plan meets: it is final when it is done.
    let hour = Erase::new(Scope::user(user("ada"))).final_within(Duration::from_secs(3600));
    let plan = engine.erase_at(hour, later).unwrap();
    assert_eq!(engine.plans(&user("ada")).list().unwrap(), [plan]);
    world.env.advance(2 * DAY);
    assert_eq!(engine.run_due(&mut |_| {}).unwrap().planned, 1);
    assert_eq!(engine.status().unwrap().pending, None);
}

#[test]
fn each_class_that_stays_has_its_own_reason() {
    let world = World::new(7, SMALL_PAGES);
    let engine = world.engine();
    let alarm = Class::new("alarm").unwrap();
    let erase = || {
        Erase::new(Scope::user(user("ada")))
            .keep(Class::action(), "tax law, 10 years")
            .keep(alarm.clone(), "it goes on ringing")
            .keep(Class::transcript(), "it goes on ringing")
    };
    let put = || {
        for class in [Class::audio(), Class::action(), alarm.clone(), Class::transcript()] {
            world.put("ada", class, b"x");
        }
    };
    put();
    let reasons = |engine: &Engine| {
        let kept = facts(engine, "ada").into_iter().filter_map(|fact| match fact {
            Fact::Kept { class, reason, .. } => Some((class.unwrap().to_string(), reason)),
            _ => None,
        });
        kept.collect::<Vec<_>>()
    };
    let right = [
        ("action", "tax law, 10 years"),
        ("alarm", "it goes on ringing"),
        ("transcript", "it goes on ringing"),
    ];
    let right: Vec<(String, String)> = right.map(|(c, r)| (c.to_owned(), r.to_owned())).to_vec();
    let done = engine.erase(erase().certified("", "")).unwrap();
    let certificate = done.certificate.unwrap().sign().unwrap();
    let said: Vec<_> =
        certificate.facts.body.kept.iter().map(|k| (k.class.clone(), k.reason.clone())).collect();
    assert_eq!((said, reasons(engine)), (right.clone(), right.clone()));
    // So it is where it was planned, across a restart.
    engine.erase(Scope::user(user("ada"))).unwrap();
    engine.create_user(&user("ada")).unwrap();
    put();
    let plan = engine.erase_at(erase(), world.in_days(1)).unwrap();
    let mut world = world;
    world.reopen();
    let engine = world.engine();
    assert_eq!(engine.plans(&user("ada")).list().unwrap(), [plan]);
    world.env.advance(2 * DAY);
    assert_eq!(engine.run_due(&mut |_| {}).unwrap().planned, 1);
    assert_eq!(reasons(engine), right);
    // Reasons that do not fit are refused, and not cut.
    let long = |c: char| c.to_string().repeat(200);
    let erase = Erase::new(Scope::user(user("ada")))
        .keep(Class::action(), long('a'))
        .keep(Class::audio(), long('b'));
    assert_eq!(error_kind(engine.erase_at(erase.clone(), world.in_days(1))), ErrorKind::Invalid);
    assert!(engine.erase(erase).is_ok());
}

/// The history went on naming the record, the class and the interaction that it told the erase of.
#[test]
fn the_history_names_nothing_that_fell() {
    let world = World::new(8, SMALL_PAGES);
    let engine = world.engine();
    let secret = || Class::new("therapy.session").unwrap();
    let audio = world.put("ada", Class::audio(), b"a call");
    let session = world.put("ada", secret(), b"what was said");
    let second = world.put("ada", secret(), b"what was said then");
    let notes = derive(engine, "ada", Class::transcript(), &[audio]);
    let party = keyfall::sealed::Identity::new(&*world.env).unwrap().public().unwrap();
    engine
        .grants(&user("ada"))
        .add(Grant::new(&party, "A party", "to help").class(secret()))
        .unwrap();
    engine.detach(&notes, "a shopping list").unwrap();
    let all =
        Hold::new("a court asks", "Amtsgericht").class(secret()).interaction(session.interaction());
    let hold = engine.holds(&user("ada")).add(all).unwrap();
    assert_eq!(error_kind(engine.erase(Scope::Record(session))), ErrorKind::Held);
    assert_eq!(error_kind(engine.erase(Scope::class(user("ada"), secret()))), ErrorKind::Held);
    assert_eq!(
        error_kind(engine.erase(Scope::interaction(user("ada"), session.interaction()))),
        ErrorKind::Held
    );
    for scope in [
        Scope::Record(session),
        Scope::class(user("ada"), secret()),
        Scope::interaction(user("ada"), second.interaction()),
        Scope::Record(notes),
    ] {
        engine.erase_at(scope, world.in_days(1)).unwrap();
    }
    let keep = Erase::new(Scope::interaction(user("ada"), session.interaction()))
        .keep(secret(), "it is wanted");
    engine.erase(keep).unwrap();
    let told = format!("{:?}", facts(engine, "ada"));
    assert!(told.contains("therapy.session"), "by name while it lives: {told}");
    assert!(told.contains(&notes.to_string()));
    let gone = |told: &str, ids: &[RecordId]| {
        for id in ids {
            assert!(!told.contains(&id.to_string()), "{told}");
            assert!(!told.contains(&id.interaction().to_string()), "{told}");
        }
    };
    // A record: its own facts and its plan fall with it.
    engine.erase(Scope::Record(notes)).unwrap();
    let told =
        format!("{:?} {:?}", facts(engine, "ada"), engine.plans(&user("ada")).list().unwrap());
    gone(&told, &[notes]);
    assert!(!told.contains("shopping list"), "{told}");
    engine.holds(&user("ada")).lift(hold, "over", "Amtsgericht").unwrap();
    world.env.advance(2 * DAY);
    assert_eq!(engine.run_due(&mut |_| {}).unwrap().planned, 3);
    let told =
        format!("{:?} {:?}", facts(engine, "ada"), engine.report(&user("ada")).unwrap().history);
    gone(&told, &[session, second, notes]);
    assert!(!told.contains("therapy"), "{told}");
    // That it was planned, held and refused stands there all the same.
    let count =
        |is: &dyn Fn(&Fact) -> bool| facts(engine, "ada").iter().filter(|fact| is(fact)).count();
    assert_eq!(count(&|f| matches!(f, Fact::Planned { scope: None, .. })), 4);
    assert_eq!(count(&|f| matches!(f, Fact::Held { .. } | Fact::Lifted { .. })), 2);
    assert_eq!(count(&|f| matches!(f, Fact::Refused { .. })), 3);
    assert_eq!(count(&|f| matches!(f, Fact::Kept { class: None, records: 1, .. })), 1);
}

#[test]
fn refused_erases_do_not_fill_the_history() {
    let world = World::new(9, SMALL_PAGES);
    let engine = world.engine();
    let ids: Vec<RecordId> = (0..150).map(|n: u8| world.put("ada", Class::audio(), &[n])).collect();
    let hold = engine.holds(&user("ada")).add(Hold::new("a court asks", "Amtsgericht")).unwrap();
    for _ in 0..2 {
        for id in &ids {
            assert_eq!(error_kind(engine.erase(Scope::Record(*id))), ErrorKind::Held);
        }
    }
    let refused = |engine: &Engine| {
        let times = facts(engine, "ada").into_iter().filter_map(|fact| match fact {
            Fact::Refused { times, .. } => Some(times),
            _ => None,
        });
        times.collect::<Vec<_>>()
    };
    let told = refused(engine);
    assert_eq!((told.len(), told.iter().sum::<u64>()), (65, 300));
    // What passed a limit, record by record and class by class, is told once.
    engine.holds(&user("ada")).lift(hold, "over", "Amtsgericht").unwrap();
    let before = refused(engine).len();
    engine.holds(&user("ada")).add(Hold::new("another asks", "Landgericht")).unwrap();
    let day = Duration::from_secs(24 * 3600);
    engine.policies(Some(&user("ada"))).set(&Policy::new(Class::audio()).max_age(day)).unwrap();
    engine
        .policies(Some(&user("ada")))
        .set(&Policy::new(Class::audio()).purpose("none").max_age(day))
        .unwrap();
    for _ in 0..3 {
        world.env.advance(2 * DAY);
        assert!(engine.run_due(&mut |_| {}).unwrap().refused >= 150);
    }
    assert_eq!(refused(engine).len(), before + 1);
}

/// A user whose pages could not be read when a policy was set had no due time, and got none when
/// they could.
#[test]
fn a_user_whose_page_was_damaged_when_a_policy_was_set_is_served_once_restored() {
    let (world, store) = rotten(10, Follow::default());
    let engine = world.engine();
    let ids = ["alice", "bob"].map(|name| world.put(name, Class::audio(), b"x"));
    let live: Vec<BlobName> = keyfall::testing::listed(&*store, 1000).unwrap();
    let of = |name: &str| engine.list(&Query::default().user(user(name))).is_ok();
    let mut tried = 0;
    for name in &live {
        store.bad.lock().unwrap().insert(*name);
        let only_alice = !of("alice") && of("bob");
        if only_alice {
            tried += 1;
            let day = Duration::from_secs(24 * 3600);
            engine.policies(None).set(&Policy::new(Class::audio()).max_age(day * 1000)).unwrap();
            engine.policies(None).set(&Policy::new(Class::audio()).max_age(day)).unwrap();
            let swept = engine.run_due(&mut |_| {}).unwrap();
            assert_eq!(swept.damaged, 1, "{swept:?}");
            world.env.advance(2 * DAY);
            let served = engine.run_due(&mut |_| {}).unwrap();
            assert_eq!((served.expired, served.damaged), (1, 1), "{served:?}");
            break;
        }
        store.bad.lock().unwrap().clear();
    }
    assert_eq!(tried, 1);
    store.bad.lock().unwrap().clear();
    world.env.advance(2 * 3_600_000);
    let served = engine.run_due(&mut |_| {}).unwrap();
    assert_eq!((served.expired, served.damaged), (1, 0), "{served:?}");
    for id in ids {
        assert_eq!(error_kind(engine.get(&id)), ErrorKind::Erased);
    }
}

#[test]
fn the_error_of_a_write_says_whether_it_may_have_happened() {
    let (mut world, store) = rotten(11, Follow::default());
    let engine = world.engine();
    world.put("ada", Class::audio(), b"x");
    let put =
        |engine: &Engine| engine.put(Put::new(user("ada"), Class::audio()), &b"y"[..]).unwrap_err();
    *store.fails.lock().unwrap() = Some(ErrorKind::Full);
    assert!(!put(engine).may_have_happened(), "a full disk changed nothing");
    let bad =
        engine.put(Put::new(user("ada"), Class::audio()).media_type("no"), &b"y"[..]).unwrap_err();
    assert!(!bad.may_have_happened());
    *store.fails.lock().unwrap() = Some(ErrorKind::Io);
    let lost = put(engine);
    assert_eq!((lost.kind(), lost.may_have_happened()), (ErrorKind::Io, true));
    let refused = put(engine);
    assert_eq!((refused.kind(), refused.may_have_happened()), (ErrorKind::Poisoned, false));
    world.reopen();
    let engine = world.engine();
    *store.fails.lock().unwrap() = Some(ErrorKind::Io);
    let all = engine.erase_all(&[Scope::user(user("ada")), Scope::user(user("ben"))]);
    assert!(all.iter().all(|outcome| outcome.as_ref().unwrap_err().may_have_happened()));
}

#[test]
fn asking_at_once_for_what_is_pending_makes_it_final() {
    let world = World::new(12, SMALL_PAGES);
    let engine = world.engine();
    let hour = Duration::from_secs(3600);
    for together in [false, true] {
        let audio = world.put("ada", Class::audio(), b"x");
        let other = world.put("ada", Class::audio(), b"y");
        assert!(
            engine
                .erase(Erase::new(Scope::Record(audio)).final_within(hour))
                .unwrap()
                .finality
                .until()
                .is_some()
        );
        let epoch = engine.head().epoch;
        let waits = Erase::new(Scope::Record(audio)).final_within(hour);
        assert!(engine.erase(waits).unwrap().finality.until().is_some());
        assert_eq!(engine.head().epoch, epoch, "who may wait waits");
        let done = if together {
            let also = Erase::new(Scope::Record(other)).final_within(hour);
            engine.erase_all(&[Scope::Record(audio).into(), also]).remove(0).unwrap()
        } else {
            engine.erase(Scope::Record(audio)).unwrap()
        };
        assert_eq!((done.already, done.finality.is_final()), (true, true));
        assert_eq!((engine.head().epoch, engine.status().unwrap().pending), (epoch + 1, None));
    }
}
