//! Interactions, page by page: each whole, each once, whatever is put and erased between two pages.

use keyfall::engine::{Follow, Geometry, Interaction, Interactions};
use keyfall::time::Zone;
use keyfall::{Class, Engine, ErrorKind, InteractionId, Put, Query, RecordId, Scope, Timestamp};

use crate::support::{SMALL_PAGES, World, error_kind, user};

const HOUR: u64 = 3_600_000;

/// The `n`th interaction, of the hour `n`.
fn nth(n: u64) -> InteractionId {
    InteractionId::from_parts(Timestamp(1_700_000_000_000 + n * HOUR), [n as u8; 10])
}

fn put(engine: &Engine, name: &str, n: u64, class: Class) -> RecordId {
    engine.put(Put::new(user(name), class).interaction(nth(n)), &[n as u8][..]).unwrap()
}

fn of_ada() -> Query {
    Query::default().user(user("ada")).newest_first(true)
}

fn ids(page: &Interactions) -> Vec<InteractionId> {
    page.interactions.iter().map(|interaction| interaction.id).collect()
}

/// All pages of a query; each but the last holds as many as it may.
fn pages(engine: &Engine, mut query: Query) -> Vec<Interaction> {
    let mut all = Vec::new();
    loop {
        let page = engine.interactions(&query).unwrap();
        all.extend(page.interactions.iter().cloned());
        match page.next {
            Some(next) => {
                assert_eq!(page.interactions.len(), query.limit, "a full page");
                query = query.after(next);
            }
            None => return all,
        }
    }
}

/// What a page for people is made of, from a listing of single records.
fn from_records(engine: &Engine, query: &Query) -> Vec<Interaction> {
    let records = engine.list(&query.clone().limit(0)).unwrap().records;
    let of_one = records.chunk_by(|a, b| a.interaction == b.interaction && a.user == b.user);
    let model = |records: &[keyfall::RecordInfo]| {
        let page = engine.interactions(
            &Query::default().user(records[0].user.clone()).interaction(records[0].interaction),
        );
        let mut interaction = page.unwrap().interactions.remove(0);
        let mut records = records.to_vec();
        records.sort_by_key(|r| (r.created, r.class.clone(), r.id));
        interaction.records = records;
        interaction
    };
    of_one.map(model).collect()
}

#[test]
fn each_stands_whole_on_one_page_in_both_directions() {
    let world = World::new(11, SMALL_PAGES);
    let engine = world.engine();
    for n in 0..23 {
        put(engine, "ada", n, Class::audio());
        for _ in 0..n % 4 {
            put(engine, "ada", n, Class::transcript());
        }
        if n % 3 == 0 {
            put(engine, "ada", n, Class::action());
            // The same exchange, of another user: an entry of its own.
            put(engine, "ben", n, Class::action());
        }
    }
    for newest_first in [false, true] {
        let ada = Query::default().user(user("ada")).newest_first(newest_first);
        let span = ada.clone().from(nth(4).began()).until(nth(17).began());
        let everybody = Query::default().newest_first(newest_first);
        for query in [ada.clone().class(Class::action()), ada, span, everybody] {
            let expected = from_records(engine, &query);
            assert!(expected.len() > 7);
            for limit in 1..=expected.len() + 1 {
                assert_eq!(pages(engine, query.clone().limit(limit)), expected, "{limit}");
            }
        }
    }
    let all = engine.interactions(&of_ada()).unwrap();
    assert_eq!(ids(&all), (0..23).rev().map(nth).collect::<Vec<_>>());
    let six = engine.interactions(&of_ada().interaction(nth(6))).unwrap().interactions;
    let classes: Vec<_> = six[0].records.iter().map(|r| r.class.as_str()).collect();
    assert_eq!(classes, ["audio", "transcript", "transcript", "action"], "as they were made");
    assert_eq!((six[0].of(&Class::transcript()).count(), six[0].began()), (2, nth(6).began()));
    assert!(!six[0].more);
    assert_eq!(error_kind(engine.interactions(&Query::default().user(user("nobody")))), {
        ErrorKind::Absent
    });
}

