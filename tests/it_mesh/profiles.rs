//! What our plans put into a cluster, beside what `helm template` and `istioctl manifest generate` do: every difference is
//! listed and explained in `mesh_profiles/differences.json`. Without a cluster. Needs Istio's charts (see
//! `support/charts.rs`), helm and istioctl.

use crate::mesh_settings;
use crate::support;

use std::collections::BTreeSet;
use std::process::Command;

use mesh_settings::settings;
use sailhand::chart::{Charts, Release};
use sailhand::cluster::manifest;
use sailhand::config;
use sailhand::mesh::{self, Component, ObservedMesh, PlannedChart, Request, support as versions};
use serde_json::{Map, Value, json};
use support::{charts as folder, tools};

const PROFILES: [&str; 10] =
    ["default", "demo", "minimal", "empty", "ambient", "openshift", "openshift-ambient", "preview", "remote", "stable"];

fn facts() -> ObservedMesh {
    ObservedMesh {
        kubernetes: "v1.34.4".parse().unwrap(),
        installed: Vec::new(),
        control_planes: Vec::new(),
        webhooks: Vec::new(),
        gateway_api: None,
        platform: None,
    }
}

fn request(version: &str, profile: &str) -> Request {
    let mut request = Request::of(version.parse().unwrap());
    request.profile = serde_json::from_value(profile.into()).unwrap();
    request
}

fn charts() -> Charts {
    Charts::new(&config::Charts { source: folder::folder().to_string_lossy().into_owned(), ..settings() })
}

async fn render(charts: &Charts, step: &PlannedChart) -> Vec<String> {
    let chart = charts.fetch(step.component.chart().unwrap(), &step.version.to_string()).await.unwrap();
    let release = Release {
        name: step.release.clone(),
        namespace: step.namespace.clone(),
        values: step.values.clone(),
        kubernetes: facts().kubernetes.text,
        skip_schema: versions::has_wrong_schema(&step.version),
    };
    objects(&charts.render(&chart, &release).await.unwrap())
}

/// Kind, namespace and name of each object.
fn objects(text: &str) -> Vec<String> {
    let name = |object: kube::core::DynamicObject| {
        let namespace = object.metadata.namespace.unwrap_or_default();
        format!("{}/{namespace}/{}", object.types.unwrap().kind, object.metadata.name.unwrap())
    };
    manifest::read(text).unwrap().into_iter().map(name).collect()
}

