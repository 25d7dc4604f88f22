//! The faults that `causes.rs` injects: what a store scrapes, what proxies answer, and which objects the cluster has. The
//! numbers are those of `docs/connections.md`.
#![allow(clippy::needless_pass_by_value, reason = "values are written where they are passed")]

use sailhand::observe::ladder::{Cause, Rung};
use serde_json::{Value, json};

/// One fault, alone in a mesh that is healthy otherwise.
pub struct Fault {
    /// Number of the cause in the documentation; 0 for the healthy mesh.
    pub number: u8,
    pub what: &'static str,
    pub cause: Option<Cause>,
    pub rung: Rung,
    /// What stands in for a part that cannot be had here; empty if everything is real.
    pub simulated: &'static str,
    /// Configuration of the fault's own Prometheus.
    pub configuration: Value,
    /// Pods that the Prometheus finds, which run only while the fault is checked.
    pub pods: Vec<Value>,
    /// Other objects of the cluster while the fault is checked.
    pub objects: Vec<Value>,
    pub kind: Kind,
}

/// What runs as the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Server,
    Agent,
    /// Its only samples are four minutes old.
    Old,
    /// Its build information is that of `VictoriaMetrics`.
    VictoriaMetrics,
    /// Its service account may read the pods of `istio-system` and `shop` only.
    NarrowRights,
    /// Its own pod has a sidecar.
    WithSidecar,
    /// The healthy store is beside it.
    BesideAnother,
}

/// Where things are.
pub struct Place {
    /// First three parts of the addresses of pods and stores, such as `127.31.7`.
    pub prefix: String,
    /// Of an account that may read all pods.
    pub kubeconfig: String,
    /// Of an account that may read those of two namespaces.
    pub narrow_kubeconfig: String,
}

impl Place {
    pub fn address(&self, last: usize) -> String {
        format!("{}.{last}", self.prefix)
    }

    /// Host and port of the store of the fault with this index.
    pub fn store(&self, index: usize) -> String {
        format!("{}:9090", self.address(100 + index))
    }

    /// The job of Istio's sample that finds pods by their annotations, in the mesh and in the namespace of a fault.
    fn by_annotation(&self, spaces: &[&str], mode: &str) -> Value {
        let annotation = |name: &str| format!("__meta_kubernetes_pod_annotation_prometheus_io_{name}");
        json!({
            "job_name": "kubernetes-pods",
            "params": {"fault": [mode]},
            "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": self.kubeconfig, "namespaces": {"names": spaces}}],
            "relabel_configs": [
                {"source_labels": [annotation("scrape")], "action": "keep", "regex": "true"},
                {"source_labels": [annotation("path")], "target_label": "__metrics_path__", "regex": "(.+)"},
                {"source_labels": ["__meta_kubernetes_pod_ip", annotation("port")], "regex": "(.+);(.+)",
                    "target_label": "__address__", "replacement": "$1:$2"},
                {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
                {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
            ],
        })
    }
}

const MESH: [&str; 2] = ["istio-system", "shop"];

/// Namespace of the fault with this index.
pub fn space(index: usize) -> String {
    format!("fault-{index}")
}

fn configuration(jobs: &Value) -> Value {
    json!({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs})
}

/// A pod with a sidecar whose metrics are merged.
pub fn injected(space: &str, name: &str) -> Value {
    let annotations = json!({"prometheus.io/scrape": "true", "prometheus.io/port": "15020",
        "prometheus.io/path": "/stats/prometheus"});
    let proxy = json!({"name": "istio-proxy", "image": "proxyv2:1.30.3",
        "ports": [{"name": "http-envoy-prom", "containerPort": 15090}]});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": space, "name": name, "labels": {"app": name}, "annotations": annotations},
        "spec": {"schedulerName": "none", "containers": [{"name": "app", "image": "app:1"}, proxy]},
    })
}

fn object(api_version: &str, kind: &str, place: (&str, &str), spec: &Value) -> Value {
    let metadata = json!({"namespace": place.0, "name": place.1});
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
}

