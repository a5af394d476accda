//! A run in progress: its media, its engine, its model, and what happened.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use crate::{Engine, Opening, Options, Query, Reader, RecordInfo};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::media::disk::Saved;
use super::media::faulty::{FaultyCell, Hoard, Late};
use super::media::port::Media;
use super::model::Model;
use super::names::STORE;
use super::others::Others;
use super::rng::Rng;
use super::tally::Tally;
use crate::cell::{RootCell, RootKey};
use crate::certificate::Certificate;
use crate::engine::{Defect, Follow, Geometry, Keeper, OpenAs};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::RecordId;
use crate::limits::SEGMENT_MIN_BYTES;
use crate::store::{HeadId, Store};
use crate::testing::lock::locked;
use crate::testing::seeded::{Position, Seeded};
use crate::testing::tape::{RecordingStore, Tape};

/// A snapshot of the machine, to which it may go back.
pub(super) struct Machine {
    pub(super) saved: Saved,
    pub(super) model: Model,
    pub(super) position: Position,
    pub(super) head: HeadId,
}

/// A run in progress.
pub(super) struct Run {
    pub(super) media: Arc<dyn Media>,
    pub(super) env: Arc<Seeded>,
    pub(super) tape: Arc<Tape>,
    pub(super) hoard: Hoard,
    pub(super) late: Late,
    pub(super) options: Options,
    pub(super) engine: Option<Engine>,
    /// The store was restored since: it does not own the cell, and is to be taken over.
    pub(super) restored: bool,
    /// An erase met a fault: derived records may still have to be followed.
    pub(super) left: bool,
    pub(super) unreachable: Arc<Mutex<BTreeSet<String>>>,
    pub(super) model: Model,
    /// Records of a timeline that a restored snapshot ended; they may open until the epoch ends.
    pub(super) abandoned: BTreeSet<RecordId>,
    pub(super) abandoned_epoch: u64,
    /// The epoch of the last put that was undone: its head may be on the tape and can be opened
    /// until the epoch ends.
    pub(super) undone_epoch: u64,
    /// When a call failed last: what was due then is retried later.
    pub(super) failed_at: Option<u64>,
    pub(super) machine: Option<Machine>,
    pub(super) copies: BTreeMap<u8, Saved>,
    pub(super) cell: Option<(Saved, u64)>,
    pub(super) readers: Vec<(RecordId, Reader)>,
    pub(super) openings: Vec<Opening>,
    /// Uploads that became records, and the epoch in which they did.
    pub(super) finished: Vec<(RecordId, u64)>,
    /// Envelopes that were accepted, and the records that they became.
    pub(super) envelopes: Vec<(Vec<u8>, RecordId)>,
    /// Certificates of acknowledged erases.
    pub(super) certificates: Vec<Certificate>,
    pub(super) rng: Rng,
    pub(super) contents: u64,
    pub(super) tally: Tally,
    /// The other engines, where the store is not alone.
    pub(super) others: Option<Others>,
}

impl Run {
    /// A run over media, without a store yet.
    pub(super) fn new(
        media: Arc<dyn Media>,
        env: Arc<Seeded>,
        seed: u64,
        defect: Option<Defect>,
    ) -> Self {
        let tape = Tape::new();
        let unreachable: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let (over, onto, gone) = (Arc::clone(&media), Arc::clone(&tape), Arc::clone(&unreachable));
        let open_copy = move |place: &str, create: bool| -> Result<Arc<dyn Store>> {
            if locked(&gone).contains(place) {
                return Err(Error::new(ErrorKind::Io, format!("{place} is out of reach")));
            }
            Ok(Arc::new(RecordingStore::new(over.store(place, create)?, Arc::clone(&onto))))
        };
        let options = Options::new()
            .env(env.clone())
            .geometry(geometry(seed))
            .keeper(Keeper::ByHand)
            .follow(if seed.is_multiple_of(3) {
                Follow { links: 2, users: 1 }
            } else {
                Follow { users: 9, ..Follow::default() }
            })
            .cache_bytes(1 << 18)
            // So short that some expire within a run.
            .upload_lasts(Duration::from_secs(if seed.is_multiple_of(2) { 20 } else { 600 }))
            .open_copy(Arc::new(open_copy))
            .open_as(OpenAs::Owner)
            .defect(defect);
        Run {
            media,
            env,
            tape,
            hoard: Hoard::default(),
            late: Late::default(),
            options,
            engine: None,
            restored: false,
            left: false,
            unreachable,
            model: Model::default(),
            abandoned: BTreeSet::new(),
            abandoned_epoch: 0,
            undone_epoch: 0,
            failed_at: None,
            machine: None,
            copies: BTreeMap::new(),
            cell: None,
            readers: Vec::new(),
            openings: Vec::new(),
            finished: Vec::new(),
            envelopes: Vec::new(),
            certificates: Vec::new(),
            rng: Rng::new(seed),
            contents: 0,
            tally: Tally::default(),
            others: None,
        }
    }

