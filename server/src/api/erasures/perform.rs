//! Doing one erase, once: also if its answer was lost.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use keyfall::certificate::{Certificate, Draft, Grade};
use keyfall::engine::{Hold, Plan};
use keyfall::{Erase, Error, ErrorKind, Scope};
use serde_json::{Value, to_value};

use super::asked::{ErasureRequest, Read, Target};
use super::name::Name;
use super::outcome::{Erasure, State, WouldErase};
use crate::answers::{Asks, Intent, Slot};
use crate::app::App;
use crate::auth::caller::{Caller, Shown};
use crate::problem::{Answer, Problem};
use crate::receipts::Secret;
use crate::words::{now, number};

/// An erase that was answered.
pub(super) struct Done {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    /// Whether the same request is told more later: then this answer is not kept for it.
    passing: bool,
}

/// Who asks for an erase: a caller, or somebody whose credential may have ended with it.
#[derive(Clone)]
pub(super) struct Asking {
    pub(super) caller: Answer<Caller>,
    pub(super) shown: Shown,
}

impl Asking {
    /// As whom a request under a key is made: whoever made it before may have its answer again,
    /// though the credential is for nobody any more.
    ///
    /// # Errors
    /// 401, 403.
    pub(super) fn principal(&self, app: &App, key: &str) -> Answer<String> {
        match &self.caller {
            Ok(caller) => caller.may("erase").map(|()| caller.who().to_owned()),
            Err(refused) => app.answers().asked(&self.asks(key)).ok_or_else(|| refused.clone()),
        }
    }

    fn asks<'a>(&'a self, key: &'a str) -> Asks<'a> {
        Asks { shown: &self.shown.0, key }
    }
}

/// Does an erase, or says what it would take.
///
/// # Errors
/// What the request, the caller's rights or the engine say.
pub(super) async fn perform(
    app: &App,
    asking: &Asking,
    body: Value,
    key: Option<String>,
    dry_run: bool,
) -> Answer<Done> {
    let written = body.to_string();
    let request: ErasureRequest =
        serde_json::from_value(body).map_err(|e| Problem::invalid(format!("{e}")))?;
    let read = Read::new(request)?;
    let allowed = asking.caller.clone().and_then(|caller| {
        caller.may_with("erase", &read.target.handle())?;
        Ok(caller)
    });
    if dry_run {
        return foresee(app, &allowed?, &read).await;
    }
    let Some(key) = key else { return act(app, &allowed?, &read, None).await };
    let principal = asking.principal(app, &key)?;
    let slot = app.answers().slot(&principal, &key, written.as_bytes())?;
    let slot = Arc::new(slot.of_an_erase());
    let once = Once { slot, key, principal };
    if let Some(done) = answered(app, &read, &once).await? {
        return Ok(done);
    }
    let caller = allowed?;
    if caller.ends_with_its_users() {
        let (asks, plans) = (asking.asks(&once.key), read.delay.is_some());
        app.answers().remember(&asks, &once.principal, plans).map_err(Problem::of_io)?;
    }
    let done = act(app, &caller, &read, Some(&once)).await?;
    keep(&once.slot, &done);
    Ok(done)
}

/// What makes sure that a request is done once.
struct Once {
    slot: Arc<Slot>,
    key: String,
    principal: String,
}

