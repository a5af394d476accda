//! The book of credentials: a file, and a look-up by the hash of a token.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use keyfall::Timestamp;
use zeroize::Zeroizing;

use super::credential::{Credential, Users, fresh_token, hash};
use crate::peer::CertificateName;
use crate::private;

/// What the ids of credentials of the book begin with.
pub(crate) const OF_THE_BOOK: &str = "c_";

/// The credentials of a service, and the token of its admin.
pub(crate) struct Book {
    place: PathBuf,
    admin: Credential,
    pages: RwLock<Pages>,
    /// The time that is known to have come, in milliseconds: a clock that was set back shows less.
    known: AtomicU64,
}

/// The credentials, and whether the file says so.
#[derive(Default)]
struct Pages {
    all: Vec<Credential>,
    /// Those that ended here, and not in the file: it could not be written.
    unsaved: BTreeSet<String>,
}

/// What became of a credential whose end was to be taken back.
pub(crate) enum Renewed {
    /// It is in force.
    Stands(Box<Credential>),
    /// There is none.
    Absent,
    /// Its end is past all the same.
    Past,
    /// Its certificate has another one by now.
    Taken,
}

impl Book {
    /// Refuses what [`Book::open`] would, and makes nothing.
    ///
    /// # Errors
    /// As [`Book::open`].
    pub(crate) fn check(dir: &Path, admin_token_file: &Path) -> io::Result<()> {
        private::makeable(dir)?;
        match private::read(admin_token_file)?.map(Zeroizing::new) {
            Some(token) => check_token(token.trim(), admin_token_file)?,
            None => match admin_token_file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                // It is for the operator to say who enters that one.
                Some(dir) if !dir.is_dir() => {
                    let text = format!("{}: there is no such directory", dir.display());
                    return Err(io::Error::new(io::ErrorKind::NotFound, text));
                }
                dir => private::makeable(dir.unwrap_or(Path::new(".")))?,
            },
        }
        pages(&dir.join("credentials.json")).map(drop)
    }

    /// Opens the book in a directory, and reads the admin's token, or makes it.
    ///
    /// # Errors
    /// What the system says; that a file is not what it should be.
    pub(crate) fn open(dir: &Path, admin_token_file: &Path) -> io::Result<Self> {
        private::directory(dir)?;
        let token = match private::read(admin_token_file)?.map(Zeroizing::new) {
            Some(token) => token,
            None => {
                let token = fresh_token()?;
                private::create(admin_token_file, format!("{}\n", *token).as_bytes())?;
                token
            }
        };
        let token = token.trim();
        check_token(token, admin_token_file)?;
        let place = dir.join("credentials.json");
        let mut all = pages(&place)?;
        for one in &mut all {
            let users = std::mem::replace(&mut one.users, Users::ANY);
            one.users = users.canonical();
        }
        let pages = RwLock::new(Pages { all, ..Pages::default() });
        Ok(Book { place, admin: Credential::admin(token), pages, known: AtomicU64::new(0) })
    }

    /// Takes note of a time that has come.
    pub(crate) fn knows(&self, known: Timestamp) {
        self.known.fetch_max(known.as_millis(), Ordering::Relaxed);
    }

    /// What the time is at least: by a clock, and as far as it is known.
    pub(crate) fn at_least(&self, now: Timestamp) -> Timestamp {
        now.max(Timestamp(self.known.load(Ordering::Relaxed)))
    }

    /// The credential of a token, unless it ended.
    pub(crate) fn find(&self, token: &str, now: Timestamp) -> Option<Credential> {
        let hashed = hash(token);
        if self.admin.has_hash(&hashed) {
            return Some(self.admin.clone());
        }
        let now = self.at_least(now);
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        pages.all.iter().find(|one| one.has_hash(&hashed)).filter(|one| !one.ended(now)).cloned()
    }

    /// The credential of a client certificate, by the first of its names that has one.
    pub(crate) fn find_certificate(
        &self,
        names: &[CertificateName],
        now: Timestamp,
    ) -> Option<Credential> {
        let now = self.at_least(now);
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        let of = |name: &CertificateName| {
            let is_it = |one: &&Credential| one.certificate() == Some(name) && !one.ended(now);
            pages.all.iter().find(is_it).cloned()
        };
        names.iter().find_map(of)
    }

    /// All credentials but the admin's.
    pub(crate) fn list(&self) -> Vec<Credential> {
        self.pages.read().unwrap_or_else(PoisonError::into_inner).all.clone()
    }

    /// Adds a credential, durably, unless its certificate has one already; says whether it did.
    ///
    /// # Errors
    /// What the system says; nothing is added then.
    pub(crate) fn add(&self, credential: Credential, now: Timestamp) -> io::Result<bool> {
        let now = self.at_least(now);
        self.change(|pages| {
            let name = credential.certificate();
            let taken = |one: &Credential| one.certificate() == name && !one.ended(now);
            if name.is_none() || !pages.iter().any(taken) {
                pages.push(credential);
            }
        })
    }

    /// Removes a credential, durably; says whether there was one.
    ///
    /// # Errors
    /// What the system says: it opens nothing from now on, and would again after a start. The same
    /// call tries it again.
    pub(crate) fn remove(&self, id: &str) -> io::Result<bool> {
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        let before = pages.all.len();
        pages.all.retain(|one| one.id != id);
        if pages.all.len() == before && !pages.unsaved.contains(id) {
            return Ok(false);
        }
        pages.unsaved.insert(id.to_owned());
        self.save(&pages.all)?;
        pages.unsaved.clear();
        Ok(true)
    }

    /// Takes back that a credential ended, durably, with another end if one is given: a clock that
    /// ran ahead ends for good what was to last.
    ///
    /// # Errors
    /// What the system says; nothing is changed then.
    pub(crate) fn renew(
        &self,
        id: &str,
        until: Option<String>,
        now: Timestamp,
    ) -> io::Result<Renewed> {
        let now = self.at_least(now);
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = pages.all.clone();
        let Some(n) = changed.iter().position(|one| one.id == id) else {
            return Ok(Renewed::Absent);
        };
        let one = &mut changed[n];
        (one.over, one.until) = (false, until.or(one.until.take()));
        let renewed = one.clone();
        if renewed.ended(now) {
            return Ok(Renewed::Past);
        }
        let name = renewed.certificate();
        let taken = |one: &Credential| one.id != id && one.certificate() == name && !one.ended(now);
        if name.is_some() && changed.iter().any(taken) {
            return Ok(Renewed::Taken);
        }
        self.save(&changed)?;
        *pages = Pages { all: changed, ..Pages::default() };
        Ok(Renewed::Stands(Box::new(renewed)))
    }

    /// Whether a credential has not ended. Those that are not of the book end elsewhere.
    pub(crate) fn stands(&self, id: &str, now: Timestamp) -> bool {
        let now = self.at_least(now);
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        let is_it = |one: &Credential| one.id == id && !one.ended(now);
        !id.starts_with(OF_THE_BOOK) || pages.all.iter().any(is_it)
    }

    /// Notes, durably, which credentials have ended, and what could not be noted before: a clock
    /// that is set back brings none of them back. Says how many it noted.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn note_ends(&self, now: Timestamp) -> io::Result<usize> {
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        let mut noted = 0;
        let Pages { all, unsaved } = &mut *pages;
        for one in all.iter_mut().filter(|one| !one.over && one.ended(now)) {
            one.over = true;
            // Until the file says so it is tried again.
            unsaved.insert(one.id.clone());
            noted += 1;
        }
        if !unsaved.is_empty() {
            self.save(all)?;
            unsaved.clear();
        }
        Ok(noted)
    }

    fn save(&self, pages: &[Credential]) -> io::Result<()> {
        private::replace(&self.place, &serde_json::to_vec_pretty(pages)?)
    }

    /// The handles that credentials list.
    pub(crate) fn handles(&self) -> BTreeSet<String> {
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        let listed = pages.all.iter().filter_map(|one| match &one.users {
            Users::List(list) => Some(list),
            Users::Any(_) => None,
        });
        listed.flatten().cloned().collect()
    }

    /// Takes the handle of a user who was erased out of all credentials; one that is for nobody
    /// else ends.
    ///
    /// # Errors
    /// What the system says; nothing is changed then.
    pub(crate) fn forget(&self, handle: &str) -> io::Result<()> {
        let lists = |one: &Credential| match &one.users {
            Users::List(list) => list.iter().any(|listed| listed == handle),
            Users::Any(_) => false,
        };
        if !self.list().iter().any(lists) {
            return Ok(());
        }
        let forget = |pages: &mut Vec<Credential>| {
            for page in pages.iter_mut() {
                if let Users::List(list) = &mut page.users {
                    list.retain(|listed| listed != handle);
                }
            }
            pages.retain(|page| page.users != Users::List(Vec::new()));
        };
        self.change(forget).map(|_| ())
    }

    /// Changes the book, durably; says whether it has another number of credentials now.
    fn change(&self, change: impl FnOnce(&mut Vec<Credential>)) -> io::Result<bool> {
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = pages.all.clone();
        change(&mut changed);
        self.save(&changed)?;
        let differs = changed.len() != pages.all.len();
        *pages = Pages { all: changed, ..Pages::default() };
        Ok(differs)
    }
}

