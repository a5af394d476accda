//! Putting and erasing in a run, and how the model follows.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use crate::{Erase, Put, Scope, Source};
use std::cell::RefCell;
use std::time::Duration;

use super::model::{Named, Record};
use super::op::{Item, Trouble};
use super::run::{Done, Run, Told, user_id};
use crate::engine::Request;
use crate::error::ErrorKind;
use crate::ids::{Class, InteractionId, RecordId};

/// What is put, chosen.
#[derive(Clone)]
pub(super) struct Chosen {
    pub(super) class: Class,
    pub(super) interaction: Option<InteractionId>,
    pub(super) sources: Vec<RecordId>,
    pub(super) from_last: bool,
    pub(super) content: Vec<u8>,
}

/// An erase in the engine's words.
pub(super) fn asked(named: &Named) -> Erase {
    match named {
        Named::User(user) => Scope::user(user_id(*user)).into(),
        Named::Record(id) => Scope::Record(*id).into(),
        Named::Part { user, class, when, keep } => {
            let erase = Erase::new(Scope::User { user: user_id(*user), class: class.clone(), when: *when });
            keep.iter().fold(erase, |erase, class| erase.keep(class.clone(), "it stays"))
        }
    }
}

impl Run {
    pub(super) fn put(&mut self, user: u8, items: Vec<Chosen>, trouble: Trouble) {
        let refused = self.refuses(user, &items);
        let act = |run: &Run| {
            let mut batch = run.engine().batch();
            let mut last = None;
            for item in &items {
                let mut put = Put::new(user_id(user), item.class.clone());
                if let Some(interaction) = item.interaction {
                    put = put.interaction(interaction);
                }
                for source in &item.sources {
                    put = put.derived_from(Source::Record(*source));
                }
                if let Some(last) = last.filter(|_| item.from_last) {
                    put = put.derived_from(Source::Added(last));
                }
                last = Some(batch.add(put, &item.content[..])?);
            }
            let ids = batch.commit()?;
            assert!(!refused, "FOUND: a put behind a fence, or from what was erased, was let in");
            Ok(Done::Ids(ids))
        };
        let items_back = items.clone();
        self.verb("puts", trouble, &act, move |run, done, _| {
            run.follow_put(user, items_back, done);
        });
    }

    /// Has the model follow a put.
    pub(super) fn follow_put(&mut self, user: u8, items: Vec<Chosen>, done: Option<Done>) {
        let ids = match done {
            Some(Done::Ids(ids)) => ids,
            _ => self.find(user, &items),
        };
        assert_eq!(ids.len(), items.len(), "LOST: a put is wholly there or not at all");
        let mut last = None;
        for (item, id) in items.into_iter().zip(ids) {
            assert!(!self.model.erased.contains(&id), "an erased record's id was given again");
            let Chosen { class, mut sources, from_last, content, .. } = item;
            sources.extend(last.filter(|_| from_last));
            last = Some(id);
            self.tally.add("records derived", u64::from(!sources.is_empty()));
            self.model.put(user, Record { id, class, content, sources, opened: 0 });
        }
    }

    /// What an item is, chosen from what there is.
    pub(super) fn choose(&mut self, item: Item) -> Chosen {
        Chosen {
            interaction: item.interaction.and_then(|n| self.pick(n)),
            sources: item.sources.iter().filter_map(|n| self.any_record(*n)).collect(),
            from_last: item.from_last,
            content: self.content(item.len),
            class: item.class,
        }
    }

    /// Whether the model has a put refused.
    pub(super) fn refuses(&self, user: u8, items: &[Chosen]) -> bool {
        let live = self.model.live();
        items.iter().any(|item| {
            self.model.fenced(user, &item.class, item.interaction) || item.sources.iter().any(|s| !live.contains_key(s))
        })
    }

    /// The ids of what was put and not acknowledged, in the order of the items.
    pub(super) fn find(&self, user: u8, items: &[Chosen]) -> Vec<RecordId> {
        let live = self.model.live();
        let mut new: Vec<_> = self.listed().into_iter().filter(|r| !live.contains_key(&r.id)).collect();
        let mut ids = Vec::new();
        for item in items {
            let is = |r: &crate::record::RecordInfo| {
                r.class == item.class && r.user == user_id(user) && self.read(&r.id).is_ok_and(|c| c == item.content)
            };
            match new.iter().position(is) {
                Some(at) => ids.push(new.remove(at).id),
                None => panic!("LOST: a put is there in part"),
            }
        }
        ids
    }

