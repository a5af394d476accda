//! Certificates of planned erases, until somebody comes for them.
//!
//! When such an erase falls due no caller waits for it, and its certificate may name somebody who
//! is gone by then. So a key pair is made of a secret when it is planned. The service keeps the
//! public key alone, and seals the draft to it before the erase; whoever has the secret gets the
//! certificate. The plan itself names the key, on the ground of its certificate: nothing here says
//! whose it is, and what is sealed here is noise without the secret.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use keyfall::certificate::{Certificate, Draft};
use keyfall::engine::Plan;
use keyfall::env::System;
use keyfall::sealed::{Identity, Item, Packing, PublicKey, Unpack, unpack};
use keyfall::{Engine, Error, ErrorKind, Result, UserId};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zeroize::Zeroizing;

use crate::private;
use crate::spare::Spare;

/// After so long nobody writes a file any more that is to take the place of another.
const BESIDE: Duration = Duration::from_secs(60 * 60);
/// For so long a sealed draft is kept.
const LASTS: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// What stands before the name of a receipt, at the end of a ground.
const BEFORE: &str = "receipt ";
/// Characters of a name.
const NAME: usize = 26;

/// The receipts of a service, in a directory.
pub(crate) struct Receipts {
    dir: PathBuf,
    spare: Spare,
    /// Whose erase is about to be done.
    told: UnboundedSender<UserId>,
    /// One at a time moves proofs to where they stay.
    moving: Mutex<()>,
}

/// A certificate that was found, and where its draft lies.
pub(crate) struct Found {
    pub(crate) certificate: Certificate,
    /// Its leaf in the log.
    pub(crate) leaf: u64,
    place: PathBuf,
}

/// What a caller has of a receipt.
pub(crate) struct Secret {
    identity: Identity,
    public: String,
    name: String,
}

impl Secret {
    /// The secret that a principal knows by a text, which must be one that cannot be guessed.
    ///
    /// # Errors
    /// None that occurs.
    pub(crate) fn of(principal: &str, text: &str) -> Result<Self> {
        let halves = ["signing", "opening"].map(|half| derive(half, principal, text));
        let private = Zeroizing::new(data_encoding::BASE64URL_NOPAD.encode(&halves.concat()));
        let private = Zeroizing::new(format!("keyfall-private-1:{}", *private));
        let identity = Identity::from_private(&private)?;
        let public = identity.public()?.to_string();
        let hash = Sha256::digest(public.as_bytes());
        let name = data_encoding::BASE32_DNSSEC.encode(&hash[..16]);
        Ok(Secret { identity, public, name })
    }

    /// The ground of a planned erase, with the name of its receipt.
    pub(crate) fn on(&self, ground: &str) -> String {
        let (name, joint) = (&self.name, if ground.is_empty() { "" } else { "; " });
        format!("{ground}{joint}{BEFORE}{name}")
    }

    /// Whether a plan has this receipt.
    pub(crate) fn is_of(&self, plan: &Plan) -> bool {
        of_plan(plan) == Some(&self.name)
    }

    fn open(&self, sealed: &[u8]) -> Option<Draft> {
        let mut taken = Taken::default();
        unpack(self.identity.opening(), sealed, &mut taken).ok()?;
        std::str::from_utf8(&taken.0).ok()?.parse().ok()
    }
}

