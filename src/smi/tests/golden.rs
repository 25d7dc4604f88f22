//! The golden pairs of smi-adapter-istio (`test/manual`), and where this translation differs:
//!
//! 1. `apiVersion` is `networking.istio.io/v1`: `v1alpha3` is deprecated.
//! 2. Weights are the given ones, not percentages: percentages cannot express 1:1:1, and the last backend received the
//!    rounding error, also with weight 0.
//! 3. Each route names its port and each destination the same port: without a port, Istio sends traffic to a backend's
//!    only port, whatever its number is.
//! 4. The name has the suffix `-vs`, which the adapter's code has and its golden files lack.
//! 5. Pair 04 is stale: its input is 1:500 and its output 67:33. The output belongs to 1000:500, as its file name says.

use serde_json::{Value, json};

use super::world::{refused, service, split, translated};

fn golden(backends: [(&str, u32); 2]) -> Value {
    let http = json!([{"name": "http", "port": 9080}]);
    let translation = translated([
        service("default", "reviews", http.clone()),
        service("default", "reviews-v1", http.clone()),
        service("default", "reviews-v2", http),
        split("default", "reviews-rollout", "reviews", &backends),
    ]);
    assert_eq!((translation.objects.len(), refused(&translation)), (1, 0), "{translation:?}");
    translation.objects[0].body()
}

fn expected(weights: [u32; 2]) -> Value {
    let destination =
        |host: &str, weight: u32| json!({"destination": {"host": host, "port": {"number": 9080}}, "weight": weight});
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {
            "name": "reviews-rollout-vs",
            "namespace": "default",
            "labels": {"app.kubernetes.io/managed-by": "sailhand-smi-controller"},
            "annotations": {"smi.sailhand.dev/source": "TrafficSplit/default/reviews-rollout"},
            "ownerReferences": [{
                "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "name": "reviews-rollout",
                "uid": "uid-reviews-rollout", "controller": true,
            }],
        },
        "spec": {"hosts": ["reviews"], "http": [{
            "match": [{"port": 9080}],
            "route": [destination("reviews-v1", weights[0]), destination("reviews-v2", weights[1])],
        }]},
    })
}

#[test]
fn pair_02_sends_everything_to_the_first_backend() {
    assert_eq!(golden([("reviews-v1", 1), ("reviews-v2", 0)]), expected([1, 0]));
}

#[test]
fn pair_04_splits_two_to_one() {
    assert_eq!(golden([("reviews-v1", 1000), ("reviews-v2", 500)]), expected([1000, 500]));
}

#[test]
fn pair_05_sends_everything_to_the_second_backend() {
    assert_eq!(golden([("reviews-v1", 0), ("reviews-v2", 1)]), expected([0, 1]));
}

/// The example of `docs/smi-traffictarget` has no output in the adapter's repository. The adapter made a `ServiceRole` and
/// a `ServiceRoleBinding`, which Istio no longer has.
#[test]
fn bookinfo_example_becomes_one_policy_for_each_workload() {
    use super::world::{group, pod, target};
    let rules = json!([{"kind": "HTTPRouteGroup", "name": "bookinfo-allowed-paths", "matches": ["api"]}]);
    let translation = translated([
        group("default", "bookinfo-allowed-paths", json!([{"name": "api", "pathRegex": "", "methods": ["*"]}])),
        pod(
            "default",
            "reviews-v1-x",
            "reviews-v1",
            json!({"app": "reviews", "version": "v1", "pod-template-hash": "x"}),
        ),
        pod(
            "default",
            "reviews-v3-y",
            "reviews-v3",
            json!({"app": "reviews", "version": "v3", "pod-template-hash": "y"}),
        ),
        target("default", "productpage-reviews-v1", "productpage-v1", "reviews-v1", rules.clone()),
        target("default", "productpage-reviews-v3", "productpage-v1", "reviews-v3", rules),
    ]);
    assert_eq!(refused(&translation), 0);
    let versions = ["v1", "v3"].map(|version| {
        json!({
            "action": "ALLOW",
            "selector": {"matchLabels": {"app": "reviews", "version": version}},
            "rules": [{
                "from": [{"source": {"principals": ["cluster.local/ns/default/sa/productpage-v1"]}}],
                "to": [{"operation": {"paths": ["*"]}}],
            }],
        })
    });
    assert_eq!(super::world::specs(&translation), versions);
}