fn run(program: &str, from: &str, arguments: &[String]) -> String {
    let output = Command::new(tools::program(program, from)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn every_profile_of_every_version_renders() {
    if support::charts::are_missing() {
        return;
    }
    let charts = charts();
    for version in ["1.24.6", "1.28.10", "1.30.3"] {
        for profile in PROFILES {
            let plan = mesh::plan(&request(version, profile), &facts());
            for step in &plan.steps {
                let on_nodes = matches!(step.component, Component::Cni | Component::Ztunnel);
                if on_nodes && version != "1.30.3" {
                    continue; // the tests' folder has these charts for 1.30.3 only
                }
                let found = render(&charts, step).await;
                assert!(!found.is_empty(), "{version} {profile} {}", step.installation);
                // With the charts' own values, or the profile's for the parts of nodes.
                let wanted = match (step.component, version, profile) {
                    (Component::Base, "1.30.3", "default") | (Component::Istiod, _, "default") => Some(17),
                    (Component::Base, _, "default") => Some(16),
                    (Component::Gateway, _, "default") => Some(6),
                    (Component::Cni, _, "ambient") => Some(9),
                    (Component::Ztunnel, _, "ambient") => Some(2),
                    _ => None,
                };
                assert!(
                    wanted.is_none_or(|count| count == found.len()),
                    "{version} {profile} {}: {found:#?}",
                    step.installation
                );
            }
        }
    }
}

/// Values as Istio's installation guides and issues have them.
#[tokio::test]
async fn common_chart_values_are_known_and_misspelled_ones_are_reported() {
    if support::charts::are_missing() {
        return;
    }
    let charts = charts();
    for version in ["1.24.6", "1.28.10", "1.30.3"] {
        let mut request = request(version, "default");
        let mut known = Vec::new();
        for component in [Component::Base, Component::Istiod, Component::Cni, Component::Ztunnel] {
            // The tests' folder has the other two for 1.30.3 only.
            if version == "1.30.3" || component <= Component::Istiod {
                let chart = charts.fetch(component.chart().unwrap(), version).await.unwrap();
                known.push((component, chart.keys()));
            }
        }
        request.values = object(&json!({
            "profile": "default", "compatibilityVersion": "", "revision": "a", "revisionTags": [], "defaultRevision": "a",
            "global": {
                "caAddress": "", "certSigners": [], "configCluster": true, "configValidation": true,
                "defaultPodDisruptionBudget": {}, "defaultResources": {}, "externalIstiod": true, "hub": "",
                "imagePullPolicy": "", "imagePullSecrets": [], "istioNamespace": "", "istiod": {"enableAnalysis": true},
                "logAsJson": true, "logging": {"level": "all:info"}, "meshID": "a", "mountMtlsCerts": false,
                "multiCluster": {"clusterName": "a"}, "network": "a", "omitSidecarInjectorConfigMap": true,
                "operatorManageWebhooks": false, "pilotCertProvider": "istiod", "platform": "gke",
                "priorityClassName": "", "proxy": {"logLevel": "debug"}, "proxy_init": {"image": "a"},
                "remotePilotAddress": "", "sds": {"token": {}}, "sts": {"servicePort": 0}, "tag": "", "variant": "",
                "waypoint": {"resources": {}},
            },
            "meshConfig": {"accessLogFile": "/dev/stdout"},
            "pilot": {"autoscaleMin": 2, "env": {"A": "b"}, "cni": {"enabled": true}}, "autoscaleMin": 2, "env": {},
            "resources": {}, "nodeSelector": {}, "tolerations": [], "affinity": {}, "podAnnotations": {},
            "sidecarInjectorWebhook": {"rewriteAppHTTPProbe": true}, "telemetry": {"v2": {}}, "ownerName": "a",
            "base": {"validationURL": ""}, "istiodRemote": {"injectionURL": ""},
            "experimental": {"stableValidationPolicy": true}, "traceSampling": 1.0, "jwksResolverExtraRootCA": "",
        }));
        if version == "1.30.3" {
            request.component_values.cni = object(&json!({
                "cniBinDir": "", "cniConfDir": "", "cniConfFileName": "", "chained": true, "provider": "multus",
                "excludeNamespaces": [], "ambient": {"enabled": true}, "repair": {}, "logging": {},
                "cni": {"ambient": {}}, "global": {"platform": "k3s", "cniBinDir": "/opt"},
            }));
            request.component_values.ztunnel = object(&json!({
                "resourceName": "a", "labels": {}, "logLevel": "info", "terminationGracePeriodSeconds": 30,
                "multiCluster": {}, "network": "a", "hub": "", "env": {}, "meshConfig": {},
            }));
        }
        assert_eq!(mesh::unused_values(&request, &known, true), [], "{version}");
        request.values = object(&json!({"global": {"proxi": {}}, "pilots": {}}));
        let told: Vec<_> = mesh::unused_values(&request, &known, true).into_iter().map(|it| it.message).collect();
        assert!(told.len() == 2 && told[0].ends_with("did you mean pilot?"), "{version}: {told:#?}");
        assert!(told[1].ends_with("did you mean global.proxy?"), "{version}: {told:#?}");
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[tokio::test]
async fn a_chart_is_rendered_as_helm_itself_does() {
    if support::charts::are_missing() {
        return;
    }
    let charts = charts();
    for step in mesh::plan(&request("1.30.3", "demo"), &facts()).steps {
        let values = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(values.path(), step.values.to_string()).unwrap();
        let place = folder::folder().join("istio-1.30.3").join(step.component.chart().unwrap());
        let arguments =
            ["template", &step.release, place.to_str().unwrap(), "--namespace", &step.namespace, "--values"];
        let mut arguments: Vec<_> = arguments.iter().map(|it| (*it).to_owned()).collect();
        arguments.push(values.path().to_str().unwrap().to_owned());
        arguments.extend(["--kube-version", "v1.34.4", "--include-crds"].map(str::to_owned));
        let theirs = objects(&run("helm", "HELM_BIN", &arguments));
        assert_eq!(render(&charts, &step).await, theirs, "{}", step.installation);
    }
}

#[tokio::test]
async fn profile_equals_istioctl_except_for_explained_differences() {
    if support::charts::are_missing() {
        return;
    }
    let explained: Value = serde_json::from_str(include_str!("../mesh_profiles/differences.json")).unwrap();
    let reasons = |side: &str| explained[side].as_object().unwrap().clone();
    let charts = charts();
    let mut used = BTreeSet::new();
    for profile in PROFILES {
        let mut ours = BTreeSet::new();
        for step in mesh::plan(&request("1.30.3", profile), &facts()).steps {
            ours.extend(render(&charts, &step).await);
        }
        let arguments = ["manifest", "generate", "--set"].map(str::to_owned).into_iter();
        let arguments: Vec<_> = arguments.chain([format!("profile={profile}")]).collect();
        let theirs: BTreeSet<_> = objects(&run("istioctl", "ISTIOCTL_BIN", &arguments)).into_iter().collect();
        for (side, extra) in [("only here", ours.difference(&theirs)), ("only istioctl", theirs.difference(&ours))] {
            for object in extra {
                assert!(reasons(side).contains_key(object), "profile {profile}, {side}, not explained: {object}");
                used.insert(format!("{side} {object}"));
            }
        }
    }
    for side in ["only here", "only istioctl"] {
        for object in reasons(side).keys() {
            assert!(used.contains(&format!("{side} {object}")), "explained, and no difference: {side} {object}");
        }
    }
}
