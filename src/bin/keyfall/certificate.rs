//! `keyfall certificate`.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyfall::certificate::{Certificate, Draft, Trust, same_history};
use keyfall::log::{Checkpoint, Note};
use keyfall::{Class, Engine, Error, ErrorKind, Put, Query, UserId};
use maud::{DOCTYPE, html};
use serde_json::json;

use crate::args::{CertificateCommand, TrustArgs, store_and};
use crate::commands::Done;
use crate::guarded;
use crate::log::from_dir;
use crate::outfile::{Replace, private_dir, write_private};
use crate::output::{self, line, value};
use crate::remedy::word;
use crate::small::{read_limited, read_text};
use crate::stores::{look, open};

/// The class under which a user's own certificates are kept.
pub(crate) const CLASS: &str = "certificate";
const MEDIA_TYPE: &str = "text/vnd.keyfall.certificate";

pub(crate) fn run(command: CertificateCommand, cell: Option<&Path>, json: bool) -> Done {
    match command {
        CertificateCommand::Get { places, user } => {
            let (store, [dir]) = store_and(places, ["DIR"])?;
            guarded::check_dir(&dir)?;
            get(&look(&store, cell)?, &user, &dir, json)
        }
        CertificateCommand::Show { certificate, html, proof } => show(&read(&certificate)?, (html, proof, json)),
        CertificateCommand::Verify { certificates, trust, log, revealed } => {
            let key = revealed.as_deref().map(revealed_key).transpose()?;
            certificates.iter().try_for_each(|file| verify(file, &trust, log.as_deref(), key.as_ref(), json))
        }
        CertificateCommand::Upgrade { places, checkpoint, output, force } => {
            let (store, [file]) = store_and(places, ["CERT"])?;
            let (place, grade) = upgrade(&open(&store, cell)?, &file, checkpoint.as_deref(), (output, force))?;
            if json {
                value(&json!({"certificate": place.display().to_string(), "grade": grade}))
            } else {
                line(format_args!("{}: {grade}", place.display()))
            }
        }
    }
}

pub(crate) fn read(file: &Path) -> Result<Certificate, Error> {
    let text = String::from_utf8(read_limited(file)?)
        .map_err(|_| Error::new(ErrorKind::Corrupt, "not an erasure certificate: it is no text"));
    text.and_then(|text| text.parse()).map_err(|e: Error| e.context(file.display()))
}

fn write(certificate: &Certificate, file: &Path, replace: Replace) -> Result<(), Error> {
    write_private(file, replace, |out| {
        out.write_all(certificate.to_string().as_bytes()).map_err(|e| Error::io(file.display(), e))
    })
}

const DRAFT: &str = ".draft";

/// The place of the certificate whose draft lies here.
fn place_of(draft: &Path) -> Option<PathBuf> {
    let name = draft.file_name()?.as_bytes().strip_suffix(DRAFT.as_bytes()).filter(|name| !name.is_empty())?;
    Some(draft.with_file_name(OsStr::from_bytes(name)))
}

/// The draft of a certificate, which lies beside its place until that is written.
#[derive(Clone)]
pub(crate) struct KeptDraft {
    place: PathBuf,
    /// Whether this process made it.
    made: Arc<AtomicBool>,
    /// Whether one lies there of an erase that was not done.
    undone: Arc<AtomicBool>,
}

impl KeptDraft {
    /// The draft of the certificate that goes to `file`.
    pub(crate) fn beside(file: &Path) -> Self {
        let mut place = file.as_os_str().to_owned();
        place.push(DRAFT);
        KeptDraft { place: place.into(), made: Arc::default(), undone: Arc::default() }
    }

    /// Where a draft lies, this process's or an earlier one's.
    fn there(&self) -> Option<&Path> {
        let draft = || Draft::is_one(&read_text(&self.place).ok()?).then_some(&*self.place);
        self.place.is_file().then(draft).flatten()
    }

