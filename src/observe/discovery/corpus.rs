//! A corpus of clusters as charts and operators make them, with the servers that are in them. Meshery's rule (a Service
//! whose name contains `prometheus` or `grafana`) runs beside ours.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;

/// A cluster, and the names of the Services (`kind/namespace/name`) that stand for a server. Several Services in front of
/// one server are one entry with `|` between them.
struct Cluster {
    name: &'static str,
    observed: Observed,
    servers: BTreeSet<String>,
}

struct Builder {
    cluster: Cluster,
    space: String,
}

fn cluster(name: &'static str, space: &str) -> Builder {
    let cluster = Cluster { name, observed: Observed::default(), servers: BTreeSet::new() };
    Builder { cluster, space: space.to_owned() }
}

impl Builder {
    fn space(mut self, space: &str) -> Self {
        space.clone_into(&mut self.space);
        self
    }

    fn server(mut self, kind: &str, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| format!("{kind}/{}/{name}", self.space)).collect();
        self.cluster.servers.insert(names.join("|"));
        self
    }

    /// A Service with labels and ports (name, number), which selects the pods `run`.
    fn service(mut self, name: &str, labels: &Value, ports: &[(&str, u16)], run: &str) -> Self {
        let ports: Vec<Value> = ports
            .iter()
            .map(|(name, port)| json!({"name": name, "port": port, "targetPort": if name.is_empty() { "http" } else { name }}))
            .collect();
        let ip = if name.ends_with("-operated") || name.ends_with("-headless") { "None" } else { "10.0.0.1" };
        let spec = json!({"clusterIP": ip, "selector": {"run": run}, "ports": ports});
        let metadata = json!({"namespace": self.space, "name": name, "labels": labels});
        self.cluster.observed.services.push(json!({"metadata": metadata, "spec": spec}));
        self
    }

    /// A pod with containers: image, arguments, and name and number of a port.
    fn pod(mut self, run: &str, containers: &[(&str, &[&str], (&str, u16))]) -> Self {
        let containers: Vec<Value> = containers
            .iter()
            .map(|(image, args, (port, number))| json!({"name": "c", "image": image, "args": args, "ports": [{"name": port, "containerPort": number}]}))
            .collect();
        let metadata = json!({"namespace": self.space, "name": format!("{run}-0"), "labels": {"run": run}});
        self.cluster.observed.pods.push(json!({"metadata": metadata, "spec": {"containers": containers}}));
        self
    }

    fn program(self, name: &str, labels: &Value, port: (&str, u16), image: &str) -> Self {
        self.service(name, labels, &[port], name).pod(name, &[(image, &[], port)])
    }

    /// Pods of the Prometheus Operator for an object of this name.
    fn operated(mut self, object: &str, spec: &Value) -> Self {
        let metadata = json!({"namespace": self.space, "name": object});
        self.cluster.observed.operator_prometheuses.push(json!({"metadata": metadata, "spec": spec}));
        let image = "quay.io/prometheus/prometheus:v3.5.0";
        let mut this = self.pod(
            object,
            &[
                (image, &["--config.file=/etc/prometheus/config_out/prometheus.env.yaml"], ("http-web", 9090)),
                ("quay.io/prometheus-operator/prometheus-config-reloader:v0.85.0", &[], ("reloader-web", 8080)),
            ],
        );
        let labels = &mut this.cluster.observed.pods.last_mut().unwrap()["metadata"]["labels"];
        labels["app.kubernetes.io/name"] = json!("prometheus");
        labels["operator.prometheus.io/name"] = json!(object);
        this
    }

    fn done(self) -> Cluster {
        self.cluster
    }
}

fn app(name: &str) -> Value {
    json!({"app.kubernetes.io/name": name})
}

fn component(name: &str, component: &str) -> Value {
    json!({"app.kubernetes.io/name": name, "app.kubernetes.io/component": component})
}

