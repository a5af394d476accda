//! Arguments of commands that are about a store as a whole.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use keyfall::quorum::{MARGIN, Member};

use super::keyholder::member;
use super::values::{patience, span};

pub(super) const INIT_EXAMPLES: &str = "\
Examples:
  keyfall init assistant.db                                     # the cell is assistant.db.cell
  keyfall init assistant.db --cell /mnt/key/assistant.cell
  keyfall init assistant.db --keyholder KEY@HOST:7410 --keyholder ... --threshold 3";

pub(super) const BACKUP_EXAMPLES: &str = "\
Examples:
  keyfall backup assistant.db /mnt/backup    # run again, it copies what is new
  keyfall check assistant.db /mnt/backup     # what a restore from it would bring back

A backup restores everything until the next erase and nothing after it: back up after erases, or
keep a copy in step as well (`keyfall copy add`).";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  keyfall check assistant.db /mnt/replica /mnt/backup";

pub(super) const RESTORE_EXAMPLES: &str = "\
Examples:
  keyfall restore --into drill.db --cell assistant.db.cell /mnt/backup    # to look at
  keyfall restore --into assistant.db --adopt --cell assistant.db.cell /mnt/replica /mnt/backup";

pub(super) const DRILL_EXAMPLES: &str = "\
Examples:
  keyfall drill --cell assistant.db.cell --from /mnt/backup
  keyfall drill --cell assistant.db.cell --from /mnt/backup --copy /mnt/replica --records 1000
  keyfall drill --cell assistant.db.cell --from /mnt/backup --certificate ada.erased

RTO is the time from the start until the restored store was open and read back, RPO how old its
newest commit was at the start. Nothing is claimed, written or destroyed in the cell, in the copies
that are named, or in the living store and its copies.
What is restored lies in a directory of its own below --scratch, without any key, and is removed at
the end, also when the drill fails. What a drill that was killed left there, the next one removes.";

pub(super) const AUDIT_EXAMPLES: &str = "\
Examples:
  keyfall audit assistant.db
  keyfall audit assistant.db /mnt/backup";

pub(super) const DISCARD_EXAMPLES: &str = "\
Examples:
  keyfall discard assistant.db
  keyfall discard assistant.db --certificate ada.erased";

#[derive(Args)]
pub(crate) struct WatchArgs {
    /// The store; may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE", num_args = 0..=1)]
    pub(crate) places: Vec<PathBuf>,
    /// End after this much time: 10s, 5min [default: when it is interrupted].
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub(crate) time: Option<Duration>,
    /// Leave a sign of life this often in a store that machines share, for a standby to see: 2s.
    #[arg(long, value_name = "TIME", value_parser = patience)]
    pub(crate) beat: Option<Duration>,
}

pub(super) const STANDBY_EXAMPLES: &str = "\
Examples:
  keyfall standby s3://bucket/assistant --cell assistant.cell -- serve-assistant
  keyfall standby s3://bucket/assistant --probe 'curl -fsS -m 2 http://writer:8080/readyz'
  keyfall standby s3://bucket/assistant --probe 'kill -0 4711'

The writer leaves signs of life if it was asked to (`keyfalld --beat`, `keyfall watch --beat`); a
commit is one. A standby that takes a writer for gone that is not costs that writer its store, and
no data.";

