//! `keyfall upload`.

use keyfall::engine::UploadState;
use serde_json::{Value, json};

use crate::args::UploadCommand;
use crate::shell::failure::Done;
use crate::shell::places::one;
use crate::shell::print::{block, bytes, line, table};
use crate::shell::session::Session;
use crate::shell::stores::{look, open};
use crate::show::time::time;

/// Lists and aborts uploads.
pub(super) fn run(session: &Session, command: UploadCommand) -> Done {
    match command {
        UploadCommand::Abort { places, id } => {
            open(session, &one(places)?)?.uploads().abort(&id)?;
            if session.json {
                session.value(&json!({"id": id.to_string(), "aborted": true}))
            } else {
                line(format_args!("aborted {id}"))
            }
        }
        UploadCommand::List { places, user } => {
            let engine = look(session, &one(places)?)?;
            let uploads = engine.uploads().list(&user)?;
            if session.json {
                let uploads: Vec<Value> = uploads.iter().map(upload_json).collect();
                return session.value(&json!({"user": user.as_str(), "uploads": uploads}));
            }
            if uploads.is_empty() {
                return line("there are no unfinished uploads");
            }
            let rows = uploads.iter().map(|upload| {
                let there = match upload.length {
                    Some(length) => format!("{} of {}", bytes(upload.offset), bytes(length)),
                    None => bytes(upload.offset),
                };
                let (id, class) = (upload.id.to_string(), upload.class.to_string());
                vec![id, class, there, time(upload.expires)]
            });
            block(table(&["ID", "CLASS", "THERE", "EXPIRES"], rows))
        }
    }
}

fn upload_json(upload: &UploadState) -> Value {
    json!({
        "id": upload.id.to_string(), "class": upload.class.as_str(),
        "interaction": upload.interaction.to_string(), "media_type": upload.media_type,
        "purpose": upload.purpose, "offset": upload.offset, "length": upload.length,
        "name": upload.name, "meta": upload.meta, "expires": upload.expires.to_string(),
    })
}
