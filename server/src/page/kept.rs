//! Proofs among a person's records, where they are kept as long as the person is.

use std::io::Read;

use keyfall::certificate::Certificate;
use keyfall::{Engine, Error, ErrorKind, Put, Query, RecordInfo, UserId};

use super::scopes::proof_class;

/// The media type under which proofs are kept among a user's records.
pub(crate) const PROOF_TYPE: &str = "text/vnd.keyfall.certificate";
/// The media type of a code among them, by which a proof to come is found.
pub(super) const CODE_TYPE: &str = "text/vnd.keyfall.receipt";
/// Most bytes of a certificate.
pub(crate) const PROOF_MAX_BYTES: u64 = 1 << 20;

/// Most proofs that are listed.
const LISTED: usize = 500;

/// A certificate, as a file.
#[derive(Clone)]
pub(crate) struct Proof {
    pub(crate) text: String,
    /// The key that it is checked with.
    pub(crate) key: String,
}

/// Keeps a certificate among the records of a user who lives on; says whether there is one.
///
/// # Errors
/// As [`Engine::put`].
pub(super) fn keep(
    engine: &Engine,
    user: &UserId,
    certificate: &Certificate,
) -> Result<bool, Error> {
    // A put would begin a new life of a name that was erased.
    match engine.handle(user) {
        Ok(_) => {}
        Err(e) if matches!(e.kind(), ErrorKind::Erased | ErrorKind::Absent) => return Ok(false),
        Err(e) => return Err(e),
    }
    let put = Put::new(user.clone(), proof_class()?);
    let put = put.media_type(PROOF_TYPE).purpose("to show what was erased");
    engine.put(put, certificate.to_string().as_bytes()).map(|_| true)
}

/// The proofs that are kept, the newest first.
///
/// # Errors
/// `Corrupt`, `Io`.
pub(super) fn kept(engine: &Engine, user: &UserId) -> Result<Vec<RecordInfo>, Error> {
    let query = Query::default().user(user.clone()).class(proof_class()?);
    match engine.list(&query.newest_first(true).limit(LISTED)) {
        Ok(mut listing) => {
            listing.records.retain(|info| info.media_type != CODE_TYPE);
            Ok(listing.records)
        }
        Err(e) if gone(&e) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// The certificates among somebody's records: the service may have died once one was put there.
pub(super) fn kept_already(engine: &Engine, user: &UserId) -> Result<Vec<Certificate>, Error> {
    let mut found = Vec::new();
    for info in kept(engine, user)? {
        let mut text = String::new();
        engine.get(&info.id)?.take(PROOF_MAX_BYTES).read_to_string(&mut text)?;
        found.extend(text.parse::<Certificate>());
    }
    Ok(found)
}

/// Whether somebody is not here.
pub(crate) fn gone(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased)
}
