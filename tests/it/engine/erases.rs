//! Erases: what each scope takes, and what callers are told. SPEC §6.

use std::sync::Arc;

use keyfall::cell::RootCell;
use keyfall::engine::Geometry;
use keyfall::testing::Defect;
use keyfall::{Class, Erasure, ErrorKind, InteractionId, Put, Query, RecordId, Result, Scope};

use crate::support::{SMALL_PAGES, World, bytes, error_kind, read_record, user};

#[test]
fn erased_absent_and_live_are_three_answers() {
    let world = World::new(3, SMALL_PAGES);
    let engine = world.engine();
    let (a, b) =
        (world.put("ada", Class::audio(), b"one"), world.put("bob", Class::audio(), b"two"));
    let done = engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!((done.epoch, done.records, done.already), (2, Some(1), false));
    assert_eq!(error_kind(read_record(engine, &a)), ErrorKind::Erased);
    assert_eq!(read_record(engine, &b).unwrap(), b"two");
    let other = World::new(99, SMALL_PAGES);
    let foreign = other.put("eve", Class::audio(), b"x");
    assert_eq!(error_kind(read_record(engine, &foreign)), ErrorKind::Absent);
    assert_eq!(error_kind(engine.erase(Scope::Record(foreign))), ErrorKind::Absent);
    assert!(engine.erase(Scope::user(user("ada"))).unwrap().already, "erasing twice is no error");
    assert_eq!(
        error_kind(engine.put(Put::new(user("ada"), Class::audio()), &b"late"[..])),
        ErrorKind::Erased
    );
    engine.create_user(&user("ada")).unwrap();
    let again = world.put("ada", Class::audio(), b"again");
    assert_eq!(read_record(engine, &again).unwrap(), b"again");
    assert_eq!(
        error_kind(read_record(engine, &a)),
        ErrorKind::Erased,
        "the old id says erased for ever"
    );
}

/// Ada's records of one interaction, one of each class.
struct Talk {
    world: World,
    interaction: InteractionId,
    audio: RecordId,
    transcript: RecordId,
    action: RecordId,
}

impl Talk {
    fn new(seed: u64) -> Self {
        let world = World::new(seed, SMALL_PAGES);
        let interaction = world.engine().new_interaction().unwrap();
        let put = |class| world.engine().put(into(interaction, class), &b"x"[..]).unwrap();
        let (audio, transcript, action) =
            (put(Class::audio()), put(Class::transcript()), put(Class::action()));
        Talk { world, interaction, audio, transcript, action }
    }

    fn put(&self, class: Class) -> Result<RecordId> {
        self.world.engine().put(into(self.interaction, class), &b"late"[..])
    }
}

fn into(interaction: InteractionId, class: Class) -> Put {
    Put::new(user("ada"), class).interaction(interaction)
}

#[test]
fn a_class_takes_its_records_and_no_other_class() {
    let talk = Talk::new(4);
    let engine = talk.world.engine();
    engine.erase(Scope::class(user("ada"), Class::audio())).unwrap();
    assert_eq!(error_kind(read_record(engine, &talk.audio)), ErrorKind::Erased);
    assert!(
        read_record(engine, &talk.transcript).is_ok() && read_record(engine, &talk.action).is_ok(),
        "other classes stay"
    );
    assert_eq!(
        error_kind(talk.put(Class::audio())),
        ErrorKind::Erased,
        "a late recording of an erased class is refused"
    );
    let fresh = talk.world.put("ada", Class::audio(), b"new");
    assert!(read_record(engine, &fresh).is_ok(), "a new interaction of the class is welcome");
}

#[test]
fn the_id_of_an_erased_record_is_never_given_again() {
    let talk = Talk::new(4);
    let engine = talk.world.engine();
    engine.erase(Scope::Record(talk.transcript)).unwrap();
    assert_eq!(error_kind(read_record(engine, &talk.transcript)), ErrorKind::Erased);
    let next = talk.put(Class::transcript()).unwrap();
    assert_ne!(talk.transcript, next);
    assert_eq!(error_kind(read_record(engine, &talk.transcript)), ErrorKind::Erased);
}

#[test]
fn an_interaction_takes_its_records_of_every_class() {
    let talk = Talk::new(4);
    let engine = talk.world.engine();
    let fresh = talk.world.put("ada", Class::audio(), b"new");
    engine.erase(Scope::Record(talk.transcript)).unwrap();
    let transcript = talk.put(Class::transcript()).unwrap();
    engine.erase(Scope::interaction(user("ada"), talk.interaction)).unwrap();
    assert_eq!(error_kind(read_record(engine, &talk.action)), ErrorKind::Erased);
    assert_eq!(error_kind(read_record(engine, &transcript)), ErrorKind::Erased);
    assert_eq!(error_kind(talk.put(Class::action())), ErrorKind::Erased);
    assert!(read_record(engine, &fresh).is_ok());
}

#[test]
fn an_empty_interaction_is_erased_so_that_what_is_on_its_way_is_refused() {
    let world = World::new(4, SMALL_PAGES);
    world.put("ada", Class::audio(), b"x");
    let empty = world.engine().new_interaction().unwrap();
    let done = world.engine().erase(Scope::interaction(user("ada"), empty)).unwrap();
    assert_eq!((done.records, done.already), (Some(0), false));
    assert_eq!(
        error_kind(world.engine().put(into(empty, Class::audio()), &b"late"[..])),
        ErrorKind::Erased
    );
}

