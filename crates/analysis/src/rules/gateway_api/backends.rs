//! Checks route backends: existence, port, and permission across namespaces. Source: Gateway API, `BackendRef`,
//! `ReferenceGrant`; Kiali's check KIA1402.

use super::grants::is_granted;
use super::status::is_refused;
use crate::rules::support::completeness::knows_service;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

const ROUTES: &[Kind] = &[Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute];

pub static RULE: Rule = Rule {
    name: "gateway_api.Backends",
    codes: &[&SH7142, &SH7143],
    inputs: &[
        Kind::HttpRoute,
        Kind::GrpcRoute,
        Kind::TlsRoute,
        Kind::TcpRoute,
        Kind::Service,
        Kind::ReferenceGrant,
        Kind::Namespace,
        Kind::MeshConfig,
        Kind::Deployment,
    ],
    check: Check::Each(ROUTES, check),
};

static SH7142: Code = Code {
    id: "SH7142",
    name: "BackendUnknown",
    level: Level::Error,
    title: "Route backend does not exist",
    why: "Requests that match this route fail with 500.",
    remedy: "Correct the name, namespace or port of the backend. The port is the Service port.",
    source: "https://gateway-api.sigs.k8s.io/reference/spec/#backendref",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{name: public, namespace: ingress}]
  rules: [{backendRefs: [{name: carts, port: 80}]}]
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{name: public, namespace: ingress}]
  rules: [{backendRefs: [{name: cart, port: 80}]}]
",
    },
    also: &["KIA1402"],
};

static SH7143: Code = Code {
    id: "SH7143",
    name: "BackendNotGranted",
    level: Level::Error,
    title: "Route references a backend in another namespace without a ReferenceGrant",
    why: "Without a ReferenceGrant in the namespace of the backend the reference is refused, and requests fail with \
          500.",
    remedy: "Create a ReferenceGrant in the backend's namespace for the kind and namespace of the route.",
    source: "https://gateway-api.sigs.k8s.io/reference/spec/#referencegrant",
    example: Example {
        before: "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{name: public, namespace: ingress}]
  rules: [{backendRefs: [{name: cart, namespace: backend, port: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: backend}
spec: {ports: [{port: 80, name: http}]}
",
        after: "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{name: public, namespace: ingress}]
  rules: [{backendRefs: [{name: cart, namespace: backend, port: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: backend}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: from-shop, namespace: backend}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}]
  to: [{group: '', kind: Service}]
",
    },
    also: &["KIA1402"],
};

fn check(view: &View<'_>, route: &Resource, findings: &mut Findings) {
    if is_refused(route, "ResolvedRefs") {
        return;
    }
    for (index, rule) in route.spec()["rules"].items().iter().enumerate() {
        for (at, backend) in rule["backendRefs"].items().iter().enumerate() {
            check_backend(view, route, backend, &format!("spec.rules[{index}].backendRefs[{at}]"), findings);
        }
        for (at, filter) in rule["filters"].items().iter().enumerate() {
            let mirror = &filter["requestMirror"]["backendRef"];
            if mirror.is_set() {
                let path = format!("spec.rules[{index}].filters[{at}].requestMirror.backendRef");
                check_backend(view, route, mirror, &path, findings);
            }
        }
    }
}

fn check_backend(view: &View<'_>, route: &Resource, backend: &Value, path: &str, findings: &mut Findings) {
    let is_service = matches!(backend["kind"].text(), "" | "Service") && backend["group"].text().is_empty();
    if !is_service {
        return;
    }
    let name = backend["name"].text();
    let namespace = if backend["namespace"].is_set() { backend["namespace"].text() } else { &route.namespace };
    if namespace != route.namespace && !is_granted(view, route, "", "Service", namespace, name) {
        // The ReferenceGrant may be in a file that was not read; other objects of the namespace show whether it was.
        if knows_service(view, namespace, name) {
            let message = format!(
                "no ReferenceGrant in namespace {namespace} allows {} in {} to reference service {name}",
                route.kind, route.namespace
            );
            findings.add(&SH7143, route, message).field(path).arguments([namespace, name]);
        }
    }
    let Some(service) = view.get(Kind::Service, namespace, name) else {
        if knows_service(view, namespace, name) {
            let message = format!("service {name} does not exist in namespace {namespace}");
            findings.add(&SH7142, route, message).field(format!("{path}.name")).arguments([namespace, name]);
        }
        return;
    };
    let ports = service.spec()["ports"].items();
    if let Some(port) = backend["port"].as_int()
        && !ports.is_empty()
        && !ports.iter().any(|item| item["port"].as_int() == Some(port))
    {
        let message = format!("service {} has no port {port}", service.full_name());
        findings
            .add(&SH7142, route, message)
            .field(format!("{path}.port"))
            .arguments([namespace, name, &port.to_string()])
            .related(service);
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn backends_in_missing_namespace_are_ignored() {
        let alone = super::SH7142.example.before.split_once("---").unwrap().1;
        assert!(!reported(alone).contains("SH7142"));
    }

    #[test]
    fn backend_port_must_exist() {
        let port = super::SH7142.example.after.replace("name: cart, port: 80}]}", "name: cart, port: 8080}]}");
        assert!(reported(&port).contains("SH7142"));
    }
}
