//! Injects each cause of `connection.check` into a mesh, one by one: objects in a real API server, real Prometheus servers
//! that find scripted proxies there. The API server cannot connect to pods, so a double of its Service proxy passes
//! requests on to the stores.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sailhand::cluster::Clusters;
use sailhand::config::{Connection, Target};
use sailhand::http::Credentials;
use sailhand::observe::instance::{InstanceKind, ServiceAddress, root};
use sailhand::observe::ladder::{Cause, Rung};
use sailhand::task::TaskContext;
use sailhand::task::connection::{Check, CheckReport};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster_target::{context, unique, write};
use crate::connections::run;
use crate::faults::{self, Fault, Kind, Place, injected, space};
use crate::support::api_proxy::{ApiProxy, Record};
use crate::support::eventually::eventually;
use crate::support::own_control_plane::ControlPlane;
use crate::support::prometheus::{Prometheus, get, serve_at};
use crate::support::{charts, control_plane, operator_crds, tools};

const WITHIN: Duration = Duration::from_mins(1);
/// Last part of the address of the pods of stores.
const STORE: usize = 99;

/// What a proxy, istiod or an application answers, by the mode that its job asks for.
fn metrics(request: &str, name: &str, start: Instant) -> String {
    let line = request.lines().next().unwrap_or_default();
    if !line.starts_with("/stats/prometheus") {
        return "app_requests_total 7\n".to_owned();
    }
    let mode = line.split_once("fault=").map_or("", |(_, mode)| mode);
    let cluster = |name: &str| if mode == "clusters" { format!(",cluster=\"{name}\"") } else { String::new() };
    if name == "istiod" {
        return format!("istio_build{{component=\"pilot\",tag=\"1.30.3\"{}}} 1\n", cluster("west"));
    }
    let count = start.elapsed().as_secs() * 10;
    let reporter = if mode == "unlabeled" { "" } else { "reporter=\"destination\"," };
    let labels = format!("{reporter}destination_service_name=\"{name}\",response_code=\"200\"");
    let mut text = format!("istio_build{{component=\"proxy\",tag=\"1.30.3\"{}}} 1\n", cluster("east"));
    let failures = if mode == "merging" { count } else { 0 };
    writeln!(text, "istio_agent_scrape_failures_total{{type=\"application\"}} {failures}").unwrap();
    if mode != "idle" {
        writeln!(text, "istio_tcp_sent_bytes_total{{{labels}}} {count}").unwrap();
    }
    if !["idle", "tcp"].contains(&mode) {
        writeln!(text, "istio_requests_total{{{labels}}} {count}").unwrap();
        for le in ["10", "+Inf"] {
            writeln!(text, "istio_request_duration_milliseconds_bucket{{{labels},le=\"{le}\"}} {count}").unwrap();
        }
    }
    if mode == "duplicates" {
        writeln!(text, "istio_requests_total{{{labels}}} {}", count + 1).unwrap();
    }
    text
}

/// Answers as the pod does at its address.
fn answer_as(pod: &Value, address: &str, start: Instant) {
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    if name == "silent" {
        // The kernel takes connections, and nobody reads.
        let listener = TcpListener::bind(format!("{address}:15020")).unwrap();
        std::mem::forget(listener);
        return;
    }
    if name == "closing" {
        let listener = TcpListener::bind(format!("{address}:8080")).unwrap();
        std::thread::spawn(move || listener.incoming().for_each(drop));
    } else {
        serve_at(&format!("{address}:8080"), |_| Some((200, "app_requests_total 7\n".to_owned())));
    }
    let port = if name == "istiod" { 15014 } else { 15020 };
    serve_at(&format!("{address}:{port}"), move |request| Some((200, metrics(request, &name, start))));
}

struct Scene {
    plane: ControlPlane,
    cx: TaskContext,
    place: Place,
    folder: tempfile::TempDir,
    start: Instant,
}

