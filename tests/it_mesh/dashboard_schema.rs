//! All dashboards that we ship or generate, against the strict schema of Grafana's foundation SDK: unknown fields, other types
//! and missing required fields are errors (`grafana-double check`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use sailhand::observe::dashboard::{DashboardName, Settings, dashboard};
use serde_json::{Value, json};

use crate::support::tools;

/// Whether the check accepts the files, and what it prints.
fn check(files: &[PathBuf]) -> (bool, String) {
    let program = tools::program("grafana-double", "GRAFANA_DOUBLE_BIN");
    let output = Command::new(program).arg("check").args(files).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn dashboards_follow_the_strict_schema_of_the_foundation_sdk() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: String, dashboard: &Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, dashboard.to_string()).unwrap();
        path
    };
    let scope = BTreeMap::from([("cluster".to_owned(), "a\"b".to_owned())]);
    let none = BTreeMap::new();
    let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/helm/sailhand/files/grafana.json")];
    for name in DashboardName::ALL {
        for (kind, data_source, scope) in [("plain", None, &none), ("scoped", Some("source"), &scope)] {
            let made = dashboard(name, Settings { uid: "u", data_source, scope });
            files.push(file(format!("{}-{kind}.json", name.as_str()), &made));
        }
    }
    let (accepted, printed) = check(&files);
    assert!(accepted, "{printed}");
    assert_eq!(printed.matches("ok foundation SDK").count(), files.len(), "{printed}");

    // The check can fail.
    let mut wrong = dashboard(DashboardName::Mesh, Settings { uid: "u", data_source: None, scope: &none });
    wrong["panels"][0]["options"]["legend"]["shown"] = json!(true);
    let (accepted, printed) = check(&[file("wrong.json".to_owned(), &wrong)]);
    assert!(!accepted && printed.contains("shown"), "{printed}");
}
