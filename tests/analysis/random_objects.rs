//! Small, crowded meshes: few names for many objects of all kinds, so that much refers to, overlaps and contradicts
//! something else. Seeded. Of each namespace there are services and pods, so that nothing is only seemingly absent.

#![allow(clippy::needless_pass_by_value, reason = "objects are written in place")]

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const NAMESPACES: [&str; 4] = ["bank", "shop", "depot", "istio-system"];
const APPS: [&str; 4] = ["cart", "stock", "login", "mail"];
const HOSTS: [&str; 6] =
    ["www.example.com", "api.example.com", "*.example.com", "shop.example.net", "*", "bank/www.example.com"];
const GATEWAYS: [&str; 3] = ["public", "private", "second"];

/// All objects of one world.
pub fn objects(seed: u64) -> Vec<Value> {
    let mut generator = ObjectGenerator { random: SmallRng::seed_from_u64(seed), made: Vec::new() };
    generator.foundation();
    for number in 0..60 {
        let namespace = *generator.one(&NAMESPACES[..3]);
        match generator.random.random_range(0..20) {
            0 | 1 => generator.gateway(namespace),
            2..=5 => generator.virtual_service(number, namespace),
            6 | 7 => generator.destination_rule(number, namespace),
            8 | 9 => generator.service_entry(number, namespace),
            10 => generator.sidecar(number, namespace),
            11 | 12 => generator.authorization_policy(number, namespace),
            13 => generator.authentication(number, namespace),
            14 => generator.telemetry(number, namespace),
            15 => generator.envoy_filter(number, namespace),
            16 => generator.gateway_api(number, namespace),
            17 => generator.others(number, namespace),
            _ => generator.workload(number, namespace),
        }
    }
    generator.made
}

struct ObjectGenerator {
    random: SmallRng,
    made: Vec<Value>,
}

