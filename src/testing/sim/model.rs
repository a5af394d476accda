//! The first judge: a plain model of what was acknowledged, a few maps and lists.

use crate::{PutMode, When};
use std::collections::{BTreeMap, BTreeSet};

use super::op::Chosen;
use crate::ids::{Class, ClassTag, InteractionId, RecordId, Timestamp, UploadId};
use crate::record::upload;

/// A record as it was put.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: RecordId,
    pub(super) class: Class,
    pub(super) content: Vec<u8>,
    /// It falls with any of these.
    pub(super) sources: Vec<RecordId>,
    /// How often somebody opened it by name.
    pub(super) opened: usize,
    /// The application's name for it, by its number.
    pub(super) name: Option<u8>,
    /// It was cut from a source.
    detached: bool,
}

impl Record {
    pub(super) fn new(
        id: RecordId,
        class: Class,
        content: Vec<u8>,
        sources: Vec<RecordId>,
    ) -> Self {
        Record { id, class, content, sources, opened: 0, name: None, detached: false }
    }

    /// Whether a put of an item under this record's name is the same put.
    pub(super) fn is_put_by(&self, item: &Chosen) -> bool {
        let set = |sources: &[RecordId]| sources.iter().copied().collect::<BTreeSet<_>>();
        self.class == item.class
            && self.content == item.content
            && !self.detached
            && set(&self.sources) == set(&item.sources)
    }
}

/// An unfinished upload: what it is to become so far, under an id that no record has.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    pub(super) id: UploadId,
    pub(super) record: Record,
    /// The name that the record is to have, and what becomes of another that has it then.
    pub(super) named: Option<(u8, PutMode)>,
    /// In milliseconds since 1970.
    pub(super) expires: u64,
}

/// An id for an upload, or a part of one, among those of records.
pub(super) fn stand_in(upload: &UploadId) -> RecordId {
    let UploadId { interaction, user, incarnation, number, .. } = *upload;
    let (class, ordinal) = (ClassTag([0; 6]), upload::ordinal(number));
    RecordId { interaction, user, incarnation, class, ordinal }
}

fn is_upload(record: &Record) -> bool {
    upload::is_of_upload(record.id.ordinal)
}

/// What an erase leaves so that late arrivals are refused.
#[derive(Clone, Debug)]
struct Fence {
    class: Option<Class>,
    what: Fenced,
}

#[derive(Clone, Debug)]
enum Fenced {
    Interaction(InteractionId),
    /// First and last millisecond.
    Span(u64, u64),
}

#[derive(Clone, Debug, Default)]
pub(super) struct User {
    pub(super) erased: bool,
    /// It was never created; fences wait for its records.
    pub(super) unborn: bool,
    /// When it was created again: interactions that began before are not this user's.
    since: Option<u64>,
    pub(super) records: Vec<Record>,
    pub(super) uploads: Vec<Upload>,
    fences: Vec<Fence>,
    pub(super) holds: Vec<Hold>,
    /// The number of each plan, when it is due, and what it names.
    pub(super) plans: Vec<(u64, u64, Named)>,
    /// Limits in milliseconds, by class.
    pub(super) limits: BTreeMap<String, u64>,
}

/// A hold's number, class and interaction.
pub(super) type Hold = (u64, Option<Class>, Option<InteractionId>);

/// What one erase names, in the model's terms.
#[derive(Clone, Debug)]
pub(super) enum Named {
    User(u8),
    Part {
        user: u8,
        class: Option<Class>,
        when: When,
        keep: Option<Class>,
        /// What was derived from it stays.
        alone: bool,
    },
    Record(RecordId),
}

impl Named {
    /// All of a part, with what was derived from it.
    pub(super) fn part(user: u8, class: Option<Class>, when: When) -> Self {
        Named::Part { user, class, when, keep: None, alone: false }
    }
}

/// Everything that was acknowledged, or seen to have happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) users: BTreeMap<u8, User>,
    pub(super) erased: Vec<RecordId>,
    /// Those of them that had a name.
    pub(super) once_named: Vec<RecordId>,
    /// Uploads that fell: erased, aborted, expired.
    pub(super) fallen: Vec<UploadId>,
    pub(super) interactions: Vec<InteractionId>,
    /// Places of copies, and whether they are in step.
    pub(super) copies: BTreeMap<u8, bool>,
    /// Limits in milliseconds, by class.
    pub(super) limits: BTreeMap<String, u64>,
}

impl Model {
    pub(super) fn live(&self) -> BTreeMap<RecordId, (u8, &Record)> {
        self.users.iter().flat_map(|(n, u)| u.records.iter().map(|r| (r.id, (*n, r)))).collect()
    }

