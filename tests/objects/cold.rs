//! A store of many users in a directory of objects, opened by processes that have none of it in
//! memory: how many requests that takes, and how much memory.
//!
//! `KEYFALL_COLD=10000000` for so many users. `KEYFALL_COLD_AT` names a directory where the store
//! is, or is made; it stays there then.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use keyfall::cell::MemoryCell;
use keyfall::engine::Keeper;
use keyfall::store::ObjectLog;
use keyfall::{Builder, Class, Put, RecordId};
use keyfall_objects::cloud::CloudObjects;
use keyfall_objects::{CountedObjects, Objects};

use crate::engines::{read, user};
use crate::far::rounds;
use crate::ratios::resident;

fn url(dir: &Path) -> String {
    format!("file://{}", dir.join("log").display())
}

/// Makes a store of so many users with a record of 200 B each, or goes on with one that was cut
/// short; gives one of these.
fn made(dir: &Path, users: u32) -> RecordId {
    let began = Instant::now();
    let builder = Builder::at(url(dir)).cell_at(dir.join("cell")).keeper(Keeper::ByHand);
    let builder = builder.cache_bytes(2 << 30).single_machine().accept_remnants();
    let engine = builder.open_or_create().unwrap();
    let mut some = None;
    let (there, step) = (engine.status().unwrap().users as u32, (users / 40).clamp(5000, 250_000));
    for first in (there..users).step_by(step as usize) {
        let end = users.min(first + step);
        let some_of = |from: u32| {
            let mut batch = engine.batch();
            for n in (from..end).step_by(4) {
                batch.add(Put::new(user(n), Class::audio()), &[n as u8; 200][..]).unwrap();
            }
            batch.commit().unwrap().pop()
        };
        // Batches that wait at once share a commit.
        std::thread::scope(|scope| {
            let four = [0, 1, 2, 3].map(|n| {
                scope.spawn({
                    let some_of = &some_of;
                    move || some_of(first + n)
                })
            });
            some = four.into_iter().filter_map(|of| of.join().unwrap()).last();
        });
        let bytes = engine.status().unwrap().usage.bytes >> 20;
        println!("{end} users, {bytes} MiB, {:?}", began.elapsed());
    }
    engine.close().unwrap();
    some.unwrap()
}

#[test]
fn an_opening_of_many_users() {
    let users = rounds("KEYFALL_COLD", 0) as u32;
    if users == 0 {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let named = std::env::var_os("KEYFALL_COLD_AT");
    let dir = named.as_ref().map_or(temporary.path(), Path::new);
    std::fs::create_dir_all(dir).unwrap();
    let told = dir.join("record");
    if !told.exists() {
        std::fs::write(&told, made(dir, users).to_string()).unwrap();
    }
    let id = std::fs::read_to_string(&told).unwrap();
    // The newest object is a commit for the first one, and a claim for the others.
    for opening in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["cold::child", "--exact", "--ignored", "--nocapture"]);
        let out = child.env("KEYFALL_OPENS", format!("{}|{id}", dir.display())).output().unwrap();
        let out = String::from_utf8_lossy(&out.stdout).into_owned();
        let told: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix('@')).collect();
        let [requests, mib, text] = told[..] else { panic!("{out}") };
        println!("opening {opening} of {users} users: {requests} requests, {mib} MiB; {text}");
        assert!(requests.parse::<u64>().unwrap() <= 10, "{requests} requests");
        assert!(mib.parse::<u64>().unwrap() <= 64, "{mib} MiB");
    }
}

#[test]
#[ignore = "it is started by the test above"]
fn child() {
    let Ok(told) = std::env::var("KEYFALL_OPENS") else { return };
    let (dir, id) = told.split_once('|').unwrap();
    let dir = Path::new(dir);
    let before = resident().0;
    let counted = Arc::new(CountedObjects::over(Arc::new(CloudObjects::at(&url(dir)).unwrap())));
    let began = Instant::now();
    let log = Arc::new(ObjectLog::open(counted.clone() as Arc<dyn Objects>).unwrap());
    let builder = Builder::over(log, Arc::new(MemoryCell::new())).cell_at(dir.join("cell"));
    let engine = builder.keeper(Keeper::ByHand).open().unwrap();
    let (took, asked, most) = (began.elapsed(), counted.take(), resident().1);
    println!("\n@{}\n@{}", asked.all(), most - before);
    let size = engine.status().unwrap().usage.bytes >> 20;
    assert_eq!(read(&engine, &id.parse().unwrap()).unwrap().len(), 200);
    let (gets, after) = (counted.take().gets, resident().1 - before);
    println!("@{size} MiB stored, {asked:?}, {took:?}; a read took {gets} gets, {after} MiB then");
}
