//! Admission: whether a put may begin, in which life of its user and in which interaction. This is
//! an early answer, before the payload is read; on life and fences the binding one is in `put`.

use super::moment::{Reading, later};
use super::number::{counts, outnumbered_with};
use super::view::View;
use crate::crypto::{Key, class_tag};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ClassTag, InteractionId, Timestamp, UserTag};
use crate::limits::CLOCK_TRUST;
use crate::policy::{Policy, Rules};
use crate::record::Put;
use crate::tree::fences::{Fences, Target};
use crate::tree::head::HeadPage;
use crate::tree::unborn::Unborn;
use crate::tree::user::UserPage;
use crate::tree::users::Found;
use crate::tree::{Node, Page, PageKind};

/// Where a put may go: the user's place, which life of the user it is for, and the interaction.
#[derive(Clone, Copy)]
pub(crate) struct Admitted {
    pub(crate) user: UserTag,
    pub(crate) incarnation: u16,
    pub(crate) interaction: InteractionId,
}

/// Whether a put may begin.
///
/// # Errors
/// `Erased` if the user, the interaction or this class of it was erased; `Invalid` for an
/// interaction from the future; `Refused` if a policy says that nothing of the class is kept, or
/// would have the record erased at once, or once a clock that is far off is right.
pub(crate) fn admit(view: &View<'_>, env: &dyn Env, clock: Reading, put: &Put) -> Result<Admitted> {
    let tag = view.tag(&put.user);
    let interaction = match put.interaction {
        Some(id) => id,
        None => new_interaction(env, view.head, clock)?,
    };
    if interaction.began() > clock.horizon() {
        return Err(Error::invalid(format!(
            "interaction {interaction} begins more than a day in the future; check the clock of the device that made it"
        )));
    }
    if interaction.began().looks_like_seconds() {
        return Err(Error::invalid(format!(
            "interaction {interaction} began at {}: seconds were taken for milliseconds; make its id from milliseconds",
            interaction.began()
        )));
    }
    let admission = Admission { view, env, clock, put, tag };
    match view.users().find(tag)? {
        Found::Absent => admission.of_nobody(interaction),
        Found::Erased { .. } => Err(user_erased()),
        Found::Unborn { page } => {
            let page = Unborn::decode(&view.pages.load(PageKind::Unborn, Some(tag), &page)?)?;
            let class = class_tag(&page.fence_key, put.class.as_str());
            let interaction =
                admission.unfenced(&page.fences, &page.fence_key, class, interaction)?;
            admission.of_nobody(interaction)
        }
        Found::Live { incarnation, page, .. } => {
            let page = view.pages.load(PageKind::User, Some(tag), &page)?;
            let interaction = admission.of_live(&page, interaction)?;
            Ok(Admitted { user: tag, incarnation, interaction })
        }
    }
}

/// A put that asks to come in.
struct Admission<'a> {
    view: &'a View<'a>,
    env: &'a dyn Env,
    clock: Reading,
    put: &'a Put,
    tag: UserTag,
}

