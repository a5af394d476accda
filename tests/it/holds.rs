//! Legal holds: every erase that would touch what one covers is refused, whole, and the history
//! records the refusal. SPEC §6.2.

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{Fact, Hold, restore};
use keyfall::store::{MemoryStore, Store};
use keyfall::{
    Class, Engine, Erase, ErrorKind, InteractionId, Put, RecordId, Scope, Source, Timestamp, When,
};

use crate::support::{SMALL_PAGES, World, error_kind, facts, read_record, user};

fn hold() -> Hold {
    Hold::new("a court asks", "Amtsgericht")
}

fn put(engine: &Engine, name: &str, class: Class, sources: &[RecordId]) -> RecordId {
    let put = Put::new(user(name), class);
    engine.put(sources.iter().fold(put, |put, id| put.derived_from(*id)), &b"content"[..]).unwrap()
}

/// Ada's audio is held; her action and Ben's audio are not.
struct Held {
    world: World,
    hold: u64,
    audio: RecordId,
    action: RecordId,
    other: RecordId,
}

impl Held {
    fn new() -> Self {
        let world = World::new(1, SMALL_PAGES);
        let engine = world.engine();
        let audio = put(engine, "ada", Class::audio(), &[]);
        let action = put(engine, "ada", Class::action(), &[]);
        let other = put(engine, "ben", Class::audio(), &[]);
        let hold = engine.holds(&user("ada")).add(hold().class(Class::audio())).unwrap();
        Held { world, hold, audio, action, other }
    }

    /// Every scope that touches what is held.
    fn scopes(&self) -> [Scope; 5] {
        [
            Scope::user(user("ada")),
            Scope::class(user("ada"), Class::audio()),
            Scope::interaction(user("ada"), self.audio.interaction()),
            Scope::User {
                user: user("ada"),
                class: None,
                when: When::Between { from: None, until: None },
            },
            Scope::Record(self.audio),
        ]
    }
}

#[test]
fn every_scope_that_touches_what_is_held_is_refused_whole() {
    let held = Held::new();
    let engine = held.world.engine();
    let before = engine.head();
    for scope in held.scopes() {
        assert_eq!(error_kind(engine.erase(scope.clone())), ErrorKind::Held, "{scope:?}");
    }
    assert_eq!(engine.head().epoch, before.epoch, "nothing was erased");
    assert!([held.audio, held.action, held.other].iter().all(|id| read_record(engine, id).is_ok()));
}

#[test]
fn the_history_records_a_hold_and_each_refusal() {
    let held = Held::new();
    let engine = held.world.engine();
    for scope in held.scopes() {
        assert_eq!(error_kind(engine.erase(scope)), ErrorKind::Held);
    }
    let facts = facts(engine, "ada");
    assert!(matches!(&facts[0], Fact::Held { id, .. } if *id == held.hold));
    assert_eq!(facts.len(), 1 + held.scopes().len(), "each refusal is recorded");
    assert!(facts[1..].iter().all(|fact| matches!(fact, Fact::Refused { .. })));
}

