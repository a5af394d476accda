//! Writing pages and payloads once more, as they are, so that the objects in which they lay can go:
//! for stores that cannot move what they hold, since a blob's name says its place. What points to
//! them changes with their names and keys, and so does the way up to the head.

use std::collections::HashMap;

use super::change::Change;
use super::means::Means;
use super::sealer::Sealer;
use super::view::View;
use crate::crypto::{Fresh, hedge};
use crate::error::{Error, Result};
use crate::ids::BlobName;
use crate::record::Entry;
use crate::secret::Secret;
use crate::tree::head::{HeadPage, Roots};
use crate::tree::{Edge, PageKind, Pages, Ref, Sink, Spot, edges};

/// Payloads as they are stored, by their names.
pub(crate) type Payloads = HashMap<BlobName, Vec<u8>>;

/// Which blobs are written once more.
pub(crate) trait Renewal {
    /// Whether this one is.
    fn wants(&self, name: &BlobName) -> bool;

    /// Whether one may lie below this page.
    fn leads_on(&self, name: &BlobName) -> bool;
}

/// What is written once more in one commit.
pub(crate) struct Renewed {
    pub(crate) change: Change,
    /// New pages below which nothing is left to do.
    pub(crate) done: Vec<BlobName>,
    /// Whether nothing is left to do at all.
    pub(crate) whole: bool,
}

/// The payloads of about `most` bytes of what is wanted; on the way every page that it takes to
/// write them once more is read. It goes on past a page that is to be fetched first: else it would
/// begin again for each.
pub(crate) fn gather(view: &View<'_>, wanted: &dyn Renewal, most: usize) -> Result<Vec<BlobName>> {
    let mut turn = Turn::new(view.pages, view.head, wanted, most);
    for (spot, at) in view.head.roots.each() {
        turn.page(&spot, at)?;
    }
    turn.failed.map_or(Ok(turn.payloads_wanted), Err)
}

/// Seals about `most` bytes of what is wanted, below `head`; of payloads those that are given.
/// `None` if nothing is left to do.
pub(crate) fn renew(
    view: &View<'_>,
    means: Means<'_>,
    mut head: HeadPage,
    (wanted, most): (&dyn Renewal, usize),
    payloads: &Payloads,
) -> Result<Option<Renewed>> {
    let mut turn = Turn::new(view.pages, view.head, wanted, most);
    turn.writes = Some(Writes {
        sealer: Sealer::new(means, head.realm, Vec::new()),
        means,
        payloads,
        replaced: Vec::new(),
        done: Vec::new(),
    });
    let mut whole = true;
    for (spot, at) in view.head.roots.each() {
        let (new, done) = turn.page(&spot, at)?;
        whole &= done;
        if let Some(new) = new {
            set(&mut head.roots, spot.kind, new.alone());
        }
    }
    let Some(Writes { sealer, replaced, done, .. }) = turn.writes else { return Ok(None) };
    if replaced.is_empty() {
        return Ok(None);
    }
    let mut change = Change::of_head(head);
    (change.blobs, change.made, change.replaced) = (sealer.blobs, sealer.made, replaced);
    Ok(Some(Renewed { change, done, whole }))
}

/// Puts a new pointer to the root page of a tree into the head.
fn set(roots: &mut Roots, kind: PageKind, new: Ref) {
    match kind {
        PageKind::Log => roots.log = new,
        PageKind::Falling => roots.falling = Some(new),
        PageKind::Agenda => roots.agenda = Some(new),
        PageKind::Policies => roots.policies = Some(new),
        PageKind::Sets => roots.sets = Some(new),
        _ => roots.users = new,
    }
}

/// What a page counts for that was not read.
const UNREAD: usize = 4096;

/// One pass over the tree.
struct Turn<'t> {
    pages: &'t dyn Pages,
    head: &'t HeadPage,
    wanted: &'t dyn Renewal,
    /// Bytes that may still be written.
    left: usize,
    payloads_wanted: Vec<BlobName>,
    /// Why a page could not be read, if it only looks.
    failed: Option<Error>,
    /// `None` if it only looks.
    writes: Option<Writes<'t>>,
}

struct Writes<'t> {
    sealer: Sealer<'t>,
    means: Means<'t>,
    payloads: &'t Payloads,
    replaced: Vec<BlobName>,
    done: Vec<BlobName>,
}

