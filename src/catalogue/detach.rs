//! Detaching: a record is cut from some of its sources; its content stays, under a key that depends
//! on the others.

use std::collections::BTreeSet;

use super::edit::Edit;
use super::hold::unmark;
use super::hold_check::is_covered;
use super::resolve::{Resolver, fell, wrap_context};
use crate::crypto::{self, Fresh, Key, chunked, hedge};
use crate::error::Result;
use crate::ids::RecordId;
use crate::record::Entry;
use crate::tree::keys::record_key;
use crate::tree::user::class_place;

/// Cuts a record's links to some of its sources.
pub(crate) fn cut(
    edit: &mut Edit<'_>,
    resolver: &mut Resolver<'_>,
    id: &RecordId,
    sources: &[RecordId],
) -> Result<()> {
    let content_root = resolver.resolve(id)?.0.duplicate();
    edit.cuts.entry(*id).or_default().extend_from_slice(sources);
    let held = rewrap(edit, resolver, id, sources, &content_root)?;
    for source in sources {
        if let Some((editor, page)) = edit.page_for(source)? {
            page.lineage.cut_derived(editor, source, id)?;
        }
    }
    if held.is_empty() {
        return Ok(());
    }
    let before = resolver.ancestors(id)?;
    for held in &held {
        let free = &before - &ancestors_now(edit, held)?;
        unmark(edit, held, &free)?;
    }
    Ok(())
}

/// Wraps a record's content root by what is left of its sources. Gives the held records that depend
/// on it, itself among them.
fn rewrap(
    edit: &mut Edit<'_>,
    resolver: &mut Resolver<'_>,
    id: &RecordId,
    sources: &[RecordId],
    content_root: &Key,
) -> Result<Vec<RecordId>> {
    let (realm, env) = (edit.view.head.realm, edit.means.env);
    let Some((editor, page)) = edit.page_for(id)? else {
        return Err(fell(id));
    };
    let (place, key) = (class_place(id.user), record_key(id.interaction, id.ordinal));
    let Some(slot) = page.class(id.class) else {
        return Err(fell(id));
    };
    let Some(value) = slot.tree.get(editor.pages, place, &key)? else {
        return Err(fell(id));
    };
    let mut entry = Entry::decode(&value)?;
    for source in sources {
        if page.lineage.cut_source(editor, id, source)? {
            entry.sources -= 1;
        }
    }
    let rest = page.lineage.sources(editor.pages, id)?;
    let mut left = Vec::with_capacity(rest.len());
    for source in &rest {
        left.push(crypto::lineage_secret(resolver.resolve(source)?.0));
    }
    let mut held = page.holds.holders(editor.pages, id)?;
    if is_covered(editor.pages, page, id)? {
        held.push(*id);
    }
    if left.is_empty() {
        entry.depth = 0;
    }
    entry.detached = true;
    let wrapping = crypto::detached_key(&crypto::content_root(&entry.secret, left));
    let salt = Fresh::new(env, hedge(&[content_root.bytes(), wrapping.bytes()])).salt()?;
    let wrapped = chunked::seal(&wrapping, &salt, &wrap_context(realm, id), content_root.bytes());
    page.lineage.set_wrapped(editor, id, &wrapped)?;
    let Some(slot) = page.classes.iter_mut().find(|slot| slot.tag == id.class) else {
        return Err(fell(id));
    };
    slot.tree.insert(editor, place, key, entry.encode())?;
    Ok(held)
}

/// What a record depends on in the tree as it is being changed.
fn ancestors_now(edit: &mut Edit<'_>, id: &RecordId) -> Result<BTreeSet<RecordId>> {
    let pages = edit.pages();
    let (mut all, mut next) = (BTreeSet::new(), vec![*id]);
    while let Some(at) = next.pop() {
        if let Some((_, page)) = edit.page_for(&at)? {
            let sources = page.lineage.sources(pages, &at)?;
            next.extend(sources.into_iter().filter(|source| all.insert(*source)));
        }
    }
    Ok(all)
}