impl Scene {
    /// Writes a kubeconfig with the token of a service account of the stores.
    fn kubeconfig_of(&self, account: &str, file: &str) {
        let token = self.plane.kubectl(&["create", "token", account, "--namespace=monitoring"]);
        let server = self.plane.kubectl(&["config", "view", "--output=jsonpath={.clusters[0].cluster.server}"]);
        let authority = self.plane.dir().join("pki/ca.crt");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": server, "certificate-authority": authority}}],
            "users": [{"name": "it", "user": {"token": token.trim()}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        std::fs::write(file, config.to_string()).unwrap();
    }

    /// The accounts of the stores, namespaces, and the pods of the healthy mesh.
    async fn furnish(&self, faults: usize) {
        let names = ["monitoring", "istio-system", "shop"].into_iter().map(str::to_owned).chain((0..faults).map(space));
        let mut objects: Vec<Value> =
            names.map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).collect();
        let binding = |kind: &str, space: Option<&str>, account: &str| {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
                "metadata": {"name": account, "namespace": space},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "monitoring"}],
            })
        };
        for account in ["prometheus", "narrow"] {
            let metadata = json!({"name": account, "namespace": "monitoring"});
            objects.push(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}));
        }
        objects.push(binding("ClusterRoleBinding", None, "prometheus"));
        objects.push(binding("RoleBinding", Some("istio-system"), "narrow"));
        objects.push(binding("RoleBinding", Some("shop"), "narrow"));
        let list = self.folder.path().join("objects.json");
        std::fs::write(&list, json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()).unwrap();
        self.plane.kubectl(&["apply", "--server-side", "--filename", list.to_str().unwrap()]);
        self.kubeconfig_of("prometheus", &self.place.kubeconfig);
        self.kubeconfig_of("narrow", &self.place.narrow_kubeconfig);
        let mut istiod = injected("istio-system", "istiod");
        istiod["spec"]["containers"] = json!([{"name": "discovery", "image": "pilot:1.30.3"}]);
        istiod["metadata"]["annotations"]["prometheus.io/port"] = json!("15014");
        answer_as(&injected("monitoring", "store"), &self.place.address(STORE), self.start);
        for (number, pod) in [istiod, injected("shop", "web"), injected("shop", "api")].iter().enumerate() {
            let address = self.place.address(1 + number);
            answer_as(pod, &address, self.start);
            write(&self.cx, pod.clone()).await;
            self.set_status(pod, "Running", &address).await;
        }
    }

    async fn set_status(&self, pod: &Value, phase: &str, address: &str) {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap();
        let (space, name) = (text("namespace"), text("name"));
        let client = self.cx.cluster().await.unwrap().client().await;
        let api: kube::Api<k8s_openapi::api::core::v1::Pod> = kube::Api::namespaced(client, space);
        let conditions = json!([{"type": "Ready", "status": "True"}]);
        let status = json!({"phase": phase, "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions});
        let patch = kube::api::Patch::Merge(json!({"status": status}));
        api.patch_status(name, &kube::api::PatchParams::default(), &patch).await.unwrap();
    }

    async fn delete(&self, object: &Value) {
        let cluster = self.cx.cluster().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = cluster.kind(&text(&object["apiVersion"]), &text(&object["kind"])).await.unwrap().unwrap();
        let client = cluster.client().await;
        let api: kube::Api<kube::core::DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => kube::Api::namespaced_with(client, namespace, &kind.resource),
            None => kube::Api::all_with(client, &kind.resource),
        };
        api.delete(&text(&object["metadata"]["name"]), &kube::api::DeleteParams::default()).await.unwrap();
    }

    /// Starts the Prometheus of a fault.
    fn store(&self, index: usize, fault: &Fault) -> Prometheus {
        let folder = self.folder.path().join(space(index));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, fault.configuration.to_string()).unwrap();
        let listen = format!("--web.listen-address={}", self.place.store(index));
        if fault.kind == Kind::Agent {
            let data = format!("--storage.agent.path={}", folder.join("agent").display());
            return Prometheus::start_as(&file, &["--agent", &data, &listen]);
        }
        if fault.kind == Kind::Old {
            write_old_samples(&folder);
        }
        Prometheus::start(&file, &folder, &[&listen])
    }

    /// The pod, the Service and the endpoints of a store.
    fn store_objects(index: usize, kind: Kind) -> Vec<Value> {
        let name = format!("store-{index}");
        let mut pod = injected("monitoring", &name);
        let account = if kind == Kind::NarrowRights { "narrow" } else { "prometheus" };
        pod["spec"]["serviceAccountName"] = json!(account);
        pod["spec"]["containers"][0] = json!({"name": "prometheus", "image": "prom/prometheus:v3.10.0"});
        if kind != Kind::WithSidecar {
            pod["spec"]["containers"].as_array_mut().unwrap().pop();
            pod["metadata"].as_object_mut().unwrap().remove("annotations");
        }
        let spec = json!({"selector": {"app": name}, "ports": [{"name": "http", "port": 9090}]});
        let metadata = json!({"namespace": "monitoring", "name": name});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
        // The controller makes none for a pod without a node.
        let metadata = json!({"namespace": "monitoring", "name": format!("{name}-ready"),
            "labels": {"kubernetes.io/service-name": name}});
        let endpoint = json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true}});
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": "IPv4", "endpoints": [endpoint], "ports": [{"name": "http", "port": 9090}]});
        vec![pod, service, slice]
    }

    async fn check(&self, index: usize) -> CheckReport {
        let params = json!({"connection": format!("store-{index}"), "window_s": 15});
        run(Check, &self.cx, params).await.unwrap().1
    }

    /// What the check names while the fault is there; waits until that is what is wanted, for the samples to arrive.
    async fn named(&self, index: usize, fault: &Fault) -> (Rung, Vec<Cause>) {
        let mut objects = Self::store_objects(index, fault.kind);
        if fault.kind == Kind::BesideAnother {
            objects.extend(Self::store_objects(0, Kind::Server));
        }
        objects.extend(fault.objects.clone());
        for object in &objects {
            write(&self.cx, object.clone()).await;
        }
        let stores = objects.iter().filter(|one| one["kind"] == "Pod").map(|pod| (pod, self.place.address(STORE)));
        let stores: Vec<_> = stores.chain(fault.pods.iter().map(|pod| (pod, self.place.address(50 + index)))).collect();
        for (pod, address) in &stores {
            self.set_status(pod, "Running", address).await;
        }
        let begun = Instant::now();
        let wanted: BTreeSet<Cause> = fault.cause.into_iter().collect();
        let last = eventually("the cause is named", WITHIN + WITHIN, async || {
            let report = self.check(index).await;
            let seen: BTreeSet<Cause> = report.findings.iter().map(|one| one.cause).collect();
            let is_wanted = seen == wanted && report.rung == fault.rung;
            (is_wanted || begun.elapsed() > WITHIN).then_some(report)
        })
        .await;
        assert!(last.unread.is_empty(), "{last:?}");
        for object in objects.iter().chain(&fault.pods) {
            self.delete(object).await;
        }
        (last.rung, last.findings.iter().map(|one| one.cause).collect())
    }
}

