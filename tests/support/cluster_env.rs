//! A namespace and an installation of the test cluster for one test, and clients of the cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use sailhand::cluster::apply;
use sailhand::cluster::delete::{self, DeleteOptions};
use sailhand::cluster::{Action, Cluster, Clusters, Error, ObjectRef, ObjectsReport};
use sailhand::cluster::{ApplyOptions, ObjectsFailure};
use sailhand::config::Target;
use sailhand::error::{Classify, Code};
use sailhand::guard::Guard;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::api_proxy::ApiProxy;
use super::control_plane;
use super::eventually::eventually;
use super::tools;

/// What one test works with. Names are new for each, so tests run side by side and on a used cluster.
pub struct ClusterEnv {
    /// Our cluster layer, as administrator.
    pub cluster: Arc<Cluster>,
    /// An administrator's client of the library below.
    pub client: Client,
    /// Exists.
    pub namespace: String,
    /// Has nothing yet. Its inventory's namespace does not exist yet either.
    pub installation: String,
    dir: TempDir,
}

impl ClusterEnv {
    pub async fn new(tag: &str) -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let namespace = format!("{tag}-{}", &unique[..8]);
        let admin = Kubeconfig::read_from(control_plane::kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(admin, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let test_env = Self {
            cluster: connect(control_plane::kubeconfig(), &namespace).await,
            client,
            installation: namespace.clone(),
            namespace,
            dir: TempDir::new().unwrap(),
        };
        test_env
            .seed("test", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": test_env.namespace}}))
            .await;
        test_env
    }

    /// Another installation in the namespace and with the inventories of `site`.
    pub fn beside(test_env: &Self, number: usize) -> Self {
        Self {
            cluster: Arc::clone(&test_env.cluster),
            client: test_env.client.clone(),
            namespace: test_env.namespace.clone(),
            installation: format!("{}-{number}", test_env.installation),
            dir: TempDir::new().unwrap(),
        }
    }

    /// Writes an object as another field manager, past our layer.
    pub async fn seed(&self, manager: &str, object: &Value) -> Value {
        let params = PatchParams::apply(manager).force();
        let name = object["metadata"]["name"].as_str().unwrap();
        let stored = self.api(object).await.patch(name, &params, &Patch::Apply(object)).await.unwrap();
        serde_json::to_value(stored).unwrap()
    }

    /// The collection an object belongs to.
    pub async fn api(&self, object: &Value) -> Api<DynamicObject> {
        let kind = self.cluster.kind(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let kind = kind.await.unwrap().unwrap();
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind.resource),
            None => Api::all_with(self.client.clone(), &kind.resource),
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "tests write the data in place")]
    pub fn config_map(&self, name: &str, data: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace}, "data": data,
        })
    }

    pub async fn apply(&self, objects: &[Value], options: &ApplyOptions) -> Result<ObjectsReport, ObjectsFailure> {
        self.apply_as(&self.cluster, objects, options, 1).await
    }

    pub async fn apply_as(
        &self,
        cluster: &Cluster,
        objects: &[Value],
        options: &ApplyOptions,
        fence: u64,
    ) -> Result<ObjectsReport, ObjectsFailure> {
        apply::apply(cluster, &self.installation, dynamic(objects), options, &guard(fence), &()).await
    }

    pub async fn delete(
        &self,
        objects: Option<&[Value]>,
        options: &DeleteOptions,
    ) -> Result<ObjectsReport, ObjectsFailure> {
        self.delete_as(&self.cluster, objects, options).await
    }

    pub async fn delete_as(
        &self,
        cluster: &Cluster,
        objects: Option<&[Value]>,
        options: &DeleteOptions,
    ) -> Result<ObjectsReport, ObjectsFailure> {
        let objects = objects.map(dynamic);
        delete::delete(cluster, &self.installation, objects, options, &guard(1), &()).await
    }

    /// The live object, by what was applied.
    pub async fn get(&self, object: &Value) -> Option<Value> {
        self.cluster.get(&reference(object)).await.unwrap()
    }

    /// Removes an object's finalizers, as its controller does.
    pub async fn release(&self, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let patch = json!({"metadata": {"finalizers": null}});
        self.api(object).await.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// The live inventory.
    pub async fn inventory(&self) -> Option<Value> {
        let object = ObjectRef {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: Some(format!("{}-inventory", self.namespace)),
            name: format!("sailhand-{}", self.installation),
        };
        self.cluster.get(&object).await.unwrap()
    }

    /// Writes a fence into the inventory, as a newer holder of the lease does.
    pub async fn overtake(&self, fence: u64) {
        let mut inventory = self.inventory().await.unwrap();
        inventory["metadata"]["annotations"]["sailhand.meshery.io/fence"] = json!(fence.to_string());
        inventory["metadata"].as_object_mut().unwrap().remove("managedFields");
        self.seed("newer", &inventory).await;
    }

    /// Names in the inventory.
    pub async fn members(&self) -> Vec<String> {
        let inventory = self.inventory().await.unwrap();
        let objects: Vec<ObjectRef> = serde_json::from_str(inventory["data"]["objects"].as_str().unwrap()).unwrap();
        objects.into_iter().map(|object| object.name).collect()
    }

    /// Our cluster layer as a service account that may do `rules` in the whole cluster and nothing else.
    pub async fn limited(&self, rules: Value) -> Arc<Cluster> {
        let name = &self.namespace;
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "limited", "namespace": name},
        });
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules.clone(),
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "limited", "namespace": name}],
        });
        for object in [&account, &role, &binding] {
            self.seed("test", object).await;
        }
        let token = self.token().await;
        let cluster = connect(&self.kubeconfig(&token), name).await;
        // The API server learns of a new binding by a watch of its own.
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
            "spec": {"user": format!("system:serviceaccount:{name}:limited"), "resourceAttributes": {
                "verb": rules[0]["verbs"][0], "group": rules[0]["apiGroups"][0],
                "resource": rules[0]["resources"][0], "namespace": name,
            }},
        });
        eventually("the rights are there", Duration::from_secs(20), async || {
            let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
            let request =
                kube::core::Request::new(path).create(&kube::api::PostParams::default(), review.to_string().into());
            let answer: Value = self.client.request(request.unwrap()).await.unwrap();
            (answer["status"]["allowed"] == true).then_some(())
        })
        .await;
        cluster
    }

    /// Our cluster layer as administrator behind a proxy.
    pub async fn through(&self, proxy: &ApiProxy) -> Arc<Cluster> {
        let path = self.dir.path().join("proxy.kubeconfig");
        control_plane::write_kubeconfig(&path, &format!("http://127.0.0.1:{}", proxy.port()));
        connect(&path, &self.namespace).await
    }

    /// Runs kubectl with a manifest on its standard input, as administrator, in the namespace.
    pub async fn kubectl(&self, arguments: &[&str], manifest: &Value) -> String {
        let mut command = tokio::process::Command::new(tools::program("kubectl", "SAILHAND_KUBECTL"));
        command.arg("--kubeconfig").arg(control_plane::kubeconfig()).args(["--namespace", &self.namespace]);
        command.args(arguments).args(["-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifest.to_string().as_bytes()).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A new token of the service account `limited`.
    pub async fn token(&self) -> String {
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/limited/token", self.namespace);
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let request = kube::core::Request::new(path).create(&kube::api::PostParams::default(), body.to_string().into());
        let mut request = request.unwrap();
        // The library builds paths of collections; a subresource is this one without the query.
        *request.uri_mut() = request.uri().path().parse().unwrap();
        let answer: Value = self.client.request(request).await.unwrap();
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    /// Writes the administrator's kubeconfig with a token in place of the certificate.
    pub fn kubeconfig(&self, token: &str) -> PathBuf {
        let admin = Kubeconfig::read_from(control_plane::kubeconfig()).unwrap();
        let mut config = serde_json::to_value(admin).unwrap();
        config["users"][0]["user"] = json!({ "token": token });
        let path = self.dir.path().join("limited.kubeconfig");
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }
}

/// Our cluster layer with the credentials of a file.
pub async fn connect(kubeconfig: &Path, namespace: &str) -> Arc<Cluster> {
    connect_with(kubeconfig, namespace, |_| {}).await
}

/// The same, with a change of the target's settings.
pub async fn connect_with(kubeconfig: &Path, namespace: &str, set: impl FnOnce(&mut Target)) -> Arc<Cluster> {
    let mut target = Target {
        kubeconfig: Some(kubeconfig.to_owned()),
        inventory_namespace: format!("{namespace}-inventory"),
        ..Target::default()
    };
    set(&mut target);
    Clusters::new(BTreeMap::from([("test".to_owned(), target)])).get("test").await.unwrap()
}

pub fn guard(fence: u64) -> Guard {
    Guard::new(Instant::now() + Duration::from_mins(2), fence, CancellationToken::new())
}

pub fn dynamic(objects: &[Value]) -> Vec<DynamicObject> {
    objects.iter().map(|object| serde_json::from_value(object.clone()).unwrap()).collect()
}

pub fn reference(object: &Value) -> ObjectRef {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    ObjectRef {
        api_version: text(&object["apiVersion"]).unwrap(),
        kind: text(&object["kind"]).unwrap(),
        namespace: text(&object["metadata"]["namespace"]),
        name: text(&object["metadata"]["name"]).unwrap(),
    }
}

/// What was done, by object's name, in the report's order.
pub fn actions(report: &ObjectsReport) -> Vec<(&str, Action)> {
    report.objects.iter().map(|line| (line.object.name.as_str(), line.action)).collect()
}

/// The failure's parts; a failure without a report is taken for one that did nothing.
pub fn failure(result: Result<ObjectsReport, ObjectsFailure>) -> (Error, ObjectsReport) {
    let (error, report) = *result.unwrap_err();
    (error, report.unwrap_or_default())
}

/// Code and text of the one object that failed.
pub fn problem(result: Result<ObjectsReport, ObjectsFailure>) -> (String, String) {
    let (error, report) = failure(result);
    assert_eq!(error.code(), Code::SH3016, "{error}");
    let failed: Vec<_> = report.objects.into_iter().filter_map(|line| line.problem).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    (failed[0].code.clone(), failed[0].message.clone())
}

/// Applies with these switches; the rest is as `config.apply` has it.
pub fn options(set: impl FnOnce(&mut ApplyOptions)) -> ApplyOptions {
    let mut options = ApplyOptions { prune: true, ..ApplyOptions::default() };
    set(&mut options);
    options
}