#[test]
fn what_is_put_and_erased_between_two_pages_loses_and_doubles_nothing_else() {
    let world = World::new(12, SMALL_PAGES);
    let engine = world.engine();
    for n in 0..12 {
        for class in [Class::audio(), Class::transcript(), Class::action()] {
            put(engine, "ada", n, class);
        }
    }
    let erase = |n| engine.erase(Scope::interaction(user("ada"), nth(n))).unwrap();
    let page = engine.interactions(&of_ada().limit(4)).unwrap();
    assert_eq!(ids(&page), [11, 10, 9, 8].map(nth));
    // The one that the cursor is in gains a record of each class, and one of a new class.
    for class in ["audio", "transcript", "action", "note"] {
        put(engine, "ada", 8, Class::new(class).unwrap());
    }
    let page = engine.interactions(&of_ada().limit(4).after(page.next)).unwrap();
    assert_eq!(ids(&page), [7, 6, 5, 4].map(nth));
    assert!(page.interactions.iter().all(|interaction| interaction.records.len() == 3));
    // The one that the cursor is in goes, one before it, and the first one to come; a newer one
    // comes; of one to come the recording goes.
    for n in [4, 6, 3] {
        erase(n);
    }
    put(engine, "ada", 40, Class::audio());
    let spoken = engine.list(&of_ada().interaction(nth(2)).class(Class::audio())).unwrap();
    engine.erase(Scope::record(spoken.records[0].id)).unwrap();
    let rest = engine.interactions(&of_ada().limit(4).after(page.next)).unwrap();
    assert_eq!((ids(&rest), rest.next), ([2, 1, 0].map(nth).to_vec(), None));
    let counts: Vec<_> = rest.interactions.iter().map(|i| i.records.len()).collect();
    assert_eq!(counts, [2, 3, 3]);
    // A class that the cursor is in goes whole.
    engine
        .erase(Scope::class(user("ada"), page.next.map_or(Class::audio(), |at| of(&page, at))))
        .unwrap();
    let rest = engine.interactions(&of_ada().limit(4).after(page.next)).unwrap();
    assert_eq!(ids(&rest), [2, 1, 0].map(nth));
    // She goes, and another user's interactions are still listed from there.
    put(engine, "ben", 1, Class::audio());
    let everybody = Query::default().after(page.next);
    engine.erase(Scope::user(user("ada"))).unwrap();
    let left = engine.interactions(&everybody).unwrap().interactions.len();
    let tail = engine.list(&everybody).unwrap().records.len();
    assert_eq!(left, tail);
    assert_eq!(error_kind(engine.interactions(&of_ada())), ErrorKind::Erased);
}

/// The class of the record that a page ended with.
fn of(page: &Interactions, at: RecordId) -> Class {
    let mut records = page.interactions.iter().flat_map(|interaction| &interaction.records);
    records.find(|record| record.id == at).unwrap().class.clone()
}

