//! The rules of late writes and claims: they hold, and each mistake breaks one. SPEC §6, §6.8.

use super::{ACKNOWLEDGED, LIVING, Mistake, Objects, SHUT_OUT, SMALL};
use crate::protocol::{breaks, holds, large};

/// A cell that records no owner: then only the store's claims tell.
const UNOWNED: Objects = Objects { owned: false, gives_up_seen: true, ..SMALL };

#[test]
fn two_engines_over_a_network_store_lose_nothing_in_any_order() {
    let most = if large() { 6 } else { SMALL.most };
    holds("network store, two engines", Objects { most, ..SMALL });
    holds("network store, two engines, no owner in the cell", Objects { most, ..UNOWNED });
}

#[test]
fn a_backup_beside_its_store_destroys_nothing_in_any_order() {
    let backup = Objects { backup: true, discards: false, ..SMALL };
    holds("network store, a backup is looked at", Objects { ..backup });
    holds("network store, a backup takes over", Objects { take_over: true, ..backup });
    let local = Objects { local: true, exclusive: true, most: 6, ..backup };
    holds("directory, a backup is looked at", Objects { ..local });
    holds("directory, a backup takes over", Objects { take_over: true, ..local });
}

/// SPEC §9.11: the key is read beside the claim.
#[test]
fn a_standby_that_reads_the_key_while_it_claims_loses_nothing_in_any_order() {
    let most = if large() { 6 } else { SMALL.most };
    let standby = Objects { key_beside: true, ..SMALL };
    holds("network store, two standbys", Objects { most, ..standby });
    let backup = Objects { backup: true, discards: false, take_over: true, ..standby };
    holds("network store, a standby, and a backup takes over", backup);
    let mistake = Mistake::OldHeadRepeated;
    breaks("a standby, OldHeadRepeated", Objects { mistake, ..standby }, ACKNOWLEDGED);
    let mistake = Mistake::CellFirst;
    breaks("a standby, CellFirst", Objects { mistake, ..standby }, SHUT_OUT);
    for mistake in [Mistake::HigherNumberWins, Mistake::NeverOwned] {
        let model = Objects { mistake, ..backup };
        breaks(&format!("a standby, and a backup takes over, {mistake:?}"), model, LIVING);
    }
}

#[test]
fn every_mistake_with_late_writes_and_claims_is_found() {
    let backup = Objects { backup: true, discards: false, ..SMALL };
    for (mistake, broken) in [
        (Mistake::NoClaim, LIVING),
        (Mistake::RetireFirst, LIVING),
        (Mistake::ClaimThenLoad, LIVING),
        (Mistake::NotThereIsFinal, LIVING),
        (Mistake::TimeoutIsSuccess, ACKNOWLEDGED),
        (Mistake::ClaimsDiscarded, ACKNOWLEDGED),
        (Mistake::ClaimUnlooked, LIVING),
        (Mistake::OnlyCommitsLook, LIVING),
        (Mistake::Blind, ACKNOWLEDGED),
        (Mistake::PublishFirst, LIVING),
        (Mistake::TwoInFlight, LIVING),
    ] {
        breaks(&format!("network store, {mistake:?}"), Objects { mistake, ..UNOWNED }, broken);
    }
    for mistake in [Mistake::NewestClaimOnly, Mistake::CellFirst] {
        breaks(&format!("network store, {mistake:?}"), Objects { mistake, ..SMALL }, SHUT_OUT);
    }
    for (mistake, broken) in [
        (Mistake::LookRecovers, LIVING),
        (Mistake::OwnsSilently, LIVING),
        (Mistake::BackupCarriesClaims, LIVING),
        (Mistake::NeverOwned, LIVING),
    ] {
        breaks(&format!("a backup, {mistake:?}"), Objects { mistake, ..backup }, broken);
        let local = Objects { local: true, exclusive: true, most: 6, mistake, ..backup };
        breaks(&format!("a backup of a directory, {mistake:?}"), local, broken);
    }
    for mistake in [
        Mistake::RetireUnfenced,
        Mistake::NeverOwned,
        Mistake::HigherNumberWins,
        Mistake::AgainOverOthers,
    ] {
        let model = Objects { take_over: true, mistake, ..backup };
        breaks(&format!("a backup that takes over, {mistake:?}"), model, LIVING);
    }
}
