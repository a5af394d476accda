//! Places for what waits for the network. Each caller has a few, and the first of each is there as
//! long as fewer than so many callers have one; what hardly moves loses its place to one who waits.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::oneshot::{Receiver, Sender, channel};
use tokio::time::timeout;

/// So often those who wait look for what hardly moves.
const LOOK: Duration = Duration::from_secs(1);
/// The pace of a body is that of so long a time in which it waited for the network.
const WINDOW: Duration = Duration::from_secs(10);
/// With fewer bytes in that time it hardly moves: fewer than any codec makes of speech.
const LEAST: u64 = 4 << 10;

/// How many of something there are for all and for each, and for how many the first is kept.
#[derive(Clone, Copy)]
pub(crate) struct Share {
    pub(crate) all: usize,
    pub(crate) each: usize,
    pub(crate) firsts: usize,
}

impl Share {
    /// Whether one who has so many may have one more, where so many owners have so many together.
    pub(crate) fn has_room(&self, own: usize, together: usize, owners: usize) -> bool {
        let beyond = together.saturating_sub(owners);
        own < self.each
            && together < self.all
            && (own == 0 || beyond < self.all.saturating_sub(self.firsts))
    }
}

/// A bounded number of places, and of each caller fewer.
pub(crate) struct Places {
    share: Share,
    state: Mutex<State>,
    idle: Notify,
}

struct State {
    taken: HashMap<Arc<str>, Vec<Arc<Seat>>>,
    together: usize,
    /// In the order in which they came.
    waiting: Vec<Waiter>,
    looked: Instant,
}

struct Waiter {
    whose: Arc<str>,
    tell: Sender<Place>,
}

/// A place, until it is dropped.
pub(crate) struct Place {
    of: Arc<Places>,
    whose: Arc<str>,
    seat: Arc<Seat>,
}

/// How a place is used.
#[derive(Default)]
pub(crate) struct Seat(Mutex<Pace>);

#[derive(Default)]
struct Pace {
    /// Bytes since it was found to move well.
    moved: u64,
    /// How long it waited for the network since then, and since when it waits now.
    waited: Duration,
    since: Option<Instant>,
    lost: bool,
    waker: Option<Waker>,
}

impl Places {
    /// So many places.
    pub(crate) fn new(share: Share) -> Arc<Self> {
        let state = State {
            taken: HashMap::new(),
            together: 0,
            waiting: Vec::new(),
            looked: Instant::now(),
        };
        Arc::new(Places { share, state: Mutex::new(state), idle: Notify::new() })
    }

    /// Waits for a place. Of those who wait, whoever has the fewest is next.
    pub(crate) async fn take(self: &Arc<Self>, whose: &str) -> Place {
        loop {
            let mut turn = match self.ask(whose) {
                Ok(place) => return place,
                Err(turn) => turn,
            };
            loop {
                match timeout(LOOK, &mut turn).await {
                    Ok(Ok(place)) => return place,
                    Ok(Err(_)) => break,
                    Err(_) => self.let_go_of_the_slow(Instant::now()),
                }
            }
        }
    }

