//! What is told of records, rules and users: as it is written in JSON, and as the document
//! describes it.

use std::collections::BTreeMap;

use keyfall::engine::{Access, Erased, Grant, Hold, Plan};
use keyfall::{Policy, RecordInfo, Scope, Timestamp, When};
use serde::Serialize;
use utoipa::ToSchema;

use crate::words::number;

/// A record's metadata.
#[derive(Serialize, ToSchema)]
#[schema(as = Record)]
pub(crate) struct RecordJson {
    /// The id, which `GET /v1/records/{id}` takes.
    id: String,
    /// Its class.
    #[schema(example = "audio")]
    class: String,
    /// The interaction that it belongs to: a UUID of version 7.
    #[schema(example = "01a3f2c4-5b60-7d1e-9f00-8a6b5c4d3e2f")]
    interaction: String,
    /// The media type that it was put with.
    #[schema(example = "audio/wav")]
    media_type: String,
    /// Why it is kept; empty if nothing was said.
    #[schema(example = "wake word")]
    purpose: String,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
    /// Bytes of the record.
    length: u64,
    /// What the application calls it.
    name: Option<String>,
    /// What the application says of it.
    meta: BTreeMap<String, String>,
    /// SHA-256 of the record, in hexadecimal.
    sha256: Option<String>,
    /// Of how many records it was derived.
    sources: u16,
    /// Whether it was derived of records that were erased, and kept all the same.
    detached: bool,
}

impl From<&RecordInfo> for RecordJson {
    fn from(info: &RecordInfo) -> Self {
        RecordJson {
            id: info.id.to_string(),
            class: info.class.to_string(),
            interaction: info.interaction.to_string(),
            media_type: info.media_type.clone(),
            purpose: info.purpose.clone(),
            created: time(info.created),
            length: info.length,
            name: info.name.clone(),
            meta: info.meta.clone(),
            sha256: info.digest.map(|digest| data_encoding::HEXLOWER.encode(&digest)),
            sources: info.sources,
            detached: info.detached,
        }
    }
}

/// An opening of a record.
#[derive(Serialize, ToSchema)]
#[schema(as = Access)]
pub(crate) struct AccessJson {
    /// Who opened it.
    #[schema(example = "support desk")]
    principal: String,
    /// What for.
    #[schema(example = "support case 12")]
    purpose: String,
    /// When.
    #[schema(format = DateTime)]
    at: String,
}

impl From<&Access> for AccessJson {
    fn from(access: &Access) -> Self {
        AccessJson {
            principal: access.principal.clone(),
            purpose: access.purpose.clone(),
            at: time(access.at),
        }
    }
}

/// A legal hold.
#[derive(Serialize, ToSchema)]
#[schema(as = Hold)]
pub(crate) struct HoldJson {
    /// Its number, 16 hexadecimal digits.
    #[schema(example = "0000000000000003")]
    number: String,
    /// Only records of this class, if there is one.
    class: Option<String>,
    /// Only records of this interaction, if there is one.
    interaction: Option<String>,
    /// Why they are held.
    reason: String,
    /// The person or office that ordered it.
    authority: String,
    /// Since when.
    #[schema(format = DateTime)]
    since: String,
}

impl From<&(u64, Hold)> for HoldJson {
    fn from((id, hold): &(u64, Hold)) -> Self {
        HoldJson {
            number: number(*id),
            class: hold.class.as_ref().map(ToString::to_string),
            interaction: hold.interaction.map(|id| id.to_string()),
            reason: hold.reason.clone(),
            authority: hold.authority.clone(),
            since: time(hold.since),
        }
    }
}

/// A grant, by which a third party opens records.
#[derive(Serialize, ToSchema)]
#[schema(as = Grant)]
pub(crate) struct GrantJson {
    /// Its number, 16 hexadecimal digits.
    #[schema(example = "0000000000000004")]
    number: String,
    /// The grantee's name.
    name: String,
    /// Only records of this class, if there is one.
    class: Option<String>,
    /// What the records may be used for.
    purpose: String,
    /// Since when.
    #[schema(format = DateTime)]
    since: String,
    /// When it ends, if it does.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// How often records were opened by it.
    opened: u64,
}

impl From<&(u64, Grant)> for GrantJson {
    fn from((id, grant): &(u64, Grant)) -> Self {
        GrantJson {
            number: number(*id),
            name: grant.name.clone(),
            class: grant.class.as_ref().map(ToString::to_string),
            purpose: grant.purpose.clone(),
            since: time(grant.since),
            until: grant.until.map(time),
            opened: grant.opened,
        }
    }
}

