//! Asking all keyholders at once: each has a thread of its own, so that one that does not answer
//! holds up only itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Keyholder, Share};
use crate::cell::Owner;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::secret::WipeStack;

type Job = Box<dyn FnOnce(&dyn Keyholder) + Send>;

/// How long a verb waits for keyholders at most.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long it waits for the others, once enough have answered.
pub(super) const GRACE: Duration = Duration::from_millis(150);
/// How long a look waits for the others, once those that count tell the same: the first request to
/// a keyholder takes several round trips. So long those are waited for, too, that hung last time.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// How many verbs may wait for a keyholder that does not answer.
const BACKLOG: usize = 16;

/// The keyholders of one store.
pub(super) struct Circle {
    pub(super) members: Vec<Arc<dyn Keyholder>>,
    /// None if they are asked one after another, in this thread.
    workers: Vec<Worker>,
}

/// The thread that asks a member.
struct Worker {
    jobs: SyncSender<Job>,
    /// Whether the member hung when it was asked last.
    hangs: Arc<AtomicBool>,
}

impl Circle {
    /// Asks each in a thread of its own.
    ///
    /// # Errors
    /// `Io` if the system gives no thread.
    pub(super) fn at_once(members: Vec<Arc<dyn Keyholder>>) -> Result<Self> {
        let worker = |member: &Arc<dyn Keyholder>| {
            let (jobs, taken): (SyncSender<Job>, Receiver<Job>) = sync_channel(BACKLOG);
            let member = Arc::clone(member);
            // It ends with the circle.
            let asked = thread::Builder::new().name("keyholder".into()).spawn(move || {
                while let Ok(job) = taken.recv() {
                    let _wiped = WipeStack;
                    job(&*member);
                }
            });
            let none = "no thread can be started to ask a keyholder; raise the limit of processes and threads";
            asked.map_err(|e| Error::io(none, e))?;
            Ok(Worker { jobs, hangs: Arc::default() })
        };
        Ok(Circle { workers: members.iter().map(worker).collect::<Result<_>>()?, members })
    }

    /// Asks one after another: for runs that are replayed.
    #[cfg(feature = "testing")]
    pub(super) fn in_turn(members: Vec<Arc<dyn Keyholder>>) -> Self {
        Circle { members, workers: Vec::new() }
    }

    /// Hands each of these members, by where it is in the circle, its share; what each answers.
    pub(super) fn hand(
        &self,
        store: StoreId,
        owner: Owner,
        shares: BTreeMap<usize, Share>,
    ) -> Vec<(usize, Result<()>)> {
        let to: BTreeSet<usize> = shares.keys().copied().collect();
        let act = move |n: usize, member: &dyn Keyholder| match shares.get(&n) {
            Some(share) => member.deposit(store, &owner, share),
            None => Ok(()),
        };
        let have_answered =
            |answers: &[Option<Result<()>>]| to.iter().all(|n| answers[*n].is_some());
        let answers = self.ask(self.members.len(), have_answered, act).into_iter().enumerate();
        answers.filter(|(n, _)| to.contains(n)).collect()
    }

