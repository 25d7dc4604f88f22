//! Recognizes metrics stores and Grafanas among a cluster's objects. Each signal has a weight; signals of one server are
//! combined, and programs that are known not to be one are left out. Pure: objects in, instances out.
//!
//! Sources of the signals: charts of prometheus-community, Grafana, `VictoriaMetrics` and Thanos; Prometheus Operator's
//! `pkg/prometheus/server/statefulset.go`; Istio's `samples/addons`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::image;
use super::instance::{Evidence, Flavor, Instance, InstanceKind, ServiceAddress, State, score};
use super::scrape::OPERATOR_NAME;
use super::witness::{self, Witness};
use crate::analysis::istio::managed;

/// Lowest score that is reported.
pub const THRESHOLD: f64 = 0.5;
/// Value of the label `app.kubernetes.io/part-of` on what `addon.apply` writes.
pub const ADDONS: &str = "istio-addons";

/// Objects of the cluster that discovery uses. Kinds that could not be listed are empty.
#[derive(Debug, Default)]
pub struct Observed {
    /// Services of all namespaces.
    pub services: Vec<Value>,
    /// Their `EndpointSlices`.
    pub endpoint_slices: Vec<Value>,
    /// Pods.
    pub pods: Vec<Value>,
    /// `Prometheus` objects of the Prometheus Operator.
    pub operator_prometheuses: Vec<Value>,
    /// Kinds that name a store or a Grafana, see [`witness`].
    pub witnesses: Vec<Value>,
}

/// What makes two Services one server: the kind, the selected pods and the target port.
type Place = (InstanceKind, Vec<String>, String);

/// All servers with a score of at least [`THRESHOLD`], best first, then by fingerprint.
#[must_use]
pub fn discover(observed: &Observed) -> Vec<Instance> {
    let index = Index::new(observed);
    let mut found: BTreeMap<Place, Vec<(Instance, u8)>> = BTreeMap::new();
    for service in &observed.services {
        for kind in [InstanceKind::Prometheus, InstanceKind::Grafana] {
            let Some(candidate) = index.candidate(service, kind) else { continue };
            let place = (kind, candidate.pods.clone(), candidate.container_port.clone());
            found.entry(place).or_default().push((candidate.instance, candidate.preference));
        }
    }
    let mut instances: Vec<Instance> = found.into_values().filter_map(one_of).collect();
    for witness in observed.witnesses.iter().flat_map(witness::read) {
        credit(&mut instances, &observed.services, witness);
    }
    instances.retain(|instance| instance.score >= THRESHOLD);
    instances.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
    instances
}

/// Several Services in front of the same pods and port are one server: the preferred one's address counts.
fn one_of(mut same: Vec<(Instance, u8)>) -> Option<Instance> {
    same.sort_by(|(a, preference_a), (b, preference_b)| {
        preference_b
            .cmp(preference_a)
            .then_with(|| b.score.total_cmp(&a.score))
            .then_with(|| a.fingerprint.cmp(&b.fingerprint))
    });
    let mut all = same.into_iter().map(|(instance, _)| instance);
    let mut first = all.next()?;
    for other in all {
        first.addresses.extend(other.service.map(|service| service.to_string()));
        let known: BTreeSet<String> = first.evidence.iter().map(|one| one.signal.clone()).collect();
        first.evidence.extend(other.evidence.into_iter().filter(|one| !known.contains(&one.signal)));
    }
    first.score = score(&first.evidence);
    Some(first)
}

struct Candidate {
    instance: Instance,
    /// Names of the selected pods, sorted.
    pods: Vec<String>,
    container_port: String,
    /// 1 for a Service with a cluster IP, 0 for a headless one.
    preference: u8,
}

