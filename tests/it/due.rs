//! What happens by itself: planned erases, limits that pass, erases that become final.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{Fact, Hold, Keeper};
use keyfall::env::{Env, System};
use keyfall::store::{MemoryStore, Store};
use keyfall::{
    Class, Engine, Erase, ErrorKind, InteractionId, Options, Policy, Put, Query, RecordId, Scope, Source, Timestamp,
    When,
};

use crate::command_line::Cli;
use crate::support::{SMALL, World, kind, read, user};

const DAY: Duration = Duration::from_secs(24 * 3600);

impl World {
    fn in_days(&self, days: u64) -> Timestamp {
        Timestamp(self.env.now().0 + days * 86_400_000)
    }

    fn days_pass(&self, days: u64) {
        self.env.advance(days * 86_400_000);
    }

    fn tend(&self) -> keyfall::engine::Tended {
        self.engine().run_due(&mut |_| {}).unwrap()
    }

    fn put_for(&self, name: &str, class: Class, purpose: &str) -> RecordId {
        self.engine().put(Put::new(user(name), class).purpose(purpose), &b"content"[..]).unwrap()
    }
}

fn facts(engine: &Engine, name: &str) -> Vec<Fact> {
    engine.audit_trail(&user(name)).unwrap().into_iter().map(|(_, fact)| fact).collect()
}

#[test]
fn a_planned_erase_happens_at_its_time_and_not_before() {
    let mut world = World::new(1, SMALL);
    let audio = world.put("ada", Class::audio(), b"wake me");
    let text = Put::new(user("ben"), Class::transcript()).derived_from(Source::Record(audio));
    let text = world.engine().put(text, &b"wake me"[..]).unwrap();
    let other = world.put("ben", Class::audio(), b"other");
    let plan = world.engine().erase_at(Scope::user(user("ada")), world.in_days(30)).unwrap();
    assert_eq!(world.engine().plans(&user("ada")).list().unwrap(), std::slice::from_ref(&plan));
    assert_eq!(world.engine().report(&user("ada")).unwrap().next_due, Some(plan.due));
    world.days_pass(29);
    assert_eq!(world.tend(), Default::default());
    assert!(read(world.engine(), &audio).is_ok() && read(world.engine(), &text).is_ok());
    // It survives a restart, and is done once its time has come.
    world.reopen();
    assert_eq!(world.engine().status().unwrap().next_due, Some(plan.due));
    let epoch = world.engine().head().epoch;
    world.days_pass(2);
    let done = world.tend();
    assert_eq!((done.planned, done.derived, world.engine().head().epoch), (1, 1, epoch + 1));
    assert_eq!(kind(read(world.engine(), &audio)), ErrorKind::Erased);
    assert_eq!(kind(read(world.engine(), &text)), ErrorKind::Erased);
    assert!(read(world.engine(), &other).is_ok());
    assert_eq!(world.engine().status().unwrap().next_due, None);
    let exposed = world.tape.exposed(&*world.cell).unwrap();
    assert_eq!(exposed.into_keys().collect::<Vec<_>>(), [other]);
}

