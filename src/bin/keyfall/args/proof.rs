//! Commands of certificates and of the log.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use keyfall::UserId;
use keyfall::log::VerifierKey;

/// Whom to believe.
#[derive(Args)]
pub(crate) struct TrustArgs {
    /// The log's public key, as `keyfall log key` prints it.
    #[arg(long, value_name = "KEY")]
    pub key: VerifierKey,
    /// The public key of a witness; may be given many times.
    #[arg(long, value_name = "KEY")]
    pub witness: Vec<VerifierKey>,
    /// How many of the witnesses must have cosigned [default: all that are given].
    #[arg(long, value_name = "K")]
    pub witnesses: Option<usize>,
    /// A checkpoint that you kept: the log must go on from it.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
}

const CERTIFICATE_EXAMPLES: &str = "\
Examples:
  keyfall erase assistant.db --user ada -o ada.erased
  keyfall certificate show ada.erased --html > ada.html
  keyfall certificate verify ada.erased --key \"$(keyfall log key assistant.db)\"

An auditor needs no engine: `cargo install keyfall --no-default-features --features verify` gives keyfall-verify.";

#[derive(Subcommand)]
#[command(after_help = CERTIFICATE_EXAMPLES)]
pub(crate) enum CertificateCommand {
    /// Write the certificates of what was erased of a user that goes on living: they are among its records, and fall with it.
    #[command(override_usage = "keyfall certificate get [STORE] --user U DIR")]
    Get {
        #[arg(value_name = "STORE DIR", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// Whose: the name your application gives.
        #[arg(long)]
        user: UserId,
    },
    /// Show a certificate; showing is not verifying.
    Show {
        #[arg(value_name = "CERT")]
        certificate: PathBuf,
        /// A page to read, complete in itself.
        #[arg(long, conflicts_with = "json")]
        html: bool,
        /// The proof alone, as tools for C2SP tlog-proof take it.
        #[arg(long, conflicts_with_all = ["html", "json"])]
        proof: bool,
    },
    /// Check certificates, with the log's public key and nothing else.
    Verify {
        #[arg(value_name = "CERT", required = true)]
        certificates: Vec<PathBuf>,
        #[command(flatten)]
        trust: TrustArgs,
        /// The log's files, where a kept checkpoint is of another size.
        #[arg(long, value_name = "DIR", requires = "checkpoint")]
        log: Option<PathBuf>,
        /// A key that somebody found, in hexadecimal: is it one that a certificate says is destroyed?
        #[arg(long, value_name = "HEX")]
        revealed: Option<String>,
    },
    /// Issue a certificate anew, with what happened since: what was pending and is final, cosignatures, a later checkpoint.
    /// Of a draft, which an erase that was cut short leaves as CERT.draft, it makes CERT.
    #[command(override_usage = "keyfall certificate upgrade [STORE] CERT [--checkpoint FILE] [-o FILE [--force]]")]
    Upgrade {
        #[arg(value_name = "STORE CERT", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// A checkpoint with cosignatures, as `log export` left it: taken where it is of the log as it is now.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Write it to this file instead.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace a certificate or a secret key that lies where it goes.
        #[arg(long)]
        force: bool,
    },
}

const LOG_EXAMPLES: &str = "\
Examples:
  keyfall log key assistant.db                      # publish it; who has it can check every certificate
  keyfall log export assistant.db /srv/www/log      # after erases: any web server can serve the directory
  keyfall log verify /srv/www/log --key KEY --checkpoint kept-last-month";

#[derive(Subcommand)]
#[command(after_help = LOG_EXAMPLES)]
pub(crate) enum LogCommand {
    /// Print the log's public key.
    Key {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
    /// Sign and print a checkpoint of the log as it is now.
    Checkpoint {
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
    /// Print the proof that a leaf is in the log.
    Prove {
        #[arg(value_name = "STORE INDEX", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
    },
    /// Bring a directory to the log's state, as C2SP tlog-tiles has it. It refuses where what was published is another history.
    Export {
        #[arg(value_name = "STORE DIR", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
    },
    /// Check a log that lies in files: signature, leaves, hashes, and that it goes on from a checkpoint that you kept.
    Verify {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        #[command(flatten)]
        trust: TrustArgs,
    },
    /// Serve a directory that `log export` wrote, over HTTP.
    Serve {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Where to listen.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
        listen: String,
    },
    /// Have a published log cosigned by a witness (C2SP tlog-witness); its signature joins the checkpoint in DIR.
    Cosign {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The witness: http://HOST[:PORT][/PATH].
        #[arg(long, value_name = "URL")]
        witness: String,
        /// Its public key.
        #[arg(long, value_name = "KEY")]
        key: VerifierKey,
    },
}
