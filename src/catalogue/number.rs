//! How many records of a class are kept, and which are beyond that.

use std::ops::ControlFlow;

use crate::error::Result;
use crate::ids::{InteractionId, UserTag};
use crate::policy::{Policy, Rules};
use crate::record::Entry;
use crate::tree::Pages;
use crate::tree::keys::split_record_key;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, Range};
use crate::tree::user::{ClassSlot, class_place};

/// Shows a class's records, oldest first.
pub(super) fn each_record(
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

/// Whether the number of a class holds for a record that has this policy: a record has one alone,
/// and one of a purpose has no number.
pub(crate) fn counts(policy: Option<&Policy>) -> bool {
    policy.is_some_and(|policy| policy.purpose.is_none())
}

/// How many records of a class are beyond its number, of those for which it holds.
pub(super) fn excess(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    rules: &Rules,
) -> Result<u64> {
    excess_with(pages, user, slot, rules, 0)
}

/// The same with so many records more.
fn excess_with(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    rules: &Rules,
    more: u64,
) -> Result<u64> {
    let most = rules.of_class(&slot.class).and_then(|p| p.max_records);
    let Some(most) = most.filter(|most| slot.records + more > *most) else {
        return Ok(0);
    };
    let mut records = slot.records + more;
    if rules.by_purpose(&slot.class) {
        records = more;
        each_record(pages, user, slot, &mut |_, entry| {
            records += u64::from(counts(rules.of(&slot.class, &entry.purpose)));
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(records.saturating_sub(most))
}

/// The last interaction that is beyond the number of its class: it and those before it go, each
/// with all of its records for which that holds.
pub(crate) fn outnumbered(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    rules: &Rules,
) -> Result<Option<InteractionId>> {
    outnumbered_with(pages, user, slot, rules, 0)
}

/// The same once so many records more are there: one of them that begins before that one would go
/// at once.
pub(super) fn outnumbered_with(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    rules: &Rules,
    more: u64,
) -> Result<Option<InteractionId>> {
    let mut over = excess_with(pages, user, slot, rules, more)?;
    let mut last = None;
    if over == 0 {
        return Ok(last);
    }
    each_record(pages, user, slot, &mut |id, entry| {
        if counts(rules.of(&slot.class, &entry.purpose)) {
            over -= 1;
            last = Some(id);
        }
        Ok(if over > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(last)
}

/// Of the interactions beyond the number those that began in the millisecond of the last one:
/// others of that millisecond stay.
pub(super) fn outnumbered_alone(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    rules: &Rules,
) -> Result<Vec<InteractionId>> {
    let Some(last) = outnumbered(pages, user, slot, rules)? else { return Ok(Vec::new()) };
    let mut alone = Vec::new();
    each_record(pages, user, slot, &mut |id, _| {
        if id.began() == last.began() && alone.last() != Some(&id) {
            alone.push(id);
        }
        Ok(if id < last { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(alone)
}
