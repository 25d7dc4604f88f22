//! Checks for Sidecars that import unknown hosts or whose placement has no effect. Source: Kiali's checks KIA1004,
//! KIA1006.

use crate::hosts::service_of;
use crate::rules::support::completeness::{is_whole_cluster, knows_service};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "references.SidecarHosts",
    codes: &[&SH7112, &SH7113],
    inputs: &[Kind::Sidecar, Kind::Service, Kind::ServiceEntry, Kind::MeshConfig, Kind::Namespace, Kind::Deployment],
    check: Check::Each(&[Kind::Sidecar], check),
};

static SH7112: Code = Code {
    id: "SH7112",
    name: "SidecarHostUnknown",
    level: Level::Warning,
    title: "Sidecar imports a host that does not exist",
    why: "The import adds no configuration. If another host was intended, requests to that host are treated as \
          unknown traffic, without routes, retries and mutual TLS, or are blocked.",
    remedy: "Correct the host: namespace/name.namespace.svc.cluster.local, or namespace/*.",
    source: "https://kiali.io/docs/features/validations/#kia1004---this-host-has-no-matching-entry-in-the-service-registry",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: web}
spec:
  egress: [{hosts: [shop/carts.shop.svc.cluster.local]}]
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: web}
spec:
  egress: [{hosts: [shop/cart.shop.svc.cluster.local]}]
",
    },
    also: &["KIA1004"],
};

static SH7113: Code = Code {
    id: "SH7113",
    name: "RootSidecarWithSelector",
    level: Level::Warning,
    title: "Sidecar in the root namespace has a workloadSelector",
    why: "A Sidecar in the root namespace is the default of all namespaces only if it has no selector. With a \
          selector it applies only to the root namespace.",
    remedy: "Remove workloadSelector, or move the Sidecar to the namespace of the workloads.",
    source: "https://kiali.io/docs/features/validations/#kia1006---global-default-sidecar-should-not-have-workloadselector",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: istio-system}
spec:
  workloadSelector: {labels: {app: cart}}
  egress: [{hosts: ['./*', 'istio-system/*']}]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: istio-system}
spec:
  egress: [{hosts: ['./*', 'istio-system/*']}]
",
    },
    also: &["KIA1006"],
};

fn check(view: &View<'_>, sidecar: &Resource, findings: &mut Findings) {
    let spec = sidecar.spec();
    if sidecar.namespace == view.root_namespace() && !spec.at("workloadSelector.labels").is_empty() {
        let message = format!("{} applies only to workloads in namespace {}", sidecar.name, sidecar.namespace);
        findings.add(&SH7113, sidecar, message).field("spec.workloadSelector");
    }
    for (index, listener) in spec["egress"].items().iter().enumerate() {
        for (at, entry) in listener["hosts"].texts().enumerate() {
            let Some((namespace, host)) = entry.split_once('/') else { continue };
            if host.contains('*') || namespace == "~" || is_provided(view, sidecar, namespace, host) {
                continue;
            }
            let message = format!("no service matches {entry}");
            findings
                .add(&SH7112, sidecar, message)
                .field(format!("spec.egress[{index}].hosts[{at}]"))
                .arguments([entry]);
        }
    }
}

/// True also if it cannot be determined.
fn is_provided(view: &View<'_>, sidecar: &Resource, namespace: &str, host: &str) -> bool {
    let known = match service_of(host) {
        Some((of, name)) => {
            if view.has_named(Kind::Service, of, name) && (matches!(namespace, "*") || of == own(namespace, sidecar)) {
                return true;
            }
            knows_service(view, of, name)
        }
        None => !view.may_make_anything() && view.has(Kind::ServiceEntry) || is_whole_cluster(view),
    };
    !known || !view.providers(sidecar, host).is_empty()
}

fn own<'a>(namespace: &'a str, sidecar: &'a Resource) -> &'a str {
    if namespace == "." { &sidecar.namespace } else { namespace }
}