struct Index<'a> {
    observed: &'a Observed,
    /// By namespace.
    pods: BTreeMap<&'a str, Vec<&'a Value>>,
    ready: BTreeSet<(&'a str, &'a str)>,
    known_slices: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Index<'a> {
    fn new(observed: &'a Observed) -> Self {
        let mut ready = BTreeSet::new();
        let mut known_slices = BTreeSet::new();
        for slice in &observed.endpoint_slices {
            let Some(service) = label(slice, "kubernetes.io/service-name") else { continue };
            let place = (namespace(slice), service);
            known_slices.insert(place);
            let serves = |endpoint: &Value| endpoint["conditions"]["ready"] != Value::Bool(false);
            if list(&slice["endpoints"]).iter().any(serves) {
                ready.insert(place);
            }
        }
        let mut pods: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for pod in &observed.pods {
            pods.entry(namespace(pod)).or_default().push(pod);
        }
        Self { observed, pods, ready, known_slices }
    }

    fn candidate(&self, service: &Value, kind: InstanceKind) -> Option<Candidate> {
        if service["spec"]["type"] == "ExternalName" {
            return None;
        }
        let pods = self.pods_of(service);
        let port = main_port(service, kind)?;
        let container = container_of(&pods, port);
        let object = format!("Service {}/{}", namespace(service), name(service));
        if is_other_program(service, container) {
            return None;
        }
        let mut evidence = Vec::new();
        let mut see = |signal: String, weight: f64| {
            evidence.push(Evidence { signal, object: object.clone(), weight });
        };
        let flavor = match kind {
            InstanceKind::Prometheus => prometheus_signals(service, port, container, &mut see)?,
            InstanceKind::Grafana => {
                grafana_signals(service, port, container, &mut see);
                Flavor::Grafana
            }
        };
        let operator = self.operator_object(&pods);
        if kind == InstanceKind::Prometheus
            && let Some(prometheus) = operator
        {
            let prometheus = format!("{}/{}", namespace(prometheus), name(prometheus));
            see(format!("pods of Prometheus {prometheus} (Prometheus Operator)"), 0.98);
        }
        let tls = port["appProtocol"] == "https"
            || port["name"].as_str().is_some_and(|name| name == "https" || name.ends_with("-https"))
            || operator.is_some_and(|prometheus| prometheus["spec"]["web"]["tlsConfig"].is_object());
        let address = ServiceAddress {
            namespace: namespace(service).to_owned(),
            name: name(service).to_owned(),
            port: u16::try_from(port["port"].as_u64()?).ok()?,
            path: path_of(flavor, container, operator),
            tls,
        };
        let listens_locally = operator.is_some_and(|prometheus| prometheus["spec"]["listenLocal"] == true);
        let place = (namespace(service), name(service));
        let reason = if listens_locally {
            Some("its Prometheus object sets listenLocal: the Service has no reachable port".to_owned())
        } else if self.known_slices.contains(&place) && !self.ready.contains(&place) {
            Some("the Service has no ready endpoint".to_owned())
        } else {
            None
        };
        let state = if reason.is_some() { State::Unreachable } else { State::Discovered };
        let mut names: Vec<String> = pods.iter().map(|pod| name(pod).to_owned()).collect();
        names.sort();
        if names.is_empty() {
            // Without pods in sight, Services are not known to be the same server.
            names.push(object.clone());
        }
        Some(Candidate {
            instance: Instance {
                fingerprint: Instance::fingerprint_of(kind, &address),
                kind,
                flavor,
                version: None,
                service: Some(address),
                url: None,
                addresses: Vec::new(),
                score: score(&evidence),
                evidence,
                used_by: Vec::new(),
                state,
                reason,
            },
            pods: names,
            container_port: port["targetPort"].to_string(),
            preference: u8::from(service["spec"]["clusterIP"] != "None"),
        })
    }

    fn pods_of(&self, service: &Value) -> Vec<&'a Value> {
        let Some(selector) = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty()) else {
            return Vec::new();
        };
        let selected =
            |pod: &&Value| selector.iter().all(|(key, value)| pod["metadata"]["labels"][key.as_str()] == *value);
        let pods = self.pods.get(namespace(service)).map_or(&[][..], Vec::as_slice);
        pods.iter().copied().filter(selected).collect()
    }

    /// The Prometheus Operator's object that made the pods.
    fn operator_object(&self, pods: &[&Value]) -> Option<&'a Value> {
        let owner = pods.iter().find_map(|pod| label(pod, OPERATOR_NAME))?;
        let space = pods.first().map(|pod| namespace(pod))?;
        self.observed
            .operator_prometheuses
            .iter()
            .find(|prometheus| name(prometheus) == owner && namespace(prometheus) == space)
    }
}

