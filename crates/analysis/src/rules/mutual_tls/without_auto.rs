//! Checks meshes without automatic mutual TLS (`enableAutoMtls: false`), where clients and servers need explicit
//! settings. Source: Kiali's checks KIA0204, KIA0205, KIA0206, KIA0401, KIA0501.

use super::mode::{self, Mode};
use crate::hosts::{covers, fqdn};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

/// Checks the servers' policies.
pub static RULE: Rule = Rule {
    name: "mutual_tls.StrictWithoutClients",
    codes: &[&SH7110],
    inputs: &[Kind::PeerAuthentication, Kind::DestinationRule, Kind::MeshConfig],
    check: Check::Each(&[Kind::PeerAuthentication], check_policy),
};

/// Checks the clients' rules.
pub static CLIENTS: Rule = Rule {
    name: "mutual_tls.ClientsWithoutStrict",
    codes: &[&SH7107],
    inputs: &[Kind::DestinationRule, Kind::MeshConfig],
    check: Check::Each(&[Kind::DestinationRule], check_rule),
};

static SH7110: Code = Code {
    id: "SH7110",
    name: "StrictWithoutClients",
    level: Level::Error,
    title: "Servers require mutual TLS, but no DestinationRule enables it for clients",
    why: "With enableAutoMtls disabled, clients use plaintext unless a DestinationRule sets a TLS mode. All requests \
          to these servers fail.",
    remedy: "Enable enableAutoMtls (the default), or add a DestinationRule with tls mode ISTIO_MUTUAL for the hosts \
             of the namespace or of the mesh.",
    source: "https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-enable_auto_mtls",
    example: Example {
        before: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'enableAutoMtls: false'}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
",
        after: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'enableAutoMtls: true'}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
",
    },
    also: &["KIA0401", "KIA0501"],
};

static SH7107: Code = Code {
    id: "SH7107",
    name: "MutualTlsOverridden",
    level: Level::Warning,
    title: "DestinationRule without tls settings overrides one that enables mutual TLS",
    why: "With enableAutoMtls disabled, only the most specific DestinationRule of a host applies. This rule has no \
          tls settings, so clients use plaintext although a broader rule enables mutual TLS.",
    remedy: "Repeat tls mode ISTIO_MUTUAL in the DestinationRule, or enable enableAutoMtls.",
    source: "https://kiali.io/docs/features/validations/#kia0204---mtls-settings-of-a-non-local-destination-rule-are-overridden",
    example: Example {
        before: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'enableAutoMtls: false'}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: default, namespace: istio-system}
spec: {host: '*.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
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
data: {mesh: 'enableAutoMtls: false'}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: default, namespace: istio-system}
spec: {host: '*.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}, tls: {mode: ISTIO_MUTUAL}}}
",
    },
    also: &["KIA0204"],
};

fn check_policy(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    if view.mesh().has_auto_mtls()
        || !mode::is_for_namespace(policy)
        || Mode::read(&policy.spec()["mtls"]) != Some(Mode::Strict)
    {
        return;
    }
    let root = view.root_namespace();
    let any = |namespace: &str, host: &str| {
        view.in_namespace(Kind::DestinationRule, namespace).iter().any(|rule| starts_mutual_tls(rule, host))
    };
    let own = format!("*.{}.svc.cluster.local", policy.namespace);
    if any(root, &own) || any(&policy.namespace, &own) {
        return;
    }
    let message = format!(
        "{} requires mutual TLS, but enableAutoMtls is disabled and no DestinationRule enables mutual TLS for clients",
        policy.name
    );
    findings.add(&SH7110, policy, message).field("spec.mtls.mode");
}

fn check_rule(view: &View<'_>, rule: &Resource, findings: &mut Findings) {
    let host = rule.spec()["host"].text();
    if view.mesh().has_auto_mtls() || host.starts_with('*') || rule.spec().at("trafficPolicy.tls").is_set() {
        return;
    }
    let full = fqdn(host, &rule.namespace);
    if !full.ends_with(".svc.cluster.local") {
        return;
    }
    let root = view.root_namespace();
    let wider = [rule.namespace.as_str(), root]
        .into_iter()
        .flat_map(|namespace| view.in_namespace(Kind::DestinationRule, namespace))
        .find(|other| other.spec()["host"].text().starts_with('*') && starts_mutual_tls(other, &full));
    if let Some(wider) = wider {
        let message = format!("{} has no tls settings and overrides {}", rule.name, wider.full_name());
        findings.add(&SH7107, rule, message).field("spec.trafficPolicy").arguments([wider.full_name()]).related(wider);
    }
}

fn starts_mutual_tls(rule: &Resource, host: &str) -> bool {
    rule.spec().at("trafficPolicy.tls.mode").text() == "ISTIO_MUTUAL" && covers(rule.spec()["host"].text(), host)
}
