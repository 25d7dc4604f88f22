//! Reads status conditions, so that rules do not repeat what IST0171 reports. Contains no rule.

use crate::Resource;

/// Whether a condition of this type is False in the status of a route or gateway.
pub fn is_refused(resource: &Resource, condition: &str) -> bool {
    let refused = |conditions: &crate::Value| {
        conditions.items().iter().any(|it| it["type"].text() == condition && it["status"].text() == "False")
    };
    let status = resource.status();
    refused(&status["conditions"]) || status["parents"].items().iter().any(|parent| refused(&parent["conditions"]))
}
