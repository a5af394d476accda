//! Erases that the page plans, with a clock that is put forward.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use keyfall::certificate::{Certificate, Trust};
use keyfall::env::{Env, System};
use keyfall::time::Zone;
use keyfall::{AsyncEngine, Builder, Class, Engine, Error, Put, Query, Timestamp, UserId};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tower::ServiceExt;

use super::desk::{Grant, Role};
use super::planned::keep_all;
use crate::answers::Answers;
use crate::app::{App, Parts};
use crate::auth::book::Book;
use crate::receipts::Receipts;
use crate::router::router;
use crate::watch::Watch;

const DAY: u64 = 24 * 60 * 60 * 1000;

/// The system's clocks, put forward.
#[derive(Default)]
struct Ahead(AtomicU64);

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
async fn service(dir: &Path, clock: &Arc<Ahead>) -> (App, UnboundedReceiver<UserId>) {
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
struct Session {
    cookie: String,
    csrf: String,
}

impl Session {
    /// Enters by a fresh link.
    async fn enter(app: &App, user: &UserId) -> Session {
        let of = user.clone();
        let handle = app.engine().run(move |engine| engine.handle(&of)).await.unwrap();
        let (zone, zone_name) = (Zone::utc(), "UTC".to_owned());
        let grant =
            Grant { user: user.clone(), handle, role: Role::Own, zone, zone_name, words: None };
        let link = app.desk().link(grant).unwrap();
        let entered = post(app, &format!("/page/enter/{link}"), "", "").await;
        let cookie = entered.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let page = text(get(app, "/page", &cookie).await).await;
        let csrf = between(&page, "name=\"csrf\" value=\"", "\"").unwrap_or_default().to_owned();
        Session { cookie, csrf }
    }

    async fn get(&self, app: &App, path: &str) -> String {
        text(get(app, path, &self.cookie).await).await
    }

    /// Plans an erase, and gives the page that says so.
    async fn later(&self, app: &App, what: &str) -> String {
        let form = format!("csrf={}&{what}", self.csrf);
        let planned = post(app, "/page/erase/later", &form, &self.cookie).await;
        assert_eq!(planned.status(), StatusCode::SEE_OTHER);
        let to = planned.headers()["location"].to_str().unwrap().to_owned();
        self.get(app, &to).await
    }

    /// The proofs that are kept, each as a text.
    async fn proofs(&self, app: &App) -> Vec<String> {
        let page = self.get(app, "/page/proofs").await;
        let mut proofs = Vec::new();
        for rest in page.split("href=\"/page/proofs/").skip(1) {
            let name = rest.split_once('"').unwrap().0;
            proofs.push(self.get(app, &format!("/page/proofs/{name}")).await);
        }
        proofs
    }
}

async fn get(app: &App, path: &str, cookie: &str) -> Response<Body> {
    let request = Request::get(path).header("host", "localhost").header("cookie", cookie);
    router(app.clone()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn post(app: &App, path: &str, form: &str, cookie: &str) -> Response<Body> {
    let request = Request::post(path).header("host", "localhost").header("cookie", cookie);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    router(app.clone()).oneshot(request.body(Body::from(form.to_owned())).unwrap()).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 4 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn between<'t>(text: &'t str, from: &str, to: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(from)?;
    Some(rest.split_once(to)?.0)
}

/// Somebody of whom two things are kept.
async fn somebody(app: &App, name: &str) -> UserId {
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

/// Seven days pass, and what is due is done.
async fn a_week_passes(app: &App, clock: &Ahead) {
    clock.0.fetch_add(7 * DAY + 60_000, Ordering::SeqCst);
    app.engine().run(|engine| engine.run_due(&mut |_| {})).await.unwrap();
}

/// How many records of a class somebody has.
async fn count(app: &App, user: &UserId, class: &str) -> usize {
    let query = Query::default().user(user.clone()).class(Class::new(class).unwrap());
    app.engine().run(move |engine| engine.list(&query)).await.unwrap().records.len()
}

/// What lies in the directory of receipts.
fn receipts(dir: &Path) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(dir.join("a.db.service/receipts")).unwrap();
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

async fn holds(app: &App, proof: &str, user: &UserId) -> bool {
    let key = app.engine().run(|engine| engine.log().key()).await.unwrap();
    let certificate: Certificate = proof.parse().unwrap();
    certificate.facts.body.user.as_deref() == Some(user.as_str())
        && certificate.verify(&Trust::in_log(key)).is_ok()
}

/// A planned erase had no certificate, for nobody was there to take it.
#[tokio::test]
async fn the_proof_of_a_planned_erase_is_on_the_page_once_it_is_done() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, tells) = service(dir.path(), &clock).await;
    let ada = somebody(&app, "mensch-unikat").await;
    let session = Session::enter(&app, &ada).await;
    let said = session.later(&app, "class=audio").await;
    assert!(said.contains("among your proofs") && !said.contains("Keep this code"), "{said}");
    assert!(session.get(&app, "/page/proofs").await.contains("The proof of"));
    assert!(session.proofs(&app).await.is_empty());
    let keeping = tokio::spawn(keep_all(app.clone(), tells));
    a_week_passes(&app, &clock).await;
    for _ in 0..600 {
        if count(&app, &ada, "certificate").await == 1 && receipts(dir.path()).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    keeping.abort();
    let proofs = session.proofs(&app).await;
    assert_eq!(proofs.len(), 1);
    assert!(holds(&app, &proofs[0], &ada).await);
    assert_eq!(count(&app, &ada, "audio").await, 0);
    assert_eq!(count(&app, &ada, "certificate").await, 1, "its code went");
    assert!(receipts(dir.path()).is_empty());
}

/// Nobody keeps what the service was told of: it died in between.
#[tokio::test]
async fn a_proof_that_was_not_kept_before_the_service_died_is_found_by_a_new_link() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let ada = somebody(&app, "mensch-unikat").await;
    let session = Session::enter(&app, &ada).await;
    let day = System.now().to_string();
    session.later(&app, &format!("day={}", &day[..10])).await;
    a_week_passes(&app, &clock).await;
    assert_eq!(count(&app, &ada, "audio").await, 0);
    let sealed = receipts(dir.path());
    assert_eq!(sealed.len(), 2, "a public key, and a draft");
    let name = b"mensch-unikat";
    assert!(!sealed.iter().any(|file| file.windows(name.len()).any(|bytes| bytes == name)));
    drop(app);
    let (app, _) = service(dir.path(), &clock).await;
    for round in 0..2 {
        let session = Session::enter(&app, &ada).await;
        let proofs = session.proofs(&app).await;
        assert_eq!(proofs.len(), 1, "round {round}: it is kept once");
        assert!(holds(&app, &proofs[0], &ada).await);
    }
    assert_eq!(count(&app, &ada, "certificate").await, 1);
    assert!(receipts(dir.path()).is_empty());
}

/// Where everything goes the code goes too, so the person is told it.
#[tokio::test]
async fn the_proof_that_everything_went_is_opened_by_the_code_that_the_page_told() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let ada = somebody(&app, "mensch-unikat").await;
    let session = Session::enter(&app, &ada).await;
    let said = session.later(&app, "all=1").await;
    let code = between(&said, "<code dir=\"ltr\">", "</code>").unwrap().to_owned();
    let ask = |code: &str| format!("code={}", code.to_uppercase());
    let early = post(&app, "/page/receipt", &ask(&code), "").await;
    assert_eq!(early.status(), StatusCode::NOT_FOUND);
    a_week_passes(&app, &clock).await;
    drop(app);
    let (app, _) = service(dir.path(), &clock).await;
    let of = ada.clone();
    assert!(app.engine().run(move |engine| engine.handle(&of)).await.is_err(), "it was erased");
    let name = b"mensch-unikat";
    let sealed = receipts(dir.path());
    assert!(!sealed.iter().any(|file| file.windows(name.len()).any(|bytes| bytes == name)));
    let wrong = post(&app, "/page/receipt", "code=aaaaa-aaaaa", "").await;
    assert_eq!(wrong.status(), StatusCode::NOT_FOUND);
    for _ in 0..2 {
        let shown = post(&app, "/page/receipt", &ask(&code), "").await;
        assert_eq!(shown.status(), StatusCode::OK);
        assert!(text(shown).await.contains("keyfall/certificate@v1"));
        let file = post(&app, "/page/receipt", &format!("{}&file=0", ask(&code)), "").await;
        assert!(holds(&app, &text(file).await, &ada).await);
    }
}

#[tokio::test]
async fn nothing_is_left_of_what_was_called_off() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let ada = somebody(&app, "ada").await;
    let session = Session::enter(&app, &ada).await;
    session.later(&app, "class=audio").await;
    assert_eq!((receipts(dir.path()).len(), count(&app, &ada, "certificate").await), (1, 1));
    let page = session.get(&app, "/page").await;
    let plan = between(&page, "name=\"plan\" value=\"", "\"").unwrap();
    let form = format!("csrf={}&plan={plan}", session.csrf);
    let cancelled = post(&app, "/page/erase/cancel", &form, &session.cookie).await;
    assert_eq!(cancelled.headers()["location"], "/page?said=cancelled");
    assert_eq!((receipts(dir.path()).len(), count(&app, &ada, "certificate").await), (0, 0));
    a_week_passes(&app, &clock).await;
    assert_eq!(count(&app, &ada, "audio").await, 1);
}
