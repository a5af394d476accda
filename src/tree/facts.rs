//! A user's facts in words: the history, and what is stored among the links, with the names of what
//! lives.

use super::history::{About, StoredFact};
use super::holds::Hold;
use super::lineage::Detachment;
use super::link::Pages;
use super::plans::Plan;
use super::user::UserPage;
use crate::error::Result;
use crate::ids::{Class, ClassTag, RecordId, Timestamp, UserTag};

/// What was done, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fact {
    /// A derived record was made to stand without some of its sources.
    Detached {
        /// The record that was detached.
        record: RecordId,
        /// From how many sources; which they were is not kept.
        sources: u16,
        /// Why, as the requester said.
        reason: String,
    },
    /// An erase left the records of a class.
    Kept {
        /// Which class; `None` if it holds nothing now: its name fell.
        class: Option<Class>,
        /// How many records of it were kept.
        records: u64,
        /// Why, as the requester said.
        reason: String,
    },
    /// A hold was added.
    Held {
        /// Number of the hold.
        id: u64,
        /// What it covers, in words, without what fell meanwhile.
        scope: String,
        /// Why the records are held, as the requester said.
        reason: String,
        /// The person or office that ordered the hold.
        authority: String,
    },
    /// A hold was lifted.
    Lifted {
        /// Number of the hold.
        id: u64,
        /// Why the hold was lifted, as the requester said.
        reason: String,
        /// The person or office that ordered the lifting.
        authority: String,
    },
    /// An erase was refused, since it would have touched what is held.
    Refused {
        /// What was to be erased, in words, without ids and without what fell meanwhile.
        scope: String,
        /// How often, until a hold was added or lifted.
        times: u64,
    },
    /// An erase was planned for a time to come.
    Planned {
        /// Number of the planned erase.
        id: u64,
        /// When the erase is carried out.
        due: Timestamp,
        /// What is to be erased, in words; `None` once it was done or cancelled.
        scope: Option<String>,
    },
    /// A planned erase was cancelled.
    Cancelled {
        /// Number of the planned erase.
        id: u64,
    },
    /// A planned erase could not be done when it was due; it is tried again each hour.
    Failed {
        /// Number of the planned erase.
        id: u64,
        /// Why, in a word: the kind of the error.
        why: String,
    },
    /// A third party was allowed to open records.
    Granted {
        /// The number of the grant.
        id: u64,
        /// Name of the grantee.
        name: String,
        /// What the grant covers, in words, without what fell meanwhile.
        scope: String,
        /// When the grant ends, if it does.
        until: Option<Timestamp>,
        /// What the grantee may use the records for.
        purpose: String,
    },
    /// A grant was taken back.
    Revoked {
        /// Number of the grant.
        id: u64,
    },
}

/// Every fact of a user, oldest first, with the names of what lives.
pub(crate) fn facts(
    page: &UserPage,
    pages: &dyn Pages,
    owner: UserTag,
) -> Result<Vec<(Timestamp, Fact)>> {
    let words = Words {
        page,
        holds: page.holds.all(pages, owner)?,
        plans: page.plans.all(pages, owner, &page.user)?,
    };
    let detachments = page.lineage.detachments(pages, owner, page.incarnation)?;
    let mut facts: Vec<(Timestamp, Fact)> = detachments
        .into_iter()
        .map(|Detachment { record, at, sources, reason }| {
            (at, Fact::Detached { record, sources, reason })
        })
        .collect();
    let kept = page.history.all(pages, owner)?;
    facts.extend(kept.into_iter().map(|(at, fact)| (at, words.fact(fact))));
    facts.sort_by_key(|(at, _)| *at);
    Ok(facts)
}

/// What facts are put into words with: a user's page, and the holds and plans in force.
struct Words<'p> {
    page: &'p UserPage,
    holds: Vec<(u64, Hold)>,
    plans: Vec<Plan>,
}

impl Words<'_> {
    fn fact(&self, fact: StoredFact) -> Fact {
        match fact {
            StoredFact::Kept { class, records, reason } => Fact::Kept {
                class: self.page.class(class).map(|slot| slot.class.clone()),
                records,
                reason,
            },
            StoredFact::Held { id, class, interaction, reason, authority } => {
                // A hold in force says itself what it covers.
                let scope = match self.holds.iter().find(|(there, _)| *there == id) {
                    Some((_, hold)) => hold.words(),
                    None if interaction => self.scope(class) + " of an interaction",
                    None => self.scope(class),
                };
                Fact::Held { id, scope, reason, authority }
            }
            StoredFact::Lifted { id, reason, authority } => Fact::Lifted { id, reason, authority },
            StoredFact::Refused { about, times } => {
                Fact::Refused { scope: self.about(&about), times }
            }
            StoredFact::Planned { id, due } => {
                let plan = self.plans.iter().find(|plan| plan.id == id);
                Fact::Planned { id, due, scope: plan.map(|plan| plan.erase.words()) }
            }
            StoredFact::Cancelled { id } => Fact::Cancelled { id },
            StoredFact::Failed { id, why } => Fact::Failed { id, why },
            StoredFact::Granted { id, name, class, until, purpose } => {
                Fact::Granted { id, name, scope: self.scope(class), until, purpose }
            }
            StoredFact::Revoked { id } => Fact::Revoked { id },
        }
    }

    fn about(&self, about: &About) -> String {
        let of = self.scope((about.class != [0; 6]).then_some(ClassTag(about.class)));
        match about.what {
            About::INTERACTION => of + " of an interaction",
            About::SPAN => of + " of a span of time",
            About::RECORD => format!("a record of {of}"),
            About::LIMIT => of + ", whose time has come",
            About::EVERYTHING => of,
            _ => "more than that".to_owned(),
        }
    }

    fn scope(&self, class: Option<ClassTag>) -> String {
        match class {
            None => "everything".to_owned(),
            Some(tag) => match self.page.class(tag) {
                Some(slot) => format!("class {}", slot.class),
                None => "a class that holds nothing now".to_owned(),
            },
        }
    }
}
