//! Policies: limits of age, number, date and purpose, and who must be named to read. SPEC §6.4.

use std::sync::Arc;

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{Fact, Hold};
use keyfall::env::Env;
use keyfall::store::{MemoryStore, Store};
use keyfall::{
    Class, Engine, ErrorKind, InteractionId, Policy, Put, Query, RecordId, Scope, Timestamp, When,
};

use crate::support::{DAY, SMALL_PAGES, World, error_kind, facts, read_record, user};

#[test]
fn a_childs_profile_is_gone_at_its_limit() {
    let world = World::new(4, SMALL_PAGES);
    let engine = world.engine();
    let profile = || Class::new("profile").unwrap();
    engine.policies(None).set(&Policy::new(profile()).max_age(365 * DAY)).unwrap();
    let (of_child, of_adult) =
        (world.put("child", profile(), b"likes dinosaurs"), world.put("adult", profile(), b"x"));
    engine.policies(Some(&user("child"))).set(&Policy::new(profile()).max_age(DAY)).unwrap();
    // A call of both: from the child's profile, in the adult's tree.
    let derived = Put::new(user("adult"), Class::transcript()).derived_from(of_child);
    let derived = engine.put(derived, &b"dinosaurs"[..]).unwrap();
    world.tend();
    assert!(read_record(engine, &of_child).is_ok());
    world.days_pass(1);
    let before = engine.head();
    let done = world.tend();
    assert_eq!((done.expired, done.derived), (1, 1));
    assert_eq!(engine.head().epoch, before.epoch + 1);
    assert_eq!(error_kind(read_record(engine, &of_child)), ErrorKind::Erased);
    assert_eq!(error_kind(read_record(engine, &derived)), ErrorKind::Erased);
    assert!(read_record(engine, &of_adult).is_ok());
    assert_eq!(
        world.tape.exposed(&*world.cell).unwrap().into_keys().collect::<Vec<_>>(),
        [of_adult]
    );
    let report = engine.report(&user("child")).unwrap();
    assert_eq!((report.policies.len(), report.store_policies.len()), (1, 1));
    let of_adult_info = engine.info(&of_adult).unwrap();
    let until = engine.report(&user("adult")).unwrap().until(&of_adult_info).unwrap();
    assert_eq!(until.0, of_adult.interaction().began().0 + 365 * 86_400_000);
    world.days_pass(365);
    assert_eq!(world.tend().expired, 1);
    assert_eq!(error_kind(read_record(engine, &of_adult)), ErrorKind::Erased);
    assert_eq!(engine.status().unwrap().next_due, None);
}

/// All that began in one millisecond went with the first of it, and fewer were left than are kept.
#[test]
fn of_one_millisecond_no_more_go_than_are_too_many() {
    let world = World::new(6, SMALL_PAGES);
    let engine = world.engine();
    let most = Policy::new(Class::audio()).max_records(3);
    engine.policies(None).set(&most).unwrap();
    let purpose = Policy::new(Class::transcript()).purpose("care");
    engine.policies(None).set(&purpose).unwrap();
    engine.policies(None).set(&Policy::new(Class::transcript()).max_records(3)).unwrap();
    let began = world.env.now();
    for class in [Class::audio(), Class::transcript()] {
        let put = |random: u8| {
            let interaction = InteractionId::from_parts(began, [random; 10]);
            let put = Put::new(user("ada"), class.clone()).interaction(interaction);
            engine.put(put, &b"x"[..]).unwrap()
        };
        let ids: Vec<RecordId> = (1..=8).map(put).collect();
        // The newest of the millisecond, by their ids, stay.
        let most = Policy::new(class.clone()).max_records(3);
        assert_eq!(engine.policies(None).would_expire(&most).unwrap(), 5);
        assert_eq!(world.tend().expired, 5, "{class:?}");
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(engine.info(id).is_ok(), n >= 5, "{class:?} {n}");
        }
        assert_eq!(world.tend().expired, 0);
        assert!(engine.put(Put::new(user("ada"), class.clone()), &b"y"[..]).is_ok());
        assert_eq!(world.tend().expired, 1);
    }
}

