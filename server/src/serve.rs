//! The listener, and how the service stops.

use std::error::Error;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::ServiceExt;
use axum::extract::Request;
use axum_server::Handle;
use keyfall::observer::{Event, Metrics, Observer};
use keyfall::{AsyncEngine, Builder, Engine, ErrorKind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::answers::Answers;
use crate::app::{App, BODIES, Parts};
use crate::auth::book::Book;
use crate::auth::jwt::Jwt;
use crate::config::Config;
use crate::door::Door;
use crate::looks;
use crate::metering;
use crate::page::planned::keep_all;
use crate::places::Places;
use crate::problem;
use crate::receipts::Receipts;
use crate::remedy::{as_typed, typed};
use crate::renewed::Renew;
use crate::router::router;
use crate::socket::{Lines, Plain};
use crate::standby;
use crate::standing;
use crate::tls::{Secure, Tls};
use crate::watch::Watch;
use crate::words::now;

/// For so long the engine may take to say at the start which time is known.
const KNOWS: Duration = Duration::from_secs(2);
/// How long the end waits for calls whose clients went away.
const ENDS: Duration = Duration::from_secs(10);
/// For so long the service waits for requests that it has begun.
const DRAIN: Duration = Duration::from_secs(30);
/// For so long it waits for another process to let go of the store.
const PATIENCE: Duration = Duration::from_secs(10);

/// More threads that block than the engine, exports and readers have at once.
const THREADS: usize = 1024;
/// Most bytes of a request's head, and of an answer that is given to a connection and not sent.
const HEAD: usize = 32 << 10;
/// Requests of a connection of HTTP/2 at one time: each may hold an answer of which nothing is taken.
const STREAMS: u32 = 32;
/// So often a connection of HTTP/2 is asked whether its client is there, and waited for so long.
const ASKED: Duration = Duration::from_secs(30);

/// So often systemd is told that the service lives.
const ALIVE: Duration = Duration::from_secs(10);
/// So often files are looked at that may change.
const LOOK: Duration = Duration::from_secs(2);

/// Serves until it is told to stop.
///
/// # Errors
/// What kept it from starting, or from ending well.
pub(crate) fn run(config: Config) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build()?;
    let served = runtime.block_on(serve(config));
    // A store that does not answer holds up no end.
    runtime.shutdown_timeout(ENDS);
    served
}

async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let (tls, jwt) = (Tls::open(&config)?, Jwt::open(&config)?);
    if let Some(url) = &config.public_url {
        problem::lie_at(url);
    }
    let mut files: Vec<Arc<dyn Renew>> = Vec::new();
    files.extend(tls.iter().map(|tls| tls.files() as Arc<dyn Renew>));
    files.extend(jwt.iter().map(|jwt| jwt.files() as Arc<dyn Renew>));
    let state = config.state_dir();
    // What can be refused is refused before anything is made: a refused start leaves nothing.
    Book::check(&state, &config.admin_token_file)?;
    let (metrics, watch) = (metering::start()?, Arc::new(Watch::default()));
    let (listener, address) = listen(config.listen)?;
    let (receipts, tells) = Receipts::at(&state);
    let receipts = Arc::new(receipts);
    let builder = builder(&config, &receipts).observer(observer(&watch));
    let mut ear = Ear::new(listener, address, tls, Lines::new(config.idle()));
    tokio::spawn(alive());
    let Some(engine) = opened(&config, builder, &mut ear).await? else { return Ok(()) };
    let engine = engine.streams_at_once(BODIES);
    // One that stood by reads what the service before it has left there.
    let book = Book::open(&state, &config.admin_token_file)?;
    // A clock that was set back shows less than is known.
    let status = engine.run(|engine| engine.status());
    if let Ok(Ok(status)) = tokio::time::timeout(KNOWS, status).await {
        book.knows(status.time_known);
    }
    receipts.make()?;
    let answers = Answers::open(&state)?;
    let app = App::new(Parts {
        engine: engine.clone(),
        config,
        book,
        jwt,
        answers,
        receipts,
        metrics,
        watch,
    });
    let upkeep = tokio::spawn(upkeep(app.clone()));
    let keeping = tokio::spawn(keep_all(app.clone(), tells));
    tokio::spawn(stop_when_told(app.clone(), ear.handle.clone())?);
    let mut tasks = vec![
        upkeep,
        keeping,
        tokio::spawn(looks::at_copies(app.clone())),
        tokio::spawn(looks::at_keyholders(app.clone())),
        tokio::spawn(looks::at_the_erased(app.clone())),
    ];
    if keyfall::opening::url_of(&app.config().store).is_some() {
        tasks.push(tokio::spawn(standby::end_if_replaced(app.clone(), ear.handle.clone())));
    }
    let renewing = tokio::spawn(renew(files, signal(SignalKind::hangup())?));
    let (replaced, exports) = (app.replaced(), Arc::clone(app.exports()));
    ear.door.open(router(app));
    ear.begin()?;
    announce(&format!("listening on {}", ear.url()));
    ear.ended().await?;
    tracing::info!("drained; closing the engine");
    renewing.abort();
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
    if replaced.load(Ordering::Relaxed) {
        return Err(standby::replaced().into());
    }
    closed(engine, &exports).await
}

