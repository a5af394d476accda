//! A cell with what is kept of it on a machine that this process simulates.

use std::sync::{Arc, Mutex, PoisonError};

use super::ask::Circle;
use super::config::{Config, Rule, store_of};
use super::known::Local;
use super::ledger::Ledger;
use super::{Keyholder, QuorumCell};
use crate::cell::defect::CellDefect;
use crate::env::SharedEnv;
use crate::error::Result;

/// As [`QuorumCell::in_process`], with its list in `config`.
pub(crate) fn kept_in(
    members: Vec<Arc<dyn Keyholder>>,
    config: &Arc<Mutex<Config>>,
    env: SharedEnv,
    broken: Option<CellDefect>,
) -> Result<QuorumCell> {
    let (rule, store, mut ledger) = {
        let config = config.lock().unwrap_or_else(PoisonError::into_inner);
        (Rule::of(&config), store_of(&config)?, Ledger::read(&config)?)
    };
    ledger.deals_to_all = broken == Some(CellDefect::NewcomerDealt);
    let there = Arc::clone(config);
    let change = move |act: &mut dyn FnMut(&mut Config)| {
        act(&mut there.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    };
    let local = Local { store, ledger, change: Box::new(change), take_lock: Box::new(|| Ok(None)) };
    QuorumCell::new(Circle::in_turn(members), rule, local, env)
}
