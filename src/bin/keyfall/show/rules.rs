//! What was ruled about a user's records: holds, plans, policies and grants.

use keyfall::Policy;
use keyfall::engine::{Grant, Hold, Plan};
use serde_json::{Value, json};

use crate::shell::print::counted;
use crate::show::erase::erase_words;
use crate::show::time::{span, time};

/// The number of a hold, a plan or a grant, as it is typed.
pub(crate) fn number(id: u64) -> String {
    format!("{id:016x}")
}

/// What a hold covers, in words.
pub(crate) fn hold_words(hold: &Hold) -> String {
    let class = hold.class.as_ref();
    let class = class.map_or("everything".to_owned(), |class| format!("class {class}"));
    class + &hold.interaction.map_or(String::new(), |id| format!(" of interaction {id}"))
}

/// A hold as JSON.
pub(crate) fn hold_json(id: u64, hold: &Hold) -> Value {
    json!({
        "id": number(id), "class": hold.class.as_ref().map(ToString::to_string),
        "interaction": hold.interaction.map(|i| i.to_string()), "reason": hold.reason,
        "authority": hold.authority, "since": time(hold.since),
    })
}

/// A planned erase as JSON.
pub(crate) fn plan_json(plan: &Plan) -> Value {
    json!({
        "id": number(plan.id), "due": time(plan.due), "planned": time(plan.planned),
        "what": erase_words(&plan.erase), "held": plan.held,
        "certified": plan.erase.certified_for().map(|(who, why)| certified_json(who, why)),
    })
}

/// For whom and on what ground something is certified.
fn certified_json(authority: &str, ground: &str) -> Value {
    json!({"authority": authority, "ground": ground})
}

/// The same in words.
pub(crate) fn certified_words(authority: &str, ground: &str) -> String {
    let by = if authority.is_empty() { String::new() } else { format!(" for {authority}") };
    let why = if ground.is_empty() { String::new() } else { format!(", ground: {ground}") };
    format!("certified{by}{why}")
}

/// A grant in words.
pub(crate) fn grant_words(id: u64, grant: &Grant) -> String {
    let class = grant.class.as_ref();
    let what = class.map_or("everything".to_owned(), |class| format!("class {class}"));
    let until = grant.until.map_or(String::new(), |until| format!(" until {}", time(until)));
    let (name, purpose, since) = (&grant.name, &grant.purpose, time(grant.since));
    let opened = counted(grant.opened, "record");
    let id = number(id);
    format!("{what} to {name} for {purpose}, since {since}{until}, {opened} opened ({id})")
}

/// A grant as JSON.
pub(crate) fn grant_json(id: u64, grant: &Grant) -> Value {
    json!({
        "id": number(id), "name": grant.name,
        "class": grant.class.as_ref().map(ToString::to_string), "purpose": grant.purpose,
        "since": time(grant.since), "until": grant.until.map(time), "opened": grant.opened,
    })
}

/// A policy in words.
pub(crate) fn policy_words(policy: &Policy) -> String {
    let whom = policy.purpose.as_ref().map_or(String::new(), |p| format!(" put for {p}"));
    let limits = [
        policy.max_age.map(|age| format!("at most {}", span(age))),
        policy.max_records.map(|n| format!("at most {}", counted(n, "record"))),
        policy.until.map(|at| format!("until {}", time(at))),
        policy.readers_named.then(|| "opened only for named readers".to_owned()),
        policy.keep_derived.as_ref().map(|why| format!("what was derived stays: {why}")),
        policy.certified.as_ref().map(|(who, why)| certified_words(who, why)),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    let limits = if limits.is_empty() { "without a limit".to_owned() } else { limits.join(", ") };
    format!("class {}{whom}: {limits}", policy.class)
}

/// A policy as JSON.
pub(crate) fn policy_json(policy: &Policy) -> Value {
    json!({
        "class": policy.class.as_str(), "purpose": policy.purpose,
        "max_age_seconds": policy.max_age.map(|age| age.as_secs()),
        "max_records": policy.max_records, "until": policy.until.map(time),
        "readers_named": policy.readers_named, "keep_derived": policy.keep_derived,
        "certified": policy.certified.as_ref().map(|(who, why)| certified_json(who, why)),
    })
}