    /// The same, and the unfinished uploads.
    fn all(&self) -> BTreeMap<RecordId, (u8, &Record)> {
        let mut all = self.live();
        all.extend(self.uploads().into_iter().map(|(n, it)| (it.record.id, (n, &it.record))));
        all
    }

    /// The unfinished uploads, with their users.
    pub(super) fn uploads(&self) -> Vec<(u8, &Upload)> {
        self.users.iter().flat_map(|(n, u)| u.uploads.iter().map(|it| (*n, it))).collect()
    }

    /// When an upload ends by itself.
    pub(super) fn ends(&self, user: u8, upload: &Upload) -> u64 {
        let class = upload.record.class.as_str();
        let own = self.users.get(&user).and_then(|user| user.limits.get(class));
        let limit = own.or_else(|| self.limits.get(class));
        let began = upload.id.interaction().began().0;
        limit.map_or(upload.expires, |age| upload.expires.min(began + age))
    }

    pub(super) fn drop_upload(&mut self, id: &UploadId) {
        self.users.values_mut().for_each(|user| user.uploads.retain(|it| it.id != *id));
        self.fallen.push(*id);
    }

    /// Whether one of its user's holds covers something.
    pub(super) fn is_held(&self, user: u8, record: &Record) -> bool {
        self.users.get(&user).is_some_and(|user| user.holds.iter().any(|h| covers(h, record)))
    }

    pub(super) fn is_live(&self, user: u8) -> bool {
        self.users.get(&user).is_some_and(|u| !u.erased && !u.unborn)
    }

    /// Whether a put must be refused as erased.
    pub(super) fn fenced(
        &self,
        user: u8,
        class: &Class,
        interaction: Option<InteractionId>,
    ) -> bool {
        let Some(there) = self.users.get(&user) else {
            return false;
        };
        there.erased
            || interaction
                .zip(there.since)
                .is_some_and(|(interaction, since)| interaction.began().0 <= since)
            || interaction.is_some_and(|interaction| {
                there.fences.iter().any(|f| {
                    f.class.as_ref().is_none_or(|c| c == class)
                        && match f.what {
                            Fenced::Interaction(i) => i == interaction,
                            Fenced::Span(a, b) => (a..=b).contains(&interaction.began().0),
                        }
                })
            })
    }

    /// Whether a put must be refused.
    pub(super) fn refuses(&self, user: u8, items: &[Chosen]) -> bool {
        let live = self.live();
        items.iter().any(|item| {
            self.fenced(user, &item.class, item.interaction)
                || item.sources.iter().any(|s| !live.contains_key(s))
        })
    }

    /// Whether an erase that takes no record leaves a fence all the same.
    pub(super) fn leaves_fence(&self, named: &Named) -> bool {
        match named {
            Named::User(user) | Named::Part { user, .. } => {
                self.users.get(user).is_none_or(|u| !u.erased)
            }
            Named::Record(_) => false,
        }
    }

    pub(super) fn put(&mut self, user: u8, record: Record) {
        self.interactions.push(record.id.interaction());
        let there = self.users.entry(user).or_default();
        there.unborn = false;
        there.records.push(record);
    }

    pub(super) fn create(&mut self, user: u8, now: u64) {
        let there = self.users.entry(user).or_default();
        there.unborn = false;
        if there.erased {
            *there = User { since: Some(now), ..User::default() };
        }
    }

    /// Drops what `named` takes and what was derived from it; returns how many it takes.
    fn drop_named(&mut self, named: &Named) -> u64 {
        let taken: BTreeSet<RecordId> = self
            .all()
            .iter()
            .filter(|(_, (user, r))| takes(named, *user, r))
            .map(|(id, _)| *id)
            .collect();
        let mut fallen = taken.clone();
        loop {
            let more: Vec<RecordId> = self
                .all()
                .iter()
                .filter(|(id, (user, r))| {
                    !fallen.contains(id)
                        && !keeps(named, *user, r)
                        && r.sources.iter().any(|s| {
                            let cut = taken.contains(s) && cuts(named, *user) && !is_upload(r);
                            fallen.contains(s) && !cut
                        })
                })
                .map(|(id, _)| *id)
                .collect();
            if more.is_empty() {
                break;
            }
            fallen.extend(more);
        }
        for user in self.users.values_mut() {
            let had = user.records.iter().filter(|r| fallen.contains(&r.id) && r.name.is_some());
            self.once_named.extend(had.map(|r| r.id));
            user.records.retain(|r| !fallen.contains(&r.id));
            // Only what is kept still has a source that fell.
            for record in &mut user.records {
                record.detached |= record.sources.iter().any(|s| fallen.contains(s));
                record.sources.retain(|s| !fallen.contains(s));
            }
            let of_user = user.uploads.iter().filter(|it| fallen.contains(&it.record.id));
            self.fallen.extend(of_user.map(|it| it.id));
            user.uploads.retain(|it| !fallen.contains(&it.record.id));
        }
        let is_record = |id: &&RecordId| !upload::is_of_upload(id.ordinal);
        self.erased.extend(fallen.iter().filter(is_record));
        taken.iter().filter(is_record).count() as u64
    }

