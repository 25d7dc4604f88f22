//! Codes that several rules report.

use crate::{Code, Example, Level};

/// A field, kind or provider that Istio has given up.
pub static IST0002: Code = Code {
    id: "IST0002",
    name: "Deprecated",
    level: Level::Warning,
    title: "Something is used that Istio has deprecated or removed",
    why: "It is ignored already or will be after one of the next upgrades, without an error.",
    remedy: "Use what the message names instead, or remove it.",
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

/// Something is named that is not there.
pub static IST0101: Code = Code {
    id: "IST0101",
    name: "ReferencedResourceNotFound",
    level: Level::Error,
    title: "Something is referred to that is not there",
    why: "Requests to a host that is not there fail with 503; a gateway, selector or secret that is not there means that \
          the object has no effect, without an error where it was applied.",
    remedy: "Correct the name, its namespace or the labels, or create what is missing.",
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
