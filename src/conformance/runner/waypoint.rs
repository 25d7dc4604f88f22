//! The waypoint of a group in ambient mode: a Gateway, for which istiod creates a Deployment and a Service.

use serde_json::{Value, json};

use super::super::Error;
use super::super::suite::Group;
use super::precheck::items;
use super::{DataPlane, Run};
use crate::analysis::istio::managed::WAYPOINT_CLASS;
use crate::analysis::istio::port::HBONE;
use crate::analysis::istio::waypoint::WAYPOINT_FOR;
use crate::cluster::ObjectRef;

/// Name of the Gateway.
const NAME: &str = "waypoint";
const API_VERSION: &str = "gateway.networking.k8s.io/v1";

/// The waypoint that a group of cases needs in this data plane.
pub(super) fn name(group: &Group, data_plane: DataPlane) -> Option<&'static str> {
    (group.is_http && data_plane == DataPlane::Ambient).then_some(NAME)
}

impl Run<'_> {
    /// Creates the group's waypoint, if it needs one.
    pub(super) async fn create_waypoint(&self, group: &Group) -> Result<(), Error> {
        if let Some(name) = name(group, self.options.data_plane) {
            self.cx.environment.apply(&gateway(&self.namespaces.name(group, 0), name)).await?;
        }
        Ok(())
    }

    /// Why the group's waypoint is not ready; `None` when it is, or when the group needs none.
    pub(super) async fn waypoint_waits(&self, group: &Group) -> Result<Option<String>, Error> {
        let Some(name) = name(group, self.options.data_plane) else { return Ok(None) };
        let namespace = self.namespaces.name(group, 0);
        let live = self.cx.environment.get(&ObjectRef::new(API_VERSION, "Gateway", Some(&namespace), name)).await?;
        let live = live.unwrap_or_default();
        let programmed = items(&live["status"]["conditions"]).find(|condition| condition["type"] == "Programmed");
        if programmed.is_some_and(|condition| condition["status"] == "True") {
            return Ok(None);
        }
        let reason =
            programmed.and_then(|condition| condition["message"].as_str()).unwrap_or("no condition Programmed");
        Ok(Some(format!("{namespace}/{name} (Gateway: {reason})")))
    }
}

/// As `istioctl waypoint generate` makes it.
fn gateway(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Gateway",
        "metadata": {"name": name, "namespace": namespace, "labels": {WAYPOINT_FOR: "service"}},
        "spec": {
            "gatewayClassName": WAYPOINT_CLASS,
            "listeners": [{"name": "mesh", "port": HBONE, "protocol": "HBONE"}],
        },
    })
}