    /// Makes a record independent of its sources.
    pub(super) fn detach(&mut self, id: &RecordId) {
        for user in self.users.values_mut() {
            for record in user.records.iter_mut().filter(|r| r.id == *id) {
                record.sources.clear();
                record.detached = true;
            }
        }
    }

    /// The record of a user that has a name.
    pub(super) fn named(&self, user: u8, name: u8) -> Option<&Record> {
        self.users.get(&user)?.records.iter().find(|r| r.name == Some(name))
    }

    /// The names that a user's records have.
    pub(super) fn names(&self, user: u8) -> impl Iterator<Item = u8> + '_ {
        let records = self.users.get(&user).into_iter().flat_map(|user| &user.records);
        records.filter_map(|r| r.name)
    }

    /// Gives a record its name.
    pub(super) fn name(&mut self, id: &RecordId, name: u8) {
        for user in self.users.values_mut() {
            user.records.iter_mut().filter(|r| r.id == *id).for_each(|r| r.name = Some(name));
        }
    }

    /// Whether one of these is a record, or depends on it.
    pub(super) fn depend_on(&self, sources: &[RecordId], id: &RecordId) -> bool {
        let (live, mut next) = (self.live(), sources.to_vec());
        while let Some(at) = next.pop() {
            if at == *id {
                return true;
            }
            next.extend(live.get(&at).into_iter().flat_map(|(_, r)| r.sources.iter().copied()));
        }
        false
    }

    /// Counts one more opening of a record.
    pub(super) fn open_once(&mut self, id: &RecordId) {
        for user in self.users.values_mut() {
            user.records.iter_mut().filter(|r| r.id == *id).for_each(|r| r.opened += 1);
        }
    }

    /// Whether an erase must be refused: a hold covers part of its scope, or a held record depends
    /// on part of it.
    pub(super) fn held(&self, named: &Named) -> bool {
        let live = self.all();
        let mut protected: BTreeSet<RecordId> = BTreeSet::new();
        let held = live
            .values()
            .filter(|(n, r)| self.users[n].holds.iter().any(|h| covers(h, r)))
            .map(|(_, r)| r.id);
        let mut next: Vec<RecordId> = held.collect();
        while let Some(id) = next.pop() {
            if protected.insert(id) {
                next.extend(live.get(&id).into_iter().flat_map(|(_, r)| r.sources.iter().copied()));
            }
        }
        if live.values().any(|(n, r)| takes(named, *n, r) && protected.contains(&r.id)) {
            return true;
        }
        // A hold on records that do not exist, or not yet, counts all the same.
        let touched = |user: &u8, touches: &dyn Fn(&Hold) -> bool| {
            self.users.get(user).is_some_and(|u| !u.erased && u.holds.iter().any(touches))
        };
        match named {
            Named::User(user) => touched(user, &|_| true),
            Named::Record(_) => false,
            Named::Part { user, class, when, keep, .. } => {
                touched(user, &|(_, of, interaction)| {
                    let of_class = of.as_ref().is_none_or(|of| {
                        class.as_ref().is_none_or(|c| c == of)
                            && keep.as_ref().is_none_or(|k| k != of)
                    });
                    of_class
                        && interaction.is_none_or(|i| match when {
                            When::Ever => true,
                            When::Interaction(this) => *this == i,
                            When::Between { from, until } => {
                                from.is_none_or(|f| i.began() >= f)
                                    && until.is_none_or(|u| i.began() < u)
                            }
                        })
                })
            }
        }
    }

    /// Whether an erase finds its user, record or interaction gone already.
    pub(super) fn would_do_nothing(&self, named: &Named) -> bool {
        match named {
            Named::User(user) => !self.is_live(*user),
            Named::Record(_) => self.hits(named) == 0,
            Named::Part { user, when, .. } => {
                !self.is_live(*user)
                    || matches!(when, When::Interaction(_)) && self.hits(named) == 0
            }
        }
    }

    /// Whether an erase may take records that are still to come.
    pub(super) fn may_take_more(&self, named: &Named) -> bool {
        match named {
            Named::User(_) => true,
            Named::Record(_) => false,
            Named::Part { when, .. } => !matches!(when, When::Interaction(_)),
        }
    }

    /// The live records that an erase takes.
    pub(super) fn taken(&self, named: &Named) -> Vec<RecordId> {
        self.live().values().filter(|(user, r)| takes(named, *user, r)).map(|(_, r)| r.id).collect()
    }

    /// How many live records an erase takes.
    pub(super) fn hits(&self, named: &Named) -> usize {
        self.taken(named).len()
    }

    /// Drops what an erase took by itself. Whether it left a fence depends on what fell first: the
    /// model keeps none.
    pub(super) fn drop_due(&mut self, named: &Named) {
        if let Named::User(user) = named {
            self.erase(&Named::User(*user), 0);
        } else {
            self.drop_named(named);
        }
    }

    /// What has passed a limit: the part of each class of each user as one erase; one erase an
    /// interaction where a hold covers some of it.
    pub(super) fn expired(&self, now: u64) -> Vec<Named> {
        let mut all = Vec::new();
        for (n, user) in &self.users {
            let classes: BTreeSet<&str> = user.records.iter().map(|r| r.class.as_str()).collect();
            for class in classes {
                let Some(age) = user.limits.get(class).or_else(|| self.limits.get(class)) else {
                    continue;
                };
                let passed = |r: &&Record| {
                    r.class.as_str() == class && r.id.interaction().began().0 + age <= now
                };
                let Some(first) = user.records.iter().find(passed) else {
                    continue;
                };
                let part = |when| Named::part(*n, Some(first.class.clone()), when);
                let until = Timestamp((now + 1).saturating_sub(*age));
                let whole = part(When::Between { from: None, until: Some(until) });
                if !self.held(&whole) {
                    all.push(whole);
                    continue;
                }
                let interactions: BTreeSet<_> =
                    user.records.iter().filter(passed).map(|r| r.id.interaction()).collect();
                let one_by_one = interactions.into_iter().map(|i| part(When::Interaction(i)));
                all.extend(one_by_one.filter(|one| !self.held(one)));
            }
        }
        all
    }

    /// Applies an erase that saw the time `now`; returns how many records fell, and whether there
    /// was nothing to do since the user or the record had been erased before.
    pub(super) fn erase(&mut self, named: &Named, now: u64) -> (u64, bool) {
        match named {
            Named::User(user) => {
                let already = self.users.get(user).is_some_and(|u| u.erased);
                let n = self.drop_named(named);
                self.users.insert(*user, User { erased: true, ..User::default() });
                (n, already)
            }
            Named::Record(_) => {
                let n = self.drop_named(named);
                (n, n == 0)
            }
            Named::Part { user, class, when, .. } => {
                let live = self.is_live(*user);
                let n = self.drop_named(named);
                let what = match when {
                    When::Ever => Fenced::Span(0, now),
                    When::Interaction(i) => Fenced::Interaction(*i),
                    When::Between { from, until } => Fenced::Span(
                        from.map_or(0, |f| f.0),
                        until.map_or(now, |u| (u.0 - 1).min(now)),
                    ),
                };
                let unborn = || User { unborn: true, ..User::default() };
                let there = self.users.entry(*user).or_insert_with(unborn);
                if !there.erased {
                    there.fences.push(Fence { class: class.clone(), what });
                }
                (n, !live)
            }
        }
    }
}

