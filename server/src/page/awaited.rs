//! Proofs of erases that were not heard of to their end: such an erase is completed by itself once
//! what it lacked is back.

use std::sync::Arc;

use keyfall::{Error, ErrorKind};

use super::drafts::{draft, kept};
use super::kept::keep;
use super::visit::{Visit, here};
use crate::app::App;

/// Takes those certificates that a session waits for and that can be had by now.
pub(super) async fn settle(app: &App, visit: &Visit) {
    let _turn = visit.session.settles().await;
    let with_draft = |(erase, number): (usize, u64)| {
        draft(app, &visit.token, number).map(|(slot, draft)| (erase, number, slot, draft))
    };
    let drafts: Vec<_> = visit.session.awaited().into_iter().filter_map(with_draft).collect();
    if drafts.is_empty() {
        return;
    }
    let session = Arc::clone(&visit.session);
    let looked = app.engine().run(move |engine| {
        let key = engine.log().key()?;
        for (erase, number, slot, draft) in drafts {
            match engine.certificates().get(&draft) {
                Ok(certificate) => {
                    let lives = here(engine, &session.grant).is_ok();
                    let user = &session.grant.user;
                    if lives && keep(engine, user, &certificate).unwrap_or(false) {
                        kept(&slot);
                    }
                    session.change(erase, |it| it.came(number, Some((&certificate, &key))));
                }
                // It was not done.
                Err(e) if e.kind() == ErrorKind::Absent => {
                    session.change(erase, |it| it.came(number, None));
                }
                // Not now.
                Err(_) => {}
            }
        }
        Ok::<_, Error>(())
    });
    // What did not come is awaited on.
    let _ = looked.await;
}
