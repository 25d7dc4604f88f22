//! Checks for kinds and fields that Istio has deprecated or removed. Source: istio
//! `analyzers/deprecation/deprecation.go`.

use crate::rules::support::common_codes::IST0002;
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "deprecation.DeprecationAnalyzer",
    codes: &[&IST0002],
    inputs: &[Kind::VirtualService, Kind::Sidecar, Kind::CustomResourceDefinition],
    check: Check::Each(&[Kind::VirtualService, Kind::Sidecar, Kind::CustomResourceDefinition], check),
};

/// Kinds of group `rbac.istio.io`, removed in Istio 1.6.
const REMOVED: [&str; 4] = ["ClusterRbacConfig", "RbacConfig", "ServiceRole", "ServiceRoleBinding"];

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    match resource.kind {
        Kind::VirtualService => {
            for (index, http) in resource.spec()["http"].items().iter().enumerate() {
                if http.at("fault.delay.percent").as_int().is_some_and(|percent| percent > 0) {
                    let detail = "fault.delay.percent is deprecated; use fault.delay.percentage";
                    add_finding(resource, detail, &format!("spec.http[{index}].fault.delay.percent"), findings);
                }
            }
        }
        Kind::Sidecar => {
            if resource.spec().at("outboundTrafficPolicy.egressProxy").is_set() {
                let detail = "outboundTrafficPolicy.egressProxy is ignored";
                add_finding(resource, detail, "spec.outboundTrafficPolicy.egressProxy", findings);
            }
        }
        _ => {
            let kind = resource.spec().at("names.kind").text();
            if resource.spec()["group"].text() == "rbac.istio.io" && REMOVED.contains(&kind) {
                let detail = format!(
                    "kind {kind} of group rbac.istio.io was removed in Istio 1.6; use \
                                      AuthorizationPolicy"
                );
                add_finding(resource, &detail, "spec.names.kind", findings);
            }
        }
    }
}

fn add_finding(resource: &Resource, detail: &str, field: &str, findings: &mut Findings) {
    findings.add(&IST0002, resource, detail).field(field).arguments([detail]);
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn removed_kinds_and_ignored_fields_are_reported() {
        let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
                   metadata: {name: servicerolebindings.rbac.istio.io}\n\
                   spec: {group: rbac.istio.io, names: {kind: ServiceRoleBinding}}\n";
        assert!(reported(crd).contains("IST0002"));
        assert!(!reported(&crd.replace("group: rbac", "group: other")).contains("IST0002"));
        let sidecar = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: a, namespace: b}\n\
                       spec: {outboundTrafficPolicy: {egressProxy: {host: c}}}\n";
        assert!(reported(sidecar).contains("IST0002"));
        assert!(!reported(&sidecar.replace("egressProxy: {host: c}", "mode: ALLOW_ANY")).contains("IST0002"));
    }
}
