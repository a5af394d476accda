//! Commands that have commands of their own: hold, plan, policy, grant, training, copy.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use keyfall::{Class, InteractionId, RecordId, Timestamp, UploadId, UserId};

use super::values::{number, span, time};

const HOLD_EXAMPLES: &str = "\
Examples:
  keyfall hold add assistant.db --user ada --class audio --reason \"claim 17\" --authority court
  keyfall hold list assistant.db --user ada
  keyfall hold lift assistant.db --user ada --id N --reason settled --authority court";

#[derive(Subcommand)]
#[command(after_help = HOLD_EXAMPLES)]
pub(crate) enum HoldCommand {
    /// Add a hold on a user, one class of it or one interaction, and print its number.
    #[command(
        after_help = HOLD_EXAMPLES,
        override_usage = "keyfall hold add [STORE] --user U [--class C] [--interaction I] \
            --reason R --authority A"
    )]
    Add {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The user, by the name that your application uses.
        #[arg(long)]
        user: UserId,
        /// On this class only.
        #[arg(long)]
        class: Option<Class>,
        /// On this interaction only.
        #[arg(long)]
        interaction: Option<InteractionId>,
        /// The reason for the hold; the user's history shows it.
        #[arg(long)]
        reason: String,
        /// The authority that orders it.
        #[arg(long)]
        authority: String,
    },
    /// Lift a hold: records that no other hold covers can be erased again.
    #[command(
        override_usage = "keyfall hold lift [STORE] --user U --id N --reason R --authority A"
    )]
    Lift {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The user, by the name that your application uses.
        #[arg(long)]
        user: UserId,
        /// The hold's number, as `hold add` and `hold list` print it.
        #[arg(long, value_name = "N", value_parser = number)]
        id: u64,
        /// The reason for lifting it; the user's history shows it.
        #[arg(long)]
        reason: String,
        /// The authority that orders it.
        #[arg(long)]
        authority: String,
    },
    /// List the holds on a user's records.
    #[command(override_usage = "keyfall hold list [STORE] --user U")]
    List {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The user, by the name that your application uses.
        #[arg(long)]
        user: UserId,
    },
}

const GRANT_EXAMPLES: &str = "\
Examples:
  keyfall key skill.key          # the grantee makes a key pair, and gives skill.key.pub away
  keyfall grant add assistant.db --user ada --class action --to skill.key.pub \\
      --name \"Ride skill\" --purpose \"to order rides\"
  keyfall ask --ticket TICKET --key skill.key -o request --secret once
  keyfall grant open assistant.db request -o answer   # the owner opens; ada's report shows it
  keyfall unseal --key once answer out";

#[derive(Subcommand)]
#[command(after_help = GRANT_EXAMPLES)]
pub(crate) enum GrantCommand {
    /// Let a third party open a user's records, and print the ticket that it asks with.
    #[command(
        after_help = GRANT_EXAMPLES,
        override_usage = "keyfall grant add [STORE] --user U [--class C] --to FILE.pub --name N \
            --purpose P [--until T]"
    )]
    Add {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The user, by the name that your application uses.
        #[arg(long)]
        user: UserId,
        /// Of this class only.
        #[arg(long)]
        class: Option<Class>,
        /// The grantee's public key.
        #[arg(long, value_name = "FILE.pub")]
        to: PathBuf,
        /// The grantee's name, for the user's report.
        #[arg(long)]
        name: String,
        /// What the records may be opened for; the user's report shows it.
        #[arg(long)]
        purpose: String,
        /// Until then: 2026-01-31, when that day begins in UTC, or 2026-01-31T08:00:00Z.
        #[arg(long, value_name = "T", value_parser = time)]
        until: Option<Timestamp>,
    },
    /// Revoke a grant: it opens nothing more.
    #[command(override_usage = "keyfall grant revoke [STORE] --user U --id N")]
    Revoke {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The user, by the name that your application uses.
        #[arg(long)]
        user: UserId,
        /// The grant's number, as `grant list` prints it.
        #[arg(long, value_name = "N", value_parser = number)]
        id: u64,
    },
    /// List the grants on a user's records.
    #[command(override_usage = "keyfall grant list [STORE] --user U")]
    List {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The user, by the name that your application uses.
        #[arg(long)]
        user: UserId,
    },
    /// Open what a request asks for, sealed to the request's fresh key; the user's report shows it.
    #[command(override_usage = "keyfall grant open [STORE] REQUEST -o SEALED [--force]")]
    Open {
        /// REQUEST is what `ask` wrote; STORE may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE REQUEST", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// Where to write the sealed answer.
        #[arg(short, long, value_name = "SEALED")]
        output: PathBuf,
        /// Replace a certificate at SEALED.
        #[arg(long)]
        force: bool,
    },
}

const TRAINING_EXAMPLES: &str = "\
Examples:
  keyfall training make assistant.db --name voices --to lab.key.pub \\
      --purpose \"to improve the models\"
  keyfall training add assistant.db --name voices --user ada --class audio
  keyfall ask --ticket TICKET --key lab.key -o run --secret run.key    # the grantee asks
  keyfall training open assistant.db run -o run.sealed
  keyfall unseal --key run.key run.sealed out                          # the grantee reads