#[derive(Args)]
pub(crate) struct StandbyArgs {
    /// The store, a URL; may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE", num_args = 0..=1)]
    pub(crate) places: Vec<PathBuf>,
    /// Look this often.
    #[arg(long, value_name = "TIME", value_parser = patience, default_value = "1s")]
    pub(crate) every: Duration,
    /// Take the writer for gone after this time without a commit, a sign of life or a probe that
    /// succeeded.
    #[arg(long, value_name = "TIME", value_parser = patience, default_value = "10s")]
    pub(crate) gone_after: Duration,
    /// Run this by `sh -c` at each look: while it succeeds, the writer lives. It has to end by
    /// itself.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) probe: Option<String>,
    /// Become this program once the store is taken over; KEYFALL_STORE and KEYFALL_CELL name them
    /// to it.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) then: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct InitArgs {
    /// The store; may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE", num_args = 0..=1)]
    pub(crate) places: Vec<PathBuf>,
    /// Let the cell lie on a file system that may keep destroyed keys; every promise says so from
    /// then on.
    #[arg(long)]
    pub(crate) accept_remnants: bool,
    /// For a store at a URL: only this machine ever opens it, so that the cell may be a file here.
    #[arg(long)]
    pub(crate) single_machine: bool,
    /// For a store at a URL: lend its keys to readers on other machines, for this long at a time:
    /// 2s. Each erase returns that much later.
    #[arg(long, value_name = "TIME", value_parser = patience)]
    pub(crate) lend: Option<Duration>,
    #[command(flatten)]
    pub(crate) spread: SpreadArgs,
    /// Name of its log of erases: a URL without the scheme, where you will publish it [default:
    /// made from the store's id].
    #[arg(long, value_name = "NAME")]
    pub(crate) log_origin: Option<String>,
}

/// Keyholders of a root key.
#[derive(Args)]
pub(crate) struct SpreadArgs {
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
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// The store; may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE", num_args = 0..=1)]
    pub(crate) places: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct BackupArgs {
    /// DEST is the directory or the URL of the backup; STORE may be left out if KEYFALL_STORE
    /// names it.
    #[arg(value_name = "STORE DEST", num_args = 1..=2, required = true)]
    pub(crate) places: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) metrics: MetricsFile,
}

/// Where a program that watches is told of a success.
#[derive(Args)]
pub(crate) struct MetricsFile {
    /// On success, write the time into FILE, in Prometheus' text format: for keyfalld, or for the
    /// textfile collector of the node exporter.
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// STORE is the store, each COPY a copy of it to restore from.
    #[arg(value_name = "STORE COPY", required = true, num_args = 1..)]
    pub(crate) places: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct RestoreArgs {
    /// The store to build: a new or empty directory, a URL below which nothing of a store is left,
    /// or a place in which a restore was cut short.
    #[arg(long, value_name = "STORE")]
    pub(crate) into: PathBuf,
    /// Take the place of the store that the copies are of. That store can only be read until it
    /// takes over in turn, and not at all after the next erase. What is due is left for the next
    /// command.
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Leave out reading back what was restored. Without this every record is opened then, and
    /// compared with the digest that it was put with.
    #[arg(long)]
    pub(crate) unverified: bool,
    /// For a store at a URL: only this machine ever opens it, so that the cell may be a file here.
    #[arg(long)]
    pub(crate) single_machine: bool,
    #[arg(value_name = "COPY", required = true)]
    pub(crate) copies: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct DrillArgs {
    /// A backup to restore from; the same as a COPY.
    #[arg(long, value_name = "BACKUP")]
    pub(crate) from: Vec<PathBuf>,
    /// A further copy to restore from; the same as a COPY.
    #[arg(long, value_name = "COPY")]
    pub(crate) copy: Vec<PathBuf>,
    /// Open N records at random, each compared with the digest that it was put with, and no other;
    /// and do not try every key on every blob. Without this all are opened, and all tried.
    #[arg(long, value_name = "N")]
    pub(crate) records: Option<u64>,
    /// An erasure certificate: what it names must be erased in the restored store; may be given
    /// many times.
    #[arg(long, value_name = "CERT")]
    pub(crate) certificate: Vec<PathBuf>,
    /// Directory that the store is restored below, with room for all of it.
    #[arg(long, value_name = "DIR", default_value = "/tmp")]
    pub(crate) scratch: PathBuf,
    #[command(flatten)]
    pub(crate) metrics: MetricsFile,
    #[arg(value_name = "COPY", required_unless_present_any = ["from", "copy"])]
    pub(crate) copies: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this directory; it is made where there is none.
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct AuditArgs {
    /// STORE is the store, each COPY a further place of its blobs; STORE alone may be left out
    /// if KEYFALL_STORE names it.
    #[arg(value_name = "STORE COPY")]
    pub(crate) places: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) metrics: MetricsFile,
}

#[derive(Args)]
pub(crate) struct DiscardArgs {
    /// The store; may be left out if KEYFALL_STORE names it.
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