impl Receipts {
    /// The receipts in a directory, which is made; tells whose erases are about to be done.
    ///
    /// # Errors
    /// As the system says.
    #[cfg(test)]
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, UnboundedReceiver<UserId>)> {
        let (receipts, tells) = Receipts::at(dir);
        receipts.make()?;
        Ok((receipts, tells))
    }

    /// The receipts in a directory, which is not made yet; tells whose erases are about to be done.
    pub(crate) fn at(dir: &Path) -> (Self, UnboundedReceiver<UserId>) {
        let (told, tells) = unbounded_channel();
        let spare = Spare::at(dir);
        (Receipts { dir: dir.join("receipts"), spare, told, moving: Mutex::default() }, tells)
    }

    /// Makes the directory, if there is none.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn make(&self) -> io::Result<()> {
        private::directory(&self.dir)
    }

    /// Removes sealed drafts that nobody came for, with their keys; not while the clock is doubted.
    ///
    /// # Errors
    /// As the system says.
    #[expect(clippy::disallowed_methods, reason = "the age of a file, by the clock that made it")]
    pub(crate) fn tidy(&self) -> io::Result<()> {
        self.tidy_beside()?;
        for place in self.sealed("")? {
            let age = SystemTime::now().duration_since(std::fs::metadata(&place)?.modified()?);
            if age.is_ok_and(|age| age > LASTS) {
                std::fs::remove_file(&place)?;
                self.end(name_of(&place).unwrap_or_default())?;
            }
        }
        Ok(())
    }

    /// Removes what a receipt was about to be when the service died.
    #[expect(clippy::disallowed_methods, reason = "the age of a file, by the clock that made it")]
    fn tidy_beside(&self) -> io::Result<()> {
        for file in std::fs::read_dir(&self.dir)? {
            let file = file?;
            let about = file.metadata()?;
            let age = SystemTime::now().duration_since(about.modified()?);
            let beside = file.path().extension() == Some(OsStr::new("new"));
            if beside && about.is_file() && age.is_ok_and(|age| age > BESIDE) {
                std::fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    /// Keeps the public key of a receipt, before its erase is planned.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn begin(&self, secret: &Secret) -> Result<()> {
        match self.noted(secret)? {
            Some(_) => Ok(()),
            None => self.write(secret, &secret.public),
        }
    }

    /// Notes which planned erase a receipt is of: by a hash of its id, which names a user.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn note(&self, secret: &Secret, plan: &str) -> Result<()> {
        let noted = self.noted(secret)?.unwrap_or_else(|| secret.public.clone());
        let plan = hashed(plan);
        match noted.lines().skip(1).any(|line| line == plan) {
            true => Ok(()),
            false => self.write(secret, &format!("{noted}\n{plan}")),
        }
    }

    /// Whether a receipt may be of the planned erase with this id: it is if nothing was noted.
    pub(crate) fn may_be_of(&self, secret: &Secret, plan: &str) -> bool {
        let (noted, plan) = (self.noted(secret).ok().flatten().unwrap_or_default(), hashed(plan));
        let mut plans = noted.lines().skip(1).peekable();
        plans.peek().is_none() || plans.any(|line| line == plan)
    }

    /// Whether there is such a receipt.
    pub(crate) fn knows(&self, secret: &Secret) -> bool {
        self.noted(secret).is_ok_and(|noted| noted.is_some())
    }

    fn noted(&self, secret: &Secret) -> Result<Option<String>> {
        private::read(&self.key(&secret.name)).map_err(|e| Error::io("reading a receipt", e))
    }

    fn write(&self, secret: &Secret, text: &str) -> Result<()> {
        let place = self.key(&secret.name);
        let replace = || private::replace(&place, text.as_bytes());
        self.spare.or_give(replace).map_err(|e| Error::io("keeping a receipt", e))
    }

    /// Seals the draft of what is due, before it is done. It must not call the engine.
    ///
    /// # Errors
    /// `Io`; `Refused` where nobody asked for it here. Then its erase is not done, and tried again.
    pub(crate) fn keep(&self, draft: &Draft) -> Result<()> {
        let body = &draft.facts.body;
        let name = named(&body.ground).ok_or_else(|| {
            Error::new(
                ErrorKind::Refused,
                "nobody takes it: it was not asked for through the service; have it done by the \
                 program that planned it, or cancel it",
            )
        })?;
        let io = |e| Error::io("keeping a draft", e);
        let Some(key) = private::read(&self.key(name)).map_err(io)? else {
            // An erase that was promised is not put off for a file that was lost.
            tracing::warn!("the receipt of a planned erase is gone; it is done without a proof");
            return Ok(());
        };
        let public: PublicKey = key.lines().next().unwrap_or_default().parse()?;
        let mut packing = Packing::new(&System, &public, Vec::new())?;
        packing.file("draft", draft.to_string().as_bytes())?;
        let sealed = packing.finish()?;
        let (leaf, slot) = (draft.index, draft.facts.slot.index);
        let place = self.dir.join(format!("{name}-{leaf:012}-{slot:06}.sealed"));
        self.spare.or_give(|| private::replace(&place, &sealed)).map_err(io)?;
        if let Some(user) = body.user.as_deref().and_then(|user| UserId::new(user).ok()) {
            // Nobody listens while the service ends.
            let _ = self.told.send(user);
        }
        Ok(())
    }

    /// The certificates of the erases of a receipt that were done.
    ///
    /// # Errors
    /// As the engine's `Certificates::get`; `Io`.
    pub(crate) fn find(&self, engine: &Engine, secret: &Secret) -> Result<Vec<Found>> {
        let io = |e| Error::io("reading what is sealed", e);
        let mut found = Vec::new();
        for place in self.sealed(&secret.name).map_err(io)? {
            let Some(draft) = secret.open(&std::fs::read(&place).map_err(io)?) else { continue };
            match engine.certificates().get(&draft) {
                Ok(certificate) => found.push(Found { certificate, leaf: draft.index, place }),
                // It was put off; the draft of what was done is another one.
                Err(e) if e.kind() == ErrorKind::Absent => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    /// Lets go of a certificate that is kept elsewhere.
    pub(crate) fn moved(&self, found: &Found) {
        if std::fs::remove_file(&found.place).is_err() {
            tracing::warn!("the sealed draft of a proof that is kept could not be removed");
        }
    }

    /// Ends a receipt that no plan has any more and under which nothing lies.
    pub(crate) fn spent(&self, secret: &Secret) {
        if self.end(&secret.name).is_err() {
            tracing::warn!("a receipt that is spent could not be removed");
        }
    }

    /// Ends the receipt of a plan that was cancelled, unless others have it too.
    pub(crate) fn cancelled(&self, plans: &[Plan], id: u64) {
        let (of, others): (Vec<&Plan>, Vec<&Plan>) = plans.iter().partition(|plan| plan.id == id);
        let name = of.first().and_then(|plan| of_plan(plan));
        let Some(name) = name.filter(|name| others.iter().all(|o| of_plan(o) != Some(name))) else {
            return;
        };
        // A key that was used for several plans may be another user's as well.
        let noted = private::read(&self.key(name)).ok().flatten().unwrap_or_default();
        if noted.lines().count() <= 2 && self.end(name).is_err() {
            tracing::warn!("the receipt of a plan that was cancelled could not be removed");
        }
    }

    /// Waits for its turn to move proofs to where they stay.
    pub(crate) fn moving(&self) -> MutexGuard<'_, ()> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the public key of a receipt under which nothing lies.
    fn end(&self, name: &str) -> io::Result<()> {
        if !is_name(name) || !self.sealed(name)?.is_empty() {
            return Ok(());
        }
        match std::fs::remove_file(self.key(name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }

    /// What is sealed under a name, or at all, in the order of the erases.
    fn sealed(&self, name: &str) -> io::Result<Vec<PathBuf>> {
        let mut places = Vec::new();
        for file in std::fs::read_dir(&self.dir)? {
            let place = file?.path();
            let is_it = name_of(&place).is_some_and(|of| name.is_empty() || of == name);
            if is_it && place.extension() == Some(OsStr::new("sealed")) {
                places.push(place);
            }
        }
        places.sort();
        Ok(places)
    }
}

/// The name of the receipt that a plan has.
fn of_plan(plan: &Plan) -> Option<&str> {
    plan.erase.certified_for().and_then(|(_, ground)| named(ground))
}

/// The name of the receipt that a ground ends with.
fn named(ground: &str) -> Option<&str> {
    ground.rsplit_once(BEFORE).map(|(_, name)| name).filter(|name| is_name(name))
}

/// A plan's id as it is noted.
fn hashed(plan: &str) -> String {
    data_encoding::BASE32_DNSSEC.encode(&Sha256::digest(plan.as_bytes())[..16])
}

fn is_name(name: &str) -> bool {
    name.len() == NAME && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'v').contains(&b))
}

/// The name of the receipt that a file is of.
fn name_of(place: &Path) -> Option<&str> {
    place.file_name()?.to_str()?.get(..NAME).filter(|name| is_name(name))
}

/// 32 bytes out of a text and whose it is.
fn derive(what: &str, principal: &str, text: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in ["keyfalld/receipt/v1", what, principal, text] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

/// The one file of a parcel.
#[derive(Default)]
struct Taken(Zeroizing<Vec<u8>>);

impl Unpack for Taken {
    fn begin(&mut self, _: &Item) -> Result<Box<dyn Write + '_>> {
        Ok(Box::new(&mut *self.0))
    }

    fn end(&mut self, _: &Item, _: bool) -> Result<()> {
        Ok(())
    }
}
