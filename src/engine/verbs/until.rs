//! When a record ends, by its own limits or by those of what it was derived from.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalogue::resolve::look_up_whole;
use crate::engine::core::Core;
use crate::error::Result;
use crate::ids::{RecordId, Timestamp};

/// A record on which another one hangs.
struct Tie {
    /// When it passes a limit of its own.
    end: Option<Timestamp>,
    /// Whether what was derived from it stays then, with the same user.
    keeps: bool,
    derived: Vec<RecordId>,
}

pub(super) fn until(inner: &Core, id: &RecordId) -> Result<Option<Timestamp>> {
    inner.look(|view| {
        let (mut ties, mut next) = (BTreeMap::<RecordId, Tie>::new(), vec![(*id, None)]);
        while let Some((source, derived)) = next.pop() {
            if let Some(tie) = ties.get_mut(&source) {
                tie.derived.extend(derived);
                continue;
            }
            let (page, entry) = look_up_whole(view, &source)?;
            let class = page.class(source.class).map(|slot| &slot.class);
            let rules = view.rules(source.user, &page)?;
            let rule = class.and_then(|class| rules.of(class, &entry.purpose));
            let end = rule.and_then(|rule| rule.expiry(source.interaction.began()));
            let keeps = rule.is_some_and(|rule| rule.keep_derived.is_some());
            ties.insert(source, Tie { end, keeps, derived: derived.into_iter().collect() });
            if entry.sources > 0 {
                let sources = page.lineage.sources(view.pages, &source)?;
                next.extend(sources.into_iter().map(|further| (further, Some(source))));
            }
        }
        Ok(falls(id, &ties))
    })
}

/// When a record falls, if all that it hangs on ends when it passes its limit.
fn falls(id: &RecordId, ties: &BTreeMap<RecordId, Tie>) -> Option<Timestamp> {
    let end = |(id, tie): (&RecordId, &Tie)| Some((tie.end?, *id));
    let mut ends: Vec<_> = ties.iter().filter_map(end).collect();
    ends.sort_unstable();
    let mut fallen = BTreeSet::new();
    for (at, first) in ends {
        let mut next = vec![first];
        while let Some(source) = next.pop() {
            if !fallen.insert(source) {
                continue;
            }
            if source == *id {
                return Some(at);
            }
            let Some(tie) = ties.get(&source) else { continue };
            let keeps = tie.keeps && source == first;
            let falls = |derived: &&RecordId| !(keeps && derived.user == source.user);
            next.extend(tie.derived.iter().filter(falls));
        }
    }
    None
}
