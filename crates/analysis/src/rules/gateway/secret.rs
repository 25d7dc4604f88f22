//! Checks the certificates of Gateways. Source: istio `analyzers/gateway/secret.go`, `pilot/pkg/credentials/kube`.
//!
//! Differs from istioctl: the Secret is searched in the namespaces of all workloads of the gateway; `credentialNames`
//! is read too. As in istioctl, the private key is not compared with the certificate. A missing Secret is reported only
//! if Secrets of that namespace are among the objects.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_cert::Certificate;
use x509_cert::der::{Decode, DecodePem};

use super::conflict::tell_unselected;
use crate::rules::support::common_codes::IST0101;
use crate::rules::support::{completeness, suggest};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, View, Within, generated};

pub static RULE: Rule = Rule {
    name: "gateway.SecretAnalyzer",
    codes: &[&IST0101, &IST0161],
    inputs: &[
        Kind::Gateway,
        Kind::Secret,
        Kind::Namespace,
        Kind::MeshConfig,
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::CronJob,
    ],
    check: Check::Each(&[Kind::Gateway], check),
};

static IST0161: Code = Code {
    id: "IST0161",
    name: "InvalidGatewayCredential",
    level: Level::Error,
    title: "Gateway secret contains no valid certificate",
    why: "The gateway receives no certificate: it does not open the port, or clients reject the connection.",
    remedy: "Store a certificate that is valid now and its private key in the Secret, as tls.crt and tls.key.",
    source: "https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {name: https, number: 443, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: cert}}
---
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: istio-system, labels: {istio: ingressgateway}}
---
apiVersion: v1
kind: Secret
metadata: {name: cert, namespace: istio-system}
type: Opaque
data: {tls.key: a2V5}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {name: https, number: 443, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: good}}
---
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: istio-system, labels: {istio: ingressgateway}}
",
    },
    also: &[],
};

/// Keys of the certificate and the private key in a Secret, in the order in which Istio reads them.
const KEYS: [(&str, &str); 2] = [("cert", "key"), ("tls.crt", "tls.key")];

fn check(view: &View<'_>, gateway: &Resource, findings: &mut Findings) {
    let selector = Selector::new(&gateway.spec()["selector"]);
    let named = credentials(gateway);
    let namespaces: BTreeSet<(&str, &str)> = view
        .workloads(Within::Anywhere, &selector)
        .map(|workload| (workload.namespace.as_str(), &*workload.cluster))
        .collect();
    if namespaces.is_empty() {
        if !selector.is_empty() && completeness::knows_gateways(view, gateway, &selector) {
            tell_unselected(gateway, &selector, findings);
        }
        return;
    }
    for (name, field) in named {
        let secrets: Vec<&Resource> = namespaces
            .iter()
            .flat_map(|(namespace, cluster)| {
                let named = view.named(Kind::Secret, namespace, name).iter();
                named.filter(move |secret| *secret.cluster == **cluster).map(|secret| &**secret)
            })
            .collect();
        let place = namespaces.iter().map(|(namespace, _)| *namespace).collect::<Vec<_>>().join(", ");
        if secrets.is_empty() {
            let is_absent = |(namespace, _): &(&str, &str)| completeness::knows_secret(view, namespace, name);
            // The same name in another namespace is what goes wrong most, so it counts as evidence.
            let is_elsewhere =
                || !view.may_make_anything() && !is_made(view, &namespaces, name) && suggest::has_secret(view, name);
            if namespaces.iter().all(is_absent) || is_elsewhere() {
                let hint = suggest::secret(view, name);
                findings
                    .add(
                        &IST0101,
                        gateway,
                        format!("Secret {name} does not exist in the namespace of the gateway, {place}{hint}"),
                    )
                    .field(field)
                    .arguments(["credentialName", name]);
            }
            continue;
        }
        if let Some(problem) = secrets.iter().find_map(|secret| problem(secret, view.now())) {
            findings
                .add(&IST0161, gateway, format!("Secret {name} in {place}: {problem}"))
                .field(field)
                .arguments([gateway.name.as_str(), &place]);
        }
    }
}

/// Whether a controller may make the Secret in one of the namespaces.
fn is_made(view: &View<'_>, namespaces: &BTreeSet<(&str, &str)>, name: &str) -> bool {
    namespaces.iter().any(|(namespace, _)| view.may_be_made(generated::SECRET, namespace, name))
}

/// Credentials of the servers, with their fields. A name with a scheme is not a Secret.
fn credentials(gateway: &Resource) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    for (index, server) in gateway.spec()["servers"].items().iter().enumerate() {
        let tls = &server["tls"];
        let one = (tls["credentialName"].text(), format!("spec.servers[{index}].tls.credentialName"));
        let many = tls["credentialNames"].texts().enumerate();
        let many = many.map(|(at, name)| (name, format!("spec.servers[{index}].tls.credentialNames[{at}]")));
        found.extend(std::iter::once(one).chain(many).filter(|(name, _)| !name.is_empty() && !name.contains("://")));
    }
    found
}

/// Why a Secret cannot be used; none if it can.
fn problem(secret: &Resource, now: i64) -> Option<String> {
    let value = |key: &str| {
        let plain = secret.root["stringData"][key].as_str().map(|text| text.as_bytes().to_vec());
        let encoded = || STANDARD.decode(secret.root["data"][key].as_str()?.trim()).ok();
        plain.or_else(encoded).filter(|value| !value.is_empty())
    };
    // The reader of the Secret may have removed its values.
    if secret.root["data"].is_null() && secret.root["stringData"].is_null() && secret.root["type"].is_null() {
        return None;
    }
    let pair = KEYS.iter().find_map(|(certificate, key)| Some((value(certificate)?, value(key)?)));
    let Some((certificate, _)) = pair else {
        return Some("it has no certificate with a private key (tls.crt and tls.key)".to_owned());
    };
    let Some(certificate) = first_certificate(&certificate) else {
        return Some("its certificate cannot be parsed".to_owned());
    };
    let validity = certificate.tbs_certificate.validity;
    let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    if now > seconds(validity.not_after) {
        return Some(format!("its certificate has expired ({})", validity.not_after));
    }
    if now < seconds(validity.not_before) {
        return Some(format!("its certificate is not valid before {}", validity.not_before));
    }
    None
}

/// The first PEM block, if it is a certificate.
fn first_certificate(pem: &[u8]) -> Option<Certificate> {
    let text = std::str::from_utf8(pem).ok()?;
    let start = text.find("-----BEGIN ")?;
    let block = &text[start..];
    let end = block.find("-----END ")?;
    let end = end + block[end..].find('\n').unwrap_or(block.len() - end);
    Certificate::from_pem(&block[..end])
        .ok()
        .or_else(|| Certificate::from_der(&STANDARD.decode(body(block)?).ok()?).ok())
}

/// Base64 content of a PEM block without line breaks: not all files wrap lines as RFC 7468 requires.
fn body(block: &str) -> Option<String> {
    let inside = block.split_once("-----\n").or_else(|| block.split_once("-----\r\n"))?.1;
    Some(inside.split("-----END").next()?.split_whitespace().collect())
}
