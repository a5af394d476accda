//! Output files: whole under their name, or not there at all.
//!
//! Invariants:
//! * A file has no name until it is complete and on the disk: whatever ends the process, nothing of
//!   it is left. On a file system without unnamed files it lies beside its place under a name of
//!   its own. Only its owner can read it until then.
//! * A device, a pipe or an open descriptor of this process is written through; a link is followed,
//!   and stays; a directory is refused, and so is a descriptor of another process.
//! * A certificate is replaced on request only, for it cannot be made again. A secret key is never
//!   replaced, nor what belongs to a store or a root cell, wherever a copy of it lies.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use keyfall::certificate::Draft;
use keyfall::env::{Env, System};
use keyfall::{Error, ErrorKind};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Mode, OFlags, RenameFlags, fallocate, linkat, open, renameat_with,
};
use rustix::io::Errno;

use crate::shell::guarded;
use crate::shell::paths::{LINKS_MAX, parent};

/// How much of a file is read to find out what it holds.
const LOOK_BYTES: u64 = 4 << 20;

/// What may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replace {
    /// Nothing: the name is free.
    Nothing,
    /// What can be made again: no certificate, no secret.
    Ordinary,
    /// A certificate too.
    Anything,
    /// The file that says where a store's cell is: others may read it, and never write to it.
    Pointer,
}

impl Replace {
    /// With `--force` a certificate may be replaced too, otherwise only what can be made again.
    pub(crate) fn forced(force: bool) -> Self {
        if force { Replace::Anything } else { Replace::Ordinary }
    }
}

/// Writes a file whole or not at all.
pub(crate) fn write_to<T>(
    place: &Path,
    replace: Replace,
    write: impl FnOnce(&mut File) -> Result<T, Error>,
) -> Result<T, Error> {
    written(OutFile::create(place, replace)?, write)
}

/// The same as [`write_to`], for what is about a person.
pub(crate) fn write_private<T>(
    place: &Path,
    replace: Replace,
    write: impl FnOnce(&mut File) -> Result<T, Error>,
) -> Result<T, Error> {
    written(OutFile::create(place, replace)?.private(), write)
}

/// Makes a directory that only its owner can enter, and those above it, if they do not exist.
pub(crate) fn private_dir(dir: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(dir)
        .map_err(|e| Error::io(dir.display(), e))
}

fn written<T>(
    mut out: OutFile,
    write: impl FnOnce(&mut File) -> Result<T, Error>,
) -> Result<T, Error> {
    let done = write(&mut out.file)?;
    out.finish()?;
    Ok(done)
}

/// An error of the operating system after a step that is done: it does not say to call again.
pub(crate) fn untellable(place: &Path, e: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("{}: {e}", place.display())).with_source(e)
}

/// A file that is being written. Dropped before [`OutFile::finish`] it leaves nothing.
pub(crate) struct OutFile {
    /// As it was typed.
    place: PathBuf,
    file: File,
    way: Way,
    /// Whether it is kept beside its place if it cannot be put there.
    precious: bool,
    /// Whether only its owner may read it, unless it replaces a file.
    private: bool,
}

/// Where a name leads.
enum Landing {
    /// A file that is not there yet.
    New(PathBuf),
    /// A file that already exists.
    File(PathBuf, Metadata),
    /// A device, a pipe, or what a descriptor of this process stands for.
    Through(PathBuf),
}

/// How the bytes reach their place.
enum Way {
    /// Into a file on the target's file system, which gets the target's name at the end; `part` is
    /// its name until then, if it has one.
    Beside { part: Option<PathBuf>, target: PathBuf, was: Option<Box<Metadata>>, replace: Replace },
    /// Straight to the target: a device, a pipe, or a descriptor of this process.
    Through,
    /// Straight to this process's standard output.
    Stdout,
}

