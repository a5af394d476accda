//! Erases that are pending, and when they become final. SPEC §6.5.

use keyfall::env::Env;
use keyfall::{Class, Erase, ErrorKind, Put, RecordId, Scope};

use crate::support::{DAY, SMALL_PAGES, World, error_kind, read_record, user};

#[test]
fn a_pending_erase_says_so_until_it_is_final() {
    let mut world = World::new(8, SMALL_PAGES);
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
    assert_eq!(error_kind(read_record(world.engine(), &audio)), ErrorKind::Erased);
    assert_eq!(error_kind(reader.read_some(&mut [0; 8])), ErrorKind::Erased);
    assert!(world.tape.exposed(&*world.cell).unwrap().contains_key(&audio), "pending is not final");
    assert_eq!(world.engine().status().unwrap().pending, Some(until));
    assert_eq!(world.engine().report(&user("ben")).unwrap().pending, Some(until));
    // Another one, sooner: all become final then.
    let sooner =
        world.engine().erase(Erase::new(Scope::Record(other)).final_within(DAY / 2)).unwrap();
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
    let outcomes = world.engine().erase_all(&[
        Erase::new(Scope::Record(last)),
        Erase::new(Scope::user(user("ben"))).final_within(DAY),
    ]);
    assert!(outcomes.iter().all(|o| o.as_ref().unwrap().finality.is_final()));
    assert!(world.tape.exposed(&*world.cell).unwrap().is_empty());
}

#[test]
fn an_erase_at_once_does_not_wait_for_one_of_its_commit_that_took_its_scope() {
    let world = World::new(22, SMALL_PAGES);
    let audio = world.put("ada", Class::audio(), b"wake me");
    let text = Put::new(user("ben"), Class::transcript()).derived_from(audio);
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
    let mut world = World::new(9, SMALL_PAGES);
    world.options.follow = keyfall::engine::Follow { links: 0, users: 0 };
    world.reopen();
    let mut derived = Vec::new();
    let sources: Vec<RecordId> =
        ["ada", "ben"].map(|name| world.put(name, Class::audio(), b"x")).to_vec();
    for source in &sources {
        let put = Put::new(user("chloe"), Class::transcript()).derived_from(*source);
        derived.push(world.engine().put(put, &b"x"[..]).unwrap());
    }
    for name in ["ada", "ben"] {
        world.engine().erase(Erase::new(Scope::user(user(name))).final_within(DAY)).unwrap();
    }
    assert_eq!(world.tend().derived, 2);
    assert_eq!(world.engine().report(&user("chloe")).unwrap().classes, []);
    assert!(derived.iter().all(|id| error_kind(world.engine().get(id)) == ErrorKind::Erased));
}