/// What was answered before, or what is found out about an erase whose answer was lost.
async fn answered(app: &App, read: &Read, once: &Once) -> Answer<Option<Done>> {
    let slot = &once.slot;
    let kept = slot.read()?;
    if let Some((status, body)) = kept.answer {
        if is_off(app, once, &body).await? {
            let detail = "the erase that this request planned waits no more: it was cancelled, or \
                          there was nothing to erase; take a fresh Idempotency-Key to plan another";
            return Err(Problem::new(StatusCode::CONFLICT, "refused", detail));
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        return Ok(Some(Done { status, body, passing: false }));
    }
    if let Some(intent) = kept.intent {
        let done = planned(app, read, once, intent).await?;
        if let Some(done) = &done {
            keep(slot, done);
        }
        return Ok(done);
    }
    match kept.draft.and_then(|draft| draft.parse::<Draft>().ok()) {
        Some(draft) => drafted(app, read, once, draft).await,
        None => Ok(None),
    }
}

/// Whether an answer speaks of a planned erase that waits no more and was not done.
async fn is_off(app: &App, once: &Once, body: &Value) -> Answer<bool> {
    let name = body["id"].as_str().and_then(Name::read);
    let (Some(Name::Plan { handle, number }), Some("planned")) = (name, body["state"].as_str())
    else {
        return Ok(false);
    };
    let user = match app.user(&handle.to_string()).await {
        Ok(user) => user.id,
        // Nothing is left of what it was to take.
        Err(problem) if problem.status == StatusCode::GONE => return Ok(false),
        Err(problem) => return Err(problem),
    };
    let (secret, receipts) = (Secret::of(&once.principal, &once.key)?, Arc::clone(app.receipts()));
    let looked = app.engine().run(move |engine| {
        let waits = engine.plans(&user).list()?.iter().any(|plan| plan.id == number);
        Ok(!waits && receipts.find(engine, &secret)?.is_empty())
    });
    Ok(looked.await?)
}

/// What became of the erase of a draft; nothing if it was not done.
async fn drafted(app: &App, read: &Read, once: &Once, draft: Draft) -> Answer<Option<Done>> {
    match app.engine().run(move |engine| engine.certificates().get(&draft)).await {
        Ok(certificate) => {
            let done = certified(read, &certificate)?;
            keep(&once.slot, &done);
            Ok(Some(done))
        }
        Err(e) if e.kind() == ErrorKind::Absent => Ok(None),
        // The cell or a copy is away: it is seen without them whether the scope is still there.
        Err(_) => seen(app, read).await,
    }
}

/// What a certificate says. While that is pending its draft stays: it gives the one that is final.
fn certified(read: &Read, certificate: &Certificate) -> Answer<Done> {
    let passing = certificate.facts.judge()?.grade == Grade::Pending;
    let erasure = Erasure::of_certificate(certificate, passing, read.certified());
    Ok(Done { passing, ..done(&erasure)? })
}

/// An erase that was done and cannot be completed now, as it is seen without its certificate: that
/// comes with the same request later. Nothing if what it names is still there.
async fn seen(app: &App, read: &Read) -> Answer<Option<Done>> {
    let read = read.clone();
    let found = app.engine().run(move |engine| {
        if !read.is_erased(engine)? {
            return Ok(None);
        }
        engine.status().map(Some)
    });
    let Some(status) = found.await? else { return Ok(None) };
    let epoch = status.head.epoch + u64::from(status.pending.is_some());
    let id = Name::Epoch(epoch).to_string();
    let pending = !status.finality.is_final();
    let done = done(&Erasure::of_epoch(&id, epoch, pending, status.pending))?;
    Ok(Some(Done { passing: true, ..done }))
}

/// What is answered where the engine could not do an erase, or not to its end.
async fn failed(app: &App, read: &Read, once: Option<&Once>, error: Error) -> Answer<Done> {
    if error.kind() == ErrorKind::Held {
        return Err(held(app, read).await);
    }
    if !error.may_have_happened() {
        return Err(undone(error));
    }
    let kept = once.and_then(|once| Some((once, once.slot.read().ok()?.draft?.parse().ok()?)));
    let found = match kept {
        Some((once, draft)) => drafted(app, read, once, draft).await,
        None => seen(app, read).await,
    };
    match found {
        Ok(Some(done)) => Ok(done),
        Ok(None) => Err(undone(error)),
        Err(_) => {
            let kind = Problem::from(error).kind;
            let detail = "whether this was erased cannot be seen now; repeat the request: an erase \
                          can always be repeated";
            Err(Problem::later(kind, detail))
        }
    }
}

/// The problem of an erase that was not done.
fn undone(error: Error) -> Problem {
    let (keyholders, kind) = (error.wants_keyholders(), error.kind());
    let perhaps = error.may_have_happened();
    let problem = Problem::from(error);
    let why = match kind {
        _ if keyholders => "too few keyholders are within reach",
        ErrorKind::Copy => "a copy that must be in step is away",
        ErrorKind::Poisoned => return Problem::later(problem.kind, POISONED),
        ErrorKind::Io if perhaps => return Problem::later(problem.kind, PERHAPS),
        ErrorKind::Io if problem.status == StatusCode::SERVICE_UNAVAILABLE => {
            "the place of the store does not answer"
        }
        _ if problem.status == StatusCode::INTERNAL_SERVER_ERROR => {
            let detail = format!("nothing was erased: {}", problem.detail);
            return Problem { detail: detail.into(), ..problem };
        }
        _ => return problem,
    };
    let detail = format!("nothing was erased: {why}; ask again once that is over");
    Problem::later(problem.kind, detail)
}

const POISONED: &str = "a write failed with an unknown outcome, and nothing of this request was \
                        erased; repeat it once the service was started again";
const PERHAPS: &str = "what was to be erased is there, and this request may erase it all the same; \
                       repeat it: an erase can always be repeated";

/// It was done: an answer that cannot be kept is still the answer. One that more follows is not
/// kept, since it would take the place of the draft that the rest comes by.
fn keep(slot: &Slot, done: &Done) {
    if done.passing {
        return;
    }
    if slot.keep_answer(done.status, done.body.clone()).is_err() {
        tracing::warn!("an answer could not be kept; its request may be answered otherwise");
    }
}

/// What became of an erase that was about to be planned: it waits, was done, or was not planned.
async fn planned(app: &App, read: &Read, once: &Once, intent: Intent) -> Answer<Option<Done>> {
    let (secret, handle) = (Secret::of(&once.principal, &once.key)?, read.target.handle());
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
        (None, Some(found)) => certified(read, &found.certificate).map(Some),
        (None, None) => Ok(None),
    }
}

async fn act(app: &App, caller: &Caller, read: &Read, once: Option<&Once>) -> Answer<Done> {
    let scope = read.scope(app, caller).await?;
    if let Some(delay) = read.delay {
        return plan(app, Asked { read, scope, delay, once }).await;
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
        Err(e) => return failed(app, read, once, e).await,
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
    let body = to_value(erasure).map_err(|_| Problem::internal())?;
    Ok(Done { status, body, passing: false })
}

/// What is to be erased later.
struct Asked<'a> {
    read: &'a Read,
    scope: Scope,
    delay: Duration,
    once: Option<&'a Once>,
}

async fn plan(app: &App, asked: Asked<'_>) -> Answer<Done> {
    let Asked { read, scope, delay, once } = asked;
    // With a key it has a receipt in any case: a repeated request finds the plan by it.
    let secret = match (read.certified(), once) {
        (_, Some(once)) => Some(Secret::of(&once.principal, &once.key)?),
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
        once.slot.keep_intent(intent).map_err(Problem::of_io)?;
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
    principal: &str,
    name: Name,
    key: &str,
) -> Answer<Option<Erasure>> {
    let (secret, receipts) = (Secret::of(principal, key)?, Arc::clone(app.receipts()));
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
    Ok(Done { status: StatusCode::OK, body, passing: false })
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
