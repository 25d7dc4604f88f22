//! Checks whether an installation exceeds the `ResourceQuota`s of a namespace. Pure.
//!
//! Source: kubernetes.io/docs/concepts/policy/resource-quotas. Quotas with scopes are not checked.

use std::collections::BTreeMap;

use serde_json::Value;

use super::quantity::thousandths;

/// Usage of a namespace's quotas by new objects: the quota's resource name, such as `requests.memory`, and the
/// amount in thousandths of its unit.
pub type Usage = BTreeMap<String, i64>;

/// A quantity in thousandths.
fn quantity(text: &str) -> Option<i64> {
    i64::try_from(thousandths(text)?).ok()
}

/// Resources of a container that a quota can demand to be set.
const COMPUTE: [(&str, &str, &str); 6] = [
    ("cpu", "requests", "cpu"),
    ("memory", "requests", "memory"),
    ("requests.cpu", "requests", "cpu"),
    ("requests.memory", "requests", "memory"),
    ("limits.cpu", "limits", "cpu"),
    ("limits.memory", "limits", "memory"),
];

/// Adds one object to the usage. `resource` is its plural name, `group` its API group (empty for the core group).
pub fn add_object(usage: &mut Usage, group: &str, resource: &str, object: &Value) {
    let mut count = |name: String| *usage.entry(name).or_default() += 1_000;
    if group.is_empty() {
        count(resource.to_owned());
        count(format!("count/{resource}"));
    } else {
        count(format!("count/{resource}.{group}"));
    }
    if resource == "services" {
        match object["spec"]["type"].as_str() {
            Some("LoadBalancer") => {
                count("services.loadbalancers".to_owned());
                count("services.nodeports".to_owned());
            }
            Some("NodePort") => count("services.nodeports".to_owned()),
            _ => {}
        }
    }
}

/// Adds the pods of a workload, `pods` of them.
pub fn add_pods(usage: &mut Usage, workload: &Value, pods: i64) {
    for name in ["pods", "count/pods"] {
        *usage.entry(name.to_owned()).or_default() += 1_000 * pods;
    }
    for container in workload["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten() {
        for (name, kind, resource) in COMPUTE {
            let amount = container["resources"][kind][resource].as_str().and_then(quantity);
            *usage.entry(name.to_owned()).or_default() += amount.unwrap_or_default() * pods;
        }
    }
}

/// Exceeded quotas, one message for each resource, such as
/// `ResourceQuota shop/small: needs 2 of pods, 1 left`.
#[must_use]
pub fn exceeded(quotas: &[Value], usage: &Usage) -> Vec<String> {
    quotas.iter().filter(|quota| !has_scopes(quota)).flat_map(|quota| exceeded_by(quota, usage)).collect()
}

fn has_scopes(quota: &Value) -> bool {
    quota["spec"]["scopes"].as_array().is_some_and(|all| !all.is_empty()) || !quota["spec"]["scopeSelector"].is_null()
}

fn exceeded_by(quota: &Value, usage: &Usage) -> Vec<String> {
    let text = |key: &str| quota["metadata"][key].as_str().unwrap_or_default();
    let amount = |value: &Value| value.as_str().and_then(quantity);
    let hard = quota["spec"]["hard"].as_object().into_iter().flatten();
    hard.filter_map(|(resource, hard)| {
        let needed = usage.get(resource).copied().filter(|needed| *needed > 0)?;
        let left = amount(hard)? - amount(&quota["status"]["used"][resource]).unwrap_or_default();
        (needed > left).then(|| {
            let (needed, left) = (plain(needed), plain(left.max(0)));
            format!("ResourceQuota {}/{}: needs {needed} of {resource}, {left} left", text("namespace"), text("name"))
        })
    })
    .collect()
}

/// Thousandths as a decimal number.
fn plain(thousandths: i64) -> String {
    match thousandths % 1_000 {
        0 => (thousandths / 1_000).to_string(),
        rest => format!("{}.{rest:03}", thousandths / 1_000),
    }
}

/// Resources that the quotas demand of every container and that the workload's containers do not set. The API server
/// refuses such pods unless a `LimitRange` of the namespace has defaults.
#[must_use]
pub fn unset(quotas: &[Value], workload: &Value) -> Vec<String> {
    let demanded = |name: &str| {
        quotas.iter().filter(|quota| !has_scopes(quota)).any(|quota| !quota["spec"]["hard"][name].is_null())
    };
    let containers = || workload["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten();
    let missing = COMPUTE.iter().filter(|(name, kind, resource)| {
        // A limit is the request of a container that sets none.
        let is_set = |container: &Value| {
            let set = |kind: &str| !container["resources"][kind][resource].is_null();
            set(kind) || *kind == "requests" && set("limits")
        };
        demanded(name) && !containers().all(is_set)
    });
    missing.map(|(name, _, _)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload() -> Value {
        let resources = json!({"requests": {"cpu": "500m", "memory": "2Gi"}});
        json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "resources": resources}]}}}})
    }

    fn quota(hard: &Value, used: &Value) -> Value {
        json!({"metadata": {"namespace": "a", "name": "q"}, "spec": {"hard": hard}, "status": {"used": used}})
    }

    #[test]
    fn a_quota_is_exceeded_by_pods_and_by_objects() {
        let mut usage = Usage::new();
        add_pods(&mut usage, &workload(), 2);
        add_object(&mut usage, "", "services", &json!({"spec": {"type": "LoadBalancer"}}));
        add_object(&mut usage, "apps", "deployments", &json!({}));
        let exceeded = |hard: Value, used: Value| exceeded(&[quota(&hard, &used)], &usage);
        assert!(exceeded(json!({"pods": "2", "requests.cpu": "1"}), json!({})).is_empty());
        let pods = ["ResourceQuota a/q: needs 2 of pods, 1 left"];
        assert_eq!(exceeded(json!({"pods": "2"}), json!({"pods": "1"})), pods);
        assert_eq!(exceeded(json!({"requests.memory": "3Gi"}), json!({})).len(), 1);
        assert_eq!(exceeded(json!({"services.loadbalancers": "0"}), json!({})).len(), 1);
        assert_eq!(exceeded(json!({"count/deployments.apps": "0"}), json!({})).len(), 1);
    }

    #[test]
    fn quota_on_limits_requires_limits() {
        let demands = |name: &str| unset(&[quota(&json!({name: "10"}), &json!({}))], &workload());
        assert_eq!(demands("limits.memory"), ["limits.memory"]);
        assert!(demands("requests.memory").is_empty());
        assert!(demands("pods").is_empty());
    }

    #[test]
    fn quotas_with_scopes_are_not_judged() {
        let mut scoped = quota(&json!({"pods": "0"}), &json!({}));
        scoped["spec"]["scopes"] = json!(["Terminating"]);
        let mut usage = Usage::new();
        add_pods(&mut usage, &workload(), 1);
        assert!(exceeded(&[scoped], &usage).is_empty());
    }
}
