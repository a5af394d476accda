//! One step of a run, read from 16 bytes: an operation, and the faults that meet it. Any bytes are
//! a step, so that a seed, a fuzzer and a shrinker can all make steps.

use super::media::gate::Fault;
use super::names::UNSAID;
use crate::ids::{Class, InteractionId, RecordId};

/// How many bytes a step has.
pub const STEP_BYTES: usize = 16;

/// What a step does in a run.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Put {
        user: u8,
        items: Vec<Item>,
    },
    PutNamed(Named),
    Create(u8),
    /// A derived record becomes independent of its sources.
    Detach(u8),
    /// The engine does what is due, and follows what fell to its end.
    Tend,
    /// A legal hold on a user, or on a class or an interaction of it.
    LegalHold {
        user: u8,
        class: Option<Class>,
        interaction: Option<u8>,
    },
    /// An upload is begun of what would be put, and has that many bytes then.
    Upload {
        user: u8,
        item: Item,
        named: Option<NamedUpload>,
    },
    /// So many bytes are appended to an upload.
    Append(u8, usize),
    Finish(u8),
    Abort(u8),
    /// Somebody opens a record by name.
    OpenAs(u8),
    /// One of a user's holds is lifted.
    Lift(u8),
    /// One or more scopes in one commit.
    Erase(Vec<Scoped>),
    /// A scope, pending for so many tenths of a second at most.
    EraseWithin(Scoped, u8),
    /// A scope, in so many tenths of a second.
    Plan(Scoped, u8),
    /// A record arrives in an envelope that is sealed to a user's inbox.
    Envelope(u8, Item),
    /// One of the envelopes arrives again.
    EnvelopeAgain(u8),
    Grant(Granted),
    /// One of the plans is cancelled.
    Cancel(u8),
    /// A limit of so many tenths of a second for a class, of one user or of all; `None` removes it.
    Limit {
        user: Option<u8>,
        class: Class,
        age: Option<u8>,
    },
    CopyAdd {
        place: u8,
        in_step: bool,
    },
    CopySync,
    CopyRemove(u8),
    Backup,
    Discard,
    /// The cleaner is called; where the flag is set it marks what lives, whatever is believed dead.
    Clean(bool),
    /// The store is lost and restored from its copies.
    Restore,
    Reopen,
    /// A reader is opened, and read from again after each erase.
    Hold(u8),
    /// A place is out of reach, or comes back.
    Partition(u8),
    /// The present state of a place is kept.
    Keep(Kept),
    /// A place goes back to what was kept.
    Return(Kept),
    /// A bit changes on a medium.
    Rot {
        cell: bool,
    },
    /// So many tenths of a second pass.
    Wait(u16),
    /// A second engine opens the same store and cell, which a lock would prevent, and writes.
    SecondWriter(u8),
}

/// A put under a name, which may be one that was done before.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) user: u8,
    pub(super) name: u8,
    pub(super) class: Class,
    /// Which of a few contents that the name has.
    pub(super) content: u8,
    pub(super) len: usize,
    /// Derived from this one, of all records that there ever were.
    pub(super) source: Option<u8>,
    pub(super) mode: Mode,
    /// Another content takes the name then, and meets the trouble.
    pub(super) replaced: bool,
}

/// An upload of what is to have a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedUpload {
    /// The name, if none of the user's records has one that an upload may take.
    pub(super) name: u8,
    pub(super) mode: Mode,
    /// It is finished in the same step.
    pub(super) at_once: bool,
}

/// What becomes of it if another record has the name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    Replace,
    IfAbsent,
    /// This one alone is replaced, of all records that there ever were.
    IfIs(u8),
    /// The one that has the name is replaced.
    IfItIs,
}

/// A third party opens records of a user.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    pub(super) user: u8,
    /// In this class; `None`: in all.
    pub(super) class: Option<Class>,
    /// Also as a training set.
    pub(super) set: bool,
    /// The grant is revoked then.
    pub(super) revoked: bool,
}

/// What is kept and brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The machine's snapshot: the store and the generator's state.
    Machine,
    /// The place of a copy.
    Copy(u8),
    /// The cell's files, as a backup of them.
    Cell,
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) class: Class,
    /// Into an interaction that exists.
    pub(super) interaction: Option<u8>,
    pub(super) len: usize,
    /// Derived from these, of all records that there ever were.
    pub(super) sources: Vec<u8>,
    /// Derived from the one before it in the batch.
    pub(super) from_last: bool,
}

impl Item {
    pub(super) fn plain(class: Class, interaction: Option<u8>, len: usize) -> Self {
        Item { class, interaction, len, sources: Vec::new(), from_last: false }
    }
}