#[test]
fn a_put_that_an_erase_overtakes_leaves_nothing() {
    let world = World::new(9, SMALL_PAGES);
    let engine = world.engine();
    world.put("ada", Class::audio(), b"first");
    let mut batch = engine.batch();
    batch.add(Put::new(user("ada"), Class::audio()), &b"overtaken"[..]).unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    engine.create_user(&user("ada")).unwrap();
    assert_eq!(
        error_kind(batch.commit()),
        ErrorKind::Erased,
        "also when the user was created again meanwhile"
    );
    assert!(engine.list(&Query::default()).unwrap().records.is_empty());
}

#[test]
fn erases_that_wait_share_a_commit() {
    let world = World::new(18, SMALL_PAGES);
    let foreign = World::new(98, SMALL_PAGES).put("eve", Class::audio(), b"x");
    for n in 0..50 {
        world.put(&format!("u{n}"), Class::audio(), b"x");
    }
    let scopes: Vec<_> = (0..50)
        .map(|n| Scope::user(user(&format!("u{n}"))))
        .chain([Scope::Record(foreign)])
        .collect();
    let outcomes = world.engine().erase_all(&scopes);
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 50);
    assert_eq!(error_kind(outcomes.into_iter().last().unwrap()), ErrorKind::Absent);
    assert_eq!(world.engine().head().epoch, 2, "one epoch for all");
}

/// So many that they are read and encrypted on two cores.
#[test]
fn many_erases_in_one_commit_leave_the_others() {
    for geometry in [SMALL_PAGES, Geometry::default()] {
        let mut world = World::new(20, geometry);
        let name = |n: usize| format!("u{n}");
        let mut batch = world.engine().batch();
        for n in 0..1500 {
            batch.add(Put::new(user(&name(n)), Class::audio()), &bytes(n as u64, 20)[..]).unwrap();
        }
        let ids = batch.commit().unwrap();
        let foreign = World::new(98, SMALL_PAGES).put("eve", Class::audio(), b"x");
        let erased = |n: usize| !n.is_multiple_of(3);
        let scopes: Vec<_> = (0..1500)
            .filter(|n| erased(*n))
            .map(|n| Scope::user(user(&name(n))))
            .chain([Scope::Record(foreign), Scope::user(user("nobody"))])
            .collect();
        for more in [1, 0] {
            let outcomes = world.engine().erase_all(&scopes);
            let fell = |done: &Result<Erasure>| {
                done.as_ref().map_or(0, |done| done.records.unwrap() * u64::from(!done.already))
            };
            assert_eq!(outcomes.iter().map(fell).sum::<u64>(), 1000 * more);
            assert_eq!(error_kind(outcomes.into_iter().nth_back(1).unwrap()), ErrorKind::Absent);
        }
        assert_eq!(world.engine().head().epoch, 2, "one epoch for all");
        world.reopen();
        for (n, id) in ids.iter().enumerate() {
            let read = read_record(world.engine(), id);
            match erased(n) {
                true => assert_eq!(error_kind(read), ErrorKind::Erased),
                false => assert_eq!(read.unwrap(), bytes(n as u64, 20)),
            }
        }
        assert!(world.engine().audit(&[], &mut |_| {}).unwrap().is_clean());
        assert_eq!(world.engine().status().unwrap().users, 500);
    }
}

#[test]
fn erases_and_puts_from_many_threads() {
    let world = World::new(19, SMALL_PAGES);
    let engine = world.engine();
    std::thread::scope(|s| {
        for t in 0..4 {
            s.spawn(move || {
                for n in 0..20 {
                    let name = user(&format!("t{t}n{n}"));
                    let id = engine
                        .put(Put::new(name.clone(), Class::audio()), &bytes(n, 500)[..])
                        .unwrap();
                    assert_eq!(read_record(engine, &id).unwrap(), bytes(n, 500));
                    if n % 2 == 0 {
                        engine.erase(Scope::user(name)).unwrap();
                        assert_eq!(error_kind(read_record(engine, &id)), ErrorKind::Erased);
                    }
                }
            });
        }
        s.spawn(|| {
            for _ in 0..5 {
                engine.discard(&mut |_| {}).unwrap();
            }
        });
    });
    assert_eq!(engine.list(&Query::default()).unwrap().records.len(), 40);
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
}

#[test]
fn the_adversary_needs_rekey_and_retire_to_fail() {
    let content = b"to be forgotten";
    let exposed = |defect| {
        let world = World::with_defect(14, SMALL_PAGES, defect);
        let id = world.put("ada", Class::audio(), content);
        world.put("bob", Class::audio(), b"stays");
        world.engine().erase(Scope::user(user("ada"))).unwrap();
        let cell: Arc<dyn RootCell> = world.cell.clone();
        let now = world.tape.exposed(&*cell).unwrap();
        let hoarded = world.tape.exposed_to(&world.cell.hoard()).unwrap();
        assert_eq!(
            hoarded[&id].content.as_deref(),
            Some(&content[..]),
            "with every key ever, everything opens"
        );
        (now.contains_key(&id), now.len())
    };
    assert_eq!(exposed(None), (false, 1), "only what lives opens");
    assert_eq!(exposed(Some(Defect::KeepRootKey)), (true, 2), "without the rekey the erased opens");
    assert_eq!(exposed(Some(Defect::SkipRetire)), (true, 2), "without the retire the erased opens");
}
