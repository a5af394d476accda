//! Retention: which of a user's records passed a limit, and when the next one does.

use std::ops::ControlFlow;

use super::inbox;
use super::number::{counts, each_record, excess, outnumbered};
use super::uploads;
use crate::error::Result;
use crate::ids::{Class, Timestamp, UserTag};
use crate::policy::{Rules, millis};
use crate::tree::Pages;
use crate::tree::user::{ClassSlot, UserPage};

/// When there is something to do for a user, at the earliest.
pub(crate) fn next_due(
    pages: &dyn Pages,
    user: UserTag,
    page: &UserPage,
    rules: &Rules,
) -> Result<Option<Timestamp>> {
    let oldest_key = page.inbox.keys(pages, user)?.first().map(|key| inbox::end(key.made));
    let mut next = page
        .plans
        .all(pages, user, &page.user)?
        .first()
        .map(|plan| plan.due)
        .into_iter()
        .chain(oldest_key)
        .min();
    next = next.into_iter().chain(uploads::over(pages, user, page, rules, Timestamp(0))?.0).min();
    for slot in page.classes.iter().filter(|_| !rules.is_empty()) {
        let mut at_most = |due: Option<Timestamp>| next = next.into_iter().chain(due).min();
        if excess(pages, user, slot, rules)? > 0 {
            at_most(Some(Timestamp(1)));
        }
        let every = rules.by_purpose(&slot.class);
        each_record(pages, user, slot, &mut |id, entry| {
            let purpose = if every { &entry.purpose } else { "" };
            at_most(rules.of(&slot.class, purpose).and_then(|p| p.expiry(id.began())));
            Ok(if every { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
    }
    // The beginning of time stands for the sweep.
    Ok(next.map(|at| at.max(Timestamp(1))))
}

/// Which of a class's interactions passed a limit that holds for all of its records: those that
/// began before a time, or all. If policies of the class ask what a record was put for, none
/// does.
pub(crate) fn passed(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    rules: &Rules,
    now: Timestamp,
) -> Result<Option<Option<Timestamp>>> {
    let Some(policy) = rules.of_class(&slot.class).filter(|_| !rules.by_purpose(&slot.class))
    else {
        return Ok(None);
    };
    if policy.until.is_some_and(|until| until <= now) {
        return Ok(Some(None));
    }
    let by_age = policy.max_age.and_then(|age| (now.0 + 1).checked_sub(millis(age))).unwrap_or(0);
    // Those of its last millisecond go one by one.
    let outnumbered = outnumbered(pages, user, slot, rules)?;
    let before = by_age.max(outnumbered.map_or(0, |last| last.began().0));
    let mut any = false;
    each_record(pages, user, slot, &mut |id, _| {
        any = id.began().0 < before;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(any.then_some(Some(Timestamp(before))))
}

/// How many records of a user's fall at once by these rules, of a class.
pub(crate) fn would_fall(
    pages: &dyn Pages,
    user: UserTag,
    page: &UserPage,
    rules: &Rules,
    class: &Class,
    now: Timestamp,
) -> Result<u64> {
    let Some(slot) = page.classes.iter().find(|slot| slot.class == *class) else {
        return Ok(0);
    };
    let before = match passed(pages, user, slot, rules, now)? {
        Some(None) => return Ok(slot.records),
        Some(Some(before)) => before.0,
        None => 0,
    };
    let (single, mut fall) = (rules.by_purpose(class), 0);
    let outnumbered = outnumbered(pages, user, slot, rules)?;
    each_record(pages, user, slot, &mut |id, entry| {
        let is_over = outnumbered.is_some_and(|last| id <= last);
        let by_purpose = || {
            let policy = rules.of(class, &entry.purpose);
            policy.and_then(|p| p.expiry(id.began())).is_some_and(|at| at <= now)
                || counts(policy) && is_over
        };
        let falls = id.began().0 < before || if single { by_purpose() } else { is_over };
        fall += u64::from(falls);
        Ok(if falls || single { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(fall)
}
