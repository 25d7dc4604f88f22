//! Checks for hosts that do not exist and subsets without workloads. Source: istio
//! `analyzers/destinationrule/subset.go`.
//!
//! Differs from istioctl: workloads without pods count (istio/istio#51273), as do `WorkloadEntry`, `WorkloadGroup` and
//! the endpoints of a `ServiceEntry`; a wildcard host matches services; labels of cluster and network, which no pod
//! has, are considered matched. Nothing is reported if the services of the host's namespace are not among the objects.

use std::sync::Arc;

use crate::istio::topology;
use crate::rules::support::{completeness, suggest};
use crate::{
    Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, Selector, Value, View, Within, hosts,
};

pub static RULE: Rule = Rule {
    name: "destinationrule.SubsetSelectPodAnalyzer",
    codes: &[&IST0173, &IST0174],
    inputs: &[
        Kind::DestinationRule,
        Kind::Service,
        Kind::ServiceEntry,
        Kind::WorkloadEntry,
        Kind::WorkloadGroup,
        Kind::Namespace,
        Kind::Node,
        Kind::MeshConfig,
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::CronJob,
    ],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static IST0173: Code = Code {
    id: "IST0173",
    name: "DestinationRuleSubsetNotSelectPods",
    level: Level::Error,
    title: "Subset labels match no workload",
    why: "The subset has no endpoints, so requests that are routed to it fail with 503.",
    remedy: "Correct the labels of the subset, or those in the pod template.",
    source: "https://istio.io/latest/docs/reference/config/networking/destination-rule/#Subset",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, subsets: [{name: v2, labels: {version: v2}}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {metadata: {labels: {app: cart, version: v1}}, spec: {containers: [{name: cart, image: cart}]}}}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {metadata: {labels: {app: cart, version: v1}}, spec: {containers: [{name: cart, image: cart}]}}}
",
    },
    also: &["KIA0203"],
};

static IST0174: Code = Code {
    id: "IST0174",
    name: "UnknownDestinationRuleHost",
    level: Level::Warning,
    title: "Host of the DestinationRule does not exist",
    why: "The rule has no effect: its load balancing, connection limits and TLS settings apply to no service.",
    remedy: "Correct the host, with its namespace if it is in another one, or remove the rule.",
    source: "https://istio.io/latest/docs/reference/config/networking/destination-rule/#DestinationRule",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cartt, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80}]}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec: {host: cart, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80}]}
",
    },
    also: &["KIA0202"],
};

static BY_NODE: KeyIndex = KeyIndex {
    name: "pods by node",
    kinds: &[Kind::Pod],
    keys: |pod, keys| keys.add(&[pod.spec()["nodeName"].text()]),
};

static ENTRIES: KeyIndex = KeyIndex {
    name: "workload entries by label",
    kinds: &[Kind::WorkloadEntry, Kind::WorkloadGroup],
    keys: |workload, keys| {
        for labels in entry_labels(workload) {
            for (key, value) in labels.entries() {
                keys.add(&[key, value.text()]);
            }
        }
    },
};

/// Labels derived from the location of a pod: its node, cluster and network.
const NODE_LABELS: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];
const HOSTNAME: &str = "kubernetes.io/hostname";
const ELSEWHERE: [&str; 2] = [topology::CLUSTER, topology::NETWORK];

fn check(view: &View<'_>, rule: &Resource, findings: &mut Findings) {
    let host = rule.spec()["host"].text();
    let providers = view.providers(rule, host);
    if providers.is_empty() {
        check_host(view, rule, host, findings);
        return;
    }
    let subsets = rule.spec()["subsets"].items();
    if subsets.is_empty() {
        return;
    }
    if providers.iter().any(|it| it.kind == Kind::Service && completeness::is_for_unknown_pods(view, it)) {
        return;
    }
    for (index, subset) in subsets.iter().enumerate() {
        let labels = Selector::new(&subset["labels"]);
        // A subset without labels has all endpoints; it only has a policy of its own.
        if labels.is_empty() {
            continue;
        }
        let is_selected = providers.iter().any(|provider| {
            let of_entry = Selector::new(&provider.spec()["workloadSelector"]["labels"]).and(&labels);
            has_workload(view, &of_entry) || has_endpoint(provider, &labels)
        });
        if is_selected {
            continue;
        }
        let name = subset["name"].text();
        let is_known = |provider: &Arc<Resource>| {
            let has_endpoints = !provider.spec()["endpoints"].is_empty();
            has_endpoints || completeness::knows_workloads(view, Within::Namespace(&provider.namespace), &labels)
        };
        if !providers.iter().all(is_known) {
            continue;
        }
        findings
            .add(&IST0173, rule, format!("no workload has the labels {labels} of subset {name}"))
            .field(format!("spec.subsets[{index}].labels"))
            .arguments([name]);
    }
}

fn check_host(view: &View<'_>, rule: &Resource, host: &str, findings: &mut Findings) {
    let full = hosts::fqdn(host, &rule.namespace);
    if full.starts_with('*') && covers_any(view, &full) {
        return;
    }
    if !completeness::knows_host(view, &full, host) && !suggest::is_short(view, host) {
        return;
    }
    let hint = suggest::host(view, host, &rule.namespace);
    findings
        .add(&IST0174, rule, format!("host {full} matches no service visible to this namespace{hint}"))
        .field("spec.host")
        .arguments([host]);
}

