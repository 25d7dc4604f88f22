//! Plans without a cluster: what is installed, in which order, with which values.

use serde_json::json;

use super::*;
use crate::mesh::owner::Owner;
use crate::mesh::{ControlPlane, Installed, Mode, Profile};

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

fn request(version: &str) -> Request {
    Request::of(version.parse().unwrap())
}

fn installed(component: Component, name: &str, version: &str, values: Value) -> Installed {
    let revision = if name == "default" || component != Component::Istiod { "" } else { name };
    Installed {
        installation: component.installation(name),
        origin: Provenance {
            component,
            name: name.to_owned(),
            revision: revision.to_owned(),
            release: String::new(),
            version: version.parse().unwrap(),
            digest: String::new(),
            namespace: "istio-system".to_owned(),
            values,
            request: None,
        },
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.installation.as_str()).collect()
}

fn refusals(plan: &Plan) -> Vec<&str> {
    let refusing = plan.findings.iter().filter(|it| it.severity >= Severity::Error);
    refusing.map(|it| it.check.as_str()).collect()
}

#[test]
fn each_profile_has_its_components_in_order() {
    let ingress = "istio-gateway-istio-system-istio-ingressgateway";
    let egress = "istio-gateway-istio-system-istio-egressgateway";
    let table = [
        (Profile::Default, vec!["istio-base", "istiod-default", ingress]),
        (Profile::Demo, vec!["istio-base", "istiod-default", ingress, egress]),
        (Profile::Minimal, vec!["istio-base", "istiod-default"]),
        (Profile::Empty, vec![]),
        (Profile::Ambient, vec!["istio-base", "istiod-default", "istio-cni", "istio-ztunnel"]),
        (Profile::Openshift, vec!["istio-base", "istiod-default", "istio-cni", ingress]),
        (Profile::OpenshiftAmbient, vec!["istio-base", "istiod-default", "istio-cni", "istio-ztunnel"]),
        (Profile::Remote, vec!["istio-base", "istiod-default"]),
        (Profile::Preview, vec!["istio-base", "istiod-default", ingress]),
        (Profile::Stable, vec!["istio-base", "istiod-default", ingress]),
    ];
    for (profile, wanted) in table {
        let plan = plan(&Request { profile, ..request("1.30.3") }, &facts());
        assert_eq!(names(&plan), wanted, "{profile:?}");
        assert!(refusals(&plan).is_empty(), "{profile:?}: {:?}", plan.findings);
    }
}

#[test]
fn components_and_gateways_are_chosen_by_name() {
    let mut request = request("1.30.3");
    request.profile = Profile::Empty;
    request.components.base = Some(true);
    request.components.cni = Some(true);
    let gateway = Gateway { name: "edge".into(), namespace: Some("edge".into()), values: Map::new() };
    request.gateways = Some(vec![gateway]);
    let plan = plan(&request, &facts());
    assert_eq!(names(&plan), ["istio-base", "istio-cni", "istio-gateway-edge-edge"]);
    let last = plan.steps.last().unwrap();
    assert_eq!((last.release.as_str(), last.namespace.as_str()), ("edge", "edge"));
}

#[test]
fn node_components_use_the_namespace_of_the_platform() {
    let mut ambient = request("1.30.3");
    ambient.mode = Some(Mode::Ambient);
    let on_gke = ObservedMesh { platform: Some("gke"), ..facts() };
    let plan = plan(&ambient, &on_gke);
    let place = |name: &str| plan.steps.iter().find(|it| it.installation == name).unwrap().namespace.clone();
    assert_eq!((place("istio-cni"), place("istio-ztunnel")), ("kube-system".into(), "kube-system".into()));
    let istiod = &plan.steps.iter().find(|it| it.component == Component::Istiod).unwrap().values;
    assert_eq!(istiod["trustedZtunnelNamespace"], "kube-system");
    assert_eq!((&istiod["profile"], &istiod["global"]["platform"]), (&json!("ambient"), &json!("gke")));
}

#[test]
fn a_new_revision_leaves_the_default_validator_to_the_old_one() {
    let there = vec![
        installed(Component::Base, "", "1.28.10", json!({"defaultRevision": "default"})),
        installed(Component::Istiod, "default", "1.28.10", json!({})),
    ];
    let canary = Request { revision: Some("canary".into()), ..request("1.30.3") };
    let beside = plan(&canary, &ObservedMesh { installed: there.clone(), ..facts() });
    assert_eq!(beside.steps[0].values["defaultRevision"], "default");
    assert_eq!(beside.steps[1].release, "istiod-canary");
    let alone = plan(&canary, &facts());
    assert_eq!(alone.steps[0].values["defaultRevision"], "canary");
    let tagged = Request { tags: vec!["default".into()], ..canary };
    let taking = plan(&tagged, &ObservedMesh { installed: there, ..facts() });
    assert_eq!(taking.steps[0].values["defaultRevision"], "canary");
    assert_eq!(taking.steps[2].keep, Keep::Tag("default".into()));
}

#[test]
fn older_revision_does_not_downgrade_the_crds() {
    let there = vec![
        installed(Component::Base, "", "1.30.3", json!({"defaultRevision": "default"})),
        installed(Component::Istiod, "default", "1.30.3", json!({})),
    ];
    let old = Request { revision: Some("old".into()), ..request("1.29.1") };
    let plan = plan(&old, &ObservedMesh { installed: there, ..facts() });
    assert!(!names(&plan).contains(&"istio-base"), "{:?}", names(&plan));
}

#[test]
fn removed_components_of_a_revision_are_pruned_unless_others_need_them() {
    let mut gateway = installed(Component::Gateway, "istio-system-old", "1.30.3", json!({}));
    gateway.installation = "istio-gateway-istio-system-old".to_owned();
    let cni = installed(Component::Cni, "", "1.30.3", json!({}));
    let istiod = installed(Component::Istiod, "default", "1.30.3", json!({}));
    let minimal = Request { profile: Profile::Minimal, ..request("1.30.3") };
    let alone = vec![gateway.clone(), cni.clone(), istiod.clone()];
    let plan_alone = plan(&minimal, &ObservedMesh { installed: alone, ..facts() });
    assert_eq!(plan_alone.removals, ["istio-gateway-istio-system-old", "istio-cni"]);
    let other = installed(Component::Istiod, "canary", "1.30.3", json!({}));
    let beside = plan(&minimal, &ObservedMesh { installed: vec![gateway, cni, istiod, other], ..facts() });
    assert_eq!(beside.removals, ["istio-gateway-istio-system-old"]);
}

#[test]
fn skipping_a_version_and_foreign_control_planes_are_refused() {
    let there = vec![installed(Component::Istiod, "default", "1.28.10", json!({}))];
    assert_eq!(refusals(&plan(&request("1.30.3"), &ObservedMesh { installed: there, ..facts() })), ["skew"]);
    let rival = ControlPlane {
        name: "istiod".into(),
        namespace: "istio-system".into(),
        revision: "default".into(),
        version: None,
        owner: Owner::Helm,
        ready: true,
    };
    let taken = ObservedMesh { control_planes: vec![rival], ..facts() };
    assert_eq!(refusals(&plan(&request("1.30.3"), &taken)), ["owner"]);
    let beside = Request { revision: Some("canary".into()), ..request("1.30.3") };
    assert!(refusals(&plan(&beside, &taken)).is_empty());
}
