//! What the control plane has said already: IST0171 tells it. Knows no rule.

use crate::Resource;

/// Whether a route's or gateway's status has a condition of this type that is False.
pub fn is_refused(resource: &Resource, condition: &str) -> bool {
    let refused = |conditions: &crate::Node| {
        conditions.items().iter().any(|it| it["type"].text() == condition && it["status"].text() == "False")
    };
    let status = resource.status();
    refused(&status["conditions"]) || status["parents"].items().iter().any(|parent| refused(&parent["conditions"]))
}
