//! The values of each chart, derived from the parameters of a command. Pure.

use serde_json::{Map, Value, json};

use super::{Gateway, Profile, Request, support};

/// Puts `over` over `under`: objects are merged, everything else replaced; `null` removes, as in Helm.
pub fn merge(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => merge(below, above),
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Values of all charts. Charts of the source tree have neither hub nor tag of a release, so both are always set.
fn common(request: &Request, profile: Profile, platform: Option<&str>) -> Map<String, Value> {
    let mut values = object(json!({
        "global": {
            "istioNamespace": request.namespace,
            "hub": request.hub.as_deref().unwrap_or_else(|| support::hub(&request.version)),
            "tag": request.tag.clone().unwrap_or_else(|| request.version.to_string()),
        },
    }));
    if let Some(name) = profile.chart_profile().filter(|_| support::has_chart_profiles(&request.version)) {
        values.insert("profile".to_owned(), json!(name));
    }
    if let Some(platform) = platform {
        values["global"]["platform"] = json!(platform);
    }
    if !request.pull_secrets.is_empty() {
        values["global"]["imagePullSecrets"] = json!(request.pull_secrets);
    }
    values
}

/// Input of the chart values besides the request.
pub(super) struct Around<'a> {
    /// The profile in its mode.
    pub profile: Profile,
    /// `global.platform`.
    pub platform: Option<&'a str>,
    /// The revision that base's validator calls.
    pub default_revision: &'a str,
    /// Whether the CNI plugin is installed.
    pub cni: bool,
    /// The namespace of ztunnel, where it is another than the control plane's.
    pub ztunnel_namespace: Option<&'a str>,
}

/// Values of the chart base.
pub(super) fn base(request: &Request, around: &Around) -> Map<String, Value> {
    let mut values = common(request, around.profile, around.platform);
    values.insert("defaultRevision".to_owned(), json!(around.default_revision));
    merge(&mut values, &request.values);
    merge(&mut values, &request.component_values.base);
    values
}

/// Values of the chart istiod; tags have a step of their own.
pub(super) fn istiod(request: &Request, around: &Around) -> Map<String, Value> {
    let mut values = common(request, around.profile, around.platform);
    values.insert("revision".to_owned(), json!(request.revision()));
    if around.cni && around.platform != Some("openshift") {
        merge(&mut values, &object(json!({"pilot": {"cni": {"enabled": true}}})));
    }
    if let Some(namespace) = around.ztunnel_namespace {
        merge(&mut values, &object(json!({"trustedZtunnelNamespace": namespace})));
    }
    merge(&mut values, &request.values);
    merge(&mut values, &request.component_values.istiod);
    values
}

/// Values of the chart cni.
pub(super) fn cni(request: &Request, around: &Around) -> Map<String, Value> {
    let mut values = common(request, around.profile, around.platform);
    merge(&mut values, &request.values);
    merge(&mut values, &request.component_values.cni);
    values
}

/// Values of the chart ztunnel.
pub(super) fn ztunnel(request: &Request, around: &Around) -> Map<String, Value> {
    let mut values = common(request, around.profile, around.platform);
    merge(&mut values, &request.values);
    merge(&mut values, &request.component_values.ztunnel);
    values
}

/// Values of the chart gateway. Its schema refuses what it does not know, so it gets only its own.
pub(super) fn gateway(request: &Request, around: &Around, gateway: &Gateway) -> Map<String, Value> {
    let mut values = Map::new();
    if !request.revision().is_empty() {
        values.insert("revision".to_owned(), json!(request.revision()));
    }
    if let Some(platform) = around.platform {
        values.insert("global".to_owned(), json!({ "platform": platform }));
    }
    if !request.pull_secrets.is_empty() {
        let named: Vec<_> = request.pull_secrets.iter().map(|name| json!({ "name": name })).collect();
        values.insert("imagePullSecrets".to_owned(), json!(named));
    }
    if around.profile == Profile::Demo {
        merge(
            &mut values,
            &object(json!({
                "autoscaling": {"enabled": false},
                "resources": {"requests": {"cpu": "10m", "memory": "40Mi"}},
            })),
        );
    }
    merge(&mut values, &gateway.values);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_merged_and_other_values_are_replaced() {
        let mut values = object(json!({"a": {"b": 1, "c": [1, 2]}, "d": 1}));
        merge(&mut values, &object(json!({"a": {"c": [3], "e": {}}, "d": null})));
        assert_eq!(Value::Object(values), json!({"a": {"b": 1, "c": [3], "e": {}}, "d": null}));
    }

    #[test]
    fn mirror_applies_to_all_images_and_user_values_take_precedence() {
        let mut request = Request::of("1.30.3".parse().unwrap());
        request.hub = Some("mirror.example/istio".to_owned());
        request.pull_secrets = vec!["mirror".to_owned()];
        request.values = object(json!({"global": {"proxy": {"logLevel": "debug"}, "tag": "mine"}}));
        request.component_values.istiod = object(json!({"global": {"tag": "istiods"}}));
        let around = Around {
            profile: Profile::Demo,
            platform: None,
            default_revision: "default",
            cni: false,
            ztunnel_namespace: None,
        };
        let base = base(&request, &around);
        let istiod = istiod(&request, &around);
        assert_eq!(base["global"]["tag"], "mine");
        assert_eq!(istiod["global"]["tag"], "istiods");
        assert_eq!(istiod["global"]["hub"], "mirror.example/istio");
        assert_eq!(istiod["global"]["imagePullSecrets"], json!(["mirror"]));
        assert_eq!(istiod["profile"], "demo");
        let ingress = Gateway { name: "istio-ingressgateway".to_owned(), namespace: None, values: Map::new() };
        let gateway = gateway(&request, &around, &ingress);
        assert_eq!(gateway["imagePullSecrets"], json!([{"name": "mirror"}]));
        assert_eq!(gateway.get("hub"), None);
    }

    #[test]
    fn chart_without_profiles_gets_no_profile_value() {
        let request = Request::of("1.20.8".parse().unwrap());
        assert_eq!(common(&request, Profile::Demo, None).get("profile"), None);
    }
}