#[test]
fn a_planned_erase_is_cancelled_and_bad_ones_are_refused() {
    let world = World::new(2, SMALL);
    let engine = world.engine();
    let audio = world.put("ada", Class::audio(), b"wake me");
    let first = engine.erase_at(Scope::Record(audio), world.in_days(1)).unwrap();
    let second = engine
        .erase_at(Erase::new(Scope::user(user("ada"))).keep(Class::action(), "it rings"), world.in_days(2))
        .unwrap();
    assert_eq!(engine.plans(&user("ada")).list().unwrap(), [first.clone(), second.clone()]);
    engine.plans(&user("ada")).cancel(first.id).unwrap();
    assert_eq!(kind(engine.plans(&user("ada")).cancel(first.id)), ErrorKind::Absent);
    assert_eq!(engine.status().unwrap().next_due, Some(second.due));
    engine.plans(&user("ada")).cancel(second.id).unwrap();
    assert_eq!(engine.status().unwrap().next_due, None);
    world.days_pass(3);
    world.tend();
    assert!(read(engine, &audio).is_ok());
    assert!(
        matches!(&facts(engine, "ada")[..], [Fact::Planned { .. }, Fact::Planned { .. }, Fact::Cancelled { .. }, Fact::Cancelled { id }] if *id == second.id)
    );
    let later = world.in_days(1);
    assert_eq!(kind(engine.erase_at(Scope::user(user("ada")), Timestamp(5))), ErrorKind::Invalid);
    assert_eq!(kind(engine.erase_at(Scope::user(user("nobody")), later)), ErrorKind::Absent);
    engine.erase(Scope::Record(audio)).unwrap();
    assert_eq!(kind(engine.erase_at(Scope::Record(audio), later)), ErrorKind::Erased);
    for _ in 0..64 {
        engine.erase_at(Scope::user(user("ada")), later).unwrap();
    }
    assert_eq!(kind(engine.erase_at(Scope::user(user("ada")), later)), ErrorKind::Limit);
    // With the user everything planned for it goes.
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert_eq!(engine.status().unwrap().next_due, None);
    assert_eq!(kind(engine.erase_at(Scope::user(user("ada")), later)), ErrorKind::Erased);
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
    for (n, erase) in [&every as &dyn Fn(InteractionId) -> Erase, &whole, &but].into_iter().enumerate() {
        let world = World::new(16 + n as u64, SMALL);
        let engine = world.engine();
        let audio = world.put("ada", Class::audio(), b"wake me");
        let text = Put::new(user("ada"), Class::transcript()).interaction(audio.interaction());
        engine.put(text, &b"wake me"[..]).unwrap();
        engine.erase_at(of(Class::audio(), audio.interaction()), world.in_days(1)).unwrap();
        let other = engine.erase_at(of(Class::transcript(), audio.interaction()), world.in_days(1)).unwrap();
        engine.erase(erase(audio.interaction())).unwrap();
        let left = if n == 1 { vec![] } else { vec![other] };
        assert_eq!(engine.plans(&user("ada")).list().unwrap(), left, "{n}");
        let told = format!("{:?}", facts(engine, "ada"));
        assert_eq!(told.contains(&audio.interaction().to_string()), n != 1, "{n}: {told}");
    }
}

#[test]
fn a_planned_erase_that_is_held_is_refused_once_and_tried_again() {
    let world = World::new(3, SMALL);
    let engine = world.engine();
    let audio = world.put("ada", Class::audio(), b"wake me");
    let hold = engine.holds(&user("ada")).add(Hold::new("a court asks", "Amtsgericht")).unwrap();
    engine.erase_at(Scope::class(user("ada"), Class::audio()), world.in_days(1)).unwrap();
    for _ in 0..3 {
        world.days_pass(1);
        assert_eq!(world.tend().refused, 1);
        assert_eq!(world.tend().refused, 0, "not before an hour later");
    }
    assert!(read(engine, &audio).is_ok());
    assert_eq!(facts(engine, "ada").iter().filter(|fact| matches!(fact, Fact::Refused { .. })).count(), 1);
    engine.holds(&user("ada")).lift(hold, "over", "Amtsgericht").unwrap();
    world.days_pass(1);
    assert_eq!(world.tend().planned, 1);
    assert_eq!(kind(read(engine, &audio)), ErrorKind::Erased);
    assert!(engine.plans(&user("ada")).list().unwrap().is_empty());
}

#[test]
fn whoever_plans_an_erase_is_told_of_a_hold_that_covers_it_now() {
    let world = World::new(20, SMALL);
    let engine = world.engine();
    let audio = world.put("ada", Class::audio(), b"wake me");
    let text = Put::new(user("ben"), Class::transcript()).derived_from(Source::Record(audio));
    engine.put(text, &b"wake me"[..]).unwrap();
    let plan = |erase: Erase| engine.erase_at(erase, world.in_days(1)).unwrap();
    let (of_ada, of_ben) = (Scope::user(user("ada")), Scope::user(user("ben")));
    let free = plan(of_ada.clone().into());
    assert!(!free.held);
    // Hers is needed by what is held of his.
    let hold =
        engine.holds(&user("ben")).add(Hold::new("a court asks", "Amtsgericht").class(Class::transcript())).unwrap();
    for held in [of_ada.clone(), Scope::class(user("ada"), Class::audio()), Scope::Record(audio), of_ben.clone()] {
        assert!(plan(held.clone().into()).held, "{held:?}");
    }
    assert!(!plan(Erase::new(of_ada).keep(Class::audio(), "it is needed")).held);
    assert!(!plan(Scope::class(user("ben"), Class::audio()).into()).held);
    let told = |name: &str| engine.plans(&user(name)).list().unwrap().iter().filter(|plan| plan.held).count();
    assert_eq!((told("ada"), told("ben")), (4, 1), "the one planned before, too");
    assert_eq!(engine.report(&user("ben")).unwrap().plans.iter().filter(|plan| plan.held).count(), 1);
    engine.holds(&user("ben")).lift(hold, "over", "Amtsgericht").unwrap();
    assert_eq!((told("ada"), told("ben")), (0, 0));
}

