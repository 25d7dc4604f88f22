//! Simulates a data plane that enforces SMI v0.6.0, and mutants that violate it.

use serde_json::{Value, json};

use super::super::traffic::{Answer, Request};
use super::world::{World, each, has_port};
use super::{Behavior, Mutant, Simulated, pattern};

impl Simulated {
    /// Whether the access policies of the pod's namespace allow the request.
    pub(super) fn allows(&self, world: &World, request: &Request, pod: &Value) -> bool {
        if self.behavior == Behavior::Ignoring || !world.default_deny || self.is(Mutant::DefaultDenyIgnored) {
            return true;
        }
        if self.is(Mutant::AllowIgnored) {
            return false;
        }
        let account = &pod["spec"]["serviceAccountName"];
        let destination = |target: &&Value| {
            let destination = &target["spec"]["destination"];
            destination["name"] == *account && destination["namespace"] == *world.namespace
        };
        let targets: Vec<_> = world.targets.values().filter(destination).collect();
        let count = if self.is(Mutant::FirstTargetOnly) { 1 } else { targets.len() };
        targets.into_iter().take(count).any(|target| {
            each(&target["spec"]["sources"]).any(|source| self.is_source(world, source))
                && each(&target["spec"]["rules"]).any(|rule| self.rule(world, request, rule))
        })
    }

    fn is_source(&self, world: &World, source: &Value) -> bool {
        let same_name = source["name"] == *world.account;
        let same_namespace = source["namespace"] == *world.from;
        match self.behavior {
            Behavior::Broken(Mutant::SourceIgnored) => true,
            Behavior::Broken(Mutant::SourceNamespaceIgnored) => same_name,
            Behavior::Broken(Mutant::SourceAccountIgnored) => same_namespace,
            _ => same_name && same_namespace,
        }
    }

    fn rule(&self, world: &World, request: &Request, rule: &Value) -> bool {
        if rule["kind"] == "TCPRoute" {
            let Some(route) = world.object(&world.tcp_routes, &rule["name"]) else {
                return self.is(Mutant::DeletionIgnored);
            };
            let ports: Vec<_> = each(&route["spec"]["matches"]["ports"]).collect();
            return ports.is_empty()
                || self.is(Mutant::PortsIgnored)
                || ports.iter().any(|port| **port == request.port);
        }
        let Some(group) = world.object(&world.groups, &rule["name"]) else { return false };
        let names: Vec<_> = each(&rule["matches"]).collect();
        let referenced = |one: &&Value| {
            if names.is_empty() { !self.is(Mutant::OmittedMatchesMeanNone) } else { names.contains(&&one["name"]) }
        };
        let mut matches = each(&group["spec"]["matches"]).filter(referenced);
        if names.is_empty() && self.is(Mutant::OmittedMatchesMeanFirst) {
            return matches.next().is_some_and(|one| self.is_match(request, one));
        }
        matches.any(|one| self.is_match(request, one))
    }

    fn is_match(&self, request: &Request, one: &Value) -> bool {
        self.path_matches(request, one) && self.method_matches(request, one) && self.headers_match(request, one)
    }

    fn path_matches(&self, request: &Request, one: &Value) -> bool {
        let Some(regex) = one["pathRegex"].as_str() else { return true };
        let path = request.path.as_str();
        match self.behavior {
            Behavior::RefusingRegex if pattern::is_regex(regex) => false,
            Behavior::Broken(Mutant::PathIgnored) => true,
            Behavior::Broken(Mutant::PathExact) => pattern::matches(regex, path, true),
            Behavior::Broken(Mutant::PathAnywhere) => {
                (0..path.len()).any(|at| pattern::matches(regex, &path[at..], false))
            }
            Behavior::Broken(Mutant::PathRegexWidened) if pattern::is_regex(regex) => {
                let literal = regex.find(['.', '[', '*', '+']).map_or(regex, |at| &regex[..at]);
                path.starts_with(literal)
            }
            Behavior::Broken(Mutant::RefusalAllowsAll) if pattern::is_regex(regex) => true,
            _ => pattern::matches(regex, path, false),
        }
    }

    fn method_matches(&self, request: &Request, one: &Value) -> bool {
        let mut methods = each(&one["methods"]).peekable();
        match self.behavior {
            Behavior::Broken(Mutant::MethodIgnored) => true,
            Behavior::Broken(Mutant::MethodDropped) => methods.any(|method| *method == "*"),
            _ => methods.peek().is_none() || methods.any(|method| *method == "*" || *method == *request.method),
        }
    }

    /// Both forms: a map, and a list of maps with one entry each. All must match.
    fn headers_match(&self, request: &Request, one: &Value) -> bool {
        let maps: Vec<&Value> = match &one["headers"] {
            Value::Null => return true,
            map @ Value::Object(_) => vec![map],
            list => each(list).collect(),
        };
        let wanted: Vec<_> = maps.into_iter().filter_map(Value::as_object).flatten().collect();
        let fits = |(name, value): &(&String, &Value)| {
            let regex = value.as_str().unwrap_or_default();
            let Some((_, sent)) = request.headers.iter().find(|(one, _)| one.eq_ignore_ascii_case(name)) else {
                return false;
            };
            match self.behavior {
                Behavior::RefusingRegex if pattern::is_regex(regex) => false,
                Behavior::Broken(Mutant::HeaderPresenceOnly) => true,
                Behavior::Broken(Mutant::HeaderRegexWidened) if pattern::is_regex(regex) => {
                    sent.starts_with(&regex[..1])
                }
                Behavior::Broken(Mutant::HeaderRegexLiteral) => sent == regex,
                _ => pattern::matches(regex, sent, true),
            }
        };
        match self.behavior {
            Behavior::Broken(Mutant::HeadersIgnored) => true,
            Behavior::Broken(Mutant::HeadersOred) => wanted.iter().any(fits),
            _ => wanted.iter().all(fits),
        }
    }