    /// Waits until none is taken.
    pub(crate) async fn idle(&self) {
        loop {
            let emptied = self.idle.notified();
            if self.state().together == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn ask(self: &Arc<Self>, whose: &str) -> Result<Place, Receiver<Place>> {
        let (mut state, whose) = (self.state(), Arc::from(whose));
        // Who waits would have been given what there is room for.
        if state.has_room(&self.share, &whose) {
            return Ok(self.place(&mut state, whose));
        }
        let (tell, turn) = channel();
        state.waiting.push(Waiter { whose, tell });
        Err(turn)
    }

    fn place(self: &Arc<Self>, state: &mut State, whose: Arc<str>) -> Place {
        let seat = Arc::<Seat>::default();
        state.taken.entry(Arc::clone(&whose)).or_default().push(Arc::clone(&seat));
        state.together += 1;
        Place { of: Arc::clone(self), whose, seat }
    }

    fn give_back(self: &Arc<Self>, whose: &Arc<str>, seat: &Arc<Seat>) {
        let mut state = self.state();
        if let Some(seats) = state.taken.get_mut(whose) {
            seats.retain(|one| !Arc::ptr_eq(one, seat));
            if seats.is_empty() {
                state.taken.remove(whose);
            }
        }
        state.together -= 1;
        // Who went away waits no more.
        state.waiting.retain(|waiter| !waiter.tell.is_closed());
        let mut given = Vec::new();
        while let Some(waiter) = state.next(&self.share) {
            given.push((waiter.tell, self.place(&mut state, waiter.whose)));
        }
        if state.together == 0 {
            self.idle.notify_waiters();
        }
        drop(state);
        for (tell, place) in given {
            // Of one who went away just now it comes back here.
            drop(tell.send(place));
        }
    }

    /// Has what hardly moves lose its place, for each who waits and could use it: what is of a caller
    /// with more places, or of its own.
    fn let_go_of_the_slow(&self, now: Instant) {
        let mut state = self.state();
        if now.saturating_duration_since(state.looked) < LOOK {
            return;
        }
        state.looked = now;
        let of = |(whose, seats): (&Arc<str>, &Vec<Arc<Seat>>)| {
            let slow: Vec<_> = seats.iter().filter(|seat| seat.crawls(now)).cloned().collect();
            let (whose, held) = (Arc::clone(whose), seats.len());
            slow.into_iter().map(move |seat| (held, Arc::clone(&whose), seat))
        };
        let mut slow: Vec<_> = state.taken.iter().flat_map(of).collect();
        slow.sort_by_key(|(held, ..)| Reverse(*held));
        let waiting = state.waiting.iter().filter(|waiter| !waiter.tell.is_closed());
        let mut lost = Vec::new();
        for waiter in waiting {
            let own = state.taken.get(&waiter.whose).map_or(0, Vec::len);
            let for_it = slow.iter().position(|(held, whose, _)| {
                *whose == waiter.whose || (own < self.share.each && *held > own)
            });
            lost.extend(for_it.map(|n| slow.remove(n).2));
        }
        drop(state);
        lost.iter().for_each(|seat| seat.lose());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, share: &Share, whose: &Arc<str>) -> bool {
        let own = self.taken.get(whose).map_or(0, Vec::len);
        share.has_room(own, self.together, self.taken.len())
    }

    /// The next one who may have a place.
    fn next(&mut self, share: &Share) -> Option<Waiter> {
        let waiting = self.waiting.iter().enumerate();
        let may = waiting.filter(|(_, waiter)| self.has_room(share, &waiter.whose));
        let own = |waiter: &Waiter| self.taken.get(&waiter.whose).map_or(0, Vec::len);
        let (n, _) = may.min_by_key(|(_, waiter)| own(waiter))?;
        Some(self.waiting.remove(n))
    }
}

impl Place {
    /// How it is used.
    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.give_back(&self.whose, &self.seat);
    }
}

impl Seat {
    /// Notes that what has the place waits for the network; ready once the place is lost.
    pub(crate) fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut pace = self.pace();
        if pace.lost {
            return Poll::Ready(());
        }
        pace.since.get_or_insert_with(Instant::now);
        pace.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Notes that so many bytes moved.
    pub(crate) fn moved(&self, bytes: usize) {
        let mut pace = self.pace();
        if let Some(since) = pace.since.take() {
            pace.waited += since.elapsed();
        }
        pace.moved += bytes as u64;
    }

    fn crawls(&self, now: Instant) -> bool {
        self.pace().crawls(now)
    }

