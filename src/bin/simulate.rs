//! `keyfall-simulate`: runs the simulator for many seeds, and every crash point of every verb, and
//! prints what was met.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use keyfall::testing::sim::{
    PLANTED, Planted, STEP_BYTES, Tally, VERBS, World, every_crash_point, steps, verdict_of,
};

/// Runs the simulator: each seed is one run of several engines over media that fail, with two
/// judges at its end.
#[derive(Parser)]
#[command(
    name = "keyfall-simulate",
    after_help = "Examples:
  keyfall-simulate --seeds 20000 --crash-points
  keyfall-simulate --crash-points --every 8
  keyfall-simulate --seed 4711            replays one seed, and shortens it where it fails
  keyfall-simulate --seeds 5000 --world many"
)]
struct Args {
    /// How many seeds to run
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The lowest seed to run; further runs count up from it
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Replay this seed alone
    #[arg(long)]
    seed: Option<u64>,
    /// Replay an input of the fuzz target `engine`
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Run every seed in this world, and not in the one that its number says
    #[arg(long, value_name = "WORLD", value_parser = ["alone", "many", "keyholders"])]
    world: Option<String>,
    /// Also plant each defect there is, and run seeds until one catches it, as many as are named
    #[arg(long, value_name = "SEEDS")]
    planted: Option<u64>,
    /// Also cut the power before and after every operation of every verb, and again in each
    /// recovery
    #[arg(long)]
    crash_points: bool,
    /// Of the power cuts in recoveries, make one in N; of the others, all
    #[arg(long, value_name = "N", default_value_t = NonZeroU32::MIN, requires = "crash_points")]
    every: NonZeroU32,
}

