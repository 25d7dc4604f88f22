//! SMI controllers that are wrong on purpose: each translates one feature wrongly, and names the case and the phase in
//! which the conformance suite must notice it. Pure functions on the translation of the real controller.

use std::collections::BTreeMap;
use std::sync::Arc;

use sailhand::smi::{
    HttpRouteGroupSpec, IstioKind, IstioObject, Kind, Object, Port, Protocol, Settings, Snapshot, TrafficTargetSpec,
    Translation, translate,
};
use serde_json::{Value, json};

/// One wrong controller.
pub struct Mutant {
    /// Group of cases to whose namespaces it applies.
    pub group: &'static str,
    /// Feature that it breaks.
    pub feature: &'static str,
    /// Case that must fail.
    pub case: &'static str,
    /// Phase of the case that must not hold.
    pub phase: &'static str,
    /// Completes "the controller …".
    pub defect: &'static str,
    /// Translates the objects of the group's namespaces.
    pub translate: Translate,
}

/// How a mutant translates.
#[derive(Clone, Copy)]
pub enum Translate {
    /// Changes the objects that the translation reads.
    Input(fn(&mut Snapshot, &mut Memory)),
    /// Changes the objects and reports that result.
    Output(fn(&Snapshot, &mut Translation, &mut Memory)),
}

/// What a mutant remembers of earlier translations.
#[derive(Default)]
pub struct Memory {
    groups: BTreeMap<String, Arc<Object<HttpRouteGroupSpec>>>,
    objects: BTreeMap<String, IstioObject>,
    most_targets: usize,
}

use Translate::{Input, Output};

impl Mutant {
    /// The wrong translation.
    pub fn translation(&self, mut snapshot: Snapshot, settings: &Settings, memory: &mut Memory) -> Translation {
        match self.translate {
            Input(change) => {
                change(&mut snapshot, memory);
                translate(&snapshot, settings)
            }
            Output(change) => {
                let mut translation = translate(&snapshot, settings);
                change(&snapshot, &mut translation, memory);
                translation
            }
        }
    }

    /// A row of the table in docs/conformance.md.
    pub fn row(&self) -> String {
        format!("| `{}` | {} | {} | {} |", self.feature, self.defect, self.case, self.phase)
    }
}

const ONLY: &str = "only matching requests are allowed";

const fn mutant(
    group: &'static str,
    feature: &'static str,
    (case, phase): (&'static str, &'static str),
    defect: &'static str,
    translate: Translate,
) -> Mutant {
    Mutant { group, feature, case, phase, defect, translate }
}

