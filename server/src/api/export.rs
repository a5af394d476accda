//! Everything of a user as one file.

use std::io::{self, Read, Write};

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use keyfall::env::System;
use keyfall::sealed::{Guarded, Packing};
use keyfall::time::Zone;
use keyfall::{Engine, Error, ErrorKind, Query, RecordInfo, Result, UserId};
use serde::Deserialize;
use utoipa::ToSchema;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::content::unnamed;
use super::octets::Octets;
use super::report::report_of;
use super::reported::Form;
use super::sharing::public_key;
use crate::app::{App, User};
use crate::auth::caller::Caller;
use crate::outlet::{Outlet, written};
use crate::page::archive::{FILES, Filed, Shown, check, index};
use crate::page::frame::now;
use crate::page::kept::{PROOF_MAX_BYTES, PROOF_TYPE, Proof, proves};
use crate::page::words::Words;
use crate::problem::Answer;
use crate::take::JsonBody;

/// Everything of a user as a zip archive
///
/// `index.html` shows it in a browser, `check.html` checks the proofs of erases in it, both without
/// a network; `report.json` says what is kept, and each record is a file under `records/`, named by
/// its id. It is written as it is sent; one that an erase cuts ends broken. With a purpose, each
/// record's opening is in the report.
#[utoipa::path(
    get, path = "/v1/users/{handle}/export.zip", tag = "users",
    params(
        ("handle" = String, Path, description = "The handle of the user"),
        ("Keyfall-Purpose" = Option<String>, Header, description = "What it is read for: a purpose of the credential"),
    ),
    responses((status = 200, description = "The archive", body = Octets, content_type = "application/zip"))
)]
pub(crate) async fn export(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
) -> Answer<Response> {
    caller.may("report")?;
    caller.may("read")?;
    let user = caller.user(&app, "read", &handle).await?;
    archive(&app, &caller, user, Look { words: Words::of("en"), zone: Zone::utc() }).await
}

/// For whom an export is sealed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewExport {
    /// The public key that it is sealed to, as `keyfall key` makes it.
    to: String,
}

/// Everything of a user, sealed to a key
///
/// A parcel that only the holder of the private key opens (`keyfall unseal`), whoever carries
/// it: the records, `report.json` and `report.html`. It is written as it is sent; one that an erase
/// cuts does not open whole. With a purpose, each record's opening is in the report.
#[utoipa::path(
    post, path = "/v1/users/{handle}/exports", tag = "users",
    params(
        ("handle" = String, Path, description = "The handle of the user"),
        ("Keyfall-Purpose" = Option<String>, Header, description = "What it is read for: a purpose of the credential"),
    ),
    request_body(content = NewExport, example = json!({"to": "keyfall-public-1:EXAMPLE"})),
    responses((status = 200, description = "The parcel", body = Octets, content_type = "application/octet-stream"))
)]
pub(crate) async fn seal_export(
    State(app): State<App>,
    caller: Caller,
    Path(handle): Path<String>,
    JsonBody(new): JsonBody<NewExport>,
) -> Answer<Response> {
    caller.may("report")?;
    caller.may("read")?;
    let user = caller.user(&app, "read", &handle).await?;
    let to = public_key(&new.to)?;
    let reader = reader_of(&app, &caller, &user).await?;
    let parcel = written(&app, caller.who(), move |engine, out| {
        seal(engine, &user, reader.as_ref(), Packing::new(&System, &to, out)?)
    });
    let parcel = parcel.await?;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_DISPOSITION, "attachment; filename=\"export.sealed\""),
    ];
    Ok((headers, parcel).into_response())
}

