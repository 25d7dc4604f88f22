//! The generated CRDs.

use serde_json::{Value, json};

use super::super::{Kind, crd};

fn schema(kind: Kind) -> Value {
    let at = Kind::SMI.iter().position(|one| *one == kind).unwrap();
    crd::all()[at]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Source: smi-sdk-go, `crds/*.yaml`.
#[test]
fn required_fields_and_enumerations_are_those_of_smi() {
    let target = schema(Kind::TrafficTarget);
    assert_eq!(target["required"], json!(["destination", "rules", "sources"]));
    assert_eq!(target["properties"]["destination"]["required"], json!(["kind", "name"]));
    let rule = &target["properties"]["rules"]["items"];
    assert_eq!(rule["required"], json!(["kind", "name"]));
    assert_eq!(rule["properties"]["kind"]["enum"], json!(["HTTPRouteGroup", "TCPRoute", "UDPRoute"]));
    assert_eq!(rule["properties"]["matches"]["items"]["type"], "string");
    let route = schema(Kind::HttpRouteGroup)["properties"]["matches"]["items"].clone();
    assert_eq!(route["required"], json!(["name"]));
    let methods = json!(["*", "GET", "HEAD", "PUT", "POST", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]);
    assert_eq!(route["properties"]["methods"]["items"]["enum"], methods);
    assert_eq!(route["properties"]["headers"]["x-kubernetes-preserve-unknown-fields"], true);
    assert_eq!(schema(Kind::TcpRoute)["properties"]["matches"]["required"], json!(["ports"]));
    let split = schema(Kind::TrafficSplit);
    assert_eq!(split["required"], json!(["service", "backends"]));
    let weight = &split["properties"]["backends"]["items"]["properties"]["weight"];
    assert_eq!((&weight["type"], &weight["minimum"]), (&json!("integer"), &json!(0)));
}

/// Of what a structural schema may hold, this is all that we use.
#[test]
fn schemas_are_structural() {
    const KNOWN: &[&str] = &[
        "type",
        "description",
        "properties",
        "required",
        "items",
        "enum",
        "minimum",
        "x-kubernetes-preserve-unknown-fields",
    ];

    fn walk(schema: &Value, path: &str) {
        let fields = schema.as_object().unwrap_or_else(|| panic!("{path} is not an object"));
        for key in fields.keys() {
            assert!(KNOWN.contains(&key.as_str()), "{path} has {key}");
        }
        assert!(
            fields.contains_key("type") || fields.contains_key("x-kubernetes-preserve-unknown-fields"),
            "{path} has no type"
        );
        for (name, below) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
            walk(below, &format!("{path}.{name}"));
        }
        if let Some(items) = fields.get("items") {
            walk(items, &format!("{path}[]"));
        }
    }
    for kind in Kind::SMI {
        walk(&schema(kind), kind.name());
    }
}
