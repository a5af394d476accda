//! What an observer is told: what was done, with counts; and nobody's data, in no event, no line of
//! `tracing` and no metric. It is built without the programs by
//! `cargo test --no-default-features --features sled,tokio,tracing,metrics --test observing`.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, Weak};
use std::time::{Duration, Instant};

use keyfall::cell::MemoryCell;
use keyfall::engine::{Cleaner, CopyMode, Geometry, Grant, Hold, Keeper, OpenAs, Watched, restore};
use keyfall::env::{Env, System};
use keyfall::observer::{
    AwaitedBy, ClosedBy, CommitKind, Event, Metrics, Observer, Outcome, ScopeKind, Tracing,
};
use keyfall::sealed::{Identity, seal};
use keyfall::store::{
    Blob, BlobName, Cleaned, Cursor, Head, HeadId, MemoryStore, Packing, Published, Removed, Store,
    Usage, Waste,
};
use keyfall::testing::Seeded;
use keyfall::{
    AsyncEngine, Class, Engine, Erase, Error, ErrorKind, InteractionId, Options, Policy, Put,
    PutMode, Query, RecordId, Result, Scope, Source, Timestamp, UserId, When,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const SMALL_PAGES: Geometry = Geometry { page_bytes: 1024, fan_bits: 2, ..Geometry::DEFAULT };

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// What a store does when it is to give space back.
#[derive(Clone, Copy)]
enum Cleans {
    Some,
    GetsStuck,
    Fails,
    Panics,
}

/// A store that fails and loses what a test tells it to.
struct Faulty {
    inner: MemoryStore,
    place: &'static str,
    fails: AtomicBool,
    /// A write of the keeper's thread panics.
    panics: AtomicBool,
    lost: Mutex<BTreeSet<BlobName>>,
    /// `None`: it cannot give space back automatically.
    cleans: Mutex<Option<Cleans>>,
}

impl Faulty {
    fn new(place: &'static str) -> Arc<Self> {
        let (fails, panics) = (AtomicBool::new(false), AtomicBool::new(false));
        let (lost, cleans) = (Mutex::default(), Mutex::default());
        Arc::new(Faulty { inner: MemoryStore::new(), place, fails, panics, lost, cleans })
    }

    fn set_failing(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    fn set_cleaning(&self, cleans: Cleans) {
        *self.cleans.lock().unwrap() = Some(cleans);
    }

    fn may(&self) -> Result<()> {
        let is_keeper = std::thread::current().name() == Some("keyfall-keeper");
        assert!(!(is_keeper && self.panics.load(Ordering::SeqCst)), "a store that panics");
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Io, format!("{} does not answer", self.place)));
        }
        Ok(())
    }
}

impl Store for Faulty {
    fn place(&self) -> String {
        self.place.into()
    }
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        let lost = self.lost.lock().unwrap().contains(name);
        if lost { Ok(None) } else { self.inner.get(name) }
    }
    fn contains(&self, name: &BlobName) -> Result<bool> {
        self.inner.contains(name)
    }
    fn put(&self, blobs: &[Blob]) -> Result<()> {
        self.may()?;
        self.inner.put(blobs)
    }
    fn head(&self) -> Result<Option<Head>> {
        self.inner.head()
    }
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        self.may()?;
        self.inner.commit(blobs, over, head)
    }
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        self.inner.names(from, limit)
    }
    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        self.may()?;
        self.inner.remove(names)
    }
    fn waste(&self) -> Result<Option<Waste>> {
        Ok(self.cleans.lock().unwrap().map(|_| Waste::default()))
    }
    fn clean(&self, _: u64, _: Packing) -> Result<Cleaned> {
        let cleans = *self.cleans.lock().unwrap();
        match cleans {
            None => Ok(Cleaned::default()),
            Some(Cleans::Some) => Ok(Cleaned { freed: 300, moved: 20, ..Cleaned::default() }),
            Some(Cleans::GetsStuck) => {
                let stuck = Some(format!("{} has a bad sector", self.place));
                Ok(Cleaned { stuck, ..Cleaned::default() })
            }
            Some(Cleans::Fails) => {
                Err(Error::new(ErrorKind::Io, format!("{} reads nothing", self.place)))
            }
            Some(Cleans::Panics) => panic!("a defect in the store at {}", self.place),
        }
    }
    fn usage(&self) -> Result<Usage> {
        self.inner.usage()
    }
}

/// Keeps every event.
#[derive(Default)]
struct Seen(Mutex<Vec<Event>>);

impl Observer for Seen {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(*event);
    }
}

impl Seen {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What came since this was last asked.
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn has(&self, what: impl Fn(&Event) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(what)
    }
}

