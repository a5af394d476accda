//! Erases of many users in all shards at once; one shard that cannot keeps no other from it, and
//! what is done in part is never told as done.

use keyfall::{ErrorKind, Query, RecordId, Scope, UserId};

use super::world::{World, put};
use crate::support::{error_kind, user};

struct Erased {
    names: Vec<UserId>,
    ids: Vec<RecordId>,
}

fn filled(realm: &keyfall::realm::Realm) -> Erased {
    let names: Vec<UserId> = (0..64).map(|n| user(&format!("user {n}"))).collect();
    let ids = names.iter().map(|name| put(realm, name.as_str())).collect();
    Erased { names, ids }
}

fn scopes(erased: &Erased) -> Vec<Scope> {
    erased.names.iter().cloned().map(Scope::user).collect()
}

#[test]
fn many_users_fall_in_all_shards_at_once() {
    let (_world, realm) = World::new(8);
    let Erased { names, ids } = filled(&realm);
    let stays = put(&realm, "somebody else");
    let epochs: Vec<u64> = (0..8).map(|n| realm.engine_at(n).unwrap().head().epoch).collect();
    let mut scopes: Vec<Scope> = names.iter().cloned().map(Scope::user).collect();
    // One by its record, which needs no name.
    scopes[5] = Scope::record(ids[5]);
    let erased = realm.erase_all(&scopes);
    assert!(erased.is_final());
    assert_eq!(erased.shards.len(), 8);
    assert_eq!(erased.shards.iter().map(|there| there.done).sum::<usize>(), 64);
    for there in &erased.shards {
        assert!(there.error.is_none() && there.finality.as_ref().unwrap().is_final());
        assert_eq!(there.of.len(), there.done);
        for of in &there.of {
            assert_eq!(realm.shard_of(&names[*of]).unwrap(), &there.shard);
        }
    }
    let done = erased.done().unwrap();
    assert!(done.iter().all(|erasure| erasure.records == Some(1)));
    for (number, before) in epochs.iter().enumerate() {
        assert_eq!(realm.engine_at(number).unwrap().head().epoch, before + 1, "one epoch each");
    }
    for id in &ids {
        assert_eq!(error_kind(realm.get(id)), ErrorKind::Erased);
    }
    realm.get(&stays).unwrap();
    // Again: all of it was erased already.
    let again = realm.erase_all(&scopes).done().unwrap();
    assert!(again.iter().all(|erasure| erasure.already));
}

#[test]
fn a_shard_that_is_away_keeps_no_other_from_erasing() {
    let (world, realm) = World::new(8);
    let filled = filled(&realm);
    realm.close().unwrap();
    world.away(3, true);
    let realm = world.open();
    let erased = realm.erase_all(&scopes(&filled));
    check_partial(&filled, &realm, erased, "is out of reach");
    // It comes back; the same call does what is left.
    world.away(3, false);
    let kept = realm.list(&Query::default().user(in_shard(&filled, &realm, 3).clone())).unwrap();
    assert_eq!(kept.records.len(), 1);
    let done = realm.erase_all(&scopes(&filled)).done().unwrap();
    assert!(done.iter().any(|erasure| erasure.already) && done.iter().any(|e| !e.already));
    for id in &filled.ids {
        assert_eq!(error_kind(realm.get(id)), ErrorKind::Erased);
    }
}

#[test]
fn a_shard_that_fails_in_its_commit_is_told_as_not_erased() {
    let (world, realm) = World::new(8);
    let filled = filled(&realm);
    world.place(3).store.after(Some(0));
    let erased = realm.erase_all(&scopes(&filled));
    check_partial(&filled, &realm, erased, "cut off");
    world.place(3).store.after(None);
    let engine = realm.engine_at(3).unwrap();
    if engine.is_poisoned() {
        engine.reopen().unwrap();
    }
    realm.erase_all(&scopes(&filled)).done().unwrap();
    for id in &filled.ids {
        assert_eq!(error_kind(realm.get(id)), ErrorKind::Erased);
    }
}

/// A user of this shard.
fn in_shard<'a>(filled: &'a Erased, realm: &keyfall::realm::Realm, number: usize) -> &'a UserId {
    filled.names.iter().find(|name| realm.shard_of(name).unwrap().number == number).unwrap()
}

/// Seven shards erased, and shard 3 did not: each answer says so, and no one says that it is done.
fn check_partial(
    filled: &Erased,
    realm: &keyfall::realm::Realm,
    erased: keyfall::realm::RealmErased,
    why: &str,
) {
    assert!(!erased.is_final());
    let mut of_three = 0;
    for (n, (id, erasure)) in filled.ids.iter().zip(&erased.erases).enumerate() {
        let there = erased.shards.iter().find(|there| there.of.contains(&n)).unwrap();
        let is_three = realm.shard_of_record(id).number == 3;
        of_three += usize::from(is_three);
        assert_eq!(there.shard.number == 3, is_three);
        assert_eq!(erasure.is_err(), is_three);
        if !is_three {
            assert_eq!(error_kind(realm.get(id)), ErrorKind::Erased);
        }
    }
    assert!(of_three > 0 && of_three < 64);
    for there in &erased.shards {
        let is_three = there.shard.number == 3;
        assert_eq!((there.done == 0, there.error.is_some()), (is_three, is_three));
        assert_eq!(there.finality.is_none(), is_three);
    }
    let text = erased.done().unwrap_err().to_string();
    assert!(text.contains(&format!("{} of 64 erases are done", 64 - of_three)), "{text}");
    assert!(text.contains(&format!("not {of_three} in shard 3 (")), "{text}");
    assert!(text.contains(why) && text.contains("repeat it") && !text.contains('\n'), "{text}");
}