/// Whether a wildcard host matches an existing host.
fn covers_any(view: &View<'_>, wildcard: &str) -> bool {
    let services = view.all(Kind::Service).iter();
    let mut of_services = services.map(|service| hosts::fqdn(&service.name, &service.namespace));
    let mut of_entries = view.all(Kind::ServiceEntry).iter().flat_map(|entry| entry.spec()["hosts"].texts());
    of_services.any(|host| hosts::covers(wildcard, &host)) || of_entries.any(|host| hosts::overlaps(wildcard, host))
}

/// Endpoints of a `ServiceEntry` have labels too.
fn has_endpoint(provider: &Resource, labels: &Selector<'_>) -> bool {
    let endpoints = provider.spec()["endpoints"].items();
    endpoints.iter().any(|endpoint| labels.matches(&endpoint["labels"]))
}

fn has_workload(view: &View<'_>, wanted: &Selector<'_>) -> bool {
    let is_of_node = |key: &str| NODE_LABELS.contains(&key) || key == HOSTNAME;
    let pairs = wanted.pairs().iter().copied().filter(|(key, _)| !ELSEWHERE.contains(key));
    let (of_node, own): (Vec<_>, Vec<_>) = pairs.partition(|(key, _)| is_of_node(key));
    let own = Selector::from_pairs(own);
    if of_node.is_empty() {
        return view.has_workload(Within::Anywhere, &own) || has_entry(view, &own);
    }
    // A pod that is not scheduled yet may run on any node.
    let is_there = |workload: &Resource| {
        workload.kind != Kind::Pod || of_node.iter().all(|(key, value)| is_at(view, workload, key, value))
    };
    if !own.is_empty() {
        return view.workloads(Within::Anywhere, &own).any(|workload| is_there(workload)) || has_entry(view, wanted);
    }
    view.all(Kind::Node).iter().any(|node| view.lookup(&BY_NODE, &[&node.name]).iter().any(|pod| is_there(pod)))
        || view.has_workload(Within::Anywhere, wanted)
        || has_entry(view, wanted)
}

/// Whether a pod's label has this value; topology labels come from its node.
fn is_at(view: &View<'_>, pod: &Resource, key: &str, value: &str) -> bool {
    let name = pod.spec()["nodeName"].text();
    let of_node =
        if key == HOSTNAME { Some(name) } else { view.get(Kind::Node, "", name).and_then(|node| node.label(key)) };
    match of_node.filter(|value| !value.is_empty()) {
        Some(of_node) => of_node == value,
        None => pod.pod_labels()[key].as_str() == Some(value),
    }
}

fn has_entry(view: &View<'_>, wanted: &Selector<'_>) -> bool {
    let Some((key, value)) = wanted.pairs().first() else {
        return view.has(Kind::WorkloadEntry);
    };
    let candidates = view.lookup(&ENTRIES, &[key, value]);
    candidates.iter().any(|workload| entry_labels(workload).into_iter().any(|labels| wanted.matches(labels)))
}

/// Labels of a `WorkloadEntry`, or of the template in a `WorkloadGroup`.
fn entry_labels(workload: &Resource) -> [&Value; 2] {
    let spec = workload.spec();
    if workload.kind == Kind::WorkloadEntry {
        [&spec["labels"], workload.labels()]
    } else {
        [&spec["metadata"]["labels"], &spec["template"]["labels"]]
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    const RULE: &str = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
        metadata: {name: a, namespace: shop}\nspec: {host: cart, subsets: [{name: v, labels: {LABELS}}]}\n---\n\
        apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\nspec: {ports: [{port: 80, name: http}]}\n\
        ---\napiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}\n---\n\
        apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop, labels: {app: cart}}\nspec: {nodeName: n1}\n";

    fn is_reported(labels: &str) -> bool {
        reported(&RULE.replace("LABELS", labels)).contains("IST0173")
    }

    #[test]
    fn subset_without_labels_has_all_endpoints() {
        let text = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a, namespace: shop}\n\
                    spec: {hosts: [a.example], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS, endpoints: [{address: b.example}]}\n---\n\
                    apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a, namespace: shop}\n\
                    spec: {host: a.example, subsets: [{name: tls, labels: LABELS, trafficPolicy: {tls: {mode: SIMPLE}}}]}\n";
        assert!(!reported(&text.replace("LABELS", "{}")).contains("IST0173"));
        assert!(reported(&text.replace("LABELS", "{app: a}")).contains("IST0173"));
    }

    #[test]
    fn node_labels_count_as_pod_labels() {
        assert!(!is_reported("app: cart"));
        assert!(!is_reported("topology.kubernetes.io/zone: z1"));
        assert!(!is_reported("topology.kubernetes.io/zone: z1, app: cart"));
        assert!(!is_reported("kubernetes.io/hostname: n1"));
        assert!(!is_reported("topology.istio.io/cluster: east"));
        assert!(is_reported("topology.kubernetes.io/zone: z2"));
        assert!(is_reported("topology.kubernetes.io/zone: z1, app: other"));
    }

    #[test]
    fn wildcard_matches_its_hosts() {
        let rule =
            |host: &str| RULE.replace("host: cart, subsets: [{name: v, labels: {LABELS}}]", &format!("host: '{host}'"));
        assert!(!reported(&rule("*.shop.svc.cluster.local")).contains("IST0174"));
        assert!(!reported(&rule("*")).contains("IST0174"));
        assert!(reported(&rule("none")).contains("IST0174"));
    }
}
