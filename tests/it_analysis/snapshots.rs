//! The outputs of `sailhand analyze` as a whole: a change of a format shows in the diff of `snapshots/`. After a wanted
//! change: `INSTA_UPDATE=always cargo test --test it_analysis snapshots::`.

use std::process::Command;

/// Findings of two severities, with and without a field; names that each format has to escape.
const MANIFEST: &str = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: 'shop & <co>'}
spec:
  host: db.example.com
  trafficPolicy:
    tls:
      mode: SIMPLE
---
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

/// Standard output for [`MANIFEST`] as `shop.yaml`, without what changes with each release.
fn output(format: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.yaml"), MANIFEST).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sailhand"))
        .current_dir(folder.path())
        .args(["analyze", "shop.yaml", "--codes", "IST0101,IST0128", "-o", format])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stdout).unwrap().replace(env!("CARGO_PKG_VERSION"), "[version]")
}

/// Pretty, so that a diff shows the field.
fn pretty(format: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(&output(format)).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

/// A page without its style sheet and its script, which have files of their own.
fn body(page: &str) -> String {
    const TIME: &str = "<dt>Time</dt><dd>";
    let mut text = page.to_owned();
    for tag in ["style", "script"] {
        while let Some((before, rest)) = text.split_once(&format!("<{tag}>")) {
            let (_, after) = rest.split_once(&format!("</{tag}>")).unwrap();
            text = format!("{before}[{tag}]{after}");
        }
    }
    let (before, rest) = text.split_once(TIME).unwrap();
    let (_, after) = rest.split_once("</dd>").unwrap();
    format!("{before}{TIME}[time]</dd>{after}")
}

#[test]
fn text_is_as_recorded() {
    insta::assert_snapshot!(output("text"));
}

#[test]
fn json_is_as_recorded() {
    insta::assert_snapshot!(pretty("json"));
}

#[test]
fn istioctl_json_is_as_recorded() {
    insta::assert_snapshot!(pretty("istioctl-json"));
}

#[test]
fn sarif_is_as_recorded() {
    insta::assert_snapshot!(pretty("sarif"));
}

#[test]
fn junit_is_as_recorded() {
    insta::assert_snapshot!(output("junit"));
}

#[test]
fn markdown_is_as_recorded() {
    insta::assert_snapshot!(output("markdown"));
}

#[test]
fn html_is_as_recorded() {
    insta::assert_snapshot!(body(&output("html")));
}
