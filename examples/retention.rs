//! Age limits and limits of number, a planned erase that is cancelled, and one that is not.
//!
//! The clock is the application's: time comes in through `Env`, so that a test can turn it.
//!
//! `cargo run --example retention`

#![allow(clippy::disallowed_methods, reason = "an application may look at the clock")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyfall::cell::MemoryCell;
use keyfall::engine::Keeper;
use keyfall::env::{Env, System};
use keyfall::store::MemoryStore;
use keyfall::{
    Class, Engine, ErrorKind, Options, Policy, Put, RecordId, Result, Scope, Timestamp, UserId,
};

const DAY: Duration = Duration::from_secs(86_400);

/// A clock that only `advance` moves; random bytes are the system's.
struct Clock(AtomicU64);

impl Clock {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    fn after(&self, wait: Duration) -> Timestamp {
        self.now() + wait
    }
}

impl Env for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn fill(&self, out: &mut [u8]) -> Result<()> {
        System.fill(out)
    }
}

fn is_erased(engine: &Engine, id: &RecordId) -> bool {
    engine.get(id).is_err_and(|e| e.kind() == ErrorKind::Erased)
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let clock = Arc::new(Clock(AtomicU64::new(Timestamp::now().as_millis())));
    // By default a thread of the engine's does what is due. Here `run_due` does, so that the order
    // of events is the example's.
    let options = Options::new().env(clock.clone()).keeper(Keeper::ByHand);
    let (store, cell) = (MemoryStore::new(), MemoryCell::new());
    let engine = Engine::init(Arc::new(store), Arc::new(cell), options)?;
    let ada = UserId::new("ada")?;
    let put = |class: Class| engine.put(Put::new(ada.clone(), class), &b"six o'clock"[..]);

    // Recordings are kept for 30 days, and of actions the newest two.
    engine.policies(None).set(&Policy::new(Class::audio()).max_age(30 * DAY))?;
    engine.policies(None).set(&Policy::new(Class::action()).max_records(2))?;
    let recording = put(Class::audio())?;
    let mut actions = Vec::new();
    for _ in 0..3 {
        actions.push(put(Class::action())?);
        clock.advance(DAY);
    }
    engine.run_due(&mut |_| {})?;
    assert!(is_erased(&engine, &actions[0]) && !is_erased(&engine, &actions[1]));
    assert!(!is_erased(&engine, &recording));

    // A stricter limit says beforehand what would fall at once.
    let strict = Policy::new(Class::audio()).max_age(DAY);
    assert_eq!(engine.policies(None).would_expire(&strict)?, 1);

    clock.advance(28 * DAY);
    let expired = engine.run_due(&mut |_| {})?.expired;
    assert!(expired == 1 && is_erased(&engine, &recording));
    println!("After 31 days: {expired} recording expired; two actions stay.");

    // A grace period: the account goes in 14 days, unless she changes her mind. She does, once.
    let plan = engine.erase_at(Scope::user(ada.clone()), clock.after(14 * DAY))?;
    engine.plans(&ada).cancel(plan.id)?;
    clock.advance(15 * DAY);
    assert_eq!(engine.run_due(&mut |_| {})?.planned, 0);

    engine.erase_at(Scope::user(ada.clone()), clock.after(14 * DAY))?;
    assert!(!is_erased(&engine, &actions[2]));
    clock.advance(15 * DAY);
    assert_eq!(engine.run_due(&mut |_| {})?.planned, 1);
    assert!(is_erased(&engine, &actions[2]));
    println!("The planned erase that was cancelled was not done; the other one was.");
    Ok(())
}
