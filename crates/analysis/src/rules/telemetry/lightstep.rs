//! Checks for the removed Lightstep tracing provider. Source: istio `analyzers/telemetry/lightstep.go`.

use std::collections::BTreeSet;

use crate::rules::support::common_codes::IST0002;
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "telemetry.LightstepAnalyzer",
    codes: &[&IST0002],
    inputs: &[Kind::Telemetry, Kind::MeshConfig],
    check: Check::Each(&[Kind::Telemetry], check),
};

fn check(view: &View<'_>, telemetry: &Resource, findings: &mut Findings) {
    let providers = view.mesh().config()["extensionProviders"].items();
    let lightstep: BTreeSet<&str> = providers
        .iter()
        .filter(|provider| provider["lightstep"].is_set())
        .map(|provider| provider["name"].text())
        .collect();
    if lightstep.is_empty() {
        return;
    }
    for (index, tracing) in telemetry.spec()["tracing"].items().iter().enumerate() {
        for (at, provider) in tracing["providers"].items().iter().enumerate() {
            let name = provider["name"].text();
            if lightstep.contains(name) {
                let detail = format!("provider {name} has type lightstep, which is deprecated; use opentelemetry");
                findings
                    .add(&IST0002, telemetry, detail.clone())
                    .field(format!("spec.tracing[{index}].providers[{at}].name"))
                    .arguments([detail]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    const TRACING: &str = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
        metadata: {name: tracing, namespace: shop}\nspec: {tracing: [{providers: [{name: ours}]}]}\n---\n\
        apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n\
        data: {mesh: 'extensionProviders: [{name: ours, lightstep: {service: a}}]'}\n";

    #[test]
    fn only_lightstep_is_deprecated() {
        assert!(reported(TRACING).contains("IST0002"));
        assert!(!reported(&TRACING.replace("lightstep", "opentelemetry")).contains("IST0002"));
    }
}
