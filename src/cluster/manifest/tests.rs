//! Accepted, ambiguous and rejected manifests.

use std::fmt::Write as _;

use kube::core::DynamicObject;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::error::{Classify, Code};

fn one(text: &str) -> DynamicObject {
    let mut objects = read(text).unwrap();
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0)
}

fn names(text: &str) -> Vec<String> {
    read(text).unwrap().into_iter().map(|object| object.metadata.name.unwrap()).collect()
}

fn code(text: &str) -> Code {
    read(text).unwrap_err().code()
}

/// The value that `data.x: <scalar>` has.
fn scalar(yaml: &str) -> Value {
    one(&format!("apiVersion: v1\nkind: T\nmetadata: {{name: t}}\nspec:\n  x: {yaml}\n")).data["spec"]["x"].clone()
}

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n")
}

#[test]
fn documents_without_content_are_skipped() {
    let text = format!(
        "\u{feff}# only a comment\n---\n\n---\n{}---\nnull\n--- # comment\r\n{}...\n%YAML 1.2\n---\n{}---\n",
        config_map("a"),
        config_map("b").replace('\n', "\r\n"),
        config_map("c")
    );
    assert_eq!(names(&text), ["a", "b", "c"]);
    assert_eq!(read("").unwrap(), []);
    // Concatenated files with byte order marks.
    let marked =
        format!("\u{feff}{}---\n\u{feff}{}---\n\u{feff}---\n{}", config_map("a"), config_map("b"), config_map("c"));
    assert_eq!(names(&marked), ["a", "b", "c"]);
    assert_eq!(read("---\n# nothing\n---\n").unwrap(), []);
}

#[test]
fn a_marker_inside_a_line_does_not_split() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    ---\n    y\n  z: a --- b\n";
    assert_eq!(one(text).data["data"], json!({"x": "---\ny\n", "z": "a --- b"}));
}

#[test]
fn json_in_all_its_forms() {
    let object = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"smile": "😀\u{7f}/"}});
    let (a, b) = (object("a"), object("b"));
    assert_eq!(names(&a.to_string()), ["a"]);
    assert_eq!(names(&serde_json::to_string_pretty(&a).unwrap().replace("  ", "\t")), ["a"]);
    assert_eq!(names(&format!("{a}\n{b}")), ["a", "b"]);
    assert_eq!(names(&format!("{a}\n---\n{b}\n---\n{}", config_map("c"))), ["a", "b", "c"]);
    // What JSON writes as a surrogate pair is not a valid escape in YAML.
    let escaped = a.to_string().replace('😀', "\\ud83d\\ude00").replace('/', "\\/");
    assert_eq!(one(&escaped).data["data"]["smile"], "😀\u{7f}/");
    assert_eq!(names("{apiVersion: v1, kind: ConfigMap, metadata: {name: flow}, }"), ["flow"]);
}

#[test]
fn lists_are_expanded() {
    let text = r"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
- apiVersion: v1
  kind: ConfigMapList
  items: [{metadata: {name: b}}, {metadata: {name: c}}]
---
apiVersion: v1
kind: List
---
{apiVersion: example.org/v1, kind: AllowList, metadata: {name: d}, items: [x]}
";
    assert_eq!(names(text), ["a", "b", "c", "d"]);
    let kinds: Vec<_> = read(text).unwrap().into_iter().map(|object| object.types.unwrap().kind).collect();
    assert_eq!(kinds, ["ConfigMap", "ConfigMap", "ConfigMap", "AllowList"]);
    assert_eq!(code("{apiVersion: v1, kind: List, items: {}}"), Code::SH3103);
    assert_eq!(code("{apiVersion: v1, kind: List, items: [1]}"), Code::SH3103);
}

#[test]
fn scalars_are_parsed_as_by_kubectl() {
    for (yaml, expected) in [
        // YAML 1.1, as sigs.k8s.io/yaml still has it.
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("n", json!(false)),
        ("0644", json!(420)),
        ("0o644", json!(420)),
        ("0x1F", json!(31)),
        ("1_000", json!(1000)),
        // Strings stay strings.
        ("\"yes\"", json!("yes")),
        ("'0644'", json!("0644")),
        ("!!str 12", json!("12")),
        ("2001-01-01", json!("2001-01-01")),
        ("12:30", json!("12:30")),
        ("1.2.3", json!("1.2.3")),
        ("100m", json!("100m")),
        ("NaN", json!("NaN")),
        // Nothing.
        ("~", Value::Null),
        ("", Value::Null),
        // Numbers; whole ones have the API server's form.
        ("8.0", json!(8)),
        ("08", json!(8)),
        ("1e3", json!(1000)),
        ("-0.5", json!(-0.5)),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("1.7976931348623157e308", json!(f64::MAX)),
    ] {
        assert_eq!(scalar(yaml), expected, "{yaml}");
    }
    // Keys stay as written; kubectl would turn this one into "true".
    assert_eq!(scalar("{y: 1, 8080: 2}"), json!({"y": 1, "8080": 2}));
}