#[test]
fn the_program_tells_of_a_hold_that_covers_what_is_planned() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"wake me");
    let plan = ["erase", "store", "--user", "ada", "--in", "30d", "--yes"];
    assert!(!cli.ok(&plan).contains("hold"));
    cli.ok(&["hold", "add", "store", "--user", "ada", "--reason", "a court asks", "--authority", "Amtsgericht"]);
    let told = cli.ok(&plan);
    assert!(told.contains("under a legal hold now"), "{told}");
    let told: serde_json::Value = serde_json::from_str(&cli.ok(&[&plan[..], &["--json"]].concat())).unwrap();
    assert_eq!(told["held"], true);
    assert!(cli.ok(&["plan", "list", "store", "--user", "ada"]).contains("yes"));
    assert!(cli.ok(&["report", "store", "--user", "ada"]).contains("held now"));
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_open_engine_does_what_is_due_by_itself_and_so_does_the_next() {
    let (store, cell): (Arc<dyn Store>, Arc<dyn RootCell>) =
        (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    let engine = Engine::init(Arc::clone(&store), Arc::clone(&cell), Options::default()).unwrap();
    let put = |engine: &Engine| engine.put(Put::new(user("ada"), Class::audio()), &b"x"[..]).unwrap();
    let (first, second) = (put(&engine), put(&engine));
    let soon = |ms| Timestamp(System.now().0 + ms);
    engine.erase_at(Scope::Record(first), soon(60)).unwrap();
    assert!(read(&engine, &first).is_ok());
    wait_for("the planned erase", || engine.get(&first).is_err());
    assert_eq!(kind(engine.get(&first)), ErrorKind::Erased);
    // A policy, a window: the same thread.
    let erasure = engine.erase(Erase::new(Scope::Record(second)).final_within(Duration::from_millis(60))).unwrap();
    assert!(!erasure.finality.is_final());
    wait_for("the pending erase", || engine.status().unwrap().pending.is_none());
    let third = put(&engine);
    engine.policies(None).set(&Policy::new(Class::audio()).max_age(Duration::from_millis(1))).unwrap();
    wait_for("the limit", || engine.get(&third).is_err());
    engine.policies(None).unset(&Class::audio(), None).unwrap();
    // Nobody has it open when the time comes.
    let fourth = put(&engine);
    engine.erase_at(Scope::user(user("ada")), soon(50)).unwrap();
    drop(engine);
    std::thread::sleep(Duration::from_millis(80));
    let engine = Engine::open(store, cell, Options::default()).unwrap();
    wait_for("what was planned before it opened", || engine.get(&fourth).is_err());
    assert_eq!(kind(engine.plans(&user("ada")).list()), ErrorKind::Erased);
}

#[test]
fn an_engine_closes_its_store_when_its_last_handle_goes() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let place = dir.path().join("store");
        let store = keyfall::store::SledStore::open_or_create(&place).unwrap();
        let cell: Arc<dyn RootCell> = Arc::new(MemoryCell::new());
        assert_eq!(Options::default().keeper, Keeper::Thread);
        let engine = Engine::init(Arc::new(store), cell, Options::default());
        // The lock is free, and it is a store already.
        assert_eq!(engine.err().map(|e| e.kind()), (round > 0).then_some(ErrorKind::Exists));
    }
}