    /// Where a draft lies of which there is a certificate to be made.
    pub(crate) fn left(&self) -> Option<&Path> {
        self.there().filter(|_| !self.undone.load(Ordering::Relaxed))
    }

    /// Looks at what an earlier erase left here, before this one is done: the draft of one that was not done is in nobody's way.
    pub(crate) fn check_left(&self, engine: &Engine) -> Result<(), Error> {
        let Some(place) = self.there() else { return Ok(()) };
        let aside = |why: &str| {
            let text =
                format!("nothing was erased: {} {why}, or name another place for the certificate", place.display());
            Error::new(ErrorKind::Refused, text)
        };
        let Ok(draft) = read_text(place)?.parse::<Draft>() else {
            return Err(aside("is a draft that cannot be read; move it away"));
        };
        if draft.facts.body.store != engine.id().to_string() {
            return Err(aside("is the draft of an erase in another store; make its certificate with that one first"));
        }
        let undone = engine.certificate(&draft).is_err_and(|e| e.kind() == ErrorKind::Absent);
        self.undone.store(undone, Ordering::Relaxed);
        Ok(())
    }

    /// Where it lies, if this process made it.
    pub(crate) fn made(&self) -> Option<&Path> {
        self.made.load(Ordering::Relaxed).then_some(&*self.place)
    }

    /// Keeps it before anything is erased: whatever happens then, `certificate upgrade` makes the certificate of it. What somebody else put
    /// there stays, and nothing is erased, unless it is the draft of an erase that was not done.
    pub(crate) fn keep(&self) -> impl Fn(&Draft) -> Result<(), Error> + use<> {
        let kept = self.clone();
        move |draft| {
            let place = &kept.place;
            let free = kept.made().is_some() || kept.undone.load(Ordering::Relaxed);
            let replace = if free { Replace::Anything } else { Replace::Nothing };
            if replace == Replace::Nothing && place.symlink_metadata().is_ok() {
                return Err(kept.in_the_way());
            }
            write_private(place, replace, |out| {
                out.write_all(draft.to_string().as_bytes()).map_err(|e| Error::io(place.display(), e))
            })?;
            kept.made.store(true, Ordering::Relaxed);
            if kept.undone.swap(false, Ordering::Relaxed) {
                output::note(&format!(
                    "the draft {} was of an erase that the store's log does not have: it was not done, and the draft of this one took its place",
                    place.display()
                ));
            }
            Ok(())
        }
    }

    fn in_the_way(&self) -> Error {
        let place = self.place.display();
        let text = match self.there() {
            Some(_) => {
                format!(
                    "the draft of an earlier erase is {place}; run `keyfall certificate upgrade STORE {}` first",
                    word(&self.place)
                )
            }
            None => format!("{place} is there already; move it away, or name another place for the certificate"),
        };
        Error::new(ErrorKind::Refused, text)
    }

    /// Removes it, where this process made it.
    pub(crate) fn remove(&self) {
        if self.made.swap(false, Ordering::Relaxed) {
            let _ = std::fs::remove_file(&self.place);
        }
    }

    /// An erase failed. What it may have done all the same is certified with the draft.
    pub(crate) fn after(&self, e: Error) -> Error {
        match self.made() {
            Some(place) if e.may_have_happened() => e.context(format!(
                "the draft of the certificate is kept: where the erase is done in the end, `keyfall certificate upgrade STORE {}` makes it",
                word(place)
            )),
            _ => {
                self.remove();
                e
            }
        }
    }
}

/// Keeps a certificate for a user that goes on living, among its records.
pub(crate) fn keep(engine: &Engine, user: &UserId, certificate: &Certificate) -> Result<(), Error> {
    let put = Put::new(user.clone(), Class::new(CLASS)?).media_type(MEDIA_TYPE).purpose("to show what was erased");
    engine.put(put, certificate.to_string().as_bytes()).map(|_| ())
}

