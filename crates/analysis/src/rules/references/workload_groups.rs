//! Checks `WorkloadGroup`s of machines outside the cluster. Source: Kiali's checks KIA1701, KIA1702.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::generated::SERVICE_ACCOUNT;
use crate::rules::support::completeness::knows_service_accounts;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, View};

pub static RULE: Rule = Rule {
    name: "references.WorkloadGroups",
    codes: &[&SH7119, &SH7120],
    inputs: &[Kind::WorkloadGroup, Kind::ServiceAccount],
    check: Check::Namespaces(&[Kind::WorkloadGroup], check),
};

static SH7119: Code = Code {
    id: "SH7119",
    name: "WorkloadGroupLabelsEqual",
    level: Level::Warning,
    title: "WorkloadGroups in a namespace have the same labels",
    why: "Services, subsets and policies cannot distinguish them: what is intended for one group applies to both.",
    remedy: "Give each group a unique label in spec.metadata.labels.",
    source: "https://kiali.io/docs/features/validations/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: db, namespace: shop}
spec: {metadata: {labels: {app: db}}, template: {serviceAccount: db}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: db-replica, namespace: shop}
spec: {metadata: {labels: {app: db}}, template: {serviceAccount: db}}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: db, namespace: shop}
spec: {metadata: {labels: {app: db}}, template: {serviceAccount: db}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: db-replica, namespace: shop}
spec: {metadata: {labels: {app: db, role: replica}}, template: {serviceAccount: db}}
",
    },
    also: &["KIA1702"],
};

static SH7120: Code = Code {
    id: "SH7120",
    name: "WorkloadGroupAccountUnknown",
    level: Level::Warning,
    title: "Service account of a WorkloadGroup does not exist",
    why: "A machine that joins the mesh receives no identity and stays outside the mesh.",
    remedy: "Create the service account, or correct spec.template.serviceAccount.",
    source: "https://kiali.io/docs/features/validations/",
    example: Example {
        before: "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: database, namespace: shop}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: db, namespace: shop}
spec: {metadata: {labels: {app: db}}, template: {serviceAccount: db}}
",
        after: "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: database, namespace: shop}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: db, namespace: shop}
spec: {metadata: {labels: {app: db}}, template: {serviceAccount: database}}
",
    },
    also: &["KIA1701"],
};

fn check(view: &View<'_>, namespace: &str, findings: &mut Findings) {
    let mut alike: BTreeMap<String, &Arc<Resource>> = BTreeMap::new();
    for group in view.in_namespace(Kind::WorkloadGroup, namespace) {
        let account = group.spec().at("template.serviceAccount").text();
        let knows_accounts = view.is_stated_whole() || knows_service_accounts(view, namespace);
        if !matches!(account, "" | "default")
            && knows_accounts
            && !view.has_named(Kind::ServiceAccount, namespace, account)
            && !view.may_be_made(SERVICE_ACCOUNT, namespace, account)
        {
            let message = format!("namespace {namespace} has no service account {account}");
            findings.add(&SH7120, group, message).field("spec.template.serviceAccount").arguments([account]);
        }
        let labels = Selector::new(group.spec().at("metadata.labels")).to_string();
        if labels.is_empty() {
            continue;
        }
        let first = *alike.entry(labels.clone()).or_insert(group);
        if first.name != group.name {
            let message = format!("{} has the same labels, {labels}", first.name);
            findings
                .add(&SH7119, group, message)
                .field("spec.metadata.labels")
                .arguments([first.name.as_str(), &labels])
                .related(first);
        }
    }
}
