//! What was read and is on its way out: held where an erase reaches it, and handed to a writer one
//! call at a time.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::secret::Secret;

/// How long closing outlets waits, in all, for writes that began before. A writer may block for
/// ever.
const WRITE_WAIT: Duration = Duration::from_millis(50);

/// Something that may fall while what was read of it is on its way out.
pub(crate) trait Falls: Send + Sync {
    /// Has `outlet` told, under this number, when it falls; fails if it fell already.
    fn watch(&self, outlet: &Arc<Outlet>, number: u64) -> Result<()>;
    /// Fails if it fell.
    fn check(&self) -> Result<()>;
}

/// What a span of an outlet holds, and what becomes of it when its item falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Bytes that must not go out once their item fell: they become zeros.
    Bytes,
    /// One byte, which this one replaces then.
    Flag(u8),
    /// As `Flag`, after all else of the item.
    End(u8),
}

struct Span {
    number: u64,
    from: usize,
    to: usize,
    part: Part,
}

/// Plaintext on its way out, of one item or several.
pub(crate) struct Outlet {
    inside: Mutex<Inside>,
    ended: Condvar,
}

struct Inside {
    /// `None` while it is lent to a writer.
    plain: Option<Secret>,
    filled: usize,
    spans: Vec<Span>,
    /// The items in what is being written.
    going: Vec<u64>,
    fallen: Vec<u64>,
    /// Items that fell after their end.
    late: Vec<u64>,
    busy: Option<ThreadId>,
    /// How many wait for the call to end.
    waiting: usize,
}

impl Inside {
    fn may_go(&self) -> bool {
        !self.going.iter().any(|number| self.fallen.contains(number))
    }
}

impl Outlet {
    /// An outlet of so many bytes at a time; the items come with [`Outlet::push`].
    pub(crate) fn new(room: usize) -> Arc<Self> {
        let inside = Inside {
            plain: Some(Secret::zeroed(room)),
            filled: 0,
            spans: Vec::new(),
            going: Vec::new(),
            fallen: Vec::new(),
            late: Vec::new(),
            busy: None,
            waiting: 0,
        };
        Arc::new(Outlet { inside: Mutex::new(inside), ended: Condvar::new() })
    }

    /// An outlet of one item alone, number 0.
    pub(crate) fn of_one(room: usize) -> Arc<Self> {
        let outlet = Self::new(room);
        {
            let mut inside = outlet.inside();
            inside.spans.push(Span { number: 0, from: 0, to: room, part: Part::Bytes });
            inside.going.push(0);
        }
        outlet
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an item fell: what is held of it becomes zeros, and what is being written of it
    /// goes no further.
    pub(crate) fn fell(&self, number: u64) {
        let mut inside = self.inside();
        let Inside { plain, spans, fallen, late, .. } = &mut *inside;
        if fallen.contains(&number) {
            return;
        }
        fallen.push(number);
        let Some(plain) = plain else { return };
        for span in spans.iter().filter(|span| span.number == number) {
            match span.part {
                Part::Bytes => plain[span.from..span.to].fill(0),
                Part::Flag(fell) => plain[span.from] = fell,
                Part::End(fell) => {
                    plain[span.from] = fell;
                    late.push(number);
                }
            }
        }
    }

    pub(crate) fn has_fallen(&self, number: u64) -> bool {
        self.inside().fallen.contains(&number)
    }

    /// Items that fell after their end, since the last call.
    pub(crate) fn late(&self) -> Vec<u64> {
        std::mem::take(&mut self.inside().late)
    }

    /// Takes in as many bytes as fit, zeros if the item fell, and returns how many.
    pub(crate) fn push(&self, item: Option<(u64, Part)>, bytes: &[u8]) -> usize {
        let mut inside = self.inside();
        let Inside { plain, filled, spans, fallen, late, .. } = &mut *inside;
        let Some(plain) = plain else { return 0 };
        let (from, n) = (*filled, bytes.len().min(plain.len() - *filled));
        let to = from + n;
        match item.filter(|(number, _)| fallen.contains(number)) {
            None => plain[from..to].copy_from_slice(&bytes[..n]),
            Some((_, Part::Bytes)) => plain[from..to].fill(0),
            Some((_, Part::Flag(fell))) => plain[from..to].fill(fell),
            Some((number, Part::End(fell))) => {
                plain[from..to].fill(fell);
                late.push(number);
            }
        }
        spans.extend(item.map(|(number, part)| Span { number, from, to, part }));
        *filled = to;
        n
    }

    pub(crate) fn room(&self) -> usize {
        let inside = self.inside();
        inside.plain.as_ref().map_or(0, |plain| plain.len() - inside.filled)
    }

    /// Empties it into `seal`: what comes of that is what is written next.
    pub(crate) fn empty(&self, seal: impl FnOnce(&[u8])) {
        let mut inside = self.inside();
        let Inside { plain, filled, spans, going, fallen, .. } = &mut *inside;
        let Some(plain) = plain else { return };
        seal(&plain[..*filled]);
        plain[..*filled].fill(0);
        *filled = 0;
        going.clear();
        going.extend(
            spans
                .drain(..)
                .filter(|s| s.part == Part::Bytes && !fallen.contains(&s.number))
                .map(|s| s.number),
        );
        going.dedup();
    }

    /// The items in what is being written.
    pub(crate) fn is_going(&self, number: u64) -> bool {
        let inside = self.inside();
        inside.going.contains(&number) || inside.spans.iter().any(|span| span.number == number)
    }

    /// Begins one call of a writer, or of the code that fills it; `None` if something of what is
    /// written fell.
    pub(crate) fn lend(&self) -> Option<Lent<'_>> {
        let mut inside = self.inside();
        if !inside.may_go() {
            return None;
        }
        inside.busy = Some(thread::current().id());
        let plain = inside.plain.take();
        Some(Lent { outlet: self, plain })
    }
}

/// An outlet's plaintext for the length of one call.
pub(crate) struct Lent<'o> {
    outlet: &'o Outlet,
    plain: Option<Secret>,
}

impl Deref for Lent<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.plain.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.plain.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut inside = self.outlet.inside();
        let mut plain = self.plain.take();
        if let Some(plain) = &mut plain {
            // While it is lent it holds bytes alone.
            for span in inside.spans.iter().filter(|span| inside.fallen.contains(&span.number)) {
                plain[span.from..span.to].fill(0);
            }
        }
        inside.plain = plain;
        inside.busy = None;
        let waited_for = inside.waiting > 0;
        drop(inside);
        if waited_for {
            self.outlet.ended.notify_all();
        }
    }
}

/// Waits for calls of writers that began before these outlets were told what fell, for a bounded
/// time. Whatever closes an outlet from within such a call does not wait for it.
pub(crate) fn wait_for_writes(outlets: &[Arc<Outlet>]) {
    let (me, until) = (thread::current().id(), Instant::now() + WRITE_WAIT);
    for outlet in outlets {
        let busy =
            |inside: &mut Inside| !inside.may_go() && inside.busy.is_some_and(|other| other != me);
        let left = until.saturating_duration_since(Instant::now());
        let mut inside = outlet.inside();
        inside.waiting += 1;
        let waited = outlet.ended.wait_timeout_while(inside, left, busy);
        let (mut inside, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inside.waiting -= 1;
    }
}
