//! Reads Meshery's designs: components become commands, in the order of the design. Pure.
//!
//! `ProcessOAM` has components of the Open Application Model and traits, `Provision` has component definitions.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::error::Error;
use super::{operation, text};
use crate::config::Bridge;
use crate::event::Target;
use crate::hex::hex;

/// Components of one request.
const MAX_COMPONENTS: usize = 256;
/// Longest component or configuration, in bytes.
const MAX_BYTES: usize = 4 << 20;
/// Namespaces of one trait.
const MAX_NAMESPACES: usize = 64;
/// Namespaces of all traits.
const MAX_TRAIT_PARTS: usize = 1024;

/// One command of a design.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// Kind and name, for messages.
    pub label: String,
    /// The operation that must be allowed.
    pub key: &'static str,
    pub namespace: Target,
    pub verb: &'static str,
    pub params: Value,
}

/// Input of all parts.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub bridge: &'a Bridge,
    pub delete: bool,
    /// Limit for readiness, such as `5m`.
    pub wait: &'a str,
}

/// Parts of `Provision`.
///
/// # Errors
/// [`Error::Argument`] that names the component.
pub(super) fn declarations(context: Context<'_>, texts: &[String]) -> Result<Vec<Part>, Error> {
    let parts = objects("declarations", texts)?.into_iter().map(|(number, object)| {
        let kind = string(&object["component"], "kind");
        let configuration = object["configuration"].as_object().cloned().unwrap_or_default();
        let metadata = configuration.get("metadata").cloned().unwrap_or_else(|| json!({}));
        let name = [string(&metadata, "name"), string(&object, "displayName")];
        let component = Component {
            field: format!("declarations[{number}]"),
            kind,
            api_version: string(&object["component"], "version"),
            name: name.into_iter().find(|name| !name.is_empty()).unwrap_or_default(),
            namespace: string(&metadata, "namespace"),
            settings: configuration.get("spec").cloned().unwrap_or_else(|| json!({})),
            metadata,
            body: configuration,
        };
        component.part(context)
    });
    ordered(context, "declarations", parts.collect::<Result<_, _>>()?)
}

/// Parts of `ProcessOAM`: components, then traits of the configuration.
///
/// # Errors
/// [`Error::Argument`] that names the component.
pub(super) fn oam(context: Context<'_>, components: &[String], configuration: &str) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    for (number, object) in objects("oam_comps", components)? {
        let spec = &object["spec"];
        let settings = spec.get("settings").cloned().unwrap_or_else(|| json!({}));
        let kind = string(spec, "type");
        let component = Component {
            field: format!("oam_comps[{number}]"),
            // Older servers append the model: `VirtualService.Istio`.
            kind: kind.split('.').next().unwrap_or_default().to_owned(),
            api_version: [string(spec, "apiVersion"), string(spec, "APIVersion")].concat(),
            name: string(&object["metadata"], "name"),
            namespace: string(&object["metadata"], "namespace"),
            metadata: object["metadata"].clone(),
            body: Map::from_iter([("spec".to_owned(), settings.clone())]),
            settings: merged(settings, spec),
        };
        parts.push(component.part(context)?);
    }
    if !configuration.trim().is_empty() {
        for (_, configuration) in objects("oam_config", &[configuration.to_owned()])? {
            parts.extend(traits(context, &configuration)?);
        }
    }
    ordered(context, "oam_comps", parts)
}

/// Settings of an `IstioMesh` may have the version beside them.
fn merged(settings: Value, spec: &Value) -> Value {
    let mut settings = settings;
    if let (Some(object), Some(version)) = (settings.as_object_mut(), spec.get("version")) {
        object.entry("version").or_insert_with(|| version.clone());
    }
    settings
}

/// A design is removed in the reverse order.
fn ordered(context: Context<'_>, field: &'static str, mut parts: Vec<Part>) -> Result<Vec<Part>, Error> {
    if context.delete {
        parts.reverse();
    }
    if parts.is_empty() {
        return Err(argument(field, "the design has no component"));
    }
    Ok(parts)
}