#[test]
fn a_childs_profile_is_gone_at_its_limit() {
    let world = World::new(4, SMALL);
    let engine = world.engine();
    let profile = || Class::new("profile").unwrap();
    engine.policies(None).set(&Policy::new(profile()).max_age(365 * DAY)).unwrap();
    let (of_child, of_adult) = (world.put("child", profile(), b"likes dinosaurs"), world.put("adult", profile(), b"x"));
    engine.policies(Some(&user("child"))).set(&Policy::new(profile()).max_age(DAY)).unwrap();
    // A call of both: from the child's profile, in the adult's tree.
    let derived = Put::new(user("adult"), Class::transcript()).derived_from(Source::Record(of_child));
    let derived = engine.put(derived, &b"dinosaurs"[..]).unwrap();
    world.tend();
    assert!(read(engine, &of_child).is_ok());
    world.days_pass(1);
    let before = engine.head();
    let done = world.tend();
    assert_eq!((done.expired, done.derived), (1, 1));
    assert_eq!(engine.head().epoch, before.epoch + 1);
    assert_eq!(kind(read(engine, &of_child)), ErrorKind::Erased);
    assert_eq!(kind(read(engine, &derived)), ErrorKind::Erased);
    assert!(read(engine, &of_adult).is_ok());
    assert_eq!(world.tape.exposed(&*world.cell).unwrap().into_keys().collect::<Vec<_>>(), [of_adult]);
    let report = engine.report(&user("child")).unwrap();
    assert_eq!((report.policies.len(), report.store_policies.len()), (1, 1));
    let of_adult_info = engine.info(&of_adult).unwrap();
    let until = engine.report(&user("adult")).unwrap().until(&of_adult_info).unwrap();
    assert_eq!(until.0, of_adult.interaction().began().0 + 365 * 86_400_000);
    world.days_pass(365);
    assert_eq!(world.tend().expired, 1);
    assert_eq!(kind(read(engine, &of_adult)), ErrorKind::Erased);
    assert_eq!(engine.status().unwrap().next_due, None);
}

#[test]
fn numbers_dates_and_purposes_limit() {
    let world = World::new(5, SMALL);
    let engine = world.engine();
    let health = || Class::new("profile.health").unwrap();
    engine.policies(Some(&user("nobody"))).set(&Policy::new(health())).expect_err("there is no such user");
    engine.policies(None).set(&Policy::new(Class::audio()).max_records(2)).unwrap();
    engine.policies(None).set(&Policy::new(Class::action()).until(world.in_days(10))).unwrap();
    engine.policies(None).set(&Policy::new(health()).max_age(7 * DAY)).unwrap();
    engine.policies(None).set(&Policy::new(health()).purpose("treatment").max_age(100 * DAY)).unwrap();
    let bad = Policy::new(health()).purpose("treatment").max_records(3);
    assert_eq!(kind(engine.policies(None).set(&bad)), ErrorKind::Invalid);
    assert_eq!(kind(engine.policies(None).set(&Policy::new(health()).purpose(""))), ErrorKind::Invalid);
    assert_eq!(kind(engine.policies(None).unset(&Class::transcript(), None)), ErrorKind::Absent);
    let audio: Vec<RecordId> = (0..5)
        .map(|_| {
            world.env.advance(10);
            world.put("ada", Class::audio(), b"x")
        })
        .collect();
    assert_eq!(world.tend().expired, 3);
    assert_eq!(audio.iter().map(|id| read(engine, id).is_ok()).collect::<Vec<_>>(), [false, false, false, true, true]);
    let action = world.put("ada", Class::action(), b"x");
    let (advice, treated) = (world.put_for("ada", health(), "advice"), world.put_for("ada", health(), "treatment"));
    world.days_pass(8);
    assert_eq!(world.tend().expired, 1);
    assert_eq!(kind(read(engine, &advice)), ErrorKind::Erased);
    assert!(read(engine, &treated).is_ok() && read(engine, &action).is_ok());
    world.days_pass(3);
    assert_eq!(world.tend().expired, 1);
    assert_eq!(kind(read(engine, &action)), ErrorKind::Erased);
    assert_eq!(kind(engine.put(Put::new(user("ada"), Class::action()), &b"late"[..])), ErrorKind::Refused);
    // Of its own: whatever the store says.
    engine.policies(Some(&user("ada"))).set(&Policy::new(health())).unwrap();
    world.days_pass(200);
    world.tend();
    assert!(read(engine, &treated).is_ok());
    engine.policies(Some(&user("ada"))).unset(&health(), None).unwrap();
    assert_eq!(world.tend().expired, 1);
    assert_eq!(kind(read(engine, &treated)), ErrorKind::Erased);
    assert_eq!(engine.policies(None).list().unwrap().len(), 4);
}

