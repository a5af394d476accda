//! Envelopes that arrive in a run, and what third parties open.
#![expect(clippy::panic, reason = "a judge's verdict is a panic")]

use crate::Put;
use std::cell::RefCell;
use std::io::Write;

use super::attempt::{Done, attempt};
use super::choose::any_record;
use super::model::Record;
use super::names::user_id;
use super::op::{Chosen, Granted, Item, Trouble};
use super::records::find;
use super::run::Run;
use crate::engine::Grant;
use crate::error::{ErrorKind, Result};
use crate::ids::{Class, RecordId};
use crate::sealed::{Identity, Item as Packed, Ticket, Unpack, seal, unpack};

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

pub(super) fn envelope(run: &mut Run, user: u8, item: &Item, trouble: Trouble) {
    if !run.model.is_live(user) {
        return;
    }
    let sources: Vec<RecordId> =
        item.sources.iter().filter_map(|n| any_record(&run.model, *n)).collect();
    let fine = {
        let live = run.model.live();
        sources.iter().all(|source| live.contains_key(source))
    };
    let content = run.content(item.len);
    attempt(
        run,
        "inbox keys asked for",
        Trouble::default(),
        &|run| run.engine().inbox(&user_id(user)).key().map(|_| Done::Nothing),
        |_, _, _| {},
    );
    let Ok(key) = run.engine().inbox(&user_id(user)).key() else {
        return;
    };
    let put = Put::new(user_id(user), item.class.clone());
    let put = sources.iter().fold(put, |put, id| put.derived_from(*id));
    let mut envelope = Vec::new();
    if let Err(e) = seal(&put, &content[..], &key, &*run.env, &mut envelope) {
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
    attempt(run, "envelopes accepted", trouble, &act, |run, done, _| {
        let chosen = Chosen {
            class: class.clone(),
            interaction: None,
            sources: sources.clone(),
            from_last: false,
            content: content.clone(),
        };
        let ids = match done {
            Some(Done::Ids(ids)) => ids,
            _ => find(run, user, &[chosen]),
        };
        let Some(id) = ids.first().copied() else {
            panic!("LOST: an envelope became nothing");
        };
        run.envelopes.push((envelope, id));
        run.model.put(user, Record::new(id, class, content, sources));
    });
    if item.len.is_multiple_of(2) && !run.envelopes.is_empty() {
        envelope_again(
            run,
            u8::try_from(run.envelopes.len() - 1).unwrap_or(u8::MAX),
            Trouble::default(),
        );
    }
}

pub(super) fn envelope_again(run: &mut Run, n: u8, trouble: Trouble) {
    let Some((envelope, id)) =
        run.envelopes.get(usize::from(n) % run.envelopes.len().max(1)).cloned()
    else {
        return;
    };
    let live = run.model.live().contains_key(&id);
    let act = |run: &Run| match run.engine().accept(&envelope[..]) {
        Ok(done) => {
            assert!(
                done.again && done.id == id && live,
                "FOUND: an envelope became another record"
            );
            Ok(Done::Nothing)
        }
        Err(e) if matches!(e.kind(), ErrorKind::Refused | ErrorKind::Limit | ErrorKind::Erased) => {
            Ok(Done::Nothing)
        }
        Err(e) => Err(e),
    };
    attempt(run, "envelopes that came again", trouble, &act, |_, _, _| {});
}

pub(super) fn grant(run: &mut Run, granted: &Granted, trouble: Trouble) {
    let Granted { user, class, set, revoked } = granted;
    if !run.model.is_live(*user) {
        return;
    }
    let Ok((party, public)) = Identity::new(&*run.env).and_then(|party| {
        let public = party.public()?;
        Ok((party, public))
    }) else {
        panic!("no identity");
    };
    let mut grant = Grant::new(&public, "a skill", "to help");
    grant.class.clone_from(class);
    let Some(ticket) = give(run, *user, &grant) else {
        return;
    };
    let covered = covered(run, *user, class.as_ref());
    open_granted(run, &party, &ticket, &covered, trouble);
    if *set {
        let ids: Vec<RecordId> = covered.iter().map(|(id, _)| *id).collect();
        training_set(run, &party, &ids, trouble);
    }
    if *revoked && let Some(number) = ticket.grant() {
        revoke(run, &party, &ticket, *user, number);
    }
}

/// Grants; `None` if that failed.
fn give(run: &mut Run, user: u8, grant: &Grant) -> Option<Ticket> {
    let ticket = RefCell::new(None);
    let act = |run: &Run| {
        let given = run.engine().grants(&user_id(user)).add(grant.clone())?;
        *ticket.borrow_mut() = Some(given);
        Ok(Done::Nothing)
    };
    attempt(run, "grants given", Trouble::default(), &act, |_, _, _| {});
    ticket.into_inner()
}

/// The records that a grant opens, with their contents, in order.
fn covered(run: &Run, user: u8, class: Option<&Class>) -> Vec<(RecordId, Vec<u8>)> {
    let live = run.model.live();
    let of =
        live.values().filter(|(n, r)| *n == user && class.is_none_or(|class| *class == r.class));
    of.map(|(_, r)| (r.id, r.content.clone())).collect()
}

fn open_granted(
    run: &mut Run,
    party: &Identity,
    ticket: &Ticket,
    covered: &[(RecordId, Vec<u8>)],
    trouble: Trouble,
) {
    let Ok((request, secret)) = party.ask(ticket, &*run.env) else {
        panic!("no request");
    };
    let act = |run: &Run| {
        let mut parcel = Vec::new();
        let opened = run.engine().open_request(&request, &mut parcel)?;
        let mut contents = Contents::default();
        unpack(&secret, &parcel[..], &mut contents)?;
        contents.0.sort();
        assert!(
            contents.0 == covered,
            "LOST: a third party opened something else than what is there"
        );
        assert_eq!((opened.records, opened.fell), (covered.len() as u64, 0));
        Ok(Done::Nothing)
    };
    attempt(run, "grants opened", trouble, &act, |run, _, _| {
        for (id, _) in covered {
            run.model.open_once(id);
        }
    });
}

/// Makes a training set, fills it with records, and opens it.
fn training_set(run: &mut Run, party: &Identity, ids: &[RecordId], trouble: Trouble) {
    let Ok(public) = party.public() else {
        panic!("no identity");
    };
    let set = format!("set {}", run.contents);
    let made = RefCell::new(None);
    let make = |run: &Run| {
        *made.borrow_mut() = Some(run.engine().training().make(&set, &public, "to help")?);
        Ok(Done::Nothing)
    };
    attempt(run, "training sets made", Trouble::default(), &make, |_, _, _| {});
    let Some(ticket) = made.into_inner() else {
        return;
    };
    let fill = |run: &Run| run.engine().training().add(&set, ids).map(|_| Done::Nothing);
    attempt(run, "training sets filled", trouble, &fill, |_, _, _| {});
    // Adding again adds nothing: so it is filled now, whatever became of the first time.
    attempt(run, "training sets filled", Trouble::default(), &fill, |_, _, _| {});
    let open = |run: &Run| {
        let (request, secret) = party.ask(&ticket, &*run.env)?;
        let mut parcel = Vec::new();
        let opened = run.engine().open_request(&request, &mut parcel)?;
        unpack(&secret, &parcel[..], &mut Contents::default())?;
        assert_eq!(opened.records, ids.len() as u64, "a training set holds something else");
        Ok(Done::Nothing)
    };
    attempt(run, "training sets opened", trouble, &open, |run, _, _| {
        ids.iter().for_each(|id| run.model.open_once(id));
    });
}

fn revoke(run: &mut Run, party: &Identity, ticket: &Ticket, user: u8, number: u64) {
    let act = |run: &Run| match run.engine().grants(&user_id(user)).revoke(number) {
        Err(e) if e.kind() == ErrorKind::Absent => Ok(Done::Nothing),
        done => done.map(|()| Done::Nothing),
    };
    attempt(run, "grants revoked", Trouble::default(), &act, |run, _, _| {
        let again = party
            .ask(ticket, &*run.env)
            .and_then(|(request, _)| run.engine().open_request(&request, Vec::new()));
        assert!(again.is_err(), "FOUND: a revoked grant opens");
    });
}