    pub(super) fn with_media(
        &self,
        create: bool,
        open: impl FnOnce(Arc<dyn Store>, Arc<dyn RootCell>, Options) -> Result<Engine>,
    ) -> Result<Engine> {
        open(self.recorded(STORE, create)?, self.faulty_cell()?, self.options.clone())
    }

    /// The store at a place, on the tape.
    pub(super) fn recorded(&self, place: &str, create: bool) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(RecordingStore::new(self.media.store(place, create)?, Arc::clone(&self.tape))))
    }

    pub(super) fn faulty_cell(&self) -> Result<Arc<dyn RootCell>> {
        Ok(Arc::new(FaultyCell {
            cell: self.media.cell()?,
            gate: Arc::clone(self.media.gate()),
            hoard: Arc::clone(&self.hoard),
            late: Arc::clone(&self.late),
        }))
    }

    pub(super) fn engine(&self) -> &Engine {
        match &self.engine {
            Some(engine) => engine,
            None => panic!("the engine is closed"),
        }
    }

    pub(super) fn content(&mut self, len: usize) -> Vec<u8> {
        self.contents += 1;
        let mut rng = Rng::new(self.rng.clone().next() ^ self.contents);
        let mut content: Vec<u8> =
            (0..len.div_ceil(8)).flat_map(|_| rng.next().to_be_bytes()).collect();
        content.truncate(len);
        content
    }

    /// Whether no erase is half done: only then does an operator bring old states back, as both
    /// root keys live meanwhile.
    pub(super) fn settled(&self) -> bool {
        matches!(self.engine().status().map(|s| s.unsettled), Ok(None))
    }

    pub(super) fn keys_on_medium(&self) -> Vec<RootKey> {
        let all_final = self.engine.as_ref().is_none_or(|engine| engine.is_final());
        self.media
            .keys_on_medium(all_final)
            .unwrap_or_else(|e| panic!("the cell cannot be read: {e}"))
    }

    pub(super) fn listed(&self) -> Vec<RecordInfo> {
        match self.engine().list(&Query::default()) {
            Ok(listing) => listing.records,
            Err(e) => panic!("LOST: nothing can be listed: {e}"),
        }
    }

    pub(super) fn read(&self, id: &RecordId) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.engine().get_to(id, &mut out).map(|_| out)
    }

    pub(super) fn others(&mut self) -> &mut Others {
        self.others.get_or_insert_default()
    }
}

/// Small pages, so that trees grow and split; every seventh run has the default size, every
/// eleventh the shortest segments.
fn geometry(seed: u64) -> Geometry {
    let segment_bytes =
        if seed % 11 == 4 { SEGMENT_MIN_BYTES } else { Geometry::DEFAULT.segment_bytes };
    match seed % 7 {
        0 => Geometry { segment_bytes, ..Geometry::DEFAULT },
        1 | 2 => Geometry { page_bytes: 1024, fan_bits: 4, segment_bytes },
        _ => Geometry { page_bytes: 1024, fan_bits: 2, segment_bytes },
    }
}