#[test]
fn a_number_counts_and_takes_only_the_records_that_it_holds_for() {
    let world = World::new(15, SMALL);
    let engine = world.engine();
    let put = |interaction: InteractionId, purpose: &str| {
        let put = Put::new(user("ada"), Class::audio()).interaction(interaction).purpose(purpose);
        engine.put(put, &b"x"[..]).unwrap()
    };
    engine.policies(None).set(&Policy::new(Class::audio()).purpose("treatment").max_age(100 * DAY)).unwrap();
    let treated: Vec<RecordId> = (0..3).map(|_| put(engine.new_interaction().unwrap(), "treatment")).collect();
    let first = engine.new_interaction().unwrap();
    let fall = [put(first, ""), put(first, "advice")];
    let beside = put(first, "treatment");
    world.env.advance(10);
    let last = put(engine.new_interaction().unwrap(), "advice");
    let policy = Policy::new(Class::audio()).max_records(2);
    assert_eq!(engine.policies(None).would_expire(&policy).unwrap(), 2);
    engine.policies(None).set(&policy).unwrap();
    assert_eq!(world.tend().expired, 2);
    assert!(fall.iter().all(|id| kind(read(engine, id)) == ErrorKind::Erased));
    assert!(treated.iter().chain([&beside, &last]).all(|id| read(engine, id).is_ok()));
    assert!(engine.status().unwrap().next_due.unwrap() > world.in_days(90), "nothing is due but by age");
    // Nor does one of another policy push others out, or come too late for them.
    put(treated[0].interaction(), "treatment");
    assert_eq!(world.tend().expired, 0);
    // A user's own policy comes before the store's, whatever it asks of the purpose: it counts all.
    engine.policies(Some(&user("ada"))).set(&policy).unwrap();
    assert_eq!(world.tend().expired, 4);
    assert!(read(engine, &last).is_ok());
}

#[test]
fn the_program_tells_beforehand_what_a_number_takes() {
    let cli = Cli::new();
    let put = |purpose: &str| {
        std::fs::write(cli.path("payload"), b"x").unwrap();
        cli.ok(&["put", "store", "--user", "ada", "--class", "audio", "--purpose", purpose, "payload"])
    };
    cli.ok(&["policy", "set", "store", "--class", "audio", "--purpose", "treatment", "--max-age", "90d"]);
    let treated = put("treatment");
    for purpose in ["treatment", "advice", "advice"] {
        put(purpose);
    }
    let refused = cli.fails(2, &["policy", "set", "store", "--class", "audio", "--max-records", "1"]);
    assert!(refused.contains("1 record of class audio"), "{refused}");
    let told = cli.ok(&["policy", "set", "store", "--class", "audio", "--max-records", "1", "--yes"]);
    assert!(told.contains("1 record passed it"), "{told}");
    cli.ok(&["get", "store", &treated, "-o", "out"]);
}

#[test]
fn what_is_held_stays_when_its_time_has_come_and_the_rest_goes() {
    let world = World::new(6, SMALL);
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
    assert!(read(engine, &held).is_ok());
    assert_eq!(kind(read(engine, &free)), ErrorKind::Erased);
    assert_eq!(facts(engine, "ada").iter().filter(|fact| matches!(fact, Fact::Refused { .. })).count(), 1);
    engine.holds(&user("ada")).lift(hold, "over", "Amtsgericht").unwrap();
    world.days_pass(1);
    assert_eq!(world.tend().expired, 1);
}

#[test]
fn a_policy_of_the_store_finds_everybody() {
    let world = World::new(7, SMALL);
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
    assert!(read(engine, &kept).is_ok());
    assert_eq!(engine.list(&Query::default()).unwrap().records.len(), 1);
}

