//! What an erase does to paths, over one user's files and over all users', also in a restored
//! backup; and files whose parts come by numbers, over restarts.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use keyfall::cell::{MemoryCell, RootCell};
use keyfall::engine::{Keeper, restore};
use keyfall::env::{Env, System};
use keyfall::store::{MemoryStore, Store};
use keyfall::{AsyncEngine, Engine, ErrorKind, Options, Scope, Timestamp, UserId};
use keyfall_object_store::KeyfallStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

async fn back_up(engine: &AsyncEngine, to: &Arc<dyn Store>) {
    let to = Arc::clone(to);
    engine.run(move |engine| engine.backup(&*to, &mut |_| {}).map(drop)).await.unwrap();
}

/// The kind of the engine's error inside a `NotFound`.
fn kind(error: Error) -> Option<ErrorKind> {
    let Error::NotFound { source, .. } = error else { return None };
    source.downcast_ref::<keyfall::Error>().map(keyfall::Error::kind)
}

/// Names of every shape: short, nested, with spaces and other scripts, as long as they may be.
fn names() -> Vec<String> {
    let mut names: Vec<String> = (0..20).map(|n| format!("calls/{n}.wav")).collect();
    names.extend(["a", "a/b/c/d/e", "with a space.txt", "\u{1F3A4}/ünï.ogg"].map(str::to_owned));
    names.push("long/".to_owned() + &"x".repeat(1_000));
    names
}

