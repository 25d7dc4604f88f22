//! Deploys a group's workloads and waits until every pod is ready and in the mesh.

use futures::stream::select_all;
use serde_json::Value;
use tokio::time::Instant;

use super::super::Error;
use super::super::suite::Group;
use super::precheck::items;
use super::{DataPlane, Run};
use crate::analysis::istio::pod::{has_sidecar, is_redirected};

/// Reasons by which the kubelet says that it gave up on an image for now.
const UNPULLABLE: [&str; 3] = ["ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];

impl Run<'_> {
    pub(super) async fn deploy(&self, group: &Group) -> Result<(), Error> {
        for object in &group.app {
            self.cx.guard.check()?;
            let mut object = self.namespaces.resolve_object(group, object);
            if object["kind"] == "Deployment" {
                self.cx.driver.adapt(&mut object);
            }
            self.cx.environment.apply(&object).await?;
        }
        self.create_waypoint(group).await?;
        let begun = Instant::now();
        let names = self.namespaces.names(group);
        let mut changes =
            select_all(names.iter().map(|name| self.cx.environment.changes("v1", "Pod", Some(name), None)));
        loop {
            let (mut waiting, outside) = self.pods(group).await?;
            waiting.extend(self.waypoint_waits(group).await?);
            if waiting.is_empty() {
                let data_plane = self.options.data_plane.name();
                return if outside.is_empty() { Ok(()) } else { Err(Error::NotInMesh { pods: outside, data_plane }) };
            }
            if begun.elapsed() > self.options.ready_timeout {
                return Err(Error::NotReady { waiting, seconds: begun.elapsed().as_secs() });
            }
            self.cx.step("wait", 0, 0, format!("{}: {}", group.name, waiting.join("; ")));
            self.cx.changed(&mut changes).await?;
        }
    }

    /// Workloads that are not ready, with the reason, and ready pods without a proxy.
    pub(super) async fn pods(&self, group: &Group) -> Result<(Vec<String>, Vec<String>), Error> {
        let (mut waiting, mut outside) = (Vec::new(), Vec::new());
        for number in 0..group.namespaces {
            let namespace = self.namespaces.name(group, number);
            let pods = self.cx.environment.list("v1", "Pod", Some(&namespace), None).await?;
            let wanted = group.app.iter().map(|object| self.namespaces.resolve_object(group, object));
            for object in
                wanted.filter(|object| object["kind"] == "Deployment" && object["metadata"]["namespace"] == *namespace)
            {
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let ready = |pod: &&Value| is_of(pod, &name) && is_ready(pod);
                match pods.iter().find(ready) {
                    Some(pod) if !self.is_in_mesh(pod) => outside.push(format!("{namespace}/{name}")),
                    Some(_) => {}
                    None => waiting.push(self.reason(&namespace, &name, pods.iter().find(|pod| is_of(pod, &name)))?),
                }
            }
        }
        Ok((waiting, outside))
    }

    fn is_in_mesh(&self, pod: &Value) -> bool {
        match self.options.data_plane {
            DataPlane::Sidecar => has_sidecar(pod),
            DataPlane::Ambient => is_redirected(pod),
        }
    }

    /// Why a workload is not ready.
    fn reason(&self, namespace: &str, name: &str, pod: Option<&Value>) -> Result<String, Error> {
        let Some(pod) = pod else { return Ok(format!("{namespace}/{name} has no pod")) };
        let statuses = items(&pod["status"]["containerStatuses"]).chain(items(&pod["status"]["initContainerStatuses"]));
        for status in statuses {
            let state = &status["state"]["waiting"];
            let Some(reason) = state["reason"].as_str() else { continue };
            let message = state["message"].as_str().unwrap_or_default();
            let reason = format!("{reason}: {message}");
            if UNPULLABLE.iter().any(|one| reason.starts_with(one)) {
                return Err(Error::Image {
                    pod: format!("{namespace}/{}", pod["metadata"]["name"].as_str().unwrap_or(name)),
                    image: status["image"].as_str().unwrap_or(&self.options.image).to_owned(),
                    reason,
                });
            }
            return Ok(format!("{namespace}/{name} ({reason})"));
        }
        let phase = pod["status"]["phase"].as_str().unwrap_or("Pending");
        Ok(format!("{namespace}/{name} ({phase})"))
    }
}

fn is_of(pod: &Value, deployment: &str) -> bool {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    super::super::simulated::workload(name) == deployment && pod["metadata"]["deletionTimestamp"].is_null()
}

fn is_ready(pod: &Value) -> bool {
    items(&pod["status"]["conditions"]).any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
