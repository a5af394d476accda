//! One keyholder of several stores: no store's medium holds up another's.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use keyfall::cell::Owner;
use keyfall::env::{Env, SharedEnv, System};
use keyfall::promise::RootId;
use keyfall::quorum::Keyholder;
use keyfall::store::StoreId;
use keyfall::{Result, Timestamp};

/// Has each write of a slot wait until two are under way.
#[derive(Default)]
struct Meeting {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    waits: bool,
    inside: usize,
    met: bool,
}

impl Env for Meeting {
    fn now(&self) -> Timestamp {
        System.now()
    }

    fn fill(&self, out: &mut [u8]) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.waits {
            state.inside += 1;
            state.met |= state.inside > 1;
            self.moved.notify_all();
            let wait = |state: &mut State| state.waits && !state.met;
            (state, _) =
                self.moved.wait_timeout_while(state, Duration::from_secs(10), wait).unwrap();
            state.waits = state.waits && state.met;
            state.inside -= 1;
        }
        drop(state);
        System.fill(out)
    }
}

#[test]
fn requests_of_several_stores_are_carried_out_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let meeting = Arc::new(Meeting::default());
    let env: SharedEnv = meeting.clone();
    let holder = || keyfall::testing::holder(&dir.path().join("keyholder"), 1, &env);
    let owner = Owner { instance: [1; 16], claim: 1, token: [1; 16] };
    let stores = [1, 2].map(|n| StoreId([n; 16]));
    let before = holder();
    for store in stores {
        before.claim(store, &owner, 0).unwrap();
    }
    // It was started again: what it did not see destroyed it destroys once more.
    let holder = holder();
    meeting.state.lock().unwrap().waits = true;
    std::thread::scope(|scope| {
        for store in stores {
            let (holder, keep) = (&holder, RootId { epoch: 1, attempt: [1; 16] });
            scope.spawn(move || holder.retire(store, &owner, &keep, &[], 0).unwrap());
        }
    });
    assert!(meeting.state.lock().unwrap().met, "one store waited for the other one's medium");
}
