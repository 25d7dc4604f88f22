//! Codes that several rules report.

use crate::analysis::{Code, Example, Level};

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
