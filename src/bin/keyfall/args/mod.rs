//! The command-line grammar.

mod bench;
mod erase;
mod groups;
mod keyholder;
mod proof;
mod realm;
mod record;
mod sealed;
mod store;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

pub(crate) use bench::{BenchArgs, Part};
pub(crate) use erase::{EraseArgs, TendArgs};
pub(crate) use groups::{
    CopyCommand, GrantCommand, HoldCommand, PlanCommand, PolicyCommand, TrainingCommand,
    UploadCommand,
};
pub(crate) use keyholder::KeyholderCommand;
pub(crate) use proof::{CertificateCommand, LogCommand, TrustArgs};
pub(crate) use realm::RealmCommand;
pub(crate) use record::{
    DetachArgs, ExportArgs, GetArgs, ImportArgs, InfoArgs, LineageArgs, ListArgs, PutArgs,
    ReportArgs, UserArgs, WhichArgs,
};
pub(crate) use sealed::{AcceptArgs, AskArgs, KeyArgs, SealArgs, UnsealArgs};
pub(crate) use store::{
    AuditArgs, BackupArgs, CheckArgs, CompletionsArgs, DemoArgs, DiscardArgs, DrillArgs, InitArgs,
    ManArgs, RestoreArgs, SpreadArgs, StandbyArgs, StatusArgs, WatchArgs,
};
use values::patience;

const EXAMPLES: &str = "\
Examples:
  keyfall init assistant.db
  keyfall put assistant.db --user ada --class audio --type audio/wav wake.wav
  keyfall list assistant.db --user ada
  keyfall erase assistant.db --user ada --class audio --yes
  keyfall demo

STORE may be left out if KEYFALL_STORE names it. The root cell of STORE is STORE.cell, beside it,
unless --cell or KEYFALL_CELL names another place, or STORE.cell is a file that holds that place, as
`init --cell` writes it. Losing the cell loses all data.

A file named by -o is written whole or not at all. It replaces an ordinary file; a certificate with
--force only; a secret key, and what lies in a store, a root cell or a keyholder's directory, never.
-o - is standard output.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 erased, 4 absent, 5 corrupt, 6 refused, 7 held, 8 in
use: another process has the store or the cell open: try again, or let the command wait: --wait 10s,
11 another engine owns the store, 12 done (do not repeat it), but an output of it could not be
written.";

/// Options that every command takes come after its own, under this heading.
const COMMON: &str = "Common options";
const LAST: usize = 1000;

