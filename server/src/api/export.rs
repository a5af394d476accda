//! Everything of a user as one file.

use std::io::{self, Write};

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use keyfall::{Engine, Error, Query, RecordInfo, Result};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::report::report_json;
use crate::app::{App, User};
use crate::auth::caller::Caller;
use crate::outlet::{Outlet, written};
use crate::problem::Answer;

/// Everything of a user as a zip archive
///
/// `report.json` says what is kept, and each record is a file under `records/`, named by its id. It
/// is written as it is sent; one that an erase cuts ends broken. With a purpose, each record's
/// opening is in the report.
#[utoipa::path(
    get, path = "/v1/users/{handle}/export.zip", tag = "users",
    params(
        ("handle" = String, Path, description = "The handle of the user"),
        ("Keyfall-Purpose" = Option<String>, Header, description = "What it is read for: a purpose of the credential"),
    ),
    responses((status = 200, description = "The archive", body = Vec<u8>, content_type = "application/zip"))
)]
pub(crate) async fn export(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
) -> Answer<Response> {
    caller.may("report")?;
    caller.may("read")?;
    let user = caller.user(&app, "read", &handle).await?;
    let reader = caller.purpose()?.map(|purpose| Reader {
        principal: caller.principal().to_owned(),
        purpose: purpose.to_owned(),
    });
    let archive = written(&app, move |engine, out| write(engine, out, &user, reader.as_ref()));
    let headers = [
        (CONTENT_TYPE, "application/zip"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_DISPOSITION, "attachment; filename=\"export.zip\""),
    ];
    Ok((headers, archive).into_response())
}

/// In whose name records are opened.
struct Reader {
    principal: String,
    purpose: String,
}

fn write(engine: &Engine, out: &mut Outlet, user: &User, reader: Option<&Reader>) -> Result<()> {
    let mut archive = ZipWriter::new_stream(out);
    // Recordings are compressed already, and the length of a deflated text says something of it.
    let stored = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .large_file(true);
    let (report, live) = report_json(engine, user)?;
    archive.start_file("report.json", stored).map_err(failed)?;
    serde_json::to_writer_pretty(&mut archive, &report)
        .map_err(|e| Error::io("writing the report", io::Error::other(e)))?;
    let mut query = Query::default().user(user.id.clone());
    loop {
        let page = engine.list(&query)?;
        for info in &page.records {
            archive.start_file(name(info), stored).map_err(failed)?;
            let mut record = match reader {
                Some(Reader { principal, purpose }) => {
                    engine.get_as(&info.id, principal, purpose)?
                }
                None => engine.get(&info.id)?,
            };
            record.write_to(&mut archive)?;
        }
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    // What was written of the report must not look whole if something of it fell meanwhile.
    if !live.is_live() {
        return Err(Error::new(keyfall::ErrorKind::Erased, "some of it was erased meanwhile"));
    }
    let out = archive.finish().map_err(failed)?.into_inner();
    out.flush().map_err(Error::from)
}

/// The name of a record's file.
fn name(info: &RecordInfo) -> String {
    let ending = match info.media_type.as_str() {
        "audio/wav" | "audio/x-wav" => ".wav",
        "audio/ogg" => ".ogg",
        "audio/mpeg" => ".mp3",
        "application/json" => ".json",
        text if text.starts_with("text/plain") => ".txt",
        _ => "",
    };
    format!("records/{}{ending}", info.id)
}

fn failed(error: zip::result::ZipError) -> Error {
    Error::io("writing the archive", io::Error::other(error))
}
