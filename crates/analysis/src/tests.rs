//! Tests of the queries that a view offers, on small sets of objects.

use std::num::NonZero;
use std::sync::Arc;

use super::source::{self, Sources};
use super::*;

const ALL: &[Kind] = Kind::ALL;

fn snapshot(text: &str) -> Snapshot {
    let mut sources = Sources::default();
    sources.add("a.yaml", text.to_owned());
    let reading = source::read(&sources, NonZero::<usize>::MIN);
    assert!(reading.errors.is_empty(), "{:?}", reading.errors);
    Snapshot::new(reading.resources, Settings::default())
}

fn names<'a>(found: impl IntoIterator<Item = &'a Arc<Resource>>) -> Vec<String> {
    found.into_iter().map(ToString::to_string).collect()
}

const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/rev: canary}}
---
apiVersion: v1
kind: Namespace
metadata: {name: calm, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: shop, labels: {app: cart, v: '1'}}
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: shop, labels: {app: cart, v: '2', sidecar.istio.io/inject: 'false'}}
---
apiVersion: v1
kind: Pod
metadata: {name: c, namespace: calm, labels: {app: cart, v: '2'}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: shop}
spec: {replicas: 0, template: {metadata: {labels: {app: cart, v: '3'}}}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{port: 80, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: first, namespace: shop, annotations: {networking.istio.io/exportTo: '.'}}
spec: {selector: {v: '1', app: cart}}
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: shop}
spec: {externalName: example.com}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wide, namespace: calm}
spec: {hosts: ['*.example.com'], exportTo: ['*']}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: near, namespace: calm}
spec: {hosts: ['*.api.example.com', api.example.com], exportTo: ['.']}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: from-calm, namespace: calm}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: from-shop, namespace: shop}
";

#[test]
fn workloads_match_by_label_with_and_without_pods() {
    let snapshot = snapshot(SHOP);
    let view = View::new(&snapshot, ALL);
    let cart = Selector::from_pairs([("app", "cart")]);
    assert_eq!(names(view.pods(Within::Namespace("shop"), &cart)), ["Pod shop/a", "Pod shop/b"]);
    assert_eq!(names(view.pods(Within::Anywhere, &cart)), ["Pod calm/c", "Pod shop/a", "Pod shop/b"]);
    let third = Selector::from_pairs([("v", "3"), ("app", "cart")]);
    assert_eq!(names(view.pods(Within::Anywhere, &third)), [""; 0]);
    assert_eq!(names(view.workloads(Within::Anywhere, &third)), ["Deployment shop/d"]);
    assert_eq!(names(view.pods(Within::Namespace("calm"), &Selector::default())), ["Pod calm/c"]);
    assert_eq!(names(view.workloads(Within::Anywhere, &Selector::default())).len(), 4);
    assert_eq!(third.to_string(), "app=cart,v=3");
}

#[test]
fn services_match_by_selected_labels() {
    let snapshot = snapshot(SHOP);
    let view = View::new(&snapshot, ALL);
    let labels = |name: &str| view.get(Kind::Pod, "shop", name).unwrap().labels();
    let selecting = |name: &str| names(view.services_selecting("shop", labels(name)));
    assert_eq!(selecting("b"), ["Service shop/cart", "Service shop/first"]);
    assert_eq!(selecting("a"), ["Service shop/cart"]);
    assert_eq!(names(view.services_without_selector("shop")), ["Service shop/outside"]);
    assert_eq!(names(view.services_selecting("calm", labels("b"))), [""; 0]);
}

#[test]
fn exported_hosts_are_visible_in_their_namespaces() {
    let snapshot = snapshot(SHOP);
    let view = View::new(&snapshot, ALL);
    let providers = |referrer: &str, host: &str| {
        let (namespace, name) = referrer.split_once('/').unwrap();
        names(view.providers(view.get(Kind::VirtualService, namespace, name).unwrap(), host))
    };
    assert_eq!(providers("shop/from-shop", "cart"), ["Service shop/cart"]);
    assert_eq!(providers("calm/from-calm", "cart"), [""; 0]);
    assert_eq!(providers("calm/from-calm", "cart.shop.svc.cluster.local"), ["Service shop/cart"]);
    assert_eq!(providers("shop/from-shop", "first"), ["Service shop/first"]);
    assert_eq!(providers("calm/from-calm", "first.shop.svc.cluster.local"), [""; 0]);
    assert_eq!(providers("calm/from-calm", "x.api.example.com"), ["ServiceEntry calm/near"]);
    assert_eq!(providers("shop/from-shop", "x.api.example.com"), ["ServiceEntry calm/wide"]);
    assert_eq!(providers("shop/from-shop", "example.org"), [""; 0]);
}

#[test]
fn membership_covers_revision_ambient_and_pod_labels() {
    let snapshot = snapshot(SHOP);
    let view = View::new(&snapshot, ALL);
    let mode = |namespace: &str, name: &str| {
        let pod = view.get(Kind::Pod, namespace, name).unwrap();
        (view.is_injected(pod), view.is_ambient(pod))
    };
    assert_eq!(mode("shop", "b"), (true, false));
    assert_eq!(mode("shop", "a"), (false, false));
    assert_eq!(mode("calm", "c"), (false, true));
}

#[test]
#[should_panic(expected = "is not among the inputs")]
fn undeclared_kind_panics() {
    let snapshot = snapshot(SHOP);
    let _ = View::new(&snapshot, &[Kind::Service]).all(Kind::Pod);
}
