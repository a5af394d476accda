//! Arguments of commands that are about records.

use std::path::PathBuf;

use clap::Args;
use keyfall::{Class, InteractionId, Put, RecordId, Timestamp, UserId};

use super::values::{key_value, time};

pub(super) const IMPORT_EXAMPLES: &str = "\
Each record has the clip's path as its name, en/clips/one.mp3, and .txt at its end for the
transcript: what is there already under its name, and is the same, is not put again.

Examples:
  keyfall import assistant.db cv-corpus/en
  keyfall import assistant.db cv-corpus --actions actions.jsonl --strict
  keyfall import assistant.db cv-corpus --skip-missing --json

A cell of the table holds no TAB, CR or LF: a row that one of them breaks is named with its line,
and nothing is imported. The same goes for an action marked for another user than its clip's.";

pub(super) const PUT_EXAMPLES: &str = "\
Examples:
  keyfall put assistant.db --user ada --class audio --type audio/wav wake.wav
  keyfall put assistant.db --user ada --class transcript --from ID said.txt
  echo 'wake me at six' | keyfall put assistant.db --user ada --class transcript -

The record is durable when its id is printed. A user that is new is created; one that was erased
must be created again first, with `keyfall create`.";

pub(super) const GET_EXAMPLES: &str = "\
Examples:
  keyfall get assistant.db ID -o clip.wav
  keyfall get assistant.db ID --as analyst --purpose \"to count words\" -o clip.wav";

pub(super) const LIST_EXAMPLES: &str = "\
Examples:
  keyfall list assistant.db --user ada
  keyfall list assistant.db --user ada --class audio --after 2026-01-01 --before 2026-02-01
  keyfall list assistant.db --user ada --newest --limit 10";

pub(super) const REPORT_EXAMPLES: &str = "\
Examples:
  keyfall report assistant.db --user ada
  keyfall report assistant.db --user ada --html -o ada.html";

pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  keyfall export assistant.db --user ada ada.out
  keyfall export assistant.db --user ada --to ada.key.pub ada.sealed";

pub(super) const DETACH_EXAMPLES: &str = "\
Examples:
  keyfall detach assistant.db ID --reason \"the alarm goes on ringing\"";

#[derive(Args)]
pub(crate) struct UserArgs {
    /// The store; may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE", num_args = 0..=1)]
    pub(crate) places: Vec<PathBuf>,
    /// The user, by the name that your application uses.
    #[arg(long)]
    pub(crate) user: UserId,
}

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// CORPUS is the folder to import; STORE may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE CORPUS", num_args = 1..=2, required = true)]
    pub(crate) places: Vec<PathBuf>,
    /// JSON lines with client_id, clip, kind, party and text.
    #[arg(long, value_name = "FILE")]
    pub(crate) actions: Option<PathBuf>,
    /// Pass over rows whose clip does not exist.
    #[arg(long)]
    pub(crate) skip_missing: bool,
    /// Import nothing if the store refuses a row: its user was erased, or a policy forbids keeping
    /// it.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print each record's id, user, class and clip as soon as it is durable.
    #[arg(long)]
    pub(crate) ids: bool,
}

#[derive(Args)]
pub(crate) struct RecordArgs {
    /// The user, by the name that your application uses.
    #[arg(long)]
    pub(crate) user: UserId,
    /// audio, transcript, action, or a class of your own.
    #[arg(long)]
    pub(crate) class: Class,
    /// The interaction it belongs to [default: a new one that begins now].
    #[arg(long)]
    pub(crate) interaction: Option<InteractionId>,
    /// Media type of the content, as in `audio/wav`.
    #[arg(long = "type", value_name = "MIME", default_value = "application/octet-stream")]
    pub(crate) media_type: String,
    /// Why it is kept; the user's report shows it.
    #[arg(long, hide_default_value = true, default_value = "")]
    pub(crate) purpose: String,
    /// A record that it was derived from, of any user; may be given many times. It falls with any
    /// of them, and is not put into their interaction: --interaction does that.
    #[arg(long, value_name = "ID")]
    pub(crate) from: Vec<RecordId>,
}

impl RecordArgs {
    pub(crate) fn into_put(self) -> Put {
        let mut put = Put::new(self.user, self.class);
        put = put.media_type(self.media_type).purpose(self.purpose);
        if let Some(id) = self.interaction {
            put = put.interaction(id);
        }
        self.from.into_iter().fold(put, |put, id| put.derived_from(id))
    }
}

