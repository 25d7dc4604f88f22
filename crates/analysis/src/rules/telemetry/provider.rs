//! Checks for access logging without a provider. Source: istio `analyzers/telemetry/providers.go`.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "telemetry.ProviderAnalyzer",
    codes: &[&IST0157],
    inputs: &[Kind::Telemetry, Kind::MeshConfig],
    check: Check::Each(&[Kind::Telemetry], check),
};

static IST0157: Code = Code {
    id: "IST0157",
    name: "InvalidTelemetryProvider",
    level: Level::Warning,
    title: "Access logging has no provider, and MeshConfig has no default provider",
    why: "Nothing is logged, although the object seems to enable access logs.",
    remedy: "Set providers, or set defaultProviders.accessLogging in MeshConfig.",
    source: "https://istio.io/latest/docs/tasks/observability/logs/telemetry-api/",
    example: Example {
        before: "\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: logging, namespace: shop}
spec:
  accessLogging: [{filter: {expression: response.code >= 400}}]
",
        after: "\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: logging, namespace: shop}
spec:
  accessLogging: [{filter: {expression: response.code >= 400}, providers: [{name: envoy}]}]
",
    },
    also: &[],
};

fn check(view: &View<'_>, telemetry: &Resource, findings: &mut Findings) {
    if !view.mesh().config().at("defaultProviders.accessLogging").is_empty() {
        return;
    }
    for (index, logging) in telemetry.spec()["accessLogging"].items().iter().enumerate() {
        if logging["disabled"].is_true() || !logging["providers"].is_empty() {
            continue;
        }
        findings
            .add(&IST0157, telemetry, "access logging has no provider, and MeshConfig has no default provider for it")
            .field(format!("spec.accessLogging[{index}]"))
            .arguments([telemetry.name.as_str(), telemetry.namespace.as_str()]);
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn mesh_default_provider_is_used() {
        let mesh = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n\
                    data: {mesh: 'defaultProviders: {accessLogging: [envoy]}'}\n---\n";
        assert!(!reported(&format!("{mesh}{}", super::IST0157.example.before)).contains("IST0157"));
    }

    #[test]
    fn disabled_logging_needs_no_provider() {
        let off = super::IST0157.example.before.replace("[{filter", "[{disabled: true, filter");
        assert!(!reported(&off).contains("IST0157"));
    }
}
