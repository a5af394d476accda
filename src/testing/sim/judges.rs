//! The judges: after each erase, after each recovery, and at the end of a run.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use crate::Query;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::op::Trouble;
use super::run::{Run, STORE, user_id};
use super::tally::Tally;
use crate::cell::RootKey;
use crate::certificate::{Ends, Grade, Leaf, Trust};
use crate::engine::CopyMode;
use crate::error::{ErrorKind, Result};
use crate::ids::RecordId;
use crate::log::{Checkpoint, Frontier, Hash};
use crate::testing::{listed, locked};

impl Run {
    /// An acknowledged erase leaves one root key, the current one, wherever the cell wrote.
    pub(super) fn check_cell(&self) {
        let mut keys = self.keys_on_medium();
        let epoch = self.engine().head().epoch;
        // The key of the next epoch may stand ready. What a process that crashed had deposited with keyholders for it goes with it: nobody
        // gives up what it has only seen.
        let next: BTreeSet<_> = keys.iter().map(|key| key.id).filter(|id| id.epoch == epoch + 1).collect();
        assert!(next.len() <= 1 || self.engine().promise().quorum.is_some(), "FOUND: keys stand ready: {next:?}");
        keys.retain(|key| key.id.epoch != epoch + 1);
        let attempts: BTreeSet<_> = keys.iter().map(|k| k.id).collect();
        if !self.engine().is_final() {
            // It is pending, and says so.
            assert!(attempts.iter().any(|id| id.epoch == epoch), "LOST: the cell lacks the store's root key");
            return;
        }
        assert_eq!(attempts.len(), 1, "FOUND: after an acknowledged erase the cell's medium holds {attempts:?}");
        assert!(keys.iter().all(|k| k.id.epoch == epoch), "the cell holds another epoch than the store");
    }

    pub(super) fn keys_on_medium(&self) -> Vec<RootKey> {
        let all_final = self.engine.as_ref().is_none_or(|engine| engine.is_final());
        self.media.keys_on_medium(all_final).unwrap_or_else(|e| panic!("the cell cannot be read: {e}"))
    }

    pub(super) fn check_readers(&mut self) {
        let live = self.model.live();
        for (id, reader) in &mut self.readers {
            let mut byte = [0; 1];
            let read = std::io::Read::read(reader, &mut byte);
            assert!(live.contains_key(id) || read.is_err(), "FOUND: a reader delivers what was erased");
        }
    }

    pub(super) fn listed(&self) -> Vec<crate::record::RecordInfo> {
        match self.engine().list(&Query::default()) {
            Ok(listing) => listing.records,
            Err(e) => panic!("LOST: nothing can be listed: {e}"),
        }
    }

