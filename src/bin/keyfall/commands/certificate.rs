//! `keyfall certificate`.

use std::io::Write;
use std::path::{Path, PathBuf};

use keyfall::certificate::{Certificate, Draft, same_history};
use keyfall::log::Note;
use keyfall::{Class, Engine, Error, ErrorKind, Put, Query, UserId};
use serde_json::json;

use crate::args::{CertificateCommand, TrustArgs};
use crate::commands::draft::place_of;
use crate::commands::planned;
use crate::commands::trust::{kept, trusted};
use crate::shell::drafts::drafts_of;
use crate::shell::failure::Done;
use crate::shell::guarded;
use crate::shell::outfile::{Replace, private_dir, write_private};
use crate::shell::places::{store_and, store_and_any};
use crate::shell::print::{block, line, printable};
use crate::shell::read::{log_files, read_limited, read_text};
use crate::shell::session::Session;
use crate::shell::stores::{look, open};
use crate::show::certificate::page;

/// The class under which a user's own certificates are kept.
pub(super) const CLASS: &str = "certificate";
const MEDIA_TYPE: &str = "text/vnd.keyfall.certificate";

/// Runs one of the commands.
pub(super) fn run(session: &Session, command: CertificateCommand) -> Done {
    match command {
        CertificateCommand::Get { places, user } => {
            let (store, [dir]) = store_and(places, ["DIR"])?;
            guarded::check_dir(&dir)?;
            get(session, &look(session, &store)?, &user, &dir)
        }
        CertificateCommand::Collect { places } => {
            let (store, dir) = store_and_any(places)?;
            let dir = dir.into_iter().next().unwrap_or_else(|| drafts_of(&store));
            guarded::check_dir(&dir)?;
            planned::collect(session, &open(session, &store)?, &store, &dir)
        }
        CertificateCommand::Show { certificate, html, proof } => {
            let certificate = read(&certificate)?;
            if proof {
                return block(certificate.proof.to_string().trim_end());
            }
            if html { block(page(&certificate)?) } else { show(session, &certificate) }
        }
        CertificateCommand::Verify { certificates, trust, log, revealed } => {
            let revealed = revealed.as_deref().map(revealed_key).transpose()?;
            let check = Check { trust: &trust, log: log.as_deref(), revealed };
            certificates.iter().try_for_each(|file| check.verify(session, file))
        }
        CertificateCommand::Upgrade { places, checkpoint, output, force } => {
            let (store, [file]) = store_and(places, ["CERT"])?;
            let upgrade = Upgrade { file: &file, checkpoint: checkpoint.as_deref(), output, force };
            let engine = open(session, &store)?;
            upgrade.run(session, &engine)
        }
    }
}

/// Reads and parses a certificate; errors name the file.
pub(super) fn read(file: &Path) -> Result<Certificate, Error> {
    let no_text = "not an erasure certificate: it is not text";
    let text = String::from_utf8(read_limited(file)?);
    let text = text.map_err(|_| Error::new(ErrorKind::Corrupt, no_text));
    text.and_then(|text| text.parse()).map_err(|e: Error| e.context(file.display()))
}

/// Keeps a certificate for a user that lives on, among its records.
pub(super) fn keep(engine: &Engine, user: &UserId, certificate: &Certificate) -> Result<(), Error> {
    let put = Put::new(user.clone(), Class::new(CLASS)?);
    let put = put.media_type(MEDIA_TYPE).purpose("to show what was erased");
    engine.put(put, certificate.to_string().as_bytes()).map(|_| ())
}

fn get(session: &Session, engine: &Engine, user: &UserId, dir: &Path) -> Done {
    let class = Some(Class::new(CLASS)?);
    let mut files = Vec::new();
    let mut query = Query::default().user(user.clone()).class(class);
    loop {
        let listing = engine.list(&query)?;
        for info in &listing.records {
            // Not before there is one: for a user without certificates no directory is made.
            private_dir(dir)?;
            let file = dir.join(format!("{}.erased", info.id));
            write_private(&file, Replace::Anything, |out| {
                engine.get_to(&info.id, out).map(|_| ())
            })?;
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
            "no certificates are kept for this user; `keyfall erase STORE --user U -o CERT` writes \
             them",
        )
        .into());
    }
    if session.json {
        session.value(&json!({"certificates": files}))
    } else {
        files.into_iter().try_for_each(line)
    }
}

fn show(session: &Session, certificate: &Certificate) -> Done {
    if session.json {
        let facts = serde_json::to_value(&certificate.facts);
        return session.value(&facts.map_err(|e| Error::new(ErrorKind::Invalid, e.to_string()))?);
    }
    let text = certificate.note.text();
    let head = text.split("\n\nkeyfall/certificate@v1\n").next().unwrap_or(text);
    head.lines().map(printable).try_for_each(line)?;
    line("")?;
    line("Shown, not verified: `keyfall certificate verify CERT --key KEY` checks it.")
}

