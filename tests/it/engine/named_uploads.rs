//! What a finished upload is called, and what is told of uploads that are not finished. SPEC §5.6.

use std::time::Duration;

use keyfall::cell::{RootCell, RootKey};
use keyfall::engine::{Changed, Hold, UploadState, Watched};
use keyfall::{
    Class, Erase, ErrorKind, Policy, Put, PutMode, Query, RecordId, Scope, Timestamp, UploadId,
};

use crate::support::{DAY, SMALL_PAGES, World, error_kind, read_record, user};

fn put() -> Put {
    Put::new(user("ada"), Class::audio()).name("wake.wav").meta("device", "kitchen")
}

fn upload(world: &World, put: Put, content: &[u8]) -> UploadId {
    let id = world.engine().uploads().begin(put).unwrap();
    world.engine().uploads().append(&id, 0, content).unwrap();
    id
}

fn finish(world: &World, id: &UploadId) -> keyfall::Result<RecordId> {
    world.engine().uploads().finish(id)
}

fn state(world: &World, id: &UploadId) -> UploadState {
    world.engine().uploads().state(id).unwrap()
}

fn named(world: &World) -> keyfall::Result<RecordId> {
    world.engine().find(&user("ada"), "wake.wav").map(|info| info.id)
}

#[test]
fn the_record_has_the_name_and_the_metadata_and_the_upload_has_them_nowhere_else() {
    let mut world = World::new(1, SMALL_PAGES);
    // As long as they may be: the upload's payload is in a segment.
    let name = "n".repeat(128);
    let put = (0..60).fold(put().name(&name), |put, n| put.meta(format!("{n:02}"), "v".repeat(30)));
    let id = upload(&world, put, b"a minute of it");
    world.reopen();
    let there = state(&world, &id);
    assert_eq!((there.name.as_ref(), there.meta.len()), (Some(&name), 61));
    let report = world.engine().report(&user("ada")).unwrap();
    assert_eq!(report.uploads, std::slice::from_ref(&there));
    assert_eq!(error_kind(world.engine().find(&user("ada"), &name)), ErrorKind::Absent);
    for query in [Query::default(), Query::default().name_prefix("n")] {
        assert!(world.engine().list(&query.user(user("ada"))).unwrap().records.is_empty());
    }
    let record = finish(&world, &id).unwrap();
    let info = world.engine().find(&user("ada"), &name).unwrap();
    assert_eq!((info.id, info.name, info.meta), (record, there.name, there.meta));
    assert_eq!(world.engine().info(&record).unwrap().length, 14);
    world.engine().erase(Scope::Record(record)).unwrap();
    assert_eq!(world.tape.exposed(&*world.cell).unwrap().len(), 0);
}

/// What an upload is to be called is on the medium as secret as its bytes, and falls with it.
#[test]
fn what_an_upload_is_to_be_called_falls_with_it() {
    let (name, value) = ("the name of what comes.wav", "in the kitchen by the window");
    for long in [0, 60] {
        for way in 0..4 {
            let mut world = World::new(20 + way, SMALL_PAGES);
            // A long label makes the upload's own payload a segment.
            let put = Put::new(user("ada"), Class::audio()).name(name).meta("device", value);
            let more = |put: Put, n: usize| put.meta(format!("{n:02}"), "v".repeat(30));
            let id = upload(&world, (0..long).fold(put, more), b"a minute of it");
            world.reopen();
            assert_eq!(state(&world, &id).name.as_deref(), Some(name));
            for text in [name, value] {
                assert!(!world.tape.contains_bytes(text.as_bytes()));
            }
            let engine = world.engine();
            match way {
                0 => engine.uploads().abort(&id).unwrap(),
                1 => drop(engine.erase(Scope::user(user("ada"))).unwrap()),
                2 => drop(engine.erase(Scope::class(user("ada"), Class::audio())).unwrap()),
                _ => {
                    let record = finish(&world, &id).unwrap();
                    engine.erase(Scope::Record(record)).unwrap();
                }
            }
            for text in [name, value] {
                let reads = |keys: &[RootKey]| world.tape.is_readable(keys, text.as_bytes());
                assert!(!reads(&world.cell.load().unwrap().keys), "way {way}: {text}");
                // In a page it is searched; a payload apart is opened as one of its records.
                assert!(long > 0 && way < 3 || reads(&world.cell.hoard()), "way {way}: {text}");
            }
            assert_eq!(world.tape.exposed(&*world.cell).unwrap().len(), 0, "way {way}");
        }
    }
}

#[test]
fn a_label_that_no_record_may_have_is_refused_at_the_beginning() {
    let world = World::new(2, SMALL_PAGES);
    let plain = || Put::new(user("ada"), Class::audio());
    for put in [plain().name(""), plain().if_absent(), plain().meta("", "v")] {
        assert_eq!(error_kind(world.engine().uploads().begin(put)), ErrorKind::Invalid);
    }
}

