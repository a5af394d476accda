//! Arguments of `erase` and `tend`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use keyfall::{Class, InteractionId, RecordId, Timestamp, UserId};

use super::values::{span, time};

pub(super) const ERASE_USAGE: &str = "\
keyfall erase [STORE] --user U [--class C] [--interaction I | --after T --before T] \
[--keep C --reason R | --keep-derived R] [--in TIME | --final-within TIME] \
[-o CERT [--force]] [--authority WHO] [--ground WHY] [--yes | --dry-run]
       keyfall erase [STORE] --record ID [--keep-derived R] [--in TIME | --final-within TIME] \
[-o CERT [--force]] [--authority WHO] [--ground WHY] [--yes | --dry-run]";

pub(super) const ERASE_EXAMPLES: &str = "\
Examples:
  keyfall erase assistant.db --user ada
  keyfall erase assistant.db --user ada --dry-run
  keyfall erase assistant.db --user ada --class audio --before 2026-01-01 --yes
  keyfall erase assistant.db --user ada --interaction I --keep action --reason \"rings on\"
  keyfall erase assistant.db --user ada --class audio --keep-derived \"alarms go on ringing\"
  keyfall erase assistant.db --record ID
  keyfall erase assistant.db --user ada --in 30d --authority ada --ground \"GDPR, article 17\"
  keyfall erase assistant.db --user ada -o ada.erased --authority ada --ground \"GDPR, article 17\"

What was derived from an erased record is erased with it, whichever user it belongs to: an erase of
recordings takes their transcripts and alarms. --keep-derived leaves what is the same user's, --keep
leaves a class in place; both detach it from its sources. An interaction is erased whole, by the
time at which it began. The command returns when the old root key is destroyed.

A date is a day in UTC: --after 2026-01-01 --before 2026-02-01 is January, in UTC. A time of day
needs its zone: 2026-01-31T08:00:00Z, 2026-01-31T08:00:00+01:00 or
2026-01-31T08:00:00[Europe/Berlin].

Room for the certificate is taken before anything is erased. If the certificate cannot be put in its
place afterwards, the command says where it is and exits with 12: the erase is done.";

#[derive(Args)]
pub(crate) struct EraseArgs {
    /// The store; may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE", num_args = 0..=1)]
    pub(crate) places: Vec<PathBuf>,
    /// The user, by the name that your application uses.
    #[arg(long, required_unless_present = "record")]
    pub(crate) user: Option<UserId>,
    /// A record, by the id that `put` printed.
    #[arg(
        long,
        value_name = "ID",
        conflicts_with_all = ["user", "class", "interaction", "after", "before"]
    )]
    pub(crate) record: Option<RecordId>,
    /// audio, transcript, action, or a class of your own.
    #[arg(long, requires = "user")]
    pub(crate) class: Option<Class>,
    /// A UUID of version 7, as `put` and `list` print it with --json.
    #[arg(long, requires = "user", conflicts_with_all = ["after", "before"])]
    pub(crate) interaction: Option<InteractionId>,
    /// Only interactions that began then or later: 2026-01-31, a day in UTC, or
    /// 2026-01-31T08:00:00Z.
    #[arg(long, value_name = "T", value_parser = time, requires = "user")]
    pub(crate) after: Option<Timestamp>,
    /// Only interactions that began before; before a date is before that day began in UTC.
    #[arg(long, value_name = "T", value_parser = time, requires = "user")]
    pub(crate) before: Option<Timestamp>,
    /// Leave the records of this class, detached from what falls; may be given many times. What
    /// arrives late is refused, of this class too.
    #[arg(
        long,
        value_name = "CLASS",
        requires = "user",
        requires = "reason",
        conflicts_with_all = ["class", "record"]
    )]
    pub(crate) keep: Vec<Class>,
    /// Why they stay; the user's history shows it.
    #[arg(long, requires = "keep")]
    pub(crate) reason: Option<String>,
    /// Leave what was derived from the records of the class, or from the record, if it is the same
    /// user's, detached from what falls; why it stays is shown in the user's history.
    #[arg(long, value_name = "REASON", conflicts_with = "keep")]
    pub(crate) keep_derived: Option<String>,
    /// Do it after this much time, unless it is cancelled: 30d, 12h, 2w.
    #[arg(
        long = "in",
        value_name = "TIME",
        value_parser = span,
        conflicts_with = "final_within",
        group = "certified"
    )]
    pub(crate) delay: Option<Duration>,
    /// Keep the old root key for this long at most, so that many erases share one. Until then the
    /// erase is pending.
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) final_within: Option<Duration>,
    /// The person or office that asked for it; the certificate shows it. With --in this, or
    /// --ground, has a certificate made when the erase is done: `certificate collect` writes it.
    #[arg(
        long,
        value_name = "WHO",
        requires = "certified",
        hide_default_value = true,
        default_value = ""
    )]
    pub(crate) authority: String,
    /// On what legal ground; the certificate shows it.
    #[arg(
        long,
        value_name = "WHY",
        requires = "certified",
        hide_default_value = true,
        default_value = ""
    )]
    pub(crate) ground: String,
    /// Write a certificate of it to this file. The store keeps none of a user who is erased whole:
    /// keep it.
    #[arg(
        short,
        long,
        value_name = "CERT",
        conflicts_with = "delay",
        alias = "certificate",
        group = "certified"
    )]
    pub(crate) output: Option<PathBuf>,
    /// Replace a certificate at CERT.
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// Erase without asking for confirmation.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Say what would fall, and erase nothing.
    #[arg(long, conflicts_with_all = ["yes", "delay", "output"])]
    pub(crate) dry_run: bool,
}

#[derive(Args)]
pub(crate) struct TendArgs {
    /// The store; may be left out if KEYFALL_STORE names it.
    #[arg(value_name = "STORE", num_args = 0..=1)]
    pub(crate) places: Vec<PathBuf>,
    /// The clock is right, however long ago the store was last written to: do what is due by it.
    #[arg(long)]
    pub(crate) clock_is_right: bool,
}
