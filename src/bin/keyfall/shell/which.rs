//! The record that a command is about: named by its id, or by its user's name for it.

use std::path::PathBuf;

use keyfall::{Engine, Error, RecordId, UserId};

use crate::args::WhichArgs;
use crate::shell::places::{one, store_and};
use crate::shell::realms::Whose;

/// A record, as the command names it.
pub(crate) enum Wanted {
    Id(RecordId),
    Named(UserId, String),
}

impl Wanted {
    /// Whose shard has it.
    pub(crate) fn whose(&self) -> Whose<'_> {
        match self {
            Wanted::Id(id) => Whose::Record(id),
            Wanted::Named(user, _) => Whose::User(user),
        }
    }

    pub(crate) fn id(&self, engine: &Engine) -> Result<RecordId, Error> {
        match self {
            Wanted::Id(id) => Ok(*id),
            Wanted::Named(user, name) => engine.find(user, name).map(|info| info.id),
        }
    }
}

/// The store, and the record that is wanted of it.
pub(crate) fn which(args: WhichArgs) -> Result<(PathBuf, Wanted), Error> {
    match (args.user, args.name) {
        (Some(user), Some(name)) => Ok((one(args.places)?, Wanted::Named(user, name))),
        _ => {
            let (store, [id]) = store_and(args.places, ["ID"])?;
            Ok((store, Wanted::Id(id.to_string_lossy().parse()?)))
        }
    }
}