fn check_token(token: &str, file: &Path) -> io::Result<()> {
    if token.len() >= 20 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} has no token of 20 characters or more in it; remove it, and one is made",
        file.display()
    )))
}

/// The credentials in a file; none if it is not there.
fn pages(place: &Path) -> io::Result<Vec<Credential>> {
    match private::read(place)? {
        Some(text) => serde_json::from_str(&text)
            .map_err(|e| io::Error::other(format!("{}: {e}", place.display()))),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::credential::{Credential, Proof};

    /// The file could not be written when a credential ended: a clock that is set back does not
    /// bring it back all the same.
    #[test]
    fn an_end_that_could_not_be_noted_is_noted_later() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        let book = Book::open(dir.path(), &token).unwrap();
        let proof = Proof::Token { token: hash("kf_a") };
        let until = Some("2026-01-01T00:00:00Z".to_owned());
        let one = Credential { id: "c_a".to_owned(), until, proof, ..Credential::admin("x") };
        let before = "2025-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
        let after = "2027-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
        assert!(book.add(one, before).unwrap());
        let place = dir.path().join("credentials.json");
        std::fs::rename(&place, dir.path().join("aside")).unwrap();
        std::fs::create_dir(&place).unwrap();
        assert!(book.note_ends(after).is_err());
        std::fs::remove_dir(&place).unwrap();
        std::fs::rename(dir.path().join("aside"), &place).unwrap();
        book.note_ends(before).unwrap();
        drop(book);
        let book = Book::open(dir.path(), &token).unwrap();
        assert!(book.find("kf_a", before).is_none());
    }

    /// It was said to be in force, and opened nothing, while the clock was set back.
    #[test]
    fn a_renewal_ends_by_the_time_that_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::open(dir.path(), &dir.path().join("token")).unwrap();
        let at = |year: u16| format!("{year}-01-01T00:00:00Z").parse::<Timestamp>().unwrap();
        let proof = Proof::Token { token: hash("kf_a") };
        let until = Some(at(2026).to_string());
        let one = Credential { id: "c_a".to_owned(), until, proof, ..Credential::admin("x") };
        assert!(book.add(one, at(2024)).unwrap());
        book.knows(at(2028));
        let renewed =
            |until: u16| book.renew("c_a", Some(at(until).to_string()), at(2024)).unwrap();
        assert!(matches!(renewed(2027), Renewed::Past));
        assert!(matches!(renewed(2029), Renewed::Stands(_)));
        assert!(book.find("kf_a", at(2024)).is_some());
    }
}
