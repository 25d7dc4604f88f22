//! Objects of Kubernetes and Istio as a company with many teams has them, in any number, the same for the same seed. A
//! share of them has a mistake that an analysis reports; all of them pass an API server's schemas.

use std::fmt::Write as _;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const WORDS: [&str; 12] =
    ["basket", "billing", "catalog", "claims", "feed", "ledger", "login", "parcel", "rates", "review", "search", "tax"];
const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];
/// Objects for each namespace.
const TEAM: usize = 50;

/// The requested number of objects. Of a hundred, this many have a mistake.
pub fn objects(count: usize, seed: u64, mistakes: u32) -> Vec<Value> {
    let mut corpus = Corpus { random: SmallRng::seed_from_u64(seed), mistakes, made: Vec::with_capacity(count) };
    let namespaces: Vec<String> = (0..(count / TEAM).max(2)).map(|number| format!("team-{number:04}")).collect();
    corpus.namespaces(&namespaces);
    let part = |percent: usize| (count * percent / 100).max(1);
    let rest = count.saturating_sub(namespaces.len() + [16, 16, 12, 4, 5, 2, 6, 2, 2].map(part).iter().sum::<usize>());
    let apps: Vec<App> = (0..(rest / 2).max(2)).map(|number| corpus.app(number, &namespaces)).collect();
    (0..part(16)).for_each(|number| corpus.pod(number, &apps[number % apps.len()]));
    let gateways: Vec<Gateway> = (0..part(4)).map(|number| corpus.gateway(number, &namespaces)).collect();
    let entries: Vec<(String, String)> = (0..part(5)).map(|number| corpus.service_entry(number, &namespaces)).collect();
    // Each has at most one of either before any has two.
    let with_rule = part(12).min(apps.len());
    (0..part(12)).for_each(|number| corpus.destination_rule(number, &apps[number % apps.len()]));
    let known = Known { apps: &apps, with_rule, gateways: &gateways, entries: &entries };
    (0..part(16)).for_each(|number| corpus.virtual_service(number, &apps[(number * 7 + 3) % apps.len()], &known));
    let odd = count.saturating_sub(corpus.made.len() + [6, 2, 2].map(part).iter().sum::<usize>());
    (0..odd).for_each(|number| corpus.sidecar(number, &apps, &namespaces));
    (0..part(6)).for_each(|number| corpus.authorization_policy(number, &apps, &namespaces));
    (0..part(2)).for_each(|number| corpus.peer_authentication(number, &apps));
    (0..part(2)).for_each(|number| corpus.envoy_filter(number, &apps));
    corpus.made
}

/// One text, in the block style that people write.
pub fn yaml(objects: &[Value]) -> String {
    let mut text = String::new();
    for object in objects {
        text.push_str("---\n");
        block(object, 0, &mut text);
    }
    text
}

struct Corpus {
    random: SmallRng,
    mistakes: u32,
    made: Vec<Value>,
}

struct App {
    namespace: String,
    name: String,
    version: &'static str,
    port: u16,
    labels: Value,
}

struct Gateway {
    reference: String,
    hosts: Vec<String>,
}

/// What virtual services refer to.
struct Known<'a> {
    apps: &'a [App],
    with_rule: usize,
    gateways: &'a [Gateway],
    entries: &'a [(String, String)],
}

impl App {
    fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }
}