/// kube-prometheus-stack with its release's full name, of which the chart cuts to 26 characters.
fn stack(name: &'static str, release: &str, full: &str) -> Cluster {
    let web = [("http-web", 9090), ("reloader-web", 8080)];
    let of = |suffix: &str| format!("{full}-{suffix}");
    let stack = |suffix: &str| json!({"app": format!("kube-prometheus-stack-{suffix}"), "release": release});
    let (prometheus, grafana) = (of("prometheus"), format!("{release}-grafana"));
    cluster(name, "monitoring")
        .server("prometheus", &[&prometheus, "prometheus-operated"])
        .server("grafana", &[&grafana])
        .operated(&prometheus, &json!({}))
        .service(&prometheus, &stack("prometheus"), &web, &prometheus)
        .service("prometheus-operated", &json!({"operated-prometheus": "true"}), &[("http-web", 9090)], &prometheus)
        .service(&grafana, &app("grafana"), &[("http-web", 80)], &grafana)
        .pod(
            &grafana,
            &[
                ("quay.io/kiwigrid/k8s-sidecar:1.30.0", &[], ("", 0)),
                ("docker.io/grafana/grafana:12.0.1", &[], ("grafana", 3000)),
            ],
        )
        .program(
            &of("alertmanager"),
            &stack("alertmanager"),
            ("http-web", 9093),
            "quay.io/prometheus/alertmanager:v0.28",
        )
        .program(
            "alertmanager-operated",
            &json!({"operated-alertmanager": "true"}),
            ("http-web", 9093),
            "quay.io/prometheus/alertmanager:v0.28",
        )
        .program(
            &of("operator"),
            &stack("operator"),
            ("https", 443),
            "quay.io/prometheus-operator/prometheus-operator:v0.85.0",
        )
        .program(
            &format!("{release}-kube-state-metrics"),
            &app("kube-state-metrics"),
            ("http", 8080),
            "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2",
        )
        .program(
            &format!("{release}-prometheus-node-exporter"),
            &app("prometheus-node-exporter"),
            ("http-metrics", 9100),
            "quay.io/prometheus/node-exporter:v1",
        )
        .space("kube-system")
        .service(&of("kubelet"), &app("kubelet"), &[("https-metrics", 10250)], "none")
        .service(&of("coredns"), &stack("coredns"), &[("http-metrics", 9153)], "coredns")
        .service(&of("kube-etcd"), &stack("kube-etcd"), &[("http-metrics", 2381)], "etcd")
        .service(&of("kube-proxy"), &stack("kube-proxy"), &[("http-metrics", 10249)], "proxy")
        .service(&of("kube-scheduler"), &stack("kube-scheduler"), &[("http-metrics", 10259)], "scheduler")
        .done()
}

