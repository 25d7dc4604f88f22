//! Reads the live state of a service: the pods of its subsets, our objects, and objects of others for the same host. Does not
//! write.

use serde_json::Value;

use super::object_name;
use super::params::{Labels, SubsetReport};
use super::reach;
use super::spec::Spec;
use crate::cluster::{self, ApiError, Cluster, ObjectRef};
use crate::task::istio_api::is_host_of;
use crate::task::pods;

/// The live state of a service.
#[derive(Default)]
pub struct Found {
    /// Services that rules send requests to and that do not exist.
    pub missing: Vec<String>,
    /// The subsets with their pods.
    pub subsets: Vec<SubsetReport>,
    /// Objects of others that decide about the same host for every client.
    pub conflicts: Vec<String>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// `spec` of our `DestinationRule`.
    pub rule: Option<Value>,
    /// Our `VirtualService`.
    pub routes: Option<Value>,
}

/// Where to look, and for what.
pub struct Look<'a> {
    pub cluster: &'a Cluster,
    /// Group and version of the objects.
    pub version: &'a str,
    pub namespace: &'a str,
    pub spec: &'a Spec,
    pub installation: &'a str,
}

impl Look<'_> {
    /// Looks.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn look(&self) -> Result<Found, cluster::Error> {
        let mut found = Found::default();
        for name in std::iter::once(&self.spec.service).chain(self.others()) {
            let service = self.cluster.get(&self.object("v1", "Service", name)).await?;
            match &service {
                None => found.missing.push(name.clone()),
                Some(service) if *name == self.spec.service => self.pods(service, &mut found).await?,
                Some(_) => {}
            }
        }
        self.own(&mut found).await?;
        self.conflicts(&mut found).await?;
        Ok(found)
    }

    /// Other services that rules name.
    fn others(&self) -> impl Iterator<Item = &String> {
        self.spec.rules.iter().flat_map(|rule| {
            let destinations = rule.destinations.iter().filter_map(|one| one.service.as_ref());
            destinations.chain(rule.mirror.iter().filter_map(|mirror| mirror.service.as_ref()))
        })
    }

    fn object(&self, api_version: &str, kind: &str, name: &str) -> ObjectRef {
        ObjectRef::new(api_version, kind, Some(self.namespace), name)
    }

    async fn pods(&self, service: &Value, found: &mut Found) -> Result<(), cluster::Error> {
        let Some(kind) = self.cluster.kind("v1", "Pod").await? else { return Ok(()) };
        let selector = texts(&service["spec"]["selector"]);
        let mut subsets: Vec<_> = self
            .spec
            .subsets
            .iter()
            .map(|(name, labels)| SubsetReport {
                name: name.clone(),
                labels: Labels(labels.clone()),
                ready_pods: (!selector.is_empty()).then_some(0),
            })
            .collect();
        let mut proxies = false;
        self.cluster
            .list(&kind, Some(self.namespace), None, |pod| {
                proxies |= pods::has_proxy(&pod);
                if !pods::is_ready(&pod) || !pods::has_labels(&pod, selector.iter().copied()) {
                    return;
                }
                for subset in &mut subsets {
                    let labels = subset.labels.0.iter().map(|(key, value)| (key.as_str(), value.as_str()));
                    if pods::has_labels(&pod, labels) {
                        subset.ready_pods = subset.ready_pods.map(|pods| pods + 1);
                    }
                }
            })
            .await?;
        found.subsets = subsets;
        let space = ObjectRef::new("v1", "Namespace", None, self.namespace);
        let bare = serde_json::json!({"metadata": {"name": self.namespace}});
        let space = match self.cluster.get(&space).await {
            // Without the right to read it, it is taken for one in sidecar mode.
            Err(cluster::Error::Request { fault: ApiError::Forbidden(_), .. }) => bare,
            space => space?.unwrap_or(bare),
        };
        found.warnings.extend(reach::warnings(self.spec, service, &space, proxies));
        Ok(())
    }

    async fn own(&self, found: &mut Found) -> Result<(), cluster::Error> {
        let ours = async |kind| {
            let live = self.cluster.get(&self.object(self.version, kind, &object_name(&self.spec.service))).await?;
            Ok::<_, cluster::Error>(live.filter(|live| self.cluster.is_member(live, self.installation)))
        };
        found.rule = ours("DestinationRule").await?.map(|live| live["spec"].clone());
        found.routes = ours("VirtualService").await?;
        Ok(())
    }

    async fn conflicts(&self, found: &mut Found) -> Result<(), cluster::Error> {
        for (version, name) in [
            (self.version, "VirtualService"),
            (self.version, "DestinationRule"),
            ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ] {
            let Some(kind) = self.cluster.kind(version, name).await? else { continue };
            self.cluster.list(&kind, None, None, |live| self.judge(name, &live, found)).await?;
        }
        Ok(())
    }

    fn judge(&self, kind: &str, live: &Value, found: &mut Found) {
        let text = |key: &str| live["metadata"][key].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        if self.cluster.is_member(live, self.installation) {
            return;
        }
        let object = format!("{kind} {namespace}/{name}");
        let private = live["spec"]["exportTo"].as_array().is_some_and(|to| to.iter().all(|one| one == "."));
        if !decides(kind, live, &self.spec.service, self.namespace) {
            return;
        }
        // Clients look for a DestinationRule in their own namespace first, then in the Service's.
        if namespace != self.namespace && (private || kind == "DestinationRule") {
            found.warnings.push(format!("clients in namespace {namespace} go by {object} instead"));
        } else {
            found.conflicts.push(object);
        }
    }
}

