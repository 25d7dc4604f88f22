//! The 19 operations of Meshery's former adapter for Istio, and the command that each one is now. Pure.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error::Error;
use super::proto::OpCategory;
use crate::config::{Bridge, ConformanceDriver};
use crate::event::Target;
use crate::hex::hex;
use crate::suggest;

/// Entry of `bridge.operations` that allows the removal of Istio.
const REMOVE_ISTIO: &str = "istio:delete";
/// Longest `custom_body`, in bytes.
const MAX_BODY: usize = 8 << 20;

/// One operation of Meshery's menus.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Identifier in requests.
    pub key: &'static str,
    /// Text in the menu.
    pub title: &'static str,
    /// The menu.
    pub category: OpCategory,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mesh,
    Injection,
    Addon(&'static str),
    Analysis,
    AccessPolicy,
    MtlsPolicy,
    Sample(&'static str),
    Custom,
    Conformance,
    Unsupported(&'static str),
}

const fn row(key: &'static str, title: &'static str, category: OpCategory, kind: Kind) -> Operation {
    Operation { key, title, category, kind }
}

/// All of them, in the order of the menus.
pub const OPERATIONS: [Operation; 19] = {
    use Kind::{AccessPolicy, Addon, Analysis, Conformance, Custom, Injection, Mesh, MtlsPolicy, Sample, Unsupported};
    use OpCategory::{Configure, Install, SampleApplication, Validate};
    [
        row("istio", "Istio Service Mesh", Install, Mesh),
        row("label-namespace", "Automatic Sidecar Injection", Configure, Injection),
        row("prometheus-addon", "Add-on: Prometheus", Configure, Addon("prometheus")),
        row("grafana-addon", "Add-on: Grafana", Configure, Addon("grafana")),
        row("kiali-addon", "Add-on: Kiali", Configure, Addon("kiali")),
        row("jaeger-addon", "Add-on: Jaeger", Configure, Addon("jaeger")),
        row("zipkin-addon", "Add-on: Zipkin", Configure, Addon("zipkin")),
        row("istio-vet", "Analyze Running Configuration", Validate, Analysis),
        row("deny-all-policy-operation", "Policy: Deny-All", Configure, AccessPolicy),
        row("strict-mtls-policy-operation", "Policy: Strict MTLS", Configure, MtlsPolicy),
        row("mutual-mtls-policy-operation", "Policy: Mutual MTLS", Configure, MtlsPolicy),
        row("disable-mtls-policy-operation", "Policy: Disable MTLS", Configure, MtlsPolicy),
        row("bookinfo", "Istio Book Info Application", SampleApplication, Sample("bookinfo")),
        row("httpbin", "HTTPBin Application", SampleApplication, Sample("httpbin")),
        row(
            "emojivoto",
            "EmojiVoto Application",
            SampleApplication,
            Unsupported("deploy its manifest with the operation custom"),
        ),
        row("imagehub", "Image Hub Application", SampleApplication, Unsupported("its filter fails on current proxies")),
        row(
            "envoy-filter-operation",
            "Envoy Filter for Image Hub",
            Configure,
            Unsupported("its filter fails on current proxies"),
        ),
        row("custom", "Custom YAML", OpCategory::Custom, Custom),
        row("smi_conformance", "SMI Conformance", Validate, Conformance),
    ]
};

/// The first entry of `bridge.operations` that names no operation.
#[must_use]
pub fn unknown_entry(entries: &[String]) -> Option<&str> {
    let known = |entry: &str| entry == REMOVE_ISTIO || OPERATIONS.iter().any(|operation| operation.key == entry);
    entries.iter().map(String::as_str).find(|entry| !known(entry))
}

/// Whether the configuration allows what an entry of `bridge.operations` names.
#[must_use]
pub fn allows(bridge: &Bridge, entry: &str) -> bool {
    let (key, delete) = if entry == REMOVE_ISTIO { ("istio", true) } else { (entry, false) };
    find(key).is_ok_and(|operation| operation.check(bridge, delete).is_ok())
}

/// Operations that the configuration allows and sailhand supports.
pub fn listed(bridge: &Bridge) -> impl Iterator<Item = &'static Operation> {
    let supported = OPERATIONS.iter().filter(|operation| !matches!(operation.kind, Kind::Unsupported(_)));
    supported.filter(|operation| operation.check(bridge, false).is_ok())
}

/// The operation of a key.
///
/// # Errors
/// [`Error::UnknownOperation`].
pub fn find(key: &str) -> Result<&'static Operation, Error> {
    OPERATIONS.iter().find(|operation| operation.key == key).ok_or_else(|| Error::UnknownOperation {
        key: key.chars().take(64).collect(),
        nearest: suggest::nearest(key, OPERATIONS.iter().map(|operation| operation.key)),
    })
}

