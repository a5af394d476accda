//! Certificates: what a good one shows, and that no other is accepted. SPEC §14.

mod drafts;
mod facts;
mod grades;
mod log;
mod refused;

use keyfall::certificate::{Certificate, Trust};
use keyfall::{Class, Engine, Erase, Put, Scope};

use crate::support::{SMALL_PAGES, World, user};

fn asked(scope: Scope) -> Erase {
    Erase::new(scope).certified("ada herself", "GDPR, article 17")
}

fn certified(engine: &Engine, erase: Erase) -> Certificate {
    engine.erase(erase).unwrap().certificate.expect("it was asked for").sign().unwrap()
}

fn trust(engine: &Engine) -> Trust {
    Trust::in_log(engine.log().key().unwrap())
}

fn world() -> World {
    let world = World::new(1, SMALL_PAGES);
    for name in ["ada", "ben"] {
        world.put(name, Class::audio(), b"wake up");
        world.put(name, Class::audio(), b"what time is it");
        world.put(name, Class::action(), b"an alarm");
    }
    world
}

/// Whether these bytes are a certificate that holds.
fn holds(bytes: &[u8], trust: &Trust) -> bool {
    let text = std::str::from_utf8(bytes);
    text.is_ok_and(|text| text.parse::<Certificate>().is_ok_and(|c| c.verify(trust).is_ok()))
}

fn put(engine: &Engine, name: &str) {
    engine.put(Put::new(user(name), Class::audio()), &b"x"[..]).unwrap();
}