impl ObjectGenerator {
    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        of.choose(&mut self.random).unwrap()
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    /// The later of two with the same name is left out: which one counts is not what is compared.
    fn add(&mut self, api_version: &str, kind: &str, metadata: Value, body: Value) {
        let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata });
        let is_same = |other: &Value| {
            other["kind"] == *kind
                && other["metadata"]["name"] == object["metadata"]["name"]
                && other["metadata"]["namespace"] == object["metadata"]["namespace"]
                && other["apiVersion"].as_str().and_then(|version| version.split_once('/')).map(|parts| parts.0)
                    == api_version.split_once('/').map(|parts| parts.0)
        };
        if self.made.iter().any(is_same) {
            return;
        }
        if let Value::Object(fields) = body {
            object.as_object_mut().unwrap().extend(fields);
        }
        self.made.push(object);
    }

    fn istio(&mut self, group: &str, kind: &str, namespace: &str, name: &str, spec: Value) {
        let version = if kind == "EnvoyFilter" { "v1alpha3" } else { "v1" };
        let version = if kind == "WasmPlugin" { "v1alpha1" } else { version };
        let metadata = json!({ "name": name, "namespace": namespace });
        self.add(&format!("{group}.istio.io/{version}"), kind, metadata, json!({ "spec": spec }));
    }

    /// What each world has: namespaces, an ingress gateway, an app in each namespace.
    fn foundation(&mut self) {
        for namespace in NAMESPACES {
            let labels = match self.random.random_range(0..8) {
                0 => json!({}),
                1 => json!({ "istio-injection": "disabled" }),
                2 => json!({ "istio-injection": "enabled", "istio.io/rev": "canary" }),
                3 => json!({ "istio.io/dataplane-mode": "ambient" }),
                _ => json!({ "istio-injection": "enabled" }),
            };
            self.add("v1", "Namespace", json!({ "name": namespace, "labels": labels }), json!({}));
            self.service(namespace, "base", "base");
            self.pod(namespace, "base", "base");
        }
        let labels = json!({ "istio": "ingressgateway", "app": "istio-ingressgateway" });
        let metadata = json!({ "name": "istio-ingressgateway-1", "namespace": "istio-system", "labels": labels });
        let containers = json!([{ "name": "istio-proxy", "image": "proxyv2:1.30.3" }]);
        self.add("v1", "Pod", metadata, json!({ "spec": { "containers": containers } }));
        let ports = json!([
            { "name": "http2", "port": 80, "targetPort": 8080, "protocol": "TCP" },
            { "name": "https", "port": 443, "targetPort": 8443, "protocol": "TCP" },
        ]);
        let spec = json!({ "selector": { "istio": "ingressgateway" }, "ports": ports });
        let metadata = json!({ "name": "istio-ingressgateway", "namespace": "istio-system" });
        self.add("v1", "Service", metadata, json!({ "spec": spec }));
    }

    fn service(&mut self, namespace: &str, name: &str, app: &str) {
        let mut metadata = json!({ "name": name, "namespace": namespace });
        if self.percent(10) {
            let exported = self.one(&[".", "bank", "shop,bank", "*"]);
            metadata["annotations"] = json!({ "networking.istio.io/exportTo": exported });
        }
        let mut ports = vec![json!({
            "name": self.one(&["http", "tcp-x", "grpc-api", "thing", ""]),
            "port": self.one(&[80, 8080]), "targetPort": self.one(&[8080, 80]), "protocol": "TCP",
        })];
        if self.percent(40) {
            let protocol = self.one(&["TCP", "UDP"]);
            ports.push(
                json!({ "name": "http-two", "port": self.one(&[81, 8080]), "targetPort": 8080, "protocol": protocol }),
            );
        }
        let mut spec = json!({ "ports": ports, "selector": { "app": app } });
        if self.percent(8) {
            spec = json!({ "ports": ports, "type": "ExternalName", "externalName": "www.example.com" });
        }
        self.add("v1", "Service", metadata, json!({ "spec": spec }));
    }

    fn pod_template(&mut self, app: &str) -> Value {
        let version = self.one(&["v1", "v2"]);
        let mut labels = json!({ "app": app, "version": version });
        if self.percent(10) {
            labels["sidecar.istio.io/inject"] = json!(self.one(&["true", "false"]));
        }
        let mut annotations = json!({});
        if self.percent(25) {
            let (key, value) = self.one(&[
                ("sidecar.istio.io/inject", "false"),
                ("sidecar.istio.io/whatIsThis", "x"),
                ("traffic.sidecar.istio.io/excludeOutboundPorts", "80,many"),
                ("sidecar.istio.io/proxyCPU", "lots"),
                ("sidecar.istio.io/interceptionMode", "TPROXY"),
                ("networking.istio.io/exportTo", "*"),
            ]);
            annotations[*key] = json!(value);
        }
        let mut containers = vec![json!({ "name": "main", "image": "main:1" })];
        if self.percent(60) {
            let image = self.one(&["proxyv2:1.30.3", "proxyv2:1.30.3", "proxyv2:1.20.0", "auto"]);
            containers.push(json!({ "name": "istio-proxy", "image": image }));
        }
        let mut spec = json!({ "containers": containers });
        if self.percent(10) {
            spec["securityContext"] = json!({ "runAsUser": 1337 });
        }
        json!({ "metadata": { "labels": labels, "annotations": annotations }, "spec": spec })
    }

    fn pod(&mut self, namespace: &str, name: &str, app: &str) {
        let mut pod = self.pod_template(app);
        let mut metadata = pod["metadata"].take();
        metadata["name"] = json!(name);
        metadata["namespace"] = json!(namespace);
        self.add("v1", "Pod", metadata, json!({ "spec": pod["spec"], "status": { "phase": "Running" } }));
    }

    fn workload(&mut self, number: usize, namespace: &str) {
        let app = *self.one(&APPS);
        match self.random.random_range(0..4) {
            0 => {
                let name = if self.percent(70) { app } else { "other" };
                self.service(namespace, name, app);
            }
            1 => {
                let template = self.pod_template(app);
                let spec = json!({ "selector": { "matchLabels": { "app": app } }, "template": template });
                let metadata = json!({ "name": format!("{app}-{number}"), "namespace": namespace });
                self.add("apps/v1", "Deployment", metadata, json!({ "spec": spec }));
            }
            _ => self.pod(namespace, &format!("{app}-{number}"), app),
        }
    }

    fn host(&mut self, namespace: &str) -> String {
        let (app, other) = (*self.one(&APPS), *self.one(&NAMESPACES[..3]));
        match self.random.random_range(0..10) {
            0..=3 => app.to_owned(),
            4 | 5 => format!("{app}.{other}.svc.cluster.local"),
            6 => format!("{app}.{namespace}.svc.cluster.local"),
            7 => format!("*.{other}.svc.cluster.local"),
            8 => (*self.one(&["partner.example.org", "*.example.org"])).to_owned(),
            _ => "absent".to_owned(),
        }
    }

    fn selector(&mut self) -> Value {
        let app = *self.one(&["cart", "stock", "login", "mail", "base", "nobody"]);
        json!({ "app": app })
    }

    fn gateway(&mut self, namespace: &str) {
        let mut servers = Vec::new();
        for index in 0..self.random.random_range(1..3) {
            let port = *self.one(&[80, 443, 8080, 9000]);
            let protocol = if port == 443 { "HTTPS" } else { "HTTP" };
            let hosts: Vec<&str> = (0..2).map(|_| *self.one(&HOSTS[..4])).collect();
            let hosts = if hosts[0] == hosts[1] { vec![hosts[0]] } else { hosts };
            let port = json!({ "number": port, "name": format!("p{index}"), "protocol": protocol });
            let mut server = json!({ "port": port, "hosts": hosts });
            if protocol == "HTTPS" {
                let file = self.one(&["/etc/a", "/etc/b"]);
                server["tls"] = json!({ "mode": "SIMPLE", "serverCertificate": file, "privateKey": "/etc/key" });
            }
            servers.push(server);
        }
        let selected = if self.percent(85) { "ingressgateway" } else { "absent" };
        let name = *self.one(&GATEWAYS);
        let spec = json!({ "selector": { "istio": selected }, "servers": servers });
        self.istio("networking", "Gateway", namespace, name, spec);
    }

    fn export_to(&mut self, spec: &mut Value) {
        if self.percent(20) {
            spec["exportTo"] = json!([self.one(&[".", "*", "bank"])]);
        }
    }

    fn virtual_service(&mut self, number: usize, namespace: &str) {
        let mut http = Vec::new();
        for index in 0..self.random.random_range(1..4) {
            let mut destination = json!({ "host": self.host(namespace) });
            if self.percent(30) {
                destination["subset"] = json!(self.one(&["v1", "v2", "none"]));
            }
            if self.percent(40) {
                destination["port"] = json!({ "number": self.one(&[80, 8080, 7777]) });
            }
            let mut route = json!({ "name": format!("r{index}"), "route": [{ "destination": destination }] });
            if self.percent(70) {
                let kind = *self.one(&["prefix", "exact"]);
                let mut wanted = json!({ "uri": { kind: self.one(&["/", "/a", "/a/b", "/b"]) } });
                if self.percent(30) {
                    wanted["headers"] = json!({ "x-kind": { "exact": self.one(&["a", "b"]) } });
                }
                route["match"] = json!([wanted]);
            }
            if self.percent(5) {
                route["fault"] = json!({ "delay": { "percent": 10, "fixedDelay": "1s" } });
            }
            http.push(route);
        }
        let mut spec = json!({ "hosts": [self.host(namespace)], "http": http });
        if self.percent(50) {
            let reference = match self.random.random_range(0..4) {
                0 => (*self.one(&GATEWAYS)).to_owned(),
                1 => "absent".to_owned(),
                _ => format!("{}/{}", self.one(&NAMESPACES[..3]), self.one(&GATEWAYS)),
            };
            spec["gateways"] = if self.percent(30) { json!([reference, "mesh"]) } else { json!([reference]) };
            spec["hosts"] = json!([self.one(&HOSTS[..4])]);
        }
        self.export_to(&mut spec);
        self.istio("networking", "VirtualService", namespace, &format!("vs-{number}"), spec);
    }

    fn destination_rule(&mut self, number: usize, namespace: &str) {
        let mut spec = json!({ "host": self.host(namespace) });
        if self.percent(70) {
            let version = self.one(&["v1", "v2", "v9"]);
            spec["subsets"] = json!([{ "name": self.one(&["v1", "v2"]), "labels": { "version": version } }]);
        }
        if self.percent(50) {
            let mode = *self.one(&["SIMPLE", "ISTIO_MUTUAL", "DISABLE"]);
            let mut tls = json!({ "mode": mode });
            if mode == "SIMPLE" && self.percent(50) {
                tls["caCertificates"] = json!("/etc/ca.pem");
            }
            spec["trafficPolicy"] = if self.percent(50) {
                json!({ "tls": tls })
            } else {
                json!({ "portLevelSettings": [{ "port": { "number": 80 }, "tls": tls }] })
            };
        }
        self.export_to(&mut spec);
        self.istio("networking", "DestinationRule", namespace, &format!("dr-{number}"), spec);
    }

    fn service_entry(&mut self, number: usize, namespace: &str) {
        let host = *self.one(&["partner.example.org", "*.example.org", "other.example.org", "db.example.org"]);
        let (protocol, port) = *self.one(&[("HTTPS", 443), ("HTTP", 80), ("TCP", 5432), ("TLS", 443)]);
        let port = json!({ "number": port, "name": protocol.to_lowercase(), "protocol": protocol });
        let resolution = if host.starts_with('*') { "NONE" } else { *self.one(&["DNS", "NONE"]) };
        let mut spec = json!({ "hosts": [host], "ports": [port], "resolution": resolution });
        if self.percent(30) {
            spec["addresses"] = json!(["240.0.0.9"]);
        }
        self.export_to(&mut spec);
        self.istio("networking", "ServiceEntry", namespace, &format!("se-{number}"), spec);
    }

    fn sidecar(&mut self, number: usize, namespace: &str) {
        let mut spec = json!({ "egress": [{ "hosts": ["./*", "istio-system/*"] }] });
        if self.percent(60) {
            spec["workloadSelector"] = json!({ "labels": self.selector() });
        }
        if self.percent(15) {
            spec["outboundTrafficPolicy"] = json!({ "mode": "ALLOW_ANY", "egressProxy": { "host": "base" } });
        }
        self.istio("networking", "Sidecar", namespace, &format!("sc-{number}"), spec);
    }

    fn authorization_policy(&mut self, number: usize, namespace: &str) {
        let from = json!({ "source": { "namespaces": [self.one(&["bank", "shop*", "*pot", "gone", "*"])] } });
        let mut spec = json!({ "rules": [{ "from": [from] }] });
        if self.percent(70) {
            spec["selector"] = json!({ "matchLabels": self.selector() });
        }
        let namespace = if self.percent(15) { "istio-system" } else { namespace };
        self.istio("security", "AuthorizationPolicy", namespace, &format!("ap-{number}"), spec);
    }

    fn authentication(&mut self, number: usize, namespace: &str) {
        let selector = json!({ "matchLabels": self.selector() });
        if self.percent(50) {
            let spec = json!({ "selector": selector, "mtls": { "mode": self.one(&["STRICT", "PERMISSIVE"]) } });
            self.istio("security", "PeerAuthentication", namespace, &format!("pa-{number}"), spec);
        } else {
            let uri = *self.one(&["https://issuer.example.org/keys", "ftp://issuer", ""]);
            let spec =
                json!({ "selector": selector, "jwtRules": [{ "issuer": "issuer.example.org", "jwksUri": uri }] });
            self.istio("security", "RequestAuthentication", namespace, &format!("ra-{number}"), spec);
        }
    }

    fn telemetry(&mut self, number: usize, namespace: &str) {
        let mut spec = json!({ "accessLogging": [{ "disabled": false }] });
        if self.percent(60) {
            spec["selector"] = json!({ "matchLabels": self.selector() });
        }
        if self.percent(40) {
            spec = json!({ "tracing": [{ "randomSamplingPercentage": self.one(&[1, 100]) }] });
        }
        self.istio("telemetry", "Telemetry", namespace, &format!("te-{number}"), spec);
    }

    fn envoy_filter(&mut self, number: usize, namespace: &str) {
        let apply_to = *self.one(&["HTTP_FILTER", "NETWORK_FILTER", "ROUTE_CONFIGURATION", "HTTP_ROUTE", "CLUSTER"]);
        let operation = *self.one(&["ADD", "REMOVE", "REPLACE", "INSERT_BEFORE", "MERGE", "INSERT_FIRST"]);
        let value = json!({ "name": self.one(&["one", "two"]) });
        let patch = json!({ "applyTo": apply_to, "patch": { "operation": operation, "value": value } });
        let mut spec = json!({ "configPatches": [patch] });
        if self.percent(30) {
            spec["priority"] = json!(10);
        }
        self.istio("networking", "EnvoyFilter", namespace, &format!("ef-{number}"), spec);
    }

    fn gateway_api(&mut self, number: usize, namespace: &str) {
        let status =
            |state: &str| json!([{ "type": "Accepted", "status": state, "reason": "Because", "message": "it is so" }]);
        let state = *self.one(&["True", "False"]);
        let metadata = json!({ "name": format!("k8s-{number}"), "namespace": namespace });
        if self.percent(40) {
            let listener = json!({ "name": "web", "port": 80, "protocol": "HTTP" });
            let spec = json!({ "gatewayClassName": "istio", "listeners": [listener] });
            let body = json!({ "spec": spec, "status": { "conditions": status(state) } });
            self.add("gateway.networking.k8s.io/v1", "Gateway", metadata, body);
        } else {
            let parent = json!({ "name": "absent" });
            let backend = json!({ "name": self.one(&APPS), "port": 80 });
            let spec = json!({ "parentRefs": [parent], "rules": [{ "backendRefs": [backend] }] });
            let parents =
                json!([{ "parentRef": parent, "controllerName": "istio.io/gateway", "conditions": status(state) }]);
            let body = json!({ "spec": spec, "status": { "parents": parents } });
            self.add("gateway.networking.k8s.io/v1", "HTTPRoute", metadata, body);
        }
    }

    fn others(&mut self, number: usize, namespace: &str) {
        let labels = self.selector();
        match self.random.random_range(0..4) {
            0 => {
                let address = *self.one(&["10.0.0.1", "", "not an address!"]);
                let spec = json!({ "address": address, "labels": labels });
                self.istio("networking", "WorkloadEntry", namespace, &format!("we-{number}"), spec);
            }
            1 => {
                let spec = json!({ "metadata": { "labels": labels }, "template": { "serviceAccount": "default" } });
                self.istio("networking", "WorkloadGroup", namespace, &format!("wg-{number}"), spec);
            }
            2 => {
                let spec =
                    json!({ "selector": { "matchLabels": labels }, "url": self.one(&["oci://a.example/b:1", ""]) });
                self.istio("extensions", "WasmPlugin", namespace, &format!("wp-{number}"), spec);
            }
            _ => {
                let client =
                    json!({ "url": self.one(&["https://10.0.0.1/inject", "https://istiod.example.org/inject", "::"]) });
                let hook = json!({ "name": "a.b.c", "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"] });
                let metadata = json!({ "name": format!("istio-sidecar-injector-{number}") });
                let body = json!({ "webhooks": [hook] });
                self.add("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", metadata, body);
            }
        }
    }
}
