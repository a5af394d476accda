//! Reading a speech corpus in the layout of Mozilla Common Voice, row by row: it may be larger than
//! memory.
//!
//! A table is lines of cells with a TAB between them, and no cell holds a TAB, CR or LF. So each
//! line has as many cells as the heading, and ends as the heading does: a line that does not was
//! broken by such a character, and is refused.

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
pub(super) struct Action {
    /// The user that it is marked for.
    pub(super) client: Option<String>,
    /// The action as JSON text: one object.
    pub(super) text: String,
    /// Where it begins in its file.
    at: u64,
}

/// One row: a recording with what belongs to it.
pub(super) struct Row {
    pub(super) client: String,
    /// Path of the recording within the corpus: `<locale>/clips/<file>`.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) sentence: String,
    pub(super) actions: Vec<Action>,
    /// Whether its recording exists.
    pub(super) there: bool,
    /// Table and line, for a person.
    pub(super) place: String,
    /// Stands for everything that was read of it: if it differs, something changed.
    pub(super) digest: u64,
}

/// Tables and actions that were found; rows are read when they are asked for.
pub(super) struct Corpus {
    locales: Vec<PathBuf>,
    actions: Option<Actions>,
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

/// A number that stands for a value while the process runs.
pub(super) fn digest_of(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Reads a line with its end, of at most [`LINE_MAX`] bytes; whether there was one.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    Ok(from.take(LINE_MAX as u64 + 1).read_until(b'\n', line)? > 0)
}

impl Corpus {
    /// Finds a corpus: a locale's folder, or the folder above several. Reads through the actions.
    pub(super) fn find(dir: &Path, actions: Option<&Path>) -> Result<Corpus, Error> {
        let mut locales = Vec::new();
        if dir.join(TABLE).is_file() {
            locales.push(dir.to_owned());
        } else {
            let io = |e| Error::io(format!("reading the corpus {}", dir.display()), e);
            let entries = std::fs::read_dir(dir).map_err(io)?;
            let dirs = entries.filter_map(|entry| entry.ok()).map(|entry| entry.path());
            locales.extend(dirs.filter(|dir| dir.join(TABLE).is_file()));
            locales.sort();
        }
        if locales.is_empty() {
            return Err(invalid(format!(
                "{} holds no {TABLE}, nor does a folder in it; name a locale's folder or the one \
                 above",
                dir.display()
            )));
        }
        Ok(Corpus { locales, actions: actions.map(Actions::read).transpose()? })
    }

    /// Shows each row, from the first: a clip's actions with the first row that names it.
    pub(super) fn rows<E: From<Error>>(
        &self,
        see: &mut dyn FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        self.marks().for_each(|mark| mark.taken.set(false));
        self.locales.iter().try_for_each(|locale| self.rows_of(locale, see))
    }

    /// The number of actions whose clip no row named when [`Corpus::rows`] was called last.
    pub(super) fn unmatched(&self) -> u64 {
        self.marks().filter(|mark| !mark.taken.get()).count() as u64
    }

    fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.actions.iter().flat_map(|actions| &actions.found)
    }

    fn rows_of<E: From<Error>>(
        &self,
        dir: &Path,
        see: &mut dyn FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut table = Table::open(dir)?;
        while let Some(line) = table.next_line()? {
            see(self.row(&table, &line)?)?;
        }
        Ok(())
    }

    fn row(&self, table: &Table<'_>, line: &[u8]) -> Result<Row, Error> {
        let at = table.line_place(table.number);
        let cells = table.cells(line)?;
        let columns = &table.columns;
        let file = cells[columns.path];
        let is_name = |c: Component<'_>| matches!(c, Component::Normal(_));
        if file.is_empty() || !Path::new(file).components().all(is_name) {
            let text = format!("{at}: {file:?} is not a file in clips/; nothing was imported");
            return Err(invalid(text));
        }
        let name = format!("{}/clips/{file}", table.locale);
        let path = table.dir.join("clips").join(file);
        let meta = clip_meta(&path).map_err(|e| e.context(&at))?;
        let actions = match &self.actions {
            Some(actions) => actions.take(&name)?,
            None => Vec::new(),
        };
        let digest = {
            let of_actions: Vec<_> = actions.iter().map(|a| (&a.client, &a.text)).collect();
            digest_of((line, meta, of_actions))
        };
        Ok(Row {
            client: cells[columns.client].to_owned(),
            sentence: cells[columns.sentence].to_owned(),
            path,
            name,
            actions,
            there: meta.is_some(),
            place: at,
            digest,
        })
    }

