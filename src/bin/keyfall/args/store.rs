//! Arguments of commands that are about a store as a whole.

use std::path::PathBuf;

use clap::Args;
use keyfall::quorum::{MARGIN, Member};

use super::keyholder::member;

#[derive(Args)]
pub(crate) struct InitArgs {
    #[arg(value_name = "STORE", num_args = 0..=1)]
    pub(crate) places: Vec<PathBuf>,
    /// Let the cell lie on a file system that may keep destroyed keys; every promise says so from
    /// then on.
    #[arg(long)]
    pub(crate) accept_remnants: bool,
    /// Spread the root key over keyholders: name each of them. Five with a threshold of 3 are a
    /// good start.
    #[arg(long, value_name = "KEY@HOST:PORT", value_parser = member, requires = "threshold")]
    pub(crate) keyholder: Vec<Member>,
    /// How many of them together recover the root key.
    #[arg(long, value_name = "T", requires = "keyholder")]
    pub(crate) threshold: Option<u8>,
    /// How many of them may lie without harm.
    #[arg(long, value_name = "F", default_value_t = 1, requires = "keyholder")]
    pub(crate) liars: u8,
    /// How many more than the threshold must hold the next root key before the old one is
    /// destroyed: so many may be lost at once without losing data. With 0, an erase is final with
    /// fewer keyholders, and one more that breaks down may cost all data.
    #[arg(long, value_name = "M", default_value_t = MARGIN, requires = "keyholder")]
    pub(crate) margin: u8,
    /// Name of its log of erases: a URL without the scheme, where you will publish it [default:
    /// made from the store's id].
    #[arg(long, value_name = "NAME")]
    pub(crate) log_origin: Option<String>,
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    #[arg(value_name = "STORE", num_args = 0..=1)]
    pub(crate) places: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct BackupArgs {
    #[arg(value_name = "STORE DEST", num_args = 1..=2, required = true)]
    pub(crate) places: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    #[arg(value_name = "STORE COPY", required = true, num_args = 2..)]
    pub(crate) places: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct RestoreArgs {
    /// Take the place of the store that the copies are of. That store can only be looked at until
    /// it takes over in turn, and not at all after the next erase. What is due is left for the next
    /// command.
    #[arg(long)]
    pub(crate) adopt: bool,
    /// The store to build: a new or empty directory, or one in which a restore was cut short.
    #[arg(long, value_name = "STORE")]
    pub(crate) into: PathBuf,
    #[arg(value_name = "COPY", required = true)]
    pub(crate) copies: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct AuditArgs {
    #[arg(value_name = "STORE COPY")]
    pub(crate) places: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct DiscardArgs {
    #[arg(value_name = "STORE", num_args = 0..=1)]
    pub(crate) places: Vec<PathBuf>,
    /// Have this certificate say so; may be given many times.
    #[arg(long, value_name = "CERT")]
    pub(crate) certificate: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Leave everything in this empty directory, for inspection.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}
