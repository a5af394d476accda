//! Defects that the judges must catch: each is a way in which a store like this has once been
//! wrong.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::media::disk::Unsynced;
use super::planted::Planted;
use super::world::{World, steps};
use crate::cell::defect::CellDefect;
use crate::engine::Defect;

/// Runs something that panics with a verdict where a judge finds fault, and catches the panic.
///
/// # Errors
/// The verdict.
pub fn verdict_of<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
    })
}

/// A defect that seeds alone must find.
#[derive(Clone, Copy, Debug)]
pub struct PlantedDefect {
    /// What is wrong, in a few words.
    pub name: &'static str,
    /// The part that is wrong.
    pub planted: Planted,
    /// The world in which it shows.
    pub world: World,
    /// What the verdict must say.
    pub verdict: &'static str,
    /// A seed that has caught it: the first one to try.
    pub seed: u64,
}

const NONE: Planted = Planted { engine: None, unsynced: None, cell: None };

/// The defects, with the first seed that catches each.
pub const PLANTED: &[PlantedDefect] = &[
    unsynced("the log is not synced", Unsynced::Log, "LOST"),
    unsynced("the cell is not synced", Unsynced::Cell, ""),
    unsynced("directories are not synced", Unsynced::Names, "LOST"),
    engine("the root key is kept", Defect::KeepRootKey, World::Alone, "FOUND"),
    engine("the old root key is not retired", Defect::SkipRetire, World::Alone, "FOUND"),
    engine("retired before published", Defect::RetireBeforePublish, World::Alone, "LOST").at(3),
    engine("a page keeps its key", Defect::KeepPageKey, World::Alone, "a key seals two plaintexts"),
    engine("a key is used twice", Defect::ReuseKey, World::Alone, "a key seals two plaintexts"),
    engine("the cache is not purged", Defect::ForgetCache, World::Alone, "FOUND").at(213),
    engine("an erase is not logged", Defect::SkipLog, World::Alone, "LOST"),
    PlantedDefect {
        name: "every engine that opens a store recovers it",
        planted: Planted {
            engine: Some(Defect::LookRecovers),
            cell: Some(CellDefect::AnyOwner),
            ..NONE
        },
        world: World::Many,
        verdict: "owns the cell by itself",
        seed: 18,
    },
    cell("a keyholder's fence lies in a tombstone", CellDefect::FenceInTombstone, "").at(23),
    engine("a plan that fails is dropped", Defect::PlanDropped, World::Many, "").at(1_464),
    engine("an epoch stands for an erase", Defect::EpochForErase, World::Many, "was let in")
        .at(1_594),
    cell(
        "the key that stands ready is used from memory",
        CellDefect::ReadyFromMemory,
        "a machine that was set back erases",
    )
    .at(612),
    engine(
        "erases of one commit fail together",
        Defect::FailTogether,
        World::Many,
        "an erase fails as erased",
    )
    .at(1_521),
    engine("the writer has its own list of copies", Defect::TwoLists, World::Many, "LOST")
        .at(2_399),
    engine("a cleaner takes what lives", Defect::SweepLive, World::Alone, "is missing"),
    engine("a page that lives counts as replaced", Defect::ReplaceLive, World::Alone, "is missing"),
    engine("a record that is replaced stays", Defect::KeepReplaced, World::Alone, "FOUND").at(81),
    engine("a put under a name is done twice", Defect::PutTwice, World::Alone, "done twice").at(94),
    engine("uploads outlive their class", Defect::KeepUploads, World::Alone, "FOUND").at(337),
    engine("an opening leaves no line", Defect::OpenUnrecorded, World::Alone, "LOST: who opened")
        .at(8),
    cell("a new keyholder is dealt the running key", CellDefect::NewcomerDealt, "FOUND").at(143),
    cell("the old shares go when t hold the new", CellDefect::NoMargin, "LOST").at(7_550),
];

const fn engine(
    name: &'static str,
    defect: Defect,
    world: World,
    verdict: &'static str,
) -> PlantedDefect {
    PlantedDefect {
        name,
        planted: Planted { engine: Some(defect), ..NONE },
        world,
        verdict,
        seed: 0,
    }
}

const fn unsynced(name: &'static str, what: Unsynced, verdict: &'static str) -> PlantedDefect {
    PlantedDefect {
        name,
        planted: Planted { unsynced: Some(what), ..NONE },
        world: World::Alone,
        verdict,
        seed: 0,
    }
}

const fn cell(name: &'static str, defect: CellDefect, verdict: &'static str) -> PlantedDefect {
    PlantedDefect {
        name,
        planted: Planted { cell: Some(defect), ..NONE },
        world: World::Many,
        verdict,
        seed: 0,
    }
}

impl PlantedDefect {
    const fn at(self, seed: u64) -> Self {
        PlantedDefect { seed, ..self }
    }

    /// The first seed that fails with the defect and not without it, and its verdict.
    pub fn caught(&self, mut seeds: Range<u64>) -> Option<(u64, String)> {
        let verdict = |seed: u64, planted: Planted| {
            verdict_of(|| self.world.run(seed, &steps(seed), planted)).err()
        };
        seeds.find_map(|seed| {
            let with = verdict(seed, self.planted)?;
            verdict(seed, NONE).is_none().then_some((seed, with))
        })
    }
}
