//! Warns when HTTP rules cannot apply to a Service, because of its type, its ports or its namespace. Pure.
//!
//! Sources: istio.io "Protocol selection", "Traffic management" (headless Services are passed through to the address
//! that the client chose), "Use Layer 7 features" of the ambient mode.

use serde_json::Value;

use super::spec::Spec;
use crate::analysis::istio::membership::NamespaceMode;
use crate::analysis::istio::protocol::{Protocol, of_service_port};
use crate::analysis::istio::waypoint::Choice;

/// Reasons why rules may have no effect. `proxies` says whether some pod of the namespace has a proxy of its own.
pub fn warnings(spec: &Spec, service: &Value, namespace: &Value, proxies: bool) -> Vec<String> {
    let place = namespace["metadata"]["name"].as_str().unwrap_or_default();
    let name = format!("{place}/{}", spec.service);
    let mut warnings = Vec::new();
    if service["spec"]["type"] == "ExternalName" {
        let target = service["spec"]["externalName"].as_str().unwrap_or_default();
        warnings
            .push(format!("Service {name} is another name for {target} and has no pods: rules for it may do nothing"));
    }
    if service["spec"]["clusterIP"] == "None" && (!spec.subsets.is_empty() || spec.load_balancer.is_some()) {
        warnings.push(format!(
            "Service {name} is headless: its clients choose the pod, whatever subsets, weights and load balancing say"
        ));
    }
    let ports = service["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
    if !spec.rules.is_empty() && !ports.is_empty() && ports.iter().all(is_no_http) {
        let named: Vec<_> = ports.iter().map(|port| format!("{} {}", port["port"], protocol(port))).collect();
        warnings.push(format!(
            "no port of Service {name} is HTTP by its name or appProtocol ({}): rules for requests do not touch them",
            named.join(", ")
        ));
    }
    let ambient = NamespaceMode::of_labels(&namespace["metadata"]["labels"]).is_ambient();
    let of_namespace = Choice::of_labels(&namespace["metadata"]["labels"], place);
    let waypoint = Choice::of_labels(&service["metadata"]["labels"], place).or(of_namespace);
    if ambient && waypoint.is_none() && !spec.rules.is_empty() {
        warnings.push(format!(
            "namespace {place} is in ambient mode, where only a waypoint reads requests, and Service {name} has none: set \
             the label istio.io/use-waypoint"
        ));
    } else if !ambient && !proxies {
        warnings.push(format!("no pod in namespace {place} has a proxy; rules work in the proxies of clients only"));
    }
    warnings
}

fn protocol(port: &Value) -> &str {
    port["appProtocol"].as_str().or_else(|| port["name"].as_str()).unwrap_or_default()
}

fn is_no_http(port: &Value) -> bool {
    matches!(of_service_port(port), Protocol::Tcp | Protocol::Tls | Protocol::Udp)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::traffic::Rule;

    fn joined(service: &Value, labels: &Value) -> String {
        let namespace = json!({"metadata": {"name": "shop", "labels": labels}});
        let mut spec = Spec::of("web", vec![Rule::default()]);
        spec.subsets.insert("v1".to_owned(), [].into());
        warnings(&spec, service, &namespace, true).join("; ")
    }

    #[test]
    fn service_type_decides_whether_rules_apply() {
        let ports = |names: &[&str]| {
            let ports: Vec<_> = names.iter().map(|name| json!({"port": 80, "name": name})).collect();
            json!({"spec": {"ports": ports}})
        };
        for plain in
            [ports(&["http"]), ports(&["web"]), ports(&["redis", "http-x"]), json!({"spec": {"ports": [{"port": 1}]}})]
        {
            assert_eq!(joined(&plain, &json!({})), "", "{plain}");
        }
        assert!(joined(&ports(&["redis", "tcp-x"]), &json!({})).contains("(80 redis, 80 tcp-x)"));
        let mut over = ports(&["http"]);
        over["spec"]["ports"][0]["appProtocol"] = json!("tcp");
        assert!(joined(&over, &json!({})).contains("(80 tcp)"));
        assert!(joined(&json!({"spec": {"clusterIP": "None"}}), &json!({})).contains("headless"));
        let external = json!({"spec": {"type": "ExternalName", "externalName": "a.example"}});
        assert!(joined(&external, &json!({})).contains("another name for a.example"));
    }

    #[test]
    fn ambient_mode_requires_a_waypoint_for_rules() {
        let ambient = json!({"istio.io/dataplane-mode": "ambient"});
        assert!(joined(&json!({}), &ambient).contains("only a waypoint reads requests"));
        let with = json!({"istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint"});
        assert_eq!(joined(&json!({}), &with), "");
        for without in ["none", ""] {
            let own = json!({"metadata": {"labels": {"istio.io/use-waypoint": without}}});
            assert!(joined(&own, &with).contains("only a waypoint"), "the label of the Service takes precedence");
        }
    }
}