#[allow(clippy::too_many_lines, reason = "a table of clusters")]
fn charts() -> Vec<Cluster> {
    vec![
        cluster("Istio's sample addons", "istio-system")
            .server("prometheus", &["prometheus"])
            .server("grafana", &["grafana"])
            .service("prometheus", &component("prometheus", "server"), &[("http", 9090)], "prometheus")
            .pod(
                "prometheus",
                &[
                    ("ghcr.io/prometheus-operator/prometheus-config-reloader:v0.85.0", &[], ("metrics", 8080)),
                    ("prom/prometheus:v3.5.0", &["--config.file=/etc/config/prometheus.yml"], ("", 9090)),
                ],
            )
            .service("grafana", &app("grafana"), &[("service", 3000)], "grafana")
            .pod("grafana", &[("docker.io/grafana/grafana:12.0.1", &[], ("grafana", 3000))])
            .program("kiali", &app("kiali"), ("http", 20001), "quay.io/kiali/kiali:v2.10")
            .program(
                "tracing",
                &json!({"app": "jaeger"}),
                ("http-query", 80),
                "docker.io/jaegertracing/all-in-one:1.67",
            )
            .program(
                "istiod",
                &json!({"app": "istiod", "istio": "pilot"}),
                ("http-monitoring", 15014),
                "docker.io/istio/pilot:1.30.3",
            )
            .done(),
        cluster("addon.apply", "watch")
            .server("prometheus", &["prometheus"])
            .server("grafana", &["grafana"])
            .program(
                "prometheus",
                &json!({"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/managed-by": "sailhand", "app.kubernetes.io/part-of": "istio-addons"}),
                ("http", 9090),
                "prom/prometheus:v3.10.0",
            )
            .program(
                "grafana",
                &json!({"app.kubernetes.io/name": "grafana", "app.kubernetes.io/managed-by": "sailhand", "app.kubernetes.io/part-of": "istio-addons"}),
                ("http", 3000),
                "grafana/grafana:12.0.1",
            )
            .program(
                "kiali",
                &json!({"app.kubernetes.io/name": "kiali", "app.kubernetes.io/managed-by": "sailhand", "app.kubernetes.io/part-of": "istio-addons"}),
                ("http", 20001),
                "quay.io/kiali/kiali:v2",
            )
            .done(),
        stack("kube-prometheus-stack, release kps", "kps", "kps-kube-prometheus-stack"),
        stack("kube-prometheus-stack, release monitoring", "monitoring", "monitoring-kube-prometheus"),
        stack("kube-prometheus-stack, long release", "observability-production", "observability-production-k"),
        stack("kube-prometheus-stack, release of its name", "kube-prometheus-stack", "kube-prometheus-stack"),
        stack("kube-prometheus-stack, release prometheus", "prometheus", "prometheus-kube-prometheus"),
        stack("kube-prometheus-stack, release grafana-ops", "grafana-ops", "grafana-ops-kube-prometheu"),
        cluster("community chart prometheus", "default")
            .server("prometheus", &["prometheus-server"])
            .service("prometheus-server", &component("prometheus", "server"), &[("http", 80)], "server")
            .pod(
                "server",
                &[
                    ("quay.io/prometheus-operator/prometheus-config-reloader:v0.85.0", &[], ("metrics", 8080)),
                    ("quay.io/prometheus/prometheus:v3.5.0", &[], ("http", 9090)),
                ],
            )
            .program(
                "prometheus-alertmanager",
                &app("alertmanager"),
                ("http", 9093),
                "quay.io/prometheus/alertmanager:v0.28",
            )
            .program(
                "prometheus-kube-state-metrics",
                &app("kube-state-metrics"),
                ("http", 8080),
                "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2",
            )
            .program(
                "prometheus-prometheus-node-exporter",
                &app("prometheus-node-exporter"),
                ("metrics", 9100),
                "quay.io/prometheus/node-exporter:v1",
            )
            .program(
                "prometheus-prometheus-pushgateway",
                &app("prometheus-pushgateway"),
                ("http", 9091),
                "quay.io/prometheus/pushgateway:v1",
            )
            .done(),
        cluster("chart grafana, own release", "ops")
            .server("grafana", &["dashboards"])
            .program("dashboards", &app("grafana"), ("service", 80), "docker.io/grafana/grafana-enterprise:12.0.1")
            .done(),
        cluster("VictoriaMetrics stack", "vm")
            .server("prometheus", &["vmsingle-vmks"])
            .server("grafana", &["vmks-grafana"])
            .program(
                "vmsingle-vmks",
                &app("vmsingle"),
                ("http", 8428),
                "docker.io/victoriametrics/victoria-metrics:v1.151.0",
            )
            .program("vmagent-vmks", &app("vmagent"), ("http", 8429), "docker.io/victoriametrics/vmagent:v1.151.0")
            .program("vmalert-vmks", &app("vmalert"), ("http", 8080), "docker.io/victoriametrics/vmalert:v1.151.0")
            .program(
                "vmks-victoria-metrics-operator",
                &app("victoria-metrics-operator"),
                ("http", 8080),
                "docker.io/victoriametrics/operator:v0.60",
            )
            .program("vmks-grafana", &app("grafana"), ("service", 80), "docker.io/grafana/grafana:12.0.1")
            .program(
                "vmks-prometheus-node-exporter",
                &app("prometheus-node-exporter"),
                ("metrics", 9100),
                "quay.io/prometheus/node-exporter:v1",
            )
            .done(),
        cluster("VictoriaMetrics cluster", "vm")
            .server("prometheus", &["vmselect-main"])
            .program(
                "vmselect-main",
                &app("vmselect"),
                ("http", 8481),
                "docker.io/victoriametrics/vmselect:v1.151.0-cluster",
            )
            .program(
                "vminsert-main",
                &app("vminsert"),
                ("http", 8480),
                "docker.io/victoriametrics/vminsert:v1.151.0-cluster",
            )
            .program(
                "vmstorage-main",
                &app("vmstorage"),
                ("http", 8482),
                "docker.io/victoriametrics/vmstorage:v1.151.0-cluster",
            )
            .done(),
        cluster("Thanos beside the Operator", "monitoring")
            .server("prometheus", &["prometheus-k8s", "prometheus-operated"])
            .server("prometheus", &["thanos-query"])
            .server("prometheus", &["thanos-query-frontend"])
            .operated("k8s", &json!({"thanos": {}}))
            .service("prometheus-k8s", &component("prometheus", "prometheus"), &[("http-web", 9090)], "k8s")
            .service(
                "prometheus-operated",
                &json!({"operated-prometheus": "true"}),
                &[("http-web", 9090), ("grpc", 10901)],
                "k8s",
            )
            .service("thanos-query", &component("thanos", "query-layer"), &[("http", 9090)], "tq")
            .pod("tq", &[("quay.io/thanos/thanos:v0.42.3", &["query"], ("http", 10902))])
            .service("thanos-query-frontend", &component("thanos", "query-frontend"), &[("http", 9090)], "tqf")
            .pod("tqf", &[("quay.io/thanos/thanos:v0.42.3", &["query-frontend"], ("http", 10902))])
            .service("thanos-store", &component("thanos", "store"), &[("http", 10902)], "ts")
            .pod("ts", &[("quay.io/thanos/thanos:v0.42.3", &["store"], ("http", 10902))])
            .service("thanos-compact", &component("thanos", "compactor"), &[("http", 10902)], "tc")
            .pod("tc", &[("quay.io/thanos/thanos:v0.42.3", &["compact"], ("http", 10902))])
            .program(
                "prometheus-adapter",
                &app("prometheus-adapter"),
                ("https", 443),
                "registry.k8s.io/prometheus-adapter/prometheus-adapter:v0.12",
            )
            .done(),
        cluster("Mimir, distributed", "mimir")
            .server("prometheus", &["mimir-nginx"])
            .server("prometheus", &["mimir-query-frontend"])
            .program(
                "mimir-nginx",
                &component("mimir", "nginx"),
                ("http-metric", 80),
                "docker.io/nginxinc/nginx-unprivileged:1.27",
            )
            .service(
                "mimir-query-frontend",
                &component("mimir", "query-frontend"),
                &[("http-metrics", 8080), ("http", 8080)],
                "qf",
            )
            .pod("qf", &[("docker.io/grafana/mimir:2.17.0", &["-target=query-frontend"], ("http", 8080))])
            .service("mimir-distributor", &component("mimir", "distributor"), &[("http", 8080)], "d")
            .pod("d", &[("docker.io/grafana/mimir:2.17.0", &["-target=distributor"], ("http", 8080))])
            .service("mimir-ingester", &component("mimir", "ingester"), &[("http", 8080)], "i")
            .pod("i", &[("docker.io/grafana/mimir:2.17.0", &["-target=ingester"], ("http", 8080))])
            .program(
                "mimir-rollout-operator",
                &app("rollout-operator"),
                ("http", 8001),
                "docker.io/grafana/rollout-operator:v0.28",
            )
            .done(),
        cluster("Operator with two objects", "teams")
            .server("prometheus", &["shop"])
            .server("prometheus", &["bank"])
            .operated("shop", &json!({"routePrefix": "/shop"}))
            .operated("bank", &json!({}))
            .service("shop", &json!({}), &[("http-web", 9090)], "shop")
            .service("bank", &json!({}), &[("http-web", 9090)], "bank")
            .done(),
        cluster("Prometheus in agent mode", "edge")
            .server("prometheus", &["agent"])
            .service("agent", &json!({}), &[("http", 9090)], "agent")
            .pod("agent", &[("quay.io/prometheus/prometheus:v3.5.0", &["--agent"], ("http", 9090))])
            .done(),
        cluster("OpenShift", "openshift-monitoring")
            .server("prometheus", &["prometheus-k8s", "prometheus-operated"])
            .server("prometheus", &["thanos-querier"])
            .operated("k8s", &json!({}))
            .service("prometheus-k8s", &component("prometheus", "prometheus"), &[("web", 9091)], "k8s")
            .service("prometheus-operated", &json!({"operated-prometheus": "true"}), &[("web", 9090)], "k8s")
            .program(
                "thanos-querier",
                &app("thanos-query"),
                ("web", 9091),
                "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:aa",
            )
            .program(
                "alertmanager-main",
                &app("alertmanager"),
                ("web", 9094),
                "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:bb",
            )
            .program(
                "node-exporter",
                &app("node-exporter"),
                ("https", 9100),
                "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:cc",
            )
            .program(
                "kube-state-metrics",
                &app("kube-state-metrics"),
                ("https-main", 8443),
                "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:dd",
            )
            .program(
                "prometheus-operator",
                &app("prometheus-operator"),
                ("https", 8443),
                "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:ee",
            )
            .program(
                "prometheus-operator-admission-webhook",
                &app("prometheus-operator-admission-webhook"),
                ("https", 8443),
                "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:ff",
            )
            .done(),
        cluster("plain manifests with odd names", "tools")
            .server("prometheus", &["metrics"])
            .server("grafana", &["boards"])
            .program(
                "metrics",
                &json!({"app": "metrics"}),
                ("http", 8080),
                "registry.corp.example/hub/prom/prometheus:v2.55.0",
            )
            .program(
                "boards",
                &json!({"app": "boards"}),
                ("http", 8080),
                "registry.corp.example/hub/grafana/grafana-oss:11.0.0",
            )
            .done(),
    ]
}

