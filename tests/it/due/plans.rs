//! Planned erases: done at their time, cancelled, refused. SPEC §6.4.

use keyfall::engine::{Fact, Hold};
use keyfall::{Class, Erase, ErrorKind, InteractionId, Put, Scope, Timestamp, When};

use crate::support::{SMALL_PAGES, World, error_kind, facts, read_record, user};

#[test]
fn a_planned_erase_happens_at_its_time_and_not_before() {
    let mut world = World::new(1, SMALL_PAGES);
    let audio = world.put("ada", Class::audio(), b"wake me");
    let text = Put::new(user("ben"), Class::transcript()).derived_from(audio);
    let text = world.engine().put(text, &b"wake me"[..]).unwrap();
    let other = world.put("ben", Class::audio(), b"other");
    let plan = world.engine().erase_at(Scope::user(user("ada")), world.in_days(30)).unwrap();
    assert_eq!(world.engine().plans(&user("ada")).list().unwrap(), std::slice::from_ref(&plan));
    assert_eq!(world.engine().report(&user("ada")).unwrap().next_due, Some(plan.due));
    world.days_pass(29);
    assert_eq!(world.tend(), Default::default());
    assert!(
        read_record(world.engine(), &audio).is_ok() && read_record(world.engine(), &text).is_ok()
    );
    // It survives a restart, and is done once its time has come.
    world.reopen();
    assert_eq!(world.engine().status().unwrap().next_due, Some(plan.due));
    let epoch = world.engine().head().epoch;
    world.days_pass(2);
    let done = world.tend();
    assert_eq!((done.planned, done.derived, world.engine().head().epoch), (1, 1, epoch + 1));
    assert_eq!(error_kind(read_record(world.engine(), &audio)), ErrorKind::Erased);
    assert_eq!(error_kind(read_record(world.engine(), &text)), ErrorKind::Erased);
    assert!(read_record(world.engine(), &other).is_ok());
    assert_eq!(world.engine().status().unwrap().next_due, None);
    let exposed = world.tape.exposed(&*world.cell).unwrap();
    assert_eq!(exposed.into_keys().collect::<Vec<_>>(), [other]);
}

#[test]
fn a_cancelled_plan_is_forgotten_and_stays_in_the_history() {
    let world = World::new(2, SMALL_PAGES);
    let engine = world.engine();
    let audio = world.put("ada", Class::audio(), b"wake me");
    let first = engine.erase_at(Scope::Record(audio), world.in_days(1)).unwrap();
    let keeping = Erase::new(Scope::user(user("ada"))).keep(Class::action(), "it rings");
    let second = engine.erase_at(keeping, world.in_days(2)).unwrap();
    assert_eq!(engine.plans(&user("ada")).list().unwrap(), [first.clone(), second.clone()]);
    engine.plans(&user("ada")).cancel(first.id).unwrap();
    assert_eq!(error_kind(engine.plans(&user("ada")).cancel(first.id)), ErrorKind::Absent);
    assert_eq!(engine.status().unwrap().next_due, Some(second.due));
    engine.plans(&user("ada")).cancel(second.id).unwrap();
    assert_eq!(engine.status().unwrap().next_due, None);
    world.days_pass(3);
    world.tend();
    assert!(read_record(engine, &audio).is_ok());
    let facts = facts(engine, "ada");
    let [
        Fact::Planned { .. },
        Fact::Planned { .. },
        Fact::Cancelled { .. },
        Fact::Cancelled { id },
    ] = &facts[..]
    else {
        panic!("{facts:?}");
    };
    assert_eq!(*id, second.id);
}

#[test]
fn an_erase_that_could_not_happen_cannot_be_planned() {
    let world = World::new(2, SMALL_PAGES);
    let engine = world.engine();
    let audio = world.put("ada", Class::audio(), b"wake me");
    let later = world.in_days(1);
    assert_eq!(
        error_kind(engine.erase_at(Scope::user(user("ada")), Timestamp(5))),
        ErrorKind::Invalid
    );
    assert_eq!(error_kind(engine.erase_at(Scope::user(user("nobody")), later)), ErrorKind::Absent);
    engine.erase(Scope::Record(audio)).unwrap();
    assert_eq!(error_kind(engine.erase_at(Scope::Record(audio), later)), ErrorKind::Erased);
}

#[test]
fn a_user_has_64_plans_at_most_and_they_fall_with_it() {
    let world = World::new(2, SMALL_PAGES);
    let engine = world.engine();
    world.put("ada", Class::audio(), b"wake me");
    let later = world.in_days(1);
    for _ in 0..64 {
        engine.erase_at(Scope::user(user("ada")), later).unwrap();
    }
    assert_eq!(error_kind(engine.erase_at(Scope::user(user("ada")), later)), ErrorKind::Limit);
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(engine.status().unwrap().next_due, None);
    assert_eq!(error_kind(engine.erase_at(Scope::user(user("ada")), later)), ErrorKind::Erased);
}

