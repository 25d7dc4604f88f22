//! Values that no chart reads, most often as they are misspelt: Helm says nothing of them. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Component, Finding, Request, Severity};
use crate::suggest;

/// A finding for each value of the request that is read by none of the charts it goes to. `whole` says that these are
/// all charts of the request.
#[must_use]
pub fn unused_values(request: &Request, charts: &[(Component, BTreeSet<String>)], whole: bool) -> Vec<Finding> {
    let of = |component: Component| -> BTreeSet<&str> {
        let these = charts.iter().filter(|(it, _)| *it == component);
        these.flat_map(|(_, keys)| keys).map(String::as_str).collect()
    };
    let own = &request.component_values;
    let mut found: Vec<_> = [
        (Component::Base, &own.base),
        (Component::Istiod, &own.istiod),
        (Component::Cni, &own.cni),
        (Component::Ztunnel, &own.ztunnel),
    ]
    .into_iter()
    .map(|(component, values)| (format!("component_values.{}", component.as_str()), of(component), values))
    .filter(|(_, keys, _)| !keys.is_empty())
    .collect();
    if whole {
        // The chart gateway gets its own.
        let shared = charts.iter().filter(|(component, _)| *component != Component::Gateway);
        found.push((
            "values".to_owned(),
            shared.flat_map(|(_, keys)| keys).map(String::as_str).collect(),
            &request.values,
        ));
    }
    found.iter().flat_map(|(field, keys, values)| judge(field, keys, values)).collect()
}

fn judge(field: &str, keys: &BTreeSet<&str>, values: &Map<String, Value>) -> Vec<Finding> {
    // Some charts read what others have below `global` without it.
    let is_known = |name: &str| keys.contains(name) || name.strip_prefix("global.").is_some_and(|it| keys.contains(it));
    let global = values.get("global").and_then(Value::as_object).into_iter().flatten();
    let names = values.keys().cloned().chain(global.map(|(key, _)| format!("global.{key}")));
    let told = |name: String| {
        let beside = keys.iter().copied().filter(|key| key.contains('.') == name.contains('.'));
        let meant = suggest::nearest(&name, beside);
        let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        let message = format!("unknown Helm value {field}.{name}: no chart of this version uses it{meant}");
        Finding::new(Severity::Warning, "values", message)
    };
    names.filter(|name| !is_known(name)).map(told).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(values: &Value, whole: bool) -> Vec<String> {
        let mut request = Request::of("1.30.3".parse().unwrap());
        request.values = values.as_object().unwrap().clone();
        request.component_values.cni = json!({"pilot": {}}).as_object().unwrap().clone();
        request.component_values.ztunnel = request.component_values.cni.clone();
        let keys = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let charts = [
            (Component::Istiod, keys(&["global", "global.hub", "meshConfig", "pilot"])),
            (Component::Cni, keys(&["cniBinDir", "logLevel"])),
            (Component::Gateway, keys(&["service"])),
        ];
        unused_values(&request, &charts, whole).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn unknown_chart_values_are_reported_with_a_suggestion() {
        let given = json!({
            "meshconfig": {"accessLogFile": "/dev/stdout"}, "cniBinDir": "/", "service": {},
            "global": {"hub": "here", "logLevel": "debug", "hubb": "there"},
        });
        let by_cni = "unknown Helm value component_values.cni.pilot: no chart of this version uses it";
        assert_eq!(
            told(&given, true),
            [
                by_cni,
                "unknown Helm value values.meshconfig: no chart of this version uses it; did you mean meshConfig?",
                "unknown Helm value values.service: no chart of this version uses it",
                "unknown Helm value values.global.hubb: no chart of this version uses it; did you mean global.hub?",
            ]
        );
        assert_eq!(told(&given, false), [by_cni], "the others may be for charts that are not there now");
    }
}