#[test]
fn numbers_dates_and_purposes_limit() {
    let world = World::new(5, SMALL_PAGES);
    let engine = world.engine();
    let health = || Class::new("profile.health").unwrap();
    engine
        .policies(Some(&user("nobody")))
        .set(&Policy::new(health()))
        .expect_err("there is no such user");
    engine.policies(None).set(&Policy::new(Class::audio()).max_records(2)).unwrap();
    engine.policies(None).set(&Policy::new(Class::action()).until(world.in_days(10))).unwrap();
    engine.policies(None).set(&Policy::new(health()).max_age(7 * DAY)).unwrap();
    engine
        .policies(None)
        .set(&Policy::new(health()).purpose("treatment").max_age(100 * DAY))
        .unwrap();
    let bad = Policy::new(health()).purpose("treatment").max_records(3);
    assert_eq!(error_kind(engine.policies(None).set(&bad)), ErrorKind::Invalid);
    assert_eq!(
        error_kind(engine.policies(None).set(&Policy::new(health()).purpose(""))),
        ErrorKind::Invalid
    );
    assert_eq!(
        error_kind(engine.policies(None).unset(&Class::transcript(), None)),
        ErrorKind::Absent
    );
    let audio: Vec<RecordId> = (0..5)
        .map(|_| {
            world.env.advance(10);
            world.put("ada", Class::audio(), b"x")
        })
        .collect();
    assert_eq!(world.tend().expired, 3);
    assert_eq!(
        audio.iter().map(|id| read_record(engine, id).is_ok()).collect::<Vec<_>>(),
        [false, false, false, true, true]
    );
    let action = world.put("ada", Class::action(), b"x");
    let (advice, treated) =
        (world.put_for("ada", health(), "advice"), world.put_for("ada", health(), "treatment"));
    world.days_pass(8);
    assert_eq!(world.tend().expired, 1);
    assert_eq!(error_kind(read_record(engine, &advice)), ErrorKind::Erased);
    assert!(read_record(engine, &treated).is_ok() && read_record(engine, &action).is_ok());
    world.days_pass(3);
    assert_eq!(world.tend().expired, 1);
    assert_eq!(error_kind(read_record(engine, &action)), ErrorKind::Erased);
    assert_eq!(
        error_kind(engine.put(Put::new(user("ada"), Class::action()), &b"late"[..])),
        ErrorKind::Refused
    );
    // Of its own: whatever the store says.
    engine.policies(Some(&user("ada"))).set(&Policy::new(health())).unwrap();
    world.days_pass(200);
    world.tend();
    assert!(read_record(engine, &treated).is_ok());
    engine.policies(Some(&user("ada"))).unset(&health(), None).unwrap();
    assert_eq!(world.tend().expired, 1);
    assert_eq!(error_kind(read_record(engine, &treated)), ErrorKind::Erased);
    assert_eq!(engine.policies(None).list().unwrap().len(), 4);
}

#[test]
fn a_number_counts_and_takes_only_the_records_that_it_holds_for() {
    let world = World::new(15, SMALL_PAGES);
    let engine = world.engine();
    let put = |interaction: InteractionId, purpose: &str| {
        let put = Put::new(user("ada"), Class::audio()).interaction(interaction).purpose(purpose);
        engine.put(put, &b"x"[..]).unwrap()
    };
    engine
        .policies(None)
        .set(&Policy::new(Class::audio()).purpose("treatment").max_age(100 * DAY))
        .unwrap();
    let treated: Vec<RecordId> =
        (0..3).map(|_| put(engine.new_interaction().unwrap(), "treatment")).collect();
    let first = engine.new_interaction().unwrap();
    let fall = [put(first, ""), put(first, "advice")];
    let beside = put(first, "treatment");
    world.env.advance(10);
    let last = put(engine.new_interaction().unwrap(), "advice");
    let policy = Policy::new(Class::audio()).max_records(2);
    assert_eq!(engine.policies(None).would_expire(&policy).unwrap(), 2);
    engine.policies(None).set(&policy).unwrap();
    assert_eq!(world.tend().expired, 2);
    assert!(fall.iter().all(|id| error_kind(read_record(engine, id)) == ErrorKind::Erased));
    assert!(treated.iter().chain([&beside, &last]).all(|id| read_record(engine, id).is_ok()));
    assert!(
        engine.status().unwrap().next_due.unwrap() > world.in_days(90),
        "nothing is due but by age"
    );
    // Nor does one of another policy push others out, or come too late for them.
    put(treated[0].interaction(), "treatment");
    assert_eq!(world.tend().expired, 0);
    // A user's own policy comes before the store's, whatever it asks of the purpose: it counts all.
    engine.policies(Some(&user("ada"))).set(&policy).unwrap();
    assert_eq!(world.tend().expired, 4);
    assert!(read_record(engine, &last).is_ok());
}

