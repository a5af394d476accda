//! Certificates of erases that were planned: their drafts are kept by the application before
//! anything falls, and the store makes the certificates of them, after a restart too. SPEC §6.4,
//! §14.6.

use std::sync::{Arc, Mutex};

use keyfall::cell::RootCell;
use keyfall::certificate::{Certificate, Draft};
use keyfall::engine::Fact;
use keyfall::{Class, Engine, Erase, Error, ErrorKind, Options, Policy, Scope};

use crate::support::{DAY, SMALL_PAGES, World, error_kind, facts, read_record, user};

/// What an application keeps, and whether it can.
#[derive(Clone, Default)]
struct Shelf {
    drafts: Arc<Mutex<Vec<Draft>>>,
    full: Arc<Mutex<bool>>,
}

impl Shelf {
    fn drafts(&self) -> Vec<Draft> {
        self.drafts.lock().unwrap().clone()
    }

    fn keeping(&self, options: Options) -> Options {
        let shelf = self.clone();
        options.drafts(move |draft: &Draft| {
            if *shelf.full.lock().unwrap() {
                return Err(Error::new(ErrorKind::Full, "the shelf is full"));
            }
            shelf.drafts.lock().unwrap().push(draft.clone());
            Ok(())
        })
    }
}

fn world(seed: u64) -> (World, Shelf) {
    let (mut world, shelf) = (World::new(seed, SMALL_PAGES), Shelf::default());
    world.options = shelf.keeping(world.options.clone());
    world.reopen();
    (world, shelf)
}

fn check(engine: &Engine, draft: &Draft) -> Certificate {
    let certificate = engine.certificates().get(draft).unwrap();
    certificate.facts.judge().unwrap();
    certificate
}

#[test]
fn a_planned_erase_is_certified_when_it_is_done_and_says_what_was_done_and_when() {
    let (mut world, shelf) = world(301);
    let audio = world.put("ada", Class::audio(), b"wake me");
    let erase = Erase::new(Scope::user(user("ada"))).certified("ada herself", "GDPR, article 17");
    let plan = world.engine().erase_at(erase.clone(), world.in_days(30)).unwrap();
    assert_eq!(plan.erase.certified_for(), Some(("ada herself", "GDPR, article 17")));
    assert_eq!(world.engine().plans(&user("ada")).list().unwrap(), std::slice::from_ref(&plan));
    // What came after it was planned is in it too.
    world.put("ada", Class::transcript(), b"wake me at six");
    world.reopen();
    world.days_pass(31);
    assert!(shelf.drafts().is_empty());
    let commit = world.engine().head().commit;
    assert_eq!(world.tend().planned, 1);
    assert_eq!(error_kind(read_record(world.engine(), &audio)), ErrorKind::Erased);
    let [draft] = &shelf.drafts()[..] else { panic!("one draft") };
    world.reopen();
    let certificate = check(world.engine(), draft);
    let body = certificate.facts.body.clone();
    assert_eq!(
        (body.authority.as_str(), body.ground.as_str()),
        ("ada herself", "GDPR, article 17")
    );
    assert_eq!(body.user.as_deref(), Some("ada"));
    // When it was asked for; when it was done, the leaf says.
    assert_eq!(body.requested, plan.planned.to_string());
    assert!(certificate.facts.judge().unwrap().leaf.time > body.requested);
    assert_eq!(body.commit, commit + 1);
    let records: Vec<_> = body.records.unwrap().into_iter().collect();
    assert_eq!(records, [("audio".to_owned(), 1), ("transcript".to_owned(), 1)]);
}

#[test]
fn where_its_draft_cannot_be_kept_a_planned_erase_waits_and_others_are_done() {
    let (mut world, shelf) = world(302);
    let certified = Erase::new(Scope::user(user("ada"))).certified("ada", "");
    let audio = world.put("ada", Class::audio(), b"wake me");
    let other = world.put("ben", Class::audio(), b"other");
    world.engine().erase_at(certified.clone(), world.in_days(1)).unwrap();
    world.engine().erase_at(Scope::user(user("ben")), world.in_days(1)).unwrap();
    world.days_pass(2);
    *shelf.full.lock().unwrap() = true;
    let done = world.tend();
    assert_eq!((done.planned, done.failed), (1, 1));
    assert_eq!(done.troubles[0].kind, ErrorKind::Full);
    assert!(done.troubles[0].why.contains("the shelf is full"), "{}", done.troubles[0].why);
    assert!(read_record(world.engine(), &audio).is_ok());
    assert_eq!(error_kind(read_record(world.engine(), &other)), ErrorKind::Erased);
    assert!(facts(world.engine(), "ada").iter().any(|fact| matches!(fact, Fact::Failed { .. })));

    // Nor is it done by an engine that has nobody to give the draft to.
    let options = World::new(9, SMALL_PAGES).options.env(world.env.clone());
    world.engine = None;
    let cell: Arc<dyn RootCell> = world.cell.clone();
    let deaf = Engine::open(Arc::clone(&world.store), cell, options).unwrap();
    assert_eq!(error_kind(deaf.erase_at(certified, world.in_days(1))), ErrorKind::Invalid);
    world.env.advance(2 * 3_600_000);
    let done = deaf.run_due(&mut |_| {}).unwrap();
    assert_eq!((done.planned, done.failed), (0, 1));
    assert_eq!(done.troubles[0].kind, ErrorKind::Refused);
    drop(deaf);

    *shelf.full.lock().unwrap() = false;
    world.reopen();
    world.env.advance(2 * 3_600_000);
    assert_eq!(world.tend().planned, 1);
    assert_eq!(check(world.engine(), &shelf.drafts()[0]).facts.body.authority, "ada");
}

#[test]
fn what_passes_a_limit_is_certified_if_its_policy_says_so() {
    let (world, shelf) = world(303);
    let engine = world.engine();
    let policy = Policy::new(Class::audio()).max_age(30 * DAY).certified("the board", "retention");
    engine.policies(None).set(&policy).unwrap();
    assert_eq!(engine.policies(None).list().unwrap(), [policy]);
    for name in ["ada", "ben"] {
        world.put(name, Class::audio(), b"x");
        world.put(name, Class::action(), b"x");
    }
    world.days_pass(31);
    assert_eq!(world.tend().expired, 2);
    let mut users = Vec::new();
    for draft in shelf.drafts() {
        let body = check(engine, &draft).facts.body;
        assert_eq!((body.authority.as_str(), body.ground.as_str()), ("the board", "retention"));
        assert!(body.scope.starts_with("class audio of interactions that began before "));
        assert_eq!(body.records.unwrap().into_iter().collect::<Vec<_>>(), [("audio".into(), 1)]);
        users.extend(body.user);
    }
    users.sort();
    assert_eq!(users, ["ada", "ben"]);
    assert_eq!(world.tend(), Default::default());
    assert_eq!(shelf.drafts().len(), 2);
}

#[test]
fn a_draft_whose_erase_was_not_done_gives_no_certificate() {
    let (world, shelf) = world(304);
    world.put("ada", Class::audio(), b"wake me");
    let certified = Erase::new(Scope::user(user("ada"))).certified("ada", "");
    world.engine().erase_at(certified, world.in_days(1)).unwrap();
    world.days_pass(2);
    world.tend();
    let mut draft = shelf.drafts().remove(0);
    draft.index += 1;
    assert_eq!(error_kind(world.engine().certificates().get(&draft)), ErrorKind::Absent);
}
