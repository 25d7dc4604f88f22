//! SARIF output against the rules of the standard for what we write. Source: "Static Analysis Results Interchange Format
//! (SARIF) Version 2.1.0", OASIS; the section stands beside each rule.

use std::process::Command;

use serde_json::{Value, json};

/// The properties that we write, with the constraints of the standard. Others are refused, so that a new one is looked up.
fn schema() -> Value {
    let message = json!({ // 3.11: a message that is not looked up has a text
        "type": "object", "required": ["text"], "additionalProperties": false,
        "properties": {"text": {"type": "string", "minLength": 1}},
    });
    let level = json!({"enum": ["none", "note", "warning", "error"]}); // 3.27.10
    let rule = json!({ // 3.49
        "type": "object", "required": ["id"], "additionalProperties": false,
        "properties": {
            "id": {"type": "string", "minLength": 1},
            "name": {"type": "string", "minLength": 1},
            "shortDescription": message, "fullDescription": message, "help": message,
            "helpUri": {"type": "string", "pattern": "^https://"},
            "defaultConfiguration": {
                "type": "object", "additionalProperties": false, "properties": {"level": level},
            },
        },
    });
    let region = json!({ // 3.30: lines and columns count from 1
        "type": "object", "required": ["startLine"], "additionalProperties": false,
        "properties": {
            "startLine": {"type": "integer", "minimum": 1},
            "startColumn": {"type": "integer", "minimum": 1},
        },
    });
    let location = json!({ // 3.28, 3.29, 3.33
        "type": "object", "additionalProperties": false,
        "properties": {
            "logicalLocations": {"type": "array", "uniqueItems": true, "items": {
                "type": "object", "additionalProperties": false,
                "properties": {"fullyQualifiedName": {"type": "string", "minLength": 1}, "kind": {"type": "string"}},
            }},
            "physicalLocation": {
                "type": "object", "required": ["artifactLocation"], "additionalProperties": false,
                "properties": {
                    // 3.4.3: a URI reference of RFC 3986; ours are relative, without what has to be escaped.
                    "artifactLocation": {
                        "type": "object", "required": ["uri"], "additionalProperties": false,
                        "properties": {"uri": {"type": "string", "pattern": "^([A-Za-z0-9/._~-]|%[0-9A-F]{2})+$"}},
                    },
                    "region": region,
                },
            },
        },
    });
    let result = json!({ // 3.27
        "type": "object", "required": ["message", "ruleId", "ruleIndex", "locations"], "additionalProperties": false,
        "properties": {
            "ruleId": {"type": "string"},
            "ruleIndex": {"type": "integer", "minimum": 0},
            "level": level,
            "message": message,
            "locations": {"type": "array", "minItems": 1, "items": location},
            "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}},
        },
    });
    let driver = json!({ // 3.19
        "type": "object", "required": ["name"], "additionalProperties": false,
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "version": {"type": "string"},
            "informationUri": {"type": "string", "pattern": "^https://"},
            "rules": {"type": "array", "uniqueItems": true, "items": rule},
        },
    });
    json!({ // 3.13, 3.14, 3.18
        "type": "object", "required": ["version", "runs"], "additionalProperties": false,
        "properties": {
            "$schema": {"type": "string", "pattern": "^https://.*/sarif-schema-2\\.1\\.0\\.json$"},
            "version": {"const": "2.1.0"},
            "runs": {"type": "array", "items": {
                "type": "object", "required": ["tool", "results"], "additionalProperties": false,
                "properties": {
                    "tool": {"type": "object", "required": ["driver"], "additionalProperties": false,
                        "properties": {"driver": driver}},
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "results": {"type": "array", "items": result},
                },
            }},
        },
    })
}

fn sarif(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sailhand"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["analyze", "-o", "sarif", "--fail-on", "never"]);
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn sarif_follows_the_standard() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for document in [sarif(&["tests/analysis/mistakes", "tests/analysis/validation"]), sarif(&["tests/analysis/good"])]
    {
        let errors: Vec<_> =
            validator.iter_errors(&document).map(|it| format!("{}: {it}", it.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let run = &document["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        for result in run["results"].as_array().unwrap() {
            // 3.27.6: the index is that of the rule with this id.
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
        }
    }
    let found = sarif(&["tests/analysis/mistakes"])["runs"][0]["results"].as_array().unwrap().len();
    assert!(found > 10, "{found}");
}

#[test]
fn documents_that_break_the_standard_are_refused() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let good = sarif(&["tests/analysis/mistakes"]);
    for (pointer, value) in [
        ("/version", json!("2.0.0")),
        ("/runs/0/results/0/level", json!("info")),
        ("/runs/0/results/0/message/text", json!("")),
        ("/runs/0/results/0/locations/0/physicalLocation/region/startLine", json!(0)),
        ("/runs/0/results/0/locations/0/physicalLocation/artifactLocation/uri", json!("a b.yaml")),
        ("/runs/0/tool/driver/rules/0/helpUri", json!("docs")),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        assert!(validator.is_valid(&good) && !validator.is_valid(&bad), "{pointer}");
    }
}