fn wait_for(seen: &Seen, what: impl Fn(&Event) -> bool) {
    let began = Instant::now();
    while !seen.has(&what) {
        assert!(began.elapsed() < Duration::from_secs(60), "a minute long: {:?}", seen.take());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn options(observer: Arc<dyn Observer>) -> Options {
    Options::new()
        .env(Arc::new(Seeded::new(1)))
        .geometry(SMALL_PAGES)
        .keeper(Keeper::ByHand)
        .observer(observer)
}

fn init(options: &Options) -> Engine {
    let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    Engine::init(store, cell, options.clone()).unwrap()
}

fn put(engine: &Engine, name: &str) -> RecordId {
    engine.put(Put::new(user(name), Class::audio()), &b"content"[..]).unwrap()
}

#[test]
fn puts_and_erases_are_told_with_their_counts() {
    let seen = Seen::new();
    let engine = init(&options(seen.clone()));
    assert!(matches!(seen.take()[..], [Event::Opened { owner: true, users: 0, copies: 0, .. }]));
    let id = put(&engine, "ada");
    let [Event::Commit { kind, head, requests, records, bytes, written, users, waited, .. }] =
        seen.take()[..]
    else {
        panic!("one commit")
    };
    assert_eq!((kind, head), (CommitKind::Put, engine.head()));
    assert_eq!((requests, records, bytes, users), (1, 1, 7, 1));
    assert!(written > 7 && waited.is_some());
    let mut batch = engine.batch();
    for n in 0..5 {
        batch.add(Put::new(user("ben"), Class::audio()), &vec![n; 100][..]).unwrap();
    }
    batch.commit().unwrap();
    assert!(matches!(
        seen.take()[..],
        [Event::Commit { kind: CommitKind::Put, requests: 1, records: 5, bytes: 500, .. }]
    ));
    // An open reader is cut, the root key retired, and the erase told last.
    let reader = engine.get(&id).unwrap();
    engine.erase(Scope::user(user("ada"))).unwrap();
    let epoch = engine.head().epoch;
    let events = seen.take();
    assert!(
        matches!(
            events[..],
            [
                Event::ReadersClosed { readers: 1, why: ClosedBy::Erase, .. },
                Event::RootKeyRetired { epoch: retired, .. },
                Event::Commit { kind: CommitKind::Erase, requests: 1, users: 1, .. },
                Event::Erase {
                    scope: ScopeKind::User,
                    records: Some(1),
                    outcome: Outcome::Final,
                    ..
                },
            ] if retired == epoch
        ),
        "{events:#?}"
    );
    drop(reader);
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert!(matches!(seen.take()[..], [Event::Erase { outcome: Outcome::Already, .. }]));
    let hold = engine.holds(&user("ben")).add(Hold::new("a case", "a court")).unwrap();
    engine.erase(Scope::user(user("ben"))).unwrap_err();
    let held = |e: &Event| match e {
        Event::Erase { outcome, records: None, .. } => outcome.error() == Some(ErrorKind::Held),
        _ => false,
    };
    assert!(seen.has(held));
    engine.holds(&user("ben")).lift(hold, "it is over", "a court").unwrap();
    seen.take();
    let waits = Erase::new(Scope::class(user("ben"), Class::audio())).final_within(DAY);
    engine.erase(waits).unwrap();
    let pending = |e: &Event| {
        matches!(e, Event::Erase { scope: ScopeKind::Class, outcome: Outcome::Pending, .. })
    };
    assert!(seen.has(pending));
    seen.take();
    engine.discard(&mut |_| {}).unwrap();
    assert!(matches!(
        seen.take()[..],
        [Event::Discard { blobs: 1.., copies_skipped: 0, error: None, .. }]
    ));
    let head = engine.head();
    engine.close().unwrap();
    assert_eq!(seen.take().len(), 1, "closed, and nothing else");
    assert!(head.commit > 0);
}

#[test]
fn a_limit_of_thirty_days_is_seen_to_be_carried_out() {
    let seen = Seen::new();
    let env = Arc::new(Seeded::new(2));
    let engine = init(&options(seen.clone()).env(env.clone()));
    engine.policies(None).set(&Policy::new(Class::audio()).max_age(30 * DAY)).unwrap();
    put(&engine, "ada");
    put(&engine, "ben");
    seen.take();
    engine.run_due(&mut |_| {}).unwrap();
    assert!(!seen.has(|e| matches!(e, Event::Due { .. })), "nothing is due");
    env.advance(31 * 24 * 3_600_000);
    engine.run_due(&mut |_| {}).unwrap();
    let due = seen.take().into_iter().filter(|e| matches!(e, Event::Due { .. }));
    let due: Vec<Event> = due.collect();
    let [Event::Due { late, overdue, expired, failed, waiting, error, .. }] = due[..] else {
        panic!("told once: {due:?}")
    };
    assert_eq!((expired, failed, waiting, error), (2, 0, false, None));
    // By the clock it was due a day ago, within the steps in which limits are looked at.
    assert!(late >= DAY / 2 && late <= DAY + DAY / 2, "{late:?}");
    assert_eq!(overdue, Duration::ZERO);
}

#[test]
fn a_failing_store_poisons_and_the_keeper_says_that_it_failed() {
    let seen = Seen::new();
    let store = Faulty::new("disk");
    let options = options(seen.clone()).env(Arc::new(System)).keeper(Keeper::Thread);
    let engine = Engine::init(store.clone(), Arc::new(MemoryCell::new()), options).unwrap();
    let id = put(&engine, "ada");
    let soon = Timestamp(System.now().0 + 1500);
    engine.erase_at(Scope::record(id), soon).unwrap();
    store.set_failing(true);
    wait_for(&seen, |e| matches!(e, Event::KeeperFailed { .. }));
    let events = seen.take();
    let at = |what: &dyn Fn(&Event) -> bool| events.iter().position(what).unwrap();
    let poisoned = at(&|e| matches!(e, Event::Poisoned { error: ErrorKind::Io, .. }));
    let commit = at(&|e| {
        matches!(e, Event::CommitFailed { kind: CommitKind::Due, error: ErrorKind::Io, .. })
    });
    let due = at(&|e| matches!(e, Event::Due { error: Some(ErrorKind::Io), .. }));
    let keeper = at(&|e| matches!(e, Event::KeeperFailed { error: ErrorKind::Io, .. }));
    assert!(poisoned < commit && commit < due && due < keeper, "{events:#?}");
    let put = engine.put(Put::new(user("ada"), Class::audio()), &b"x"[..]);
    assert_eq!(put.unwrap_err().kind(), ErrorKind::Poisoned);
    // The keeper waits, and goes on once the engine is reopened.
    assert!(!seen.has(|e| matches!(e, Event::KeeperStopped { .. })));
    store.set_failing(false);
    engine.reopen().unwrap();
    wait_for(&seen, |e| matches!(e, Event::Opened { .. }));
    wait_for(&seen, |e| matches!(e, Event::Due { error: None, .. }));
}

#[test]
fn what_the_cleaner_gives_back_is_told_and_so_is_what_it_fails_with() {
    let seen = Seen::new();
    let store = Faulty::new("disk");
    let options = options(seen.clone()).env(Arc::new(System));
    let cell = Arc::new(MemoryCell::new());
    let engine = Engine::init(store.clone(), cell.clone(), options.clone()).unwrap();
    seen.take();
    engine.clean().unwrap();
    assert!(seen.take().is_empty(), "there was nothing to give back");
    store.set_cleaning(Cleans::Some);
    engine.clean().unwrap();
    let events = seen.take();
    assert!(
        matches!(
            events[..],
            [Event::Clean { freed: 300, moved: 20, stuck: false, error: None, swept: false, .. }]
        ),
        "{events:#?}"
    );
    store.set_cleaning(Cleans::GetsStuck);
    assert!(engine.clean().unwrap().stuck.is_some());
    assert!(matches!(seen.take()[..], [Event::Clean { freed: 0, stuck: true, .. }]));
    engine.close().unwrap();
    // By the thread, which looks a second after the opening.
    let keeping = options.keeper(Keeper::Thread);
    let open = |cleans| {
        store.set_cleaning(cleans);
        Engine::open(store.clone(), cell.clone(), keeping.clone()).unwrap()
    };
    let engine = open(Cleans::Fails);
    wait_for(&seen, |e| matches!(e, Event::CleanerFailed { error: ErrorKind::Io, .. }));
    assert!(seen.has(|e| matches!(e, Event::Clean { error: Some(ErrorKind::Io), .. })));
    put(&engine, "ada");
    engine.close().unwrap();
    assert!(!seen.has(|e| matches!(e, Event::CleanerStopped { .. })), "it ended with its engine");
    let engine = open(Cleans::Panics);
    wait_for(&seen, |e| matches!(e, Event::CleanerStopped { panicked: true, .. }));
    put(&engine, "ada");
    assert!(!seen.has(|e| matches!(e, Event::Poisoned { .. } | Event::KeeperStopped { .. })));
}

#[test]
fn a_copy_in_step_that_goes_away_and_comes_back_is_told_once_each() {
    let seen = Seen::new();
    let copy = Faulty::new("copy");
    let opened = Arc::clone(&copy);
    let options = options(seen.clone())
        .open_copy(Arc::new(move |_, _| Ok(Arc::clone(&opened) as Arc<dyn Store>)));
    let engine = init(&options);
    engine.copies().add("copy", CopyMode::InStep, &mut |_| {}).unwrap();
    put(&engine, "ada");
    seen.take();
    copy.set_failing(true);
    engine.erase(Scope::user(user("ada"))).unwrap_err();
    assert!(seen.has(|e| matches!(
        e,
        Event::CopyMissed { copy: 0, error: ErrorKind::Io, erase: true, .. }
    )));
    assert!(
        seen.has(|e| matches!(e, Event::RootKeyAwaited { by: AwaitedBy::Engine, .. })),
        "{:?}",
        seen.take()
    );
    seen.take();
    engine.put(Put::new(user("ben"), Class::audio()), &b"x"[..]).unwrap_err();
    assert!(!seen.has(|e| matches!(e, Event::CopyMissed { .. })), "it was told");
    seen.take();
    copy.set_failing(false);
    // It looks whether all is settled.
    engine.status().unwrap();
    let events = seen.take();
    assert!(
        matches!(events[..], [Event::CopyInStep { copy: 0, .. }, Event::RootKeyRetired { .. }, ..]),
        "{events:#?}"
    );
}

#[test]
fn a_doubted_clock_is_told_once_and_so_is_its_being_believed() {
    let seen = Seen::new();
    let env = Arc::new(Seeded::new(3));
    let engine = init(&options(seen.clone()).env(env.clone()));
    put(&engine, "ada");
    seen.take();
    env.set_wrong(100 * 24 * 3_600_000);
    put(&engine, "ada");
    put(&engine, "ada");
    let doubted = |e: &&Event| matches!(e, Event::ClockDoubted { ahead: true, .. });
    let events = seen.take();
    assert_eq!(events.iter().filter(doubted).count(), 1, "{events:#?}");
    env.set_wrong(0);
    put(&engine, "ada");
    assert!(seen.has(|e| matches!(e, Event::ClockBelieved { .. })));
}

/// Calls the engine from within an event, once for each.
struct Caller {
    engine: Mutex<Weak<Mutex<Option<Engine>>>>,
    left: AtomicU64,
    failed: AtomicU64,
}

impl Observer for Caller {
    fn event(&self, event: &Event) {
        let Some(engine) = self.engine.lock().unwrap().upgrade() else { return };
        let engine = engine.lock().unwrap().clone();
        if !matches!(event, Event::Commit { .. } | Event::Discard { .. }) {
            return;
        }
        let Some(engine) = engine.filter(|_| {
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
        }) else {
            return;
        };
        let id = put(&engine, "observer");
        let calls = [
            engine.erase(Scope::record(id)).map(drop),
            engine.discard(&mut |_| {}).map(drop),
            engine.status().map(drop),
            engine.run_due(&mut |_| {}).map(drop),
        ];
        self.failed.fetch_add(calls.iter().filter(|c| c.is_err()).count() as u64, Ordering::SeqCst);
    }
}

#[test]
fn an_observer_may_call_the_engine() {
    let (left, failed) = (AtomicU64::new(6), AtomicU64::new(0));
    let observer = Arc::new(Caller { engine: Mutex::default(), left, failed });
    let engine = init(&options(observer.clone()));
    let held = Arc::new(Mutex::new(Some(engine.clone())));
    *observer.engine.lock().unwrap() = Arc::downgrade(&held);
    put(&engine, "ada");
    engine.discard(&mut |_| {}).unwrap();
    engine.rekey().unwrap();
    engine.create_user(&user("ben")).unwrap();
    drop(held);
    assert_eq!(observer.left.load(Ordering::SeqCst), 0);
    assert_eq!(observer.failed.load(Ordering::SeqCst), 0);
}

#[test]
fn a_panic_ends_observing_and_nothing_else() {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let observer = move |_: &Event| {
        assert!(counted.fetch_add(1, Ordering::SeqCst) < 1, "an observer's own mistake");
    };
    let engine = init(&options(Arc::new(observer)));
    for _ in 0..3 {
        let id = put(&engine, "ada");
        engine.erase(Scope::record(id)).unwrap();
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

/// Events of callers that share commits add up, and come in the order of the commits.
#[test]
fn every_record_and_commit_is_told_once_and_in_order() {
    const THREADS: u64 = 8;
    const EACH: u64 = 25;
    let seen = Seen::new();
    let engine = init(&options(seen.clone()).env(Arc::new(System)));
    std::thread::scope(|scope| {
        for n in 0..THREADS {
            let engine = &engine;
            scope.spawn(move || {
                for _ in 0..EACH {
                    put(engine, &format!("user {n}"));
                }
            });
        }
    });
    engine.rekey().unwrap();
    let (mut records, mut requests, mut last) = (0, 0, 1);
    for event in seen.take() {
        if let Event::Commit { kind: CommitKind::Put, head, records: n, requests: m, .. } = event {
            assert_eq!(head.commit, last + 1, "in order");
            last = head.commit;
            (records, requests) = (records + n, requests + m);
        }
    }
    assert_eq!((records, requests), (THREADS * EACH, THREADS * EACH));
}

/// The types of which an event is made: numbers, durations, and closed enums without text.
const PLAIN: &[&str] = &[
    "u64",
    "bool",
    "Duration",
    "HeadId",
    "Level",
    "ErrorKind",
    "Option<u64>",
    "Option<Duration>",
    "Option<ErrorKind>",
    "CommitKind",
    "ScopeKind",
    "Outcome",
    "AwaitedBy",
    "ClosedBy",
];

#[test]
fn no_event_can_hold_text_or_an_id() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/observer/mod.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let (mut seen, mut inside) = (0, false);
    for line in source.lines() {
        inside |= line.starts_with("pub enum ");
        inside &= line != "}";
        let code = line.trim();
        if !inside || code.starts_with("//") || code.starts_with('#') || code.starts_with("pub ") {
            continue;
        }
        if let Some((_, of)) = code.trim_end_matches(',').split_once(": ") {
            assert!(PLAIN.contains(&of), "a field of type {of}");
            seen += 1;
        } else {
            // A variant: with fields, or with nothing; never `Name(String)`.
            assert!(!code.contains('('), "{code}");
        }
    }
    assert!(seen > 60, "the test reads the fields: {seen}");
}

/// Every line of `tracing` and every metric of this process.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn line(text: String) {
    LINES.lock().unwrap().push(text);
}

struct Lines;

/// Text of the fields of one event.
struct Fields(String);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut fields = Fields(format!("span {}", span.metadata().name()));
        span.record(&mut fields);
        line(fields.0);
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        let mut fields = Fields("record".into());
        values.record(&mut fields);
        line(fields.0);
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let of = event.metadata();
        let mut fields = Fields(format!("{} {} {}", of.level(), of.target(), of.name()));
        event.record(&mut fields);
        line(fields.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// One metric with its labels.
struct Instrument(String);

impl metrics::CounterFn for Instrument {
    fn increment(&self, value: u64) {
        line(format!("{} +{value}", self.0));
    }
    fn absolute(&self, value: u64) {
        line(format!("{} ={value}", self.0));
    }
}

impl metrics::GaugeFn for Instrument {
    fn increment(&self, value: f64) {
        line(format!("{} +{value}", self.0));
    }
    fn decrement(&self, value: f64) {
        line(format!("{} -{value}", self.0));
    }
    fn set(&self, value: f64) {
        line(format!("{} ={value}", self.0));
    }
}

impl metrics::HistogramFn for Instrument {
    fn record(&self, value: f64) {
        line(format!("{} ~{value}", self.0));
    }
}

fn instrument(key: &metrics::Key) -> Arc<Instrument> {
    let labels: Vec<String> =
        key.labels().map(|label| format!("{}={:?}", label.key(), label.value())).collect();
    Arc::new(Instrument(format!("{}{{{}}}", key.name(), labels.join(","))))
}

fn described(key: &metrics::KeyName, help: &metrics::SharedString) {
    line(format!("# {} {help}", key.as_str()));
}

impl metrics::Recorder for Lines {
    fn describe_counter(
        &self,
        key: metrics::KeyName,
        _: Option<metrics::Unit>,
        help: metrics::SharedString,
    ) {
        described(&key, &help);
    }
    fn describe_gauge(
        &self,
        key: metrics::KeyName,
        _: Option<metrics::Unit>,
        help: metrics::SharedString,
    ) {
        described(&key, &help);
    }
    fn describe_histogram(
        &self,
        key: metrics::KeyName,
        _: Option<metrics::Unit>,
        help: metrics::SharedString,
    ) {
        described(&key, &help);
    }
    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        metrics::Counter::from_arc(instrument(key))
    }
    fn register_gauge(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::from_arc(instrument(key))
    }
    fn register_histogram(
        &self,
        key: &metrics::Key,
        _: &metrics::Metadata<'_>,
    ) -> metrics::Histogram {
        metrics::Histogram::from_arc(instrument(key))
    }
}

/// All three: what is kept for the test, `tracing`, `metrics`.
struct All {
    seen: Arc<Seen>,
    tracing: Tracing,
    metrics: Metrics,
}

impl All {
    fn new(seen: &Arc<Seen>) -> Arc<Self> {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            tracing::subscriber::set_global_default(Lines).unwrap();
            assert!(metrics::set_global_recorder(Lines).is_ok());
        });
        let (tracing, metrics) = (Tracing::new(), Metrics::new());
        Arc::new(All { seen: Arc::clone(seen), tracing, metrics })
    }
}

