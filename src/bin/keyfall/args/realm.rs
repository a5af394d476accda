//! Arguments of `realm`.

use std::path::PathBuf;

use clap::Subcommand;
use keyfall::{RecordId, UserId};

use crate::args::SpreadArgs;

const EXAMPLES: &str = "\
Examples:
  keyfall realm init assistant.realm --shards 16
  keyfall put assistant.realm --user ada --class audio wake.wav    # into the shard of ada
  keyfall erase assistant.realm --user ada --yes
  keyfall realm status assistant.realm
  keyfall realm find assistant.realm --user ada
  keyfall copy add assistant.realm/shard-000 /mnt/replica-000    # a shard is a store

create, put, get, info, list, erase, report and audit take the directory of a realm as STORE; other
commands take one of its shards. The users of a placement group, {home-1}ada and {home-1}ben, are in
one shard: only there can the records of one be derived from those of the other.

The number of shards is for ever: begin with 16 to 64. Each shard has a cell of its own; losing it
loses the users of that shard. The files realm and map hold no key: copy these, and no cell in files
(shard-000.cell and so on), which would keep what an erase destroys.

With keyholders each of them must know the engine of each shard, by its cell, before the realm is
made: keyfall keyholder engine assistant.realm/shard-{000..015}.cell prints their keys, which
keyfall keyholder allow kh KEY... takes.";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum RealmCommand {
    /// Make a realm: stores that have their users among them. One that was cut short is finished by
    /// the same command.
    #[command(
        after_help = EXAMPLES,
        override_usage = "keyfall realm init DIR --shards N [--at PLACE] [--cells DIR] [OPTIONS]"
    )]
    Init {
        /// The directory of the realm: it says where the shards are, and which users each has.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// How many stores, at most 256; may be left out to finish what was cut short.
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        shards: usize,
        /// A directory or a URL to make the shards below: s3://bucket/prefix [default: DIR].
        #[arg(long, value_name = "PLACE")]
        at: Option<PathBuf>,
        /// The directory to make their cells in [default: each beside its store; of stores at a
        /// URL, DIR].
        #[arg(long, value_name = "DIR")]
        cells: Option<PathBuf>,
        /// Let the cells lie on a file system that may keep destroyed keys; every promise says so
        /// from then on.
        #[arg(long)]
        accept_remnants: bool,
        /// For stores at a URL: only this machine ever opens them, so that the cells may be files
        /// here.
        #[arg(long)]
        single_machine: bool,
        #[command(flatten)]
        spread: SpreadArgs,
        /// Name of the logs of erases, NAME/0 and so on: a URL without the scheme, where you will
        /// publish them [default: made from each store's id].
        #[arg(long, value_name = "NAME")]
        log_origin: Option<String>,
    },
    /// Show whether each shard opens, and its state. Fails if one does not.
    Status {
        /// The directory of the realm.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Print the place of the shard that has a user or a record, for the commands that take one
    /// shard.
    #[command(override_usage = "keyfall realm find DIR (--user U | --record ID)")]
    Find {
        /// The directory of the realm.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The user, by the name that your application uses.
        #[arg(long, required_unless_present = "record")]
        user: Option<UserId>,
        /// A record, by its id.
        #[arg(long, value_name = "ID", conflicts_with = "user")]
        record: Option<RecordId>,
    },
}
