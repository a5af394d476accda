//! Erases that the page plans, with a clock that is put forward.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use keyfall::certificate::{Certificate, Trust};
use keyfall::env::{Env, System};
use keyfall::{Class, Engine, Put, UserId};

use super::kept::{CODE_TYPE, PROOF_TYPE};
use super::planned::keep_all;
use super::trial::{Ahead, DAY, Session, between, count, passes, post, service, somebody, text};
use crate::app::App;

/// Seven days pass, and what is due is done.
async fn a_week_passes(app: &App, clock: &Ahead) {
    passes(app, clock, 7 * DAY + 60_000).await;
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
    assert!(said.contains("among the proofs") && !said.contains("Keep this code"), "{said}");
    assert!(session.get(&app, "/page/proofs").await.contains("the proof of what is planned"));
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

/// An application may put what it likes into the class of proofs: 200 records hid the codes, and a
/// single one with bytes that are no text kept every proof from being found.
#[tokio::test]
async fn what_an_application_puts_among_the_proofs_hides_none_of_them() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let ada = somebody(&app, "mensch-unikat").await;
    let session = Session::enter(&app, &ada).await;
    session.later(&app, "class=audio").await;
    let of = ada.clone();
    let put = move |engine: &Engine| {
        let put = |media_type: &str, bytes: &[u8]| {
            let put = Put::new(of.clone(), Class::new("certificate")?).media_type(media_type);
            engine.put(put, bytes).map(|_| ())
        };
        for media_type in [PROOF_TYPE, CODE_TYPE] {
            put(media_type, &[0xff; 25])?;
            put(media_type, b"no proof, no code")?;
        }
        for n in 0..210 {
            put("text/plain", format!("a diploma, number {n}").as_bytes())?;
        }
        Ok(())
    };
    app.engine().run(put).await.unwrap();
    a_week_passes(&app, &clock).await;
    let session = Session::enter(&app, &ada).await;
    let proofs = session.proofs(&app).await;
    assert!(proofs.len() == 1 && holds(&app, &proofs[0], &ada).await, "{proofs:?}");
    assert!(receipts(dir.path()).is_empty());
    // What is no proof is listed with everything else, whatever it calls itself.
    let page = session.get(&app, "/page").await;
    assert!(page.contains("a diploma, number 209"), "{page}");
    let older = between(&page, "?after=", "\"").unwrap().to_owned();
    let mut pages = vec![page];
    let mut next = Some(older);
    while let Some(after) = next {
        let page = session.get(&app, &format!("/page?after={after}")).await;
        next = between(&page, "?after=", "\"").map(str::to_owned);
        pages.push(page);
    }
    let said = pages.concat();
    // Each stands in its row, and in the names of its two controls.
    assert_eq!(said.matches("dir=\"auto\">no proof, no code").count(), 2, "{said}");
}

/// A list of which the newest forty are proofs said that nothing is kept.
#[tokio::test]
async fn proofs_do_not_push_what_is_kept_off_the_page() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let ada = somebody(&app, "ada").await;
    let session = Session::enter(&app, &ada).await;
    session.post(&app, "/page/erase/now", "class=transcript").await;
    let proof = session.proofs(&app).await.remove(0);
    let of = ada.clone();
    let put = move |engine: &Engine| {
        for _ in 0..90 {
            let put = Put::new(of.clone(), Class::new("certificate")?).media_type(PROOF_TYPE);
            engine.put(put, proof.as_bytes())?;
        }
        Ok(())
    };
    app.engine().run(put).await.unwrap();
    let page = Session::enter(&app, &ada).await.get(&app, "/page").await;
    assert_eq!(page.matches("<li class=\"turn\"").count(), 1, "{page}");
}

/// A day that was erased left what an application keeps among the proofs, and did not say so; and
/// the proof of somebody else stood among one's own.
#[tokio::test]
async fn of_a_day_the_proofs_alone_stay_and_are_counted() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let (app, _) = service(dir.path(), &clock).await;
    let (ada, eve) = (somebody(&app, "ada").await, somebody(&app, "eve").await);
    let mut proofs = Vec::new();
    for user in [&ada, &eve] {
        let session = Session::enter(&app, user).await;
        session.post(&app, "/page/erase/now", "class=transcript").await;
        proofs.extend(session.proofs(&app).await);
    }
    let (of, foreign) = (ada.clone(), proofs[1].clone());
    let put = move |engine: &Engine| {
        for (media_type, text) in [
            ("text/plain", "a diploma"),
            (PROOF_TYPE, "nothing of a proof"),
            (PROOF_TYPE, &*foreign),
        ] {
            let put = Put::new(of.clone(), Class::new("certificate")?).media_type(media_type);
            engine.put(put, text.as_bytes())?;
        }
        Ok(())
    };
    app.engine().run(put).await.unwrap();
    let session = Session::enter(&app, &ada).await;
    assert_eq!(session.proofs(&app).await, [proofs[0].clone()], "one is ada's");
    let list = session.get(&app, "/page").await;
    assert!(list.contains("a diploma") && list.contains("nothing of a proof"), "{list}");
    let day = format!("day={}", &System.now().to_string()[..10]);
    let asked = text(session.post(&app, "/page/erase", &day).await).await;
    let goes = "<strong>3</strong> things that are kept among the proofs and are none";
    assert!(asked.contains(goes), "{asked}");
    assert!(asked.contains("One proof of an earlier erasure stays."), "{asked}");
    let erased = session.post(&app, "/page/erase/now", &day).await;
    let done = session.get(&app, erased.headers()["location"].to_str().unwrap()).await;
    assert!(done.contains("3 things that are kept among the proofs and are none"), "{done}");
    assert!(done.contains("One proof of an earlier erasure stays."), "{done}");
    assert!(!done.contains("as you wished"), "{done}");
    let list = session.get(&app, "/page").await;
    assert!(!list.contains("a diploma") && !list.contains("nothing of a proof"), "{list}");
    for proof in session.proofs(&app).await {
        assert!(holds(&app, &proof, &ada).await);
    }
    assert!(session.proofs(&app).await.contains(&proofs[0]));
}