/// Port that serves the HTTP API: by name, then by number, then the only one.
fn main_port(service: &Value, kind: InstanceKind) -> Option<&Value> {
    const PROMETHEUS: &[u64] = &[9090, 9091, 8428, 8481, 10902, 8080, 80, 443];
    const GRAFANA: &[u64] = &[3000, 80, 443];
    let numbers = if kind == InstanceKind::Prometheus { PROMETHEUS } else { GRAFANA };
    let ports: Vec<&Value> = list(&service["spec"]["ports"])
        .iter()
        .filter(|port| port["protocol"].as_str().is_none_or(|protocol| protocol == "TCP"))
        .filter(|port| {
            let name = port["name"].as_str().unwrap_or_default();
            !["grpc", "reloader", "metrics", "memberlist", "gossip"].iter().any(|word| name.contains(word))
        })
        .collect();
    let number = |port: &&&Value| numbers.iter().position(|number| port["port"].as_u64() == Some(*number));
    ports
        .iter()
        .filter(|port| number(port).is_some())
        .min_by_key(|port| number(port))
        .or_else(|| ports.first())
        .copied()
}

/// The container behind a Service's port: the one that declares the target port, otherwise the first that is no
/// well-known helper.
fn container_of<'a>(pods: &[&'a Value], port: &Value) -> Option<&'a Value> {
    let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
    let declares = |container: &&Value| {
        list(&container["ports"]).iter().any(|one| one["containerPort"] == *target || one["name"] == *target)
    };
    let pod = pods.first()?;
    let containers = list(&pod["spec"]["containers"]);
    let helper = |container: &&Value| {
        let name = image::name(container["image"].as_str().unwrap_or_default());
        !["config-reloader", "k8s-sidecar", "proxyv2", "oauth-proxy", "kube-rbac-proxy", "sidecar"]
            .iter()
            .any(|word| name.contains(word))
    };
    containers.iter().find(declares).filter(helper).or_else(|| containers.iter().find(helper))
}

/// Programs with names or ports that look like a store's and are none.
const OTHER_PROGRAMS: &[&str] = &[
    "alertmanager",
    "operator",
    "node-exporter",
    "kube-state-metrics",
    "pushgateway",
    "blackbox",
    "adapter",
    "config-reloader",
    "exporter",
    "kiali",
    "cilium",
    "vmalert",
    "vmagent",
    "vminsert",
    "vmstorage",
    "vmauth",
    "thanos-ruler",
    "loki",
    "tempo",
    "image-renderer",
    "oncall",
    "agent-operator",
    "alloy",
    "snmp",
    "receive",
];

fn is_other_program(service: &Value, container: Option<&Value>) -> bool {
    if let Some(container) = container {
        let image = image::name(container["image"].as_str().unwrap_or_default());
        if OTHER_PROGRAMS.iter().any(|word| image.contains(word)) {
            return true;
        }
        if KNOWN_IMAGES.contains(&image) {
            return false;
        }
    }
    let named = |text: &str| OTHER_PROGRAMS.iter().any(|word| text.contains(word));
    let component = label(service, "app.kubernetes.io/component").or_else(|| label(service, "component"));
    let app = label(service, "app.kubernetes.io/name").or_else(|| label(service, "app"));
    // The name of a Helm release may contain any word, so a label with the application's name takes precedence.
    match app {
        Some(app) => named(app) || component.is_some_and(named),
        None => named(name(service)),
    }
}

/// Images of a store or a Grafana, with any name of their Service.
const KNOWN_IMAGES: &[&str] = &[
    "prometheus",
    "victoria-metrics",
    "vmselect",
    "vmsingle",
    "thanos",
    "mimir",
    "cortex",
    "grafana",
    "grafana-oss",
    "grafana-enterprise",
];

type See<'a> = &'a mut dyn FnMut(String, f64);

