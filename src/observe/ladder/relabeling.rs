//! Rules of a store's configuration that drop Istio's series. Source: Prometheus documentation, "Configuration",
//! `relabel_config`: expressions are anchored at both ends; absent fields have their defaults.

use regex::RegexBuilder;
use serde_json::Value;

use crate::analysis::istio::Json as _;

/// Largest compiled expression, bytes. A rule with a larger one, or one that is not valid here, is left out.
const MOST: usize = 1 << 18;

/// Jobs whose `metric_relabel_configs` drop a metric whatever its labels are.
pub(super) fn dropping_jobs(configuration: &Value, metric: &str) -> Vec<String> {
    let drops = |rule: &Value| {
        let by_name = rule["source_labels"].as_array().is_some_and(|all| all.len() == 1 && all[0] == "__name__");
        by_name
            && match rule["action"].as_str() {
                Some("drop") => matches(rule, metric) == Some(true),
                Some("keep") => matches(rule, metric) == Some(false),
                _ => false,
            }
    };
    jobs(configuration, &drops)
}

/// Jobs whose rules remove the label `reporter`.
pub(super) fn label_dropping_jobs(configuration: &Value) -> Vec<String> {
    let drops = |rule: &Value| match rule["action"].as_str() {
        Some("labeldrop") => matches(rule, "reporter") == Some(true),
        Some("labelkeep") => matches(rule, "reporter") == Some(false),
        _ => false,
    };
    jobs(configuration, &drops)
}

fn jobs(configuration: &Value, drops: &dyn Fn(&Value) -> bool) -> Vec<String> {
    let named = |job: &Value| format!("job {}", job["job_name"].as_str().unwrap_or_default());
    let all = configuration["scrape_configs"].array().iter();
    all.filter(|job| job["metric_relabel_configs"].array().iter().any(drops)).map(named).collect()
}

fn matches(rule: &Value, text: &str) -> Option<bool> {
    let expression = rule["regex"].as_str().unwrap_or("(.*)");
    let anchored = format!("^(?s:{expression})$");
    let regex = RegexBuilder::new(&anchored).size_limit(MOST).build().ok()?;
    Some(regex.is_match(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn relabeling_drops_the_same_series_as_prometheus() {
        let rule = |action: &str, regex: &str| json!({"source_labels": ["__name__"], "action": action, "regex": regex});
        let drops = |rule: Value| {
            let all = json!({"scrape_configs": [{"job_name": "pods", "metric_relabel_configs": [rule]}]});
            dropping_jobs(&all, "istio_requests_total") == ["job pods"]
        };
        for (rule, wanted) in [
            (rule("drop", "istio_.*"), true),
            (rule("drop", "istio_(requests|tcp_sent_bytes)_total"), true),
            (rule("drop", "requests"), false),
            (rule("drop", "istio_requests"), false),
            (rule("keep", "up|envoy_.*"), true),
            (rule("keep", "istio_.+"), false),
            (rule("replace", "istio_.*"), false),
            (rule("drop", "istio_(("), false),
            (json!({"source_labels": ["__name__", "job"], "action": "drop", "regex": ".*"}), false),
        ] {
            assert_eq!(drops(rule.clone()), wanted, "{rule}");
        }
        let labels = json!({"scrape_configs": [{"job_name": "a", "metric_relabel_configs": [{"action": "labeldrop", "regex": "reporter|source_.*"}]}]});
        assert_eq!(label_dropping_jobs(&labels), ["job a"]);
    }
}