fn revealed_key(text: &str) -> Result<[u8; 32], Error> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok();
    let key = bytes.and_then(|bytes| bytes.try_into().ok());
    key.ok_or_else(|| Error::new(ErrorKind::Invalid, "a key is 32 bytes in hexadecimal"))
}

/// What certificates are verified with.
struct Check<'c> {
    trust: &'c TrustArgs,
    /// The files of the log.
    log: Option<&'c Path>,
    /// A key that was found.
    revealed: Option<[u8; 32]>,
}

impl Check<'_> {
    fn verify(&self, session: &Session, file: &Path) -> Done {
        let named = |e: Error| e.context(file.display());
        let certificate = read(file)?;
        let verified = certificate.verify(&trusted(self.trust)?).map_err(named)?;
        if let Some(kept) = kept(self.trust)? {
            let fetch = self.log.map(log_files);
            let fetch = fetch.as_ref();
            let fetch = fetch.map(|fetch| fetch as &dyn Fn(&str) -> Result<Vec<u8>, Error>);
            same_history(&verified.checkpoint, &kept, fetch).map_err(named)?;
        }
        let revealed = self.revealed.as_ref();
        if let Some(found) = revealed.and_then(|key| certificate.facts.convicted_by(key)) {
            let text = format!(
                "{}: FALSE: the key shown is the {} that it says is destroyed",
                file.display(),
                found.what
            );
            return Err(Error::new(ErrorKind::Corrupt, text).into());
        }
        if session.json {
            let cosigned = verified.cosigned.iter();
            let cosigned =
                cosigned.map(|one| json!({"witness": one.witness, "at": one.at.to_string()}));
            return session.value(&json!({
                "certificate": file.display().to_string(),
                "user": certificate.facts.body.user, "scope": certificate.facts.body.scope,
                "records": certificate.facts.body.records,
                "grade": verified.judged.grade.to_string(),
                "level": verified.judged.level.name(), "limits": verified.judged.reasons,
                "log": verified.checkpoint.origin, "size": verified.checkpoint.size,
                "log_pending": verified.log_pending, "cosigned": cosigned.collect::<Vec<_>>(),
            }));
        }
        line(format_args!("{}:", file.display()))?;
        line(format_args!("  {}", certificate.erased()))?;
        verified.words().into_iter().try_for_each(|word| line(format_args!("  {word}")))
    }
}

/// A certificate to be issued again, or a draft to be made into one.
struct Upgrade<'u> {
    file: &'u Path,
    /// A checkpoint with cosignatures.
    checkpoint: Option<&'u Path>,
    /// Where the certificate goes, if not to its own place.
    output: Option<PathBuf>,
    force: bool,
}

impl Upgrade<'_> {
    /// Writes the certificate in its place, unless another is named. The name of a draft says where
    /// its certificate belongs.
    fn run(self, session: &Session, engine: &Engine) -> Done {
        let text = read_text(self.file)?;
        let is_draft = Draft::is_one(&text);
        let certificate = self.issue(engine, &text, is_draft)?;
        let of_draft = || place_of(self.file).filter(|_| is_draft);
        let place = self.output.or_else(of_draft).unwrap_or_else(|| self.file.to_owned());
        let replace =
            if place == self.file { Replace::Anything } else { Replace::forced(self.force) };
        write_private(&place, replace, |out| {
            let written = out.write_all(certificate.to_string().as_bytes());
            written.map_err(|e| Error::io(place.display(), e))
        })?;
        if is_draft && place != self.file {
            // It would be in the way of the next erase.
            std::fs::remove_file(self.file).map_err(|e| Error::io(self.file.display(), e))?;
        }
        let (place, grade) = (place.display(), certificate.facts.judge()?.grade.to_string());
        if session.json {
            session.value(&json!({"certificate": place.to_string(), "grade": grade}))
        } else {
            line(format_args!("{place}: {grade}"))
        }
    }

    fn issue(&self, engine: &Engine, text: &str, is_draft: bool) -> Result<Certificate, Error> {
        let named = |e: Error| e.context(self.file.display());
        let there = if is_draft {
            engine.certificates().get(&text.parse().map_err(named)?).map_err(named)?
        } else {
            text.parse().map_err(named)?
        };
        let mut certificate = engine.certificates().upgrade(&there, None)?;
        let Some(place) = self.checkpoint else { return Ok(certificate) };
        let cosigned: Note =
            read_text(place)?.parse().map_err(|e: Error| e.context(place.display()))?;
        let proofs = std::iter::once(&mut certificate.proof).chain(&mut certificate.final_proof);
        for proof in proofs {
            proof.checkpoint.join(&cosigned).map_err(|e| {
                e.context(
                    "the checkpoint is not of the log as it is now; export it and have it cosigned \
                     first",
                )
            })?;
        }
        Ok(certificate)
    }
}
