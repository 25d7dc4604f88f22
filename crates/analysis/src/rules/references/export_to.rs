//! Configuration given to namespaces that do not exist. Source: Kiali's check KIA0005.

use crate::rules::scope::{is_of_each_cluster, knows_namespaces};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "references.ExportTo",
    codes: &[&SH7101],
    reads: &[Kind::DestinationRule, Kind::VirtualService, Kind::ServiceEntry, Kind::Namespace, Kind::MeshConfig],
    check: Check::Each(&[Kind::DestinationRule, Kind::VirtualService, Kind::ServiceEntry], check),
};

static SH7101: Code = Code {
    id: "SH7101",
    name: "ExportedToNobody",
    level: Level::Warning,
    title: "exportTo names a namespace that does not exist",
    why: "Nobody there can use the object, and where another name was meant, those who should use it do not see it.",
    remedy: "Correct the name, or use `.` for the own namespace and `*` for all.",
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
        let message = format!("exportTo: there is no namespace {namespace}");
        findings.add(&SH7101, resource, message).field(format!("spec.exportTo[{index}]")).arguments([namespace]);
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn a_folder_without_the_cluster_s_namespaces_is_not_judged() {
        let after = super::SH7101.example.before.replacen("istio-system", "other", 1);
        assert!(!reported(&after).contains("SH7101"));
    }
}
