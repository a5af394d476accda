//! `keyfall hold`.

use std::path::Path;

use keyfall::engine::Hold;
use serde_json::json;

use crate::args::HoldCommand;
use crate::commands::{Done, one};
use crate::output::{self, block, line, table, value};
use crate::stores::{look, open};

/// Runs one of the commands.
pub(crate) fn run(command: HoldCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        HoldCommand::Add { places, user, class, interaction, reason, authority } => {
            let mut hold = Hold::new(reason, authority);
            if let Some(class) = class {
                hold = hold.class(class);
            }
            if let Some(interaction) = interaction {
                hold = hold.interaction(interaction);
            }
            let id = output::hold_id(open(&one(places)?, cell)?.holds(&user).add(hold)?);
            if json { value(&json!({"id": id, "user": user.as_str()})) } else { line(id) }
        }
        HoldCommand::Lift { places, user, id, reason, authority } => {
            open(&one(places)?, cell)?.holds(&user).lift(id, &reason, &authority)?;
            let id = output::hold_id(id);
            if json { value(&json!({"id": id, "lifted": true})) } else { line(format_args!("lifted {id}")) }
        }
        HoldCommand::List { places, user } => {
            let holds = look(&one(places)?, cell)?.holds(&user).list()?;
            if json {
                let holds: Vec<_> = holds.iter().map(|(id, hold)| output::hold(*id, hold)).collect();
                return value(&json!({"user": user.as_str(), "holds": holds}));
            }
            if holds.is_empty() {
                return line("no holds");
            }
            let rows = holds.iter().map(|(id, hold)| {
                let (reason, authority) = (hold.reason.clone(), hold.authority.clone());
                vec![output::hold_id(*id), output::covered(hold), reason, authority, output::time(hold.since)]
            });
            block(table(&["ID", "ON", "REASON", "AUTHORITY", "SINCE"], rows))
        }
    }
}
