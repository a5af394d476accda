//! Retention: which of a user's records passed a limit, and when the next one does.

use std::ops::ControlFlow;

use super::inbox;
use crate::error::Result;
use crate::ids::{Class, InteractionId, Timestamp, UserTag};
use crate::policy::{Policy, Rules, millis};
use crate::record::Entry;
use crate::tree::Pages;
use crate::tree::keys::split_record_key;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, Range};
use crate::tree::user::{ClassSlot, UserPage, class_place};

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

/// Shows a class's records, oldest first.
fn each_record(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    see: &mut dyn FnMut(InteractionId, &Entry) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: false };
    slot.tree.scan(pages, class_place(user), all, &mut |key, value| {
        see(split_record_key(key)?.0, &Entry::decode(value)?)
    })
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
    let before = by_age.max(outnumbered(pages, user, slot, rules)?);
    let mut any = false;
    each_record(pages, user, slot, &mut |id, _| {
        any = id.began().0 < before;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(any.then_some(Some(Timestamp(before))))
}

/// Whether the number of a class holds for a record that has this policy: a record has one alone,
/// and one of a purpose has no number.
pub(crate) fn counts(policy: Option<&Policy>) -> bool {
    policy.is_some_and(|policy| policy.purpose.is_none())
}

/// How many records of a class are beyond its number, of those for which it holds.
fn excess(pages: &dyn Pages, user: UserTag, slot: &ClassSlot, rules: &Rules) -> Result<u64> {
    let most = rules.of_class(&slot.class).and_then(|p| p.max_records);
    let Some(most) = most.filter(|most| slot.records > *most) else {
        return Ok(0);
    };
    let mut records = slot.records;
    if rules.by_purpose(&slot.class) {
        records = 0;
        each_record(pages, user, slot, &mut |_, entry| {
            records += u64::from(counts(rules.of(&slot.class, &entry.purpose)));
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(records.saturating_sub(most))
}

/// The time before which interactions are beyond the number of their class, each with all of its
/// records for which that holds; 0 if none is.
pub(crate) fn outnumbered(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    rules: &Rules,
) -> Result<u64> {
    let mut over = excess(pages, user, slot, rules)?;
    let mut before = 0;
    if over == 0 {
        return Ok(before);
    }
    each_record(pages, user, slot, &mut |id, entry| {
        if counts(rules.of(&slot.class, &entry.purpose)) {
            over -= 1;
            before = before.max(id.began().0 + 1);
        }
        Ok(if over > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(before)
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
        let by_purpose = || {
            let policy = rules.of(class, &entry.purpose);
            policy.and_then(|p| p.expiry(id.began())).is_some_and(|at| at <= now)
                || counts(policy) && id.began().0 < outnumbered
        };
        let falls = id.began().0 < before || (single && by_purpose());
        fall += u64::from(falls);
        Ok(if falls || single { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(fall)
}