/// A storage engine for cryptographic erasure.
#[derive(Parser)]
#[command(name = "keyfall", version, about, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    /// The root cell's directory [default: STORE.cell].
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "KEYFALL_CELL",
        help_heading = COMMON,
        display_order = LAST
    )]
    pub(crate) cell: Option<PathBuf>,
    /// Make this place of the store the owner of the root cell, whichever place was that before;
    /// goes with a command that writes, as `tend` does. Any other place of the same store can only
    /// be read until it takes over in turn, and not at all after the next erase; what it has that
    /// this one lacks is lost. What is due is left for the next command.
    #[arg(long, global = true, help_heading = COMMON, display_order = LAST + 1)]
    pub(crate) take_over: bool,
    /// Keep what is read of a store at a URL in this directory, 1 GiB at most, so that the next
    /// command reads it there. It is ciphertext; it may be removed at any time.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "KEYFALL_OBJECT_CACHE",
        help_heading = COMMON,
        display_order = LAST + 4
    )]
    pub(crate) object_cache: Option<PathBuf>,
    /// Wait this long if another process has the store or its cell open, before giving up: 10s,
    /// 5min; a bare number is seconds.
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        value_parser = patience,
        default_value = "0",
        help_heading = COMMON,
        display_order = LAST + 2
    )]
    pub(crate) wait: Duration,
    /// Print JSON; errors too, on standard error.
    #[arg(long, global = true, help_heading = COMMON, display_order = LAST + 3)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a store and its root cell.
    #[command(
        after_help = store::INIT_EXAMPLES,
        override_usage = "keyfall init [STORE] [--cell PATH] [--accept-remnants | --keyholder \
            KEY@HOST:PORT... --threshold T [--margin M]] [--log-origin NAME]"
    )]
    Init(InitArgs),
    /// Create a user; the only way to create one again who was erased.
    #[command(override_usage = "keyfall create [STORE] --user U")]
    Create(UserArgs),
    /// Import recordings and transcripts in the layout of Mozilla Common Voice, and what an
    /// assistant did for them.
    ///
    /// CORPUS is a locale's folder (with validated.tsv and clips/), or the folder above several.
    /// Each row becomes an interaction of the row's client_id. All of it is checked before anything
    /// goes in; rows of users that were erased are passed over and counted. Importing again
    /// puts in what is not there yet, and replaces what differs.
    #[command(
        after_help = record::IMPORT_EXAMPLES,
        override_usage = "keyfall import [STORE] CORPUS [--actions FILE] [--skip-missing] \
            [--strict] [--ids]"
    )]
    Import(ImportArgs),
    /// Put a record and print its id.
    #[command(
        after_help = record::PUT_EXAMPLES,
        override_usage = "keyfall put [STORE] --user U --class C [--from ID]... [--name NAME] \
            [OPTIONS] FILE|-"
    )]
    Put(PutArgs),
    /// Print the public key of a user's inbox, for producers to seal records to.
    #[command(override_usage = "keyfall inbox [STORE] --user U")]
    Inbox(UserArgs),
    /// Seal a record to a user's inbox, without a store: the envelope dies with the inbox key.
    #[command(
        after_help = sealed::SEAL_EXAMPLES,
        override_usage = "keyfall seal --user U --class C [OPTIONS] --to KEY FILE|- -o ENVELOPE"
    )]
    Seal(SealArgs),
    /// Take envelopes in, as records, and print their ids. A second copy of one gives the same id.
    #[command(override_usage = "keyfall accept [STORE] ENVELOPE...")]
    Accept(AcceptArgs),
    /// Make a key pair for somebody outside: FILE to keep secret, FILE.pub to give away.
    #[command(override_usage = "keyfall key FILE")]
    Key(KeyArgs),
    /// Ask for the records that a ticket opens, without a store: makes a signed request, and the
    /// secret that opens the answer.
    #[command(override_usage = "keyfall ask --ticket TICKET --key FILE -o REQUEST --secret SECRET")]
    Ask(AskArgs),
    /// Open what `grant open`, `training open` or `export --to` sealed, into an empty directory.
    #[command(override_usage = "keyfall unseal --key FILE SEALED DIR")]
    Unseal(UnsealArgs),
    /// Grants: third parties open records through the engine.
    #[command(subcommand)]
    Grant(GrantCommand),
    /// Training sets: named sets of records of many users, under their grants to one grantee.
    #[command(subcommand)]
    Training(TrainingCommand),
    /// Show what a record was derived from, and what was derived from it.
    #[command(override_usage = "keyfall lineage [STORE] ID")]
    Lineage(LineageArgs),
    /// Make a derived record independent, so that it stays when its sources are erased.
    #[command(
        after_help = record::DETACH_EXAMPLES,
        override_usage = "keyfall detach [STORE] ID --reason R"
    )]
    Detach(DetachArgs),
    /// Show what was done to a user's records beyond putting and erasing, when and why.
    #[command(override_usage = "keyfall history [STORE] --user U")]
    History(UserArgs),
    /// Write a record to standard output or to a file.
    #[command(
        after_help = record::GET_EXAMPLES,
        override_usage = "keyfall get [STORE] ID [--as WHO --purpose WHY] [-o FILE [--force]]\n       \
        keyfall get [STORE] --user U --name NAME [OPTIONS]"
    )]
    Get(GetArgs),
    /// Show what is known of a record: name, metadata, digest and the rest.
    #[command(
        override_usage = "keyfall info [STORE] ID\n       keyfall info [STORE] --user U --name NAME"
    )]
    Info(InfoArgs),
    /// Unfinished uploads: payloads that come in parts, until they are whole.
    #[command(subcommand)]
    Upload(UploadCommand),
    /// Show everything kept about a user: records and where they come from, holds, what was done
    /// and why, what was erased, copies.
    #[command(
        after_help = record::REPORT_EXAMPLES,
        override_usage = "keyfall report [STORE] --user U [--html | --json] [-o FILE [--force]]"
    )]
    Report(ReportArgs),
    /// Write everything kept about a user into an empty directory: the records as they were put,
    /// and the report.
    #[command(
        after_help = record::EXPORT_EXAMPLES,
        override_usage = "keyfall export [STORE] --user U DIR\n       \
            keyfall export [STORE] --user U --to FILE.pub SEALED [--force]"
    )]
    Export(ExportArgs),
    /// List the records of one user, or of all users.
    #[command(
        after_help = record::LIST_EXAMPLES,
        override_usage = "keyfall list [STORE] [OPTIONS]"
    )]
    List(ListArgs),
    /// Keep the store open, do what falls due, and print the id of each record that is put or
    /// falls, a line each (with --json a JSON object).
    ///
    /// One process at a time has a store open to write: this shows what falls due while no service
    /// runs. A service watches its own store: `Engine::watch`.
    #[command(override_usage = "keyfall watch [STORE] [--for TIME] [--beat TIME]")]
    Watch(WatchArgs),
    /// Wait beside a store that machines share until its writer is gone, and take its place.
    #[command(
        after_help = store::STANDBY_EXAMPLES,
        override_usage = "keyfall standby [STORE] [--every TIME] [--gone-after TIME] \
            [--probe COMMAND] [-- COMMAND...]"
    )]
    Standby(StandbyArgs),
    /// Erase, in every copy: a user, one of their classes, an interaction, a time range, or one
    /// record.
    #[command(after_help = erase::ERASE_EXAMPLES, override_usage = erase::ERASE_USAGE)]
    Erase(EraseArgs),
    /// Erasure certificates: show, verify, upgrade, collect those of planned erases.
    #[command(subcommand, alias = "certificates")]
    Certificate(CertificateCommand),
    /// The public log of erases: its key, checkpoints, proofs, and its files for any web server.
    #[command(subcommand)]
    Log(LogCommand),
    /// Keyholders: small servers that hold shares of the root key, in place of a file.
    #[command(subcommand)]
    Keyholder(KeyholderCommand),
    /// Realms: several stores that have their users among them.
    #[command(subcommand)]
    Realm(RealmCommand),
    /// Do what is due: planned erases, records that passed a limit, pending erases. Every other
    /// command that writes does it first.
    #[command(override_usage = "keyfall tend [OPTIONS] [STORE]")]
    Tend(TendArgs),
    /// Planned erases: list and cancel what `erase --in` planned.
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Retention: how long records of a class are kept, of everybody or of one user.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Legal holds: what one covers is not erased until it is lifted.
    #[command(subcommand)]
    Hold(HoldCommand),
    /// Copies: replicas in step or behind.
    #[command(subcommand)]
    Copy(CopyCommand),
    /// Back up into a directory or to a URL of its own, copying only what it lacks. A backup holds
    /// no key.
    #[command(
        after_help = store::BACKUP_EXAMPLES,
        override_usage = "keyfall backup [STORE] DEST [--metrics-file FILE]"
    )]
    Backup(BackupArgs),
    /// Find out what a restore from copies would bring back, without building anything: reads and
    /// opens all of it.
    #[command(
        after_help = store::CHECK_EXAMPLES,
        override_usage = "keyfall check STORE COPY..."
    )]
    Check(CheckArgs),
    /// Build a store from copies and the cell. It can be read, and written to once it
    /// has taken over.
    #[command(
        after_help = store::RESTORE_EXAMPLES,
        override_usage = "keyfall restore --into STORE [--adopt] --cell PATH COPY..."
    )]
    Restore(RestoreArgs),
    /// Try a restore: build a store from copies, open what lives in it, say how long it took, and
    /// remove it.
    #[command(
        after_help = store::DRILL_EXAMPLES,
        override_usage = "keyfall drill --cell PATH [OPTIONS] [--from BACKUP] [--copy COPY] [COPY...]"
    )]
    Drill(DrillArgs),
    /// Try every key that the cell leads to on every blob of the store, of its copies and of
    /// further places.
    #[command(
        after_help = store::AUDIT_EXAMPLES,
        override_usage = "keyfall audit [STORE [COPY...]] [--metrics-file FILE]"
    )]
    Audit(AuditArgs),
    /// Give back the space of what nothing reaches any more. Erasure never waits for it.
    #[command(
        after_help = store::DISCARD_EXAMPLES,
        override_usage = "keyfall discard [STORE] [--certificate CERT]..."
    )]
    Discard(DiscardArgs),
    /// Show the store's state, what the cell promises, and how the copies stand.
    #[command(override_usage = "keyfall status [STORE]")]
    Status(StatusArgs),
    /// See it work: some users, a replica, a backup, an erase, a thief, a restore.
    Demo(DemoArgs),
    /// Measure how long an erase takes on your own disk, next to the floor of that disk: the
    /// latency that users will see. With --parts also puts, space and discard.
    #[command(after_help = bench::EXAMPLES)]
    Bench(BenchArgs),
    /// Write the completions of a shell to standard output.
    Completions(CompletionsArgs),
    /// Write the man page of keyfall to standard output, or a page for each command into DIR.
    Man(ManArgs),
}

