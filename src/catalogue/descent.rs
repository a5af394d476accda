//! Walking the whole tree in the order in which a store keeps it, from the highest place to the
//! lowest: where a read brings what lies beside a page too, as in a log of objects. A page is
//! written after what it points to, so one way down comes to everything, and to each place once.
//!
//! What is still to be read is bounded: if it becomes too much, what is last in the order of the
//! tree is left for another walk. Pages are not whole of which something was left.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use super::walk::Walking;
use crate::error::{ErrorKind, Result};
use crate::ids::BlobName;
use crate::pages::PageSource;
use crate::record::Entry;
use crate::stock::Stock;
use crate::store::Store;
use crate::tree::head::Roots;
use crate::tree::users::digits;
use crate::tree::{Edge, PageKind, Pages, Ref, Spot, edges};

/// What a walk asks as it goes, and tells of what it came to.
pub(crate) trait Visitor {
    /// Whether to stop, as if interrupted.
    fn stops(&mut self) -> bool;

    /// Whether to pass over a page and everything below it.
    fn passes(&mut self, name: &BlobName) -> Result<bool>;

    /// Whether a page is wanted itself: the stock keeps it, and the way to it.
    fn wants(&mut self, name: &BlobName) -> bool;

    /// A record; says the name of the payload that is wanted of it. Break to stop, as if
    /// interrupted.
    fn record(&mut self, entry: &Entry) -> Result<ControlFlow<(), Option<BlobName>>>;

    /// A page, after everything below it; whether it is wanted, or leads to something that is.
    fn whole(&mut self, name: &BlobName, leads: bool) -> Result<()>;
}

/// How a walk ended.
#[derive(Debug)]
pub(crate) enum Descended {
    /// It came to everything.
    Whole,
    /// It left out what is at this place and after it in the order of the tree.
    Upto(u128),
    /// An erase stopped it, or its visitor.
    Interrupted,
}

/// What bounds a walk.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// What lies before this place in the order of the tree is passed over.
    pub(crate) from: u128,
    /// Pointers to what is still to be read, at most.
    pub(crate) most: usize,
    /// Whether it goes no further than the stock has room.
    pub(crate) by_stock: bool,
}

/// A walk.
pub(crate) struct Descent<'d> {
    pub(crate) pass: &'d Walking<'d>,
    /// Reads into the stock.
    pub(crate) pages: &'d PageSource<'d>,
    pub(crate) stock: &'d Stock,
    pub(crate) store: &'d dyn Store,
    pub(crate) fan_bits: u8,
    pub(crate) bounds: Bounds,
}

/// What is to be read.
enum What {
    Page(Spot, Ref),
    Payload(BlobName),
}

/// A part of the order of the tree: users by their tags, whatever else the tree holds before them.
#[derive(Clone, Copy)]
struct Part {
    at: u128,
    len: u128,
}

/// All users; a user is a part of `OF_USER`.
const USERS: Part = Part { at: 1 << 127, len: 1 << 127 };
const OF_USER: u128 = 1 << 63;
/// Each other tree.
const TREE: u128 = 1 << 120;

struct Next {
    place: u128,
    part: Part,
    /// The open page that points to it.
    above: usize,
    what: What,
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}

/// A page that was read, until everything below it was.
struct Open {
    name: BlobName,
    above: usize,
    /// How much is to be read that it points to.
    left: usize,
    /// Whether something below it was left out.
    lacks: bool,
    leads: bool,
}

/// Above the roots.
const NONE: usize = usize::MAX;
/// The bits of a place that are within an object.
const WITHIN: u32 = 32;

/// A walk under way.
struct Way<'w> {
    visitor: &'w mut dyn Visitor,
    stock: &'w Stock,
    bounds: Bounds,
    /// What lies below the place at hand, or in the same object.
    now: BinaryHeap<Next>,
    /// What lies above it, for the next way down.
    later: Vec<Next>,
    object: u128,
    open: Vec<Open>,
    free: Vec<usize>,
    /// Where what is left out begins.
    limit: Option<u128>,
}

