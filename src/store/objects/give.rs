//! Giving space back: whole objects of which nothing lives are deleted, and what lives among much
//! that is dead moves, where its name says nothing of its place.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::bucket::Bucket;
use super::claim::{claim_again, confirm, may_claim_again, raise_floor};
use super::claims::{self, Left};
use super::frame::{Content, Header, Kind, Spot, encode};
use super::live::{Held, Weight};
use super::named::Object;
use super::naming::Naming;
use super::room::Room;
use super::state::State;
use super::tables::made;
use crate::error::{ErrorKind, Result};
use crate::ids::BlobName;
use crate::store::{Blob, Cleaned, Packing, Removed, Swept, Waste};
use crate::sync::{Mutex, locked};

/// Objects that are deleted at once.
const BATCH: usize = 1000;
/// Fewer dead bytes than this are not worth a walk, nor a claim.
const LEAST: u64 = 4 << 20;
/// What lives in an object that stays: nine tenths of it.
pub(super) const DENSE: (u64, u64) = (9, 10);
const LOOSE: (u64, u64) = (2, 3);
/// For how long a cleaner leaves objects of which nothing lives where they are.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// The part of an object that lives at least, where it stays.
pub(super) fn part(packing: Packing) -> (u64, u64) {
    match packing {
        Packing::Loose => LOOSE,
        Packing::Dense => DENSE,
    }
}

/// Whether it is worth while to write what lives once more, for so many dead bytes beside it.
pub(super) fn is_worth(dead: u64, lives: u64, packing: Packing) -> bool {
    match packing {
        Packing::Loose => dead > LEAST.max(lives / 4 * 3),
        Packing::Dense => dead > (LEAST / 4).max(lives / 8),
    }
}

/// Whether dead objects of so many bytes are worth a claim, which stays.
fn is_ripe(over: u64, lives: u64, packing: Packing) -> bool {
    let least = if packing == Packing::Loose { LEAST } else { LEAST / 4 };
    over >= least.max(lives / 16)
}

/// Blobs of an object, and where they lie.
type Strays = (Object, Vec<(BlobName, Spot)>);

/// What gives space back.
#[derive(Clone, Copy)]
pub(super) struct Giving<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) naming: &'a Naming,
    pub(super) state: &'a Mutex<State>,
    pub(super) writers: &'a Mutex<()>,
    pub(super) room: &'a Room,
    pub(super) versioned: bool,
    /// For how long a cleaner leaves what died: a read-only engine may still be at an older state.
    pub(super) grace: Duration,
}