fn prometheus_signals(service: &Value, port: &Value, container: Option<&Value>, see: See<'_>) -> Option<Flavor> {
    let mut flavor = Flavor::Prometheus;
    let arguments = container.map(arguments).unwrap_or_default();
    let argument = |text: &str| arguments.iter().any(|one| one == text || one.starts_with(&format!("{text}=")));
    if let Some(container) = container {
        let full = container["image"].as_str().unwrap_or_default();
        let weight = match image::name(full) {
            "prometheus" if argument("--agent") || argument("--enable-feature=agent") => {
                flavor = Flavor::PrometheusAgent;
                Some(0.9)
            }
            "prometheus" => Some(0.9),
            "victoria-metrics" | "vmselect" | "vmsingle" => {
                flavor = Flavor::VictoriaMetrics;
                Some(0.95)
            }
            "thanos" if argument("query") || argument("query-frontend") => {
                flavor = Flavor::Thanos;
                Some(0.9)
            }
            "thanos" => return None,
            "mimir" | "cortex" => {
                flavor = Flavor::Mimir;
                let target = arguments
                    .iter()
                    .find_map(|one| one.strip_prefix("-target=").or_else(|| one.strip_prefix("--target=")));
                match target {
                    None | Some("all" | "query-frontend") => Some(0.85),
                    Some(_) => return None,
                }
            }
            "frontend" if full.contains("prometheus-engine") => {
                flavor = Flavor::GoogleManaged;
                Some(0.9)
            }
            _ => None,
        };
        if let Some(weight) = weight {
            see(format!("image {}", image::repository(full)), weight);
        }
    }
    let app = label(service, "app.kubernetes.io/name").or_else(|| label(service, "app")).unwrap_or_default();
    let component = label(service, "app.kubernetes.io/component").or_else(|| label(service, "component"));
    match app {
        "prometheus" if component.is_none_or(|component| matches!(component, "server" | "prometheus")) => {
            see(format!("label app {app}"), 0.5);
        }
        "kube-prometheus-stack-prometheus" => see(format!("label app={app}"), 0.9),
        "victoria-metrics-single" | "vmsingle" | "vmselect" | "victoria-metrics-single-server" => {
            flavor = Flavor::VictoriaMetrics;
            see(format!("label app {app}"), 0.7);
        }
        "thanos-query" | "thanos-querier" | "thanos-query-frontend" => {
            flavor = Flavor::Thanos;
            see(format!("label app {app}"), 0.9);
        }
        "thanos" if matches!(component, Some("query" | "query-frontend" | "query-layer")) => {
            flavor = Flavor::Thanos;
            see(format!("label app {app}"), 0.8);
        }
        "mimir" | "cortex" if matches!(component, Some("nginx" | "gateway" | "query-frontend")) => {
            flavor = Flavor::Mimir;
            see(format!("labels app {app}, component {}", component.unwrap_or_default()), 0.85);
        }
        _ => {}
    }
    if namespace(service) == "openshift-monitoring" && name(service) == "thanos-querier" {
        flavor = Flavor::Thanos;
        see("OpenShift's thanos-querier".to_owned(), 0.9);
    }
    if label(service, "operated-prometheus") == Some("true") {
        see("label operated-prometheus".to_owned(), 0.8);
    }
    if is_addon(service, "prometheus") {
        see("installed by addon.apply".to_owned(), 0.99);
    }
    if matches!(port["port"].as_u64(), Some(9090 | 8428 | 8481)) {
        see(format!("port {}", port["port"]), 0.2);
    }
    if name(service) == "prometheus" || name(service) == "prometheus-server" {
        see(format!("name {}", name(service)), 0.35);
    }
    Some(flavor)
}

fn grafana_signals(service: &Value, port: &Value, container: Option<&Value>, see: See<'_>) {
    if let Some(full) = container.and_then(|container| container["image"].as_str())
        && matches!(image::name(full), "grafana" | "grafana-oss" | "grafana-enterprise")
    {
        see(format!("image {}", image::repository(full)), 0.9);
    }
    let app = label(service, "app.kubernetes.io/name").or_else(|| label(service, "app")).unwrap_or_default();
    if app == "grafana" {
        see("label app grafana".to_owned(), 0.6);
    }
    if is_addon(service, "grafana") {
        see("installed by addon.apply".to_owned(), 0.99);
    }
    if port["port"].as_u64() == Some(3000) {
        see("port 3000".to_owned(), 0.15);
    }
    if name(service) == "grafana" {
        see("name grafana".to_owned(), 0.35);
    }
}

/// Path prefix of the API.
fn path_of(flavor: Flavor, container: Option<&Value>, operator: Option<&Value>) -> String {
    if let Some(prefix) = operator.and_then(|prometheus| prometheus["spec"]["routePrefix"].as_str()) {
        return clean_path(prefix);
    }
    let arguments = container.map(arguments).unwrap_or_default();
    let value =
        |flag: &str| arguments.iter().find_map(|one| one.strip_prefix(flag).and_then(|rest| rest.strip_prefix('=')));
    if let Some(prefix) = value("--web.route-prefix") {
        return clean_path(prefix);
    }
    if let Some(url) = value("--web.external-url") {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        return clean_path(rest.find('/').map_or("/", |slash| &rest[slash..]));
    }
    let name = container.map(|container| image::name(container["image"].as_str().unwrap_or_default()));
    match (flavor, name) {
        (Flavor::Mimir, _) => "/prometheus".to_owned(),
        (Flavor::VictoriaMetrics, Some("vmselect")) => "/select/0/prometheus".to_owned(),
        _ => "/".to_owned(),
    }
}