/// Programs with a name, an image or a port of a store or a Grafana, which are none.
fn decoys() -> Cluster {
    let mut all = cluster("decoys", "decoys");
    for (name, label, port, image) in [
        ("prometheus-blackbox-exporter", "prometheus-blackbox-exporter", 9115, "quay.io/prometheus/blackbox-exporter"),
        ("prometheus-snmp-exporter", "prometheus-snmp-exporter", 9116, "quay.io/prometheus/snmp-exporter"),
        ("prometheus-mysql-exporter", "prometheus-mysql-exporter", 9104, "quay.io/prometheus/mysqld-exporter"),
        ("prometheus-redis-exporter", "prometheus-redis-exporter", 9121, "docker.io/oliver006/redis_exporter"),
        (
            "prometheus-postgres-exporter",
            "prometheus-postgres-exporter",
            80,
            "quay.io/prometheuscommunity/postgres-exporter",
        ),
        ("prometheus-statsd-exporter", "prometheus-statsd-exporter", 9102, "quay.io/prometheus/statsd-exporter"),
        ("prometheus-msteams", "prometheus-msteams", 2000, "quay.io/prometheusmsteams/prometheus-msteams"),
        ("prometheus-to-sd", "prometheus-to-sd", 6061, "gke.gcr.io/prometheus-to-sd"),
        ("prometheus-webhook-dingtalk", "dingtalk", 8060, "docker.io/timonwong/prometheus-webhook-dingtalk"),
        (
            "prometheus-rsocket-proxy",
            "prometheus-rsocket-proxy",
            8080,
            "docker.io/micrometermetrics/prometheus-rsocket-proxy",
        ),
        ("prometheus-adapter", "prometheus-adapter", 443, "registry.k8s.io/prometheus-adapter/prometheus-adapter"),
        ("alertmanager", "alertmanager", 9093, "quay.io/prometheus/alertmanager"),
        ("grafana-loki", "loki", 3100, "docker.io/grafana/loki"),
        ("grafana-tempo", "tempo", 3100, "docker.io/grafana/tempo"),
        ("grafana-agent", "grafana-agent", 80, "docker.io/grafana/agent"),
        ("grafana-alloy", "alloy", 12345, "docker.io/grafana/alloy"),
        ("grafana-oncall-engine", "oncall", 8080, "docker.io/grafana/oncall"),
        ("grafana-image-renderer", "grafana-image-renderer", 8081, "docker.io/grafana/grafana-image-renderer"),
        ("grafana-operator-metrics-service", "grafana-operator", 9090, "ghcr.io/grafana/grafana-operator"),
        ("grafana-pyroscope", "pyroscope", 4040, "docker.io/grafana/pyroscope"),
        ("grafana-beyla", "beyla", 80, "docker.io/grafana/beyla"),
        ("hubble-metrics", "hubble", 9965, "quay.io/cilium/cilium"),
        ("cilium-agent", "cilium-agent", 9090, "quay.io/cilium/cilium"),
        ("kiali", "kiali", 9090, "quay.io/kiali/kiali"),
        ("argo-rollouts-metrics", "argo-rollouts", 8090, "quay.io/argoproj/argo-rollouts"),
        ("thanos-receive", "thanos-receive", 10902, "quay.io/thanos/thanos"),
        ("vmalert", "vmalert", 8880, "docker.io/victoriametrics/vmalert"),
        ("cockroach-ui", "cockroachdb", 8080, "docker.io/cockroachdb/cockroach"),
        ("rest-api", "rest-api", 9090, "registry.corp.example/rest-api"),
        ("frontend", "frontend", 3000, "registry.corp.example/frontend"),
        ("shop-grafana-plugin", "shop-plugin", 3000, "registry.corp.example/shop-grafana-plugin"),
    ] {
        all = all.program(name, &app(label), ("http", port), image);
    }
    all.done()
}

