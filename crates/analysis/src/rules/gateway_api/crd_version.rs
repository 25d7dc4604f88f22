//! Checks that the Gateway API CRDs are new enough for Istio. Source: istio `analyzers/k8sgateway/crdversion.go`; the
//! versions are those of `MinimumCRDVersions` in istio `pkg/config/schema/gatewayapi`.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "k8sgateway.CRDVersionAnalyzer",
    codes: &[&IST0176],
    inputs: &[Kind::CustomResourceDefinition],
    check: Check::Each(&[Kind::CustomResourceDefinition], check),
};

static IST0176: Code = Code {
    id: "IST0176",
    name: "GatewayAPICRDVersionBelowMinimum",
    level: Level::Warning,
    title: "Gateway API CRD is older than Istio requires",
    why: "Istio does not watch objects of this kind: routes have no effect, and no other error is reported.",
    remedy: "Install the Gateway API CRDs in at least the version in the message.",
    source: "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/",
    example: Example {
        before: "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: tlsroutes.gateway.networking.k8s.io
  annotations: {gateway.networking.k8s.io/bundle-version: v1.4.0}
",
        after: "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: tlsroutes.gateway.networking.k8s.io
  annotations: {gateway.networking.k8s.io/bundle-version: v1.5.0}
",
    },
    also: &[],
};

const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

/// Minimum version from which Istio reads a kind.
const MINIMUM: [(&str, [u64; 3]); 4] = [
    ("grpcroutes.gateway.networking.k8s.io", [1, 1, 0]),
    ("backendtlspolicies.gateway.networking.k8s.io", [1, 4, 0]),
    ("tlsroutes.gateway.networking.k8s.io", [1, 5, 0]),
    ("tcproutes.gateway.networking.k8s.io", [1, 6, 0]),
];

fn check(_: &View<'_>, definition: &Resource, findings: &mut Findings) {
    let Some((_, minimum)) = MINIMUM.iter().find(|(name, _)| *name == definition.name) else { return };
    let Some(installed) = definition.annotation(BUNDLE_VERSION) else { return };
    if version(installed).is_none_or(|version| version >= *minimum) {
        return;
    }
    let minimum = minimum.map(|part| part.to_string()).join(".");
    let installed = installed.trim_start_matches('v');
    let name = definition.name.as_str();
    findings
        .add(&IST0176, definition, format!("the CRD has version {installed}, but Istio requires at least {minimum}"))
        .field(format!("metadata.annotations[\"{BUNDLE_VERSION}\"]"))
        .arguments([name, installed, &minimum]);
}

/// Major, minor and patch of `v1.4.0-rc.1`. The suffix is ignored: a release candidate has the kinds of its release.
fn version(text: &str) -> Option<[u64; 3]> {
    let numbers = text.trim_start_matches('v').split(['-', '+']).next()?;
    let mut version = [0; 3];
    for (index, part) in numbers.split('.').enumerate() {
        *version.get_mut(index)? = part.parse().ok()?;
    }
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn release_candidate_counts_as_release() {
        assert_eq!(version("v1.10.0-rc.1"), Some([1, 10, 0]));
        assert_eq!(version("1.4"), Some([1, 4, 0]));
        assert_eq!(version("main"), None);
        assert!(version("v1.10.0") > version("v1.9.3"));
    }
}