impl Observer for All {
    fn event(&self, event: &Event) {
        self.seen.event(event);
        self.tracing.event(event);
        self.metrics.event(event);
    }
}

/// What must not be found anywhere, as text and as bytes.
#[derive(Default)]
struct Secrets {
    texts: Vec<String>,
    bytes: Vec<Vec<u8>>,
}

impl Secrets {
    fn text(&mut self, text: &str) -> String {
        assert!(text.len() >= 12, "too short to be told from chance: {text}");
        self.texts.push(text.into());
        self.bytes.push(text.as_bytes().into());
        text.into()
    }

    fn number(&mut self, number: u64) {
        self.texts.push(number.to_string());
        self.bytes.push(number.to_be_bytes().into());
        self.bytes.push(number.to_le_bytes().into());
    }

    fn interaction(&mut self, id: InteractionId) {
        self.texts.push(id.to_string());
        self.bytes.push(id.to_bytes().into());
        // Its drawn part: the rest is a time.
        self.bytes.push(id.to_bytes()[6..].into());
    }

    /// An id whole, and the tags of user and class in it.
    fn record(&mut self, id: RecordId) {
        let bytes = id.to_bytes();
        self.texts.push(id.to_string());
        self.bytes.extend([bytes.to_vec(), bytes[16..28].to_vec(), bytes[30..36].to_vec()]);
        self.interaction(id.interaction());
    }