fn telemetry(place: (&str, &str), overrides: &Value) -> Value {
    let metrics = json!([{"providers": [{"name": "prometheus"}], "overrides": [overrides]}]);
    object("telemetry.istio.io/v1", "Telemetry", place, &json!({"metrics": metrics}))
}

/// The healthy mesh, and each fault alone.
#[allow(clippy::too_many_lines, reason = "a table of faults")]
pub fn all(place: &Place) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    let mut add = |number, cause: Option<Cause>, rung, what, change: &dyn Fn(usize, &mut Fault)| {
        let index = faults.len();
        let space = space(index);
        let jobs = json!([place.by_annotation(&[MESH[0], MESH[1], &space], "")]);
        let mut fault = Fault {
            number,
            what,
            cause,
            rung,
            simulated: "",
            configuration: configuration(&jobs),
            pods: Vec::new(),
            objects: Vec::new(),
            kind: Kind::Server,
        };
        change(index, &mut fault);
        faults.push(fault);
    };
    let mode = |mode: &'static str| {
        move |_: usize, fault: &mut Fault| fault.configuration["scrape_configs"][0]["params"]["fault"][0] = json!(mode)
    };
    let itself = |index: usize| {
        configuration(&json!([{"job_name": "prometheus", "static_configs": [{"targets": [place.store(index)]}]}]))
    };
    let dropping = |regex: &'static str, action: &'static str| {
        move |_: usize, fault: &mut Fault| {
            let mut rule = json!({"action": action, "regex": regex});
            if action == "drop" {
                rule["source_labels"] = json!(["__name__"]);
            }
            fault.configuration["scrape_configs"][0]["metric_relabel_configs"] = json!([rule]);
        }
    };

    add(0, None, Rung::Correct, "none: the healthy mesh", &|_, _| {});
    add(1, Some(Cause::NothingScrapesIstio), Rung::Fresh, "no job scrapes the mesh", &|index, fault| {
        fault.configuration = itself(index);
    });
    add(1, Some(Cause::ProxiesNotScraped), Rung::Fresh, "the job finds istiod's namespace only", &|_, fault| {
        fault.configuration = configuration(&json!([place.by_annotation(&["istio-system"], "")]));
    });
    add(
        2,
        Some(Cause::MonitorNotSelected),
        Rung::Fresh,
        "a PodMonitor lacks the label of the selector",
        &|index, fault| {
            fault.configuration = itself(index);
            let selects =
                json!({"podMonitorSelector": {"matchLabels": {"release": "kps"}}, "podMonitorNamespaceSelector": {}});
            let endpoints = json!([{"port": "http-envoy-prom", "path": "/stats/prometheus"}]);
            let monitor = json!({"selector": {}, "namespaceSelector": {"any": true}, "podMetricsEndpoints": endpoints});
            fault.objects = vec![
                object("monitoring.coreos.com/v1", "Prometheus", ("monitoring", "k8s"), &selects),
                object("monitoring.coreos.com/v1", "PodMonitor", ("istio-system", "envoy-stats-monitor"), &monitor),
            ];
        },
    );
    add(
        3,
        Some(Cause::PodsForbidden),
        Rung::ScrapesIstio,
        "the store's account may not list pods of a namespace",
        &|index, fault| {
            fault.configuration["scrape_configs"][0]["kubernetes_sd_configs"][0]["kubeconfig_file"] =
                json!(place.narrow_kubeconfig);
            fault.pods = vec![injected(&space(index), "web")];
            fault.kind = Kind::NarrowRights;
        },
    );
    add(
        4,
        Some(Cause::NetworkPolicy),
        Rung::ScrapesIstio,
        "a NetworkPolicy admits pods of its namespace only",
        &|index, fault| {
            fault.simulated = "the network: the proxy accepts no connection";
            fault.pods = vec![injected(&space(index), "silent")];
            let spec =
                json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]});
            fault.objects = vec![object("networking.k8s.io/v1", "NetworkPolicy", (&space(index), "closed"), &spec)];
        },
    );
    add(
        5,
        Some(Cause::StrictMtls),
        Rung::ScrapesIstio,
        "an application's port under STRICT mTLS is scraped",
        &|index, fault| {
            fault.simulated = "the sidecar: it closes connections in plaintext";
            let mut applications = place.by_annotation(&[&space(index)], "");
            applications["job_name"] = json!("applications");
            applications["relabel_configs"][0] = json!({"source_labels": ["__meta_kubernetes_pod_container_port_name"], "action": "keep", "regex": "metrics"});
            applications["relabel_configs"][2] = json!({"source_labels": ["__meta_kubernetes_pod_ip"], "regex": "(.+)",
            "target_label": "__address__", "replacement": "$1:8080"});
            fault.configuration["scrape_configs"].as_array_mut().unwrap().push(applications);
            let mut pod = injected(&space(index), "closing");
            pod["spec"]["containers"][0]["ports"] = json!([{"name": "metrics", "containerPort": 8080}]);
            fault.pods = vec![pod];
            let strict = json!({"mtls": {"mode": "STRICT"}});
            fault.objects =
                vec![object("security.istio.io/v1", "PeerAuthentication", ("istio-system", "default"), &strict)];
        },
    );
    add(
        6,
        Some(Cause::StoreIntercepted),
        Rung::Complete,
        "the store's pod has a sidecar that intercepts",
        &|_, fault| {
            fault.simulated = "the interception: only the pod's containers show it";
            fault.configuration = configuration(&json!([place.by_annotation(&[MESH[0], MESH[1], "monitoring"], "")]));
            fault.kind = Kind::WithSidecar;
        },
    );
    add(
        7,
        Some(Cause::MergingOff),
        Rung::ScrapesIstio,
        "merging is off, the job selects by annotation",
        &|index, fault| {
            let mut pod = injected(&space(index), "web");
            pod["metadata"].as_object_mut().unwrap().remove("annotations");
            fault.pods = vec![pod];
        },
    );
    add(
        8,
        Some(Cause::WrongAnnotation),
        Rung::ScrapesIstio,
        "prometheus.io/port is the application's, which answers",
        &|index, fault| {
            let mut pod = injected(&space(index), "web");
            pod["metadata"]["annotations"]["prometheus.io/port"] = json!("8080");
            fault.pods = vec![pod];
        },
    );
    add(
        9,
        Some(Cause::NativeSidecarsNotSeen),
        Rung::ScrapesIstio,
        "a vmagent that ignores ports of init containers",
        &|index, fault| {
            fault.simulated =
                "the old vmagent: Prometheus, which answers as VictoriaMetrics 2.24.0, does not find the pod";
            let mut pod = injected(&space(index), "web");
            let mut proxy = pod["spec"]["containers"].as_array_mut().unwrap().remove(1);
            proxy["restartPolicy"] = json!("Always");
            pod["spec"]["initContainers"] = json!([proxy]);
            pod["metadata"].as_object_mut().unwrap().remove("annotations");
            fault.pods = vec![pod];
            fault.kind = Kind::VictoriaMetrics;
        },
    );
    add(10, Some(Cause::ScrapedTwice), Rung::Complete, "two jobs scrape the same pods", &|_, fault| {
        let mut second = fault.configuration["scrape_configs"][0].clone();
        second["job_name"] = json!("envoy-stats");
        fault.configuration["scrape_configs"].as_array_mut().unwrap().push(second);
    });
    add(
        11,
        Some(Cause::DuplicateSamples),
        Rung::Complete,
        "proxies send a series twice in one answer",
        &|index, fault| {
            mode("duplicates")(index, fault);
            let itself = itself(index)["scrape_configs"][0].take();
            fault.configuration["scrape_configs"].as_array_mut().unwrap().push(itself);
        },
    );
    add(
        12,
        Some(Cause::TelemetryRemovesMetrics),
        Rung::Complete,
        "a Telemetry disables the request count",
        &|index, fault| {
            fault.simulated = "the effect of the object on the proxies' metrics";
            mode("tcp")(index, fault);
            let overrides = json!({"match": {"metric": "REQUEST_COUNT"}, "disabled": true});
            fault.objects = vec![telemetry(("istio-system", "mesh"), &overrides)];
        },
    );
    add(
        12,
        Some(Cause::TelemetryRemovesMetrics),
        Rung::Complete,
        "a Telemetry removes the label reporter",
        &|index, fault| {
            fault.simulated = "the effect of the object on the proxies' metrics";
            mode("unlabeled")(index, fault);
            let overrides =
                json!({"match": {"metric": "ALL_METRICS"}, "tagOverrides": {"reporter": {"operation": "REMOVE"}}});
            fault.objects = vec![telemetry(("istio-system", "mesh"), &overrides)];
        },
    );
    add(
        13,
        Some(Cause::RelabelingDrops),
        Rung::Complete,
        "a rule drops istio_requests_total",
        &dropping("istio_requests_total", "drop"),
    );
    add(
        13,
        Some(Cause::BucketsDropped),
        Rung::Complete,
        "a rule drops histogram buckets",
        &dropping(".*_bucket", "drop"),
    );
    add(
        13,
        Some(Cause::RelabelingDrops),
        Rung::Complete,
        "a rule drops the label reporter",
        &dropping("reporter", "labeldrop"),
    );
    add(14, Some(Cause::NoTraffic), Rung::Correct, "the mesh is idle", &mode("idle"));
    add(
        15,
        Some(Cause::AmbientWithoutWaypoint),
        Rung::Correct,
        "an ambient namespace has no waypoint",
        &|index, fault| {
            mode("tcp")(index, fault);
            let mut ztunnel = injected(&space(index), "ztunnel");
            ztunnel["spec"]["containers"].as_array_mut().unwrap().remove(0);
            fault.pods = vec![ztunnel];
            let labels = json!({"istio.io/dataplane-mode": "ambient"});
            let metadata = json!({"name": format!("{}-ambient", space(index)), "labels": labels});
            fault.objects = vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})];
        },
    );
    add(16, Some(Cause::LimitExceeded), Rung::Fresh, "targets exceed sample_limit", &|_, fault| {
        fault.configuration["scrape_configs"][0]["sample_limit"] = json!(3);
    });
    add(
        17,
        Some(Cause::ApplicationMetricsFail),
        Rung::Correct,
        "merging cannot read the application's metrics",
        &mode("merging"),
    );
    add(18, Some(Cause::WindowTooShort), Rung::Complete, "a window of 15 s at an interval of 5 s", &|_, fault| {
        fault.configuration["global"]["scrape_interval"] = json!("5s");
    });
    add(19, Some(Cause::OtherStore), Rung::Fresh, "another store of the cluster scrapes the mesh", &|index, fault| {
        fault.configuration = itself(index);
        fault.kind = Kind::BesideAnother;
    });
    add(20, Some(Cause::AgentMode), Rung::Prometheus, "Prometheus runs as an agent", &|_, fault| {
        fault.kind = Kind::Agent;
    });
    add(
        21,
        Some(Cause::SeveralClusters),
        Rung::Complete,
        "the store has the metrics of two clusters",
        &mode("clusters"),
    );
    add(21, Some(Cause::SeveralReplicas), Rung::Complete, "two replicas write to the store", &|_, fault| {
        let first = fault.configuration["scrape_configs"][0].take();
        let replica = |name: &str| {
            let mut job = first.clone();
            job["job_name"] = json!(name);
            let rules = job["relabel_configs"].as_array_mut().unwrap();
            rules.push(json!({"target_label": "prometheus_replica", "replacement": name}));
            rules.push(json!({"target_label": "job", "replacement": "kubernetes-pods"}));
            job
        };
        fault.configuration["scrape_configs"] = json!([replica("a"), replica("b")]);
    });
    add(22, Some(Cause::Stale), Rung::Prometheus, "the store receives no new samples", &|_, fault| {
        fault.configuration = configuration(&json!([]));
        fault.kind = Kind::Old;
    });
    faults
}