/// All of them. A mutant that leaves objects behind is the last of its group.
pub const MUTANTS: &[Mutant] = &[
    mutant(
        "access",
        "default_deny",
        ("TA-1.2.3", "requests are denied by default"),
        "writes no policy for a namespace that denies by default",
        Output(|_, out, _| out.objects.retain(|one| one.source.kind != Kind::Namespace)),
    ),
    mutant(
        "access",
        "allow_identity",
        ("TA-1.2.5", "the source is allowed"),
        "writes no policy for a TrafficTarget",
        Output(|_, out, _| out.objects.retain(|one| one.source.kind != Kind::TrafficTarget)),
    ),
    mutant(
        "access",
        "allow_identity",
        ("TA-1.2.5", "the source is allowed"),
        "writes principals of another trust domain",
        Output(|_, out, _| principals(out, |_, one| one.replacen("cluster.local/", "example.org/", 1))),
    ),
    mutant(
        "access",
        "deny_other_source",
        ("TA-x.1", "only the source is allowed"),
        "leaves out the sources",
        Output(|_, out, _| remove(out, "from")),
    ),
    mutant(
        "access",
        "deny_other_source",
        ("TA-x.1", "only the source is allowed"),
        "allows every service account of the source's namespace",
        Output(|_, out, _| principals(out, |_, one| format!("{}/sa/*", one.split("/sa/").next().unwrap_or(one)))),
    ),
    mutant(
        "access",
        "tcp_ports",
        ("TA-x.2", "only the port of the route is allowed"),
        "leaves out the ports of a TCPRoute",
        Output(|_, out, _| remove(out, "to")),
    ),
    mutant(
        "access",
        "additive",
        ("TA-x.3", "both sources are allowed"),
        "translates one TrafficTarget of a destination only",
        Input(|snapshot, _| {
            snapshot.traffic_targets.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
            snapshot.traffic_targets.truncate(1);
        }),
    ),
    mutant(
        "access",
        "additive",
        ("TA-x.3", "the other stays when one is deleted"),
        "deletes the policies of every TrafficTarget when one is deleted",
        Output(|snapshot, out, memory| {
            let targets = snapshot.traffic_targets.len();
            memory.most_targets = memory.most_targets.max(targets);
            if targets < memory.most_targets {
                out.objects.retain(|one| one.source.kind != Kind::TrafficTarget);
            }
        }),
    ),
    mutant(
        "access",
        "revoke",
        ("TA-1.2.7", "the source is denied again"),
        "keeps the policies of a deleted TrafficTarget",
        Output(|_, out, memory| keep(out, Kind::TrafficTarget, memory)),
    ),
    mutant(
        "sources",
        "cross_namespace_source",
        ("TA-x.4", "only the source's namespace is allowed"),
        "compares service accounts without their namespace",
        Output(|_, out, _| principals(out, |_, one| format!("*/sa/{}", one.split("/sa/").last().unwrap_or(one)))),
    ),
    mutant(
        "sources",
        "cross_namespace_source",
        ("TA-x.4", "only the source's namespace is allowed"),
        "takes the namespace of the TrafficTarget for that of every source",
        Output(|_, out, _| {
            principals(out, |namespace, one| {
                let account = one.split("/sa/").last().unwrap_or(one);
                format!("cluster.local/ns/{namespace}/sa/{account}")
            });
        }),
    ),
    mutant(
        "routes",
        "path",
        ("TSC-1.2.4", ONLY),
        "leaves out pathRegex",
        Output(|_, out, _| operations(out, |one| one["paths"] = json!(["*"]))),
    ),
    mutant(
        "routes",
        "path",
        ("TSC-1.2.4", ONLY),
        "writes exact paths instead of prefixes",
        Output(|_, out, _| paths(out, |path| path.trim_end_matches('*').to_owned())),
    ),
    mutant(
        "routes",
        "path",
        ("TSC-1.2.4", ONLY),
        "writes suffixes instead of prefixes",
        Output(|_, out, _| paths(out, |path| format!("*{}", path.trim_end_matches('*')))),
    ),
    mutant(
        "routes",
        "method",
        ("TSC-1.2.6", ONLY),
        "leaves out the methods",
        Output(|_, out, _| operations(out, |one| drop(one.as_object_mut().and_then(|one| one.remove("methods"))))),
    ),
    mutant(
        "routes",
        "method",
        ("TSC-1.2.6", ONLY),
        "writes another method",
        Output(|_, out, _| operations(out, |one| one["methods"] = json!(["HEAD"]))),
    ),
    mutant(
        "routes",
        "matches_omitted",
        ("TSC-x.1", ONLY),
        "uses the first match for a rule without matches",
        Input(|snapshot, _| groups(snapshot, |group| group.matches.truncate(1))),
    ),
    mutant(
        "routes",
        "matches_omitted",
        ("TSC-x.1", ONLY),
        "allows nothing for a rule without matches",
        Input(|snapshot, _| {
            targets(snapshot, |target| {
                for rule in &mut target.rules {
                    rule.matches.get_or_insert_default();
                }
            });
        }),
    ),
    mutant(
        "routes",
        "route_update",
        ("TSC-x.2", "the new path is allowed instead"),
        "does not notice changes of an HTTPRouteGroup",
        Input(|snapshot, memory| {
            for group in &mut snapshot.http_route_groups {
                let first = memory.groups.entry(group.meta.uid.clone()).or_insert_with(|| Arc::clone(group));
                *group = Arc::clone(first);
            }
        }),
    ),
    mutant(
        "routes",
        "header_exact",
        ("TSC-x.3", ONLY),
        "leaves out the headers",
        Output(|_, out, _| remove(out, "when")),
    ),
    mutant(
        "routes",
        "header_exact",
        ("TSC-x.3", ONLY),
        "accepts any value of a header",
        Output(|_, out, _| conditions(out, |list| list.iter_mut().for_each(|one| one["values"] = json!(["*"])))),
    ),
    mutant(
        "routes",
        "header_exact",
        ("TSC-x.3", ONLY),
        "demands one of several headers only",
        Output(|_, out, _| conditions(out, |list| list.truncate(1))),
    ),
    mutant(
        "routes",
        "header_regex",
        ("TSC-x.4", ONLY),
        "leaves out a header that it cannot express",
        Input(|snapshot, _| {
            groups(snapshot, |group| group.matches.iter_mut().for_each(|one| one.headers.clear()));
        }),
    ),
    mutant(
        "routes",
        "header_regex",
        ("TSC-x.4", ONLY),
        "compares a regular expression as text, without an Event",
        Input(|snapshot, _| {
            groups(snapshot, |group| {
                let headers = group.matches.iter_mut().flat_map(|one| one.headers.values_mut());
                headers.for_each(|value| "literal".clone_into(value));
            });
        }),
    ),
    mutant(
        "routes",
        "path_regex",
        ("TSC-x.5", ONLY),
        "uses the literal start of a pathRegex as a prefix",
        Input(|snapshot, _| {
            groups(snapshot, |group| {
                let paths = group.matches.iter_mut().filter_map(|one| one.path_regex.as_mut());
                paths.for_each(|path| path.truncate(path.find('[').unwrap_or(path.len())));
            });
        }),
    ),
    mutant(
        "routes",
        "path_regex",
        ("TSC-x.5", ONLY),
        "allows every request where it refuses a match",
        Output(|_, out, _| {
            if !out.reports.is_empty() {
                policies(out, |one| one.spec["rules"] = json!([{}]));
            }
        }),
    ),
    mutant(
        "split",
        "all_or_nothing",
        ("TS-1.2.5", "one workload gets every request"),
        "writes nothing for a TrafficSplit",
        Output(|_, out, _| out.objects.retain(|one| one.source.kind != Kind::TrafficSplit)),
    ),
    mutant(
        "split",
        "all_or_nothing",
        ("TS-1.2.7", "one workload gets every request"),
        "writes the weights in reverse order",
        Output(|_, out, _| weights(out, <[u64]>::reverse)),
    ),
    mutant(
        "split",
        "weighted",
        ("TS-1.2.9", "requests are split by weight"),
        "gives every backend with weight an equal share",
        Output(|_, out, _| weights(out, |weights| weights.iter_mut().for_each(|one| *one = (*one).min(1)))),
    ),
    mutant(
        "split",
        "weighted",
        ("TS-1.2.9", "requests are split by weight"),
        "halves the weight of the first backend of several",
        Output(|_, out, _| {
            weights(out, |weights| {
                if weights.iter().all(|one| *one > 0) {
                    weights[0] /= 2;
                }
            });
        }),
    ),
    mutant(
        "split",
        "weighted",
        ("TS-1.2.11", "requests are split by weight"),
        "leaves out every backend but the one with the largest weight",
        Output(|_, out, _| {
            weights(out, |weights| {
                let largest = weights.iter().copied().max().unwrap_or_default();
                for weight in weights {
                    *weight = u64::from(*weight == largest);
                }
            });
        }),
    ),
    mutant(
        "split",
        "ratio",
        ("TS-x.1", "requests are split by weight"),
        "limits weights to 100",
        Output(|_, out, _| weights(out, |weights| weights.iter_mut().for_each(|one| *one = (*one).min(100)))),
    ),
    mutant(
        "split",
        "zero_weight",
        ("TS-x.6", "the workload without weight gets nothing"),
        "gives a backend without weight 1 % of the requests",
        Output(|_, out, _| {
            weights(out, |weights| weights.iter_mut().for_each(|one| *one = if *one == 0 { 1 } else { 99 }));
        }),
    ),
    mutant(
        "split",
        "matches",
        ("TS-x.2", "matching requests are split, others are not"),
        "leaves out the matches of a TrafficSplit",
        Output(|_, out, _| {
            routes(out, |routes| {
                routes.truncate(1);
                routes[0]["match"] = json!([{"port": 9091}]);
            });
        }),
    ),
    mutant(
        "split",
        "matches",
        ("TS-x.2", "matching requests are split, others are not"),
        "writes no route for requests that do not match",
        Output(|_, out, _| routes(out, |routes| routes.truncate(1))),
    ),
    mutant(
        "split",
        "port_mismatch",
        ("TS-x.3", "only the backend with the port answers"),
        "sends requests to a backend without the port",
        Input(|snapshot, _| {
            for service in snapshot.services.iter_mut().filter(|service| service.name == "app-e") {
                let port = Port { number: 9091, target: Some(9091), protocol: Protocol::Http };
                Arc::make_mut(service).ports.push(port);
            }
        }),
    ),
    mutant(
        "split",
        "port_mismatch",
        ("TS-x.3", "only the backend with the port answers"),
        "reports no Event for a backend without the port",
        Output(|_, out, _| out.reports.clear()),
    ),
    mutant(
        "split",
        "missing_backend",
        ("TS-x.4", "the other backend gets every request"),
        "writes nothing when a backend Service does not exist",
        Output(|snapshot, out, _| {
            let exists = |name: &str| snapshot.services.iter().any(|service| service.name == name);
            let splits = snapshot.traffic_splits.iter().filter_map(|split| split.spec.as_ref().ok());
            if !splits.flat_map(|split| &split.backends).all(|backend| exists(&backend.service)) {
                out.objects.retain(|one| one.source.kind != Kind::TrafficSplit);
            }
        }),
    ),
    mutant(
        "split",
        "delete_split",
        ("TS-x.5", "both workloads answer again"),
        "keeps the VirtualService of a deleted TrafficSplit",
        Output(|_, out, memory| keep(out, Kind::TrafficSplit, memory)),
    ),
];

