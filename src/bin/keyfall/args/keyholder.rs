//! Arguments of `keyholder`.

use std::path::PathBuf;

use clap::Subcommand;
use keyfall::quorum::Member;
use keyfall::quorum::net::{EngineId, KeyholderId};

const EXAMPLES: &str = "\
Examples, with five keyholders on machines of their own, any three of which recover the root key:
  keyfall keyholder engine assistant.db.cell         # by the store: prints the engine's key
  keyfall keyholder serve kh --listen 0.0.0.0:7410 --allow ENGINE_KEY  # on each: prints its key
  keyfall init assistant.db --keyholder KEY@HOST:7410 --keyholder ... --threshold 3
  keyfall keyholder status assistant.db
  keyfall keyholder replace assistant.db --number 2 --with KEY@HOST:7410
  keyfall keyholder move assistant.db 2 HOST:7411  # it has another address now

Of n keyholders with threshold t, n - t may be lost before data is, and t - 1 may keep what they
were told to destroy. To write, and to replace one, more than half of them must be there as well.
An erase is final when n - t + 1 + f have signed that their share is gone, f of which may lie. None
is asked to destroy one before t + 1 (`init --margin`) hold the next key.";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum KeyholderCommand {
    /// Make a keyholder's directory, and print its key.
    Init {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Let it lie on a file system that may keep destroyed shares.
        #[arg(long)]
        accept_remnants: bool,
    },
    /// Print the key by which keyholders know an engine; it is made if there is none.
    Engine {
        /// The store's cell: STORE.cell, or another place that `init --cell` will name; of a
        /// realm that of each shard.
        #[arg(value_name = "CELL", required = true)]
        cell: Vec<PathBuf>,
    },
    /// Let engines use a keyholder.
    Allow {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Each engine's key, as `keyholder engine` prints it.
        #[arg(value_name = "ENGINE_KEY", required = true)]
        engines: Vec<EngineId>,
        /// Give the one engine that is named this store, even if another engine deposited for it,
        /// or none did yet.
        #[arg(long, value_name = "ID")]
        store: Option<String>,
        /// For how many stores it may deposit shares [default: 8].
        #[arg(long, value_name = "N")]
        stores: Option<usize>,
    },
    /// Serve a keyholder's directory.
    Serve {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Let this engine use it, as `keyholder allow` does; may be given several times. If there
        /// is no DIR, it is made first, as by `keyholder init`.
        #[arg(long, value_name = "ENGINE_KEY")]
        allow: Vec<EngineId>,
        /// Let a directory that is made lie on a file system that may keep destroyed shares.
        #[arg(long, requires = "allow")]
        accept_remnants: bool,
        /// The address and port to listen on.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7410")]
        listen: String,
    },
    /// Show the state of each keyholder of a store, and what is awaited of those that were
    /// replaced.
    #[command(override_usage = "keyfall keyholder status [STORE]")]
    Status {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
    /// Put another keyholder in the place of one that is lost or no longer trusted, and begin an
    /// epoch, which makes the old share worthless. The new one must answer, and know this engine.
    /// If no epoch can begin, the old one is put back; one that was replaced can come back later.
    #[command(override_usage = "keyfall keyholder replace [STORE] --number N --with KEY@HOST:PORT")]
    Replace {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
        /// The keyholder to be replaced, as `keyholder status` numbers them.
        #[arg(long, value_name = "N")]
        number: usize,
        /// The keyholder that takes its place.
        #[arg(long, value_name = "KEY@HOST:PORT", value_parser = member)]
        with: Member,
    },
    /// Record that a keyholder has another address now: by its number, or by its key, even if it
    /// was replaced. It must answer there, with the key that it had.
    #[command(override_usage = "keyfall keyholder move [STORE] NUMBER|KEY HOST:PORT [--offline]")]
    Move {
        /// NUMBER is what `keyholder status` prints; STORE may be left out if KEYFALL_STORE
        /// names it.
        #[arg(value_name = "STORE NUMBER|KEY HOST:PORT", num_args = 1.., required = true)]
        places: Vec<String>,
        /// Do not check that it answers there.
        #[arg(long)]
        offline: bool,
    },
    /// Begin an epoch without erasing anything: a keyholder that has no share gets one.
    #[command(override_usage = "keyfall keyholder renew [STORE]")]
    Renew {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
}

/// Parses a keyholder's public key and its address, written `KEY@HOST:PORT`.
pub(super) fn member(text: &str) -> Result<Member, String> {
    let (key, address) = text
        .split_once('@')
        .ok_or("write KEY@HOST:PORT, KEY as `keyfall keyholder init` prints it")?;
    let key: KeyholderId = key.parse().map_err(|e: keyfall::Error| e.to_string())?;
    if !address.contains(':') {
        return Err("the port is missing; write KEY@HOST:PORT".to_owned());
    }
    Ok(Member { key: key.to_string(), address: address.to_owned() })
}
