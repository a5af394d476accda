//! Proofs among a person's records, where they are kept as long as the person is.

use std::io::Read;

use keyfall::certificate::{Certificate, Trust};
use keyfall::log::VerifierKey;
use keyfall::{Engine, Error, ErrorKind, Put, Query, RecordId, RecordInfo, UserId};

use super::scopes::proof_class;

/// The media type under which proofs are kept among a user's records.
pub(crate) const PROOF_TYPE: &str = "text/vnd.keyfall.certificate";
/// The media type of a code among them, by which a proof to come is found.
pub(super) const CODE_TYPE: &str = "text/vnd.keyfall.receipt";
/// Most bytes of a certificate.
pub(crate) const PROOF_MAX_BYTES: u64 = 1 << 20;

/// Most proofs that are listed.
pub(super) const LISTED: usize = 500;
/// Records that are listed at once.
const AT_ONCE: usize = 500;

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

/// Whether a text is a certificate of this log that names somebody.
pub(crate) fn proves(text: &str, log: &VerifierKey, user: &UserId) -> bool {
    let Ok(certificate) = text.parse::<Certificate>() else { return false };
    certificate.facts.body.user.as_deref() == Some(user.as_str())
        && certificate.verify(&Trust::in_log(log.clone())).is_ok()
}

/// Of the class of proofs, the newest records of one media type. An application may put what it
/// likes into the class: that is passed over, however much of it there is.
pub(super) fn of_type(
    engine: &Engine,
    user: &UserId,
    media_type: &str,
    most: usize,
) -> Result<Vec<RecordInfo>, Error> {
    let query = Query::default().user(user.clone()).class(proof_class()?).newest_first(true);
    let query = query.limit(AT_ONCE);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let listing = match engine.list(&query.clone().after(after)) {
            Err(e) if gone(&e) => break,
            listing => listing?,
        };
        found.extend(listing.records.into_iter().filter(|info| info.media_type == media_type));
        after = listing.next;
        if after.is_none() || found.len() >= most {
            break;
        }
    }
    found.truncate(most);
    Ok(found)
}

/// The text of a record of the class of proofs; nothing for one that has none, or that is gone.
///
/// # Errors
/// As [`Engine::get`].
pub(super) fn text(engine: &Engine, id: &RecordId) -> Result<Option<String>, Error> {
    let reader = match engine.get(id) {
        Err(e) if gone(&e) || e.kind() == ErrorKind::Corrupt => return Ok(None),
        reader => reader?,
    };
    let mut bytes = Vec::new();
    match reader.take(PROOF_MAX_BYTES).read_to_end(&mut bytes).map_err(Error::from) {
        Err(e) if gone(&e) || e.kind() == ErrorKind::Corrupt => Ok(None),
        read => read.map(|_| String::from_utf8(bytes).ok()),
    }
}

/// The certificates among somebody's records: the service may have died once one was put there.
pub(super) fn kept_already(engine: &Engine, user: &UserId) -> Result<Vec<Certificate>, Error> {
    let mut found = Vec::new();
    for info in of_type(engine, user, PROOF_TYPE, LISTED)? {
        found.extend(text(engine, &info.id)?.and_then(|text| text.parse::<Certificate>().ok()));
    }
    Ok(found)
}

/// Whether somebody is not here.
pub(crate) fn gone(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased)
}
