//! Kustomizations are built as `kubectl kustomize` builds them: hand-written trees for each feature, and generated trees
//! with several features at several levels. What is not built exactly is refused, never built differently.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use sailhand::analysis::source::{Sources, files, read_value};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::tools;

/// Generated trees.
const SEEDS: u64 = 150;

type Tree = BTreeMap<String, String>;

fn write(tree: &Tree) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in tree {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// The objects of the kustomization in a folder, or why it is not built.
fn ours(top: &Path, folder: &str) -> Result<Vec<Json>, String> {
    let (mut sources, mut errors) = (Sources::default(), Vec::new());
    files::read(top, &mut sources, &mut errors);
    assert!(errors.is_empty(), "{errors:?}");
    let name = top.join(folder).display().to_string();
    let built = sources.builds().find(|(build, _)| *build == name);
    let built = built.map(|(_, objects)| objects.into_iter().map(|it| serde_json::to_value(it).unwrap()).collect());
    built.ok_or_else(|| {
        let all: Vec<String> = sources.passed_over().iter().map(ToString::to_string).collect();
        all.join("; ")
    })
}

fn theirs(top: &Path, folder: &str) -> Result<Vec<Json>, String> {
    let output = Command::new(tools::program("kubectl", "KUBECTL_BIN"))
        .args(["kustomize", "--load-restrictor=LoadRestrictionsNone"])
        .arg(top.join(folder))
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = text.split("\n---\n").map(|text| read_value("output", text).unwrap());
    Ok(documents.filter(sailhand::analysis::Value::is_set).map(|it| serde_json::to_value(it).unwrap()).collect())
}

/// Without values that an API server does not store, and in an order that does not matter.
fn comparable(objects: Vec<Json>) -> BTreeMap<String, Json> {
    let key = |object: &Json| {
        let metadata = &object["metadata"];
        format!("{} {} {} {}", object["apiVersion"], object["kind"], metadata["namespace"], metadata["name"])
    };
    objects.into_iter().map(pruned).map(|object| (key(&object), object)).collect()
}

fn pruned(value: Json) -> Json {
    match value {
        Json::Object(entries) => Json::Object(
            entries.into_iter().map(|(key, value)| (key, pruned(value))).filter(|(_, it)| !it.is_null()).collect(),
        ),
        Json::Array(items) => Json::Array(items.into_iter().map(pruned).collect()),
        other => other,
    }
}

/// What differs, and whether the tree was built.
fn compare(tree: &Tree, folder: &str) -> (Option<String>, bool) {
    let written = write(tree);
    match (ours(written.path(), folder), theirs(written.path(), folder)) {
        (Ok(ours), Ok(theirs)) => {
            let (ours, theirs) = (comparable(ours), comparable(theirs));
            (difference(&ours, &theirs), true)
        }
        (Ok(_), Err(error)) => (Some(format!("kubectl refuses it: {error}")), true),
        (Err(_), _) => (None, false),
    }
}

fn difference(ours: &BTreeMap<String, Json>, theirs: &BTreeMap<String, Json>) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let mut text = String::new();
    for (key, object) in theirs {
        match ours.get(key) {
            None => writeln!(text, "missing {key}").unwrap(),
            Some(own) if own != object => writeln!(text, "{key}\n  ours   {own}\n  theirs {object}").unwrap(),
            Some(_) => {}
        }
    }
    ours.keys().filter(|key| !theirs.contains_key(*key)).for_each(|key| writeln!(text, "not theirs {key}").unwrap());
    Some(text)
}

const APP: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: grpc, port: 81}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
      - name: web
        image: example.com/web:1
        ports: [{containerPort: 80}, {containerPort: 81}]
        env: [{name: A, value: a}, {name: B, valueFrom: {configMapKeyRef: {name: settings, key: b}}}]
        volumeMounts: [{name: v, mountPath: /v}]
      - {name: side, image: side, envFrom: [{secretRef: {name: keys}}]}
      volumes: [{name: v, configMap: {name: settings}}, {name: w, secret: {secretName: keys}}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: web}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: web}
