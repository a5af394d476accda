//! `keyfall import`: a speech corpus, row by row, many rows in one commit.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use keyfall::engine::{Batch, Source};
use keyfall::{Class, Engine, Error, ErrorKind, Put, UserId};
use serde_json::json;

use crate::commands::Done;
use crate::corpus::{self, Clip};
use crate::output::{self, line, progress, value};

/// Rows of a corpus in one commit.
const ROWS: usize = 32;

/// What is counted while importing.
#[derive(Default)]
struct Imported {
    users: std::collections::HashSet<String>,
    recordings: u64,
    transcripts: u64,
    actions: u64,
    bytes: u64,
}

/// Adds a row to a batch: an interaction with its recording, the transcript of it, and the actions from that. Returns the recording's bytes.
fn add(engine: &Engine, batch: &mut Batch, clip: &Clip) -> Result<u64, Error> {
    let user = UserId::new(clip.client.clone())?;
    let interaction = engine.new_interaction()?;
    let put = |class: Class| Put::new(user.clone(), class).interaction(interaction);
    let file = File::open(&clip.path).map_err(|e| Error::io(clip.path.display(), e))?;
    let bytes = file.metadata().map_err(|e| Error::io(clip.path.display(), e))?.len();
    let audio = Source::Added(batch.add(put(Class::audio()).media_type(corpus::media_type(&clip.path)), file)?);
    let text = put(Class::transcript()).media_type("text/plain; charset=utf-8").derived_from(audio);
    let text = Source::Added(batch.add(text, clip.sentence.as_bytes())?);
    for action in &clip.actions {
        batch.add(put(Class::action()).media_type("application/json").derived_from(text), action.as_bytes())?;
    }
    Ok(bytes)
}

/// Imports a corpus. The flags: print ids, pass over rows without their file, print JSON.
pub(crate) fn run(engine: &Engine, dir: &Path, actions: Option<&Path>, (ids, skip, json): (bool, bool, bool)) -> Done {
    let corpus = corpus::read(dir, actions)?;
    if let Some(first) = corpus.missing.first().filter(|_| !skip) {
        let rest = corpus.missing.len() - 1;
        return Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "{first} is not there (and {rest} more); nothing was imported; --skip-missing passes over such rows"
            ),
        )
        .into());
    }
    let bar = progress("recordings", Some(corpus.clips.len() as u64));
    let mut done = Imported::default();
    for rows in corpus.clips.chunks(ROWS) {
        let mut batch = engine.batch();
        let mut names = Vec::new();
        for clip in rows {
            done.bytes += add(engine, &mut batch, clip).map_err(|e| e.context(&clip.name))?;
            names.extend([(clip, "audio"), (clip, "transcript")]);
            names.extend(clip.actions.iter().map(|_| (clip, "action")));
            done.recordings += 1;
            done.transcripts += 1;
            done.actions += clip.actions.len() as u64;
            done.users.insert(clip.client.clone());
        }
        let put = batch.commit()?;
        if ids {
            let mut out = io::stdout().lock();
            for (id, (clip, class)) in put.iter().zip(names) {
                if json {
                    writeln!(
                        out,
                        "{}",
                        json!({"id": id.to_string(), "user": clip.client, "class": class, "clip": clip.name})
                    )?;
                } else {
                    writeln!(out, "{id}\t{}\t{class}\t{}", clip.client, clip.name)?;
                }
            }
            out.flush()?;
        }
        bar.inc(rows.len() as u64);
    }
    bar.finish_and_clear();
    if corpus.unmatched > 0 {
        writeln!(
            io::stderr(),
            "keyfall: {} actions name a clip that no row has; they were passed over",
            corpus.unmatched
        )?;
    }
    if json {
        let told = json!({
            "users": done.users.len(), "recordings": done.recordings, "transcripts": done.transcripts,
            "actions": done.actions, "bytes": done.bytes, "skipped": corpus.missing.len(), "unmatched_actions": corpus.unmatched,
        });
        // Behind lines of ids it is a line too.
        return if ids { line(told) } else { value(&told) };
    }
    line(format_args!(
        "imported {} recordings ({}), {} transcripts and {} actions of {} users",
        done.recordings,
        output::bytes(done.bytes),
        done.transcripts,
        done.actions,
        done.users.len()
    ))
}
