//! The SMI controller on a real API server: what becomes of each kind, that a restart writes nothing, and what is
//! reported. The API server is one of its own, as the controller watches all namespaces.
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::eventually::eventually;
use crate::support::own_control_plane::ControlPlane;
use crate::support::{gateway_api, istio_crds};
use sailhand::smi::crd;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);

struct Cluster {
    plane: ControlPlane,
}

impl Cluster {
    /// With the CRDs of Istio and SMI.
    async fn start() -> Self {
        let cluster = Self { plane: ControlPlane::start().await };
        let istio =
            istio_crds::shared().expect("Istio's charts").join("charts/istio-1.30.3/base/files/crd-all.gen.yaml");
        cluster.kubectl(&["apply", "--server-side", "-f", istio.to_str().unwrap()]);
        cluster.apply(&crd::all());
        cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "--all", "crd"]);
        cluster
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.plane.kubectl(arguments)
    }

    fn apply(&self, objects: &[Value]) {
        let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        serde_json::to_writer(&file, &json!({"apiVersion": "v1", "kind": "List", "items": objects})).unwrap();
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file.path().to_str().unwrap()]);
    }

    fn list(&self, kind: &str) -> Vec<Value> {
        let text = self.kubectl(&["get", kind, "--all-namespaces", "-o", "json"]);
        serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
    }

    /// `namespace/name resourceVersion` of everything that the controller writes.
    fn versions(&self) -> Vec<String> {
        let kinds = "trafficsplits,traffictargets,authorizationpolicies,virtualservices,events.events.k8s.io";
        let version = |object: &Value| {
            let metadata = &object["metadata"];
            format!("{} {}/{} {}", object["kind"], metadata["namespace"], metadata["name"], metadata["resourceVersion"])
        };
        let mut versions: Vec<_> = self.list(kinds).iter().map(version).collect();
        versions.sort();
        versions
    }

    async fn spec(&self, kind: &str, is_wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        eventually(&format!("{kind} as wanted"), SOON, async || {
            let found = self.list(kind);
            is_wanted(&found).then_some(found)
        })
        .await
    }
}

struct Controller {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Controller {
    fn start(kubeconfig: &Path) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_sailhand"))
            .args(["smi-controller", "--namespace", "default", "--log-format", "json", "--kubeconfig"])
            .arg(kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn passes(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.log.path()).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == "reconciled").collect()
    }

    async fn first_pass(&self) -> Value {
        eventually("a first pass", SOON, async || self.passes().first().cloned()).await
    }

    /// Resident memory, KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// SIGTERM, so that it gives its Lease back.
    fn stop(mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn namespace(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn deployment(namespace: &str, name: &str) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": namespace, "name": name},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"serviceAccountName": name, "containers": [{"name": "c", "image": "example.invalid/c:1"}]},
        }},
    })
}

fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 9091}]},
    })
}

fn group(namespace: &str, path: &str) -> Value {
    json!({
        "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
        "metadata": {"namespace": namespace, "name": "g"},
        "spec": {"matches": [{"name": "m", "pathRegex": path, "methods": ["GET"], "headers": [{"x-a": "1"}]}]},
    })
}

fn target(namespace: &str, name: &str, to: &str, rule: &Value) -> Value {
    json!({
        "apiVersion": "access.smi-spec.io/v1alpha3", "kind": "TrafficTarget",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "destination": {"kind": "ServiceAccount", "name": to},
            "sources": [{"kind": "ServiceAccount", "name": "a"}],
            "rules": [rule],
        },
    })
}

