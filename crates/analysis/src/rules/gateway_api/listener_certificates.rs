//! Checks for listener certificates in another namespace. Source: Gateway API, `SecretObjectReference`,
//! `ReferenceGrant`.

use super::grants::is_granted;
use super::status::is_refused;
use crate::rules::support::completeness::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "gateway_api.ListenerCertificates",
    codes: &[&SH7149],
    inputs: &[Kind::KubernetesGateway, Kind::ReferenceGrant, Kind::Namespace, Kind::MeshConfig, Kind::Deployment],
    check: Check::Each(&[Kind::KubernetesGateway], check),
};

static SH7149: Code = Code {
    id: "SH7149",
    name: "CertificateNotGranted",
    level: Level::Error,
    title: "Listener references a certificate in another namespace without a ReferenceGrant",
    why: "Without a ReferenceGrant in the namespace of the Secret the listener has no certificate, and TLS \
          connections are refused.",
    remedy: "Create a ReferenceGrant in the namespace of the Secret, from kind Gateway of this namespace to kind \
             Secret.",
    source: "https://gateway-api.sigs.k8s.io/reference/spec/#referencegrant",
    example: Example {
        before: "\
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: routes, namespace: certificates}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: ingress}]
  to: [{group: '', kind: Service}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: ingress}
spec:
  gatewayClassName: istio
  listeners:
  - name: https
    port: 443
    protocol: HTTPS
    tls: {certificateRefs: [{name: shop, namespace: certificates}]}
",
        after: "\
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: routes, namespace: certificates}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: ingress}]
  to: [{group: '', kind: Secret}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: ingress}
spec:
  gatewayClassName: istio
  listeners:
  - name: https
    port: 443
    protocol: HTTPS
    tls: {certificateRefs: [{name: shop, namespace: certificates}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, gateway: &Resource, findings: &mut Findings) {
    if is_refused(gateway, "ResolvedRefs") {
        return;
    }
    for (index, listener) in gateway.spec()["listeners"].items().iter().enumerate() {
        for (at, secret) in listener["tls"]["certificateRefs"].items().iter().enumerate() {
            let namespace = secret["namespace"].text();
            if namespace.is_empty() || namespace == gateway.namespace || !matches!(secret["kind"].text(), "" | "Secret")
            {
                continue;
            }
            let name = secret["name"].text();
            // If no ReferenceGrant of that namespace was read, it may be in another file.
            let is_known = view.has_in(Kind::ReferenceGrant, namespace)
                && !view.may_be_made("ReferenceGrant", namespace, "")
                || is_whole_cluster(view);
            if !is_known || is_granted(view, gateway, "", "Secret", namespace, name) {
                continue;
            }
            let message = format!(
                "no ReferenceGrant in namespace {namespace} allows a Gateway in {} to reference \
                                   secret {name}",
                gateway.namespace
            );
            findings
                .add(&SH7149, gateway, message)
                .field(format!("spec.listeners[{index}].tls.certificateRefs[{at}]"))
                .arguments([namespace, name]);
        }
    }
}
