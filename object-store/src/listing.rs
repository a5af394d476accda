//! Listings: pages of names, in the order of their bytes.

use std::collections::BTreeSet;

use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use keyfall::engine::Listing;
use keyfall::{ErrorKind, Query, UserId};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::{ListResult, ObjectMeta, Result, path::Path};

use crate::error::generic;
use crate::place::{Whose, segment};
use crate::said;
use crate::store::KeyfallStore;

/// Files of one page.
const PAGE: usize = 1_000;
/// Names of parts begin with a character that no path has: a listing begins after them.
const AFTER_PARTS: &str = "\u{1}";
/// After every path that begins with what stands before it.
const LAST: char = '\u{10FFFF}';

/// Files below a prefix, after a path.
pub(crate) fn list(
    store: KeyfallStore,
    prefix: Option<&Path>,
    after: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let prefix = slashed(prefix);
    match store.whose.below(&prefix) {
        Err(e) => stream::once(std::future::ready(Err(e))).boxed(),
        Ok(Some((user, below))) => {
            let after = after.and_then(|after| match store.whose {
                Whose::One(_) => Some(after.as_ref().to_owned()),
                Whose::All => after.as_ref().split_once('/').map(|(_, name)| name.to_owned()),
            });
            // Of another user the offset says nothing about names; what it drops is dropped above.
            let after = after.filter(|_| matches!(store.whose, Whose::One(_)));
            of_user(store, user, below, after)
        }
        Ok(None) => everybody(store),
    }
}

fn everybody(store: KeyfallStore) -> BoxStream<'static, Result<ObjectMeta>> {
    let users =
        users(store.clone()).map_ok(move |user| of_user(store.clone(), user, String::new(), None));
    users.try_flatten().boxed()
}

/// All users that live, in no order that means anything.
fn users(store: KeyfallStore) -> BoxStream<'static, Result<UserId>> {
    let pages = stream::try_unfold(Some(None), move |after: Option<Option<UserId>>| {
        let store = store.clone();
        async move {
            let Some(after) = after else { return Ok(None) };
            let page = store.engine.run(move |engine| engine.users(after.as_ref(), PAGE)).await;
            let page: Vec<UserId> =
                page.map_err(generic)?.into_iter().map(|(user, _)| user).collect();
            let next = page.last().cloned().filter(|_| page.len() == PAGE).map(Some);
            Ok::<_, object_store::Error>(Some((stream::iter(page.into_iter().map(Ok)), next)))
        }
    });
    pages.try_flatten().boxed()
}

fn of_user(
    store: KeyfallStore,
    user: UserId,
    below: String,
    after: Option<String>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let first = Some(after.unwrap_or_else(|| AFTER_PARTS.to_owned()));
    let pages = stream::try_unfold(first, move |after| {
        let (store, user, below) = (store.clone(), user.clone(), below.clone());
        async move {
            let Some(after) = after else { return Ok(None) };
            let page = page(&store, &user, &below, after, PAGE).await?;
            let metas = metas(&store.whose, &page);
            let next = page.next_name;
            Ok::<_, object_store::Error>(Some((stream::iter(metas.into_iter().map(Ok)), next)))
        }
    });
    pages.try_flatten().boxed()
}

/// A page of a user's names. A user who is not here has no files.
async fn page(
    store: &KeyfallStore,
    user: &UserId,
    below: &str,
    after: String,
    limit: usize,
) -> Result<Listing> {
    let after = after.max(AFTER_PARTS.to_owned());
    let query = Query::default().user(user.clone()).name_prefix(below).after_name(after);
    match store.engine.list(query.limit(limit)).await {
        Err(e) if matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased) => {
            Ok(Listing::default())
        }
        page => page.map_err(generic),
    }
}

/// What object_store can say of a page: a name that is no path is left out.
fn metas(whose: &Whose, page: &Listing) -> Vec<ObjectMeta> {
    let of = |info: &keyfall::RecordInfo| {
        let path = whose.path(&info.user, info.name.as_deref()?)?;
        Some(said::meta(path, info))
    };
    page.records.iter().filter_map(of).collect()
}

