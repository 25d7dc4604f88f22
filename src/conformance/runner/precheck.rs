//! Checks the target before the run writes: a control plane, and CRDs in the version of the suite.

use serde_json::Value;

use super::super::Error;
use super::super::model::{AdapterInfo, ClusterInfo, MeshInfo, RunInfo};
use super::super::suite::SuiteKind;
use super::super::verdict::Profile;
use super::{Context, DataPlane, Options, suite_info};
use crate::analysis::istio::component::ISTIOD_SELECTOR;
use crate::analysis::istio::membership::{AMBIENT, DATAPLANE, INJECTION, REVISION, control_plane_revision};
use crate::cluster::ObjectRef;

/// Label of the SMI adapter's Deployment.
const ADAPTER: &str = "app.kubernetes.io/name=sailhand-smi-controller";

/// The run's description, and what the implementation declares.
pub(super) async fn check(cx: &Context<'_>, options: &Options) -> Result<(RunInfo, Profile), Error> {
    cx.guard.check()?;
    let mesh = mesh(cx, options).await?;
    crds(cx, options).await?;
    let (adapter, profile) = match options.suite.kind {
        SuiteKind::Smi => adapter(cx, options.data_plane).await?,
        SuiteKind::GatewayApiMesh => (none(), Profile::default()),
    };
    let info = RunInfo {
        run_id: options.run_id.clone(),
        suite: suite_info(&options.suite),
        attempt: options.attempt,
        cluster: ClusterInfo { id: options.target.clone(), kubernetes_version: cx.environment.version().await? },
        mesh,
        adapter,
        driver: cx.driver.name().to_owned(),
        started_at: cx.now(),
        finished_at: None,
    };
    Ok((info, profile))
}

async fn mesh(cx: &Context<'_>, options: &Options) -> Result<MeshInfo, Error> {
    let planes = cx.environment.list("apps/v1", "Deployment", None, Some(ISTIOD_SELECTOR)).await?;
    let revision = |plane: &Value| control_plane_revision(plane["metadata"]["labels"][REVISION].as_str()).to_owned();
    let wanted = if options.revision.is_empty() { "default" } else { &options.revision };
    let plane = planes.iter().find(|plane| revision(plane) == wanted);
    let plane = plane.or(if options.revision.is_empty() { planes.first() } else { None });
    let Some(plane) = plane else {
        let (target, revisions) = (options.target.clone(), planes.iter().map(revision).collect::<Vec<_>>());
        return Err(if revisions.is_empty() {
            Error::NoMesh { target }
        } else {
            Error::NoRevision { target, revision: options.revision.clone(), revisions }
        });
    };
    let revision = revision(plane);
    let label = match (options.data_plane, revision.as_str()) {
        (DataPlane::Ambient, _) => (DATAPLANE, AMBIENT),
        (DataPlane::Sidecar, "default") => (INJECTION, "enabled"),
        (DataPlane::Sidecar, revision) => (REVISION, revision),
    };
    Ok(MeshInfo {
        name: if cx.driver.name() == "simulated" { "simulated" } else { "istio" }.to_owned(),
        version: tag(&image(plane)).to_owned(),
        data_plane: options.data_plane.name().to_owned(),
        labels: [(label.0.to_owned(), label.1.to_owned())].into(),
        revision,
    })
}

async fn crds(cx: &Context<'_>, options: &Options) -> Result<(), Error> {
    let (mut missing, mut other) = (Vec::new(), Vec::new());
    let of_waypoints = options.needs_waypoints().then_some(("gateways.gateway.networking.k8s.io", "v1"));
    for (name, version) in options.suite.crds.iter().chain(&of_waypoints) {
        match served(cx, name).await? {
            None => missing.push((*name).to_owned()),
            Some(served) if served.iter().any(|one| one == version) => {}
            Some(served) => other.push(format!("{name}: want {version}, served {}", served.join(", "))),
        }
    }
    if !missing.is_empty() {
        return Err(Error::CrdsMissing { names: missing });
    }
    if other.is_empty() { Ok(()) } else { Err(Error::CrdVersion { found: other }) }
}

/// Served versions of an established CRD; none when it does not exist or is not established.
pub(super) async fn served(cx: &Context<'_>, name: &str) -> Result<Option<Vec<String>>, Error> {
    let crd = ObjectRef::new("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, name);
    let Some(crd) = cx.environment.get(&crd).await? else { return Ok(None) };
    let established = items(&crd["status"]["conditions"])
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
    let versions = items(&crd["spec"]["versions"]).filter(|version| version["served"] == true);
    let names = versions.filter_map(|version| version["name"].as_str().map(str::to_owned)).collect();
    Ok(established.then_some(names))
}

async fn adapter(cx: &Context<'_>, data_plane: DataPlane) -> Result<(AdapterInfo, Profile), Error> {
    let found = cx.environment.list("apps/v1", "Deployment", None, Some(ADAPTER)).await?;
    let Some(adapter) = found.first() else { return Ok((none(), Profile::default())) };
    let image = image(adapter);
    let info = AdapterInfo {
        name: adapter["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        version: tag(&image).to_owned(),
        image,
        mode: "builtin".to_owned(),
    };
    Ok((info, Profile::of_smi_controller(data_plane.name())))
}

fn none() -> AdapterInfo {
    AdapterInfo { mode: "none".to_owned(), ..AdapterInfo::default() }
}

fn image(deployment: &Value) -> String {
    let containers = &deployment["spec"]["template"]["spec"]["containers"];
    containers[0]["image"].as_str().unwrap_or_default().to_owned()
}

/// The tag of an image; empty without one.
fn tag(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    name.rsplit('/').next().and_then(|last| last.split_once(':')).map_or("", |(_, tag)| tag)
}

/// Items of a list; none when it is absent.
pub(super) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