impl OutFile {
    /// Opens `place` for writing; `-` is standard output. What can fail before the first byte fails
    /// here.
    pub(crate) fn create(place: &Path, replace: Replace) -> Result<Self, Error> {
        let io = |e| Error::io(place.display(), e);
        let stdout = || io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(io);
        let (precious, private) = (false, false);
        let place = place.to_owned();
        if place.as_os_str() == OsStr::new("-") {
            return Ok(OutFile { file: stdout()?, place, way: Way::Stdout, precious, private });
        }
        let (target, was) = match landing(&place)? {
            Landing::New(target) => (target, None),
            Landing::File(target, meta) => (target, Some(meta)),
            Landing::Through(path) => {
                if path.metadata().is_ok_and(|meta| meta.is_file()) {
                    guarded::check_file(&place, &path.read_link().map_err(io)?)?;
                }
                let out = stdout()?;
                let same = |a: Metadata, b: Metadata| {
                    (a.dev(), a.ino(), a.rdev()) == (b.dev(), b.ino(), b.rdev())
                };
                if path.metadata().ok().zip(out.metadata().ok()).is_some_and(|(a, b)| same(a, b)) {
                    return Ok(OutFile { file: out, place, way: Way::Stdout, precious, private });
                }
                let file = OpenOptions::new().append(true).open(&path).map_err(io)?;
                return Ok(OutFile { file, place, way: Way::Through, precious, private });
            }
        };
        if replace != Replace::Pointer {
            guarded::check_file(&place, &target)?;
        } else if target != place {
            return Err(invalid(&place, "is a link, not a file that names a cell"));
        }
        if was.is_some() {
            may_replace(&place, &target, replace)?;
        }
        let (part, file) = part(&place, &target)?;
        let way = Way::Beside { part, target, was: was.map(Box::new), replace };
        Ok(OutFile { place, file, way, precious, private })
    }

    /// Marks it as about a person: only its owner can read it, unless it replaces a file that
    /// others can read.
    pub(crate) fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Whether it goes to standard output, where nothing else should be said then.
    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self.way, Way::Stdout)
    }

    /// Whether it goes to a place at which no room can be reserved.
    pub(crate) fn is_through(&self) -> bool {
        !matches!(self.way, Way::Beside { .. })
    }

    /// Reserves room on the disk for what will be written after a step that cannot be undone. It is
    /// kept beside its place if it cannot be put there.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<(), Error> {
        if self.is_through() {
            return Ok(());
        }
        let io = |place: &Path, e: io::Error| Error::io(place.display(), e);
        match fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                let zeros = io::copy(&mut io::repeat(0).take(bytes), &mut self.file);
                zeros.and_then(|_| self.file.rewind()).map_err(|e| io(&self.place, e))?;
            }
            Err(e) => return Err(io(&self.place, e.into())),
        }
        // Some file systems allocate blocks at write-out only: a full disk is noticed here.
        self.file.sync_all().map_err(|e| io(&self.place, e))?;
        self.precious = true;
        Ok(())
    }

    /// Makes the file durable under its name.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let Way::Beside { mut part, target, was, replace } =
            std::mem::replace(&mut self.way, Way::Through)
        else {
            return self.file.flush().map_err(|e| self.failed(e));
        };
        let whole = self.whole(was.as_deref(), replace);
        let done = whole
            .and_then(|()| self.land(&mut part, &target, was.is_some(), replace))
            .and_then(|()| {
                File::open(parent(&target))
                    .and_then(|dir| dir.sync_all())
                    .map_err(|e| self.failed(e))
            });
        done.map_err(|e| {
            if !self.precious {
                let _ = part.as_ref().map(std::fs::remove_file);
                return e;
            }
            if self.file.metadata().is_ok_and(|meta| meta.nlink() == 0) {
                part = self.name_beside(&target).ok();
            }
            // If only the directory's sync failed, the file is at its place and not beside it.
            match part.filter(|part| part.exists()) {
                Some(part) => e.context(format!("what was written is kept as {}", part.display())),
                None => e,
            }
        })
    }

    /// Gives the file its length, mode and owner, and makes it durable.
    fn whole(&mut self, was: Option<&Metadata>, replace: Replace) -> Result<(), Error> {
        let file = &mut self.file;
        if let Some(was) = was {
            // Only root can give a file away; anybody else's stays their own.
            let _ = std::os::unix::fs::fchown(&*file, Some(was.uid()), Some(was.gid()));
        }
        let mode = match was {
            Some(was) => was.mode() & 0o777,
            None if self.private => 0o600,
            None => new_mode(),
        };
        // Anyone who can write to the pointer chooses the key.
        let mode = if replace == Replace::Pointer { mode & 0o644 } else { mode };
        let done = file
            .stream_position()
            .and_then(|len| file.set_len(len))
            .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
            .and_then(|()| file.sync_all());
        done.map_err(|e| self.failed(e))
    }

    /// An error; if a step was taken that cannot be undone, it does not say to call again.
    fn failed(&self, e: io::Error) -> Error {
        if self.precious { untellable(&self.place, e) } else { Error::io(self.place.display(), e) }
    }

    /// Gives an unnamed file a name beside `target`.
    fn name_beside(&self, target: &Path) -> Result<PathBuf, Error> {
        loop {
            let name = drawn(target)?;
            match link(&self.file, &name) {
                Ok(()) => return Ok(name),
                Err(Errno::EXIST) => {}
                Err(e) => return Err(self.failed(e.into())),
            }
        }
    }

    fn land(
        &self,
        part: &mut Option<PathBuf>,
        target: &Path,
        there: bool,
        replace: Replace,
    ) -> Result<(), Error> {
        let io = |e: io::Error| self.failed(e);
        if !there {
            let landed = match part.as_deref() {
                None => link(&self.file, target),
                Some(part) => renameat_with(CWD, part, CWD, target, RenameFlags::NOREPLACE),
            };
            match landed {
                Ok(()) => return Ok(()),
                // It came into being meanwhile, or the file system does not know this operation.
                Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => {}
                Err(e) => return Err(io(e.into())),
            }
        }
        match landing(target)? {
            Landing::File(now, _) if now == target => may_replace(&self.place, target, replace)?,
            Landing::New(_) => {}
            _ => return Err(invalid(&self.place, "was replaced by something else meanwhile")),
        }
        let from = match part.take() {
            Some(part) => part,
            // A link never replaces a file; a rename does.
            None => self.name_beside(target)?,
        };
        std::fs::rename(part.insert(from), target).map_err(io)
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if let Way::Beside { part: Some(part), .. } = &self.way {
            let _ = std::fs::remove_file(part);
        }
    }
}