fn get(engine: &Engine, user: &UserId, dir: &Path, json: bool) -> Done {
    let class = Some(Class::new(CLASS)?);
    let mut files = Vec::new();
    let mut query = Query { user: Some(user.clone()), class, ..Query::default() };
    loop {
        let listing = engine.list(&query)?;
        for info in &listing.records {
            // Of a user that is not here, or has none, no directory is left.
            private_dir(dir)?;
            let file = dir.join(format!("{}.erased", info.id));
            write_private(&file, Replace::Anything, |out| engine.get_to(&info.id, out).map(|_| ()))?;
            files.push(file.display().to_string());
        }
        match listing.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    if files.is_empty() {
        return Err(Error::new(
            ErrorKind::Absent,
            "no certificates are kept for this user; `keyfall erase STORE --user U -o CERT` writes them",
        )
        .into());
    }
    if json { value(&json!({"certificates": files})) } else { files.into_iter().try_for_each(line) }
}

fn show(certificate: &Certificate, (html, proof, json): (bool, bool, bool)) -> Done {
    let text = certificate.to_string();
    if proof {
        return output::block(certificate.proof.to_string().trim_end());
    }
    if json {
        let facts =
            serde_json::to_value(&certificate.facts).map_err(|e| Error::new(ErrorKind::Invalid, e.to_string()))?;
        return value(&facts);
    }
    if html {
        return output::block(page(certificate)?);
    }
    let head = certificate.note.text().split("\n\nkeyfall/certificate@v1\n").next().unwrap_or(&text);
    head.lines().map(output::printable).try_for_each(line)?;
    line("")?;
    line("Shown, not verified: `keyfall certificate verify CERT --key KEY` checks it.")
}

/// A page for the person whose data it was.
fn page(certificate: &Certificate) -> Result<String, Error> {
    let judged = certificate.facts.judge()?;
    let facts = &certificate.facts;
    let body = &facts.body;
    let none = || "not said".to_owned();
    let said = |text: &str| if text.is_empty() { none() } else { text.to_owned() };
    let records = match &body.records {
        None => "not counted: pages were damaged".to_owned(),
        Some(records) if records.is_empty() => "none was there".to_owned(),
        Some(records) => records.iter().map(|(class, n)| format!("{n} {class}")).collect::<Vec<_>>().join(", "),
    };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Erasure certificate" }
                style { "body{font:16px/1.5 sans-serif;max-width:44em;margin:2em auto;padding:0 1em}th{text-align:left;vertical-align:top;padding-right:1em;white-space:nowrap}.grade{font-size:1.3em}" }
            }
            body {
                h1 { "Erasure certificate" }
                p.grade { strong { (judged.grade) } ", level " (judged.level.name()) ": " (judged.level.words()) }
                @if !judged.reasons.is_empty() {
                    h2 { "What limits it" }
                    ul { @for reason in &judged.reasons { li { (reason) } } }
                }
                h2 { "What was erased" }
                table {
                    @if let Some(user) = &body.user { tr { th { "Whose" } td { (user) } } }
                    tr { th { "What" } td { (body.scope) } }
                    tr { th { "Records" } td { (records) } }
                    tr { th { "Derived from them" } td { (body.derived) " fell with it" } }
                    @for kept in &body.kept { tr { th { "Kept" } td { (kept.class) ", because: " (kept.reason) } } }
                    tr { th { "Asked for" } td { (body.requested) ", by: " (said(&body.authority)) ", ground: " (said(&body.ground)) } }
                    tr { th { "How" } td { (body.method) } }
                    tr { th { "What held the key" } td { (body.cell.statement) } }
                    tr { th { "In the public log" } td { "leaf " (certificate.proof.index) } }
                }
                h2 { "What this does not show" }
                p { "That nobody copied keys or plaintext before; that the operator ran this software unmodified; that the scope was all there was about you. Keep this file: somebody who finds a key that it calls destroyed can prove it false." }
                p { "This page was made from the certificate and not checked; the file itself can be, with the log's public key." }
            }
        }
    };
    Ok(markup.into_string())
}

