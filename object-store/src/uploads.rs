//! Files whose parts come in any order, from any process: each part is a record until the file is
//! whole.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};
use keyfall::{Class, ErrorKind, InteractionId, Policy, Put, RecordId, Scope};
use object_store::multipart::{MultipartStore, PartId};
use object_store::{
    Attributes, MultipartId, PutMultipartOptions, PutPayload, PutResult, Result, path::Path,
};
use tokio_util::io::StreamReader;

use crate::error::{about, about_put, generic, no_path};
use crate::payload::{streamed, whole};
use crate::said;
use crate::store::KeyfallStore;

/// How long parts stay of which no file becomes.
const LASTS: Duration = Duration::from_secs(24 * 60 * 60);

/// The class of parts. A policy of the store erases them after a day; one that is set already is
/// left as it is.
fn class() -> Result<Class> {
    Class::new("upload-part").map_err(generic)
}

/// What names of parts begin with: a character that no path has.
fn beginning(upload: &InteractionId) -> String {
    format!("\0upload/{upload}/")
}

impl KeyfallStore {
    async fn parts_expire(&self) -> Result<()> {
        let class = class()?;
        let set = self.engine.run(move |engine| {
            let policies = engine.policies(None);
            match policies.list()?.iter().any(|policy| policy.class == class) {
                true => Ok(()),
                false => policies.set(&Policy::new(class).max_age(LASTS)),
            }
        });
        set.await.map_err(generic)
    }

    /// The upload with this id, and the attributes of what it is to become.
    async fn upload(&self, path: &Path, id: &MultipartId) -> Result<(InteractionId, Attributes)> {
        let upload: InteractionId = id.parse().map_err(|e| about(path, e))?;
        let user = self.whose.place(path)?.user;
        let name = beginning(&upload);
        let found = self.engine.find(&user, name).await;
        let began = found.map_err(|e| about(path, e))?;
        Ok((upload, said::kept(&began)))
    }

    async fn end(&self, path: &Path, upload: InteractionId) -> Result<()> {
        let user = self.whose.place(path)?.user;
        let erased = self.engine.erase(Scope::interaction(user, upload)).await;
        match erased {
            Err(e) if e.kind() != ErrorKind::Erased => Err(about(path, e)),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl MultipartStore for KeyfallStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.create_multipart_opts(path, PutMultipartOptions::default()).await
    }

    async fn create_multipart_opts(
        &self,
        path: &Path,
        opts: PutMultipartOptions,
    ) -> Result<MultipartId> {
        self.to_put(path, &opts.attributes, &opts.tags)?;
        self.revive(path).await?;
        self.parts_expire().await?;
        let upload = self.once().map_err(generic)?;
        let user = self.whose.place(path)?.user;
        let put = Put::new(user, class()?).name(beginning(&upload)).interaction(upload);
        let put = said::keep(put, &opts.attributes);
        self.engine.put(put, path.as_ref().as_bytes()).await.map_err(|e| about_put(path, e))?;
        Ok(upload.to_string())
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        let (upload, _) = self.upload(path, id).await?;
        let user = self.whose.place(path)?.user;
        let name = format!("{}{part_idx:020}", beginning(&upload));
        let put = Put::new(user, class()?).name(name).interaction(upload);
        let put = put.length(data.content_length() as u64);
        let put = self.engine.put(put, whole(data)).await.map_err(|e| about_put(path, e))?;
        Ok(PartId { content_id: put.to_string() })
    }

    /// Puts the file of its parts, and then erases them; after a crash between the two, parts are
    /// there until they expire, and completing again gives the same file.
    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let (upload, attributes) = self.upload(path, id).await?;
        let (mut length, mut records) = (0, Vec::with_capacity(parts.len()));
        for part in parts {
            let id: RecordId = part.content_id.parse().map_err(|e| about(path, e))?;
            let info = self.engine.info(&id).await.map_err(|e| about(path, e))?;
            if !info.name.is_some_and(|name| name.starts_with(&beginning(&upload))) {
                return Err(no_path(path, "a part is not of this upload"));
            }
            length += info.length;
            records.push((id, info.length));
        }
        let put = self.to_put(path, &attributes, &object_store::TagSet::default())?;
        let (engine, at) = (self.engine.clone(), path.clone());
        let parts = stream::iter(records).then(move |(id, length)| {
            let (engine, at) = (engine.clone(), at.clone());
            async move {
                match engine.get(&id).await {
                    Ok(reader) => streamed(reader, length, at),
                    Err(e) => stream::once(std::future::ready(Err(about(&at, e)))).boxed(),
                }
            }
        });
        let payload = parts.flatten().map(|piece| piece.map_err(std::io::Error::other)).boxed();
        let done = self.put_file(path, put.length(length), StreamReader::new(payload)).await?;
        self.end(path, upload).await?;
        Ok(done)
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let (upload, _) = self.upload(path, id).await?;
        self.end(path, upload).await
    }
}
