//! `keyfall log`.

mod serve;

use std::io::Write;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyfall::certificate::Leaf;
use keyfall::log::{Checkpoint, Note, TileWriter, Tiles, VerifierKey, check_files, consistency};
use keyfall::{Engine, Error, ErrorKind};
use serde_json::json;

use crate::args::{LogCommand, TrustArgs};
use crate::commands::trust::{kept, trusted};
use crate::shell::failure::Done;
use crate::shell::guarded;
use crate::shell::outfile::{Replace, write_to};
use crate::shell::places::{one, store_and};
use crate::shell::print::{block, counted, line, progress};
use crate::shell::read::{log_files, read_text};
use crate::shell::remedy::word;
use crate::shell::session::Session;
use crate::shell::stores::{look, open};

/// Runs one of the commands.
pub(super) fn run(session: &Session, command: LogCommand) -> Done {
    match command {
        LogCommand::Key { places } => {
            let key = look(session, &one(places)?)?.log().key()?;
            if session.json { session.value(&json!({"key": key.to_string()})) } else { line(key) }
        }
        LogCommand::Checkpoint { places } => {
            let note = open(session, &one(places)?)?.log().checkpoint()?;
            tell_text(session, "checkpoint", &note.to_string())
        }
        LogCommand::Prove { places } => {
            let (store, [index]) = store_and(places, ["INDEX"])?;
            let index = index.to_string_lossy().parse();
            let no_number = "INDEX must be a number, from 0";
            let index = index.map_err(|_| Error::new(ErrorKind::Invalid, no_number))?;
            let proof = open(session, &store)?.log().proof(index)?;
            tell_text(session, "proof", &proof.to_string())
        }
        LogCommand::Export { places } => {
            let (store, [dir]) = store_and(places, ["DIR"])?;
            guarded::check_dir(&dir)?;
            export(session, &open(session, &store)?, &dir)
        }
        LogCommand::Verify { dir, trust } => verify(session, &dir, &trust),
        LogCommand::Serve { dir, listen } => serve(&dir, &listen),
        LogCommand::Cosign { dir, witness, key } => {
            guarded::check_dir(&dir)?;
            cosign(session, &dir, &witness, &key)
        }
    }
}

fn tell_text(session: &Session, what: &str, text: &str) -> Done {
    if session.json { session.value(&json!({what: text})) } else { block(text.trim_end()) }
}

fn verify(session: &Session, dir: &Path, trust: &TrustArgs) -> Done {
    let witnessed = trusted(trust)?;
    checkpoint_in(dir)?;
    let bar = progress("leaves checked", None);
    let mut odd = 0_u64;
    let mut see = |n, leaf: &[u8]| {
        bar.set_position(n);
        odd += u64::from(String::from_utf8_lossy(leaf).parse::<Leaf>().is_err());
        Ok(())
    };
    let files = log_files(dir);
    let (checkpoint, note) = check_files(&files, &trust.key, kept(trust)?.as_ref(), &mut see)?;
    bar.finish_and_clear();
    if odd > 0 {
        let (leaves, does) = (counted(odd, "leaf"), if odd == 1 { "does" } else { "do" });
        let text = format!(
            "{leaves} of the log {does} not record an erase: the log is damaged; export it again"
        );
        return Err(Error::new(ErrorKind::Corrupt, text).into());
    }
    let cosigned = witnessed.cosigned(&note)?;
    let cosigned: Vec<&str> = cosigned.iter().map(|one| one.witness.as_str()).collect();
    tell(session, &checkpoint, &cosigned)
}

fn tell(session: &Session, checkpoint: &Checkpoint, cosigned: &[&str]) -> Done {
    let Checkpoint { origin, size, root } = checkpoint;
    if session.json {
        return session.value(&json!({
            "log": origin, "size": size, "root": root.to_string(), "cosigned": cosigned,
        }));
    }
    line(format_args!("the log {origin} holds: {} under the root {root}", counted(*size, "leaf")))?;
    cosigned.iter().try_for_each(|name| line(format_args!("cosigned by {name}")))
}

/// Writes a file of the log, whole.
fn put(dir: &Path, path: &str, bytes: &[u8]) -> Result<(), Error> {
    let place = dir.join(path);
    let failed = |e| Error::io(place.display(), e);
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    write_to(&place, Replace::Anything, |file| {
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
    })
}

/// The checkpoint that was published in a directory, verified with the log's own key.
fn published(dir: &Path, key: &VerifierKey) -> Result<Option<(Checkpoint, Note)>, Error> {
    let file = dir.join("checkpoint");
    if !file.exists() {
        return Ok(None);
    }
    let note: Note = read_text(&file)?.parse().map_err(|e: Error| e.context(file.display()))?;
    Checkpoint::verified(&note, key).map(|checkpoint| Some((checkpoint, note)))
}

