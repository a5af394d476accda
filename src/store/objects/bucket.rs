//! The objects of a log, asked until they answer.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use data_encoding::HEXLOWER;
use keyfall_objects::{
    Failure, FailureKind, Listed, Objects, Outcome, Patience, at_once, both, create, patiently,
    probe, probe_beside, race,
};

use super::named::{inner, outer};
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};

/// Names that one request lists, at most.
const PAGE: usize = 1000;
/// Requests of one look-up that are under way at the same time, at most.
const AT_ONCE: usize = 16;
/// Threads that race for one object when a log is made.
const RACERS: u8 = 8;

/// A place of objects, and how long it is asked.
pub(super) struct Bucket {
    objects: Arc<dyn Objects>,
    env: SharedEnv,
    patience: Patience,
    /// After which number those of this log begin in the names of its objects. Whoever had another
    /// log in this place, and does not know that it is gone, meets none of them.
    first: OnceLock<u64>,
}

fn told(e: Failure) -> Error {
    let (kind, remedy) = match e.kind {
        FailureKind::Refused => (ErrorKind::Io, ""),
        FailureKind::Unfit => (ErrorKind::Medium, ""),
        FailureKind::Full => {
            (ErrorKind::Full, "; free some space and call again, nothing acknowledged is lost")
        }
        FailureKind::Unknown => (ErrorKind::Io, "; look at the network and at the server"),
    };
    let is_refused = matches!(e.kind, FailureKind::Refused | FailureKind::Unfit);
    let error = Error::new(kind, format!("{}{remedy}", e.message)).with_source(e);
    if is_refused { error.unchanged() } else { error }
}

impl Bucket {
    pub(super) fn new(objects: Arc<dyn Objects>, env: SharedEnv, patience: Patience) -> Self {
        Bucket { objects, env, patience, first: OnceLock::new() }
    }

    pub(super) fn patience(self, patience: Patience) -> Self {
        Bucket { patience, ..self }
    }

    /// Says after which number those of this log begin; once.
    pub(super) fn begin_after(&self, first: u64) {
        let _ = self.first.set(first);
    }

    fn first(&self) -> u64 {
        self.first.get().copied().unwrap_or(0)
    }

    /// The name of an object in its place.
    pub(super) fn there(&self, name: &str) -> String {
        outer(name, self.first())
    }

    /// What is listed of this log, by its names there; adds up the bytes of what is another's.
    fn here(&self, listed: Vec<Listed>, others: &mut u64) -> Vec<Listed> {
        let first = self.first();
        let mut here = Vec::with_capacity(listed.len());
        for listed in listed.into_iter().filter(|it| it.name.matches('/').count() == 1) {
            match inner(&listed.name, first) {
                Some(name) => here.push(Listed { name, ..listed }),
                None => *others += listed.size,
            }
        }
        here
    }

    pub(super) fn place(&self) -> String {
        self.objects.place()
    }

    /// The clock that nobody sets.
    pub(super) fn monotonic(&self) -> Duration {
        self.env.monotonic()
    }

    /// Sixteen bytes that nobody drew before.
    pub(super) fn drawn(&self) -> Result<[u8; 16]> {
        let mut drawn = [0; 16];
        self.env.fill(&mut drawn)?;
        Ok(drawn)
    }

