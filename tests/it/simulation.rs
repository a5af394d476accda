//! The simulator, in the small: some thousands of seeds, the crash points of a few verbs, and
//! defects that its judges must catch. `keyfall-simulate` runs it in the large. SPEC §6, §8, §10.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};

use keyfall::testing::sim::{
    PLANTED, Planted, Tally, every_crash_point, media_of, simulate, simulate_keyholders,
    simulate_many, simulate_seed, steps, verdict_of,
};

fn verdict(run: impl FnOnce() -> Tally) -> Option<String> {
    verdict_of(run).err()
}

#[test]
fn nothing_is_lost_and_nothing_is_found() {
    let seeds: u64 =
        std::env::var("KEYFALL_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let halves: Vec<Tally> = std::thread::scope(|scope| {
        let run = |half: u64| {
            let mut tally = Tally::default();
            for seed in (half..seeds).step_by(2) {
                match catch_unwind(AssertUnwindSafe(|| simulate_seed(seed, Planted::default()))) {
                    Ok(run) => tally.merge(&run),
                    Err(e) => {
                        println!(
                            "replay: cargo run --release --features testing --bin keyfall-simulate -- --seed {seed}"
                        );
                        std::panic::resume_unwind(e);
                    }
                }
            }
            tally
        };
        let (a, b) = (scope.spawn(move || run(0)), scope.spawn(move || run(1)));
        vec![a.join().unwrap(), b.join().unwrap()]
    });
    let mut tally = halves[0].clone();
    tally.merge(&halves[1]);
    assert_eq!(tally.events["runs"], seeds);
    // Every event was met, or the runs say nothing about it.
    for event in [
        "puts",
        "records erased",
        "power cuts",
        "done, not acknowledged",
        "undone",
        "stores restored",
        "old copies refused",
        "old stores refused",
        "old cells refused",
        "old copies brought back",
        "timelines abandoned",
        "bits flipped",
        "partitions",
        "races lost",
        "records derived",
        "records detached",
        "records opened by name",
        "puts under a name",
        "named puts tried again",
        "records replaced",
        "named uploads finished",
        "named uploads refused",
        "erased names looked for",
        "uploads begun",
        "uploads gone on with",
        "uploads finished",
        "uploads aborted",
        "uploads expired",
        "what is due done",
        "erases planned",
        "planned erases done",
        "plans cancelled",
        "limits set",
        "records expired",
        "erases pending",
        "envelopes accepted",
        "envelopes that came again",
        "grants opened",
        "grants revoked",
        "training sets opened",
        "holds added",
        "holds lifted",
        "erases refused",
        "runs with every key looked at",
    ] {
        let met = tally.events.get(event).is_some_and(|n| *n > 0);
        assert!(met || seeds < 5000, "no run met: {event}");
    }
    println!("{tally:#?}");
}

#[test]
fn crash_points_of_an_erase_and_a_discard() {
    for verb in ["erase a record", "discard"] {
        let covered = every_crash_point(verb, false, NonZeroU32::MIN);
        assert!(covered.operations > 10 && covered.again > 10, "{covered:?}");
        assert_eq!(covered.crashed, covered.operations, "{verb}");
        // A share of the cuts in recoveries leaves no crash point out, and is a share of each.
        let share = every_crash_point(verb, false, NonZeroU32::new(4).unwrap());
        assert_eq!((share.crashed, share.operations), (covered.crashed, covered.operations));
        let off = (4 * share.again).abs_diff(covered.again);
        assert!(off <= 3 * share.crashed, "{verb}: {} of {}", share.again, covered.again);
    }
}

#[test]
fn each_planted_defect_is_caught_by_name() {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let search = || {
        while let Some(defect) =
            PLANTED.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
        {
            // The seed that caught it before, or else all of them.
            let caught =
                defect.caught(defect.seed..defect.seed + 1).or_else(|| defect.caught(0..20_000));
            let Some((seed, verdict)) = caught else { panic!("not caught: {}", defect.name) };
            println!("{}: seed {seed}: {verdict}", defect.name);
            assert!(
                verdict.contains(defect.verdict),
                "{} is caught as something else: {verdict}",
                defect.name
            );
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(search);
        search();
    });
}

