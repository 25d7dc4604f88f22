//! Chooses how dashboards are delivered to a Grafana: by `ConfigMaps` that its sidecar reads, by custom resources of the
//! Grafana Operator, or by its HTTP API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ApplyParams;
use super::plan::Set;
use crate::cluster::{ApiError, Cluster, Error as ClusterError, ObjectRef};
use crate::observe::discovery::is_addon;
use crate::observe::image;
use crate::observe::instance::ServiceAddress;
use crate::task::Error;
use crate::task::connection::ConnectionError;
use crate::task::connection::store::Store;
use crate::task::pods;

/// API version of the Grafana Operator.
pub const OPERATOR: &str = "grafana.integreatly.org/v1beta1";

/// The way of delivery that a command requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The first that fits: nothing for the Grafana of `addon.apply`, `sidecar`, `operator`, `api`.
    #[default]
    Auto,
    /// `ConfigMaps` with the label that the Grafana's k8s-sidecar container reads. Needs no credential.
    Sidecar,
    /// Custom resources of the Grafana Operator. Needs no credential.
    Operator,
    /// Grafana's HTTP API.
    Api,
}

/// The way that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// `addon.apply` has provisioned the Grafana; nothing is written.
    Addon,
    /// `ConfigMaps` for the Grafana's sidecar.
    Sidecar,
    /// Custom resources of the Grafana Operator.
    Operator,
    /// Grafana's HTTP API.
    Api,
}

/// The chosen way with what it needs.
pub enum Delivery {
    Addon,
    Sidecar(Sidecar),
    Operator(Operator),
    Api,
}

impl Delivery {
    pub const fn by(&self) -> By {
        match self {
            Self::Addon => By::Addon,
            Self::Sidecar(_) => By::Sidecar,
            Self::Operator(_) => By::Operator,
            Self::Api => By::Api,
        }
    }
}

/// Containers `kiwigrid/k8s-sidecar` of a Grafana's pod. Source: its README, "Configuration Environment Variables".
pub struct Sidecar {
    /// Namespace of the Grafana.
    pub namespace: String,
    pub dashboards: Reader,
    /// None where no container reads data sources.
    pub data_sources: Option<Reader>,
}

/// One container that reads labeled `ConfigMaps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    pub label: String,
    /// Value of the label.
    pub value: String,
    /// Annotation that names the folder.
    pub folder_annotation: Option<String>,
    /// Namespaces that it reads; all when none.
    namespaces: Option<Vec<String>>,
}

/// A `Grafana` object.
pub struct Operator {
    pub namespace: String,
    /// Labels that `instanceSelector` names.
    pub labels: Value,
}

/// Chooses.
///
/// # Errors
/// The requested way does not work, or a request to the cluster failed.
pub async fn choose(cluster: &Cluster, grafana: &Store, params: &ApplyParams) -> Result<Delivery, Error> {
    let no_way = |reason: String| ConnectionError::NoWay { address: grafana.address.clone(), reason };
    let service = match grafana.service() {
        Some(address) => read_service(cluster, address).await?,
        None => None,
    };
    if params.by == Way::Auto && service.as_ref().is_some_and(|service| is_addon(service, "grafana")) {
        return Ok(Delivery::Addon);
    }
    if matches!(params.by, Way::Auto | Way::Sidecar)
        && let Some(sidecar) = sidecar(cluster, service.as_ref()).await?
    {
        let namespace = params.namespace.as_ref().map_or(sidecar.namespace.as_str(), |one| one.as_str());
        if sidecar.dashboards.reads(namespace) {
            return Ok(Delivery::Sidecar(sidecar));
        }
        if params.by == Way::Sidecar {
            return Err(no_way(format!("its sidecar does not read ConfigMaps of namespace {namespace}")).into());
        }
    }
    if matches!(params.by, Way::Auto | Way::Operator)
        && let Some(operator) = operator(cluster, service.as_ref(), &grafana.url()).await?
    {
        return Ok(Delivery::Operator(operator));
    }
    match params.by {
        Way::Auto | Way::Api => Ok(Delivery::Api),
        Way::Sidecar => Err(no_way("its pods have no k8s-sidecar container that reads dashboards".to_owned()).into()),
        Way::Operator => {
            Err(no_way("no labeled Grafana object of the Grafana Operator stands for it".to_owned()).into())
        }
    }
}

async fn read_service(cluster: &Cluster, address: &ServiceAddress) -> Result<Option<Value>, Error> {
    Ok(cluster.get(&ObjectRef::new("v1", "Service", Some(&address.namespace), &address.name)).await?)
}

async fn sidecar(cluster: &Cluster, service: Option<&Value>) -> Result<Option<Sidecar>, Error> {
    let Some(service) = service else { return Ok(None) };
    let namespace = service["metadata"]["namespace"].as_str().unwrap_or_default();
    let selector = service["spec"]["selector"].as_object().into_iter().flatten();
    let selector: Vec<_> = selector.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect();
    let Some(kind) = cluster.kind("v1", "Pod").await? else { return Ok(None) };
    if selector.is_empty() {
        return Ok(None);
    }
    let mut found = None;
    let listed = cluster.list(&kind, Some(namespace), None, |pod| {
        if pods::has_labels(&pod, selector.iter().copied()) {
            found = found.take().or_else(|| of_pod(&pod, namespace));
        }
    });
    match listed.await {
        // Without the right to list pods the other ways remain.
        Ok(()) | Err(ClusterError::Request { fault: ApiError::Forbidden(_), .. }) => Ok(found),
        Err(error) => Err(error.into()),
    }
}