/// Brings a directory to the log's state.
fn export(session: &Session, engine: &Engine, dir: &Path) -> Done {
    let (mut note, key) = (engine.log().checkpoint()?, engine.log().key()?);
    let checkpoint = Checkpoint::verified(&note, &key)?;
    let old = match published(dir, &key)? {
        None => 0,
        Some((old, there)) => {
            let goes_on =
                old.size <= checkpoint.size && engine.log().consistency(old.size)?.0 == old.root;
            if !goes_on {
                let text = format!(
                    "{} was published with {} leaves of another history: the store was rolled \
                     back, or the directory is another log's; publishing this would prove the log \
                     inconsistent",
                    dir.display(),
                    old.size
                );
                return Err(Error::new(ErrorKind::Refused, text).into());
            }
            if old == checkpoint {
                note.join(&there)?;
            }
            old.size
        }
    };
    let bar = progress("leaves written", None);
    let mut writer = TileWriter::new(old, &|level, index| engine.log().subtree(level, index))?;
    let mut write = |path: &str, bytes: &[u8]| put(dir, path, bytes);
    engine.log().leaves(writer.first(), &mut |n, leaf| {
        bar.set_position(n);
        // What was added after the checkpoint waits for the next one.
        if n >= checkpoint.size {
            return Ok(ControlFlow::Break(()));
        }
        writer.push(leaf, &mut write).map(ControlFlow::Continue)
    })?;
    writer.finish(&mut write)?;
    put(dir, "checkpoint", note.to_string().as_bytes())?;
    bar.finish_and_clear();
    tell(session, &checkpoint, &[])
}

/// The checkpoint of a directory that `log export` wrote.
fn checkpoint_in(dir: &Path) -> Result<PathBuf, Error> {
    let file = dir.join("checkpoint");
    if file.try_exists().map_err(|e| Error::io(file.display(), e))? {
        return Ok(file);
    }
    let text = format!(
        "no log in {0}: it has no checkpoint; write one with `keyfall log export STORE {1}`, or \
         name another directory",
        dir.display(),
        word(dir)
    );
    Err(Error::new(ErrorKind::Absent, text))
}

fn serve(dir: &Path, listen: &str) -> Done {
    checkpoint_in(dir)?;
    let failed = |e: std::io::Error| Error::io(format_args!("listening on {listen}"), e);
    let listener = TcpListener::bind(listen).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    line(format_args!("serving {} on http://{address}", dir.display()))?;
    serve::serve(dir, &listener)
}

/// Has a witness cosign the published checkpoint, by C2SP tlog-witness.
fn cosign(session: &Session, dir: &Path, url: &str, key: &VerifierKey) -> Done {
    let file = checkpoint_in(dir)?;
    let note: Note = read_text(&file)?.parse().map_err(|e: Error| e.context(file.display()))?;
    let checkpoint: Checkpoint = note.text().parse()?;
    let witness = Witness::new(url);
    let mut old = 0;
    // It may have seen a larger log and say so; one more round suffices.
    for _ in 0..2 {
        match witness.add(dir, old, &checkpoint, &note)? {
            Answer::Cosigned(lines) => {
                let note = note.with_lines(&lines)?;
                key.verify(&note).map_err(|e| e.context(url))?;
                put(dir, "checkpoint", note.to_string().as_bytes())?;
                return tell(session, &checkpoint, &[key.name()]);
            }
            Answer::HasSeen(size) if size > checkpoint.size => {
                let text = format!(
                    "the witness {url} has seen {size} leaves of this log, {} has {}: the log was \
                     rolled back, or this is an older export; export the log again",
                    dir.display(),
                    checkpoint.size
                );
                return Err(Error::new(ErrorKind::Refused, text).into());
            }
            Answer::HasSeen(size) => old = size,
        }
    }
    Err(witness.failed("its answers contradict each other").into())
}

/// A witness, over HTTP.
struct Witness<'w> {
    url: &'w str,
    agent: ureq::Agent,
}

/// What a witness answers to a checkpoint.
enum Answer {
    /// Lines with its signature.
    Cosigned(String),
    /// The size of the log that it has seen, which is not the one that the proof begins at.
    HasSeen(u64),
}

impl<'w> Witness<'w> {
    fn new(url: &'w str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)));
        Witness { url, agent: config.build().into() }
    }

    /// Sends `add-checkpoint`: `old SIZE`, the consistency proof, an empty line, the checkpoint.
    fn add(
        &self,
        dir: &Path,
        old: u64,
        checkpoint: &Checkpoint,
        note: &Note,
    ) -> Result<Answer, Error> {
        let tiles = Tiles::new(checkpoint.size, log_files(dir));
        let proof = consistency(&tiles, old, checkpoint.size)?;
        let proof: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
        let body = format!("old {old}\n{proof}\n{note}");
        let url = format!("{}/add-checkpoint", self.url.trim_end_matches('/'));
        let sent = self.agent.post(&url).send(body.as_bytes());
        let mut answer = sent.map_err(|e| self.failed(e))?;
        let text = answer.body_mut().read_to_string().map_err(|e| self.failed(e))?;
        match answer.status().as_u16() {
            200 => Ok(Answer::Cosigned(text)),
            409 => {
                let size = text.trim().parse();
                let size = size.map_err(|_| self.failed("it answers 409 without a size"))?;
                Ok(Answer::HasSeen(size))
            }
            status => Err(self.failed(format!("it answers {status}: {}", text.trim()))),
        }
    }

    fn failed(&self, e: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Io, format!("the witness {}: {e}", self.url))
    }
}
