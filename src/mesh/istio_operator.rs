//! Converts an `IstioOperator` document, the configuration of `istioctl install`, into parameters of `mesh.install`. Fields
//! without an equivalent are refused by name, so that an installation never lacks a setting silently.
//! Source: `operator/pkg/apis/types.go` of istio/istio 1.30 and its helm values.

use serde_json::{Map, Value, json};

use super::{Profile, Version, merge};

/// Kind of the document.
pub const KIND: &str = "IstioOperator";

/// Parameters of `mesh.install`. `version` is set only if the document has a release as its tag.
///
/// # Errors
/// Names the fields that cannot be converted.
pub fn params(document: &Value) -> Result<Value, String> {
    let mut conversion = Conversion::default();
    conversion.spec(&document["spec"]);
    if conversion.unsupported.is_empty() {
        return Ok(Value::Object(conversion.params));
    }
    Err(format!("cannot be converted: {}; set them with -p values.… instead", conversion.unsupported.join(", ")))
}

#[derive(Default)]
struct Conversion {
    params: Map<String, Value>,
    unsupported: Vec<String>,
}

impl Conversion {
    fn spec(&mut self, spec: &Value) {
        for (name, value) in spec.as_object().into_iter().flatten() {
            match name.as_str() {
                "profile" | "hub" | "revision" | "namespace" => drop(self.params.insert(name.clone(), value.clone())),
                "tag" => self.tag(value),
                "meshConfig" => self.values(&json!({ "meshConfig": value })),
                "values" | "unvalidatedValues" => self.values(value),
                "components" => self.components(value, spec["profile"].as_str()),
                other => self.unsupported.push(format!("spec.{other}")),
            }
        }
    }

    /// A tag that is a release is the version of the charts as well.
    fn tag(&mut self, tag: &Value) {
        let name = if serde_json::from_value::<Version>(tag.clone()).is_ok() { "version" } else { "tag" };
        self.params.insert(name.to_owned(), tag.clone());
    }

    fn values(&mut self, values: &Value) {
        add(self.params.entry("values").or_insert_with(|| json!({})), values);
    }

    fn components(&mut self, components: &Value, profile: Option<&str>) {
        let mut gateways = GatewayList::of(profile);
        for (name, component) in components.as_object().into_iter().flatten() {
            let path = format!("spec.components.{name}");
            match name.as_str() {
                "base" => self.component(&path, component, "base", None),
                "pilot" => self.component(&path, component, "istiod", Some(("pilot", &PILOT))),
                "cni" => self.component(&path, component, "cni", Some(("cni", &CNI))),
                "ztunnel" => self.component(&path, component, "ztunnel", Some(("ztunnel", &ZTUNNEL))),
                "ingressGateways" | "egressGateways" => {
                    for (index, gateway) in component.as_array().into_iter().flatten().enumerate() {
                        gateways.set(self, &format!("{path}[{index}]"), gateway);
                    }
                }
                _ => self.unsupported.push(path),
            }
        }
        if gateways.is_changed {
            self.params.insert("gateways".to_owned(), Value::Array(gateways.list));
        }
    }

    fn component(&mut self, path: &str, component: &Value, switch: &str, section: Option<(&str, &ValueNames)>) {
        for (name, value) in component.as_object().into_iter().flatten() {
            match name.as_str() {
                "enabled" => {
                    let switches = self.params.entry("components").or_insert_with(|| json!({}));
                    switches[switch] = value.clone();
                }
                other => match section.filter(|_| other == "k8s") {
                    Some((section, names)) => {
                        let values = self.kubernetes(&format!("{path}.k8s"), value, names);
                        // The chart of ztunnel has its settings at the top.
                        if section == "ztunnel" {
                            self.component_values(section, &values);
                        } else {
                            self.values(&json!({ section: values }));
                        }
                    }
                    None => self.unsupported.push(format!("{path}.{other}")),
                },
            }
        }
    }

    fn component_values(&mut self, component: &str, values: &Value) {
        let all = self.params.entry("component_values").or_insert_with(|| json!({}));
        add(all, &json!({ component: values }));
    }

