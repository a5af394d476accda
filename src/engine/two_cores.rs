//! A long change is made on two cores: what is next is read, and what is written is encrypted,
//! beside the writer. In which order things happen only the writer says: it names the pages, draws
//! their keys and publishes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, available_parallelism, scope};
use std::time::Duration;

use super::core::{Core, State};
use crate::catalogue::change::Change;
use crate::catalogue::edit::Edit;
use crate::catalogue::seal_pages::seal_with;
use crate::catalogue::sealer::{Beside, Unsealed};
use crate::error::Result;
use crate::scope::Erase;
use crate::secret::WipeStack;
use crate::tree::head::HeadPage;

/// Fewer pages than these the writer does alone: on a busy machine a thread takes as long to begin.
pub(super) const MANY_PAGES: usize = 256;
/// Pages that leave the cache take so little that they must be more.
pub(super) const MANY_FORGOTTEN: usize = 1024;
/// As many erases as are worth a thread that reads.
const MANY_ERASES: usize = 1000;
/// Pages that are handed over together.
const TOGETHER: usize = 16;
/// So many erases before the writer comes to one its pages are read, at least.
const NEAR: usize = 64;
/// And at most: the cache is to hold them until then.
const FAR: usize = 2048;
/// How long a reader that is far ahead waits.
const PAUSE: Duration = Duration::from_micros(200);

static HAS_TWO: LazyLock<bool> =
    LazyLock::new(|| available_parallelism().is_ok_and(|cores| cores.get() > 1));

/// Seals what was edited, below `head`: many pages are encrypted beside.
pub(super) fn seal(edit: Edit<'_>, head: HeadPage) -> Result<Change> {
    if edit.editor.replaced.len() < MANY_PAGES || !*HAS_TWO {
        return seal_with(edit, head, None);
    }
    let hands = Hands::default();
    let mut change = scope(|scope| {
        // Without a thread the writer does all of it.
        let _ = Builder::new().spawn_scoped(scope, || {
            let _wiped = WipeStack;
            hands.work(true);
        });
        // Also where it fails or panics.
        let ends = Ends(&hands);
        let change = seal_with(edit, head, Some(&hands))?;
        drop(ends);
        hands.work(false);
        Ok::<_, crate::error::Error>(change)
    })?;
    for (at, sealed) in hands.inside.into_inner().unwrap_or_else(PoisonError::into_inner).sealed {
        change.blobs[at].1 = sealed;
    }
    Ok(change)
}

/// Pages to be encrypted, and those that are.
#[derive(Default)]
struct Hands {
    inside: Mutex<Handed>,
    more: Condvar,
}

#[derive(Default)]
struct Handed {
    /// What came last, until it is enough to be handed over.
    last: Vec<Unsealed>,
    waiting: VecDeque<Vec<Unsealed>>,
    sealed: Vec<(usize, Vec<u8>)>,
    /// Whether a thread waits for pages.
    idle: bool,
    /// No more will come.
    ended: bool,
}

impl Hands {
    fn inside(&self) -> MutexGuard<'_, Handed> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Encrypts what waits, until nothing does, or, with `patience`, until no more will come.
    fn work(&self, patience: bool) {
        let mut inside = self.inside();
        loop {
            while let Some(pages) = inside.waiting.pop_front() {
                drop(inside);
                let sealed: Vec<_> = pages.iter().map(|page| (page.at, page.seal())).collect();
                drop(pages);
                inside = self.inside();
                inside.sealed.extend(sealed);
            }
            if inside.ended || !patience {
                return;
            }
            inside.idle = true;
            inside = self.more.wait(inside).unwrap_or_else(PoisonError::into_inner);
            inside.idle = false;
        }
    }
}

impl Beside for Hands {
    fn take(&self, page: Unsealed) {
        let mut inside = self.inside();
        inside.last.push(page);
        if inside.last.len() == TOGETHER {
            let next = Vec::with_capacity(TOGETHER);
            let pages = std::mem::replace(&mut inside.last, next);
            inside.waiting.push_back(pages);
            // To wake nobody is a call of the system, too.
            let idle = inside.idle;
            drop(inside);
            if idle {
                self.more.notify_one();
            }
        }
    }
}

/// When it is dropped, no more pages will come.
struct Ends<'h>(&'h Hands);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let mut inside = self.0.inside();
        let last = std::mem::take(&mut inside.last);
        inside.waiting.push_back(last);
        inside.ended = true;
        drop(inside);
        self.0.more.notify_one();
    }
}

/// Does something with all of these: where they are `many`, with one half of them beside the other.
pub(super) fn halves<T: Sync, R: Send>(
    all: &[T],
    many: usize,
    act: impl Fn(&[T]) -> R + Sync,
) -> Vec<R> {
    if all.len() < many || !*HAS_TWO {
        return vec![act(all)];
    }
    let (first, second) = all.split_at(all.len() / 2);
    scope(|scope| {
        let beside = Builder::new().spawn_scoped(scope, || {
            let _wiped = WipeStack;
            act(second)
        });
        let done = act(first);
        let beside = match beside {
            Ok(beside) => beside.join().unwrap_or_else(|e| std::panic::resume_unwind(e)),
            Err(_) => act(second),
        };
        vec![done, beside]
    })
}

/// Does something with erases one after another, which it tells: pages that the next of many need
/// are read and opened beside.
pub(super) fn reading_ahead<T>(
    core: &Core,
    state: &State,
    erases: &[&Erase],
    act: impl FnOnce(&dyn Fn(usize)) -> T,
) -> T {
    // Where a request takes long, others read ahead.
    if erases.len() < MANY_ERASES || core.store().is_far() || !*HAS_TWO {
        return act(&|_| {});
    }
    let reader = Reader { at: AtomicUsize::new(0), over: AtomicBool::new(false) };
    scope(|scope| {
        let _ = Builder::new().spawn_scoped(scope, || {
            let _wiped = WipeStack;
            reader.read(core, state, erases);
        });
        let _over = Over(&reader.over);
        act(&|n| reader.at.store(n, Ordering::Relaxed))
    })
}

/// A thread that reads ahead of the writer.
struct Reader {
    /// The erase that the writer is at.
    at: AtomicUsize,
    over: AtomicBool,
}

impl Reader {
    fn read(&self, core: &Core, state: &State, erases: &[&Erase]) {
        let pages = core.pages();
        let view = core.view(state, &pages);
        let mut next = 0;
        while !self.over.load(Ordering::Relaxed) {
            let at = self.at.load(Ordering::Relaxed);
            next = next.max(at + NEAR);
            let Some(erase) = erases.get(next) else { return };
            if next > at + FAR {
                std::thread::sleep(PAUSE);
                continue;
            }
            // What fails here fails again, and is told then.
            let _ = view.users().find(erase.user(|user| view.tag(user)));
            next += 1;
        }
    }
}

/// When it is dropped, something is over.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
