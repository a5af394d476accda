//! What can be typed.

mod bench;
mod groups;
mod keyholder;
mod places;
mod proof;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use bench::BenchArgs;
use clap::{Parser, Subcommand};
pub(crate) use groups::{CopyCommand, GrantCommand, HoldCommand, PlanCommand, PolicyCommand, TrainingCommand};
use keyfall::quorum::{MARGIN, Member};
use keyfall::sealed::Ticket;
use keyfall::{Class, InteractionId, RecordId, Timestamp, UserId};
pub(crate) use keyholder::KeyholderCommand;
pub(crate) use places::{store_and, store_and_some, store_from_env};
pub(crate) use proof::{CertificateCommand, LogCommand, TrustArgs};

const EXAMPLES: &str = "\
Examples:
  keyfall init assistant.db
  keyfall put assistant.db --user ada --class audio --type audio/wav wake.wav
  keyfall list assistant.db --user ada
  keyfall erase assistant.db --user ada --class audio --yes
  keyfall demo

STORE may be left out where KEYFALL_STORE names it. The root cell of STORE is STORE.cell, beside it, unless --cell or
KEYFALL_CELL names another place, or STORE.cell is a file with that place in it, as `init --cell` writes it. Losing the cell loses all data.

A file named by -o is written whole or not at all; a certificate or a secret key that is there is replaced with --force only,
and what lies in a store, a root cell or a keyholder's directory never. -o - is standard output.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 erased, 4 absent, 5 corrupt, 6 refused, 7 held, 8 in use: another process has the
store or the cell open, and no command waits for it: try again, 11 another engine owns the store, 12 done (do not repeat it), but an
output of it could not be written.";

const ERASE_EXAMPLES: &str = "\
Examples:
  keyfall erase assistant.db --user ada
  keyfall erase assistant.db --user ada --dry-run
  keyfall erase assistant.db --user ada --class audio --before 2026-01-01 --yes
  keyfall erase assistant.db --user ada --interaction I --keep action --reason \"the alarm goes on ringing\"
  keyfall erase assistant.db --record ID
  keyfall erase assistant.db --user ada --in 30d
  keyfall erase assistant.db --user ada -o ada.erased --authority \"ada herself\" --ground \"GDPR, article 17\"

What was derived from what falls, falls with it, in any user's tree; --keep leaves a class, detached from what falls. An interaction goes whole, by the time at which it began. The command returns when the old root key is destroyed.

A date is a day in UTC: --after 2026-01-01 --before 2026-02-01 is January, in UTC. A time of day wants its zone: 2026-01-31T08:00:00Z, 2026-01-31T08:00:00+01:00 or 2026-01-31T08:00:00[Europe/Berlin].

Room for the certificate is taken before anything is erased. Where it cannot be put in its place afterwards, the command says where it is and ends with 12: the erase is done.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  keyfall import assistant.db cv-corpus/en
  keyfall import assistant.db cv-corpus --actions actions.jsonl --strict
  keyfall import assistant.db cv-corpus --skip-missing --json

A cell of the table holds no TAB, CR or LF: a row that is broken by one is named with its line, and nothing is imported. So is an action
that is marked for another user than its clip's.";