/// Writes the parcel of a user.
fn seal(
    engine: &Engine,
    user: &User,
    reader: Option<&Reader>,
    mut parcel: Packing<&mut Outlet>,
) -> Result<()> {
    let (report, live) = report_of(engine, user)?;
    let unwritten = |e| Error::io("writing the report", io::Error::other(e));
    let (json, page) = (Form::Json.text(&report), Form::Page.text(&report));
    let (json, page) = (json.map_err(unwritten)?, page.map_err(unwritten)?);
    let mut query = Query::default().user(user.id.clone());
    loop {
        let page = engine.list(&query)?;
        for info in page.records {
            parcel.record(&info, opened(engine, &info, reader)?)?;
        }
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    parcel.file("report.json", Guarded::new(json.as_bytes(), &live))?;
    parcel.file("report.html", Guarded::new(page.as_bytes(), &live))?;
    parcel.finish()?.flush().map_err(Error::from)
}

/// How the pages of an archive are written.
pub(crate) struct Look {
    pub(crate) words: Words<'static>,
    pub(crate) zone: Zone,
}

/// The archive of a user, as it is sent.
///
/// # Errors
/// 403 for a purpose that is not the caller's, and without one where a policy wants readers named.
pub(crate) async fn archive(
    app: &App,
    caller: &Caller,
    user: User,
    look: Look,
) -> Answer<Response> {
    let reader = reader_of(app, caller, &user).await?;
    // All visitors of the page have the same credential: there each person has their own.
    let whose = match caller.credential() {
        "page" => format!("page {}", user.handle),
        _ => caller.who().to_owned(),
    };
    let archive = written(app, &whose, move |engine, out| {
        Writing { engine, user: &user, reader: reader.as_ref(), look: &look }.write(out)
    });
    let archive = archive.await?;
    let headers = [
        (CONTENT_TYPE, "application/zip"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_DISPOSITION, "attachment; filename=\"export.zip\""),
    ];
    Ok((headers, archive).into_response())
}

/// In whose name the records of a user are opened.
///
/// # Errors
/// 403, as for [`archive`].
async fn reader_of(app: &App, caller: &Caller, user: &User) -> Answer<Option<Reader>> {
    let reader = caller.purpose()?.map(|purpose| Reader {
        principal: caller.principal().to_owned(),
        purpose: purpose.to_owned(),
    });
    if reader.is_none() {
        let of = user.id.clone();
        if app.engine().run(move |engine| wants_a_reader(engine, &of)).await? {
            return Err(unnamed());
        }
    }
    Ok(reader)
}

/// Whether a policy wants readers of one of a user's records named: it could not be written.
fn wants_a_reader(engine: &Engine, user: &UserId) -> Result<bool> {
    let mut policies = engine.policies(None).list()?;
    policies.extend(engine.policies(Some(user)).list()?);
    let mut classes: Vec<_> =
        policies.into_iter().filter(|p| p.readers_named).map(|p| p.class).collect();
    classes.sort();
    classes.dedup();
    for class in classes {
        let mut query = Query::default().user(user.clone()).class(Some(class));
        loop {
            let page = engine.list(&query)?;
            for info in page.records {
                // The engine knows which of the policies holds for it.
                match engine.get(&info.id) {
                    Err(e) if e.kind() == ErrorKind::Refused => return Ok(true),
                    Err(e) if !matches!(e.kind(), ErrorKind::Erased | ErrorKind::Absent) => {
                        return Err(e);
                    }
                    _ => {}
                }
            }
            match page.next {
                Some(next) => query = query.after(next),
                None => break,
            }
        }
    }
    Ok(false)
}

/// Most bytes of a text that the page of an archive shows; the rest is in its file.
const TEXT_MAX_BYTES: u64 = 2048;

/// In whose name records are opened.
struct Reader {
    principal: String,
    purpose: String,
}

fn opened(engine: &Engine, info: &RecordInfo, reader: Option<&Reader>) -> Result<keyfall::Reader> {
    match reader {
        Some(Reader { principal, purpose }) => engine.get_as(&info.id, principal, purpose),
        None => engine.get(&info.id),
    }
}

/// Recordings are compressed already, and the length of a deflated text says something of it.
fn stored() -> SimpleFileOptions {
    let stored = zip::CompressionMethod::Stored;
    SimpleFileOptions::default().compression_method(stored).large_file(true)
}

/// An archive that is being written, and for whom.
struct Writing<'a> {
    engine: &'a Engine,
    user: &'a User,
    reader: Option<&'a Reader>,
    look: &'a Look,
}