fn invalid(place: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{} {what}; name a file", place.display()))
}

/// Whether a path names a descriptor of a process, which cannot be renamed over.
fn is_descriptor(path: &Path) -> bool {
    path.starts_with("/dev/fd")
        || path.starts_with("/proc") && path.components().any(|part| part.as_os_str() == "fd")
}

/// Whether it is a descriptor of this process: a path must not choose what another process has
/// open.
fn is_own_descriptor(path: &Path) -> bool {
    let dirs = ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"];
    path.parent().is_some_and(|dir| dirs.iter().any(|own| dir == Path::new(own)))
}

fn landing(place: &Path) -> Result<Landing, Error> {
    let letters = place.as_os_str().as_bytes();
    if letters.is_empty() || letters.ends_with(b"/") {
        return Err(invalid(place, "names no file"));
    }
    let mut path = place.to_owned();
    for _ in 0..LINKS_MAX {
        let meta = match path.symlink_metadata() {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Landing::New(path)),
            Err(e) => return Err(Error::io(place.display(), e)),
        };
        let kind = meta.file_type();
        if is_descriptor(&path) && !kind.is_dir() && !is_own_descriptor(&path) {
            return Err(invalid(place, "is neither an open descriptor of this process nor a file"));
        }
        if is_descriptor(&path) && !kind.is_dir()
            || kind.is_fifo()
            || kind.is_char_device()
            || kind.is_block_device()
        {
            return Ok(Landing::Through(path));
        }
        if kind.is_symlink() {
            let to = path.read_link().map_err(|e| Error::io(place.display(), e))?;
            path = path.parent().unwrap_or(Path::new("")).join(to);
        } else if kind.is_file() {
            return Ok(Landing::File(path, meta));
        } else {
            return Err(invalid(
                place,
                if kind.is_dir() { "is a directory" } else { "is not a file" },
            ));
        }
    }
    Err(invalid(place, "is a link that leads in a circle"))
}