fn of_pod(pod: &Value, namespace: &str) -> Option<Sidecar> {
    let lists = ["containers", "initContainers"];
    let containers = lists.iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
    let (mut dashboards, mut data_sources) = (None, None);
    for container in containers.filter(|one| image::name(one["image"].as_str().unwrap_or_default()) == "k8s-sidecar") {
        let Some((reader, folder)) = reader(container, namespace) else { continue };
        let into = if folder.contains("datasource") || reader.label.contains("datasource") {
            &mut data_sources
        } else if folder.contains("dashboard") || reader.label.contains("dashboard") {
            &mut dashboards
        } else {
            continue;
        };
        into.get_or_insert(reader);
    }
    Some(Sidecar { namespace: namespace.to_owned(), dashboards: dashboards?, data_sources })
}

/// Labels that a sidecar reads, and the folder of its volume that it writes to.
fn reader(container: &Value, own: &str) -> Option<(Reader, String)> {
    let env = container["env"].as_array()?;
    let value = |name: &str| {
        let found = env.iter().find(|one| one["name"] == name)?;
        found["value"].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    };
    if value("RESOURCE").is_some_and(|kind| kind == "secret") {
        return None;
    }
    let namespaces = match value("NAMESPACE") {
        Some(all) if all.eq_ignore_ascii_case("all") => None,
        Some(list) => Some(list.split(',').map(|one| one.trim().to_owned()).collect()),
        None => Some(vec![own.to_owned()]),
    };
    let reader = Reader {
        label: value("LABEL")?,
        value: value("LABEL_VALUE").unwrap_or_else(|| "1".to_owned()),
        folder_annotation: value("FOLDER_ANNOTATION"),
        namespaces,
    };
    Some((reader, value("FOLDER").unwrap_or_default()))
}

impl Reader {
    fn reads(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|all| all.iter().any(|one| one == namespace))
    }
}

impl Sidecar {
    /// Reasons why the sidecars cannot deliver the dashboards.
    pub fn warnings(&self, set: &Set) -> Vec<String> {
        let mut warnings = Vec::new();
        if set.data_source.is_some() && self.data_sources.is_none() {
            warnings.push(
                "no sidecar of the Grafana reads data sources, so none is made: choose one in the dashboards' variable, or \
                 name it with data_source_uid"
                    .to_owned(),
            );
        }
        if self.dashboards.folder_annotation.is_none() {
            warnings.push("the Grafana's sidecar has no FOLDER_ANNOTATION, so `folder` has no effect".to_owned());
        }
        warnings
    }
}

/// The `Grafana` object of a Service, which owns it, or of an outside URL.
async fn operator(cluster: &Cluster, service: Option<&Value>, url: &str) -> Result<Option<Operator>, Error> {
    let Some(kind) = cluster.kind(OPERATOR, "Grafana").await? else { return Ok(None) };
    let mut found = None;
    let listed = cluster.list(&kind, None, None, |grafana| {
        let owns = service.is_some_and(|service| is_owned(service, &grafana));
        let outside = grafana["spec"]["external"]["url"].as_str().map(|url| url.trim_end_matches('/'));
        let labels = &grafana["metadata"]["labels"];
        if (owns || outside == Some(url)) && labels.as_object().is_some_and(|labels| !labels.is_empty()) {
            let namespace = grafana["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
            found = Some(Operator { namespace, labels: labels.clone() });
        }
    });
    match listed.await {
        Ok(()) | Err(ClusterError::Request { fault: ApiError::Forbidden(_), .. }) => Ok(found),
        Err(error) => Err(error.into()),
    }
}

fn is_owned(service: &Value, grafana: &Value) -> bool {
    let owners = service["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let same_space = service["metadata"]["namespace"] == grafana["metadata"]["namespace"];
    same_space
        && owners.into_iter().any(|owner| owner["kind"] == "Grafana" && owner["name"] == grafana["metadata"]["name"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(image: &str, env: &[(&str, &str)]) -> Value {
        let env: Vec<Value> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        json!({"image": image, "env": env})
    }

    #[test]
    fn sidecars_of_dashboards_and_data_sources_are_distinguished() {
        let pod = json!({"spec": {"containers": [
            container("grafana/grafana:12.0.1", &[]),
            container("quay.io/kiwigrid/k8s-sidecar:1.30.0", &[("LABEL", "grafana_datasource"), ("LABEL_VALUE", "1"),
                ("FOLDER", "/etc/grafana/provisioning/datasources"), ("RESOURCE", "both")]),
            container("quay.io/kiwigrid/k8s-sidecar:1.30.0", &[("LABEL", "grafana_dashboard"), ("LABEL_VALUE", "yes"),
                ("FOLDER", "/tmp/dashboards"), ("NAMESPACE", "ALL"), ("FOLDER_ANNOTATION", "grafana_folder")]),
        ]}});
        let sidecar = of_pod(&pod, "monitoring").unwrap();
        let dashboards = &sidecar.dashboards;
        assert_eq!((dashboards.label.as_str(), dashboards.value.as_str()), ("grafana_dashboard", "yes"));
        assert!(dashboards.reads("anywhere") && dashboards.folder_annotation.is_some());
        let sources = sidecar.data_sources.unwrap();
        assert!(sources.reads("monitoring") && !sources.reads("anywhere"), "without NAMESPACE its own is read");
    }

    #[test]
    fn pod_without_a_dashboard_sidecar_is_recognized() {
        for env in [
            &[("LABEL", "rules")][..],
            &[("FOLDER", "/tmp/dashboards")],
            &[("LABEL", "grafana_dashboard"), ("RESOURCE", "secret")],
        ] {
            let pod = json!({"spec": {"containers": [container("kiwigrid/k8s-sidecar", env)]}});
            assert!(of_pod(&pod, "m").is_none(), "{env:?}");
        }
    }
}