#[test]
fn a_page_holds_ten_thousand_records_at_most() {
    const MOST: usize = 10_000;
    let world = World::new(13, Geometry::DEFAULT);
    let engine = world.engine();
    let fill = |n: u64, class: Class, count: usize| {
        let mut batch = engine.batch();
        for _ in 0..count {
            batch.add(Put::new(user("ada"), class.clone()).interaction(nth(n)), &b"x"[..]).unwrap();
        }
        batch.commit().unwrap();
    };
    fill(1, Class::audio(), 2);
    fill(2, Class::audio(), MOST / 2 + 1);
    fill(2, Class::action(), MOST / 2);
    fill(3, Class::audio(), MOST / 2);
    fill(4, Class::audio(), MOST / 2);
    fill(5, Class::action(), 1);
    let (mut query, mut seen) = (of_ada(), Vec::new());
    loop {
        let page = engine.interactions(&query).unwrap();
        let of_one = |i: &Interaction| (i.id, i.records.len(), i.more);
        seen.push(page.interactions.iter().map(of_one).collect::<Vec<_>>());
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    let expected = [
        vec![(nth(5), 1, false), (nth(4), MOST / 2, false)],
        vec![(nth(3), MOST / 2, false)],
        vec![(nth(2), MOST, true)],
        vec![(nth(1), 2, false)],
    ];
    assert_eq!(seen, expected);
}

#[test]
fn what_fell_with_its_source_is_in_none() {
    let mut world = World::new(14, SMALL_PAGES);
    world.options = world.options.clone().follow(Follow { links: 0, users: 0 });
    world.reopen();
    let engine = world.engine();
    let call = world.put("ben", Class::audio(), b"a call");
    let notes = Put::new(user("ada"), Class::transcript()).interaction(nth(1));
    engine.put(notes.derived_from(call), &b"notes"[..]).unwrap();
    for n in [1, 2] {
        put(engine, "ada", n, Class::action());
    }
    let alone = Put::new(user("ada"), Class::transcript()).interaction(nth(3));
    engine.put(alone.derived_from(call), &b"more notes"[..]).unwrap();
    assert!(engine.erase(Scope::record(call)).unwrap().following);
    for limit in [1, 2, 3] {
        let all = pages(engine, of_ada().limit(limit));
        let of_one = |i: &Interaction| (i.id, i.records.len());
        assert_eq!(all.iter().map(of_one).collect::<Vec<_>>(), [(nth(2), 1), (nth(1), 1)]);
    }
}

#[test]
fn a_page_is_cut_into_the_days_of_a_zone() {
    let world = World::new(15, SMALL_PAGES);
    let engine = world.engine();
    let began = |text: &str| InteractionId::from_parts(text.parse().unwrap(), [1; 10]);
    for text in [
        "2025-12-23T22:59:59.999Z",
        "2025-12-23T23:00:00Z",
        "2025-12-24T12:00:00Z",
        "2025-12-24T23:30:00Z",
        "2025-12-25T00:00:00Z",
    ] {
        let put = Put::new(user("ada"), Class::audio()).interaction(began(text));
        engine.put(put.clone(), &b"x"[..]).unwrap();
        engine.put(put, &b"y"[..]).unwrap();
    }
    let days = |query: &Query, zone: &str| -> Vec<(String, usize)> {
        let zone: Zone = zone.parse().unwrap();
        let page = engine.interactions(query).unwrap();
        page.by_day(&zone).map(|(day, of_day)| (day.to_string(), of_day.len())).collect()
    };
    let expect = |days: &[(&str, usize)]| -> Vec<(String, usize)> {
        days.iter().map(|(day, n)| ((*day).to_owned(), *n)).collect()
    };
    let in_utc = [("2025-12-25", 1), ("2025-12-24", 2), ("2025-12-23", 2)];
    assert_eq!(days(&of_ada(), "UTC"), expect(&in_utc));
    let in_berlin = [("2025-12-25", 2), ("2025-12-24", 2), ("2025-12-23", 1)];
    assert_eq!(days(&of_ada(), "Europe/Berlin"), expect(&in_berlin));
    assert_eq!(days(&of_ada().newest_first(false).limit(2), "UTC"), expect(&[("2025-12-23", 2)]));
    assert!(Interactions::default().by_day(&Zone::utc()).next().is_none());
    // Another user's are not of the same run, though of the same day.
    let put = Put::new(user("ben"), Class::audio()).interaction(began("2025-12-25T00:00:00Z"));
    engine.put(put, &b"z"[..]).unwrap();
    let of_two = Query::default().from(began("2025-12-25T00:00:00Z").began());
    assert_eq!(days(&of_two, "UTC"), expect(&[("2025-12-25", 1), ("2025-12-25", 1)]));

    // An erase of a day takes what stands below that day, and nothing else.
    let berlin: Zone = "Europe/Berlin".parse().unwrap();
    let page = engine.interactions(&of_ada()).unwrap();
    let (day, of_day) = page.by_day(&berlin).nth(1).unwrap();
    let of_that = engine.interactions(&of_ada().within(day.span())).unwrap();
    assert_eq!(of_that.interactions, of_day);
    let scope = Scope::within(user("ada"), day.span());
    assert_eq!(engine.erase(scope).unwrap().records, Some(2 * of_day.len() as u64));
    let rest = [("2025-12-25", 2), ("2025-12-23", 1)];
    assert_eq!(days(&of_ada(), "Europe/Berlin"), expect(&rest));
}
