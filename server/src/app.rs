//! What every handler shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keyfall::{AsyncEngine, UserHandle, UserId};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::answers::Answers;
use crate::auth::book::Book;
use crate::auth::jwt::Jwt;
use crate::begun::Begun;
use crate::config::Config;
use crate::openings::Openings;
use crate::page::desk::Desk;
use crate::places::{Places, Share};
use crate::problem::{Answer, Problem};
use crate::receipts::Receipts;
use crate::watch::Watch;

/// Long bodies that come in at once: each keeps a thread of the engine while it comes.
pub(crate) const BODIES: usize = 256;
/// Places for them: of one principal 32, and the first one of each is there while fewer than 64
/// have any.
const LONG_BODIES: Share = Share { all: BODIES, each: 32, firsts: 64 };
/// Places for bodies that are written as they are sent, each by a thread of its own.
const EXPORTS: Share = Share { all: 64, each: 4, firsts: 32 };
/// Uploads that begin: of each user one at a time.
const BEGINS: Share = Share { all: BODIES, each: 1, firsts: BODIES };

/// The service: its engine, its configuration, its credentials. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    shared: Arc<Shared>,
}

struct Shared {
    engine: AsyncEngine,
    config: Config,
    book: Book,
    jwt: Option<Jwt>,
    answers: Arc<Answers>,
    receipts: Arc<Receipts>,
    metrics: PrometheusHandle,
    watch: Arc<Watch>,
    stopping: AtomicBool,
    /// Whether another service has taken the store over.
    replaced: Arc<AtomicBool>,
    desk: Desk,
    openings: Openings,
    bodies: Arc<Places>,
    exports: Arc<Places>,
    begins: Arc<Places>,
    begun: Begun,
    /// Leaves of the log that a checkpoint covered which somebody was given.
    published: AtomicU64,
}

/// What a service is made of.
pub(crate) struct Parts {
    pub(crate) engine: AsyncEngine,
    pub(crate) config: Config,
    pub(crate) book: Book,
    pub(crate) jwt: Option<Jwt>,
    pub(crate) answers: Answers,
    pub(crate) receipts: Arc<Receipts>,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) watch: Arc<Watch>,
}

impl App {
    /// The service, of its parts.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { engine, config, book, jwt, answers, receipts, metrics, watch } = parts;
        let (answers, stopping) = (Arc::new(answers), AtomicBool::new(false));
        App {
            shared: Arc::new(Shared {
                engine,
                config,
                book,
                jwt,
                answers,
                receipts,
                metrics,
                watch,
                stopping,
                replaced: Arc::default(),
                desk: Desk::default(),
                openings: Openings::default(),
                bodies: Places::new(LONG_BODIES),
                exports: Places::new(EXPORTS),
                begins: Places::new(BEGINS),
                begun: Begun::default(),
                published: AtomicU64::new(0),
            }),
        }
    }

    /// The links and sessions of the page.
    pub(crate) fn desk(&self) -> &Desk {
        &self.shared.desk
    }

    /// The openings that are not over.
    pub(crate) fn openings(&self) -> &Openings {
        &self.shared.openings
    }

    /// Places for long bodies on their way in, by their principals.
    pub(crate) fn bodies(&self) -> &Arc<Places> {
        &self.shared.bodies
    }

    /// Places for bodies that threads write.
    pub(crate) fn exports(&self) -> &Arc<Places> {
        &self.shared.exports
    }

    /// Turns of uploads that begin, by their users: one at a time, for the limit of each.
    pub(crate) fn begins(&self) -> &Arc<Places> {
        &self.shared.begins
    }

    /// Whose the uploads are that have begun.
    pub(crate) fn begun(&self) -> &Begun {
        &self.shared.begun
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &AsyncEngine {
        &self.shared.engine
    }

    /// What the service was told.
    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The credentials.
    pub(crate) fn book(&self) -> &Book {
        &self.shared.book
    }

    /// What takes the tokens of an issuer, if there is one.
    pub(crate) fn jwt(&self) -> Option<&Jwt> {
        self.shared.jwt.as_ref()
    }

    /// The answers that repeated requests get again.
    pub(crate) fn answers(&self) -> &Arc<Answers> {
        &self.shared.answers
    }

    /// The certificates of planned erases.
    pub(crate) fn receipts(&self) -> &Arc<Receipts> {
        &self.shared.receipts
    }

    /// What was counted.
    pub(crate) fn metrics(&self) -> &PrometheusHandle {
        &self.shared.metrics
    }

    /// What the engine told of its state.
    pub(crate) fn watch(&self) -> &Watch {
        &self.shared.watch
    }

    /// The same, for a thread that outlasts a call.
    pub(crate) fn share_watch(&self) -> Arc<Watch> {
        Arc::clone(&self.shared.watch)
    }

    /// Notes that somebody was given a checkpoint of so many leaves.
    pub(crate) fn published(&self, leaves: u64) {
        self.shared.published.fetch_max(leaves, Ordering::Relaxed);
    }

    /// How many leaves of the log the newest checkpoint covers that somebody was given since the
    /// service was started.
    pub(crate) fn published_leaves(&self) -> u64 {
        self.shared.published.load(Ordering::Relaxed)
    }

    /// Says that the service stops: it is not ready from now on.
    pub(crate) fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the service stops.
    pub(crate) fn stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Relaxed)
    }

    /// Whether another service has taken the store over.
    pub(crate) fn replaced(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.replaced)
    }

    /// The user of a handle, as it stands in a path.
    ///
    /// # Errors
    /// 404 for what is no handle of this store, 410 for the handle of a user who was erased.
    pub(crate) async fn user(&self, handle: &str) -> Answer<User> {
        let handle: UserHandle = handle.parse().map_err(|_| no_such_handle())?;
        let id = self.engine().run(move |engine| engine.user_of(&handle)).await?;
        Ok(User { id, handle })
    }
}

/// A user, by name and by handle.
#[derive(Clone)]
pub(crate) struct User {
    /// The name, which no answer, log line or address has.
    pub(crate) id: UserId,
    pub(crate) handle: UserHandle,
}

/// The problem of a path that has no handle in it.
pub(crate) fn no_such_handle() -> Problem {
    Problem::new(
        axum::http::StatusCode::NOT_FOUND,
        "absent",
        "there is no such user here: take the handle that `POST /v1/users` gives",
    )
}
