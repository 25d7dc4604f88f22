//! Resources on nodes, in Kubernetes' quantities. Pure.

use std::fmt;

use serde_json::Value;

use super::quantity::thousandths;
use crate::analysis::istio::pod::has_ended;

/// CPU and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
}

impl Resources {
    /// Whether the other fits in.
    #[must_use]
    pub const fn holds(&self, other: &Self) -> bool {
        self.cpu >= other.cpu && self.memory >= other.memory
    }

    fn of(resources: &Value) -> Self {
        let read = |key: &str| quantity(&resources[key]).unwrap_or(0);
        let bounded = |amount: i128| i64::try_from(amount).unwrap_or(i64::MAX);
        Self { cpu: bounded(read("cpu")), memory: bounded(read("memory") / 1_000) }
    }
}

/// A quantity in thousandths. Charts' values have it as a number too.
fn quantity(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => thousandths(text),
        Value::Number(number) => thousandths(&number.to_string()),
        _ => None,
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m CPU and {} MiB memory", self.cpu, self.memory >> 20)
    }
}

/// The requests of one pod of a workload: the sum over the containers of its template.
#[must_use]
pub fn requested(workload: &Value) -> Resources {
    let mut sum = Resources::default();
    for container in workload["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten() {
        let one = Resources::of(&container["resources"]["requests"]);
        sum.cpu += one.cpu;
        sum.memory += one.memory;
    }
    sum
}

/// Free resources of a node; `None` when it accepts no pods or reports no capacity.
#[must_use]
pub fn free(node: &Value, pods: &[Value]) -> Option<Resources> {
    let allocatable = &node["status"]["allocatable"];
    if node["spec"]["unschedulable"] == true || allocatable["cpu"].is_null() {
        return None;
    }
    let mut left = Resources::of(allocatable);
    let here = pods.iter().filter(|pod| pod["spec"]["nodeName"] == node["metadata"]["name"]);
    for pod in here.filter(|pod| !has_ended(*pod)) {
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            let asked = Resources::of(&container["resources"]["requests"]);
            left.cpu -= asked.cpu;
            left.memory -= asked.memory;
        }
    }
    Some(left)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn resources_are_read_as_numbers_and_as_texts() {
        let of = |cpu: Value, memory: Value| Resources::of(&json!({"cpu": cpu, "memory": memory}));
        assert_eq!(of(json!(2), json!("1Pi")), Resources { cpu: 2_000, memory: 1 << 50 });
        assert_eq!(of(json!("1500m"), json!("1e9")), Resources { cpu: 1_500, memory: 1_000_000_000 });
        assert_eq!(of(json!("much"), Value::Null), Resources::default());
    }

    #[test]
    fn pods_reduce_free_resources() {
        let node = json!({"metadata": {"name": "a"}, "status": {"allocatable": {"cpu": "1", "memory": "3Gi"}}});
        let container = |cpu: &str, memory: &str| json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}});
        let containers = [container("400m", "1Gi"), container("100m", "1Gi")];
        let istiod = requested(&json!({"spec": {"template": {"spec": {"containers": containers}}}}));
        assert_eq!(istiod, Resources { cpu: 500, memory: 2 << 30 });
        assert!(free(&node, &[]).unwrap().holds(&istiod));
        let pod = json!({"spec": {"nodeName": "a", "containers": [{"resources": {"requests": {"memory": "2Gi"}}}]}});
        assert!(!free(&node, &[pod]).unwrap().holds(&istiod));
        assert_eq!(free(&json!({"spec": {"unschedulable": true}}), &[]), None);
    }
}