/// The `AuthorizationPolicies` of `TrafficTargets`.
fn policies(out: &mut Translation, change: impl Fn(&mut IstioObject)) {
    let is_policy =
        |one: &&mut IstioObject| one.kind == IstioKind::AuthorizationPolicy && one.source.kind == Kind::TrafficTarget;
    out.objects.iter_mut().filter(is_policy).for_each(change);
}

fn rules(out: &mut Translation, change: impl Fn(&str, &mut Value)) {
    policies(out, |one| {
        let namespace = one.namespace.clone();
        one.spec["rules"].as_array_mut().into_iter().flatten().for_each(|rule| change(&namespace, rule));
    });
}

fn remove(out: &mut Translation, field: &str) {
    rules(out, |_, rule| drop(rule.as_object_mut().and_then(|rule| rule.remove(field))));
}

/// `change` takes the namespace of the policy and a principal.
fn principals(out: &mut Translation, change: impl Fn(&str, &str) -> String) {
    rules(out, |namespace, rule| {
        let list = rule["from"][0]["source"]["principals"].as_array_mut();
        list.into_iter().flatten().for_each(|one| *one = change(namespace, one.as_str().unwrap_or_default()).into());
    });
}

fn operations(out: &mut Translation, change: impl Fn(&mut Value)) {
    rules(out, |_, rule| {
        rule["to"].as_array_mut().into_iter().flatten().for_each(|one| change(&mut one["operation"]));
    });
}