    /// Values of a chart for the Kubernetes settings of a component.
    fn kubernetes(&mut self, path: &str, settings: &Value, names: &ValueNames) -> Value {
        let mut values = json!({});
        for (name, value) in settings.as_object().into_iter().flatten() {
            match name.as_str() {
                plain if names.plain.contains(&plain) => values[name] = value.clone(),
                "env" => values["env"] = environment(value),
                "replicaCount" if names.limits.is_some() => values[name] = value.clone(),
                "hpaSpec" if names.limits.is_some() => {
                    for (limit, number) in value.as_object().into_iter().flatten() {
                        match (limit.as_str(), names.limits) {
                            ("minReplicas", Some((minimum, _))) => add(&mut values, &nested(minimum, number.clone())),
                            ("maxReplicas", Some((_, maximum))) => add(&mut values, &nested(maximum, number.clone())),
                            (other, _) => self.unsupported.push(format!("{path}.hpaSpec.{other}")),
                        }
                    }
                }
                "service" if names.has_service => add(&mut values, &json!({ "service": value })),
                "serviceAnnotations" if names.has_service => {
                    add(&mut values, &json!({ "service": { "annotations": value } }));
                }
                other => self.unsupported.push(format!("{path}.{other}")),
            }
        }
        values
    }
}

/// Which Kubernetes settings a chart reads, and where it has those whose names differ.
struct ValueNames {
    /// Settings with the same name.
    plain: &'static [&'static str],
    /// The least and the most replicas; `None` for a `DaemonSet`, which has a pod on each node.
    limits: Option<(&'static [&'static str], &'static [&'static str])>,
    has_service: bool,
}

const PLAIN: &[&str] = &["resources", "nodeSelector", "tolerations", "affinity", "podAnnotations"];

const PILOT: ValueNames =
    ValueNames { plain: PLAIN, limits: Some((&["autoscaleMin"], &["autoscaleMax"])), has_service: false };
/// The chart selects nodes by their operating system only.
const CNI: ValueNames =
    ValueNames { plain: &["resources", "tolerations", "affinity", "podAnnotations"], limits: None, has_service: false };
const ZTUNNEL: ValueNames = ValueNames { plain: PLAIN, limits: None, has_service: false };
const GATEWAY: ValueNames = ValueNames {
    plain: PLAIN,
    limits: Some((&["autoscaling", "minReplicas"], &["autoscaling", "maxReplicas"])),
    has_service: true,
};

/// The gateways of a profile with those of the document: an entry changes the gateway of its name.
struct GatewayList {
    list: Vec<Value>,
    is_changed: bool,
}

impl GatewayList {
    fn of(profile: Option<&str>) -> Self {
        let profile: Profile = serde_json::from_value(json!(profile.unwrap_or("default"))).unwrap_or_default();
        let defaults = profile.components();
        let named = |is_on: bool, name: &str| is_on.then(|| json!({ "name": name }));
        let gateways = [named(defaults.ingress, "istio-ingressgateway"), named(defaults.egress, "istio-egressgateway")];
        Self { list: gateways.into_iter().flatten().collect(), is_changed: false }
    }

    fn set(&mut self, conversion: &mut Conversion, path: &str, entry: &Value) {
        self.is_changed = true;
        let mut gateway = json!({ "name": entry["name"] });
        let mut values = json!({});
        for (name, value) in entry.as_object().into_iter().flatten() {
            match name.as_str() {
                "name" | "enabled" => {}
                "namespace" => gateway["namespace"] = value.clone(),
                "label" => values["labels"] = value.clone(),
                "k8s" => add(&mut values, &conversion.kubernetes(&format!("{path}.k8s"), value, &GATEWAY)),
                other => conversion.unsupported.push(format!("{path}.{other}")),
            }
        }
        self.list.retain(|known| known["name"] != entry["name"]);
        // An entry without `enabled` is on, as `istioctl` treats it.
        if entry["enabled"] != false {
            if values != json!({}) {
                gateway["values"] = values;
            }
            self.list.push(gateway);
        }
    }
}

