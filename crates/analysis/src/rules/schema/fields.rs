//! Validates objects of Istio and of the Gateway API against their CRDs: what the API server rejects, and fields that
//! it drops silently.

use crate::crd::{self, Schemas, Trouble};
use crate::{Check, Code, Example, Findings, Fix, Kind, Level, Resource, Rule, View};

const SOURCE: &str = "https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/";

pub static SH7001: Code = Code {
    id: "SH7001",
    name: "UnknownField",
    level: Level::Error,
    title: "Unknown field",
    why: "The API server drops an unknown field, or rejects the object under strict field validation, as kubectl \
          requests it. In both cases the setting does not apply. istioctl does not report such fields.",
    remedy: "Correct the name; the message suggests the nearest field. If the field is from a newer release of Istio \
             or of the Gateway API, update the CRDs in the cluster first.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - timeOut: 3s
    route:
    - destination: {host: reviews}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - timeout: 3s
    route:
    - destination: {host: reviews}
",
    },
    also: &[],
};

pub static SH7002: Code = Code {
    id: "SH7002",
    name: "WrongType",
    level: Level::Error,
    title: "Field has the wrong type",
    why: "The API server rejects the object. In YAML, unquoted numbers, true, false and null are not strings. \
          Server-side apply rejects null, while other requests drop it, so null is reported as a warning.",
    remedy: "Use the type in the message, with or without quotes; remove a null value.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec:
  host: reviews
  subsets:
  - name: v1
    labels: {version: 1}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec:
  host: reviews
  subsets:
  - name: v1
    labels: {version: \"1\"}
",
    },
    also: &[],
};

pub static SH7003: Code = Code {
    id: "SH7003",
    name: "InvalidValue",
    level: Level::Error,
    title: "Field is missing, out of range, or not in the allowed format",
    why: "The API server rejects the object.",
    remedy: "Set the field to a value within the limits in the message.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec:
  mtls: {mode: strict}
",
        after: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec:
  mtls: {mode: STRICT}
",
    },
    also: &[],
};

pub static SH7004: Code = Code {
    id: "SH7004",
    name: "ValidationRuleFailed",
    level: Level::Error,
    title: "CRD validation rule (CEL) failed",
    why: "The API server evaluates the validation rules of a CRD for every write and rejects an object that violates \
          one.",
    remedy: "Change the object so that it satisfies the rule in the message.",
    source: "https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules",
    example: Example {
        before: "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews, namespace: shop}
spec:
  parentRefs: [{name: gateway}]
  rules:
  - matches:
    - path: {type: PathPrefix, value: reviews}
    backendRefs: [{name: reviews, port: 9080}]
",
        after: "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews, namespace: shop}
spec:
  parentRefs: [{name: gateway}]
  rules:
  - matches:
    - path: {type: PathPrefix, value: /reviews}
    backendRefs: [{name: reviews, port: 9080}]
",
    },
    also: &["KIA1503"],
};

pub static SH7005: Code = Code {
    id: "SH7005",
    name: "UnknownVersion",
    level: Level::Error,
    title: "Kind does not exist in this API version",
    why: "The API server rejects the object, and Istio does not read it.",
    remedy: "Use one of the versions in the message.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: security.istio.io/v1alpha1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec:
  mtls: {mode: STRICT}
",
        after: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec:
  mtls: {mode: STRICT}
",
    },
    also: &[],
};

/// Kinds whose CRDs are compiled in.
const KINDS: &[Kind] = &[
    Kind::AuthorizationPolicy,
    Kind::BackendTlsPolicy,
    Kind::DestinationRule,
    Kind::EnvoyFilter,
    Kind::Gateway,
    Kind::GatewayClass,
    Kind::GrpcRoute,
    Kind::HttpRoute,
    Kind::KubernetesGateway,
    Kind::ListenerSet,
    Kind::PeerAuthentication,
    Kind::ProxyConfig,
    Kind::ReferenceGrant,
    Kind::RequestAuthentication,
    Kind::ServiceEntry,
    Kind::Sidecar,
    Kind::TcpRoute,
    Kind::Telemetry,
    Kind::TlsRoute,
    Kind::TrafficExtension,
    Kind::UdpRoute,
    Kind::VirtualService,
    Kind::WasmPlugin,
    Kind::WorkloadEntry,
    Kind::WorkloadGroup,
];

pub static RULE: Rule = Rule {
    name: "schema.Fields",
    codes: &[&SH7001, &SH7002, &SH7003, &SH7004, &SH7005],
    inputs: KINDS,
    check: Check::Each(KINDS, check),
};

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let schemas = Schemas::built_in();
    let Some(schema) = schemas.find(&resource.api_version, resource.kind.name()) else {
        // In a cluster the API server shows which versions are served.
        if resource.origin.is_some() {
            let versions: Vec<&str> = schemas.versions(resource.kind.group(), resource.kind.name()).collect();
            let message = format!(
                "kind {} does not exist in {}, only in {}",
                resource.kind,
                resource.api_version,
                versions.join(", ")
            );
            let stable = versions.iter().find(|version| **version == "v1");
            let to = stable.or_else(|| versions.last().filter(|_| versions.len() == 1));
            let fix = to.map(|version| Fix::Replace {
                from: resource.api_version.to_string(),
                to: format!("{}/{version}", resource.kind.group()),
            });
            findings.add(&SH7005, resource, message).field("apiVersion").fix(fix);
        }
        return;
    };
    for problem in crd::check(&resource.root, schema, schemas) {
        let code = match problem.trouble {
            Trouble::Unknown => &SH7001,
            Trouble::Type | Trouble::Null => &SH7002,
            Trouble::Required | Trouble::Value => &SH7003,
            Trouble::Rule => &SH7004,
        };
        let message = match problem.trouble {
            Trouble::Unknown => problem.message,
            _ if problem.field.is_empty() => problem.message,
            _ => format!("{}: {}", problem.field, problem.message),
        };
        let finding =
            findings.add(code, resource, message).field(problem.field).arguments(problem.suggestion).fix(problem.fix);
        if problem.trouble == Trouble::Null {
            finding.level(Level::Warning);
        }
    }
}
