//! What befalls a store from outside: it is lost and restored, old states come back, bits flip, a second writer comes.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use crate::{Engine, Put, Scope};
use std::sync::Arc;

use super::model::Record;
use super::op::{Kept, Trouble};
use super::run::{BACKUP, Machine, Run, STORE, place, user_id};
use crate::engine::{OpenAs, restore};
use crate::error::{ErrorKind, Result};

use crate::store::Store;
use crate::testing::{RecordingStore, locked};

impl Run {
    /// An operator who brings old states back does it when no erase is half done; in the middle of one, both root keys live.
    pub(super) fn settled(&self) -> bool {
        matches!(self.engine().status().map(|s| s.unsettled), Ok(None))
    }

    pub(super) fn restore(&mut self, trouble: Trouble) {
        if !self.settled() {
            return;
        }
        let mut places: Vec<String> = self.model.copies.keys().map(|n| place(*n)).collect();
        places.push(BACKUP.into());
        places.retain(|p| !locked(&self.unreachable).contains(p));
        let head = self.engine().head();
        // A place where nothing was ever made is no copy; one that does not open is not passed over.
        let open = |run: &Run| -> Result<Vec<Arc<dyn Store>>> {
            let opened = places.iter().map(|p| (run.options.open_copy)(p, false));
            opened.filter(|o| !o.as_ref().is_err_and(|e| e.kind() == ErrorKind::Absent)).collect()
        };
        let newest = {
            self.close();
            let stores = open(self).unwrap_or_else(|e| panic!("LOST: a copy does not open: {e}"));
            stores.iter().filter_map(|s| s.head().ok().flatten()).map(|h| h.id).max()
        };
        match newest {
            Some(newest) if newest == head && self.media.lose(STORE) => {
                self.tally.count("stores restored");
                self.media.gate().plan(trouble.during);
                for _ in 0..4 {
                    let restored = (|| {
                        let into = RecordingStore::new(self.media.store(STORE, true)?, Arc::clone(&self.tape));
                        restore(&*self.faulty_cell()?, &open(self)?, &into, &mut |_| {}).map(|_| ())
                    })();
                    let again = match restored {
                        Err(e) if e.kind() == ErrorKind::Exists => false,
                        Err(e) if self.media.gate().blown().is_none() => panic!("LOST: a restore fails: {e}"),
                        result => result.is_err(),
                    };
                    if self.media.gate().is_off() {
                        self.restart(true);
                    }
                    self.media.gate().plan(None);
                    if !again {
                        break;
                    }
                }
                self.restart(trouble.after == 2);
                self.restored = true;
                self.open(trouble.recovering);
                assert_eq!(self.engine().head(), head, "a restore brings back the state");
                self.compare();
            }
            Some(newest) if newest.epoch < head.epoch => {
                let refused = (|| {
                    let into = self.media.store("scratch", true)?;
                    restore(&*self.faulty_cell()?, &open(self)?, &*into, &mut |_| {})
                })();
                // A copy that never got a head is damaged, not old.
                let refused = refused.is_err_and(|e| matches!(e.kind(), ErrorKind::Mismatch | ErrorKind::Corrupt));
                assert!(refused, "FOUND: a copy of an older epoch is restored");
                self.media.lose("scratch");
                self.tally.count("old copies refused");
                self.open(None);
            }
            _ => self.open(None),
        }
    }

    pub(super) fn keep(&mut self, kept: Kept) {
        match kept {
            Kept::Machine => {
                // A clean end: what a snapshot holds is then all on the medium.
                let (head, position) = (self.engine().head(), self.env.position());
                self.close();
                self.machine =
                    self.media.save(STORE).map(|saved| Machine { saved, model: self.model.clone(), position, head });
                self.open(None);
            }
            Kept::Copy(n) => {
                self.close();
                if let Some(saved) = self.media.save(&place(n)) {
                    self.copies.insert(n, saved);
                }
                self.open(None);
            }
            Kept::Cell => {
                self.cell = self.media.save("cell").map(|saved| (saved, self.engine().head().epoch));
            }
        }
    }