    /// Has every member carry out `act`. A member is reported as silent if it has not answered
    /// once the answers so far are `enough`, or the first `n` have answered, and a little more time
    /// has passed; those of them that hung last time hold up the others for [`LOOK`] at most.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        n: usize,
        enough: impl Fn(&[Option<Result<T>>]) -> bool,
        act: impl Fn(usize, &dyn Keyholder) -> Result<T> + Send + Sync + 'static,
    ) -> Vec<Result<T>> {
        self.ask_and_wait(n, GRACE, enough, act)
    }

    /// As [`Circle::ask`]; `grace` is the time that passes once the answers so far are `enough`.
    pub(super) fn ask_and_wait<T: Send + 'static>(
        &self,
        n: usize,
        grace: Duration,
        enough: impl Fn(&[Option<Result<T>>]) -> bool,
        act: impl Fn(usize, &dyn Keyholder) -> Result<T> + Send + Sync + 'static,
    ) -> Vec<Result<T>> {
        if self.workers.is_empty() {
            return self.members.iter().enumerate().map(|(n, member)| act(n, &**member)).collect();
        }
        let (act, (tell, hear)) = (Arc::new(act), channel());
        for (n, worker) in self.workers.iter().enumerate() {
            let (act, tell, hangs) = (Arc::clone(&act), tell.clone(), Arc::clone(&worker.hangs));
            // A member whose backlog is full is not asked now: a later verb covers all before it.
            let job = move |member: &dyn Keyholder| {
                let asked = Instant::now();
                let answer = {
                    let _wiped = WipeStack;
                    act(n, member)
                };
                let is_away = answer.as_ref().is_err_and(|e| e.kind() == ErrorKind::Io);
                hangs.store(is_away && asked.elapsed() >= LOOK, Ordering::Relaxed);
                drop(tell.send((n, answer)));
            };
            let _ = worker.jobs.try_send(Box::new(job));
        }
        drop(tell);
        let mut answers: Vec<Option<Result<T>>> = self.members.iter().map(|_| None).collect();
        let hung: Vec<bool> =
            self.workers.iter().map(|worker| worker.hangs.load(Ordering::Relaxed)).collect();
        let (mut until, mut met) = (Instant::now() + DEADLINE, false);
        let mut others_have = false;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match hear.recv_timeout(left) {
                Ok((n, answer)) => answers[n] = Some(answer),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
            // Those after the first n were replaced: nothing waits for them alone.
            let all = answers.iter().take(n).all(Option::is_some);
            let most = if all { GRACE } else { grace };
            if all || !met && enough(&answers) {
                until = until.min(Instant::now() + most);
                met = true;
            }
            let is_heard = |n: usize| answers[n].is_some() || hung[n];
            if !others_have && (0..n).all(is_heard) {
                until = until.min(Instant::now() + LOOK);
                others_have = true;
            }
        }
        drop(hear);
        let silent = |n: usize| {
            Error::new(
                ErrorKind::Io,
                format!("the keyholder {} does not answer", self.members[n].place()),
            )
        };
        answers
            .into_iter()
            .enumerate()
            .map(|(n, answer)| answer.unwrap_or_else(|| Err(silent(n))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promise::{RootId, Statement};
    use crate::quorum::Held;

    /// A keyholder that answers nothing for a while, if it is told so.
    struct Hanging(AtomicBool);

    impl Keyholder for Hanging {
        fn place(&self) -> String {
            "here".into()
        }

        fn key(&self) -> [u8; 32] {
            [0; 32]
        }

        fn claim(&self, _: StoreId, _: &Owner, _: u64) -> Result<()> {
            Ok(())
        }

        fn deposit(&self, _: StoreId, _: &Owner, _: &Share) -> Result<()> {
            Ok(())
        }

        fn load(&self, _: StoreId) -> Result<Held> {
            if self.0.load(Ordering::Relaxed) {
                thread::sleep(LOOK * 5 / 2);
                return Err(Error::new(ErrorKind::Io, "it took too long"));
            }
            Ok(Held::default())
        }

        fn retire(
            &self,
            _: StoreId,
            _: &Owner,
            _: &RootId,
            _: &[RootId],
            _: u64,
        ) -> Result<Statement> {
            Err(Error::invalid("nobody asks"))
        }
    }

    /// Once it has hung it does not hold up the others as long again; when it answers, it counts.
    #[test]
    fn one_that_hung_holds_up_the_others_for_a_second() {
        let members: Vec<Arc<Hanging>> =
            [false, true, true].map(|hangs| Arc::new(Hanging(hangs.into()))).into();
        let all = members.iter().map(|member| Arc::clone(member) as Arc<dyn Keyholder>);
        let circle = Circle::at_once(all.collect()).unwrap();
        let told = || {
            let answers = circle.ask(3, |_| false, |_, member| member.load(StoreId([0; 16])));
            let text = |answer: &Result<Held>| answer.as_ref().err().map(ToString::to_string);
            answers.iter().map(text).collect::<Vec<_>>()
        };
        let late = || Some("it took too long".to_owned());
        assert_eq!(told(), [None, late(), late()]);
        let silent = || Some("the keyholder here does not answer".to_owned());
        assert_eq!(told(), [None, silent(), silent()]);
        members.iter().for_each(|member| member.0.store(false, Ordering::Relaxed));
        // What it was asked before it answers first.
        while told().iter().any(Option::is_some) {}
    }
}
