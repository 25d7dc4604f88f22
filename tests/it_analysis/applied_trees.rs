//! The trees of `wild_trees` in a real API server. Each tree is applied as its tool applies it, together with what the
//! controllers of the tree would make. The findings of `sailhand analyze -A` then equal those of the folder, and the
//! findings of `istioctl analyze` agree. `just analysis-trees` applies more seeds.
#![allow(clippy::disallowed_methods, reason = "other processes have their own time, and a recipe sets the seeds")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rcgen::ExtendedKeyUsagePurpose;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::differences::{Comparison, Reported};
use crate::differential::{istioctl, list, reported};
use crate::support::certificates::{authority, issue};
use crate::support::gateway_api;
use crate::support::own_control_plane::ControlPlane;
use crate::support::{istio_crds, tools};
use crate::trees::{Tree, found, write};
use crate::wild_trees::{self, ALWAYS, OF_NAMESPACE, Random, place_of};

/// Seeds of each shape; the variable `SAILHAND_TREE_SEEDS` sets another number.
const SEEDS: u64 = 1;

/// A tree and how it comes into a cluster.
struct Shape {
    name: &'static str,
    make: fn(&mut Random) -> Tree,
    /// Folders with manifests, for `kubectl apply -f`.
    folders: &'static [&'static str],
    /// Kustomizations, for `kubectl apply -k`. Those that a tree does not have are left out.
    kustomizations: &'static [&'static str],
    /// What controllers make of the tree.
    made: &'static [fn() -> Value],
}

/// `plain` is part of each tree that is not made of kustomizations. The others of one environment exclude each other.
const SHAPES: [Shape; 5] = [
    Shape {
        name: "flux",
        make: wild_trees::flux,
        folders: &["apps", "infrastructure", "clusters"],
        kustomizations: &[],
        made: &[control_plane, entry, edge, canary],
    },
    Shape {
        name: "argo",
        make: wild_trees::argo,
        folders: &["applications", "manifests"],
        kustomizations: &[],
        made: &[control_plane, entry, kafka],
    },
    Shape {
        name: "overlays",
        make: wild_trees::overlays,
        folders: &[],
        kustomizations: &["prod", "dev"],
        made: &[control_plane],
    },
    Shape {
        name: "monorepo",
        make: wild_trees::monorepo,
        folders: &["deploy"],
        kustomizations: &[],
        made: &[control_plane, entry],
    },
    Shape {
        name: "tutorial",
        make: wild_trees::tutorial,
        folders: &[""],
        kustomizations: &[],
        made: &[control_plane, entry, step],
    },
];

/// Kinds of tools whose CRDs are not at hand: group, version, kind and plural. The schema accepts everything.
const KINDS: [(&str, &str, &str, &str); 7] = [
    ("apps.kruise.io", "v1alpha1", "CloneSet", "clonesets"),
    ("argoproj.io", "v1alpha1", "Application", "applications"),
    ("argoproj.io", "v1alpha1", "Rollout", "rollouts"),
    ("external-secrets.io", "v1", "ExternalSecret", "externalsecrets"),
    ("flagger.app", "v1beta1", "Canary", "canaries"),
    ("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases"),
    ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations"),
];

/// Namespaces of the trees.
const NAMESPACES: [&str; 6] = ["shop", "istio-system", "dev", "data", "argocd", "flux-system"];

/// Every kind of the trees, as `kubectl delete` takes them. Namespaces stay: nothing empties them without controllers.
const DELETED: &str = "pods,services,deployments,statefulsets,serviceaccounts,secrets,clonesets,applications,rollouts,externalsecrets,canaries,\
     helmreleases,kustomizations,virtualservices,destinationrules,authorizationpolicies,gateways.networking.istio.io,\
     gateways.gateway.networking.k8s.io,httproutes";

fn service(namespace: &str, name: &str, selector: &Value, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": selector, "ports": [{"name": "http", "port": port}]},
    })
}

fn workload(namespace: &str, name: &str, labels: &Value, container: &str, arguments: &[&str]) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": container, "image": "proxyv2:1.30.3", "args": arguments}]},
        }},
    })
}

fn secret(namespace: &str, name: &str) -> Value {
    let (certificate, key) = issue(&authority(), ExtendedKeyUsagePurpose::ServerAuth, "a.example.com");
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name, "namespace": namespace},
        "stringData": {"tls.crt": certificate, "tls.key": key},
    })
}

/// The charts of istiod and of a gateway, without its webhooks.
fn control_plane() -> Value {
    let (istiod, ingress) = (json!({"app": "istiod"}), json!({"istio": "ingressgateway"}));
    json!([
        workload("istio-system", "istiod", &istiod, "discovery", &["discovery", "--domain", "cluster.local"]),
        service("istio-system", "istiod", &istiod, 15012),
        workload("istio-system", "ingress", &ingress, "istio-proxy", &[]),
        service("istio-system", "ingress", &ingress, 443),
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "istio"},
         "spec": {"controllerName": "istio.io/gateway-controller"}},
    ])
}

