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

/// The time before which interactions are beyond the number of their class, each with all of its
/// records for which that holds; 0 if none is.
pub(crate) fn outnumbered(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    rules: &Rules,
) -> Result<u64> {
    outnumbered_with(pages, user, slot, rules, 0)
}

/// The same once so many records more are there: one of them that begins before that time would go
/// at once.
pub(crate) fn outnumbered_with(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    rules: &Rules,
    more: u64,
) -> Result<u64> {
    let mut over = excess_with(pages, user, slot, rules, more)?;
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