#[test]
fn what_is_held_stays_when_its_time_has_come_and_the_rest_goes() {
    let world = World::new(6, SMALL_PAGES);
    let engine = world.engine();
    engine.policies(None).set(&Policy::new(Class::audio()).max_age(DAY)).unwrap();
    let held = world.put("ada", Class::audio(), b"evidence");
    world.env.advance(5);
    let free = world.put("ada", Class::audio(), b"chatter");
    let hold = Hold::new("a court asks", "Amtsgericht").interaction(held.interaction());
    let hold = engine.holds(&user("ada")).add(hold).unwrap();
    for round in 0..3 {
        world.days_pass(2);
        let done = world.tend();
        assert_eq!((done.expired, done.refused), (u64::from(round == 0), 1));
    }
    assert!(read_record(engine, &held).is_ok());
    assert_eq!(error_kind(read_record(engine, &free)), ErrorKind::Erased);
    assert_eq!(
        facts(engine, "ada").iter().filter(|fact| matches!(fact, Fact::Refused { .. })).count(),
        1
    );
    engine.holds(&user("ada")).lift(hold, "over", "Amtsgericht").unwrap();
    world.days_pass(1);
    assert_eq!(world.tend().expired, 1);
}

#[test]
fn a_policy_of_the_store_applies_to_every_user() {
    let world = World::new(7, SMALL_PAGES);
    let engine = world.engine();
    let mut batch = engine.batch();
    for n in 0..5000 {
        batch.add(Put::new(user(&format!("user {n}")), Class::audio()), &b"x"[..]).unwrap();
    }
    batch.commit().unwrap();
    world.days_pass(2);
    let kept = world.put("user 7", Class::audio(), b"new");
    let before = engine.head();
    engine.policies(None).set(&Policy::new(Class::audio()).max_age(DAY)).unwrap();
    assert_eq!(world.tend().expired, 5000);
    let after = engine.head();
    assert_eq!(after.epoch - before.epoch, 1, "what expired is erased together: {before} {after}");
    assert!(read_record(engine, &kept).is_ok());
    assert_eq!(engine.list(&Query::default()).unwrap().records.len(), 1);
}

#[test]
fn a_late_arrival_from_before_the_limit_is_refused() {
    let world = World::new(11, SMALL_PAGES);
    let engine = world.engine();
    engine.policies(None).set(&Policy::new(Class::audio()).max_age(DAY)).unwrap();
    let old = InteractionId::from_parts(Timestamp(world.env.now().0), [3; 10]);
    let id = engine.put(Put::new(user("ada"), Class::audio()).interaction(old), &b"x"[..]).unwrap();
    world.days_pass(2);
    assert_eq!(world.tend().expired, 1);
    let late = Put::new(user("ada"), Class::audio()).interaction(old);
    assert_eq!(error_kind(engine.put(late, &b"x"[..])), ErrorKind::Erased);
    assert_eq!(error_kind(engine.get(&id)), ErrorKind::Erased);
    let span = When::Between { from: None, until: None };
    engine.erase(Scope::User { user: user("ada"), class: None, when: span }).unwrap();
}

#[test]
fn a_damaged_user_does_not_keep_the_others_from_what_is_due() {
    let mut world = World::new(12, SMALL_PAGES);
    let of_others: Vec<RecordId> =
        (0..6).map(|n| world.put(&format!("user {n}"), Class::audio(), b"x")).collect();
    world.engine().policies(None).set(&Policy::new(Class::audio()).max_age(DAY)).unwrap();
    world.engine().erase_at(Scope::user(user("user 5")), world.in_days(1)).unwrap();
    world.tend();
    // One bit of each blob in turn: whatever it is, the others' records fall, or the store itself
    // does not open.
    let whole = keyfall::testing::listed(&*world.store, 1000).unwrap();
    world.days_pass(2);
    let mut passed_over = 0;
    for name in &whole {
        let damaged = MemoryStore::new();
        for other in &whole {
            let mut blob = world.store.get(other).unwrap().unwrap();
            if other == name {
                let last = blob.len() - 1;
                blob[last] ^= 1;
            }
            damaged.put(&[(*other, blob)]).unwrap();
        }
        let head = world.store.head().unwrap().unwrap();
        damaged.commit(&[], None, &head).unwrap();
        let keys = RootCell::load(&*world.cell).unwrap();
        let cell = MemoryCell::new();
        for key in keys.keys {
            cell.deposit(world.engine().id(), &key.id, &key.key).unwrap();
        }
        let Ok(engine) = Engine::open(Arc::new(damaged), Arc::new(cell), world.options.clone())
        else {
            continue;
        };
        match engine.run_due(&mut |_| {}) {
            Ok(done) => {
                assert_eq!(done.expired + done.planned + done.damaged, 6, "{done:?}");
                passed_over += done.damaged;
                let there = of_others.iter().filter(|id| {
                    engine.get(id).is_ok() || error_kind(engine.get(id)) == ErrorKind::Corrupt
                });
                assert!(there.count() <= done.damaged as usize);
            }
            Err(e) => assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}"),
        }
    }
    assert!(passed_over >= 6, "{passed_over}");
    world.reopen();
    assert_eq!(world.tend().damaged, 0);
}