/// A storage engine for cryptographic erasure.
#[derive(Parser)]
#[command(name = "keyfall", version, about, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    /// Print JSON, also errors.
    #[arg(long, global = true)]
    pub json: bool,
    /// The root cell's directory [default: STORE.cell].
    #[arg(long, global = true, value_name = "PATH", env = "KEYFALL_CELL")]
    pub cell: Option<PathBuf>,
    /// Make this place of the store the owner of the root cell, whichever was that before; with a command that writes, as `tend` does. Any
    /// other place of the same store can only be looked at until it takes over in turn, and not at all after the next erase; what it has that
    /// this one lacks is lost. What is due is left for the next command.
    #[arg(long, global = true)]
    pub take_over: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a store and its root cell.
    #[command(
        override_usage = "keyfall init [STORE] [--cell PATH] [--accept-remnants | --keyholder KEY@HOST:PORT... --threshold T [--margin M]] [--log-origin NAME]"
    )]
    Init {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Let the cell lie on a file system that may keep destroyed keys; every promise says so from then on.
        #[arg(long)]
        accept_remnants: bool,
        /// Spread the root key over keyholders; give each of them, 5 with a threshold of 3 for a start.
        #[arg(long, value_name = "KEY@HOST:PORT", value_parser = keyholder::member, requires = "threshold")]
        keyholder: Vec<Member>,
        /// How many of them give the root key back.
        #[arg(long, value_name = "T", requires = "keyholder")]
        threshold: Option<u8>,
        /// How many of them are allowed for to lie.
        #[arg(long, value_name = "F", default_value_t = 1, requires = "keyholder")]
        liars: u8,
        /// How many more than the threshold must hold the next root key before the old one is destroyed: so many may be lost at once and
        /// nothing else is. With 0, an erase is final with fewer keyholders, and one more that breaks down may cost everything.
        #[arg(long, value_name = "M", default_value_t = MARGIN, requires = "keyholder")]
        margin: u8,
        /// Name of its log of erases: a URL without the scheme, where you will publish it [default: made from the store's id].
        #[arg(long, value_name = "NAME")]
        log_origin: Option<String>,
    },
    /// Create a user; the only way to create one anew that was erased.
    #[command(override_usage = "keyfall create [STORE] --user U")]
    Create {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name your application gives.
        #[arg(long)]
        user: UserId,
    },
    /// Import recordings and transcripts in the layout of Mozilla Common Voice, and what an assistant did for them.
    ///
    /// CORPUS is a locale's folder (with validated.tsv and clips/), or the folder above several. Each row becomes an
    /// interaction of the row's client_id. All of it is checked before anything goes in; rows of users that were erased are
    /// passed over and counted. Importing twice puts everything in twice.
    #[command(
        after_help = IMPORT_EXAMPLES,
        override_usage = "keyfall import [STORE] CORPUS [--actions FILE] [--ids] [--skip-missing] [--strict]"
    )]
    Import {
        #[arg(value_name = "STORE CORPUS", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// JSON lines with client_id, clip, kind, party and text.
        #[arg(long, value_name = "FILE")]
        actions: Option<PathBuf>,
        /// Print each record's id, user, class and clip as soon as it is durable.
        #[arg(long)]
        ids: bool,
        /// Pass over rows whose clip is not there.
        #[arg(long)]
        skip_missing: bool,
        /// Import nothing where the store refuses a row: its user was erased, or a policy lets nothing of it be kept.
        #[arg(long)]
        strict: bool,
    },
    /// Put a record and print its id.
    #[command(override_usage = "keyfall put [STORE] --user U --class C [--from ID]... [OPTIONS] FILE|-")]
    Put {
        #[arg(value_name = "STORE FILE", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// Whose: the name your application gives.
        #[arg(long)]
        user: UserId,
        /// audio, transcript, action, or a class of your own.
        #[arg(long)]
        class: Class,
        /// The interaction it belongs to [default: a new one that begins now].
        #[arg(long)]
        interaction: Option<InteractionId>,
        /// Media type.
        #[arg(long = "type", value_name = "MIME", default_value = "application/octet-stream")]
        media_type: String,
        /// Why it is kept.
        #[arg(long, default_value = "")]
        purpose: String,
        /// A record that it was derived from, of any user; may be given many times. It falls with any of them.
        #[arg(long, value_name = "ID")]
        from: Vec<RecordId>,
    },
    /// Print the public key of a user's inbox, for producers to seal records to.
    #[command(override_usage = "keyfall inbox [STORE] --user U")]
    Inbox {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name your application gives.
        #[arg(long)]
        user: UserId,
    },
    /// Seal a record to a user's inbox, without a store: the envelope dies with the inbox key.
    #[command(override_usage = "keyfall seal --to KEY --user U --class C [OPTIONS] FILE|- -o ENVELOPE")]
    Seal {
        /// What is sealed.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A file with what `keyfall inbox` printed.
        #[arg(long, value_name = "KEY")]
        to: PathBuf,
        /// Whose inbox it is.
        #[arg(long)]
        user: UserId,
        /// audio, transcript, action, or a class of your own.
        #[arg(long)]
        class: Class,
        /// The interaction it belongs to [default: a new one that begins now].
        #[arg(long)]
        interaction: Option<InteractionId>,
        /// Media type.
        #[arg(long = "type", value_name = "MIME", default_value = "application/octet-stream")]
        media_type: String,
        /// Why it is kept.
        #[arg(long, default_value = "")]
        purpose: String,
        /// A record that it was derived from; may be given many times.
        #[arg(long, value_name = "ID")]
        from: Vec<RecordId>,
        /// The envelope.
        #[arg(short, long, value_name = "ENVELOPE")]
        output: PathBuf,
        /// Replace a certificate or a secret key that lies there.
        #[arg(long)]
        force: bool,
    },
    /// Take envelopes in, as records, and print their ids. A second copy of one gives the same id.
    #[command(override_usage = "keyfall accept [STORE] ENVELOPE...")]
    Accept {
        #[arg(value_name = "STORE ENVELOPE", num_args = 1.., required = true)]
        places: Vec<PathBuf>,
    },
    /// Make a key pair for somebody outside: FILE to keep secret, FILE.pub to give away.
    #[command(override_usage = "keyfall key FILE")]
    Key {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Ask for what a ticket lets be opened, without a store: a signed request, and the secret that opens the answer.
    #[command(override_usage = "keyfall ask --key FILE --ticket TICKET -o REQUEST --secret SECRET")]
    Ask {
        /// The grantee's private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// What `grant add` or `training make` printed.
        #[arg(long)]
        ticket: Ticket,
        /// The request, to be sent to who has the store.
        #[arg(short, long, value_name = "REQUEST")]
        output: PathBuf,
        /// Replace a certificate or a secret key that lies at REQUEST.
        #[arg(long)]
        force: bool,
        /// The secret of this one request; `unseal` removes it.
        #[arg(long, value_name = "SECRET")]
        secret: PathBuf,
    },
    /// Open what `grant open`, `training open` or `export --to` sealed, into an empty directory.
    #[command(override_usage = "keyfall unseal --key FILE SEALED DIR")]
    Unseal {
        #[arg(value_name = "SEALED")]
        sealed: PathBuf,
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The private key, or the secret of a request; the latter is removed when it has opened.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Grants: third parties open records through the engine.
    #[command(subcommand)]
    Grant(GrantCommand),
    /// Training sets: named sets of records of many users, under their grants to one grantee.
    #[command(subcommand)]
    Training(TrainingCommand),
    /// Show what a record was derived from, and what from it.
    #[command(override_usage = "keyfall lineage [STORE] ID")]
    Lineage {
        #[arg(value_name = "STORE ID", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
    },
    /// Make a derived record stand on its own, so that it stays when its sources are erased.
    #[command(override_usage = "keyfall detach [STORE] ID --reason R")]
    Detach {
        #[arg(value_name = "STORE ID", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// Why it stays; it stands in the user's history.
        #[arg(long)]
        reason: String,
    },
    /// Show what was done to a user's records beyond putting and erasing, when and why.
    #[command(override_usage = "keyfall history [STORE] --user U")]
    History {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name your application gives.
        #[arg(long)]
        user: UserId,
    },
    /// Write a record to standard output or to a file.
    #[command(override_usage = "keyfall get [STORE] ID [--as WHO --purpose WHY] [-o FILE [--force]]")]
    Get {
        #[arg(value_name = "STORE ID", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// Write down who opens it, for the user's report.
        #[arg(long = "as", value_name = "WHO", requires = "purpose")]
        principal: Option<String>,
        /// What for.
        #[arg(long, value_name = "WHY", requires = "principal")]
        purpose: Option<String>,
        /// Write to this file instead of standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace a certificate or a secret key that lies there.
        #[arg(long, requires = "output")]
        force: bool,
    },
    /// Show everything kept about a user: records and where they come from, holds, what was done and why, what was erased, copies.
    #[command(override_usage = "keyfall report [STORE] --user U [--html | --json] [-o FILE [--force]]")]
    Report {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name your application gives.
        #[arg(long)]
        user: UserId,
        /// A page to read, complete in itself.
        #[arg(long, conflicts_with = "json")]
        html: bool,
        /// Write to this file instead of standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace a certificate or a secret key that lies there.
        #[arg(long, requires = "output")]
        force: bool,
    },
    /// Write everything kept about a user into an empty directory: the records as they were put, and the report.
    #[command(
        override_usage = "keyfall export [STORE] --user U DIR\n       keyfall export [STORE] --user U --to FILE.pub SEALED [--force]"
    )]
    Export {
        #[arg(value_name = "STORE DIR", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// Seal it to this public key, into one file that `keyfall unseal` opens.
        #[arg(long, value_name = "FILE.pub")]
        to: Option<PathBuf>,
        /// Whose: the name your application gives.
        #[arg(long)]
        user: UserId,
        /// Replace a certificate or a secret key that lies at SEALED.
        #[arg(long, requires = "to")]
        force: bool,
    },
    /// List records.
    #[command(override_usage = "keyfall list [STORE] [OPTIONS]")]
    List {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name your application gives.
        #[arg(long)]
        user: Option<UserId>,
        /// audio, transcript, action, or a class of your own.
        #[arg(long)]
        class: Option<Class>,
        /// A UUID of version 7, as `put` and `list` show it.
        #[arg(long)]
        interaction: Option<InteractionId>,
        /// Only interactions that began then or later; a date is a day in UTC, and begins at 00:00Z.
        #[arg(long, value_name = "T", value_parser = time)]
        after: Option<Timestamp>,
        /// Only interactions that began before; before a date is before that day began in UTC.
        #[arg(long, value_name = "T", value_parser = time)]
        before: Option<Timestamp>,
        /// Newest interaction first, of each user in turn: records are listed user by user.
        #[arg(long)]
        newest: bool,
        /// At most so many [default: all]; for the newest of one user, name it with --user.
        #[arg(long)]
        limit: Option<u64>,
    },
    /// Erase, in every copy: a user, a class of it, an interaction, a time range, or one record.
    #[command(
        after_help = ERASE_EXAMPLES,
        override_usage = "keyfall erase [STORE] --user U [--class C] [--interaction I | --after T --before T] [--keep C --reason R] [--in TIME | --final-within TIME] [-o CERT [--force]] [--yes | --dry-run]\n       keyfall erase [STORE] --record ID [--in TIME | --final-within TIME] [-o CERT [--force]] [--yes | --dry-run]"
    )]
    Erase {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name your application gives.
        #[arg(long, required_unless_present = "record")]
        user: Option<UserId>,
        /// audio, transcript, action, or a class of your own.
        #[arg(long, requires = "user")]
        class: Option<Class>,
        /// A UUID of version 7, as `put` and `list` show it.
        #[arg(long, requires = "user", conflicts_with_all = ["after", "before"])]
        interaction: Option<InteractionId>,
        /// Only interactions that began then or later: 2026-01-31, a day in UTC, or 2026-01-31T08:00:00Z.
        #[arg(long, value_name = "T", value_parser = time, requires = "user")]
        after: Option<Timestamp>,
        /// Only interactions that began before; before a date is before that day began in UTC.
        #[arg(long, value_name = "T", value_parser = time, requires = "user")]
        before: Option<Timestamp>,
        /// A record, by the id that `put` printed.
        #[arg(long, value_name = "ID", conflicts_with_all = ["user", "class", "interaction", "after", "before"])]
        record: Option<RecordId>,
        /// Leave the records of this class, detached from what falls; may be given many times. What arrives late is refused, of this class too.
        #[arg(long, value_name = "CLASS", requires = "user", requires = "reason", conflicts_with_all = ["class", "record"])]
        keep: Vec<Class>,
        /// Why they stay; it stands in the user's history.
        #[arg(long, requires = "keep")]
        reason: Option<String>,
        /// Do it in this time from now, unless it is cancelled: 30d, 12h, 2w.
        #[arg(long = "in", value_name = "TIME", value_parser = span, conflicts_with = "final_within")]
        delay: Option<Duration>,
        /// Let the old root key live so long at most, so that many erases share one. Until then the erase is pending.
        #[arg(long, value_name = "TIME", value_parser = span)]
        final_within: Option<Duration>,
        /// Write a certificate of it to this file. The store keeps none of a user that is erased whole: keep it.
        #[arg(short, long, value_name = "CERT", conflicts_with = "delay", alias = "certificate")]
        output: Option<PathBuf>,
        /// Replace a certificate or a secret key that lies there.
        #[arg(long, requires = "output")]
        force: bool,
        /// Who asked for it; it stands in the certificate.
        #[arg(long, value_name = "WHO", requires = "output", default_value = "")]
        authority: String,
        /// On what legal ground; it stands in the certificate.
        #[arg(long, value_name = "WHY", requires = "output", default_value = "")]
        ground: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
        /// Say what would fall, and erase nothing.
        #[arg(long, conflicts_with_all = ["yes", "delay", "output"])]
        dry_run: bool,
    },
    /// Erasure certificates: show, verify, upgrade.
    #[command(subcommand)]
    Certificate(CertificateCommand),
    /// The public log of erases: its key, checkpoints, proofs, and its files for any web server.
    #[command(subcommand)]
    Log(LogCommand),
    /// Keyholders: small servers that hold shares of the root key, in place of a file.
    #[command(subcommand)]
    Keyholder(KeyholderCommand),
    /// Do what is due: planned erases, records that passed a limit, pending erases. Every other command does it first.
    #[command(override_usage = "keyfall tend [OPTIONS] [STORE]")]
    Tend {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The clock is right, however long ago the store was written last: do what is due by it.
        #[arg(long)]
        clock_is_right: bool,
    },
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
    /// Bring a directory of its own to the store's state, copying only what it lacks. There is no key in it.
    #[command(override_usage = "keyfall backup [STORE] DEST")]
    Backup {
        #[arg(value_name = "STORE DEST", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
    },
    /// Find out what a restore from copies would bring back, without building anything: reads and opens all of it.
    #[command(override_usage = "keyfall check STORE COPY...")]
    Check {
        #[arg(value_name = "STORE COPY", required = true, num_args = 2..)]
        places: Vec<PathBuf>,
    },
    /// Build a store from copies and the cell. It can be looked at; it is written to once it was taken over.
    #[command(override_usage = "keyfall restore --cell PATH --into STORE [--adopt] COPY...")]
    Restore {
        /// Take the place of the store that the copies are of: that one can only be looked at until it takes over in turn, and not at
        /// all after the next erase. What is due is left for the next command.
        #[arg(long)]
        adopt: bool,
        /// The store to build: an empty directory, or none yet, or one in which a restore was cut short.
        #[arg(long, value_name = "STORE")]
        into: PathBuf,
        #[arg(value_name = "COPY", required = true)]
        copies: Vec<PathBuf>,
    },
    /// Try every key that the cell leads to on every blob of the store, of its copies and of further places.
    #[command(override_usage = "keyfall audit [STORE [COPY...]]")]
    Audit {
        #[arg(value_name = "STORE COPY")]
        places: Vec<PathBuf>,
    },
    /// Give back the space of what nothing reaches any more. Erasure never waits for it.
    #[command(override_usage = "keyfall discard [STORE] [--certificate CERT]...")]
    Discard {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Have this certificate say so; may be given many times.
        #[arg(long, value_name = "CERT")]
        certificate: Vec<PathBuf>,
    },
    /// Show the store's state, what the cell promises, and how the copies stand.
    #[command(override_usage = "keyfall status [STORE]")]
    Status {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
    /// See it work: some users, a replica, a backup, an erase, a thief, a restore.
    Demo {
        /// Leave everything in this empty directory, to look at.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
    /// Measure how long an erase takes on your own disk, beside the floor of that disk: the latency that users will see.
    #[command(after_help = bench::EXAMPLES)]
    Bench(BenchArgs),
}

impl Command {
    /// Whether it changes something: then its answer matters, also where it cannot be written.
    pub(crate) fn acts(&self) -> bool {
        match self {
            Command::Get { output, .. } | Command::Report { output, .. } => output.is_some(),
            Command::Erase { dry_run, .. } => !dry_run,
            Command::List { .. }
            | Command::Lineage { .. }
            | Command::History { .. }
            | Command::Status { .. }
            | Command::Audit { .. }
            | Command::Demo { .. }
            | Command::Bench(_)
            | Command::Certificate(CertificateCommand::Show { .. } | CertificateCommand::Verify { .. })
            | Command::Keyholder(KeyholderCommand::Status { .. } | KeyholderCommand::Serve { .. })
            | Command::Plan(PlanCommand::List { .. })
            | Command::Policy(PolicyCommand::List { .. })
            | Command::Hold(HoldCommand::List { .. })
            | Command::Grant(GrantCommand::List { .. })
            | Command::Training(TrainingCommand::List { .. })
            | Command::Copy(CopyCommand::Status { .. }) => false,
            Command::Log(command) => matches!(command, LogCommand::Export { .. } | LogCommand::Cosign { .. }),
            _ => true,
        }
    }
}

/// A point in time: a date is the beginning of its day in UTC.
fn time(text: &str) -> Result<Timestamp, String> {
    keyfall::time::parse(text).map(|span| span.from).map_err(|e| e.to_string())
}

/// A length of time. What is read here decides what is erased and when: nothing that can be meant in two ways is taken.
fn span(text: &str) -> Result<Duration, String> {
    let unit = |wanted: &[&str]| {
        let mut units = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty());
        units.any(|unit| wanted.iter().any(|wanted| unit.eq_ignore_ascii_case(wanted)))
    };
    // In ISO 8601 an M stands for months before the T, and for minutes after it.
    let is_iso = text.trim_start_matches(['+', '-']).starts_with(['P', 'p']);
    if !is_iso && unit(&["m"]) {
        return Err(format!(
            "{text:?} is ambiguous: m may mean min (minutes) or mo (months); write 6min, or days for months: 180d"
        ));
    }
    let span = text.parse::<jiff::Span>().ok();
    if span.is_some_and(|span| span.get_months() != 0 || span.get_years() != 0) {
        return Err(format!("{text:?}: months and years differ in length; write days: 180d, 365d"));
    }
    let span = span.and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok());
    span.and_then(|span| Duration::try_from(span).ok())
        .ok_or_else(|| format!("{text:?} is no length of time; write 30d, 12h, 15min, 2w or 1d12h"))
}

fn hold_id(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| {
        format!(
            "{text:?} is no number of a hold, a plan or a grant; `hold list`, `plan list` and `grant list` print them"
        )
    })
}