A user's records go in under a grant of that user to the same grantee, for the same purpose.";

#[derive(Subcommand)]
#[command(after_help = TRAINING_EXAMPLES)]
pub(crate) enum TrainingCommand {
    /// Make a training set for a grantee, and print the ticket that it asks with.
    #[command(
        after_help = TRAINING_EXAMPLES,
        override_usage = "keyfall training make [STORE] --name N --to FILE.pub --purpose P"
    )]
    Make {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The name of the new set, unique in the store.
        #[arg(long)]
        name: String,
        /// The grantee's public key.
        #[arg(long, value_name = "FILE.pub")]
        to: PathBuf,
        /// What the records are opened for.
        #[arg(long)]
        purpose: String,
    },
    /// Add records whose users gave the grantee a grant.
    #[command(override_usage = "keyfall training add [STORE] --name N \
        (--record ID... | --user U [--class C])")]
    Add {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The name of the set to add to.
        #[arg(long)]
        name: String,
        /// A record; may be given many times.
        #[arg(
            long,
            value_name = "ID",
            required_unless_present = "user",
            conflicts_with_all = ["user", "class"]
        )]
        record: Vec<RecordId>,
        /// All records of this user.
        #[arg(long)]
        user: Option<UserId>,
        /// Of this class only.
        #[arg(long, requires = "user")]
        class: Option<Class>,
    },
    /// List the training sets.
    #[command(override_usage = "keyfall training list [STORE]")]
    List {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
    /// Open the records that are left in a set, and say how many fell out since the last time.
    #[command(override_usage = "keyfall training open [STORE] REQUEST -o SEALED [--force]")]
    Open {
        /// REQUEST is what `ask` wrote; STORE may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE REQUEST", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// Where to write the sealed answer.
        #[arg(short, long, value_name = "SEALED")]
        output: PathBuf,
        /// Replace a certificate at SEALED.
        #[arg(long)]
        force: bool,
    },
    /// Drop a set; its records stay.
    #[command(override_usage = "keyfall training drop [STORE] --name N")]
    Drop {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The name of the set to drop.
        #[arg(long)]
        name: String,
    },
}

const PLAN_EXAMPLES: &str = "\
Examples:
  keyfall erase assistant.db --user ada --in 30d      # plans it, and prints the plan's number
  keyfall plan list assistant.db --user ada
  keyfall plan cancel assistant.db --user ada --id N";

#[derive(Subcommand)]
#[command(after_help = PLAN_EXAMPLES)]
pub(crate) enum PlanCommand {
    /// List the planned erases of a user, the next first.
    #[command(override_usage = "keyfall plan list [STORE] --user U")]
    List {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The user, by the name that your application uses.
        #[arg(long)]
        user: UserId,
    },
    /// Cancel a planned erase.
    #[command(override_usage = "keyfall plan cancel [STORE] --user U --id N")]
    Cancel {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The user, by the name that your application uses.
        #[arg(long)]
        user: UserId,
        /// The plan's number, as `erase --in` and `plan list` print it.
        #[arg(long, value_name = "N", value_parser = number)]
        id: u64,
    },
}

const UPLOAD_EXAMPLES: &str = "\
Examples:
  keyfall upload list assistant.db --user ada
  keyfall upload abort assistant.db --id UPLOAD

A program begins uploads and appends to them (`Engine::uploads`, or `keyfalld`, which speaks tus).
An upload falls with its user, and expires after a day.";

#[derive(Subcommand)]
#[command(after_help = UPLOAD_EXAMPLES)]
pub(crate) enum UploadCommand {
    /// List the unfinished uploads of a user.
    #[command(override_usage = "keyfall upload list [STORE] --user U")]
    List {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The user, by the name that your application uses.
        #[arg(long)]
        user: UserId,
    },
    /// Give an upload up: what is there of it is erased.
    #[command(override_usage = "keyfall upload abort [STORE] --id UPLOAD")]
    Abort {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The upload's id, as `upload list` prints it.
        #[arg(long, value_name = "UPLOAD")]
        id: UploadId,
    },
}

const POLICY_EXAMPLES: &str = "\
Examples:
  keyfall policy set assistant.db --class audio --max-age 90d   # asks if records fall at once
  keyfall policy set assistant.db --class audio --max-age 15min --yes
  keyfall policy set assistant.db --user child --class audio --max-age 1d
  keyfall policy set assistant.db --class profile.health --purpose treatment \\
      --until 2027-01-01 --readers-named
  keyfall policy set assistant.db --class audio --max-age 30d --keep-derived \"alarms ring on\"
  keyfall policy unset assistant.db --user child --class audio

A user's policy replaces the store's as a whole. What passes a limit is erased like anything else,
with what was derived from it: a limit for recordings takes their transcripts and alarms, unless
--keep-derived says why these stay. A hold keeps it. Age counts from the time at which the
interaction began.";

