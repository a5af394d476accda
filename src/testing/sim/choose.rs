//! What the numbers in a step mean: each picks among what the model knows.

use super::model::{Model, Named};
use super::op::Scoped;
use crate::When;
use crate::ids::{InteractionId, RecordId};

/// An interaction that was ever put into.
pub(super) fn pick(model: &Model, n: u8) -> Option<InteractionId> {
    let all = &model.interactions;
    (!all.is_empty()).then(|| all[usize::from(n) % all.len()])
}

/// A record that lives, or has lived.
pub(super) fn any_record(model: &Model, n: u8) -> Option<RecordId> {
    let live = model.live();
    let all: Vec<RecordId> = live.keys().chain(&model.erased).copied().collect();
    all.get(usize::from(n) % all.len().max(1)).copied()
}

/// What an erase names; `None` if nothing was put that it could name.
pub(super) fn named(model: &Model, scoped: &Scoped) -> Option<Named> {
    Some(match scoped {
        Scoped::User(user) => Named::User(*user),
        Scoped::Class(user, class) => Named::part(*user, Some(class.clone()), When::Ever),
        Scoped::ClassAlone(user, class) => Named::Part {
            user: *user,
            class: Some(class.clone()),
            when: When::Ever,
            keep: None,
            alone: true,
        },
        Scoped::Interaction { user, interaction, class } => {
            let when = When::Interaction(pick(model, *interaction)?);
            Named::part(*user, class.clone(), when)
        }
        Scoped::Record(n) => Named::Record(any_record(model, *n)?),
        Scoped::Keeping { user, keep, interaction } => {
            let when = match interaction {
                Some(n) => When::Interaction(pick(model, *n)?),
                None => When::Ever,
            };
            let keep = Some(keep.clone());
            Named::Part { user: *user, class: None, when, keep, alone: false }
        }
        Scoped::Span { user, class, from, until } => {
            let time = |n: &Option<u8>| n.and_then(|n| pick(model, n)).map(|i| i.began());
            let (from, until) = (time(from), time(until));
            if from.zip(until).is_some_and(|(f, u)| f >= u) {
                return None;
            }
            Named::part(*user, class.clone(), When::Between { from, until })
        }
    })
}
