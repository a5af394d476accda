//! Where a store and its cell are, and how they are made and opened.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyfall::cell::{FileCell, RootCell};
use keyfall::engine::{Keeper, OpenAs};
use keyfall::env::System;
use keyfall::quorum::net::{make_cell, open_cell};
use keyfall::quorum::{Member, Rule};
use keyfall::store::{SledStore, Store};
use keyfall::{Engine, Error, ErrorKind, Options};

use crate::outfile::{LINKS_MAX, Replace, write_to};
use crate::remedy::{self, word};
use crate::small::read_limited;
use crate::{guarded, keyholders, output};

/// First word of the line that binds a cell's place to a store.
const BOUND: &str = "store ";
/// Longest file that names a cell's place.
const POINTER_MAX: u64 = 16 << 10;

/// `STORE.cell`, beside the store: the cell itself, or a file that names its place. What lies in the store is never asked where
/// the cell is: who writes there would choose the key.
pub(crate) fn default_cell(store: &Path) -> PathBuf {
    let by_letters = store.components().as_path();
    let mut name = match by_letters.file_name() {
        Some(_) => by_letters.as_os_str().to_owned(),
        // `.` and `..` have a name only where they lead.
        None => absolute(store).unwrap_or_else(|_| by_letters.to_owned()).into_os_string(),
    };
    name.push(".cell");
    PathBuf::from(name)
}

/// Where a cell is.
struct CellPlace {
    place: PathBuf,
    /// The store that it belongs to, where a file beside the store says so.
    bound: Option<String>,
}

/// Reads the file beside a store that names the cell's place; `None` where there is none, or the cell itself.
fn pointer(file: &Path) -> Result<Option<CellPlace>, Error> {
    let io = |e| Error::io(file.display(), e);
    match file.metadata() {
        Ok(meta) if meta.is_file() && meta.len() <= POINTER_MAX => {}
        Ok(meta) if meta.is_dir() => return Ok(None),
        Ok(_) => {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{} is neither a cell nor a file that names one; name the cell with --cell", file.display()),
            ));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    }
    let bytes = read_limited(file)?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let place = PathBuf::from(OsStr::from_bytes(lines.next().unwrap_or_default()));
    if !place.is_absolute() {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "{} is no cell, and its first line is no absolute path to one; correct it, or name the cell with --cell",
                file.display()
            ),
        ));
    }
    let bound = lines.find_map(|line| line.strip_prefix(BOUND.as_bytes()));
    let bound = bound.map(|id| String::from_utf8_lossy(id).trim().to_owned());
    Ok(Some(CellPlace { place, bound }))
}

/// Writes that file: the place, and which store the cell is bound to once that is known.
fn write_pointer(file: &Path, place: &Path, store: Option<&str>) -> Result<(), Error> {
    let place = absolute(place)?.into_os_string().into_vec();
    if place.contains(&b'\n') {
        return Err(Error::new(ErrorKind::Invalid, "a cell's place has no line break in it; name another"));
    }
    let bound = store.map_or(String::new(), |id| format!("{BOUND}{id}\n"));
    write_to(file, Replace::Pointer, |out| {
        let written = out.write_all(&[&place[..], b"\n", bound.as_bytes()].concat());
        written.map_err(|e| Error::io(file.display(), e))
    })
}

/// The file that is to name a cell which does not lie beside its store; `None` where it does lie there.
fn pointer_to_write(store: &Path, place: &Path) -> Result<Option<PathBuf>, Error> {
    let file = default_cell(store);
    let place = absolute(place)?;
    if absolute(&file)? == place {
        return Ok(None);
    }
    let free = match pointer(&file)? {
        // What it leads to may be another store's.
        _ if file.is_symlink() => false,
        Some(there) => absolute(&there.place)? == place,
        None => file.symlink_metadata().is_err(),
    };
    if free {
        return Ok(Some(file));
    }
    Err(Error::new(
        ErrorKind::Exists,
        format!(
            "{} is there already, and is not the cell {}; move it away, or name another place for the store",
            file.display(),
            place.display()
        ),
    ))
}