    /// Each way in which one of them could be written.
    fn needles(&self) -> BTreeSet<String> {
        use data_encoding as e;
        let encodings = [
            e::HEXLOWER,
            e::HEXUPPER,
            e::BASE32_NOPAD,
            e::BASE32HEX_NOPAD,
            e::BASE32_DNSSEC,
            e::BASE64_NOPAD,
            e::BASE64URL_NOPAD,
        ];
        let mut needles: BTreeSet<String> = self.texts.iter().map(|t| t.to_lowercase()).collect();
        for bytes in &self.bytes {
            needles.extend(encodings.iter().map(|as_text| as_text.encode(bytes).to_lowercase()));
            // As `Debug` shows bytes.
            let list = format!("{bytes:?}");
            needles.insert(list.trim_matches(['[', ']']).to_owned());
        }
        needles
    }
}

/// Every verb, with names that occur nowhere else.
struct Run {
    env: Arc<Seeded>,
    store: Arc<Faulty>,
    copy: Arc<Faulty>,
    cell: Arc<MemoryCell>,
    options: Options,
    secrets: Secrets,
}

const COPY_PLACE: &str = "/srv/place-of-the-copy-wistful";
const RESTORED_PLACE: &str = "/srv/place-of-the-restored-wistful";
const STORE_PLACE: &str = "/srv/place-of-the-store-wistful";