/// Samples that are four minutes old, as promtool backfills them.
fn write_old_samples(folder: &Path) {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let file = folder.join("old.txt");
    std::fs::write(&file, format!("# TYPE up gauge\nup{{job=\"old\"}} 1 {}\n# EOF\n", now - 240)).unwrap();
    let output = Command::new(tools::program("promtool", "PROMTOOL_BIN"))
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&file, &folder.join("data")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Passes requests for a store on to its Prometheus, as the API server's Service proxy does.
fn through_the_proxy(prefix: &str, path: &str, query: &str) -> Option<(u16, String)> {
    let (service, endpoint) =
        path.strip_prefix("/api/v1/namespaces/monitoring/services/store-")?.split_once(":9090/proxy")?;
    let index: usize = service.parse().ok()?;
    let address = format!("{prefix}.{}:9090", 100 + index);
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    get(&address, &format!("{endpoint}{query}"))
}

async fn scene() -> Scene {
    let cluster = ControlPlane::start().await;
    let folder = tempfile::tempdir().unwrap();
    let id = std::process::id();
    let place = Place {
        prefix: format!("127.{}.{}", 64 + (id >> 8) % 128, id % 256),
        kubeconfig: folder.path().join("wide.kubeconfig").display().to_string(),
        narrow_kubeconfig: folder.path().join("narrow.kubeconfig").display().to_string(),
    };
    let proxy = ApiProxy::start("causes", &cluster.kubeconfig(), Record::default()).await;
    let prefix = place.prefix.clone();
    let victoria = faults::all(&place).iter().position(|fault| fault.kind == Kind::VictoriaMetrics).unwrap();
    let build = format!("/services/store-{victoria}:9090/proxy/api/v1/status/buildinfo");
    proxy.answer(move |path, query| {
        if path.ends_with(&build) {
            return Some((200, r#"{"status":"success","data":{"version":"2.24.0"}}"#.to_owned()));
        }
        through_the_proxy(&prefix, path, query)
    });
    let file = folder.path().join("kubeconfig");
    control_plane::write_kubeconfig(&file, &format!("http://127.0.0.1:{}", proxy.port()));
    let store = |index: usize| {
        let name = format!("store-{index}");
        let service = ServiceAddress {
            namespace: "monitoring".to_owned(),
            name: name.clone(),
            port: 9090,
            path: root(),
            tls: false,
        };
        let connection = Connection {
            kind: InstanceKind::Prometheus,
            url: String::new(),
            service: Some(service),
            scope: BTreeMap::new(),
            credentials: Credentials::default(),
        };
        (name, connection)
    };
    let connections = (0..faults::all(&place).len()).map(store).collect();
    let target = Target { kubeconfig: Some(file), connections, ..Target::default() };
    let (mut cx, _) = context(&unique("causes"), 1);
    cx.clusters = Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)])));
    cx.guard = sailhand::guard::Guard::new(
        Instant::now() + Duration::from_mins(10),
        1,
        tokio_util::sync::CancellationToken::new(),
    );
    Scene { plane: cluster, cx, place, folder, start: Instant::now() }
}

