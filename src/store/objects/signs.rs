//! Signs of life: what a writer leaves while it publishes nothing, for those that wait beside its
//! log; and how they look for it.
//!
//! Nothing but waiting depends on a sign. Whoever takes a writer for gone that is not claims its
//! log, and takes the log from it, with all that it published.

use std::time::Duration;

use super::bucket::Bucket;
use super::claim::{Newest, refresh, went_back};
use super::named::{COMMITS, SIGNS, beats_name, numbered, sign_name, sign_of};
use super::state::State;
use crate::error::Result;
use crate::store::Pulse;
use crate::sync::{Mutex, locked};

/// Signs that stay: one that looks now and then is to find one.
const KEPT: u64 = 2;
/// After so many signs it is said once more how often they come.
const TOLD_EVERY: u64 = 32;

/// Whether the number after the newest is taken, by one request.
pub(super) fn is_taken(bucket: &Bucket, state: &Mutex<State>) -> Result<bool> {
    let next = locked(state).last + 1;
    bucket.is_there_once(&numbered(COMMITS, next))
}

/// Says how often the writer with this claim leaves a sign, in the place of what earlier ones said:
/// an opening sees it in the list that it makes anyway, and looks whether that one lives.
/// Each request is tried once; what fails is tried again with the next sign, and keeps none back.
fn tell(bucket: &Bucket, state: &Mutex<State>, claim: u64, every: Duration) {
    let told = (claim, u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
    let is_due = {
        let signs = &locked(state).signs;
        // Somebody may have removed it since.
        !signs.beats.contains(&told) || signs.left % TOLD_EVERY == TOLD_EVERY - 1
    };
    if !is_due || told.1 == 0 {
        return;
    }
    let Ok(drawn) = bucket.drawn() else { return };
    if bucket.create_once(&beats_name(told.0, told.1), &drawn).is_ok() {
        let before = std::mem::replace(&mut locked(state).signs.beats, vec![told]);
        let earlier = before.iter().filter(|it| **it != told);
        earlier.for_each(|it| bucket.delete_once(&beats_name(it.0, it.1)));
    }
}

/// How often the writer that has the log leaves signs, as far as it said so. Of this handle, and of
/// a writer that was waited for, that is not asked.
pub(super) fn beats(state: &Mutex<State>) -> Option<Duration> {
    let state = locked(state);
    let claim = state.claimed.filter(|_| !state.is_mine && state.expected.is_none())?.claim;
    let every = state.signs.beats.iter().filter(|it| it.0 == claim).map(|it| it.1).max();
    every.map(Duration::from_millis)
}

/// Takes back what this handle said: it leaves no more signs. Those that it left stay, so that a
/// standby sees that writers leave them.
pub(super) fn rest(bucket: &Bucket, state: &Mutex<State>) {
    let said = {
        let mut state = locked(state);
        if state.signs.left > 0 { std::mem::take(&mut state.signs.beats) } else { Vec::new() }
    };
    said.iter().for_each(|it| bucket.delete_once(&beats_name(it.0, it.1)));
}

/// Leaves a sign, unless something was published since this was called last.
pub(super) fn beat(bucket: &Bucket, state: &Mutex<State>, every: Duration) -> Result<()> {
    let claimed = {
        let state = locked(state);
        state.claimed.filter(|_| state.is_mine)
    };
    let Some(claimed) = claimed else { return Ok(()) };
    tell(bucket, state, claimed.claim, every);
    let (claim, sign) = {
        let mut state = locked(state);
        let now = state.last;
        let before = std::mem::replace(&mut state.signs.last, now);
        if before > 0 && before != now {
            return Ok(());
        }
        (claimed.claim, state.signs.left + 1)
    };
    // One that may have failed is left again under the same number: those that wait look for it.
    bucket.create_once(&sign_name(claim, sign), &bucket.drawn()?)?;
    locked(state).signs.left = sign;
    if sign > KEPT {
        bucket.delete_once(&sign_name(claim, sign - KEPT));
    }
    if sign == 1 {
        let earlier = bucket.list(SIGNS, "")?;
        let earlier = earlier.iter().filter(|it| sign_of(&it.name).is_some_and(|it| it.0 < claim));
        earlier.for_each(|it| bucket.delete_once(&it.name));
    }
    Ok(())
}

/// What is to be seen of the writer. Where something was seen last, two requests tell whether
/// anything came since; a sign that was removed again only a look without that tells of.
pub(super) fn pulse(bucket: &Bucket, state: &Mutex<State>, last: Option<Pulse>) -> Result<Pulse> {
    if let Some(last) = last
        && !bucket.is_there(&numbered(COMMITS, last.number + 1))?
        && !bucket.is_there(&sign_name(last.claim, last.sign + 1))?
    {
        return Ok(last);
    }
    let known = Newest::known(state);
    let ((still, refreshed), listed) = bucket.both(
        || bucket.both(|| known.stands(bucket), || refresh(bucket, state)),
        || bucket.list(SIGNS, ""),
    );
    refreshed?;
    let listed = listed?;
    // What is claimed next comes to what is known: where that is gone, so is what leads on from it.
    if locked(state).last == known.number && !still? {
        // A newer one may have come in between, and this one gone.
        refresh(bucket, state)?;
        if locked(state).last == known.number {
            return Err(went_back(bucket, known.number));
        }
    }
    let (number, claim) = {
        let state = locked(state);
        (state.last, state.claimed.map_or(0, |claimed| claimed.claim))
    };
    let signs: Vec<(u64, u64)> = listed.iter().filter_map(|it| sign_of(&it.name)).collect();
    let latest = signs.iter().filter(|it| it.0 == claim).map(|it| it.1).max();
    Ok(Pulse { number, claim, sign: latest.unwrap_or_default(), signs: !signs.is_empty() })
}