impl Giving<'_> {
    /// What a survey knows, and what was made and died since.
    fn weight(&self) -> Option<Weight> {
        let state = locked(self.state);
        state.live.as_ref().map(|live| live.weigh(Object::Numbered(state.last)))
    }

    pub(super) fn waste(&self) -> Waste {
        let weight = self.weight().unwrap_or_default();
        let state = locked(self.state);
        let suspected = state.suspected.unwrap_or(0);
        let given_back = weight.over + weight.dead;
        Waste { bytes: state.usage.bytes, given_back, suspected, least: LEAST }
    }

    /// Counts blobs that died.
    pub(super) fn count_dead(&self, names: &[BlobName]) {
        let mut state = locked(self.state);
        let State { live, elsewhere, .. } = &mut *state;
        let Some(live) = live else {
            let hinted = names.iter().filter_map(|name| self.naming.hint(name));
            let bytes = hinted.map(|hint| hint.len as u64).sum();
            return state.suspect(bytes);
        };
        for name in names {
            let found = live.find(self.naming, elsewhere.as_ref(), name);
            live.unmark(&found);
        }
    }

    /// Gives back all that can go, some of it at once.
    pub(super) fn give_back(&self) -> Result<Option<Swept>> {
        if let Some((objects, removed)) =
            self.room.or_give(self.bucket, || self.delete_dead(None))?
        {
            self.room.lay_in(self.bucket);
            return Ok(Some(Swept { looked: objects, blobs: objects, removed }));
        }
        match self.move_strays(u64::MAX, DENSE) {
            Ok((0, _)) => Ok(None),
            Err(e) if e.kind() == ErrorKind::Full => Ok(None),
            moved => moved.map(|_| Some(Swept::default())),
        }
    }

    /// One step of what is worth it; after the last one what a later handle is to know is noted.
    pub(super) fn clean(&self, most: u64, packing: Packing) -> Result<Cleaned> {
        locked(self.state).windows.end_along();
        let cleaned = self.clean_some(most, packing)?;
        if !cleaned.more && std::mem::take(&mut locked(self.state).unnoted) {
            match self.note_claims(None) {
                // It is found out once more.
                Err(e) if e.kind() == ErrorKind::Full => {}
                noted => noted?,
            }
        }
        Ok(cleaned)
    }

    fn clean_some(&self, most: u64, packing: Packing) -> Result<Cleaned> {
        let mut cleaned = Cleaned::default();
        let Some(weight) = self.weight() else { return Ok(cleaned) };
        let (over, until) = self.over();
        if is_ripe(over, weight.lives, packing)
            && let Some((_, removed)) =
                self.room.or_give(self.bucket, || self.delete_dead(until))?
        {
            self.room.lay_in(self.bucket);
            (cleaned.freed, cleaned.more) = (removed.gone, true);
            if removed.refused > 0 {
                let place = self.bucket.place();
                cleaned.stuck = Some(format!("{place} refuses to delete what is dead"));
            }
            return Ok(cleaned);
        }
        let has_room = self.room.has_room(self.bucket);
        if most > 0 && has_room && is_worth(weight.dead, weight.lives, packing) {
            let (moved, stuck) = self.move_strays(most, part(packing))?;
            (cleaned.moved, cleaned.stuck, cleaned.more) = (moved, stuck, moved > 0);
        }
        Ok(cleaned)
    }

    /// Bytes of objects of which nothing has lived for as long as a cleaner waits, and from when.
    fn over(&self) -> (u64, Option<Duration>) {
        let now = self.bucket.monotonic();
        let mut state = locked(self.state);
        let newest = Object::Numbered(state.last);
        let Some(live) = &mut state.live else { return (0, None) };
        live.note_dead(now);
        let until = now.checked_sub(self.grace);
        let is_over = |(object, held): &(&Object, &Held)| {
            **object != newest && until.is_some_and(|until| held.was_dead(until))
        };
        (live.objects().filter(is_over).map(|(_, held)| held.size()).sum(), until)
    }

    /// Deletes some objects of which nothing lives, or lived at a moment; says how many, and what
    /// became of their bytes. `None` if there is none. What the place refuses to delete stays, and
    /// is tried again after the next survey.
    fn delete_dead(&self, until: Option<Duration>) -> Result<Option<(u64, Removed)>> {
        let mut doomed = self.dead(until, |object| matches!(object, Object::Numbered(_)));
        if let Some(highest) = doomed.iter().filter_map(Object::number).max() {
            self.floor_above(highest)?;
            let floor = locked(self.state).floor;
            doomed.retain(|object| object.number().is_some_and(|number| number < floor));
        }
        doomed.extend(self.dead(until, |object| !matches!(object, Object::Numbered(_))));
        doomed.truncate(BATCH);
        if doomed.is_empty() {
            return Ok(None);
        }
        // What was listed before this is older than whatever another owner made.
        confirm(self.bucket, self.state, self.writers)?;
        let names: Vec<String> = doomed.iter().map(Object::name).collect();
        let refused = self.bucket.delete_all(&names)?;
        let is_refused = |object: &Object| refused.contains(&object.name());
        let (kept, gone): (BTreeSet<_>, BTreeSet<_>) = doomed.into_iter().partition(is_refused);
        let mut state = locked(self.state);
        let mut removed = Removed { refused: state.keep(&kept), ..Removed::default() };
        removed.gone = state.forget(&gone);
        state.unnoted = true;
        if self.versioned {
            state.hidden += removed.gone;
            removed.gone = 0;
        }
        Ok(Some((gone.len() as u64, removed)))
    }

    /// Some objects of which nothing lives, or lived at a moment; the newest one says the head.
    fn dead(&self, until: Option<Duration>, is_meant: impl Fn(&Object) -> bool) -> Vec<Object> {
        let state = locked(self.state);
        let newest = Object::Numbered(state.last);
        let all = state.live.iter().flat_map(|live| live.objects());
        let is_dead = |held: &Held| until.map_or(held.is_dead(), |until| held.was_dead(until));
        let dead =
            all.filter(|(object, held)| is_dead(held) && **object != newest && is_meant(object));
        dead.map(|(object, _)| *object).take(BATCH).collect()
    }

    /// Raises the floor above a number, where that can be: to a claim.
    fn floor_above(&self, number: u64) -> Result<()> {
        let newest = || {
            let state = locked(self.state);
            state.claims.numbers.range(..=state.last).next_back().copied()
        };
        if newest().is_none_or(|claim| claim <= number) {
            let _alone = locked(self.writers);
            let (may, next) = {
                let state = locked(self.state);
                (may_claim_again(&state), state.last + 1)
            };
            if may {
                self.note_claims(Some(next))?;
                claim_again(self.bucket, self.state)?;
            }
        }
        newest().map_or(Ok(()), |claim| raise_floor(self.bucket, self.state, claim))
    }

    /// Writes down which claims there are, and one to come, and how much is dead.
    pub(super) fn note_claims(&self, coming: Option<u64>) -> Result<()> {
        let Waste { bytes, given_back, suspected, .. } = self.waste();
        let left = Left { bytes, dead: given_back + suspected };
        claims::note(self.bucket, self.state, coming, &left)
    }

    /// Writes what lives in strays of which less than this part lives into another one, about so
    /// many bytes of it; says how many, and what keeps one from going. The old ones are dead then.
    fn move_strays(&self, most: u64, part: (u64, u64)) -> Result<(u64, Option<String>)> {
        let (objects, number) = self.sparse_strays(most, part);
        if objects.is_empty() {
            return Ok((0, None));
        }
        let mut stuck = None;
        let mut blobs: Vec<Blob> = Vec::new();
        for (object, names) in objects {
            match self.read_all(object, &names)? {
                Some(some) => blobs.extend(some),
                None => {
                    let place = self.bucket.place();
                    let name = self.bucket.there(&object.name());
                    stuck = Some(format!("{place}: {name} is damaged, and stays as it is"));
                    if let Some(live) = &mut locked(self.state).live {
                        // It is not looked at again until the next survey.
                        live.remove(object);
                    }
                }
            }
        }
        if blobs.is_empty() {
            return Ok((0, stuck));
        }
        let attempt = self.bucket.drawn()?;
        let object = Object::Stray { number, drawn: attempt };
        let content = Content {
            kind: Kind::Stray,
            number,
            chunk: 0,
            attempt,
            lead: 0,
            blobs: &blobs,
            end: None,
        };
        let bytes = encode(&content);
        self.bucket.create(&object.name(), &bytes)?;
        let spots = super::write::spots(0, &blobs);
        let mut state = locked(self.state);
        {
            // Where they lay they are dead.
            let State { live, elsewhere, .. } = &mut *state;
            if let (Some(live), Some(elsewhere)) = (live, elsewhere) {
                for (name, _) in &blobs {
                    if let Some((old, spot)) = elsewhere.get(name) {
                        live.unmark_at(*old, *spot);
                    }
                }
            }
        }
        made(&mut state, self.naming, object, &spots, bytes.len());
        Ok((blobs.iter().map(|(_, blob)| blob.len() as u64).sum(), stuck))
    }

    /// The sparsest strays with the blobs that live there, and the number for another one.
    fn sparse_strays(&self, most: u64, part: (u64, u64)) -> (Vec<Strays>, u64) {
        let state = locked(self.state);
        let number = state.last + 1;
        let (Some(live), Some(elsewhere)) = (&state.live, &state.elsewhere) else {
            return (Vec::new(), number);
        };
        let strays = live.objects().filter(|(object, held)| {
            matches!(object, Object::Stray { .. }) && held.is_sparse(0, part)
        });
        let mut strays: Vec<(&Object, &Held)> = strays.collect();
        strays.sort_by_key(|(_, held)| held.lives() * 1000 / held.size().max(1));
        let mut left = most.min(super::state::CHUNK as u64);
        let fits = |(_, held): &&(&Object, &Held)| {
            let fits = left > 0;
            left = left.saturating_sub(held.lives());
            fits
        };
        let chosen: BTreeSet<Object> = strays.iter().take_while(fits).map(|(o, _)| **o).collect();
        let mut found: HashMap<Object, Vec<(BlobName, Spot)>> = HashMap::new();
        for (name, (object, spot)) in elsewhere {
            if chosen.contains(object) && live.has_at(*object, *spot) {
                found.entry(*object).or_default().push((*name, *spot));
            }
        }
        (found.into_iter().collect(), number)
    }

    /// These blobs of an object; `None` if it does not hold one of them.
    fn read_all(&self, object: Object, names: &[(BlobName, Spot)]) -> Result<Option<Vec<Blob>>> {
        let Some(bytes) = self.bucket.get(&object.name())? else { return Ok(None) };
        let Ok(header) = Header::decode(&bytes) else { return Ok(None) };
        let blob = |(name, spot): &(BlobName, Spot)| {
            let at = bytes.get(spot.offset as usize..)?;
            Some((*name, header.blob(name, spot.offset, at)?.to_vec()))
        };
        Ok(names.iter().map(blob).collect())
    }
}