impl<'t> Turn<'t> {
    fn new(pages: &'t dyn Pages, head: &'t HeadPage, wanted: &'t dyn Renewal, most: usize) -> Self {
        let (payloads_wanted, failed, writes) = (Vec::new(), None, None);
        Turn { pages, head, wanted, left: most, payloads_wanted, failed, writes }
    }

    /// A page, after what is below it: the pointer to the new one, if there is one, and whether
    /// nothing is left to do from there on.
    fn page(&mut self, spot: &Spot, at: &Ref) -> Result<(Option<Ref>, bool)> {
        let is_wanted = self.wanted.wants(&at.name);
        if !is_wanted && !self.wanted.leads_on(&at.name) {
            return Ok((None, true));
        }
        if self.left == 0 {
            return Ok((None, false));
        }
        let page = match self.pages.load(spot.kind, spot.owner, at) {
            Err(e) if self.writes.is_none() => {
                self.failed.get_or_insert(e);
                self.left = self.left.saturating_sub(UNREAD);
                return Ok((None, false));
            }
            loaded => loaded?,
        };
        let (mut changes, mut done) = (Vec::new(), true);
        for edge in edges(spot, &page)? {
            match edge {
                Edge::Page { spot, at } => {
                    let (new, below) = self.page(&spot, &at)?;
                    done &= below;
                    changes.extend(new.map(|new| (bytes_of(&at), bytes_of(&new))));
                }
                Edge::Record { entry, .. } => {
                    let (change, moved) = self.record(&entry)?;
                    done &= moved;
                    changes.extend(change);
                }
            }
        }
        if !is_wanted && changes.is_empty() && self.writes.is_some() {
            return Ok((None, done));
        }
        self.left = self.left.saturating_sub(if is_wanted { page.len() } else { 0 });
        let Some(writes) = &mut self.writes else { return Ok((None, done)) };
        let mut renewed = Secret::copied_from(&page);
        changes.iter().try_for_each(|(old, new)| replace(&mut renewed, old, new))?;
        let new = writes.sealer.seal(spot.kind, spot.owner, renewed)?;
        writes.replaced.push(at.name);
        if done {
            writes.done.push(new.name);
        }
        Ok((Some(new), done))
    }

    /// The payload of a record, if it is one blob: what its entry becomes, and whether nothing is
    /// left to do.
    fn record(&mut self, entry: &[u8]) -> Result<(Option<(Secret, Secret)>, bool)> {
        let decoded = Entry::decode(entry)?;
        let mut names = decoded.segment_names(self.head.geometry);
        let (Some(name), None) = (names.next(), names.next()) else { return Ok((None, true)) };
        if !self.wanted.wants(&name) {
            return Ok((None, true));
        }
        if self.left == 0 {
            return Ok((None, false));
        }
        let Some(writes) = &mut self.writes else {
            self.left = self.left.saturating_sub(decoded.length as usize);
            self.payloads_wanted.push(name);
            return Ok((None, true));
        };
        let Some(sealed) = writes.payloads.get(&name) else { return Ok((None, false)) };
        self.left = self.left.saturating_sub(sealed.len());
        let drawn = Fresh::new(writes.means.env, hedge(&[sealed])).name()?;
        let moved = writes.sealer.carry(drawn, sealed.clone());
        writes.replaced.push(name);
        let (old, new) = (decoded.encode_with(Some(name)), decoded.encode_with(Some(moved)));
        // The texts before it may stand elsewhere in the page.
        let texts = 2 + decoded.media_type.len() + decoded.purpose.len();
        Ok((Some((Secret::copied_from(&old[texts..]), Secret::copied_from(&new[texts..]))), true))
    }
}

fn bytes_of(at: &Ref) -> Secret {
    let mut bytes = Secret::copied_from(&at.name.0);
    bytes.extend_from_slice(at.key().bytes());
    bytes
}

/// Puts `new` in the place of `old`, in which there are 32 secret bytes that stand nowhere else.
fn replace(page: &mut Secret, old: &[u8], new: &[u8]) -> Result<()> {
    let mut found = page.windows(old.len()).enumerate().filter(|(_, bytes)| *bytes == old);
    let (Some((at, _)), None, true) = (found.next(), found.next(), old.len() == new.len()) else {
        return Err(Error::corrupt("a page does not hold what was read from it"));
    };
    page[at..at + new.len()].copy_from_slice(new);
    Ok(())
}
