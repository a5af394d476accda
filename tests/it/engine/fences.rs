//! Fences: spans of time and interactions whose late arrivals are refused. SPEC §5.3.

use keyfall::{Class, ErrorKind, InteractionId, Put, Query, Scope, Timestamp, When};

use crate::support::{SMALL_PAGES, World, error_kind, read_record, user};

#[test]
fn a_time_range_takes_its_interactions() {
    let world = World::new(5, SMALL_PAGES);
    let engine = world.engine();
    let ids: Vec<_> = (0..10).map(|n| world.put("ada", Class::audio(), &[n])).collect();
    let began = |n: usize| ids[n].interaction().began();
    let range = |from, until| Scope::User {
        user: user("ada"),
        class: None,
        when: When::Between { from, until },
    };
    let done = engine.erase(range(Some(began(3)), Some(began(6)))).unwrap();
    assert_eq!(done.records, Some(3));
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(read_record(engine, id).is_ok(), !(3..6).contains(&n), "record {n}");
    }
    assert_eq!(engine.erase(range(None, Some(began(2)))).unwrap().records, Some(2));
    assert_eq!(engine.erase(range(Some(began(8)), None)).unwrap().records, Some(2));
    let left: Vec<_> = engine.list(&Query::default().user(user("ada"))).unwrap().records;
    assert_eq!(left.iter().map(|r| r.id).collect::<Vec<_>>(), [ids[2], ids[6], ids[7]]);
    assert!(
        read_record(engine, &world.put("ada", Class::audio(), b"later")).is_ok(),
        "the future is open"
    );
    assert_eq!(error_kind(engine.erase(range(Some(began(6)), Some(began(6))))), ErrorKind::Invalid);
}

#[test]
fn interactions_ahead_of_the_clock_are_erased_and_say_so() {
    let world = World::new(6, SMALL_PAGES);
    let engine = world.engine();
    let ahead = InteractionId::from_parts(Timestamp(1_767_225_600_000 + 3_600_000), [7; 10]);
    let id =
        engine.put(Put::new(user("ada"), Class::audio()).interaction(ahead), &b"x"[..]).unwrap();
    engine.erase(Scope::class(user("ada"), Class::audio())).unwrap();
    assert_eq!(error_kind(read_record(engine, &id)), ErrorKind::Erased);
    let late = engine.put(Put::new(user("ada"), Class::audio()).interaction(ahead), &b"x"[..]);
    assert_eq!(error_kind(late), ErrorKind::Erased);
    let far = InteractionId::from_parts(Timestamp(1_767_225_600_000 + 100 * 86_400_000), [7; 10]);
    assert_eq!(
        error_kind(engine.put(Put::new(user("ada"), Class::audio()).interaction(far), &b"x"[..])),
        ErrorKind::Invalid
    );
}

#[test]
fn spans_that_touch_reach_no_further_back() {
    let world = World::new(61, SMALL_PAGES);
    let engine = world.engine();
    let at = |ms| InteractionId::from_parts(Timestamp(ms), [3; 10]);
    let put = |ms| engine.put(Put::new(user("ada"), Class::audio()).interaction(at(ms)), &b"x"[..]);
    let span = |from, until| Scope::User {
        user: user("ada"),
        class: None,
        when: When::Between { from: Some(Timestamp(from)), until: Some(Timestamp(until)) },
    };
    for ms in [50, 100, 110, 120, 200] {
        put(ms).unwrap();
    }
    engine.erase(span(100, 110)).unwrap();
    engine.erase(span(110, 121)).unwrap();
    for ms in [100, 109, 110, 120] {
        assert_eq!(error_kind(put(ms)), ErrorKind::Erased, "{ms}");
        assert!(engine.erase(Scope::interaction(user("ada"), at(ms))).unwrap().already, "{ms}");
    }
    for ms in [40, 99, 121, 150] {
        put(ms).unwrap();
        assert!(!engine.erase(Scope::interaction(user("ada"), at(ms))).unwrap().already, "{ms}");
    }
}