impl Descent<'_> {
    /// Walks everything that a head points to.
    pub(crate) fn walk(&self, roots: &Roots, visitor: &mut dyn Visitor) -> Result<Descended> {
        let mut way = Way {
            visitor,
            stock: self.stock,
            bounds: self.bounds,
            now: BinaryHeap::new(),
            later: Vec::new(),
            object: u128::MAX,
            open: Vec::new(),
            free: Vec::new(),
            limit: None,
        };
        for (n, (spot, at)) in (0..).zip(roots.each()) {
            let part = match spot.kind {
                PageKind::Users => USERS,
                _ => Part { at: n * TREE, len: TREE },
            };
            if !way.visitor.passes(&at.name)? {
                way.push(self.next(part, NONE, What::Page(spot, at.duplicate().alone())));
            }
        }
        while let Some(next) = way.pop() {
            if self.pass.must_stop() || way.visitor.stops() {
                return Ok(Descended::Interrupted);
            }
            let walked = match next.what {
                What::Page(spot, at) => self.page(&mut way, next.part, next.above, (&spot, &at))?,
                What::Payload(name) => self.payload(&mut way, next.part, next.above, &name)?,
            };
            if walked.is_break() {
                return Ok(Descended::Interrupted);
            }
            way.bound()?;
        }
        Ok(way.limit.map_or(Descended::Whole, Descended::Upto))
    }

    fn next(&self, part: Part, above: usize, what: What) -> Next {
        let name = match &what {
            What::Page(_, at) => &at.name,
            What::Payload(name) => name,
        };
        Next { place: self.store.place_of(name).unwrap_or(0), part, above, what }
    }

    /// Reads a page.
    fn page(
        &self,
        way: &mut Way<'_>,
        part: Part,
        above: usize,
        of: (&Spot, &Ref),
    ) -> Result<ControlFlow<()>> {
        let (spot, at) = of;
        let page = self.pages.load(spot.kind, spot.owner, at)?;
        if self.bounds.by_stock {
            self.stock.place(&at.name, part.at);
        } else if self.stock.is_full() {
            self.stock.drop(&at.name);
        }
        let open = way.open(at.name, above);
        if way.visitor.wants(&at.name) {
            way.lead(open);
        }
        let out = edges(spot, &page)?;
        let parts = self.parts(spot, part, &page, &out);
        for (edge, part) in out.into_iter().zip(parts) {
            let what = match edge {
                Edge::Page { at, .. } if way.visitor.passes(&at.name)? => continue,
                Edge::Page { spot, at } => What::Page(spot, at.alone()),
                Edge::Record { entry, .. } => match way.visitor.record(&Entry::decode(&entry)?)? {
                    ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
                    ControlFlow::Continue(None) => continue,
                    ControlFlow::Continue(Some(name)) => What::Payload(name),
                },
            };
            way.open[open].left += 1;
            way.push(self.next(part, open, what));
        }
        // It counted for itself until now.
        way.end(open)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Reads a payload that is wanted; one that fell meanwhile is not there.
    fn payload(
        &self,
        way: &mut Way<'_>,
        part: Part,
        above: usize,
        name: &BlobName,
    ) -> Result<ControlFlow<()>> {
        match self.pages.fetch(name, Ok) {
            Err(e) if e.kind() == ErrorKind::Corrupt => {}
            read => {
                read?;
                self.stock.place(name, part.at);
                way.lead(above);
            }
        }
        way.end(above)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Which parts of a page's part its children take.
    fn parts(&self, spot: &Spot, part: Part, page: &[u8], out: &[Edge]) -> Vec<Part> {
        let digits = if spot.kind == PageKind::Users { digits(page) } else { Vec::new() };
        let of_digit = part.len >> self.fan_bits;
        let each = part.len / out.len().max(1) as u128;
        let part_of = |(n, edge): (usize, &Edge)| match (edge, digits.get(n)) {
            (Edge::Page { spot: below, .. }, None) if spot.kind == PageKind::Users => {
                let tag = below.owner.map_or([0; 12], |owner| owner.0);
                let tag = tag[..8].iter().fold(0, |tag: u128, byte| tag << 8 | u128::from(*byte));
                Part { at: USERS.at + tag * OF_USER, len: OF_USER }
            }
            (_, Some(digit)) => Part { at: part.at + u128::from(*digit) * of_digit, len: of_digit },
            _ => Part { at: part.at + n as u128 * each, len: each },
        };
        out.iter().enumerate().map(part_of).collect()
    }
}

impl Way<'_> {
    fn push(&mut self, next: Next) {
        if next.part.at + (next.part.len.max(1) - 1) < self.bounds.from {
            self.pass(next.above);
        } else if self.limit.is_some_and(|limit| next.part.at >= limit) {
            self.leave(&next);
            self.pass(next.above);
        } else if next.place >> WITHIN > self.object {
            self.later.push(next);
        } else {
            self.now.push(next);
        }
    }

    fn pop(&mut self) -> Option<Next> {
        if self.now.is_empty() {
            self.now = std::mem::take(&mut self.later).into();
        }
        let next = self.now.pop()?;
        self.object = next.place >> WITHIN;
        Some(next)
    }

    /// A page that was read, which counts for itself until what it points to is known.
    fn open(&mut self, name: BlobName, above: usize) -> usize {
        let open = Open { name, above, left: 1, lacks: false, leads: false };
        match self.free.pop() {
            Some(n) => {
                self.open[n] = open;
                n
            }
            None => {
                self.open.push(open);
                self.open.len() - 1
            }
        }
    }

    /// Takes note that a page, and so all above it, leads to something that is wanted.
    fn lead(&mut self, mut at: usize) {
        while let Some(open) = self.open.get_mut(at).filter(|open| !open.leads) {
            open.leads = true;
            at = open.above;
        }
    }

    /// Takes note that something is left out, so that no page above it is whole.
    fn leave(&mut self, next: &Next) {
        let mut at = next.above;
        while let Some(open) = self.open.get_mut(at).filter(|open| !open.lacks) {
            open.lacks = true;
            at = open.above;
        }
    }

    /// One less is to be read below a page that is still being looked at.
    fn pass(&mut self, above: usize) {
        if let Some(open) = self.open.get_mut(above) {
            open.left -= 1;
        }
    }

    /// One less is to be read below a page: it may have been the last.
    fn end(&mut self, mut at: usize) -> Result<()> {
        while let Some(open) = self.open.get_mut(at) {
            open.left -= 1;
            if open.left > 0 {
                break;
            }
            if !open.lacks {
                self.visitor.whole(&open.name, open.leads)?;
            }
            // Another walk reads it once more, if something is left there.
            if !open.leads && (self.bounds.by_stock || !open.lacks) {
                self.stock.drop(&open.name);
            }
            self.free.push(at);
            at = open.above;
        }
        Ok(())
    }

    /// Leaves out what is last in the order of the tree, if too much is to be read, or kept.
    fn bound(&mut self) -> Result<()> {
        if self.bounds.by_stock
            && self.stock.is_full()
            && let Some(limit) = self.stock.cut(self.bounds.from)
        {
            self.cut(limit)?;
        }
        if self.now.len() + self.later.len() <= self.bounds.most {
            return Ok(());
        }
        let mut all: Vec<u128> =
            self.now.iter().chain(&self.later).map(|next| next.part.at).collect();
        all.sort_unstable();
        let (half, least) = (all.len() / 2, self.bounds.from.max(all[0]));
        match all[half..].iter().find(|at| **at > least) {
            Some(limit) => self.cut(*limit),
            None => Ok(()),
        }
    }

    fn cut(&mut self, limit: u128) -> Result<()> {
        self.limit = Some(self.limit.map_or(limit, |before| before.min(limit)));
        let is_left_out = |next: &Next| next.part.at >= limit;
        let now = std::mem::take(&mut self.now).into_vec();
        let (out, now): (Vec<_>, Vec<_>) = now.into_iter().partition(is_left_out);
        let later = std::mem::take(&mut self.later);
        let (out_later, later): (Vec<_>, Vec<_>) = later.into_iter().partition(is_left_out);
        (self.now, self.later) = (now.into(), later);
        for next in out.iter().chain(&out_later) {
            self.leave(next);
            self.end(next.above)?;
        }
        Ok(())
    }
}