    fn lose(&self) {
        let mut pace = self.pace();
        pace.lost = true;
        if let Some(waker) = pace.waker.take() {
            waker.wake();
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    /// Whether it hardly moves, though nothing but the network keeps it.
    fn crawls(&mut self, now: Instant) -> bool {
        let waits = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let waited = self.waited + waits;
        if waited < WINDOW {
            return false;
        }
        let least = u128::from(LEAST) * waited.as_millis() / WINDOW.as_millis();
        if u128::from(self.moved) < least {
            return true;
        }
        (self.moved, self.waited) = (0, Duration::ZERO);
        self.since = self.since.map(|_| now);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Share = Share { all: 8, each: 4, firsts: 4 };

    fn taken(places: &Arc<Places>, whose: &str) -> Option<Place> {
        places.ask(whose).ok()
    }

    #[test]
    fn the_first_place_of_each_is_there_while_few_have_any() {
        let places = Places::new(SHARE);
        let mut held = Vec::new();
        // Two have what there is beyond the first of each.
        for whose in ["a", "b"] {
            held.extend((0..8).map_while(|_| taken(&places, whose)));
        }
        assert_eq!(held.len(), 4 + 2);
        for whose in ["c", "d"] {
            held.push(taken(&places, whose).unwrap());
            assert!(taken(&places, whose).is_none());
        }
        assert!(taken(&places, "e").is_none(), "four have one, and that is all");
    }

    #[test]
    fn whoever_has_the_fewest_is_next() {
        let places = Places::new(Share { all: 2, each: 2, firsts: 0 });
        let (one, two) = (taken(&places, "a").unwrap(), taken(&places, "a").unwrap());
        let mut more = places.ask("a").err().unwrap();
        let gone = places.ask("b").err().unwrap();
        let mut other = places.ask("c").err().unwrap();
        drop(gone);
        drop(one);
        let other = other.try_recv().unwrap();
        assert!(more.try_recv().is_err());
        drop(other);
        let more = more.try_recv().unwrap();
        drop((two, more));
        assert_eq!(places.state().together, 0);
        assert!(places.state().taken.is_empty());
    }

    /// Has a seat wait for the network from now on; says whether its place is lost.
    fn waits(place: &Place) -> bool {
        place.seat.poll_lost(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn what_hardly_moves_loses_its_place_to_one_who_has_fewer_and_to_nobody_else() {
        let places = Places::new(Share { all: 3, each: 2, firsts: 0 });
        let (slow, quick) = (taken(&places, "a").unwrap(), taken(&places, "a").unwrap());
        let busy = taken(&places, "b").unwrap();
        assert!(!waits(&slow) && !waits(&quick));
        let later = Instant::now() + WINDOW + LOOK;
        places.let_go_of_the_slow(later);
        assert!(!waits(&slow), "nobody waits for it");
        // One with as many places waits, and one with fewer.
        let _b = places.ask("b").err().unwrap();
        quick.seat.moved(2 * LEAST as usize);
        assert!(!waits(&quick));
        places.let_go_of_the_slow(later + LOOK);
        assert!(waits(&slow), "it had two, and the other one");
        assert!(!waits(&quick));
        drop(slow);
        let _c = places.ask("c").err().unwrap();
        places.let_go_of_the_slow(later + 2 * LOOK);
        assert!(!waits(&busy), "what does not wait for the network is not slow");
    }

    #[test]
    fn the_pace_is_of_the_time_that_the_network_took() {
        let (now, mut pace) = (Instant::now(), Pace::default());
        assert!(!pace.crawls(now + 9 * WINDOW), "it never waited");
        pace.since = Some(now);
        assert!(!pace.crawls(now + WINDOW / 2));
        assert!(pace.crawls(now + WINDOW));
        pace.moved = LEAST;
        assert!(pace.crawls(now + 2 * WINDOW) && !pace.crawls(now + WINDOW));
        // What was is past.
        assert!(!pace.crawls(now + WINDOW + WINDOW / 2) && pace.crawls(now + 2 * WINDOW));
    }
}