/// Namespace of pods that istiod injects; the label is in the trees.
const IN_MESH: &str = "shop";

/// The pod that the controller of a Rollout or a `CloneSet` makes of its template, with its account.
fn pod(owner: &Value) -> [Value; 2] {
    let (name, namespace) = (&owner["metadata"]["name"], &owner["metadata"]["namespace"]);
    let template = &owner["spec"]["template"];
    let mut spec = template["spec"].clone();
    if namespace == IN_MESH {
        spec["containers"].as_array_mut().unwrap().push(json!({"name": "istio-proxy", "image": "proxyv2:1.30.3"}));
    }
    let metadata = json!({
        "name": format!("{}-0", name.as_str().unwrap()), "namespace": namespace, "labels": template["metadata"]["labels"],
    });
    let account = json!({"name": spec["serviceAccountName"], "namespace": namespace});
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}),
    ]
}

/// What istiod makes of the Gateway, cert-manager of its annotation, and External Secrets of its object.
fn entry() -> Value {
    let labels = json!({"gateway.networking.k8s.io/gateway-name": "web"});
    json!([
        workload("shop", "web-istio", &labels, "istio-proxy", &[]),
        service("shop", "web-istio", &labels, 443),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web-istio", "namespace": "shop"}},
        secret("shop", "web-tls"),
        secret("istio-system", "classic-tls"),
    ])
}

/// The chart of the `HelmRelease` edge of Flux.
fn edge() -> Value {
    let labels = json!({"istio": "edge"});
    json!([workload("istio-system", "edge", &labels, "istio-proxy", &[]), service("istio-system", "edge", &labels, 80)])
}

/// What Flagger makes of the Canary.
fn canary() -> Value {
    let (front, primary) = (json!({"app": "front"}), json!({"app": "front-primary"}));
    json!([
        workload("shop", "front", &front, "front", &[]),
        workload("shop", "front-primary", &primary, "front", &[]),
        service("shop", "front", &primary, 80),
        service("shop", "front-primary", &primary, 80),
        service("shop", "front-canary", &front, 80),
    ])
}

/// The workload of a tutorial, which is installed before its first step.
fn step() -> Value {
    json!([workload("shop", "step", &json!({"app": "step", "version": "v1"}), "step", &[])])
}

/// The chart of Argo's Application `kafka`.
fn kafka() -> Value {
    let labels = json!({"app": "kafka"});
    json!([workload("data", "kafka", &labels, "kafka", &[]), service("data", "kafka", &labels, 9092)])
}

/// An API server with the kinds and namespaces of the trees. No controller runs, so only what is applied is there.
struct Server {
    plane: ControlPlane,
}

