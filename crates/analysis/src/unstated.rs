//! Objects that state no namespace: nothing in the files says whether `kubectl apply -n`, Argo CD or Flux put them into
//! `default` or into one of the namespaces that other objects state. A finding that depends on other objects has to hold
//! in each case. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZero;

use compact_str::CompactString;

use super::alternatives::depends_on_others;
use super::{Finding, ObjectRef, Rule, Snapshot, run};

/// Most namespaces that are tried, those with findings first, then those with the most objects.
const MOST_NAMESPACES: usize = 8;

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
    for (namespace, _) in namespaces.into_iter().take(MOST_NAMESPACES) {
        let codes: BTreeSet<&str> =
            findings.iter().filter(|it| depends_on_others(it.code)).map(|it| it.code.id).collect();
        if codes.is_empty() {
            return;
        }
        let of_codes = |rule: &&&'static Rule| rule.codes.iter().any(|code| codes.contains(code.id));
        let rules: Vec<&'static Rule> = rules.iter().filter(of_codes).copied().collect();
        let placed = snapshot.with_unstated_in(&namespace);
        let found = run(&placed, &rules, threads);
        let holds: HashSet<(&str, &ObjectRef, &str)> =
            found.iter().map(|it| (it.code.id, &it.object, &*it.field)).collect();
        findings.retain(|it| !depends_on_others(it.code) || holds.contains(&(it.code.id, &it.object, &*it.field)));
    }
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
    fn stated_object_takes_precedence_over_one_without_namespace() {
        let both = route("a, namespace: shop", "wbe") + &route("a", "wbe") + &service("web, namespace: shop");
        assert_eq!(reported(&(both + &service("web"))), ["IST0101 VirtualService a", "IST0101 VirtualService shop/a"]);
    }
}
