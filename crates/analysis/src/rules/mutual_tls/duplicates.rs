//! Checks for several `PeerAuthentication`s of which only one applies. Source: istio
//! `pilot/pkg/model/authentication.go`; Kiali's checks KIA0002, KIA0003.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::mode::is_for_namespace;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, View};

pub static RULE: Rule = Rule {
    name: "mutual_tls.Duplicates",
    codes: &[&SH7122],
    inputs: &[Kind::PeerAuthentication],
    check: Check::Namespaces(&[Kind::PeerAuthentication], check),
};

static SH7122: Code = Code {
    id: "SH7122",
    name: "DuplicatePeerAuthentications",
    level: Level::Error,
    title: "Several PeerAuthentications apply to the same workloads",
    why: "Only the oldest applies; the others have no effect. When the oldest is deleted or recreated, another mode \
          takes effect immediately.",
    remedy: "Use one PeerAuthentication without a selector for each namespace, and one for each selector.",
    source: "https://istio.io/latest/docs/concepts/security/#peer-authentication",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: migration, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
",
        after: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
",
    },
    also: &["KIA0002", "KIA0003"],
};

fn check(view: &View<'_>, namespace: &str, findings: &mut Findings) {
    let mut groups: BTreeMap<String, Vec<&Arc<Resource>>> = BTreeMap::new();
    for policy in view.in_namespace(Kind::PeerAuthentication, namespace) {
        let labels = Selector::new(policy.spec().at("selector.matchLabels")).to_string();
        groups.entry(labels).or_default().push(policy);
    }
    for group in groups.values().filter(|group| group.len() > 1) {
        for policy in group {
            let others: Vec<_> = group.iter().filter(|other| other.name != policy.name).collect();
            if others.is_empty() {
                // The same policy in several clusters is not a duplicate.
                continue;
            }
            let names: Vec<&str> = others.iter().map(|other| other.name.as_str()).collect();
            let who = if is_for_namespace(policy) { "the whole namespace" } else { "the same workloads" };
            let message = format!(
                "{} also applies to {who}; only the oldest takes effect",
                crate::rules::support::text::some_of(&names)
            );
            let finding = findings.add(&SH7122, policy, message).arguments(names);
            for other in others.iter().take(5) {
                finding.related(other);
            }
        }
    }
}
