//! `keyfall create`.

use serde_json::json;

use crate::args::UserArgs;
use crate::commands::erase::lives;
use crate::shell::failure::Done;
use crate::shell::places::one;
use crate::shell::print::line;
use crate::shell::realms::{Whose, shard_of};
use crate::shell::session::Session;
use crate::shell::stores::open;

pub(super) fn run(session: &Session, args: UserArgs) -> Done {
    let user = args.user;
    let (session, store) = &shard_of(session, one(args.places)?, Whose::User(&user))?;
    let engine = open(session, store)?;
    let there = lives(&engine, &user);
    engine.create_user(&user)?;
    if session.json {
        return session.value(&json!({"user": user.as_str(), "created": !there}));
    }
    line(if there {
        format!("{user} exists already; nothing was changed")
    } else {
        format!("created {user}")
    })
}
