//! A standby beside a place that goes back to an earlier state, and one that misses what the writer
//! leaves.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use keyfall::cell::MemoryCell;
use keyfall::opening::{Beside, StandBy};
use keyfall::store::{ObjectLog, Store};
use keyfall::{Builder, Engine, ErrorKind};
use keyfall_objects::{MemoryObjects, Objects};

use crate::engines::{options, put, read};

/// How long an owner reads without asking.
const LOAN: Duration = Duration::from_secs(2);
const FOLDERS: [&str; 8] = ["a", "b", "c", "d", "f", "p", "s", "x"];

pub(crate) fn log(objects: &Arc<MemoryObjects>) -> Arc<dyn Store> {
    Arc::new(ObjectLog::open_or_create(Arc::clone(objects) as Arc<dyn Objects>).unwrap())
}

/// The numbered objects, and all that is of the log.
pub(crate) fn all(objects: &MemoryObjects) -> BTreeMap<String, Vec<u8>> {
    let list = |folder| objects.list(folder, "", 10_000).unwrap();
    let named = FOLDERS.into_iter().flat_map(list);
    named.map(|it| (it.name.clone(), objects.get(&it.name).unwrap().unwrap())).collect()
}

/// Has a place hold this, and nothing else of the log.
fn set(objects: &MemoryObjects, to: &BTreeMap<String, Vec<u8>>) {
    all(objects).keys().for_each(|name| objects.delete(name).unwrap());
    to.iter().for_each(|(name, bytes)| _ = objects.create(name, bytes).unwrap());
}

fn how() -> StandBy {
    StandBy::new().every(Duration::from_millis(2)).gone_after(Duration::from_millis(40))
}

/// What was acknowledged is gone with it: a claim over what the standby saw before would hide that,
/// and lead to blobs that are not there.
#[test]
fn a_standby_claims_over_no_place_that_went_back() {
    for (what, later) in [("set back", false), ("emptied", false), ("gone on elsewhere", true)] {
        let objects = Arc::new(MemoryObjects::new());
        let cell = Arc::new(MemoryCell::new());
        let engine = Engine::init(log(&objects), cell.clone(), options()).unwrap();
        put(&engine, 1, b"before").unwrap();
        let mut before = all(&objects);
        if what == "emptied" {
            before.clear();
        }
        (2..8).for_each(|n| _ = put(&engine, n, b"acknowledged").unwrap());
        let newest = all(&objects).keys().rfind(|name| name.starts_with("c/")).unwrap().clone();
        if later {
            // Another object under the name of the newest.
            let mut other = all(&objects);
            let bytes = other.get_mut(&newest).unwrap();
            *bytes = before.values().next_back().unwrap().clone();
            before = other;
        }
        let mut looks = 0;
        let standby = Builder::over(log(&objects), cell).options(options());
        let e = standby
            .stand_by(&how().probe(|| false), &mut |beside| {
                assert!(!matches!(beside, Beside::Gone(_)), "{what}: it takes the store over");
                looks += 1;
                if looks == 3 {
                    set(&objects, &before);
                }
                if looks > 2000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt, "{what}: {e}");
        assert!(e.to_string().contains("went back to an earlier state"), "{what}: {e}");
        assert_eq!(all(&objects), before, "{what}: it left something");
    }
}

/// A writer keeps its last two signs: whoever looks less often finds none that comes after the one
/// seen last. While there are such it lives, and once there are none it is gone.
#[test]
fn a_standby_that_missed_signs_still_takes_over() {
    let objects = Arc::new(MemoryObjects::new());
    let cell = Arc::new(MemoryCell::new());
    let engine = Engine::init(log(&objects), cell.clone(), options()).unwrap();
    let kept = put(&engine, 1, b"kept").unwrap();
    engine.ownership().beat().unwrap();
    let mut looks = 0;
    let standby = Builder::over(log(&objects), cell).options(options());
    let next = standby.stand_by(&how(), &mut |beside| {
        looks += 1;
        let lives = looks < 100;
        assert!(!lives || !matches!(beside, Beside::Gone(_)), "it took a living writer for gone");
        if lives {
            (0..4).for_each(|_| engine.ownership().beat().unwrap());
        }
        if looks > 5000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let next = next.unwrap().expect("it waits for ever");
    assert_eq!(read(&next, &kept).unwrap(), b"kept");
}

/// A writer that goes on putting over a place that went back: each put that it made since hid what
/// was gone. It finds out at its next question, which its next read asks, and ends.
#[test]
fn a_writer_finds_out_that_its_place_went_back_under_it() {
    for (asked, emptied) in [(true, false), (false, false), (true, true), (false, true)] {
        let objects = Arc::new(MemoryObjects::new());
        let engine = Engine::init(log(&objects), Arc::new(MemoryCell::new()), options()).unwrap();
        let first = put(&engine, 1, b"before").unwrap();
        let mut before = all(&objects);
        if emptied {
            before.retain(|name, _| !name.starts_with("c/"));
        }
        let waits = || std::thread::sleep(LOAN + Duration::from_millis(100));
        waits();
        (2..6).for_each(|n| _ = put(&engine, n, b"acknowledged").unwrap());
        if asked {
            read(&engine, &first).unwrap();
        }
        waits();
        set(&objects, &before);
        // That these are lost nobody can know.
        (6..9).for_each(|n| drop(put(&engine, n, b"over what is gone")));
        let e = read(&engine, &first).unwrap_err();
        assert!(e.to_string().contains("went back to an earlier state"), "{asked} {emptied}: {e}");
        assert!(engine.is_poisoned());
        let e = put(&engine, 9, b"late").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Poisoned, "{e}");
    }
}
