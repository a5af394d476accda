//! Uploads of which a client did not hear, and what is said of bytes that were not taken.

use axum::http::StatusCode;
use keyfall::UploadId;

use crate::app::App;
use crate::problem::Problem;

/// An upload of which no client heard yet: it ends with the request, if that fails or its client
/// goes away.
pub(super) struct Unheard {
    app: App,
    id: Option<UploadId>,
}

impl Unheard {
    /// An upload that has just begun.
    pub(super) fn new(app: &App, id: UploadId) -> Self {
        Unheard { app: app.clone(), id: Some(id) }
    }

    /// Its client hears of it, and may go on with it.
    pub(super) fn heard(mut self) {
        self.id = None;
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let app = self.app.clone();
        // There is none where the service ends.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            // It may have become a record, or fallen with its user.
            let _ = app.engine().uploads().abort(&id).await;
            app.begun().forget(&id);
        });
    }
}

/// What is said of an upload that was not begun, since its first bytes were not taken.
pub(super) fn unbegun(problem: Problem) -> Problem {
    if problem.kind != "cut" {
        return problem;
    }
    let detail = "the body was cut short, and the upload was not begun; begin it again";
    Problem { detail: detail.into(), ..problem }
}

/// What arrived of a body that was cut short, and what to do. Of bytes that must have a sum all are
/// kept or none.
pub(super) fn cut_at(there: u64, whole: bool) -> String {
    match whole {
        true => format!(
            "the body was cut short, and none of it was kept, for its sum could not be checked; \
             the upload has {there} bytes: send them again from there"
        ),
        false => format!(
            "the body was cut short; what arrived was kept, and the upload has {there} bytes: go \
             on from there"
        ),
    }
}

/// The bytes are more than the upload is to have.
pub(super) fn beyond() -> Problem {
    let detail = "the body is longer than what is left of Upload-Length; ask with HEAD where the \
                  upload ends, and send the rest of it alone";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}
