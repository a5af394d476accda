//! What was derived may outlast the class, the record or the limit that takes its source: only with
//! a reason, and only in the tree of the same user. SPEC §6.1, §6.4.

use keyfall::engine::Fact;
use keyfall::{Class, Engine, Erase, ErrorKind, Policy, Put, RecordId, Scope, Timestamp};

use crate::support::{DAY, SMALL_PAGES, World, error_kind, facts, read_record, user};

const WHY: &str = "the alarm goes on ringing";

fn derive(engine: &Engine, name: &str, class: Class, sources: &[RecordId]) -> RecordId {
    let put = Put::new(user(name), class.clone());
    let put = sources.iter().fold(put, |put, id| put.derived_from(*id));
    engine.put(put, class.as_str().as_bytes()).unwrap()
}

/// A recording, its transcript, and the action from the transcript.
fn turn(world: &World, name: &str) -> [RecordId; 3] {
    let audio = world.put(name, Class::audio(), b"wake me at six");
    let text = derive(world.engine(), name, Class::transcript(), &[audio]);
    [audio, text, derive(world.engine(), name, Class::action(), &[text])]
}

/// What fell with an erase that is still being followed is not kept, and keeps nothing from falling.
#[test]
fn what_fell_before_with_its_source_does_not_stay() {
    let world = World::new(207, SMALL_PAGES);
    let engine = world.engine();
    let audio = world.put("zoe", Class::audio(), b"a call");
    let all: Vec<_> = (0..4)
        .map(|n| {
            let name = format!("u{n}");
            let text = derive(engine, &name, Class::transcript(), &[audio]);
            let again = derive(engine, &name, Class::transcript(), &[text]);
            (name.clone(), derive(engine, &name, Class::action(), &[again]))
        })
        .collect();
    assert!(engine.erase(Scope::record(audio)).unwrap().following);
    for (name, action) in &all {
        let erase = Erase::new(Scope::class(user(name), Class::transcript())).keep_derived(WHY);
        engine.erase(erase).unwrap();
        assert_eq!(error_kind(read_record(engine, action)), ErrorKind::Erased);
        assert_eq!(detached(engine, name), []);
    }
}

/// The records of which a user's history says that they were detached for [`WHY`].
fn detached(engine: &Engine, name: &str) -> Vec<(RecordId, u16)> {
    let all = facts(engine, name).into_iter();
    all.filter_map(|fact| match fact {
        Fact::Detached { record, sources, reason } if reason == WHY => Some((record, sources)),
        _ => None,
    })
    .collect()
}

fn opened(world: &World) -> Vec<RecordId> {
    world.tape.exposed(&*world.cell).unwrap().into_keys().collect()
}

#[test]
fn a_class_falls_and_what_was_derived_from_it_stays_with_a_reason() {
    let world = World::new(201, SMALL_PAGES);
    let engine = world.engine();
    let [audio, text, action] = turn(&world, "ada");
    let erase = Erase::new(Scope::class(user("ada"), Class::audio())).keep_derived(WHY);
    let seen = engine.would_erase(erase.clone()).unwrap();
    assert_eq!((seen.records, seen.derived), (Some(vec![(Class::audio(), 1)]), 0));
    let done = engine.erase(erase.certified("ada", "her wish")).unwrap();
    assert_eq!((done.records, done.derived), (Some(1), 0));
    assert_eq!(error_kind(read_record(engine, &audio)), ErrorKind::Erased);
    assert_eq!(read_record(engine, &text).unwrap(), b"transcript");
    assert_eq!(read_record(engine, &action).unwrap(), b"action");
    // Only the transcript hung on the recording.
    assert_eq!(detached(engine, "ada"), [(text, 1)]);
    let lineage = engine.lineage(&action).unwrap();
    assert_eq!((lineage.sources, lineage.detached), (vec![text], false));
    let body = &done.certificate.unwrap().sign().unwrap().facts.body.clone();
    let kept: Vec<_> = body.kept.iter().map(|k| (k.class.as_str(), k.reason.as_str())).collect();
    assert_eq!(kept, [("transcript", WHY)]);
    assert!(!opened(&world).contains(&audio));

    // Later erases reach it.
    assert_eq!(engine.erase(Scope::record(text)).unwrap().derived, 1);
    assert_eq!(error_kind(read_record(engine, &action)), ErrorKind::Erased);
    let [audio, text, action] = turn(&world, "ada");
    engine.erase(Erase::new(Scope::record(audio)).keep_derived(WHY)).unwrap();
    assert_eq!(error_kind(read_record(engine, &audio)), ErrorKind::Erased);
    assert!(read_record(engine, &text).is_ok() && read_record(engine, &action).is_ok());
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert!(opened(&world).is_empty());
}