    /// Table and line of an action, for a person.
    pub(super) fn place_of(&self, action: &Action) -> String {
        self.actions.as_ref().map_or(String::new(), |actions| actions.place_of(action.at))
    }
}

/// A table that is being read.
struct Table<'d> {
    dir: &'d Path,
    place: PathBuf,
    /// The name of the locale's folder.
    locale: String,
    lines: BufReader<File>,
    columns: Columns,
    /// Whether its lines end with CR and LF.
    with_cr: bool,
    /// The line that was read last, from 1.
    number: u64,
    /// The first blank line.
    blank: Option<u64>,
}

/// How many columns a table has, and where those are that are read.
struct Columns {
    number: usize,
    client: usize,
    path: usize,
    sentence: usize,
}

impl<'d> Table<'d> {
    /// Opens the table in a locale's folder, and reads its heading.
    fn open(dir: &'d Path) -> Result<Self, Error> {
        let place = dir.join(TABLE);
        let io = |e| Error::io(format!("reading {}", place.display()), e);
        let mut lines = BufReader::new(File::open(&place).map_err(io)?);
        let mut line = Vec::new();
        read_line(&mut lines, &mut line).map_err(io)?;
        let heading = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line);
        let (heading, with_cr) = cells(heading, None)
            .map_err(|why| invalid(format!("{} line 1: {why}", place.display())))?;
        let column = |name: &str| {
            let all = heading.iter().enumerate();
            let mut all = all.filter(|(_, h)| **h == name).map(|(at, _)| at);
            let table = place.display();
            match (all.next(), all.next()) {
                (Some(at), None) => Ok(at),
                (None, _) => Err(invalid(format!("{table} has no column {name}"))),
                _ => Err(invalid(format!("{table} has two columns {name}; which is meant?"))),
            }
        };
        let (client, path, sentence) = (column("client_id")?, column("path")?, column("sentence")?);
        let columns = Columns { number: heading.len(), client, path, sentence };
        let name = dir.canonicalize().ok();
        let name = name.and_then(|d| d.file_name().map(|n| n.to_string_lossy().into_owned()));
        let locale = name.unwrap_or_default();
        let (number, blank) = (1, None);
        Ok(Table { dir, place, locale, lines, columns, with_cr, number, blank })
    }

    /// The next line that is not blank. Blank lines may be at the end alone.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut line = Vec::new();
        let io = |e| Error::io(format!("reading {}", self.place.display()), e);
        while read_line(&mut self.lines, &mut line).map_err(io)? {
            self.number += 1;
            if line.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                self.blank = self.blank.or(Some(self.number));
                continue;
            }
            let Some(blank) = self.blank else { return Ok(Some(line)) };
            return Err(invalid(format!(
                "{} is blank, and rows follow: a cell of the row before holds an LF; nothing was \
                 imported",
                self.line_place(blank)
            )));
        }
        Ok(None)
    }

    fn line_place(&self, number: u64) -> String {
        format!("{} line {number}", self.place.display())
    }

    fn cells<'l>(&self, line: &'l [u8]) -> Result<Vec<&'l str>, Error> {
        let at = self.line_place(self.number);
        let broken = |why| invalid(format!("{at}: {why}; nothing was imported"));
        let (cells, _) = cells(line, Some(self.with_cr)).map_err(broken)?;
        let (n, wanted) = (cells.len(), self.columns.number);
        if n == wanted {
            return Ok(cells);
        }
        let few = if n < wanted { "too few columns" } else { "too many columns" };
        Err(invalid(format!(
            "{at}: {few}, {n} where the heading has {wanted}: a cell of this row or of the one \
             before holds a TAB, CR or LF; nothing was imported"
        )))
    }
}

