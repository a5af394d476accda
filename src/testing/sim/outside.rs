//! What comes from outside and goes there, in a run: envelopes, and what third parties open.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use crate::{Put, Source};
use std::io::Write;

use super::model::Record;
use super::op::{Item, Trouble};
use super::records::Chosen;
use super::run::{Done, Run, user_id};
use crate::engine::Grant;
use crate::error::{ErrorKind, Result};
use crate::ids::{Class, RecordId};
use crate::sealed::{Identity, Item as Packed, Unpack, seal, unpack};

/// Keeps the contents of a parcel.
#[derive(Default)]
struct Contents(Vec<(RecordId, Vec<u8>)>);

impl Unpack for Contents {
    fn begin(&mut self, item: &Packed) -> Result<Box<dyn Write + '_>> {
        match (item, self.0.len()) {
            (Packed::Record { id, .. }, n) => {
                self.0.push((*id, Vec::new()));
                Ok(Box::new(&mut self.0[n].1))
            }
            _ => panic!("a parcel holds what nobody put in"),
        }
    }
    fn end(&mut self, _: &Packed, fell: bool) -> Result<()> {
        assert!(!fell, "a record fell while nobody erased");
        Ok(())
    }
}

impl Run {
    pub(super) fn envelope(&mut self, user: u8, item: &Item, trouble: Trouble) {
        if !self.model.is_live(user) {
            return;
        }
        let sources: Vec<RecordId> = item.sources.iter().filter_map(|n| self.any_record(*n)).collect();
        let fine = {
            let live = self.model.live();
            sources.iter().all(|source| live.contains_key(source))
        };
        let content = self.content(item.len);
        self.verb(
            "inbox keys asked for",
            Trouble::default(),
            &|run| run.engine().inbox(&user_id(user)).key().map(|_| Done::Nothing),
            |_, _, _| {},
        );
        let Ok(key) = self.engine().inbox(&user_id(user)).key() else {
            return;
        };
        let put = Put::new(user_id(user), item.class.clone());
        let put = sources.iter().fold(put, |put, id| put.derived_from(Source::Record(*id)));
        let mut envelope = Vec::new();
        if let Err(e) = seal(&put, &content[..], &key, &*self.env, &mut envelope) {
            panic!("an envelope is not sealed: {e}");
        }
        let sealed = envelope.clone();
        let act = move |run: &Run| {
            let done = run.engine().accept(&sealed[..])?;
            assert!(fine, "FOUND: an envelope from what was erased was let in");
            assert!(!done.again, "an envelope was accepted that never came");
            Ok(Done::Ids(vec![done.id]))
        };
        let class = item.class.clone();
        self.verb("envelopes accepted", trouble, &act, |run, done, _| {
            let chosen = Chosen {
                class: class.clone(),
                interaction: None,
                sources: sources.clone(),
                from_last: false,
                content: content.clone(),
            };
            let ids = match done {
                Some(Done::Ids(ids)) => ids,
                _ => run.find(user, &[chosen]),
            };
            let Some(id) = ids.first().copied() else {
                panic!("LOST: an envelope became nothing");
            };
            run.envelopes.push((envelope, id));
            run.model.put(user, Record { id, class, content, sources, opened: 0 });
        });
        if item.len.is_multiple_of(2) && !self.envelopes.is_empty() {
            self.envelope_again(u8::try_from(self.envelopes.len() - 1).unwrap_or(u8::MAX), Trouble::default());
        }
    }

    pub(super) fn envelope_again(&mut self, n: u8, trouble: Trouble) {
        let Some((envelope, id)) = self.envelopes.get(usize::from(n) % self.envelopes.len().max(1)).cloned() else {
            return;
        };
        let live = self.model.live().contains_key(&id);
        let act = |run: &Run| match run.engine().accept(&envelope[..]) {
            Ok(done) => {
                assert!(done.again && done.id == id && live, "FOUND: an envelope became another record");
                Ok(Done::Nothing)
            }
            Err(e) if matches!(e.kind(), ErrorKind::Refused | ErrorKind::Erased) => Ok(Done::Nothing),
            Err(e) => Err(e),
        };
        self.verb("envelopes that came again", trouble, &act, |_, _, _| {});
    }