#[test]
fn merge_keys_and_anchors_are_expanded() {
    assert_eq!(scalar("{base: &b {a: 1, b: 2}, more: {<<: *b, b: 3}}")["more"], json!({"a": 1, "b": 3}));
}

#[test]
fn numbers_are_refused_rather_than_rounded() {
    for number in ["123456789012345678901234567890", "-9223372036854775809"] {
        let yaml = format!("{}data:\n  x: {number}\n", config_map("a"));
        assert_eq!(code(&yaml), Code::SH3101, "{number}");
    }
    let json = r#"{"apiVersion":"v1","kind":"T","metadata":{"name":"a"},"spec":123456789012345678901234567890}"#;
    assert_eq!(code(json), Code::SH3101);
    assert_eq!(code(&format!("{}data:\n  x: 1e999\n", config_map("a"))), Code::SH3101);
    assert_eq!(code(&format!("{}data:\n  x: .inf\n", config_map("a"))), Code::SH3101);
}

#[test]
fn unreadable_documents_are_reported_with_their_line() {
    let text = format!("# one\n---\n{}---\napiVersion: v1\nkind: [\n", config_map("a"));
    let Err(Error::Unreadable { place, .. }) = read(&text) else { panic!("{:?}", read(&text)) };
    assert_eq!(place.document, 2);
    assert!((8..=9).contains(&place.line), "{place}");

    let text = format!("{}---\n{{\n  \"apiVersion\": \"v1\",\n  \"kind\" \"x\"\n}}\n", config_map("a"));
    let error = read(&text).unwrap_err();
    assert_eq!(error.to_string(), "manifest, document 2, line 8: expected `:`");
    assert_eq!(error.class(), crate::error::Class::Rejected);

    assert_eq!(code("a: 1\na: 2\n"), Code::SH3101);
    assert_eq!(code(r#"{"a": 1, "a": 2}"#), Code::SH3101);
    assert_eq!(code("a: *nowhere\n"), Code::SH3101);
    assert_eq!(code("a: &a [*a]\n"), Code::SH3101);
    assert_eq!(code("a: !!binary \"?\"\n"), Code::SH3101);
    assert_eq!(code("a:\n\t- b\n"), Code::SH3101);
}

#[test]
fn error_does_not_quote_the_data_of_a_secret() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  password: hunter2: [\n";
    assert!(!read(text).unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn non_object_documents_are_rejected() {
    for (text, reason) in [
        ("just words", "not a mapping"),
        ("[1, 2]", "not a mapping"),
        ("{kind: T, metadata: {name: a}}", "apiVersion is missing"),
        ("{apiVersion: v1, metadata: {name: a}}", "kind is missing"),
        ("{apiVersion: 1, kind: T, metadata: {name: a}}", "apiVersion is not a string"),
        ("{apiVersion: v1, kind: T}", "metadata of the T is missing"),
        ("{apiVersion: v1, kind: T, metadata: {}}", "metadata.name of the T is missing"),
        ("{apiVersion: v1, kind: T, metadata: {name: 1}}", "cannot be used"),
        ("{apiVersion: v1, kind: T, metadata: {generateName: a-}}", "generateName"),
        ("{apiVersion: a/b/c, kind: T, metadata: {name: a}}", "apiVersion"),
        ("{apiVersion: ../v1, kind: T, metadata: {name: a}}", "apiVersion"),
        ("{apiVersion: v1, kind: T/x, metadata: {name: a}}", "kind"),
        ("{apiVersion: v1, kind: T, metadata: {name: a/b}}", "is not a name"),
        ("{apiVersion: v1, kind: T, metadata: {name: ..}}", "is not a name"),
        ("{apiVersion: v1, kind: T, metadata: {name: a, namespace: A_B}}", "DNS label"),
        ("{apiVersion: v1, kind: T, metadata: {name: a, lables: {}}}", "metadata.lables"),
        (
            "{apiVersion: v1, kind: T, metadata: {name: a, labels: {x: true}}}",
            "metadata.labels.x of the T is true, not a string",
        ),
        ("{apiVersion: v1, kind: T, metadata: {name: a, annotations: {x: {}}}}", "x of the T is a map, not a string"),
    ] {
        let error = read(text).unwrap_err();
        assert_eq!(error.code(), Code::SH3103, "{text}: {error}");
        assert!(error.to_string().contains(reason), "{text}: {error}");
    }
}

#[test]
fn server_fields_of_metadata_are_dropped() {
    let object = one(
        "{apiVersion: v1, kind: T, metadata: {name: a, uid: u, resourceVersion: '1', creationTimestamp: null, generateName: a, managedFields: [{}]}}",
    );
    assert_eq!(
        object.metadata,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta { name: Some("a".to_owned()), ..Default::default() }
    );
}

#[test]
fn duplicate_object_is_refused() {
    let text = format!("{}---\n{}---\n{}", config_map("a"), config_map("b"), config_map("a"));
    assert_eq!(
        read(&text).unwrap_err().to_string(),
        "manifest: ConfigMap a is there twice: document 1, line 1 and document 3, line 10"
    );
    // Two versions of a group are the same object, two namespaces are not.
    let object = |version: &str, namespace: &str| {
        format!("---\n{{apiVersion: {version}, kind: T, metadata: {{name: a, namespace: {namespace}}}}}\n")
    };
    assert_eq!(code(&(object("g/v1", "one") + &object("g/v2", "one"))), Code::SH3104);
    assert_eq!(read(&(object("g/v1", "one") + &object("g/v1", "two") + &object("h/v1", "one"))).unwrap().len(), 3);
}

fn too_large(text: &str) -> Limit {
    match read(text) {
        Err(error @ Error::TooLarge { limit, .. }) => {
            assert_eq!(error.code(), Code::SH3102);
            limit
        }
        other => panic!("{:?}", other.map(|objects| objects.len())),
    }
}

#[test]
fn limits_of_size_and_number() {
    assert_eq!(too_large(&" ".repeat(MAX_BYTES + 1)), Limit::Bytes);
    assert_eq!(too_large(&"--- a\n".repeat(100_000)), Limit::Documents);
    assert_eq!(too_large(&"{}".repeat(100_000)), Limit::Documents);
    assert_eq!(read(&"---\n".repeat(1_000_000)).unwrap(), []);
    let mut items = String::from("apiVersion: v1\nkind: ConfigMapList\nitems:\n");
    for index in 0..=MAX_OBJECTS {
        writeln!(items, "- metadata: {{name: n{index}}}").unwrap();
    }
    assert_eq!(too_large(&items), Limit::Objects);
    assert_eq!(too_large(&format!("{{\"a\":[{}0]}}", "0,".repeat(MAX_VALUES + 1))), Limit::Values);
}

#[test]
fn limits_of_depth() {
    let deep = |depth: usize| format!("{}x{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(scalar(&deep(MAX_DEPTH - 2)).to_string().matches('[').count(), MAX_DEPTH - 2);
    for depth in [MAX_DEPTH, 300, 100_000] {
        assert_eq!(too_large(&format!("x: {}", deep(depth))), Limit::Depth, "flow {depth}");
        assert_eq!(too_large(&format!("{{\"x\": {}}}", deep(depth))), Limit::Depth, "JSON {depth}");
    }
    for depth in [MAX_DEPTH, 2_000] {
        let mut block = String::new();
        for level in 0..=depth {
            writeln!(block, "{}a:", " ".repeat(level)).unwrap();
        }
        assert_eq!(too_large(&block), Limit::Depth, "block {depth}");
    }
    assert_eq!(too_large(&"- ".repeat(100_000)), Limit::Depth);
}

#[test]
fn alias_bomb_is_refused() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..12 {
        let previous = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(laughs, "a{level}: &a{level} [{previous}]").unwrap();
    }
    assert_eq!(too_large(&laughs), Limit::Values);
    assert!(read(&laughs).unwrap_err().to_string().contains("more than 100"), "a short text costs little");
    // Few values, many bytes.
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 90].join(", "));
    assert_eq!(too_large(&long), Limit::StringBytes);
}

/// JSON without floats beyond 2^53, which a test above covers.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6_f64).prop_map(|number| Value::from(number + 0.25).clone()),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z0-9._/-]{1,8}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_survives_json_and_yaml(spec in any_json()) {
        let object = json!({"apiVersion": "v1", "kind": "T", "metadata": {"name": "a"}, "spec": spec});
        let whole = |value: &Value| one(&value.to_string()).data["spec"].clone();
        prop_assert_eq!(&whole(&object), &spec);
        // JSON's quoting is YAML's too, so each field is a YAML document of its own.
        let yaml = format!("apiVersion: v1\nkind: T\nmetadata:\n  name: a\nspec: {spec}\n");
        prop_assert_eq!(&one(&yaml).data["spec"], &spec);
    }

    #[test]
    fn no_text_crashes_the_reader(text in "\\PC{0,64}|([-{}\\[\\]:&*!|>'\"%@`#,? \n\ta0.]{0,64})") {
        let _ = read(&text);
    }
}