    /// Sends the request to a backend of the root Service's split, or to the root Service.
    pub(super) fn split(&self, world: &World, request: &Request, root: &Value) -> Answer {
        let ignored = self.behavior == Behavior::Ignoring || self.is(Mutant::SplitIgnored);
        let split = world.splits.values().find(|split| split["spec"]["service"] == root["metadata"]["name"]);
        let Some(split) = split.filter(|_| !ignored) else { return self.deliver(world, request, root) };
        let matches: Vec<_> = each(&split["spec"]["matches"]).collect();
        if !matches.is_empty() && !self.is(Mutant::SplitMatchesIgnored) {
            let hit = matches.iter().any(|one| {
                let group = world.object(&world.groups, &one["name"]);
                group.is_some_and(|group| each(&group["spec"]["matches"]).any(|one| self.is_match(request, one)))
            });
            if !hit {
                return if self.is(Mutant::SplitMatchesDropOthers) {
                    Answer { status: Some(404), ..Answer::default() }
                } else {
                    self.deliver(world, request, root)
                };
            }
        }
        let backends = self.backends(world, request, split);
        match self.weighted(&backends) {
            Some(Some(backend)) => self.deliver(world, request, backend),
            Some(None) | None => Answer { status: Some(503), ..Answer::default() },
        }
    }

    /// The split's backends with the weights that this data plane gives them.
    fn backends<'a>(&self, world: &'a World, request: &Request, split: &Value) -> Vec<(Option<&'a Value>, u32)> {
        let mut backends: Vec<(Option<&Value>, u32)> = each(&split["spec"]["backends"])
            .map(|backend| {
                let weight = backend["weight"].as_u64().and_then(|weight| u32::try_from(weight).ok()).unwrap_or(0);
                (world.named(backend["service"].as_str().unwrap_or_default()), weight)
            })
            .collect();
        if self.is(Mutant::MissingBackendBreaksSplit) && backends.iter().any(|(service, _)| service.is_none()) {
            return vec![];
        }
        if !self.is(Mutant::BackendPortIgnored) {
            backends.retain(|(service, _)| service.is_none_or(|service| has_port(service, request.port)));
        }
        let Behavior::Broken(mutant) = self.behavior else { return backends };
        match mutant {
            Mutant::WeightsSwapped => {
                let weights: Vec<_> = backends.iter().rev().map(|(_, weight)| *weight).collect();
                backends.iter_mut().zip(weights).for_each(|(backend, weight)| backend.1 = weight);
            }
            Mutant::WeightsEqual => backends.iter_mut().filter(|(_, weight)| *weight > 0).for_each(|one| one.1 = 1),
            Mutant::WeightOff => {
                // Half of the first backend's weight goes to the last.
                if let [first, .., last] = backends.as_mut_slice()
                    && first.1 > 0
                    && last.1 > 0
                {
                    let moved = first.1 / 2;
                    first.1 -= moved;
                    last.1 += moved;
                }
            }
            Mutant::WeightsArePercent => {
                let mut left = 100;
                for (_, weight) in &mut backends {
                    *weight = (*weight).min(left);
                    left -= *weight;
                }
            }
            Mutant::ZeroWeightGetsOnePercent => backends.iter_mut().for_each(|one| one.1 = (one.1 * 99).max(1)),
            Mutant::LargestBackendTakesAll => {
                let most = backends.iter().map(|(_, weight)| *weight).max();
                backends.iter_mut().filter(|one| Some(one.1) != most).for_each(|one| one.1 = 0);
            }
            _ => {}
        }
        backends
    }

    /// Events about objects that are not enforced as they are.
    pub(super) fn reports(&self, world: &World) -> Vec<Value> {
        let mut events = Vec::new();
        if self.behavior == Behavior::RefusingRegex {
            let is_refused = |group: &&Value| {
                each(&group["spec"]["matches"]).any(|one| {
                    let headers = one["headers"].to_string();
                    one["pathRegex"].as_str().is_some_and(pattern::is_regex) || headers.contains('[')
                })
            };
            events.extend(world.groups.values().filter(is_refused).map(|group| event(group, "Refused")));
        }
        let silent = self.behavior == Behavior::Ignoring || self.is(Mutant::PortMismatchSilent);
        for split in world.splits.values().filter(|_| !silent) {
            let root = world.named(split["spec"]["service"].as_str().unwrap_or_default());
            let ports: Vec<_> = root.into_iter().flat_map(|root| each(&root["spec"]["ports"])).collect();
            let lacks = |backend: &Value| {
                world.named(backend["service"].as_str().unwrap_or_default()).is_some_and(|service| {
                    ports.iter().any(|port| !each(&service["spec"]["ports"]).any(|own| own["port"] == port["port"]))
                })
            };
            if each(&split["spec"]["backends"]).any(lacks) {
                events.push(event(split, "Refused"));
            }
        }
        events
    }
}

fn event(object: &Value, reason: &str) -> Value {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let uid = metadata["uid"].as_str().unwrap_or_default();
    let suffix = uid.get(..8).unwrap_or(uid);
    json!({
        "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": reason, "message": "not enforced as written",
        "metadata": {"name": format!("{name}.{suffix}"), "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": object["apiVersion"], "kind": object["kind"], "name": name, "namespace": metadata["namespace"],
            "uid": uid,
        },
    })
}
