//! A control plane or gateway that one lost node takes away. Source: istio.io, deployment best practices; the control
//! plane is asked for each new pod.

use crate::istio::selector;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "operations.Availability",
    codes: &[&SH7316, &SH7317],
    reads: &[Kind::Deployment, Kind::HorizontalPodAutoscaler, Kind::PodDisruptionBudget],
    check: Check::Each(&[Kind::Deployment], check),
};

static SH7316: Code = Code {
    id: "SH7316",
    name: "SingleReplica",
    level: Level::Info,
    title: "The control plane or a gateway has one replica",
    why: "When its node goes, new pods cannot start and proxies get no changes (istiod), or nothing comes in (a gateway), \
          until it is running elsewhere.",
    remedy: "Run two or more replicas (replicas, or minReplicas of the autoscaler), on different nodes.",
    source: "https://istio.io/latest/docs/ops/best-practices/deployment/",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {replicas: 1, template: {metadata: {labels: {app: istiod}}}}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {replicas: 2, template: {metadata: {labels: {app: istiod}}}}
",
    },
    also: &[],
};

static SH7317: Code = Code {
    id: "SH7317",
    name: "NoDisruptionBudget",
    level: Level::Info,
    title: "The control plane or a gateway has no PodDisruptionBudget",
    why: "Draining nodes, as every upgrade of the cluster does, may take all its replicas away at once.",
    remedy: "Add a PodDisruptionBudget with minAvailable: 1 that selects its pods.",
    source: "https://istio.io/latest/docs/ops/best-practices/deployment/",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {replicas: 2, template: {metadata: {labels: {app: istiod}}}}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {replicas: 2, template: {metadata: {labels: {app: istiod}}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: istiod, namespace: istio-system}
spec: {minAvailable: 1, selector: {matchLabels: {app: istiod}}}
",
    },
    also: &[],
};

fn check(view: &View<'_>, deployment: &Resource, findings: &mut Findings) {
    let Some(what) = role(deployment) else { return };
    let replicas = deployment.spec()["replicas"].as_int().unwrap_or(1);
    // Switched off, or made by Istio from a Gateway.
    if replicas == 0 || deployment.label("gateway.istio.io/managed").is_some() {
        return;
    }
    let scaler = view
        .in_namespace(Kind::HorizontalPodAutoscaler, &deployment.namespace)
        .iter()
        .find(|scaler| scaler.spec().at("scaleTargetRef.name").text() == deployment.name);
    let least = scaler.map_or(replicas, |scaler| scaler.spec()["minReplicas"].as_int().unwrap_or(1));
    if least < 2 {
        let (by, field) = match scaler {
            Some(scaler) => (format!(" (minReplicas of {})", scaler.name), ""),
            None => (String::new(), "spec.replicas"),
        };
        let message = format!("{what} {} may run with {least} replica{by}", deployment.name);
        findings.add(&SH7316, deployment, message).field(field).arguments([deployment.name.as_str()]);
        // With a single one a budget would only block the drain.
        return;
    }
    let labels = deployment.pod_labels();
    let has_budget = view.in_namespace(Kind::PodDisruptionBudget, &deployment.namespace).iter().any(|budget| {
        let selector = &budget.spec()["selector"];
        selector.is_set() && selector::selects(selector, labels)
    });
    if !has_budget {
        let message = format!("{what} {} has no PodDisruptionBudget", deployment.name);
        findings.add(&SH7317, deployment, message).arguments([deployment.name.as_str()]);
    }
}

/// What a Deployment is for the mesh, if it is one of its own.
pub(super) fn role(deployment: &Resource) -> Option<&'static str> {
    if deployment.label("app") == Some("istiod") {
        return Some("control plane");
    }
    let istio = deployment.label("istio").or_else(|| deployment.pod_labels()["istio"].as_str())?;
    istio.ends_with("gateway").then_some("gateway")
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn an_autoscaler_that_keeps_two_is_enough() {
        let scaled = format!(
            "{}---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: istiod, namespace: istio-system}}
spec: {{minReplicas: 2, scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: istiod}}}}
",
            super::SH7316.example.before
        );
        assert!(!reported(&scaled).contains("SH7316"));
    }

    #[test]
    fn an_application_is_not_judged() {
        let application = super::SH7316.example.before.replace("istiod", "cart");
        assert!(!reported(&application).contains("SH7316"));
    }
}
