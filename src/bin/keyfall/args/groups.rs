//! Commands that have commands of their own: hold, plan, policy, grant, training, copy.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use keyfall::{Class, InteractionId, RecordId, Timestamp, UserId};

use super::values::{number, span, time};

#[derive(Subcommand)]
pub(crate) enum HoldCommand {
    /// Add a hold on a user, one class of it or one interaction, and print its number.
    #[command(override_usage = "keyfall hold add [STORE] --user U [--class C] [--interaction I] \
        --reason R --authority A")]
    Add {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name that your application uses.
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
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name that your application uses.
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
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name that your application uses.
        #[arg(long)]
        user: UserId,
    },
}

const GRANT_EXAMPLES: &str = "\
Examples:
  keyfall key skill.key          # the grantee makes a key pair, and gives skill.key.pub away
  keyfall grant add assistant.db --to skill.key.pub --name \"Ride skill\" --user ada \\
      --class action --purpose \"to order rides\"
  keyfall ask --key skill.key --ticket TICKET -o request --secret once
  keyfall grant open assistant.db request -o answer   # the owner opens; ada's report shows it
  keyfall unseal --key once answer out";

#[derive(Subcommand)]
pub(crate) enum GrantCommand {
    /// Let a third party open a user's records, and print the ticket that it asks with.
    #[command(
        after_help = GRANT_EXAMPLES,
        override_usage = "keyfall grant add [STORE] --to FILE.pub --name N --user U [--class C] \
            [--until T] --purpose P"
    )]
    Add {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The grantee's public key.
        #[arg(long, value_name = "FILE.pub")]
        to: PathBuf,
        /// The grantee's name, for the user's report.
        #[arg(long)]
        name: String,
        /// Whose: the name that your application uses.
        #[arg(long)]
        user: UserId,
        /// Of this class only.
        #[arg(long)]
        class: Option<Class>,
        /// Until then: 2026-01-31, when that day begins in UTC, or 2026-01-31T08:00:00Z.
        #[arg(long, value_name = "T", value_parser = time)]
        until: Option<Timestamp>,
        /// What the records may be opened for; the user's report shows it.
        #[arg(long)]
        purpose: String,
    },
    /// Revoke a grant: it opens nothing more.
    #[command(override_usage = "keyfall grant revoke [STORE] --user U --id N")]
    Revoke {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name that your application uses.
        #[arg(long)]
        user: UserId,
        /// The grant's number, as `grant list` prints it.
        #[arg(long, value_name = "N", value_parser = number)]
        id: u64,
    },
    /// List the grants on a user's records.
    #[command(override_usage = "keyfall grant list [STORE] --user U")]
    List {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name that your application uses.
        #[arg(long)]
        user: UserId,
    },
    /// Open what a request asks for, sealed to the request's fresh key; the user's report shows it.
    #[command(override_usage = "keyfall grant open [STORE] REQUEST -o SEALED [--force]")]
    Open {
        #[arg(value_name = "STORE REQUEST", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// Where to write the sealed answer.
        #[arg(short, long, value_name = "SEALED")]
        output: PathBuf,
        /// Replace a certificate or a secret key at SEALED.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum TrainingCommand {
    /// Make a training set for a grantee, and print the ticket that it asks with.
    #[command(override_usage = "keyfall training make [STORE] --name N --to FILE.pub --purpose P")]
    Make {
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
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
    /// Open the records that are left in a set, and say how many fell out since the last time.
    #[command(override_usage = "keyfall training open [STORE] REQUEST -o SEALED [--force]")]
    Open {
        #[arg(value_name = "STORE REQUEST", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// Where to write the sealed answer.
        #[arg(short, long, value_name = "SEALED")]
        output: PathBuf,
        /// Replace a certificate or a secret key at SEALED.
        #[arg(long)]
        force: bool,
    },
    /// Drop a set; its records stay.
    #[command(override_usage = "keyfall training drop [STORE] --name N")]
    Drop {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The name of the set to drop.
        #[arg(long)]
        name: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum PlanCommand {
    /// List the planned erases of a user, the next first.
    #[command(override_usage = "keyfall plan list [STORE] --user U")]
    List {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name that your application uses.
        #[arg(long)]
        user: UserId,
    },
    /// Cancel a planned erase.
    #[command(override_usage = "keyfall plan cancel [STORE] --user U --id N")]
    Cancel {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Whose: the name that your application uses.
        #[arg(long)]
        user: UserId,
        /// The plan's number, as `erase --in` and `plan list` print it.
        #[arg(long, value_name = "N", value_parser = number)]
        id: u64,
    },
}

const POLICY_EXAMPLES: &str = "\
Examples:
  keyfall policy set assistant.db --class audio --max-age 90d   # asks if records fall at once
  keyfall policy set assistant.db --class audio --max-age 15min --yes
  keyfall policy set assistant.db --class audio --user child --max-age 1d
  keyfall policy set assistant.db --class profile.health --purpose treatment \\
      --until 2027-01-01 --readers-named
  keyfall policy unset assistant.db --class audio --user child

A user's policy replaces the store's as a whole. What passes a limit is erased like anything else,
with what was derived from it; a hold keeps it. Age counts from the time at which the interaction
began.";

#[derive(Subcommand)]
pub(crate) enum PolicyCommand {
    /// Set a policy; it replaces one of the same user, class and purpose.
    #[command(
        after_help = POLICY_EXAMPLES,
        override_usage = "keyfall policy set [STORE] --class C [--user U] [--purpose P] \
            [--max-age TIME] [--max-records N] [--until T] [--readers-named] [--yes]"
    )]
    Set {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// audio, transcript, action, or a class of your own.
        #[arg(long)]
        class: Class,
        /// Of this user; it replaces the store's policy.
        #[arg(long)]
        user: Option<UserId>,
        /// Only records put for this purpose.
        #[arg(long, conflicts_with = "max_records")]
        purpose: Option<String>,
        /// Keep them so long after their interaction began: 90d, 12h, 15min, 2w.
        #[arg(long, value_name = "TIME", value_parser = span)]
        max_age: Option<Duration>,
        /// Keep at most so many of each user; the oldest go first.
        #[arg(long, value_name = "N")]
        max_records: Option<u64>,
        /// Keep them no longer than this: 2026-01-31, when that day begins in UTC, or
        /// 2026-01-31T08:00:00Z.
        #[arg(long, value_name = "T", value_parser = time)]
        until: Option<Timestamp>,
        /// Open them only for readers who give their name and purpose.
        #[arg(long)]
        readers_named: bool,
        /// Do not ask, though records fall at once.
        #[arg(short, long)]
        yes: bool,
    },
    /// Remove the policy of a class, for the store or for one user.
    #[command(
        override_usage = "keyfall policy unset [STORE] --class C [--user U] [--purpose P] [--yes]"
    )]
    Unset {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The class that the policy is set for.
        #[arg(long)]
        class: Class,
        /// The policy's user [default: the store's policy].
        #[arg(long)]
        user: Option<UserId>,
        /// The policy's purpose, if it has one.
        #[arg(long)]
        purpose: Option<String>,
        /// Do not ask, though records fall at once by the policy that applies then.
        #[arg(short, long)]
        yes: bool,
    },
    /// List the store's policies, or those of one user.
    #[command(override_usage = "keyfall policy list [STORE] [--user U]")]
    List {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// Of which user [default: the store's].
        #[arg(long)]
        user: Option<UserId>,
    },
}

#[derive(Subcommand)]
pub(crate) enum CopyCommand {
    /// Add a copy: from now on every commit is durable there too before it is acknowledged.
    #[command(override_usage = "keyfall copy add [STORE] PLACE [--behind]")]
    Add {
        #[arg(value_name = "STORE PLACE", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// Bring it up to date only when `copy sync` is called.
        #[arg(long)]
        behind: bool,
    },
    /// Bring the copies that were added with --behind up to date.
    #[command(override_usage = "keyfall copy sync [STORE]")]
    Sync {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
    /// Show what each copy holds and lacks.
    #[command(override_usage = "keyfall copy status [STORE]")]
    Status {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
    /// Forget a copy; its bytes stay where they are.
    #[command(override_usage = "keyfall copy remove [STORE] PLACE")]
    Remove {
        #[arg(value_name = "STORE PLACE", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
    },
}