#[derive(Args)]
pub(crate) struct PutArgs {
    /// FILE is what is put, - for standard input; STORE may be left out if KEYFALL_STORE names
    /// it.
    #[arg(value_name = "STORE FILE", num_args = 1..=2, required = true)]
    pub(crate) places: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) record: RecordArgs,
    /// A name of your application's, unique among the user's records. What is there under it is
    /// the same put if all of it is the same; otherwise it is erased.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Put it only if no other record has the name.
    #[arg(long, requires = "name")]
    pub(crate) if_absent: bool,
    /// Put it only in the place of this record.
    #[arg(long, value_name = "ID", requires = "name", conflicts_with = "if_absent")]
    pub(crate) if_is: Option<RecordId>,
    /// Something to keep with it; may be given many times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) meta: Vec<(String, String)>,
}

impl PutArgs {
    /// Whether the same put, made twice, is stored once.
    pub(crate) fn is_named(&self) -> bool {
        self.name.is_some() && self.if_is.is_none()
    }

    pub(crate) fn into_put(self) -> Put {
        let mut put = self.record.into_put();
        if let Some(name) = self.name {
            put = put.name(name);
        }
        if self.if_absent {
            put = put.if_absent();
        }
        if let Some(id) = self.if_is {
            put = put.if_is(id);
        }
        self.meta.into_iter().fold(put, |put, (key, value)| put.meta(key, value))
    }
}

/// Which record: by its id, or by its user's name for it.
#[derive(Args)]
pub(crate) struct WhichArgs {
    /// ID is what `put` and `list` print; STORE may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE ID", num_args = 0..=2, required_unless_present = "name")]
    pub(crate) places: Vec<PathBuf>,
    /// In place of the ID: whose.
    #[arg(long, requires = "name")]
    pub(crate) user: Option<UserId>,
    /// In place of the ID: the name that `put --name` gave it.
    #[arg(long, requires = "user")]
    pub(crate) name: Option<String>,
}

#[derive(Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,
}

#[derive(Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,
    /// Record who opens it, for the user's report.
    #[arg(long = "as", value_name = "WHO", requires = "purpose")]
    pub(crate) principal: Option<String>,
    /// What it is opened for.
    #[arg(long, value_name = "WHY", requires = "principal")]
    pub(crate) purpose: Option<String>,
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace a certificate at FILE.
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// The store; may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE", num_args = 0..=1)]
    pub(crate) places: Vec<PathBuf>,
    /// The user, by the name that your application uses.
    #[arg(long)]
    pub(crate) user: Option<UserId>,
    /// audio, transcript, action, or a class of your own.
    #[arg(long)]
    pub(crate) class: Option<Class>,
    /// A UUID of version 7, as `put` and `list` print it with --json.
    #[arg(long)]
    pub(crate) interaction: Option<InteractionId>,
    /// Only interactions that began then or later; a date is a day in UTC, and begins at 00:00Z.
    #[arg(long, value_name = "T", value_parser = time)]
    pub(crate) after: Option<Timestamp>,
    /// Only interactions that began before; before a date is before that day began in UTC.
    #[arg(long, value_name = "T", value_parser = time)]
    pub(crate) before: Option<Timestamp>,
    /// Only records with a name that begins so, in the order of their names; '' lists all that
    /// have one.
    #[arg(long, value_name = "TEXT", requires = "user")]
    pub(crate) prefix: Option<String>,
    /// Newest interaction first, of each user in turn: records are listed user by user.
    #[arg(long, conflicts_with = "prefix")]
    pub(crate) newest: bool,
    /// Maximum number of records [default: all]; for the newest of one user, name it with --user.
    #[arg(long)]
    pub(crate) limit: Option<u64>,
}

#[derive(Args)]
pub(crate) struct LineageArgs {
    /// ID is what `put` and `list` print; STORE may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE ID", num_args = 1..=2, required = true)]
    pub(crate) places: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct DetachArgs {
    /// ID is what `put` and `list` print; STORE may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE ID", num_args = 1..=2, required = true)]
    pub(crate) places: Vec<PathBuf>,
    /// Why it stays; the user's history shows it.
    #[arg(long)]
    pub(crate) reason: String,
}

#[derive(Args)]
pub(crate) struct ReportArgs {
    /// The store; may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE", num_args = 0..=1)]
    pub(crate) places: Vec<PathBuf>,
    /// The user, by the name that your application uses.
    #[arg(long)]
    pub(crate) user: UserId,
    /// A page to read, complete in itself.
    #[arg(long, conflicts_with = "json")]
    pub(crate) html: bool,
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace a certificate at FILE.
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// DIR is an empty directory, or with --to the file SEALED; STORE may be left out if
    /// KEYFALL_STORE names it.
    #[arg(value_name = "STORE DIR", num_args = 1..=2, required = true)]
    pub(crate) places: Vec<PathBuf>,
    /// The user, by the name that your application uses.
    #[arg(long)]
    pub(crate) user: UserId,
    /// Seal it to this public key, into one file that `keyfall unseal` opens.
    #[arg(long, value_name = "FILE.pub")]
    pub(crate) to: Option<PathBuf>,
    /// Replace a certificate at SEALED.
    #[arg(long, requires = "to")]
    pub(crate) force: bool,
}