/// Version of Istio for a request, with a warning if it is not the requested one. A leading `v` is ignored.
///
/// # Errors
/// [`Error::Argument`] for an unknown version if the configuration refuses such.
pub fn version(bridge: &Bridge, requested: &str) -> Result<(String, Option<String>), Error> {
    let requested: String = requested.trim().trim_start_matches('v').chars().take(40).collect();
    let default = bridge.versions.first().cloned().unwrap_or_default();
    if requested.is_empty() {
        return Ok((default, None));
    }
    if bridge.versions.contains(&requested) {
        return Ok((requested, None));
    }
    if bridge.reject_unknown_versions {
        let reason = format!("{requested:?} is not one of {}", bridge.versions.join(", "));
        return Err(Error::Argument { field: "version", reason });
    }
    let warning = format!("Istio {requested} was requested, which bridge.versions does not list; using {default}");
    Ok((default, Some(warning)))
}

/// Input of a command.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Namespace of the request.
    pub namespace: &'a Target,
    /// Reverse the operation.
    pub delete: bool,
    /// The manifest of `custom`; Meshery sends its editor's text with every operation, which all others ignore.
    pub body: &'a str,
    /// Version of Istio.
    pub version: &'a str,
    /// Limit for readiness, such as `5m`.
    pub wait: &'a str,
    /// Driver of conformance runs.
    pub driver: ConformanceDriver,
}

impl Operation {
    /// Whether Meshery installs Istio with it, so that a version matters.
    #[must_use]
    pub fn has_version(&self, delete: bool) -> bool {
        self.kind == Kind::Mesh && !delete
    }

    /// Whether the configuration allows the operation or its reverse.
    ///
    /// # Errors
    /// [`Error::NotAllowed`].
    pub fn check(&self, bridge: &Bridge, delete: bool) -> Result<(), Error> {
        let entry = if self.kind == Kind::Mesh && delete { REMOVE_ISTIO } else { self.key };
        let needs_entry = entry == REMOVE_ISTIO || self.kind == Kind::Custom || !bridge.operations.is_empty();
        let allowed = !needs_entry || bridge.operations.iter().any(|allowed| allowed == entry);
        if allowed { Ok(()) } else { Err(Error::NotAllowed { entry: entry.to_owned() }) }
    }

    /// Verb and parameters.
    ///
    /// # Errors
    /// [`Error::Unsupported`], and [`Error::Argument`] for an unusable manifest.
    pub fn command(&self, inputs: Inputs<'_>) -> Result<(&'static str, Value), Error> {
        let Inputs { namespace, delete, body, version, wait, driver } = inputs;
        let namespace = namespace.as_str();
        let scope = json!({"of": "namespace", "namespace": namespace});
        Ok(match (self.kind, delete) {
            (Kind::Mesh, false) => (
                "mesh.install",
                json!({"version": version, "profile": "default", "namespace": "istio-system", "wait": wait}),
            ),
            (Kind::Mesh, true) => ("mesh.uninstall", json!({"all": true, "wait": wait})),
            (Kind::Injection, _) => {
                let mode = if delete { "none" } else { "enabled" };
                ("namespace.label", json!({"namespace": namespace, "mode": mode}))
            }
            (Kind::Addon(addon), false) => {
                ("addon.apply", json!({"addon": addon, "namespace": "istio-system", "wait": wait}))
            }
            (Kind::Addon(addon), true) => {
                ("addon.remove", json!({"addon": addon, "namespace": "istio-system", "wait": wait}))
            }
            (Kind::Analysis, _) => ("config.analyze", json!({"live": true})),
            (Kind::AccessPolicy | Kind::MtlsPolicy, false) => {
                ("policy.apply", json!({"scope": scope, "preset": self.key}))
            }
            (Kind::AccessPolicy, true) => ("policy.remove", json!({"scope": scope, "kind": "access"})),
            (Kind::MtlsPolicy, true) => ("policy.remove", json!({"scope": scope, "kind": "mtls"})),
            (Kind::Sample(application), false) => (
                "sample.deploy",
                json!({"application": application, "namespace": namespace, "create_namespace": true, "wait": wait}),
            ),
            (Kind::Sample(application), true) => {
                ("sample.remove", json!({"application": application, "namespace": namespace, "wait": wait}))
            }
            (Kind::Custom, _) => return custom(namespace, body, delete, wait),
            (Kind::Conformance, _) => ("conformance.run", json!({"suite": "smi", "driver": driver})),
            (Kind::Unsupported(instead), _) => return Err(Error::Unsupported { key: self.key, instead }),
        })
    }
}

