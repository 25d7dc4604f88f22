//! Checks for L7 policies that ztunnel cannot enforce. Source: istio.io, ambient, "Use Layer 4 security policy" and
//! "Use Layer 7 features"; Kiali's checks KIA0109, KIA0110, KIA1317.

use super::waypoint;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, Value, View, WORKLOADS, Within};

pub static RULE: Rule = Rule {
    name: "ambient.L7Policies",
    codes: &[&SH7150, &SH7151],
    inputs: &[
        Kind::AuthorizationPolicy,
        Kind::Namespace,
        Kind::Service,
        WORKLOADS[0],
        WORKLOADS[1],
        WORKLOADS[2],
        WORKLOADS[3],
        WORKLOADS[4],
        WORKLOADS[5],
    ],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static SH7150: Code = Code {
    id: "SH7150",
    name: "L7PolicyAtZtunnel",
    level: Level::Error,
    title: "Policy in an ambient namespace uses L7 attributes without targetRefs",
    why: "ztunnel enforces a policy without targetRefs, and it does not parse HTTP. An ALLOW rule with HTTP \
          attributes then allows nothing, and a DENY rule denies all traffic from the clients it matches.",
    remedy: "Attach the policy to a Service or a waypoint with targetRefs, and enroll the namespace or service to use \
             a waypoint.",
    source: "https://istio.io/latest/docs/ambient/usage/l4-policy/#allowed-policy-attributes",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  rules: [{to: [{operation: {methods: [GET]}}]}]
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: cart}]
  rules: [{to: [{operation: {methods: [GET]}}]}]
",
    },
    also: &["KIA0110"],
};

static SH7151: Code = Code {
    id: "SH7151",
    name: "PolicyWithoutWaypoint",
    level: Level::Error,
    title: "Policy targets a service in the ambient mesh that uses no waypoint",
    why: "Waypoints enforce policies with targetRefs. Without a waypoint the policy has no effect, and requests that \
          it should deny are accepted.",
    remedy: "Label the service or its namespace with istio.io/use-waypoint.",
    source: "https://istio.io/latest/docs/ambient/usage/waypoint/#useawaypoint",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: cart}]
  rules: [{to: [{operation: {methods: [GET]}}]}]
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, labels: {istio.io/use-waypoint: waypoint}}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: cart}]
  rules: [{to: [{operation: {methods: [GET]}}]}]
",
    },
    also: &["KIA0109", "KIA1317"],
};

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    if !waypoint::is_ambient(view, &policy.namespace) || is_reported_by_status(policy) {
        return;
    }
    let spec = policy.spec();
    if spec["targetRefs"].is_empty() && spec["targetRef"].is_null() {
        let Some(field) = first_l7_field(spec) else { return };
        let selector = Selector::new(spec.at("selector.matchLabels"));
        // An ambient namespace may also have pods with sidecars, which do parse HTTP.
        let mut pods = view.workloads(Within::Namespace(&policy.namespace), &selector).peekable();
        if pods.peek().is_some() && !pods.any(|pod| view.is_ambient(pod)) {
            return;
        }
        let message = format!("{} uses L7 attributes, but ztunnel enforces it and does not parse HTTP", policy.name);
        findings.add(&SH7150, policy, message).field(field);
        return;
    }
    for (index, target) in spec["targetRefs"].items().iter().enumerate() {
        let name = target["name"].text();
        if target["kind"].text() != "Service" {
            continue;
        }
        let Some(service) = view.get(Kind::Service, &policy.namespace, name) else { continue };
        if !waypoint::has_waypoint(view, service) {
            let message = format!("service {name} uses no waypoint, so {} is not enforced", policy.name);
            findings
                .add(&SH7151, policy, message)
                .field(format!("spec.targetRefs[{index}].name"))
                .arguments([name])
                .related(service);
        }
    }
}

/// IST0171 reports this case.
fn is_reported_by_status(policy: &Resource) -> bool {
    policy.status()["conditions"].items().iter().any(|condition| {
        matches!(condition["type"].text(), "ZtunnelAccepted" | "WaypointAccepted")
            && condition["status"].text() == "False"
    })
}

fn first_l7_field(spec: &Value) -> Option<String> {
    for (index, rule) in spec["rules"].items().iter().enumerate() {
        for (at, entry) in rule["from"].items().iter().enumerate() {
            for field in ["requestPrincipals", "notRequestPrincipals", "remoteIpBlocks", "notRemoteIpBlocks"] {
                if !entry["source"][field].is_empty() {
                    return Some(format!("spec.rules[{index}].from[{at}].source.{field}"));
                }
            }
        }
        for (at, entry) in rule["to"].items().iter().enumerate() {
            for field in ["hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"] {
                if !entry["operation"][field].is_empty() {
                    return Some(format!("spec.rules[{index}].to[{at}].operation.{field}"));
                }
            }
        }
        for (at, condition) in rule["when"].items().iter().enumerate() {
            let key = condition["key"].text();
            if key.starts_with("request.") || key.starts_with("connection.sni") || key.starts_with("experimental.") {
                return Some(format!("spec.rules[{index}].when[{at}].key"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn workload_with_sidecar_enforces_l7_policy() {
        let sidecar = format!(
            "{}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: cart, namespace: shop}}\nspec: {{template: \
             {{metadata: {{labels: {{app: cart, sidecar.istio.io/inject: 'true'}}}}}}}}\n",
            super::SH7150.example.before
        );
        assert!(!reported(&sidecar).contains("SH7150"));
    }
}