impl Corpus {
    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        of.choose(&mut self.random).unwrap()
    }

    fn wrong(&mut self) -> bool {
        self.random.random_ratio(self.mistakes, 100)
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    fn add(&mut self, api_version: &str, kind: &str, namespace: &str, name: &str, spec: &Value) {
        let metadata = json!({ "name": name, "namespace": namespace });
        self.made.push(json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec }));
    }

    fn namespaces(&mut self, names: &[String]) {
        for name in names {
            let mut labels = json!({ "kubernetes.io/metadata.name": name, "owner": name });
            if !self.wrong() {
                labels["istio-injection"] = json!("enabled");
            }
            let metadata = json!({ "name": name, "labels": labels });
            self.made.push(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }));
        }
    }

    /// A Service and its Deployment.
    fn app(&mut self, number: usize, namespaces: &[String]) -> App {
        let namespace = self.one(namespaces).clone();
        let name = format!("{}-{number:05}", self.one(&WORDS));
        let (version, port) = (*self.one(&VERSIONS), *self.one(&[80, 8080, 9080]));
        let labels = json!({ "app": name, "version": version, "tier": self.one(&["edge", "middle", "store"]) });
        let port_name = if self.wrong() { "main" } else { self.one(&["http", "grpc", "http-api", "tcp-store"]) };
        let mut ports = vec![json!({ "name": port_name, "port": port, "targetPort": 8080 })];
        if self.percent(30) {
            ports.push(json!({ "name": "http-metrics", "port": 9100, "targetPort": 9100 }));
        }
        let selected = if self.wrong() { format!("other-{number}") } else { name.clone() };
        self.add("v1", "Service", &namespace, &name, &json!({ "selector": { "app": selected }, "ports": ports }));
        let env: Vec<Value> = (0..self.random.random_range(1..5))
            .map(|number| json!({ "name": format!("SETTING_{number}"), "value": format!("some-value-{number}") }))
            .collect();
        let container = json!({
            "name": "main", "image": format!("images.example.com/{name}:{version}"), "env": env,
            "ports": [{ "containerPort": 8080 }], "resources": { "requests": { "cpu": "20m", "memory": "32Mi" } },
        });
        let mut pod = json!({ "containers": [container] });
        let mut annotations = json!({ "prometheus.io/scrape": "true" });
        let (user, annotation) = (self.wrong(), self.wrong());
        if user {
            pod["securityContext"] = json!({ "runAsUser": 1337 });
        }
        if annotation {
            annotations["sidecar.istio.io/noSuchThing"] = json!("yes");
        }
        let template = json!({ "metadata": { "labels": labels, "annotations": annotations }, "spec": pod });
        let selector = json!({ "matchLabels": { "app": name, "version": version } });
        let spec = json!({ "replicas": 1, "selector": selector, "template": template });
        self.add("apps/v1", "Deployment", &namespace, &format!("{name}-{version}"), &spec);
        App { namespace, name, version, port, labels }
    }

    fn pod(&mut self, number: usize, app: &App) {
        let mut containers = vec![json!({ "name": "main", "image": format!("images.example.com/{}:1", app.name) })];
        if !self.wrong() {
            containers.push(json!({ "name": "istio-proxy", "image": "registry.istio.io/release/proxyv2:1.30.3" }));
        }
        let metadata =
            json!({ "name": format!("{}-{number:05}", app.name), "namespace": app.namespace, "labels": app.labels });
        let spec = json!({ "containers": containers });
        self.made.push(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }));
    }

    fn gateway(&mut self, number: usize, namespaces: &[String]) -> Gateway {
        let (namespace, name) = (self.one(namespaces).clone(), format!("edge-{number:05}"));
        let (mut servers, mut all) = (Vec::new(), Vec::new());
        for index in 0..self.random.random_range(1..4) {
            let mut hosts = vec![format!("{}{number}-{index}.example.com", self.one(&WORDS))];
            if self.percent(30) {
                hosts.push(format!("*.{namespace}.example.com"));
            }
            if self.wrong() {
                hosts = vec![format!("common{}.example.com", number / 50)];
            }
            all.extend(hosts.clone());
            let is_tls = self.percent(50);
            let mut port = if is_tls { 443 } else { 80 };
            if self.wrong() {
                port = 8888;
            }
            let protocol = if is_tls { "HTTPS" } else { "HTTP" };
            let port = json!({ "number": port, "name": format!("port-{index}"), "protocol": protocol });
            let mut server = json!({ "port": port, "hosts": hosts });
            if is_tls {
                let files = if self.wrong() { format!("common-{}", number / 50) } else { format!("{name}-{index}") };
                let (cert, key) = (format!("/etc/tls/{files}.crt"), format!("/etc/tls/{files}.key"));
                server["tls"] = json!({ "mode": "SIMPLE", "serverCertificate": cert, "privateKey": key });
                if self.wrong() {
                    server["tls"] = json!({ "mode": "SIMPLE", "credentialName": format!("absent-{number}") });
                }
            }
            servers.push(server);
        }
        let selected = if self.wrong() { format!("absent-{number}") } else { "ingressgateway".to_owned() };
        let spec = json!({ "selector": { "istio": selected }, "servers": servers });
        self.add("networking.istio.io/v1", "Gateway", &namespace, &name, &spec);
        Gateway { reference: format!("{namespace}/{name}"), hosts: all }
    }

    fn service_entry(&mut self, number: usize, namespaces: &[String]) -> (String, String) {
        let (namespace, host) = (self.one(namespaces).clone(), format!("partner{number:05}.example.net"));
        let mut port = json!({ "number": 443, "name": "https", "protocol": "HTTPS" });
        if self.wrong() {
            port = json!({ "number": 5432, "name": "tcp", "protocol": "TCP" });
        }
        let spec = json!({ "hosts": [host], "location": "MESH_EXTERNAL", "ports": [port], "resolution": "DNS" });
        self.add("networking.istio.io/v1", "ServiceEntry", &namespace, &format!("partner-{number:05}"), &spec);
        (namespace, host)
    }

    fn destination_rule(&mut self, number: usize, app: &App) {
        let mut subsets = vec![json!({ "name": app.version, "labels": { "version": app.version } })];
        if self.wrong() {
            subsets.push(json!({ "name": "gone", "labels": { "version": "v0" } }));
        }
        let most = if self.wrong() { -1 } else { self.random.random_range(10..1000) };
        let balancer = self.one(&["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"]);
        let mut policy =
            json!({ "loadBalancer": { "simple": balancer }, "connectionPool": { "tcp": { "maxConnections": most } } });
        if self.wrong() {
            policy["tls"] = json!({ "mode": "SIMPLE" });
        }
        let spec = json!({ "host": app.host(), "subsets": subsets, "trafficPolicy": policy });
        self.add("networking.istio.io/v1", "DestinationRule", &app.namespace, &format!("rule-{number:05}"), &spec);
    }

    fn virtual_service(&mut self, number: usize, app: &App, known: &Known<'_>) {
        let mut http: Vec<Value> = Vec::new();
        let routes = self.random.random_range(1..7);
        for index in 0..routes {
            let destination = self.destination(number, app, known);
            let mut route = json!({ "name": format!("route-{index}") });
            route["route"] = if self.percent(30) {
                json!([{ "destination": destination, "weight": 90 }, { "destination": destination, "weight": 10 }])
            } else {
                json!([{ "destination": destination }])
            };
            if index + 1 < routes || self.percent(30) {
                let path = format!("/{}/{index}/{}", self.one(&WORDS), self.random.random_range(0..100));
                let mut wanted = json!({ "uri": { *self.one(&["prefix", "exact", "regex"]): path } });
                if self.percent(40) {
                    wanted["headers"] = json!({ "x-user": { "exact": format!("user-{}", number % 10) } });
                }
                route["match"] = json!([wanted]);
                route["retries"] = json!({ "attempts": 2, "perTryTimeout": "2s" });
                route["timeout"] = json!(format!("{}s", self.random.random_range(5..30)));
            }
            http.push(route);
        }
        if self.wrong() && routes > 1 {
            let mut again = http[0].clone();
            again["name"] = json!("again");
            http.insert(1, again);
        }
        let host = if self.percent(50) { app.name.clone() } else { app.host() };
        let mut spec = json!({ "hosts": [host], "http": http });
        if self.percent(35) {
            let gateway = self.one(known.gateways);
            spec["hosts"] = json!([self.one(&gateway.hosts).replace('*', &app.name)]);
            let reference = if self.wrong() { format!("{}/absent", app.namespace) } else { gateway.reference.clone() };
            spec["gateways"] = json!([reference]);
        }
        self.add("networking.istio.io/v1", "VirtualService", &app.namespace, &format!("routes-{number:05}"), &spec);
    }

    fn destination(&mut self, number: usize, app: &App, known: &Known<'_>) -> Value {
        if self.percent(5) {
            let (_, host) = self.one(known.entries);
            return json!({ "host": host, "port": { "number": 443 } });
        }
        let place = if self.percent(60) { None } else { Some(self.random.random_range(0..known.apps.len())) };
        let to = place.map_or(app, |place| &known.apps[place]);
        let host = if to.namespace == app.namespace && self.percent(50) { to.name.clone() } else { to.host() };
        let mut destination = json!({ "host": host, "port": { "number": to.port } });
        if place.is_some_and(|place| place < known.with_rule) && self.percent(70) {
            destination["subset"] = json!(to.version);
        }
        // A quarter as often as elsewhere, since there are many of them in each object.
        if self.wrong() && self.percent(75) {
            match self.random.random_range(0..3) {
                0 => destination["host"] = json!(format!("absent-{number}.{}.svc.cluster.local", app.namespace)),
                1 => destination["subset"] = json!("v99"),
                _ => destination["port"] = json!({ "number": 7777 }),
            }
        }
        destination
    }

    fn sidecar(&mut self, number: usize, apps: &[App], namespaces: &[String]) {
        let other = self.one(namespaces);
        let mut spec = json!({ "egress": [{ "hosts": ["./*", "istio-system/*", format!("{other}/*")] }] });
        // The first of each namespace is for all of it, and a second one wrongly so.
        let namespace = &namespaces[number % namespaces.len()];
        if number >= namespaces.len() && !self.wrong() {
            let app = self.one(apps);
            let selected = if self.wrong() { format!("absent-{number}") } else { app.name.clone() };
            spec["workloadSelector"] = json!({ "labels": { "app": selected } });
            self.add("networking.istio.io/v1", "Sidecar", &app.namespace, &format!("sidecar-{number:05}"), &spec);
        } else {
            self.add("networking.istio.io/v1", "Sidecar", namespace, &format!("sidecar-{number:05}"), &spec);
        }
    }

    fn authorization_policy(&mut self, number: usize, apps: &[App], namespaces: &[String]) {
        let app = self.one(apps);
        let from = if self.wrong() { format!("absent-{number}") } else { self.one(namespaces).clone() };
        let selected = if self.wrong() { format!("absent-{number}") } else { app.name.clone() };
        let operation = json!({ "methods": ["GET", "POST"], "paths": [format!("/{}/*", self.one(&WORDS))] });
        let rule = json!({
            "from": [{ "source": { "namespaces": [from] } }],
            "to": [{ "operation": operation }],
        });
        let spec = json!({ "action": "ALLOW", "rules": [rule], "selector": { "matchLabels": { "app": selected } } });
        self.add("security.istio.io/v1", "AuthorizationPolicy", &app.namespace, &format!("allow-{number:05}"), &spec);
    }

    fn peer_authentication(&mut self, number: usize, apps: &[App]) {
        let app = self.one(apps);
        let mode = self.one(&["STRICT", "PERMISSIVE"]);
        let spec = json!({ "mtls": { "mode": mode }, "selector": { "matchLabels": { "app": app.name } } });
        self.add("security.istio.io/v1", "PeerAuthentication", &app.namespace, &format!("mtls-{number:05}"), &spec);
    }

    fn envoy_filter(&mut self, number: usize, apps: &[App]) {
        let app = self.one(apps);
        let operation = if self.wrong() { *self.one(&["INSERT_BEFORE", "REPLACE"]) } else { "MERGE" };
        let filter = "envoy.filters.network.http_connection_manager";
        let chain = json!({ "filter": { "name": filter, "subFilter": { "name": "envoy.filters.http.router" } } });
        let config = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer", "max_request_bytes": 4096,
        });
        let patch = json!({
            "applyTo": "HTTP_FILTER",
            "match": { "context": "SIDECAR_INBOUND", "listener": { "filterChain": chain } },
            "patch": { "operation": operation, "value": { "name": "envoy.filters.http.buffer", "typed_config": config } },
        });
        let spec = json!({ "configPatches": [patch], "workloadSelector": { "labels": { "app": app.name } } });
        self.add("networking.istio.io/v1alpha3", "EnvoyFilter", &app.namespace, &format!("buffer-{number:05}"), &spec);
    }
}

/// A value in block style, from the start of a line.
fn block(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let _ = write!(text, "{indent}{}:", scalar(key));
                below(value, depth, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut one = String::new();
                block(item, depth + 1, &mut one);
                // The first line's indent becomes the dash.
                let _ = write!(text, "{indent}- {}", one.get(indent.len() + 2..).unwrap_or_default());
            }
        }
        plain => {
            let _ = writeln!(text, "{indent}{}", plain.as_str().map_or_else(|| plain.to_string(), scalar));
        }
    }
}

fn below(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(fields) if fields.is_empty() => text.push_str(" {}\n"),
        Value::Array(items) if items.is_empty() => text.push_str(" []\n"),
        Value::Object(_) => {
            text.push('\n');
            block(value, depth + 1, text);
        }
        Value::Array(_) => {
            text.push('\n');
            block(value, depth, text);
        }
        plain => {
            text.push(' ');
            block(plain, 0, text);
        }
    }
}

/// Without quotes where YAML reads the same value.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&&*text.to_ascii_lowercase());
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}
