//! The `CustomResourceDefinitions` of SMI v0.6.0, made from the Rust types.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::http_route_group::HttpRouteGroupSpec;
use super::object::Kind;
use super::tcp_route::TcpRouteSpec;
use super::traffic_split::TrafficSplitSpec;
use super::traffic_target::TrafficTargetSpec;
use super::udp_route::UdpRouteSpec;
use crate::analysis::istio::managed;

/// The type of the condition that the controller writes.
pub const CONDITION: &str = "Translated";

/// The CRDs, in the order of [`Kind::SMI`].
#[must_use]
pub fn all() -> Vec<Value> {
    Kind::SMI.into_iter().map(definition).collect()
}

/// Such as `traffictargets.access.smi-spec.io`.
#[must_use]
pub fn name(kind: Kind) -> String {
    format!("{}.{}", kind.plural(), kind.group())
}

fn definition(kind: Kind) -> Value {
    let (spec, short_name) = match kind {
        Kind::TrafficTarget => (schema::<TrafficTargetSpec>(), "tt"),
        Kind::HttpRouteGroup => (schema::<HttpRouteGroupSpec>(), "htr"),
        Kind::TcpRoute => (schema::<TcpRouteSpec>(), "tr"),
        Kind::UdpRoute => (schema::<UdpRouteSpec>(), "ur"),
        Kind::TrafficSplit => (schema::<TrafficSplitSpec>(), "ts"),
        Kind::Namespace => (Value::Null, "ns"),
    };
    let has_status = matches!(kind, Kind::TrafficTarget | Kind::TrafficSplit);
    let mut properties = json!({ "spec": spec });
    let mut version = json!({"name": kind.version(), "served": true, "storage": true});
    let mut columns = Vec::new();
    if kind == Kind::TrafficSplit {
        let service = "The root Service of the split.";
        columns.push(json!({"name": "Service", "type": "string", "description": service, "jsonPath": ".spec.service"}));
    }
    if has_status {
        properties["status"] = status();
        version["subresources"] = json!({"status": {}});
        let path = format!(".status.conditions[?(@.type==\"{CONDITION}\")].status");
        columns.push(json!({"name": CONDITION, "type": "string", "jsonPath": path}));
    }
    columns.push(json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}));
    version["additionalPrinterColumns"] = columns.into();
    version["schema"] = json!({"openAPIV3Schema": {"type": "object", "properties": properties, "required": ["spec"]}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": name(kind),
            "labels": {"app.kubernetes.io/part-of": "smi", managed::BY: managed::SAILHAND},
        },
        "spec": {
            "group": kind.group(),
            "scope": "Namespaced",
            "names": {
                "kind": kind.name(),
                "listKind": format!("{}List", kind.name()),
                "plural": kind.plural(),
                "singular": kind.name().to_lowercase(),
                "shortNames": [short_name],
            },
            "versions": [version],
        },
    })
}

/// A structural schema: no references, and no keyword that Kubernetes does not know.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    structural(&mut schema);
    schema
}

fn structural(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    for keyword in ["$schema", "title", "format", "default", "components"] {
        fields.remove(keyword);
    }
    // An enumeration whose values have descriptions is a list of constants.
    if let Some(Value::Array(values)) = fields.remove("oneOf") {
        let constants: Vec<_> = values.iter().flat_map(constants).collect();
        fields.insert("type".to_owned(), "string".into());
        fields.insert("enum".to_owned(), constants.into());
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(structural);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(below) = fields.get_mut(keyword) {
            structural(below);
        }
    }
}

fn constants(value: &Value) -> Vec<Value> {
    match (&value["const"], &value["enum"]) {
        (Value::Null, Value::Array(values)) => values.clone(),
        (constant, _) => vec![constant.clone()],
    }
}

/// `status` with conditions as `metav1.Condition`.
fn status() -> Value {
    let text = |max: usize| json!({"type": "string", "maxLength": max});
    json!({
        "type": "object",
        "description": "Written by the SMI controller.",
        "properties": {"conditions": {
            "type": "array",
            "maxItems": 8,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {
                "type": "object",
                "required": ["type", "status", "reason", "message", "lastTransitionTime"],
                "properties": {
                    "type": text(316),
                    "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                    "reason": text(1024),
                    "message": text(32768),
                    "observedGeneration": {"type": "integer", "minimum": 0},
                    "lastTransitionTime": {"type": "string", "format": "date-time"},
                },
            },
        }},
    })
}
