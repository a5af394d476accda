//! What an erase did, or would do, as JSON.

use keyfall::certificate::Certificate;
use keyfall::engine::{Foreseen, Hold, Plan};
use keyfall::{Class, Timestamp};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::name::Name;
use crate::api::told::HoldJson;
use crate::api::users::ClassCount;
use crate::problem::ProblemBody;

/// One outcome, or a list of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is what the documentation says; each is written on its own")]
pub(crate) enum Outcomes {
    /// What an erase did.
    One(Box<Erasure>),
    /// What an erase would do.
    Foreseen(Box<WouldErase>),
    /// A list, in the order in which they were asked for.
    Many(Vec<OneOfList>),
}

/// What became of one erase of a list: an erasure or a problem.
#[derive(Serialize, ToSchema)]
pub(crate) struct OneOfList {
    /// The HTTP status that it alone would have had.
    status: u16,
    /// What it did, or would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Outcome>)]
    erasure: Option<Value>,
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

impl OneOfList {
    pub(super) fn done(status: u16, body: Value) -> Self {
        OneOfList { status, erasure: Some(body), problem: None }
    }

    pub(super) fn failed(status: u16, problem: ProblemBody) -> Self {
        OneOfList { status, erasure: None, problem: Some(problem) }
    }
}

/// What one erase did, or would do.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is what the documentation says; each is written on its own")]
enum Outcome {
    /// What it did.
    One(Box<Erasure>),
    /// What it would do.
    Foreseen(Box<WouldErase>),
}

/// How far an erase is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ErasureState)]
pub(crate) enum State {
    /// It is done when it is due, unless it is cancelled.
    Planned,
    /// What it names cannot be read here any more; the old root key is not destroyed yet.
    Pending,
    /// The old root key is destroyed.
    Complete,
}

/// What an erase did.
#[derive(Serialize, ToSchema)]
pub(crate) struct Erasure {
    /// Its name in addresses; erases of one epoch share it.
    pub(super) id: String,
    /// How far it is.
    pub(super) state: State,
    /// The epoch that began with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<u64>,
    /// How many records of the scope fell; nothing if damaged pages kept them from being counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) records: Option<u64>,
    /// How many derived records, of anybody, fell with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) derived: Option<u64>,
    /// Whether more derived records fell, which were not counted yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) following: Option<bool>,
    /// Whether it had been erased before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) already: Option<bool>,
    /// When it was complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(super) completed: Option<String>,
    /// Until when it may be pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(super) pending_until: Option<String>,
    /// When it is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(super) due: Option<String>,
    /// Whether a hold covers some of it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) held: Option<bool>,
    /// The certificate, to be kept as a file and checked by anybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<String>,
}

impl Erasure {
    fn new(id: String, state: State) -> Self {
        Erasure {
            id,
            state,
            epoch: None,
            records: None,
            derived: None,
            following: None,
            already: None,
            completed: None,
            pending_until: None,
            due: None,
            held: None,
            certificate: None,
        }
    }

    /// What the engine did.
    pub(super) fn of(done: &keyfall::Erasure, certificate: Option<String>) -> Self {
        let state = if done.finality.is_final() { State::Complete } else { State::Pending };
        Erasure {
            epoch: Some(done.epoch),
            records: done.records,
            derived: Some(done.derived),
            following: Some(done.following),
            already: Some(done.already),
            completed: Some(done.completed.to_string()),
            pending_until: done.finality.until().map(|until| until.to_string()),
            certificate,
            ..Erasure::new(Name::Epoch(done.epoch).to_string(), state)
        }
    }

    /// What an erase did whose answer was lost, as its certificate says.
    pub(super) fn of_certificate(certificate: &Certificate, pending: bool, wanted: bool) -> Self {
        let body = &certificate.facts.body;
        let epoch = body.epoch + 1;
        let state = if pending { State::Pending } else { State::Complete };
        Erasure {
            epoch: Some(epoch),
            records: body.records.as_ref().map(|records| records.values().sum()),
            derived: Some(body.derived),
            following: Some(body.following),
            already: Some(false),
            completed: Some(certificate.facts.outcome.issued.clone()),
            pending_until: body.pending_until.clone(),
            certificate: wanted.then(|| certificate.to_string()),
            ..Erasure::new(Name::Epoch(epoch).to_string(), state)
        }
    }

    /// The erases of an epoch.
    pub(super) fn of_epoch(id: &str, epoch: u64, pending: bool, until: Option<Timestamp>) -> Self {
        let state = if pending { State::Pending } else { State::Complete };
        let pending_until = until.filter(|_| pending).map(|until| until.to_string());
        Erasure { epoch: Some(epoch), pending_until, ..Erasure::new(id.to_owned(), state) }
    }

    /// A planned erase.
    pub(super) fn of_plan(id: &str, plan: &Plan) -> Self {
        Erasure {
            due: Some(plan.due.to_string()),
            held: Some(plan.held),
            ..Erasure::new(id.to_owned(), State::Planned)
        }
    }
}

/// What an erase would take, if it were done now.
#[derive(Serialize, ToSchema)]
pub(crate) struct WouldErase {
    /// Always true.
    dry_run: bool,
    /// Records that would fall, by class; nothing if a hold would refuse it, or if damaged pages
    /// keep them from being counted.
    records: Option<Vec<ClassCount>>,
    /// Derived records, of anybody, that would fall with them.
    derived: u64,
    /// Whether more derived records would fall, which were not looked for.
    following: bool,
    /// Whether it was erased before.
    already: bool,
    /// Records that would stay, by class.
    kept: Vec<ClassCount>,
    /// Whether a hold would refuse it.
    held: bool,
    /// The holds on the user's records, if it would be refused. It may be none: then it is on a
    /// record of another user that was derived.
    holds: Vec<HoldJson>,
}

impl WouldErase {
    /// What would fall; `whole` is the same without the classes that stay.
    pub(super) fn of(found: &Foreseen, whole: Option<&Foreseen>, keep: &[Class]) -> Self {
        let counts = |found: &Foreseen| found.records.as_deref().map(counted);
        let kept = whole.and_then(|whole| whole.records.as_deref()).map(|records| {
            let stays = records.iter().filter(|(class, _)| keep.contains(class));
            counted(&stays.cloned().collect::<Vec<_>>())
        });
        WouldErase {
            dry_run: true,
            records: counts(found),
            derived: found.derived,
            following: found.following,
            already: found.already,
            kept: kept.unwrap_or_default(),
            held: false,
            holds: Vec::new(),
        }
    }

    /// That holds would refuse it.
    pub(super) fn refused(holds: &[(u64, Hold)]) -> Self {
        WouldErase {
            dry_run: true,
            records: None,
            derived: 0,
            following: false,
            already: false,
            kept: Vec::new(),
            held: true,
            holds: holds.iter().map(HoldJson::from).collect(),
        }
    }
}

fn counted(records: &[(Class, u64)]) -> Vec<ClassCount> {
    let one = |(class, n): &(Class, u64)| ClassCount { class: class.to_string(), records: *n };
    records.iter().map(one).collect()
}
