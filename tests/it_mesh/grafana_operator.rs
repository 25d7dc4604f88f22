//! `dashboard.*` by the Grafana Operator: custom resources against CRDs with the fields and the immutability rules of the
//! Operator's `api/v1beta1`. Its own CRDs are in no Go module that is served, so these are written anew.

use sailhand::task::connection;
use sailhand::task::dashboard::{Apply, By, DashboardReport, Remove};
use serde_json::{Value, json};

use crate::cluster_target::{object, read, unique, write};
use crate::connections::{one, run, with_connections};
use crate::support::istio_crds::kubectl;

const GROUP: &str = "grafana.integreatly.org";

/// A CRD whose `spec` has exactly these fields; those of every content resource come with it.
fn crd(kind: &str, plural: &str, fields: &Value, immutable: &[&str]) -> Value {
    let selector = json!({"type": "object", "properties": {
        "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}}});
    let mut properties = json!({"instanceSelector": selector, "allowCrossNamespaceImport": {"type": "boolean"},
        "resyncPeriod": {"type": "string"}, "uid": {"type": "string", "maxLength": 40}});
    properties.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let rules: Vec<Value> = immutable
        .iter()
        .map(|field| json!({"rule": format!("has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"), "message": format!("spec.{field} is immutable")}))
        .collect();
    let spec = json!({"type": "object", "properties": properties, "x-kubernetes-validations": rules});
    let schema = json!({"type": "object", "properties": {"spec": spec, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let version = json!({"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {"group": GROUP, "scope": "Namespaced", "versions": [version],
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()}}})
}

fn install() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let text = json!({"type": "string"});
        let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let items = [
            crd("Grafana", "grafanas", &json!({"external": free, "config": free}), &[]),
            crd("GrafanaFolder", "grafanafolders", &json!({"title": text, "parentFolderUID": text}), &["uid"]),
            crd("GrafanaDatasource", "grafanadatasources", &json!({"datasource": free}), &["uid"]),
            crd(
                "GrafanaDashboard",
                "grafanadashboards",
                &json!({"json": text, "folder": text, "folderUID": text, "folderRef": text}),
                &["uid"],
            ),
        ];
        let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        serde_json::to_writer(&file, &json!({"apiVersion": "v1", "kind": "List", "items": items})).unwrap();
        kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file.path().to_str().unwrap()]);
        for plural in ["grafanas", "grafanafolders", "grafanadatasources", "grafanadashboards"] {
            kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/{plural}.{GROUP}")]);
        }
    });
}

#[tokio::test]
async fn operator_resources_match_its_schema_and_a_second_run_writes_nothing() {
    install();
    let space = unique("grafana-cr");
    let cx = with_connections(&space, one("mesh", "prometheus.example"));
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await;
    let api = format!("{GROUP}/v1beta1");
    let metadata = json!({"name": "team", "namespace": space, "labels": {"dashboards": "team"}});
    let grafana = write(&cx, json!({"apiVersion": api, "kind": "Grafana", "metadata": metadata, "spec": {}})).await;
    let owner = json!({"apiVersion": api, "kind": "Grafana", "name": "team", "uid": grafana["metadata"]["uid"], "controller": true});
    let metadata = json!({"name": "team-service", "namespace": space, "ownerReferences": [owner]});
    let spec = json!({"selector": {"app": "team"}, "ports": [{"name": "grafana", "port": 3000}]});
    write(&cx, json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})).await;
    let service = json!({"namespace": space, "name": "team-service", "port": 3000});
    let params = json!({"name": "central", "kind": "grafana", "service": service, "check": false});
    run(connection::Apply, &cx, params).await.unwrap();

    let apply = async |dashboards: Value| -> (bool, DashboardReport) {
        let params = json!({"grafana": "central", "prometheus": "mesh", "dashboards": dashboards});
        run(Apply, &cx, params).await.unwrap()
    };
    let (changed, report) = apply(json!(["mesh", "service"])).await;
    assert!(changed && report.by == Some(By::Operator), "{report:?}");
    let mut kinds: Vec<&str> = report.objects.iter().map(|line| line.object.kind.as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["GrafanaDashboard", "GrafanaDashboard", "GrafanaDatasource", "GrafanaFolder"]);
    for line in &report.objects {
        let live = read(&cx, &object(&api, &line.object.kind, Some(&space), &line.object.name)).await.unwrap();
        assert_eq!(live["spec"]["instanceSelector"]["matchLabels"], json!({"dashboards": "team"}), "{live:#}");
        if line.object.kind == "GrafanaDashboard" {
            let folder = live["spec"]["folderRef"].as_str().unwrap();
            assert!(read(&cx, &object(&api, "GrafanaFolder", Some(&space), folder)).await.is_some(), "{live:#}");
        }
    }
    assert!(!apply(json!(["mesh", "service"])).await.0, "a second run writes nothing");
    let (changed, fewer) = apply(json!(["mesh"])).await;
    assert!(changed && fewer.objects.iter().any(|line| line.action == sailhand::cluster::Action::Pruned), "{fewer:?}");
    assert!(run(Remove, &cx, json!({"grafana": "central"})).await.unwrap().0);
    assert!(!run(Remove, &cx, json!({"grafana": "central"})).await.unwrap().0);
}