/// The files right below a prefix, and what lies deeper by its next segment.
pub(crate) async fn level(store: &KeyfallStore, prefix: Option<&Path>) -> Result<ListResult> {
    let prefix = slashed(prefix);
    let Some((user, below)) = store.whose.below(&prefix)? else {
        let users = users(store.clone()).map(|user| Path::parse(segment(&user?)).map_err(generic));
        return Ok(result(Vec::new(), users.try_collect().await?));
    };
    let (mut objects, mut deeper) = (Vec::new(), BTreeSet::new());
    let mut after = Some(String::new());
    while let Some(from) = after {
        let page = page(store, &user, &below, from, PAGE).await?;
        after = page.next_name.clone();
        for meta in metas(&store.whose, &page) {
            match cut(&prefix, meta.location.as_ref(), "/") {
                Some(common) => {
                    if after.as_ref().is_some_and(|next| whole(store, &user, next, common)) {
                        after = Some(format!("{}{LAST}", name(store, common)));
                    }
                    deeper.insert(Path::parse(common).map_err(generic)?);
                }
                None => objects.push(meta),
            }
        }
    }
    Ok(result(objects, deeper))
}

/// Whether the next name lies below what is common to many: they are passed over at once.
fn whole(store: &KeyfallStore, user: &UserId, next: &str, common: &str) -> bool {
    store.whose.path(user, next).is_some_and(|path| path.as_ref().starts_with(common))
}

/// The name that a path has for its user.
fn name<'a>(store: &KeyfallStore, path: &'a str) -> &'a str {
    match store.whose {
        Whose::One(_) => path,
        Whose::All => path.split_once('/').map_or("", |(_, name)| name),
    }
}

/// What of a path many have in common: up to the delimiter after the prefix, and with it.
fn cut<'a>(prefix: &str, path: &'a str, delimiter: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    let at = rest.find(delimiter)?;
    Some(&path[..prefix.len() + at + delimiter.len()])
}

fn result(objects: Vec<ObjectMeta>, deeper: BTreeSet<Path>) -> ListResult {
    let common_prefixes = deeper.into_iter().collect();
    ListResult { objects, common_prefixes, extensions: Default::default() }
}

fn slashed(prefix: Option<&Path>) -> String {
    match prefix.map(Path::as_ref) {
        None | Some("") => String::new(),
        Some(prefix) => format!("{prefix}/"),
    }
}

/// A prefix is a beginning of paths here, with or without a slash at its end.
#[async_trait::async_trait]
impl PaginatedListStore for KeyfallStore {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        opts: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let prefix = prefix.unwrap_or_default();
        let most = opts.max_keys.unwrap_or(PAGE).min(PAGE);
        let Some((user, below)) = self.whose.below(prefix)? else {
            return Err(object_store::Error::NotSupported {
                source: "pages of all users; list one user's, with a prefix `user/`".into(),
            });
        };
        let (mut objects, mut deeper) = (Vec::new(), BTreeSet::new());
        let offset = opts.offset.map(|offset| name(self, &offset).to_owned());
        let mut after = opts.page_token.or(offset).or(Some(String::new()));
        let mut left = most;
        while let Some(from) = after.take_if(|_| left > 0) {
            let page = page(self, &user, &below, from, left).await?;
            after = page.next_name.clone();
            for meta in metas(&self.whose, &page) {
                let delimiter = opts.delimiter.as_deref();
                match delimiter.and_then(|by| cut(prefix, meta.location.as_ref(), by)) {
                    Some(common) => {
                        let lies = |next: &String| whole(self, &user, next, common);
                        if after.as_ref().is_some_and(lies) {
                            after = Some(format!("{}{LAST}", name(self, common)));
                        }
                        if deeper.insert(Path::parse(common).map_err(generic)?) {
                            left -= 1;
                        }
                    }
                    None => {
                        left -= 1;
                        objects.push(meta);
                    }
                }
            }
        }
        Ok(PaginatedListResult { result: result(objects, deeper), page_token: after })
    }
}
