//! A service in the process of a test, with a clock that is put forward.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use keyfall::env::{Env, System};
use keyfall::time::Zone;
use keyfall::{AsyncEngine, Builder, Class, Engine, Error, Put, Query, Timestamp, UserId};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tower::ServiceExt;

use super::desk::{Grant, Role};
use super::words::Words;
use crate::answers::Answers;
use crate::app::{App, Parts};
use crate::auth::book::Book;
use crate::receipts::Receipts;
use crate::router::router;
use crate::watch::Watch;

pub(super) const DAY: u64 = 24 * 60 * 60 * 1000;

/// The system's clocks, put forward.
#[derive(Default)]
pub(super) struct Ahead(pub(super) AtomicU64);

impl Env for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp(System.now().0 + self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        System.monotonic() + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn fill(&self, out: &mut [u8]) -> Result<(), Error> {
        System.fill(out)
    }
}

/// A service in this process, and what it is told of.
pub(super) async fn service(dir: &Path, clock: &Arc<Ahead>) -> (App, UnboundedReceiver<UserId>) {
    let config = json!({"store": dir.join("a.db"), "admin_token_file": dir.join("token")});
    let config: crate::config::Config = serde_json::from_value(config).unwrap();
    let state = config.state_dir();
    let book = Book::open(&state, &config.admin_token_file).unwrap();
    let (receipts, tells) = Receipts::open(&state).unwrap();
    let receipts = Arc::new(receipts);
    let (taking, env, store) = (Arc::clone(&receipts), Arc::clone(clock), config.store.clone());
    let builder = Builder::at(store).accept_remnants().wait_for_lock(Duration::from_secs(20));
    let builder = builder.env(env).drafts(move |draft| taking.keep(draft));
    let app = App::new(Parts {
        engine: AsyncEngine::open_with(move || builder.open_or_create()).await.unwrap(),
        answers: Answers::open(&state).unwrap(),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        watch: Arc::new(Watch::default()),
        jwt: None,
        config,
        book,
        receipts,
    });
    (app, tells)
}

/// Somebody's session.
pub(super) struct Session {
    pub(super) cookie: String,
    pub(super) csrf: String,
}

impl Session {
    /// Enters by a fresh link.
    pub(super) async fn enter(app: &App, user: &UserId) -> Session {
        Session::enter_as(app, user, Role::Own).await
    }

    /// The same, as somebody else.
    pub(super) async fn enter_as(app: &App, user: &UserId, role: Role) -> Session {
        Session::enter_in(app, user, role, "en").await.0
    }

    /// The same, in a language; gives the page that asks whether to go in, too.
    pub(super) async fn enter_in(
        app: &App,
        user: &UserId,
        role: Role,
        language: &str,
    ) -> (Session, String) {
        let of = user.clone();
        let handle = app.engine().run(move |engine| engine.handle(&of)).await.unwrap();
        let (zone, zone_name) = (Zone::utc(), "UTC".to_owned());
        let words = Some(Words::of(language));
        let (credential, user) = (String::new(), user.clone());
        let grant = Grant { credential, user, handle, role, zone, zone_name, words };
        let at = format!("/page/enter/{}", app.desk().link(grant).unwrap());
        let asked = get(app, &at, "").await;
        let cookie = pair(&asked);
        let form = text(asked).await;
        let entry = between(&form, "name=\"entry\" value=\"", "\"").unwrap();
        let entered = post(app, &at, &format!("entry={entry}"), &cookie).await;
        let cookie = pair(&entered);
        let page = text(get(app, "/page/keep", &cookie).await).await;
        let csrf = between(&page, "name=\"csrf\" value=\"", "\"").unwrap().to_owned();
        (Session { cookie, csrf }, form)
    }

    /// Sends a form.
    pub(super) async fn post(&self, app: &App, path: &str, what: &str) -> Response<Body> {
        post(app, path, &format!("csrf={}&{what}", self.csrf), &self.cookie).await
    }

    pub(super) async fn get(&self, app: &App, path: &str) -> String {
        text(get(app, path, &self.cookie).await).await
    }

    /// Plans an erase, and gives the page that says so.
    pub(super) async fn later(&self, app: &App, what: &str) -> String {
        let planned = self.post(app, "/page/erase/later", what).await;
        assert_eq!(planned.status(), StatusCode::SEE_OTHER);
        let to = planned.headers()["location"].to_str().unwrap().to_owned();
        self.get(app, &to).await
    }

    /// The proofs that are kept, each as a text.
    pub(super) async fn proofs(&self, app: &App) -> Vec<String> {
        let page = self.get(app, "/page/proofs").await;
        let mut proofs = Vec::new();
        for rest in page.split("href=\"/page/proofs/").skip(1) {
            let name = rest.split_once('"').unwrap().0;
            proofs.push(self.get(app, &format!("/page/proofs/{name}")).await);
        }
        proofs
    }
}

/// The first cookie that an answer sets.
fn pair(answer: &Response<Body>) -> String {
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

pub(super) async fn get(app: &App, path: &str, cookie: &str) -> Response<Body> {
    let request = Request::get(path).header("host", "localhost").header("cookie", cookie);
    router(app.clone()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

pub(super) async fn post(app: &App, path: &str, form: &str, cookie: &str) -> Response<Body> {
    let request = Request::post(path).header("host", "localhost").header("cookie", cookie);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    router(app.clone()).oneshot(request.body(Body::from(form.to_owned())).unwrap()).await.unwrap()
}

pub(super) async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 4 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(super) fn between<'t>(text: &'t str, from: &str, to: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(from)?;
    Some(rest.split_once(to)?.0)
}

/// Somebody of whom two things are kept.
pub(super) async fn somebody(app: &App, name: &str) -> UserId {
    let user = UserId::new(name).unwrap();
    let of = user.clone();
    let put = move |engine: &Engine| {
        for class in [Class::audio(), Class::transcript()] {
            engine.put(Put::new(of.clone(), class), &b"set a timer"[..])?;
        }
        Ok(())
    };
    app.engine().run(put).await.unwrap();
    user
}

/// Time passes, and what is due is done.
pub(super) async fn passes(app: &App, clock: &Ahead, ms: u64) {
    clock.0.fetch_add(ms, Ordering::SeqCst);
    app.engine().run(|engine| engine.run_due(&mut |_| {})).await.unwrap();
}

/// How many records of a class somebody has.
pub(super) async fn count(app: &App, user: &UserId, class: &str) -> usize {
    let query = Query::default().user(user.clone()).class(Class::new(class).unwrap());
    app.engine().run(move |engine| engine.list(&query)).await.unwrap().records.len()
}
