//! Mistakes of an adapter and of the engine about what may be deleted and what is known, planted in
//! the random histories: each is caught.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use keyfall::testing::Defect;
use keyfall_objects::{
    Created, Failure, FailureKind, FaultyObjects, Listed, MemoryObjects, Objects, Result,
};

use crate::network::mistaken;

/// What an adapter does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Claims go as all else does, with the commits below the floor.
    ClaimsDiscarded,
    /// A create that was not answered changed nothing if nothing is found then.
    NotFoundIsFinal,
    /// One that was not answered has worked.
    TimeoutIsSuccess,
    /// No claim is made: an opening goes on at the newest commit.
    NoClaim,
    /// A commit is sent while the one before it is on its way: that may arrive after it, or never.
    TwoInFlight,
}

/// A commit that was told as made and is on its way.
pub(crate) type OnItsWay = Mutex<Option<(String, Vec<u8>)>>;

/// A place beyond a bad network, asked by an adapter with a mistake.
pub(crate) struct Mistaken {
    pub(crate) net: FaultyObjects,
    pub(crate) place: Arc<MemoryObjects>,
    pub(crate) mistake: Option<Mistake>,
    pub(crate) on_its_way: OnItsWay,
}

/// The byte of an object that says its kind, and that of a claim.
const KIND: u64 = 32;
const CLAIM: u8 = 2;
const COMMIT: u8 = 1;

impl Mistaken {
    pub(crate) fn land(&self) {
        if let Some((name, bytes)) = self.on_its_way.lock().unwrap().take() {
            let _ = self.net.create(&name, &bytes);
        }
        self.net.land();
    }

    /// Deletes the claims below the floor.
    fn discard_claims(&self) {
        let floors = self.place.list("f", "", 10_000).unwrap();
        let number = |object: &Listed| object.name.split_once('/').unwrap().1.parse::<u64>().ok();
        let floor = floors.iter().filter_map(number).max().unwrap_or(0);
        for object in self.place.list("c", "", 10_000).unwrap() {
            let kind = self.place.get_range(&object.name, KIND, 1).unwrap().unwrap();
            if kind == [CLAIM] && number(&object).unwrap() < floor {
                self.place.delete(&object.name).unwrap();
            }
        }
    }

    /// Sends a commit, and the one before it afterwards.
    fn pipelined(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        let this = (name.to_owned(), bytes.to_vec());
        if let Some((name, bytes)) = self.on_its_way.lock().unwrap().replace(this) {
            let _ = self.net.create(&name, &bytes);
        }
        Ok(Created::Here { versioned: false })
    }

    /// Whether this is a claim, or a commit.
    fn is(kind: u8, name: &str, bytes: &[u8]) -> bool {
        name.starts_with("c/") && bytes.get(KIND as usize) == Some(&kind)
    }

    fn deleted(&self, answer: Result<()>) -> Result<()> {
        if self.mistake == Some(Mistake::ClaimsDiscarded) {
            self.discard_claims();
        }
        answer
    }
}

impl Objects for Mistaken {
    fn place(&self) -> String {
        self.net.place()
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        match self.mistake {
            Some(Mistake::NoClaim) if Self::is(CLAIM, name, bytes) => {
                return Ok(Created::Here { versioned: false });
            }
            Some(Mistake::TwoInFlight) if Self::is(COMMIT, name, bytes) => {
                return self.pipelined(name, bytes);
            }
            _ => {}
        }
        let created = self.net.create(name, bytes);
        if !matches!(&created, Err(e) if e.kind == FailureKind::Unknown) {
            return created;
        }
        match self.mistake {
            Some(Mistake::NotFoundIsFinal) if self.place.head(name)?.is_none() => {
                Err(Failure::full("it is not there, so it has failed"))
            }
            Some(Mistake::TimeoutIsSuccess) => Ok(Created::Here { versioned: false }),
            _ => created,
        }
    }
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.net.get(name)
    }
    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        self.net.get_range(name, from, len)
    }
    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        self.net.list(folder, after, limit)
    }
    fn head(&self, name: &str) -> Result<Option<u64>> {
        self.net.head(name)
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.deleted(self.net.delete(name))
    }
    fn delete_all(&self, names: &[String]) -> Result<()> {
        self.deleted(self.net.delete_all(names))
    }
}

/// The first seed of some whose history is judged ill, and how.
fn caught(mistake: Option<Mistake>, defect: Option<Defect>) -> Option<(u64, String)> {
    (0..400).find_map(|seed| {
        let history = AssertUnwindSafe(|| mistaken(seed, mistake, defect));
        let why = catch_unwind(history).err()?;
        let text = why.downcast_ref::<String>().cloned();
        Some((seed, text.or_else(|| why.downcast_ref::<&str>().map(|s| (*s).to_owned()))?))
    })
}

#[test]
fn an_adapter_without_a_mistake_is_judged_well() {
    for seed in 0..40 {
        mistaken(seed, None, None);
    }
}

#[test]
fn each_planted_mistake_is_caught() {
    for mistake in [
        Mistake::ClaimsDiscarded,
        Mistake::NotFoundIsFinal,
        Mistake::TimeoutIsSuccess,
        Mistake::NoClaim,
        Mistake::TwoInFlight,
    ] {
        let caught = caught(Some(mistake), None);
        let (seed, why) = caught.unwrap_or_else(|| panic!("no seed catches {mistake:?}"));
        println!("{mistake:?}: seed {seed}: {why}");
        let says =
            ["lost", "never opens", "one of before put something", "a fenced engine put something"];
        assert!(says.iter().any(|says| why.contains(says)), "{mistake:?}: {why}");
        // It was the mistake, and not the history.
        mistaken(seed, None, None);
    }
    for defect in [Defect::EmptyFirst, Defect::SweepLive] {
        let caught = caught(None, Some(defect));
        let (seed, why) = caught.unwrap_or_else(|| panic!("no seed catches {defect:?}"));
        println!("{defect:?}: seed {seed}: {why}");
        mistaken(seed, None, None);
        assert!(why.contains("lost") || why.contains("never opens"), "{defect:?}: {why}");
    }
}