#[test]
fn a_pending_erase_says_so_until_it_is_final() {
    let mut world = World::new(8, SMALL);
    let audio = world.put("ada", Class::audio(), b"wake me");
    let other = world.put("ben", Class::audio(), b"other");
    let more = world.put("ben", Class::action(), b"more");
    let window = Erase::new(Scope::user(user("ada"))).final_within(DAY);
    let mut reader = world.engine().get(&audio).unwrap();
    let before = world.engine().head();
    let erasure = world.engine().erase(window).unwrap();
    assert_eq!(world.engine().head().epoch, before.epoch, "no root key was replaced");
    assert_eq!((erasure.retirement, erasure.epoch), (None, before.epoch + 1));
    let until = erasure.finality.until().unwrap();
    assert!(until.0 - world.env.now().0 <= 86_400_000);
    // Nobody reads it through the engine, and it says that the bytes can be read.
    assert_eq!(kind(read(world.engine(), &audio)), ErrorKind::Erased);
    assert_eq!(kind(reader.read_some(&mut [0; 8])), ErrorKind::Erased);
    assert!(world.tape.exposed(&*world.cell).unwrap().contains_key(&audio), "pending is not final");
    assert_eq!(world.engine().status().unwrap().pending, Some(until));
    assert_eq!(world.engine().report(&user("ben")).unwrap().pending, Some(until));
    // Another one, sooner: all become final then.
    let sooner = world.engine().erase(Erase::new(Scope::Record(other)).final_within(DAY / 2)).unwrap();
    assert!(sooner.finality.until().unwrap() < until);
    world.reopen();
    assert_eq!(world.engine().status().unwrap().pending, sooner.finality.until());
    assert!(!world.tend().finalized);
    world.days_pass(1);
    assert!(world.tend().finalized);
    assert_eq!(world.engine().head().epoch, erasure.epoch);
    assert_eq!(world.engine().status().unwrap().pending, None);
    assert_eq!(world.tape.exposed(&*world.cell).unwrap().into_keys().collect::<Vec<_>>(), [more]);
    // An erase at once takes what is pending with it.
    let last = world.put("ben", Class::audio(), b"last");
    let pending = world.engine().erase(Erase::new(Scope::Record(more)).final_within(DAY)).unwrap();
    assert!(!pending.finality.is_final());
    let outcomes = world
        .engine()
        .erase_all(&[Erase::new(Scope::Record(last)), Erase::new(Scope::user(user("ben"))).final_within(DAY)]);
    assert!(outcomes.iter().all(|o| o.as_ref().unwrap().finality.is_final()));
    assert!(world.tape.exposed(&*world.cell).unwrap().is_empty());
}

#[test]
fn an_erase_at_once_does_not_wait_for_one_of_its_commit_that_took_its_scope() {
    let world = World::new(22, SMALL);
    let audio = world.put("ada", Class::audio(), b"wake me");
    let text = Put::new(user("ben"), Class::transcript()).derived_from(Source::Record(audio));
    let text = world.engine().put(text, &b"wake me"[..]).unwrap();
    let more = world.put("ben", Class::audio(), b"more");
    let waits = |scope| Erase::new(scope).final_within(DAY);
    for (scope, within) in [(Scope::user(user("ada")), text), (Scope::Record(more), more)] {
        let done = world.engine().erase_all(&[waits(scope), Erase::new(Scope::Record(within))]);
        let done: Vec<_> = done.into_iter().map(Result::unwrap).collect();
        assert!(!done[0].already && done[1].already);
        assert!(done.iter().all(|done| done.finality.is_final()), "{done:?}");
        assert_eq!(world.engine().status().unwrap().pending, None);
        assert!(!world.tape.exposed(&*world.cell).unwrap().contains_key(&within));
    }
}

#[test]
fn two_pending_erases_of_what_others_were_derived_from_are_both_followed() {
    let mut world = World::new(9, SMALL);
    world.options.follow = keyfall::engine::Follow { links: 0, users: 0 };
    world.reopen();
    let mut derived = Vec::new();
    let sources: Vec<RecordId> = ["ada", "ben"].map(|name| world.put(name, Class::audio(), b"x")).to_vec();
    for source in &sources {
        let put = Put::new(user("chloe"), Class::transcript()).derived_from(Source::Record(*source));
        derived.push(world.engine().put(put, &b"x"[..]).unwrap());
    }
    for name in ["ada", "ben"] {
        world.engine().erase(Erase::new(Scope::user(user(name))).final_within(DAY)).unwrap();
    }
    assert_eq!(world.tend().derived, 2);
    assert_eq!(world.engine().report(&user("chloe")).unwrap().classes, []);
    assert!(derived.iter().all(|id| kind(world.engine().get(id)) == ErrorKind::Erased));
}

