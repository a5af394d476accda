//! `keyfall lineage`, `detach` and `history`: where a record comes from, and why it stays.

use keyfall::RecordId;
use serde_json::json;

use crate::args::{DetachArgs, LineageArgs, UserArgs};
use crate::shell::failure::Done;
use crate::shell::places::{one, store_and};
use crate::shell::print::{block, line, table};
use crate::shell::session::Session;
use crate::shell::stores::{look, open};
use crate::show::history::{fact_json, fact_words};
use crate::show::time::time;

/// Shows what a record was derived from, and what was derived from it.
pub(super) fn show(session: &Session, args: LineageArgs) -> Done {
    let (store, [id]) = store_and(args.places, ["ID"])?;
    let engine = look(session, &store)?;
    let id: RecordId = id.to_string_lossy().parse()?;
    let lineage = engine.lineage(&id)?;
    if session.json {
        let ids = |ids: &[RecordId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        return session.value(&json!({
            "id": id.to_string(), "sources": ids(&lineage.sources),
            "derived": ids(&lineage.derived), "detached": lineage.detached,
        }));
    }
    let row = |what: &str, id: &RecordId| vec![what.to_owned(), id.to_string()];
    let sources = lineage.sources.iter().map(|id| row("derived from", id));
    let derived = lineage.derived.iter().map(|id| row("source of", id));
    let rows: Vec<Vec<String>> = sources.chain(derived).collect();
    if rows.is_empty() {
        line("no sources, and nothing derived from it")?;
    } else {
        block(table(&["IT IS", "RECORD"], rows))?;
    }
    if lineage.detached {
        let why = "detached from other sources; `keyfall history STORE --user U` says why";
        line(session.fill(why))?;
    }
    Ok(())
}

pub(super) fn detach(session: &Session, args: DetachArgs) -> Done {
    let (store, [id]) = store_and(args.places, ["ID"])?;
    let engine = open(session, &store)?;
    let id: RecordId = id.to_string_lossy().parse()?;
    engine.detach(&id, &args.reason)?;
    if session.json {
        session.value(&json!({"id": id.to_string(), "detached": true}))
    } else {
        line(format_args!("detached {id}"))
    }
}

/// Shows a user's history.
pub(super) fn history(session: &Session, args: UserArgs) -> Done {
    let user = args.user;
    let engine = look(session, &one(args.places)?)?;
    let facts = engine.history(&user)?;
    if session.json {
        let facts: Vec<_> = facts.iter().map(|(at, fact)| fact_json(*at, fact)).collect();
        return session.value(&json!({"user": user.as_str(), "history": facts}));
    }
    if facts.is_empty() {
        return line("no entries");
    }
    let rows = facts.iter().map(|(at, fact)| {
        let told = fact_words(fact);
        vec![time(*at), told.what, told.reason]
    });
    block(table(&["AT", "WHAT", "REASON"], rows))
}
