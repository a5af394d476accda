//! Names that the application gave to records of one class: a copy-on-write B+tree with keys of
//! different lengths.
//!
//! ```text
//! interior = 1 ‖ count 2 ‖ (first name text ‖ ref 48)*
//! leaf     = 2 ‖ count 2 ‖ (name text ‖ record's key 20)*
//! ```
//! Names ascend as bytes. `first name` is the smallest name below, and no other: a name that fell
//! is in no page that is reached.

use std::ops::{ControlFlow, Deref};

use super::geometry::Geometry;
use super::keys::OrderedKey;
use super::link::{Editor, Link, Node, Pages, Sink};
use super::page::{Page, PageKind, REF_BYTES, Ref, pad};
use super::spot::{Edge, Spot};
use crate::codec::{Decoder, Encoder, Part};
use crate::error::Result;
use crate::ids::UserTag;
use crate::limits::RECORD_NAME_MAX_BYTES;
use crate::secret::Secret;

const INTERIOR: u8 = 1;
const LEAF: u8 = 2;
/// Bytes before the first entry of a page.
const BEGIN: usize = 3;

/// Sees each name with its record's key, and may end the scan.
pub(crate) type EachName<'e> = dyn FnMut(&str, &OrderedKey) -> Result<ControlFlow<()>> + 'e;

/// The names of one class of a user.
#[derive(Debug, Default)]
pub(crate) struct Names {
    root: Option<Link<NamesNode>>,
}

/// A leaf of names without pages above it.
pub(crate) struct OnlyNames<'t>(&'t [Row<OrderedKey>]);

impl OnlyNames<'_> {
    pub(crate) fn len(&self) -> usize {
        len_of(self.0)
    }

    pub(crate) fn write(&self, e: &mut Encoder) {
        write_leaf(self.0, e);
    }
}

impl Names {
    /// The tree that a stored pointer leads to.
    pub(crate) fn stored(root: Ref) -> Self {
        Names { root: Some(Link::Stored(root)) }
    }