#[test]
fn who_reads_is_named_where_a_policy_wants_it() {
    let world = World::new(10, SMALL);
    let engine = world.engine();
    engine.policies(None).set(&Policy::new(Class::audio()).readers_named()).unwrap();
    let (audio, text) = (world.put("ada", Class::audio(), b"x"), world.put("ada", Class::transcript(), b"y"));
    assert_eq!(kind(engine.get(&audio)), ErrorKind::Refused);
    assert_eq!(kind(read(engine, &audio)), ErrorKind::Refused);
    assert!(read(engine, &text).is_ok());
    assert!(engine.get_as(&audio, "analyst", "to mend the models").is_ok());
    assert_eq!(engine.accesses(&audio).unwrap().len(), 1);
    engine.policies(Some(&user("ada"))).set(&Policy::new(Class::audio())).unwrap();
    assert!(engine.get(&audio).is_ok());
}

#[test]
fn a_late_arrival_from_before_the_limit_is_refused() {
    let world = World::new(11, SMALL);
    let engine = world.engine();
    engine.policies(None).set(&Policy::new(Class::audio()).max_age(DAY)).unwrap();
    let old = InteractionId::from_parts(Timestamp(world.env.now().0), [3; 10]);
    let id = engine.put(Put::new(user("ada"), Class::audio()).interaction(old), &b"x"[..]).unwrap();
    world.days_pass(2);
    assert_eq!(world.tend().expired, 1);
    let late = Put::new(user("ada"), Class::audio()).interaction(old);
    assert_eq!(kind(engine.put(late, &b"x"[..])), ErrorKind::Erased);
    assert_eq!(kind(engine.get(&id)), ErrorKind::Erased);
    let span = When::Between { from: None, until: None };
    engine.erase(Scope::User { user: user("ada"), class: None, when: span }).unwrap();
}

