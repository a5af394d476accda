//! A file that comes in parts, one after another, while it is put.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use keyfall::Put;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart, path::Path};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::generic;
use crate::payload::{Part, Parts};
use crate::store::KeyfallStore;

/// An upload: a put whose payload are its parts. They are sealed as they come; nothing of them is
/// a file before all came, and nothing stays if the upload is given up or the process ends.
pub(crate) struct Upload {
    parts: Option<mpsc::UnboundedSender<Part>>,
    whole: Option<oneshot::Sender<()>>,
    put: Arc<Mutex<Option<JoinHandle<Result<PutResult>>>>>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upload")
    }
}

impl Upload {
    pub(crate) fn new(store: KeyfallStore, path: Path, put: Put) -> Self {
        let (parts, come) = mpsc::unbounded_channel();
        let (whole, is_whole) = oneshot::channel();
        let payload = Parts::new(come, is_whole);
        let put = tokio::spawn(async move { store.put_file(&path, put, payload).await });
        let put = Arc::new(Mutex::new(Some(put)));
        Upload { parts: Some(parts), whole: Some(whole), put }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    /// Parts are in the order of these calls. The future ends when the part was taken.
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (taken, is_taken) = oneshot::channel();
        let sent = self.parts.as_ref().is_some_and(|parts| parts.send((data, taken)).is_ok());
        let put = Arc::clone(&self.put);
        async move {
            match sent && is_taken.await.is_ok() {
                true => Ok(()),
                false => Err(failure(&put).await),
            }
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.parts = None;
        if let Some(whole) = self.whole.take() {
            // The put may have failed; it says so below.
            let _ = whole.send(());
        }
        match self.put.lock().await.take() {
            Some(put) => put.await.map_err(generic)?,
            None => Err(generic("this upload is over")),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        (self.parts, self.whole) = (None, None);
        if let Some(put) = self.put.lock().await.take() {
            // It fails for want of its last parts, and that is what was asked for.
            let _ = put.await;
        }
        Ok(())
    }
}

/// Why the put of an upload ended before its parts did.
async fn failure(put: &Mutex<Option<JoinHandle<Result<PutResult>>>>) -> object_store::Error {
    match put.lock().await.take() {
        Some(put) => match put.await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => generic("this upload is over"),
            Err(error) => generic(error),
        },
        None => generic("this upload failed, or is over"),
    }
}
