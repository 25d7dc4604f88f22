//! Checks that istiod limits the addresses of `jwksUri`. Source: istio `analyzers/authn/blockedcidrs.go`.
//!
//! Differs from istioctl: a variable with `valueFrom` (ConfigMap or Secret) counts as set.

use crate::istio::component::is_istiod;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "authn.BlockedCIDRsAnalyzer",
    codes: &[&IST0175],
    inputs: &[Kind::Deployment, Kind::RequestAuthentication],
    check: Check::Each(&[Kind::Deployment], check),
};

static IST0175: Code = Code {
    id: "IST0175",
    name: "JwksUriFetchUnrestricted",
    level: Level::Warning,
    title: "istiod fetches jwksUri from any address",
    why: "Anyone who can create a RequestAuthentication can make istiod send requests to internal addresses, such as \
          the metadata service of the cloud (server-side request forgery).",
    remedy: "Set BLOCKED_CIDRS_IN_JWKS_URIS on istiod to the networks that it must not access.",
    source: "https://istio.io/latest/docs/reference/commands/pilot-discovery/",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {template: {spec: {containers: [{name: discovery}]}}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: shop}
spec: {jwtRules: [{issuer: example.com, jwksUri: 'https://example.com/keys'}]}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec:
  template:
    spec:
      containers: [{name: discovery, env: [{name: BLOCKED_CIDRS_IN_JWKS_URIS, value: 169.254.0.0/16}]}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: shop}
spec: {jwtRules: [{issuer: example.com, jwksUri: 'https://example.com/keys'}]}
",
    },
    also: &[],
};

const VARIABLE: &str = "BLOCKED_CIDRS_IN_JWKS_URIS";
/// Names that a message lists; the rest is counted.
const SHOWN: usize = 5;

fn check(view: &View<'_>, deployment: &Resource, findings: &mut Findings) {
    let policies = view.all(Kind::RequestAuthentication);
    if !is_istiod(deployment.labels()) || policies.is_empty() {
        return;
    }
    let containers = deployment.pod_template().at("spec.containers").items();
    let is_set = containers.iter().flat_map(|container| container["env"].items()).any(|variable| {
        variable["name"].text() == VARIABLE && (!variable["value"].text().is_empty() || variable["valueFrom"].is_set())
    });
    if is_set {
        return;
    }
    let mut names = policies.iter().take(SHOWN).map(|policy| policy.full_name()).collect::<Vec<_>>().join(", ");
    if policies.len() > SHOWN {
        names = format!("{names}, and {} more", policies.len() - SHOWN);
    }
    let count = policies.len().to_string();
    findings
        .add(
            &IST0175,
            deployment,
            format!("{VARIABLE} is not set, and {count} RequestAuthentication may set a jwksUri"),
        )
        .field("spec.template.spec.containers[0].env")
        .arguments([count, names]);
}
