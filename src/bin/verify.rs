//! `keyfall-verify`: verifies erasure certificates, with the log's public key and nothing else. It
//! contains no engine.

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

Exit codes, those of `keyfall certificate verify`: 0 all hold, 1 failed, 2 wrong usage, 4 one is of
another log, or a file of the log is missing, 5 one does not hold, 6 cosignatures are missing, 12
all hold, but that could not be written. Of several that fail the first one counts.";

/// Verify erasure certificates against the public key of their log.
#[derive(Parser)]
#[command(name = "keyfall-verify", version, after_help = EXAMPLES, max_term_width = 100)]
struct Args {
    /// The certificates: files that `keyfall erase -o CERT` wrote, or the service's answers.
    #[arg(value_name = "CERT", required = true)]
    certificates: Vec<PathBuf>,
    /// The log's public key.
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: VerifierKey,
    /// The public key of a witness; may be given many times.
    #[arg(long, value_name = "KEY", value_parser = key)]
    witness: Vec<VerifierKey>,
    /// How many of the witnesses must have cosigned [default: all of them].
    #[arg(long, value_name = "K")]
    witnesses: Option<usize>,
    /// A checkpoint that you kept: the log must continue from it.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The log's files, needed if a kept checkpoint is of another size.
    #[arg(long, value_name = "DIR", requires = "checkpoint")]
    log: Option<PathBuf>,
}

/// The exit code if all certificates hold, while that could not be written.
const UNTOLD: u8 = 12;
/// Most bytes of a file that is read: no certificate, checkpoint or file of a log is so large.
const FILE_MAX_BYTES: u64 = 1 << 20;

fn main() -> ExitCode {
    let args = Args::parse();
    let (mut code, mut untold) = (0, false);
    let tell = |text: String| {
        // If nobody reads this either, the exit code says it.
        let _ = writeln!(io::stderr(), "keyfall-verify: {text}");
    };
    for file in &args.certificates {
        match verify(&args, file) {
            Ok(words) => {
                let words = words.join("\n  ");
                let told = writeln!(io::stdout(), "{}:\n  {words}", file.display());
                if let Err(e) = told.and_then(|()| io::stdout().flush()) {
                    let file = file.display();
                    tell(format!("{file} holds; the answer could not be written ({e})"));
                    untold = true;
                }
            }
            Err(e) => {
                tell(e.to_string());
                code = if code == 0 { e.kind().exit_code() } else { code };
            }
        }
    }
    // A certificate that does not hold weighs more.
    ExitCode::from(if code == 0 && untold { UNTOLD } else { code })
}

/// Reads a key; an error names the command that gives one, where the library names its function.
fn key(text: &str) -> Result<VerifierKey, String> {
    let typed = |e: Error| e.to_string().replace("`Log::key`", "`keyfall log key STORE`");
    text.parse().map_err(typed)
}

/// Verifies a certificate; returns what it says, in words. Errors name the file.
fn verify(args: &Args, file: &Path) -> Result<Vec<String>, Error> {
    let named = |e: Error| e.context(file.display());
    let trust = Trust::with_witnesses(args.key.clone(), &args.witness, args.witnesses)?;
    let no_text = "not an erasure certificate: it is not text";
    let text = String::from_utf8(read(file)?);
    let text = text.map_err(|_| named(Error::new(ErrorKind::Corrupt, no_text)))?;
    let certificate = text.parse::<Certificate>().map_err(named)?;
    let verified = certificate.verify(&trust).map_err(named)?;
    if let Some(kept) = &args.checkpoint {
        let of_kept = |e: Error| e.context(kept.display());
        let note = read_text(kept)?.parse::<Note>().map_err(of_kept)?;
        let kept = Checkpoint::verified(&note, &args.key).map_err(of_kept)?;
        let fetch = args.log.as_ref().map(|dir| move |path: &str| read(&dir.join(path)));
        let fetch = fetch.as_ref().map(|f| f as &dyn Fn(&str) -> Result<Vec<u8>, Error>);
        same_history(&verified.checkpoint, &kept, fetch).map_err(named)?;
    }
    let mut words = vec![certificate.erased()];
    words.extend(verified.words());
    Ok(words)
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let from = File::open(file);
    let read = from.and_then(|from| from.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|e| Error::io(file.display(), e))?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        let text = format!(
            "{} is larger than 1 MiB: it is none of these files; name another",
            file.display()
        );
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    Ok(bytes)
}

fn read_text(file: &Path) -> Result<String, Error> {
    let no_text = |_| Error::new(ErrorKind::Invalid, format!("{} is not text", file.display()));
    String::from_utf8(read(file)?).map_err(no_text)
}
