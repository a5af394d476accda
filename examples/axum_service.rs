//! A web service over the engine: files by name, and an erase that is done when it answers.
//!
//! `cargo run -p keyfalld --example axum_service` asks itself; with an address it serves:
//! `curl -T wake.wav localhost:7401/ada/wake.wav`, `curl -X DELETE localhost:7401/ada`.

use axum::extract::{Path, State};
use axum::{Router, body::Body, http::Request, http::StatusCode, routing::delete, routing::put};
use futures_util::TryStreamExt;
use keyfall::{AsyncEngine, Builder, Class, Error, ErrorKind, Put, Scope, UserId};
use tokio_util::io::{ReaderStream, StreamReader};

type File = Path<(String, String)>;
type Answer<T> = Result<T, (StatusCode, String)>;

fn failed(error: Error) -> (StatusCode, String) {
    match error.kind() {
        ErrorKind::Absent => (StatusCode::NOT_FOUND, error.to_string()),
        ErrorKind::Erased => (StatusCode::GONE, error.to_string()),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// A retry is the same put. A client that goes away in the middle leaves nothing.
async fn keep(engine: State<AsyncEngine>, at: File, body: Body) -> Answer<StatusCode> {
    let Path((user, name)) = at;
    let put = Put::new(UserId::new(user).map_err(failed)?, Class::audio()).name(name);
    let body = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
    engine.put(put, body).await.map(|_| StatusCode::CREATED).map_err(failed)
}

async fn hear(engine: State<AsyncEngine>, Path((user, name)): File) -> Answer<Body> {
    let found = engine.find(&UserId::new(user).map_err(failed)?, name).await.map_err(failed)?;
    Ok(Body::from_stream(ReaderStream::new(engine.get(&found.id).await.map_err(failed)?)))
}

async fn forget(engine: State<AsyncEngine>, user: Path<String>) -> Answer<StatusCode> {
    let all = Scope::user(UserId::new(user.0).map_err(failed)?);
    engine.erase(all).await.map(|_| StatusCode::NO_CONTENT).map_err(failed)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?; // a service has a place that stays, and accepts no remnants
    let store = Builder::at(dir.path().join("store")).accept_remnants();
    let engine = AsyncEngine::open_with(move || store.open_or_create()).await?;
    let files = Router::new().route("/{user}/{*name}", put(keep).get(hear));
    let app = files.route("/{user}", delete(forget)).with_state(engine);
    if let Some(address) = std::env::args().nth(1) {
        return Ok(axum::serve(tokio::net::TcpListener::bind(address).await?, app).await?);
    }
    let at = "/ada/w.wav";
    let asked = [("PUT", at, 201), ("GET", at, 200), ("DELETE", "/ada", 204), ("GET", at, 410)];
    for (method, uri, status) in asked {
        let request = Request::builder().method(method).uri(uri).body(Body::from("RIFF"))?;
        let answer = tower::ServiceExt::oneshot(app.clone(), request).await?;
        println!("{method} {uri}: {}", answer.status());
        assert_eq!(answer.status().as_u16(), status);
    }
    Ok(())
}