#[test]
fn what_a_hold_does_not_cover_falls_also_in_the_same_commit() {
    let held = Held::new();
    let scopes = [Scope::Record(held.audio), Scope::user(user("ben")), Scope::Record(held.action)];
    let outcomes = held.world.engine().erase_all(&scopes);
    assert_eq!(outcomes.iter().map(|o| o.is_ok()).collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn a_hold_is_lifted_by_its_number_and_with_a_reason() {
    let held = Held::new();
    let engine = held.world.engine();
    assert_eq!(
        error_kind(engine.holds(&user("ada")).lift(held.hold ^ 1, "over", "Amtsgericht")),
        ErrorKind::Absent
    );
    assert_eq!(
        error_kind(engine.holds(&user("ada")).lift(held.hold, "", "Amtsgericht")),
        ErrorKind::Invalid
    );
    engine.holds(&user("ada")).lift(held.hold, "the case is closed", "Amtsgericht").unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(error_kind(read_record(engine, &held.audio)), ErrorKind::Erased);
    engine.erase(Scope::user(user("ben"))).unwrap();
    assert!(held.world.tape.exposed(&*held.world.cell).unwrap().is_empty());
}

#[test]
fn only_a_user_who_lives_can_be_held() {
    let world = World::new(1, SMALL_PAGES);
    let engine = world.engine();
    put(engine, "ada", Class::audio(), &[]);
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(error_kind(engine.holds(&user("ada")).add(hold())), ErrorKind::Erased);
    assert_eq!(error_kind(engine.holds(&user("nobody")).add(hold())), ErrorKind::Absent);
}

#[test]
fn a_cascade_that_meets_a_hold_is_refused_before_any_change() {
    let world = World::new(2, SMALL_PAGES);
    let engine = world.engine();
    let audio = put(engine, "ada", Class::audio(), &[]);
    let text = put(engine, "ben", Class::transcript(), &[audio]);
    let held = put(engine, "chloe", Class::action(), &[text]);
    let id = engine.holds(&user("chloe")).add(hold()).unwrap();
    // Neither of those that it was derived from can go, near or far.
    for scope in [
        Scope::Record(text),
        Scope::Record(audio),
        Scope::user(user("ada")),
        Scope::user(user("ben")),
    ] {
        assert_eq!(error_kind(engine.erase(scope)), ErrorKind::Held);
    }
    // What is put under a hold is held from the beginning.
    let late = put(engine, "dora", Class::audio(), &[]);
    let mut batch = engine.batch();
    let first =
        batch.add(Put::new(user("chloe"), Class::transcript()).derived_from(late), &b"a"[..]);
    let first = Source::Added(first.unwrap());
    batch.add(Put::new(user("eve"), Class::transcript()).derived_from(first), &b"b"[..]).unwrap();
    batch.commit().unwrap();
    assert_eq!(error_kind(engine.erase(Scope::user(user("dora")))), ErrorKind::Held);
    // Detached from its source, a held record no longer holds it.
    engine.detach(&held, "it stands for itself").unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(error_kind(read_record(engine, &text)), ErrorKind::Erased);
    assert!(read_record(engine, &held).is_ok());
    assert_eq!(error_kind(engine.erase(Scope::Record(held))), ErrorKind::Held);
    engine.holds(&user("chloe")).lift(id, "over", "Amtsgericht").unwrap();
    for name in ["dora", "chloe", "ben", "eve"] {
        engine.erase(Scope::user(user(name))).unwrap();
    }
    assert!(world.tape.exposed(&*world.cell).unwrap().is_empty());
}

#[test]
fn of_two_holds_each_is_lifted_by_itself() {
    let world = World::new(3, SMALL_PAGES);
    let engine = world.engine();
    let audio = put(engine, "ada", Class::audio(), &[]);
    let text = put(engine, "ben", Class::transcript(), &[audio]);
    let wide = engine.holds(&user("ben")).add(hold()).unwrap();
    let narrow = engine.holds(&user("ben")).add(hold().interaction(text.interaction())).unwrap();
    assert_eq!(engine.holds(&user("ben")).list().unwrap().len(), 2);
    engine.holds(&user("ben")).lift(wide, "over", "Amtsgericht").unwrap();
    assert_eq!(
        error_kind(engine.erase(Scope::Record(audio))),
        ErrorKind::Held,
        "the other one covers it still"
    );
    engine.holds(&user("ben")).lift(narrow, "over", "Amtsgericht").unwrap();
    assert_eq!(engine.erase(Scope::Record(audio)).unwrap().derived, 1);
}

#[test]
fn a_hold_covers_what_is_not_there_yet_and_no_more_than_it_says() {
    let world = World::new(4, SMALL_PAGES);
    let engine = world.engine();
    let at = |ms| InteractionId::from_parts(Timestamp(ms), [1; 10]);
    let put_at = |ms, class| {
        engine.put(Put::new(user("ada"), class).interaction(at(ms)), &b"x"[..]).unwrap()
    };
    put_at(100, Class::audio());
    put_at(200, Class::audio());
    engine.holds(&user("ada")).add(hold().class(Class::action()).interaction(at(300))).unwrap();
    let span = |from, until| Scope::User {
        user: user("ada"),
        class: None,
        when: When::Between { from: Some(Timestamp(from)), until: Some(Timestamp(until)) },
    };
    engine.erase(span(50, 150)).unwrap();
    assert_eq!(error_kind(engine.erase(span(150, 301))), ErrorKind::Held);
    engine.erase(span(150, 300)).unwrap();
    let late = put_at(300, Class::action());
    let beside = put_at(300, Class::audio());
    assert_eq!(error_kind(engine.erase(Scope::Record(late))), ErrorKind::Held);
    engine.erase(Scope::class(user("ada"), Class::audio())).unwrap();
    assert_eq!(error_kind(read_record(engine, &beside)), ErrorKind::Erased);
    let keeping = Erase::new(Scope::user(user("ada"))).keep(Class::action(), "held");
    assert_eq!(
        engine.erase(keeping).unwrap().records,
        Some(0),
        "an erase that keeps the class is none of it"
    );
    assert_eq!(
        error_kind(engine.holds(&user("ada")).add(Hold::new("", "court"))),
        ErrorKind::Invalid
    );
    assert_eq!(
        error_kind(engine.holds(&user("ada")).add(Hold::new("why", " "))),
        ErrorKind::Invalid
    );
}

#[test]
fn holds_survive_a_restore() {
    let world = World::new(5, SMALL_PAGES);
    let audio = put(world.engine(), "ada", Class::audio(), &[]);
    put(world.engine(), "ben", Class::transcript(), &[audio]);
    world.engine().holds(&user("ben")).add(hold()).unwrap();
    world.engine().copies().add("copy", keyfall::engine::CopyMode::InStep, &mut |_| {}).unwrap();
    let into = std::sync::Arc::new(MemoryStore::new());
    restore(&*world.cell, &[world.place("copy")], &*into, &mut |_| {}).unwrap();
    let engine = Engine::open(
        into,
        world.cell.clone(),
        world.options.clone().open_as(keyfall::engine::OpenAs::TakeOver),
    )
    .unwrap();
    assert_eq!(error_kind(engine.erase(Scope::user(user("ada")))), ErrorKind::Held);
    assert_eq!(engine.holds(&user("ben")).list().unwrap()[0].1.reason, "a court asks");
}

#[test]
fn what_a_held_record_depends_on_no_more_is_free() {
    let world = World::new(7, SMALL_PAGES);
    let engine = world.engine();
    let audio = put(engine, "ada", Class::audio(), &[]);
    let ways = ["eve", "bob"].map(|name| put(engine, name, Class::transcript(), &[audio]));
    let held = put(engine, "ben", Class::action(), &ways);
    engine.holds(&user("ben")).add(hold()).unwrap();
    engine.detach(&ways[0], "it says nothing").unwrap();
    assert_eq!(
        error_kind(engine.erase(Scope::Record(audio))),
        ErrorKind::Held,
        "the other way still leads to it"
    );
    engine.detach(&ways[1], "nor does this").unwrap();
    engine.erase(Scope::Record(audio)).unwrap();
    assert_eq!(read_record(engine, &held).unwrap(), b"content");
    for way in ways {
        assert_eq!(error_kind(engine.erase(Scope::Record(way))), ErrorKind::Held);
    }
}

/// Engines over the store with one blob changed in each: whichever page it is.
fn damaged(world: &World) -> Vec<Engine> {
    let names = keyfall::testing::listed(&*world.store, 1000).unwrap();
    let engine = |spoilt: &_| {
        let store = MemoryStore::new();
        for name in &names {
            let mut blob = world.store.get(name).unwrap().unwrap();
            if name == spoilt {
                let last = blob.len() - 1;
                blob[last] ^= 1;
            }
            store.put(&[(*name, blob)]).unwrap();
        }
        store.commit(&[], None, &world.store.head().unwrap().unwrap()).unwrap();
        let cell = MemoryCell::new();
        for key in RootCell::load(&*world.cell).unwrap().keys {
            cell.deposit(world.engine().id(), &key.id, &key.key).unwrap();
        }
        Engine::open(std::sync::Arc::new(store), std::sync::Arc::new(cell), world.options.clone())
            .ok()
    };
    names.iter().filter_map(engine).collect()
}

/// Whether the user was erased though its page could not be read.
fn lost_with_its_page(engine: &Engine, name: &str) -> bool {
    engine.erase(Scope::user(user(name))).is_ok_and(|done| done.records.is_none())
}

#[test]
fn a_mark_for_a_held_record_that_is_gone_blocks_no_erase() {
    let world = World::new(40, SMALL_PAGES);
    let audio = put(world.engine(), "alice", Class::audio(), &[]);
    let text = put(world.engine(), "bob", Class::transcript(), &[audio]);
    world.engine().holds(&user("bob")).add(hold()).unwrap();
    let span = When::Between { from: None, until: None };
    let scopes = [
        Scope::user(user("alice")),
        Scope::Record(audio),
        Scope::class(user("alice"), Class::audio()),
        Scope::interaction(user("alice"), audio.interaction()),
        Scope::User { user: user("alice"), class: None, when: span },
    ];
    for again in [false, true] {
        for scope in &scopes {
            let mut found = 0;
            for engine in damaged(&world) {
                if engine.get(&audio).is_err() || !lost_with_its_page(&engine, "bob") {
                    continue;
                }
                found += 1;
                if again {
                    // The name lives once more, and is held once more: that is another bob.
                    engine.create_user(&user("bob")).unwrap();
                    engine.holds(&user("bob")).add(hold()).unwrap();
                }
                assert_eq!(engine.report(&user("alice")).unwrap().needed, 0);
                let done = engine.erase(scope.clone()).unwrap_or_else(|e| panic!("{scope:?}: {e}"));
                assert_eq!(done.records, Some(1));
                assert_eq!(error_kind(read_record(&engine, &audio)), ErrorKind::Erased);
            }
            assert_eq!(found, 1, "bob's page is one of them");
        }
    }
    // While the held record is there, or cannot be asked for, it holds.
    for engine in damaged(&world) {
        if engine.get(&audio).is_ok() {
            assert_eq!(error_kind(engine.erase(Scope::user(user("alice")))), ErrorKind::Held);
            assert!(engine.report(&user("alice")).map_or(1, |report| report.needed) == 1);
        }
    }
    assert!(read_record(world.engine(), &text).is_ok());
}

#[test]
fn lifting_a_hold_frees_what_is_left_of_what_a_record_was_derived_from() {
    let world = World::new(41, SMALL_PAGES);
    let of_alice = put(world.engine(), "alice", Class::audio(), &[]);
    let of_bob = put(world.engine(), "bob", Class::audio(), &[]);
    put(world.engine(), "carl", Class::transcript(), &[of_alice, of_bob]);
    let id = world.engine().holds(&user("carl")).add(hold()).unwrap();
    for restarted in [false, true] {
        let mut found = 0;
        for engine in damaged(&world) {
            if engine.get(&of_bob).is_err()
                || !engine.get(&of_alice).is_err_and(|e| e.kind() == ErrorKind::Corrupt)
            {
                continue;
            }
            // Alice's page is damaged; it is erased, or it is not.
            if restarted && !lost_with_its_page(&engine, "alice") {
                continue;
            }
            if engine.report(&user("carl")).is_err() {
                continue;
            }
            found += 1;
            assert_eq!(error_kind(engine.erase(Scope::user(user("bob")))), ErrorKind::Held);
            engine.holds(&user("carl")).lift(id, "over", "Amtsgericht").unwrap();
            assert_eq!(engine.report(&user("bob")).unwrap().needed, 0);
            match engine.erase(Scope::user(user("bob"))) {
                Ok(_) => {}
                // What was derived from alice's is followed back to her page.
                Err(e) => assert!(!restarted && e.kind() == ErrorKind::Corrupt, "{e}"),
            }
        }
        assert!(found > 0);
    }
}

#[test]
fn what_has_passed_a_limit_falls_though_an_idle_mark_is_on_it() {
    let world = World::new(42, SMALL_PAGES);
    let audio = put(world.engine(), "alice", Class::audio(), &[]);
    put(world.engine(), "bob", Class::transcript(), &[audio]);
    world.engine().holds(&user("bob")).add(hold()).unwrap();
    let day = std::time::Duration::from_secs(86_400);
    world.engine().policies(None).set(&keyfall::Policy::new(Class::audio()).max_age(day)).unwrap();
    world.engine().run_due(&mut |_| {}).unwrap();
    let mut found = 0;
    for engine in damaged(&world) {
        if engine.get(&audio).is_err() || !lost_with_its_page(&engine, "bob") {
            continue;
        }
        world.env.advance(2 * 86_400_000);
        found += 1;
        let done = engine.run_due(&mut |_| {}).unwrap();
        assert_eq!((done.expired, done.refused), (1, 0));
    }
    assert_eq!(found, 1);
}
