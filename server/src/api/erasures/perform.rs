//! Doing one erase, once: also if its answer was lost.

use std::sync::Arc;

use axum::http::StatusCode;
use keyfall::certificate::{Draft, Grade};
use keyfall::engine::Hold;
use keyfall::{Erase, Error, ErrorKind, Scope};
use serde_json::{Value, to_value};

use super::asked::{ErasureRequest, Read, Target};
use super::name::Name;
use super::outcome::{Erasure, State, WouldErase};
use crate::answers::Slot;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::problem::{Answer, Problem};
use crate::words::{now, number};

/// An erase that was answered.
pub(super) struct Done {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

/// Does an erase, or says what it would take.
///
/// # Errors
/// What the request, the caller's rights or the engine say.
pub(super) async fn perform(
    app: &App,
    caller: &Caller,
    body: Value,
    key: Option<String>,
    dry_run: bool,
) -> Answer<Done> {
    let written = body.to_string();
    let request: ErasureRequest =
        serde_json::from_value(body).map_err(|e| Problem::invalid(format!("{e}")))?;
    let read = Read::new(request)?;
    caller.may_with("erase", &read.target.handle())?;
    if dry_run {
        return foresee(app, caller, &read).await;
    }
    let slot = key.map(|key| app.answers().slot(caller.principal(), &key, written.as_bytes()));
    let slot = slot.transpose()?.map(Arc::new);
    let done = match &slot {
        Some(slot) => match answered(app, &read, slot).await? {
            Some(done) => return Ok(done),
            None => act(app, caller, &read, Some(slot)).await?,
        },
        None => act(app, caller, &read, None).await?,
    };
    if let Some(slot) = slot {
        // It was done: an answer that cannot be kept is still the answer.
        if slot.keep_answer(done.status, done.body.clone()).is_err() {
            tracing::warn!("an answer could not be kept; its request may be answered otherwise");
        }
    }
    Ok(done)
}

/// What was answered before, or what is found out about an erase whose answer was lost.
async fn answered(app: &App, read: &Read, slot: &Slot) -> Answer<Option<Done>> {
    let kept = slot.read()?;
    if let Some((status, body)) = kept.answer {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        return Ok(Some(Done { status, body }));
    }
    let Some(draft) = kept.draft.and_then(|draft| draft.parse::<Draft>().ok()) else {
        return Ok(None);
    };
    let found = app.engine().run(move |engine| engine.certificates().get(&draft)).await;
    let certificate = match found {
        Ok(certificate) => certificate,
        // It was not done.
        Err(e) if e.kind() == ErrorKind::Absent => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let pending = certificate.facts.judge()?.grade == Grade::Pending;
    let done = done(&Erasure::of_certificate(&certificate, pending, read.certified()))?;
    if slot.keep_answer(done.status, done.body.clone()).is_err() {
        tracing::warn!("an answer could not be kept; its request may be answered otherwise");
    }
    Ok(Some(done))
}

async fn act(app: &App, caller: &Caller, read: &Read, slot: Option<&Arc<Slot>>) -> Answer<Done> {
    let scope = read.scope(app, caller).await?;
    if let Some(delay) = read.delay {
        return plan(app, read, scope, delay).await;
    }
    let (authority, ground) = (&read.request.authority, &read.request.ground);
    let mut erase = read.erase(scope);
    if read.certified() || slot.is_some() {
        erase = erase.certified(
            authority.as_deref().unwrap_or_default(),
            ground.as_deref().unwrap_or_default(),
        );
    }
    if let Some(slot) = slot {
        let slot = Arc::clone(slot);
        erase = erase.drafted(move |draft| {
            slot.keep_draft(draft.to_string()).map_err(|e| Error::io("keeping a draft", e))
        });
    }
    let erased = match app.engine().erase(erase).await {
        Ok(erased) => erased,
        Err(e) if e.kind() == ErrorKind::Held => return Err(held(app, read).await),
        Err(e) => return Err(e.into()),
    };
    if read.is_whole() && app.book().forget(&read.target.handle().to_string()).is_err() {
        tracing::warn!("a credential still lists the handle of a user who was erased");
    }
    let unsigned = erased.certificate.as_ref().filter(|_| read.certified());
    let certificate = unsigned.map(|unsigned| unsigned.sign()).transpose()?;
    done(&Erasure::of(&erased, certificate.map(|certificate| certificate.to_string())))
}

fn done(erasure: &Erasure) -> Answer<Done> {
    let status = match erasure.state {
        State::Complete => StatusCode::OK,
        State::Pending | State::Planned => StatusCode::ACCEPTED,
    };
    Ok(Done { status, body: to_value(erasure).map_err(|_| Problem::internal())? })
}

async fn plan(app: &App, read: &Read, scope: Scope, delay: std::time::Duration) -> Answer<Done> {
    if read.certified() {
        return Err(Problem::invalid(
            "a planned erase has nobody to give a certificate to when it is done; leave it out",
        ));
    }
    let due = now()
        .checked_add(delay)
        .ok_or_else(|| Problem::invalid("that is too far ahead; write a shorter time in `in`"))?;
    let erase = read.erase(scope);
    let plan = app.engine().run(move |engine| engine.erase_at(erase, due)).await?;
    let name = Name::Plan { handle: read.target.handle(), number: plan.id };
    done(&Erasure::of_plan(&name.to_string(), &plan))
}

async fn foresee(app: &App, caller: &Caller, read: &Read) -> Answer<Done> {
    let scope = read.scope(app, caller).await?;
    let erase = read.erase(scope.clone());
    let keep = read.keep.clone();
    let foreseen = app.engine().run(move |engine| {
        let found = engine.would_erase(erase)?;
        // What stays is counted by what would fall if nothing did.
        let whole = match keep.is_empty() {
            true => None,
            false => engine.would_erase(Erase::new(scope)).ok(),
        };
        Ok(WouldErase::of(&found, whole.as_ref(), &keep))
    });
    let would = match foreseen.await {
        Err(e) if e.kind() == ErrorKind::Held => WouldErase::refused(&holds(app, read).await),
        would => would?,
    };
    let body = to_value(would).map_err(|_| Problem::internal())?;
    Ok(Done { status: StatusCode::OK, body })
}

/// That holds refuse it, with their numbers.
async fn held(app: &App, read: &Read) -> Problem {
    let mut problem = Problem::from(Error::new(ErrorKind::Held, "held"));
    problem.holds = holds(app, read).await.iter().map(|(id, _)| number(*id)).collect();
    problem
}

/// The holds on the records of the user that a request is about.
async fn holds(app: &App, read: &Read) -> Vec<(u64, Hold)> {
    let handle = match &read.target {
        Target::User(handle) => *handle,
        Target::Record(id) => id.handle(),
    };
    let found = app.engine().run(move |engine| {
        let user = engine.user_of(&handle)?;
        engine.holds(&user).list()
    });
    found.await.unwrap_or_default()
}
