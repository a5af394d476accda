//! Arguments of commands that seal, ask and open; most need no store.

use std::path::PathBuf;

use clap::Args;
use keyfall::sealed::Ticket;

use super::record::RecordArgs;

pub(super) const SEAL_EXAMPLES: &str = "\
Examples:
  keyfall inbox assistant.db --user ada > ada.inbox
  keyfall seal --user ada --class audio --to ada.inbox wake.wav -o wake.sealed
  keyfall accept assistant.db wake.sealed";

#[derive(Args)]
pub(crate) struct SealArgs {
    /// What is sealed; - is standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) record: RecordArgs,
    /// A file that holds what `keyfall inbox` printed.
    #[arg(long, value_name = "KEY")]
    pub(crate) to: PathBuf,
    /// Where to write the envelope.
    #[arg(short, long, value_name = "ENVELOPE")]
    pub(crate) output: PathBuf,
    /// Replace a certificate at ENVELOPE.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct AcceptArgs {
    /// ENVELOPE is what `seal` wrote, one or several; STORE may be left out if KEYFALL_STORE
    /// names it.
    #[arg(value_name = "STORE ENVELOPE", num_args = 1.., required = true)]
    pub(crate) places: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct KeyArgs {
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Args)]
pub(crate) struct AskArgs {
    /// What `grant add` or `training make` printed.
    #[arg(long)]
    pub(crate) ticket: Ticket,
    /// The grantee's private key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The request, to be sent to the owner of the store.
    #[arg(short, long, value_name = "REQUEST")]
    pub(crate) output: PathBuf,
    /// The secret of this one request; `unseal` removes it.
    #[arg(long, value_name = "SECRET")]
    pub(crate) secret: PathBuf,
    /// Replace a certificate at REQUEST.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct UnsealArgs {
    #[arg(value_name = "SEALED")]
    pub(crate) sealed: PathBuf,
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The private key, or the secret of a request, which is removed once it has opened the answer.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
}
