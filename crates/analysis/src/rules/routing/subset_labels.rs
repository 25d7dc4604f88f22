//! Subsets that are the whole service. Source: Kiali's check KIA0209.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "routing.SubsetLabels",
    codes: &[&SH7111],
    reads: &[Kind::DestinationRule],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static SH7111: Code = Code {
    id: "SH7111",
    name: "SubsetWithoutLabels",
    level: Level::Warning,
    title: "A subset has no labels",
    why: "It is all pods of the service, so a route to this subset reaches the other versions too.",
    remedy: "Give the subset the labels that tell its pods from others, such as version: v1.",
    source: "https://kiali.io/docs/features/validations/#kia0209---this-subset-has-no-labels",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec:
  host: cart
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec:
  host: cart
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
",
    },
    also: &["KIA0209"],
};

fn check(_: &View<'_>, rule: &Resource, findings: &mut Findings) {
    let subsets = rule.spec()["subsets"].items();
    // A single subset for everything is a way to give a route settings of its own.
    if subsets.len() < 2 {
        return;
    }
    for (index, subset) in subsets.iter().enumerate().filter(|(_, subset)| subset["labels"].is_empty()) {
        let name = subset["name"].text();
        let message = format!("subset {name} has no labels: it is all pods of {}", rule.spec()["host"].text());
        findings.add(&SH7111, rule, message).field(format!("spec.subsets[{index}]")).arguments([name]);
    }
}
