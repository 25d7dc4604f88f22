//! Objects that state no namespace: nothing in the files says whether `kubectl apply -n`, Argo CD or Flux put them into
//! `default` or into one of the namespaces that other objects state. A finding that depends on other objects has to hold
//! in each case. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZero;

use compact_str::CompactString;

use super::alternatives::{MOST_ROUNDS, depends_on_others, rounds, rules_about};
use super::{Finding, ObjectRef, Rule, Snapshot, run};

/// Maximum number of namespaces that are tried, those with findings first, then those with the most objects.
const MOST_NAMESPACES: usize = 8;
/// Maximum number of objects that the rounds with alternatives analyze in one namespace, all rounds together.
const MOST_OBJECTS: usize = 50_000;
/// Maximum number of findings about objects with alternatives that are tried with the alternatives of the others.
const MOST_REPEATED: usize = 50;

/// Keeps those findings that also hold if the objects without a namespace are in a namespace that others state.
pub(super) fn retain_in_each_namespace(
    snapshot: &Snapshot,
    rules: &[&'static Rule],
    threads: NonZero<usize>,
    findings: &mut Vec<Finding>,
) {
    let objects = || snapshot.all_with_replaced().filter(|it| it.origin.is_some() && it.kind.is_namespaced());
    if snapshot.is_stated_whole() || !objects().any(|it| it.is_namespace_assumed) {
        return;
    }
    let mut sizes: BTreeMap<CompactString, usize> = BTreeMap::new();
    for object in objects().filter(|it| !it.is_namespace_assumed && it.namespace != "default") {
        *sizes.entry(object.namespace.clone()).or_default() += 1;
    }
    let with_findings: BTreeSet<CompactString> = findings.iter().map(|it| it.object.namespace.clone()).collect();
    let mut namespaces: Vec<(CompactString, usize)> = sizes.into_iter().collect();
    namespaces.sort_by_key(|(name, size)| (!with_findings.contains(name), std::cmp::Reverse(*size)));
    let rounds = rounds(snapshot).min(MOST_ROUNDS).min(MOST_OBJECTS / snapshot.len().max(1));
    let repeated: HashSet<ObjectRef> = snapshot.alternatives().map(|it| ObjectRef::from(&**it)).collect();
    for (namespace, _) in namespaces.into_iter().take(MOST_NAMESPACES) {
        let placed = snapshot.with_unstated_in(&namespace);
        retain_found(&placed, &namespace, rules, threads, findings);
        for round in 0..rounds {
            retain_found(&placed.with_alternatives(round, None), &namespace, rules, threads, findings);
            // Of an object with alternatives, each goes with all of the others.
            let is_repeated = |object: &ObjectRef| repeated.contains(object);
            let asked = findings.iter().filter(|it| depends_on_others(it.code)).map(|it| it.object.clone());
            let asked: BTreeSet<ObjectRef> = asked.filter(is_repeated).take(MOST_REPEATED).collect();
            for object in asked {
                retain_found(&placed.with_alternatives(round, Some(&object)), &namespace, rules, threads, findings);
            }
        }
    }
}

/// Keeps those findings that do not depend on other objects, or that are found in this snapshot too, in which objects
/// without a namespace are in this one.
fn retain_found(
    snapshot: &Snapshot,
    namespace: &str,
    rules: &[&'static Rule],
    threads: NonZero<usize>,
    findings: &mut Vec<Finding>,
) {
    let rules = rules_about(findings, rules);
    if rules.is_empty() {
        return;
    }
    let found = run(snapshot, &rules, threads);
    let holds: HashSet<(&str, &ObjectRef, &str)> =
        found.iter().map(|it| (it.code.id, &it.object, &*it.field)).collect();
    // Of an object with alternatives, another definition may be in the snapshot: it says nothing about this one.
    let is_there = |it: &Finding| {
        let stated = it.object.namespace.as_str();
        let places =
            if stated.is_empty() && it.object.kind.is_namespaced() { [namespace, "default"] } else { [stated; 2] };
        let there = places.iter().flat_map(|place| snapshot.named(it.object.kind, place, &it.object.name));
        there.into_iter().any(|object| object.origin == it.origin)
    };
    findings.retain(|it| {
        !depends_on_others(it.code) || !is_there(it) || holds.contains(&(it.code.id, &it.object, &*it.field))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{self, Sources};
    use crate::{Level, Settings, rules, run_alternatives};

    fn reported(text: &str) -> Vec<String> {
        let mut sources = Sources::default();
        sources.add("a.yaml", text.to_owned());
        let one = NonZero::<usize>::MIN;
        let reading = source::read(&sources, one);
        let snapshot = Snapshot::new(reading.resources, Settings::default());
        let found = run_alternatives(&snapshot, rules::ALL, one).into_iter().filter(|it| it.level != Level::Info);
        found.map(|it| format!("{} {}", it.code.id, it.object)).collect()
    }

    fn service(metadata: &str) -> String {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {metadata}}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n"
        )
    }

    fn route(metadata: &str, host: &str) -> String {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {metadata}}}\n\
             spec: {{hosts: [web], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}\n"
        )
    }

    #[test]
    fn object_without_namespace_may_be_in_a_stated_one() {
        let there = service("other, namespace: shop");
        assert_eq!(reported(&(route("a, namespace: shop", "web") + &service("web") + &there)), [""; 0]);
        assert_eq!(reported(&(route("a", "other") + &service("web") + &there)), [""; 0]);
        let wrong = route("a, namespace: shop", "wbe") + &service("web") + &there;
        assert_eq!(reported(&wrong), ["IST0101 VirtualService shop/a"]);
        let wrong = route("a", "oter") + &service("web") + &there;
        assert_eq!(reported(&wrong), ["IST0101 VirtualService a"]);
    }

    #[test]
    fn alternative_without_namespace_may_be_in_a_stated_one() {
        let rule = |subset: &str| {
            format!(
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: web}}\n\
                 spec: {{host: web, subsets: [{{name: {subset}, labels: {{version: {subset}}}}}]}}\n"
            )
        };
        let others = service("web, namespace: shop")
            + &rule("v0").replace("name: web}", "name: other, namespace: shop}").replace("host: web", "host: x");
        let route = route("a, namespace: shop", "web").replace("{host: web}", "{host: web, subset: v1}");
        let reported = |subsets: [&str; 2]| {
            let mut sources = Sources::default();
            let texts = [others.clone(), route.clone(), rule(subsets[0]), rule(subsets[1])];
            for (number, text) in texts.into_iter().enumerate() {
                sources.add(format!("{number}.yaml"), text);
            }
            let one = NonZero::<usize>::MIN;
            let reading = source::read(&sources, one);
            let snapshot = Snapshot::new(reading.resources, Settings::default());
            let found = run_alternatives(&snapshot, rules::ALL, one);
            found.iter().any(|it| it.code.id == "IST0101")
        };
        assert!(reported(["v2", "v3"]));
        assert!(!reported(["v1", "v2"]));
    }

    #[test]
    fn stated_object_takes_precedence_over_one_without_namespace() {
        let both = route("a, namespace: shop", "wbe") + &route("a", "wbe") + &service("web, namespace: shop");
        assert_eq!(reported(&(both + &service("web"))), ["IST0101 VirtualService a", "IST0101 VirtualService shop/a"]);
    }
}
