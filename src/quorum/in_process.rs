//! Cells over keyholders in this process, asked in turn: for runs that are replayed.

use std::sync::{Arc, Mutex, PoisonError};

use super::Keyholder;
use super::ask::Circle;
use super::cell::{Change, QuorumCell, TakeLock};
use super::config::{Config, Ledger, Rule};
use crate::env::SharedEnv;
use crate::error::Result;
use crate::ids::StoreId;

impl QuorumCell {
    /// A cell over keyholders in this process, asked in turn: for runs that are replayed.
    ///
    /// # Errors
    /// As [`Quorum::check`].
    pub fn in_process(
        members: Vec<Arc<dyn Keyholder>>,
        rule: impl Into<Rule>,
        store: Option<StoreId>,
        env: SharedEnv,
    ) -> Result<Self> {
        let kept: (Change, TakeLock) = (Box::new(|_| Ok(())), Box::new(|| Ok(None)));
        QuorumCell::new(Circle::in_turn(members), rule.into(), (store, Ledger::default()), kept, env)
    }

    /// The same, with what is kept of it on a machine that this process simulates.
    pub(crate) fn kept_in(
        members: Vec<Arc<dyn Keyholder>>,
        config: &Arc<Mutex<Config>>,
        env: SharedEnv,
    ) -> Result<Self> {
        let (rule, store, ledger) = {
            let config = config.lock().unwrap_or_else(PoisonError::into_inner);
            let rule = Rule { threshold: config.threshold, liars: config.liars, margin: config.margin };
            (rule, super::config::store_of(&config)?, Ledger::read(&config)?)
        };
        let there = Arc::clone(config);
        let change = move |act: &mut dyn FnMut(&mut Config)| {
            act(&mut there.lock().unwrap_or_else(PoisonError::into_inner));
            Ok(())
        };
        let kept: (Change, TakeLock) = (Box::new(change), Box::new(|| Ok(None)));
        QuorumCell::new(Circle::in_turn(members), rule, (store, ledger), kept, env)
    }
}
