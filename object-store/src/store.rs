//! The store.

use std::fmt;
use std::io::SeekFrom;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use keyfall::{
    AsyncEngine, AsyncReader, Class, Erase, ErrorKind, InteractionId, Put, RecordId, RecordInfo,
    Scope, UserId,
};
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, RenameTargetMode, Result, path::Path,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};

use crate::error::{about, about_put, generic};
use crate::listing;
use crate::payload::{cut, piece, streamed, whole};
use crate::place::{Place, Whose};
use crate::said::{self, ONCE};
use crate::upload::Upload;

/// Files that are erased in one commit at most.
const TOGETHER: usize = 1_000;
/// How often a file is looked for again that was replaced meanwhile.
const REPLACED: usize = 100;

/// Files of one user, or of all, as an object store.
#[derive(Clone)]
pub struct KeyfallStore {
    pub(crate) engine: AsyncEngine,
    pub(crate) whose: Whose,
    class: Class,
    reader: Option<Arc<(String, String)>>,
    recreate: bool,
    copies_fall: bool,
}

impl fmt::Debug for KeyfallStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyfallStore")
    }
}

/// Without a user's name: what prints a store prints it into a log.
impl fmt::Display for KeyfallStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.whose {
            Whose::One(_) => "Keyfall, files of one user",
            Whose::All => "Keyfall, files of all users",
        })
    }
}

impl KeyfallStore {
    /// The files of one user: a path is the name of a record.
    pub fn for_user(engine: AsyncEngine, user: UserId) -> Self {
        KeyfallStore::new(engine, Whose::One(user))
    }

    /// The files of all users: the first segment of a path is the user, percent-encoded, the rest
    /// the name.
    pub fn for_all(engine: AsyncEngine) -> Self {
        KeyfallStore::new(engine, Whose::All)
    }

    fn new(engine: AsyncEngine, whose: Whose) -> Self {
        let class = Class::action();
        KeyfallStore { engine, whose, class, reader: None, recreate: false, copies_fall: false }
    }

    /// The class of files whose media type says none (`audio/*` is audio, `text/*` a transcript)
    /// and that do not name one as the metadata `keyfall-class`; the default is `action`.
    #[must_use]
    pub fn default_class(self, class: Class) -> Self {
        KeyfallStore { class, ..self }
    }

    /// Opens every file in the name of a reader and for a purpose, as a policy may demand: each get
    /// is a line in the user's report. Without it, files of such a class are refused.
    #[must_use]
    pub fn reading_as(self, who: impl Into<String>, why: impl Into<String>) -> Self {
        KeyfallStore { reader: Some(Arc::new((who.into(), why.into()))), ..self }
    }

    /// Begins a new life of a user who was erased when a file of theirs is put. Without it such a
    /// put fails: what is erased does not come back by accident.
    #[must_use]
    pub fn recreate(self, recreate: bool) -> Self {
        KeyfallStore { recreate, ..self }
    }

    /// Derives each copy from its original, so that it falls with it. Without it a copy outlasts a
    /// delete of the original: programs that copy a file and then delete it count on that. A rename
    /// derives nothing.
    #[must_use]
    pub fn copies_fall(self, copies_fall: bool) -> Self {
        KeyfallStore { copies_fall, ..self }
    }

    /// The record at a path.
    pub(crate) async fn find(&self, path: &Path) -> Result<RecordInfo> {
        let Place { user, name } = self.whose.place(path)?;
        let found = self.engine.find(&user, name).await;
        found.map_err(|e| about(path, e))
    }

    async fn open(&self, path: &Path, id: &RecordId) -> Result<AsyncReader> {
        let opened = match self.reader.as_deref() {
            Some((who, why)) => self.engine.get_as(id, who.clone(), why.clone()).await,
            None => self.engine.get(id).await,
        };
        opened.map_err(|e| about(path, e))
    }

    /// What is to be put at a path.
    pub(crate) fn to_put(
        &self,
        path: &Path,
        attributes: &object_store::Attributes,
        tags: &object_store::TagSet,
    ) -> Result<Put> {
        if !tags.encoded().is_empty() {
            let source = "tags have no place here; say it as metadata".into();
            return Err(object_store::Error::NotSupported { source });
        }
        let Place { user, name } = self.whose.place(path)?;
        Ok(said::to_put(path, user, &self.class, attributes)?.name(name))
    }

