//! The report of a user, as JSON.

use keyfall::engine::{Access, Erased, Fact, Grant, Hold, Plan, Report};
use keyfall::sealed::Live;
use keyfall::{Engine, Policy, Query, RecordInfo, Result, Scope, Timestamp, When};
use serde_json::{Map, Value, json};

use crate::app::User;
use crate::words::number;

/// Reads the report of a user; it may be shown while it is live.
///
/// # Errors
/// As [`Engine::report`].
pub(crate) fn report_json(engine: &Engine, user: &User) -> Result<(Value, Live)> {
    let report = engine.report(&user.id)?;
    let mut records = Vec::new();
    let mut query = Query::default().user(user.id.clone());
    loop {
        let page = engine.list(&query)?;
        for info in &page.records {
            records.push(row(engine, &report, info)?);
        }
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    let classes = report.classes.iter().map(|(class, n)| (class.to_string(), json!(n)));
    let value = json!({
        "handle": user.handle.to_string(),
        "user": report.user.as_str(),
        "created": time(report.created),
        "life": report.life,
        "classes": classes.collect::<Map<_, _>>(),
        "records": records,
        "history": report.history.iter().map(|(at, fact)| fact_json(*at, fact)).collect::<Vec<_>>(),
        "holds": report.holds.iter().map(|(n, hold)| hold_json(*n, hold)).collect::<Vec<_>>(),
        "needed_by_held_records": report.needed,
        "plans": report.plans.iter().map(plan_json).collect::<Vec<_>>(),
        "policies": report.policies.iter().map(policy_json).collect::<Vec<_>>(),
        "store_policies": report.store_policies.iter().map(policy_json).collect::<Vec<_>>(),
        "next_due": report.next_due.map(time),
        "pending_until": report.pending.map(time),
        "final": report.finality.is_final(),
        "grants": report.grants.iter().map(|(n, grant)| grant_json(*n, grant)).collect::<Vec<_>>(),
        "training_sets": report.sets.iter()
            .map(|(name, n)| json!({"name": name, "records": n})).collect::<Vec<_>>(),
        "inbox_keys_made": report.inbox_keys.iter().map(|at| time(*at)).collect::<Vec<_>>(),
        "envelopes_accepted": report.accepted,
        "erased": report.erased.iter().map(erased_json).collect::<Vec<_>>(),
        "copies": report.copies.len(),
        "promise": report.cell.to_string(),
    });
    Ok((value, report.live().clone()))
}

fn row(engine: &Engine, report: &Report, info: &RecordInfo) -> Result<Value> {
    // One that fell meanwhile has no readers any more.
    let gone = |e: &keyfall::Error| e.kind() == keyfall::ErrorKind::Erased;
    let opened = match engine.accesses(&info.id) {
        Err(e) if gone(&e) => Vec::new(),
        opened => opened?,
    };
    let until = match engine.until(&info.id) {
        Err(e) if gone(&e) => report.until(info),
        until => until?,
    };
    let mut row = record_json(info);
    row["until"] = json!(until.map(time));
    row["opened"] = opened.iter().map(access_json).collect();
    Ok(row)
}

/// A record's metadata.
pub(crate) fn record_json(info: &RecordInfo) -> Value {
    json!({
        "id": info.id.to_string(),
        "class": info.class.as_str(),
        "interaction": info.interaction.to_string(),
        "media_type": info.media_type,
        "purpose": info.purpose,
        "created": time(info.created),
        "length": info.length,
        "name": info.name,
        "meta": info.meta,
        "sha256": info.digest.map(|digest| data_encoding::HEXLOWER.encode(&digest)),
        "sources": info.sources,
        "detached": info.detached,
    })
}

/// An opening of a record.
pub(crate) fn access_json(access: &Access) -> Value {
    json!({"principal": access.principal, "purpose": access.purpose, "at": time(access.at)})
}

/// A hold, with its number.
pub(crate) fn hold_json(id: u64, hold: &Hold) -> Value {
    json!({
        "number": number(id),
        "class": hold.class.as_ref().map(ToString::to_string),
        "interaction": hold.interaction.map(|id| id.to_string()),
        "reason": hold.reason,
        "authority": hold.authority,
        "since": time(hold.since),
    })
}

/// A grant, with its number.
pub(crate) fn grant_json(id: u64, grant: &Grant) -> Value {
    json!({
        "number": number(id),
        "name": grant.name,
        "class": grant.class.as_ref().map(ToString::to_string),
        "purpose": grant.purpose,
        "since": time(grant.since),
        "until": grant.until.map(time),
        "opened": grant.opened,
    })
}

/// A policy.
pub(crate) fn policy_json(policy: &Policy) -> Value {
    json!({
        "class": policy.class.as_str(),
        "purpose": policy.purpose,
        "max_age_seconds": policy.max_age.map(|age| age.as_secs()),
        "max_records": policy.max_records,
        "until": policy.until.map(time),
        "readers_named": policy.readers_named,
    })
}

/// A planned erase.
pub(crate) fn plan_json(plan: &Plan) -> Value {
    let (mut class, mut interaction, mut record) = (None, None, None);
    let (mut after, mut before) = (None, None);
    match plan.erase.scope() {
        Scope::Record(id) => record = Some(id.to_string()),
        Scope::User { class: of, when, .. } => {
            class = of.as_ref().map(ToString::to_string);
            match when {
                When::Ever => {}
                When::Interaction(id) => interaction = Some(id.to_string()),
                When::Between { from, until } => {
                    (after, before) = (from.map(time), until.map(time));
                }
            }
        }
    }
    json!({
        "number": number(plan.id),
        "due": time(plan.due),
        "planned": time(plan.planned),
        "held": plan.held,
        "scope": {
            "class": class, "interaction": interaction, "record": record,
            "after": after, "before": before,
        },
        "keep": plan.erase.kept().iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn erased_json(erased: &Erased) -> Value {
    match erased {
        Erased::Span { class, from, until, epoch } => json!({
            "class": class.as_ref().map(|class| class.as_ref().map(ToString::to_string)),
            "from": time(*from), "until": time(*until), "epoch": epoch,
        }),
        Erased::Single { number, epoch } => json!({"single": number, "epoch": epoch}),
        _ => json!({}),
    }
}

fn fact_json(at: Timestamp, fact: &Fact) -> Value {
    let mut told = match fact {
        Fact::Detached { record, sources, reason } => json!({
            "what": "detached", "record": record.to_string(), "sources": sources, "reason": reason,
        }),
        Fact::Kept { class, records, reason } => json!({
            "what": "kept", "class": class.as_ref().map(ToString::to_string), "records": records,
            "reason": reason,
        }),
        Fact::Held { id, scope, reason, authority } => json!({
            "what": "held", "number": number(*id), "scope": scope, "reason": reason,
            "authority": authority,
        }),
        Fact::Lifted { id, reason, authority } => json!({
            "what": "lifted", "number": number(*id), "reason": reason, "authority": authority,
        }),
        Fact::Refused { scope, times } => {
            json!({"what": "refused", "scope": scope, "times": times})
        }
        Fact::Planned { id, due, scope } => json!({
            "what": "planned", "number": number(*id), "due": time(*due), "scope": scope,
        }),
        Fact::Cancelled { id } => json!({"what": "cancelled", "number": number(*id)}),
        Fact::Failed { id, why } => json!({"what": "failed", "number": number(*id), "why": why}),
        Fact::Granted { id, name, scope, until, purpose } => json!({
            "what": "granted", "number": number(*id), "name": name, "scope": scope,
            "until": until.map(time), "purpose": purpose,
        }),
        Fact::Revoked { id } => json!({"what": "revoked", "number": number(*id)}),
        _ => json!({"what": "other"}),
    };
    told["at"] = json!(time(at));
    told
}

fn time(at: Timestamp) -> String {
    at.to_string()
}
