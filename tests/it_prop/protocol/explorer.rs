//! Explores all states of a model, the shortest paths first. An invariant is a condition on a state; besides, the end must
//! be reachable from each state.
//!
//! Not the crate `stateright`: its `eventually` misses counterexamples in cycles, of which this protocol is full (a command
//! waits and comes back), and it enables serde's feature `rc` for all crates of the tests, which a release does not have.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hash, RandomState};

pub trait Model {
    type State: Clone + Eq + Hash + Debug;
    type Action: Copy + Debug;

    fn start(&self) -> Self::State;
    /// What may happen next.
    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>);
    fn next(&self, state: &Self::State, action: Self::Action) -> Self::State;
    fn invariants(&self) -> Vec<Invariant<Self>>;
    /// Whether the state is one in which the model may stay.
    fn is_end(&self, state: &Self::State) -> bool;
}

pub struct Invariant<M: Model + ?Sized> {
    pub name: &'static str,
    pub holds: fn(&M, &M::State) -> bool,
}

/// What an exploration has found.
pub struct Explored<A> {
    pub states: usize,
    /// The invariants that do not hold, each with the shortest path to such a state.
    pub violations: Vec<(&'static str, Vec<A>)>,
    /// The shortest path to a state from which the end cannot be reached.
    pub no_end: Option<Vec<A>>,
}

impl<A: Debug> Explored<A> {
    /// The length of the path to a violation of this invariant.
    pub fn violation(&self, name: &str) -> Option<usize> {
        self.violations.iter().find(|(found, _)| *found == name).map(|(_, path)| path.len())
    }

    pub fn assert_clean(&self) {
        assert!(self.violations.is_empty(), "violated: {:#?}", self.violations);
        assert!(self.no_end.is_none(), "no end can be reached after {:#?}", self.no_end);
    }
}

/// Explores the model. With `until`, only until this invariant is violated.
pub fn explore<M: Model>(model: &M, until: Option<&str>) -> Explored<M::Action> {
    // States by the hash of 128 bits: full states would take gigabytes.
    let hashers = [RandomState::new(), RandomState::new()];
    let hash = |state: &M::State| (hashers[0].hash_one(state), hashers[1].hash_one(state));
    let mut known = HashMap::new();
    // For each state: the one before it and the action between them.
    let mut parents: Vec<Option<(u32, M::Action)>> = vec![None];
    // For each state: those from which it is reached.
    let mut edges: Vec<(u32, u32)> = Vec::new();
    let mut ends: Vec<u32> = Vec::new();
    let invariants = model.invariants();
    let mut violations: Vec<(&'static str, Vec<M::Action>)> = Vec::new();
    let start = model.start();
    known.insert(hash(&start), 0_u32);
    let mut layer = vec![(0_u32, start)];
    let mut actions = Vec::new();
    while !layer.is_empty() {
        let mut next_layer = Vec::new();
        for (number, state) in layer {
            for invariant in &invariants {
                let is_new = violations.iter().all(|(name, _)| *name != invariant.name);
                if is_new && !(invariant.holds)(model, &state) {
                    violations.push((invariant.name, path(&parents, number)));
                    if until == Some(invariant.name) {
                        return Explored { states: known.len(), violations, no_end: None };
                    }
                }
            }
            if model.is_end(&state) {
                ends.push(number);
            }
            model.actions(&state, &mut actions);
            for action in actions.drain(..) {
                let next = model.next(&state, action);
                let fresh = u32::try_from(parents.len()).unwrap();
                let found = *known.entry(hash(&next)).or_insert(fresh);
                edges.push((found, number));
                if found == fresh {
                    parents.push(Some((number, action)));
                    next_layer.push((fresh, next));
                }
            }
        }
        layer = next_layer;
    }
    let no_end = first_without_end(parents.len(), edges, ends).map(|number| path(&parents, number));
    Explored { states: known.len(), violations, no_end }
}

fn path<A: Copy>(parents: &[Option<(u32, A)>], mut number: u32) -> Vec<A> {
    let mut path = Vec::new();
    while let Some((parent, action)) = parents[number as usize] {
        path.push(action);
        number = parent;
    }
    path.reverse();
    path
}

/// The first state from which none of `ends` is reached. `edges` are pairs of a state and one before it.
fn first_without_end(states: usize, mut edges: Vec<(u32, u32)>, ends: Vec<u32>) -> Option<u32> {
    edges.sort_unstable();
    edges.dedup();
    let mut reaches = vec![false; states];
    let mut left = ends;
    while let Some(state) = left.pop() {
        if std::mem::replace(&mut reaches[state as usize], true) {
            continue;
        }
        let from = edges.partition_point(|(after, _)| *after < state);
        left.extend(edges[from..].iter().take_while(|(after, _)| *after == state).map(|(_, before)| *before));
    }
    reaches.iter().position(|reaches| !reaches).map(|number| u32::try_from(number).unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts to a number and begins again; 7 is left for no other state.
    struct Counter(u8);

    impl Model for Counter {
        type State = u8;
        type Action = u8;

        fn start(&self) -> u8 {
            0
        }

        fn actions(&self, state: &u8, actions: &mut Vec<u8>) {
            actions.extend([1, 2].map(|step| (state + step) % self.0));
        }

        fn next(&self, state: &u8, action: u8) -> u8 {
            if *state == 7 { 7 } else { action }
        }

        fn invariants(&self) -> Vec<Invariant<Self>> {
            vec![Invariant { name: "below 5", holds: |_, state| *state < 5 }]
        }

        fn is_end(&self, state: &u8) -> bool {
            *state == 0
        }
    }

    #[test]
    fn explorer_finds_shortest_violations_and_states_without_an_end() {
        let found = explore(&Counter(5), None);
        assert_eq!((found.states, found.violations.len(), found.no_end), (5, 0, None));
        let found = explore(&Counter(8), None);
        assert_eq!((found.states, found.violation("below 5")), (8, Some(3)));
        assert_eq!(found.no_end.map(|path| path.len()), Some(4), "2, 4, 6 and 7");
    }
}
