//! Keeps the replicas of a workload when they leave its manifest and a `HorizontalPodAutoscaler` takes them over. Server-side
//! apply would set the default, one replica, until the autoscaler acts (KEP-2161, kubernetes.io "Transferring ownership").

use serde_json::Value;

use super::desired::Desired;
use super::{Cluster, managed_fields};

/// A `HorizontalPodAutoscaler` and the workload that it scales.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Autoscaler {
    namespace: String,
    name: String,
    kind: String,
    target: String,
}

impl Autoscaler {
    fn of(object: &Value) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            namespace: text("/metadata/namespace")?,
            name: text("/metadata/name")?,
            kind: text("/spec/scaleTargetRef/kind")?,
            target: text("/spec/scaleTargetRef/name")?,
        })
    }

    fn scales(&self, desired: &Desired) -> bool {
        Some(&self.namespace) == desired.object.namespace.as_ref()
            && self.kind == desired.object.kind
            && self.target == desired.object.name
    }
}

/// The autoscalers of a set.
pub(super) fn of_set(set: &[Desired]) -> Vec<Autoscaler> {
    let autoscalers = set.iter().filter(|one| one.object.kind == "HorizontalPodAutoscaler");
    autoscalers.filter_map(|one| Autoscaler::of(&one.body)).collect()
}

/// Puts the live replicas into the wanted object if we own them, the manifest has none, and an autoscaler of the set or of
/// the cluster scales the object. Answers a note for the report.
pub(super) async fn keep_replicas(
    cluster: &Cluster,
    desired: &mut Desired,
    live: &Value,
    of_set: &[Autoscaler],
) -> Option<String> {
    let replicas = left_replicas(&desired.body, live)?.clone();
    let known = of_set.iter().find(|one| one.scales(desired)).cloned();
    let autoscaler = match known {
        Some(known) => known,
        None => find(cluster, desired).await?,
    };
    desired.body.get_mut("spec")?.as_object_mut()?.insert("replicas".to_owned(), replicas.clone());
    Some(format!("replicas stay {replicas} until HorizontalPodAutoscaler {} changes them", autoscaler.name))
}

/// The live replicas, if the manifest has none any more and we own them.
fn left_replicas<'a>(wanted: &Value, live: &'a Value) -> Option<&'a Value> {
    let is_wanted = wanted.get("spec")?.as_object()?.get("replicas").is_some_and(|replicas| !replicas.is_null());
    let is_owned = managed_fields::owned(live)?["f:spec"].get("f:replicas").is_some();
    live["spec"].get("replicas").filter(|_| is_owned && !is_wanted)
}

/// Without the right to list autoscalers there is none.
async fn find(cluster: &Cluster, desired: &Desired) -> Option<Autoscaler> {
    let kind = cluster.kind("autoscaling/v2", "HorizontalPodAutoscaler").await.ok()??;
    let mut found = None;
    let each = |object: Value| {
        if let Some(autoscaler) = Autoscaler::of(&object).filter(|one| one.scales(desired)) {
            found = Some(autoscaler);
        }
    };
    cluster.list(&kind, desired.object.namespace.as_deref(), None, each).await.ok()?;
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::FIELD_MANAGER;
    use super::*;

    #[test]
    fn replicas_are_left_to_an_autoscaler_only_if_sailhand_set_them() {
        let live = json!({"spec": {"replicas": 5}, "metadata": {"managedFields": [
            {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        ]}});
        assert_eq!(left_replicas(&json!({"spec": {}}), &live), Some(&json!(5)));
        assert_eq!(left_replicas(&json!({"spec": {"replicas": 2}}), &live), None);
        assert_eq!(left_replicas(&json!({"spec": {}}), &json!({"spec": {"replicas": 5}})), None);
        assert_eq!(left_replicas(&json!({"spec": []}), &live), None, "the API server refuses it");
    }
}
