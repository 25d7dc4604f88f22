//! Checks for TLS origination without a CA certificate. Source: istio `analyzers/destinationrule/ca-certificate.go`.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "destinationrule.CaCertificateAnalyzer",
    codes: &[&IST0128, &IST0129],
    inputs: &[Kind::DestinationRule],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static IST0128: Code = Code {
    id: "IST0128",
    name: "NoServerCertificateVerificationDestinationLevel",
    level: Level::Warning,
    title: "DestinationRule originates TLS without a CA certificate to verify the server",
    why: "The connection is encrypted, but the server certificate is not validated, so traffic is open to \
          man-in-the-middle attacks.",
    remedy: "Set caCertificates in the tls settings, or credentialName together with a workloadSelector.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#configure-tls-verification-in-destination-rule-when-using-tls-origination",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: shop}
spec:
  host: db.example.com
  trafficPolicy:
    tls: {mode: SIMPLE}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: shop}
spec:
  host: db.example.com
  trafficPolicy:
    tls: {mode: SIMPLE, caCertificates: /etc/certs/ca.pem}
",
    },
    also: &[],
};

static IST0129: Code = Code {
    id: "IST0129",
    name: "NoServerCertificateVerificationPortLevel",
    level: Level::Warning,
    title: "Port-level TLS settings have no CA certificate to verify the server",
    why: "Port-level settings replace the settings of the host, including its CA certificate. On this port the server \
          certificate is not validated, so traffic is open to man-in-the-middle attacks.",
    remedy: "Set caCertificates in the port's tls settings, or credentialName together with a workloadSelector.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#configure-tls-verification-in-destination-rule-when-using-tls-origination",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: shop}
spec:
  host: db.example.com
  trafficPolicy:
    portLevelSettings:
    - port: {number: 443}
      tls: {mode: SIMPLE}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: shop}
spec:
  host: db.example.com
  trafficPolicy:
    portLevelSettings:
    - port: {number: 443}
      tls: {mode: SIMPLE, caCertificates: /etc/certs/ca.pem}
",
    },
    also: &[],
};

fn check(_: &View<'_>, rule: &Resource, findings: &mut Findings) {
    let spec = rule.spec();
    let host = spec["host"].text();
    let policy = &spec["trafficPolicy"];
    let selects = spec["workloadSelector"].is_set();
    if let Some(mode) = unverified(&policy["tls"], selects) {
        let message =
            format!("TLS mode {mode} to {host} without caCertificates: the server certificate is not verified");
        findings.add(&IST0128, rule, message).field("spec.trafficPolicy.tls.mode").arguments([
            &rule.full_name(),
            rule.namespace.as_str(),
            mode,
            host,
        ]);
    }
    for (index, settings) in policy["portLevelSettings"].items().iter().enumerate() {
        let Some(mode) = unverified(&settings["tls"], selects) else { continue };
        let port = settings["port"]["number"].scalar_text();
        let message = format!(
            "TLS mode {mode} to port {port} of {host} without caCertificates: the server certificate is not verified"
        );
        findings
            .add(&IST0129, rule, message)
            .field(format!("spec.trafficPolicy.portLevelSettings[{index}].tls.mode"))
            .arguments([&rule.full_name(), rule.namespace.as_str(), mode, host, &format!("number:{port}")]);
    }
}

/// The TLS mode, if it originates TLS and sets no CA certificate. A credential may contain a CA, but only proxies that
/// a workload selector matches read credentials.
fn unverified(tls: &Value, selects: bool) -> Option<&str> {
    let mode = tls["mode"].text();
    let has_ca = !tls["caCertificates"].text().is_empty() || (selects && !tls["credentialName"].text().is_empty());
    (matches!(mode, "SIMPLE" | "MUTUAL") && !has_ca).then_some(mode)
}