#[derive(Subcommand)]
#[command(after_help = POLICY_EXAMPLES)]
pub(crate) enum PolicyCommand {
    /// Set a policy; it replaces one of the same user, class and purpose.
    #[command(
        after_help = POLICY_EXAMPLES,
        override_usage = "keyfall policy set [STORE] [--user U] --class C [--purpose P] \
            [--max-age TIME] [--max-records N] [--until T] [--keep-derived R] [--readers-named] \
            [--authority WHO] [--ground WHY] [--yes]"
    )]
    Set {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// For this user alone, instead of the store's policy [default: the store's policy,
        /// for all users].
        #[arg(long)]
        user: Option<UserId>,
        /// audio, transcript, action, or a class of your own.
        #[arg(long)]
        class: Class,
        /// Only records put for this purpose.
        #[arg(long, conflicts_with = "max_records")]
        purpose: Option<String>,
        /// Keep them this long after their interaction began: 90d, 12h, 15min, 2w.
        #[arg(long, value_name = "TIME", value_parser = span)]
        max_age: Option<Duration>,
        /// Keep at most this many of each user; the oldest go first.
        #[arg(long, value_name = "N")]
        max_records: Option<u64>,
        /// Keep them no longer than this: 2026-01-31, when that day begins in UTC, or
        /// 2026-01-31T08:00:00Z.
        #[arg(long, value_name = "T", value_parser = time)]
        until: Option<Timestamp>,
        /// When a record passes a limit, leave what was derived from it and is the same user's; why
        /// it stays is shown in the user's history [default: it falls].
        #[arg(long, value_name = "REASON")]
        keep_derived: Option<String>,
        /// Have what passed a limit certified, for this person or office; `certificate collect`
        /// writes the certificates.
        #[arg(long, value_name = "WHO")]
        authority: Option<String>,
        /// Have what passed a limit certified, on this ground.
        #[arg(long, value_name = "WHY")]
        ground: Option<String>,
        /// Open them only for readers who give their name and purpose.
        #[arg(long)]
        readers_named: bool,
        /// Do not ask for confirmation, even if records are erased at once.
        #[arg(short, long)]
        yes: bool,
    },
    /// Remove the policy of a class, for the store or for one user.
    #[command(
        override_usage = "keyfall policy unset [STORE] [--user U] --class C [--purpose P] [--yes]"
    )]
    Unset {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The policy's user [default: the store's policy, for all users].
        #[arg(long)]
        user: Option<UserId>,
        /// The class that the policy is set for.
        #[arg(long)]
        class: Class,
        /// The policy's purpose, if it has one.
        #[arg(long)]
        purpose: Option<String>,
        /// Do not ask for confirmation, even if the policy that applies then erases records at
        /// once.
        #[arg(short, long)]
        yes: bool,
    },
    /// List the store's policies, or those of one user.
    #[command(override_usage = "keyfall policy list [STORE] [--user U]")]
    List {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Of which user [default: the store's].
        #[arg(long)]
        user: Option<UserId>,
    },
}

const COPY_EXAMPLES: &str = "\
Examples:
  keyfall copy add assistant.db /mnt/replica              # in step with every commit
  keyfall copy add assistant.db /mnt/mirror --behind      # brought up by `copy sync`
  keyfall copy sync assistant.db
  keyfall copy repair assistant.db /mnt/replica           # fill up one that lost something
  keyfall copy status assistant.db                        # what each restores, and what it lacks
  keyfall copy remove assistant.db /mnt/mirror";

#[derive(Subcommand)]
#[command(after_help = COPY_EXAMPLES)]
pub(crate) enum CopyCommand {
    /// Add a copy: from now on every commit is durable there too before it is acknowledged.
    #[command(
        after_help = COPY_EXAMPLES,
        override_usage = "keyfall copy add [STORE] PLACE [--behind]"
    )]
    Add {
        /// PLACE is the directory or the URL of the copy; STORE may be left out if KEYFALL_STORE
        /// names it.
        #[arg(value_name = "STORE PLACE", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// Bring it up to date only when `copy sync` is called.
        #[arg(long)]
        behind: bool,
    },
    /// Bring the copies that were added with --behind up to date.
    #[command(override_usage = "keyfall copy sync [STORE]")]
    Sync {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
    /// Give a copy, or a backup, what it lost or has damaged: compares all of it with the store.
    #[command(override_usage = "keyfall copy repair [STORE] PLACE")]
    Repair {
        /// PLACE is the directory or the URL of the copy or backup; STORE may be left out if
        /// KEYFALL_STORE names it.
        #[arg(value_name = "STORE PLACE", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
    },
    /// Show what each copy holds and lacks.
    #[command(override_usage = "keyfall copy status [STORE]")]
    Status {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
    /// Forget a copy; its bytes stay where they are.
    #[command(override_usage = "keyfall copy remove [STORE] PLACE")]
    Remove {
        /// PLACE is the directory or the URL of the copy; STORE may be left out if KEYFALL_STORE
        /// names it.
        #[arg(value_name = "STORE PLACE", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
    },
}
