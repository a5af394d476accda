//! The published suite of object_store, unchanged: over one user's files, and over all users' below
//! a user, where [`PrefixStore`] puts what the suite puts at the top.
//!
//! Left out, each for its reason:
//! * Over all users, at the top itself: a path begins with a user there, so a file needs two
//!   segments. Of the 17 functions, those that put `test` or `foo` fail as they begin; the three
//!   that put below a directory run (`over_all_users_at_the_top`).
//! * `list_paginated` over all users: it lists the top in pages, which this store refuses
//!   (`NotSupported`); [`PrefixStore`] has no listing by pages. Below a user it works
//!   (`pages_of_one_user_among_all`).

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::store::MemoryStore;
use keyfall::{AsyncEngine, Engine, Options, UserId};
use keyfall_object_store::KeyfallStore;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStoreExt, integration};

fn engine() -> AsyncEngine {
    let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    AsyncEngine::new(Engine::init(store, cell, Options::default()).unwrap())
}

/// One user's files.
fn ones() -> KeyfallStore {
    KeyfallStore::for_user(engine(), UserId::new("ada").unwrap())
}

/// All users' files, below one of them.
fn below() -> PrefixStore<KeyfallStore> {
    PrefixStore::new(KeyfallStore::for_all(engine()), "ada")
}

/// The functions that take a store, over a store each.
macro_rules! of_a_store {
    ($files:ident: $($name:ident($($more:expr)?)),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            integration::$name(&super::$files() $(, $more)?).await;
        }
    )*};
}

/// Those that take its parts, too.
macro_rules! of_parts {
    ($files:ident: $($name:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let files = super::$files();
            integration::$name(&files, &files).await;
        }
    )*};
}

macro_rules! suite {
    ($over:ident, $files:ident) => {
        mod $over {
            use super::integration;
            of_a_store! {
                $files:
                put_get_delete_list(),
                put_get_attributes(),
                get_opts(),
                put_opts(true),
                stream_get(),
                list_uses_directories_correctly(),
                list_with_delimiter(),
                list_with_offset_exclusivity(),
                rename_and_copy(),
                copy_if_not_exists(),
                copy_rename_nonexistent_object(),
                multipart_race_condition(true),
                multipart_out_of_order(),
            }
            of_parts! { $files: multipart, multipart_with_opts, multipart_put_part_out_of_order }
        }
    };
}

suite!(over_one_user, ones);
suite!(over_all_users, below);

#[tokio::test(flavor = "multi_thread")]
async fn list_paginated_over_one_user() {
    let files = ones();
    integration::list_paginated(&files, &files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_all_users_at_the_top() {
    let files = KeyfallStore::for_all(engine()).recreate(true);
    integration::list_uses_directories_correctly(&files).await;
    integration::list_with_offset_exclusivity(&files).await;
    integration::stream_get(&files).await;
    let at_the_top = files.put(&Path::from("test"), "foo".into()).await;
    assert!(matches!(at_the_top, Err(Error::Generic { .. })), "{at_the_top:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_one_user_among_all() {
    let files = KeyfallStore::for_all(engine());
    for path in ["ada/1.wav", "ada/2.wav", "ada/3.wav", "bob/1.wav"] {
        files.put(&Path::from(path), "RIFF".into()).await.unwrap();
    }
    let all = files.list_paginated(None, PaginatedListOptions::default()).await;
    assert!(matches!(all, Err(Error::NotSupported { .. })));
    let (mut seen, mut page_token) = (Vec::new(), None);
    loop {
        let options = PaginatedListOptions {
            max_keys: Some(2),
            page_token,
            ..PaginatedListOptions::default()
        };
        let page = files.list_paginated(Some("ada/"), options).await.unwrap();
        assert!(page.result.objects.len() <= 2);
        seen.extend(page.result.objects.into_iter().map(|file| file.location.to_string()));
        page_token = page.page_token;
        if page_token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["ada/1.wav", "ada/2.wav", "ada/3.wav"]);
}