    pub(super) fn bring_back(&mut self, kept: Kept) {
        if !self.settled() {
            return;
        }
        match kept {
            Kept::Machine => {
                if let Some(machine) = self.machine.take() {
                    self.restore_machine(machine);
                }
            }
            Kept::Copy(n) => {
                if let Some(saved) = self.copies.remove(&n) {
                    self.close();
                    self.media.put_back(&place(n), &saved);
                    self.tally.count("old copies brought back");
                    self.open(None);
                }
            }
            Kept::Cell => {
                let Some((saved, epoch)) = self.cell.take() else {
                    return;
                };
                let head = self.engine().head();
                self.close();
                let Some(current) = self.media.save("cell") else {
                    return self.open(None);
                };
                if epoch < head.epoch {
                    self.media.put_back("cell", &saved);
                    self.options.open_as = OpenAs::ReadOnly;
                    let opened = self.with_media(false, Engine::open);
                    self.options.open_as = OpenAs::Owner;
                    match opened {
                        // The key of the next epoch stood ready in it.
                        Ok(_) => assert_eq!(epoch + 1, head.epoch, "FOUND: an old copy of the cell opens the store"),
                        Err(e) => {
                            assert_eq!(e.kind(), ErrorKind::Mismatch, "{e}");
                            self.tally.count("old cells refused");
                        }
                    }
                    self.media.put_back("cell", &current);
                }
                self.open(None);
            }
        }
    }

    /// The machine comes back from a snapshot, with the store as it was and a generator that repeats; the cell is elsewhere.
    pub(super) fn restore_machine(&mut self, machine: Machine) {
        let head = self.engine().head();
        let pending = self.engine().status().is_ok_and(|s| s.pending.is_some());
        self.close();
        let Some(current) = self.media.save(STORE) else {
            return self.open(None);
        };
        self.media.put_back(STORE, &machine.saved);
        if machine.head.epoch < head.epoch {
            let opened = self.with_media(false, Engine::open);
            let e = opened.err().unwrap_or_else(|| panic!("FOUND: a store older than its cell opens"));
            assert_eq!(e.kind(), ErrorKind::Mismatch, "{e}");
            self.tally.count("old stores refused");
        } else if self.model.copies.is_empty() && machine.model.copies.is_empty() {
            // Within an epoch the claim tells. Whoever takes the store over loses what was put since, and the generator repeats on another timeline.
            self.tally.count("timelines abandoned");
            self.abandoned.extend(self.model.live().into_keys());
            if pending {
                // What was erased and not final is undone with the rest of the timeline.
                self.abandoned.extend(&self.model.erased);
            }
            self.abandoned_epoch = head.epoch;
            self.media.lose(BACKUP);
            self.env.rewind(machine.position);
            self.envelopes.clear();
            self.certificates.clear();
            self.model = machine.model;
            self.restored = true;
            return self.open(None);
        }
        self.media.put_back(STORE, &current);
        self.open(None);
    }

    /// A flipped bit gives the right bytes or an error, never other bytes; then the medium is as it was.
    pub(super) fn rot(&mut self, cell: bool) {
        self.restart(false);
        self.open(None);
        self.close();
        let where_ = if cell { "cell" } else { STORE };
        let Some(saved) = self.media.save(where_) else {
            return self.open(None);
        };
        let seed = self.rng.next();
        if self.media.rot(where_, seed) {
            self.tally.count("bits flipped");
            // A look: what is put back behind it must not have been claimed meanwhile.
            self.options.open_as = OpenAs::ReadOnly;
            let opened = self.with_media(false, Engine::open);
            self.options.open_as = OpenAs::Owner;
            if let Ok(engine) = opened {
                for (id, (_, record)) in &self.model.live() {
                    let mut content = Vec::new();
                    match engine.get_to(id, &mut content) {
                        Ok(_) => assert_eq!(content, record.content, "a flipped bit gives other bytes"),
                        Err(e) => assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}"),
                    }
                }
                for id in &self.model.erased {
                    assert!(engine.get(id).is_err(), "FOUND: a flipped bit brings an erased record back");
                }
            }
            self.media.put_back(where_, &saved);
        }
        self.open(None);
    }

    /// Two engines over one store: the first to commit wins, and the other is told.
    pub(super) fn second_writer(&mut self, n: u8) {
        if !self.media.shares_handles() {
            return;
        }
        let Ok(other) = self.with_media(false, Engine::open) else {
            panic!("LOST: a second engine does not open");
        };
        let user = super::op::user(n);
        let class = super::op::class(n);
        let before = self.model.fenced(user, &class, None);
        let content = self.content(40);
        let put = other.put(Put::new(user_id(user), class.clone()), &content[..]);
        match put {
            Ok(id) => {
                assert!(!before, "FOUND: a put behind a fence was let in");
                self.model.put(user, Record { id, class, content, sources: Vec::new(), opened: 0 });
                let stale = self.engine().erase(Scope::user(user_id(user)));
                let stale_put = self.engine().put(Put::new(user_id(user), super::op::class(1)), &b"late"[..]);
                assert!(stale.is_err() && stale_put.is_err(), "a writer that lost the race is not told");
                self.undone_epoch = self.engine().head().epoch;
                self.tally.count("races lost");
            }
            Err(e) => assert!(before || e.kind() == ErrorKind::Copy, "{e}"),
        }
        drop(other);
        self.restart(false);
        self.open(None);
        self.compare();
    }
}