/// An item, with what its numbers picked.
#[derive(Clone)]
pub(super) struct Chosen {
    pub(super) class: Class,
    pub(super) interaction: Option<InteractionId>,
    pub(super) sources: Vec<RecordId>,
    pub(super) from_last: bool,
    pub(super) content: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(super) enum Scoped {
    User(u8),
    Class(u8, Class),
    /// A class, except what was derived from it.
    ClassAlone(u8, Class),
    Interaction {
        user: u8,
        interaction: u8,
        class: Option<Class>,
    },
    Record(u8),
    Span {
        user: u8,
        class: Option<Class>,
        from: Option<u8>,
        until: Option<u8>,
    },
    /// Everything, or one interaction, except a class.
    Keeping {
        user: u8,
        keep: Class,
        interaction: Option<u8>,
    },
}

/// What goes wrong in a step, and after it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    /// At which operation on a medium a fault happens, and which.
    pub(super) during: Option<(u64, Fault)>,
    /// The same in the recovery after it.
    pub(super) recovering: Option<(u64, Fault)>,
    /// After an error: 0 goes on, 1 ends the process, 2 cuts the power.
    pub(super) after: u8,
}

pub(super) fn user(n: u8) -> u8 {
    n % 4
}

pub(super) fn class(n: u8) -> Class {
    match n % 4 {
        0 => Class::audio(),
        1 => Class::transcript(),
        2 => Class::action(),
        #[expect(clippy::expect_used, reason = "a constant")]
        _ => Class::new("profile.health").expect("a class name"),
    }
}

pub(super) fn some(n: u8) -> Option<u8> {
    (n & 1 == 1).then_some(n >> 1)
}

pub(super) fn scoped(kind: u8, b: [u8; 4]) -> Scoped {
    let maybe_class = some(b[1]).map(class);
    match kind % 6 {
        0 => Scoped::User(user(b[0])),
        1 => Scoped::Class(user(b[0]), class(b[1])),
        2 => Scoped::Interaction { user: user(b[0]), interaction: b[2], class: maybe_class },
        3 | 4 => Scoped::Record(b[2]),
        _ => Scoped::Span {
            user: user(b[0]),
            class: maybe_class,
            from: some(b[2]),
            until: some(b[3]),
        },
    }
}

/// Reads a step: what happens, and what goes wrong.
pub(super) fn decode(b: &[u8; STEP_BYTES]) -> (Op, Trouble) {
    let op = match b[0] % 64 {
        0..=17 => put_one(b),
        18..=21 => put_batch(b),
        22 | 23 => Op::Create(user(b[1])),
        24..=34 => Op::Erase(vec![first_scope(b)]),
        35 | 36 => Op::Erase(vec![
            first_scope(b),
            scoped(b[3] / 6, [b[6], b[2], b[5], b[4]]),
            scoped(b[2], [b[4], b[3], b[6], b[1]]),
        ]),
        37 | 38 => Op::CopyAdd { place: b[1] % 2, in_step: b[2] & 1 == 0 },
        39 => Op::CopySync,
        40 => Op::CopyRemove(b[1] % 2),
        41 => Op::Backup,
        42 | 43 => Op::Discard,
        44 => Op::Restore,
        45..=47 => Op::Reopen,
        48 | 49 if b[7] % 8 < 3 => Op::Hold(b[1]),
        48 | 49 => upload(b),
        50 | 51 => Op::Partition(b[1] % 2),
        52 => Op::Keep(Kept::Machine),
        53 => Op::Return(Kept::Machine),
        54 => Op::Keep(Kept::Copy(b[1] % 2)),
        55 => Op::Return(Kept::Copy(b[1] % 2)),
        56 => Op::Keep(Kept::Cell),
        57 => Op::Return(Kept::Cell),
        58 => Op::Rot { cell: b[1].is_multiple_of(4) },
        59 => Op::SecondWriter(b[1]),
        rare => rare_op(rare, b),
    };
    (op, trouble(b))
}