#[test]
fn how_many_records_a_policy_takes_at_once_is_known_before() {
    let world = World::new(13, SMALL_PAGES);
    let engine = world.engine();
    for n in 0..3 {
        for name in ["ada", "ben"] {
            world.put(name, Class::audio(), b"x");
            world.put_for(name, Class::action(), if n == 0 { "treatment" } else { "advice" });
        }
        world.days_pass(10);
    }
    let days = |n: u32| n * DAY;
    let audio = || Policy::new(Class::audio());
    let action = || Policy::new(Class::action());
    for (policy, of_ada, of_all) in [
        (audio(), 0, 0),
        (audio().max_age(days(15)), 2, 4),
        (audio().max_age(days(100)), 0, 0),
        (audio().max_records(1), 2, 4),
        (audio().until(world.in_days(1)), 0, 0),
        (audio().until(Timestamp(0)), 3, 6),
        (action().purpose("treatment").max_age(days(5)), 1, 2),
        (action().purpose("advice").max_age(days(15)), 1, 2),
        (action().max_age(days(15)), 2, 4),
        (Policy::new(Class::transcript()).max_records(0), 0, 0),
    ] {
        assert_eq!(
            engine.policies(Some(&user("ada"))).would_expire(&policy).unwrap(),
            of_ada,
            "{policy:?}"
        );
        assert_eq!(engine.policies(None).would_expire(&policy).unwrap(), of_all, "{policy:?}");
    }
    // A user's own comes before the store's, and one of a purpose before one of the class.
    engine.policies(Some(&user("ben"))).set(&audio()).unwrap();
    engine.policies(None).set(&action().purpose("treatment")).unwrap();
    assert_eq!(engine.policies(None).would_expire(&audio().max_age(days(15))).unwrap(), 2);
    assert_eq!(engine.policies(None).would_expire(&action().max_age(days(15))).unwrap(), 2);
    assert_eq!(
        error_kind(engine.policies(Some(&user("nobody"))).would_expire(&audio())),
        ErrorKind::Absent
    );
    // It tells what happens.
    engine.policies(None).set(&action().max_age(days(15))).unwrap();
    assert_eq!(world.tend().expired, 2);
}

#[test]
fn a_date_at_the_beginning_of_time_is_a_date() {
    let world = World::new(14, SMALL_PAGES);
    let engine = world.engine();
    let ids = ["ada", "ben"].map(|name| world.put(name, Class::audio(), b"x"));
    engine.policies(None).set(&Policy::new(Class::audio()).until(Timestamp(0))).unwrap();
    assert_eq!(world.tend().expired, 2);
    assert!(ids.iter().all(|id| error_kind(engine.get(id)) == ErrorKind::Erased));
    let own = world.put("ada", Class::action(), b"x");
    engine
        .policies(Some(&user("ada")))
        .set(&Policy::new(Class::action()).until(Timestamp(0)))
        .unwrap();
    assert_eq!(world.tend().expired, 1);
    assert_eq!(error_kind(engine.get(&own)), ErrorKind::Erased);
    // A bound that is not a time must not become no bound at all.
    let kept = world.put("ben", Class::transcript(), b"x");
    let never = When::Between { from: Some(Timestamp(u64::MAX)), until: None };
    let never = Scope::User { user: user("ben"), class: None, when: never };
    assert_eq!(error_kind(engine.erase_at(never.clone(), world.in_days(1))), ErrorKind::Invalid);
    assert_eq!(error_kind(engine.erase(never)), ErrorKind::Invalid);
    world.days_pass(2);
    world.tend();
    assert!(read_record(engine, &kept).is_ok());
}

#[test]
fn a_policy_can_require_that_readers_are_named() {
    let world = World::new(10, SMALL_PAGES);
    let engine = world.engine();
    engine.policies(None).set(&Policy::new(Class::audio()).readers_named()).unwrap();
    let (audio, text) =
        (world.put("ada", Class::audio(), b"x"), world.put("ada", Class::transcript(), b"y"));
    assert_eq!(error_kind(engine.get(&audio)), ErrorKind::Refused);
    assert_eq!(error_kind(read_record(engine, &audio)), ErrorKind::Refused);
    assert!(read_record(engine, &text).is_ok());
    assert!(engine.get_as(&audio, "analyst", "to correct the models").is_ok());
    assert_eq!(engine.accesses(&audio).unwrap().len(), 1);
    engine.policies(Some(&user("ada"))).set(&Policy::new(Class::audio())).unwrap();
    assert!(engine.get(&audio).is_ok());
}
