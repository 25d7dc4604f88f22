//! Checks for several `VirtualService`s bound to mesh for one host. Source: istio
//! `analyzers/virtualservice/conflictingmeshgatewayhosts.go`.
//!
//! Differs from istioctl: an object never conflicts with itself, even if it lists a host twice (istio/istio#42561).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View, hosts};

pub static RULE: Rule = Rule {
    name: "virtualservice.ConflictingMeshGatewayHostsAnalyzer",
    codes: &[&IST0109],
    inputs: &[Kind::VirtualService],
    check: Check::Once(check),
};

static IST0109: Code = Code {
    id: "IST0109",
    name: "ConflictingMeshGatewayVirtualServiceHosts",
    level: Level::Error,
    title: "VirtualServices conflict for the same host in the mesh",
    why: "Sidecars use only the oldest; the rules of the others have no effect. Istio merges VirtualServices only at \
          gateways.",
    remedy: "Merge them into one, or limit them with exportTo so that no namespace sees two.",
    source: "https://istio.io/latest/docs/ops/best-practices/traffic-management/#split-virtual-services",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: one, namespace: shop}
spec: {hosts: [cart], http: [{route: [{destination: {host: cart}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: two, namespace: shop}
spec: {hosts: [cart.shop.svc.cluster.local], http: [{timeout: 1s, route: [{destination: {host: cart}}]}]}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: one, namespace: shop}
spec: {hosts: [cart], http: [{timeout: 1s, route: [{destination: {host: cart}}]}]}
",
    },
    also: &["KIA1106", "istio-vet conflictingvirtualservicehost"],
};

/// Names that a message lists; the rest is counted.
const SHOWN: usize = 10;

type Services<'a> = BTreeMap<(&'a str, &'a str), &'a Arc<Resource>>;

fn check(view: &View<'_>, findings: &mut Findings) {
    // By scope, then by the reversed host, so that the hosts below a wildcard are adjacent.
    let mut claimed: BTreeMap<&str, BTreeMap<String, Services<'_>>> = BTreeMap::new();
    for service in view.all(Kind::VirtualService) {
        let gateways = &service.spec()["gateways"];
        if !gateways.is_empty() && !gateways.texts().any(|gateway| gateway == "mesh") {
            continue;
        }
        for scope in hosts::scopes(service) {
            let of_scope = claimed.entry(scope).or_default();
            for host in service.spec()["hosts"].texts() {
                let backwards = hosts::fqdn(host, &service.namespace).chars().rev().collect();
                of_scope.entry(backwards).or_default().insert((&service.namespace, &service.name), service);
            }
        }
    }
    let nothing = BTreeMap::new();
    let everywhere = claimed.get("*").unwrap_or(&nothing);
    let mut reported: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (scope, by_host) in &claimed {
        for (backwards, services) in by_host {
            let host: String = backwards.chars().rev().collect();
            let mut conflicting = services.clone();
            if *scope != "*" {
                for others in overlapping(everywhere, &host, backwards) {
                    conflicting.extend(others.iter().map(|(name, service)| (*name, *service)));
                }
            }
            if conflicting.len() > 1 {
                add_finding(&conflicting, scope, &host, &mut reported, findings);
            }
        }
    }
}

/// `VirtualService`s whose hosts overlap with this one.
fn overlapping<'a, 's>(
    everywhere: &'s BTreeMap<String, Services<'a>>,
    host: &str,
    backwards: &str,
) -> Vec<&'s Services<'a>> {
    let name = host.strip_prefix('*').unwrap_or(host);
    let covering = hosts::wildcards(name).filter(|wildcard| wildcard != host);
    let exact = std::iter::once(host.to_owned());
    let mut found: Vec<_> =
        covering.chain(exact).filter_map(|host| everywhere.get(&host.chars().rev().collect::<String>())).collect();
    if host.starts_with('*') {
        let start = backwards.trim_end_matches('*');
        let below = everywhere.range(start.to_owned()..).take_while(|(other, _)| other.starts_with(start));
        found.extend(below.map(|(_, services)| services));
    }
    found
}

fn add_finding<'a>(
    services: &Services<'a>,
    scope: &str,
    host: &str,
    reported: &mut BTreeSet<(&'a str, &'a str)>,
    findings: &mut Findings,
) {
    let names: Vec<String> = services.values().map(|service| service.full_name()).collect();
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(",");
    let more = names.len().saturating_sub(SHOWN);
    let shown = if more > 0 { format!("{shown},… ({more} more)") } else { shown };
    for (name, service) in services {
        if !reported.insert(*name) {
            continue;
        }
        let all = service.spec()["hosts"].texts().position(|own| hosts::overlaps(&hosts::fqdn(own, name.0), host));
        findings
            .add(&IST0109, service, format!("host {host} is defined for the mesh by {shown}"))
            .field(format!("spec.hosts[{}]", all.unwrap_or_default()))
            .arguments([shown.clone(), format!("{scope}/{host}")]);
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::found;

    fn conflicting(scopes_and_hosts: &[(&str, &str)]) -> usize {
        let text: Vec<String> = scopes_and_hosts
            .iter()
            .enumerate()
            .map(|(index, (scope, hosts))| {
                format!(
                    "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
                     metadata: {{name: s{index}, namespace: shop}}\n\
                     spec: {{hosts: [{hosts}], exportTo: ['{scope}'], http: [{{timeout: 1s}}]}}\n"
                )
            })
            .collect();
        found(&text.join("---\n")).iter().filter(|finding| finding.code.id == "IST0109").count()
    }

    #[test]
    fn namespace_scoped_host_conflicts_with_global_one() {
        assert_eq!(conflicting(&[("*", "a.com"), ("*", "a.com")]), 2);
        assert_eq!(conflicting(&[("x", "a.com"), ("y", "a.com")]), 0);
        assert_eq!(conflicting(&[("x", "'*.com'"), ("*", "a.com"), ("*", "b.com"), ("*", "a.org")]), 3);
        assert_eq!(conflicting(&[("x", "a.b.com"), ("*", "'*.com'"), ("*", "'*.org'")]), 2);
        assert_eq!(conflicting(&[("*", "'*.com'"), ("*", "a.com")]), 0);
    }
}