#[test]
fn finishing_follows_the_mode_of_the_put() {
    let world = World::new(3, SMALL_PAGES);
    let engine = world.engine();
    let first = engine.put(put(), &b"first"[..]).unwrap();
    // Replaces.
    let second = finish(&world, &upload(&world, put(), b"second")).unwrap();
    assert_eq!(named(&world).unwrap(), second);
    assert_eq!(error_kind(read_record(engine, &first)), ErrorKind::Erased);
    // If it is absent.
    let absent = upload(&world, put().if_absent(), b"third");
    assert_eq!(error_kind(finish(&world, &absent)), ErrorKind::Exists);
    assert_eq!(state(&world, &absent).offset, 5, "the upload is there still");
    // If it is the one, over a restart.
    let is = upload(&world, put().if_is(second), b"fourth");
    let is_not = upload(&world, put().mode(PutMode::IfIs(first)), b"fifth");
    assert_eq!(error_kind(finish(&world, &is_not)), ErrorKind::Changed);
    let fourth = finish(&world, &is).unwrap();
    assert_eq!(named(&world).unwrap(), fourth);
    assert_eq!(read_record(engine, &fourth).unwrap(), b"fourth");
    engine.erase(Scope::Record(fourth)).unwrap();
    assert_eq!(named(&world).unwrap_err().kind(), ErrorKind::Absent);
    let third = finish(&world, &absent).unwrap();
    assert_eq!(named(&world).unwrap(), third);
}

#[test]
fn what_is_there_already_is_given_and_the_upload_ends() {
    let world = World::new(4, SMALL_PAGES);
    let engine = world.engine();
    for put in [put(), put().if_absent()] {
        let there = engine.put(put.clone(), &b"the same"[..]).unwrap();
        let id = upload(&world, put, b"the same");
        assert_eq!(finish(&world, &id).unwrap(), there);
        assert_eq!(error_kind(engine.uploads().state(&id)), ErrorKind::Absent);
        assert!(engine.uploads().list(&user("ada")).unwrap().is_empty());
        assert_eq!(engine.list(&Query::default()).unwrap().records.len(), 1);
        assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    }
}

#[test]
fn a_hold_on_what_has_the_name_refuses_to_finish() {
    let world = World::new(5, SMALL_PAGES);
    let engine = world.engine();
    let turn = engine.new_interaction().unwrap();
    let held = engine.put(put().interaction(turn), &b"held"[..]).unwrap();
    let hold = Hold::new("a court asks", "a court").interaction(turn);
    engine.holds(&user("ada")).add(hold).unwrap();
    let id = upload(&world, put(), b"other");
    assert_eq!(error_kind(finish(&world, &id)), ErrorKind::Held);
    assert_eq!(named(&world).unwrap(), held);
    assert_eq!(state(&world, &id).offset, 5);
}

#[test]
fn where_what_was_derived_is_kept_an_upload_falls() {
    let world = World::new(6, SMALL_PAGES);
    let engine = world.engine();
    for by_policy in [false, true] {
        let source = world.put("ada", Class::audio(), b"said");
        let transcript = || Put::new(user("ada"), Class::transcript()).derived_from(source);
        let kept = engine.put(transcript(), &b"words"[..]).unwrap();
        let id = upload(&world, transcript().name("half"), b"half");
        if by_policy {
            let policy = Policy::new(Class::audio()).max_age(DAY / 2).keep_derived("it is short");
            engine.policies(None).set(&policy).unwrap();
            world.pass(13 * 3_600_000);
            assert_eq!(world.tend().expired, 1);
        } else {
            let erase = Erase::new(Scope::Record(source)).keep_derived("it is short");
            engine.erase(erase).unwrap();
        }
        assert_eq!(read_record(engine, &kept).unwrap(), b"words");
        assert_eq!(error_kind(finish(&world, &id)), ErrorKind::Erased);
        assert!(engine.uploads().list(&user("ada")).unwrap().is_empty());
    }
}

#[test]
fn those_who_watch_are_told_of_the_record_alone() {
    let world = World::new(7, SMALL_PAGES);
    let engine = world.engine();
    let head = engine.head();
    engine.watch(head, Duration::ZERO).unwrap();
    let told = || match engine.watch(head, Duration::ZERO).unwrap() {
        Watched::Changes { changes, .. } => changes,
        Watched::ListAgain(_) => panic!("it was told to list again"),
    };
    let id = upload(&world, put(), b"a minute of it");
    assert_eq!(told(), []);
    let record = finish(&world, &id).unwrap();
    assert_eq!(told(), [Changed::Put(record)]);
}

#[test]
fn the_time_of_the_record_is_that_of_the_put() {
    let world = World::new(8, SMALL_PAGES);
    let at = Timestamp(1_700_000_000_000);
    let id = finish(&world, &upload(&world, put().created(at), b"then")).unwrap();
    assert_eq!(world.engine().info(&id).unwrap().created, at);
}