fn objects(field: &'static str, texts: &[String]) -> Result<Vec<(usize, Value)>, Error> {
    if texts.len() > MAX_COMPONENTS {
        return Err(argument(field, &format!("{} components; {MAX_COMPONENTS} is the limit", texts.len())));
    }
    let read = |(index, text): (usize, &String)| {
        let number = index + 1;
        if text.len() > MAX_BYTES {
            return Err(argument(field, &format!("component {number} is longer than 4 MiB")));
        }
        let object: Value = serde_json::from_str(text)
            .map_err(|error| argument(field, &format!("component {number} is not JSON: {error}")))?;
        if object.is_object() { Ok((number, object)) } else { Err(argument(field, "must be JSON objects")) }
    };
    texts.iter().enumerate().map(read).collect()
}

fn argument(field: &'static str, reason: &str) -> Error {
    Error::Argument { field, reason: reason.to_owned() }
}

fn string(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A component of either form.
struct Component {
    /// Field and number in the request.
    field: String,
    kind: String,
    api_version: String,
    name: String,
    namespace: String,
    metadata: Value,
    /// Fields of the manifest beside `apiVersion`, `kind` and `metadata`.
    body: Map<String, Value>,
    settings: Value,
}

impl Component {
    fn part(self, context: Context<'_>) -> Result<Part, Error> {
        let Context { bridge, delete, wait } = context;
        let driver = bridge.conformance_driver;
        let wrong = |reason: &str| Error::Argument {
            field: "components",
            reason: format!("{} ({} {}): {reason}", self.field, self.kind, self.name),
        };
        let namespace = operation::namespace(&self.namespace).map_err(|error| wrong(&error.to_string()))?;
        let addons = [
            ("GrafanaIstioAddon", "grafana-addon"),
            ("PrometheusIstioAddon", "prometheus-addon"),
            ("ZipkinIstioAddon", "zipkin-addon"),
            ("JaegerIstioAddon", "jaeger-addon"),
            ("KialiIstioAddon", "kiali-addon"),
        ];
        let (key, (verb, params)) = if self.kind == "IstioMesh" {
            ("istio", self.mesh(bridge, &namespace, delete, wait)?)
        } else if let Some((_, key)) = addons.iter().find(|(kind, _)| *kind == self.kind) {
            let inputs = operation::Inputs { namespace: &namespace, delete, body: "", version: "", wait, driver };
            (*key, operation::find(key)?.command(inputs)?)
        } else {
            if self.kind.is_empty() || self.api_version.is_empty() || self.name.is_empty() {
                return Err(wrong("needs a kind, an API version and a name"));
            }
            ("custom", self.manifest(&namespace, delete, wait))
        };
        operation::find(key)?.check(bridge, delete)?;
        Ok(Part { label: text::cut(&format!("{} {}", self.kind, self.name)), key, namespace, verb, params })
    }

    fn mesh(
        &self,
        bridge: &Bridge,
        namespace: &Target,
        delete: bool,
        wait: &str,
    ) -> Result<(&'static str, Value), Error> {
        let (version, _) = operation::version(bridge, &string(&self.settings, "version"))?;
        let driver = bridge.conformance_driver;
        let inputs = operation::Inputs { namespace, delete, body: "", version: &version, wait, driver };
        let (verb, mut params) = operation::find("istio")?.command(inputs)?;
        let profile = string(&self.settings, "profile");
        if !delete && matches!(profile.as_str(), "default" | "minimal" | "demo") {
            params["profile"] = json!(profile);
        }
        Ok((verb, params))
    }

    /// One installation for each component, so that the removal of a component deletes its object only.
    fn manifest(&self, namespace: &Target, delete: bool, wait: &str) -> (&'static str, Value) {
        let identity = [&self.api_version, &self.kind, namespace.as_str(), &self.name].join("\n");
        let installation = format!("meshery-{}", &hex(&Sha256::digest(identity))[..16]);
        let mut object = self.body.clone();
        let mut metadata = self.metadata.as_object().cloned().unwrap_or_default();
        metadata.insert("name".to_owned(), json!(self.name));
        object.insert("apiVersion".to_owned(), json!(self.api_version));
        object.insert("kind".to_owned(), json!(self.kind));
        object.insert("metadata".to_owned(), Value::Object(metadata));
        let manifest = Value::Object(object).to_string();
        let params = json!({"name": installation, "manifest": manifest, "namespace": namespace.as_str(), "wait": wait});
        if delete {
            return ("config.delete", params);
        }
        let mut params = params;
        params["create_namespace"] = json!(true);
        params["prune"] = json!(true);
        ("config.apply", params)
    }
}

/// `automaticSidecarInjection` and `mTLS` of the configuration, one part for each namespace.
fn traits(context: Context<'_>, configuration: &Value) -> Result<Vec<Part>, Error> {
    let components = configuration["spec"]["components"].as_array().cloned().unwrap_or_default();
    let traits = components.iter().filter_map(|component| component["traits"].as_array()).flatten();
    let mut parts = Vec::new();
    for named in traits {
        let name = string(named, "name");
        let properties = &named["properties"];
        let key = match (name.as_str(), string(properties, "policy").as_str()) {
            ("automaticSidecarInjection", _) => "label-namespace",
            ("mTLS", "" | "strict") => "strict-mtls-policy-operation",
            ("mTLS", "mutual") => "mutual-mtls-policy-operation",
            ("mTLS", "disable") => "disable-mtls-policy-operation",
            ("mTLS", policy) => {
                return Err(argument(
                    "oam_config",
                    &format!("policy {policy:?} of mTLS is not strict, mutual or disable"),
                ));
            }
            _ => return Err(argument("oam_config", &format!("trait {name:?} is not supported"))),
        };
        let namespaces = properties["namespaces"].as_array().cloned().unwrap_or_default();
        if namespaces.len() > MAX_NAMESPACES {
            return Err(argument("oam_config", &format!("more than {MAX_NAMESPACES} namespaces")));
        }
        let operation = operation::find(key)?;
        operation.check(context.bridge, context.delete)?;
        if parts.len() + namespaces.len() > MAX_TRAIT_PARTS {
            return Err(argument("oam_config", &format!("the traits have more than {MAX_TRAIT_PARTS} namespaces")));
        }
        for namespace in namespaces {
            let namespace = operation::namespace(namespace.as_str().unwrap_or_default())?;
            let inputs = operation::Inputs {
                namespace: &namespace,
                delete: context.delete,
                body: "",
                version: "",
                wait: context.wait,
                driver: context.bridge.conformance_driver,
            };
            let (verb, params) = operation.command(inputs)?;
            parts.push(Part { label: format!("{name} of {namespace}"), key, namespace, verb, params });
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(operations: &[&str]) -> Bridge {
        Bridge { operations: operations.iter().map(|it| (*it).to_owned()).collect(), ..Bridge::default() }
    }

    fn context(bridge: &Bridge, delete: bool) -> Context<'_> {
        Context { bridge, delete, wait: "5m" }
    }

    #[test]
    fn declarations_become_commands_in_their_order_and_reversed_on_deletion() {
        let bridge = bridge(&["istio", "istio:delete", "custom", "grafana-addon"]);
        let texts = [
            json!({"component": {"kind": "IstioMesh", "version": "v1"}, "displayName": "mesh",
                "configuration": {"spec": {"version": "1.30.3", "profile": "minimal"}}}),
            json!({"component": {"kind": "GrafanaIstioAddon"}, "displayName": "grafana"}),
            json!({"component": {"kind": "VirtualService", "version": "networking.istio.io/v1"}, "displayName": "Shop",
                "configuration": {"metadata": {"name": "shop", "namespace": "shop"}, "spec": {"hosts": ["shop"]}}}),
        ]
        .map(|it| it.to_string());
        let parts = declarations(context(&bridge, false), &texts).unwrap();
        let verbs: Vec<_> = parts.iter().map(|part| part.verb).collect();
        assert_eq!(verbs, ["mesh.install", "addon.apply", "config.apply"]);
        assert_eq!(parts[0].params["profile"], "minimal");
        let manifest: Value = serde_json::from_str(parts[2].params["manifest"].as_str().unwrap()).unwrap();
        assert_eq!(
            manifest,
            json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": {"name": "shop", "namespace": "shop"}, "spec": {"hosts": ["shop"]}})
        );
        let removed = declarations(context(&bridge, true), &texts).unwrap();
        let verbs: Vec<_> = removed.iter().map(|part| part.verb).collect();
        assert_eq!(verbs, ["config.delete", "addon.remove", "mesh.uninstall"]);
        assert_eq!(removed[0].params["name"], parts[2].params["name"]);
    }

    #[test]
    fn oam_components_and_traits_become_commands() {
        let bridge = bridge(&["istio", "label-namespace", "strict-mtls-policy-operation"]);
        let component = json!({"metadata": {"name": "mesh"},
            "spec": {"type": "IstioMesh.Istio", "version": "1.30.3", "settings": {"profile": "demo"}}});
        let configuration = json!({"spec": {"components": [{"componentName": "mesh", "traits": [
            {"name": "automaticSidecarInjection", "properties": {"namespaces": ["a", "b"]}},
            {"name": "mTLS", "properties": {"policy": "strict", "namespaces": ["a"]}},
        ]}]}});
        let parts = oam(context(&bridge, false), &[component.to_string()], &configuration.to_string()).unwrap();
        let verbs: Vec<_> = parts.iter().map(|part| part.verb).collect();
        assert_eq!(verbs, ["mesh.install", "namespace.label", "namespace.label", "policy.apply"]);
        assert_eq!((&parts[0].params["version"], &parts[0].params["profile"]), (&json!("1.30.3"), &json!("demo")));
    }

    #[test]
    fn unusable_and_forbidden_components_are_named() {
        let bridge = bridge(&["istio"]);
        let refused = |text: &str| declarations(context(&bridge, false), &[text.to_owned()]).unwrap_err();
        let empty = oam(context(&bridge, false), &[], "").unwrap_err();
        assert!(empty.to_string().starts_with("oam_comps: "), "{empty}");
        assert!(refused("{").to_string().contains("component 1 is not JSON"));
        assert!(matches!(refused("{}"), Error::Argument { .. }));
        assert!(matches!(declarations(context(&bridge, false), &[]), Err(Error::Argument { .. })));
        let object = json!({"component": {"kind": "ConfigMap", "version": "v1"}, "displayName": "a"}).to_string();
        assert!(matches!(refused(&object), Error::NotAllowed { .. }));
        assert!(refused(&"[".repeat(10_000)).to_string().contains("not JSON"));
    }

    #[test]
    fn namespaces_of_all_traits_are_limited() {
        let bridge = bridge(&["label-namespace"]);
        let properties = json!({"namespaces": vec!["a"; MAX_NAMESPACES]});
        let parts = |traits: usize| {
            let traits = vec![json!({"name": "automaticSidecarInjection", "properties": properties}); traits];
            let configuration = json!({"spec": {"components": [{"traits": traits}]}}).to_string();
            oam(context(&bridge, false), &[], &configuration).map(|parts| parts.len())
        };
        let most = MAX_TRAIT_PARTS / MAX_NAMESPACES;
        assert_eq!(parts(most).unwrap(), MAX_TRAIT_PARTS);
        assert!(matches!(parts(most + 1), Err(Error::Argument { .. })));
    }

    #[test]
    fn long_names_of_components_do_not_make_long_statuses() {
        let object = json!({"component": {"kind": "x".repeat(100_000)}, "displayName": "y".repeat(100_000)});
        let error = declarations(context(&bridge(&[]), false), &[object.to_string()]).unwrap_err();
        let status = tonic::Status::from(error);
        assert!(status.message().starts_with("SH3605: ") && status.message().len() <= 4096, "{}", status.message());
    }
}