impl Run {
    fn new(seen: &Arc<Seen>) -> Self {
        let mut secrets = Secrets::default();
        secrets.text(COPY_PLACE);
        secrets.text(STORE_PLACE);
        secrets.text(RESTORED_PLACE);
        let (env, copy) = (Arc::new(Seeded::new(77)), Faulty::new(COPY_PLACE));
        let opened = Arc::clone(&copy);
        let options = options(All::new(seen))
            .env(env.clone())
            .cache_bytes(0)
            .open_copy(Arc::new(move |_, _| Ok(Arc::clone(&opened) as Arc<dyn Store>)));
        let (store, cell) = (Faulty::new(STORE_PLACE), Arc::new(MemoryCell::new()));
        Run { env, store, copy, cell, options, secrets }
    }

    fn init(&self) -> Engine {
        Engine::init(self.store.clone(), self.cell.clone(), self.options.clone()).unwrap()
    }

    fn open(&self, options: Options) -> Engine {
        Engine::open(self.store.clone(), self.cell.clone(), options).unwrap()
    }

    fn user(&mut self, name: &str) -> UserId {
        user(&self.secrets.text(name))
    }

    fn class(&mut self, name: &str) -> Class {
        Class::new(self.secrets.text(name)).unwrap()
    }

    fn put(&mut self, engine: &Engine, put: Put, content: &str) -> RecordId {
        let id = engine.put(put, self.secrets.text(content).as_bytes()).unwrap();
        self.secrets.record(id);
        id
    }

    fn days_pass(&self, days: u64) {
        self.env.advance(days * 24 * 3_600_000);
    }

    fn in_days(&self, days: u64) -> Timestamp {
        Timestamp(self.env.now().0 + days * 24 * 3_600_000)
    }
}

/// Records, reading, lineage, lists; refused and failing calls too.
fn records(run: &mut Run, engine: &Engine) {
    let (ada, class) = (run.user("adelaide-wistful"), run.class("diary-wistful"));
    let purpose = run.secrets.text("to amuse the cats of Wistful");
    let media = run.secrets.text("application/x-wistful");
    engine.create_user(&ada).unwrap();
    let diary = Put::new(ada.clone(), class.clone()).purpose(&*purpose).media_type(&*media);
    let first = run.put(engine, diary.clone(), "her first words, wistful");
    let derived = diary.clone().derived_from(Source::Record(first));
    let text = run.put(engine, derived.clone(), "her first words, written");
    let stays = run.put(engine, derived, "her first words, summed up");
    let turn = engine.new_interaction().unwrap();
    run.secrets.interaction(turn);
    let long = "a long wistful sentence; ".repeat(20_000);
    run.secrets.record(engine.put(diary.clone().interaction(turn), long.as_bytes()).unwrap());
    engine.detach(&stays, &run.secrets.text("she wanted to keep it")).unwrap();
    let reader = run.secrets.text("the wistful nurse");
    engine.get_as(&first, &reader, &purpose).unwrap();
    engine.policies(None).set(&Policy::new(class.clone()).readers_named()).unwrap();
    assert_eq!(engine.get(&first).unwrap_err().kind(), ErrorKind::Refused);
    let open = engine.get_as(&text, &reader, &purpose).unwrap();
    engine.list(&Query::default().user(ada.clone())).unwrap();
    engine.interactions(&Query::default().user(ada.clone())).unwrap();
    engine.users(None, 100).unwrap();
    engine.lineage(&first).unwrap();
    engine.accesses(&first).unwrap();
    engine.report(&ada).unwrap();
    engine.would_erase(Scope::user(ada.clone())).unwrap();
    // The text falls with what it was derived from.
    engine.erase(Scope::record(first)).unwrap();
    drop(open);
    assert_eq!(engine.info(&text).unwrap_err().kind(), ErrorKind::Erased);
    let span = When::Between { from: None, until: Some(run.in_days(0)) };
    engine.erase(Scope::User { user: ada.clone(), class: None, when: span }).unwrap();
    engine.erase(Scope::interaction(ada.clone(), turn)).unwrap();
    engine.erase(Scope::class(ada.clone(), class)).unwrap();
    engine.put(diary.interaction(turn), &b"late"[..]).unwrap_err();
    engine.history(&ada).unwrap();
}