impl Server {
    async fn start(istio: &Path) -> Self {
        let server = Self { plane: ControlPlane::start().await };
        server.plane.kill_controllers();
        let kinds = KINDS.map(|(group, version, kind, plural)| {
            let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.{group}")},
                "spec": {
                    "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
                    "versions": [{"name": version, "served": true, "storage": true, "schema": schema}],
                },
            })
        });
        server.apply(&kinds);
        server.kubectl(&["apply", "--server-side", "-f", istio.to_str().unwrap()], "");
        server.kubectl(&["apply", "--server-side", "-f", "-"], &gateway_api::definitions());
        server.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], "");
        let namespace = |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        server.apply(&NAMESPACES.map(namespace));
        server
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(tools::program("kubectl", "KUBECTL_BIN"));
        command.arg("--kubeconfig").arg(self.plane.kubeconfig()).arg("--cache-dir").arg(self.plane.dir());
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn kubectl(&self, arguments: &[&str], input: &str) {
        let output = self.run(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn apply(&self, objects: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.kubectl(&["apply", "--server-side", "-f", "-"], &list.to_string());
    }

    /// Applies a tree as its tool does. Flux replaces its variables. Of a tree of which all but some files is there,
    /// `before` is the one that is there.
    fn apply_tree(&self, shape: &Shape, tree: &Tree, before: &Tree) {
        let folder = TempDir::new().unwrap();
        let replaced = |text: &str| text.replace("${HOST}", "front.example.com").replace("${version}", "1.30.3");
        write(&tree.iter().map(|(name, text)| (name.clone(), replaced(text))).collect(), folder.path());
        let place = |name: &str| folder.path().join(name).display().to_string();
        let mut arguments: Vec<String> = Vec::new();
        let is_manifest = |name: &str| shape.folders.iter().any(|folder| name.starts_with(folder));
        for (name, _) in tree.iter().filter(|(name, text)| is_manifest(name) && before.get(*name) != Some(text)) {
            arguments.extend(["-f".to_owned(), place(name)]);
        }
        let exists = |folder: &&&str| tree.contains_key(&format!("{folder}/kustomization.yaml"));
        let kustomizations = shape.kustomizations.iter().filter(exists);
        let kustomizations = kustomizations.map(|folder| vec!["-k".to_owned(), place(folder)]);
        for arguments in kustomizations.chain([arguments]).filter(|arguments| !arguments.is_empty()) {
            let mut command = vec!["apply", "--server-side", "--force-conflicts", "--validate=strict"];
            command.extend(arguments.iter().map(String::as_str));
            self.kubectl(&command, "");
        }
    }

    /// Creates what controllers make of a tree that is applied.
    fn play_controllers(&self, shape: &Shape) {
        let made = shape.made.iter().flat_map(|make| make().as_array().cloned().unwrap_or_default());
        let output = self.run(&["get", "rollouts,clonesets", "-A", "-o", "json"], "");
        let owners: Value = serde_json::from_slice(&output.stdout).unwrap();
        let pods = owners["items"].as_array().unwrap().iter().flat_map(pod);
        self.apply(&made.chain(pods).collect::<Vec<_>>());
    }

    /// What `analyze -A` reports: errors, and everything.
    fn live(&self) -> (Reported, Reported) {
        let kubeconfig = self.plane.kubeconfig().display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sailhand"));
        command.args(["analyze", "-A", "--fail-on", "never", "-o", "json", "--kubeconfig", &kubeconfig]);
        let all = list(&mut command);
        let errors: Vec<Value> = all.iter().filter(|finding| finding["severity"] == "error").cloned().collect();
        (reported(&errors, "resource"), reported(&all, "resource"))
    }

    fn clear(&self) {
        let others = "--field-selector=metadata.namespace!=default,metadata.namespace!=kube-system";
        self.kubectl(&["delete", DELETED, "-A", others, "--wait=false", "--force", "--grace-period=0"], "");
    }

    fn istioctl(&self) -> Reported {
        istioctl(&["--kubeconfig", self.plane.kubeconfig().to_str().unwrap()], &[])
    }
}

/// Errors about a folder with these files.
fn of_folder(tree: &Tree) -> Reported {
    let (found, unread) = found(tree, false);
    assert!(unread.is_empty(), "{unread:?}");
    let errors = found.iter().filter(|it| it.level == sailhand::analysis::Level::Error);
    errors.map(|it| ((it.code.id.to_owned(), it.object.to_string()), it.message.clone())).collect()
}

/// The tree with each of the mistakes, in files that differ.
fn with_mistakes(tree: &Tree) -> Tree {
    let mut changed = tree.clone();
    for (what, change, _) in OF_NAMESPACE {
        let mut untouched = tree.clone();
        untouched.retain(|name, text| changed[name] == *text);
        let (name, text) = place_of(&untouched, change).unwrap_or_else(|| panic!("no place for {what}"));
        changed.insert(name.clone(), change(text));
    }
    changed
}

fn difference(one: &Reported, other: &Reported) -> BTreeMap<(String, String), String> {
    one.iter().filter(|(key, _)| !other.contains_key(*key)).map(|(key, text)| (key.clone(), text.clone())).collect()
}

#[tokio::test]
async fn applied_tree_has_the_findings_of_its_folder() {
    let Some(shared) = istio_crds::shared() else { return };
    let server = Server::start(&shared.join("charts/istio-1.30.3/base/files/crd-all.gen.yaml")).await;
    let seeds = std::env::var("SAILHAND_TREE_SEEDS").map_or(SEEDS, |text| text.parse().unwrap());
    let mut comparison = Comparison::of("applied");
    let mut wrong = Vec::new();
    for seed in 0..seeds {
        for shape in &SHAPES {
            let right = (shape.make)(&mut Random(seed));
            for (state, tree) in [("right", right.clone()), ("with mistakes", with_mistakes(&right))] {
                let place = format!("{}, seed {seed}, {state}", shape.name);
                if state == "right" {
                    server.apply_tree(shape, &tree, &Tree::new());
                    server.play_controllers(shape);
                } else {
                    server.apply_tree(shape, &tree, &right);
                }
                let (live, all) = server.live();
                let folder = of_folder(&tree);
                for (who, found) in
                    [("the cluster", difference(&live, &folder)), ("the folder", difference(&folder, &live))]
                {
                    wrong.extend(
                        found
                            .iter()
                            .map(|((code, object), text)| format!("{place}: only {who}: {code} {object}: {text}")),
                    );
                }
                if state == "right" {
                    wrong.extend(live.iter().map(|((code, object), text)| format!("{place}: {code} {object}: {text}")));
                } else {
                    let missing =
                        OF_NAMESPACE.iter().filter(|(_, _, code)| !live.keys().any(|(found, _)| found == code));
                    wrong.extend(missing.map(|(what, ..)| format!("{place}: {what} is not found")));
                    comparison.add(&place, &all, &server.istioctl());
                }
            }
            server.clear();
        }
    }
    // The other mistakes are such that the API server refuses the file, except for keys that occur twice: kubectl takes
    // the last one.
    let tree = wild_trees::plain(&mut Random(0));
    for (what, change, _) in ALWAYS.iter().filter(|(_, _, code)| *code != "SH7022") {
        let (_, text) = place_of(&tree, *change).unwrap();
        let refused = server.run(&["apply", "--dry-run=server", "--validate=strict", "-f", "-"], &change(text));
        if refused.status.success() {
            wrong.push(format!("{what}: the API server accepts it"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    comparison.judge();
}
