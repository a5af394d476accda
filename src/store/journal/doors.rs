//! The store over a journal: its doors.

use super::claims;
use super::clean::{clean, waste};
use super::frame::Position;
use super::give::{count_dead, remove};
use super::store::{JournalStore, unknown_outcome};
use super::sweep::JournalSweep;
use crate::error::Result;
use crate::ids::BlobName;
use crate::store::{
    Ahead, Blob, Claimed, Cleaned, Collect, Cursor, Head, HeadId, Packing, Published, Removed,
    Store, Sweep, Usage, Waste,
};
use crate::sync::atomic::Ordering;

impl Store for JournalStore {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        self.naming.name(self.journal.next(ahead), len, drawn)
    }

    fn claimed(&self) -> Result<Option<Claimed>> {
        claims::last(&*self.disk, &self.dir)
    }

    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        claims::make(&*self.disk, &self.dir, claimed)?;
        self.head()
    }

    fn reopen(&self) -> Result<()> {
        self.open_again()
    }

    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        if let Some((_, bytes)) = self.placed(name, true)? {
            return Ok(Some(bytes));
        }
        let mut next = self.elsewhere(name)?;
        while let Some(at) = next {
            match self.journal.read(at) {
                // It was moved meanwhile; or an index that came back older than it was names bytes
                // that were discarded, with their file.
                Err(_) if self.journal.is_gone(at.file)? => {
                    next = self.elsewhere(name)?.filter(|now| *now != at);
                }
                read => return read.map(Some),
            }
        }
        Ok(None)
    }

    fn contains(&self, name: &BlobName) -> Result<bool> {
        Ok(self.placed(name, false)?.is_some() || self.elsewhere(name)?.is_some())
    }

    fn put(&self, blobs: &[Blob]) -> Result<()> {
        let mut tail = self.tail();
        self.append(&mut tail, blobs, None)?;
        self.checkpoint_if_due(&mut tail)
    }

    fn head(&self) -> Result<Option<Head>> {
        // Held while it is read: its file may be emptied and removed.
        let tail = self.tail();
        let Some((id, at)) = tail.head else {
            return Ok(None);
        };
        Ok(Some(Head { id, bytes: self.journal.read(at)? }))
    }

    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published> {
        let mut tail = self.tail();
        let there = tail.head.map(|(id, _)| id);
        if there != over || over >= Some(head.id) {
            return Ok(Published::Conflict(there));
        }
        let at = self.append(&mut tail, blobs, Some(head))?;
        tail.head = at.map(|at| (head.id, at));
        unknown_outcome(&mut tail, |_| self.journal.sync())?;
        self.checkpoint_if_due(&mut tail)?;
        Ok(Published::Done)
    }

    /// In the order of the journal.
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)> {
        let at = Position { file: (from.0 >> 64) as u32, offset: from.0 as u64 };
        let (blobs, next) = self.journal.list(at, limit)?;
        let tally = self.tally();
        let names =
            blobs.into_iter().filter(|(_, at)| !tally.is_dead(*at)).map(|(name, _)| name).collect();
        Ok((names, next.map(|at| Cursor(u128::from(at.file) << 64 | u128::from(at.offset)))))
    }

    fn remove(&self, names: &[BlobName]) -> Result<Removed> {
        remove(self, names)
    }

    fn sweep(&self, how: Collect) -> Result<Option<Box<dyn Sweep + '_>>> {
        Ok(Some(Box::new(JournalSweep::begin(self, how)?)))
    }

    fn count_dead(&self, names: &[BlobName]) -> Result<()> {
        count_dead(self, names)
    }

    fn suspect(&self, bytes: u64) {
        let more = |there: u64| Some(there.saturating_add(bytes));
        let _ = self.suspected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn waste(&self) -> Result<Option<Waste>> {
        waste(self).map(Some)
    }

    fn clean(&self, most: u64, packing: Packing) -> Result<Cleaned> {
        clean(self, most, packing)
    }

    /// Its bytes are those of the journal's files.
    fn usage(&self) -> Result<Usage> {
        Ok(Usage { blobs: self.tally().live(), bytes: self.journal.bytes()? })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::super::index::Index;
    use super::super::look::MemoryIndex;
    use super::super::sizes::Sizes;
    use super::*;
    use crate::disk::OsDisk;

    const SIZES: Sizes = Sizes {
        file_bytes: 16 << 10,
        ahead_bytes: 1 << 10,
        checkpoint_bytes: 8 << 10,
        recent_max: 16,
        beside: false,
    };

    fn open(dir: &Path, index: &Arc<MemoryIndex>) -> JournalStore {
        open_with(dir, index, SIZES)
    }

    fn open_with(dir: &Path, index: &Arc<MemoryIndex>, sizes: Sizes) -> JournalStore {
        let index = Arc::clone(index) as Arc<dyn Index>;
        JournalStore::open(Arc::new(OsDisk), dir, index, &[3; 16], sizes).unwrap()
    }

    fn new_index() -> Arc<MemoryIndex> {
        Arc::new(MemoryIndex::over(Position::default()))
    }

    fn content(n: u64) -> Vec<u8> {
        n.to_be_bytes().repeat(30)
    }

    /// Puts so many blobs, each with a commit: every third one elsewhere than its name says.
    fn fill(store: &JournalStore, count: u64) -> Vec<(u64, BlobName)> {
        let mut over = None;
        let mut put = |n: u64| {
            let mut drawn = [n as u8; 16];
            drawn[8..].copy_from_slice(&n.to_be_bytes());
            let name = store.name(BlobName(drawn), Ahead::default(), content(n).len());
            if n.is_multiple_of(3) {
                store.put(&[]).unwrap();
            }
            let head = Head { id: HeadId { epoch: 1, commit: n + 1 }, bytes: content(n) };
            assert_eq!(store.commit(&[(name, content(n))], over, &head).unwrap(), Published::Done);
            over = Some(head.id);
            (n, name)
        };
        (0..count).map(&mut put).collect()
    }

    fn lives(n: u64) -> bool {
        n.is_multiple_of(7)
    }

    /// Counts all but every seventh blob as given back.
    fn sweep(store: &JournalStore, blobs: &[(u64, BlobName)]) -> u64 {
        let mut sweep = store.sweep(Collect::Count).unwrap().unwrap();
        for (_, name) in blobs.iter().filter(|(n, _)| lives(*n)) {
            sweep.mark(name).unwrap();
            assert!(sweep.is_marked(name).unwrap());
        }
        let mut dead = 0;
        while let Some(some) = sweep.collect(5, &|_| false).unwrap() {
            dead += some.blobs;
        }
        dead
    }

    fn check(store: &JournalStore, blobs: &[(u64, BlobName)], when: &str) {
        for (n, name) in blobs.iter().filter(|(n, _)| lives(*n)) {
            assert_eq!(store.get(name).unwrap(), Some(content(*n)), "{when}: blob {n}");
            assert!(store.contains(name).unwrap(), "{when}: blob {n}");
        }
        let (last, _) = blobs[blobs.len() - 1];
        assert_eq!(store.head().unwrap().unwrap().bytes, content(last), "{when}: the head");
    }

    /// What a crash leaves now: the files as they are, without the closing of the store.
    fn crashed(dir: &Path) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    #[test]
    fn sparse_files_are_emptied_and_no_crash_on_the_way_loses_a_blob() {
        let dir = tempfile::tempdir().unwrap();
        let index = new_index();
        let store = open(dir.path(), &index);
        let blobs = fill(&store, 300);
        let before = store.usage().unwrap();
        assert_eq!(sweep(&store, &blobs), 300 - 43);
        check(&store, &blobs, "swept");
        assert!(store.get(&blobs[1].1).unwrap().is_none(), "what is dead is gone");
        let waste = store.waste().unwrap().unwrap();
        assert!(waste.given_back > waste.bytes / 2 && waste.suspected == 0, "{waste:?}");
        let mut steps = 0;
        loop {
            let step = store.clean(500, Packing::Loose).unwrap();
            assert_eq!(step.stuck, None);
            steps += 1;
            let crash = crashed(dir.path());
            let again = open(crash.path(), &new_index());
            check(&again, &blobs, "after a crash");
            drop(again);
            if !step.more {
                break;
            }
        }
        assert!(steps > 10, "small steps: {steps}");
        check(&store, &blobs, "cleaned");
        let after = store.usage().unwrap();
        assert!(after.bytes < before.bytes / 2, "{before:?} {after:?}");
        assert_eq!(after.blobs, 43);
        drop(store);
        for (index, when) in [(index, "opened again"), (new_index(), "with an index built again")] {
            let store = open(dir.path(), &index);
            check(&store, &blobs, when);
            let (names, _) = store.names(Cursor::default(), 10_000).unwrap();
            let once = |name: &BlobName| names.iter().filter(|n| *n == name).count() == 1;
            assert!(blobs.iter().filter(|(n, _)| lives(*n)).all(|(_, name)| once(name)), "{when}");
            // And once more, from what was moved.
            store.suspect(1 << 20);
            let live: Vec<_> = blobs.iter().filter(|(n, _)| lives(*n)).copied().collect();
            sweep(&store, &live);
            while store.clean(500, Packing::Loose).unwrap().more {}
            check(&store, &blobs, when);
        }
    }

    #[test]
    fn a_file_is_as_long_as_a_part_of_those_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let index = new_index();
        for range in [0..300, 300..301] {
            let store = open(dir.path(), &index);
            if range.start == 0 {
                fill(&store, range.end);
            } else {
                // One that is opened again goes on where it was.
                store.put(&[]).unwrap();
            }
            drop(store);
            let files: Vec<u64> = (1..)
                .map_while(|n| dir.path().join(format!("{n:08}.log")).metadata().ok())
                .map(|file| file.len())
                .collect();
            let mut before = 0;
            for len in &files[..files.len() - 1] {
                let limit = (before / 16).clamp(1 << 10, 16 << 10);
                assert!((limit..limit + 1024).contains(len), "{len} after {before}: {files:?}");
                before += len;
            }
            assert!(files.len() > 20 && before > 64 << 10, "{files:?}");
        }
    }

    #[test]
    fn an_index_keeps_no_name_that_nothing_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let index = new_index();
        // It learns when it is told to.
        let sizes = Sizes { checkpoint_bytes: 1 << 20, recent_max: 1000, ..SIZES };
        let store = open_with(dir.path(), &index, sizes);
        let blobs = fill(&store, 300);
        sweep(&store, &blobs);
        while store.clean(500, Packing::Dense).unwrap().more {}
        store.learn().unwrap();
        let known = index.names();
        assert!(known > 30, "most were moved: {known}");
        let names = |odd: bool| -> Vec<BlobName> {
            let live = blobs.iter().filter(|(n, _)| lives(*n));
            live.filter(|(n, _)| (n % 2 == 1) == odd).map(|(_, name)| *name).collect()
        };
        store.count_dead(&names(false)).unwrap();
        // The others are moved once more, and die before the index knows of that.
        let before = names(true).iter().map(|name| store.locate(name).unwrap()).collect::<Vec<_>>();
        while store.clean(500, Packing::Dense).unwrap().more {}
        let after = names(true).iter().map(|name| store.locate(name).unwrap()).collect::<Vec<_>>();
        assert!(before.iter().zip(&after).filter(|(b, a)| b != a).count() > 15, "{after:?}");
        store.count_dead(&names(true)).unwrap();
        drop(store);
        assert_eq!(index.names(), 0, "of {known}");
        let again = open(dir.path(), &index);
        assert!(blobs.iter().all(|(_, name)| again.get(name).unwrap().is_none()));
        assert_eq!(again.usage().unwrap().blobs, 0);
    }

    #[test]
    fn of_a_blob_that_lies_twice_the_one_that_is_read_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), &new_index());
        let blobs = fill(&store, 40);
        let live: Vec<_> = blobs.iter().filter(|(n, _)| lives(*n)).collect();
        for (n, name) in &live {
            store.put(&[(*name, content(*n))]).unwrap();
        }
        sweep(&store, &blobs);
        check(&store, &blobs, "swept");
        assert_eq!(store.usage().unwrap().blobs, live.len() as u64, "each once");
        while store.clean(500, Packing::Loose).unwrap().more {}
        check(&store, &blobs, "cleaned");
        drop(store);
        let again = open(dir.path(), &new_index());
        check(&again, &blobs, "with an index built again");
    }

    #[test]
    fn a_damaged_blob_keeps_its_file_and_nothing_else() {
        use std::os::unix::fs::FileExt;
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), &new_index());
        let blobs = fill(&store, 300);
        sweep(&store, &blobs);
        // The label of the first blob, which lives.
        let first = dir.path().join("00000001.log");
        let file = std::fs::File::options().write(true).open(&first).unwrap();
        file.write_all_at(&[9; 4], 64 + 2).unwrap();
        let mut stuck = None;
        loop {
            let step = store.clean(500, Packing::Dense).unwrap();
            stuck = step.stuck.or(stuck);
            if !step.more {
                break;
            }
        }
        assert!(stuck.is_some_and(|why| why.contains("damaged")) && first.exists());
        check(&store, &blobs[1..], "cleaned but for one file");
    }
}