/// `[{name, value}]` as a map.
fn environment(list: &Value) -> Value {
    let pairs = list.as_array().into_iter().flatten();
    let pairs = pairs.filter_map(|pair| Some((pair["name"].as_str()?.to_owned(), pair["value"].clone())));
    Value::Object(pairs.collect())
}

fn nested(path: &[&str], value: Value) -> Value {
    path.iter().rev().fold(value, |value, name| json!({ *name: value }))
}

/// Adds the fields of `more` to `all`; those of `more` win.
fn add(all: &mut Value, more: &Value) {
    if let (Value::Object(all), Value::Object(more)) = (all, more) {
        merge(all, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_parameters_and_values() {
        let document = json!({"apiVersion": "install.istio.io/v1alpha1", "kind": KIND, "spec": {
            "profile": "minimal", "tag": "1.30.3", "hub": "mirror.example/istio", "revision": "a",
            "meshConfig": {"accessLogFile": "/dev/stdout"},
            "values": {"global": {"proxy": {"logLevel": "info"}}},
            "components": {
                "cni": {"enabled": true},
                "pilot": {"k8s": {"hpaSpec": {"minReplicas": 2}, "env": [{"name": "A", "value": "1"}]}},
                "ingressGateways": [{"name": "edge", "namespace": "edge", "k8s": {"service": {"type": "ClusterIP"}}}],
            },
        }});
        let expected = json!({
            "profile": "minimal", "version": "1.30.3", "hub": "mirror.example/istio", "revision": "a",
            "values": {
                "meshConfig": {"accessLogFile": "/dev/stdout"},
                "global": {"proxy": {"logLevel": "info"}},
                "pilot": {"autoscaleMin": 2, "env": {"A": "1"}},
            },
            "components": {"cni": true},
            "gateways": [{"name": "edge", "namespace": "edge", "values": {"service": {"type": "ClusterIP"}}}],
        });
        assert_eq!(params(&document), Ok(expected));
    }

    #[test]
    fn gateways_of_the_profile_stay_unless_they_are_switched_off() {
        let with = |gateways: Value| {
            let spec = json!({"profile": "demo", "components": {"ingressGateways": gateways}});
            params(&json!({ "spec": spec })).unwrap()["gateways"].clone()
        };
        assert_eq!(
            with(json!([{"name": "more"}])),
            json!([{"name": "istio-ingressgateway"}, {"name": "istio-egressgateway"}, {"name": "more"}])
        );
        assert_eq!(
            with(json!([{"name": "istio-ingressgateway", "enabled": false}])),
            json!([{"name": "istio-egressgateway"}])
        );
    }

    #[test]
    fn settings_that_a_chart_does_not_read_are_named() {
        let k8s = json!({"replicaCount": 2, "hpaSpec": {"minReplicas": 2}, "tolerations": [], "nodeSelector": {}});
        let spec = json!({"components": {"cni": {"k8s": k8s}, "ztunnel": {"k8s": k8s}}});
        let error = params(&json!({ "spec": spec })).unwrap_err();
        for component in ["cni", "ztunnel"] {
            for setting in ["replicaCount", "hpaSpec"] {
                assert!(error.contains(&format!("spec.components.{component}.k8s.{setting}")), "{setting}: {error}");
            }
            assert!(!error.contains(&format!("{component}.k8s.tolerations")), "{error}");
        }
        assert!(error.contains("cni.k8s.nodeSelector") && !error.contains("ztunnel.k8s.nodeSelector"), "{error}");
    }

    #[test]
    fn fields_without_an_equivalent_are_named() {
        let spec = json!({"addonComponents": {}, "components": {"pilot": {"k8s": {"overlays": []}}}});
        let error = params(&json!({ "spec": spec })).unwrap_err();
        assert!(error.contains("spec.addonComponents, spec.components.pilot.k8s.overlays"), "{error}");
    }
}
