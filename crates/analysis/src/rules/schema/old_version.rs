//! Manifests in an API version that a stable one has replaced. Source: istio.io, "Introducing the Istio v1 APIs" (1.22);
//! gateway-api.sigs.k8s.io, "Versioning": v1 of Gateway, `GatewayClass` and HTTPRoute since 1.0.

use crate::{Check, Code, Example, Findings, Fix, Kind, Level, Resource, Rule, View};

/// Kinds with a version `v1` whose fields are those of the older versions.
const KINDS: &[Kind] = &[
    Kind::AuthorizationPolicy,
    Kind::DestinationRule,
    Kind::Gateway,
    Kind::GatewayClass,
    Kind::HttpRoute,
    Kind::KubernetesGateway,
    Kind::PeerAuthentication,
    Kind::RequestAuthentication,
    Kind::ServiceEntry,
    Kind::Sidecar,
    Kind::Telemetry,
    Kind::VirtualService,
    Kind::WorkloadEntry,
    Kind::WorkloadGroup,
];

/// Versions before `v1`.
const OLD: [&str; 3] = ["v1alpha1", "v1alpha3", "v1beta1"];

/// The rule.
pub static RULE: Rule =
    Rule { name: "schema.OldVersion", codes: &[&SH7024], inputs: KINDS, check: Check::Text(KINDS, check) };

static SH7024: Code = Code {
    id: "SH7024",
    name: "OldApiVersion",
    level: Level::Info,
    title: "Manifest uses an API version that v1 has replaced",
    why: "The API server still converts the object, so it works. A future release will not serve the version, and the \
          manifest is then rejected.",
    remedy: "Use v1, which has the same fields, if the CRDs of every cluster have it: Istio 1.22, Gateway API 1.0 and \
             later.",
    source: "https://istio.io/latest/blog/2024/v1-apis/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
",
    },
    also: &[],
};

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let Some((group, version)) = resource.api_version.split_once('/') else { return };
    // The version of an object of a cluster is the one that it was read in.
    if resource.origin.is_none() || !OLD.contains(&version) || !serves(resource.kind, version) {
        return;
    }
    let kind = resource.kind;
    let message = format!("{kind} is written in {version}, which {group}/v1 has replaced");
    let fix = Fix::Replace { from: resource.api_version.to_string(), to: format!("{group}/v1") };
    findings.add(&SH7024, resource, message).field("apiVersion").arguments([version]).fix(Some(fix));
}

/// Whether the kind had this version. Another one has a finding of its own.
fn serves(kind: Kind, version: &str) -> bool {
    crate::crd::Schemas::built_in().versions(kind.group(), kind.name()).any(|served| served == version)
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::messages;

    #[test]
    fn replaced_version_is_reported_and_others_are_not() {
        let of = |version: &str, kind: &str| {
            messages(&format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a, namespace: b}}\n"), "SH7024")
                .len()
        };
        assert_eq!(of("networking.istio.io/v1alpha3", "VirtualService"), 1);
        assert_eq!(of("gateway.networking.k8s.io/v1beta1", "HTTPRoute"), 1);
        assert_eq!(of("networking.istio.io/v1", "VirtualService"), 0);
        assert_eq!(of("networking.istio.io/v1alpha3", "EnvoyFilter"), 0, "it has no v1");
        assert_eq!(of("security.istio.io/v1alpha1", "PeerAuthentication"), 0, "it never had this version");
        assert_eq!(of("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"), 0, "its v1 is new");
    }
}
