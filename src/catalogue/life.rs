//! Lives: how a user comes to life, under a name that nobody had or one that was erased before.

use super::admit::new_interaction;
use super::edit::Edit;
use super::means::Means;
use super::moment::Reading;
use super::shard::check_home;
use super::view::View;
use crate::crypto::{Fresh, hedge};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Timestamp, UserId, UserTag};
use crate::tree::unborn::Unborn;
use crate::tree::user::UserPage;
use crate::tree::users::{Slot, SlotState};
use crate::tree::{Editor, PageKind};

/// Creates a user without records; says whether there was none. A user that was erased is created
/// again: with a life of its own, into which nothing of the one before comes.
pub(crate) fn create(edit: &mut Edit<'_>, user: &UserId) -> Result<bool> {
    let (view, means, clock) = (edit.view, edit.means, edit.moment.clock);
    let tag = view.tag(user);
    let (editor, root) = edit.parts()?;
    match root.slot_mut(editor, tag)? {
        Some(Slot { state: SlotState::Live(_), .. }) => return Ok(false),
        Some(slot) if matches!(slot.state, SlotState::Unborn(_)) => {
            bear(means.env, editor, tag, slot, user)?;
        }
        Some(slot) => {
            let incarnation = slot.incarnation.checked_add(1).ok_or_else(|| {
                Error::new(
                    ErrorKind::Limit,
                    "this user was created 65,535 times; choose another name",
                )
            })?;
            let page = born_again(&view, &means, clock, editor, user, incarnation)?;
            *slot = Slot::new(incarnation, page);
        }
        None => {
            check_home(&view, means.shard, tag)?;
            let page = new_user(means.env, user, 1)?;
            root.insert(editor, tag, Slot::new(1, page))?;
        }
    }
    Ok(true)
}

/// The page of another life. What began when the life before ended, or sooner, is none of this
/// one's; in doubt, as for any erase, from where the clock is believed to what it shows.
fn born_again(
    view: &View<'_>,
    means: &Means<'_>,
    clock: Reading,
    editor: &mut Editor<'_>,
    user: &UserId,
    incarnation: u16,
) -> Result<UserPage> {
    let mut page = new_user(means.env, user, incarnation)?;
    let began = new_interaction(means.env, view.head, clock)?.began();
    let sure = clock.sure().max(Timestamp(view.head.floor.0.saturating_add(1)));
    page.created = began.min(sure);
    let in_doubt = page.created.0..=began.0.saturating_sub(1);
    page.fences.add_doubted(editor, view.tag(user), None, in_doubt, view.at.epoch)?;
    Ok(page)
}

/// Has a user come to life, if nobody has the name; says whether that was so.
pub(crate) fn come_to_life(edit: &mut Edit<'_>, tag: UserTag, user: &UserId) -> Result<bool> {
    let (view, means) = (edit.view, edit.means);
    let env = means.env;
    let (editor, root) = edit.parts()?;
    match root.slot_mut(editor, tag)? {
        None => {
            check_home(&view, means.shard, tag)?;
            let page = new_user(env, user, 1)?;
            root.insert(editor, tag, Slot::new(1, page))?;
            Ok(true)
        }
        Some(slot) if matches!(slot.state, SlotState::Unborn(_)) => {
            bear(env, editor, tag, slot, user)?;
            Ok(true)
        }
        Some(_) => Ok(false),
    }
}

fn new_user(env: &dyn Env, user: &UserId, incarnation: u16) -> Result<UserPage> {
    let now = env.now();
    let fence_key =
        Fresh::new(env, hedge(&[user.as_str().as_bytes(), &now.0.to_be_bytes()])).key()?;
    Ok(UserPage::new(user.clone(), incarnation, now, fence_key))
}

/// The page of a user to come, whose name nobody had.
pub(crate) fn new_unborn(env: &dyn Env, user: &UserId) -> Result<Unborn> {
    new_user(env, user, 1).map(Unborn::of)
}

/// Lets a user come to life of whose name parts were erased before; those fences stand.
fn bear(
    env: &dyn Env,
    editor: &mut Editor<'_>,
    tag: UserTag,
    slot: &mut Slot,
    user: &UserId,
) -> Result<()> {
    if let SlotState::Unborn(link) = &mut slot.state {
        let unborn = link.load_mut(editor, PageKind::Unborn, Some(tag))?.take();
        *slot = Slot::new(1, unborn.born(user.clone(), env.now()));
    }
    Ok(())
}
