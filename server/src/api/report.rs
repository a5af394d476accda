//! The report of a user, as JSON.

use std::collections::BTreeMap;

use keyfall::engine::Report;
use keyfall::sealed::Live;
use keyfall::{Engine, Query, RecordInfo, Result};
use serde::Serialize;
use utoipa::ToSchema;

use super::facts::FactJson;
use super::told::{
    AccessJson, ErasedJson, GrantJson, HoldJson, PlanJson, PolicyJson, RecordJson, time,
};
use crate::app::User;

/// Everything that is kept about a user.
#[derive(Serialize, ToSchema)]
#[schema(as = Report)]
pub(crate) struct ReportJson {
    /// The handle.
    handle: String,
    /// The name that the application gave.
    user: String,
    /// When the user was created.
    #[schema(format = DateTime)]
    created: String,
    /// Which life of the name this is, from 1.
    life: u16,
    /// How many records of each class there are.
    classes: BTreeMap<String, u64>,
    /// Each record, with who opened it.
    records: Vec<ReportedRecord>,
    /// What happened, oldest first.
    history: Vec<FactJson>,
    /// The holds that stand.
    holds: Vec<HoldJson>,
    /// How many records no hold covers, and stay all the same: others that are held were derived
    /// of them.
    needed_by_held_records: u64,
    /// The planned erases.
    plans: Vec<PlanJson>,
    /// The user's own policies.
    policies: Vec<PolicyJson>,
    /// The policies of the store, which hold where the user has none.
    store_policies: Vec<PolicyJson>,
    /// When something of the user is due next.
    #[schema(format = DateTime)]
    next_due: Option<String>,
    /// Until when erases may be pending.
    #[schema(format = DateTime)]
    pending_until: Option<String>,
    /// Whether everything that was erased is final.
    #[serde(rename = "final")]
    is_final: bool,
    /// The grants.
    grants: Vec<GrantJson>,
    /// The training sets that records are in.
    training_sets: Vec<TrainingSet>,
    /// When keys of the inbox were made.
    inbox_keys_made: Vec<String>,
    /// How many sealed envelopes were accepted.
    envelopes_accepted: u64,
    /// What was erased, as far as the store still knows it.
    erased: Vec<ErasedJson>,
    /// How many copies the store has.
    copies: usize,
    /// What the cell of the store promises, in words.
    promise: String,
}

/// A record, as a report has it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReportedRecord {
    #[serde(flatten)]
    record: RecordJson,
    /// When a policy lets it fall, if one does.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Who opened it, what for and when, oldest first.
    opened: Vec<AccessJson>,
}

/// How many records of a user a training set has.
#[derive(Serialize, ToSchema)]
pub(crate) struct TrainingSet {
    /// Its name.
    name: String,
    /// How many records of the user it has.
    records: u64,
}

/// Reads the report of a user; it may be shown while it is live.
///
/// # Errors
/// As [`Engine::report`].
pub(crate) fn report_of(engine: &Engine, user: &User) -> Result<(ReportJson, Live)> {
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
    let live = report.live().clone();
    Ok((told(user, &report, records), live))
}

fn told(user: &User, report: &Report, records: Vec<ReportedRecord>) -> ReportJson {
    let set =
        |(name, records): &(String, u64)| TrainingSet { name: name.clone(), records: *records };
    ReportJson {
        handle: user.handle.to_string(),
        user: report.user.as_str().to_owned(),
        created: time(report.created),
        life: report.life,
        classes: report.classes.iter().map(|(class, n)| (class.to_string(), *n)).collect(),
        records,
        history: report.history.iter().map(FactJson::from).collect(),
        holds: report.holds.iter().map(HoldJson::from).collect(),
        needed_by_held_records: report.needed,
        plans: report.plans.iter().map(PlanJson::from).collect(),
        policies: report.policies.iter().map(PolicyJson::from).collect(),
        store_policies: report.store_policies.iter().map(PolicyJson::from).collect(),
        next_due: report.next_due.map(time),
        pending_until: report.pending.map(time),
        is_final: report.finality.is_final(),
        grants: report.grants.iter().map(GrantJson::from).collect(),
        training_sets: report.sets.iter().map(set).collect(),
        inbox_keys_made: report.inbox_keys.iter().map(|at| time(*at)).collect(),
        envelopes_accepted: report.accepted,
        erased: report.erased.iter().filter_map(ErasedJson::of).collect(),
        copies: report.copies.len(),
        promise: report.cell.to_string(),
    }
}

fn row(engine: &Engine, report: &Report, info: &RecordInfo) -> Result<ReportedRecord> {
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
    Ok(ReportedRecord {
        record: info.into(),
        until: until.map(time),
        opened: opened.iter().map(AccessJson::from).collect(),
    })
}
