//! A third party opens what a user granted it, sealed to a key made for this one opening.
//!
//! `cargo run --example third_party_grant`

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;

use keyfall::cell::MemoryCell;
use keyfall::engine::Grant;
use keyfall::env::System;
use keyfall::sealed::{Identity, Item, Unpack, unpack};
use keyfall::store::MemoryStore;
use keyfall::{Class, Engine, ErrorKind, Options, Put, Result, Scope, UserId};

/// Collects the records of a parcel.
#[derive(Default)]
struct Inbox {
    current: Vec<u8>,
    records: Vec<String>,
}

impl Unpack for Inbox {
    fn begin(&mut self, _: &Item) -> Result<Box<dyn Write + '_>> {
        self.current.clear();
        Ok(Box::new(&mut self.current))
    }

    fn end(&mut self, _: &Item, fell: bool) -> Result<()> {
        // What was erased while it was being delivered must be dropped.
        if !fell {
            self.records.push(String::from_utf8_lossy(&self.current).into_owned());
        }
        Ok(())
    }
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let (store, cell) = (MemoryStore::new(), MemoryCell::new());
    let engine = Engine::init(Arc::new(store), Arc::new(cell), Options::default())?;
    let ada = UserId::new("ada")?;
    let ride = Put::new(ada.clone(), Class::action()).media_type("text/plain");
    let ride = engine.put(ride, &b"a ride to the station"[..])?;
    engine.put(Put::new(ada.clone(), Class::audio()), &b"RIFF...."[..])?;

    // The third party makes a key pair and gives away the public key. The private one never
    // comes near the engine.
    let skill = Identity::new(&System)?;
    let grant = Grant::new(&skill.public()?, "Ride skill", "to order rides").class(Class::action());
    let ticket = engine.grants(&ada).add(grant)?;

    // With the ticket it asks, as often as it needs to. Each request has a fresh key of its own.
    let (request, secret) = skill.ask(&ticket, &System)?;
    let mut parcel = Vec::new();
    let opened = engine.open_request(&request, &mut parcel)?;
    let mut inbox = Inbox::default();
    unpack(&secret, &parcel[..], &mut inbox)?;
    assert_eq!(opened.records, 1);
    assert_eq!(inbox.records, ["a ride to the station"]);

    // Each opening is recorded before the first byte goes out, and is in her report.
    let accesses = engine.accesses(&ride)?;
    println!("Opened by {}, {}", accesses[0].principal, accesses[0].purpose);
    assert_eq!(engine.report(&ada)?.grants.len(), 1);

    // A request opens once.
    let replayed = engine.open_request(&request, io::sink()).err().map(|e| e.kind());
    assert_eq!(replayed, Some(ErrorKind::Refused));

    // A new request after the erase opens nothing.
    engine.erase(Scope::user(ada))?;
    let (request, _) = skill.ask(&ticket, &System)?;
    let refused = engine.open_request(&request, io::sink()).err().ok_or("it opened")?;
    assert_eq!(refused.kind(), ErrorKind::Erased);
    println!("After the erase: {refused}");
    Ok(())
}