#[tokio::test]
async fn each_fault_alone_is_named_and_a_healthy_mesh_has_none() {
    let scene = scene().await;
    let faults = faults::all(&scene.place);
    let crds = charts::folder().join("istio-1.30.3/base/files/crd-all.gen.yaml");
    scene.plane.kubectl(&["apply", "--server-side", "--filename", crds.to_str().unwrap()]);
    operator_crds::install_by(|arguments| drop(scene.plane.kubectl(arguments)));
    scene.furnish(faults.len()).await;
    let mut stores = Vec::new();
    for (index, fault) in faults.iter().enumerate() {
        for pod in &fault.pods {
            let address = scene.place.address(50 + index);
            answer_as(pod, &address, scene.start);
            write(&scene.cx, pod.clone()).await;
            scene.set_status(pod, "Pending", &address).await;
        }
        stores.push(scene.store(index, fault));
    }
    let mut wrong = Vec::new();
    let mut numbers = BTreeSet::new();
    println!("{:>2}  {:<56} {:<40} {:<14} simulated", "nr", "fault", "named", "rung");
    for (index, fault) in faults.iter().enumerate() {
        let (rung, causes) = scene.named(index, fault).await;
        let named: Vec<String> = causes.iter().map(word).collect();
        println!(
            "{:>2}  {:<56} {:<40} {:<14} {}",
            fault.number,
            fault.what,
            named.join(", "),
            word(&rung),
            fault.simulated
        );
        if causes != fault.cause.into_iter().collect::<Vec<_>>() || rung != fault.rung {
            wrong.push((fault.number, fault.what, rung, causes));
        } else if fault.cause.is_some() {
            numbers.insert(fault.number);
        }
    }
    println!("{} of 22 causes named", numbers.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(numbers, (1..=22).collect());
}

/// The word of the contract.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}
