//! `keyfall-verify`: checks erasure certificates, with the log's public key and nothing else. No engine is in it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use keyfall::certificate::{Certificate, Trust, same_history};
use keyfall::log::{Checkpoint, Note, VerifierKey};
use keyfall::{Error, ErrorKind};

const EXAMPLES: &str = "\
Examples:
  keyfall-verify ada.erased --key KEY
  keyfall-verify *.erased --key KEY --witness KEY --checkpoint kept --log downloaded/log

Exit codes: 0 all hold, 1 failed, 2 wrong usage, 5 one does not hold, 6 cosignatures are missing, 12 all hold, but that could not be
written.";

/// Check erasure certificates.
#[derive(Parser)]
#[command(name = "keyfall-verify", version, about, after_help = EXAMPLES, max_term_width = 100)]
struct Args {
    #[arg(value_name = "CERT", required = true)]
    certificates: Vec<PathBuf>,
    /// The log's public key.
    #[arg(long, value_name = "KEY")]
    key: VerifierKey,
    /// The public key of a witness; may be given many times.
    #[arg(long, value_name = "KEY")]
    witness: Vec<VerifierKey>,
    /// How many of the witnesses must have cosigned [default: all that are given].
    #[arg(long, value_name = "K")]
    witnesses: Option<usize>,
    /// A checkpoint that you kept: the log must go on from it.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The log's files, where a kept checkpoint is of another size.
    #[arg(long, value_name = "DIR", requires = "checkpoint")]
    log: Option<PathBuf>,
}

/// Most bytes of a file that is read: no certificate, checkpoint or file of a log is so large.
const FILE_MAX_BYTES: u64 = 1 << 20;

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|from| from.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|e| Error::io(file.display(), e))?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        let text = format!("{} is larger than 1 MiB: it is none of these files; name another", file.display());
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    Ok(bytes)
}

fn text(file: &Path) -> Result<String, Error> {
    String::from_utf8(read(file)?).map_err(|_| Error::new(ErrorKind::Invalid, format!("{} is no text", file.display())))
}

fn check(args: &Args, file: &Path) -> Result<Vec<String>, Error> {
    let trust = Trust::with_witnesses(args.key.clone(), &args.witness, args.witnesses)?;
    let certificate = String::from_utf8(read(file)?)
        .map_err(|_| Error::new(ErrorKind::Corrupt, "not an erasure certificate: it is no text"))?;
    let verified = certificate.parse::<Certificate>()?.verify(&trust)?;
    if let Some(kept) = &args.checkpoint {
        let kept = Checkpoint::verified(&text(kept)?.parse::<Note>()?, &args.key)?;
        let fetch = args.log.as_ref().map(|dir| move |path: &str| read(&dir.join(path)));
        same_history(
            &verified.checkpoint,
            &kept,
            fetch.as_ref().map(|f| f as &dyn Fn(&str) -> Result<Vec<u8>, Error>),
        )?;
    }
    Ok(verified.words())
}

/// All hold, and that could not be written.
const UNTOLD: u8 = 12;

fn main() -> ExitCode {
    let args = Args::parse();
    let (mut code, mut untold) = (0, false);
    let tell = |text: String| {
        // Where nobody reads this either, the exit code says it.
        let _ = writeln!(io::stderr(), "keyfall-verify: {text}");
    };
    for file in &args.certificates {
        match check(&args, file) {
            Ok(words) => {
                let told = writeln!(io::stdout(), "{}:\n  {}", file.display(), words.join("\n  "));
                if let Err(e) = told.and_then(|()| io::stdout().flush()) {
                    tell(format!("{} holds; the answer could not be written ({e})", file.display()));
                    untold = true;
                }
            }
            Err(e) => {
                tell(format!("{}: {e}", file.display()));
                code = match e.kind() {
                    ErrorKind::Invalid => 2,
                    ErrorKind::Corrupt => 5,
                    ErrorKind::Refused => 6,
                    _ => 1,
                };
            }
        }
    }
    // One that does not hold weighs more.
    ExitCode::from(if code == 0 && untold { UNTOLD } else { code })
}