    pub(super) fn erase(&mut self, named: Vec<Named>, window: Option<Duration>, trouble: Trouble) {
        let within = |erase: Erase| match window {
            Some(window) => erase.final_within(window),
            None => erase,
        };
        // A few ask for certificates; one of each commit is kept, to be looked at in the end.
        let certified = self.engine().head().commit.is_multiple_of(16);
        let ask = |erase: Erase| if certified { erase.certified(Request::default()) } else { erase };
        let scopes: Vec<Erase> = named.iter().map(|n| ask(within(asked(n)))).collect();
        let issued = RefCell::new(None);
        let act = |run: &Run| {
            let mut outcomes = Vec::new();
            let told = run.engine().erase_all(&scopes);
            // Each is judged alone: what fails of one keeps the others from nothing.
            let some = told.iter().any(Result::is_ok);
            for outcome in told {
                outcomes.push(match outcome {
                    Ok(done) => {
                        assert_eq!(
                            done.certificate.is_some(),
                            certified && !done.already,
                            "a certificate for what fell"
                        );
                        *issued.borrow_mut() = done.certificate;
                        Told::Fell(done.records.unwrap_or(u64::MAX), done.already)
                    }
                    Err(e) if e.kind() == ErrorKind::Absent => Told::Absent,
                    Err(e) if e.kind() == ErrorKind::Held => Told::Held,
                    // Who is told so takes it for done.
                    Err(e) if e.kind() == ErrorKind::Erased => panic!("LOST: an erase fails as erased: {e}"),
                    Err(_) if some => Told::Failed,
                    Err(e) => return Err(e),
                });
            }
            Ok(Done::Erased(outcomes))
        };
        let kept = &issued;
        self.verb("erases", trouble, &act, move |run, done, now| {
            let acknowledged = match done {
                Some(Done::Erased(outcomes)) => Some(outcomes),
                _ => None,
            };
            for (n, named) in named.iter().enumerate() {
                match acknowledged.as_ref().map(|outcomes| outcomes[n]) {
                    Some(Told::Held) => {
                        assert!(run.model.held(named), "an erase was refused, and nothing is held: {named:?}");
                        run.tally.count("erases refused");
                    }
                    Some(Told::Failed) => run.tally.count("erases that failed alone"),
                    Some(Told::Absent) => assert_eq!(run.model.hits(named), 0, "an erase missed a record: {named:?}"),
                    Some(Told::Fell(records, already)) => {
                        let held = run.model.held(named) && !run.model.would_do_nothing(named);
                        assert!(!held, "FOUND: an erase took what is held: {named:?}");
                        let (fell, nothing) = run.model.erase(named, now);
                        // What fell before and is still to be followed counts with its scope.
                        // So it does where a page could not be read on the way to it, now or by an erase before.
                        run.left |= trouble.during.is_some();
                        let followed = run.options.follow.links > 100 && !run.left;
                        assert!(records == fell || !followed && records > fell, "{named:?}: {records} of {fell}");
                        if followed && !matches!(named, Named::Part { .. }) {
                            assert_eq!(already, nothing, "{named:?}");
                        }
                        run.tally.add("records erased", fell);
                    }
                    None => {
                        // What was erased before leaves no fence.
                        let acts = run.model.hits(named) > 0 || run.leaves_fence(named);
                        // One that met the fault failed alone.
                        let hit = run.model.taken(named);
                        let failed =
                            trouble.during.is_some() && !hit.is_empty() && hit.iter().all(|id| run.read(id).is_ok());
                        if acts && !failed && !run.model.held(named) {
                            run.model.erase(named, now);
                        }
                    }
                }
            }
            let pending = run.engine().status().is_ok_and(|s| s.pending.is_some());
            run.tally.add("erases pending", u64::from(pending));
            if acknowledged.is_some() {
                run.certificates.extend(
                    kept.borrow_mut()
                        .take()
                        .map(|unsigned| unsigned.sign().unwrap_or_else(|e| panic!("LOST: a certificate: {e}"))),
                );
                run.check_cell();
                run.check_readers();
            }
        });
    }

    /// Whether an erase that takes no record leaves a fence all the same.
    pub(super) fn leaves_fence(&self, named: &Named) -> bool {
        match named {
            Named::User(user) | Named::Part { user, .. } => self.model.users.get(user).is_none_or(|u| !u.erased),
            Named::Record(_) => false,
        }
    }
}
