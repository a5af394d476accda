//! temporary

mod e1 {
use std::sync::Arc;
use keyfall::{Class, Engine, Options, Put, UserId, cell::MemoryCell, store::MemoryStore};
#[test]
fn example() { run().unwrap(); }
fn run() -> keyfall::Result<()> {
let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
let engine = Engine::init(store, cell, Options::default())?;
let recording = &b"RIFF...."[..]; // any reader
let put = Put::new(UserId::new("ada")?, Class::audio()).media_type("audio/wav");
let id = engine.put(put, recording)?;
assert_eq!(engine.info(&id)?.length, 8);
Ok::<(), keyfall::Error>(())
}
}

mod e2 {
use std::sync::Arc;
use keyfall::{Class, Engine, Options, Put, Source, UserId};
use keyfall::{cell::MemoryCell, store::MemoryStore};
#[test]
fn example() { run().unwrap(); }
fn run() -> keyfall::Result<()> {
let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
let engine = Engine::init(store, cell, Options::default())?;
let ada = UserId::new("ada")?;
let turn = engine.new_interaction()?;
let mut batch = engine.batch();
let audio = Put::new(ada.clone(), Class::audio()).interaction(turn);
let audio = batch.add(audio, &b"RIFF...."[..])?;
// The transcript falls with the recording.
let text = Put::new(ada, Class::transcript()).interaction(turn);
batch.add(text.derived_from(Source::Added(audio)), &b"wake me at six"[..])?;
assert_eq!(batch.commit()?.len(), 2);
Ok::<(), keyfall::Error>(())
}
}

mod e3 {
use std::sync::Arc;
use keyfall::{Class, Engine, Options, Put, Query, UserId};
use keyfall::{cell::MemoryCell, store::MemoryStore};
#[test]
fn example() { run().unwrap(); }
fn run() -> keyfall::Result<()> {
let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
let engine = Engine::init(store, cell, Options::default())?;
let ada = UserId::new("ada")?;
for _ in 0..3 {
    engine.put(Put::new(ada.clone(), Class::audio()), &b"RIFF...."[..])?;
}
let mut query = Query::default().user(ada).class(Class::audio()).limit(2);
let mut seen = 0;
loop {
    let page = engine.list(&query)?;
    seen += page.records.len();
    query = match page.next {
        Some(next) => query.after(next),
        None => break,
    };
}
assert_eq!(seen, 3);
Ok::<(), keyfall::Error>(())
}
}

mod e4 {
use std::sync::Arc;
use keyfall::{Class, Engine, ErrorKind, Options, Put, Scope, UserId};
use keyfall::{cell::MemoryCell, store::MemoryStore};
#[test]
fn example() { run().unwrap(); }
fn run() -> keyfall::Result<()> {
let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
let engine = Engine::init(store, cell, Options::default())?;
let ada = UserId::new("ada")?;
let id = engine.put(Put::new(ada.clone(), Class::audio()), &b"RIFF...."[..])?;
let erasure = engine.erase(Scope::user(ada))?;
assert_eq!(erasure.records, Some(1));
assert_eq!(engine.get(&id).map_err(|e| e.kind()).err(), Some(ErrorKind::Erased));
Ok::<(), keyfall::Error>(())
}
}

mod e5 {
use std::{sync::Arc, time::Duration};
use keyfall::{Class, Engine, Options, Policy, UserId};
use keyfall::{cell::MemoryCell, store::MemoryStore};
#[test]
fn example() { run().unwrap(); }
fn run() -> keyfall::Result<()> {
let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
let engine = Engine::init(store, cell, Options::default())?;
let days = |n| Duration::from_secs(n * 24 * 60 * 60);
engine.policies(None).set(&Policy::new(Class::audio()).max_age(days(30)))?;
// One user's own, in the place of the store's.
let child = UserId::new("child")?;
engine.create_user(&child)?;
engine.policies(Some(&child)).set(&Policy::new(Class::audio()).max_age(days(1)))?;
Ok::<(), keyfall::Error>(())
}
}

mod e6 {
use std::sync::Arc;
use keyfall::{Class, Engine, Options, Put, UserId, cell::MemoryCell, store::MemoryStore};
use keyfall::engine::{OpenAs, restore};
#[test]
fn example() { run().unwrap(); }
fn run() -> keyfall::Result<()> {
let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
let engine = Engine::init(store, cell.clone(), Options::default())?;
let id = engine.put(Put::new(UserId::new("ada")?, Class::audio()), &b"RIFF...."[..])?;
let backup = Arc::new(MemoryStore::new());
engine.backup(&*backup, &mut |_| {})?;

drop(engine); // The store is lost; its cell is not.
let found = Arc::new(MemoryStore::new());
restore(&*cell, &[backup], &*found, &mut |_| {})?;
let options = Options { open_as: OpenAs::TakeOver, ..Options::default() };
let engine = Engine::open(found, cell, options)?;
assert_eq!(engine.info(&id)?.length, 8);
Ok::<(), keyfall::Error>(())
}
}
