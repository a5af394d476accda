//! The history of a user, as it is told.

use keyfall::Timestamp;
use keyfall::engine::Fact;
use serde::Serialize;
use utoipa::ToSchema;

use super::told::time;
use crate::words::number;

/// Something that happened to a user's records, and when.
#[derive(Serialize, ToSchema)]
#[schema(as = HistoryLine)]
pub(crate) struct FactJson {
    /// When.
    #[schema(format = DateTime)]
    at: String,
    #[serde(flatten)]
    what: What,
}

impl From<&(Timestamp, Fact)> for FactJson {
    fn from((at, fact): &(Timestamp, Fact)) -> Self {
        FactJson { at: time(*at), what: fact.into() }
    }
}

/// What happened.
#[derive(Serialize, ToSchema)]
#[schema(as = Fact)]
#[serde(tag = "what", rename_all = "lowercase")]
enum What {
    /// A record was kept although records that it was derived of were erased.
    Detached {
        /// The id of the record.
        record: String,
        /// How many records it was derived of.
        sources: u16,
        /// Why it was kept.
        reason: String,
    },
    /// Records stayed when others were erased.
    Kept {
        /// Their class; nothing once that is erased.
        class: Option<String>,
        /// How many.
        records: u64,
        /// Why they stayed.
        reason: String,
    },
    /// A hold was added.
    Held {
        /// The number of the hold.
        number: String,
        /// What it covers, in words.
        scope: String,
        /// Why.
        reason: String,
        /// The person or office that ordered it.
        authority: String,
    },
    /// A hold was lifted.
    Lifted {
        /// The number of the hold.
        number: String,
        /// Why.
        reason: String,
        /// The person or office that ordered it.
        authority: String,
    },
    /// A hold had an erase refused.
    Refused {
        /// What was to be erased, in words.
        scope: String,
        /// How often.
        times: u64,
    },
    /// An erase was planned.
    Planned {
        /// The number of the plan.
        number: String,
        /// When it is due.
        #[schema(format = DateTime)]
        due: String,
        /// What it takes, in words; nothing once the plan is over.
        scope: Option<String>,
    },
    /// A planned erase was cancelled.
    Cancelled {
        /// The number of the plan.
        number: String,
    },
    /// A planned erase could not be done.
    Failed {
        /// The number of the plan.
        number: String,
        /// Why.
        why: String,
    },
    /// A grant was given.
    Granted {
        /// The number of the grant.
        number: String,
        /// The grantee's name.
        name: String,
        /// What it covers, in words.
        scope: String,
        /// When it ends, if it does.
        #[schema(format = DateTime)]
        until: Option<String>,
        /// What the records may be used for.
        purpose: String,
    },
    /// A grant was revoked.
    Revoked {
        /// The number of the grant.
        number: String,
    },
    /// Something that this version of the service has no words for.
    Other {},
}

impl From<&Fact> for What {
    fn from(fact: &Fact) -> Self {
        match fact.clone() {
            Fact::Detached { record, sources, reason } => {
                What::Detached { record: record.to_string(), sources, reason }
            }
            Fact::Kept { class, records, reason } => {
                What::Kept { class: class.map(|class| class.to_string()), records, reason }
            }
            Fact::Held { id, scope, reason, authority } => {
                What::Held { number: number(id), scope, reason, authority }
            }
            Fact::Lifted { id, reason, authority } => {
                What::Lifted { number: number(id), reason, authority }
            }
            Fact::Refused { scope, times } => What::Refused { scope, times },
            Fact::Planned { id, due, scope } => {
                What::Planned { number: number(id), due: time(due), scope }
            }
            Fact::Cancelled { id } => What::Cancelled { number: number(id) },
            Fact::Failed { id, why } => What::Failed { number: number(id), why },
            Fact::Granted { id, name, scope, until, purpose } => {
                What::Granted { number: number(id), name, scope, until: until.map(time), purpose }
            }
            Fact::Revoked { id } => What::Revoked { number: number(id) },
            _ => What::Other {},
        }
    }
}
