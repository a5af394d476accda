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

use crate::due::words;
use crate::held::{check_unheld, check_whole, without_store};
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

/// Makes a restored store the owner of its cell. What is due is left for the next command.
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
pub(crate) const LOOK_WHOLE_BYTES: u64 = 16 << 20;

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

/// Says once what a store is known to lack.
pub(crate) fn warn_of_lacking(lacks: Option<String>) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if let Some(lacks) = lacks
        && !TOLD.swap(true, Ordering::Relaxed)
    {
        output::warn(&Error::new(ErrorKind::Refused, lacks));
    }
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
    warn_of_lacking(engine.ownership().lacks());
    Ok(engine)
}

/// Opens a store for a command that only reads. What is due is told, and left to a command that writes: a copy of a store, down to a
/// snapshot of its disk, looks like the store itself, and what is done in it would end the store.
pub(crate) fn look(store: &Path, cell: Option<&Path>) -> Result<Engine, Error> {
    remedy::about(store, cell);
    no_take_over(&format!(
        "leave it out to look, or take {} over with `keyfall tend STORE --take-over`",
        store.display()
    ))?;
    let engine = look_as_it_is(store, cell)?;
    match engine.ownership().owes() {
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
    Ok(tended(open_as_it_is(store, cell)?, store))
}

/// The same, also where the copy at `place` holds what the store lacks.
pub(crate) fn open_giving_up(store: &Path, cell: Option<&Path>, place: &str) -> Result<Engine, Error> {
    Ok(tended(opened(store, cell, vec![place.to_owned()])?, store))
}

fn tended(engine: Engine, store: &Path) -> Engine {
    if engine.read_only().is_some() {
        // What is due is the owner's to do; what was asked says so itself where it needs one.
        return engine;
    }
    if TAKE_OVER.load(Ordering::Relaxed) {
        // A hold, or a plan that was cancelled, may have been in the other place alone: there is time to make it again.
        leave_due(&engine, store);
        return engine;
    }
    // What is due comes first, whatever was asked; where it fails, what was asked may still be done.
    match engine.run_due(&mut |_| {}) {
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

/// Says what is due in a store that was just taken over, and is not done yet.
fn leave_due(engine: &Engine, store: &Path) {
    match engine.ownership().owes() {
        Ok(false) => {}
        Ok(true) => {
            let next = engine.status().ok().and_then(|status| status.next_due_is);
            output::note(&format!(
                "due in {}, and left undone by this command: {}; the next command that writes, or `keyfall tend STORE`, does all that is due: first hold, or cancel, what only the other place knew to be held or cancelled",
                store.display(),
                next.map_or("something", words)
            ));
        }
        Err(e) => output::warn(&e.context("whether something is due cannot be found out")),
    }
}

/// Why what is due was not done.
pub(crate) fn doubted(engine: &Engine) -> Error {
    Error::new(
        ErrorKind::Refused,
        engine.clock().doubts().unwrap_or_else(|| "the clock was not believed; call again".into()),
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
    warn_of_lacking(engine.ownership().lacks());
    if takes {
        output::note(&format!(
            "{} owns its root cell now; any other place of it can only be looked at until it takes over in turn, and not at all after the next erase, which destroys the key that opens it",
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