fn placed(store: &Path, named: Option<&Path>) -> Result<CellPlace, Error> {
    remedy::about(store, named);
    let found = match named {
        Some(cell) => CellPlace { place: cell.to_owned(), bound: None },
        None => {
            let default = default_cell(store);
            pointer(&default)?.unwrap_or(CellPlace { place: default, bound: None })
        }
    };
    apart(&[("the cell", &found.place), ("the store", store)])?;
    Ok(found)
}

/// The place of a store's cell; it does not lie inside the store, nor the store inside it.
pub(crate) fn cell_of(store: &Path, named: Option<&Path>) -> Result<PathBuf, Error> {
    placed(store, named).map(|found| found.place)
}

/// Refuses places of which one is another, or lies inside it: whatever takes the one takes the other.
pub(crate) fn apart(places: &[(&str, &Path)]) -> Result<(), Error> {
    for (n, (what, place)) in places.iter().enumerate() {
        for (_, (other, there)) in places.iter().enumerate().filter(|(m, _)| *m != n) {
            if lies_inside(place, there)? {
                return Err(Error::new(
                    ErrorKind::Refused,
                    format!(
                        "{what} {} lies inside {other} {}: who copies or loses the one copies or loses both; name another place",
                        place.display(),
                        there.display()
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// Refuses a file or a directory to be written inside a store or its cell.
pub(crate) fn outside(store: &Path, cell: Option<&Path>, place: &Path) -> Result<(), Error> {
    let cell = cell_of(store, cell)?;
    for (other, there) in [("the store", store), ("the cell", &cell)] {
        if place != Path::new("-") && lies_inside(place, there)? {
            let text = format!("{} lies inside {other} {}; name another place", place.display(), there.display());
            return Err(Error::new(ErrorKind::Refused, text));
        }
    }
    Ok(())
}

/// Whether a place is another, or lies inside it, by whichever way one gets there.
fn lies_inside(place: &Path, other: &Path) -> Result<bool, Error> {
    let (place, other) = (absolute(place)?, absolute(other)?);
    let node = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
    let there = node(&other);
    Ok(place.starts_with(&other) || there.is_some() && place.ancestors().any(|above| node(above) == there))
}

/// Makes the store that a restore builds, or opens one that an interrupted restore left: it has no head, and was never claimed. Says whether
/// it was made now.
pub(crate) fn to_build(into: &Path) -> Result<(SledStore, bool), Error> {
    let exists = match SledStore::create(into) {
        Err(e) if e.kind() == ErrorKind::Exists => e,
        made => return made.map(|store| (store, true)),
    };
    let interrupted =
        || -> Result<bool, Error> { Ok(!SledStore::was_claimed(into)? && SledStore::look(into)?.head()?.is_none()) };
    match interrupted() {
        Ok(true) => SledStore::open(into).map(|store| (store, false)),
        Err(e) if e.kind() == ErrorKind::Locked => Err(e),
        Ok(false) | Err(_) => Err(exists),
    }
}

/// Makes a restored store the owner of its cell.
pub(crate) fn adopt(store: &Path, cell: Option<&Path>) -> Result<(), Error> {
    take_over();
    open(store, cell).map(drop)
}

/// Opens a cell of whatever kind lies there, to look at: a process that has it open goes on undisturbed.
pub(crate) fn look_root(place: &Path) -> Result<Arc<dyn RootCell>, Error> {
    Ok(match open_cell(place, &keyholders::env())? {
        Some(cell) => Arc::new(cell),
        None => Arc::new(FileCell::look(place, Arc::new(System))?),
    })
}

/// Opens a cell of whatever kind lies there.
pub(crate) fn open_root(place: &Path) -> Result<Arc<dyn RootCell>, Error> {
    Ok(match open_cell(place, &keyholders::env())? {
        Some(cell) => Arc::new(cell),
        None => Arc::new(FileCell::open(place, Arc::new(System))?),
    })
}

/// Whether `--take-over` was given: for every command alike, so it is told once.
static TAKE_OVER: AtomicBool = AtomicBool::new(false);

/// Has every store be opened to take it over.
pub(crate) fn take_over() {
    TAKE_OVER.store(true, Ordering::Relaxed);
}

/// Refuses `--take-over` where nothing is opened to write: a look must not end the store that another place is.
pub(crate) fn no_take_over(instead: &str) -> Result<(), Error> {
    if !TAKE_OVER.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, format!("--take-over goes with a command that writes; {instead}")))
}

/// A log of at most so many bytes is read whole for a look, which leaves every file as it is.
const LOOK_WHOLE_BYTES: u64 = 16 << 20;

/// The blobs of a store that is looked at. What was never opened as the owner of a cell, a backup, is not touched; nor is what cannot be.
pub(crate) fn blobs_to_look(store: &Path) -> Result<SledStore, Error> {
    if !SledStore::was_claimed(store)? {
        return SledStore::look(store);
    }
    by_length(store)
}

/// Looks at a store as it is where its log is short; a long one is found out about through its index.
fn by_length(store: &Path) -> Result<SledStore, Error> {
    if !SledStore::log_bytes(store).is_ok_and(|bytes| bytes > LOOK_WHOLE_BYTES) {
        return SledStore::look(store);
    }
    match SledStore::open(store) {
        Err(e) if matches!(e.kind(), ErrorKind::Io | ErrorKind::Full | ErrorKind::Refused) => SledStore::look(store),
        opened => opened,
    }
}

/// What lies where a cell is looked for.
enum Held {
    /// No key: there is no cell, or the init that made it goes on when it is given again.
    Nothing,
    /// The key of an init that was cut short later.
    Unfinished,
    /// The root key of a store.
    Key,
    /// What cannot be read: a root key, or less than an init leaves that was cut short.
    Unread,
}

fn held_in(cell: &Path) -> Held {
    let there = |name: &str| cell.join(name).symlink_metadata().is_ok();
    if !["slot-a", "slot-b", "quorum.json"].into_iter().any(there) {
        return Held::Nothing;
    }
    match look_root(cell).and_then(|root| root.load()) {
        Ok(held) if held.keys.is_empty() && held.epoch == 0 && held.unheard.is_none() => Held::Nothing,
        Ok(held) if held.is_unfinished() => Held::Unfinished,
        Ok(_) => Held::Key,
        Err(_) => Held::Unread,
    }
}

/// The command that builds a store from copies.
fn restoring(store: &Path, cell: &Path) -> String {
    format!("`keyfall restore --cell {} --into {} COPY...`", word(cell), word(store))
}

/// The command that makes a store.
fn making(store: &Path, cell: &Path) -> String {
    let named = if cell == default_cell(store) { String::new() } else { format!(" --cell {}", word(cell)) };
    format!("`keyfall init {}{named}`", word(store))
}

/// Says what helps where no store is: whose cell is there must not make another one, and lose the cell.
fn without_store(e: Error, store: &Path, cell: &Path) -> Error {
    if e.kind() != ErrorKind::Absent {
        return e;
    }
    let (s, c, make) = (store.display(), cell.display(), making(store, cell));
    let text = match held_in(cell) {
        Held::Nothing => format!("no store at {s}; make one with {make}, or name another place"),
        Held::Unfinished => format!(
            "no store at {s}, and the root cell {c} holds the key of an init that was cut short before anything could be put; move the cell away, and make one with {make}"
        ),
        Held::Key | Held::Unread => format!(
            "no store at {s}, and its root cell {c} is there: restore the store from a copy with {}, or name the place where it lies now; do not remove the cell, for without it no copy opens",
            restoring(store, cell)
        ),
    };
    Error::new(ErrorKind::Absent, text)
}

/// What a restore, or a backup, that was cut short leaves: blobs, no head, and no claim. It is no store yet, and nothing may be made over it.
fn check_whole(blobs: &SledStore, store: &Path, cell: &Path) -> Result<(), Error> {
    if blobs.head()?.is_some() || SledStore::was_claimed(store)? {
        return Ok(());
    }
    let held = !matches!(held_in(cell), Held::Nothing);
    let restore = restoring(store, if held { cell } else { Path::new("PATH") });
    if blobs.usage()?.blobs > 0 {
        let text = format!(
            "{} is not whole: a restore or a backup into it was cut short; give that once more (a restore is {restore})",
            store.display()
        );
        return Err(Error::new(ErrorKind::Corrupt, text));
    }
    if held {
        return Ok(());
    }
    let text = format!(
        "no store is in {} yet: an init, a restore or a backup was cut short before anything was put into it; give that once more",
        store.display()
    );
    Err(Error::new(ErrorKind::Absent, text))
}

/// Opens a copy as it is, for a drill or a restore. While it is written to it cannot be: what is being written looks like damage.
pub(crate) fn copy_as_it_is(place: &Path) -> Result<SledStore, Error> {
    SledStore::look(place).map_err(|e| match e.kind() {
        ErrorKind::Absent => {
            Error::new(ErrorKind::Absent, format!("no store at {}; name a backup or a copy", place.display()))
        }
        ErrorKind::Locked => Error::new(
            ErrorKind::Locked,
            format!("{e}, or copy it as it is (`cp -a {} ELSEWHERE`) and name that", place.display()),
        ),
        _ => e,
    })
}

/// Refuses to make a store with a cell that holds a key, before anything is changed. Where a store is there already, that is found out
/// when one is to be made.
fn check_unheld(store: &Path, cell: &Path) -> Result<(), Error> {
    if SledStore::was_claimed(store)? && SledStore::log_bytes(store)? > LOOK_WHOLE_BYTES {
        return Ok(());
    }
    match SledStore::look(store) {
        Ok(blobs) if blobs.usage().is_ok_and(|usage| usage.blobs > 0) => {
            let exists = |e: Error| Error::new(ErrorKind::Exists, format!("{e}; for a new store name another place"));
            return check_whole(&blobs, store, cell).map_err(exists);
        }
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::Absent => {}
        Err(_) => return Ok(()),
    }
    let c = cell.display();
    let text = match held_in(cell) {
        Held::Nothing if cell.join("quorum.json").exists() => format!(
            "the root cell {c} is left of an init that was cut short, and no keyholder holds anything for it; remove {c}/quorum.json, and init again"
        ),
        // Whether anything may be written over what cannot be read, is asked when the cell is made.
        Held::Nothing | Held::Unread => return Ok(()),
        Held::Unfinished => format!(
            "the root cell {c} holds the key of an init that was cut short before anything could be put; move it and {} away, and init again",
            store.display()
        ),
        Held::Key => format!(
            "the root cell {c} holds the root key of a store, and without it all data of that store is lost: do not remove it; where that store is gone, restore it from a copy with {}, and for a new store name another place with --cell",
            restoring(store, cell)
        ),
    };
    Err(Error::new(ErrorKind::Exists, text))
}

fn look_as_it_is(store: &Path, cell: Option<&Path>) -> Result<Engine, Error> {
    let found = placed(store, cell)?;
    let blobs = blobs_to_look(store).map_err(|e| without_store(e, store, &found.place))?;
    check_whole(&blobs, store, &found.place)?;
    let root = look_root(&found.place)?;
    let look = |place: &str, _: bool| -> Result<Arc<dyn Store>, Error> { Ok(Arc::new(by_length(Path::new(place))?)) };
    let options =
        Options { keeper: Keeper::ByHand, open_as: OpenAs::ReadOnly, open_copy: Arc::new(look), ..Options::default() };
    let engine = Engine::open(Arc::new(blobs), root, options)?;
    bound_to(&engine, &found, store)?;
    Ok(engine)
}

/// Opens a store for a command that only reads. What is due is told, and left to a command that writes: a copy of a store, down to a
/// snapshot of its disk, looks like the store itself, and what is done in it would end the store.
pub(crate) fn look(store: &Path, cell: Option<&Path>) -> Result<Engine, Error> {
    no_take_over(&format!(
        "leave it out to look, or take {0} over with `keyfall tend {0} --take-over`",
        store.display()
    ))?;
    let engine = look_as_it_is(store, cell)?;
    match engine.owes() {
        Ok(false) => {}
        Ok(true) => output::note(&format!(
            "something is due in {}; `keyfall tend STORE` does it, and so does any command that writes",
            store.display()
        )),
        Err(e) => output::warn(&e.context("whether something is due cannot be found out")),
    }
    Ok(engine)
}

/// Opens a store with its cell. The store first: a store that is not there is the likelier slip.
pub(crate) fn open(store: &Path, cell: Option<&Path>) -> Result<Engine, Error> {
    Ok(tended(open_as_it_is(store, cell)?))
}

/// The same, also where the copy at `place` holds what the store lacks.
pub(crate) fn open_giving_up(store: &Path, cell: Option<&Path>, place: &str) -> Result<Engine, Error> {
    Ok(tended(opened(store, cell, vec![place.to_owned()])?))
}

fn tended(engine: Engine) -> Engine {
    if engine.read_only().is_some() {
        // What is due is the owner's to do; what was asked says so itself where it needs one.
        return engine;
    }
    // What is due comes first, whatever was asked; where it fails, what was asked may still be done.
    match engine.tend(&mut |_| {}) {
        Ok(done) => {
            output::due(&done);
            if done.waiting {
                output::warn(&doubted(&engine));
            }
        }
        Err(e) => output::warn(&e.context("something is due and could not be done")),
    }
    engine
}

/// Why what is due was not done.
pub(crate) fn doubted(engine: &Engine) -> Error {
    Error::new(
        ErrorKind::Refused,
        engine.clock_doubts().unwrap_or_else(|| "the clock was not believed; call again".into()),
    )
}

/// Opens a store and leaves alone what is due.
pub(crate) fn open_as_it_is(store: &Path, cell: Option<&Path>) -> Result<Engine, Error> {
    opened(store, cell, Vec::new())
}

fn opened(store: &Path, cell: Option<&Path>, give_up: Vec<String>) -> Result<Engine, Error> {
    let found = placed(store, cell)?;
    let takes = TAKE_OVER.load(Ordering::Relaxed);
    // A backup that nobody takes over stays as it is.
    let blobs = if takes || SledStore::was_claimed(store)? { SledStore::open(store) } else { SledStore::look(store) };
    let blobs = blobs.map_err(|e| without_store(e, store, &found.place))?;
    check_whole(&blobs, store, &found.place)?;
    let root = open_root(&found.place)?;
    warn_if_exposed(&found.place);
    let open_as = if takes { OpenAs::TakeOver } else { OpenAs::Owner };
    let options = Options { keeper: Keeper::ByHand, open_as, give_up, ..Options::default() };
    let engine = Engine::open(Arc::new(blobs), root, options)?;
    bound_to(&engine, &found, store)?;
    if takes {
        output::note(&format!(
            "{} owns its root cell now; any other copy of it can only be looked at until it takes over in turn",
            store.display()
        ));
    }
    Ok(engine)
}

/// Refuses a store that the file beside it does not name: somebody may have put another in its place.
fn bound_to(engine: &Engine, found: &CellPlace, store: &Path) -> Result<(), Error> {
    let id = engine.id().to_string();
    match &found.bound {
        Some(bound) if *bound != id => Err(Error::new(
            ErrorKind::Refused,
            format!(
                "{} is store {id}, and {} is bound to store {bound}: another store was put in its place; if that was you, name the cell with --cell",
                store.display(),
                default_cell(store).display()
            ),
        )),
        _ => Ok(()),
    }
}

/// Says so where others than its owner may read a cell's keys, or put others in their place. Once: a command opens a cell more than once.
pub(crate) fn warn_if_exposed(cell: &Path) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let mode = |path: &Path| path.metadata().map_or(0, |meta| meta.mode());
    let dir = mode(cell);
    let keys = ["slot-a", "slot-b", "engine.key"].iter().fold(0, |all, name| all | mode(&cell.join(name)));
    // The group's bits, and everybody's.
    let exposed = [3, 0].iter().any(|who| (dir >> who) & 1 != 0 && ((keys >> who) & 6 != 0 || (dir >> who) & 2 != 0));
    if exposed && !TOLD.swap(true, Ordering::Relaxed) {
        output::warn(&Error::new(
            ErrorKind::Refused,
            format!(
                "others than its owner can reach the keys in the cell {}; run `chmod -R go= {}`",
                cell.display(),
                word(cell)
            ),
        ));
    }
}

/// Takes away what a failed command made in a directory, and the directory where that was not there before.
pub(crate) fn take_away(dir: &Path, was_there: bool) {
    if !was_there {
        let _ = std::fs::remove_dir_all(dir);
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let _ = if is_dir { std::fs::remove_dir_all(entry.path()) } else { std::fs::remove_file(entry.path()) };
    }
}

/// How a store is made.
#[derive(Default)]
pub(crate) struct Making {
    pub(crate) accept_remnants: bool,
    pub(crate) log_origin: Option<String>,
    /// Keyholders, and how many of them there must be of what.
    pub(crate) spread: Option<(Vec<Member>, Rule)>,
}

/// Makes a store and a cell that does not lie inside it.
pub(crate) fn make(store: &Path, cell: Option<&Path>, making: Making) -> Result<Engine, Error> {
    let place = cell_of(store, cell)?;
    guarded::check_place(store)?;
    guarded::check_place(&place)?;
    let pointer = pointer_to_write(store, &place)?;
    check_unheld(store, &place)?;
    let was_there = store.is_dir();
    let blobs = SledStore::create(store)?;
    let spread = making.spread.is_some();
    let made = match making.spread {
        Some((members, rule)) => {
            make_cell(&place, members, rule, &keyholders::env()).map(|c| Arc::new(c) as Arc<dyn RootCell>)
        }
        None => {
            FileCell::create(&place, making.accept_remnants, Arc::new(System)).map(|c| Arc::new(c) as Arc<dyn RootCell>)
        }
    };
    let root = match made {
        Ok(root) => root,
        Err(e) => {
            // Nothing was put yet: leave no half a store behind.
            drop(blobs);
            take_away(store, was_there);
            return Err(e);
        }
    };
    // Before there is anything to open, so that whatever is there can be opened.
    if let Some(file) = &pointer {
        write_pointer(file, &place, None)?;
    }
    let options = Options { keeper: Keeper::ByHand, log_origin: making.log_origin, ..Options::default() };
    let engine = Engine::init(Arc::new(blobs), root, options).inspect_err(|_| {
        if spread {
            // Nothing was put yet. The engine's key stays: keyholders know it.
            take_away(store, was_there);
            let _ = std::fs::remove_file(place.join("quorum.json"));
            let _ = pointer.as_ref().map(std::fs::remove_file);
        }
    })?;
    if let Some(file) = &pointer {
        write_pointer(file, &place, Some(&engine.id().to_string()))?;
    }
    if let Some(Ok(Some(quorum))) = spread.then(|| open_cell(&place, &keyholders::env())) {
        keyholders::warn_of_absent(&quorum);
    }
    Ok(engine)
}

/// Where a restored store's cell does not lie beside it, a file is to say where it is; it is written when the store is there.
pub(crate) struct Adopted {
    pointer: Option<PathBuf>,
    place: PathBuf,
}

impl Adopted {
    /// Finds out whether that can be written.
    pub(crate) fn check(into: &Path, cell: &Path) -> Result<Self, Error> {
        Ok(Adopted { pointer: pointer_to_write(into, cell)?, place: cell.to_owned() })
    }

    /// Writes it. Which store it is, the cell says.
    pub(crate) fn write(&self, root: &dyn RootCell) -> Result<(), Error> {
        let Some(file) = &self.pointer else { return Ok(()) };
        let bound = root.load()?.store.map(|id| id.to_string());
        write_pointer(file, &self.place, bound.as_deref())
    }
}

/// An absolute path with its links followed, also those that lead where nothing is yet, and the rest taken by the letter.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let whole = std::path::absolute(path).map_err(|e| Error::io(path.display(), e))?;
    let parts = |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
    let (mut real, mut rest, mut links) = (PathBuf::new(), parts(&whole), 0);
    while let Some(part) = rest.pop() {
        if part == ".." {
            real.pop();
            continue;
        }
        if part == "." {
            continue;
        }
        real.push(&part);
        if let Ok(followed) = real.canonicalize() {
            real = followed;
        } else if let Ok(to) = real.read_link() {
            links += 1;
            if links > LINKS_MAX {
                let text = format!("{} is a link that leads in a circle; name another place", path.display());
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            real.pop();
            rest.extend(parts(&to));
        }
    }
    Ok(real)
}
