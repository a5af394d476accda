//! The public log of erases (C2SP tlog-tiles), and certificates checked.

use std::ops::ControlFlow;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use keyfall::certificate::{Certificate, Grade, Trust};
use keyfall::log::{TILE_WIDTH, bundle, bundle_path, tile_path};
use keyfall::{Engine, Error, ErrorKind, Result};
use serde::Serialize;
use utoipa::ToSchema;

use super::octets::Octets;
use crate::app::App;
use crate::problem::{Answer, Problem};
use crate::take::Bytes;

/// A full tile never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The key of the log
///
/// It is all that is needed to check certificates. Take it once, by a way that you trust.
#[utoipa::path(
    get, path = "/log/key", tag = "log", security(()),
    responses((status = 200, description = "The key, one line", body = String, content_type = "text/plain"))
)]
pub(crate) async fn key(State(app): State<App>) -> Answer<Response> {
    let key = app.engine().run(|engine| engine.log().key()).await?;
    Ok(text(format!("{key}\n")))
}

/// The checkpoint of the log as it is now
///
/// A signed note (C2SP tlog-checkpoint): the size of the log and its root hash.
#[utoipa::path(
    get, path = "/log/checkpoint", tag = "log", security(()),
    responses((status = 200, description = "A signed note", body = String, content_type = "text/plain"))
)]
pub(crate) async fn checkpoint(State(app): State<App>) -> Answer<Response> {
    let (note, size) = app
        .engine()
        .run(|engine| {
            // Before the note: that covers as many leaves at least.
            let size = engine.log().size()?;
            Ok((engine.log().checkpoint()?, size))
        })
        .await?;
    app.published(size);
    Ok(text(note.to_string()))
}

/// A tile of hashes, or a bundle of leaves
///
/// The log as C2SP tlog-tiles has it. A path may have slashes in it.
#[utoipa::path(
    get, path = "/log/tile/{level}/{path}", tag = "log", security(()),
    params(
        ("level" = String, Path, description = "The level of the tile, or `entries`"),
        ("path" = String, Path, description = "Its number, as C2SP tlog-tiles writes it: `000`, `000.p/17`"),
    ),
    responses((status = 200, description = "The tile", body = Octets, content_type = "application/octet-stream"))
)]
pub(crate) async fn tile(
    State(app): State<App>,
    Path((level, path)): Path<(String, String)>,
) -> Answer<Response> {
    let tile = Tile::read(&level, &path).ok_or_else(no_such_tile)?;
    let bytes = app.engine().run(move |engine| tile.bytes(engine)).await;
    let bytes = bytes.map_err(|e| match e.kind() {
        ErrorKind::Invalid | ErrorKind::Absent => no_such_tile(),
        _ => e.into(),
    })?;
    let headers = [(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, FOR_EVER)];
    Ok((headers, bytes).into_response())
}

/// A file of the log.
#[derive(Clone, Copy)]
struct Tile {
    /// Of hashes; `None` is a bundle of leaves.
    level: Option<u8>,
    n: u64,
    width: u64,
}

impl Tile {
    /// Reads the path of a tile; only as this program writes it.
    fn read(level: &str, path: &str) -> Option<Tile> {
        let (digits, width) = match path.split_once(".p/") {
            Some((digits, width)) => (digits, width.parse().ok()?),
            None => (path, TILE_WIDTH),
        };
        let mut n: u64 = 0;
        for group in digits.split('/') {
            let group: u64 = group.trim_start_matches('x').parse().ok()?;
            n = n.checked_mul(1000)?.checked_add(group)?;
        }
        let level = match level {
            "entries" => None,
            level => Some(level.parse().ok().filter(|level| *level < 8)?),
        };
        let tile = Tile { level, n, width };
        let written = match tile.level {
            Some(level) => tile_path(level, n, width),
            None => bundle_path(n, width),
        };
        let asked = match tile.level {
            Some(level) => format!("tile/{level}/{path}"),
            None => format!("tile/entries/{path}"),
        };
        ((1..=TILE_WIDTH).contains(&width) && written == asked).then_some(tile)
    }

    fn bytes(self, engine: &Engine) -> Result<Vec<u8>> {
        let first = self.n.checked_mul(TILE_WIDTH).ok_or_else(too_far)?;
        let end = first.checked_add(self.width).ok_or_else(too_far)?;
        let log = engine.log();
        let Some(level) = self.level else {
            let mut leaves: Vec<Vec<u8>> = Vec::new();
            log.leaves(first, &mut |at, leaf| {
                if at >= end {
                    return Ok(ControlFlow::Break(()));
                }
                leaves.push(leaf.to_vec());
                Ok(ControlFlow::Continue(()))
            })?;
            if (leaves.len() as u64) < self.width {
                return Err(too_far());
            }
            return bundle(leaves.iter().map(Vec::as_slice));
        };
        let mut bytes = Vec::new();
        for n in first..end {
            bytes.extend_from_slice(&log.subtree(8 * level, n)?.0);
        }
        Ok(bytes)
    }
}

fn too_far() -> Error {
    Error::new(ErrorKind::Absent, "the log has no such tile")
}

fn no_such_tile() -> Problem {
    let detail = "the log has no such tile; its size is in the checkpoint";
    Problem::new(StatusCode::NOT_FOUND, "absent", detail)
}

/// What an erase came to.
#[derive(Serialize, ToSchema)]
#[schema(as = Grade)]
#[serde(rename_all = "lowercase")]
enum GradeJson {
    /// What it names cannot be read any more, here or in any backup.
    Final,
    /// The same, but for what the certificate's words name.
    Limited,
    /// The old root key was not known to be destroyed when it was issued.
    Pending,
}

/// What a certificate shows.
#[derive(Serialize, ToSchema)]
pub(crate) struct Checked {
    /// Whether it holds.
    holds: bool,
    /// What the erase came to, if it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    grade: Option<GradeJson>,
    /// What it shows and what it does not, line by line; or why it does not hold.
    words: Vec<String>,
}

/// Checks a certificate against this store's log
///
/// A regulator does not ask the operator: `keyfall-verify` checks the same without this service.
#[utoipa::path(
    post, path = "/v1/certificates:verify", tag = "log", security(()),
    request_body(content = String, content_type = "text/plain", description = "The certificate, as it was given out"),
    responses((status = 200, description = "Whether it holds", body = Checked))
)]
pub(crate) async fn verify(State(app): State<App>, Bytes(body): Bytes) -> Answer<Json<Checked>> {
    let text = std::str::from_utf8(&body).map_err(|_| {
        Problem::invalid(
            "that is no certificate: it is not UTF-8; send the file as it was given out",
        )
    })?;
    let log = app.engine().run(|engine| engine.log().key()).await?;
    let verified =
        text.parse::<Certificate>().and_then(|certificate| certificate.verify(&Trust::in_log(log)));
    Ok(Json(match verified {
        Ok(verified) => Checked {
            holds: true,
            grade: Some(match verified.judged.grade {
                Grade::Final => GradeJson::Final,
                Grade::Limited => GradeJson::Limited,
                Grade::Pending => GradeJson::Pending,
            }),
            words: verified.words(),
        },
        Err(e) => Checked { holds: false, grade: None, words: vec![e.to_string()] },
    }))
}

fn text(text: String) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (headers, text).into_response()
}
