//! The space that actions of random users take on the disk, before a discard and after it.

use std::path::Path;
use std::time::Instant;

use keyfall::{Class, Error, Put, UserId};

use crate::args::BenchArgs;
use crate::bench::memory::Watch;
use crate::bench::random::Random;
use crate::bench::rows::Space;
use crate::bench::subject::{ACTION, Bench};
use crate::shell::print::progress;

/// Actions in one commit where they are put in batches.
const BATCH: u64 = 1000;

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
    /// Discards, and measures it.
    pub(super) fn discarded(&self, bench: &Bench) -> Result<Space, Error> {
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
            before: done.bytes_before,
            after: done.bytes_after,
            took,
            blobs: done.blobs,
            memory,
        })
    }
}

fn fill(filled: &Filled, batch: u64, dir: &Path) -> Result<Space, Error> {
    let bench = Bench::new(dir, 0, 0)?;
    let mut random = Random::new(4);
    let bar = progress("putting", Some(filled.records));
    let mut left = filled.records;
    while left > 0 {
        let now = left.min(batch);
        let mut staged = bench.engine.batch();
        for _ in 0..now {
            let user = UserId::new(format!("u{}", random.below(filled.users)))?;
            staged.add(Put::new(user, Class::action()), &ACTION[..])?;
        }
        staged.commit()?;
        left -= now;
        bar.inc(now);
    }
    bar.finish_and_clear();
    filled.discarded(&bench)
}
