//! `keyfall log`.

mod serve;

use std::io::Write;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use keyfall::certificate::Leaf;
use keyfall::log::{Checkpoint, Note, TileWriter, Tiles, VerifierKey, check_files, consistency};
use keyfall::{Engine, Error, ErrorKind};
use serde_json::json;

use crate::args::{LogCommand, store_and};
use crate::commands::{Done, one, write_whole};
use crate::guarded;
use crate::output::{block, counted, line, progress, value};
use crate::small::{read_limited, read_text};
use crate::stores::{look, open};

pub(crate) fn run(command: LogCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        LogCommand::Key { places } => {
            let key = look(&one(places)?, cell)?.log().key()?;
            if json { value(&json!({"key": key.to_string()})) } else { line(key) }
        }
        LogCommand::Checkpoint { places } => {
            let note = open(&one(places)?, cell)?.log().checkpoint()?;
            if json { value(&json!({"checkpoint": note.to_string()})) } else { block(note.to_string().trim_end()) }
        }
        LogCommand::Prove { places } => {
            let (store, [index]) = store_and(places, ["INDEX"])?;
            let index = index.to_string_lossy().parse();
            let index = index.map_err(|_| Error::new(ErrorKind::Invalid, "INDEX is a number: the first leaf is 0"))?;
            let proof = open(&store, cell)?.log().proof(index)?;
            if json { value(&json!({"proof": proof.to_string()})) } else { block(proof.to_string().trim_end()) }
        }
        LogCommand::Export { places } => {
            let (store, [dir]) = store_and(places, ["DIR"])?;
            guarded::check_dir(&dir)?;
            export(&open(&store, cell)?, &dir, json)
        }
        LogCommand::Verify { dir, trust } => {
            let witnessed = trust.trust()?;
            let bar = progress("leaves checked", None);
            let mut odd = 0_u64;
            let (checkpoint, note) =
                check_files(&from_dir(&dir), &trust.key, trust.kept()?.as_ref(), &mut |n, leaf| {
                    bar.set_position(n);
                    odd += u64::from(String::from_utf8_lossy(leaf).parse::<Leaf>().is_err());
                    Ok(())
                })?;
            bar.finish_and_clear();
            if odd > 0 {
                return Err(
                    Error::new(ErrorKind::Corrupt, format!("{} of the log: no erase", counted(odd, "leaf"))).into()
                );
            }
            let cosigned = witnessed.cosigned(&note)?;
            told(&checkpoint, &cosigned.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), json)
        }
        LogCommand::Serve { dir, listen } => serve(&dir, &listen),
        LogCommand::Cosign { dir, witness, key } => {
            guarded::check_dir(&dir)?;
            cosign(&dir, &witness, &key, json)
        }
    }
}

fn told(checkpoint: &Checkpoint, cosigned: &[&str], json: bool) -> Done {
    let Checkpoint { origin, size, root } = checkpoint;
    if json {
        return value(&json!({"log": origin, "size": size, "root": root.to_string(), "cosigned": cosigned}));
    }
    line(format_args!("the log {origin} holds: {} under the root {root}", counted(*size, "leaf")))?;
    cosigned.iter().try_for_each(|name| line(format_args!("cosigned by {name}")))
}

/// Reads files of a log from a directory.
pub(crate) fn from_dir(dir: &Path) -> impl Fn(&str) -> Result<Vec<u8>, Error> + use<> {
    let dir = dir.to_owned();
    move |path| read_limited(&dir.join(path))
}

/// Writes a file beside its place, syncs it, and renames it.
fn put(dir: &Path, path: &str, bytes: &[u8]) -> Result<(), Error> {
    let place = dir.join(path);
    let failed = |e| Error::io(place.display(), e);
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    write_whole(&place, |file| file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed))
}