fn split(namespace: &str, name: &str, root: &str, weights: [u32; 2]) -> Value {
    json!({
        "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"service": root, "backends": [
            {"service": format!("{root}-v1"), "weight": weights[0]}, {"service": format!("{root}-v2"), "weight": weights[1]},
        ]},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn smi_objects_are_translated_updated_reported_and_revoked() {
    let cluster = Cluster::start().await;
    let controller = Controller::start(&cluster.plane.kubeconfig());
    cluster.apply(&[namespace("shop", &json!({"smi.sailhand.dev/default-deny": "true"}))]);
    let policies = cluster.spec("authorizationpolicies", |found| found.len() == 1).await;
    assert_eq!((&policies[0]["metadata"]["name"], &policies[0]["spec"]), (&json!("smi-default-deny"), &json!({})));

    let http = json!({"kind": "HTTPRouteGroup", "name": "g"});
    let udp = json!({"kind": "UDPRoute", "name": "u"});
    cluster.apply(&[
        deployment("shop", "b"),
        deployment("shop", "c"),
        group("shop", "/metrics"),
        target("shop", "t", "b", &http),
        target("shop", "refused", "c", &udp),
        service("shop", "web"),
        service("shop", "web-v1"),
        service("shop", "web-v2"),
        split("shop", "s", "web", [75, 25]),
        service("shop", "own"),
        service("shop", "own-v1"),
        service("shop", "own-v2"),
        split("shop", "conflict", "own", [1, 1]),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"namespace": "shop", "name": "own"},
            "spec": {"hosts": ["own"], "http": [{"route": [{"destination": {"host": "own"}}]}]},
        }),
    ]);
    let path = |found: &[Value], path: &str| {
        found.iter().any(|one| one["spec"]["rules"][0]["to"][0]["operation"]["paths"] == json!([path]))
    };
    let policies = cluster.spec("authorizationpolicies", |found| found.len() == 3 && path(found, "/metrics*")).await;
    let of = |name: &str| {
        let source = format!("TrafficTarget/shop/{name}");
        policies
            .iter()
            .find(|one| one["metadata"]["annotations"]["smi.sailhand.dev/source"] == source.as_str())
            .unwrap()
    };
    let principals = &of("t")["spec"]["rules"][0]["from"][0]["source"]["principals"];
    assert_eq!(*principals, json!(["cluster.local/ns/shop/sa/a"]));
    assert_eq!(of("t")["metadata"]["ownerReferences"][0]["name"], "t");
    assert_eq!(of("refused")["spec"].get("rules"), None, "what is refused stays closed");
    let services = cluster.spec("virtualservices", |found| found.len() == 2).await;
    let made = services.iter().find(|one| one["metadata"]["name"] == "s-vs").unwrap();
    assert_eq!(made["spec"]["http"][0]["route"][0]["weight"], 75);

    let condition = |kind: &'static str, name: &'static str, status: &'static str, reason: &'static str| {
        let cluster = &cluster;
        async move {
            let found = cluster
                .spec(kind, |found| {
                    found.iter().any(|one| {
                        let condition = &one["status"]["conditions"][0];
                        one["metadata"]["name"] == name
                            && condition["status"] == status
                            && condition["reason"] == reason
                    })
                })
                .await;
            let one = found.iter().find(|one| one["metadata"]["name"] == name).unwrap();
            assert_eq!(one["status"]["conditions"][0]["observedGeneration"], one["metadata"]["generation"]);
        }
    };
    condition("traffictargets", "t", "True", "Translated").await;
    condition("traffictargets", "refused", "False", "Refused").await;
    condition("trafficsplits", "s", "True", "Translated").await;
    condition("trafficsplits", "conflict", "False", "Conflict").await;
    for (name, reason) in [("refused", "Refused"), ("conflict", "Conflict")] {
        cluster
            .spec("events.events.k8s.io", |found| {
                found.iter().any(|one| one["regarding"]["name"] == name && one["reason"] == reason)
            })
            .await;
    }

    // The group alone changes; then the split.
    cluster.apply(&[group("shop", "/echo$"), split("shop", "s", "web", [0, 1])]);
    cluster.spec("authorizationpolicies", |found| path(found, "/echo")).await;
    cluster
        .spec("virtualservices", |found| {
            found
                .iter()
                .any(|one| one["metadata"]["name"] == "s-vs" && one["spec"]["http"][0]["route"][1]["weight"] == 1)
        })
        .await;

    // A rule that somebody adds to a policy of the controller is removed.
    let wide = r#"{"spec":{"rules":[{}]}}"#;
    cluster.kubectl(&["patch", "authorizationpolicy", "smi-default-deny", "-n", "shop", "--type=merge", "-p", wide]);
    let is_closed = |found: &[Value]| {
        found.iter().any(|one| one["metadata"]["name"] == "smi-default-deny" && one["spec"] == json!({}))
    };
    cluster.spec("authorizationpolicies", is_closed).await;

    // A restart reads everything again and writes nothing.
    condition("trafficsplits", "s", "True", "Translated").await;
    controller.stop();
    let before = cluster.versions();
    let controller = Controller::start(&cluster.plane.kubeconfig());
    let pass = controller.first_pass().await;
    let counts = ["applied", "deleted", "reported", "failed"].map(|field| pass[field].as_u64());
    assert_eq!(counts, [Some(0); 4], "{pass}");
    assert_eq!(cluster.versions(), before);

    cluster.kubectl(&["delete", "-n", "shop", "traffictarget/t", "trafficsplit/s"]);
    cluster.spec("authorizationpolicies", |found| found.len() == 2).await;
    let left = cluster.spec("virtualservices", |found| found.len() == 1).await;
    assert_eq!(left[0]["metadata"]["name"], "own", "somebody else's object stays");
    controller.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn split_of_an_ambient_namespace_is_an_http_route_that_stays_as_it_is() {
    let cluster = Cluster::start().await;
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), gateway_api::definitions()).unwrap();
    cluster.kubectl(&["apply", "--server-side", "-f", file.path().to_str().unwrap()]);
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "--all", "crd"]);
    let labels = json!({"istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint"});
    let services = ["web", "web-v1", "web-v2"].map(|name| service("shop", name));
    cluster.apply(&[namespace("shop", &labels)]);
    cluster.apply(&services);
    cluster.apply(&[split("shop", "s", "web", [3, 1])]);
    let controller = Controller::start(&cluster.plane.kubeconfig());
    let routes = cluster.spec("httproutes", |found| found.len() == 1).await;
    let backends = routes[0]["spec"]["rules"][0]["backendRefs"].as_array().unwrap();
    let weights: Vec<_> =
        backends.iter().map(|one| (one["name"].as_str().unwrap(), one["weight"].as_u64().unwrap())).collect();
    assert_eq!(weights, [("web-v1", 3), ("web-v2", 1)]);
    assert!(cluster.list("virtualservices").is_empty());
    controller.stop();
    let second = Controller::start(&cluster.plane.kubeconfig());
    let pass = second.first_pass().await;
    assert_eq!((&pass["objects"], &pass["applied"], &pass["failed"]), (&json!(1), &json!(0), &json!(0)), "{pass}");
    cluster.kubectl(&["-n", "shop", "delete", "trafficsplit", "s"]);
    cluster.spec("httproutes", <[Value]>::is_empty).await;
    second.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn resync_of_many_objects_writes_nothing() {
    /// Of each kind. With 1,000 the test takes three minutes, nearly all of it to create the objects.
    const EACH: usize = 150;
    let cluster = Cluster::start().await;
    let http = json!({"kind": "HTTPRouteGroup", "name": "g"});
    let mut objects = vec![namespace("many", &json!({})), group("many", "/api/.*")];
    for index in 0..EACH {
        let (pod, root) = (format!("b{index}"), format!("web{index}"));
        objects.push(deployment("many", &pod));
        objects.push(target("many", &format!("t{index}"), &pod, &http));
        objects.extend([root.clone(), format!("{root}-v1"), format!("{root}-v2")].map(|name| {
            let mut service = service("many", &name);
            service["spec"]["clusterIP"] = json!("None"); // 3,000 addresses are more than the range has
            service
        }));
        objects.push(split("many", &format!("s{index}"), &root, [3, 1]));
    }
    for some in objects.chunks(1000) {
        cluster.apply(some);
    }
    let first = Controller::start(&cluster.plane.kubeconfig());
    let wanted = Some(2 * EACH as u64);
    eventually("everything is translated", Duration::from_mins(4), async || {
        first.passes().iter().any(|pass| pass["objects"].as_u64() == wanted && pass["failed"] == 0).then_some(())
    })
    .await;
    assert_eq!(cluster.list("authorizationpolicies,virtualservices").len(), 2 * EACH);
    let writing = first.memory();
    first.stop();
    let second = Controller::start(&cluster.plane.kubeconfig());
    let pass = second.first_pass().await;
    let counts = ["applied", "deleted", "reported", "failed"].map(|field| pass[field].as_u64());
    println!("writing {writing} KiB, resync {} KiB, {} ms, {pass}", second.memory(), pass["took_ms"]);
    assert_eq!(counts, [Some(0); 4], "{pass}");
    assert!(pass["took_ms"].as_u64().unwrap() < 5000, "{pass}");
    second.stop();
}