impl Args {
    fn world(&self, seed: u64) -> World {
        match self.world.as_deref() {
            Some("alone") => World::Alone,
            Some("many") => World::Many,
            Some(_) => World::Keyholders,
            None => World::of(seed),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Runs `work` for each number below `n` on all processors; returns what failed, by number.
fn all(
    n: u64,
    what: &'static str,
    work: impl Fn(u64) -> Result<(), String> + Sync,
) -> BTreeMap<u64, String> {
    let (next, failed) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    let style = ProgressStyle::with_template("{msg} {pos}/{len} {elapsed} (about {eta} left)");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(n).with_message(what).with_style(style);
    thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= n {
                        break;
                    }
                    if let Err(e) = work(i) {
                        lock(&failed).insert(i, e);
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    failed.into_inner().unwrap_or_default()
}

fn show(tally: &Tally) {
    for (event, n) in &tally.events {
        println!("  {n:>12}  {event}");
    }
    println!("faults");
    for ((touch, fault), n) in &tally.faults {
        println!("  {n:>12}  {touch}: {fault}");
    }
}

fn run(world: World, seed: u64, steps: &[[u8; STEP_BYTES]]) -> Result<Tally, String> {
    verdict_of(|| world.run(seed, steps, Planted::default()))
}

/// Runs steps; if they fail, leaves steps out for as long as they go on failing, and shows the
/// rest.
fn replay(world: World, seed: u64, mut steps: Vec<[u8; STEP_BYTES]>) -> ExitCode {
    let verdict = match run(world, seed, &steps) {
        Ok(tally) => {
            show(&tally);
            println!("seed {seed}: nothing lost, nothing found");
            return ExitCode::SUCCESS;
        }
        Err(verdict) => verdict,
    };
    for n in (0..steps.len()).rev() {
        let left_out = steps.remove(n);
        if run(world, seed, &steps).is_ok() {
            steps.insert(n, left_out);
        }
    }
    println!("seed {seed}: {verdict}\nthese steps are enough:");
    for step in steps {
        println!("  {}", world.describe(&step));
    }
    ExitCode::FAILURE
}

fn main() -> ExitCode {
    let args = Args::parse();
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(seed) = args.seed {
        return replay(args.world(seed), seed, steps(seed));
    }
    if let Some(input) = args.input {
        let bytes = std::fs::read(&input).unwrap_or_default();
        let Some((seed, rest)) = bytes.split_first() else {
            eprintln!("error: {} is empty or cannot be read", input.display());
            return ExitCode::from(2);
        };
        return replay(World::Alone, u64::from(*seed), rest.as_chunks().0.to_vec());
    }
    let tally = Mutex::new(Tally::default());
    let failed = all(args.seeds, "seeds", |i| {
        let seed = args.first + i;
        run(args.world(seed), seed, &steps(seed)).map(|run| lock(&tally).merge(&run))
    });
    let world = args.world.as_deref().unwrap_or("each in its own");
    let last = args.first + args.seeds.saturating_sub(1);
    println!("seeds {} to {last}, worlds: {world}", args.first);
    show(&tally.into_inner().unwrap_or_default());
    for (i, e) in failed.iter().take(20) {
        let world = args.world.as_ref().map_or(String::new(), |world| format!(" --world {world}"));
        println!("FAILED: {e}\n  replay: keyfall-simulate --seed {}{world}", args.first + i);
    }
    println!("{} seeds: {} failed", args.seeds, failed.len());
    let mut whole = !args.crash_points || crash_points(args.every);
    if let Some(seeds) = args.planted {
        whole &= planted(args.first, seeds);
    }
    if failed.is_empty() && whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plants each defect, and prints the seed that catches it.
fn planted(first: u64, seeds: u64) -> bool {
    let found = Mutex::new(BTreeMap::new());
    all(PLANTED.len() as u64, "defects", |i| {
        let caught = PLANTED[i as usize].caught(first..first + seeds);
        lock(&found).insert(i, caught);
        Ok(())
    });
    println!("planted defects: the first seed that fails with it, and not without it; the verdict");
    let mut whole = true;
    for (i, caught) in found.into_inner().unwrap_or_default() {
        let defect = &PLANTED[i as usize];
        let rightly = caught.as_ref().is_some_and(|(_, verdict)| verdict.contains(defect.verdict));
        whole &= rightly;
        match caught {
            Some((seed, verdict)) => println!("  {seed:>8}  {}: {verdict}", defect.name),
            None => println!("  MISSED in {seeds} seeds: {}", defect.name),
        }
    }
    whole
}

/// Covers every verb on both media, and prints how much was covered.
fn crash_points(every: NonZeroU32) -> bool {
    let covered = Mutex::new(BTreeMap::new());
    let n = 2 * VERBS.len() as u64;
    let failed = all(n, "verbs", |started| {
        // From the last verb on: those with the most crash points are there, and take longest.
        let i = n - 1 - started;
        let (verb, on_disk) = (VERBS[i as usize / 2], i.is_multiple_of(2));
        let run = verdict_of(|| every_crash_point(verb, on_disk, every));
        let run = run.map_err(|verdict| format!("{verb}, {}: {verdict}", medium(on_disk)))?;
        lock(&covered).insert(i, run);
        Ok(())
    });
    let share = if every == NonZeroU32::MIN { "all".into() } else { format!("1 of {every}") };
    println!(
        "crash points: operations crashed, of all; operations of recoveries crashed ({share}); runs"
    );
    let (mut points, mut of, mut again, mut runs) = (0, 0, 0, 0);
    for (i, c) in covered.into_inner().unwrap_or_default() {
        let verb = VERBS[i as usize / 2];
        println!(
            "  {:>5} of {:<5} {:>7} {:>8}  {verb}, {}",
            c.crashed,
            c.operations,
            c.again,
            c.runs,
            medium(i % 2 == 0)
        );
        points += c.crashed;
        of += c.operations;
        again += c.again;
        runs += c.runs;
    }
    for e in failed.values() {
        println!("FAILED: {e}");
    }
    let failed_verbs = failed.len();
    println!(
        "crash points: {points} of {of}, {again} in recoveries ({share} of those), {runs} runs, \
         {failed_verbs} verbs failed"
    );
    failed.is_empty() && points == of
}

fn medium(on_disk: bool) -> &'static str {
    if on_disk { "on the simulated disk" } else { "at the ports" }
}