impl Admission<'_> {
    /// Where a put of a user goes who has no record.
    fn of_nobody(&self, interaction: InteractionId) -> Result<Admitted> {
        let rules = Rules { own: Vec::new(), store: self.view.policies()? };
        let policy = rules.of(&self.put.class, &self.put.purpose);
        self.check_kept(policy)?;
        self.check_clock(policy, interaction)?;
        Ok(Admitted { user: self.tag, incarnation: 1, interaction })
    }

    /// Refuses what a policy keeps no more.
    fn check_kept(&self, policy: Option<&Policy>) -> Result<()> {
        let until = policy.and_then(|policy| policy.until);
        if until.is_none_or(|until| until > self.clock.due()) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "the policy keeps nothing of class {} any more; `Policies::list` shows it, of all users or of one",
                self.put.class
            ),
        ))
    }

    /// Refuses what a clock that is far off would have erase once it is right again: what is put
    /// by one that is behind would be too old then, or the oldest; and so would whatever is put
    /// later, beside what was put by one that is ahead.
    fn check_clock(&self, policy: Option<&Policy>, interaction: InteractionId) -> Result<()> {
        let Reading { now, known, behind, doubted, .. } = self.clock;
        let goes = |policy: &Policy| {
            let expiry = policy.expiry(interaction.began());
            policy.max_records.is_some() || behind && expiry.is_some_and(|at| at <= known)
        };
        if !(behind || doubted) || !policy.is_some_and(goes) {
            return Ok(());
        }
        let off = if behind { "was reached before" } else { "is what is known" };
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "the clock shows {now}, and {known} {off}: by the policy of class {} this record, or one that is put later, would be erased once the clock is right; set the clock, or, if it is right, say so with `Clock::trust`",
                self.put.class
            ),
        ))
    }

    /// The interaction of a put that names none, if the record is not at once beyond the number of
    /// its class: others that begin later are there, put by a clock that was ahead. It begins after
    /// the oldest of these, if that is as near as clocks are.
    fn within_number(
        &self,
        whole: &Page,
        rules: &Rules,
        policy: Option<&Policy>,
        interaction: InteractionId,
    ) -> Result<InteractionId> {
        let has_number = policy.is_some_and(|policy| policy.max_records.is_some());
        if self.put.interaction.is_some() || !counts(policy) || !has_number {
            return Ok(interaction);
        }
        let page = UserPage::decode(whole)?;
        let slot = page.classes.iter().find(|slot| slot.class == self.put.class);
        let Some(slot) = slot else { return Ok(interaction) };
        let Some(last) = outnumbered_with(self.view.pages, self.tag, slot, rules, 1)? else {
            return Ok(interaction);
        };
        if last < interaction {
            return Ok(interaction);
        }
        let after = Timestamp(last.began().0.saturating_add(1));
        if after <= later(interaction.began(), CLOCK_TRUST) {
            return interaction_at(self.env, after);
        }
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "class {} keeps so many records of a user, and all that it has begin later than {}, where this one begins: it would be erased at once; if a clock was ahead when they were put, erase those, and put it again",
                self.put.class,
                interaction.began()
            ),
        ))
    }

    /// The interaction for a put of a live user.
    fn of_live(&self, whole: &Page, mut interaction: InteractionId) -> Result<InteractionId> {
        let (put, page) = (self.put, UserPage::decode_without_classes(whole)?);
        if of_former_life(&page, interaction) {
            if put.interaction.is_some() {
                return Err(former_life());
            }
            // The clock was set back since: an interaction that begins now is of this life all the
            // same.
            interaction = interaction_at(self.env, page.created)?;
        }
        let class = page.class_tag(&put.class);
        interaction = self.unfenced(&page.fences, &page.fence_key, class, interaction)?;
        let rules = self.view.rules(self.tag, &page)?;
        let policy = rules.of(&put.class, &put.purpose);
        self.check_kept(policy)?;
        self.check_clock(policy, interaction)?;
        self.within_number(whole, &rules, policy, interaction)
    }

    /// The interaction, if it is not fenced. If a put names none, and the one that begins now is
    /// fenced, it is another one: an erase's clock was ahead, and since then somebody said that the
    /// clock is right.
    fn unfenced(
        &self,
        fences: &Fences,
        key: &Key,
        class: ClassTag,
        interaction: InteractionId,
    ) -> Result<InteractionId> {
        let pages = self.view.pages;
        let target = Target { class, interaction, ordinal: None };
        if !fences.refuse(pages, self.tag, key, target, self.clock.now)? {
            return Ok(interaction);
        }
        if self.put.interaction.is_some() {
            return Err(interaction_erased());
        }
        interaction_at(self.env, fences.free_from(pages, self.tag, class, interaction.began())?)
    }
}

/// An interaction that begins now: after all that was erased, as far as ids are taken.
pub(crate) fn new_interaction(
    env: &dyn Env,
    head: &HeadPage,
    clock: Reading,
) -> Result<InteractionId> {
    let after_erased = Timestamp(head.floor.0.saturating_add(1)).min(clock.horizon());
    interaction_at(env, clock.now.max(after_erased))
}

fn interaction_at(env: &dyn Env, began: Timestamp) -> Result<InteractionId> {
    let mut random = [0; 10];
    env.fill(&mut random)?;
    Ok(InteractionId::from_parts(began, random))
}

/// Whether an interaction may be one of a life that was erased: that it began before this one was
/// created is all that tells.
pub(crate) fn of_former_life(page: &UserPage, interaction: InteractionId) -> bool {
    page.incarnation > 1 && interaction.began() < page.created
}

/// The error for a user, interaction or class that was erased.
fn erased(what: &str, remedy: &str) -> Error {
    Error::new(ErrorKind::Erased, format!("{what} was erased; {remedy}"))
}

pub(crate) fn user_erased() -> Error {
    erased("this user", "puts are refused until the user is created again with `create_user`")
}

pub(crate) fn interaction_erased() -> Error {
    erased(
        "this interaction, or this class of it,",
        "it takes nothing more, not even of a class that the erase kept; put into a new interaction",
    )
}

pub(crate) fn former_life() -> Error {
    erased(
        "the life of this user in which the interaction began",
        "late arrivals are refused; what is to be kept goes into a new interaction",
    )
}
