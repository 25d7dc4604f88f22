//! Checks `exportTo` for namespaces that do not exist. Source: Kiali's check KIA0005.

use crate::rules::support::completeness::{is_of_each_cluster, knows_namespaces};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "references.ExportTo",
    codes: &[&SH7101],
    inputs: &[Kind::DestinationRule, Kind::VirtualService, Kind::ServiceEntry, Kind::Namespace, Kind::MeshConfig],
    check: Check::Each(&[Kind::DestinationRule, Kind::VirtualService, Kind::ServiceEntry], check),
};

static SH7101: Code = Code {
    id: "SH7101",
    name: "ExportToUnknownNamespace",
    level: Level::Warning,
    title: "exportTo lists a namespace that does not exist",
    why: "The entry has no effect. If another name was intended, the clients there do not see the object.",
    remedy: "Correct the name, or use `.` for the object's own namespace and `*` for all namespaces.",
    source: "https://kiali.io/docs/features/validations/#kia0005---no-matching-namespace-found-or-namespace-is-not-accessible",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: kube-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  exportTo: [shops]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: kube-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  exportTo: [shop]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
",
    },
    also: &["KIA0005"],
};

fn check(view: &View<'_>, resource: &Resource, findings: &mut Findings) {
    for (index, namespace) in resource.spec()["exportTo"].texts().enumerate() {
        if matches!(namespace, "." | "*" | "~" | "")
            || view.has_named(Kind::Namespace, "", namespace)
            || is_of_each_cluster(view, namespace)
            || !knows_namespaces(view)
        {
            continue;
        }
        let message = format!("exportTo: namespace {namespace} does not exist");
        findings.add(&SH7101, resource, message).field(format!("spec.exportTo[{index}]")).arguments([namespace]);
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn export_to_is_ignored_without_namespaces() {
        let after = super::SH7101.example.before.replacen("istio-system", "other", 1);
        assert!(!reported(&after).contains("SH7101"));
    }
}