/// A policy: how long records of a class are kept, and whether their readers are named.
#[derive(Serialize, ToSchema)]
#[schema(as = Policy)]
pub(crate) struct PolicyJson {
    /// The class whose records it limits.
    class: String,
    /// Only of records that were put for this purpose, if there is one.
    purpose: Option<String>,
    /// They are kept at most so long.
    max_age_seconds: Option<u64>,
    /// At most so many of them are kept.
    max_records: Option<u64>,
    /// They are kept until then.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Whether those that read them must be named.
    readers_named: bool,
}

impl From<&Policy> for PolicyJson {
    fn from(policy: &Policy) -> Self {
        PolicyJson {
            class: policy.class.to_string(),
            purpose: policy.purpose.clone(),
            max_age_seconds: policy.max_age.map(|age| age.as_secs()),
            max_records: policy.max_records,
            until: policy.until.map(time),
            readers_named: policy.readers_named,
        }
    }
}

/// A planned erase.
#[derive(Serialize, ToSchema)]
#[schema(as = Plan)]
pub(crate) struct PlanJson {
    /// Its name in addresses, which `/v1/erasures/{id}` takes; not in a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Its number, 16 hexadecimal digits.
    #[schema(example = "0000000000000005")]
    number: String,
    /// When it is due.
    #[schema(format = DateTime)]
    due: String,
    /// When it was planned.
    #[schema(format = DateTime)]
    planned: String,
    /// Whether a hold covers some of it now: then it is not done.
    held: bool,
    /// What falls.
    scope: PlannedScope,
    /// Classes of the user that stay.
    keep: Vec<String>,
}

/// What a planned erase takes, of its user.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct PlannedScope {
    /// Only records of this class.
    class: Option<String>,
    /// Only records of this interaction.
    interaction: Option<String>,
    /// This record alone.
    record: Option<String>,
    /// Only interactions that began then or later.
    #[schema(format = DateTime)]
    after: Option<String>,
    /// Only interactions that began before.
    #[schema(format = DateTime)]
    before: Option<String>,
}

impl From<&Scope> for PlannedScope {
    fn from(scope: &Scope) -> Self {
        let (class, when) = match scope {
            Scope::Record(id) => {
                return PlannedScope { record: Some(id.to_string()), ..Self::default() };
            }
            Scope::User { class, when, .. } => (class.as_ref().map(ToString::to_string), when),
        };
        match when {
            When::Ever => PlannedScope { class, ..Self::default() },
            When::Interaction(id) => {
                PlannedScope { class, interaction: Some(id.to_string()), ..Self::default() }
            }
            When::Between { from, until } => PlannedScope {
                class,
                after: from.map(time),
                before: until.map(time),
                ..Self::default()
            },
        }
    }
}

impl PlanJson {
    /// The same, with its name in addresses.
    pub(super) fn called(self, id: String) -> Self {
        PlanJson { id: Some(id), ..self }
    }
}

impl From<&Plan> for PlanJson {
    fn from(plan: &Plan) -> Self {
        PlanJson {
            id: None,
            number: number(plan.id),
            due: time(plan.due),
            planned: time(plan.planned),
            held: plan.held,
            scope: plan.erase.scope().into(),
            keep: plan.erase.kept().iter().map(ToString::to_string).collect(),
        }
    }
}

/// What of a user was erased, as the store still knows it: a span of time, or a record by its
/// number.
#[derive(Serialize, ToSchema)]
#[schema(as = Fallen)]
#[serde(untagged)]
pub(crate) enum ErasedJson {
    /// A span of time.
    Span {
        /// Its class; nothing if it was of all classes, or if that class is erased itself.
        class: Option<String>,
        /// Interactions that began then or later.
        #[schema(format = DateTime)]
        from: String,
        /// Interactions that began before.
        #[schema(format = DateTime)]
        until: String,
        /// The epoch that began with its erase.
        epoch: u64,
    },
    /// A record.
    Single {
        /// Its number within the user.
        single: u64,
        /// The epoch that began with its erase.
        epoch: u64,
    },
}

impl ErasedJson {
    /// What is told of an erase, if it is of a kind that this program knows.
    pub(super) fn of(erased: &Erased) -> Option<Self> {
        Some(match erased {
            Erased::Span { class, from, until, epoch } => ErasedJson::Span {
                class: class.as_ref().and_then(|class| class.as_ref().map(ToString::to_string)),
                from: time(*from),
                until: time(*until),
                epoch: *epoch,
            },
            Erased::Single { number, epoch } => {
                ErasedJson::Single { single: *number, epoch: *epoch }
            }
            _ => return None,
        })
    }
}

pub(super) fn time(at: Timestamp) -> String {
    at.to_string()
}