impl Command {
    /// What to do if nobody knows whether a write of it took effect.
    pub(crate) fn if_unknown(&self) -> &'static str {
        match self {
            Command::Put(args) if args.is_named() => {
                "; the record may be stored: put it again, under its name it is stored once"
            }
            Command::Put(_) => {
                "; the record may be stored: look with `keyfall list STORE --user U --newest` \
                 before you put it again"
            }
            Command::Erase(_) | Command::Discard(_) | Command::Copy(_) | Command::Backup(_) => {
                "; it may be done all the same: do it again, which does no harm"
            }
            _ => "; it may be done all the same: look before you do it again",
        }
    }

    /// Whether it changes something: then its answer matters, even if it cannot be written.
    pub(crate) fn acts(&self) -> bool {
        match self {
            Command::Get(args) => args.output.is_some(),
            Command::Report(args) => args.output.is_some(),
            Command::Erase(args) => !args.dry_run,
            Command::Log(command) => {
                matches!(command, LogCommand::Export { .. } | LogCommand::Cosign { .. })
            }
            Command::Certificate(command) => {
                use CertificateCommand::{Show, Verify};
                !matches!(command, Show { .. } | Verify { .. })
            }
            Command::Keyholder(command) => {
                use KeyholderCommand::{Serve, Status};
                !matches!(command, Status { .. } | Serve { .. })
            }
            Command::Realm(command) => matches!(command, RealmCommand::Init { .. }),
            Command::Plan(command) => !matches!(command, PlanCommand::List { .. }),
            Command::Policy(command) => !matches!(command, PolicyCommand::List { .. }),
            Command::Hold(command) => !matches!(command, HoldCommand::List { .. }),
            Command::Grant(command) => !matches!(command, GrantCommand::List { .. }),
            Command::Training(command) => !matches!(command, TrainingCommand::List { .. }),
            Command::Copy(command) => !matches!(command, CopyCommand::Status { .. }),
            Command::Upload(command) => !matches!(command, UploadCommand::List { .. }),
            Command::List(_)
            | Command::Info(_)
            | Command::Check(_)
            | Command::Watch(_)
            | Command::Lineage(_)
            | Command::History(_)
            | Command::Status(_)
            | Command::Audit(_)
            | Command::Demo(_)
            | Command::Bench(_)
            | Command::Completions(_)
            | Command::Man(_) => false,
            _ => true,
        }
    }
}
