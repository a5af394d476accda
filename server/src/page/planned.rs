//! Proofs of planned erases: no session is there when such an erase falls due.
//!
//! A code is made when it is planned, the secret of a receipt. It lies among the person's records,
//! where the next page of theirs finds it and the proof by it; an erase that takes these records
//! too takes the code with them, so there the person is told the code.

use std::sync::Arc;

use keyfall::engine::Plan;
use keyfall::{Engine, Erase, Error, Put, RecordId, Scope, UserId};
use tokio::sync::mpsc::UnboundedReceiver;

use super::kept::{CODE_TYPE, gone, keep, kept_already, of_type, text};
use super::scopes::{What, proof_class};
use crate::app::App;
use crate::private::random;
use crate::receipts::{Receipts, Secret};

/// As whom the page has receipts.
pub(super) const PRINCIPAL: &str = "the page";

/// Letters of a code: five times five, each of 32, which nobody guesses.
const LETTERS: usize = 25;

/// The receipt of what one form plans.
pub(super) struct Receipt {
    secret: Secret,
    code: String,
    /// The record that the code lies in; none where the erase would take it.
    record: Option<RecordId>,
}

impl Receipt {
    /// Makes a receipt for what is planned of somebody.
    ///
    /// # Errors
    /// As [`Engine::put`]; `Io`.
    pub(super) fn new(
        engine: &Engine,
        receipts: &Receipts,
        user: &UserId,
        what: &What,
    ) -> Result<Self, Error> {
        let bytes = random::<16>().map_err(|e| Error::io("drawing a code", e))?;
        let mut code = data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
        code.truncate(LETTERS);
        let secret = Secret::of(PRINCIPAL, &code)?;
        receipts.begin(&secret)?;
        let record = match takes_proofs(what) {
            true => None,
            false => {
                let put = Put::new(user.clone(), proof_class()?).media_type(CODE_TYPE);
                let put = put.purpose("to find the proof of what is planned");
                match engine.put(put, code.as_bytes()) {
                    // It may lie there all the same; where it does not, the person is told it.
                    Err(e) if e.may_have_happened() => {
                        codes(engine, user)?.into_iter().find(|it| it.1 == code).map(|it| it.0)
                    }
                    put => Some(put?),
                }
            }
        };
        Ok(Receipt { secret, code, record })
    }

    /// The erase, certified by this receipt.
    pub(super) fn certify(&self, erase: Erase, authority: &str) -> Erase {
        erase.certified(authority, self.secret.on(""))
    }

    /// What stands of what was planned with it.
    ///
    /// # Errors
    /// As the engine's `Plans::list`.
    pub(super) fn plans(&self, engine: &Engine, user: &UserId) -> Result<Vec<Plan>, Error> {
        let mut plans = match engine.plans(user).list() {
            Err(e) if gone(&e) => Vec::new(),
            plans => plans?,
        };
        plans.retain(|plan| self.secret.is_of(plan));
        Ok(plans)
    }

    /// What the person has to keep.
    pub(super) fn code(&self) -> Option<String> {
        self.record.is_none().then(|| self.code.clone())
    }

    /// Lets go of it: nothing was planned.
    pub(super) fn drop(self, engine: &Engine, receipts: &Receipts) {
        end(engine, receipts, &self.secret, self.record);
    }
}

/// Whether an erase takes the proofs among somebody's records, and codes with them.
fn takes_proofs(what: &What) -> bool {
    match what {
        What::Everything => true,
        What::Class(class) => proof_class().is_ok_and(|proofs| *class == proofs),
        What::Turns(_) | What::Day(_) => false,
    }
}

/// Ends a receipt, and erases the record that its code lies in. Where that cannot be erased now the
/// receipt stays, so that the code is known as one; the next time somebody comes it ends.
fn end(engine: &Engine, receipts: &Receipts, secret: &Secret, record: Option<RecordId>) {
    if let Some(id) = record
        && let Err(e) = engine.erase(Scope::record(id))
    {
        tracing::warn!("the code of a receipt that is spent could not be erased");
        if !e.may_have_happened() {
            return;
        }
    }
    receipts.spent(secret);
}

