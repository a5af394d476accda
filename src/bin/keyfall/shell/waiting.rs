//! What is said while a place far away does not answer.

use std::sync::atomic::{AtomicBool, Ordering};

use keyfall::store::when_tried_for_long;

use crate::shell::session::Session;

/// Says once, on standard error, that a place does not answer and is asked again.
pub(crate) fn tell_of_waiting(session: &Session) {
    let (session, said) = (session.clone(), AtomicBool::new(false));
    when_tried_for_long(move |why| {
        if !said.swap(true, Ordering::Relaxed) {
            session.note(&format!("{why}; it is asked again, for a minute or so"));
        }
    });
}
