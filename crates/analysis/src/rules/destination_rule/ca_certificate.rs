//! TLS to a server whose certificate nobody checks. Source: istio `analyzers/destinationrule/ca-certificate.go`.

use crate::{Check, Code, Example, Findings, Kind, Level, Node, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "destinationrule.CaCertificateAnalyzer",
    codes: &[&IST0128, &IST0129],
    reads: &[Kind::DestinationRule],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static IST0128: Code = Code {
    id: "IST0128",
    name: "NoServerCertificateVerificationDestinationLevel",
    level: Level::Warning,
    title: "A DestinationRule starts TLS without a CA to check the server's certificate with",
    why: "The connection is encrypted, but whoever answers is believed: a machine in the middle can read and change \
          everything.",
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
    title: "The TLS settings of a port have no CA to check the server's certificate with",
    why: "Settings of a port replace those of the whole host, its CA too: whoever answers on that port is believed.",
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
            format!("TLS mode {mode} to {host}, and no caCertificates: the server's certificate is not checked");
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
            "TLS mode {mode} to port {port} of {host}, and no caCertificates: the server's certificate is not checked"
        );
        findings
            .add(&IST0129, rule, message)
            .field(format!("spec.trafficPolicy.portLevelSettings[{index}].tls.mode"))
            .arguments([&rule.full_name(), rule.namespace.as_str(), mode, host, &format!("number:{port}")]);
    }
}

/// The mode, if it starts TLS and names nothing to check the server with. A credential may hold a CA, but only a proxy
/// that a selector names reads credentials.
fn unverified(tls: &Node, selects: bool) -> Option<&str> {
    let mode = tls["mode"].text();
    let has_ca = !tls["caCertificates"].text().is_empty() || (selects && !tls["credentialName"].text().is_empty());
    (matches!(mode, "SIMPLE" | "MUTUAL") && !has_ca).then_some(mode)
}
