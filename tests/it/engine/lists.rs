//! Listings, page by page. SPEC §5.2, §5.3.

use keyfall::{Class, Put, Query};

use crate::support::{SMALL_PAGES, World, user};

#[test]
fn listings_page_in_both_directions() {
    let world = World::new(7, SMALL_PAGES);
    let engine = world.engine();
    let mut all = Vec::new();
    for n in 0..40u8 {
        let i = engine.new_interaction().unwrap();
        for class in [Class::audio(), Class::transcript()] {
            all.push(engine.put(Put::new(user("ada"), class).interaction(i), &[n][..]).unwrap());
        }
        world.put(&format!("u{n}"), Class::action(), &[n]);
    }
    for newest_first in [false, true] {
        let mut query = Query::default().user(user("ada")).newest_first(newest_first).limit(7);
        let mut seen = Vec::new();
        loop {
            let page = engine.list(&query).unwrap();
            seen.extend(page.records.iter().map(|r| r.id));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        let times: Vec<_> = seen.iter().map(|id| id.interaction()).collect();
        let sorted =
            times.windows(2).all(|w| if newest_first { w[0] >= w[1] } else { w[0] <= w[1] });
        assert!(sorted, "in order of time");
        seen.sort_unstable();
        let mut expected = all.clone();
        expected.sort_unstable();
        assert_eq!(seen, expected, "each record once");
    }
    let mut query = Query::default().limit(9);
    let mut seen = 0;
    loop {
        let page = engine.list(&query).unwrap();
        seen += page.records.len();
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, 120, "all users, page by page");
    let audio = engine.list(&Query::default().class(Class::audio())).unwrap();
    assert_eq!(audio.records.len(), 40);
}