/// Opens the store, at once or once its writer is gone; `None` if it was told to stop before.
async fn opened(
    config: &Config,
    builder: Builder,
    ear: &mut Ear,
) -> Result<Option<AsyncEngine>, Box<dyn Error>> {
    if config.standby {
        say_if_token_is_missing(config);
    } else {
        tracing::info!("opening the store");
        let opened = AsyncEngine::open_with(move || open(builder)).await;
        let engine = opened.map_err(typed)?;
        // What only looks would keep the owner from its cell, and serve what that one erases.
        if let Some(why) = engine.engine().read_only() {
            return Err(typed(keyfall::Error::new(ErrorKind::Fenced, why)).into());
        }
        return Ok(Some(engine));
    }
    ear.begin()?;
    announce(&format!("standing by on {}", ear.url()));
    standby::wait(builder, config.gone_after(), &ear.door).await
}

/// A token of its own lets nobody in who has the one of the service before it.
fn say_if_token_is_missing(config: &Config) {
    let file = &config.admin_token_file;
    if !file.exists() {
        let line = format!(
            "{} is not there: a new token is made at the take-over, and the first service's opens \
             nothing here; copy that service's file here now",
            file.display()
        );
        let _ = writeln!(std::io::stderr(), "keyfalld: {line}");
    }
}

async fn closed(engine: AsyncEngine, exports: &Places) -> Result<(), Box<dyn Error>> {
    // What clients left when they went away ends soon.
    let ended = async { tokio::join!(engine.idle(), exports.idle()) };
    let _ = tokio::time::timeout(ENDS, ended).await;
    match engine.close().await {
        // What was acknowledged is durable: nothing is lost by an end without it.
        Err(e) if e.kind() == ErrorKind::Locked => tracing::warn!("ended without closing: {e}"),
        closed => drop(closed?),
    }
    Ok(())
}

/// The listener, and what its requests come to.
struct Ear {
    listener: Option<TcpListener>,
    address: SocketAddr,
    tls: Option<Tls>,
    lines: Lines,
    door: Door,
    handle: Handle<SocketAddr>,
    serving: Option<JoinHandle<io::Result<()>>>,
}

impl Ear {
    fn new(listener: TcpListener, address: SocketAddr, tls: Option<Tls>, lines: Lines) -> Self {
        let (door, handle) = (Door::shut(), Handle::new());
        Ear { listener: Some(listener), address, tls, lines, door, handle, serving: None }
    }

    fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Takes connections from now on.
    fn begin(&mut self) -> io::Result<()> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let server = server(listener)?.handle(self.handle.clone());
        let lines = self.lines.clone();
        let door = self.door.clone();
        let service =
            ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(door);
        self.serving = Some(match self.tls.clone() {
            Some(tls) => tokio::spawn(server.acceptor(Secure { tls, lines }).serve(service)),
            None => tokio::spawn(server.acceptor(Plain(lines)).serve(service)),
        });
        Ok(())
    }

    /// Waits until nothing is taken any more, and what was begun is finished.
    async fn ended(self) -> io::Result<()> {
        match self.serving {
            Some(serving) => serving.await.map_err(io::Error::other)?,
            None => Ok(()),
        }
    }
}

/// Speaks HTTP, and holds little of what it sends.
fn server(listener: TcpListener) -> io::Result<axum_server::Server<SocketAddr>> {
    let mut server = axum_server::from_tcp(listener)?;
    let http = server.http_builder();
    http.http1().max_buf_size(HEAD);
    let mut http2 = http.http2();
    http2.max_send_buf_size(HEAD).keep_alive_interval(ASKED).keep_alive_timeout(ASKED);
    http2.max_concurrent_streams(STREAMS);
    Ok(server)
}

fn builder(config: &Config, receipts: &Arc<Receipts>) -> Builder {
    let receipts = Arc::clone(receipts);
    let builder = Builder::at(&config.store);
    let builder = builder.drafts(move |draft| receipts.keep(draft));
    let builder = if config.accept_remnants { builder.accept_remnants() } else { builder };
    let builder = if config.single_machine { builder.single_machine() } else { builder };
    let builder = config.beat().map_or(builder.clone(), |every| builder.beat(every));
    let builder = match &config.object_cache {
        Some(dir) => builder.object_cache(dir, config.object_cache_bytes),
        None => builder,
    };
    match &config.cell {
        Some(cell) => builder.cell_at(cell),
        None => builder,
    }
}