#[test]
fn plans_policies_and_windows_from_the_command_line() {
    let cli = Cli::new();
    let audio = cli.put("ada", "audio", b"wake me");
    cli.fails(2, &["erase", "store", "--user", "ada", "--in", "soon", "--yes"]);
    let told = cli.ok(&["erase", "store", "--user", "ada", "--in", "30d", "--yes", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let id = told["id"].as_str().unwrap();
    assert!(cli.ok(&["plan", "list", "store", "--user", "ada"]).contains(id));
    assert!(cli.ok(&["report", "store", "--user", "ada"]).contains("planned for"));
    cli.ok(&["plan", "cancel", "store", "--user", "ada", "--id", id]);
    cli.fails(4, &["plan", "cancel", "store", "--user", "ada", "--id", id]);
    cli.ok(&["erase", "store", "--record", &audio, "--in", "1s", "--yes"]);
    cli.ok(&["get", "store", &audio, "-o", "audio"]);
    std::thread::sleep(Duration::from_millis(1100));
    cli.ok(&["tend", "store"]);
    cli.fails(3, &["get", "store", &audio]);
    let audio = cli.put("ada", "audio", b"wake me");
    let told = cli.ok(&["erase", "store", "--record", &audio, "--final-within", "1h", "--yes"]);
    assert!(told.contains("pending until"), "{told}");
    assert!(cli.ok(&["status", "store"]).contains("pending until"));
    assert!(cli.ok(&["audit", "store"]).contains("pending"));
    cli.ok(&["erase", "store", "--user", "ada", "--class", "audio", "--yes"]);
    assert!(!cli.ok(&["status", "store"]).contains("pending until"));
    cli.put("ada", "audio", b"x");
    let told = cli.ok(&["policy", "set", "store", "--class", "audio", "--max-age", "90d", "--readers-named"]);
    assert_eq!(told, "class audio: at most 90d, opened only by who is named");
    assert!(cli.ok(&["policy", "list", "store"]).contains("90d"));
    assert!(cli.ok(&["tend", "store"]).contains("next due"));
    let audio = cli.put("ada", "audio", b"x");
    cli.fails(6, &["get", "store", &audio]);
    cli.ok(&["get", "store", &audio, "--as", "analyst", "--purpose", "to repair"]);
    cli.ok(&["export", "store", "--user", "ada", "out"]);
    let told = cli.ok(&["policy", "set", "store", "--user", "ada", "--class", "audio", "--max-records", "1", "--yes"]);
    assert!(told.contains("1 record passed it"), "{told}");
    cli.ok(&["policy", "unset", "store", "--user", "ada", "--class", "audio"]);
    cli.fails(4, &["policy", "unset", "store", "--user", "ada", "--class", "audio"]);
}

#[test]
fn a_damaged_user_does_not_keep_the_others_from_what_is_due() {
    let mut world = World::new(12, SMALL);
    let of_others: Vec<RecordId> = (0..6).map(|n| world.put(&format!("user {n}"), Class::audio(), b"x")).collect();
    world.engine().policies(None).set(&Policy::new(Class::audio()).max_age(DAY)).unwrap();
    world.engine().erase_at(Scope::user(user("user 5")), world.in_days(1)).unwrap();
    world.tend();
    // One bit of each blob in turn: whatever it is, the others' records fall, or the store itself does not open.
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
        let Ok(engine) = Engine::open(Arc::new(damaged), Arc::new(cell), world.options.clone()) else {
            continue;
        };
        match engine.run_due(&mut |_| {}) {
            Ok(done) => {
                assert_eq!(done.expired + done.planned + done.damaged, 6, "{done:?}");
                passed_over += done.damaged;
                let there =
                    of_others.iter().filter(|id| engine.get(id).is_ok() || kind(engine.get(id)) == ErrorKind::Corrupt);
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
fn how_many_records_a_policy_takes_at_once_is_told_before() {
    let world = World::new(13, SMALL);
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
        assert_eq!(engine.policies(Some(&user("ada"))).would_expire(&policy).unwrap(), of_ada, "{policy:?}");
        assert_eq!(engine.policies(None).would_expire(&policy).unwrap(), of_all, "{policy:?}");
    }
    // A user's own comes before the store's, and one of a purpose before one of the class.
    engine.policies(Some(&user("ben"))).set(&audio()).unwrap();
    engine.policies(None).set(&action().purpose("treatment")).unwrap();
    assert_eq!(engine.policies(None).would_expire(&audio().max_age(days(15))).unwrap(), 2);
    assert_eq!(engine.policies(None).would_expire(&action().max_age(days(15))).unwrap(), 2);
    assert_eq!(kind(engine.policies(Some(&user("nobody"))).would_expire(&audio())), ErrorKind::Absent);
    // It tells what happens.
    engine.policies(None).set(&action().max_age(days(15))).unwrap();
    assert_eq!(world.tend().expired, 2);
}

#[test]
fn a_date_at_the_beginning_of_time_is_a_date() {
    let world = World::new(14, SMALL);
    let engine = world.engine();
    let ids = ["ada", "ben"].map(|name| world.put(name, Class::audio(), b"x"));
    engine.policies(None).set(&Policy::new(Class::audio()).until(Timestamp(0))).unwrap();
    assert_eq!(world.tend().expired, 2);
    assert!(ids.iter().all(|id| kind(engine.get(id)) == ErrorKind::Erased));
    let own = world.put("ada", Class::action(), b"x");
    engine.policies(Some(&user("ada"))).set(&Policy::new(Class::action()).until(Timestamp(0))).unwrap();
    assert_eq!(world.tend().expired, 1);
    assert_eq!(kind(engine.get(&own)), ErrorKind::Erased);
    // A bound that no time is must not become no bound.
    let kept = world.put("ben", Class::transcript(), b"x");
    let never = When::Between { from: Some(Timestamp(u64::MAX)), until: None };
    let never = Scope::User { user: user("ben"), class: None, when: never };
    assert_eq!(kind(engine.erase_at(never.clone(), world.in_days(1))), ErrorKind::Invalid);
    assert_eq!(kind(engine.erase(never)), ErrorKind::Invalid);
    world.days_pass(2);
    world.tend();
    assert!(read(engine, &kept).is_ok());
}
