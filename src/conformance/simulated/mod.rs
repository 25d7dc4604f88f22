//! A data plane in memory that interprets SMI objects and Gateway API routes. It sends no traffic: it shows what the
//! suites see of a mesh that conforms, of one that ignores the objects, and of mutants that break one feature each.

mod gateway;
mod mutant;
mod pattern;
mod smi;
mod workloads;
mod world;

pub(in crate::conformance) use world::workload;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

pub use mutant::{MUTANTS, Mutant, MutantInfo};
pub use workloads::SimulatedWorkloads;

use super::Error;
use super::environment::Environment;
use super::traffic::{Answer, Failure, Request, TrafficDriver};
use crate::cluster::ObjectRef;
use world::World;

/// How the data plane behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    /// As the specifications say.
    Conforming,
    /// As without an adapter: objects have no effect.
    Ignoring,
    /// Conforms, but refuses regular expressions of paths and headers with an Event, and denies what they would allow.
    RefusingRegex,
    /// Breaks one feature.
    Broken(Mutant),
}

/// The data plane.
pub struct Simulated {
    environment: Arc<dyn Environment>,
    behavior: Behavior,
    state: Mutex<State>,
}

/// The objects that a stale data plane uses.
struct State {
    random: SmallRng,
    targets: BTreeMap<ObjectRef, Value>,
    groups: BTreeMap<ObjectRef, Value>,
    splits: BTreeMap<ObjectRef, Value>,
}

impl Simulated {
    /// Interprets the objects of `environment`. The same seed gives the same choices of backends.
    #[must_use]
    pub fn new(environment: Arc<dyn Environment>, behavior: Behavior, seed: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        let state = State { random, targets: BTreeMap::new(), groups: BTreeMap::new(), splits: BTreeMap::new() };
        Self { environment, behavior, state: Mutex::new(state) }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.behavior == Behavior::Broken(mutant)
    }

    /// A number below `limit`.
    fn below(&self, limit: u32) -> u32 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.random.random_range(0..limit.max(1))
    }

    /// Picks by weight; none when there is no weight at all.
    fn weighted<'a, T>(&self, choices: &'a [(T, u32)]) -> Option<&'a T> {
        let total: u32 = choices.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return None;
        }
        let mut place = self.below(total);
        for (choice, weight) in choices {
            if place < *weight {
                return Some(choice);
            }
            place -= weight;
        }
        None
    }

    /// A data plane that does not notice some changes sees an older world.
    fn remember(&self, world: &mut World) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is(Mutant::DeletionIgnored) {
            state.targets.append(&mut world.targets);
            world.targets = state.targets.clone();
            for (name, group) in std::mem::take(&mut world.groups) {
                state.groups.insert(name, group);
            }
            world.groups = state.groups.clone();
        }
        if self.is(Mutant::StaleRoutes) {
            state.groups.retain(|name, _| world.groups.contains_key(name));
            for (name, group) in std::mem::take(&mut world.groups) {
                state.groups.entry(name).or_insert(group);
            }
            world.groups = state.groups.clone();
        }
        if self.is(Mutant::SplitDeletionIgnored) {
            state.splits.append(&mut world.splits);
            world.splits = state.splits.clone();
        }
    }
}

#[async_trait]
impl TrafficDriver for Simulated {
    async fn send(&self, request: &Request) -> Result<Vec<Answer>, Error> {
        let mut world = World::read(self.environment.as_ref(), request).await?;
        self.remember(&mut world);
        for event in self.reports(&world) {
            self.environment.apply(&event).await?;
        }
        Ok((0..request.count).map(|_| self.answer(&world, request)).collect())
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}

impl Simulated {
    fn answer(&self, world: &World, request: &Request) -> Answer {
        let Some(service) = &world.service else {
            return Answer::failed(format!("dial tcp: lookup {}: no such host", request.host));
        };
        if !world::has_port(service, request.port) {
            return Answer::failed("dial tcp: connect: connection refused");
        }
        match self.route(world, request) {
            Some(answer) => answer,
            None => self.split(world, request, service),
        }
    }

    /// The answer of one of the pods that a Service selects, if its policies allow the request.
    fn deliver(&self, world: &World, request: &Request, service: &Value) -> Answer {
        let pods: Vec<_> = world.endpoints(service).collect();
        let first = self.is(Mutant::FirstEndpointOnly);
        let pick = if first { 0 } else { self.below(u32::try_from(pods.len()).unwrap_or(u32::MAX)) };
        let Some(pod) = pods.get(usize::try_from(pick).unwrap_or_default()) else {
            return Answer { status: Some(503), ..Answer::default() };
        };
        if !self.allows(world, request, pod) {
            let response_headers = vec![("X-Denied-By".to_owned(), "RBAC: access denied".to_owned())];
            return Answer { status: Some(403), response_headers, ..Answer::default() };
        }
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        Answer {
            status: Some(200),
            error: None::<(Failure, String)>,
            backend: workload(name).to_owned(),
            path: request.path.clone(),
            host: request.host.clone(),
            request_headers: request.headers.clone(),
            response_headers: Vec::new(),
        }
    }
}
