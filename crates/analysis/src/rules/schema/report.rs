//! Codes of Istio's own validation, and the helpers that the validators of all kinds share: a value with its path, and
//! a report of its errors.

use std::fmt::Display;
use std::ops::Deref;

use crate::field::Field;
use crate::syntax::{address, duration, name};
use crate::{Code, Example, Finding, Findings, Fix, Level, Resource, Value};

pub static IST0106: Code = Code {
    id: "IST0106",
    name: "SchemaValidationError",
    level: Level::Error,
    title: "Istio's validation rejects the object",
    why: "istiod's webhook rejects the object. If the webhook is disabled, the object has no effect or the proxies \
          receive an invalid configuration.",
    remedy: "Correct the field as the message describes.",
    source: "https://istio.io/latest/docs/reference/config/analysis/ist0106/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
    tls: {mode: SIMPLE, credentialName: shop-cert}
",
    },
    also: &[],
};

pub static IST0133: Code = Code {
    id: "IST0133",
    name: "SchemaWarning",
    level: Level::Warning,
    title: "Istio's validation accepts the object with a warning",
    why: "Istio accepts the object, but ignores a part of it, has deprecated it, or applies it in an unexpected way.",
    remedy: "Change the field as the message describes.",
    source: "https://istio.io/latest/docs/reference/config/analysis/ist0133/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews.example.com]
  gateways: [shop.shop.svc.cluster.local]
  http:
  - route:
    - destination: {host: reviews}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews.example.com]
  gateways: [shop/shop]
  http:
  - route:
    - destination: {host: reviews}
",
    },
    also: &["KIA1108"],
};

/// A value and its path. A missing field is null and has a path too.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'n, 'f> {
    node: &'n Value,
    field: Field<'f>,
}

impl Deref for At<'_, '_> {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.node
    }
}

impl<'n> At<'n, '_> {
    pub(super) fn spec(resource: &'n Resource) -> Self {
        Self { node: resource.spec(), field: Field::root("spec") }
    }

    /// Value of a key.
    pub(super) fn key<'g>(&'g self, key: &'g str) -> At<'n, 'g> {
        At { node: self.node.get(key), field: self.field.key(key) }
    }

    /// Items of a list.
    pub(super) fn each<'g>(&'g self) -> impl ExactSizeIterator<Item = At<'n, 'g>> {
        self.node.items().iter().enumerate().map(|(index, node)| At { node, field: self.field.index(index) })
    }

    /// Keys and values of a mapping.
    pub(super) fn each_entry<'g>(&'g self) -> impl Iterator<Item = (&'n str, At<'n, 'g>)> {
        self.node.entries().iter().map(|(key, node)| (key.as_str(), At { node, field: self.field.key(key) }))
    }

    /// Whether a field is present and not empty.
    pub(super) fn has(&self, key: &str) -> bool {
        !self.node.get(key).is_empty()
    }

    /// Those of the fields that are present and not empty.
    pub(super) fn set<'k>(&self, keys: &[&'k str]) -> Vec<&'k str> {
        keys.iter().copied().filter(|key| self.has(key)).collect()
    }

    pub(super) fn int(&self) -> i64 {
        self.node.as_int().unwrap_or_default()
    }

    /// The underlying value, with the lifetime of the object.
    pub(super) const fn node(&self) -> &'n Value {
        self.node
    }
}

/// Collects the findings about one object.
pub(super) struct Report<'a> {
    resource: &'a Resource,
    findings: &'a mut Findings,
}

impl<'a> Report<'a> {
    pub(super) fn new(resource: &'a Resource, findings: &'a mut Findings) -> Self {
        Self { resource, findings }
    }