fn covers(hold: &Hold, record: &Record) -> bool {
    let (_, class, interaction) = hold;
    class.as_ref().is_none_or(|c| *c == record.class)
        && interaction.is_none_or(|i| i == record.id.interaction())
}

/// Whether an erase takes a live record, or an upload: of what is kept, that falls, too.
fn takes(named: &Named, owner: u8, record: &Record) -> bool {
    match named {
        Named::User(user) => *user == owner,
        Named::Record(id) => *id == record.id,
        Named::Part { user, class, when, keep, .. } => {
            *user == owner
                && class.as_ref().is_none_or(|c| *c == record.class)
                && keep.as_ref().is_none_or(|k| *k != record.class || is_upload(record))
                && spans(*when, record)
        }
    }
}

/// Whether an erase cuts a user's records from those that it takes.
fn cuts(named: &Named, owner: u8) -> bool {
    matches!(named, Named::Part { user, alone: true, .. } if *user == owner)
}

/// Whether an erase keeps a live record in spite of its scope.
fn keeps(named: &Named, owner: u8, record: &Record) -> bool {
    match named {
        Named::Part { user, when, keep: Some(keep), .. } => {
            *user == owner && *keep == record.class && spans(*when, record) && !is_upload(record)
        }
        _ => false,
    }
}

fn spans(when: When, record: &Record) -> bool {
    match when {
        When::Ever => true,
        When::Interaction(i) => record.id.interaction() == i,
        When::Between { from, until } => {
            let t = record.id.interaction().began();
            from.is_none_or(|f| t >= f) && until.is_none_or(|u| t < u)
        }
    }
}
