//! `sailhand-analyze` as a process: input, formats, suppressions, exit codes.
#![allow(clippy::unwrap_used, reason = "a test that cannot start the program has to fail")]

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A VirtualService that references a Gateway that does not exist: IST0101. The other Gateway shows that those of the
/// namespace were read.
const BROKEN: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [missing]
  http: [{route: [{destination: {host: shop.shop.svc.cluster.local}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec: {selector: {istio: ingressgateway}, servers: [{hosts: ['*'], port: {name: http, number: 80, protocol: HTTP}}]}
";

fn analyze(folder: &TempDir, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sailhand-analyze"))
        .current_dir(folder.path())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A folder with [`BROKEN`] as `shop.yaml`.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("shop.yaml"), BROKEN).unwrap();
    folder
}

fn codes(output: &Output) -> Vec<String> {
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn folders_files_and_standard_input_are_read() {
    let folder = folder();
    for (arguments, input) in [(["."], ""), (["shop.yaml"], ""), (["-"], BROKEN)] {
        let output = analyze(&folder, &[&["-o", "json"], &arguments[..]].concat(), input);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(codes(&output).contains(&"IST0101".to_owned()), "{output:?}");
    }
}

#[test]
fn fail_on_decides_the_exit_code() {
    let folder = folder();
    for (level, code) in [("error", 1), ("never", 0)] {
        assert_eq!(analyze(&folder, &["shop.yaml", "--fail-on", level], "").status.code(), Some(code), "{level}");
    }
}

#[test]
fn suppressed_findings_and_those_of_a_baseline_are_left_out() {
    let folder = folder();
    let suppressed = analyze(&folder, &["shop.yaml", "-o", "json", "-S", "IST0101"], "");
    assert!(!codes(&suppressed).contains(&"IST0101".to_owned()), "{suppressed:?}");
    assert!(analyze(&folder, &["shop.yaml", "--write-baseline", "known"], "").status.success());
    let output = analyze(&folder, &["shop.yaml", "-o", "json", "--baseline", "known"], "");
    assert!(output.status.success() && codes(&output).is_empty(), "{output:?}");
}

#[test]
fn every_format_is_written() {
    let folder = folder();
    for (format, part) in [
        ("text", "IST0101"),
        ("json", "\"severity\":\"error\""),
        ("istioctl-json", "\"level\":\"Error\""),
        ("sarif", "\"version\":\"2.1.0\""),
        ("junit", "<testsuites"),
        ("markdown", "| error |"),
        ("html", "<!doctype html>"),
    ] {
        let output = analyze(&folder, &["shop.yaml", "-o", format], "");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(part), "{format}: {text}");
    }
}

#[test]
fn wrong_arguments_and_unreadable_input_have_exit_codes_of_their_own() {
    let folder = folder();
    for (arguments, code) in [
        (&[][..], 2),
        (&["shop.yaml", "--codes", "nosuch"], 2),
        (&["--explain", "nosuch"], 2),
        (&["--explain", "IST0101"], 0),
        (&["missing.yaml"], 6),
    ] {
        let output = analyze(&folder, arguments, "");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
}
