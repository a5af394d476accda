//! Arguments of `certificate` and `log`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use keyfall::UserId;
use keyfall::log::VerifierKey;

#[derive(Args)]
pub(crate) struct TrustArgs {
    /// The log's public key, as `keyfall log key` prints it.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: VerifierKey,
    /// The public key of a witness; may be given many times.
    #[arg(long, value_name = "KEY")]
    pub(crate) witness: Vec<VerifierKey>,
    /// How many of the witnesses must have cosigned [default: all of them].
    #[arg(long, value_name = "K")]
    pub(crate) witnesses: Option<usize>,
    /// A checkpoint that you kept: the log must continue from it.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
}

const CERTIFICATE_EXAMPLES: &str = "\
Examples:
  keyfall erase assistant.db --user ada -o ada.erased
  keyfall certificate show ada.erased --html > ada.html
  keyfall certificate collect assistant.db   # of what was planned, and is done
  keyfall certificate verify ada.erased --key \"$(keyfall log key assistant.db)\"

An auditor needs no engine: `cargo install keyfall --no-default-features --features verify` installs
keyfall-verify.";

#[derive(Subcommand)]
#[command(after_help = CERTIFICATE_EXAMPLES)]
pub(crate) enum CertificateCommand {
    /// Write the certificates of what was erased of a user that lives on: they are among its
    /// records, and fall with it.
    #[command(override_usage = "keyfall certificate get [STORE] --user U DIR")]
    Get {
        /// DIR is where the certificates go; STORE may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE DIR", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// The user, by the name that your application uses.
        #[arg(long)]
        user: UserId,
    },
    /// Make the certificates of planned erases, and of limits whose policy wants them, that were
    /// done since the last time. Their drafts, which name users who may be gone, lie in
    /// STORE.certificates from before the erase until then.
    #[command(override_usage = "keyfall certificate collect [STORE [DIR]]")]
    Collect {
        /// DIR is where the certificates go [default: STORE.certificates]; STORE may be left out
        /// if KEYFALL_STORE names it.
        #[arg(value_name = "STORE DIR", num_args = 0..=2)]
        places: Vec<PathBuf>,
    },
    /// Show a certificate; showing is not verifying.
    Show {
        /// The certificate: a file that `erase -o CERT` wrote.
        #[arg(value_name = "CERT")]
        certificate: PathBuf,
        /// A page to read, complete in itself.
        #[arg(long, conflicts_with = "json")]
        html: bool,
        /// The proof alone, as tools for C2SP tlog-proof take it.
        #[arg(long, conflicts_with_all = ["html", "json"])]
        proof: bool,
    },
    /// Verify certificates, with the log's public key and nothing else.
    Verify {
        /// The certificates: files that `erase -o CERT` wrote, or the service's answers.
        #[arg(value_name = "CERT", required = true)]
        certificates: Vec<PathBuf>,
        #[command(flatten)]
        trust: TrustArgs,
        /// The log's files, needed if a kept checkpoint is of another size.
        #[arg(long, value_name = "DIR", requires = "checkpoint")]
        log: Option<PathBuf>,
        /// A key that was found, in hexadecimal: is it one that a certificate says is destroyed?
        #[arg(long, value_name = "HEX")]
        revealed: Option<String>,
    },
    /// Issue a certificate again, with what happened since: what was pending and is final,
    /// cosignatures, a later checkpoint. From a draft, which an erase that was cut short leaves as
    /// CERT.draft, it makes CERT.
    #[command(override_usage = "keyfall certificate upgrade [STORE] CERT [--checkpoint FILE] \
        [-o FILE [--force]]")]
    Upgrade {
        /// CERT is the certificate, or CERT.draft; STORE may be left out if KEYFALL_STORE names
        /// it.
        #[arg(value_name = "STORE CERT", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
        /// A checkpoint with cosignatures, as `log export` left it: used if it is of the log as it
        /// is now.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Write it to this file instead.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace a certificate at FILE.
        #[arg(long)]
        force: bool,
    },
}

const LOG_EXAMPLES: &str = "\
Examples:
  keyfall log key assistant.db   # publish it: with it, anyone can verify every certificate
  keyfall log export assistant.db /srv/www/log   # after erases; any web server can serve it
  keyfall log verify /srv/www/log --key KEY --checkpoint kept-last-month";

#[derive(Subcommand)]
#[command(after_help = LOG_EXAMPLES)]
pub(crate) enum LogCommand {
    /// Print the log's public key.
    Key {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
    /// Sign and print a checkpoint of the log as it is now.
    Checkpoint {
        /// The store; may be left out if KEYFALL_STORE names it.
        #[arg(value_name = "STORE", num_args = 0..=1)]
        places: Vec<PathBuf>,
    },
    /// Print the proof that a leaf is in the log.
    Prove {
        /// INDEX is the number of the leaf, from 0; STORE may be left out if KEYFALL_STORE names
        /// it.
        #[arg(value_name = "STORE INDEX", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
    },
    /// Bring a directory to the log's state, in the layout of C2SP tlog-tiles. It refuses if
    /// another history was published there.
    Export {
        /// DIR is the directory of the published log; STORE may be left out if KEYFALL_STORE
        /// names it.
        #[arg(value_name = "STORE DIR", num_args = 1..=2, required = true)]
        places: Vec<PathBuf>,
    },
    /// Verify a log that lies in files: signature, leaves, hashes, and that it continues from a
    /// checkpoint that you kept.
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
        /// The address and port to listen on.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
        listen: String,
    },
    /// Have a published log cosigned by a witness (C2SP tlog-witness); its signature joins the
    /// checkpoint in DIR.
    Cosign {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The address of the witness: http://HOST[:PORT][/PATH].
        #[arg(long, value_name = "URL")]
        witness: String,
        /// The witness's public key.
        #[arg(long, value_name = "KEY")]
        key: VerifierKey,
    },
}