#[test]
fn what_hangs_on_something_else_that_falls_or_lies_with_another_user_falls_as_ever() {
    let world = World::new(202, SMALL_PAGES);
    let engine = world.engine();
    let [first, ..] = turn(&world, "ada");
    let second = world.put("ada", Class::audio(), b"and at seven");
    let both = derive(engine, "ada", Class::action(), &[first, second]);
    // No later erase of ada's would reach it.
    let with_ben = derive(engine, "ben", Class::transcript(), &[first]);
    let through_ben = derive(engine, "ada", Class::action(), &[with_ben]);
    let and_ben = derive(engine, "ada", Class::action(), &[first, with_ben]);
    let note = world.put("ada", Class::transcript(), b"her own note");
    let noted = derive(engine, "ada", Class::action(), &[first, note]);

    engine.erase(Erase::new(Scope::record(second)).keep_derived(WHY)).unwrap();
    assert_eq!(engine.lineage(&both).unwrap().sources, [first]);
    let erase = Erase::new(Scope::class(user("ada"), Class::audio())).keep_derived(WHY);
    assert_eq!(engine.erase(erase).unwrap().derived, 3);
    for id in [with_ben, through_ben, and_ben] {
        assert_eq!(error_kind(read_record(engine, &id)), ErrorKind::Erased);
        assert!(!opened(&world).contains(&id));
    }
    assert!(read_record(engine, &both).is_ok());
    assert_eq!(engine.lineage(&noted).unwrap().sources, [note]);
    engine.erase(Scope::record(note)).unwrap();
    assert_eq!(error_kind(read_record(engine, &noted)), ErrorKind::Erased);
    assert_eq!(detached(engine, "ada").len(), 3, "the transcript, and what hung on both, twice");
}

