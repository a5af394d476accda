//! What a root cell promises, how far an erase is final, and how keys lie in memory.

use keyfall::promise::{Awaited, Finality, Promise};
use keyfall::secret::Usage;
use serde_json::{Value, json};

use crate::shell::print::bytes;
use crate::shell::session::Session;

/// A cell's promise as JSON.
pub(crate) fn promise_json(promise: &Promise) -> Value {
    json!({
        "kind": promise.kind, "place": promise.place, "level": promise.level.name(),
        "statement": promise.statement, "remnants": promise.remnants,
    })
}

/// That older root keys may still exist, if they may: those of erases, or of an epoch that began
/// without one.
pub(crate) fn pending(finality: &Finality) -> Option<String> {
    let awaited: Vec<String> = finality.awaited().iter().map(ToString::to_string).collect();
    let state = undone(finality, "")?;
    Some(format!("{state}: {}", awaited.join("; ")))
}

/// How the destruction of older root keys stands if it is not known to be done. Of an engine that
/// could not finish, as where a copy in step is away, that alone is known: there may be none.
pub(crate) fn undone(finality: &Finality, until: &str) -> Option<String> {
    let stuck = |awaited: &Awaited| matches!(awaited, Awaited::Engine(_));
    if finality.is_final() {
        return None;
    }
    Some(if finality.awaited().iter().all(stuck) {
        "it could not be asked whether an older root key is left to destroy".to_owned()
    } else {
        format!("the destruction of older root keys is pending{until}")
    })
}

/// What keeps erases from being final, in words; nothing if they are.
pub(crate) fn awaited(session: &Session, finality: &Finality) -> Vec<String> {
    finality.awaited().iter().map(|awaited| session.fill(&awaited.to_string())).collect()
}

/// What protects keys in memory, and what does not.
pub(crate) fn memory(m: &Usage) -> String {
    let swap = match m.unlocked {
        0 => "locked in memory".to_owned(),
        n => format!(
            "{} of {} may be swapped out: raise the limit with `ulimit -l`",
            bytes(n),
            bytes(m.mapped)
        ),
    };
    let dumps = if m.dumped == 0 { "left out of core dumps" } else { "NOT left out of core dumps" };
    format!("{swap}; {dumps}")
}
