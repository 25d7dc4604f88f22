//! Kustomizations of one tree: overlays of a base are environments or instances, and nothing says which of them are in
//! one cluster. Those that define the same object differently are never applied together. So each is analyzed with
//! others that do not exclude it, and, if it shares files with some of these, without them too: a finding that depends on
//! other objects has to hold in both. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::num::NonZero;
use std::sync::Arc;

use super::alternatives::{depends_on_others, run_objects};
use super::run::settle;
use super::{Finding, ObjectRef, Resource, Rule, Snapshot};

/// Maximum number of combinations of kustomizations that are analyzed. Of further ones, only findings that do not depend on other
/// objects are reported.
const MOST_COMBINATIONS: usize = 64;

/// Kustomizations that are analyzed together.
type Combination = BTreeSet<Arc<str>>;

/// All findings. Of objects that have alternatives (in several files, or in several kustomizations), those that hold
/// whichever is applied.
#[must_use]
pub fn run_alternatives(snapshot: &Snapshot, rules: &[&'static Rule], threads: NonZero<usize>) -> Vec<Finding> {
    let builds = Builds::of(snapshot);
    if builds.is_one_cluster() {
        return run_objects(snapshot, rules, threads);
    }
    let mut analyzed: BTreeMap<Combination, Vec<Finding>> = BTreeMap::new();
    let mut findings = Vec::new();
    let mut of_plain_objects: Option<Vec<Finding>> = None;
    for build in builds.all.keys() {
        let mut analyze = |combination: Combination| -> Vec<Finding> {
            if let Some(known) = analyzed.get(&combination) {
                return known.clone();
            }
            if analyzed.len() == MOST_COMBINATIONS {
                let alone = run_objects(&snapshot.with_builds(|name| name == &**build), rules, threads);
                return alone.into_iter().filter(|it| !depends_on_others(it.code)).collect();
            }
            let found = run_objects(&snapshot.with_builds(|name| combination.contains(name)), rules, threads);
            analyzed.insert(combination, found.clone());
            found
        };
        let found = analyze(builds.around(build, true));
        let (mut own, others): (Vec<Finding>, Vec<Finding>) =
            found.into_iter().partition(|it| it.build.as_ref() == Some(build));
        if builds.shares_files(build) && own.iter().any(|it| depends_on_others(it.code)) {
            let alone = analyze(builds.around(build, false));
            let holds: HashSet<&str> = alone.iter().map(|it| &*it.fingerprint).collect();
            own.retain(|it| !depends_on_others(it.code) || holds.contains(&*it.fingerprint));
        }
        findings.append(&mut own);
        let plain = others.into_iter().filter(|it| it.build.is_none());
        of_plain_objects = Some(match of_plain_objects {
            None => plain.collect(),
            Some(known) => {
                let holds: HashSet<String> = plain.map(|it| it.fingerprint).collect();
                known.into_iter().filter(|it| holds.contains(&it.fingerprint)).collect()
            }
        });
    }
    findings.extend(of_plain_objects.unwrap_or_default());
    settle(&mut findings);
    findings
}

/// The kustomizations, each with its relations to the others. Computed once, because each kustomization needs them.
struct Builds {
    all: BTreeMap<Arc<str>, Relations>,
}

#[derive(Default)]
struct Relations {
    /// Those that define an object of it differently. A Namespace that both have alike does not matter.
    excluded: BTreeSet<Arc<str>>,
    /// Those that objects of it share files with.
    variants: BTreeSet<Arc<str>>,
}

/// The objects that a kustomization defines and the files that they come from.
#[derive(Default)]
struct Parts {
    objects: HashMap<ObjectRef, Arc<Resource>>,
    files: BTreeSet<u32>,
}

impl Parts {
    /// Whether both define the same object differently.
    fn excludes(&self, other: &Self) -> bool {
        let differs = |(object, own): (&ObjectRef, &Arc<Resource>)| {
            other.objects.get(object).is_some_and(|theirs| theirs.root != own.root)
        };
        self.objects.iter().any(differs)
    }
}

impl Builds {
    fn of(snapshot: &Snapshot) -> Self {
        let mut parts: BTreeMap<Arc<str>, Parts> = BTreeMap::new();
        for resource in snapshot.all_with_replaced().filter(|it| !it.is_generated) {
            if let Some(build) = &resource.build {
                let parts = parts.entry(build.clone()).or_default();
                parts.objects.insert(ObjectRef::from(&**resource), resource.clone());
                parts.files.extend(resource.origin.map(|origin| origin.file));
            }
        }
        let mut all: BTreeMap<Arc<str>, Relations> = BTreeMap::new();
        for (at, (one, own)) in parts.iter().enumerate() {
            all.entry(one.clone()).or_default();
            for (other, theirs) in parts.iter().skip(at + 1) {
                let (excludes, shares_files) = (own.excludes(theirs), !own.files.is_disjoint(&theirs.files));
                for (one, other) in [(one, other), (other, one)] {
                    let relations = all.entry(one.clone()).or_default();
                    relations.excluded.extend(excludes.then(|| other.clone()));
                    relations.variants.extend(shares_files.then(|| other.clone()));
                }
            }
        }
        Self { all }
    }

    /// Whether all can be in one cluster, and none is a variant of another.
    fn is_one_cluster(&self) -> bool {
        self.all.values().all(|one| one.excluded.is_empty() && one.variants.is_empty())
    }

    fn shares_files(&self, one: &str) -> bool {
        self.all.get(one).is_some_and(|one| !one.variants.is_empty())
    }

    /// A kustomization with others that can be in the same cluster. Those in a folder of the same name are preferred:
    /// `cart/overlays/dev` goes with `orders/overlays/dev`.
    fn around(&self, one: &Arc<str>, with_variants: bool) -> Combination {
        let mut chosen = Combination::from([one.clone()]);
        let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
        let mut others: Vec<(&Arc<str>, &Relations)> = self.all.iter().filter(|(other, _)| *other != one).collect();
        others.sort_by_key(|(other, _)| last(other) != last(one));
        for (other, Relations { excluded, variants }) in others {
            if excluded.is_disjoint(&chosen) && (with_variants || variants.is_disjoint(&chosen)) {
                chosen.insert(other.clone());
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Level, Settings, Value, rules};

    const ONE: NonZero<usize> = NonZero::<usize>::MIN;

    fn object(build: &str, file: u32, text: &str) -> Resource {
        let root: Value = crate::source::read_value("test", text).unwrap();
        let origin = crate::SourceSpan { file, line: 1, start: 0, end: 0, item: None };
        let build = (!build.is_empty()).then(|| Arc::from(build));
        Resource { origin: Some(origin), build, ..Resource::from_value(root).unwrap() }
    }

    fn errors(objects: Vec<Resource>) -> Vec<String> {
        let snapshot = Snapshot::new(objects, Settings::default());
        let found = run_alternatives(&snapshot, rules::ALL, ONE);
        let found = found.into_iter().filter(|it| it.level == Level::Error);
        found.map(|it| format!("{} {} {}", it.code.id, it.object, it.build.unwrap_or_default())).collect()
    }

    fn service(name: &str, namespace: &str) -> String {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{ports: [{{port: 80, name: http}}]}}}}"
        )
    }

    fn route(name: &str, namespace: &str, host: &str) -> String {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}, namespace: {namespace}}}, \
             spec: {{hosts: [{name}], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}}}"
        )
    }

    #[test]
    fn environments_of_one_application_are_analyzed_one_by_one() {
        // Each has a Service that the other lacks.
        let tree = |host: &str| {
            vec![
                object("a/dev", 0, &route("web", "shop", host)),
                object("a/dev", 1, &service("old", "shop")),
                object("a/prod", 0, &route("web", "shop", "new")),
                object("a/prod", 1, &service("new", "shop")),
            ]
        };
        assert_eq!(errors(tree("old")), [""; 0]);
        let wrong = tree("wrong");
        assert_eq!(errors(wrong), ["IST0101 VirtualService shop/web a/dev"]);
    }

    #[test]
    fn instances_that_share_files_may_refer_to_each_other_but_do_not_conflict() {
        let instance = |number: &str| {
            let namespace = format!("team-{number}");
            [
                object(&format!("teams/{number}"), 0, &route("web", &namespace, "other.team-1.svc.cluster.local")),
                object(
                    &format!("teams/{number}"),
                    0,
                    &service(if number == "1" { "other" } else { "web" }, &namespace),
                ),
            ]
        };
        assert_eq!(errors([instance("1"), instance("2")].concat()), [""; 0]);
        let gateway = |number: &str| {
            let text = format!(
                "{{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {{name: web, namespace: team-{number}}}, spec: \
                 {{selector: {{istio: ingressgateway}}, servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [a.example.com]}}]}}}}"
            );
            object(&format!("teams/{number}"), 0, &text)
        };
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: gw, namespace: istio-system, labels: {istio: ingressgateway}}, \
                   spec: {containers: [{name: istio-proxy, image: proxy}]}}";
        let all = vec![gateway("1"), gateway("2"), object("", 5, pod)];
        assert_eq!(errors(all), [""; 0]);
        let mut conflict = vec![gateway("1"), gateway("2"), object("", 5, pod)];
        conflict[1].origin.as_mut().unwrap().file = 1;
        assert_eq!(errors(conflict).len(), 2, "unrelated kustomizations conflict");
    }

    #[test]
    fn finding_about_an_object_outside_of_kustomizations_is_judged_with_each() {
        let tree = |host: &str| {
            vec![
                object("", 9, &route("through", "shop", host)),
                object("a/dev", 0, &service("common", "shop")),
                object("a/dev", 0, &route("web", "shop", "common")),
                object("a/prod", 0, &service("common", "shop")),
                object("a/prod", 1, &service("new", "shop")),
                object("a/prod", 0, &route("web", "shop", "new")),
            ]
        };
        assert_eq!(errors(tree("new")), [""; 0]);
        assert_eq!(errors(tree("none")), ["IST0101 VirtualService shop/through "]);
    }
}