#[test]
fn a_limit_takes_only_what_it_names_if_its_policy_says_so() {
    let world = World::new(203, SMALL_PAGES);
    let engine = world.engine();
    let by_purpose = || Class::new("note").unwrap();
    engine.policies(None).set(&Policy::new(Class::audio()).max_age(30 * DAY)).unwrap();
    let [_, fell, fell_too] = turn(&world, "ada");
    let policy = Policy::new(Class::audio()).max_age(30 * DAY).keep_derived(WHY);
    engine.policies(Some(&user("ada"))).set(&policy).unwrap();
    assert_eq!(engine.policies(Some(&user("ada"))).list().unwrap(), [policy]);
    engine
        .policies(None)
        .set(&Policy::new(by_purpose()).purpose("draft").max_age(DAY).keep_derived(WHY))
        .unwrap();
    let [audio, text, action] = turn(&world, "ada");
    let draft = world.put_for("ada", by_purpose(), "draft");
    let letter = derive(engine, "ada", by_purpose(), &[draft]);
    // Ben has the store's policy, by which all falls.
    let of_ben = turn(&world, "ben");
    let across = derive(engine, "ben", by_purpose(), &[text]);
    // What is said of the end of each is what comes.
    let until = |id: &RecordId| engine.until(id).unwrap();
    let end = |id: &RecordId| Timestamp(id.interaction().began().0 + 30 * DAY.as_millis() as u64);
    assert_eq!(until(&audio), Some(end(&audio)));
    assert!([fell, fell_too, text, action, letter, across].iter().all(|id| until(id).is_none()));
    assert!(of_ben.iter().all(|id| until(id) == Some(end(&of_ben[0]))));
    let noted = derive(engine, "ada", by_purpose(), &[of_ben[2], text]);
    let from_audio = derive(engine, "ben", by_purpose(), &[audio]);
    assert_eq!((until(&noted), until(&from_audio)), (until(&of_ben[0]), until(&audio)));
    world.days_pass(31);
    let done = world.tend();
    assert_eq!((done.expired, done.derived), (4, 4));
    assert_eq!(error_kind(read_record(engine, &audio)), ErrorKind::Erased);
    assert_eq!(error_kind(read_record(engine, &draft)), ErrorKind::Erased);
    for id in [fell, fell_too, text, action, letter] {
        assert!(read_record(engine, &id).is_ok());
    }
    assert!(read_record(engine, &across).is_ok());
    for id in of_ben.into_iter().chain([noted, from_audio]) {
        assert_eq!(error_kind(read_record(engine, &id)), ErrorKind::Erased);
    }
    assert_eq!(detached(engine, "ada").len(), 3);
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert!(opened(&world).is_empty());
}

#[test]
fn a_planned_erase_remembers_that_it_keeps_what_was_derived() {
    let world = World::new(204, SMALL_PAGES);
    let engine = world.engine();
    let [audio, text, _] = turn(&world, "ada");
    let erase = Erase::new(Scope::class(user("ada"), Class::audio())).keep_derived(WHY);
    engine.erase_at(erase.clone(), world.in_days(2)).unwrap();
    let plans = engine.plans(&user("ada")).list().unwrap();
    assert_eq!(plans[0].erase, erase);
    assert_eq!(plans[0].erase.derived_kept(), Some(WHY));
    world.days_pass(3);
    assert_eq!(world.tend().planned, 1);
    assert_eq!(error_kind(read_record(engine, &audio)), ErrorKind::Erased);
    assert!(read_record(engine, &text).is_ok());
}

#[test]
fn nothing_derived_is_kept_without_a_reason_or_of_what_falls_whole() {
    let world = World::new(205, SMALL_PAGES);
    let engine = world.engine();
    let [audio, ..] = turn(&world, "ada");
    let class = Scope::class(user("ada"), Class::audio());
    let refused = [
        Erase::new(class.clone()).keep_derived(" "),
        Erase::new(class.clone()).keep_derived("r".repeat(256)),
        Erase::new(Scope::user(user("ada"))).keep_derived(WHY),
        Erase::new(Scope::interaction(user("ada"), audio.interaction())).keep_derived(WHY),
    ];
    for erase in refused {
        assert_eq!(error_kind(engine.erase(erase)), ErrorKind::Invalid);
    }
    let long = Policy::new(Class::audio()).max_age(DAY).purpose("p".repeat(200));
    for policy in [
        Policy::new(Class::audio()).max_age(DAY).keep_derived(""),
        Policy::new(Class::audio()).keep_derived(WHY),
        long.keep_derived("r".repeat(56)),
    ] {
        assert_eq!(error_kind(engine.policies(None).set(&policy)), ErrorKind::Invalid);
    }
    // A hold on what was derived protects its source, whatever an erase keeps.
    let hold = keyfall::engine::Hold::new("a court asks", "the court").class(Class::transcript());
    engine.holds(&user("ada")).add(hold).unwrap();
    let erase = Erase::new(class).keep_derived(WHY);
    assert_eq!(error_kind(engine.erase(erase)), ErrorKind::Held);
    assert!(read_record(engine, &audio).is_ok());
}