/// A planned erase of somebody is called off.
///
/// # Errors
/// As the engine's `Plans::cancel`.
pub(super) fn cancel(
    engine: &Engine,
    receipts: &Receipts,
    user: &UserId,
    id: u64,
) -> Result<(), Error> {
    let plans = engine.plans(user).list()?;
    if let Err(e) = engine.plans(user).cancel(id) {
        // It may be called off all the same.
        let left = engine.plans(user).list();
        let waits = left.as_ref().map_or(true, |left| left.iter().any(|plan| plan.id == id));
        let was = plans.iter().any(|plan| plan.id == id);
        if !e.may_have_happened() || !was || waits {
            return Err(e);
        }
    }
    receipts.cancelled(&plans, id);
    // Its code is of no use then; one that stays does no harm.
    let _ = adopt(engine, receipts, user);
    Ok(())
}

/// Keeps the proofs of somebody's planned erases that were done among their records.
///
/// # Errors
/// As [`Engine::put`].
pub(super) fn adopt(engine: &Engine, receipts: &Receipts, user: &UserId) -> Result<(), Error> {
    let _turn = receipts.moving();
    for (id, code) in codes(engine, user)? {
        let secret = Secret::of(PRINCIPAL, &code)?;
        // Until nothing more is found: what is due may be done meanwhile.
        while let Some(planned) = move_found(engine, receipts, user, &secret)? {
            if !planned {
                end(engine, receipts, &secret, Some(id));
                break;
            }
        }
    }
    Ok(())
}

/// Moves the proofs of a receipt to where they stay, and says whether there may be more to come;
/// nothing if there was none, though more is to come.
fn move_found(
    engine: &Engine,
    receipts: &Receipts,
    user: &UserId,
    secret: &Secret,
) -> Result<Option<bool>, Error> {
    // Asked first: of what is done after that the proof may not be found.
    let planned = engine.plans(user).list()?.iter().any(|plan| secret.is_of(plan));
    let found = receipts.find(engine, secret)?;
    if found.is_empty() {
        return Ok((!planned).then_some(false));
    }
    let there = kept_already(engine, user)?;
    for found in found {
        let opening = &found.certificate.facts.opening;
        let is_there = there.iter().any(|one| one.facts.opening == *opening);
        if !is_there && !keep(engine, user, &found.certificate)? {
            return Ok(None);
        }
        receipts.moved(&found);
    }
    Ok(Some(planned))
}

/// The codes among somebody's records. What is as long as a code and is none does no harm: nothing
/// lies under it.
fn codes(engine: &Engine, user: &UserId) -> Result<Vec<(RecordId, String)>, Error> {
    let mut codes = Vec::new();
    for info in of_type(engine, user, CODE_TYPE, usize::MAX)? {
        if info.length == LETTERS as u64
            && let Some(code) = text(engine, &info.id)?
        {
            codes.push((info.id, code));
        }
    }
    Ok(codes)
}

/// Whether a text is a code that something was planned with, and that is not spent.
pub(super) fn is_code(receipts: &Receipts, text: &str) -> bool {
    let secret = Some(text).filter(|text| text.len() == LETTERS);
    let secret = secret.and_then(|text| Secret::of(PRINCIPAL, text).ok());
    secret.is_some_and(|secret| receipts.knows(&secret))
}

/// The same, for somebody who comes to their page.
pub(super) async fn come(app: &App, user: UserId) {
    let receipts = Arc::clone(app.receipts());
    if app.engine().run(move |engine| adopt(engine, &receipts, &user)).await.is_err() {
        tracing::warn!("a proof could not be kept among the records; its draft stays sealed");
    }
}

/// Keeps the proof of each planned erase that is done. What this misses, as when the service dies
/// before, is kept when the person comes.
pub(crate) async fn keep_all(app: App, mut tells: UnboundedReceiver<UserId>) {
    while let Some(user) = tells.recv().await {
        come(&app, user).await;
    }
}
