//! What was done to a user's records beyond putting and erasing.

use keyfall::Timestamp;
use keyfall::engine::Fact;
use serde_json::{Value, json};

use crate::shell::print::counted;
use crate::show::rules::number;
use crate::show::time::time;

/// A fact of a user's history, in words.
pub(crate) struct Told {
    pub(crate) what: String,
    /// The reason for it, or its purpose; empty if none was given.
    pub(crate) reason: String,
}

/// A fact in words.
pub(crate) fn fact_words(fact: &Fact) -> Told {
    let (what, reason) = match fact {
        Fact::Detached { record, sources, reason } => {
            let sources = counted((*sources).into(), "source");
            (format!("record {record} detached from {sources}"), reason.as_str())
        }
        Fact::Kept { class, records, reason } => {
            let class = class.as_ref();
            let class =
                class.map_or("a class that holds nothing now".to_owned(), |c| format!("class {c}"));
            (format!("{} of {class} kept", counted(*records, "record")), reason.as_str())
        }
        Fact::Held { id, scope, reason, authority } => {
            (format!("hold {} on {scope}, by {authority}", number(*id)), reason.as_str())
        }
        Fact::Lifted { id, reason, authority } => {
            (format!("hold {} lifted, by {authority}", number(*id)), reason.as_str())
        }
        Fact::Refused { scope, times } => {
            let times = if *times > 1 { format!(", {times} times") } else { String::new() };
            (format!("the erase of {scope} refused{times}"), "it was held")
        }
        Fact::Planned { id, due, scope } => {
            let of = scope.as_ref().map_or(String::new(), |scope| format!(" of {scope}"));
            (format!("erase {}{of} planned for {}", number(*id), time(*due)), "")
        }
        Fact::Failed { id, why } => {
            (format!("planned erase {} failed; it is tried again", number(*id)), why.as_str())
        }
        Fact::Granted { id, name, scope, until, purpose } => {
            let until = until.map_or(String::new(), |until| format!(", until {}", time(until)));
            (format!("grant {} on {scope} to {name}{until}", number(*id)), purpose.as_str())
        }
        Fact::Revoked { id } => (format!("grant {} revoked", number(*id)), ""),
        Fact::Cancelled { id } => (format!("planned erase {} cancelled", number(*id)), ""),
        _ => (format!("{fact:?}"), ""),
    };
    Told { what, reason: reason.to_owned() }
}

/// A fact as JSON, with the time at which it came about.
pub(crate) fn fact_json(at: Timestamp, fact: &Fact) -> Value {
    let mut told = match fact {
        Fact::Detached { record, sources, reason } => json!({
            "what": "detached", "id": record.to_string(), "sources": sources, "reason": reason,
        }),
        Fact::Kept { class, records, reason } => json!({
            "what": "kept", "class": class.as_ref().map(ToString::to_string), "records": records,
            "reason": reason,
        }),
        Fact::Held { id, scope, reason, authority } => json!({
            "what": "held", "id": number(*id), "scope": scope, "reason": reason,
            "authority": authority,
        }),
        Fact::Lifted { id, reason, authority } => json!({
            "what": "lifted", "id": number(*id), "reason": reason, "authority": authority,
        }),
        Fact::Refused { scope, times } => {
            json!({"what": "refused", "scope": scope, "times": times})
        }
        Fact::Planned { id, due, scope } => {
            json!({"what": "planned", "id": number(*id), "due": time(*due), "scope": scope})
        }
        Fact::Failed { id, why } => json!({"what": "failed", "id": number(*id), "why": why}),
        Fact::Granted { id, name, scope, until, purpose } => json!({
            "what": "granted", "id": number(*id), "name": name, "scope": scope,
            "until": until.map(time), "purpose": purpose,
        }),
        Fact::Revoked { id } => json!({"what": "revoked", "id": number(*id)}),
        Fact::Cancelled { id } => json!({"what": "cancelled", "id": number(*id)}),
        _ => json!({"what": format!("{fact:?}")}),
    };
    told["at"] = json!(time(at));
    told
}
