//! What arrives late, or was on its way when its scope was erased, is refused, wherever a put and
//! an erase can meet. SPEC §5.3, §6.

use std::time::Duration;

use keyfall::engine::{CopyMode, fell_from, next_id};
use keyfall::{
    Class, Engine, Erase, ErrorKind, InteractionId, Put, Query, RecordId, Scope, Timestamp, When,
};

use crate::support::{SMALL_PAGES, World, error_kind, read_record, user};

fn into(name: &str, class: Class, interaction: InteractionId) -> Put {
    Put::new(user(name), class).interaction(interaction)
}

fn is_listed(engine: &Engine, id: &RecordId) -> bool {
    engine.list(&Query::default()).unwrap().records.iter().any(|record| record.id == *id)
}

/// An erase that may wait for others begins no epoch: a batch that looked its sources up before was
/// let in.
#[test]
fn a_put_from_what_an_erase_took_is_refused_whether_or_not_the_erase_may_wait() {
    let world = World::new(1, SMALL_PAGES);
    let engine = world.engine();
    for window in [None, Some(Duration::from_secs(60))] {
        let erase = |scope| match window {
            Some(window) => Erase::new(scope).final_within(window),
            None => Erase::new(scope),
        };
        let near = |id: RecordId| Scope::Record(id);
        let interaction = |id: RecordId| Scope::interaction(user("ada"), id.interaction());
        let class = |_| Scope::class(user("ada"), Class::audio());
        for scope in [&near as &dyn Fn(RecordId) -> Scope, &interaction, &class] {
            // From the record itself, and from one that fell with it; with another record in the
            // batch.
            for direct in [true, false] {
                let source = world.put("ada", Class::audio(), b"a call");
                let derived = Put::new(user("ben"), Class::transcript()).derived_from(source);
                let between = engine.put(derived, &b"notes"[..]).unwrap();
                let from = if direct { source } else { between };
                let mut batch = engine.batch();
                batch.add(Put::new(user("carl"), Class::audio()), &b"his own"[..]).unwrap();
                let put = Put::new(user("carl"), Class::action()).derived_from(from);
                batch.add(put, &b"late"[..]).unwrap();
                let begun = engine.erase(erase(scope(source))).unwrap();
                assert_eq!(begun.finality.is_final(), window.is_none());
                assert_eq!(error_kind(batch.commit()), ErrorKind::Erased, "{window:?}");
            }
        }
    }
    // A window that ends, links that are followed: nothing stands in a list.
    engine.rekey().unwrap();
    engine.run_due(&mut |_| {}).unwrap();
    assert!(engine.list(&Query::default()).unwrap().records.is_empty());
    assert_eq!(engine.users(None, 10).unwrap().iter().map(|(_, n)| n).sum::<u64>(), 0);
}

#[test]
fn a_put_from_what_falls_within_a_window_and_links_still_to_be_followed_is_refused() {
    let mut world = World::new(2, SMALL_PAGES);
    world.options = world.options.clone().follow(keyfall::engine::Follow { links: 0, users: 0 });
    world.reopen();
    let engine = world.engine();
    let source = world.put("ada", Class::audio(), b"a call");
    let derived = Put::new(user("ben"), Class::transcript()).derived_from(source);
    let derived = engine.put(derived, &b"notes"[..]).unwrap();
    let mut batch = engine.batch();
    let put = Put::new(user("carl"), Class::action()).derived_from(derived);
    batch.add(put, &b"late"[..]).unwrap();
    // The derived record's entry stands until links are followed; it does not open.
    let erased = engine
        .erase(Erase::new(Scope::Record(source)).final_within(Duration::from_secs(60)))
        .unwrap();
    assert!(erased.following);
    assert_eq!(error_kind(batch.commit()), ErrorKind::Erased);
    engine.run_due(&mut |_| {}).unwrap();
    assert!(engine.list(&Query::default()).unwrap().records.is_empty());
}

