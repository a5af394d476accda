//! The erase protocol, checked exhaustively with stateright: small models, one for each part, each
//! of which visits every order of its steps, with crashes, late messages and late writes anywhere.
//! The rules that code and models share are the code's: [`Fence`], [`Quorum::needed`]. SPEC §6,
//! §6.8, §15.
//!
//! Each seeded mistake, one for each rule, must give a counterexample. `KEYFALL_MODEL=large` makes
//! the models larger.
//!
//! [`Fence`]: keyfall::promise::Fence
//! [`Quorum::needed`]: keyfall::promise::Quorum::needed

mod keyholders;
mod medium;
mod objects;
mod ready;
mod replaced;

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// What stateright asks of a model.
trait Checkable:
    Model<
        State: Clone + Debug + Hash + PartialEq + Send + Sync,
        Action: Clone + Debug + PartialEq + Send + Sync,
    > + Send
    + Sync
    + 'static
{
}

impl<M> Checkable for M where
    M: Model<
            State: Clone + Debug + Hash + PartialEq + Send + Sync,
            Action: Clone + Debug + PartialEq + Send + Sync,
        > + Send
        + Sync
        + 'static
{
}

/// Visits every state of a model, or as many as it takes until `property` fails. Gives their
/// number, what failed, and what was to happen sometimes and never did.
fn checked<M: Checkable>(
    name: &str,
    model: M,
    property: Option<&'static str>,
) -> (usize, Vec<&'static str>) {
    let sometimes: Vec<&'static str> = model
        .properties()
        .iter()
        .filter(|p| p.expectation == Expectation::Sometimes)
        .map(|p| p.name)
        .collect();
    let checker = model.checker().threads(2);
    let checker = match property {
        Some(property) => checker.finish_when(HasDiscoveries::AnyOf([property].into())),
        None => checker,
    };
    let checker = checker.spawn_bfs().join();
    let found = checker.discoveries();
    let mut failed: Vec<&'static str> =
        found.keys().copied().filter(|name| !sometimes.contains(name)).collect();
    for property in &failed {
        println!("{name}: {property} fails: {:?}", found[property].clone().into_actions());
    }
    if property.is_none() {
        failed.extend(sometimes.into_iter().filter(|name| !found.contains_key(name)));
    }
    println!("{name}: {} states", checker.unique_state_count());
    (checker.unique_state_count(), failed)
}

/// Checks that the rules hold.
fn holds<M: Checkable>(name: &str, model: M) {
    let (states, failed) = checked(name, model, None);
    assert!(failed.is_empty() && states > 100, "{name}: {failed:?} in {states} states");
}

/// Checks that a mistake breaks what it is to break.
fn breaks<M: Checkable>(name: &str, model: M, property: &'static str) {
    let (_, failed) = checked(name, model, Some(property));
    assert!(failed.contains(&property), "{name} must break {property:?}, and breaks {failed:?}");
}

fn large() -> bool {
    std::env::var_os("KEYFALL_MODEL").is_some_and(|size| size == "large")
}