/// Without `prune`: the editor has another text each time, and the previous one's objects stay.
fn custom(namespace: &str, body: &str, delete: bool, wait: &str) -> Result<(&'static str, Value), Error> {
    let wrong = |reason: &str| Error::Argument { field: "custom_body", reason: reason.to_owned() };
    if body.trim().is_empty() {
        return Err(wrong("is empty: enter the manifest to apply"));
    }
    if body.len() > MAX_BODY {
        return Err(wrong("is longer than 8 MiB"));
    }
    let name = installation(namespace);
    Ok(if delete {
        ("config.delete", json!({"name": name, "manifest": body, "namespace": namespace, "wait": wait}))
    } else {
        (
            "config.apply",
            json!({
                "name": name, "manifest": body, "namespace": namespace, "create_namespace": true, "prune": false,
                "wait": wait,
            }),
        )
    })
}

/// Installation of the manifests that are applied in a namespace; at most 50 characters.
fn installation(namespace: &str) -> String {
    const LONGEST: usize = 50;
    let name = format!("meshery-{namespace}");
    if name.len() <= LONGEST {
        return name;
    }
    let digest = hex(&Sha256::digest(namespace)[..4]);
    format!("{}-{digest}", name[..LONGEST - 9].trim_end_matches('-'))
}

/// The namespace of a request; `default` when it is empty, as in Meshery's form.
///
/// # Errors
/// [`Error::Argument`].
pub fn namespace(text: &str) -> Result<Target, Error> {
    let text = if text.is_empty() { "default" } else { text };
    let reason = || "must be the name of a namespace: 1 to 63 of a-z, 0-9 and -".to_owned();
    text.parse().map_err(|()| Error::Argument { field: "namespace", reason: reason() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(entries: &[&str], key: &str, delete: bool) -> bool {
        let operations = entries.iter().map(|entry| (*entry).to_owned()).collect();
        find(key).unwrap().check(&Bridge { operations, ..Bridge::default() }, delete).is_ok()
    }

    #[test]
    fn custom_manifests_and_the_removal_of_istio_need_an_entry() {
        for (entries, key, delete, wanted) in [
            (&[][..], "istio", false, true),
            (&[], "istio", true, false),
            (&["istio"], "istio", true, false),
            (&["istio:delete"], "istio", true, true),
            (&["istio:delete"], "istio", false, false),
            (&[], "custom", false, false),
            (&["custom"], "custom", true, true),
            (&["bookinfo"], "httpbin", false, false),
            (&["bookinfo"], "bookinfo", true, true),
        ] {
            assert_eq!(allowed(entries, key, delete), wanted, "{entries:?} {key} {delete}");
        }
    }

    #[test]
    fn unsupported_operations_are_not_listed() {
        let keys: Vec<&str> = listed(&Bridge::default()).map(|operation| operation.key).collect();
        assert_eq!(keys.len(), 15, "{keys:?}");
        assert!(!keys.contains(&"emojivoto") && !keys.contains(&"custom"));
    }

    #[test]
    fn unknown_version_is_replaced_with_a_warning_or_refused() {
        let mut bridge = Bridge { versions: vec!["1.30.3".to_owned(), "1.29.1".to_owned()], ..Bridge::default() };
        assert_eq!(version(&bridge, "").unwrap(), ("1.30.3".to_owned(), None));
        assert_eq!(version(&bridge, "v1.29.1").unwrap(), ("1.29.1".to_owned(), None));
        let (used, warning) = version(&bridge, "v1.0.0").unwrap();
        assert_eq!(used, "1.30.3");
        assert!(warning.is_some_and(|text| text.contains("1.0.0") && text.contains("1.30.3")));
        bridge.reject_unknown_versions = true;
        assert!(matches!(version(&bridge, "v1.0.0"), Err(Error::Argument { .. })));
    }

    #[test]
    fn long_namespaces_have_distinct_installations() {
        let (a, b) = (installation(&format!("{}a", "x".repeat(62))), installation(&format!("{}b", "x".repeat(62))));
        assert!(a != b && a.len() <= 50 && b.len() <= 50);
    }

    #[test]
    fn misspelled_operation_names_the_nearest() {
        let error = find("bookinfos").unwrap_err().to_string();
        assert!(error.contains("did you mean bookinfo?"), "{error}");
    }
}