/// The checkpoint that was published, checked with the log's own key.
fn published(dir: &Path, key: &VerifierKey) -> Result<Option<(Checkpoint, Note)>, Error> {
    let file = dir.join("checkpoint");
    if !file.exists() {
        return Ok(None);
    }
    let note: Note = read_text(&file)?.parse().map_err(|e: Error| e.context(file.display()))?;
    Checkpoint::verified(&note, key).map(|checkpoint| Some((checkpoint, note)))
}

fn export(engine: &Engine, dir: &Path, json: bool) -> Done {
    let (mut note, key) = (engine.log().checkpoint()?, engine.log().key()?);
    let checkpoint = Checkpoint::verified(&note, &key)?;
    let old = match published(dir, &key)? {
        None => 0,
        Some((old, there)) => {
            let goes_on = old.size <= checkpoint.size && engine.log().consistency(old.size)?.0 == old.root;
            if !goes_on {
                return Err(Error::new(
                    ErrorKind::Refused,
                    format!(
                        "{} was published with {} leaves of another history: the store was rolled back, or the directory is another log's; publishing this would convict the log",
                        dir.display(),
                        old.size
                    ),
                )
                .into());
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
        // What was added since the checkpoint waits for the next one.
        if n >= checkpoint.size {
            return Ok(ControlFlow::Break(()));
        }
        writer.push(leaf, &mut write).map(ControlFlow::Continue)
    })?;
    writer.finish(&mut write)?;
    put(dir, "checkpoint", note.to_string().as_bytes())?;
    bar.finish_and_clear();
    told(&checkpoint, &[], json)
}

fn serve(dir: &Path, listen: &str) -> Done {
    let failed = |e: std::io::Error| Error::io(format_args!("listening on {listen}"), e);
    let listener = TcpListener::bind(listen).map_err(failed)?;
    line(format_args!("serving {} on http://{}", dir.display(), listener.local_addr().map_err(failed)?))?;
    serve::serve(dir, &listener)
}

/// C2SP tlog-witness, add-checkpoint: `old SIZE`, the consistency proof, an empty line, the checkpoint. 409 says which size it has.
fn cosign(dir: &Path, witness: &str, key: &VerifierKey, json: bool) -> Done {
    let file = dir.join("checkpoint");
    let mut note: Note = read_text(&file)?.parse().map_err(|e: Error| e.context(file.display()))?;
    let checkpoint: Checkpoint = note.text().parse()?;
    let tiles = Tiles::new(checkpoint.size, from_dir(dir));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    let failed = |e: &dyn std::fmt::Display| Error::new(ErrorKind::Io, format!("the witness {witness}: {e}"));
    let mut old = 0;
    for _ in 0..2 {
        let proof = consistency(&tiles, old, checkpoint.size)?;
        let proof: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
        let body = format!("old {old}\n{proof}\n{note}");
        let url = format!("{}/add-checkpoint", witness.trim_end_matches('/'));
        let mut answer = agent.post(&url).send(body.as_bytes()).map_err(|e| failed(&e))?;
        let text = answer.body_mut().read_to_string().map_err(|e| failed(&e))?;
        match answer.status().as_u16() {
            200 => {
                note = note.with_lines(&text)?;
                key.verify(&note).map_err(|e| e.context(witness))?;
                put(dir, "checkpoint", note.to_string().as_bytes())?;
                return told(&checkpoint, &[key.name()], json);
            }
            // It has seen another size; only a larger one than ours is trouble.
            409 => {
                old = text.trim().parse().map_err(|_| failed(&"it answers 409 without a size"))?;
                if old > checkpoint.size {
                    return Err(Error::new(
                        ErrorKind::Refused,
                        format!("the witness {witness} has seen {old} leaves of this log, {} has {}: the log was rolled back", dir.display(), checkpoint.size),
                    )
                    .into());
                }
            }
            status => return Err(failed(&format!("it answers {status}: {}", text.trim())).into()),
        }
    }
    Err(failed(&"its answers contradict each other").into())
}
