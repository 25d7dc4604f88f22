//! Checks for subsets whose labels match only pods of another service. Source: Kiali's check KIA0203. IST0173 reports
//! labels that match no pod at all.

use crate::hosts::{fqdn, service_of};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, View, WORKLOADS, Within};

pub static RULE: Rule = Rule {
    name: "routing.SubsetOfService",
    codes: &[&SH7127],
    inputs: &[
        Kind::DestinationRule,
        Kind::Service,
        Kind::WorkloadEntry,
        WORKLOADS[0],
        WORKLOADS[1],
        WORKLOADS[2],
        WORKLOADS[3],
        WORKLOADS[4],
        WORKLOADS[5],
    ],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static SH7127: Code = Code {
    id: "SH7127",
    name: "SubsetOutsideService",
    level: Level::Error,
    title: "Subset selects pods that do not belong to the service",
    why: "A subset selects among the endpoints of the service. Pods with its labels exist, but the service does not \
          select them, so requests to the subset fail with 503.",
    remedy: "Correct the labels of the subset, or label the pods so that the service selects them.",
    source: "https://kiali.io/docs/features/validations/#kia0203---this-subsets-labels-are-not-found-in-any-matching-host",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{port: 80, name: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart-v1, namespace: shop}
spec: {template: {metadata: {labels: {app: cart, version: v1}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay-v2, namespace: shop}
spec: {template: {metadata: {labels: {app: pay, version: v2}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, subsets: [{name: v2, labels: {version: v2}}]}
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{port: 80, name: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart-v1, namespace: shop}
spec: {template: {metadata: {labels: {app: cart, version: v1}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay-v2, namespace: shop}
spec: {template: {metadata: {labels: {app: pay, version: v2}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, subsets: [{name: v1, labels: {version: v1}}]}
",
    },
    also: &["KIA0203"],
};

fn check(view: &View<'_>, rule: &Resource, findings: &mut Findings) {
    let subsets = rule.spec()["subsets"].items();
    let host = rule.spec()["host"].text();
    if subsets.is_empty() {
        return;
    }
    let full = fqdn(host, &rule.namespace);
    let Some((namespace, name)) = service_of(&full) else { return };
    let Some(service) = view.get(Kind::Service, namespace, name) else { return };
    let within = Within::Namespace(namespace);
    let of_service = Selector::new(&service.spec()["selector"]);
    // The endpoints of a service without selector are managed elsewhere; a service without pods is not the fault of a
    // subset.
    if of_service.is_empty() || !view.has_workload(within, &of_service) {
        return;
    }
    for (index, subset) in subsets.iter().enumerate() {
        let labels = Selector::new(&subset["labels"]);
        // Labels of the node are not in the pod template.
        let is_topology =
            labels.pairs().iter().any(|(key, _)| key.contains("topology.") || *key == "kubernetes.io/hostname");
        if labels.is_empty() || is_topology {
            continue;
        }
        // A label that conflicts with the service's selector cannot match either.
        let clashes =
            labels.pairs().iter().any(|(key, value)| of_service.pairs().iter().any(|(k, v)| k == key && v != value));
        let both = of_service.and(&labels);
        let has_pods = !clashes && view.has_workload(within, &both);
        let is_machine = || {
            view.in_namespace(Kind::WorkloadEntry, namespace).iter().any(|entry| both.matches(&entry.spec()["labels"]))
        };
        // IST0173 reports labels that match no pod.
        let is_anywhere = || view.has_workload(Within::Anywhere, &labels);
        if has_pods || !is_anywhere() || is_machine() {
            continue;
        }
        let subset = subset["name"].text();
        let message =
            format!("pods with the labels of subset {subset} ({labels}) do not belong to service {namespace}/{name}");
        findings
            .add(&SH7127, rule, message)
            .field(format!("spec.subsets[{index}].labels"))
            .arguments([host, subset, &labels.to_string()])
            .related(service);
    }
}
