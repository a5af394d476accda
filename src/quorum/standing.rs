//! How each keyholder stands towards the root key in use.

use super::Held;
use super::sorted::Sorted;
use crate::error::{ErrorKind, Result};
use crate::promise::RootId;

/// What a keyholder holds, compared with the root key in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds its share of the root key, and nothing else.
    Whole,
    /// It holds no share of the root key: it was away, and is dealt one when the engine asks it
    /// next; or it is new, and is dealt one of the next root key.
    Lacks,
    /// It holds a share of a newer root key: of an attempt that failed or is under way, or the
    /// store is older than it.
    Ahead,
    /// It holds older shares too, or only such: it was away when they were to be destroyed, or was
    /// restored from a backup of itself.
    Behind,
    /// The share that it gives is wrong.
    Lies,
    /// It answers, and turns this engine away.
    Refuses(String),
    /// It does not answer, or with an error.
    Away(String),
}

/// A keyholder's standing, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    /// Address of the keyholder.
    pub place: String,
    /// How it stands towards the root key in use.
    pub standing: Standing,
    /// Whether it holds its share of the root key, whatever else it holds.
    pub holds: bool,
    /// The last epoch that it has ended.
    pub committed: u64,
}

impl Alive {
    /// How the keyholder at `place`, member `n` of the circle, stands towards the root key `live`.
    /// Of a key that too few shares give, those that fit together count.
    pub(super) fn of(
        place: String,
        n: usize,
        held: &Result<Held>,
        sorted: &Sorted<'_>,
        live: &RootId,
    ) -> Self {
        let held = match held {
            Ok(held) => held,
            Err(e) => {
                let why = e.to_string();
                let standing = match e.kind() {
                    ErrorKind::Refused | ErrorKind::Limit | ErrorKind::Medium => {
                        Standing::Refuses(why)
                    }
                    _ => Standing::Away(why),
                };
                return Alive { place, standing, holds: false, committed: 0 };
            }
        };
        let has =
            |which: &dyn Fn(&RootId) -> bool| held.shares.iter().any(|share| which(&share.id));
        let lies = sorted.liars.contains(&n);
        let holds = sorted.holds[n].contains(live) || sorted.believed[n].contains(live);
        let older = has(&|id| id != live && id.epoch <= live.epoch);
        let newer = has(&|id| id.epoch > live.epoch) && (holds || held.committed > live.epoch);
        let standing = match (holds, older, newer) {
            _ if lies => Standing::Lies,
            (_, true, _) => Standing::Behind,
            (_, false, true) => Standing::Ahead,
            (true, false, false) => Standing::Whole,
            (false, false, false) => Standing::Lacks,
        };
        Alive { place, standing, holds, committed: held.committed }
    }
}
