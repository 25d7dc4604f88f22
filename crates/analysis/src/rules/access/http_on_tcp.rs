//! HTTP attributes in policies for ports that carry no HTTP. Source: istio.io, "Authorization Policy", "Dependency on
//! mutual TLS" and "Explicit deny"; security/authorization, "Using Istio authorization on plain TCP protocols": a rule
//! with HTTP-only fields is ignored there, so that ALLOW does not allow and DENY denies without them.

use crate::istio::protocol::{Protocol, of_service_port};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, Value, View, WORKLOADS, Within};

/// The rule.
pub static RULE: Rule = Rule {
    name: "access.HttpOnTcp",
    codes: &[&SH7135],
    inputs: &[
        Kind::AuthorizationPolicy,
        Kind::Service,
        Kind::MeshConfig,
        WORKLOADS[0],
        WORKLOADS[1],
        WORKLOADS[2],
        WORKLOADS[3],
        WORKLOADS[4],
        WORKLOADS[5],
    ],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static SH7135: Code = Code {
    id: "SH7135",
    name: "HttpAttributesForTcpPorts",
    level: Level::Warning,
    title: "An ALLOW policy uses HTTP attributes for workloads whose ports are TCP",
    why: "A proxy does not read requests on a TCP port. There a rule with HTTP attributes never matches, so the policy allows \
          nothing and all connections are denied.",
    remedy: "Name the Service's port http-… or set its appProtocol, if it carries HTTP; otherwise use ports, principals, \
             namespaces and ipBlocks only.",
    source: "https://istio.io/latest/docs/concepts/security/#using-istio-authorization-on-plain-tcp-protocols",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 27017, name: mongo}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec: {template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: mongo}]}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: db, namespace: shop}
spec:
  selector: {matchLabels: {app: db}}
  rules: [{to: [{operation: {methods: [GET], ports: ['27017']}}]}]
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 27017, name: mongo}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec: {template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: mongo}]}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: db, namespace: shop}
spec:
  selector: {matchLabels: {app: db}}
  rules: [{to: [{operation: {ports: ['27017']}}]}]
",
    },
    also: &[],
};

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    let spec = policy.spec();
    let selector = Selector::new(spec.at("selector.matchLabels"));
    let is_allow = matches!(spec["action"].text(), "" | "ALLOW");
    if !is_allow || selector.is_empty() || policy.namespace == view.root_namespace() {
        return;
    }
    let ports = ports(view, &policy.namespace, &selector);
    for (index, rule) in spec["rules"].items().iter().enumerate() {
        let Some(field) = http_field(rule) else { continue };
        let wanted: Vec<i64> = named_ports(rule);
        let meant: Vec<_> = ports.iter().filter(|(number, _)| wanted.is_empty() || wanted.contains(number)).collect();
        if meant.is_empty()
            || meant.iter().any(|(_, protocol)| matches!(protocol, Protocol::Http | Protocol::Undeclared))
        {
            continue;
        }
        let numbers: Vec<String> = meant.iter().map(|(number, _)| number.to_string()).collect();
        let numbers = numbers.join(", ");
        let message = format!("the rule uses {field}, and the ports it applies to carry no HTTP ({numbers})");
        findings
            .add(&SH7135, policy, message)
            .field(format!("spec.rules[{index}].{field}"))
            .arguments([field, numbers]);
    }
}

/// The ports at which Services reach the selected workloads, with their protocols.
fn ports(view: &View<'_>, namespace: &str, selector: &Selector<'_>) -> Vec<(i64, Protocol)> {
    let mut ports = Vec::new();
    for workload in view.workloads(Within::Namespace(namespace), selector) {
        for service in view.services_selecting(namespace, workload.pod_labels()) {
            for port in service.spec()["ports"].items() {
                // A named target port is not looked up: whichever it is, its protocol is that of the Service's port.
                let number = port["targetPort"].as_int().or_else(|| port["port"].as_int());
                ports.extend(number.map(|number| (number, of_service_port(port))));
            }
        }
    }
    ports.sort_unstable_by_key(|(number, _)| *number);
    ports.dedup();
    ports
}

fn named_ports(rule: &Value) -> Vec<i64> {
    let operations = rule["to"].items().iter();
    operations.flat_map(|to| to["operation"]["ports"].texts()).filter_map(|port| port.parse().ok()).collect()
}

/// The first field of a rule that only HTTP has.
fn http_field(rule: &Value) -> Option<String> {
    let lists = [
        ("from", "source", &["requestPrincipals", "notRequestPrincipals"][..]),
        ("to", "operation", &["hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"][..]),
    ];
    for (list, inside, fields) in lists {
        for (at, entry) in rule[list].items().iter().enumerate() {
            if let Some(field) = fields.iter().find(|field| !entry[inside][**field].is_empty()) {
                return Some(format!("{list}[{at}].{inside}.{field}"));
            }
        }
    }
    let mut conditions = rule["when"].items().iter();
    let at = conditions.position(|condition| condition["key"].text().starts_with("request."))?;
    Some(format!("when[{at}].key"))
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn ports_that_may_carry_http_are_not_judged() {
        let before = super::SH7135.example.before;
        for (from, to) in [
            ("name: mongo}", "name: web}"),
            ("name: mongo}", "name: mongo}, {port: 80, name: http, targetPort: 27017}"),
            ("  rules:", "  action: DENY\n  rules:"),
            ("ports: ['27017']", "ports: ['80']"),
        ] {
            assert!(before.contains(from), "{from}");
            assert!(!reported(&before.replace(from, to)).contains("SH7135"), "{to}");
        }
    }
}