fn paths(out: &mut Translation, change: impl Fn(&str) -> String) {
    operations(out, |operation| {
        let list = operation["paths"].as_array_mut().into_iter().flatten();
        list.for_each(|path| *path = change(path.as_str().unwrap_or_default()).into());
    });
}

fn conditions(out: &mut Translation, change: impl Fn(&mut Vec<Value>)) {
    rules(out, |_, rule| rule["when"].as_array_mut().into_iter().for_each(&change));
}

/// The HTTP routes of `VirtualServices`.
fn routes(out: &mut Translation, change: impl Fn(&mut Vec<Value>)) {
    for object in out.objects.iter_mut().filter(|one| one.kind == IstioKind::VirtualService) {
        object.spec["http"].as_array_mut().into_iter().for_each(&change);
    }
}

/// The weights of the first HTTP route.
fn weights(out: &mut Translation, change: impl Fn(&mut [u64])) {
    routes(out, |routes| {
        let Some(backends) = routes[0]["route"].as_array_mut() else { return };
        let mut found: Vec<_> = backends.iter().map(|one| one["weight"].as_u64().unwrap_or_default()).collect();
        change(&mut found);
        backends.iter_mut().zip(found).for_each(|(one, weight)| one["weight"] = weight.into());
    });
}

/// Adds objects of earlier translations that no longer result, and gives none an owner, so that none is deleted with it.
fn keep(out: &mut Translation, kind: Kind, memory: &mut Memory) {
    for object in out.objects.iter_mut().filter(|one| one.source.kind == kind) {
        object.owner = None;
        memory.objects.insert(format!("{}/{}", object.namespace, object.name), object.clone());
    }
    let now: Vec<_> = out.objects.iter().map(|one| format!("{}/{}", one.namespace, one.name)).collect();
    out.objects.extend(memory.objects.iter().filter(|(key, _)| !now.contains(key)).map(|(_, one)| one.clone()));
}

fn groups(snapshot: &mut Snapshot, change: impl Fn(&mut HttpRouteGroupSpec)) {
    for group in &mut snapshot.http_route_groups {
        Arc::make_mut(group).spec.as_mut().into_iter().for_each(&change);
    }
}

fn targets(snapshot: &mut Snapshot, change: impl Fn(&mut TrafficTargetSpec)) {
    for target in &mut snapshot.traffic_targets {
        Arc::make_mut(target).spec.as_mut().into_iter().for_each(&change);
    }
}
