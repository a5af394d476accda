//! Doing one erase, once: also if its answer was lost.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use keyfall::certificate::{Draft, Grade};
use keyfall::engine::{Hold, Plan};
use keyfall::{Erase, Error, ErrorKind, Scope};
use serde_json::{Value, to_value};

use super::asked::{ErasureRequest, Read, Target};
use super::name::Name;
use super::outcome::{Erasure, State, WouldErase};
use crate::answers::{Intent, Slot};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::problem::{Answer, Problem};
use crate::receipts::Secret;
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
    let once = match key {
        Some(key) => {
            let slot = app.answers().slot(caller.principal(), &key, written.as_bytes())?;
            Some(Once { slot: Arc::new(slot), key })
        }
        None => None,
    };
    if let Some(once) = &once
        && let Some(done) = answered(app, caller, &read, once).await?
    {
        return Ok(done);
    }
    let done = act(app, caller, &read, once.as_ref()).await?;
    if let Some(once) = once {
        keep(&once.slot, &done);
    }
    Ok(done)
}

/// What makes sure that a request is done once.
struct Once {
    slot: Arc<Slot>,
    key: String,
}

/// What was answered before, or what is found out about an erase whose answer was lost.
async fn answered(app: &App, caller: &Caller, read: &Read, once: &Once) -> Answer<Option<Done>> {
    let slot = &once.slot;
    let kept = slot.read()?;
    if let Some((status, body)) = kept.answer {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        return Ok(Some(Done { status, body }));
    }
    if let Some(intent) = kept.intent {
        let done = planned(app, caller, read, once, intent).await?;
        if let Some(done) = &done {
            keep(slot, done);
        }
        return Ok(done);
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
    keep(slot, &done);
    Ok(Some(done))
}

/// It was done: an answer that cannot be kept is still the answer.
fn keep(slot: &Slot, done: &Done) {
    if slot.keep_answer(done.status, done.body.clone()).is_err() {
        tracing::warn!("an answer could not be kept; its request may be answered otherwise");
    }
}

/// What became of an erase that was about to be planned: it waits, was done, or was not planned.
async fn planned(
    app: &App,
    caller: &Caller,
    read: &Read,
    once: &Once,
    intent: Intent,
) -> Answer<Option<Done>> {
    let (secret, handle) = (Secret::of(caller.principal(), &once.key)?, read.target.handle());
    let receipts = Arc::clone(app.receipts());
    let user = match app.user(&handle.to_string()).await {
        Ok(user) => Some(user.id),
        // It may have been done.
        Err(problem) if problem.status == StatusCode::GONE => None,
        Err(problem) => return Err(problem),
    };
    let found = app.engine().run(move |engine| {
        let plans = user.map_or(Ok(Vec::new()), |user| engine.plans(&user).list())?;
        let is_it = |plan: &Plan| plan.due.0 == intent.due && secret.is_of(plan);
        let plan = plans.into_iter().find(is_it);
        let done = match plan {
            Some(_) => None,
            None => {
                let mut found = receipts.find(engine, &secret)?.into_iter();
                found.find(|found| found.leaf >= intent.leaves)
            }
        };
        if let Some(plan) = &plan {
            let name = Name::Plan { handle, number: plan.id }.to_string();
            receipts.note(&secret, &name)?;
        }
        Ok((plan, done))
    });
    match found.await? {
        (Some(plan), _) => {
            let name = Name::Plan { handle, number: plan.id };
            done(&Erasure::of_plan(&name.to_string(), &plan)).map(Some)
        }
        (None, Some(found)) => {
            let pending = found.certificate.facts.judge()?.grade == Grade::Pending;
            done(&Erasure::of_certificate(&found.certificate, pending, read.certified())).map(Some)
        }
        (None, None) => Ok(None),
    }
}

async fn act(app: &App, caller: &Caller, read: &Read, once: Option<&Once>) -> Answer<Done> {
    let scope = read.scope(app, caller).await?;
    if let Some(delay) = read.delay {
        return plan(app, caller, Asked { read, scope, delay, once }).await;
    }
    let (authority, ground) = (&read.request.authority, &read.request.ground);
    let mut erase = read.erase(scope);
    if read.certified() || once.is_some() {
        erase = erase.certified(
            authority.as_deref().unwrap_or_default(),
            ground.as_deref().unwrap_or_default(),
        );
    }
    if let Some(once) = once {
        let slot = Arc::clone(&once.slot);
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

/// What is to be erased later.
struct Asked<'a> {
    read: &'a Read,
    scope: Scope,
    delay: Duration,
    once: Option<&'a Once>,
}

async fn plan(app: &App, caller: &Caller, asked: Asked<'_>) -> Answer<Done> {
    let Asked { read, scope, delay, once } = asked;
    // With a key it has a receipt in any case: a repeated request finds the plan by it.
    let secret = match (read.certified(), once) {
        (_, Some(once)) => Some(Secret::of(caller.principal(), &once.key)?),
        (false, None) => None,
        (true, None) => {
            return Err(Problem::invalid(
                "the certificate of a planned erase is sealed under the Idempotency-Key of its \
                 request: send one, and keep it",
            ));
        }
    };
    let due = now()
        .checked_add(delay)
        .ok_or_else(|| Problem::invalid("that is too far ahead; write a shorter time in `in`"))?;
    if let Some(once) = once {
        let leaves = app.engine().run(|engine| engine.log().size()).await?;
        let intent = Intent { due: due.0, leaves };
        once.slot.keep_intent(intent).map_err(|_| Problem::internal())?;
    }
    let (erase, handle) = (read.erase(scope), read.target.handle());
    let text = |of: &Option<String>| of.clone().unwrap_or_default();
    let (authority, ground) = (text(&read.request.authority), text(&read.request.ground));
    let receipts = Arc::clone(app.receipts());
    let planned = app.engine().run(move |engine| {
        let Some(secret) = secret else { return engine.erase_at(erase, due) };
        receipts.begin(&secret)?;
        let plan = engine.erase_at(erase.certified(authority, secret.on(&ground)), due)?;
        let name = Name::Plan { handle, number: plan.id }.to_string();
        if receipts.note(&secret, &name).is_err() {
            tracing::warn!("which erase a receipt is of could not be written down");
        }
        Ok(plan)
    });
    let plan = planned.await?;
    let name = Name::Plan { handle: read.target.handle(), number: plan.id };
    done(&Erasure::of_plan(&name.to_string(), &plan))
}

/// What became of a planned erase that is no plan any more, for a caller who has the key under
/// which its certificate was sealed.
///
/// # Errors
/// 500, 503.
pub(super) async fn after(
    app: &App,
    caller: &Caller,
    name: Name,
    key: &str,
) -> Answer<Option<Erasure>> {
    let (secret, receipts) = (Secret::of(caller.principal(), key)?, Arc::clone(app.receipts()));
    let id = name.to_string();
    let found = app.engine().run(move |engine| match receipts.may_be_of(&secret, &id) {
        true => receipts.find(engine, &secret),
        false => Ok(Vec::new()),
    });
    let found = found.await?;
    let Some(found) = found.last() else { return Ok(None) };
    let pending = found.certificate.facts.judge()?.grade == Grade::Pending;
    let done = Erasure::of_certificate(&found.certificate, pending, true);
    Ok(Some(Erasure { id: name.to_string(), ..done }))
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