/// The operations that came later: their numbers share what was once waiting, so that older seeds
/// replay as they did.
fn rare_op(number: u8, b: &[u8; STEP_BYTES]) -> Op {
    match (number, b[7] % 8) {
        (60, 0 | 1) | (62, 0..=3) => Op::Clean(b[1] & 1 == 1),
        (60, 6 | 7) => Op::Plan(first_scope(b), b[6]),
        (60, 4 | 5) => Op::Detach(b[1]),
        (61, 6 | 7) => Op::EraseWithin(first_scope(b), b[6]),
        (61, 4 | 5) => Op::OpenAs(b[1]),
        (61, 1) => {
            let mut item = Item::plain(class(b[2]), None, length(b) % 300);
            item.sources =
                b[13..].iter().take(usize::from(b[3] % 4).saturating_sub(2)).copied().collect();
            Op::Envelope(user(b[1]), item)
        }
        (61, 2) => Op::EnvelopeAgain(b[1]),
        (61, 3) => {
            let (user, class) = (user(b[1]), some(b[2]).map(class));
            Op::Grant(Granted { user, class, set: true, revoked: b[3] & 1 == 1 })
        }
        (60, 2 | 3) | (61, 0) | (63, 0) => put_named(b),
        (62, 4) => Op::LegalHold {
            user: user(b[1]),
            class: some(b[2]).map(class),
            interaction: some(b[3]),
        },
        (62, 5) => Op::Lift(b[1]),
        (62, 6 | 7) => Op::Tend,
        (63, 1) => Op::Cancel(b[1]),
        (63, 2) => Op::Limit {
            user: some(b[1]).map(user),
            class: class(b[2]),
            age: (b[3] > 99).then_some(b[4] % 64),
        },
        (63, 3) => Op::Erase(vec![Scoped::ClassAlone(user(b[1]), class(b[2]))]),
        (63, 4..=7) => Op::Erase(vec![Scoped::Keeping {
            user: user(b[1]),
            keep: class(b[2]),
            interaction: some(b[3]),
        }]),
        _ => Op::Wait(u16::from_be_bytes([b[1], b[2]])),
    }
}

fn upload(b: &[u8; STEP_BYTES]) -> Op {
    match b[6] % 8 {
        0..=2 => {
            let mut item = Item::plain(class(b[2]), some(b[3]), length(b) % 300);
            item.sources = b[13..].iter().take(usize::from(b[7] % 2)).copied().collect();
            let named = b[14].is_multiple_of(3).then(|| NamedUpload {
                name: UNSAID[usize::from(b[15]) % UNSAID.len()],
                mode: mode(b[14] / 3, b[15]),
                at_once: b[13] & 1 == 1,
            });
            Op::Upload { user: user(b[1]), item, named }
        }
        3 | 4 => Op::Append(b[1], 1 + length(b) % [90, 300, 20_000][usize::from(b[2] % 3)]),
        5 => Op::Abort(b[1]),
        _ => Op::Finish(b[1]),
    }
}

/// What a put under a name does to another record; `is`: the one that it may replace.
fn mode(n: u8, is: u8) -> Mode {
    match n % 5 {
        0 | 1 => Mode::Replace,
        2 => Mode::IfAbsent,
        3 => Mode::IfIs(is),
        _ => Mode::IfItIs,
    }
}

fn length(b: &[u8; STEP_BYTES]) -> usize {
    usize::from(u16::from_be_bytes([b[4], b[5]]))
}

/// The scope of a step that names one.
pub(super) fn first_scope(b: &[u8; STEP_BYTES]) -> Scoped {
    scoped(b[3], [b[1], b[2], b[4], b[5]])
}

fn put_one(b: &[u8; STEP_BYTES]) -> Op {
    let len = length(b);
    // Most are short; some pass the border of a chunk, a few that of a segment.
    let len = match b[6] % 16 {
        0 => 16_384 * (1 + len % 2) + len % 3,
        1 => len % 20_000,
        2 if len.is_multiple_of(4) => 262_144 + len % 5,
        _ => len % 200,
    };
    let mut item = Item::plain(class(b[2]), some(b[3]), len);
    item.sources = b[13..].iter().take(usize::from(b[7] % 8).saturating_sub(4)).copied().collect();
    Op::Put { user: user(b[1]), items: vec![item] }
}

fn put_batch(b: &[u8; STEP_BYTES]) -> Op {
    let len = length(b);
    let item = |n: u8| Item {
        from_last: n > 0 && b[7] & 1 == 1,
        sources: if b[7] & 6 == 6 { vec![b[13].wrapping_add(n)] } else { Vec::new() },
        ..Item::plain(class(b[2].wrapping_add(n)), None, len % 90)
    };
    Op::Put { user: user(b[1]), items: (0..1 + b[3] % 12).map(item).collect() }
}

fn put_named(b: &[u8; STEP_BYTES]) -> Op {
    Op::PutNamed(Named {
        user: user(b[1]),
        name: b[3] % 6,
        class: class(b[2] % 2),
        content: b[4] % 3,
        len: [0, 20, 700, 17_000][usize::from(b[5] % 4)],
        source: (b[15] < 60).then_some(b[13]),
        mode: mode(b[6], b[14]),
        replaced: b[2] & 12 == 12,
    })
}

/// What goes wrong in a step.
pub(super) fn trouble(b: &[u8; STEP_BYTES]) -> Trouble {
    let fault = |which: u8, nth: u8| {
        (which < 100).then(|| (1 + u64::from(nth) % 50, Fault::ALL[usize::from(which) % 7]))
    };
    Trouble { during: fault(b[8], b[9]), recovering: fault(b[10], b[11]), after: b[12] % 3 }
}
