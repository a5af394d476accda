//! Reading a speech corpus in the layout of Mozilla Common Voice, row by row: it may be larger than memory.
//!
//! A table is lines of cells with a TAB between them, and no cell holds a TAB, CR or LF. So each line has as many cells as the
//! heading, and ends as the heading does: whatever does not was broken by such a character, and is refused.

use std::cell::Cell;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use keyfall::{Error, ErrorKind};

const TABLE: &str = "validated.tsv";
/// Longest line of a table or of actions.
const LINE_MAX: usize = 1 << 20;

/// What was done because of a recording.
pub(crate) struct Action {
    /// Whom it is marked for.
    pub client: Option<String>,
    /// A JSON object.
    pub text: String,
    /// Where in its file it begins.
    at: u64,
}

/// One row: a recording with what belongs to it.
pub(crate) struct Row {
    pub client: String,
    /// `<locale>/clips/<file>`.
    pub name: String,
    pub path: PathBuf,
    pub sentence: String,
    pub actions: Vec<Action>,
    /// Whether its recording is there.
    pub there: bool,
    /// Table and line, for a person.
    pub place: String,
    /// Stands for everything that was read of it: another one means that something changed.
    pub digest: u64,
}

/// Tables and actions, found; rows are read when they are asked for.
pub(crate) struct Corpus {
    locales: Vec<PathBuf>,
    actions: Option<Actions>,
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

pub(crate) fn digest(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Reads a line with its end, of at most [`LINE_MAX`] bytes; whether there was one.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    Ok(from.take(LINE_MAX as u64 + 1).read_until(b'\n', line)? > 0)
}

/// Finds a corpus: a locale's folder, or the folder above several. Reads through the actions.
pub(crate) fn find(dir: &Path, actions: Option<&Path>) -> Result<Corpus, Error> {
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
    Ok(Corpus { locales, actions: actions.map(Actions::read).transpose()? })
}

impl Corpus {
    /// Shows each row, from the first: a clip's actions with the first row that names it.
    pub(crate) fn rows<E: From<Error>>(&self, see: &mut dyn FnMut(Row) -> Result<(), E>) -> Result<(), E> {
        self.actions.iter().flat_map(|actions| &actions.found).for_each(|(.., taken)| taken.set(false));
        self.locales.iter().try_for_each(|locale| self.rows_of(locale, see))
    }

    /// Actions whose clip no row named, of those that [`Corpus::rows`] showed last.
    pub(crate) fn unmatched(&self) -> u64 {
        let all = self.actions.iter().flat_map(|actions| &actions.found);
        all.filter(|(.., taken)| !taken.get()).count() as u64
    }

    fn rows_of<E: From<Error>>(&self, dir: &Path, see: &mut dyn FnMut(Row) -> Result<(), E>) -> Result<(), E> {
        let place = dir.join(TABLE);
        let io = |e| Error::io(format!("reading {}", place.display()), e);
        let mut table = BufReader::new(File::open(&place).map_err(io)?);
        let mut line = Vec::new();
        read_line(&mut table, &mut line).map_err(io)?;
        let (heading, end) = cells(line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line), None)
            .map_err(|why| invalid(format!("{} line 1: {why}", place.display())))?;
        let column = |name: &str| {
            let mut all = heading.iter().enumerate().filter(|(_, h)| **h == name).map(|(at, _)| at);
            match (all.next(), all.next()) {
                (Some(at), None) => Ok(at),
                (None, _) => Err(invalid(format!("{} has no column {name}", place.display()))),
                _ => Err(invalid(format!("{} has two columns {name}; which is meant?", place.display()))),
            }
        };
        let (client, path, sentence) = (column("client_id")?, column("path")?, column("sentence")?);
        let columns = heading.len();
        let locale = dir.canonicalize().ok().and_then(|d| d.file_name().map(|n| n.to_string_lossy().into_owned()));
        let locale = locale.unwrap_or_default();
        let (mut number, mut blank, mut line) = (1_u64, None, Vec::new());
        while read_line(&mut table, &mut line).map_err(io)? {
            number += 1;
            let at = format!("{} line {number}", place.display());
            if line.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                blank = blank.or(Some(number));
                continue;
            }
            if let Some(blank) = blank {
                return Err(invalid(format!(
                    "{} line {blank} is blank, and rows follow: a cell of the row before holds an LF; nothing was imported",
                    place.display()
                ))
                .into());
            }
            let (cells, _) =
                cells(&line, Some(end)).map_err(|why| invalid(format!("{at}: {why}; nothing was imported")))?;
            if cells.len() != columns {
                let few = if cells.len() < columns { "too few columns" } else { "too many columns" };
                return Err(invalid(format!(
                    "{at}: {few}, {} where the heading has {columns}: a cell of this row or of the one before holds a TAB, CR or LF; nothing was imported",
                    cells.len()
                ))
                .into());
            }
            let file = cells[path];
            if file.is_empty() || Path::new(file).components().any(|c| !matches!(c, Component::Normal(_))) {
                return Err(invalid(format!("{at}: {file:?} is no file in clips/; nothing was imported")).into());
            }
            let name = format!("{locale}/clips/{file}");
            let clip = dir.join("clips").join(file);
            let meta = clip_meta(&clip).map_err(|e| e.context(&at))?;
            let actions = match &self.actions {
                Some(actions) => actions.take(&name)?,
                None => Vec::new(),
            };
            let digest = {
                let of_actions: Vec<_> = actions.iter().map(|a| (&a.client, &a.text)).collect();
                digest((&line, meta, of_actions))
            };
            see(Row {
                client: cells[client].to_owned(),
                sentence: cells[sentence].to_owned(),
                path: clip,
                name,
                actions,
                there: meta.is_some(),
                place: at,
                digest,
            })?;
        }
        Ok(())
    }

    /// Table and line of an action, for a person.
    pub(crate) fn place_of(&self, action: &Action) -> String {
        self.actions.as_ref().map_or(String::new(), |actions| actions.place_of(action.at))
    }
}

