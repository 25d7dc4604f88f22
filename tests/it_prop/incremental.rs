//! Property of the incremental analysis: after any sequence of changes its findings equal those of a full run on the
//! current objects, and an observer that applies `found` and `resolved` has the same list.

use std::collections::BTreeMap;
use std::num::NonZero;

use proptest::prelude::*;
use sailhand::analysis::incremental::{Change, Difference, Incremental};
use sailhand::analysis::source::{self, Sources};
use sailhand::analysis::{Finding, ObjectRef, Resource, Snapshot, Value, mesh, rules, run};

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

/// Objects that the examples rarely contain: several `MeshConfig`s, labels of namespaces, selectors that match or do not,
/// certificates that exist or do not.
const MORE: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: '{rootNamespace: shop, enableAutoMtls: false}', meshNetworks: 'networks: {a: {endpoints: [{fromRegistry: b}]}}'}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {template: {metadata: {labels: {app: istiod}}, spec: {containers: [{name: discovery}]}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: web, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, annotations: {networking.istio.io/exportTo: '.'}}
spec: {selector: {app: other}, ports: [{name: http, port: 8080, targetPort: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: istio-system, labels: {istio: ingressgateway, app: cart}}
spec: {containers: [{name: istio-proxy, image: 'proxyv2:1.29.0'}]}
---
apiVersion: v1
kind: Secret
metadata: {name: shop-cert, namespace: istio-system}
data: {tls.crt: eA==, tls.key: eA==}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.example], tls: {mode: SIMPLE, credentialName: shop-cert}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec: {hosts: ['*.example'], gateways: [web, mesh], http: [{route: [{destination: {host: cart, port: {number: 80}}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: templated, namespace: shop}
spec: {hosts: [templated.example.com], http: [{route: [{destination: {host: '${HOST}'}}]}]}
";

/// Every object of every example, before and after, some of them in two clusters. Many have the same name, so that one
/// replaces another.
fn pool() -> Vec<Resource> {
    let mut pool = read(MORE, "");
    for code in rules::codes() {
        for text in [code.example.before, code.example.after] {
            if text.contains("# cluster: ") {
                for part in text.split("# cluster: ").skip(1) {
                    let (cluster, manifests) = part.split_once('\n').unwrap();
                    pool.extend(read(manifests, cluster));
                }
            } else {
                pool.extend(read(text, ""));
            }
        }
    }
    pool
}

fn read(text: &str, cluster: &str) -> Vec<Resource> {
    let mut sources = Sources::default();
    sources.add("example.yaml", text.to_owned());
    let mut reading = source::read(&sources, NonZero::<usize>::MIN);
    assert!(reading.errors.is_empty(), "{:?}", reading.errors);
    for resource in &mut reading.resources {
        resource.origin = None;
        resource.cluster = cluster.into();
    }
    reading.resources
}

/// One step: an object of the pool is added, modified or deleted.
#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    /// Without one of its fields.
    Cut(usize, usize),
    Delete(usize),
}

fn step() -> impl Strategy<Value = Step> {
    // The objects of `MORE`, which many results depend on, come first.
    let object = || prop_oneof![0_usize..13, 0_usize..1000];
    prop_oneof![
        4 => object().prop_map(Step::Put),
        1 => (object(), 0_usize..4).prop_map(|(object, field)| Step::Cut(object, field)),
        3 => object().prop_map(Step::Delete),
    ]
}

fn cut(mut resource: Resource, field: usize) -> Resource {
    let Value::Map(entries) = &mut resource.root else { return resource };
    for (key, value) in entries.iter_mut().filter(|(key, _)| matches!(key.as_str(), "spec" | "data")) {
        let Value::Map(inner) = value else { continue };
        let mut kept = std::mem::take(inner).into_vec();
        if !kept.is_empty() {
            kept.remove(field % kept.len());
        }
        *inner = kept.into();
        assert!(!key.is_empty());
    }
    resource
}

/// The current objects, by name.
type Objects = BTreeMap<ObjectRef, Resource>;

fn change(pool: &[Resource], step: &Step, objects: &mut Objects) -> Change {
    let put = |resource: Resource, objects: &mut Objects| {
        objects.insert(ObjectRef::from(&resource), resource.clone());
        Change::Put(Box::new(resource))
    };
    match step {
        Step::Put(at) => put(pool[*at].clone(), objects),
        Step::Cut(at, field) => put(cut(pool[*at].clone(), *field), objects),
        Step::Delete(at) => {
            let object = ObjectRef::from(&pool[*at]);
            objects.remove(&object);
            Change::Delete(object)
        }
    }
}

fn full(objects: &Objects, now: i64) -> Vec<Finding> {
    let resources: Vec<Resource> = objects.values().cloned().collect();
    let settings = mesh::settings_in(&resources, now);
    run(&Snapshot::new(resources, settings), rules::ALL, NonZero::<usize>::MIN)
}

fn keep(kept: &mut BTreeMap<String, Finding>, difference: &Difference) {
    for one in &difference.resolved {
        assert!(kept.remove(&one.fingerprint).is_some(), "resolved, and never found: {one:?}");
    }
    for one in &difference.found {
        kept.insert(one.fingerprint.clone(), one.clone());
    }
}

fn sorted(findings: impl IntoIterator<Item = Finding>) -> BTreeMap<String, Finding> {
    findings.into_iter().map(|one| (one.fingerprint.clone(), one)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn incremental_findings_equal_a_full_run(
        start in prop::collection::vec(any::<prop::sample::Index>(), 0..250),
        batches in prop::collection::vec(prop::collection::vec(step(), 1..5), 1..16),
    ) {
        let pool = pool();
        let mut objects = Objects::new();
        for index in &start {
            let resource = index.get(&pool).clone();
            objects.insert(ObjectRef::from(&resource), resource);
        }
        let mut incremental = Incremental::new(rules::ALL, objects.values().cloned().collect(), NOW);
        let mut kept = sorted(incremental.findings().into_iter().cloned());
        prop_assert_eq!(kept.values().cloned().collect::<Vec<_>>(), sorted(full(&objects, NOW)).into_values().collect::<Vec<_>>());
        for batch in &batches {
            let steps = batch.iter().map(|step| match step {
                Step::Put(at) => Step::Put(at % pool.len()),
                Step::Cut(at, field) => Step::Cut(at % pool.len(), *field),
                Step::Delete(at) => Step::Delete(at % pool.len()),
            });
            let changes: Vec<Change> = steps.map(|step| change(&pool, &step, &mut objects)).collect();
            keep(&mut kept, &incremental.apply(changes));
            let wanted = full(&objects, NOW);
            let found: Vec<Finding> = incremental.findings().into_iter().cloned().collect();
            prop_assert_eq!(&found, &wanted, "after {:?}", batch);
            prop_assert_eq!(&kept, &sorted(wanted), "what an observer keeps, after {:?}", batch);
        }
    }
}

#[test]
fn pool_has_findings_that_depend_on_time() {
    let objects: Objects = pool().into_iter().map(|one| (ObjectRef::from(&one), one)).collect();
    let mut incremental = Incremental::new(rules::ALL, objects.values().cloned().collect(), NOW);
    assert!(incremental.findings().len() > 100);
    let mut kept = sorted(incremental.findings().into_iter().cloned());
    let much_later = NOW + 400 * 365 * 86_400;
    for now in [NOW - 400 * 365 * 86_400, much_later] {
        keep(&mut kept, &incremental.set_now(now));
        assert_eq!(kept, sorted(full(&objects, now)));
    }
}

#[test]
fn unrelated_changes_repeat_no_calls() {
    let objects = read(MORE, "");
    let mut incremental = Incremental::new(rules::ALL, objects.clone(), NOW);
    let all: usize = rules::ALL.len() * objects.len();
    assert_eq!(incremental.apply(objects.last().cloned().map(|one| Change::Put(Box::new(one)))), Difference::default());
    let apart = read(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: apart}\nspec: {ports: [{name: http, port: 80}]}\n",
        "",
    );
    let difference = incremental.apply(apart.into_iter().map(|one| Change::Put(Box::new(one))));
    assert!(difference.calls > 0 && difference.calls < all / 10, "{difference:?}");
}
