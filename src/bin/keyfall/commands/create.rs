//! `keyfall create`.

use serde_json::json;

use crate::args::UserArgs;
use crate::commands::erase::lives;
use crate::shell::failure::Done;
use crate::shell::places::one;
use crate::shell::print::line;
use crate::shell::session::Session;
use crate::shell::stores::open;

pub(super) fn run(session: &Session, args: UserArgs) -> Done {
    let user = args.user;
    let engine = open(session, &one(args.places)?)?;
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
