//! Which waypoint an object uses, and which Gateways are waypoints. Source: istio
//! `pilot/pkg/serviceregistry/ambient/waypoints.go` (`getUseWaypoint`, `fetchWaypointForTarget`).

use super::Json;
use super::managed::EAST_WEST_CLASS;

/// Label of a namespace, Service, ServiceEntry or pod with the name of its waypoint.
pub const USE: &str = "istio.io/use-waypoint";
/// Label of a waypoint's Gateway: the traffic that the waypoint processes, see [`traffic_type`].
pub const WAYPOINT_FOR: &str = "istio.io/waypoint-for";
/// Label with the namespace of the waypoint, if it is another one.
pub const USE_NAMESPACE: &str = "istio.io/use-waypoint-namespace";

/// Namespace and name of a waypoint.
pub type Named<'a> = (&'a str, &'a str);

/// What the labels of one object say about its waypoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'a> {
    /// Nothing: the labels of the namespace apply.
    Inherited,
    /// No waypoint, whatever the namespace says: `none`, or an empty value, which is the name of no Gateway.
    None,
    /// A waypoint, which may not exist.
    Named(Named<'a>),
}

impl<'a> Choice<'a> {
    /// From the labels that `label` looks up. `namespace` is that of the object, or the object itself if it is a Namespace.
    pub fn by(label: impl Fn(&str) -> Option<&'a str>, namespace: &'a str) -> Self {
        match label(USE) {
            None => Self::Inherited,
            Some("" | "none") => Self::None,
            Some(name) => Self::Named((label(USE_NAMESPACE).unwrap_or(namespace), name)),
        }
    }

    /// From a JSON object with labels.
    pub fn of_labels<J: Json>(labels: &'a J, namespace: &'a str) -> Self {
        Self::by(|key| labels.field(key)?.string(), namespace)
    }

    /// The waypoint, where the choice of the namespace is `namespace`.
    #[must_use]
    pub fn or(self, namespace: Self) -> Option<Named<'a>> {
        match self {
            Self::Inherited => namespace.named(),
            _ => self.named(),
        }
    }

    /// The waypoint of these labels alone.
    #[must_use]
    pub const fn named(self) -> Option<Named<'a>> {
        match self {
            Self::Named(named) => Some(named),
            Self::Inherited | Self::None => None,
        }
    }
}

/// The traffic that a waypoint processes, by the labels of its Gateway: `service` (the default), `workload`, `all` or
/// `none`. Source: istio `pilot/pkg/serviceregistry/ambient/waypoints.go`.
pub fn traffic_type<J: Json>(labels: &J) -> &str {
    labels.field(WAYPOINT_FOR).and_then(Json::string).unwrap_or("service")
}

/// Whether the Gateway with this `spec` is a waypoint: by its class, or because it accepts HBONE. Gateways for traffic from
/// other networks accept HBONE too, and are none.
pub fn is_waypoint<J: Json>(spec: &J) -> bool {
    let class = spec.string_at(&["gatewayClassName"]).unwrap_or_default();
    if class == EAST_WEST_CLASS {
        return false;
    }
    class.contains("waypoint")
        || spec.path(&["listeners"]).is_some_and(|listeners| {
            listeners.array().iter().any(|listener| listener.string_at(&["protocol"]) == Some("HBONE"))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn own_label_takes_precedence_over_the_namespace() {
        let used = |own: &serde_json::Value, namespace: &serde_json::Value| {
            let named = Choice::of_labels(own, "shop").or(Choice::of_labels(namespace, "shop"));
            named.map(|(namespace, name)| format!("{namespace}/{name}"))
        };
        let namespace = json!({USE: "all"});
        assert_eq!(used(&json!({}), &namespace).as_deref(), Some("shop/all"));
        assert_eq!(used(&json!({USE: "own"}), &namespace).as_deref(), Some("shop/own"));
        assert_eq!(used(&json!({USE: "own", USE_NAMESPACE: "infra"}), &namespace).as_deref(), Some("infra/own"));
        for without in ["none", ""] {
            assert_eq!(used(&json!({USE: without}), &namespace), None, "{without:?}");
            assert_eq!(used(&json!({}), &json!({USE: without})), None, "{without:?}");
        }
        assert_eq!(used(&json!({}), &json!({})), None);
    }

    #[test]
    fn waypoint_processes_traffic_of_services_by_default() {
        assert_eq!(traffic_type(&json!({})), "service");
        assert_eq!(traffic_type(&json!({WAYPOINT_FOR: "workload"})), "workload");
    }

    #[test]
    fn waypoint_is_recognized_by_class_and_protocol() {
        for (spec, expected) in [
            (json!({"gatewayClassName": "istio-waypoint"}), true),
            (json!({"gatewayClassName": "own", "listeners": [{"protocol": "HBONE"}]}), true),
            (json!({"gatewayClassName": "istio-east-west", "listeners": [{"protocol": "HBONE"}]}), false),
            (json!({"gatewayClassName": "istio", "listeners": [{"protocol": "HTTP"}]}), false),
            (json!({}), false),
        ] {
            assert_eq!(is_waypoint(&spec), expected, "{spec}");
        }
    }
}