    /// Creates an object and settles what became of it: whether it is there as it was sent.
    pub(super) fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        let outcome =
            create(&*self.objects, &self.there(name), bytes, &self.patience).map_err(told)?;
        Ok(matches!(outcome, Outcome::Here { .. }))
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let name = self.there(name);
        patiently(&self.patience, || self.objects.get(&name)).map_err(told)
    }

    pub(super) fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        let name = self.there(name);
        patiently(&self.patience, || self.objects.get_range(&name, from, len)).map_err(told)
    }

    pub(super) fn is_there(&self, name: &str) -> Result<bool> {
        let name = self.there(name);
        let head = patiently(&self.patience, || self.objects.head(&name)).map_err(told)?;
        Ok(head.is_some())
    }

    /// Whether an object is there that begins so; not if one may not look, or it is no object.
    #[cfg(feature = "sled")]
    pub(super) fn is_seen(&self, name: &str, begins: &str) -> Result<bool> {
        let len = begins.len() as u64;
        match patiently(&self.patience, || self.objects.get_range(name, 0, len)) {
            Err(e) if e.kind == FailureKind::Refused => Ok(false),
            there => Ok(there.map_err(told)?.as_deref() == Some(begins.as_bytes())),
        }
    }

    /// Creates an object by one request; one of that name is as good.
    pub(super) fn create_once(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.objects.create(&self.there(name), bytes).map(drop).map_err(told)
    }

    /// Whether an object is there, by one request.
    pub(super) fn is_there_once(&self, name: &str) -> Result<bool> {
        Ok(self.objects.head(&self.there(name)).map_err(told)?.is_some())
    }

    /// Deletes an object by one request that may fail: nothing depends on it.
    pub(super) fn delete_once(&self, name: &str) {
        let _ = self.objects.delete(&self.there(name));
    }

    /// Deletes an object; says whether it is gone. It is not where the place refuses to delete it:
    /// it may be locked, or the rights forbid it.
    pub(super) fn delete(&self, name: &str) -> Result<bool> {
        let name = self.there(name);
        match patiently(&self.patience, || self.objects.delete(&name)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind == FailureKind::Refused => Ok(false),
            Err(e) => Err(told(e)),
        }
    }

    /// Deletes an object in whose place another is to come: no request that was not answered may
    /// land later and take that one.
    pub(super) fn make_way(&self, name: &str) -> Result<()> {
        let (there, mut tries) = (self.there(name), 0);
        let deleted = patiently(&self.patience, || {
            tries += 1;
            self.objects.delete(&there)
        });
        match deleted.map_err(told) {
            Ok(()) if tries == 1 => Ok(()),
            Ok(()) => Err(Error::new(
                ErrorKind::Io,
                format!(
                    "a request to delete {name} was not answered, and may take effect later: \
                     nothing was put in its place; try again in a minute"
                ),
            )),
            refused => refused,
        }
    }

    /// Deletes objects, by few requests; gives those that the place refuses to delete.
    pub(super) fn delete_all(&self, names: &[String]) -> Result<BTreeSet<String>> {
        let mut refused = BTreeSet::new();
        for some in names.chunks(PAGE) {
            let there: Vec<String> = some.iter().map(|name| self.there(name)).collect();
            match patiently(&self.patience, || self.objects.delete_all(&there)) {
                Ok(()) => {}
                // One by one, so that those go which may.
                Err(e) if e.kind == FailureKind::Refused => {
                    let gone = self.each(some, |name| self.delete(name));
                    for (name, gone) in some.iter().zip(gone) {
                        if !gone? {
                            refused.insert(name.clone());
                        }
                    }
                }
                Err(e) => return Err(told(e)),
            }
        }
        Ok(refused)
    }

    /// Gives up the room that is kept, if any is.
    pub(super) fn give_room(&self) -> bool {
        self.objects.give_room()
    }

    /// Keeps room for when there is none left; says whether it is there.
    pub(super) fn keep_room(&self) -> bool {
        self.objects.keep_room()
    }

    /// The first objects of a folder after `after`.
    pub(super) fn list_some(&self, folder: &str, after: &str, most: usize) -> Result<Vec<Listed>> {
        self.listed(folder, after, most.min(PAGE), most, &mut 0)
    }

    /// All objects of a folder after `after`.
    pub(super) fn list(&self, folder: &str, after: &str) -> Result<Vec<Listed>> {
        self.listed(folder, after, PAGE, usize::MAX, &mut 0)
    }

    /// All objects of a folder; adds up the bytes of what another log left there.
    pub(super) fn list_all(&self, folder: &str, others: &mut u64) -> Result<Vec<Listed>> {
        self.listed(folder, "", PAGE, usize::MAX, others)
    }

    /// Lists so many names by each request. What another log left there, and what lies in a folder
    /// of this one, counts for nothing.
    fn listed(
        &self,
        folder: &str,
        after: &str,
        page: usize,
        most: usize,
        others: &mut u64,
    ) -> Result<Vec<Listed>> {
        let (mut all, mut after) = (Vec::new(), self.there(after));
        loop {
            let list = || self.objects.list(folder, &after, page);
            let some = patiently(&self.patience, list).map_err(told)?;
            let is_last = some.len() < page;
            if let Some(last) = some.last() {
                after.clone_from(&last.name);
            }
            all.extend(self.here(some, others));
            if is_last || all.len() >= most {
                all.truncate(most);
                return Ok(all);
            }
        }
    }

    /// Refuses a place that does not keep what is promised. Says whether it keeps versions.
    pub(super) fn probe(&self) -> Result<bool> {
        let drawn = HEXLOWER.encode(&self.drawn()?);
        let probed = probe(&*self.objects, &drawn, &self.patience).map_err(told)?;
        Ok(probed.versioned)
    }

    /// The same, by an object in this folder; `beside` is given what else lies there, and done at
    /// the same time.
    pub(super) fn probe_beside<T>(
        &self,
        folder: &str,
        beside: impl FnOnce(&[Listed]) -> T,
    ) -> Result<(bool, T)> {
        let drawn = HEXLOWER.encode(&self.drawn()?);
        let here = |listed: &[Listed]| beside(&self.here(listed.to_vec(), &mut 0));
        let probed = probe_beside(&*self.objects, folder, &drawn, &self.patience, here);
        let (probed, beside) = probed.map_err(told)?;
        Ok((probed.versioned, beside))
    }

    /// Does two things, at the same time where requests take long.
    pub(super) fn both<A: Send, B>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B,
    ) -> (A, B) {
        both(&*self.objects, one, other)
    }

    /// Whether a request takes long.
    pub(super) fn is_far(&self) -> bool {
        self.objects.is_far()
    }

    /// Does the same with each of several things, and with some of them at the same time where
    /// requests take long.
    pub(super) fn each<T: Sync, R: Send>(
        &self,
        things: &[T],
        act: impl Fn(&T) -> R + Sync,
    ) -> Vec<R> {
        at_once(&*self.objects, AT_ONCE, things, act)
    }

    /// Refuses a place where several writers of one object succeed at once.
    pub(super) fn race(&self) -> Result<()> {
        let drawn = HEXLOWER.encode(&self.drawn()?);
        race(&*self.objects, &drawn, RACERS, &self.patience).map_err(told)
    }
}
