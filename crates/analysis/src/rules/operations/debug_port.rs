//! Checks istiod's debug interface and token policy. Source: istio.io, security best practices, "Control plane".

use crate::istio::component::{DISCOVERY_CONTAINER, is_istiod};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "operations.DebugPort",
    codes: &[&SH7221, &SH7222],
    inputs: &[Kind::Deployment],
    check: Check::Each(&[Kind::Deployment], check),
};

static SH7221: Code = Code {
    id: "SH7221",
    name: "DebugPortOpen",
    level: Level::Info,
    title: "istiod exposes its debug interface without authentication",
    why: "Any client that reaches port 8080 of istiod can read the configuration of the whole mesh.",
    remedy: "Set the environment variable ENABLE_DEBUG_ON_HTTP to false on istiod (values.pilot.env), or block the \
             port with a NetworkPolicy. Tools can use the authenticated port 15012.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#control-plane",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {template: {spec: {containers: [{name: discovery, image: pilot}]}}}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec:
  template:
    spec:
      containers:
      - {name: discovery, image: pilot, env: [{name: ENABLE_DEBUG_ON_HTTP, value: 'false'}]}
",
    },
    also: &[],
};

static SH7222: Code = Code {
    id: "SH7222",
    name: "FirstPartyTokens",
    level: Level::Warning,
    title: "istiod accepts first-party service account tokens",
    why: "These tokens have no audience restriction and may not expire. A stolen token can be used to request the \
          workload's certificate from anywhere.",
    remedy: "Set JWT_POLICY to third-party-jwt (global.jwtPolicy), which all supported Kubernetes releases can use.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#configure-third-party-service-account-tokens",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec:
  template:
    spec:
      containers:
      - {name: discovery, image: pilot, env: [{name: JWT_POLICY, value: first-party-jwt}]}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec:
  template:
    spec:
      containers:
      - {name: discovery, image: pilot, env: [{name: JWT_POLICY, value: third-party-jwt}]}
",
    },
    also: &[],
};

fn check(_: &View<'_>, deployment: &Resource, findings: &mut Findings) {
    if !is_istiod(deployment.labels()) {
        return;
    }
    let containers = deployment.pod_template()["spec"]["containers"].items();
    let found = containers.iter().enumerate().find(|(_, container)| container["name"].text() == DISCOVERY_CONTAINER);
    let Some((index, discovery)) = found else { return };
    let field = || format!("spec.template.spec.containers[{index}].env");
    if !discovery["args"].texts().any(|argument| argument == "--httpAddr=")
        && value(discovery, "ENABLE_DEBUG_ON_HTTP") != "false"
    {
        let message = format!("{} exposes its debug interface on port 8080 without authentication", deployment.name);
        findings.add(&SH7221, deployment, message).field(field());
    }
    if value(discovery, "JWT_POLICY") == "first-party-jwt" {
        let message = format!("JWT_POLICY of {} is first-party-jwt", deployment.name);
        findings.add(&SH7222, deployment, message).field(field());
    }
}

fn value<'a>(container: &'a Value, name: &str) -> &'a str {
    let variable = container["env"].items().iter().find(|variable| variable["name"].text() == name);
    variable.map(|variable| variable["value"].text()).unwrap_or_default()
}
