//! Checks for status conditions that report a failure. Source: istio `analyzers/conditions/conditions.go`.
//!
//! Differs from istioctl: the conditions of a Gateway's listeners are read too.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

const KINDS: &[Kind] = &[
    Kind::Service,
    Kind::ServiceEntry,
    Kind::WorkloadEntry,
    Kind::AuthorizationPolicy,
    Kind::KubernetesGateway,
    Kind::HttpRoute,
    Kind::GrpcRoute,
];

pub static RULE: Rule =
    Rule { name: "conditions.ConditionAnalyzer", codes: &[&IST0171], inputs: KINDS, check: Check::Each(KINDS, check) };

static IST0171: Code = Code {
    id: "IST0171",
    name: "NegativeConditionStatus",
    level: Level::Warning,
    title: "Status condition reports that the object does not work",
    why: "A controller rejected the object, or could not resolve a reference in it.",
    remedy: "Fix the cause in the condition's message; the controller then updates the condition.",
    source: "https://istio.io/latest/docs/reference/config/analysis/ist0171/",
    example: Example {
        before: "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec: {parentRefs: [{name: web}], rules: [{backendRefs: [{name: cart, port: 80}]}]}
status:
  parents:
  - parentRef: {name: web}
    conditions: [{type: ResolvedRefs, status: 'False', reason: BackendNotFound, message: no Service cart}]
",
        after: "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec: {parentRefs: [{name: web}], rules: [{backendRefs: [{name: cart, port: 80}]}]}
status:
  parents:
  - parentRef: {name: web}
    conditions: [{type: ResolvedRefs, status: 'True', reason: ResolvedRefs}]
",
    },
    also: &["GWAPI"],
};

const BOUND: &[&str] = &["istio.io/WaypointBound"];
const ACCEPTED: &[&str] = &["ZtunnelAccepted", "WaypointAccepted"];
const PROGRAMMED: &[&str] = &["Accepted", "Programmed", "ResolvedRefs"];

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let status = resource.status();
    match resource.kind {
        Kind::AuthorizationPolicy => add_finding(resource, &status["conditions"], "status", ACCEPTED, findings),
        Kind::KubernetesGateway => {
            add_finding(resource, &status["conditions"], "status", PROGRAMMED, findings);
            for (index, listener) in status["listeners"].items().iter().enumerate() {
                let below = format!("status.listeners[{index}]");
                add_finding(resource, &listener["conditions"], &below, PROGRAMMED, findings);
            }
        }
        Kind::HttpRoute | Kind::GrpcRoute => {
            for (index, parent) in status["parents"].items().iter().enumerate() {
                let below = format!("status.parents[{index}]");
                add_finding(resource, &parent["conditions"], &below, PROGRAMMED, findings);
            }
        }
        _ => add_finding(resource, &status["conditions"], "status", BOUND, findings),
    }
}

fn add_finding(resource: &Resource, conditions: &Value, below: &str, types: &[&str], findings: &mut Findings) {
    for (index, condition) in conditions.items().iter().enumerate() {
        let (kind, reason) = (condition["type"].text(), condition["reason"].text());
        let is_partial = kind == "WaypointAccepted" && reason == "PartiallyInvalid";
        // An unquoted status in a file is parsed as a boolean.
        let is_false = condition["status"].scalar_text().eq_ignore_ascii_case("false");
        if !types.contains(&kind) || !(is_false || is_partial) {
            continue;
        }
        let message = condition["message"].text();
        findings
            .add(&IST0171, resource, format!("condition {kind} is not True ({reason}): {message}"))
            .field(format!("{below}.conditions[{index}].status"))
            .arguments([kind, reason, message]);
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::found;

    #[test]
    fn partial_acceptance_is_reported_once() {
        let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: b}\n\
            spec: {action: DENY}\nstatus:\n  conditions:\n  - {type: WaypointAccepted, status: 'True', reason: PartiallyInvalid}\n  \
            - {type: Synced, status: 'False'}\n";
        assert_eq!(found(policy).iter().filter(|finding| finding.code.id == "IST0171").count(), 1);
    }
}
