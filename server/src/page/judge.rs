//! Which records are proofs: what is kept as one may be something else, by an application.

use std::sync::Arc;

use keyfall::log::VerifierKey;
use keyfall::{Engine, Error, ErrorKind, RecordInfo};

use super::desk::Session;
use super::kept::{CODE_TYPE, LISTED, PROOF_MAX_BYTES, PROOF_TYPE, of_type, proves, text};
use super::planned::is_code;
use super::scopes::proof_class;
use crate::app::App;
use crate::receipts::Receipts;

/// Tells what the service itself keeps in the class of proofs from what an application puts there:
/// that is listed, and erased, as everything else is.
pub(super) struct Judge {
    session: Arc<Session>,
    receipts: Arc<Receipts>,
    log: VerifierKey,
}

impl Judge {
    /// For one person's session.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub(super) fn new(engine: &Engine, whose: &Whose) -> Result<Self, Error> {
        let (session, receipts) = (Arc::clone(&whose.session), Arc::clone(&whose.receipts));
        Ok(Judge { session, receipts, log: engine.log().key()? })
    }

    /// Whether a record is a proof of this person's, or the code of one to come.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub(super) fn is_proof(&self, engine: &Engine, info: &RecordInfo) -> Result<bool, Error> {
        let may = info.class == proof_class()?
            && [PROOF_TYPE, CODE_TYPE].contains(&&*info.media_type)
            && info.length <= PROOF_MAX_BYTES;
        if !may {
            return Ok(false);
        }
        if let Some(known) = self.session.is_proof(&info.id) {
            return Ok(known);
        }
        let text = match text(engine, &info.id) {
            Err(e) if e.kind() == ErrorKind::Refused => None,
            text => text?,
        };
        let user = &self.session.grant.user;
        let is = text.is_some_and(|text| match info.media_type == PROOF_TYPE {
            true => proves(&text, &self.log, user),
            false => is_code(&self.receipts, &text),
        });
        self.session.note_proof(info.id, is);
        Ok(is)
    }

    /// The proofs that are kept, the newest first.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub(super) fn kept(&self, engine: &Engine) -> Result<Vec<RecordInfo>, Error> {
        let mut kept = Vec::new();
        for info in of_type(engine, &self.session.grant.user, PROOF_TYPE, LISTED)? {
            if self.is_proof(engine, &info)? {
                kept.push(info);
            }
        }
        Ok(kept)
    }
}

/// Of whom a judge tells.
#[derive(Clone)]
pub(super) struct Whose {
    session: Arc<Session>,
    receipts: Arc<Receipts>,
}

impl Whose {
    pub(super) fn of(app: &App, session: &Arc<Session>) -> Self {
        Whose { session: Arc::clone(session), receipts: Arc::clone(app.receipts()) }
    }
}
