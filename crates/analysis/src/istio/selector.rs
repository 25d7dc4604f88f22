//! Label selectors. Source: `k8s.io/apimachinery/pkg/apis/meta/v1`, `LabelSelectorAsSelector`.

use super::Json;

/// The label that the API server sets on each namespace to the namespace's name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Whether a `LabelSelector` selects labels: each pair of `matchLabels` and each of `matchExpressions` has to hold. An
/// empty selector selects everything; one with an operator that Kubernetes does not know selects nothing, since the
/// API server refuses it.
pub fn selects<J: Json>(selector: &J, labels: &J) -> bool {
    selects_by(selector, &|key| labels.field(key)?.string())
}

/// The same for a namespace, which has its name as a label whether its manifest sets it or not.
pub fn selects_namespace<'l, J: Json>(selector: &J, name: &'l str, labels: Option<&'l J>) -> bool {
    selects_by(selector, &|key| if key == NAMESPACE_NAME { Some(name) } else { labels?.field(key)?.string() })
}

/// The same for labels that `label` looks up.
pub fn selects_by<'l, J: Json>(selector: &J, label: &(dyn Fn(&str) -> Option<&'l str> + '_)) -> bool {
    let has_pairs = selector.field("matchLabels").is_none_or(|pairs| {
        pairs.all_fields(&mut |key, value| label(key).is_some_and(|it| value.string() == Some(it)))
    });
    has_pairs && selector.field("matchExpressions").is_none_or(|all| all.array().iter().all(|one| holds(one, label)))
}

fn holds<'l, J: Json>(expression: &J, label: &(dyn Fn(&str) -> Option<&'l str> + '_)) -> bool {
    let value = label(expression.string_at(&["key"]).unwrap_or_default());
    let is_listed = |value: &str| {
        let values = expression.field("values").map_or(&[][..], Json::array);
        values.iter().any(|listed| listed.string() == Some(value))
    };
    match expression.string_at(&["operator"]).unwrap_or_default() {
        "In" => value.is_some_and(is_listed),
        "NotIn" => !value.is_some_and(is_listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn selectors_match_like_the_api_server() {
        let labels = json!({"app": "web", "tier": "front"});
        let one = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let table: [(Value, bool); 14] = [
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "api"}}), false),
            (json!({"matchLabels": {"none": "x"}}), false),
            (one("app", "In", &["api", "web"]), true),
            (one("app", "In", &["api"]), false),
            (one("none", "In", &["api"]), false),
            (one("app", "NotIn", &["web"]), false),
            (one("none", "NotIn", &["web"]), true),
            (one("app", "Exists", &[]), true),
            (one("none", "Exists", &[]), false),
            (one("app", "DoesNotExist", &[]), false),
            (one("app", "Matches", &["web"]), false),
            (
                json!({"matchLabels": {"app": "api"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
                false,
            ),
        ];
        for (selector, wanted) in table {
            assert_eq!(selects(&selector, &labels), wanted, "{selector}");
            let own = |value: &Value| serde_json::from_value::<crate::Value>(value.clone()).unwrap();
            assert_eq!(selects(&own(&selector), &own(&labels)), wanted, "{selector}");
        }
        let by_name = one("kubernetes.io/metadata.name", "In", &["shop"]);
        assert!(selects_namespace(&by_name, "shop", None) && !selects_namespace(&by_name, "web", Some(&labels)));
    }
}
