//! The space that actions of random users take on the disk: at most while they are put, once the
//! cleaner has come to rest, and after a discard.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use keyfall::engine::Cleaning;
use keyfall::{Class, Error, Put, UserId};

use crate::args::BenchArgs;
use crate::bench::memory::Watch;
use crate::bench::random::Random;
use crate::bench::rows::Space;
use crate::bench::subject::{ACTION, Bench};
use crate::shell::print::progress;

/// Actions in one commit where they are put in batches.
const BATCH: u64 = 1000;
/// Actions from one look at the disk to the next.
const LOOK: u64 = 1000;
/// A cleaner that changes nothing for so long has come to rest.
const REST: Duration = Duration::from_secs(1);
/// No look before this part of them is there: an empty store takes endlessly more than nothing.
const WARM: u64 = 2;

/// Measures the space of actions that were put in batches, and of ones that were put alone.
pub(super) fn measure(args: &BenchArgs, dir: &Path) -> Result<Vec<Space>, Error> {
    let filled =
        Filled { series: "put in batches of 1,000", users: args.among, records: args.actions };
    let mut rows = vec![fill(&filled, BATCH, &dir.join("space-batches"))?];
    let records = (args.actions / 10).max(1);
    let filled = Filled { series: "put one at a time", users: args.among, records };
    rows.push(fill(&filled, 1, &dir.join("space-single"))?);
    Ok(rows)
}

/// What a store was filled with.
pub(super) struct Filled {
    pub(super) series: &'static str,
    pub(super) users: u64,
    pub(super) records: u64,
}

impl Filled {
    /// Discards, and measures it. `most`: how many times their plaintexts the records took on the
    /// disk at most.
    pub(super) fn discarded(&self, bench: &Bench, most: Option<f64>) -> Result<Space, Error> {
        let bar = progress("blobs read", None);
        let watch = Watch::begin();
        let began = Instant::now();
        let done = bench.engine.discard(&mut |n| bar.set_position(n))?;
        let took = began.elapsed();
        let memory = watch.end();
        bar.finish_and_clear();
        Ok(Space {
            series: self.series,
            users: self.users,
            records: self.records,
            plain: self.records * ACTION.len() as u64,
            most,
            before: done.bytes_before,
            after: done.bytes_after,
            took,
            blobs: done.blobs,
            memory,
        })
    }
}

/// Puts them while the engine's cleaner runs; then waits until there is nothing left for it to do.
fn fill(filled: &Filled, batch: u64, dir: &Path) -> Result<Space, Error> {
    let bench = Bench::tended(dir)?;
    let mut random = Random::new(4);
    let bar = progress("putting", Some(filled.records));
    let (mut left, mut most) = (filled.records, 0.0_f64);
    while left > 0 {
        let now = left.min(batch);
        let mut staged = bench.engine.batch();
        for _ in 0..now {
            let user = UserId::new(format!("u{}", random.below(filled.users)))?;
            staged.add(Put::new(user, Class::action()), &ACTION[..])?;
        }
        staged.commit()?;
        left -= now;
        let there = filled.records - left;
        if left == 0 || there >= filled.records / WARM && there.is_multiple_of(LOOK.max(batch)) {
            let plain = there * ACTION.len() as u64;
            most = most.max(bench.bytes()? as f64 / plain as f64);
        }
        bar.inc(now);
    }
    bar.finish_and_clear();
    // The engine's own cleaner may be at work: then this does nothing.
    let (mut before, mut now) = (u64::MAX, bench.bytes()?);
    while now != before {
        before = now;
        while bench.engine.clean()? != Cleaning::default() {}
        thread::sleep(REST);
        now = bench.bytes()?;
    }
    filled.discarded(&bench, Some(most))
}