subjects: [{kind: ServiceAccount, name: web}, {kind: ServiceAccount, name: default}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: web}
rules: [{apiGroups: [''], resources: [secrets], verbs: [get], resourceNames: [keys]}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, maxReplicas: 3}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec: {hosts: [web], http: [{name: one, route: [{destination: {host: web}}]}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: clean}
spec:
  schedule: '@daily'
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.com/web:1, envFrom: [{configMapRef: {name: settings}}]}]}}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
";

/// Two levels: `base` with [`APP`] and generators, and an overlay.
fn overlay(kustomization: &str) -> Tree {
    let base = "resources: [app.yaml]\nconfigMapGenerator: [{name: settings, literals: [a=1, b=<x&y>], files: [settings.txt]}]\n\
                secretGenerator: [{name: keys, envs: [keys.env], type: Opaque}]\n";
    [
        ("base/kustomization.yaml", base),
        ("base/app.yaml", APP),
        ("base/settings.txt", "first: line\nsecond\n"),
        ("base/keys.env", "# comment\nKEY=secret=1\nEMPTY\n"),
        ("overlay/kustomization.yaml", kustomization),
    ]
    .into_iter()
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .collect()
}

/// One for each feature; all are built.
const FEATURES: &[(&str, &str)] = &[
    ("nothing", "resources: [../base]\n"),
    ("namespace", "resources: [../base]\nnamespace: prod\n"),
    ("prefix and suffix", "resources: [../base]\nnamePrefix: p-\nnameSuffix: -s\n"),
    ("prefix and namespace", "resources: [../base]\nnamePrefix: p-\nnamespace: prod\n"),
    (
        "labels",
        "resources: [../base]\nlabels: [{pairs: {team: a, number: '1'}}, {pairs: {tier: b}, includeSelectors: true}, {pairs: {part: c}, includeTemplates: true}]\n",
    ),
    (
        "labels with fields",
        "resources: [../base]\nlabels: [{pairs: {team: a}, fields: [{path: spec/http/labels, kind: VirtualService, create: true}]}]\n",
    ),
    ("commonLabels", "resources: [../base]\ncommonLabels: {team: a}\ncommonAnnotations: {note: b}\n"),
    ("replicas", "resources: [../base]\nreplicas: [{name: web, count: 4}]\n"),
    (
        "images",
        "resources: [../base]\nimages: [{name: example.com/web, newName: other/web, newTag: '2'}, {name: side, digest: 'sha256:0123'}]\n",
    ),
    (
        "strategic merge patch",
        "resources: [../base]\npatches:\n- patch: |\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: web}\n    spec:\n      \
         template:\n        spec:\n          containers:\n          - {name: side, $patch: delete}\n          - {name: new, image: new}\n          \
         - {name: web, env: [{name: A, value: z}, {name: C, value: c}], ports: [{containerPort: 81, name: x}, {containerPort: 82}], volumeMounts: [{mountPath: /v, name: w}]}\n          \
         volumes: [{name: v, emptyDir: {}}]\n    \n",
    ),
    (
        "patch of a custom resource and of a Service",
        "resources: [../base]\npatchesStrategicMerge:\n- |\n  apiVersion: networking.istio.io/v1\n  kind: VirtualService\n  metadata: {name: web}\n  \
         spec: {http: [{name: two}], hosts: null}\n- |\n  apiVersion: v1\n  kind: Service\n  metadata: {name: web}\n  \
         spec: {ports: [{name: more, port: 90}, {port: 80, targetPort: 8080}]}\n",
    ),
    (
        "patch with a target",
        "resources: [../base]\npatches:\n- target: {kind: Deployment|CronJob}\n  patch: |\n    apiVersion: v1\n    kind: Any\n    metadata: {name: any, annotations: {a: b}}\n\
         - target: {kind: Service, name: w.*}\n  patch: |\n    - {op: replace, path: /spec/ports/0/port, value: 8080}\n    - {op: add, path: /metadata/annotations, value: {x: z}}\n",
    ),
    (
        "deletion",
        "resources: [../base]\npatches:\n- patch: |\n    apiVersion: v1\n    kind: ServiceAccount\n    metadata: {name: web}\n    $patch: delete\n",
    ),
    (
        "patchesJson6902",
        "resources: [../base]\nnamePrefix: p-\npatchesJson6902:\n- target: {version: v1, kind: Service, name: web}\n  patch: |-\n    - op: remove\n      path: /spec/ports/1\n",
    ),
    (
        "target by labels",
        "resources: [../base]\npatches:\n- target: {labelSelector: 'app in (web), !other'}\n  patch: '[{\"op\": \"add\", \"path\": \"/metadata/labels/x\", \"value\": \"z\"}]'\n",
    ),
    (
        "generators",
        "resources: [../base]\nnamePrefix: p-\ngeneratorOptions: {labels: {g: h}, annotations: {i: j}}\nconfigMapGenerator:\n- {name: settings, behavior: merge, literals: [a=2, c=3]}\n\
         - {name: plain, literals: ['q=\"quoted\"'], options: {disableNameSuffixHash: true, labels: {g: own}}}\nsecretGenerator:\n\
         - {name: keys, behavior: replace, literals: [long=0123456789012345678901234567890123456789012345678901234567890123456789]}\n- {name: tls, type: kubernetes.io/tls, literals: [tls.crt=x, tls.key=y], namespace: other}\n",
    ),
    (
        "replacements",
        "resources: [../base]\nreplacements:\n- source: {kind: Service, name: web, fieldPath: spec.ports.0.port}\n  targets:\n  - select: {kind: Deployment}\n    \
         fieldPaths: ['spec.template.spec.containers.[name=web].ports.0.containerPort', 'spec.template.spec.containers.[name=web].env.[name=A].value']\n\
         - source: {kind: ServiceAccount, name: web}\n  targets:\n  - select: {kind: VirtualService}\n    fieldPaths: [spec.hosts.0, 'metadata.annotations.[a.b/c]']\n    options: {create: true}\n\
         - sourceValue: prod\n  targets:\n  - select: {kind: Deployment, name: web}\n    reject: [{name: other}]\n    fieldPaths: [spec.template.spec.containers.*.image]\n    options: {delimiter: ':', index: 1}\n",
    ),
];