    /// Puts under a condition. Such a put is never the same as another: of two that create a file,
    /// one fails, whatever they contain.
    fn under(&self, put: Put, path: &Path, mode: PutMode) -> Result<Put> {
        let put = match mode {
            PutMode::Overwrite => return Ok(put),
            PutMode::Create => put.if_absent(),
            PutMode::Update(version) => {
                let e_tag = version.e_tag.unwrap_or_default();
                let id = said::of_e_tag(&e_tag).ok_or_else(|| {
                    let source = format!("{e_tag} is no entity tag of this store").into();
                    object_store::Error::Precondition { path: path.to_string(), source }
                })?;
                put.if_is(id)
            }
        };
        let once = self.once().map_err(generic)?;
        Ok(put.meta(ONCE, once.to_string()))
    }

    /// A number that nothing else has.
    pub(crate) fn once(&self) -> keyfall::Result<InteractionId> {
        self.engine.engine().new_interaction()
    }

    /// Puts a file, and begins a new life of its user where that is asked for.
    pub(crate) async fn put_file(
        &self,
        path: &Path,
        put: Put,
        payload: impl AsyncRead,
    ) -> Result<PutResult> {
        self.revive(path).await?;
        let id = self.engine.put(put, payload).await.map_err(|e| about_put(path, e))?;
        Ok(result(&id))
    }

    pub(crate) async fn revive(&self, path: &Path) -> Result<()> {
        if !self.recreate {
            return Ok(());
        }
        let user = self.whose.place(path)?.user;
        let revived = self.engine.run(move |engine| match engine.find(&user, "") {
            Err(e) if e.kind() == ErrorKind::Erased => engine.create_user(&user),
            _ => Ok(()),
        });
        revived.await.map_err(|e| about_put(path, e))
    }

    /// A file as it is now; `None` if it was replaced between looking and reading.
    async fn get_once(&self, location: &Path, options: &GetOptions) -> Result<Option<GetResult>> {
        let info = self.find(location).await?;
        let meta = said::meta(location.clone(), &info);
        options.check_preconditions(&meta)?;
        if let Some(version) = &options.version {
            let source = format!("there are no versions here, and none is {version}").into();
            return Err(object_store::Error::NotFound { path: location.to_string(), source });
        }
        let range = match &options.range {
            Some(range) => range.as_range(info.length).map_err(generic)?,
            None => 0..info.length,
        };
        let payload = if options.head || range.is_empty() {
            stream::empty().boxed()
        } else {
            match self.payload(location, &info.id, range.clone()).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                payload => payload?,
            }
        };
        Ok(Some(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta,
            range,
            attributes: said::attributes(&info),
            extensions: Default::default(),
        }))
    }

    async fn payload(
        &self,
        path: &Path,
        id: &RecordId,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let mut reader = self.open(path, id).await?;
        reader.seek(SeekFrom::Start(range.start)).await.map_err(|e| cut(path, e))?;
        let length = range.end - range.start;
        let first = piece(&mut reader, length, path).await?;
        let left = length - first.len() as u64;
        let first = stream::once(std::future::ready(Ok(first)));
        Ok(first.chain(streamed(reader, left, path.clone())).boxed())
    }

    /// Erases the files at some paths in one commit. One that is not there is no error, as in S3.
    async fn erase(&self, paths: Vec<Result<Path>>) -> Vec<Result<Path>> {
        let mut outcomes = Vec::with_capacity(paths.len());
        let mut erases = Vec::new();
        for path in paths {
            let found = match &path {
                Ok(path) => self.find(path).await,
                Err(_) => {
                    outcomes.push(path);
                    continue;
                }
            };
            match found {
                Ok(info) => erases.push((outcomes.len(), Erase::new(Scope::record(info.id)))),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => {
                    outcomes.push(Err(e));
                    continue;
                }
            }
            outcomes.push(path);
        }
        let (places, erases): (Vec<_>, Vec<_>) = erases.into_iter().unzip();
        let erased = self.engine.run(move |engine| Ok(engine.erase_all(&erases))).await;
        let erased = erased.unwrap_or_else(|e| vec![Err(e)]);
        for (place, outcome) in places.into_iter().zip(erased) {
            if let (Ok(path), Err(error)) = (&outcomes[place], outcome)
                && !matches!(error.kind(), ErrorKind::Erased | ErrorKind::Absent)
            {
                outcomes[place] = Err(about(path, error));
            }
        }
        outcomes
    }
}

