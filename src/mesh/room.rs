//! Room on nodes, in Kubernetes' quantities. Pure.

use std::fmt;

use serde_json::Value;

use super::{Profile, Request};
use crate::analysis::istio::pod::has_ended;

/// CPU and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Thousandths of a CPU.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
}

impl Room {
    /// Whether the other fits in.
    #[must_use]
    pub const fn holds(&self, other: &Self) -> bool {
        self.cpu >= other.cpu && self.memory >= other.memory
    }

    fn of(resources: &Value) -> Self {
        let read = |key: &str| resources[key].as_str().and_then(quantity);
        Self { cpu: read("cpu").unwrap_or(0), memory: read("memory").map_or(0, |milli| milli / 1000) }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m CPU and {} MiB memory", self.cpu, self.memory >> 20)
    }
}

/// A quantity in thousandths: `500m`, `2`, `1.5`, `2Gi`, `2048M`.
fn quantity(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: i64 = match unit {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        _ => return None,
    };
    match number.split_once('.') {
        None => number.parse::<i64>().ok()?.checked_mul(factor),
        Some((whole, part)) => {
            let part = part.get(..part.len().min(3))?;
            let thousandths: i64 = format!("{part:0<3}").parse().ok()?;
            whole.parse::<i64>().ok()?.checked_mul(factor)?.checked_add(factor / 1_000 * thousandths)
        }
    }
}

/// What istiod asks for: the chart's default, less in the profile demo.
#[must_use]
pub fn istiod(request: &Request) -> Room {
    let default = if request.profile == Profile::Demo {
        Room { cpu: 10, memory: 100 << 20 }
    } else {
        Room { cpu: 500, memory: 2 << 30 }
    };
    let own = request.values.get("pilot").and_then(|pilot| pilot.pointer("/resources/requests")).map(Room::of);
    own.unwrap_or(default)
}

/// What a node has left; `None` when it takes no pods or does not say.
#[must_use]
pub fn free(node: &Value, pods: &[Value]) -> Option<Room> {
    let allocatable = &node["status"]["allocatable"];
    if node["spec"]["unschedulable"] == true || allocatable["cpu"].is_null() {
        return None;
    }
    let mut left = Room::of(allocatable);
    let here = pods.iter().filter(|pod| pod["spec"]["nodeName"] == node["metadata"]["name"]);
    for pod in here.filter(|pod| !has_ended(*pod)) {
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            let asked = Room::of(&container["resources"]["requests"]);
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
    fn quantities_are_read_as_kubernetes_writes_them() {
        let table = [("500m", 500), ("2", 2_000), ("1.5", 1_500), ("1Ki", 1_024_000), ("1M", 1_000_000_000)];
        for (text, wanted) in table {
            assert_eq!(quantity(text), Some(wanted), "{text}");
        }
        assert_eq!(quantity("x"), None);
        assert_eq!(quantity("1Pi"), None);
    }

    #[test]
    fn pods_take_room() {
        let node = json!({"metadata": {"name": "a"}, "status": {"allocatable": {"cpu": "1", "memory": "3Gi"}}});
        let request = Request::of("1.30.3".parse().unwrap());
        assert!(free(&node, &[]).unwrap().holds(&istiod(&request)));
        let pod = json!({"spec": {"nodeName": "a", "containers": [{"resources": {"requests": {"memory": "2Gi"}}}]}});
        assert!(!free(&node, &[pod]).unwrap().holds(&istiod(&request)));
        assert_eq!(free(&json!({"spec": {"unschedulable": true}}), &[]), None);
    }
}