/// Every scope, of a user that exists and of one that does not: the put begins before the erase and
/// is committed after it.
#[test]
fn an_erase_of_what_is_still_on_its_way_refuses_it() {
    for here in [true, false] {
        for window in [None, Some(Duration::from_secs(60))] {
            let world = World::new(3, SMALL_PAGES);
            let engine = world.engine();
            if here {
                world.put("ada", Class::action(), b"an alarm");
            }
            let began = engine.new_interaction().unwrap();
            let whens = [
                When::Ever,
                When::Interaction(began),
                When::Between { from: None, until: None },
                When::Between {
                    from: Some(began.began()),
                    until: Some(Timestamp(began.began().0 + 1)),
                },
            ];
            for class in [None, Some(Class::audio())] {
                for when in whens {
                    let world = World::new(4, SMALL_PAGES);
                    let engine = world.engine();
                    if here {
                        world.put("ada", Class::action(), b"an alarm");
                    }
                    let began = match when {
                        When::Interaction(id) => id,
                        When::Between { from: Some(from), .. } => {
                            InteractionId::from_parts(from, [7; 10])
                        }
                        _ => engine.new_interaction().unwrap(),
                    };
                    world.env.advance(100);
                    let mut batch = engine.batch();
                    batch.add(into("ada", Class::audio(), began), &b"on its way"[..]).unwrap();
                    let erase =
                        Erase::new(Scope::User { user: user("ada"), class: class.clone(), when });
                    let erase = match window {
                        Some(window) => erase.final_within(window),
                        None => erase,
                    };
                    let done = engine.erase(erase).unwrap();
                    let whole = class.is_none()
                        && matches!(when, When::Ever | When::Between { from: None, .. });
                    assert_eq!(done.records, Some(u64::from(here && whole)), "{class:?} {when:?}");
                    assert!(!done.already);
                    assert_eq!(
                        error_kind(batch.commit()),
                        ErrorKind::Erased,
                        "here {here}: {class:?} {when:?} {window:?}"
                    );
                    let again = engine.put(into("ada", Class::audio(), began), &b"again"[..]);
                    assert_eq!(
                        error_kind(again),
                        ErrorKind::Erased,
                        "here {here}: {class:?} {when:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_arrives_late_is_refused_of_a_kept_class_too_and_says_so() {
    for whole in [false, true] {
        let world = World::new(10, SMALL_PAGES);
        let engine = world.engine();
        let alarm = world.put("ada", Class::action(), b"an alarm");
        let here = alarm.interaction();
        let scope =
            if whole { Scope::user(user("ada")) } else { Scope::interaction(user("ada"), here) };
        engine.erase(Erase::new(scope).keep(Class::action(), "it rings")).unwrap();
        for class in [Class::action(), Class::audio(), Class::new("profile").unwrap()] {
            let late = engine.put(into("ada", class, here), &b"late"[..]).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::Erased);
            assert!(late.to_string().contains("not even of a class that the erase kept"), "{late}");
        }
        assert_eq!(read_record(engine, &alarm).unwrap(), b"an alarm");
        let next = engine.new_interaction().unwrap();
        assert!(engine.put(into("ada", Class::action(), next), &b"another"[..]).is_ok());
    }
}

#[test]
fn a_part_of_a_user_to_come_is_fenced_and_the_rest_is_welcome() {
    let mut world = World::new(5, SMALL_PAGES);
    let (deleted, other) = {
        let engine = world.engine();
        (engine.new_interaction().unwrap(), engine.new_interaction().unwrap())
    };
    let engine = world.engine();
    engine.copies().add("replica", CopyMode::InStep, &mut |_| {}).unwrap();
    assert_eq!(engine.erase(Scope::interaction(user("eve"), deleted)).unwrap().records, Some(0));
    assert!(engine.erase(Scope::interaction(user("eve"), deleted)).unwrap().already);
    let class = Scope::User {
        user: user("eve"),
        class: Some(Class::action()),
        when: When::Interaction(other),
    };
    engine.erase(class).unwrap();
    // She is not here: nothing names her, nothing lists her.
    assert_eq!(error_kind(engine.report(&user("eve"))), ErrorKind::Absent);
    assert_eq!(error_kind(engine.list(&Query::default().user(user("eve")))), ErrorKind::Absent);
    assert!(engine.users(None, 10).unwrap().is_empty());
    assert_eq!(engine.status().unwrap().users, 0);
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    engine.discard(&mut |_| {}).unwrap();
    world.reopen();
    let engine = world.engine();
    assert_eq!(
        error_kind(engine.put(into("eve", Class::audio(), deleted), &b"late"[..])),
        ErrorKind::Erased
    );
    assert_eq!(
        error_kind(engine.put(into("eve", Class::action(), other), &b"late"[..])),
        ErrorKind::Erased
    );
    let first = engine.put(into("eve", Class::audio(), other), &b"welcome"[..]).unwrap();
    assert_eq!(read_record(engine, &first).unwrap(), b"welcome");
    assert_eq!(engine.status().unwrap().users, 1);
    // The fences are hers now, and the report shows them.
    assert_eq!(
        error_kind(engine.put(into("eve", Class::audio(), deleted), &b"late"[..])),
        ErrorKind::Erased
    );
    let report = engine.report(&user("eve")).unwrap();
    assert_eq!((report.life, report.erased.len()), (1, 2), "{:?}", report.erased);
    // The other way to come to life.
    engine.erase(Scope::interaction(user("fay"), deleted)).unwrap();
    engine.create_user(&user("fay")).unwrap();
    assert_eq!(
        error_kind(engine.put(into("fay", Class::audio(), deleted), &b"late"[..])),
        ErrorKind::Erased
    );
    assert!(engine.put(into("fay", Class::audio(), other), &b"welcome"[..]).is_ok());
    // And a whole erase of a name of which only parts were erased before.
    engine.erase(Scope::interaction(user("guy"), deleted)).unwrap();
    engine.erase(Scope::user(user("guy"))).unwrap();
    assert_eq!(
        error_kind(engine.put(into("guy", Class::audio(), other), &b"late"[..])),
        ErrorKind::Erased
    );
    assert!(engine.audit(&[], &mut |_| {}).unwrap().is_clean());
    assert!(!world.tape.contains_bytes(b"fay"), "names stand nowhere in the clear");
}

#[test]
fn a_name_that_was_erased_before_anybody_had_it_is_created_explicitly() {
    let world = World::new(6, SMALL_PAGES);
    let engine = world.engine();
    let erase = Erase::new(Scope::user(user("eve"))).certified("", "");
    let done = engine.erase(erase).unwrap();
    assert_eq!((done.records, done.already), (Some(0), false));
    let certificate = done.certificate.unwrap().sign().unwrap();
    assert_eq!(
        certificate.facts.body.records,
        Some(Default::default()),
        "it says that nothing was here"
    );
    assert!(engine.erase(Scope::user(user("eve"))).unwrap().already);
    assert_eq!(
        error_kind(engine.put(Put::new(user("eve"), Class::audio()), &b"late"[..])),
        ErrorKind::Erased
    );
    assert_eq!(engine.status().unwrap().users, 0);
    engine.create_user(&user("eve")).unwrap();
    assert!(engine.put(Put::new(user("eve"), Class::audio()), &b"hers"[..]).is_ok());
}

/// A put that began when nobody of this name was here must not slip into the life that begins after
/// an erase.
#[test]
fn a_put_that_began_before_a_name_was_erased_and_created_stays_out() {
    let world = World::new(7, SMALL_PAGES);
    let engine = world.engine();
    let mut batch = engine.batch();
    batch.add(Put::new(user("eve"), Class::audio()), &b"on its way"[..]).unwrap();
    engine.erase(Scope::user(user("eve"))).unwrap();
    engine.create_user(&user("eve")).unwrap();
    assert_eq!(error_kind(batch.commit()), ErrorKind::Erased);
}

#[test]
fn the_id_of_a_record_that_is_not_there_is_never_given() {
    let world = World::new(8, SMALL_PAGES);
    let engine = world.engine();
    let first = world.put("ada", Class::audio(), b"one");
    // The next in the same interaction and class, by its id's last digits.
    let next: RecordId = {
        let mut text = first.to_string();
        assert_eq!(text.pop(), Some('0'));
        (text + "1").parse().unwrap()
    };
    assert_eq!(error_kind(engine.get(&next)), ErrorKind::Absent);
    let done = engine.erase(Scope::Record(next)).unwrap();
    assert_eq!((done.records, done.already), (Some(0), false));
    assert!(engine.erase(Scope::Record(next)).unwrap().already);
    assert_eq!(error_kind(engine.get(&next)), ErrorKind::Erased);
    let second = engine.put(into("ada", Class::audio(), first.interaction()), &b"two"[..]).unwrap();
    assert_ne!(second, next);
    assert_eq!(error_kind(engine.get(&next)), ErrorKind::Erased);
    // Nothing can arrive under an id of a user that does not exist.
    let foreign = World::new(97, SMALL_PAGES).put("eve", Class::audio(), b"x");
    let before = engine.head();
    assert_eq!(error_kind(engine.erase(Scope::Record(foreign))), ErrorKind::Absent);
    assert_eq!(engine.head(), before);
}

/// An account's deleted turns came back from a queue of retries once she signed up again.
#[test]
fn a_later_life_refuses_what_began_before_it() {
    let world = World::new(9, SMALL_PAGES);
    let engine = world.engine();
    let old = engine.new_interaction().unwrap();
    engine.put(into("ada", Class::audio(), old), &b"a turn"[..]).unwrap();
    let unseen = engine.new_interaction().unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    // Begun after the erase, by a device that does not know of it, and before she is back.
    let between = engine.new_interaction().unwrap();
    world.env.advance(1000);
    engine.create_user(&user("ada")).unwrap();
    for late in [old, unseen, between] {
        assert_eq!(
            error_kind(engine.put(into("ada", Class::audio(), late), &b"late"[..])),
            ErrorKind::Erased
        );
        let mut batch = engine.batch();
        assert_eq!(
            error_kind(batch.add(into("ada", Class::audio(), late), &b"late"[..])),
            ErrorKind::Erased
        );
    }
    let fresh = world.put("ada", Class::audio(), b"new");
    assert!(is_listed(engine, &fresh));
    let now = engine.new_interaction().unwrap();
    assert!(engine.put(into("ada", Class::audio(), now), &b"new"[..]).is_ok());
    assert_eq!(engine.list(&Query::default()).unwrap().records.len(), 2);
    // A first life takes what is older than it: an import.
    let old = InteractionId::from_parts(Timestamp(1_000_000), [1; 10]);
    assert!(engine.put(into("ben", Class::audio(), old), &b"imported"[..]).is_ok());
}

/// Whoever notes an id before a put, and never hears of the put, is told whether what it put fell.
#[test]
fn of_an_id_that_was_noted_before_a_put_it_is_known_whether_that_fell() {
    let world = World::new(4, SMALL_PAGES);
    let engine = world.engine();
    let first = world.put("ada", Class::audio(), b"first");
    let put = || into("ada", Class::audio(), first.interaction());
    let noted = next_id(engine, &put()).unwrap();
    let fell = |id: &RecordId| fell_from(engine, id).unwrap();
    engine.erase(Scope::Record(first)).unwrap();
    assert_eq!((fell(&first), fell(&noted)), (true, false), "it says nothing of what was before");
    let other = engine.put(put(), &b"another's"[..]).unwrap();
    let own = engine.put(put(), &b"own"[..]).unwrap();
    assert_eq!((other, fell(&noted)), (noted, false));
    engine.erase(Scope::Record(own)).unwrap();
    assert_eq!(read_record(engine, &other).unwrap(), b"another's");
    assert!(fell(&noted) && fell(&own));
    let next = next_id(engine, &put()).unwrap();
    assert!(next > own && !fell(&next));
    engine.erase(Scope::class(user("ada"), Class::audio())).unwrap();
    assert!(fell(&next), "with its class");
    assert_eq!(error_kind(next_id(engine, &put())), ErrorKind::Erased);
    let drawn = Put::new(user("ada"), Class::audio());
    let next = next_id(engine, &drawn).unwrap();
    assert!(!fell(&next));
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert!(fell(&next), "with its life");
    engine.create_user(&user("ada")).unwrap();
    assert!(fell(&next) && !fell(&next_id(engine, &drawn).unwrap()));
    let nobody = Put::new(user("ben"), Class::audio());
    assert_eq!(error_kind(next_id(engine, &nobody)), ErrorKind::Absent);
}

/// An erase by a clock that was ahead leaves spans in doubt: nothing was put into them.
#[test]
fn an_id_that_is_noted_after_a_clock_was_ahead_has_not_fallen() {
    let world = World::new(5, SMALL_PAGES);
    world.put("ada", Class::audio(), b"before");
    world.wrong_by(40 * 24 * 3_600_000);
    world.engine().erase(Scope::class(user("ada"), Class::audio())).unwrap();
    world.wrong_by(0);
    let engine = world.engine();
    let put = Put::new(user("ada"), Class::audio());
    let noted = next_id(engine, &put).unwrap();
    assert!(!fell_from(engine, &noted).unwrap());
    let id = engine.put(put.interaction(noted.interaction()), &b"after"[..]).unwrap();
    assert_eq!((id, fell_from(engine, &noted).unwrap()), (noted, false));
    assert_eq!(read_record(engine, &id).unwrap(), b"after");
}
