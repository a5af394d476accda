//! Reading a speech corpus in the layout of Mozilla Common Voice.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Component, Path, PathBuf};

use keyfall::{Error, ErrorKind};

const TABLE: &str = "validated.tsv";

/// One recording with what belongs to it.
pub(crate) struct Clip {
    pub client: String,
    /// `<locale>/clips/<file>`.
    pub name: String,
    pub path: PathBuf,
    pub sentence: String,
    /// What was done because of it, each a JSON object.
    pub actions: Vec<String>,
}

/// A corpus, listed and checked; no recording is read yet.
pub(crate) struct Corpus {
    pub clips: Vec<Clip>,
    /// Rows without their file.
    pub missing: Vec<String>,
    /// Actions whose clip no row names.
    pub unmatched: u64,
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

/// Lists a corpus: a locale's folder, or the folder above several.
pub(crate) fn read(dir: &Path, actions: Option<&Path>) -> Result<Corpus, Error> {
    let mut locales = Vec::new();
    if dir.join(TABLE).is_file() {
        locales.push(dir.to_owned());
    } else {
        let entries =
            std::fs::read_dir(dir).map_err(|e| Error::io(format!("reading the corpus {}", dir.display()), e))?;
        locales.extend(entries.filter_map(|e| e.ok()).map(|e| e.path()).filter(|p| p.join(TABLE).is_file()));
        locales.sort();
    }
    if locales.is_empty() {
        return Err(invalid(format!(
            "{} holds no {TABLE}, nor does a folder in it; name a locale's folder or the one above",
            dir.display()
        )));
    }
    let mut by_clip = match actions {
        Some(file) => read_actions(file)?,
        None => HashMap::new(),
    };
    let mut corpus = Corpus { clips: Vec::new(), missing: Vec::new(), unmatched: 0 };
    for locale in locales {
        read_locale(&locale, &mut by_clip, &mut corpus)?;
    }
    corpus.unmatched = by_clip.values().map(|a| a.len() as u64).sum();
    Ok(corpus)
}

fn read_locale(dir: &Path, actions: &mut HashMap<String, Vec<String>>, corpus: &mut Corpus) -> Result<(), Error> {
    let place = dir.join(TABLE);
    let table = |e: csv::Error| invalid(format!("{}: {e}", place.display()));
    let mut rows =
        csv::ReaderBuilder::new().delimiter(b'\t').quoting(false).flexible(true).from_path(&place).map_err(table)?;
    let headings = rows.headers().map_err(table)?.clone();
    let column = |name: &str| {
        headings
            .iter()
            .position(|h| h == name)
            .ok_or_else(|| invalid(format!("{} has no column {name}", place.display())))
    };
    let (client, path, sentence) = (column("client_id")?, column("path")?, column("sentence")?);
    let locale = dir
        .canonicalize()
        .ok()
        .and_then(|d| d.file_name().map(|n| n.to_string_lossy().into_owned()))
        .unwrap_or_default();
    for (n, row) in rows.records().enumerate() {
        let row = row.map_err(table)?;
        let field = |at: usize| {
            row.get(at).ok_or_else(|| invalid(format!("{} row {}: too few columns", place.display(), n + 2)))
        };
        let file = field(path)?;
        if file.is_empty() || Path::new(file).components().any(|c| !matches!(c, Component::Normal(_))) {
            return Err(invalid(format!("{} row {}: {file:?} is no file in clips/", place.display(), n + 2)));
        }
        let clip = dir.join("clips").join(file);
        if !clip.is_file() {
            corpus.missing.push(format!("{} row {}: {}", place.display(), n + 2, clip.display()));
            continue;
        }
        let name = format!("{locale}/clips/{file}");
        corpus.clips.push(Clip {
            client: field(client)?.to_owned(),
            path: clip,
            sentence: field(sentence)?.to_owned(),
            actions: actions.remove(&name).unwrap_or_default(),
            name,
        });
    }
    Ok(())
}

fn read_actions(place: &Path) -> Result<HashMap<String, Vec<String>>, Error> {
    let io = |e| Error::io(format!("reading the actions {}", place.display()), e);
    let mut by_clip: HashMap<String, Vec<String>> = HashMap::new();
    for (n, line) in BufReader::new(File::open(place).map_err(io)?).lines().enumerate() {
        let line = line.map_err(io)?;
        if line.trim().is_empty() {
            continue;
        }
        let bad = |why: &str| invalid(format!("{} line {}: {why}", place.display(), n + 1));
        let mut action: serde_json::Value = serde_json::from_str(&line).map_err(|e| bad(&format!("not JSON ({e})")))?;
        let object = action.as_object_mut().ok_or_else(|| bad("not a JSON object"))?;
        let clip = object.remove("clip").and_then(|c| c.as_str().map(str::to_owned)).ok_or_else(|| bad("no clip"))?;
        // Whose it is, the store knows.
        object.remove("client_id");
        by_clip.entry(clip).or_default().push(action.to_string());
    }
    Ok(by_clip)
}

/// Media type by a clip's extension.
pub(crate) fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("wav") => "audio/wav",
        Some("mp3") => "audio/mpeg",
        Some("flac") => "audio/flac",
        Some("ogg" | "opus") => "audio/ogg",
        _ => "application/octet-stream",
    }
}
