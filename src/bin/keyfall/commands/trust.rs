//! Whom to trust when a certificate or a log is verified.

use keyfall::Error;
use keyfall::certificate::Trust;
use keyfall::log::{Checkpoint, Note};

use crate::args::TrustArgs;
use crate::shell::read::read_text;

/// The log and the witnesses that the arguments name.
pub(super) fn trusted(args: &TrustArgs) -> Result<Trust, Error> {
    Trust::with_witnesses(args.key.clone(), &args.witness, args.witnesses)
}

/// The checkpoint that was kept, if one is named; its signature is verified.
pub(super) fn kept(args: &TrustArgs) -> Result<Option<Checkpoint>, Error> {
    let Some(file) = &args.checkpoint else { return Ok(None) };
    let named = |e: Error| e.context(file.display());
    let note: Note = read_text(file)?.parse().map_err(named)?;
    Checkpoint::verified(&note, &args.key).map(Some).map_err(named)
}
