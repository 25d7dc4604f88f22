//! `--fix` and `--diff` on files: mechanical remedies only, with comments and layout as they were.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const WRONG: &str = "\
# Routes of the shop.
apiVersion: networking.istio.io/v1beta1   # to be updated
kind: VirtualServce
metadata:
  name: reviews
  namespace: shop
spec:
  hosts: [ reviews ]  # one host
  exportTo: ['.', '.']
  http:
  - timeOut: 3s       # seconds
    route:
    - destination: { host: reviews, port: {number: 80} }
---
apiVersion: v1
kind: Service
metadata:
  name: reviews
  namespace: shop
  labels:
    app: reviews
    # why twice?
    app: reviews
  annotations:
    networking.istio.io/exportsTo: \"*\"
spec:
  ports:
  - {name: web-http, port: 80}
  - port: 81
    name: htpp
";

const RIGHT: &str = "\
# Routes of the shop.
apiVersion: networking.istio.io/v1   # to be updated
kind: VirtualService
metadata:
  name: reviews
  namespace: shop
spec:
  hosts: [ reviews ]  # one host
  exportTo: ['.']
  http:
  - timeout: 3s       # seconds
    route:
    - destination: { host: reviews, port: {number: 80} }
---
apiVersion: v1
kind: Service
metadata:
  name: reviews
  namespace: shop
  labels:
    app: reviews
    # why twice?
  annotations:
    networking.istio.io/exportTo: \"*\"
spec:
  ports:
  - {name: http-web, port: 80}
  - port: 81
    name: http
";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Exit code, standard output and standard error.
fn analyze(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_sailhand-analyze")).args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn text(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

#[test]
fn fix_corrects_files_once_and_keeps_comments_and_layout() {
    let folder = folder(&[("shop.yaml", WRONG)]);
    let (code, out, error) = analyze(folder.path(), &["--fix", "."]);
    assert_eq!(text(&folder, "shop.yaml"), RIGHT, "{out}{error}");
    assert_eq!(code, Some(0), "{out}{error}");
    assert!(error.contains("fixed: 8 changes in 1 file"), "{error}");
    let (code, _, error) = analyze(folder.path(), &["--fix", "."]);
    assert_eq!((code, text(&folder, "shop.yaml").as_str()), (Some(0), RIGHT));
    assert!(error.contains("fixed: 0 changes in 0 files"), "{error}");
}

#[test]
fn diff_prints_the_changes_of_fix_and_writes_nothing() {
    let folder = folder(&[("shop.yaml", WRONG)]);
    let (code, out, error) = analyze(folder.path(), &["--diff", "."]);
    assert_eq!((code, text(&folder, "shop.yaml").as_str()), (Some(1), WRONG), "{error}");
    assert!(out.starts_with("--- a/shop.yaml\n+++ b/shop.yaml\n@@ -1,"), "{out}");
    assert!(out.contains("\n-  - timeOut: 3s       # seconds\n+  - timeout: 3s       # seconds\n"), "{out}");
    // What is printed is what --fix writes.
    fs::write(folder.path().join("patch"), &out).unwrap();
    let git = Command::new("git").args(["apply", "patch"]).current_dir(folder.path()).status().unwrap();
    assert!(git.success(), "{out}");
    assert_eq!(text(&folder, "shop.yaml"), RIGHT);
    let (code, out, _) = analyze(folder.path(), &["--diff", "."]);
    assert_eq!((code, out.as_str()), (Some(0), ""));
}

#[test]
fn fix_changes_nothing_that_is_not_certain() {
    let route = RIGHT.split("---\n").next().unwrap();
    for (name, text) in [
        ("unlike field", route.replace("timeout: 3s", "duration: 3s")),
        ("known sibling", route.replace("  - timeout: 3s", "  - timeOut: 3s\n    timeout: 2s")),
        (
            "alias",
            "a: &x {hots: [a]}\n".to_owned() + &route.replace("  hosts: [ reviews ]  # one host\n", "  tls: *x\n"),
        ),
        ("two values", route.replace("  name: reviews\n", "  name: reviews\n  name: review\n")),
    ] {
        let folder = folder(&[("a.yaml", &text)]);
        let (_, out, error) = analyze(folder.path(), &["--fix", "."]);
        assert_eq!(self::text(&folder, "a.yaml"), text, "{name}: {out}{error}");
        assert!(error.contains("fixed: 0 changes"), "{name}: {error}");
    }
}

#[test]
fn port_that_something_refers_to_keeps_its_name() {
    let service = WRONG
        .split("---\n")
        .nth(1)
        .unwrap()
        .replace("    app: reviews\n    # why twice?\n", "")
        .replace("exportsTo", "exportTo");
    let monitor = "apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: a}\nspec: {endpoints: [{port: web-http}]}\n";
    let ingress = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"networking.k8s.io/v1","kind" : "Ingress","metadata":{"name":"a"},
        "spec":{"rules":[{"http":{"paths":[{"backend":{"service":{"name":"reviews","port":{"name":"web-http"}}}}]}}]}}]}"#;
    for (name, user) in [("monitor.yaml", monitor), ("ingress.json", ingress)] {
        let folder = folder(&[("a.yaml", &service), (name, user)]);
        analyze(folder.path(), &["--fix", "."]);
        assert_eq!(text(&folder, "a.yaml"), service.replace("name: htpp", "name: http"), "{name}");
    }
    // A text that only mentions such a kind refers to nothing.
    let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: Ingress, b: web-http}\n";
    let folder = folder(&[("a.yaml", &service), ("b.yaml", other)]);
    analyze(folder.path(), &["--fix", "."]);
    assert!(text(&folder, "a.yaml").contains("name: http-web"), "{}", text(&folder, "a.yaml"));
}

#[test]
fn fix_covers_kustomizations_suppressions_and_selected_codes() {
    let files = [
        ("base/kustomization.yaml", "resources: [shop.yaml]\n"),
        ("base/shop.yaml", WRONG),
        ("prod/kustomization.yaml", "namespace: prod\nresources: [../base]\n"),
    ];
    let folder1 = folder(&files);
    analyze(folder1.path(), &["--fix", "."]);
    assert_eq!(text(&folder1, "base/shop.yaml"), RIGHT);
    let folder2 = folder(&files);
    analyze(folder2.path(), &["--fix", "--codes", "SH7024", "."]);
    assert_eq!(text(&folder2, "base/shop.yaml"), WRONG, "the kind is not known yet");
    analyze(folder2.path(), &["--fix", "--codes", "SH7023,SH7024", "-S", "SH7024=*", "."]);
    assert_eq!(text(&folder2, "base/shop.yaml"), WRONG.replace("VirtualServce", "VirtualService"));
}

#[test]
fn standard_input_cannot_be_corrected() {
    let folder = folder(&[]);
    let (code, _, error) = analyze(folder.path(), &["--fix", "-"]);
    assert!(code == Some(2) && error.contains("name files or folders"), "{error}");
}
