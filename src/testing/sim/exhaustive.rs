//! Every crash point: for each verb the power fails before and after each operation on a medium,
//! with what was not synced kept, lost or torn; and it fails again at each operation of the
//! recovery, or at a share of them.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::judges::judge;
use super::media::adapters::Adapters;
use super::media::file::Loss;
use super::media::gate::Fault;
use super::media::port::Media;
use super::media::simulated::SimulatedDisk;
use super::op::{Granted, Item, Mode, Named, NamedUpload, Op, Scoped, Trouble};
use super::opening::start;
use super::play::apply;
use super::run::Run;
use crate::ids::Class;
use crate::testing::lock::locked;
use crate::testing::seeded::Seeded;

/// The verbs, by the names under which they are reported.
pub const VERBS: [&str; 41] = [
    "init",
    "open",
    "put",
    "put, two segments",
    "put, a batch",
    "put, derived",
    "put, named",
    "put, named, again",
    "put, named, replaces",
    "detach",
    "create a user",
    "erase a user",
    "erase a class",
    "erase an interaction",
    "erase a record",
    "erase a span of time",
    "erase three scopes",
    "erase what others were derived from",
    "follow what fell",
    "erase a user, pending",
    "plan an erase",
    "cancel a planned erase",
    "set a limit for all",
    "do what is due",
    "make it final",
    "accept an envelope",
    "open a grant",
    "open a record by name",
    "begin an upload",
    "append to an upload",
    "finish an upload",
    "finish an upload, named",
    "abort an upload",
    "copy add, in step",
    "copy add, behind",
    "copy sync",
    "copy remove",
    "backup",
    "discard",
    "clean",
    "restore",
];

/// How much of one verb was covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Operations on media that the verb makes.
    pub operations: u64,
    /// At how many of those the power failed before and after, and the operation failed with and
    /// without effect.
    pub crashed: u64,
    /// Operations of recoveries at which the power failed again.
    pub again: u64,
    /// Runs that were judged.
    pub runs: u64,
}

fn put(user: u8, class: Class, len: usize) -> Op {
    Op::Put { user, items: vec![Item::plain(class, None, len)] }
}

/// An upload that falls with the oldest record.
fn upload(user: u8, named: Option<NamedUpload>) -> Op {
    let item = Item { sources: vec![0], ..Item::plain(Class::audio(), None, 0) };
    Op::Upload { user, item, named }
}

fn named(content: u8) -> Op {
    Op::PutNamed(Named {
        user: 0,
        name: 0,
        class: Class::audio(),
        content,
        len: 700,
        source: None,
        mode: Mode::Replace,
        replaced: false,
    })
}

/// What happens before the verb: three users, fences, copies in step and behind, a backup,
/// something to discard.
fn prologue(verb: &str) -> Vec<Op> {
    let item = |class: Class| Item::plain(class, None, 60);
    let mut ops = vec![
        put(0, Class::audio(), 20_000),
        Op::Put {
            user: 0,
            items: vec![item(Class::transcript()), item(Class::action()), item(Class::audio())],
        },
        put(1, Class::audio(), 300),
        put(2, Class::action(), 80),
        Op::Erase(vec![Scoped::Record(1)]),
        Op::CopyAdd { place: 0, in_step: true },
    ];
    if verb != "copy add, behind" {
        ops.push(Op::CopyAdd { place: 1, in_step: verb == "copy add, in step" });
    }
    if verb == "copy add, in step" || verb == "copy add, behind" {
        ops.push(Op::CopyRemove(1));
    }
    ops.extend([Op::Backup, put(1, Class::transcript(), 50), Op::Erase(vec![Scoped::User(2)])]);
    if verb == "restore" {
        ops.push(Op::Backup);
    }
    if LINEAGE.contains(&verb) {
        // From the oldest record: three of another user, and one from the last of these.
        let derived = |from_last| Item { sources: vec![0], from_last, ..item(Class::transcript()) };
        ops.push(Op::Put { user: 1, items: vec![derived(false), derived(false), derived(true)] });
    }
    let later = |tenths| Op::Plan(Scoped::Class(0, Class::audio()), tenths);
    match verb {
        "put, named, again" => ops.push(named(2)),
        "put, named, replaces" => {
            ops.push(named(1));
            // It falls with what is replaced.
            let derived = Item { sources: vec![5], ..item(Class::action()) };
            ops.push(Op::Put { user: 1, items: vec![derived] });
        }
        "cancel a planned erase" => ops.push(later(200)),
        "do what is due" => ops.extend([
            later(0),
            Op::Limit { user: None, class: Class::transcript(), age: Some(1) },
            Op::Wait(100),
        ]),
        "append to an upload" | "finish an upload" | "abort an upload" => {
            ops.extend([upload(1, None), Op::Append(0, 300), Op::Append(0, 20_000)]);
        }
        // It takes the name of another record, which falls.
        "finish an upload, named" => {
            let to_be = NamedUpload { name: 0, mode: Mode::Replace, at_once: false };
            let upload = upload(0, Some(to_be));
            ops.extend([named(1), upload, Op::Append(0, 300), Op::Append(0, 20_000)]);
        }
        "make it final" => ops.extend([Op::EraseWithin(Scoped::User(1), 1), Op::Wait(100)]),
        _ => {}
    }
    if verb == "follow what fell" {
        ops.push(Op::Erase(vec![Scoped::User(0)]));
    }
    ops
}