/// A path that [`ServiceAddress::path`] may have; `/` for anything else.
fn clean_path(path: &str) -> String {
    let path = format!("/{}", path.trim_matches('/'));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._~-".contains(&byte);
    if path.len() <= 200 && path.bytes().all(plain) && !path.contains("//") && !path.contains("..") {
        path
    } else {
        "/".to_owned()
    }
}

/// Adds what another program is configured with: the server it uses, or one outside the cluster.
fn credit(instances: &mut Vec<Instance>, services: &[Value], witness: Witness) {
    let used_by = witness.program;
    let place = witness.url.in_cluster().filter(|(space, service, _)| {
        services.iter().any(|one| namespace(one) == space.as_str() && name(one) == service.as_str())
    });
    if let Some((space, service, port)) = place {
        let same = |instance: &&mut Instance| {
            instance.kind == witness.kind
                && (instance.service.as_ref().is_some_and(|one| one.namespace == space && one.name == service)
                    || instance.addresses.iter().any(|address| address.contains(&format!("://{service}.{space}:"))))
        };
        if let Some(instance) = instances.iter_mut().find(same) {
            instance.evidence.push(Evidence {
                signal: "used by another program".to_owned(),
                object: used_by.clone(),
                weight: 0.6,
            });
            instance.score = score(&instance.evidence);
            if !instance.used_by.contains(&used_by) {
                instance.used_by.push(used_by);
            }
            return;
        }
        let address = ServiceAddress {
            namespace: space,
            name: service,
            port,
            path: clean_path(&witness.url.path),
            tls: witness.url.tls,
        };
        let evidence =
            vec![Evidence { signal: "used by another program".to_owned(), object: used_by.clone(), weight: 0.6 }];
        instances.push(Instance {
            fingerprint: Instance::fingerprint_of(witness.kind, &address),
            kind: witness.kind,
            flavor: if witness.kind == InstanceKind::Grafana { Flavor::Grafana } else { Flavor::Prometheus },
            version: None,
            service: Some(address),
            url: None,
            addresses: Vec::new(),
            score: score(&evidence),
            evidence,
            used_by: vec![used_by],
            state: State::Discovered,
            reason: None,
        });
        return;
    }
    if witness.url.host.split('.').nth(2) == Some("svc") {
        return; // A Service that does not exist. `service.namespace` alone may as well be a host outside.
    }
    let url = witness.url.to_string();
    let fingerprint = format!("{}/{url}", witness.kind);
    if let Some(instance) = instances.iter_mut().find(|instance| instance.fingerprint == fingerprint) {
        if !instance.used_by.contains(&used_by) {
            instance.used_by.push(used_by);
        }
        return;
    }
    let evidence =
        vec![Evidence { signal: "used by another program".to_owned(), object: used_by.clone(), weight: 0.6 }];
    instances.push(Instance {
        fingerprint,
        kind: witness.kind,
        flavor: if witness.kind == InstanceKind::Grafana { Flavor::Grafana } else { Flavor::Prometheus },
        version: None,
        service: None,
        url: Some(url),
        addresses: Vec::new(),
        score: score(&evidence),
        evidence,
        used_by: vec![used_by],
        state: State::Discovered,
        reason: Some("outside the cluster: add it to the worker's configuration as a connection to use it".to_owned()),
    });
}

fn arguments(container: &Value) -> Vec<String> {
    let of = |field: &str| {
        list(&container[field]).iter().filter_map(|one| one.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    [of("command"), of("args")].concat()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Whether `addon.apply` wrote an object, as a part of the addon with this name.
#[must_use]
pub fn is_addon(object: &Value, name: &str) -> bool {
    label(object, managed::BY) == Some(managed::SAILHAND)
        && label(object, "app.kubernetes.io/part-of") == Some(ADDONS)
        && label(object, "app.kubernetes.io/name") == Some(name)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["labels"][key].as_str()
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;
