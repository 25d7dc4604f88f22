//! Checks for routes to undefined subsets. Source: istio `analyzers/virtualservice/destinationrules.go`.
//!
//! Differs from istioctl: a `DestinationRule` for a wildcard defines subsets of the hosts it matches, and one in
//! another namespace defines those of a host outside the mesh. Where neither the host nor any DestinationRule of these
//! namespaces is among the objects, the finding is an info.

use super::route::destinations;
use crate::rules::support::common_codes::IST0101;
use crate::rules::support::completeness::knows_namespaces;
use crate::{Check, Findings, KeyIndex, Kind, Level, Resource, Rule, View, hosts};

pub static RULE: Rule = Rule {
    name: "virtualservice.DestinationRuleAnalyzer",
    codes: &[&IST0101],
    inputs: &[
        Kind::VirtualService,
        Kind::DestinationRule,
        Kind::Service,
        Kind::ServiceEntry,
        Kind::Namespace,
        Kind::MeshConfig,
    ],
    check: Check::Each(&[Kind::VirtualService], check),
};

static BY_SUBSET: KeyIndex = KeyIndex {
    name: "destination rules by host and subset",
    kinds: &[Kind::DestinationRule],
    keys: |rule, keys| {
        let host = hosts::fqdn(rule.spec()["host"].text(), &rule.namespace);
        for subset in rule.spec()["subsets"].items() {
            keys.add(&[&host, subset["name"].text()]);
        }
    },
};

fn check(view: &View<'_>, service: &Resource, findings: &mut Findings) {
    for destination in destinations(service) {
        let (host, subset) = (destination.node["host"].text(), destination.node["subset"].text());
        if subset.is_empty() {
            continue;
        }
        let full = hosts::fqdn(host, &service.namespace);
        let is_defined = view.has_key(&BY_SUBSET, &[&full, subset])
            || hosts::wildcards(&full).any(|wildcard| view.has_key(&BY_SUBSET, &[&wildcard, subset]));
        // A patch, or what installs other objects of the namespace, may define it.
        if is_defined || view.may_be_made("DestinationRule", &service.namespace, "") {
            continue;
        }
        let what = if destination.is_mirror { "mirror" } else { "host" };
        let is_known = is_known(view, service, host, &full);
        let (level, unknown) = if is_known {
            (Level::Error, "")
        } else {
            (Level::Info, "; neither the host nor a DestinationRule was read")
        };
        findings
            .add(&IST0101, service, format!("no DestinationRule for {full} defines subset {subset}{unknown}"))
            .level(level)
            .field(format!("{}.subset", destination.field))
            .arguments([format!("{what}+subset in destinationrule"), format!("{host}+{subset}")]);
    }
}

/// Whether a DestinationRule that is not among the objects does not exist: where the host or others of its namespaces are.
fn is_known(view: &View<'_>, service: &Resource, host: &str, full: &str) -> bool {
    let has_rules = |namespace: &str| view.has_in(Kind::DestinationRule, namespace);
    has_rules(&service.namespace)
        || hosts::service_of(full).is_some_and(|(namespace, _)| has_rules(namespace))
        || !view.providers(service, host).is_empty()
        || knows_namespaces(view)
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::found;

    const ROUTE: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, namespace: shop}\n\
        spec: {hosts: [cart], http: [{route: [{destination: {host: cart, subset: v2}}]}]}\n---\n\
        apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: b, namespace: shop}\n";

    fn is_reported(rule: &str) -> bool {
        let reported = |finding: &crate::Finding| finding.message.contains("defines subset v2");
        found(&format!("{ROUTE}spec: {rule}\n")).iter().any(reported)
    }

    #[test]
    fn subset_is_defined_for_host_or_wildcard() {
        assert!(is_reported("{host: cart, subsets: [{name: v1, labels: {v: '1'}}]}"));
        assert!(is_reported("{host: other, subsets: [{name: v2, labels: {v: '1'}}]}"));
        assert!(!is_reported("{host: cart.shop.svc.cluster.local, subsets: [{name: v2, labels: {v: '1'}}]}"));
        assert!(!is_reported("{host: '*.shop.svc.cluster.local', subsets: [{name: v2, labels: {v: '1'}}]}"));
    }
}
