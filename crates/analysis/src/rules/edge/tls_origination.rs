//! Checks TLS origination for missing certificate verification. Source: istio.io, security best practices, "Configure
//! TLS verification in Destination Rule when using TLS origination".

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "edge.TlsOrigination",
    codes: &[&SH7212, &SH7213],
    inputs: &[Kind::DestinationRule],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static SH7212: Code = Code {
    id: "SH7212",
    name: "SubjectAltNamesNotVerified",
    level: Level::Info,
    title: "TLS origination does not verify the subject alternative names of the server",
    why: "For HTTP, current proxies compare the certificate with the host of the request automatically. For other \
          protocols any certificate that the CA has signed is accepted, so a server with another name can impersonate \
          the host.",
    remedy: "List the names of the server in subjectAltNames, and set sni.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#configure-tls-verification-in-destination-rule-when-using-tls-origination",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: shop}
spec:
  host: db.example.com
  trafficPolicy:
    tls: {mode: SIMPLE, caCertificates: /etc/certs/ca.pem}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: shop}
spec:
  host: db.example.com
  trafficPolicy:
    tls:
      mode: SIMPLE
      caCertificates: /etc/certs/ca.pem
      subjectAltNames: [db.example.com]
      sni: db.example.com
",
    },
    also: &[],
};

static SH7213: Code = Code {
    id: "SH7213",
    name: "CertificateNotVerified",
    level: Level::Warning,
    title: "DestinationRule disables TLS certificate verification",
    why: "With insecureSkipVerify any server certificate is accepted, so traffic is open to man-in-the-middle \
          attacks.",
    remedy: "Remove insecureSkipVerify and set the CA in caCertificates.",
    source: "https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: shop}
spec:
  host: db.example.com
  trafficPolicy:
    tls: {mode: SIMPLE, insecureSkipVerify: true}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: shop}
spec:
  host: db.example.com
  trafficPolicy:
    tls: {mode: SIMPLE, caCertificates: /etc/certs/ca.pem, subjectAltNames: [db.example.com]}
",
    },
    also: &[],
};

fn check(_: &View<'_>, rule: &Resource, findings: &mut Findings) {
    let spec = rule.spec();
    check_policy(rule, &spec["trafficPolicy"], "spec.trafficPolicy", findings);
    for (index, subset) in spec["subsets"].items().iter().enumerate() {
        check_policy(rule, &subset["trafficPolicy"], &format!("spec.subsets[{index}].trafficPolicy"), findings);
    }
}

fn check_policy(rule: &Resource, policy: &Value, path: &str, findings: &mut Findings) {
    check_tls(rule, &policy["tls"], || format!("{path}.tls"), findings);
    for (index, settings) in policy["portLevelSettings"].items().iter().enumerate() {
        check_tls(rule, &settings["tls"], || format!("{path}.portLevelSettings[{index}].tls"), findings);
    }
}

fn check_tls(rule: &Resource, tls: &Value, path: impl Fn() -> String, findings: &mut Findings) {
    let mode = tls["mode"].text();
    if !matches!(mode, "SIMPLE" | "MUTUAL") {
        return;
    }
    let host = rule.spec()["host"].text();
    if tls["insecureSkipVerify"].is_true() {
        let message = format!("insecureSkipVerify is set: the certificate of {host} is not verified");
        findings.add(&SH7213, rule, message).field(format!("{}.insecureSkipVerify", path())).arguments([host]);
    } else if !tls["caCertificates"].text().is_empty() && tls["subjectAltNames"].is_empty() {
        // IST0128 reports a missing CA.
        let message =
            format!("TLS mode {mode} to {host} without subjectAltNames: any certificate of the CA is accepted");
        findings.add(&SH7212, rule, message).field(format!("{}.mode", path())).arguments([mode, host]);
    }
}
