//! How often somebody may try what is open to all: each address has a pace of its own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::address::Address;

/// One try in this time, in the long run.
const EACH: Duration = Duration::from_secs(2);
/// So many at once.
const AT_ONCE: u32 = 20;
/// Most addresses that are remembered: the others have one pace together.
const MOST: usize = 10_000;

/// When each address has used up what it had.
#[derive(Default)]
pub(crate) struct Pace {
    used: Mutex<HashMap<Address, Instant>>,
}

impl Pace {
    /// Counts a try.
    ///
    /// # Errors
    /// How long to wait before the next one.
    pub(crate) fn take(&self, from: Address, now: Instant) -> Result<(), Duration> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MOST {
            used.retain(|_, until| *until > now);
        }
        let known = used.len() < MOST || used.contains_key(&from);
        let until = used.entry(if known { from } else { Address(None) }).or_insert(now);
        let next = (*until).max(now) + EACH;
        let over = next.duration_since(now).saturating_sub(EACH * AT_ONCE);
        if over.is_zero() {
            *until = next;
            return Ok(());
        }
        Err(over)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn from(address: &str) -> Address {
        Address::of(Some(address.parse().unwrap()))
    }

    #[test]
    fn one_address_waits_and_the_others_do_not() {
        let (pace, began) = (Pace::default(), Instant::now());
        let guess = from("192.0.2.1");
        for _ in 0..AT_ONCE {
            assert_eq!(pace.take(guess, began), Ok(()));
        }
        assert_eq!(pace.take(guess, began), Err(EACH));
        assert_eq!(pace.take(from("192.0.2.2"), began), Ok(()));
        assert_eq!(pace.take(guess, began + EACH), Ok(()));
        assert!(pace.take(guess, began + EACH).is_err());
    }

    #[test]
    fn addresses_of_one_host_count_as_one_and_memory_has_an_end() {
        assert_eq!(from("2001:db8::1"), from("2001:db8::ffff:1"));
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
        assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"));
        let (pace, now) = (Pace::default(), Instant::now());
        for n in 0..2 * MOST as u32 {
            let _ = pace.take(Address::of(Some(IpAddr::from(n.to_be_bytes()))), now);
        }
        assert!(pace.used.lock().unwrap().len() <= MOST + 1);
        // Those that are not remembered wait for each other; those that are do not.
        assert!(pace.take(from("203.0.113.9"), now).is_err());
        assert_eq!(pace.take(from("0.0.0.1"), now), Ok(()));
    }
}
