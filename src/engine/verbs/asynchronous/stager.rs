//! Short puts, on their way from a runtime to the queue of `group`.
//!
//! A thread of its own for each would be woken for less work than its waking is. So they wait in a
//! line, which one blocking thread stages from its front to its end. Others help, one for each
//! processor, where the line is long; and more where a put waits for its store, as for pages that
//! are read from a slow disk or over a network.

use std::any::Any;
use std::collections::VecDeque;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::spawn_blocking;

use super::blocking::over;
use crate::engine::asked::{Answered, Asked, mixed_up};
use crate::engine::batch::Batch;

use crate::engine::later::{self, Servers};
use crate::engine::queue::Outcome;
use crate::engine::verbs::engine::Engine;
use crate::env::SharedEnv;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{Mutex, MutexGuard, locked};

/// So many wait for one thread before another helps it.
const LONG: usize = 32;
/// What took longer did not work all the time: it waited.
const SLOW: Duration = Duration::from_millis(5);

/// What becomes of a put that waits.
enum Told {
    Outcome(Outcome<Answered>),
    /// It was not staged.
    Failed(Error),
    Panicked(Box<dyn Any + Send>),
}

/// Stages a put, and leaves it in the queue.
type Job = Box<dyn FnOnce() + Send>;

/// The line of puts that wait to be staged.
pub(super) struct Stager {
    line: Mutex<Line>,
    env: SharedEnv,
    /// Threads that work at once, at most.
    few: usize,
    /// Threads at once, at most, with those that wait for a store.
    most: u32,
    /// One for each thread that stages.
    threads: Arc<Semaphore>,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    /// Threads that stage, or are about to.
    threads: usize,
}

impl Stager {
    /// A line that so many threads stage at most.
    pub(super) fn new(engine: &Engine, most: u32) -> Arc<Self> {
        let few = available_parallelism().map_or(1, NonZero::get).min(most as usize);
        let env = Arc::clone(&engine.inner.options.env);
        let threads = Arc::new(Semaphore::new(most as usize));
        Arc::new(Stager { line: Mutex::default(), env, few, most, threads })
    }

    /// Waits until none of its threads is at work.
    pub(super) async fn idle(&self) {
        // It is never closed.
        drop(self.threads.acquire_many(self.most).await);
    }

    /// Has a batch made and committed; whoever waits for it may go away, and then it is not begun.
    ///
    /// # Errors
    /// What `make` gives; what the commit gives.
    pub(super) async fn commit(
        self: &Arc<Self>,
        engine: &Engine,
        servers: &Servers,
        make: impl FnOnce(&Engine) -> Result<Batch> + Send + 'static,
    ) -> Result<Answered> {
        let (tell, told) = oneshot::channel();
        let (engine, servers) = (engine.clone(), servers.clone());
        self.add(Box::new(move || {
            if tell.is_closed() {
                return;
            }
            let batch = match catch_unwind(AssertUnwindSafe(|| make(&engine))) {
                Ok(Ok(batch)) => batch,
                Ok(Err(e)) => return drop(tell.send(Told::Failed(e))),
                Err(panic) => return drop(tell.send(Told::Panicked(panic))),
            };
            if tell.is_closed() {
                // The batch lets go of what was staged.
                return;
            }
            match batch.into_staging() {
                Ok(Some(staging)) => {
                    let then = move |outcome| drop(tell.send(Told::Outcome(outcome)));
                    later::leave(&engine.inner, &servers, Asked::Put(staging), then);
                }
                Ok(None) => drop(tell.send(Told::Failed(mixed_up()))),
                Err(e) => drop(tell.send(Told::Failed(e))),
            }
        }));
        match told.await {
            Ok(Told::Outcome(outcome)) => answered(outcome),
            Ok(Told::Failed(e)) => Err(e),
            Ok(Told::Panicked(panic)) => resume_unwind(panic),
            Err(_) => Err(over()),
        }
    }
}

/// Threads that stage.
impl Stager {
    /// Puts a job into the line, and has a thread come if there are too few.
    fn add(self: &Arc<Self>, job: Job) {
        let mut line = locked(&self.line);
        line.jobs.push_back(job);
        if line.jobs.len() > line.threads * LONG && line.threads < self.few {
            self.start(line);
        }
    }

    /// Has another thread come in place of one that waited, if jobs do.
    fn help(self: &Arc<Self>) {
        let line = locked(&self.line);
        if !line.jobs.is_empty() && line.threads < self.most as usize {
            self.start(line);
        }
    }

    fn start(self: &Arc<Self>, mut line: MutexGuard<'_, Line>) {
        line.threads += 1;
        // In one step with that, as it is let go of: there is one, unless somebody waits for all.
        let permit = Arc::clone(&self.threads).try_acquire_owned().ok();
        drop(line);
        let thread = Thread { stager: Arc::clone(self), permit, ended: false };
        spawn_blocking(move || thread.run());
    }
}

/// A thread that stages. If it ends before the line does, with its runtime or by a panic, what
/// waits is not begun.
struct Thread {
    stager: Arc<Stager>,
    permit: Option<OwnedSemaphorePermit>,
    ended: bool,
}

impl Thread {
    fn run(mut self) {
        while let Some(job) = self.next() {
            let began = self.stager.env.monotonic();
            job();
            if self.stager.env.monotonic().saturating_sub(began) > SLOW {
                self.stager.help();
            }
        }
    }

    /// The next job. Where there is none the thread ends in the same step: what is added later has
    /// another one come.
    fn next(&mut self) -> Option<Job> {
        let mut line = locked(&self.stager.line);
        let job = line.jobs.pop_front();
        if job.is_none() {
            line.threads -= 1;
            drop(self.permit.take());
            self.ended = true;
        }
        job
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if !self.ended {
            let mut line = locked(&self.stager.line);
            line.threads -= 1;
            drop(self.permit.take());
            let alone = line.threads == 0;
            let left = if alone { std::mem::take(&mut line.jobs) } else { VecDeque::new() };
            drop(line);
            drop(left);
        }
    }
}

/// The answer to a request that was left in the queue.
pub(super) fn answered(outcome: Outcome<Answered>) -> Result<Answered> {
    match outcome {
        Outcome::Answered(answer) => Ok(answer),
        Outcome::NotBegun => Err(Error::new(
            ErrorKind::Io,
            "no thread can be started to write, so nothing was done; raise the limit of \
             processes and threads, and call again",
        )),
        Outcome::Panicked => {
            let text = "the thread that served this request panicked; open the engine again";
            Err(Error::new(ErrorKind::Poisoned, text).perhaps())
        }
    }
}