/// Every way to a path says that it was erased, and no listing has it.
async fn is_erased(files: &KeyfallStore, below: &str) {
    for name in names() {
        let path = Path::from(format!("{below}{name}"));
        let erased = Some(ErrorKind::Erased);
        assert_eq!(kind(files.get(&path).await.unwrap_err()), erased, "{path}");
        assert_eq!(kind(files.head(&path).await.unwrap_err()), erased, "{path}");
        assert_eq!(kind(files.get_range(&path, 0..1).await.unwrap_err()), erased, "{path}");
        let copy = Path::from(format!("{below}copy"));
        assert_eq!(kind(files.copy(&path, &copy).await.unwrap_err()), erased, "{path}");
        // Nobody begins a life by accident.
        for mode in [PutMode::Overwrite, PutMode::Create] {
            let put = files.put_opts(&path, "RIFF".into(), mode.into()).await;
            assert!(matches!(put, Err(Error::Generic { .. })), "{path}: {put:?}");
        }
    }
    let listed: Vec<_> = files.list(None).try_collect().await.unwrap();
    assert!(
        listed.iter().all(|file| !below.is_empty() && !file.location.as_ref().starts_with(below))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_erase_every_path_says_erased_also_in_a_restored_backup() {
    let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    let engine = Engine::init(store, cell.clone(), Options::default()).unwrap();
    let engine = AsyncEngine::new(engine);
    let all = KeyfallStore::for_all(engine.clone());
    for name in names() {
        for who in ["ada", "bob"] {
            all.put(&Path::from(format!("{who}/{name}")), "RIFF".into()).await.unwrap();
        }
    }
    let backup: Arc<dyn Store> = Arc::new(MemoryStore::new());
    back_up(&engine, &backup).await;
    assert_eq!(kind(all.get(&Path::from("ada/no")).await.unwrap_err()), Some(ErrorKind::Absent));
    engine.erase(Scope::user(user("ada"))).await.unwrap();
    is_erased(&KeyfallStore::for_user(engine.clone(), user("ada")), "").await;
    is_erased(&all, "ada/").await;
    drop(all);
    // Of the epoch before nothing can be restored any more, for anybody: the backup is brought up.
    back_up(&engine, &backup).await;
    engine.close().await.unwrap();

    let target = MemoryStore::new();
    restore(&*cell, &[backup], &target, &mut |_| {}).unwrap();
    let engine = Engine::open(Arc::new(target), cell, Options::default()).unwrap();
    let engine = AsyncEngine::new(engine);
    for (files, below) in [
        (KeyfallStore::for_user(engine.clone(), user("ada")), ""),
        (KeyfallStore::for_all(engine.clone()), "ada/"),
    ] {
        is_erased(&files, below).await;
    }
    let all = KeyfallStore::for_all(engine);
    for name in names() {
        let found = all.get(&Path::from(format!("bob/{name}"))).await.unwrap();
        assert_eq!(found.bytes().await.unwrap(), "RIFF");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_falls_with_its_original_where_that_is_asked_for() {
    let place = Place::new();
    let engine = place.open();
    let outlasts = KeyfallStore::for_all(engine.clone());
    let falls = outlasts.clone().copies_fall(true);
    let at = |name: &str| Path::from(format!("ada/{name}"));
    for (files, copy_there) in [(&outlasts, true), (&falls, false)] {
        files.put(&at("original"), "RIFF".into()).await.unwrap();
        files.copy(&at("original"), &at("copy")).await.unwrap();
        files.copy(&at("original"), &Path::from("bob/copy")).await.unwrap();
        files.copy(&at("original"), &at("original")).await.unwrap();
        files.delete(&at("original")).await.unwrap();
        for copy in [at("copy"), Path::from("bob/copy")] {
            assert_eq!(files.head(&copy).await.is_ok(), copy_there, "{copy}");
        }
        // Moved is not copied.
        files.put(&at("one"), "RIFF".into()).await.unwrap();
        files.rename(&at("one"), &at("two")).await.unwrap();
        files.rename(&at("two"), &at("two")).await.unwrap();
        assert!(files.head(&at("one")).await.is_err());
        assert_eq!(files.get(&at("two")).await.unwrap().bytes().await.unwrap(), "RIFF");
        files.put(&at("taken"), "there".into()).await.unwrap();
        let refused = files.rename_if_not_exists(&at("two"), &at("taken")).await;
        assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
        assert!(files.head(&at("two")).await.is_ok());
    }
}

/// The system's clock, set ahead.
struct Ahead(AtomicU64);

impl Env for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp(System.now().0 + self.0.load(Ordering::SeqCst))
    }
    fn monotonic(&self) -> Duration {
        System.monotonic() + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
    fn fill(&self, out: &mut [u8]) -> keyfall::Result<()> {
        System.fill(out)
    }
}

/// A store whose engine ends and begins again, a process each.
struct Place {
    store: Arc<MemoryStore>,
    cell: Arc<MemoryCell>,
    ahead: Arc<Ahead>,
}

impl Place {
    fn new() -> Self {
        let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
        let place = Place { store, cell, ahead: Arc::new(Ahead(AtomicU64::new(0))) };
        let options = place.options();
        Engine::init(place.store.clone(), place.cell.clone(), options).unwrap().close().unwrap();
        place
    }

    fn options(&self) -> Options {
        Options::new().env(self.ahead.clone()).keeper(Keeper::ByHand)
    }

    fn open(&self) -> AsyncEngine {
        let cell: Arc<dyn RootCell> = self.cell.clone();
        AsyncEngine::new(Engine::open(self.store.clone(), cell, self.options()).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_by_numbers_outlast_a_restart() {
    let place = Place::new();
    let at = Path::from("ada/long.ogg");
    let (mut parts, id) = (Vec::new(), {
        let engine = place.open();
        let id = KeyfallStore::for_all(engine.clone()).create_multipart(&at).await.unwrap();
        engine.close().await.unwrap();
        id
    });
    // The last one first, each by a process of its own.
    for (n, content) in [(2, "third"), (0, "first, "), (1, "second, ")] {
        let engine = place.open();
        let files = KeyfallStore::for_all(engine.clone());
        assert_eq!(kind(files.get(&at).await.unwrap_err()), Some(ErrorKind::Absent));
        parts.push((n, files.put_part(&at, &id, n, content.into()).await.unwrap()));
        drop(files);
        engine.close().await.unwrap();
    }
    parts.sort_by_key(|(n, _)| *n);
    let parts: Vec<_> = parts.into_iter().map(|(_, part)| part).collect();
    let engine = place.open();
    let files = KeyfallStore::for_all(engine.clone());
    files.complete_multipart(&at, &id, parts).await.unwrap();
    drop(files);
    engine.close().await.unwrap();
    let engine = place.open();
    let files = KeyfallStore::for_all(engine.clone());
    let whole = files.get(&at).await.unwrap().bytes().await.unwrap();
    assert_eq!(whole, "first, second, third");
    // Of the parts nothing is left.
    let user = user("ada");
    let records = engine.list(keyfall::Query::default().user(user)).await.unwrap().records;
    assert_eq!(records.len(), 1, "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_fall_with_their_user() {
    let place = Place::new();
    let engine = place.open();
    let files = KeyfallStore::for_all(engine.clone());
    let (adas, bobs) = (Path::from("ada/a.ogg"), Path::from("bob/b.ogg"));
    let id = files.create_multipart(&adas).await.unwrap();
    let part = files.put_part(&adas, &id, 0, "her voice".into()).await.unwrap();
    let other = files.create_multipart(&bobs).await.unwrap();
    let others = files.put_part(&bobs, &other, 0, "his voice".into()).await.unwrap();
    engine.erase(Scope::user(user("ada"))).await.unwrap();
    let late = files.put_part(&adas, &id, 1, "late".into()).await.unwrap_err();
    assert_eq!(kind(late), Some(ErrorKind::Erased));
    let late = files.complete_multipart(&adas, &id, vec![part]).await.unwrap_err();
    assert_eq!(kind(late), Some(ErrorKind::Erased));
    // A part of another upload completes none, whoever has it.
    let third = files.create_multipart(&bobs).await.unwrap();
    let foreign = files.complete_multipart(&bobs, &third, vec![others.clone()]).await;
    assert!(matches!(foreign, Err(Error::Generic { .. })), "{foreign:?}");
    files.complete_multipart(&bobs, &other, vec![others]).await.unwrap();
    assert_eq!(files.get(&bobs).await.unwrap().bytes().await.unwrap(), "his voice");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_which_no_file_becomes_expire_after_a_day() {
    let place = Place::new();
    let engine = place.open();
    let files = KeyfallStore::for_all(engine.clone());
    let at = Path::from("ada/never.ogg");
    let id = files.create_multipart(&at).await.unwrap();
    let part = files.put_part(&at, &id, 0, "half of it".into()).await.unwrap();
    let record = part.content_id.parse().unwrap();
    let hours = |hours: u64| hours * 3_600_000;
    for (ahead, there) in [(hours(23), true), (hours(25), false)] {
        place.ahead.0.store(ahead, Ordering::SeqCst);
        engine.run(|engine| engine.run_due(&mut |_| {})).await.unwrap();
        assert_eq!(engine.info(&record).await.is_ok(), there, "{ahead} ms later");
    }
    let gone = engine.info(&record).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Erased);
    let late = files.complete_multipart(&at, &id, vec![part]).await.unwrap_err();
    assert!(kind(late).is_some());
}