/// The verbs that need derived records.
const LINEAGE: [&str; 5] = [
    "put, derived",
    "detach",
    "erase what others were derived from",
    "follow what fell",
    "do what is due",
];

fn op(verb: &str) -> Op {
    let item = |class: Class| Item::plain(class, Some(0), 70);
    match verb {
        "put" => put(1, Class::action(), 200),
        "put, two segments" => put(1, Class::audio(), 270_000),
        "put, a batch" => {
            Op::Put { user: 3, items: vec![item(Class::audio()), item(Class::action())] }
        }
        "put, derived" => {
            let derived =
                |from_last| Item { sources: vec![0, 1], from_last, ..item(Class::action()) };
            Op::Put { user: 3, items: vec![derived(false), derived(true)] }
        }
        "put, named" | "put, named, again" | "put, named, replaces" => named(2),
        "detach" => Op::Detach(1),
        "erase what others were derived from" => Op::Erase(vec![Scoped::User(0)]),
        "follow what fell" | "do what is due" | "make it final" => Op::Tend,
        "erase a user, pending" => Op::EraseWithin(Scoped::User(0), 9),
        "accept an envelope" => {
            Op::Envelope(0, Item { sources: vec![0], ..Item::plain(Class::transcript(), None, 90) })
        }
        "open a grant" => Op::Grant(Granted { user: 0, class: None, set: false, revoked: false }),
        "open a record by name" => Op::OpenAs(0),
        "begin an upload" => upload(1, None),
        "append to an upload" => Op::Append(0, 17_000),
        "finish an upload" | "finish an upload, named" => Op::Finish(0),
        "abort an upload" => Op::Abort(0),
        "plan an erase" => Op::Plan(Scoped::User(0), 9),
        "cancel a planned erase" => Op::Cancel(0),
        "set a limit for all" => Op::Limit { user: None, class: Class::audio(), age: Some(1) },
        "create a user" => Op::Create(3),
        "erase a user" => Op::Erase(vec![Scoped::User(0)]),
        "erase a class" => Op::Erase(vec![Scoped::Class(0, Class::audio())]),
        "erase an interaction" => {
            Op::Erase(vec![Scoped::Interaction { user: 0, interaction: 0, class: None }])
        }
        "erase a record" => Op::Erase(vec![Scoped::Record(0)]),
        "erase a span of time" => {
            Op::Erase(vec![Scoped::Span { user: 0, class: None, from: None, until: Some(3) }])
        }
        "erase three scopes" => {
            Op::Erase(vec![Scoped::User(0), Scoped::Class(1, Class::audio()), Scoped::Record(3)])
        }
        "copy add, in step" => Op::CopyAdd { place: 1, in_step: true },
        "copy add, behind" => Op::CopyAdd { place: 1, in_step: false },
        "copy sync" => Op::CopySync,
        "copy remove" => Op::CopyRemove(0),
        "backup" => Op::Backup,
        "discard" => Op::Discard,
        "clean" => Op::Clean(true),
        "restore" => Op::Restore,
        _ => Op::Reopen,
    }
}

struct Stage {
    run: Run,
    media: Arc<dyn Media>,
}