/// Services as `kind/namespace/name` that a rule takes for servers, with their scores.
type Claims = BTreeMap<String, f64>;

fn ours(observed: &Observed) -> Claims {
    let named = |one: Instance| {
        let service = one.service?;
        Some((format!("{}/{}/{}", one.kind, service.namespace, service.name), one.score))
    };
    discover(observed).into_iter().filter_map(named).collect()
}

/// The rule of Meshery (`server/machines/helpers/auto_register.go`), reimplemented from its description.
fn by_name(observed: &Observed) -> Claims {
    let kinds = ["prometheus", "grafana"];
    let claims = observed.services.iter().flat_map(|service| {
        let named = kinds.iter().filter(|kind| name(service).contains(**kind));
        named.map(|kind| (format!("{kind}/{}/{}", namespace(service), name(service)), 1.0)).collect::<Vec<_>>()
    });
    claims.collect()
}

#[derive(Default)]
struct Figures {
    right: usize,
    wrong: usize,
    missed: usize,
    squares: f64,
}

impl Figures {
    fn add(&mut self, cluster: &Cluster, claims: &Claims) {
        for servers in &cluster.servers {
            let found = servers.split('|').filter_map(|one| claims.get(one)).fold(0.0_f64, |a, b| a.max(*b));
            if found > 0.0 {
                self.right += 1;
            } else {
                self.missed += 1;
            }
            self.squares += (1.0 - found).powi(2);
        }
        let is_server = |claim: &str| cluster.servers.iter().any(|all| all.split('|').any(|one| one == claim));
        for (claim, score) in claims {
            if !is_server(claim) {
                self.wrong += 1;
                self.squares += score.powi(2);
            }
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    fn rates(&self) -> (f64, f64, f64) {
        let (right, wrong, missed) = (self.right as f64, self.wrong as f64, self.missed as f64);
        (right / (right + wrong), right / (right + missed), self.squares / (right + wrong + missed))
    }
}

#[test]
fn discovery_is_precise_and_complete_on_the_corpus() {
    let mut clusters = charts();
    clusters.push(decoys());
    let (mut our, mut their) = (Figures::default(), Figures::default());
    println!("{:<44} {:>7} {:>14} {:>14}", "cluster", "servers", "ours wrong", "by name wrong");
    for cluster in &clusters {
        let (mut a, mut b) = (Figures::default(), Figures::default());
        let claims = ours(&cluster.observed);
        a.add(cluster, &claims);
        b.add(cluster, &by_name(&cluster.observed));
        let wrong = |one: &Figures| format!("{} + {} missed", one.wrong, one.missed);
        println!("{:<44} {:>7} {:>14} {:>14}", cluster.name, cluster.servers.len(), wrong(&a), wrong(&b));
        if a.wrong + a.missed > 0 {
            println!("    servers {:?}\n    claims {claims:?}", cluster.servers);
        }
        our.add(cluster, &claims);
        their.add(cluster, &by_name(&cluster.observed));
    }
    for (rule, figures) in [("sailhand", &our), ("by name (Meshery's rule)", &their)] {
        let (precision, recall, brier) = figures.rates();
        println!("{rule:<26} precision {precision:.3}  recall {recall:.3}  Brier {brier:.3}");
    }
    let (precision, recall, brier) = our.rates();
    assert!(precision >= 0.99 && recall >= 0.98 && brier <= 0.03, "{precision} {recall} {brier}");
    assert!(their.rates().0 < 0.5, "the rule by name takes exporters and kubelets for stores");
}
