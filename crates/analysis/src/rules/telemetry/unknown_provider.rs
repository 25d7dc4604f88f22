//! Checks for extension providers that `MeshConfig` does not define. Sources: istio
//! `pilot/pkg/security/authz/builder/extauthz.go` (a CUSTOM policy without its provider denies everything),
//! `pilot/pkg/model/telemetry.go` (an unknown provider of a Telemetry is ignored).

use crate::rules::support::completeness::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "telemetry.UnknownProvider",
    codes: &[&SH7129, &SH7130],
    inputs: &[
        Kind::Telemetry,
        Kind::AuthorizationPolicy,
        Kind::MeshConfig,
        Kind::ConfigMap,
        Kind::Namespace,
        Kind::Deployment,
    ],
    check: Check::Each(&[Kind::Telemetry, Kind::AuthorizationPolicy], check),
};

static SH7129: Code = Code {
    id: "SH7129",
    name: "TelemetryProviderUnknown",
    level: Level::Warning,
    title: "Telemetry references an undefined provider",
    why: "Istio ignores the provider without an error, so it receives no access logs, traces or metrics.",
    remedy: "Correct the name, or define the provider in extensionProviders of MeshConfig.",
    source: "https://istio.io/latest/docs/tasks/observability/telemetry/",
    example: Example {
        before: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'extensionProviders: [{name: otel, opentelemetry: {service: otel.monitoring.svc.cluster.local, port: 4317}}]'}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: mesh, namespace: istio-system}
spec: {tracing: [{providers: [{name: opentelemetry}]}]}
",
        after: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'extensionProviders: [{name: otel, opentelemetry: {service: otel.monitoring.svc.cluster.local, port: 4317}}]'}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: mesh, namespace: istio-system}
spec: {tracing: [{providers: [{name: otel}]}]}
",
    },
    also: &[],
};

static SH7130: Code = Code {
    id: "SH7130",
    name: "AuthorizationProviderUnknown",
    level: Level::Error,
    title: "CUSTOM policy references an undefined provider",
    why: "Istio cannot call the authorizer, so every request to which the policy applies is denied.",
    remedy: "Correct the name, or define the provider in extensionProviders of MeshConfig.",
    source: "https://istio.io/latest/docs/tasks/security/authorization/authz-custom/",
    example: Example {
        before: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'extensionProviders: [{name: oauth, envoyExtAuthzHttp: {service: oauth.auth.svc.cluster.local, port: 80}}]'}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: login, namespace: shop}
spec: {action: CUSTOM, provider: {name: oauth2}, rules: [{}]}
",
        after: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'extensionProviders: [{name: oauth, envoyExtAuthzHttp: {service: oauth.auth.svc.cluster.local, port: 80}}]'}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: login, namespace: shop}
spec: {action: CUSTOM, provider: {name: oauth}, rules: [{}]}
",
    },
    also: &[],
};

/// Providers that Istio defines by default and that stay defined beside others (`DefaultMeshConfig`).
const BUILT_IN: [&str; 3] = ["prometheus", "stackdriver", "envoy"];

fn check(view: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let spec = resource.spec();
    let mut named: Vec<(String, &str)> = Vec::new();
    if resource.kind == Kind::Telemetry {
        for list in ["tracing", "metrics", "accessLogging"] {
            for (index, item) in spec[list].items().iter().enumerate() {
                for (at, provider) in item["providers"].items().iter().enumerate() {
                    named.push((format!("spec.{list}[{index}].providers[{at}].name"), provider["name"].text()));
                }
            }
        }
    } else if spec["action"].text() == "CUSTOM" {
        named.push(("spec.provider.name".to_owned(), spec["provider"]["name"].text()));
    }
    if named.is_empty() || !knows_providers(view) {
        return;
    }
    let defined = &view.mesh().config()["extensionProviders"];
    let is_defined =
        |name: &str| BUILT_IN.contains(&name) || defined.items().iter().any(|provider| provider["name"].text() == name);
    let code = if resource.kind == Kind::Telemetry { &SH7129 } else { &SH7130 };
    for (field, name) in named.into_iter().filter(|(_, name)| !name.is_empty() && !is_defined(name)) {
        let others: Vec<&str> = defined.items().iter().map(|provider| provider["name"].text()).collect();
        let message = format!("MeshConfig does not define provider {name}, only {}", others.join(", "));
        findings.add(code, resource, message).field(field).arguments([name]);
    }
}

/// Whether the providers are known and equal for all control planes: each revision may have a `MeshConfig` of its own.
fn knows_providers(view: &View<'_>) -> bool {
    let defined = view.mesh().config()["extensionProviders"].items();
    let is_given = defined.iter().any(|provider| !BUILT_IN.contains(&provider["name"].text()));
    let is_mesh = |map: &&std::sync::Arc<Resource>| map.name != "istio" && map.root["data"]["mesh"].is_set();
    let root = view.root_namespace();
    (is_given || view.has_named(Kind::ConfigMap, root, "istio") && is_whole_cluster(view))
        && !view.in_namespace(Kind::ConfigMap, root).iter().any(|map| is_mesh(&map))
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    const MESH: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n\
        data: {mesh: 'extensionProviders: [{name: otel, opentelemetry: {service: otel.x.svc.cluster.local, port: 4317}}]'}\n";

    fn telemetry(provider: &str) -> String {
        let metrics = format!("spec: {{metrics: [{{providers: [{{name: {provider}}}]}}]}}\n");
        format!(
            "---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {{name: a, namespace: b}}\n{metrics}"
        )
    }

    #[test]
    fn built_in_providers_are_defined() {
        for (provider, expected) in [("prometheus", false), ("otel", false), ("zipkin", true)] {
            let text = format!("{MESH}{}", telemetry(provider));
            assert_eq!(reported(&text).contains("SH7129"), expected, "{provider}");
        }
    }

    #[test]
    fn providers_are_unknown_without_or_with_several_mesh_configs() {
        assert!(!reported(&telemetry("zipkin")).contains("SH7129"));
        let other = MESH.replace("name: istio,", "name: istio-1-30,");
        assert!(!reported(&format!("{MESH}---\n{other}{}", telemetry("zipkin"))).contains("SH7129"));
    }
}
