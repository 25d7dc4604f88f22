//! The suite of the Service Mesh Interface v0.6.0. The 24 ids of Meshery's suite keep their numbers; ids with `x` are
//! cases that suite lacks.

mod access;
mod app;
mod routes;
mod split;

use serde_json::{Value, json};

pub(super) use app::deployment;

use super::super::model::{CaseKind, Level};
use super::{Case, Change, Check, NAMESPACE, Phase, Spec, Suite, SuiteKind, control, get, ok, phase};

/// Key of Traffic Access Control.
pub const ACCESS: &str = "traffic_access_control";
/// Key of Traffic Specs.
pub const SPECS: &str = "traffic_specs";
/// Key of Traffic Split.
pub const SPLIT: &str = "traffic_split";
/// Key of Traffic Metrics.
pub const METRICS: &str = "traffic_metrics";

/// Port of the workloads.
const PORT: u16 = 9091;
/// A second port of app-b.
const SECOND_PORT: u16 = 9092;

/// The suite.
#[must_use]
pub fn suite() -> Suite {
    let mut cases = access::cases();
    cases.extend(routes::cases());
    cases.extend(split::cases());
    cases.push(Case {
        untestable: Some(
            "Traffic Metrics is optional in SMI; sailhand neither serves nor reads metrics.smi-spec.io, so its capability is none",
        ),
        level: Level::Extended,
        ..case("TM-x.1", METRICS, "metrics", "split", "TrafficMetrics count the requests of a workload", vec![])
    });
    Suite {
        kind: SuiteKind::Smi,
        version: "v0.6.0",
        prefix: "smi-conf",
        specs: vec![
            spec(
                ACCESS,
                "Traffic Access Control",
                "access.smi-spec.io/v1alpha3",
                Some(("traffic-access", "v0.6.0/v1alpha3")),
            ),
            spec(SPECS, "Traffic Specs", "specs.smi-spec.io/v1alpha4", Some(("traffic-spec", "v0.6.0/v1alpha4"))),
            spec(SPLIT, "Traffic Split", "split.smi-spec.io/v1alpha4", Some(("traffic-split", "v0.6.0/v1alpha4"))),
            spec(METRICS, "Traffic Metrics", "metrics.smi-spec.io/v1alpha1", None),
        ],
        groups: app::groups(),
        cases,
        crds: vec![
            ("traffictargets.access.smi-spec.io", "v1alpha3"),
            ("httproutegroups.specs.smi-spec.io", "v1alpha4"),
            ("tcproutes.specs.smi-spec.io", "v1alpha4"),
            ("udproutes.specs.smi-spec.io", "v1alpha4"),
            ("trafficsplits.split.smi-spec.io", "v1alpha4"),
        ],
    }
}

const fn spec(
    key: &'static str,
    title: &'static str,
    version: &'static str,
    legacy: Option<(&'static str, &'static str)>,
) -> Spec {
    Spec { key, title, version, legacy }
}

fn case(
    id: &'static str,
    spec: &'static str,
    feature: &'static str,
    group: &'static str,
    title: &'static str,
    phases: Vec<Phase>,
) -> Case {
    Case {
        id,
        title,
        spec,
        kind: CaseKind::Capability,
        feature,
        level: Level::Core,
        group,
        canonical: !id.contains('x'),
        may_be_refused: false,
        untestable: None,
        phases,
    }
}

/// A case without traffic.
fn presence(
    id: &'static str,
    spec: &'static str,
    group: &'static str,
    title: &'static str,
    phases: Vec<Phase>,
) -> Case {
    Case { kind: CaseKind::Presence, ..case(id, spec, "presence", group, title, phases) }
}

/// A case that passes if the API server serves these CRDs.
fn served(id: &'static str, spec: &'static str, group: &'static str, crds: &[(&'static str, &'static str)]) -> Case {
    let checks = crds.iter().map(|(name, version)| Check::Served(name, version)).collect();
    presence(
        id,
        spec,
        group,
        "The CRDs of the specification are established and serve its version",
        vec![phase("CRDs are served", vec![], checks)],
    )
}

/// The workloads run and reach each other.
fn deployed(id: &'static str, spec: &'static str, group: &'static str, host: &str) -> Case {
    presence(
        id,
        spec,
        group,
        "The workloads are ready, in the mesh, and reach each other without policies",
        vec![control(
            "requests succeed without policies",
            vec![],
            vec![Check::InMesh, ok(&get("app-a", host, PORT, "/echo"))],
        )],
    )
}

/// Objects are stored as they were applied.
fn stored(id: &'static str, spec: &'static str, group: &'static str, title: &'static str, objects: Vec<Value>) -> Case {
    let checks = objects.iter().cloned().map(Check::Stored).collect();
    let changes = objects.into_iter().map(Change::Apply).collect();
    presence(id, spec, group, title, vec![phase("objects are stored as applied", changes, checks)])
}

/// An object of the group's namespace.
fn object(api_version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    })
}

fn route_group(name: &str, matches: &Value) -> Value {
    object("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", name, &json!({"matches": matches}))
}

fn tcp_route(ports: &[u16]) -> Value {
    object("specs.smi-spec.io/v1alpha4", "TCPRoute", "tcp", &json!({"matches": {"ports": ports}}))
}

/// Allows `sources`, as (service account, namespace), to call app-b by `rules`.
fn target(name: &str, sources: &[(&str, &str)], rules: &Value) -> Value {
    let account = |name: &str, namespace: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
    let sources: Vec<_> = sources.iter().map(|(name, namespace)| account(name, namespace)).collect();
    object(
        "access.smi-spec.io/v1alpha3",
        "TrafficTarget",
        name,
        &json!({
            "destination": account("service-b", NAMESPACE), "sources": sources, "rules": rules,
        }),
    )
}

fn split(backends: &[(&str, u32)]) -> Value {
    let backends: Vec<_> =
        backends.iter().map(|(service, weight)| json!({"service": service, "weight": weight})).collect();
    object("split.smi-spec.io/v1alpha4", "TrafficSplit", "split", &json!({"service": "app-svc", "backends": backends}))
}
