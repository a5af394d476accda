//! The rules of writers and keyholders: they hold, and each mistake breaks one. SPEC §6, §15.

use super::{ERASED, KEYHOLDERS, LIVING, Mistake, ONE_CELL, Protocol, STAYS};
use crate::protocol::{breaks, holds, large};

#[test]
fn one_cell_is_safe_and_live_in_every_order() {
    holds("one cell", ONE_CELL);
}

#[test]
fn three_keyholders_are_safe_and_live_in_every_order() {
    let (roots, crashes) = if large() { (3, 1) } else { (3, 0) };
    holds("three keyholders", Protocol { roots, crashes, ..KEYHOLDERS });
    holds("three keyholders, a crash", Protocol { roots: 2, ..KEYHOLDERS });
}

#[test]
fn three_keyholders_of_whom_one_lies_are_safe_and_live_in_every_order() {
    let lies = Protocol { liar: true, ..KEYHOLDERS };
    let (roots, crashes) = if large() { (3, 1) } else { (3, 0) };
    holds("three keyholders, one of whom lies", Protocol { roots, crashes, ..lies });
    holds("three keyholders, one of whom lies, a crash", Protocol { roots: 2, ..lies });
}

#[test]
fn three_keyholders_of_whom_one_is_lost_still_open_a_head() {
    holds(
        "three keyholders, one of whom is lost",
        Protocol { losses: 1, crashes: 0, ..KEYHOLDERS },
    );
}

#[test]
fn an_attempt_that_is_given_up_takes_nothing_with_it() {
    holds(
        "three keyholders, attempts are given up",
        Protocol { gives_up: true, crashes: 0, ..KEYHOLDERS },
    );
}

#[test]
fn a_backup_that_takes_over_is_the_only_one_that_destroys() {
    holds(
        "three keyholders, a backup takes over",
        Protocol { takes_over: true, crashes: 0, ..KEYHOLDERS },
    );
}

/// SPEC §9.11: what keyholders told while the store was claimed counts after they took the claim.
#[test]
fn a_standby_asks_keyholders_once_who_holds_the_key() {
    let standby = Protocol { stands_by: true, crashes: 0, ..KEYHOLDERS };
    holds("three keyholders, a standby", standby);
    holds("three keyholders, a standby, one is lost", Protocol { losses: 1, ..standby });
    let mistake = Mistake::ClaimsBlindly;
    breaks("a standby, ClaimsBlindly", Protocol { mistake, ..standby }, STAYS);
}

#[test]
fn every_mistake_with_keyholders_is_found() {
    let lies = Protocol { liar: true, ..KEYHOLDERS };
    for (mistake, broken) in [
        (Mistake::PublishEarly, LIVING),
        (Mistake::PublishBlindly, LIVING),
        (Mistake::LoserRetires, LIVING),
        (Mistake::DepositOverwrites, LIVING),
        (Mistake::PagesAfter, LIVING),
        (Mistake::OneTooFew, ERASED),
        (Mistake::LosersKept, ERASED),
        (Mistake::NewerDestroyed, LIVING),
        (Mistake::NoFence, ERASED),
        (Mistake::ReturnAtPublish, ERASED),
        (Mistake::RetireBeforePublish, LIVING),
        (Mistake::RecoveryTrusts, ERASED),
        (Mistake::EndsBackward, ERASED),
        (Mistake::GivesUpSeen, LIVING),
    ] {
        breaks(&format!("three keyholders, {mistake:?}"), Protocol { mistake, ..lies }, broken);
    }
    let lost = Protocol { losses: 1, crashes: 0, mistake: Mistake::MarginLeftOut, ..KEYHOLDERS };
    breaks("three keyholders, one is lost, MarginLeftOut", lost, LIVING);
    for mistake in [Mistake::ClaimTooFew, Mistake::NotAskedAgain, Mistake::RetireUnfenced] {
        let model = Protocol { takes_over: true, crashes: 0, mistake, ..KEYHOLDERS };
        breaks(&format!("a backup takes over, {mistake:?}"), model, LIVING);
    }
}

#[test]
fn every_mistake_with_one_cell_is_found() {
    for (mistake, broken) in [
        (Mistake::ReturnAtPublish, ERASED),
        (Mistake::RetireBeforePublish, LIVING),
        (Mistake::PagesAfter, LIVING),
        (Mistake::RecoveryTrusts, ERASED),
        (Mistake::ReadyReused, ERASED),
        (Mistake::ReadyOverKept, LIVING),
    ] {
        breaks(&format!("one cell, {mistake:?}"), Protocol { mistake, ..ONE_CELL }, broken);
    }
}