    /// A tree of one leaf, which is stored within another page.
    pub(crate) fn read_within(d: &mut Decoder<'_>) -> Result<Self> {
        match NamesNode::read(d)? {
            node @ NamesNode::Leaf(_) => Ok(Names { root: Some(Link::Loaded(Box::new(node))) }),
            _ => Err(d.bad()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The leaf that is all of the tree and is to be written.
    pub(crate) fn leaf(&self) -> Option<OnlyNames<'_>> {
        match &self.root {
            Some(Link::Loaded(node)) => match &**node {
                NamesNode::Leaf(rows) => Some(OnlyNames(rows)),
                NamesNode::Interior(_) => None,
            },
            _ => None,
        }
    }

    /// The stored pointer, if nothing was changed.
    pub(crate) fn into_stored(self) -> Option<Ref> {
        match self.root {
            Some(Link::Stored(at)) => Some(at),
            _ => None,
        }
    }

    /// The key of the record that has a name.
    pub(crate) fn get(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        name: &str,
    ) -> Result<Option<OrderedKey>> {
        let mut found = None;
        self.scan(pages, owner, name, &mut |there, key| {
            found = (there == name).then_some(*key);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// Shows the names from `from` on, ascending, until the callback breaks.
    pub(crate) fn scan(
        &self,
        pages: &dyn Pages,
        owner: UserTag,
        from: &str,
        name: &mut EachName<'_>,
    ) -> Result<()> {
        match &self.root {
            Some(link) => scan(pages, owner, link, from.as_bytes(), name).map(drop),
            None => Ok(()),
        }
    }

    /// Adds a name, or gives it to another record.
    pub(crate) fn insert(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        name: &str,
        key: OrderedKey,
    ) -> Result<()> {
        let link =
            self.root.get_or_insert_with(|| Link::Loaded(Box::new(NamesNode::Leaf(Vec::new()))));
        let node = load_mut(link, editor, owner)?;
        let right = node.insert(editor, owner, Name::new(name), key)?;
        self.grow(right);
        Ok(())
    }

    /// Takes a name from a record; one that another record has stays.
    pub(crate) fn remove(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        name: &str,
        key: &OrderedKey,
    ) -> Result<()> {
        let Some(link) = &mut self.root else { return Ok(()) };
        let node = load_mut(link, editor, owner)?;
        let right = node.remove(editor, owner, name.as_bytes(), key)?;
        if node.is_empty() {
            self.root = None;
        }
        self.grow(right);
        self.collapse();
        Ok(())
    }

    /// Seals every changed page and returns where the tree is now; `None` when it is empty.
    pub(crate) fn seal(
        self,
        owner: UserTag,
        geometry: Geometry,
        sink: &mut dyn Sink,
    ) -> Result<Option<Ref>> {
        self.root.map(|link| seal_link(link, owner, geometry, sink)).transpose()
    }

    /// Puts a root above pages that outgrew one.
    fn grow(&mut self, right: Vec<NamesNode>) {
        if right.is_empty() {
            return;
        }
        if let Some(Link::Loaded(left)) = self.root.take() {
            let parts = std::iter::once(*left).chain(right);
            let root = NamesNode::Interior(parts.map(NamesNode::into_child).collect());
            self.root = Some(Link::Loaded(Box::new(root)));
        }
    }

    /// A root with one child is that child.
    fn collapse(&mut self) {
        while let Some(Link::Loaded(node)) = &mut self.root
            && let NamesNode::Interior(children) = &mut **node
            && children.len() == 1
        {
            self.root = children.pop().map(|child| child.value);
        }
    }
}

/// A name, as bytes.
#[derive(Debug)]
struct Name(Part);

impl Name {
    fn new(name: &str) -> Self {
        Name(Secret::copied_from(name.as_bytes()).into())
    }

    fn duplicate(&self) -> Self {
        Name(self.0.duplicate())
    }

    fn read(d: &mut Decoder<'_>) -> Result<Self> {
        let len = usize::from(d.u16()?);
        let bytes = d.part(len)?;
        let good =
            (1..=RECORD_NAME_MAX_BYTES).contains(&len) && std::str::from_utf8(&bytes).is_ok();
        if good { Ok(Name(bytes)) } else { Err(d.bad()) }
    }
}

impl Deref for Name {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A name with what is beside it: a record's key in a leaf, a pointer above.
#[derive(Debug)]
struct Row<T> {
    name: Name,
    value: T,
}

/// How many bytes are beside a name.
trait Beside {
    const LEN: usize;
}

impl Beside for OrderedKey {
    const LEN: usize = 20;
}

impl Beside for Link<NamesNode> {
    const LEN: usize = REF_BYTES;
}

/// A page of names.
#[derive(Debug)]
enum NamesNode {
    Interior(Vec<Row<Link<NamesNode>>>),
    Leaf(Vec<Row<OrderedKey>>),
}

impl Node for NamesNode {
    fn decode(page: &Page) -> Result<Self> {
        let mut d = Decoder::of_page(page, "page of names");
        let node = NamesNode::read(&mut d)?;
        d.end_padding()?;
        Ok(node)
    }
}

impl NamesNode {
    /// Reads a page, without what comes after it.
    fn read(d: &mut Decoder<'_>) -> Result<Self> {
        let node = match d.u8()? {
            INTERIOR => NamesNode::Interior(read_rows(d, |d| Ref::decode(d).map(Link::Stored))?),
            LEAF => NamesNode::Leaf(read_rows(d, |d| d.array())?),
            _ => return Err(d.bad()),
        };
        if node.is_empty() { Err(d.bad()) } else { Ok(node) }
    }

    fn is_empty(&self) -> bool {
        match self {
            NamesNode::Interior(children) => children.is_empty(),
            NamesNode::Leaf(rows) => rows.is_empty(),
        }
    }

    fn len(&self) -> usize {
        match self {
            NamesNode::Interior(children) => len_of(children),
            NamesNode::Leaf(rows) => len_of(rows),
        }
    }

    fn first(&self) -> Name {
        let first = match self {
            NamesNode::Interior(children) => children.first().map(|child| &child.name),
            NamesNode::Leaf(rows) => rows.first().map(|row| &row.name),
        };
        first.map_or_else(|| Name::new(""), Name::duplicate)
    }

    fn into_child(self) -> Row<Link<NamesNode>> {
        Row { name: self.first(), value: Link::Loaded(Box::new(self)) }
    }

    /// Adds a name; a page that outgrew its size gives back its right parts.
    fn insert(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        name: Name,
        key: OrderedKey,
    ) -> Result<Vec<NamesNode>> {
        match self {
            NamesNode::Leaf(rows) => {
                let at = rows.partition_point(|row| *row.name < *name);
                match rows.get_mut(at).filter(|row| *row.name == *name) {
                    Some(row) => row.value = key,
                    None => rows.insert(at, Row { name, value: key }),
                }
                let at_end = at + 1 == rows.len();
                Ok(cut(rows, editor.geometry.capacity(), at_end, NamesNode::Leaf))
            }
            NamesNode::Interior(children) => {
                let at = child_at(children, &name);
                let at_end = at + 1 == children.len();
                let node = load_mut(&mut children[at].value, editor, owner)?;
                let right = node.insert(editor, owner, name, key)?;
                children[at].name = node.first();
                children.splice(at + 1..at + 1, right.into_iter().map(NamesNode::into_child));
                Ok(cut(children, editor.geometry.capacity(), at_end, NamesNode::Interior))
            }
        }
    }

    /// Takes a name out, if this record has it. The pages above it then begin with another name,
    /// which may be longer: a page that outgrew its size gives back its right parts.
    fn remove(
        &mut self,
        editor: &mut Editor<'_>,
        owner: UserTag,
        name: &[u8],
        key: &OrderedKey,
    ) -> Result<Vec<NamesNode>> {
        match self {
            NamesNode::Leaf(rows) => {
                rows.retain(|row| *row.name != *name || row.value != *key);
                Ok(Vec::new())
            }
            NamesNode::Interior(children) => {
                let at = child_at(children, name);
                let node = load_mut(&mut children[at].value, editor, owner)?;
                let right = node.remove(editor, owner, name, key)?;
                if node.is_empty() {
                    children.remove(at);
                } else {
                    children[at].name = node.first();
                    children.splice(at + 1..at + 1, right.into_iter().map(NamesNode::into_child));
                    join(children, at, editor, owner)?;
                }
                Ok(cut(children, editor.geometry.capacity(), false, NamesNode::Interior))
            }
        }
    }

    fn seal(self, owner: UserTag, geometry: Geometry, sink: &mut dyn Sink) -> Result<Ref> {
        let mut e = Encoder::new(geometry.capacity());
        match self {
            NamesNode::Interior(children) => {
                e.u8(INTERIOR).count(children.len());
                for child in children {
                    e.count(child.name.len()).bytes(&child.name);
                    seal_link(child.value, owner, geometry, sink)?.encode(&mut e);
                }
            }
            NamesNode::Leaf(rows) => write_leaf(&rows, &mut e),
        }
        pad(PageKind::Names, &mut e, geometry.capacity());
        sink.seal(PageKind::Names, Some(owner), e.finish())
    }
}

/// What a stored page of names points to.
pub(super) fn edges(spot: &Spot, page: &Page) -> Result<Vec<Edge>> {
    let mut edges = Vec::new();
    if let NamesNode::Interior(children) = NamesNode::decode(page)? {
        for child in children {
            if let Link::Stored(at) = child.value {
                edges.push(Edge::Page { spot: spot.clone(), at });
            }
        }
    }
    Ok(edges)
}

fn read_rows<T>(
    d: &mut Decoder<'_>,
    mut value: impl FnMut(&mut Decoder<'_>) -> Result<T>,
) -> Result<Vec<Row<T>>> {
    let mut rows: Vec<Row<T>> = Vec::new();
    for _ in 0..d.u16()? {
        let row = Row { name: Name::read(d)?, value: value(d)? };
        if rows.last().is_some_and(|last| *last.name >= *row.name) {
            return Err(d.bad());
        }
        rows.push(row);
    }
    Ok(rows)
}

fn row_len<T: Beside>(row: &Row<T>) -> usize {
    2 + row.name.len() + T::LEN
}

/// Bytes of a page with these rows.
fn len_of<T: Beside>(rows: &[Row<T>]) -> usize {
    BEGIN + rows.iter().map(row_len).sum::<usize>()
}

fn write_leaf(rows: &[Row<OrderedKey>], e: &mut Encoder) {
    e.u8(LEAF).count(rows.len());
    for row in rows {
        e.count(row.name.len()).bytes(&row.name).bytes(&row.value);
    }
}

/// Where the child is under which a name belongs.
fn child_at(children: &[Row<Link<NamesNode>>], name: &[u8]) -> usize {
    children.partition_point(|child| *child.name <= *name).saturating_sub(1)
}

fn load_mut<'l>(
    link: &'l mut Link<NamesNode>,
    editor: &mut Editor<'_>,
    owner: UserTag,
) -> Result<&'l mut NamesNode> {
    link.load_mut(editor, PageKind::Names, Some(owner))
}

/// Cuts a page that is too long; gives the part after the first. It is cut in the middle, but for
/// one that grew at its end: names often begin with a date.
fn cut<T: Beside>(
    rows: &mut Vec<Row<T>>,
    capacity: usize,
    grew_at_end: bool,
    page: impl Fn(Vec<Row<T>>) -> NamesNode,
) -> Vec<NamesNode> {
    let len = len_of(rows);
    if len <= capacity || rows.len() < 2 {
        return Vec::new();
    }
    let end = rows.len() - 1;
    if grew_at_end && len - row_len(&rows[end]) <= capacity {
        return vec![page(rows.split_off(end))];
    }
    let (mut left, mut best) = (BEGIN, (usize::MAX, end));
    for (n, row) in rows.iter().enumerate().take(end) {
        left += row_len(row);
        best = best.min((left.max(len - left), n + 1));
    }
    vec![page(rows.split_off(best.1))]
}

/// Joins a page that a removal left nearly empty with a neighbour.
fn join(
    children: &mut Vec<Row<Link<NamesNode>>>,
    at: usize,
    editor: &mut Editor<'_>,
    owner: UserTag,
) -> Result<()> {
    let capacity = editor.geometry.capacity();
    let small = matches!(&children[at].value, Link::Loaded(node) if node.len() < capacity / 4);
    if !small || children.len() < 2 {
        return Ok(());
    }
    let left = at.saturating_sub(1).min(children.len() - 2);
    let len = load_mut(&mut children[left].value, editor, owner)?.len()
        + load_mut(&mut children[left + 1].value, editor, owner)?.len();
    if len > capacity * 3 / 4 {
        return Ok(());
    }
    let mut right = children.remove(left + 1);
    let right = load_mut(&mut right.value, editor, owner)?;
    let right = std::mem::replace(right, NamesNode::Leaf(Vec::new()));
    match (load_mut(&mut children[left].value, editor, owner)?, right) {
        (NamesNode::Leaf(a), NamesNode::Leaf(mut b)) => a.append(&mut b),
        (NamesNode::Interior(a), NamesNode::Interior(mut b)) => a.append(&mut b),
        _ => return Err(Decoder::new(&[], "page of names").bad()),
    }
    Ok(())
}

fn scan(
    pages: &dyn Pages,
    owner: UserTag,
    link: &Link<NamesNode>,
    from: &[u8],
    name: &mut EachName<'_>,
) -> Result<ControlFlow<()>> {
    match link {
        Link::Loaded(node) => scan_node(pages, owner, node, from, name),
        Link::Stored(at) => scan_stored(pages, owner, at, from, name),
    }
}

fn scan_node(
    pages: &dyn Pages,
    owner: UserTag,
    node: &NamesNode,
    from: &[u8],
    name: &mut EachName<'_>,
) -> Result<ControlFlow<()>> {
    match node {
        NamesNode::Leaf(rows) => {
            let first = rows.partition_point(|row| *row.name < *from);
            for row in &rows[first..] {
                if name(text(&row.name)?, &row.value)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        NamesNode::Interior(children) => {
            for child in &children[child_at(children, from)..] {
                if scan(pages, owner, &child.value, from, name)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Scans a stored page where it is: nothing is copied of what is passed over.
fn scan_stored(
    pages: &dyn Pages,
    owner: UserTag,
    at: &Ref,
    from: &[u8],
    name: &mut EachName<'_>,
) -> Result<ControlFlow<()>> {
    let page = pages.load(PageKind::Names, Some(owner), at)?;
    let mut rows = StoredRows::read(&page)?;
    if rows.kind == LEAF {
        while let Some((there, key)) = rows.next(OrderedKey::LEN)? {
            let key = key.first_chunk().ok_or_else(|| rows.d.bad())?;
            if there >= from && name(text(there)?, key)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        return Ok(ControlFlow::Continue(()));
    }
    let mut children = Vec::new();
    while let Some(child) = rows.next(REF_BYTES)? {
        children.push(child);
    }
    let first = children.partition_point(|(first, _)| *first <= from).saturating_sub(1);
    for (_, child) in &children[first..] {
        let child = Ref::decode(&mut Decoder::new(child, "page of names"))?;
        if scan_stored(pages, owner, &child, from, name)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// A stored page, read from its first row to its last.
struct StoredRows<'p> {
    d: Decoder<'p>,
    kind: u8,
    left: u16,
}

impl<'p> StoredRows<'p> {
    fn read(page: &'p [u8]) -> Result<Self> {
        let mut d = Decoder::new(page, "page of names");
        let (kind, left) = (d.u8()?, d.u16()?);
        if matches!(kind, INTERIOR | LEAF) {
            Ok(StoredRows { d, kind, left })
        } else {
            Err(d.bad())
        }
    }

    /// The next name, and so many bytes that are beside it.
    fn next(&mut self, beside: usize) -> Result<Option<(&'p [u8], &'p [u8])>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let len = usize::from(self.d.u16()?);
        Ok(Some((self.d.bytes(len)?, self.d.bytes(beside)?)))
    }
}

fn text(name: &[u8]) -> Result<&str> {
    std::str::from_utf8(name).map_err(|_| Decoder::new(&[], "page of names").bad())
}

fn seal_link(
    link: Link<NamesNode>,
    owner: UserTag,
    geometry: Geometry,
    sink: &mut dyn Sink,
) -> Result<Ref> {
    match link {
        Link::Stored(at) => Ok(at),
        Link::Loaded(node) => node.seal(owner, geometry, sink),
    }
}