/// Opens the store. Where another process has it, it is said at once, and waited for.
fn open(builder: Builder) -> keyfall::Result<Engine> {
    // Patience of its own, however short, has the error speak of no other.
    let builder = builder.wait_for_lock(Duration::from_millis(1));
    match builder.open_or_create() {
        Err(e) if e.kind() == ErrorKind::Locked => {
            let why = as_typed(&e.to_string());
            let line = format!("waiting {} s for the store: {why}", PATIENCE.as_secs());
            // Also where the log says nothing of this level.
            let _ = writeln!(std::io::stderr(), "keyfalld: {line}");
            builder.wait_for_lock(PATIENCE).open_or_create().map_err(|e| {
                let remedy = "one service has a store: end the other, or name another with --store";
                e.context(format!("not free after {} s; {remedy}", PATIENCE.as_secs()))
            })
        }
        opened => opened,
    }
}

/// What the engine tells its work to: the metrics, and what readiness looks at.
fn observer(watch: &Arc<Watch>) -> Arc<dyn Observer> {
    let (metrics, watch) = (Metrics::new(), Arc::clone(watch));
    Arc::new(move |event: &Event| {
        // Of copies the status says more, each time the metrics are asked for (`standing`).
        if !matches!(event, Event::CopyMissed { .. } | Event::CopyInStep { .. }) {
            metrics.event(event);
        }
        watch.note(event);
    })
}

/// Says where the service listens, on standard output and to systemd.
fn announce(line: &str) {
    // Nobody may read it.
    let _ = writeln!(std::io::stdout(), "{line}");
    let _ = std::io::stdout().flush();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!("{line}");
}

/// Tells systemd again and again that the service lives, for `WatchdogSec`.
async fn alive() {
    loop {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        tokio::time::sleep(ALIVE).await;
    }
}

/// Measures the disk, lets histograms go of what is old, and removes answers
/// that nobody asks for again.
async fn upkeep(app: App) {
    let state = app.config().state_dir();
    let measured = tokio::task::spawn_blocking(move || standing::measure_floor(&state)).await;
    if !matches!(measured, Ok(Ok(()))) {
        tracing::warn!("the floor of an erase could not be measured in the state directory");
    }
    for minute in 0u64.. {
        end(&app).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        app.metrics().run_upkeep();
        if minute % 60 == 0 {
            tidy(&app).await;
        }
    }
}

fn listen(at: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(at).map_err(|e| {
        let remedy = "name another address with --listen, or end what listens there";
        io::Error::new(e.kind(), format!("cannot listen at {at}: {e}; {remedy}"))
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Notes which credentials have ended, unless the clock is doubted.
async fn end(app: &App) {
    let Ok(status) = app.engine().run(|engine| engine.status()).await else { return };
    app.book().knows(status.time_known);
    if status.clock.is_some() {
        return;
    }
    match app.book().note_ends(now()) {
        Ok(0) => {}
        Ok(ended) => tracing::warn!(
            ended,
            "credentials have passed their end and open nothing any more, also if the clock is set \
             back; GET /v1/credentials shows them, POST /v1/credentials/ID/renewal takes it back"
        ),
        Err(_) => tracing::warn!("that a credential ended could not be noted; it is tried again"),
    }
}

/// Removes answers and receipts that are too old. What a clock that is doubted calls old may be of
/// today.
async fn tidy(app: &App) {
    match app.engine().run(|engine| engine.status()).await {
        Ok(status) if status.clock.is_none() => {}
        _ => return,
    }
    if app.answers().tidy().is_err() || app.receipts().tidy().is_err() {
        tracing::warn!("answers or receipts that are too old could not be removed");
    }
}

/// Reads files again when they change, and on SIGHUP.
async fn renew(files: Vec<Arc<dyn Renew>>, mut hangup: Signal) {
    let mut said = vec![String::new(); files.len()];
    loop {
        let told = tokio::select! {
            told = hangup.recv() => told.is_some(),
            () = tokio::time::sleep(LOOK) => false,
        };
        for (file, said) in files.iter().zip(&mut said) {
            let file = Arc::clone(file);
            match tokio::task::spawn_blocking(move || file.renew(told)).await {
                Ok(Ok(true)) => {
                    said.clear();
                    tracing::info!("files were read again, and are in use");
                }
                Ok(Err(e)) if told || *said != e.to_string() => {
                    *said = e.to_string();
                    tracing::error!("{said}; what was in use stays in use");
                }
                _ => {}
            }
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
