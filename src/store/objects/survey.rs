//! A survey: what lives in each object, by one list of all objects and a walk over the tree. What
//! was listed before the walk and has no live blob after it never gets one again: a blob has one
//! parent, and no name comes back.

use keyfall_objects::Listed;

use super::claims;
use super::frame::{HEADER, Header};
use super::give::Giving;
use super::live::{Found, Held, Live};
use super::named::{COMMITS, DEAD, Object, PACKS, SEGMENTS, STRAYS};
use super::remove::forget_gone;
use super::tables::{learn_elsewhere, learn_lists, lists_in, removed};
use crate::error::Result;
use crate::ids::BlobName;
use crate::limits::PAGE_MAX_BYTES;
use crate::store::{Collect, Sweep, Swept};
use crate::sync::locked;

/// A claim, with the head and the root page that it repeats, has no more bytes than this.
const CLAIM_MAX: u64 = 2 * PAGE_MAX_BYTES as u64;
/// Headers that are read for their counts: so many, and one for each 8 MiB.
const HEADERS: u64 = 64;

/// A survey of what a log held when it began.
pub(super) struct Survey<'s> {
    giving: Giving<'s>,
    how: Collect,
    live: Live,
    /// What was suspected when it began.
    suspected: u64,
    /// Bytes of objects of which nobody knows what they hold.
    unknown: u64,
    over: bool,
}

impl<'s> Survey<'s> {
    /// Lists all objects.
    pub(super) fn begin(giving: Giving<'s>, how: Collect) -> Result<Self> {
        let Giving { bucket, state, .. } = giving;
        claims::recall(bucket, state)?;
        let (last, suspected) = {
            let mut state = locked(state);
            state.sweeping = Some(Live::default());
            (state.last, state.suspected.unwrap_or(0))
        };
        let live = Live::default();
        let mut survey = Survey { giving, how, live, suspected, unknown: 0, over: false };
        learn_lists(bucket, state)?;
        let removed = removed(bucket, &lists_in(bucket, DEAD)?)?;
        locked(state).learn_removed(removed);
        learn_elsewhere(bucket, state)?;
        for folder in [COMMITS, PACKS, STRAYS, SEGMENTS] {
            for Listed { name, size } in bucket.list_all(folder, &mut survey.unknown)? {
                let Some(object) = Object::parse(&name) else { continue };
                if locked(state).ill.contains(&object) {
                    survey.unknown += size;
                    continue;
                }
                // What belongs to a commit to come is not known to be dead.
                if object.number().is_none_or(|number| number <= last) {
                    survey.live.enter(object, Held::of(object, size));
                }
            }
        }
        for number in survey.live.with_packs() {
            if let Some(header) = survey.header(Object::Numbered(number))? {
                survey.live.holds_chunk(number, header.chunk);
            }
        }
        Ok(survey)
    }

    /// The header of an object; `None` where it is damaged or gone.
    fn header(&self, object: Object) -> Result<Option<Header>> {
        let Giving { bucket, state, .. } = self.giving;
        if let Some(header) = locked(state).windows.header(object) {
            return Ok(Some(header));
        }
        let begin = bucket.get_range(&object.name(), 0, HEADER as u64)?;
        Ok(begin.and_then(|begin| Header::decode(&begin).ok()))
    }

    /// Learns how many blobs the objects have, of which something lives.
    fn count_blobs(&mut self) -> Result<()> {
        let Giving { state, .. } = self.giving;
        {
            let state = locked(state);
            let all: Vec<Object> = self.live.objects().map(|(object, _)| *object).collect();
            for object in all {
                let header = state.windows.header(object);
                if let (Some(header), Some(held)) = (header, self.live.held_mut(object)) {
                    held.know(&header);
                }
            }
        }
        if self.how == Collect::Count {
            return Ok(());
        }
        let bytes: u64 = self.live.objects().map(|(_, held)| held.size()).sum();
        let unknown = |(object, held): (&Object, &Held)| {
            (!held.is_dead() && !held.is_known()).then_some(*object)
        };
        let unknown: Vec<Object> = self.live.objects().filter_map(unknown).collect();
        for object in unknown.into_iter().take((HEADERS + (bytes >> 23)) as usize) {
            if let (Some(header), held) = (self.header(object)?, self.live.held_mut(object)) {
                held.into_iter().for_each(|held| held.know(&header));
            }
        }
        Ok(())
    }

    /// Where a blob lies. What is known of strayed blobs is dropped when a reader does not find
    /// one: a survey that went on without it would take the others for dead.
    fn find(&self, name: &BlobName) -> Result<Found> {
        let Giving { bucket, naming, state, .. } = self.giving;
        loop {
            learn_elsewhere(bucket, state)?;
            let state = locked(state);
            if state.elsewhere.is_some() {
                return Ok(self.live.find(naming, state.elsewhere.as_ref(), name));
            }
        }
    }

    /// Ends it: from here on the log knows what lives.
    fn end(&mut self) -> Result<()> {
        self.over = true;
        self.count_blobs()?;
        let Giving { bucket, state, .. } = self.giving;
        let numbered = |(object, held): (&Object, &Held)| match object {
            Object::Numbered(number) => Some((*number, held.size())),
            _ => None,
        };
        let numbered: Vec<(u64, u64)> = self.live.objects().filter_map(numbered).collect();
        claims::learn(bucket, state, &numbered)?;
        let doubtful = |(number, size): &(u64, u64)| {
            let claims = &locked(state).claims;
            // One that is damaged counts as a claim, so that nobody deletes it.
            claims.doubtful.contains(number) || claims.numbers.contains(number) && *size > CLAIM_MAX
        };
        self.unknown +=
            numbered.iter().filter(|it| doubtful(it)).map(|(_, size)| size).sum::<u64>();
        let mut live = std::mem::take(&mut self.live);
        let mut state = locked(state);
        let claimed = state.claims.numbers.iter();
        let of_claims: u64 = claimed
            .filter_map(|number| live.remove(Object::Numbered(*number)))
            .map(|held| held.size())
            .sum();
        // Another handle published: nothing is known.
        let Some(since) = state.sweeping.take() else { return Ok(()) };
        live.absorb(since);
        // They are among what is dead once more.
        state.refused.clear();
        let weight = live.weigh(Object::Numbered(state.last));
        (state.usage.blobs, state.usage.bytes) = (weight.blobs, weight.bytes + of_claims);
        let suspected = state.suspected.unwrap_or(0);
        state.suspected = Some(suspected.saturating_sub(self.suspected));
        (state.live, state.unnoted) = (Some(live), true);
        state.unknown = self.unknown;
        Ok(())
    }
}

impl Drop for Survey<'_> {
    fn drop(&mut self) {
        locked(self.giving.state).sweeping = None;
    }
}

impl Sweep for Survey<'_> {
    fn is_marked(&self, name: &BlobName) -> Result<bool> {
        Ok(self.live.has(&self.find(name)?))
    }

    fn mark(&mut self, name: &BlobName) -> Result<()> {
        let found = self.find(name)?;
        self.live.mark(&found);
        Ok(())
    }

    fn keep(&mut self, name: &BlobName) -> Result<()> {
        self.mark(name)
    }

    fn collect(&mut self, _: usize, _: &dyn Fn(&BlobName) -> bool) -> Result<Option<Swept>> {
        if !self.over {
            self.end()?;
        }
        let given = match self.how {
            Collect::Count => None,
            Collect::Wipe => self.giving.give_back()?,
        };
        if given.is_none() {
            let Giving { bucket, naming, state, .. } = self.giving;
            forget_gone(bucket, naming, state)?;
        }
        Ok(given)
    }
}