    pub(super) fn namespace(&self) -> &'a str {
        &self.resource.namespace
    }

    /// An error: Istio rejects the object.
    pub(super) fn error(&mut self, at: &At<'_, '_>, text: impl Display) {
        self.add(&IST0106, at, text);
    }

    /// A warning: Istio accepts the object.
    pub(super) fn warning(&mut self, at: &At<'_, '_>, text: impl Display) {
        self.add(&IST0133, at, text);
    }

    /// An item that repeats an earlier one: an error or a warning.
    pub(super) fn repeated(&mut self, code: &'static Code, at: &At<'_, '_>, text: impl Display) {
        self.add(code, at, text).fix(Some(Fix::RemoveItem));
    }

    /// A note that every object of this kind gets, however it is written.
    pub(super) fn note(&mut self, at: &At<'_, '_>, text: impl Display) {
        self.add(&IST0133, at, text).level(Level::Info);
    }

    /// An error about the object's name.
    pub(super) fn object_error(&mut self, field: &str, text: impl Display) {
        let message = text.to_string();
        self.findings.add(&IST0106, self.resource, message.as_str()).field(field).arguments([message]);
    }

    fn add(&mut self, code: &'static Code, at: &At<'_, '_>, text: impl Display) -> &mut Finding {
        let field = at.field.to_string();
        let message = format!("{field}: {text}");
        self.findings.add(code, self.resource, message.as_str()).field(field).arguments([message])
    }

    /// A finding with another code and its arguments.
    pub(super) fn special(&mut self, code: &'static Code, at: &At<'_, '_>, text: String, arguments: Vec<String>) {
        self.findings.add(code, self.resource, text).field(at.field.to_string()).arguments(arguments);
    }

    pub(super) fn check<E: Display>(&mut self, at: &At<'_, '_>, result: Result<(), E>) {
        if let Err(text) = result {
            self.error(at, text);
        }
    }

    /// At least one millisecond, and whole milliseconds. A value that is not a duration violates the CRD schema.
    pub(super) fn duration(&mut self, at: &At<'_, '_>) {
        const MILLISECOND: i64 = 1_000_000;
        let Some(nanoseconds) = at.as_str().and_then(duration::parse) else { return };
        if nanoseconds < MILLISECOND {
            self.error(at, "a duration of at least 1ms is required");
        } else if nanoseconds % MILLISECOND != 0 {
            self.error(at, "fractions of a millisecond are not supported");
        }
    }

    /// From 1 to 65535; a missing port is 0. A value that is not a number violates the CRD schema.
    pub(super) fn port(&mut self, at: &At<'_, '_>) {
        let is_number = matches!(at.node, Value::Int(_) | Value::Null);
        if is_number && !(1..=65535).contains(&at.int()) {
            self.error(at, format_args!("a port must be from 1 to 65535, not {}", at.int()));
        }
    }

    /// From 0 to 100.
    pub(super) fn percent(&mut self, at: &At<'_, '_>) {
        if at.as_number().is_some_and(|value| !(0.0..=100.0).contains(&value)) {
            self.error(at, format_args!("a percentage must be from 0 to 100, not {}", at.scalar_text()));
        }
    }

    /// Zero or positive.
    pub(super) fn not_negative(&mut self, at: &At<'_, '_>) {
        if at.as_number().is_some_and(|value| value < 0.0) {
            self.error(at, format_args!("must not be negative, but is {}", at.scalar_text()));
        }
    }

    /// Name of a port: a DNS label.
    pub(super) fn port_name(&mut self, at: &At<'_, '_>, name: &str) {
        if !name::is_label(name) {
            self.error(at, format_args!("the name of a port must be a DNS label, not {name:?}"));
        }
    }

    /// Keys and values of labels.
    pub(super) fn labels(&mut self, at: &At<'_, '_>) {
        for (key, value) in at.each_entry() {
            self.check(&value, name::check_label(key, value.text()));
        }
    }

    /// Path after `unix://`.
    pub(super) fn unix_path(&mut self, at: &At<'_, '_>, path: &str) {
        if !address::is_unix_path(path) {
            self.error(at, format_args!("{path:?} is not an absolute path of a Unix domain socket"));
        }
    }

    pub(super) fn ip(&mut self, at: &At<'_, '_>) {
        if !address::is_ip(at.text()) {
            self.error(at, format_args!("{:?} is not an IP address", at.text()));
        }
    }

    pub(super) fn ip_or_block(&mut self, at: &At<'_, '_>) {
        if !address::is_ip_or_block(at.text()) {
            self.error(at, format_args!("{:?} is not an IP address or CIDR", at.text()));
        }
    }
}
