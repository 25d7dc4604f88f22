//! Sidecars that import what is not there, or stand where they have no effect. Source: Kiali's checks KIA1004, KIA1006.

use crate::hosts::service_of;
use crate::rules::scope::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "references.SidecarHosts",
    codes: &[&SH7112, &SH7113],
    reads: &[Kind::Sidecar, Kind::Service, Kind::ServiceEntry, Kind::MeshConfig, Kind::Namespace, Kind::Deployment],
    check: Check::Each(&[Kind::Sidecar], check),
};

static SH7112: Code = Code {
    id: "SH7112",
    name: "SidecarHostUnknown",
    level: Level::Warning,
    title: "A Sidecar imports a host that nobody provides",
    why: "The proxies get nothing for it. Where another name was meant, requests to that one go out as unknown \
          traffic, without routes, retries and mutual TLS, or are refused.",
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
    title: "A Sidecar of the root namespace selects workloads",
    why: "A Sidecar there is the default of all namespaces only without a selector. With one it is for the root \
          namespace alone.",
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
        let message = format!("{} is for workloads of namespace {} only", sidecar.name, sidecar.namespace);
        findings.add(&SH7113, sidecar, message).field("spec.workloadSelector");
    }
    for (index, listener) in spec["egress"].items().iter().enumerate() {
        for (at, entry) in listener["hosts"].texts().enumerate() {
            let Some((namespace, host)) = entry.split_once('/') else { continue };
            if host.contains('*') || namespace == "~" || is_provided(view, sidecar, namespace, host) {
                continue;
            }
            let message = format!("nobody provides {entry}");
            findings
                .add(&SH7112, sidecar, message)
                .field(format!("spec.egress[{index}].hosts[{at}]"))
                .arguments([entry]);
        }
    }
}

/// Also true where it cannot be known.
fn is_provided(view: &View<'_>, sidecar: &Resource, namespace: &str, host: &str) -> bool {
    let known = match service_of(host) {
        Some((of, name)) => {
            if view.has_named(Kind::Service, of, name) && (matches!(namespace, "*") || of == own(namespace, sidecar)) {
                return true;
            }
            view.has_in(Kind::Service, of)
        }
        None => view.has(Kind::ServiceEntry),
    };
    !(known || is_whole_cluster(view)) || !view.providers(sidecar, host).is_empty()
}

fn own<'a>(namespace: &'a str, sidecar: &'a Resource) -> &'a str {
    if namespace == "." { &sidecar.namespace } else { namespace }
}