/// Names and what is said of records, uploads, openings, watching, an engine that goes on after a
/// failure; refused calls too.
fn labelled(run: &mut Run, engine: &Engine) {
    let mia = run.user("mia-marlene-wistful");
    let name = run.secrets.text("letters/to-a-friend-in-wistful.txt");
    let (key, value) =
        (run.secrets.text("weather-of-wistful"), run.secrets.text("it rains over wistful hills"));
    let letter = || Put::new(mia.clone(), Class::action()).name(&*name).meta(&*key, &*value);
    let before = engine.head();
    let first = run.put(engine, letter(), "her first letter, wistful");
    assert_eq!(run.put(engine, letter(), "her first letter, wistful"), first);
    let second = run.put(engine, letter(), "her second letter, wistful");
    for (mode, kind) in
        [(PutMode::IfAbsent, ErrorKind::Exists), (PutMode::IfIs(first), ErrorKind::Changed)]
    {
        let refused = engine.put(letter().mode(mode), &b"a third"[..]).unwrap_err();
        assert_eq!(refused.kind(), kind);
    }
    assert_eq!(engine.find(&mia, &name).unwrap().id, second);
    engine.find(&mia, &run.secrets.text("letters/never-sent-from-wistful")).unwrap_err();
    let in_letters = Query::default().user(mia.clone()).name_prefix("letters/");
    assert_eq!(engine.list(&in_letters).unwrap().records.len(), 1);

    let song = run.secrets.text("songs/of-wistful-rivers.ogg");
    let uploads = engine.uploads();
    let begin = |run: &mut Run| {
        let put = Put::new(mia.clone(), Class::audio()).name(&*song).meta(&*key, &*value);
        let upload = uploads.begin(put).unwrap();
        run.secrets.texts.push(upload.to_string());
        run.secrets.interaction(upload.interaction());
        upload
    };
    let (whole, aborted, expires) = (begin(run), begin(run), begin(run));
    for upload in [&whole, &aborted, &expires] {
        let words = run.secrets.text("a song in parts, wistful");
        uploads.append(upload, 0, words.as_bytes()).unwrap();
        assert_eq!(uploads.append(upload, 1, &b"x"[..]).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(uploads.state(upload).unwrap().name.as_deref(), Some(&*song));
    }
    let sung = uploads.finish(&whole).unwrap();
    run.secrets.record(sung);
    uploads.abort(&aborted).unwrap();
    uploads.list(&mia).unwrap();

    let reader = run.secrets.text("the wistful choirmaster");
    let opening = engine.open_as(&sung, &reader, &run.secrets.text("to sing along in Wistful"));
    let opening = opening.unwrap().lasting(DAY);
    opening.reader().unwrap().write_to(&mut std::io::sink()).unwrap();
    let open = opening.reader().unwrap();
    opening.close();
    assert_eq!(opening.reader().unwrap_err().kind(), ErrorKind::Refused);
    drop(open);
    run.days_pass(8);
    engine.run_due(&mut |_| {}).unwrap();
    assert_eq!(uploads.state(&expires).unwrap_err().kind(), ErrorKind::Erased);

    engine.watch(before, Duration::ZERO).unwrap();
    run.store.set_failing(true);
    engine.put(letter(), &b"lost"[..]).unwrap_err();
    assert_eq!(engine.get(&second).unwrap_err().kind(), ErrorKind::Poisoned);
    run.store.set_failing(false);
    engine.reopen().unwrap();
    assert_eq!(engine.find(&mia, &name).unwrap().id, second);
    let changed = engine.watch(engine.head(), Duration::ZERO).unwrap();
    assert!(matches!(changed, Watched::Changes { changes, .. } if changes.is_empty()));
    engine.erase(Scope::record(second)).unwrap();
    assert_eq!(engine.find(&mia, &name).unwrap_err().kind(), ErrorKind::Absent);
}

/// The same from tasks, and a put that is given up in the middle.
async fn asynchronous(run: &mut Run, engine: AsyncEngine) {
    use tokio::io::AsyncReadExt;
    let ned = run.user("nathaniel-wistful");
    let name = run.secrets.text("notes/on-wistful-tasks.txt");
    let put = || Put::new(ned.clone(), Class::action()).name(&*name);
    let content = run.secrets.text("what a task wrote, wistful");
    let id = engine.put(put(), content.as_bytes()).await.unwrap();
    run.secrets.record(id);
    assert_eq!(engine.find(&ned, &*name).await.unwrap().id, id);
    let (mut far, near) = tokio::io::duplex(1 << 16);
    let given_up = tokio::time::timeout(Duration::from_millis(50), async {
        tokio::io::AsyncWriteExt::write_all(&mut far, content.as_bytes()).await.unwrap();
        engine.put(Put::new(ned.clone(), Class::audio()), near).await
    });
    assert!(given_up.await.is_err());
    let opened = engine.open_as(&id, &*run.secrets.text("the wistful task"), "to see").await;
    let mut read = String::new();
    opened.unwrap().reader().await.unwrap().read_to_string(&mut read).await.unwrap();
    assert_eq!(read, content);
    let upload = engine.uploads().begin(Put::new(ned.clone(), Class::audio())).await.unwrap();
    run.secrets.texts.push(upload.to_string());
    engine.uploads().append(&upload, 0, content.as_bytes()).await.unwrap();
    run.secrets.record(engine.uploads().finish(&upload).await.unwrap());
    engine.erase(Scope::user(ned.clone())).await.unwrap();
    assert_eq!(engine.put(put(), &b"late"[..]).await.unwrap_err().kind(), ErrorKind::Erased);
    // The call that was given up ends by itself, soon.
    let mut closed = engine.close().await;
    for _ in 0..100 {
        if closed.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        closed = run.open(run.options.clone()).close();
    }
    closed.unwrap();
}

/// Holds, certified and failing erases, plans, windows.
fn erases(run: &mut Run, engine: &Engine) {
    let (ben, class) = (run.user("benedict-wistful"), run.class("letters-wistful"));
    let put = Put::new(ben.clone(), class.clone());
    let held = run.put(engine, put, "a letter that is held, wistful");
    run.put(engine, Put::new(ben.clone(), Class::audio()), "a word of his, wistful");
    let reason = run.secrets.text("a wistful lawsuit");
    let authority = run.secrets.text("the court of Wistful");
    let hold = Hold::new(&*reason, &*authority).class(class.clone());
    let number = engine.holds(&ben).add(hold).unwrap();
    run.secrets.number(number);
    assert_eq!(engine.erase(Scope::user(ben.clone())).unwrap_err().kind(), ErrorKind::Held);
    let plan = engine.erase_at(Scope::record(held), run.in_days(1)).unwrap();
    run.secrets.number(plan.id);
    run.days_pass(2);
    // The hold refuses what was planned.
    engine.run_due(&mut |_| {}).unwrap();
    engine.holds(&ben).lift(number, &reason, &authority).unwrap();
    let ground = run.secrets.text("article 17, wistful");
    let keep = run.secrets.text("the taxes of Wistful");
    let erase = Erase::new(Scope::user(ben.clone())).keep(class, keep).certified(authority, ground);
    let done = engine.erase(erase.drafted(|_| Ok(()))).unwrap();
    done.certificate.unwrap().sign().unwrap();
    let failing = Erase::new(Scope::user(ben.clone()))
        .certified("", "")
        .drafted(|_| Err(Error::new(ErrorKind::Io, "no room for drafts in Wistful")));
    engine.erase(failing).unwrap_err();
    engine.erase(Erase::new(Scope::user(ben)).final_within(DAY)).unwrap();
    run.days_pass(2);
    engine.run_due(&mut |_| {}).unwrap();
    let (carl, dora) = (run.user("carl-august-wistful"), run.user("theodora-wistful"));
    for name in [&carl, &dora] {
        run.put(engine, Put::new(name.clone(), Class::audio()), "a word, wistful");
    }
    let both = [Scope::user(carl), Scope::user(dora)];
    assert!(engine.erase_all(&both).iter().all(Result::is_ok));
    engine.rekey().unwrap();
    engine.log().checkpoint().unwrap();
    let emil = run.user("emil-otto-wistful");
    let class = run.class("chatter-wistful");
    run.put(engine, Put::new(emil.clone(), class.clone()), "chatter of Wistful");
    engine.policies(Some(&emil)).set(&Policy::new(class).max_age(DAY)).unwrap();
    run.days_pass(3);
    engine.run_due(&mut |_| {}).unwrap();
}

/// Third parties, sealed ingest.
fn others(run: &mut Run, engine: &Engine) {
    let fay = run.user("fay-felicity-wistful");
    let id = run.put(engine, Put::new(fay.clone(), Class::action()), "a ride to Wistful");
    let identity = Identity::new(&*run.env).unwrap();
    let (name, purpose) =
        (run.secrets.text("the skill of Wistful"), run.secrets.text("to order wistful rides"));
    let public = identity.public().unwrap();
    run.secrets.text(&public.to_string());
    let ticket = engine.grants(&fay).add(Grant::new(&public, &*name, &*purpose)).unwrap();
    let (request, _) = identity.ask(&ticket, &*run.env).unwrap();
    engine.open_request(&request, std::io::sink()).unwrap();
    engine.open_request(&request, std::io::sink()).unwrap_err();
    let set = run.secrets.text("voices of Wistful");
    engine.training().make(&set, &public, &purpose).unwrap();
    engine.training().add(&set, &[id]).unwrap();
    engine.training().drop(&set).unwrap();
    let number = engine.grants(&fay).list().unwrap()[0].0;
    run.secrets.number(number);
    engine.grants(&fay).revoke(number).unwrap();
    let key = engine.inbox(&fay).key().unwrap();
    let put = Put::new(fay, Class::audio());
    let mut envelope = Vec::new();
    let content = run.secrets.text("sealed words of Wistful");
    seal(&put, content.as_bytes(), &key, &*run.env, &mut envelope).unwrap();
    run.secrets.record(engine.accept(&envelope[..]).unwrap().id);
    engine.accept(&envelope[..10]).unwrap_err();
}

/// Copies that go and come, space, the clock.
fn places(run: &mut Run, engine: &Engine) {
    let gil = run.user("gilbert-wistful");
    let entry = engine.copies().add(COPY_PLACE, CopyMode::InStep, &mut |_| {}).unwrap();
    run.secrets.number(entry.id);
    run.put(engine, Put::new(gil.clone(), Class::audio()), "before the copy went, wistful");
    run.copy.set_failing(true);
    engine.erase(Scope::user(gil.clone())).unwrap_err();
    engine.create_user(&gil).unwrap_err();
    engine.status().unwrap();
    run.copy.set_failing(false);
    engine.status().unwrap();
    engine.copies().status();
    restored(run, engine);
    engine.audit(&[], &mut |_| {}).unwrap();
    engine.discard(&mut |_| {}).unwrap();
    engine.copies().remove(COPY_PLACE).unwrap();
    run.env.set_wrong(400 * 24 * 3_600_000);
    engine.run_due(&mut |_| {}).unwrap();
    engine.clock().doubts().unwrap();
    run.env.set_wrong(0);
    engine.run_due(&mut |_| {}).unwrap();
    engine.clock().trust().unwrap();
}

/// A backup, restored and looked at until its owner erases something.
fn restored(run: &mut Run, engine: &Engine) {
    let kim = run.user("kimberley-wistful");
    let id = run.put(engine, Put::new(kim, Class::audio()), "to be restored, wistful");
    let backup = Arc::new(MemoryStore::new());
    engine.backup(&*backup, &mut |_| {}).unwrap();
    let found = Faulty::new(RESTORED_PLACE);
    restore(&*run.cell, &[backup], &*found, &mut |_| {}).unwrap();
    let options = run.options.clone().open_as(OpenAs::ReadOnly);
    let looker = Engine::open(found, run.cell.clone(), options).unwrap();
    let reader = looker.get(&id).unwrap();
    assert_eq!(looker.erase(Scope::record(id)).unwrap_err().kind(), ErrorKind::Fenced);
    engine.erase(Scope::record(id)).unwrap();
    run.days_pass(1);
    assert_eq!(looker.get(&id).unwrap_err().kind(), ErrorKind::Mismatch);
    drop(reader);
}

/// Space that is given back, and a cleaner that fails.
fn space(run: &Run, engine: Engine, seen: &Seen) -> Engine {
    run.store.set_cleaning(Cleans::GetsStuck);
    assert!(engine.clean().unwrap().stuck.is_some());
    engine.close().unwrap();
    for (cleans, told) in [(Cleans::Fails, "CleanerFailed"), (Cleans::Panics, "CleanerStopped")] {
        run.store.set_cleaning(cleans);
        let engine = run.open(run.options.clone().keeper(Keeper::Thread));
        wait_for(seen, |e| kinds(&[*e]).contains(told));
        engine.close().unwrap();
    }
    run.store.set_cleaning(Cleans::Some);
    run.open(run.options.clone().cleaner(Cleaner::Off))
}

/// A planned erase that cannot be done since a page of its user is lost.
fn damage(run: &mut Run, engine: &Engine) {
    let (hal, ida) = (run.user("halvard-wistful"), run.user("ida-mathilda-wistful"));
    for name in [&hal, &ida] {
        let id = run.put(engine, Put::new(name.clone(), Class::audio()), "words that rot, wistful");
        engine.erase_at(Scope::record(id), run.in_days(1)).unwrap();
    }
    let reads = |name: &UserId| engine.plans(name).list().is_ok();
    let (names, _) = run.store.names(Cursor::default(), 100_000).unwrap();
    let lost = names.into_iter().find(|name| {
        *run.store.lost.lock().unwrap() = [*name].into();
        !reads(&hal) && reads(&ida)
    });
    assert!(lost.is_some());
    run.days_pass(2);
    let done = engine.run_due(&mut |_| {}).unwrap();
    assert!(!done.troubles.is_empty(), "{done:?}");
    run.store.lost.lock().unwrap().clear();
}

/// The disk fails under the keeper's thread, and then panics under it.
fn the_end(run: &mut Run, engine: Engine, seen: &Seen) {
    let jo = run.user("josephine-wistful");
    let id = run.put(&engine, Put::new(jo.clone(), Class::audio()), "last words, wistful");
    engine.erase_at(Scope::record(id), run.in_days(1)).unwrap();
    engine.close().unwrap();
    run.days_pass(2);
    run.store.set_failing(true);
    let engine = run.open(run.options.clone().keeper(Keeper::Thread));
    wait_for(seen, |e| matches!(e, Event::KeeperFailed { .. }));
    engine.put(Put::new(jo, Class::audio()), &b"x"[..]).unwrap_err();
    engine.close().unwrap();
    run.store.set_failing(false);
    run.store.panics.store(true, Ordering::SeqCst);
    let engine = run.open(run.options.clone().keeper(Keeper::Thread));
    wait_for(seen, |e| matches!(e, Event::KeeperStopped { panicked: true, .. }));
    drop(engine);
}

/// Names of the events, as `Debug` shows them.
fn kinds(events: &[Event]) -> BTreeSet<String> {
    let name = |event: &Event| {
        format!("{event:?}").chars().take_while(|c| c.is_alphanumeric()).collect::<String>()
    };
    events.iter().map(name).collect()
}

#[test]
fn no_event_line_or_metric_holds_personal_data() {
    let seen = Seen::new();
    let mut run = Run::new(&seen);
    let engine = run.init();
    run.secrets.texts.push(engine.id().to_string());
    run.secrets.bytes.push(engine.id().0.into());
    records(&mut run, &engine);
    labelled(&mut run, &engine);
    erases(&mut run, &engine);
    others(&mut run, &engine);
    places(&mut run, &engine);
    damage(&mut run, &engine);
    let engine = space(&run, engine, &seen);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    runtime.block_on(asynchronous(&mut run, AsyncEngine::new(engine)));
    drop(runtime);
    let engine = run.open(run.options.clone().cleaner(Cleaner::Off));
    the_end(&mut run, engine, &seen);
    let events = seen.take();
    let expected = [
        "Opened",
        "Closed",
        "Commit",
        "CommitFailed",
        "Erase",
        "RootKeyRetired",
        "RootKeyAwaited",
        "Due",
        "Trouble",
        "KeeperFailed",
        "KeeperStopped",
        "CopyMissed",
        "CopyInStep",
        "Poisoned",
        "ReadersClosed",
        "Discard",
        "Clean",
        "CleanerFailed",
        "CleanerStopped",
        "ClockDoubted",
        "ClockBelieved",
    ];
    // All but `Lost`, which takes an observer that does not keep up.
    assert_eq!(kinds(&events), expected.map(str::to_owned).into());
    let mut lines = LINES.lock().unwrap().clone();
    // Each event is a line of `tracing`, and most are several metrics.
    for what in [" keyfall keyfall.", "keyfall_"] {
        let n = lines.iter().filter(|line| line.contains(what)).count();
        assert!(n >= events.len(), "{n} lines with {what:?} of {} events", events.len());
    }
    lines.extend(events.iter().map(|event| format!("{event:?}")));
    assert_eq!(told(&run.secrets, &lines), None);
    // What is told in either way is looked at: there, a name is found.
    let from = LINES.lock().unwrap().len();
    tracing::trace!(target: "anything", user = "adelaide-wistful");
    tracing::trace!(target: "anything", name = "letters/to-a-friend-in-wistful.txt");
    metrics::gauge!("anything", "class" => "diary-wistful").set(1.0);
    let leaks = LINES.lock().unwrap()[from..].to_vec();
    assert_eq!(leaks.len(), 3);
    for leak in leaks {
        assert!(told(&run.secrets, &[leak]).is_some());
    }
}

/// What of the secrets some line tells.
fn told(secrets: &Secrets, lines: &[String]) -> Option<String> {
    let all = lines.join("\n").to_lowercase();
    let mut needles = secrets.needles();
    needles.insert("wistful".into());
    needles.into_iter().find(|needle| all.contains(needle))
}

/// The search itself: what is hidden in each way is found.
#[test]
fn a_secret_is_found_in_each_encoding() {
    let mut secrets = Secrets::default();
    secrets.text("adelaide-wistful");
    let needles = secrets.needles();
    for told in [
        "Adelaide-Wistful",
        "6164656C616964652D7769737466756C",
        "YWRlbGFpZGUtd2lzdGZ1bA==",
        "MFSGK3DBNFSGKLLXNFZXIZTVNQ",
        "[97, 100, 101, 108, 97, 105, 100, 101, 45, 119, 105, 115, 116, 102, 117, 108]",
    ] {
        let told = format!("user={told} ").to_lowercase();
        assert!(needles.iter().any(|needle| told.contains(needle)), "{told}");
    }
}
