//! What changed since a head, for an index of one's own: nothing is missed, nothing erased is
//! revealed, and what is not known any more is said to be so.

use std::collections::BTreeSet;
use std::time::Duration;

use keyfall::engine::{Changed, Watched};
use keyfall::store::HeadId;
use keyfall::{Class, Engine, ErrorKind, Policy, Put, Query, RecordId, Scope};

use crate::support::{DAY, SMALL_PAGES, World, error_kind, user};

const NOW: Duration = Duration::ZERO;

/// An index that follows a store.
struct Index {
    at: HeadId,
    ids: BTreeSet<RecordId>,
    listed: u64,
}

impl Index {
    fn new(engine: &Engine) -> Self {
        let mut index = Index { at: engine.head(), ids: BTreeSet::new(), listed: 0 };
        index.list(engine, engine.head());
        index.follow(engine);
        index
    }

    fn list(&mut self, engine: &Engine, head: HeadId) {
        self.at = head;
        let records = engine.list(&Query::default().limit(10_000)).unwrap().records;
        self.ids = records.into_iter().map(|record| record.id).collect();
        self.listed += 1;
    }

    /// Takes what changed; says how many changes it was told of.
    fn follow(&mut self, engine: &Engine) -> usize {
        let mut told = 0;
        loop {
            let changes = match engine.watch(self.at, NOW).unwrap() {
                Watched::ListAgain(head) => {
                    self.list(engine, head);
                    continue;
                }
                Watched::Changes { changes, head } => {
                    self.at = head;
                    changes
                }
            };
            if changes.is_empty() {
                return told;
            }
            told += changes.len();
            for change in changes {
                match change {
                    Changed::Put(id) => assert!(self.ids.insert(id)),
                    Changed::Fell(fallen) => self.ids.retain(|id| !fallen.takes(id)),
                    _ => panic!("another change"),
                }
            }
        }
    }

    fn check(&self, engine: &Engine) {
        let mut there = Index { at: self.at, ids: BTreeSet::new(), listed: 0 };
        there.list(engine, self.at);
        assert_eq!(self.ids, there.ids);
    }
}

#[test]
fn an_index_that_watches_has_what_a_listing_has() {
    let world = World::new(501, SMALL_PAGES);
    let engine = world.engine();
    world.put("ada", Class::audio(), b"before");
    let mut index = Index::new(engine);
    assert_eq!(index.listed, 1);
    engine.policies(None).set(&Policy::new(Class::action()).max_age(DAY)).unwrap();
    let audio = world.put("ada", Class::audio(), b"x");
    let text = Put::new(user("ben"), Class::transcript()).derived_from(audio);
    engine.put(text, &b"x"[..]).unwrap();
    world.put("chloe", Class::action(), b"x");
    let turn = world.put("chloe", Class::audio(), b"x").interaction();
    assert_eq!(index.follow(engine), 4);
    index.check(engine);
    // With what was derived from it, in another user's tree.
    engine.erase(Scope::record(audio)).unwrap();
    assert_eq!(index.follow(engine), 2);
    index.check(engine);
    engine.erase(Scope::interaction(user("chloe"), turn)).unwrap();
    world.days_pass(2);
    assert_eq!(world.tend().expired, 1);
    index.follow(engine);
    index.check(engine);
    // A name that lives again.
    engine.erase(Scope::user(user("ada"))).unwrap();
    engine.create_user(&user("ada")).unwrap();
    world.env.advance(1000);
    world.put("ada", Class::audio(), b"again");
    index.follow(engine);
    index.check(engine);
    assert_eq!((index.ids.len(), index.listed), (1, 1));
}

#[test]
fn of_what_came_and_went_meanwhile_no_id_is_told() {
    let world = World::new(502, SMALL_PAGES);
    let engine = world.engine();
    let kept = world.put("ada", Class::audio(), b"x");
    let mut index = Index::new(engine);
    let before = index.at;
    let gone = world.put("ada", Class::audio(), b"gone");
    let known = engine.head();
    engine.erase(Scope::record(gone)).unwrap();
    // A caller that listed it meanwhile, or was told of it, learns that it fell.
    for since in [before, known] {
        match engine.watch(since, NOW).unwrap() {
            Watched::Changes { changes, head } => match &changes[..] {
                [Changed::Fell(fallen)] => {
                    assert!(fallen.takes(&gone) && !fallen.takes(&kept));
                    assert_eq!((format!("{fallen:?}").as_str(), head), ("Fallen", engine.head()));
                }
                other => panic!("{other:?}"),
            },
            Watched::ListAgain(head) => panic!("at {head}"),
        }
    }
    assert_eq!(index.follow(engine), 1);
    index.check(engine);
}

#[test]
fn a_head_that_is_too_old_to_tell_from_says_list_again() {
    let mut world = World::new(503, SMALL_PAGES);
    let first = world.engine().head();
    world.put("ada", Class::audio(), b"x");
    // Nobody watched before.
    let again = world.engine().watch(first, NOW).unwrap();
    assert_eq!(again, Watched::ListAgain(world.engine().head()));
    let mut index = Index::new(world.engine());
    let begun = index.at;
    // A page holds whole commits.
    for n in 0..18 {
        let mut batch = world.engine().batch();
        for _ in 0..1_000 {
            batch.add(Put::new(user(&format!("user {n}")), Class::action()), &b""[..]).unwrap();
        }
        batch.commit().unwrap();
        if n == 3 {
            match world.engine().watch(begun, NOW).unwrap() {
                Watched::Changes { changes, head } => {
                    assert_eq!((changes.len(), head.commit), (1_000, begun.commit + 1));
                }
                Watched::ListAgain(head) => panic!("at {head}"),
            }
            assert_eq!(index.follow(world.engine()), 4_000);
            assert_eq!(index.ids.len(), 4_001);
        }
    }
    let head = world.engine().head();
    assert_eq!(world.engine().watch(begun, NOW).unwrap(), Watched::ListAgain(head));
    assert_eq!(index.follow(world.engine()), 14_000);
    // A head that never was, and one of an opening before.
    let ahead = HeadId { commit: head.commit + 9, ..head };
    assert_eq!(world.engine().watch(ahead, NOW).unwrap(), Watched::ListAgain(head));
    world.reopen();
    assert_eq!(index.follow(world.engine()), 0);
    assert_eq!(index.listed, 1, "nothing changed meanwhile");
}

#[test]
fn a_caller_waits_for_a_change_and_no_longer_than_it_said() {
    let world = World::new(504, SMALL_PAGES);
    let engine = world.engine();
    let index = Index::new(engine);
    let waited = engine.watch(index.at, Duration::from_millis(20)).unwrap();
    assert_eq!(waited, Watched::Changes { changes: Vec::new(), head: engine.head() });
    std::thread::scope(|scope| {
        let watching: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| engine.watch(index.at, Duration::from_secs(60)).unwrap()))
            .collect();
        std::thread::sleep(Duration::from_millis(20));
        // What puts and erases nothing wakes nobody.
        engine.policies(None).set(&Policy::new(Class::audio())).unwrap();
        let id = world.put("ada", Class::audio(), b"x");
        for watching in watching {
            let expected =
                Watched::Changes { changes: vec![Changed::Put(id)], head: engine.head() };
            assert_eq!(watching.join().unwrap(), expected);
        }
    });
    engine.clone().unplug();
    assert_eq!(error_kind(engine.watch(index.at, NOW)), ErrorKind::Poisoned);
}
