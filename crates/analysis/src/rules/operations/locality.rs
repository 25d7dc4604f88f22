//! Checks for locality failover without outlier detection. Source: istio.io, tasks, "Locality load balancing": without
//! outlier detection no endpoint is marked unhealthy.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "operations.Locality",
    codes: &[&SH7306],
    inputs: &[Kind::DestinationRule, Kind::MeshConfig],
    check: Check::Once(check),
};

static SH7306: Code = Code {
    id: "SH7306",
    name: "FailoverWithoutOutlierDetection",
    level: Level::Info,
    title: "Locality failover is configured without outlier detection",
    why: "Traffic fails over to another locality only if endpoints are marked unhealthy, which requires outlier \
          detection. Without it these settings have no effect.",
    remedy: "Add outlierDetection to the DestinationRules of the services that should fail over.",
    source: "https://istio.io/latest/docs/tasks/traffic-management/locality-load-balancing/failover/",
    example: Example {
        before: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'localityLbSetting: {failover: [{from: east, to: west}]}'}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}}
",
        after: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'localityLbSetting: {failover: [{from: east, to: west}]}'}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 5}}}
",
    },
    also: &[],
};

fn check(view: &View<'_>, findings: &mut Findings) {
    let settings = &view.mesh().config()["localityLbSetting"];
    let says = ["failover", "failoverPriority"].into_iter().find(|field| !settings[*field].is_empty());
    let Some(field) = says else { return };
    let detects = |rule: &Resource| {
        let spec = rule.spec();
        spec.at("trafficPolicy.outlierDetection").is_set()
            || spec.at("trafficPolicy.portLevelSettings").items().iter().any(|port| port["outlierDetection"].is_set())
            || spec["subsets"].items().iter().any(|subset| subset.at("trafficPolicy.outlierDetection").is_set())
    };
    if view.all(Kind::DestinationRule).iter().any(|rule| detects(rule)) {
        return;
    }
    let Some(config) = view.all(Kind::MeshConfig).first() else { return };
    let message = format!("localityLbSetting.{field} is set, but no DestinationRule has outlierDetection");
    findings.add(&SH7306, config, message).field(format!("localityLbSetting.{field}"));
}
