//! The requested rules of one service, with the checks that a schema cannot express. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::params::{ApplyParams, CircuitBreaker, Destination, LoadBalancer, Rule};
use crate::task::Error;

/// Istio's smallest duration.
const SHORTEST: Duration = Duration::from_millis(1);

/// Traffic of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub service: String,
    /// Every subset there is to be, by the labels of its pods.
    pub subsets: BTreeMap<String, BTreeMap<String, String>>,
    pub rules: Vec<Rule>,
    pub circuit_breaker: Option<CircuitBreaker>,
    pub load_balancer: Option<LoadBalancer>,
    pub mutual_tls: bool,
}

impl Spec {
    /// A service with rules, whose subsets are versions.
    pub fn of(service: &str, rules: Vec<Rule>) -> Self {
        let mut spec = Self {
            service: service.to_owned(),
            subsets: BTreeMap::new(),
            rules,
            circuit_breaker: None,
            load_balancer: None,
            mutual_tls: false,
        };
        spec.complete();
        spec
    }

    /// The labels of a subset that is a version.
    pub fn version(version: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("version".to_owned(), version.to_owned())])
    }

    /// The requested rules of a service.
    ///
    /// # Errors
    /// The parameter that is wrong, and why.
    pub fn all(params: &ApplyParams) -> Result<Vec<Self>, Error> {
        let own = !params.subsets.is_empty()
            || !params.rules.is_empty()
            || params.circuit_breaker.is_some()
            || params.load_balancer.is_some()
            || params.mutual_tls;
        match (params.scenario, &params.service) {
            (Some(scenario), None) if !own => Ok(scenario.specs()),
            (Some(_), None) => {
                Err(wrong("scenario", "a scenario sets all rules and subsets; remove the other parameters"))
            }
            (Some(_), Some(_)) => Err(wrong("scenario", "set either scenario or service, not both")),
            (None, None) => Err(wrong("service", "required unless scenario is set")),
            (None, Some(_)) if !own => Err(wrong(
                "rules",
                "set at least one of rules, subsets, circuit_breaker, load_balancer and mutual_tls; traffic.clear removes the rules of a service",
            )),
            (None, Some(service)) => {
                let mut spec = Self {
                    service: service.clone(),
                    subsets: params.subsets.iter().map(|(name, labels)| (name.clone(), labels.0.clone())).collect(),
                    rules: params.rules.clone(),
                    circuit_breaker: params.circuit_breaker.clone(),
                    load_balancer: params.load_balancer,
                    mutual_tls: params.mutual_tls,
                };
                spec.check()?;
                spec.complete();
                Ok(vec![spec])
            }
        }
    }

    /// Whether a rule sends requests or copies to the subset.
    pub fn routes_to(&self, subset: &str) -> bool {
        self.rules.iter().flat_map(named_subsets).any(|named| named == subset)
    }

    /// Adds the subsets that are only named in rules.
    fn complete(&mut self) {
        let named: BTreeSet<_> = self.rules.iter().flat_map(named_subsets).map(str::to_owned).collect();
        for name in named {
            let labels = Self::version(&name);
            self.subsets.entry(name).or_insert(labels);
        }
    }

    fn check(&self) -> Result<(), Error> {
        let last = self.rules.len().saturating_sub(1);
        for (index, rule) in self.rules.iter().enumerate() {
            let at = |reason: String| wrong("rules", format!("rule {}: {reason}", index + 1));
            check(rule).map_err(at)?;
            if index < last && catches_all(rule) {
                return Err(at("it matches all requests, so the rules after it have no effect".to_owned()));
            }
        }
        if let Some(breaker) = &self.circuit_breaker {
            if *breaker == CircuitBreaker::default() {
                return Err(wrong("circuit_breaker", "it has no limit"));
            }
            if let Some(short) = [breaker.interval, breaker.base_ejection_time].into_iter().flatten().find(short) {
                return Err(wrong("circuit_breaker", too_short(short)));
            }
        }
        Ok(())
    }
}

/// Whether every request fits it.
pub fn catches_all(rule: &Rule) -> bool {
    rule.matches.is_empty() || rule.matches.iter().any(|one| *one == super::params::Match::default())
}

fn check(rule: &Rule) -> Result<(), String> {
    weights(&rule.destinations)?;
    for destination in &rule.destinations {
        one_place(destination.subset.as_deref(), destination.service.as_deref())?;
    }
    if let Some(mirror) = &rule.mirror {
        one_place(mirror.subset.as_deref(), mirror.service.as_deref())?;
    }
    let fault = rule.fault.as_ref();
    if fault.is_some_and(|fault| fault.delay.is_none() && fault.abort.is_none()) {
        return Err("its fault has neither delay nor abort".to_owned());
    }
    let durations = [
        rule.timeout,
        rule.retries.as_ref().and_then(|retries| retries.per_try_timeout),
        fault.and_then(|fault| fault.delay.as_ref()).map(|delay| delay.fixed),
    ];
    match durations.into_iter().flatten().find(short) {
        Some(short) => Err(too_short(short)),
        None => Ok(()),
    }
}

fn weights(destinations: &[Destination]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for one in destinations {
        if !seen.insert((&one.subset, &one.service, one.port)) {
            return Err("a destination is there twice".to_owned());
        }
    }
    match destinations {
        [] => Ok(()),
        [only] if only.weight.is_none() => Ok(()),
        several => {
            let given: Option<Vec<u32>> = several.iter().map(|one| one.weight.map(u32::from)).collect();
            match given.map(|weights| weights.iter().sum()) {
                None => Err("of several destinations each needs a weight".to_owned()),
                Some(100) => Ok(()),
                Some(sum) => Err(format!("the weights of its destinations add up to {sum}, not to 100")),
            }
        }
    }
}

fn one_place(subset: Option<&str>, service: Option<&str>) -> Result<(), String> {
    match (subset, service) {
        (Some(subset), Some(service)) => Err(format!(
            "subset {subset} of service {service}: only the command's own service has subsets here; shape the other \
             one by a command of its own"
        )),
        _ => Ok(()),
    }
}

fn named_subsets(rule: &Rule) -> impl Iterator<Item = &str> {
    let destinations = rule.destinations.iter().filter_map(|one| one.subset.as_deref());
    destinations.chain(rule.mirror.iter().filter_map(|mirror| mirror.subset.as_deref()))
}

fn short(duration: &Duration) -> bool {
    *duration < SHORTEST || !duration.subsec_nanos().is_multiple_of(1_000_000)
}

fn too_short(duration: Duration) -> String {
    format!("{} is not a whole number of milliseconds above zero", humantime::format_duration(duration))
}

fn wrong(field: &'static str, reason: impl Into<String>) -> Error {
    Error::Parameter { field, reason: reason.into() }
}