#[test]
fn a_plan_that_names_an_interaction_falls_with_it_also_where_its_class_is_empty_then() {
    let of = |class: Class, interaction| {
        let when = When::Interaction(interaction);
        Erase::new(Scope::User { user: user("ada"), class: Some(class), when })
    };
    let whole = |interaction| Erase::new(Scope::interaction(user("ada"), interaction));
    let every = |_: InteractionId| Erase::new(Scope::class(user("ada"), Class::audio()));
    let but = |interaction| whole(interaction).keep(Class::transcript(), "it is wanted");
    for (n, erase) in
        [&every as &dyn Fn(InteractionId) -> Erase, &whole, &but].into_iter().enumerate()
    {
        let world = World::new(16 + n as u64, SMALL_PAGES);
        let engine = world.engine();
        let audio = world.put("ada", Class::audio(), b"wake me");
        let text = Put::new(user("ada"), Class::transcript()).interaction(audio.interaction());
        engine.put(text, &b"wake me"[..]).unwrap();
        engine.erase_at(of(Class::audio(), audio.interaction()), world.in_days(1)).unwrap();
        let other = engine
            .erase_at(of(Class::transcript(), audio.interaction()), world.in_days(1))
            .unwrap();
        engine.erase(erase(audio.interaction())).unwrap();
        let left = if n == 1 { vec![] } else { vec![other] };
        assert_eq!(engine.plans(&user("ada")).list().unwrap(), left, "{n}");
        let told = format!("{:?}", facts(engine, "ada"));
        assert_eq!(told.contains(&audio.interaction().to_string()), n != 1, "{n}: {told}");
    }
}

#[test]
fn a_planned_erase_that_is_held_is_refused_once_and_tried_again() {
    let world = World::new(3, SMALL_PAGES);
    let engine = world.engine();
    let audio = world.put("ada", Class::audio(), b"wake me");
    let hold = engine.holds(&user("ada")).add(Hold::new("a court asks", "Amtsgericht")).unwrap();
    engine.erase_at(Scope::class(user("ada"), Class::audio()), world.in_days(1)).unwrap();
    for _ in 0..3 {
        world.days_pass(1);
        assert_eq!(world.tend().refused, 1);
        assert_eq!(world.tend().refused, 0, "not before an hour later");
    }
    assert!(read_record(engine, &audio).is_ok());
    assert_eq!(
        facts(engine, "ada").iter().filter(|fact| matches!(fact, Fact::Refused { .. })).count(),
        1
    );
    engine.holds(&user("ada")).lift(hold, "over", "Amtsgericht").unwrap();
    world.days_pass(1);
    assert_eq!(world.tend().planned, 1);
    assert_eq!(error_kind(read_record(engine, &audio)), ErrorKind::Erased);
    assert!(engine.plans(&user("ada")).list().unwrap().is_empty());
}

#[test]
fn a_plan_says_whether_a_hold_covers_its_scope_now() {
    let world = World::new(20, SMALL_PAGES);
    let engine = world.engine();
    let audio = world.put("ada", Class::audio(), b"wake me");
    let text = Put::new(user("ben"), Class::transcript()).derived_from(audio);
    engine.put(text, &b"wake me"[..]).unwrap();
    let plan = |erase: Erase| engine.erase_at(erase, world.in_days(1)).unwrap();
    let (of_ada, of_ben) = (Scope::user(user("ada")), Scope::user(user("ben")));
    let free = plan(of_ada.clone().into());
    assert!(!free.held);
    // Hers is needed by what is held of his.
    let hold = engine
        .holds(&user("ben"))
        .add(Hold::new("a court asks", "Amtsgericht").class(Class::transcript()))
        .unwrap();
    for held in [
        of_ada.clone(),
        Scope::class(user("ada"), Class::audio()),
        Scope::Record(audio),
        of_ben.clone(),
    ] {
        assert!(plan(held.clone().into()).held, "{held:?}");
    }
    assert!(!plan(Erase::new(of_ada).keep(Class::audio(), "it is needed")).held);
    assert!(!plan(Scope::class(user("ben"), Class::audio()).into()).held);
    let told = |name: &str| {
        engine.plans(&user(name)).list().unwrap().iter().filter(|plan| plan.held).count()
    };
    assert_eq!((told("ada"), told("ben")), (4, 1), "the one planned before, too");
    assert_eq!(
        engine.report(&user("ben")).unwrap().plans.iter().filter(|plan| plan.held).count(),
        1
    );
    engine.holds(&user("ben")).lift(hold, "over", "Amtsgericht").unwrap();
    assert_eq!((told("ada"), told("ben")), (0, 0));
}