#[test]
fn each_feature_is_built_as_by_kubectl() {
    let mut wrong = Vec::new();
    for (what, kustomization) in FEATURES {
        let tree = overlay(kustomization);
        match compare(&tree, "overlay") {
            (None, true) => {}
            (None, false) => {
                let written = write(&tree);
                let why = ours(written.path(), "overlay").unwrap_err();
                wrong.push(format!("{what}: not built: {why}; kubectl: {:?}", theirs(written.path(), "overlay").err()));
            }
            (Some(difference), _) => wrong.push(format!("{what}: {difference}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bases_of_bases_and_components_are_built_as_by_kubectl() {
    let mut tree =
        overlay("resources: [../middle, other.yaml]\nnamePrefix: o-\ncomponents: [../component]\nnamespace: prod\n");
    for (name, text) in [
        (
            "overlay/other.yaml",
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: other}, spec: {containers: [{name: a, image: a, env: [{name: X, valueFrom: {secretKeyRef: {name: keys, key: k}}}]}]}}\n",
        ),
        (
            "middle/kustomization.yaml",
            "resources: [../base]\nnameSuffix: -m\nnamespace: middle\nconfigMapGenerator: [{name: settings, behavior: merge, literals: [m=1]}]\n",
        ),
        (
            "component/kustomization.yaml",
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [extra.yaml]\npatches: [{path: patch.yaml}]\n",
        ),
        (
            "component/extra.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: extra}\nspec: {ports: [{port: 1}]}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: local, annotations: {config.kubernetes.io/local-config: 'true'}}\n",
        ),
        ("component/patch.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: NodePort}\n"),
    ] {
        tree.insert(name.to_owned(), text.to_owned());
    }
    let (difference, is_built) = compare(&tree, "overlay");
    let written = write(&tree);
    assert!(is_built, "{:?}", ours(written.path(), "overlay").err());
    assert_eq!(difference, None);
}

#[test]
fn inexact_mappings_are_refused_with_a_reason() {
    for (kustomization, reason) in [
        ("resources: [../base, 'https://example.com/a?ref=b']\n", "remote resources"),
        ("resources: [../base]\nhelmCharts: [{name: a}]\n", "the field helmCharts"),
        ("resources: [../base]\nvars: [{name: A}]\n", "the field vars"),
        ("resources: [../base]\ntransformers: [a.yaml]\n", "the field transformers"),
        ("resources: [../base, missing.yaml]\n", "missing.yaml, which cannot be read"),
        ("resources: [../base, ../base]\n", "two objects"),
        ("resources: [.]\n", "which contains itself"),
        ("resources: [../base]\nsurprise: 1\n", "the field surprise"),
        (
            "resources: [../base]\npatches: [{patch: '{apiVersion: v1, kind: Service, metadata: {name: x}}'}]\n",
            "which matches no objects",
        ),
    ] {
        let written = write(&overlay(kustomization));
        let why = ours(written.path(), "overlay").expect_err(kustomization);
        assert!(why.contains(reason), "{kustomization}: {why}");
    }
}

/// The generator `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }
}

/// Some of the features, also of several levels.
fn generated(seed: u64) -> Tree {
    const PARTS: [&str; 16] = [
        "namespace: n{L}\n",
        "namePrefix: p{L}-\n",
        "nameSuffix: -s{L}\n",
        "labels: [{pairs: {l{L}: a}, includeSelectors: true}]\n",
        "labels: [{pairs: {l{L}: a}, includeTemplates: true}, {pairs: {m: b}}]\n",
        "commonAnnotations: {a{L}: x, b: '2'}\n",
        "replicas: [{name: web, count: {L}}]\n",
        "images: [{name: example.com/web, newTag: v{L}}]\n",
        "configMapGenerator: [{name: settings, behavior: merge, literals: [k{L}=v, a={L}]}]\n",
        "configMapGenerator: [{name: own{L}, literals: [k=v]}]\nsecretGenerator: [{name: secret{L}, literals: [k=v]}]\n",
        "patches: [{target: {kind: Deployment}, patch: '[{\"op\": \"add\", \"path\": \"/metadata/annotations\", \"value\": {\"p{L}\": \"x\"}}]'}]\n",
        "patches: [{target: {kind: Service}, patch: '{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 80, name: http{L}}, {port: 9{L}}]}}'}]\n",
        "patches: [{patch: '{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {containers: [{name: web, env: [{name: L{L}, value: a}]}, {name: c{L}, image: c}]}}}}'}]\n",
        "components: [../component{L}]\n",
        "replacements: [{source: {kind: Deployment, name: web}, targets: [{select: {kind: VirtualService}, fieldPaths: [spec.hosts.0]}]}]\n",
        "generatorOptions: {labels: {o{L}: x}}\n",
    ];
    let mut random = Random(seed);
    let levels = 1 + random.below(3);
    let mut tree = overlay("");
    for level in 1..=levels {
        let folder = if level == levels { "overlay".to_owned() } else { format!("level{level}") };
        let below = if level == 1 { "base".to_owned() } else { format!("level{}", level - 1) };
        let mut text = format!("resources: [../{below}]\n");
        let mut keys = Vec::new();
        for _ in 0..=random.below(5) {
            let part = PARTS[usize::try_from(random.below(PARTS.len() as u64)).unwrap()];
            let key = part.split(':').next().unwrap();
            if !keys.contains(&key) {
                keys.push(key);
                text += &part.replace("{L}", &level.to_string());
            }
        }
        tree.insert(format!("{folder}/kustomization.yaml"), text);
        tree.insert(
            format!("component{level}/kustomization.yaml"),
            format!("apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -c{level}\ncommonLabels: {{c{level}: d}}\n"),
        );
    }
    tree
}

#[test]
fn generated_trees_are_built_as_by_kubectl() {
    let mut wrong = Vec::new();
    let mut built = 0;
    for seed in 0..SEEDS {
        let tree = generated(seed);
        let (difference, is_built) = compare(&tree, "overlay");
        built += u64::from(is_built);
        wrong.extend(difference.map(|difference| {
            let texts =
                tree.iter().filter(|(name, _)| name.ends_with("kustomization.yaml") && !name.starts_with("base"));
            let texts: Vec<String> = texts.map(|(name, text)| format!("# {name}\n{text}")).collect();
            let texts = texts.concat();
            format!("seed {seed}: {difference}{texts}")
        }));
    }
    assert!(wrong.is_empty(), "{} differ: {}", wrong.len(), wrong[..wrong.len().min(3)].join("\n"));
    assert!(built * 10 >= SEEDS * 7, "only {built} of {SEEDS} are built");
}
