//! Certificates that must not be lost if the service dies between an erase and keeping its proof.
//!
//! The draft is kept before the erase, sealed under the token of the session, of which the service
//! keeps nothing: the browser alone has it, as a cookie. Who comes back with it gets the proof.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use keyfall::certificate::{Certificate, Draft};
use keyfall::{Engine, Error};
use serde_json::Value;

use super::desk::{Grant, Session};
use super::kept::{Proof, keep, kept_already};
use crate::answers::{Answers, Slot};
use crate::app::App;

/// Most drafts that are looked for.
const MOST: u64 = 10_000;
/// As whom the page keeps them.
const PRINCIPAL: &str = "the page";

/// Where the drafts of one form's erases are kept.
pub(crate) struct Drafts {
    answers: Arc<Answers>,
    session: Arc<Session>,
    token: String,
    /// By the place of its erase: the number of each draft, and where it is kept.
    slots: Mutex<HashMap<usize, (u64, Slot)>>,
}

impl Drafts {
    pub(super) fn new(app: &App, session: &Arc<Session>, token: &str) -> Arc<Self> {
        Arc::new(Drafts {
            answers: Arc::clone(app.answers()),
            session: Arc::clone(session),
            token: token.to_owned(),
            slots: Mutex::default(),
        })
    }

    /// Keeps the draft of the erase in a place of the form's.
    ///
    /// # Errors
    /// As the system says: then nothing is erased.
    pub(super) fn keep(&self, place: usize, draft: &Draft) -> Result<(), Error> {
        let io = |e| Error::io("keeping a draft", e);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, slot) = match slots.entry(place) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(place) => {
                let number = self.session.next_draft();
                let slot = slot(&self.answers, &self.token, number).map_err(io)?;
                place.insert((number, slot))
            }
        };
        slot.keep_draft(draft.to_string()).map_err(io)
    }

    /// Says that the certificate of the erase is kept among the person's records.
    pub(super) fn kept(&self, place: usize) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = slots.get(&place) {
            kept(slot);
        }
    }

    /// The number of the draft of the erase in a place.
    pub(super) fn number(&self, place: usize) -> Option<u64> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(&place).map(|(number, _)| *number)
    }
}

/// The draft with a number of a session's, and where it is kept; nothing once its certificate is kept.
pub(super) fn draft(app: &App, token: &str, number: u64) -> Option<(Slot, Draft)> {
    let slot = slot(app.answers(), token, number).ok()?;
    let draft = slot.read().ok()?.draft?.parse().ok()?;
    Some((slot, draft))
}

/// A certificate that was found by its draft.
pub(super) struct Found {
    slot: Slot,
    certificate: Certificate,
    pub(super) proof: Proof,
}

/// The certificates of a session that ended, but those that are kept among records.
pub(super) async fn lost(app: &App, token: &str) -> Vec<Found> {
    let mut drafts = Vec::new();
    for number in 0..MOST {
        let Ok(slot) = slot(app.answers(), token, number) else { break };
        match slot.read() {
            Ok(read) if read.answer.is_some() => {}
            Ok(read) => match read.draft.and_then(|draft| draft.parse::<Draft>().ok()) {
                Some(draft) => drafts.push((slot, draft)),
                None => break,
            },
            Err(_) => break,
        }
    }
    if drafts.is_empty() {
        return Vec::new();
    }
    let found = app.engine().run(move |engine| {
        let key = engine.log().key()?.to_string();
        let found = drafts.into_iter().filter_map(|(slot, draft)| {
            // An erase that was not done has none.
            let certificate = engine.certificates().get(&draft).ok()?;
            let proof = Proof { text: certificate.to_string(), key: key.clone() };
            Some(Found { slot, certificate, proof })
        });
        Ok::<_, Error>(found.collect())
    });
    found.await.unwrap_or_default()
}

/// Keeps what a session before left of the same person among their records.
pub(super) async fn adopt(app: &App, token: &str, grant: &Grant) {
    let user = grant.user.clone();
    let mut found = lost(app, token).await;
    found.retain(|one| one.certificate.facts.body.user.as_deref() == Some(user.as_str()));
    if found.is_empty() {
        return;
    }
    let done = app.engine().run(move |engine: &Engine| {
        let there = kept_already(engine, &user)?;
        for Found { slot, certificate, .. } in found {
            let is_there = there.iter().any(|one| one.facts.opening == certificate.facts.opening);
            if is_there || keep(engine, &user, &certificate)? {
                kept(&slot);
            }
        }
        Ok::<_, Error>(())
    });
    if done.await.is_err() {
        tracing::warn!("a proof could not be kept among the records; its draft stays for a day");
    }
}

fn slot(answers: &Arc<Answers>, token: &str, number: u64) -> io::Result<Slot> {
    let slot = answers.slot(PRINCIPAL, &format!("{token}#{number}"), b"a proof");
    slot.map(Slot::of_an_erase).map_err(|_| io::Error::other("its place cannot be had"))
}

/// Notes that the certificate of a draft is kept among records.
pub(super) fn kept(slot: &Slot) {
    if slot.keep_answer(StatusCode::OK, Value::Null).is_err() {
        tracing::warn!("that a proof was kept is not written down; it may be kept twice");
    }
}