fn revealed_key(text: &str) -> Result<[u8; 32], Error> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "a key is 32 bytes in hexadecimal"))
}

impl TrustArgs {
    pub(crate) fn trust(&self) -> Result<Trust, Error> {
        Trust::with_witnesses(self.key.clone(), &self.witness, self.witnesses)
    }

    /// The checkpoint that was kept, with its signature checked.
    pub(crate) fn kept(&self) -> Result<Option<Checkpoint>, Error> {
        let Some(file) = &self.checkpoint else {
            return Ok(None);
        };
        let note: Note = read_text(file)?.parse().map_err(|e: Error| e.context(file.display()))?;
        Checkpoint::verified(&note, &self.key).map(Some).map_err(|e| e.context(file.display()))
    }
}

fn verify(file: &Path, trust: &TrustArgs, log: Option<&Path>, key: Option<&[u8; 32]>, json: bool) -> Done {
    let named = |e: Error| e.context(file.display());
    let certificate = read(file)?;
    let verified = certificate.verify(&trust.trust()?).map_err(named)?;
    if let Some(kept) = trust.kept()? {
        let fetch = log.map(from_dir);
        let fetch = fetch.as_ref().map(|fetch| fetch as &dyn Fn(&str) -> Result<Vec<u8>, Error>);
        same_history(&verified.checkpoint, &kept, fetch).map_err(named)?;
    }
    if let Some(found) = key.and_then(|key| certificate.facts.convicted_by(key)) {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("{}: FALSE: the key shown is the {} that it says is destroyed", file.display(), found.what),
        )
        .into());
    }
    if json {
        return value(&json!({
            "certificate": file.display().to_string(), "grade": verified.judged.grade.to_string(),
            "level": verified.judged.level.name(), "limits": verified.judged.reasons,
            "log": verified.checkpoint.origin, "size": verified.checkpoint.size, "log_pending": verified.log_pending,
            "cosigned": verified.cosigned.iter().map(|(name, at)| json!({"witness": name, "at": at.to_string()})).collect::<Vec<_>>(),
        }));
    }
    line(format_args!("{}:", file.display()))?;
    verified.words().into_iter().try_for_each(|word| line(format_args!("  {word}")))
}

/// Issues a certificate again, in its place unless another is named; or the one of a draft, in the certificate's place, where the draft's name
/// says which that is.
fn upgrade(
    engine: &Engine,
    file: &Path,
    checkpoint: Option<&Path>,
    (output, force): (Option<PathBuf>, bool),
) -> Result<(PathBuf, String), Error> {
    let text = read_text(file)?;
    let named = |e: Error| e.context(file.display());
    let is_draft = Draft::is_one(&text);
    let there = if is_draft {
        engine.certificate(&text.parse().map_err(named)?).map_err(named)?
    } else {
        text.parse().map_err(named)?
    };
    let mut certificate = engine.upgrade(&there, None)?;
    if let Some(place) = checkpoint {
        let cosigned: Note = read_text(place)?.parse().map_err(|e: Error| e.context(place.display()))?;
        let not =
            |e: Error| e.context("the checkpoint is not of the log as it is now; export it and have it cosigned first");
        for proof in std::iter::once(&mut certificate.proof).chain(&mut certificate.final_proof) {
            proof.checkpoint.join(&cosigned).map_err(not)?;
        }
    }
    let of_draft = || place_of(file).filter(|_| is_draft);
    let place = output.or_else(of_draft).unwrap_or_else(|| file.to_owned());
    let replace = if place == file { Replace::Anything } else { Replace::forced(force) };
    write(&certificate, &place, replace)?;
    if is_draft && place != file {
        // It would be in the way of the next erase.
        std::fs::remove_file(file).map_err(|e| Error::io(file.display(), e))?;
    }
    Ok((place, certificate.facts.judge()?.grade.to_string()))
}