/// What tells a recording's file from a changed one; `None` where there is none.
pub(crate) type ClipMeta = (u64, u64, i64, i64);

/// Looks at a clip, and whether it can be opened.
fn clip_meta(clip: &Path) -> Result<Option<ClipMeta>, Error> {
    match clip.metadata() {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Ok(None),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(Error::io(clip.display(), e)),
    }
    let file = File::open(clip).map_err(|e| Error::io(clip.display(), e))?;
    meta_of(&file).map(Some).map_err(|e| Error::io(clip.display(), e))
}

pub(crate) fn meta_of(file: &File) -> io::Result<ClipMeta> {
    let meta = file.metadata()?;
    Ok((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

/// The cells of a line, and how it ends: with a CR before the LF or without; the last line may have no end.
fn cells(line: &[u8], end: Option<bool>) -> Result<(Vec<&str>, bool), String> {
    if line.len() > LINE_MAX {
        return Err(format!("longer than {LINE_MAX} bytes"));
    }
    let (line, ended) = line.strip_suffix(b"\n").map_or((line, false), |line| (line, true));
    let (line, cr) = line.strip_suffix(b"\r").map_or((line, false), |line| (line, true));
    if line.contains(&b'\r') {
        return Err("a CR stands in a cell".to_owned());
    }
    if ended && end.is_some_and(|end| end != cr) {
        let what = if cr { "a CR" } else { "an LF" };
        return Err(format!("it ends otherwise than the heading: {what} stands in a cell"));
    }
    if !ended && cr && end == Some(false) {
        return Err("a CR stands in a cell".to_owned());
    }
    let line = str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    Ok((line.split('\t').collect(), cr))
}

/// A file of actions, as JSON lines. Of each only where it is stays in memory, and for which clip, as a hash.
struct Actions {
    place: PathBuf,
    file: File,
    found: Vec<(u64, u64, Cell<bool>)>,
}

impl Actions {
    fn read(place: &Path) -> Result<Self, Error> {
        let io = |e| Error::io(format!("reading the actions {}", place.display()), e);
        let file = File::open(place).map_err(io)?;
        let (mut lines, mut line) = (BufReader::new(file.try_clone().map_err(io)?), Vec::new());
        let (mut found, mut at, mut number) = (Vec::new(), 0, 0_u64);
        while read_line(&mut lines, &mut line).map_err(io)? {
            number += 1;
            if !line.trim_ascii().is_empty() {
                let (clip, _) =
                    parse(&line, at).map_err(|why| invalid(format!("{} line {number}: {why}", place.display())))?;
                found.push((digest(clip), at, Cell::new(false)));
            }
            at += line.len() as u64;
        }
        found.sort_unstable_by_key(|(clip, at, _)| (*clip, *at));
        Ok(Actions { place: place.to_owned(), file, found })
    }

    /// The actions for a clip that were not taken yet, in the order of their lines.
    fn take(&self, clip: &str) -> Result<Vec<Action>, Error> {
        let hash = digest(clip);
        let from = self.found.partition_point(|(of, ..)| *of < hash);
        let mut actions = Vec::new();
        for (_, at, taken) in self.found[from..].iter().take_while(|(of, ..)| *of == hash) {
            if taken.get() {
                continue;
            }
            let changed =
                |why: String| invalid(format!("{}: {why}; did it change while it was read?", self.place.display()));
            let (of, action) = parse(&self.line(*at)?, *at).map_err(changed)?;
            if of == clip {
                taken.set(true);
                actions.push(action);
            }
        }
        Ok(actions)
    }

    fn line(&self, at: u64) -> Result<Vec<u8>, Error> {
        let (mut line, mut block) = (Vec::new(), [0; 512]);
        while line.len() <= LINE_MAX {
            let n = self.file.read_at(&mut block, at + line.len() as u64);
            let n = n.map_err(|e| Error::io(format!("reading the actions {}", self.place.display()), e))?;
            let end = block[..n].iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&block[..end.map_or(n, |end| end + 1)]);
            if end.is_some() || n == 0 {
                break;
            }
        }
        Ok(line)
    }

    fn place_of(&self, at: u64) -> String {
        let mut lines = 1;
        if let Ok(file) = File::open(&self.place) {
            let before = BufReader::new(file).take(at);
            lines += before.split(b'\n').map_while(Result::ok).count();
        }
        format!("{} line {lines}", self.place.display())
    }
}

/// Reads a line of actions: for which clip, and what.
fn parse(line: &[u8], at: u64) -> Result<(String, Action), String> {
    if line.len() > LINE_MAX {
        return Err(format!("longer than {LINE_MAX} bytes"));
    }
    let mut action: serde_json::Value = serde_json::from_slice(line).map_err(|e| format!("not JSON ({e})"))?;
    let object = action.as_object_mut().ok_or("not a JSON object")?;
    let clip = object.remove("clip").and_then(|c| c.as_str().map(str::to_owned)).ok_or("no clip")?;
    // Whose it is, the row says; what contradicts it is found out there.
    let client = match object.remove("client_id") {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(client)) => Some(client),
        Some(_) => return Err("client_id is no text".to_owned()),
    };
    Ok((clip, Action { client, text: action.to_string(), at }))
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
