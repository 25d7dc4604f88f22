//! Checks for subsets that select all pods of the service. Source: Kiali's check KIA0209.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "routing.SubsetLabels",
    codes: &[&SH7111],
    inputs: &[Kind::DestinationRule],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static SH7111: Code = Code {
    id: "SH7111",
    name: "SubsetWithoutLabels",
    level: Level::Warning,
    title: "Subset has no labels",
    why: "The subset selects all pods of the service, so a route to it reaches other versions too.",
    remedy: "Give the subset labels that distinguish its pods, such as version: v1.",
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
    // A single subset without labels is a common way to give a route its own settings.
    if subsets.len() < 2 {
        return;
    }
    for (index, subset) in subsets.iter().enumerate().filter(|(_, subset)| subset["labels"].is_empty()) {
        let name = subset["name"].text();
        let message = format!("subset {name} has no labels, so it selects all pods of {}", rule.spec()["host"].text());
        findings.add(&SH7111, rule, message).field(format!("spec.subsets[{index}]")).arguments([name]);
    }
}