    pub(super) fn grant(
        &mut self,
        user: u8,
        class: Option<&Class>,
        (with_set, revoked): (bool, bool),
        trouble: Trouble,
    ) {
        if !self.model.is_live(user) {
            return;
        }
        let Ok((party, public)) = Identity::new(&*self.env).and_then(|party| {
            let public = party.public()?;
            Ok((party, public))
        }) else {
            panic!("no identity");
        };
        let mut grant = Grant::new(&public, "a skill", "to help");
        grant.class = class.cloned();
        let ticket = std::cell::RefCell::new(None);
        self.verb(
            "grants given",
            Trouble::default(),
            &|run| {
                let given = run.engine().grants(&user_id(user)).add(grant.clone())?;
                *ticket.borrow_mut() = Some(given);
                Ok(Done::Nothing)
            },
            |_, _, _| {},
        );
        let Some(ticket) = ticket.into_inner() else {
            return;
        };
        let covered: Vec<(RecordId, Vec<u8>)> = self
            .model
            .live()
            .values()
            .filter(|(n, r)| *n == user && class.is_none_or(|class| *class == r.class))
            .map(|(_, r)| (r.id, r.content.clone()))
            .collect();
        let Ok((request, secret)) = party.ask(&ticket, &*self.env) else {
            panic!("no request");
        };
        let act = |run: &Run| {
            let mut parcel = Vec::new();
            let opened = run.engine().open_request(&request, &mut parcel)?;
            let mut contents = Contents::default();
            unpack(&secret, &parcel[..], &mut contents)?;
            contents.0.sort();
            assert!(contents.0 == covered, "LOST: a third party opened something else than what is there");
            assert_eq!((opened.records, opened.fell), (covered.len() as u64, 0));
            Ok(Done::Nothing)
        };
        self.verb("grants opened", trouble, &act, |run, _, _| {
            for (id, _) in &covered {
                run.model.open_once(id);
            }
        });
        let set = format!("set {}", self.contents);
        let made = std::cell::RefCell::new(None);
        if with_set {
            self.verb(
                "training sets made",
                Trouble::default(),
                &|run| {
                    *made.borrow_mut() = Some(run.engine().training().make(&set, &public, "to help")?);
                    Ok(Done::Nothing)
                },
                |_, _, _| {},
            );
        }
        let ids: Vec<RecordId> = covered.iter().map(|(id, _)| *id).collect();
        let fill = |run: &Run| run.engine().training().add(&set, &ids).map(|_| Done::Nothing);
        let open_set = |run: &Run, records: usize| -> Result<Done> {
            let Some(ticket) = &*made.borrow() else {
                return Ok(Done::Nothing);
            };
            let (request, secret) = party.ask(ticket, &*run.env)?;
            let mut parcel = Vec::new();
            let opened = run.engine().open_request(&request, &mut parcel)?;
            unpack(&secret, &parcel[..], &mut Contents::default())?;
            assert_eq!(opened.records, records as u64, "a training set holds something else");
            Ok(Done::Nothing)
        };
        if made.borrow().is_some() {
            self.verb("training sets filled", trouble, &fill, |_, _, _| {});
            // Adding again adds nothing: so it is there now, whatever became of the first time.
            self.verb("training sets filled", Trouble::default(), &fill, |_, _, _| {});
            self.verb("training sets opened", trouble, &|run| open_set(run, ids.len()), |run, _, _| {
                ids.iter().for_each(|id| run.model.open_once(id));
            });
        }
        if revoked && let Some(number) = ticket.grant() {
            self.verb(
                "grants revoked",
                Trouble::default(),
                &|run| match run.engine().grants(&user_id(user)).revoke(number) {
                    Err(e) if e.kind() == ErrorKind::Absent => Ok(Done::Nothing),
                    done => done.map(|()| Done::Nothing),
                },
                |run, _, _| {
                    let again = party
                        .ask(&ticket, &*run.env)
                        .and_then(|(request, _)| run.engine().open_request(&request, Vec::new()));
                    assert!(again.is_err(), "FOUND: a revoked grant opens");
                },
            );
        }
    }
}
