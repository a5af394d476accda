//! `keyfall hold`.

use keyfall::engine::Hold;
use serde_json::json;

use crate::args::HoldCommand;
use crate::shell::failure::Done;
use crate::shell::places::one;
use crate::shell::print::{block, line, table};
use crate::shell::session::Session;
use crate::shell::stores::{look, open};
use crate::show::rules::{hold_json, hold_words, number};
use crate::show::time::time;

/// Runs one of the commands.
pub(super) fn run(session: &Session, command: HoldCommand) -> Done {
    match command {
        HoldCommand::Add { places, user, class, interaction, reason, authority } => {
            let mut hold = Hold::new(reason, authority);
            if let Some(class) = class {
                hold = hold.class(class);
            }
            if let Some(interaction) = interaction {
                hold = hold.interaction(interaction);
            }
            let engine = open(session, &one(places)?)?;
            let id = number(engine.holds(&user).add(hold)?);
            if session.json {
                session.value(&json!({"id": id, "user": user.as_str()}))
            } else {
                line(id)
            }
        }
        HoldCommand::Lift { places, user, id, reason, authority } => {
            let engine = open(session, &one(places)?)?;
            engine.holds(&user).lift(id, &reason, &authority)?;
            let id = number(id);
            if session.json {
                session.value(&json!({"id": id, "lifted": true}))
            } else {
                line(format_args!("lifted {id}"))
            }
        }
        HoldCommand::List { places, user } => {
            let engine = look(session, &one(places)?)?;
            let holds = engine.holds(&user).list()?;
            if session.json {
                let holds: Vec<_> = holds.iter().map(|(id, hold)| hold_json(*id, hold)).collect();
                return session.value(&json!({"user": user.as_str(), "holds": holds}));
            }
            if holds.is_empty() {
                return line("no holds");
            }
            let rows = holds.iter().map(|(id, hold)| {
                let (reason, authority) = (hold.reason.clone(), hold.authority.clone());
                vec![number(*id), hold_words(hold), reason, authority, time(hold.since)]
            });
            block(table(&["ID", "ON", "REASON", "AUTHORITY", "SINCE"], rows))
        }
    }
}