pub(crate) fn result(id: &RecordId) -> PutResult {
    PutResult { e_tag: Some(said::e_tag(id)), version: None, extensions: Default::default() }
}

#[async_trait]
impl ObjectStore for KeyfallStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let put = self.to_put(location, &opts.attributes, &opts.tags)?;
        let put = self.under(put, location, opts.mode)?;
        let put = put.length(payload.content_length() as u64);
        self.put_file(location, put, whole(payload)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let put = self.to_put(location, &opts.attributes, &opts.tags)?;
        Ok(Box::new(Upload::new(self.clone(), location.clone(), put)))
    }

    /// A file of at most 256 KiB is read before this returns. A longer one is read as its stream is
    /// polled, which fails if the file is erased or overwritten meanwhile.
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        for _ in 0..REPLACED {
            if let Some(got) = self.get_once(location, &options).await? {
                return Ok(got);
            }
        }
        Err(generic("the file is replaced faster than it can be opened; try again"))
    }

    /// One opening of the record for all ranges: a reader by name is written down once.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let info = self.find(location).await?;
        let mut reader = self.open(location, &info.id).await?;
        let mut all = Vec::with_capacity(ranges.len());
        for range in ranges {
            let range = GetRange::Bounded(range.clone()).as_range(info.length).map_err(generic)?;
            reader.seek(SeekFrom::Start(range.start)).await.map_err(|e| cut(location, e))?;
            let length = usize::try_from(range.end - range.start).map_err(generic)?;
            let mut bytes = vec![0; length];
            reader.read_exact(&mut bytes).await.map_err(|e| cut(location, e))?;
            all.push(bytes.into());
        }
        Ok(all)
    }

    /// Erases files; each is gone for good when its path comes out. Up to a thousand share one
    /// commit. What was derived from a file falls with it.
    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let erased = locations.ready_chunks(TOGETHER).then(move |paths| {
            let store = store.clone();
            async move { stream::iter(store.erase(paths).await) }
        });
        erased.flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        listing::list(self.clone(), prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let from = offset.clone();
        let all = listing::list(self.clone(), prefix, Some(offset));
        all.try_filter(move |meta| std::future::ready(meta.location > from)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        listing::level(self, prefix).await
    }

    /// A copy is a record of its own, in the interaction of the original, of its class and derived
    /// from what that is derived from: it falls with the sources, the interaction, the class and
    /// the user, and outlasts an erase of the original alone, unless
    /// [`KeyfallStore::copies_fall`] says otherwise.
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let original = self.find(from).await?;
        if self.copies_fall && from == to && options.mode == CopyMode::Overwrite {
            return Ok(());
        }
        let derived = self.copies_fall.then_some(original.id);
        self.copy_of(original, from, to, options.mode, derived).await
    }

    /// The record that was copied is erased, and no other that took its place meanwhile.
    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let original = self.find(from).await?;
        let mode = match options.target_mode {
            RenameTargetMode::Overwrite if from == to => return Ok(()),
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
            RenameTargetMode::Create => CopyMode::Create,
        };
        let id = original.id;
        self.copy_of(original, from, to, mode, None).await?;
        match self.engine.erase(Scope::record(id)).await {
            Err(e) if !matches!(e.kind(), ErrorKind::Erased | ErrorKind::Absent) => {
                Err(about(from, e))
            }
            _ => Ok(()),
        }
    }
}

impl KeyfallStore {
    /// Puts a copy, derived from this record or from what the original is derived from.
    async fn copy_of(
        &self,
        info: RecordInfo,
        from: &Path,
        to: &Path,
        mode: CopyMode,
        derived: Option<RecordId>,
    ) -> Result<()> {
        let reader = self.open(from, &info.id).await?;
        let place = self.whose.place(to)?;
        let id = info.id;
        let sources = match derived {
            Some(original) => vec![original],
            None => {
                let lineage = self.engine.run(move |engine| engine.lineage(&id)).await;
                lineage.map_err(|e| about(from, e))?.sources
            }
        };
        let mut put = Put::new(place.user, info.class)
            .name(place.name)
            .interaction(info.interaction)
            .media_type(info.media_type)
            .purpose(info.purpose)
            .length(info.length);
        for source in sources {
            put = put.derived_from(source);
        }
        for (key, value) in info.meta.into_iter().filter(|(key, _)| key != ONCE) {
            put = put.meta(key, value);
        }
        let mode = match mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        let put = self.under(put, to, mode)?;
        self.put_file(to, put, reader).await.map(drop)
    }
}
