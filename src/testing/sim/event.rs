//! One step of a store that is not alone, read from the same 16 bytes as an [`Op`].

use super::media::keyholders::KeyholderEvent;
use super::op::{Item, Op, STEP_BYTES, Scoped, class, first_scope, some, user};

/// What happens to a store that is not alone.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A backup, or a copy of the directory, is opened with the store's cell.
    Look { twin: bool, owner: bool },
    /// The backup is opened in the middle of an operation, before it touches its media for the
    /// `nth` time.
    Spied { nth: u64, op: Op },
    /// The backup is taken over, and the store taken back; the other engine stays open.
    Drill,
    /// The engine whose store was taken back goes on.
    Stale(u8),
    /// A record is added to a batch that stays open.
    BatchAdd { user: u8, item: Item },
    /// The batch is committed.
    BatchCommit,
    /// The clock is wrong for a moment; the process may begin in it.
    WrongClock(WrongClock),
    /// Something happens to a keyholder.
    Keyholder(KeyholderEvent),
    /// A snapshot of the machine is made while the engine is open.
    Snapshot,
    /// A machine goes on from the snapshot, with the cell as it is now.
    FromSnapshot(u8),
    /// A scope that keeps a class is planned.
    Plan(Scoped, u8),
    /// A copy is added, or removed.
    Copy(Op),
    /// A scope, pending for so many tenths of a second at most.
    EraseWithin(Scoped, u8),
    /// Scopes in one commit, of which one keeps a class.
    Erase(Vec<Scoped>),
}

/// How a clock is wrong, and whose record is put meanwhile.
#[derive(Clone, Debug)]
pub(super) struct WrongClock {
    pub(super) ahead: bool,
    pub(super) far: bool,
    /// The process begins while the clock is wrong.
    pub(super) reopen: bool,
    pub(super) user: u8,
}

impl Event {
    /// Reads a step; `None` for one that is an [`Op`], as of a store that is alone.
    pub(super) fn decode(b: &[u8; STEP_BYTES]) -> Option<Event> {
        if b[14] >= 110 {
            return None;
        }
        let keeping = |b: &[u8]| Scoped::Keeping {
            user: user(b[0]),
            keep: class(b[1]),
            interaction: some(b[2]),
        };
        Some(match b[15] % 30 {
            0 => Event::Look { twin: b[1] & 1 == 1, owner: b[1] & 2 == 2 },
            1..=3 => {
                Event::Spied { nth: 1 + u64::from(b[6]) % 40, op: Op::Erase(vec![first_scope(b)]) }
            }
            4 => Event::Spied { nth: 1 + u64::from(b[6]) % 40, op: Op::Tend },
            5 => Event::Drill,
            6 => Event::Stale(user(b[1])),
            7..=9 => {
                let item = Item {
                    sources: vec![b[3]; usize::from(b[4] & 1)],
                    ..Item::plain(class(b[2]), some(b[5]), 30)
                };
                Event::BatchAdd { user: user(b[1]), item }
            }
            10 | 25 => Event::BatchCommit,
            11 => {
                let bit = |n: u8| b[1] & n == n;
                Event::WrongClock(WrongClock {
                    ahead: bit(1),
                    far: bit(2),
                    reopen: bit(4),
                    user: user(b[2]),
                })
            }
            12 | 13 => Event::Keyholder(KeyholderEvent::Replaced(b[1])),
            14 | 20 => Event::Keyholder(KeyholderEvent::Lost(b[1])),
            15 | 21 => Event::Snapshot,
            26 | 27 => Event::Copy(Op::CopyAdd { place: b[1] % 2, in_step: true }),
            28 | 29 => Event::Copy(Op::CopyRemove(b[1] % 2)),
            22..=24 => Event::EraseWithin(first_scope(b), b[6]),
            16 => Event::FromSnapshot(user(b[1])),
            17 => Event::Plan(keeping(&b[1..]), b[6] % 16),
            18 => Event::Erase(vec![first_scope(b), keeping(&b[4..])]),
            _ => {
                let item = Item { sources: vec![b[4], b[5]], ..Item::plain(class(b[2]), None, 40) };
                return Some(Event::Spied {
                    nth: 1 + u64::from(b[6]) % 40,
                    op: Op::Put { user: user(b[1]), items: vec![item] },
                });
            }
        })
    }
}
