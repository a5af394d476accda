//! `keyfall lineage`, `detach` and `history`: where a record comes from, and why it stays.

use keyfall::{Engine, RecordId, UserId};
use serde_json::json;

use crate::commands::Done;
use crate::output::{self, block, line, table, value};
use crate::remedy::fill;

/// Shows what a record was derived from, and what from it.
pub(crate) fn show(engine: &Engine, id: &RecordId, json: bool) -> Done {
    let lineage = engine.lineage(id)?;
    let ids = |ids: &[RecordId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    if json {
        return value(&json!({
            "id": id.to_string(), "sources": ids(&lineage.sources), "derived": ids(&lineage.derived),
            "detached": lineage.detached,
        }));
    }
    let rows = |what: &'static str, all: &[RecordId]| -> Vec<Vec<String>> {
        all.iter().map(|id| vec![what.to_owned(), id.to_string()]).collect()
    };
    let rows = [rows("derived from", &lineage.sources), rows("source of", &lineage.derived)].concat();
    if rows.is_empty() {
        line("derived from nothing, and nothing from it")?;
    } else {
        block(table(&["IT IS", "RECORD"], rows))?;
    }
    if lineage.detached {
        line(fill("detached from other sources; `keyfall history STORE --user U` says why"))
    } else {
        Ok(())
    }
}

/// Detaches a record.
pub(crate) fn detach(engine: &Engine, id: &RecordId, reason: &str, json: bool) -> Done {
    engine.detach(id, reason)?;
    if json { value(&json!({"id": id.to_string(), "detached": true})) } else { line(format_args!("detached {id}")) }
}

/// Shows a user's history.
pub(crate) fn history(engine: &Engine, user: &UserId, json: bool) -> Done {
    let facts = engine.audit_trail(user)?;
    if json {
        let facts: Vec<_> = facts
            .iter()
            .map(|(at, fact)| {
                let mut value = output::fact(fact);
                value["at"] = json!(output::time(*at));
                value
            })
            .collect();
        return value(&json!({"user": user.as_str(), "history": facts}));
    }
    let rows = facts.iter().map(|(at, fact)| {
        let (what, reason) = output::told(fact);
        vec![output::time(*at), what, reason]
    });
    if facts.is_empty() { line("nothing") } else { block(table(&["AT", "WHAT", "REASON"], rows)) }
}