    pub(super) fn read(&self, id: &RecordId) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.engine().get_to(id, &mut out).map(|_| out)
    }

    /// The first judge: the engine says what the model says.
    pub(super) fn compare(&self) {
        let live = self.model.live();
        for (id, (user, record)) in &live {
            match self.read(id) {
                Ok(content) => assert!(content == record.content, "LOST: {id} has other bytes"),
                Err(e) => panic!("LOST: an acknowledged record: {e}"),
            }
            let info = self.engine().info(id).unwrap_or_else(|e| panic!("LOST: {e}"));
            assert_eq!(info.user, user_id(*user));
        }
        for id in &self.model.erased {
            match self.read(id) {
                Ok(_) => panic!("FOUND: an erased record is read: {id}"),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Erased, "{e}"),
            }
        }
        self.check_copies();
        let listed = self.listed();
        assert_eq!(listed.len(), live.len(), "the list holds something else");
        assert!(listed.iter().all(|r| live.contains_key(&r.id)), "the list holds something else");
    }

    /// What counts is on every copy in step that can be reached.
    pub(super) fn check_copies(&self) {
        if self.others.is_none()
            || self.model.copies.is_empty()
            || !self.settled()
            || !locked(&self.unreachable).is_empty()
        {
            return;
        }
        for copy in self.engine().copies().status().iter().filter(|copy| copy.entry.mode == CopyMode::InStep) {
            assert_eq!(copy.head, Some(self.engine().head()), "LOST: a copy in step is not in step: {copy:?}");
        }
    }

    /// The log has each epoch's end once and nothing else that is final, and every certificate that was given is under it.
    fn check_log(&mut self) {
        let mut ended = Vec::new();
        let mut frontier = Frontier::default();
        let read = self.engine().log().leaves(0, &mut |_, bytes| {
            let leaf: Leaf = String::from_utf8_lossy(bytes).parse()?;
            ended.extend(matches!(leaf.ends, Ends::Next { .. }).then_some(leaf.epoch));
            frontier.push(Hash::leaf(bytes));
            Ok(ControlFlow::Continue(()))
        });
        assert!(read.is_ok(), "LOST: the log: {read:?}");
        let epochs: Vec<u64> = (1..self.engine().head().epoch).collect();
        assert_eq!(ended, epochs, "LOST: the log misses an erase, or has one that did not happen");
        let key = self.engine().log().key().unwrap_or_else(|e| panic!("LOST: the log's key: {e}"));
        let signed = self.engine().log().checkpoint().and_then(|note| Checkpoint::verified(&note, &key));
        assert!(
            signed.as_ref().is_ok_and(|c| c.root == frontier.root()),
            "the checkpoint is of another log: {signed:?}"
        );
        for certificate in std::mem::take(&mut self.certificates) {
            let upgraded = self
                .engine()
                .certificates()
                .upgrade(&certificate, None)
                .and_then(|c| c.verify(&Trust::in_log(key.clone())));
            match upgraded {
                Ok(verified) => assert_ne!(verified.judged.grade, Grade::Pending, "it is final by now"),
                Err(e) => panic!("LOST: a certificate: {e}"),
            }
            self.tally.count("certificates looked at");
        }
    }

    /// A store counts what it lists: one that counts too few gives space back that blobs still lie in.
    fn count_blobs(&self) {
        let store = self.media.store(STORE, false).unwrap_or_else(|e| panic!("LOST: the store: {e}"));
        let listed = listed(&*store, 7).map(|names| names.len() as u64);
        assert_eq!(store.usage().map(|usage| usage.blobs).ok(), listed.ok(), "a store's count of its blobs");
    }

    /// Ends the run: both judges. `whole` also has the judge look at every key ever made.
    pub(super) fn judge(mut self, whole: bool) -> Tally {
        locked(&self.unreachable).clear();
        self.media.calm();
        self.restart(false);
        self.count_blobs();
        self.open(None);
        self.compare();
        // What is pending becomes final, and whatever is due is done, in view of the model.
        for _ in 0..2 {
            self.env.advance(30_000);
            self.tend(Trouble::default());
        }
        let pending = self.engine().status().map(|s| s.pending);
        assert!(matches!(pending, Ok(None)), "a pending erase does not become final: {pending:?}");
        self.compare();
        let unsettled = self.engine().status().map(|s| s.unsettled);
        assert!(matches!(unsettled, Ok(None)), "an erase does not become complete: {unsettled:?}");
        let counted = self.engine().users(None, 100).unwrap_or_else(|e| panic!("LOST: nothing can be counted: {e}"));
        for (n, user) in &self.model.users {
            let count = counted.iter().find(|(id, _)| *id == user_id(*n)).map(|(_, records)| *records);
            assert_eq!(
                count,
                (!user.erased && !user.unborn).then_some(user.records.len() as u64),
                "the count of user {n}"
            );
        }
        for (id, (_, record)) in &self.model.live() {
            let lineage = self.engine().lineage(id).unwrap_or_else(|e| panic!("LOST: {e}"));
            let opened = self.engine().accesses(id).map(|all| all.len());
            assert_eq!(opened.ok(), Some(record.opened), "LOST: who opened {id}");
            let sources: BTreeSet<_> = lineage.sources.into_iter().collect();
            assert_eq!(sources, record.sources.iter().copied().collect(), "the sources of {id}");
            for derived in &lineage.derived {
                let live = self.model.live();
                assert!(live.get(derived).is_some_and(|(_, r)| r.sources.contains(id)), "{derived} is not from {id}");
            }
        }
        self.compare();
        self.check_cell();
        self.check_log();

        // The second judge: the archive adversary.
        let live = self.model.live();
        let exposed = self.tape.exposed_to(&self.keys_on_medium()).unwrap_or_else(|e| panic!("the tape: {e}"));
        let abandoned =
            |id: &RecordId| self.abandoned_epoch == self.engine().head().epoch && self.abandoned.contains(id);
        for (id, record) in &exposed {
            if abandoned(id) {
                continue;
            }
            match live.get(id) {
                Some((_, expected)) => assert!(
                    record.content.as_ref() == Some(&expected.content),
                    "the adversary opens {id} as something else"
                ),
                None => {
                    let undone = self.undone_epoch == self.engine().head().epoch && !self.model.erased.contains(id);
                    assert!(undone, "FOUND: the adversary opens {id}, which does not live");
                }
            }
        }
        assert!(live.keys().all(|id| exposed.contains_key(id)), "the adversary is blind");
        let (envelopes, became): (Vec<_>, Vec<_>) = std::mem::take(&mut self.envelopes).into_iter().unzip();
        let opened = self.tape.opened(&self.keys_on_medium(), &envelopes);
        for (id, opened) in became.iter().zip(&opened) {
            assert!(
                !opened || live.contains_key(id),
                "FOUND: the adversary opens the envelope of {id}, which was erased"
            );
        }
        let audit = self.engine().audit(&[], &mut |_| {});
        assert!(audit.as_ref().is_ok_and(crate::engine::Audit::is_clean), "{audit:?}");
        if whole {
            let hoard = locked(&self.hoard);
            let twice = self.tape.key_used_twice(&hoard).unwrap_or_else(|e| panic!("the tape: {e}"));
            assert!(twice.is_none(), "a key seals two plaintexts, the second {twice:?}");
            // Were no key destroyed, everything would open: the adversary can see.
            let all = self.tape.exposed_to(&hoard).unwrap_or_else(|e| panic!("the tape: {e}"));
            assert!(self.model.erased.iter().all(|id| all.contains_key(id)), "the adversary is blind");
            self.tally.count("runs with every key looked at");
        }
        self.tally.count("runs");
        self.tally.add("records alive at the end", live.len() as u64);
        self.tally.faults = self.media.gate().faults();
        std::mem::take(&mut self.tally)
    }
}
