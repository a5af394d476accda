//! Puts of 64 callers through [`AsyncEngine`] beside 64 threads that call the engine itself, and
//! how late a heartbeat task runs while recordings of 16 MiB stream in and out; on the default
//! stack (sled store, file cell), interleaved rounds, medians.
//!
//! `cargo bench --bench asynchronous`; `KEYFALL_BENCH_DIR` names the disk to
//! measure (default: the temporary directory).
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyfall::cell::FileCell;
use keyfall::env::System;
use keyfall::store::SledStore;
use keyfall::{AsyncEngine, Class, Engine, Options, Put, UserId};
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;

const CALLERS: usize = 64;
const PUTS: usize = 50;
const ROUNDS: usize = 15;
const LONG: usize = 16 << 20;

fn scratch() -> tempfile::TempDir {
    match std::env::var_os("KEYFALL_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}

fn make(dir: &std::path::Path) -> Engine {
    let store = SledStore::create(&dir.join("store")).unwrap();
    let cell = FileCell::create(&dir.join("cell"), true, Arc::new(System)).unwrap();
    Engine::init(Arc::new(store), Arc::new(cell), Options::new()).unwrap()
}

fn put(caller: usize) -> Put {
    Put::new(UserId::new(format!("user {caller}")).unwrap(), Class::action())
}

fn by_threads(engine: &Engine) -> f64 {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            scope.spawn(move || {
                for _ in 0..PUTS {
                    engine.put(put(caller), &[7; 200][..]).unwrap();
                }
            });
        }
    });
    (CALLERS * PUTS) as f64 / began.elapsed().as_secs_f64()
}

fn by_tasks(runtime: &Runtime, engine: &AsyncEngine) -> f64 {
    let began = Instant::now();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let engine = engine.clone();
                tokio::spawn(async move {
                    for _ in 0..PUTS {
                        engine.put(put(caller), &[7; 200][..]).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    (CALLERS * PUTS) as f64 / began.elapsed().as_secs_f64()
}

/// How late a task ran that wanted to run every millisecond, while recordings streamed.
fn heartbeat(runtime: &Runtime, engine: &AsyncEngine) -> Vec<Duration> {
    runtime.block_on(async {
        let streaming = {
            let engine = engine.clone();
            tokio::spawn(async move {
                let content = vec![7; LONG];
                for _ in 0..5 {
                    let id = engine.put(put(0), &content[..]).await.unwrap();
                    let mut read = Vec::with_capacity(LONG);
                    engine.get(&id).await.unwrap().read_to_end(&mut read).await.unwrap();
                    assert_eq!(read.len(), LONG);
                }
            })
        };
        let mut late = Vec::new();
        while !streaming.is_finished() {
            let due = Instant::now() + Duration::from_millis(1);
            tokio::time::sleep_until(due.into()).await;
            late.push(due.elapsed());
        }
        streaming.await.unwrap();
        late
    })
}

fn percentile<T: PartialOrd + Copy>(values: &mut [T], percent: usize) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[(values.len() - 1) * percent / 100]
}

fn main() {
    let dir = scratch();
    let engine = make(dir.path());
    let tasks = AsyncEngine::new(engine.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let (mut threads, mut futures, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        threads.push(by_threads(&engine));
        futures.push(by_tasks(&runtime, &tasks));
        ratios.push(futures[futures.len() - 1] / threads[threads.len() - 1]);
    }
    println!(
        "durable puts of 200 bytes, {CALLERS} callers: {:.0}/s by threads, {:.0}/s by tasks, \
         ratio {:.2} (median of {ROUNDS} pairs)",
        percentile(&mut threads, 50),
        percentile(&mut futures, 50),
        percentile(&mut ratios, 50),
    );
    let mut late = heartbeat(&runtime, &tasks);
    println!(
        "a heartbeat of 1 ms while recordings of 16 MiB stream: late by p50 {:?}, p99 {:?}, at \
         most {:?} ({} beats)",
        percentile(&mut late, 50),
        percentile(&mut late, 99),
        percentile(&mut late, 100),
        late.len(),
    );
}
