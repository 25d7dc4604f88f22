//! Changes references to objects whose name a build has changed. Source: kustomize
//! `api/filters/nameref`, `api/internal/konfig/builtinpluginconsts/namereference.go`.

use std::sync::LazyLock;

use super::super::super::Value;
use super::Inexact;
use super::edit::FieldSpec;
use super::object::{Id, Object, is_cluster_scoped};

/// Fields that refer to objects of a kind.
struct Target {
    kind: &'static str,
    group: &'static str,
    version: &'static str,
    fields: Vec<FieldSpec>,
}

/// Kinds with a pod, and the path of its specification.
const PODS: [(&str, &str); 9] = [
    ("Pod", "spec"),
    ("PodTemplate", "template/spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicaSet", "spec/template/spec"),
    ("ReplicationController", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
    ("StatefulSet", "spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
];

const CONFIG_MAP_OF_POD: [&str; 6] = [
    "volumes/configMap/name",
    "containers/env/valueFrom/configMapKeyRef/name",
    "initContainers/env/valueFrom/configMapKeyRef/name",
    "containers/envFrom/configMapRef/name",
    "initContainers/envFrom/configMapRef/name",
    "volumes/projected/sources/configMap/name",
];
const SECRET_OF_POD: [&str; 7] = [
    "volumes/secret/secretName",
    "containers/env/valueFrom/secretKeyRef/name",
    "initContainers/env/valueFrom/secretKeyRef/name",
    "containers/envFrom/secretRef/name",
    "initContainers/envFrom/secretRef/name",
    "imagePullSecrets/name",
    "volumes/projected/sources/secret/name",
];

const CONFIG_MAP: &str = "\
spec/configSource/configMap kind=Node
rules/resourceNames kind=Role
rules/resourceNames kind=ClusterRole
metadata/annotations/nginx.ingress.kubernetes.io\\/fastcgi-params-configmap kind=Ingress";
const SECRET: &str = "\
spec/tls/secretName kind=Ingress
metadata/annotations/ingress.kubernetes.io\\/auth-secret kind=Ingress
metadata/annotations/nginx.ingress.kubernetes.io\\/auth-secret kind=Ingress
metadata/annotations/nginx.ingress.kubernetes.io\\/auth-tls-secret kind=Ingress
imagePullSecrets/name kind=ServiceAccount
parameters/secretName kind=StorageClass
parameters/adminSecretName kind=StorageClass
parameters/userSecretName kind=StorageClass
parameters/secretRef kind=StorageClass
rules/resourceNames kind=Role
rules/resourceNames kind=ClusterRole
spec/template/spec/containers/env/valueFrom/secretKeyRef/name kind=Service group=serving.knative.dev version=v1
spec/azureFile/secretName kind=PersistentVolume";
const SERVICE: &str = "\
spec/serviceName kind=StatefulSet group=apps
spec/rules/http/paths/backend/serviceName kind=Ingress
spec/backend/serviceName kind=Ingress
spec/rules/http/paths/backend/service/name kind=Ingress
spec/defaultBackend/service/name kind=Ingress
spec/service/name kind=APIService group=apiregistration.k8s.io
webhooks/clientConfig/service kind=ValidatingWebhookConfiguration group=admissionregistration.k8s.io
webhooks/clientConfig/service kind=MutatingWebhookConfiguration group=admissionregistration.k8s.io";
const SERVICE_ACCOUNT: &str = "\
subjects kind=RoleBinding group=rbac.authorization.k8s.io
subjects kind=ClusterRoleBinding group=rbac.authorization.k8s.io";
const STORAGE_CLASS: &str = "\
spec/storageClassName kind=PersistentVolume
spec/storageClassName kind=PersistentVolumeClaim
spec/volumeClaimTemplates/spec/storageClassName kind=StatefulSet";

/// Kinds of pods that the lists of Kustomize omit.
fn of_pods(paths: &[&str], without: &[&str]) -> Vec<FieldSpec> {
    let kinds = PODS.iter().filter(|(kind, _)| !without.contains(kind));
    kinds
        .flat_map(|(kind, start)| {
            let version = if *kind == "Pod" { " version=v1" } else { "" };
            paths.iter().map(move |path| FieldSpec::parse(&format!("{start}/{path} kind={kind}{version}")))
        })
        .collect()
}

static TARGETS: LazyLock<Vec<Target>> = LazyLock::new(|| {
    let scaled = || vec![FieldSpec::parse("spec/scaleTargetRef/name kind=HorizontalPodAutoscaler")];
    let table = |text: &str| text.lines().map(FieldSpec::parse).collect::<Vec<_>>();
    let with = |mut fields: Vec<FieldSpec>, text: &str| {
        fields.extend(table(text));
        fields
    };
    let target = |kind, group, version, fields| Target { kind, group, version, fields };
    let rbac = "rbac.authorization.k8s.io";
    let controllers = ["ReplicationController"];
    let accounts = ["PodTemplate", "ReplicaSet"];
    vec![
        target("Deployment", "", "", scaled()),
        target("ReplicationController", "", "", scaled()),
        target("ReplicaSet", "", "", scaled()),
        target("StatefulSet", "", "", scaled()),
        target("ConfigMap", "", "v1", with(of_pods(&CONFIG_MAP_OF_POD, &controllers), CONFIG_MAP)),
        target("Secret", "", "v1", with(of_pods(&SECRET_OF_POD, &controllers), SECRET)),
        target("Service", "", "v1", table(SERVICE)),
        target("Role", rbac, "", table("roleRef/name kind=RoleBinding group=rbac.authorization.k8s.io")),
        target(
            "ClusterRole",
            rbac,
            "",
            table(
                "roleRef/name kind=RoleBinding group=rbac.authorization.k8s.io\n\
                 roleRef/name kind=ClusterRoleBinding group=rbac.authorization.k8s.io",
            ),
        ),
        target("ServiceAccount", "", "v1", with(of_pods(&["serviceAccountName"], &accounts), SERVICE_ACCOUNT)),
        target("PersistentVolumeClaim", "", "v1", of_pods(&["volumes/persistentVolumeClaim/claimName"], &accounts)),
        target(
            "PersistentVolume",
            "",
            "v1",
            table("spec/volumeName kind=PersistentVolumeClaim\nrules/resourceNames kind=ClusterRole"),
        ),
        target("StorageClass", "storage.k8s.io", "v1", table(STORAGE_CLASS)),
        target("PriorityClass", "scheduling.k8s.io", "v1", of_pods(&["priorityClassName"], &accounts)),
        target(
            "ValidatingAdmissionPolicy",
            "admissionregistration.k8s.io",
            "",
            table("spec/policyName kind=ValidatingAdmissionPolicyBinding group=admissionregistration.k8s.io"),
        ),
    ]
});

/// The part of an object that references depend on.
struct Candidate {
    name: String,
    namespace: String,
    id: Id,
    previous: Vec<Id>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

/// Updates all references.
pub fn update(objects: &mut [Object]) -> Result<(), Inexact> {
    let candidates: Vec<Candidate> = objects
        .iter()
        .filter(|object| !object.previous.is_empty())
        .map(|object| Candidate {
            name: object.name().to_owned(),
            namespace: object.root["metadata"]["namespace"].text().to_owned(),
            id: object.id(),
            previous: object.previous.clone(),
            prefixes: object.prefixes.clone(),
            suffixes: object.suffixes.clone(),
        })
        .collect();
    let of_targets = TARGETS.iter().map(|target| {
        let is_target = |id: &Id| id.is_selected(target.group, target.version, target.kind);
        let of_target: Vec<&Candidate> = candidates.iter().filter(|it| it.previous.iter().any(is_target)).collect();
        (target, of_target)
    });
    let of_targets: Vec<(&Target, Vec<&Candidate>)> = of_targets.filter(|(_, all)| !all.is_empty()).collect();
    for object in objects {
        let original = object.original_id();
        let referrer = Referrer::of(object);
        for (target, candidates) in &of_targets {
            // Few kinds have such fields, so the candidates are not looked through for the others.
            let is_of_object = |field: &&FieldSpec| original.is_selected(&field.group, &field.version, &field.kind);
            let mut fields = target.fields.iter().filter(is_of_object).peekable();
            if fields.peek().is_none() {
                continue;
            }
            let reachable: Vec<&Candidate> =
                candidates.iter().copied().filter(|it| referrer.may_refer_to(it)).collect();
            if reachable.is_empty() {
                continue;
            }
            for field in fields {
                field.visit(&mut object.root, &Value::Null, &mut |node| referrer.update(node, field, &reachable))?;
            }
        }
    }
    Ok(())
}

struct Referrer {
    id: Id,
    role: Option<(String, String)>,
    namespaces_of_accounts: Vec<String>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

impl Referrer {
    fn of(object: &Object) -> Self {
        let id = object.id();
        let role = &object.root["roleRef"];
        let has_role = role["apiGroup"].is_set() && role["kind"].is_set();
        let is_account = |it: &&Value| id.kind == "RoleBinding" && it["kind"].text() == "ServiceAccount";
        let accounts = object.root["subjects"].items().iter().filter(is_account);
        Self {
            role: has_role.then(|| (role["apiGroup"].text().to_owned(), role["kind"].text().to_owned())),
            namespaces_of_accounts: accounts.map(|it| it["namespace"].text().to_owned()).collect(),
            prefixes: object.prefixes.clone(),
            suffixes: object.suffixes.clone(),
            id,
        }
    }

    fn is_cluster_scoped(&self) -> bool {
        is_cluster_scoped(&self.id.group, &self.id.kind)
    }

    fn may_refer_to(&self, other: &Candidate) -> bool {
        self.is_cluster_scoped()
            || other.id.namespace.is_none()
            || other.id.namespace == self.id.namespace
            || self.namespaces_of_accounts.contains(&other.namespace)
    }

    fn update(&self, node: &mut Value, field: &FieldSpec, candidates: &[&Candidate]) -> Result<(), Inexact> {
        match node {
            Value::List(items) => items.iter_mut().try_for_each(|item| self.update(item, field, candidates)),
            Value::Map(_) => self.update_mapping(node, field, candidates),
            Value::Null => Ok(()),
            _ => {
                if let Some(found) = self.select(&node.scalar_text(), field, candidates, false)? {
                    *node = Value::string(&found.name);
                }
                Ok(())
            }
        }
    }

    /// A reference by name and namespace.
    fn update_mapping(&self, node: &mut Value, field: &FieldSpec, candidates: &[&Candidate]) -> Result<(), Inexact> {
        let name = node["name"].scalar_text();
        let stated = node["namespace"].scalar_text();
        let is_in = |id: &Id| stated.is_empty() || id.namespace.as_deref() == Some(stated.as_str());
        let original: Vec<&Candidate> =
            candidates.iter().copied().filter(|it| it.previous.first().is_some_and(is_in)).collect();
        let current: Vec<&Candidate> = candidates.iter().copied().filter(|it| is_in(&it.id)).collect();
        let candidates = if original.is_empty() { current } else { original };
        if let Some(found) = self.select(&name, field, &candidates, true)? {
            let (name, namespace) = (Value::string(&found.name), Value::string(&found.namespace));
            node.set("name", name);
            if !found.namespace.is_empty() {
                node.set("namespace", namespace);
            }
        }
        Ok(())
    }

    fn select<'c>(
        &self,
        name: &str,
        field: &FieldSpec,
        candidates: &[&'c Candidate],
        with_namespace: bool,
    ) -> Result<Option<&'c Candidate>, Inexact> {
        let is_of_role = |it: &&Candidate| match &self.role {
            Some((group, kind)) if field.path.ends_with("roleRef/name") => {
                it.previous.iter().any(|id| id.is_selected(group, "", kind))
            }
            _ => true,
        };
        let is_reachable = |it: &&Candidate| {
            self.is_cluster_scoped()
                || it.id.namespace.is_none()
                || it.id.kind == "ServiceAccount"
                || it.id.namespace == self.id.namespace
        };
        let mut found: Vec<&'c Candidate> = candidates
            .iter()
            .copied()
            .filter(|it| it.previous.iter().any(|id| id.name == name))
            .filter(is_of_role)
            .filter(is_reachable)
            .collect();
        if found.len() != 1 {
            found.retain(|it| self.has_same_affixes(it, true));
        }
        if found.len() > 1 {
            found.retain(|it| self.has_same_affixes(it, false));
        }
        let Some(first) = found.first().copied() else { return Ok(None) };
        let is_same = |it: &&Candidate| it.name == first.name && (!with_namespace || it.namespace == first.namespace);
        if found.iter().all(is_same) {
            return Ok(Some(first));
        }
        Err(Inexact(format!("the reference to {name} in {} {}, which has several targets", self.id.kind, self.id.name)))
    }

    /// Whether prefixes and suffixes end alike; none are like any if `allow_none`.
    fn has_same_affixes(&self, other: &Candidate, allow_none: bool) -> bool {
        let is_same = |a: &[String], b: &[String]| {
            allow_none && (a.is_empty() || b.is_empty())
                || (a.is_empty() == b.is_empty()) && a.iter().rev().zip(b.iter().rev()).all(|(a, b)| a == b)
        };
        is_same(&self.prefixes, &other.prefixes) && is_same(&self.suffixes, &other.suffixes)
    }
}