impl Writing<'_> {
    fn write(&self, out: &mut Outlet) -> Result<()> {
        let (report, live) = report_of(self.engine, self.user)?;
        out.guard(&live);
        let mut archive = ZipWriter::new_stream(out);
        archive.start_file("report.json", stored()).map_err(failed)?;
        serde_json::to_writer_pretty(&mut archive, &report)
            .map_err(|e| Error::io("writing the report", io::Error::other(e)))?;
        let (mut filed, mut proofs) = (Vec::new(), Vec::new());
        let log = self.engine.log().key()?;
        let key = log.to_string();
        let mut query = Query::default().user(self.user.id.clone());
        loop {
            let page = self.engine.list(&query)?;
            for info in page.records {
                let file = name(&info);
                archive.start_file(&*file, stored()).map_err(failed)?;
                let text = self.record(&info, &mut archive)?;
                match text {
                    Some(text)
                        if info.media_type == PROOF_TYPE && proves(&text, &log, &self.user.id) =>
                    {
                        proofs.push((file, Proof { text, key: key.clone() }));
                    }
                    text => filed.push(Filed { info, file, text }),
                }
            }
            match page.next {
                Some(next) => query = query.after(next),
                None => break,
            }
        }
        let shown = Shown {
            words: self.look.words,
            zone: &self.look.zone,
            now: now(),
            name: self.user.id.as_str(),
        };
        let pages = [
            ("index.html", index(&shown, &filed, proofs.len())),
            ("check.html", check(&shown, &proofs, &key)),
        ];
        let pages = pages.iter().map(|(name, page)| (*name, page.as_str()));
        for (name, text) in pages.chain(FILES) {
            archive.start_file(name, stored()).map_err(failed)?;
            archive.write_all(text.as_bytes())?;
        }
        // What was written of it must not look whole if something of it fell meanwhile.
        if !live.is_live() {
            return Err(Error::new(ErrorKind::Erased, "some of it was erased meanwhile"));
        }
        let out = archive.finish().map_err(failed)?.into_inner();
        out.flush().map_err(Error::from)
    }

    /// Writes a record; gives its text for the pages, if it is one that is not long.
    fn record(&self, info: &RecordInfo, archive: &mut impl Write) -> Result<Option<String>> {
        let mut record = opened(self.engine, info, self.reader)?;
        let media_type = info.media_type.split(';').next().unwrap_or_default().trim();
        let most = if media_type == PROOF_TYPE { PROOF_MAX_BYTES } else { TEXT_MAX_BYTES };
        let is_text = media_type.starts_with("text/") || media_type == "application/json";
        if !is_text || info.length > most {
            record.write_to(archive)?;
            return Ok(None);
        }
        let mut bytes = Vec::new();
        record.read_to_end(&mut bytes)?;
        archive.write_all(&bytes)?;
        Ok(String::from_utf8(bytes).ok())
    }
}

/// The name of a record's file.
fn name(info: &RecordInfo) -> String {
    let ending = match info.media_type.as_str() {
        "audio/wav" | "audio/x-wav" => ".wav",
        "audio/ogg" => ".ogg",
        "audio/mpeg" => ".mp3",
        "application/json" => ".json",
        PROOF_TYPE => ".erased",
        text if text.starts_with("text/plain") => ".txt",
        _ => "",
    };
    format!("records/{}{ending}", info.id)
}

fn failed(error: zip::result::ZipError) -> Error {
    Error::io("writing the archive", io::Error::other(error))
}