/// What tells a recording's file from a changed one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ClipMeta {
    inode: u64,
    pub(super) length: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// Looks at a clip, and whether it can be opened; `None` if there is none.
fn clip_meta(clip: &Path) -> Result<Option<ClipMeta>, Error> {
    match clip.metadata() {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Ok(None),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(Error::io(clip.display(), e)),
    }
    let file = File::open(clip).map_err(|e| Error::io(clip.display(), e))?;
    meta_of(&file).map(Some).map_err(|e| Error::io(clip.display(), e))
}

/// What tells this file from a changed one.
pub(super) fn meta_of(file: &File) -> io::Result<ClipMeta> {
    let meta = file.metadata()?;
    Ok(ClipMeta {
        inode: meta.ino(),
        length: meta.len(),
        seconds: meta.mtime(),
        nanoseconds: meta.mtime_nsec(),
    })
}

/// The cells of a line, and how it ends: with a CR before the LF or without; the last line may have
/// no end.
fn cells(line: &[u8], end: Option<bool>) -> Result<(Vec<&str>, bool), String> {
    if line.len() > LINE_MAX {
        return Err(format!("longer than {LINE_MAX} bytes"));
    }
    let (line, ended) = line.strip_suffix(b"\n").map_or((line, false), |line| (line, true));
    let (line, cr) = line.strip_suffix(b"\r").map_or((line, false), |line| (line, true));
    if line.contains(&b'\r') {
        return Err("there is a CR in a cell".to_owned());
    }
    if ended && end.is_some_and(|end| end != cr) {
        let what = if cr { "a CR" } else { "an LF" };
        return Err(format!("it does not end as the heading does: there is {what} in a cell"));
    }
    if !ended && cr && end == Some(false) {
        return Err("there is a CR in a cell".to_owned());
    }
    let line = str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    Ok((line.split('\t').collect(), cr))
}

/// A file of actions, as JSON lines. Of each, memory holds only where it is and a hash of its clip.
struct Actions {
    place: PathBuf,
    file: File,
    /// By clip, and then by line.
    found: Vec<Mark>,
}

/// Where an action is.
struct Mark {
    /// A hash of the clip's name.
    clip: u64,
    at: u64,
    /// Whether a row took it.
    taken: Cell<bool>,
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
                let (clip, _) = parse(&line, at)
                    .map_err(|why| invalid(format!("{} line {number}: {why}", place.display())))?;
                found.push(Mark { clip: digest_of(clip), at, taken: Cell::new(false) });
            }
            at += line.len() as u64;
        }
        found.sort_unstable_by_key(|mark| (mark.clip, mark.at));
        Ok(Actions { place: place.to_owned(), file, found })
    }

    /// Takes the actions for a clip that were not taken yet, in the order of their lines.
    fn take(&self, clip: &str) -> Result<Vec<Action>, Error> {
        let hash = digest_of(clip);
        let from = self.found.partition_point(|mark| mark.clip < hash);
        let mut actions = Vec::new();
        let marks = self.found[from..].iter().take_while(|mark| mark.clip == hash);
        for Mark { at, taken, .. } in marks.filter(|mark| !mark.taken.get()) {
            let changed = |why: String| {
                let place = self.place.display();
                invalid(format!("{place}: {why}; did it change while it was read?"))
            };
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
            let n = n.map_err(|e| {
                Error::io(format!("reading the actions {}", self.place.display()), e)
            })?;
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

/// Reads an action: the name of its clip, and what was done.
fn parse(line: &[u8], at: u64) -> Result<(String, Action), String> {
    if line.len() > LINE_MAX {
        return Err(format!("longer than {LINE_MAX} bytes"));
    }
    let mut action: serde_json::Value =
        serde_json::from_slice(line).map_err(|e| format!("not JSON ({e})"))?;
    let object = action.as_object_mut().ok_or("not a JSON object")?;
    let clip =
        object.remove("clip").and_then(|c| c.as_str().map(str::to_owned)).ok_or("no clip")?;
    // The row says whose it is; an action that contradicts it is refused there.
    let client = match object.remove("client_id") {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(client)) => Some(client),
        Some(_) => return Err("client_id is not text".to_owned()),
    };
    Ok((clip, Action { client, text: action.to_string(), at }))
}
