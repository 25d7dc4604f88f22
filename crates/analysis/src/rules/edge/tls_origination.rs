//! TLS to the outside that believes too much. Source: istio.io, security best practices, "Configure TLS verification
//! in Destination Rule when using TLS origination".

use crate::{Check, Code, Example, Findings, Kind, Level, Node, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "edge.TlsOrigination",
    codes: &[&SH7212, &SH7213],
    reads: &[Kind::DestinationRule],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static SH7212: Code = Code {
    id: "SH7212",
    name: "AnyCertificateOfTheAuthority",
    level: Level::Info,
    title: "A DestinationRule accepts each certificate of the authority, whatever name it has",
    why: "For HTTP, current proxies compare the certificate with the request's host by themselves. For other traffic \
          any server with a certificate of this authority is believed.",
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
    title: "A DestinationRule switches the check of the server's certificate off",
    why: "With insecureSkipVerify whoever answers is believed: a machine in the middle can read and change everything.",
    remedy: "Remove insecureSkipVerify and name the authority in caCertificates.",
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

fn check_policy(rule: &Resource, policy: &Node, path: &str, findings: &mut Findings) {
    check_tls(rule, &policy["tls"], || format!("{path}.tls"), findings);
    for (index, settings) in policy["portLevelSettings"].items().iter().enumerate() {
        check_tls(rule, &settings["tls"], || format!("{path}.portLevelSettings[{index}].tls"), findings);
    }
}

fn check_tls(rule: &Resource, tls: &Node, path: impl Fn() -> String, findings: &mut Findings) {
    let mode = tls["mode"].text();
    if !matches!(mode, "SIMPLE" | "MUTUAL") {
        return;
    }
    let host = rule.spec()["host"].text();
    if tls["insecureSkipVerify"].is_true() {
        let message = format!("insecureSkipVerify: the certificate of {host} is not checked");
        findings.add(&SH7213, rule, message).field(format!("{}.insecureSkipVerify", path())).arguments([host]);
    } else if !tls["caCertificates"].text().is_empty() && tls["subjectAltNames"].is_empty() {
        // Without an authority it is IST0128.
        let message =
            format!("TLS mode {mode} to {host} without subjectAltNames: any certificate of the authority will do");
        findings.add(&SH7212, rule, message).field(format!("{}.mode", path())).arguments([mode, host]);
    }
}