/// `KEYFALL_MANY_SEEDS=100000` for more.
#[test]
fn a_store_that_is_not_alone_loses_nothing_and_nothing_is_found() {
    let seeds =
        std::env::var("KEYFALL_MANY_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3000);
    let mut tally = Tally::default();
    for seed in 0..seeds {
        match catch_unwind(AssertUnwindSafe(|| simulate_many(seed, Planted::default()))) {
            Ok(run) => tally.merge(&run),
            Err(e) => {
                println!("replay: keyfall-simulate --world many --seed {seed}");
                std::panic::resume_unwind(e);
            }
        }
    }
    for event in [
        "looks at a copy",
        "looks in the middle of a verb",
        "backups taken over",
        "erases by an engine that lost the store",
        "batches committed",
        "puts with a wrong clock",
        "puts when it is right again",
        "keyholders replaced",
        "keyholders lost",
        "machines set back",
    ] {
        assert!(
            tally.events.get(event).is_some_and(|n| *n > 0) || seeds < 3000,
            "no run met: {event}"
        );
    }
}

/// Seeds that once failed, and what they found.
const FOUND: &[(u64, &str)] = &[
    (472, "a discard that failed left the store refusing writes, and the engine unaware"),
    (
        18_596,
        "a log whose sync failed at opening was synced again at closing, and taken for durable",
    ),
    (46_090, "a restore passed over a copy that could not be read, and took an older one"),
    (62_920, "a copy behind that failed once stayed broken until the engine was opened again"),
    (1_271_686, "the same, where it failed while it was added"),
    (1_447_610, "the same, where it failed in a discard"),
    (
        2_370_534,
        "a repeating generator gave one root key to two erases, and the second's opened the first's head",
    ),
    (1_975_850, "a discard whose log did not sync"),
];

/// The same, found with the steps of today.
const FOUND_LATER: &[(u64, &str)] = &[(
    7_161_888,
    "an index that came back older named bytes in a file that was given back, and an audit failed on it",
)];

/// Of several engines, in whatever world the number says.
const FOUND_IN_MANY: &[(u64, &str)] = &[
    (
        402_623,
        "a keyholder that told a wrong share did not count as one that holds the running key: the \
         next one was published with the threshold alone",
    ),
    (404_141, "the same, by one that was away for a moment"),
    (
        3_056_402,
        "a keyholder that had left one place, and had not signed, was put in another one, which no \
         program does: it held a share of the running key, and not the one of its place",
    ),
    (
        8_880_332,
        "an owner was refused whose last claim one keyholder alone knew: asked first, the others \
         told of the claim before",
    ),
    (
        8_925_639,
        "a repeating generator gave a claim the token of one on an abandoned timeline, and a copy \
         of the store that knew this one owned the cell",
    ),
];

#[test]
fn what_was_found_later_stays_corrected() {
    for (seed, what) in FOUND_LATER {
        println!("{what}");
        simulate_seed(*seed, Planted::default());
    }
    for (seed, what) in FOUND_IN_MANY {
        println!("{what}");
        simulate_many(*seed, Planted::default());
    }
}

#[test]
fn what_was_found_once_stays_corrected() {
    for (seed, what) in FOUND {
        // Their steps as they were before there was lineage, which reads this byte.
        let mut steps = steps(*seed);
        steps.iter_mut().for_each(|step| step[7] = 0);
        let run = || simulate(*seed, &steps, Planted::default(), |env| media_of(*seed, env));
        if let Some(verdict) = verdict(run) {
            panic!("seed {seed}, {what}: {verdict}");
        }
    }
}

/// `KEYFALL_KEYHOLDER_SEEDS=100000` for more.
#[test]
fn with_fickle_keyholders_nothing_is_lost_and_nothing_is_found() {
    let seeds =
        std::env::var("KEYFALL_KEYHOLDER_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    for seed in 0..seeds {
        if let Some(verdict) = verdict(|| simulate_keyholders(seed, Planted::default())) {
            panic!("seed {seed}: {verdict}");
        }
    }
}
