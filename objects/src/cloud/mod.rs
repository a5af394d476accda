//! S3, Google Cloud Storage, Azure and directories, through `object_store`. Its own retries are
//! off: a repeated create reports an object of its own making as another's.

mod credentials;
mod failures;
mod place;
mod reserve;
mod way;

use std::future::Future;
use std::sync::{Arc, mpsc};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload,
};
use tokio::runtime::{Builder, Runtime};

use self::failures::{failure, no_bucket};
use self::place::{Opened, open};
pub use self::place::{SCHEMES, directory_of};
use self::reserve::Reserve;
use self::way::in_the_way;
use crate::port::{Created, Failure, FailureKind, Listed, Objects, Result};

/// Threads that do the waiting for the network.
const THREADS: usize = 2;

/// Objects at a URL: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or
/// `file:///directory`. Credentials, region and endpoint come from the environment
/// (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`,
/// `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`, ...).
///
/// Calls block. They may be made from a thread of an asynchronous runtime, which they keep.
pub struct CloudObjects {
    url: String,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Whether the place lists names in order.
    sorted: bool,
    /// Of a directory.
    reserve: Option<Reserve>,
    runtime: Option<Runtime>,
}

/// Whether this machine's clock stands where no request can be signed: what signs them panics.
#[expect(clippy::disallowed_methods, reason = "it is the clock that what signs requests reads")]
fn is_before_1970() -> bool {
    SystemTime::now() < SystemTime::UNIX_EPOCH
}

impl CloudObjects {
    /// The objects at a URL. Nothing is asked yet.
    ///
    /// # Errors
    /// `Refused` for a URL, or an environment, that names no place; `Unknown` if the environment
    /// names no credentials for it.
    pub fn at(url: &str) -> Result<Self> {
        Self::opened(url, None)
    }

    /// The objects at an `s3://` or `az://` URL on a server that is not the environment's: its
    /// endpoint is an `http://` or `https://` URL.
    ///
    /// # Errors
    /// As [`CloudObjects::at`]; `Refused` for a URL of another kind.
    pub fn at_endpoint(url: &str, endpoint: &str) -> Result<Self> {
        Self::opened(url, Some(endpoint))
    }

    fn opened(url: &str, endpoint: Option<&str>) -> Result<Self> {
        let Opened { store, prefix, sorted } = open(url, endpoint)?;
        if is_before_1970() {
            return Err(Failure::refused(format!(
                "{url}: this machine's clock stands before 1970; set it"
            )));
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .map_err(|e| Failure::refused(format!("{url}: no threads for the network: {e}")))?;
        let reserve = directory_of(url).map(|dir| Reserve::of(&dir));
        let url = url.trim_end_matches('/').to_owned();
        Ok(CloudObjects { url, store, prefix, sorted, reserve, runtime: Some(runtime) })
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// The name of an object at this place.
    fn name(&self, at: &Path) -> Option<String> {
        let parts: Vec<String> =
            at.prefix_match(&self.prefix)?.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    }

    /// Runs a request on the threads of this place, and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        name: &str,
        request: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<Option<T>> {
        let lost = || Failure::unknown(format!("{}: the threads of the network ended", self.url));
        let (tell, told) = mpsc::channel();
        self.runtime.as_ref().ok_or_else(lost)?.spawn(async move {
            let _ = tell.send(request.await);
        });
        match told.recv().map_err(|_| lost())? {
            Ok(answer) => Ok(Some(answer)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failure(&self.url, name, &e)),
        }
    }
}

impl Drop for CloudObjects {
    fn drop(&mut self) {
        // Waiting for it is not allowed on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Objects for CloudObjects {
    fn place(&self) -> String {
        self.url.clone()
    }

    fn is_far(&self) -> bool {
        self.sorted
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<Created> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        let payload = PutPayload::from_bytes(Bytes::copy_from_slice(bytes));
        let put = async move {
            let options = PutOptions::from(PutMode::Create);
            match store.put_opts(&path, payload, options).await {
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                    Ok(Created::Exists)
                }
                put => put.map(|put| Created::Here { versioned: put.version.is_some() }),
            }
        };
        let created = self.wait(name, put)?.ok_or_else(|| no_bucket(&self.url))?;
        match created {
            // What is there can neither be read nor go away by itself: asking again is no use.
            Created::Exists => match in_the_way(&self.url, name) {
                Some(why) => Err(Failure::refused(why)),
                None => Ok(created),
            },
            created @ Created::Here { .. } => Ok(created),
        }
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        let got = self.wait(name, async move { store.get(&path).await?.bytes().await })?;
        Ok(got.map(Vec::from))
    }

    fn get_range(&self, name: &str, from: u64, len: u64) -> Result<Option<Vec<u8>>> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        let range = GetRange::Bounded(from..from.saturating_add(len));
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let get = async move { store.get_opts(&path, options).await?.bytes().await };
        match self.wait(name, get) {
            Ok(got) => Ok(got.map(Vec::from)),
            // Beyond the end every place says something else.
            Err(e) if from > 0 || !self.sorted || e.kind == FailureKind::Refused => {
                match self.head(name)? {
                    Some(size) if size <= from => Ok(Some(Vec::new())),
                    Some(_) => Err(e),
                    None => Ok(None),
                }
            }
            Err(e) => Err(e),
        }
    }

    fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<Listed>> {
        let (store, prefix) = (Arc::clone(&self.store), self.path(folder));
        let offset = (!after.is_empty()).then(|| self.path(after));
        let at_most = if self.sorted { limit } else { usize::MAX };
        let list = async move {
            let all = match &offset {
                Some(offset) => store.list_with_offset(Some(&prefix), offset),
                None => store.list(Some(&prefix)),
            };
            // A server may give more than it was asked for: Azurite knows no beginning.
            let is_after = |meta: &ObjectMeta| match &offset {
                Some(offset) => meta.location > *offset,
                None => true,
            };
            all.try_filter(|meta| std::future::ready(is_after(meta)))
                .take(at_most)
                .try_collect::<Vec<ObjectMeta>>()
                .await
        };
        let mut listed: Vec<Listed> = self
            .wait(folder, list)?
            .unwrap_or_default()
            .into_iter()
            .filter_map(|meta| Some(Listed { name: self.name(&meta.location)?, size: meta.size }))
            .collect();
        if !self.sorted {
            listed.sort_by(|a, b| a.name.cmp(&b.name));
            listed.truncate(limit);
        }
        Ok(listed)
    }

    fn head(&self, name: &str) -> Result<Option<u64>> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        let head = self.wait(name, async move { store.head(&path).await })?;
        Ok(head.map(|meta| meta.size))
    }

    fn delete(&self, name: &str) -> Result<()> {
        let (store, path) = (Arc::clone(&self.store), self.path(name));
        self.wait(name, async move { store.delete(&path).await }).map(|_| ())
    }

    fn delete_all(&self, names: &[String]) -> Result<()> {
        let Some(first) = names.first() else { return Ok(()) };
        let store = Arc::clone(&self.store);
        let paths: Vec<_> = names.iter().map(|name| Ok(self.path(name))).collect();
        let delete = async move {
            let mut deleted = store.delete_stream(futures_util::stream::iter(paths).boxed());
            while let Some(one) = deleted.next().await {
                match one {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(())
        };
        self.wait(first, delete).map(|_| ())
    }

    fn give_room(&self) -> bool {
        self.reserve.as_ref().is_some_and(Reserve::give)
    }

    fn keep_room(&self) -> bool {
        self.reserve.as_ref().is_none_or(Reserve::keep)
    }
}
