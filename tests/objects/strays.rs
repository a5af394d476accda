//! Blobs whose names say no place, while a survey looks for them and a reader has just forgotten
//! where they lie.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyfall::store::{BlobName, Collect, Head, HeadId, ObjectLog, Published, Store};
use keyfall_objects::{Created, Listed, MemoryObjects, Objects, Result};

/// Objects that hold up one list of strays: it tells that it began, and waits until it may go on.
struct HeldUp {
    inner: MemoryObjects,
    next: Mutex<Option<(SyncSender<()>, Receiver<()>)>>,
}

impl Objects for HeldUp {
    fn place(&self) -> String {
        "memory that is held up".into()
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        self.inner.create(name, bytes)
    }
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.inner.get(name)
    }
    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.inner.get_range(name, from, len)
    }
    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        // Others may list meanwhile.
        let held_up = if folder == "x" { self.next.lock().unwrap().take() } else { None };
        if let Some((begun, goes_on)) = held_up {
            begun.send(()).unwrap();
            goes_on.recv().unwrap();
        }
        self.inner.list(folder, after, limit)
    }
    fn head(&self, name: &str) -> Result<Option<u64>> {
        self.inner.head(name)
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.inner.delete(name)
    }
}

/// What a reader forgets while the tree is walked is learned again: a survey that did without would
/// take every strayed blob after it for dead.
#[test]
fn a_survey_finds_what_a_reader_just_forgot() {
    let objects = Arc::new(HeldUp { inner: MemoryObjects::new(), next: Mutex::default() });
    let log = ObjectLog::create(objects.clone()).unwrap();
    let [gone, lives, dead] = [1, 2, 3].map(|n| BlobName([n; 16]));
    let mut over = None;
    for (commit, name) in (1..).zip([gone, lives, dead]) {
        let head = Head { id: HeadId { epoch: 1, commit }, bytes: vec![1; 40] };
        log.put(&[(name, vec![name.0[0]; 500])]).unwrap();
        assert_eq!(log.commit(&[], over, &head).unwrap(), Published::Done);
        over = Some(head.id);
    }
    let strays = objects.list("x", "", 10).unwrap();
    assert_eq!(strays.len(), 3, "{strays:?}");

    let mut survey = log.survey(Collect::Wipe).unwrap().unwrap();
    // As if another engine had moved it.
    objects.delete(&strays[0].name).unwrap();
    let ((begun, has_begun), (go_on, goes_on)) = (sync_channel(1), sync_channel(1));
    std::thread::scope(|scope| {
        *objects.next.lock().unwrap() = Some((begun, goes_on));
        let reader = scope.spawn(|| log.get(&gone));
        has_begun.recv_timeout(Duration::from_secs(10)).expect("the reader lists again");
        survey.mark(&lives).unwrap();
        go_on.send(()).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), None);
    });
    survey.collect(1000, &|_| false).unwrap();
    drop(survey);
    assert_eq!(log.get(&lives).unwrap(), Some(vec![2; 500]));
    assert_eq!(log.get(&dead).unwrap(), None, "nothing was given back");
}
