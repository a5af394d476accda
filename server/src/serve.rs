//! The listener, and how the service stops.

use std::error::Error;
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use axum_server::Handle;
use keyfall::{AsyncEngine, Builder};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::signal::unix::{SignalKind, signal};

use crate::answers::Answers;
use crate::app::{App, Parts};
use crate::auth::book::Book;
use crate::config::Config;
use crate::router::router;

/// For so long the service waits for requests that it has begun.
const DRAIN: Duration = Duration::from_secs(30);
/// For so long it waits for another process to let go of the store.
const PATIENCE: Duration = Duration::from_secs(10);

/// Buckets of durations, in seconds: 250 microseconds to ten seconds.
const BUCKETS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];

/// Serves until it is told to stop.
///
/// # Errors
/// What kept it from starting, or from ending well.
pub(crate) fn run(config: Config) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let book = Book::open(&config.state_dir(), &config.admin_token_file)?;
    let builder = builder(&config);
    let engine = AsyncEngine::open_with(move || builder.open_or_create()).await?;
    let listener = TcpListener::bind(config.listen)?;
    let address = listener.local_addr()?;
    let handle = Handle::new();
    let answers = Answers::open(&config.state_dir())?;
    let metrics = PrometheusBuilder::new().set_buckets(BUCKETS)?.install_recorder()?;
    metrics::gauge!("keyfall_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let app = App::new(Parts { engine: engine.clone(), config, book, answers, metrics });
    let upkeep = tokio::spawn(upkeep(app.clone()));
    tokio::spawn(stop_when_told(app.clone(), handle.clone())?);
    let server = axum_server::from_tcp(listener)?.handle(handle);
    announce(&format!("listening on http://{address}"));
    server.serve(router(app).into_make_service()).await?;
    tracing::info!("drained; closing the engine");
    upkeep.abort();
    let _ = upkeep.await;
    engine.close().await?;
    Ok(())
}

fn builder(config: &Config) -> Builder {
    let builder = Builder::at(&config.store).wait_for_lock(PATIENCE);
    let builder = if config.accept_remnants { builder.accept_remnants() } else { builder };
    match &config.cell {
        Some(cell) => builder.cell_at(cell),
        None => builder,
    }
}

/// Says where the service listens, on standard output and to systemd.
fn announce(line: &str) {
    // Nobody may read it.
    let _ = writeln!(std::io::stdout(), "{line}");
    let _ = std::io::stdout().flush();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!("{line}");
}

/// Lets histograms go of what is old, and removes answers that nobody asks for again.
async fn upkeep(app: App) {
    for minute in 0u64.. {
        tokio::time::sleep(Duration::from_secs(60)).await;
        app.metrics().run_upkeep();
        if minute % 60 == 0 && app.answers().tidy().is_err() {
            tracing::warn!("answers that are too old could not be removed");
        }
    }
}

/// Waits for SIGTERM or SIGINT; then nothing more is accepted, and what was begun is finished.
fn stop_when_told(
    app: App,
    handle: Handle<std::net::SocketAddr>,
) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        app.stop();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        drop(app);
        handle.graceful_shutdown(Some(DRAIN));
    })
}