/// Whether an object decides about a Service's host, for clients in the mesh.
fn decides(kind: &str, live: &Value, service: &str, namespace: &str) -> bool {
    let spec = &live["spec"];
    let from = live["metadata"]["namespace"].as_str().unwrap_or_default();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let same = |host: &Value| host.as_str().is_some_and(|host| is_host_of(host, from, service, namespace));
    match kind {
        "VirtualService" => {
            let gateways = list(&spec["gateways"]);
            (gateways.is_empty() || gateways.iter().any(|one| one == "mesh")) && list(&spec["hosts"]).iter().any(same)
        }
        "DestinationRule" => same(&spec["host"]),
        _ => list(&spec["parentRefs"]).iter().any(|parent| {
            let place = parent["namespace"].as_str().unwrap_or(from);
            parent["kind"] == "Service" && parent["name"] == service && place == namespace
        }),
    }
}

/// The strings of an object of strings.
fn texts(value: &Value) -> Vec<(&str, &str)> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_routes_for_the_host_in_the_mesh_are_conflicts() {
        let object = |spec: Value| json!({"metadata": {"namespace": "shop", "name": "x"}, "spec": spec});
        for (kind, spec, expected) in [
            ("VirtualService", json!({"hosts": ["a", "reviews"]}), true),
            ("VirtualService", json!({"hosts": ["reviews"], "gateways": ["front", "mesh"]}), true),
            ("VirtualService", json!({"hosts": ["reviews"], "gateways": ["front"]}), false),
            ("VirtualService", json!({"hosts": ["*"]}), false),
            ("DestinationRule", json!({"host": "reviews.shop.svc.cluster.local"}), true),
            ("DestinationRule", json!({"host": "*.local"}), false),
            ("HTTPRoute", json!({"parentRefs": [{"kind": "Service", "name": "reviews"}]}), true),
            ("HTTPRoute", json!({"parentRefs": [{"kind": "Service", "name": "reviews", "namespace": "b"}]}), false),
            ("HTTPRoute", json!({"parentRefs": [{"name": "reviews"}]}), false),
        ] {
            assert_eq!(decides(kind, &object(spec.clone()), "reviews", "shop"), expected, "{kind} {spec}");
        }
    }
}
