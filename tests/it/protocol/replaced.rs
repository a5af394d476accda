//! Keyholders that are replaced while erases are not final yet: one engine, whose messages arrive
//! late or never. Of each epoch it is known which keyholders were dealt a share, and which have
//! signed; an epoch ends by its own count. SPEC §15.

use keyfall::promise::Quorum;
use stateright::{Model, Property};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// The newest epoch's count is taken for that of all before it.
    OneFlag,
    /// The keyholders in the list now count, and not those that were dealt a share.
    CurrentList,
    /// The signature of a keyholder that was at a point counts for all that were at it.
    ByPoint,
    /// What a replaced keyholder said is forgotten with the next epoch.
    StatementForgotten,
    /// A keyholder that was dealt a share before its epoch was published does not count.
    DealtAtPublish,
}

const THRESHOLD: u8 = 2;
/// Three at the beginning, and those that replace them.
const PEOPLE: usize = 5;
const EPOCHS: usize = 4;

type Mask = u8;

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct State {
    /// The keyholder that is at each point now.
    list: [u8; 3],
    /// At which point everybody is, or was.
    point: [u8; PEOPLE],
    people: u8,
    epoch: u8,
    published: bool,
    /// Which keyholders were dealt a share of an epoch's key, and which say that they have taken
    /// it.
    dealt: [Mask; EPOCHS],
    taken: [Mask; EPOCHS],
    /// Epochs of which somebody has a share.
    has: [Mask; PEOPLE],
    /// The keyholders that are asked to keep this epoch's key alone.
    asked: [Mask; EPOCHS],
    /// The highest epoch that somebody kept, and what the engine knows of it.
    kept: [u8; PEOPLE],
    said: [u8; PEOPLE],
    fin: Mask,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Step {
    Erase,
    Replace(u8),
    Publish,
    Deposit(u8, u8),
    Retire(u8, u8),
    Final(u8),
}

struct Replaced {
    /// How many epochs there are, the first included.
    epochs: usize,
    /// The first keyholder keeps what it says to have destroyed.
    liar: bool,
    mistake: Mistake,
}

fn people(mask: Mask) -> impl Iterator<Item = usize> {
    (0..PEOPLE).filter(move |n| mask & 1 << n != 0)
}

impl Replaced {
    fn needed(&self, dealt: Mask) -> usize {
        let keyholders = people(dealt).map(|n| [n as u8; 32]).collect();
        Quorum { threshold: THRESHOLD, liars: u8::from(self.liar), keyholders }.needed()
    }

    /// Whether the key of an epoch counts as destroyed.
    fn is_final(&self, state: &State, epoch: u8) -> bool {
        let listed: Mask = state.list.iter().map(|n| 1 << n).sum();
        let newest = state.epoch - u8::from(!state.published);
        if epoch >= newest {
            return false;
        }
        let (counted, above) = match self.mistake {
            Mistake::OneFlag => (state.dealt[usize::from(newest)], newest - 1),
            Mistake::CurrentList => (listed, epoch),
            Mistake::DealtAtPublish => (state.taken[usize::from(epoch)], epoch),
            _ => (state.dealt[usize::from(epoch)], epoch),
        };
        let said = |n: &usize| match self.mistake {
            Mistake::ByPoint => {
                (0..PEOPLE).any(|m| state.point[m] == state.point[*n] && state.said[m] > above)
            }
            _ => state.said[*n] > above,
        };
        people(counted).filter(said).count() >= self.needed(counted)
    }

    fn begin(&self, state: &mut State) -> Option<()> {
        if usize::from(state.epoch) + 1 == self.epochs || !state.published {
            return None;
        }
        state.epoch += 1;
        state.published = false;
        state.dealt[usize::from(state.epoch)] = state.list.iter().map(|n| 1 << n).sum();
        if self.mistake == Mistake::StatementForgotten {
            for n in 0..PEOPLE {
                if !state.list.contains(&(n as u8)) {
                    state.said[n] = 0;
                }
            }
        }
        Some(())
    }
}

impl Model for Replaced {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let mut state = State {
            list: [0, 1, 2],
            point: [0, 1, 2, 9, 9],
            people: 3,
            epoch: 0,
            published: true,
            dealt: [0; EPOCHS],
            taken: [0; EPOCHS],
            has: [0; PEOPLE],
            asked: [0; EPOCHS],
            kept: [0; PEOPLE],
            said: [0; PEOPLE],
            fin: 0,
        };
        (state.dealt[0], state.taken[0]) = (0b111, 0b111);
        state.has[..3].fill(1);
        vec![state]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend([Step::Erase, Step::Publish]);
        steps.extend((0..3).map(Step::Replace));
        for epoch in 0..=state.epoch {
            for n in 0..state.people {
                steps.extend([Step::Deposit(n, epoch), Step::Retire(n, epoch)]);
            }
            steps.push(Step::Final(epoch));
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        match step {
            Step::Erase => self.begin(&mut state)?,
            Step::Replace(point) => {
                if usize::from(state.people) == PEOPLE {
                    return None;
                }
                // The engine sees the new list with the epoch that it begins.
                state.list[usize::from(point)] = state.people;
                state.point[usize::from(state.people)] = point;
                state.people += 1;
                self.begin(&mut state)?;
            }
            Step::Publish => {
                let taken = state.taken[usize::from(state.epoch)];
                if state.published || taken.count_ones() < u32::from(THRESHOLD) {
                    return None;
                }
                state.published = true;
                // Those that left are asked as well.
                state.asked[usize::from(state.epoch)] = (1 << state.people) - 1;
            }
            Step::Deposit(n, epoch) => {
                let (person, at) = (usize::from(n), usize::from(epoch));
                if state.dealt[at] & 1 << n == 0 || state.kept[person] >= epoch {
                    return None;
                }
                state.has[person] |= 1 << epoch;
                state.taken[at] |= 1 << n;
            }
            Step::Retire(n, keep) => {
                let person = usize::from(n);
                if state.asked[usize::from(keep)] & 1 << n == 0 || state.kept[person] > keep {
                    return None;
                }
                if !self.liar || n != 0 {
                    state.has[person] &= !((1 << keep) - 1);
                }
                state.kept[person] = keep;
                state.said[person] = keep;
            }
            Step::Final(epoch) => {
                if !self.is_final(&state, epoch) {
                    return None;
                }
                state.fin |= 1 << epoch;
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(GONE, |_: &Replaced, state: &State| {
                let shares =
                    |epoch: u8| (0..PEOPLE).filter(|n| state.has[*n] & 1 << epoch != 0).count();
                (0..=state.epoch)
                    .filter(|e| state.fin & 1 << e != 0)
                    .all(|e| shares(e) < usize::from(THRESHOLD))
            }),
            Property::always(COUNTED, |model: &Replaced, state: &State| {
                let all = |e: u8| people(state.dealt[usize::from(e)]).all(|n| state.kept[n] > e);
                (0..state.epoch).all(|e| !all(e) || model.is_final(state, e))
            }),
            Property::sometimes(
                "an epoch ends by the word of one who left",
                |model: &Replaced, state: &State| {
                    (0..state.epoch).any(|e| {
                        let there: Mask = state.list.iter().map(|n| 1 << n).sum();
                        let dealt = state.dealt[usize::from(e)];
                        let said = people(dealt & there).filter(|n| state.said[*n] > e).count();
                        state.fin & 1 << e != 0 && said < model.needed(dealt)
                    })
                },
            ),
        ]
    }
}

const GONE: &str =
    "of a key that counts as destroyed fewer shares are left than give it back, for ever";
const COUNTED: &str = "an epoch is over when all who were dealt a share of it have said so";

#[test]
fn finality_is_a_fact_of_each_epoch_though_keyholders_are_replaced() {
    let epochs = if super::large() { EPOCHS } else { 3 };
    super::holds("keyholders replaced", Replaced { epochs, liar: false, mistake: Mistake::None });
    super::holds(
        "keyholders replaced, one lies",
        Replaced { epochs, liar: true, mistake: Mistake::None },
    );
}

#[test]
fn every_mistake_with_replaced_keyholders_is_found() {
    for (mistake, broken) in [
        (Mistake::OneFlag, GONE),
        (Mistake::CurrentList, GONE),
        (Mistake::ByPoint, GONE),
        (Mistake::DealtAtPublish, GONE),
        (Mistake::StatementForgotten, COUNTED),
    ] {
        super::breaks(
            &format!("keyholders replaced, {mistake:?}"),
            Replaced { epochs: 3, liar: false, mistake },
            broken,
        );
    }
}
