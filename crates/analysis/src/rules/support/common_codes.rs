//! Codes that several rules report.

use crate::{Code, Example, Level};

/// A deprecated or removed field, kind or provider.
pub static IST0002: Code = Code {
    id: "IST0002",
    name: "Deprecated",
    level: Level::Warning,
    title: "Deprecated or removed feature is used",
    why: "Istio ignores it already, or a future release will ignore it without an error.",
    remedy: "Use the replacement in the message, or remove it.",
    source: "https://istio.io/latest/docs/releases/feature-stages/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - fault: {delay: {fixedDelay: 5s, percent: 10}}
    route: [{destination: {host: cart}}]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - fault: {delay: {fixedDelay: 5s, percentage: {value: 10}}}
    route: [{destination: {host: cart}}]
",
    },
    also: &[],
};

/// A reference to an object that does not exist.
pub static IST0101: Code = Code {
    id: "IST0101",
    name: "ReferencedResourceNotFound",
    level: Level::Error,
    title: "Referenced resource does not exist",
    why: "Requests to a missing host fail with 503. A missing gateway, Secret or workload means that the object has \
          no effect, although the API server accepts it.",
    remedy: "Correct the name, namespace or labels, or create the missing resource.",
    source: "https://istio.io/latest/docs/reference/config/analysis/ist0101/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http: [{route: [{destination: {host: cartt}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http: [{route: [{destination: {host: cart}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
",
    },
    also: &["KIA0004", "KIA0101", "KIA0302", "KIA1101", "KIA1102", "KIA1107", "istio-vet danglingroutedestinationhost"],
};