impl Stage {
    fn new(
        verb: &str,
        on_disk: bool,
        loss: Option<Loss>,
        seed: u64,
        at_init: Option<(u64, Fault)>,
    ) -> Self {
        let env = Arc::new(Seeded::new(seed));
        let media: Arc<dyn Media> = if on_disk {
            let disk = SimulatedDisk::new(env.clone(), None);
            *locked(&disk.loss) = loss;
            disk
        } else {
            Adapters::in_memory()
        };
        // Few links are followed at once, so that some are left to follow.
        let seed = if verb == "follow what fell" { seed * 3 } else { seed };
        let mut run = start(Arc::clone(&media), env, seed, None, at_init);
        if verb != "init" {
            for op in prologue(verb) {
                apply(&mut run, op, Trouble::default());
            }
        }
        Stage { run, media }
    }

    fn faults(&self) -> u64 {
        self.media.gate().faults().values().sum()
    }
}

/// Runs the verb with its trouble and both judges; returns how many of the planned faults happened,
/// and how many operations passed under the plan.
fn once(verb: &str, on_disk: bool, loss: Option<Loss>, trouble: Trouble, seed: u64) -> (u64, u64) {
    let mut stage = match verb {
        "init" => Stage::new(verb, on_disk, loss, seed, trouble.during),
        _ => Stage::new(verb, on_disk, loss, seed, None),
    };
    match verb {
        "init" => {}
        // Its operations are those of a recovery.
        "open" => {
            apply(&mut stage.run, Op::Reopen, Trouble { recovering: trouble.during, ..trouble })
        }
        _ => apply(&mut stage.run, op(verb), trouble),
    }
    let (faults, operations) = (stage.faults(), stage.media.gate().under_plan());
    judge(stage.run, false);
    (faults, operations)
}

/// Covers one verb, on the simulated disk or on the reference adapters: each of its operations, and
/// of the operations of each recovery one of `every`.
///
/// # Panics
/// With the verdict, the operation and the fault, where a judge finds something.
pub fn every_crash_point(verb: &str, on_disk: bool, every: NonZeroU32) -> Covered {
    let mut covered = Covered::default();
    let losses: &[(Option<Loss>, u64)] = if on_disk {
        &[
            (Some(Loss::Everything), 1),
            (Some(Loss::Nothing), 2),
            (Some(Loss::Newest), 3),
            (Some(Loss::Sectors), 4),
            (Some(Loss::Sectors), 5),
        ]
    } else {
        &[(None, 1)]
    };
    let faults =
        [Fault::PowerBefore, Fault::PowerAfter, Fault::Fails, Fault::FailsApplied, Fault::Full];
    for at in 1.. {
        let (mut blown, mut operations) = (0, 0);
        for fault in faults {
            let power = matches!(fault, Fault::PowerBefore | Fault::PowerAfter);
            // After an error that is no power cut: go on, end the process, or cut the power then.
            for after in if power { 0..1 } else { 0..3 } {
                for (loss, seed) in if power || after == 2 { losses } else { &losses[..1] } {
                    let trouble = Trouble { during: Some((at, fault)), recovering: None, after };
                    let (faults, passed) = once(verb, on_disk, *loss, trouble, *seed);
                    blown += faults;
                    operations = operations.max(passed);
                    covered.runs += 1;
                }
            }
        }
        if blown == 0 {
            // Nothing went wrong: the gate has seen all that the verb does.
            covered.operations = operations;
            break;
        }
        covered.crashed += 1;
        // In turn: each combination of a crash and a second one is tried with one way to lose what
        // was not synced.
        let (turn, way) = (at as usize / losses.len(), at as usize % losses.len());
        let (loss, seed) = &losses[way];
        if !matches!(verb, "init" | "open") {
            for j in (first_cut(verb, turn + way, every)..).step_by(every.get() as usize) {
                let second = Some((j, Fault::PowerAfter));
                let trouble = Trouble {
                    during: Some((at, Fault::PowerBefore)),
                    recovering: second,
                    after: 0,
                };
                covered.runs += 1;
                if once(verb, on_disk, *loss, trouble, *seed).0 < 2 {
                    break;
                }
                covered.again += 1;
            }
        }
    }
    covered
}

/// The first operation of a recovery at which the power fails again. A share of one in `every`
/// starts at another operation for each verb, for each crash point, and for each way to lose what
/// was not synced: the `turn`s of one way go through all of them.
fn first_cut(verb: &str, turn: usize, every: NonZeroU32) -> u64 {
    let number = VERBS.iter().position(|name| *name == verb).unwrap_or_default();
    1 + (number + turn) as u64 % u64::from(every.get())
}