/// What a file holds that cannot be made again.
enum Precious {
    /// A certificate, or what one is made of: the person who keeps it may give it up.
    Certificate(&'static str),
    /// A key, or a part of a store or a cell.
    Key(&'static str),
}

/// What a file holds that cannot be made again, if anything.
fn irreplaceable(file: &Path) -> Option<Precious> {
    let mut bytes = Vec::new();
    if File::open(file).and_then(|f| f.take(LOOK_BYTES).read_to_end(&mut bytes)).is_err() {
        return Some(Precious::Key("what cannot be read, and may be a secret key"));
    }
    let holds = |text: &[u8], what: &[u8]| text.windows(what.len()).any(|window| window == what);
    // keyfall-private-1:, keyfall-keyholder-private-1:, keyfall-once-1: and the like.
    let label = bytes.split(|byte| *byte == b':').next().unwrap_or_default();
    let is_label = label.len() < 64 && label.starts_with(b"keyfall-");
    if is_label && (holds(label, b"-private-") || holds(label, b"-once-")) {
        return Some(Precious::Key("a secret key"));
    }
    if Draft::is_one(&String::from_utf8_lossy(&bytes[..bytes.len().min(64)])) {
        return Some(Precious::Certificate("the draft of a certificate"));
    }
    let magics: [(&[u8], _); 4] = [
        (b"KFSLOT", "a slot of a root cell"),
        (b"KFCLAIM", "a claim to a store"),
        (b"KFFRAME", "a part of a store's log"),
        (b"keyfall store, format ", "the marker of a store"),
    ];
    if let Some((_, what)) = magics.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(Precious::Key(what));
    }
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let place = lines.next().is_some_and(|line| line.starts_with(b"/"));
    if place && lines.next().is_some_and(|line| line.len() == 38 && line.starts_with(b"store ")) {
        return Some(Precious::Key("the place of a root cell"));
    }
    let is_certificate = holds(&bytes, b"\nkeyfall/certificate@v");
    is_certificate.then_some(Precious::Certificate("a certificate"))
}

fn may_replace(place: &Path, target: &Path, replace: Replace) -> Result<(), Error> {
    if replace == Replace::Nothing {
        return Err(Error::new(
            ErrorKind::Refused,
            format!("{} already exists; move it away", place.display()),
        ));
    }
    if replace == Replace::Pointer {
        return Ok(());
    }
    let text = match irreplaceable(target) {
        Some(Precious::Key(what)) => {
            format!("{} holds {what}, which is never replaced; name another file", place.display())
        }
        Some(Precious::Certificate(what)) if replace == Replace::Ordinary => format!(
            "{} holds {what}, which cannot be made again; name another file, or replace it with \
             --force",
            place.display()
        ),
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Refused, text))
}

/// A name beside `target` that nothing has.
fn drawn(target: &Path) -> Result<PathBuf, Error> {
    let mut drawn = [0; 8];
    System.fill(&mut drawn)?;
    Ok(parent(target).join(format!(".keyfall-{:016x}.part", u64::from_be_bytes(drawn))))
}

/// The path by which the system names an open file.
fn descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// A new file without a name that only its owner can read.
fn unnamed(dir: &Path) -> io::Result<File> {
    let file = File::from(open(
        dir,
        OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    )?);
    // The file gets its name through this path, which does not exist everywhere.
    descriptor(&file).metadata().map(|_| file)
}

/// Gives a file without a name one that is free.
fn link(file: &File, name: &Path) -> Result<(), Errno> {
    linkat(CWD, descriptor(file), CWD, name, AtFlags::SYMLINK_FOLLOW)
}

/// A new file for `target` that only its owner can read, and its name, if it has one.
fn part(place: &Path, target: &Path) -> Result<(Option<PathBuf>, File), Error> {
    let dir = parent(target);
    if let Ok(file) = unnamed(dir) {
        return Ok((None, file));
    }
    loop {
        let part = drawn(target)?;
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part) {
            Ok(file) => return Ok((Some(part), file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let text = format!(
                    "{}: there is no directory {}; make it first",
                    place.display(),
                    dir.display()
                );
                return Err(Error::new(ErrorKind::Io, text).with_source(e));
            }
            Err(e) => return Err(Error::io(place.display(), e)),
        }
    }
}

/// The mode of an ordinary new file.
fn new_mode() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    0o666 & !umask.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o077)
}
