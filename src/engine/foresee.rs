//! What a policy would take at once, before it is set; what an erase would take, before it is done.

use std::ops::ControlFlow;

use super::passing::{counts, each_record, outnumbered, passed};
use crate::error::Result;
use crate::ids::{Class, Timestamp, UserTag};
use crate::policy::Rules;
use crate::tree::Pages;
use crate::tree::user::UserPage;

/// How many records of a user's fall at once by these rules, of a class.
pub(super) fn would_fall(
    pages: &dyn Pages,
    user: UserTag,
    page: &UserPage,
    (rules, class, now): (&Rules, &Class, Timestamp),
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
