//! Checks for overlapping injection webhooks and webhooks without a service. Source: istio
//! `analyzers/webhook/webhook.go`.
//!
//! Differs from istioctl: a missing service is reported only if services of its namespace are among the objects.

use std::collections::{BTreeMap, BTreeSet};

use crate::istio::membership::{INJECT, INJECTION, REVISION};
use crate::istio::selector;
use crate::rules::support::{completeness, text};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "webhook.Analyzer",
    codes: &[&IST0139],
    inputs: &[Kind::MutatingWebhookConfiguration, Kind::Service, Kind::ServiceEntry, Kind::Namespace, Kind::MeshConfig],
    check: Check::Once(check),
};

static IST0139: Code = Code {
    id: "IST0139",
    name: "InvalidWebhook",
    level: Level::Error,
    title: "Injection webhook overlaps with another one or references a missing service",
    why: "If two webhooks match a pod, it gets two sidecars or the sidecar of the wrong revision. If the service is \
          missing, pods cannot be created, or start without a sidecar.",
    remedy: "Delete the webhook of a removed revision, or make the selectors mutually exclusive. Point the webhook to \
             the Service of a running istiod.",
    source: "https://istio.io/latest/docs/setup/upgrade/canary/",
    example: Example {
        before: "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: old}
webhooks:
- name: sidecar-injector.istio.io
  clientConfig: {url: 'https://old.example.com/inject'}
  namespaceSelector: {matchLabels: {istio-injection: enabled}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: new}
webhooks:
- name: sidecar-injector.istio.io
  clientConfig: {url: 'https://new.example.com/inject'}
  namespaceSelector: {matchLabels: {istio-injection: enabled}}
",
        after: "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: new}
webhooks:
- name: sidecar-injector.istio.io
  clientConfig: {url: 'https://new.example.com/inject'}
  namespaceSelector: {matchLabels: {istio-injection: enabled}}
",
    },
    also: &[],
};

/// Limit on the revisions that are compared; the work grows with their square. A cluster has far fewer.
const MOST_REVISIONS: usize = 50;

struct Webhook<'a> {
    configuration: &'a Resource,
    index: usize,
    node: &'a Value,
}

impl Webhook<'_> {
    fn name(&self) -> String {
        format!("{}/{}", self.configuration.name, self.node["name"].text())
    }
}

fn check(view: &View<'_>, findings: &mut Findings) {
    let mut webhooks: Vec<Webhook<'_>> = Vec::new();
    let mut revisions: BTreeSet<&str> = BTreeSet::new();
    for configuration in view.all(Kind::MutatingWebhookConfiguration) {
        let hooks = configuration.root["webhooks"].items();
        let own = revisions_of(configuration);
        if own.is_empty() && !hooks.iter().any(|hook| hook["name"].text().ends_with("istio.io")) {
            continue;
        }
        revisions.extend(own);
        webhooks.extend(hooks.iter().enumerate().map(|(index, node)| Webhook { configuration, index, node }));
    }
    let revisions: Vec<&str> = revisions.into_iter().take(MOST_REVISIONS).collect();
    check_overlaps(&webhooks, &revisions, findings);
    check_services(view, &webhooks, findings);
}

/// Revisions that a webhook configuration serves or matches.
fn revisions_of(configuration: &Resource) -> BTreeSet<&str> {
    let mut revisions: BTreeSet<&str> = configuration.label(REVISION).into_iter().collect();
    for hook in configuration.root["webhooks"].items() {
        for selector in [&hook["namespaceSelector"], &hook["objectSelector"]] {
            revisions.extend(selector["matchLabels"][REVISION].as_str());
            let expressions = selector["matchExpressions"].items().iter();
            let of_revision = expressions.filter(|expression| expression["key"].text() == REVISION);
            revisions.extend(of_revision.flat_map(|expression| expression["values"].texts()));
        }
    }
    revisions
}

/// Checks that at most one webhook matches each possible combination of namespace and pod labels.
fn check_overlaps(webhooks: &[Webhook<'_>], revisions: &[&str], findings: &mut Findings) {
    let labels = |key: &'static str, values: [&'static str; 2]| {
        let own = [None, Some(values[0]), Some(values[1])].into_iter();
        let revision = std::iter::once(None).chain(revisions.iter().copied().map(Some));
        let all: Vec<_> = revision.flat_map(|revision| own.clone().map(move |own| (own, revision))).collect();
        move |selector: fn(&Value) -> &Value| -> Vec<Vec<bool>> {
            let matches = |own: Option<&'static str>, revision, node| {
                selector::selects_by(selector(node), &|label| match label {
                    REVISION => revision,
                    label if label == key => own,
                    _ => None,
                })
            };
            let of = |(own, revision): &(Option<&'static str>, _)| {
                webhooks.iter().map(|webhook| matches(*own, *revision, webhook.node)).collect()
            };
            all.iter().map(of).collect()
        }
    };
    let namespaces = labels(INJECTION, ["enabled", "disabled"])(|webhook| &webhook["namespaceSelector"]);
    let pods = labels(INJECT, ["true", "false"])(|webhook| &webhook["objectSelector"]);
    // Groups webhooks by their overlap, so that each is reported once.
    let mut overlaps: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for in_namespace in &namespaces {
        for on_pod in &pods {
            let matching: Vec<usize> = (0..webhooks.len()).filter(|at| in_namespace[*at] && on_pod[*at]).collect();
            if matching.len() > 1 {
                for at in &matching {
                    overlaps.entry(*at).or_default().extend(matching.iter().filter(|other| *other != at));
                }
            }
        }
    }
    for (at, others) in overlaps {
        let others = text::some_of(&others.into_iter().map(|other| webhooks[other].name()).collect::<Vec<_>>());
        let webhook = &webhooks[at];
        let message = format!("webhook {} matches pods that {others} also match", webhook.name());
        findings
            .add(&IST0139, webhook.configuration, message.clone())
            .field(format!("webhooks[{}].name", webhook.index))
            .arguments([message]);
    }
}

fn check_services(view: &View<'_>, webhooks: &[Webhook<'_>], findings: &mut Findings) {
    for webhook in webhooks {
        let service = &webhook.node["clientConfig"]["service"];
        let (namespace, name) = (service["namespace"].text(), service["name"].text());
        let is_known = || completeness::knows_service(view, namespace, name);
        if service.is_null() || view.has_named(Kind::Service, namespace, name) || !is_known() {
            continue;
        }
        let message = format!("webhook {} references Service {namespace}/{name}, which does not exist", webhook.name());
        findings
            .add(&IST0139, webhook.configuration, message.clone())
            .field(format!("webhooks[{}].clientConfig.service.name", webhook.index))
            .arguments([message]);
    }
}
