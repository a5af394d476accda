//! What tests wrap around a store takes the way that the store takes alone: it reads in the order
//! of places, several blobs with one request, and a claim repeats the root page.

use std::sync::Arc;

use keyfall::cell::{MemoryCell, RootCell};
use keyfall::store::{BlobName, Claimed, Cursor, ObjectLog, Store};
use keyfall::testing::sim::{Adapters, Fault, Media};
use keyfall::testing::{RecordingStore, Tape};
use keyfall::{Class, Engine, Put};
use keyfall_objects::{CountedObjects, MemoryObjects, Objects};

use crate::engines::{numbered, options, user};

/// A store in memory that holds a pack.
fn written() -> Arc<CountedObjects> {
    let counted = Arc::new(CountedObjects::over(Arc::new(MemoryObjects::new())));
    let log = Arc::new(ObjectLog::create(counted.clone() as Arc<dyn Objects>).unwrap());
    let engine = Engine::init(log, Arc::new(MemoryCell::new()), options()).unwrap();
    let mut batch = engine.batch();
    for n in 0..4000 {
        batch.add(Put::new(user(n), Class::audio()), &[n as u8; 2000][..]).unwrap();
    }
    batch.commit().unwrap();
    engine.close().unwrap();
    assert!(!counted.list("p", "", 10).unwrap().is_empty(), "no pack");
    counted
}

fn log(counted: &Arc<CountedObjects>) -> Arc<dyn Store> {
    Arc::new(ObjectLog::open(counted.clone() as Arc<dyn Objects>).unwrap())
}

fn recording(counted: &Arc<CountedObjects>) -> Arc<dyn Store> {
    Arc::new(RecordingStore::new(log(counted), Arc::new(Tape::default())))
}

/// At whose stores' verbs faults can be planned.
fn simulated(counted: &Arc<CountedObjects>) -> Arc<Adapters> {
    let counted = Arc::clone(counted);
    let cell = || Ok(Arc::new(MemoryCell::new()) as Arc<dyn RootCell>);
    Adapters::new(move |_, _| Ok(log(&counted)), cell)
}

/// The last blob of the newest commit.
fn last_of(counted: &CountedObjects) -> (String, BlobName) {
    let number = counted.list("c", "", 1000).unwrap().len() as u64;
    let name = numbered(counted, "c/", number);
    let object = counted.get(&name).unwrap().unwrap();
    let field = |at: usize| u32::from_be_bytes(object[at..at + 4].try_into().unwrap()) as usize;
    let at = 64 + field(36) + field(44) + 20 * (field(40) - 1);
    (name, BlobName(object[at..at + 16].try_into().unwrap()))
}

/// Reads all blobs that have a place from the highest to the lowest; says how many those are, and
/// how many requests that takes.
fn read_along(store: &dyn Store, names: &[BlobName], counted: &CountedObjects) -> (usize, u64) {
    let with_place = |name: &BlobName| Some((store.place_of(name)?, *name));
    let mut places: Vec<(u128, BlobName)> = names.iter().filter_map(with_place).collect();
    places.sort_unstable();
    counted.take();
    for (_, name) in places.iter().rev() {
        assert!(store.get_along(name).unwrap().is_some());
    }
    (places.len(), counted.take().gets)
}

#[test]
fn a_wrapped_store_reads_in_the_order_of_places() {
    let counted = written();
    let names = log(&counted).names(Cursor::default(), 100_000).unwrap().0;
    let (blobs, gets) = read_along(&*log(&counted), &names, &counted);
    assert!(blobs > 4000 && gets < 20, "{blobs} blobs, {gets} gets");
    let faulty = simulated(&counted).store("store", false).unwrap();
    for (what, store) in [("recording", recording(&counted)), ("faulty", faulty)] {
        assert_eq!(read_along(&*store, &names, &counted), (blobs, gets), "{what}");
    }
}

#[test]
fn a_claim_of_a_wrapped_store_repeats_the_root_page() {
    for is_recording in [true, false] {
        let counted = written();
        let (before, root) = last_of(&counted);
        let store = match is_recording {
            true => recording(&counted),
            false => simulated(&counted).store("store", false).unwrap(),
        };
        store.reads_first(&root);
        let claimed = store.claimed().unwrap().unwrap();
        let next = Claimed { claim: claimed.claim + 1, known: claimed.next, ..claimed };
        store.claim(&Claimed { next: [7; 16], ..next }).unwrap();
        let listed = counted.list("c", &before, 10).unwrap();
        let object = counted.get(&listed[0].name).unwrap().unwrap();
        let repeats = object.windows(16).any(|part| part == root.0);
        assert!(repeats, "recording: {is_recording}: a claim without the root page");
    }
}

#[test]
fn a_fault_befalls_what_reads_along() {
    let counted = written();
    let media = simulated(&counted);
    let store = media.store("store", false).unwrap();
    let (_, name) = last_of(&counted);
    media.gate().plan(Some((1, Fault::Fails)));
    assert!(store.get_along(&name).is_err(), "no fault befell it");
    media.gate().plan(None);
    assert!(store.get_along(&name).unwrap().is_some());
}
