//! What a root cell promises, how far an erase is final, and how keys lie in memory.

use keyfall::promise::{Finality, Promise};
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
    (!finality.is_final()).then(|| format!("the destruction of older root keys is {finality}"))
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
