//! What keyholders tell of a store, as far as it counts: `liars` of them may say whatever they
//! like.
//!
//! Invariants. The newest claim that most keyholders may have taken is never passed over. No number
//! that a liar makes up moves what counts by more than [`LEAP`].

use std::cmp::Reverse;

use super::{Held, Keyholder};
use crate::cell::Owner;
use crate::error::{Error, ErrorKind, Result};

/// How far above a number that is no lie another one counts. With every claim a liar moves the next
/// by so much at most: 2^32 claims are left.
const LEAP: u64 = 1 << 32;
/// The token of nobody: which of two claims of one number most have taken cannot be told before all
/// answer.
const UNCLEAR: [u8; 16] = [0xFF; 16];

/// What members tell together.
pub(super) struct Told {
    /// The newest claim that most of them may have taken, those that are silent and those that may
    /// lie counted in.
    pub(super) owner: Option<Owner>,
    /// Whether no more tell that owner than may lie.
    pub(super) doubted: bool,
    /// The highest number of a claim that keyholders tell of, without those that no honest one can
    /// have.
    pub(super) claims: u64,
    /// The highest commit that more than may lie were told of under the claim of that owner.
    pub(super) mark: u64,
    /// The last epoch that more than may lie ended.
    pub(super) ended: u64,
    /// Whether a first commit, of which most are told, may be known to none but those that are
    /// silent or lie.
    pub(super) may_hide: bool,
    /// Whether any tells of a commit.
    pub(super) has_commit: bool,
}

/// What is kept on this machine does not name all that may hold shares of `epoch`.
pub(super) fn came_back_older(epoch: u64) -> Error {
    Error::new(
        ErrorKind::Mismatch,
        format!(
            "the cell's quorum.json is not the newest: it does not say who holds shares of epoch \
             {epoch}, which keyholders know; copy the newest quorum.json here, or take the store \
             over (`Builder::take_over`), which goes on with the keyholders that it names, and \
             calls nothing final that a root key up to epoch {epoch} reaches"
        ),
    )
}

/// The last epoch that more of these than may lie ended.
pub(super) fn ended(members: &[Result<Held>], liars: usize) -> u64 {
    beyond_lies(members.iter().flatten().map(|held| held.committed).collect(), liars)
}

/// The highest of these numbers that more than may lie tell, or a higher one.
fn beyond_lies(mut numbers: Vec<u64>, liars: usize) -> u64 {
    numbers.sort_unstable_by_key(|number| Reverse(*number));
    numbers.get(liars).copied().unwrap_or_default()
}

impl Told {
    /// `most` take a claim that counts.
    pub(super) fn by(members: &[Result<Held>], most: usize, liars: usize) -> Self {
        let answered = || members.iter().flatten();
        let mut owners: Vec<Owner> = answered().filter_map(|held| held.owner).collect();
        owners.sort_unstable_by_key(|owner| Reverse(owner.claim));
        let unseen = members.len() - answered().count() + liars;
        let tell = |owner: &Owner| owners.iter().filter(|other| *other == owner).count();
        // A keyholder that tells of a later one may have taken this one before.
        let later = |owner: &Owner| owners.iter().filter(|other| other.claim > owner.claim).count();
        let mut counted: Vec<Owner> = owners
            .iter()
            .filter(|owner| tell(owner) + later(owner) + unseen >= most)
            .copied()
            .collect();
        if counted.is_empty() {
            // Keyholders lost what they knew: what is left of it is better than that nobody owns
            // the store.
            counted = owners.iter().filter(|owner| tell(owner) > liars).copied().collect();
        }
        if counted.is_empty() {
            counted.clone_from(&owners);
        }
        let first = counted.first().copied();
        let unclear = first.is_some_and(|first| {
            counted.iter().any(|other| other.claim == first.claim && *other != first)
        });
        // What was told under a claim that most replaced may be of a state that was given up.
        // Whether they did is not left to those that are silent, nor to those that may lie.
        let surely =
            |first: &Owner| !unclear && tell(first) > liars && tell(first) + later(first) >= most;
        let replaced = first.filter(surely);
        let stands = |held: &&Held| replaced.is_none_or(|first| held.owner == Some(first));
        let told_by_many = liars.max((most - 1).saturating_sub(unseen));
        let most_claims =
            owners.get(told_by_many).map_or(0, |owner| owner.claim).saturating_add(LEAP);
        let claims =
            owners.iter().map(|owner| owner.claim).filter(|claim| *claim <= most_claims).max();
        Told {
            owner: first
                .map(|first| if unclear { Owner { token: UNCLEAR, ..first } } else { first }),
            doubted: unclear || first.is_some_and(|first| tell(&first) <= liars),
            claims: claims.unwrap_or_default(),
            mark: beyond_lies(answered().filter(stands).map(|held| held.mark).collect(), liars),
            ended: ended(members, liars),
            may_hide: unseen >= most,
            has_commit: answered().any(|held| held.mark > 0),
        }
    }
}

/// What can be done besides starting keyholders that do not answer.
pub(super) enum Else {
    /// Nothing was stored yet: others can be named.
    NameOthers,
    /// Those that answer could take the claim that a replacement begins with.
    Replace,
    ReadOn,
}

/// The error if fewer than `needed` keyholders did `what`. `left`: some were replaced.
pub(super) fn too_few<T>(
    what: &str,
    answers: &[Result<T>],
    needed: usize,
    other: &Else,
    left: bool,
) -> Error {
    let lost: Vec<String> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err().map(ToString::to_string))
        .collect();
    let remedy = match other {
        Else::NameOthers => ", or name other keyholders",
        Else::Replace => {
            ", or replace what is lost with `keyfall keyholder replace STORE --number N --with KEY@HOST:PORT` while \
             enough are there"
        }
        Else::ReadOn => {
            ": a replacement needs as many; while the root key can be recovered everything can be read, and put into a \
             new store"
        }
    };
    let back = if left {
        ", or put back one that was replaced (`keyfall keyholder status` shows them)"
    } else {
        ""
    };
    let n = answers.len();
    let text = format!(
        "{} of {n} keyholders {what}, {needed} are needed ({}); start the others{remedy}{back}",
        n - lost.len(),
        lost.join("; ")
    );
    Error::new(ErrorKind::Io, text).for_keyholders()
}

/// The cell's directory is of another store.
pub(super) fn of_another_store() -> Error {
    let text = "this cell belongs to another store; give each store its own";
    Error::new(ErrorKind::Refused, text)
}

/// More keyholders than may lie know of another engine's claim.
pub(super) fn owned_elsewhere() -> Error {
    let text = "keyholders say that another engine owns the store; nothing was destroyed";
    Error::new(ErrorKind::Fenced, text)
}

/// The error if a new keyholder took no share. Once more it goes on without that one, as without
/// any that is away.
pub(super) fn without_newcomer(tried: &[Result<()>]) -> Result<()> {
    let refused = tried.iter().find_map(|answer| answer.as_ref().err());
    let failed = |e: &Error| {
        Error::new(e.kind(), e.to_string())
            .context(
                "nothing was changed, for a keyholder that is new takes no share; try again to go \
                 on without it",
            )
            .for_keyholders()
    };
    refused.map_or(Ok(()), |e| Err(failed(e)))
}

/// What a new keyholder says of a key whose head is not published yet.
pub(super) fn later(member: &dyn Keyholder) -> Error {
    let text = format!("the keyholder {} is new, and gets its share afterwards", member.place());
    Error::new(ErrorKind::Io, text)
}
