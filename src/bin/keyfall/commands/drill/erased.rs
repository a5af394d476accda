//! Certificates that a drill holds against what it restored: what they name must be erased there.

use std::path::Path;

use keyfall::certificate::Certificate;
use keyfall::{Engine, Error, ErrorKind, RecordId};

use crate::commands::certificate;
use crate::shell::again::overtaken;

/// What a certificate says is erased.
pub(super) struct Claimed {
    file: String,
    certificate: Certificate,
    /// The record, if it names a single one.
    record: Option<RecordId>,
}

impl Claimed {
    /// Reads one.
    pub(super) fn read(file: &Path) -> Result<Self, Error> {
        let certificate = certificate::read(file)?;
        let record = certificate.facts.body.scope.strip_prefix("record ");
        let record = record.map(str::parse).transpose()?;
        Ok(Claimed { file: file.display().to_string(), certificate, record })
    }

    /// Why it does not hold for what was restored; `None` if it does.
    ///
    /// # Errors
    /// `Changed` if an erase in the store ended what was restored meanwhile.
    pub(super) fn denied_by(&self, restored: &Engine) -> Result<Option<String>, Error> {
        let body = &self.certificate.facts.body;
        let why = if body.store != restored.id().to_string() {
            format!("it is of another store, {}", body.store)
        } else if restored.head().commit < body.commit {
            format!("the erase, commit {}, is not in what was restored", body.commit)
        } else {
            match self.record.as_ref().map(|id| restored.info(id)) {
                None => return Ok(None),
                Some(Ok(_)) => "the record can be opened".to_owned(),
                Some(Err(e)) => match e.kind() {
                    ErrorKind::Erased => return Ok(None),
                    ErrorKind::Mismatch => return Err(overtaken(e)),
                    _ => format!("whether the record is erased cannot be told: {e}"),
                },
            }
        };
        Ok(Some(format!("{}: {why}", self.file)))
    }
}
