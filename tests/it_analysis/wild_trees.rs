//! Trees in the shapes of public repositories, made from a seed with a known truth: what is right gives no error, and each
//! mistake put into it is found. Shapes: plain folders, Flux with Flagger, Argo CD's app of apps, kustomize overlays, a
//! Helm umbrella chart, a monorepo with YAML of other tools, steps of a tutorial.

use std::collections::BTreeSet;
use std::fmt::Write;

use sailhand::analysis::Level;

use crate::trees::{Tree, found};

const SEEDS: u64 = 24;

/// The generator `SplitMix64`.
pub struct Random(pub u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// `CODE Kind namespace/name` of each finding of level error, and each text that could not be read.
fn errors(tree: &Tree) -> BTreeSet<String> {
    let (found, unread) = found(tree, false);
    let found = found.iter().filter(|it| it.level == Level::Error);
    found.map(|it| format!("{} {}: {}", it.code.id, it.object, it.message)).chain(unread).collect()
}

const NAMES: [&str; 10] =
    ["cart", "orders", "payments", "catalog", "reviews", "search", "users", "billing", "stock", "mailer"];

/// The application of a namespace: Services with their workloads, routes between them, policies.
fn application(random: &mut Random, namespace: &str, stated: bool) -> Tree {
    let place = if stated { format!(", namespace: {namespace}") } else { String::new() };
    let mut tree = Tree::new();
    let start = random.below(NAMES.len() as u64);
    let count = 2 + random.below(4);
    for index in start..start + count {
        let name = NAMES[usize::try_from(index).unwrap() % NAMES.len()];
        let (api, kind) = random.one(&[
            ("apps/v1", "Deployment"),
            ("apps/v1", "StatefulSet"),
            ("argoproj.io/v1alpha1", "Rollout"),
            ("apps.kruise.io/v1alpha1", "CloneSet"),
        ]);
        let port = 8000 + random.below(1000);
        let target = NAMES[usize::try_from(start).unwrap() % NAMES.len()];
        let host = match random.below(3) {
            0 => target.to_owned(),
            1 => format!("{target}.{namespace}.svc.cluster.local"),
            _ => format!("{target}.{namespace}.svc.corp.example"),
        };
        // A name without a namespace is completed with the one that the object gets when it is applied.
        let host = if stated { host } else { target.to_owned() };
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}{place}}}\n\
             spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: {port}}}]}}\n---\n\
             apiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}{place}}}\n\
             spec:\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
             metadata: {{labels: {{app: {name}, version: v1}}}}\n    \
             spec: {{serviceAccountName: {name}, containers: [{{name: {name}, image: {name}, ports: [{{containerPort: {port}}}]}}]}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}{place}}}\n\
             spec:\n  hosts: [{name}]\n  http:\n  - route: [{{destination: {{host: {host}}}}}]\n---\n\
             apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}{place}}}\n\
             spec:\n  selector: {{matchLabels: {{app: {name}}}}}\n  rules: [{{from: [{{source: {{namespaces: [{namespace}, default]}}}}]}}]\n  \
             action: ALLOW\n---\n\
             apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}{place}}}\n\
             spec: {{host: {name}, subsets: [{{name: v1, labels: {{version: v1}}}}]}}\n"
        );
        tree.insert(format!("{name}.yaml"), text);
    }
    tree
}

fn within(folder: &str, tree: Tree) -> Tree {
    tree.into_iter().map(|(name, text)| (format!("{folder}/{name}"), text)).collect()
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{istio-injection: enabled}}}}\n")
}

/// An entry by each API, with certificates that controllers make, and a route through what istiod deploys.
fn entry(namespace: &str, backend: &str, port: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
         metadata: {{name: web, namespace: {namespace}, annotations: {{cert-manager.io/issuer: ca}}}}\n\
         spec:\n  gatewayClassName: istio\n  listeners:\n  - {{name: https, port: 443, protocol: HTTPS, hostname: a.example.com, \
         tls: {{certificateRefs: [{{name: web-tls}}]}}}}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: web, namespace: {namespace}}}\n\
         spec: {{parentRefs: [{{name: web, sectionName: https}}], hostnames: [a.example.com], rules: [{{backendRefs: [{{name: {backend}, port: {port}}}]}}]}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: through, namespace: {namespace}}}\n\
         spec: {{hosts: [b.example.com], http: [{{route: [{{destination: {{host: web-istio, port: {{number: 443}}}}}}]}}]}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: classic, namespace: {namespace}}}\n\
         spec:\n  selector: {{istio: ingressgateway}}\n  servers: [{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: [c.example.com], \
         tls: {{mode: SIMPLE, credentialName: classic-tls}}}}]\n---\n\
         apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {{name: classic-tls, namespace: istio-system}}\nspec: {{}}\n"
    )
}

/// The first Service of a tree and its port.
fn first_service(tree: &Tree) -> (String, String) {
    let text = tree.values().find(|text| text.contains("kind: Service\n")).unwrap();
    let name = text.split("metadata: {name: ").nth(1).unwrap().split([',', '}']).next().unwrap();
    let port = text.split("port: ").nth(1).unwrap().split('}').next().unwrap();
    (name.to_owned(), port.to_owned())
}

pub fn plain(random: &mut Random) -> Tree {
    let mut tree =
        Tree::from([("namespaces.yaml".to_owned(), [namespace("shop"), namespace("istio-system")].join("---\n"))]);
    let application = application(random, "shop", true);
    let (service, port) = first_service(&application);
    tree.extend(within("apps", application));
    tree.insert("entry.yaml".to_owned(), entry("shop", &service, &port));
    tree
}

pub fn flux(random: &mut Random) -> Tree {
    let mut tree = within("apps/shop", plain(random));
    let release = |name: &str, chart: &str| {
        format!(
            "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: {name}, namespace: istio-system}}\n\
             spec: {{chart: {{spec: {{chart: {chart}, version: '${{version}}'}}}}}}\n"
        )
    };
    let releases = [release("istiod", "istiod"), release("edge", "gateway")].join("---\n");
    tree.insert("infrastructure/istio.yaml".to_owned(), releases);
    tree.insert(
        "clusters/prod/apps.yaml".to_owned(),
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: flux-system}\n\
         spec: {path: ./apps, sourceRef: {kind: GitRepository, name: flux-system}}\n"
            .to_owned(),
    );
    let canary = "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: front, namespace: shop}\n\
                  spec: {targetRef: {kind: Deployment, name: front}, service: {port: 80}}\n---\n\
                  apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: front, namespace: shop}\n\
                  spec:\n  hosts: ['${HOST}']\n  gateways: [istio-system/edge]\n  http: [{route: [{destination: {host: front-primary}}]}]\n---\n\
                  apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: istio-system}\n\
                  spec: {selector: {istio: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}\n";
    tree.insert("apps/shop/canary.yaml".to_owned(), canary.to_owned());
    tree
}

pub fn argo(random: &mut Random) -> Tree {
    let mut tree = within("manifests", plain(random));
    let application = |name: &str, place: &str| {
        format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: {name}, namespace: argocd}}\n\
             spec: {{source: {{chart: {name}, repoURL: 'https://charts.example.com'}}, destination: {{namespace: {place}}}}}\n"
        )
    };
    let applications = [application("istiod", "istio-system"), application("kafka", "data")].join("---\n");
    tree.insert("applications/all.yaml".to_owned(), applications);
    tree.insert(
        "manifests/kafka.yaml".to_owned(),
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: kafka, namespace: data}\nspec: {host: kafka}\n"
            .to_owned(),
    );
    tree
}

fn kustomize(random: &mut Random) -> Tree {
    let application = application(random, "shop", false);
    let mut list = String::new();
    for name in application.keys() {
        writeln!(list, "- {name}").unwrap();
    }
    let mut tree = within("base", application);
    tree.insert("base/kustomization.yaml".to_owned(), format!("resources:\n{list}"));
    let patch = "patches:\n- target: {kind: VirtualService}\n  patch: |\n    - {op: add, path: /spec/http/0/timeout, value: 3s}\n";
    tree.insert(
        "prod/kustomization.yaml".to_owned(),
        format!("namespace: shop\nresources: [../base, namespace.yaml]\nlabels: [{{pairs: {{stage: prod}}}}]\n{patch}"),
    );
    tree.insert("prod/namespace.yaml".to_owned(), namespace("shop"));
    // An instance in another namespace.
    if random.below(2) == 0 {
        tree.insert(
            "dev/kustomization.yaml".to_owned(),
            format!("namespace: dev\nresources: [../base]\ncommonAnnotations: {{stage: dev}}\n{patch}"),
        );
    }
    // Another environment: the same objects, with a subset that only its workloads have.
    if random.below(2) == 0 {
        let subset = "- target: {kind: DestinationRule}\n  patch: |\n    - {op: add, path: /spec/subsets/-, value: {name: v9, labels: {version: v9}}}\n\
                      - target: {kind: Deployment|StatefulSet|Rollout|CloneSet}\n  patch: |\n    - {op: replace, path: /spec/template/metadata/labels/version, value: v9}\n\
                      - target: {kind: DestinationRule}\n  patch: |\n    - {op: remove, path: /spec/subsets/0}\n";
        tree.insert(
            "staging/kustomization.yaml".to_owned(),
            format!("namespace: shop\nresources: [../base]\n{patch}{subset}"),
        );
    }
    // What cannot be built hides nothing of the others, and gives no error.
    if random.below(4) == 0 {
        tree.insert(
            "edge/kustomization.yaml".to_owned(),
            "namespace: edge\nnamePrefix: edge-\nresources: [../base]\nhelmCharts: [{name: a}]\n".to_owned(),
        );
    }
    tree
}

/// Overlays that are all built.
pub fn overlays(random: &mut Random) -> Tree {
    let mut tree = kustomize(random);
    tree.remove("edge/kustomization.yaml");
    tree
}

pub fn umbrella(random: &mut Random) -> Tree {
    let mut tree = within("rendered", plain(random));
    tree.insert("chart/Chart.yaml".to_owned(), "apiVersion: v2\nname: shop\nversion: 1.0.0\n".to_owned());
    tree.insert("chart/values.yaml".to_owned(), "gateway: {host: a}\n".to_owned());
    tree.insert(
        "chart/templates/service.yaml".to_owned(),
        "apiVersion: v1\nkind: Service\nmetadata: {name: {{ .Release.Name }}-db}\n".to_owned(),
    );
    tree.insert(
        "rendered/db.yaml".to_owned(),
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: db, namespace: shop}\n\
         spec: {hosts: [db], http: [{route: [{destination: {host: prod-db}}]}]}\n"
            .to_owned(),
    );
    tree
}

pub fn monorepo(random: &mut Random) -> Tree {
    let mut tree = within("deploy", plain(random));
    for (name, text) in [
        (".github/workflows/ci.yml", "on: push\njobs: {}\n"),
        ("compose.yaml", "x-base: &base {image: a}\nservices: {a: {<<: *base}}\n"),
        ("openapi.yaml", "openapi: 3.0.0\npaths: {/a: {get: {}}}\n"),
        ("package.json", "{\"name\": \"a\"}"),
        ("dashboards/a.json", "{\"panels\": [{\"id\": 1}]}"),
        (
            "docs/example.yaml",
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: YOUR_APP, namespace: <your-namespace>}\nspec: {hosts: [YOUR_HOST], http: [{route: [{destination: {host: YOUR_SERVICE}}]}]}\n",
        ),
    ] {
        tree.insert(name.to_owned(), text.to_owned());
    }
    tree
}

pub fn tutorial(random: &mut Random) -> Tree {
    let mut tree = plain(random);
    for step in 1..=3 {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: step, namespace: shop}}\n\
             spec: {{hosts: [step], http: [{{route: [{{destination: {{host: step, subset: v{step}}}}}]}}]}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: step, namespace: shop}}\n\
             spec: {{host: step, subsets: [{{name: v{step}, labels: {{version: v1}}}}]}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{name: step, namespace: shop}}\n\
             spec: {{selector: {{app: step}}, ports: [{{name: http, port: 80}}]}}\n"
        );
        tree.insert(format!("step-{step}/route.yaml"), text);
    }
    tree
}

/// A shape: its name, what makes a tree of it, and whether the objects of its namespaces are all known.
type Shape = (&'static str, fn(&mut Random) -> Tree, bool);

/// A mistake: what it changes in one file, and the code that has to be reported.
pub type Mistake = (&'static str, fn(&str) -> String, &'static str);

/// Those that can be seen whatever else the cluster has.
pub const ALWAYS: [Mistake; 4] = [
    ("misspelt field", |text| text.replacen("  http:\n  - route:", "  htp:\n  - route:", 1), "SH7001"),
    ("misspelt kind", |text| text.replacen("kind: VirtualService", "kind: VirtualServce", 1), "SH7023"),
    ("key twice", |text| text.replacen("  hosts: [", "  hosts: [zz]\n  hosts: [", 1), "SH7022"),
    ("separator glued to a value", |text| text.replacen("ALLOW\n---\n", "ALLOW---\n", 1), "SH7022"),
];

/// Those that need the other objects of the namespace.
pub const OF_NAMESPACE: [Mistake; 2] = [
    (
        "host that does not exist",
        |text| text.replacen("{host: ", "{host: no-", 1).replacen(".svc.corp.example", ".svc.cluster.local", 1),
        "IST0101",
    ),
    (
        "subset without pods",
        |text| {
            text.replacen(
                "subsets: [{name: v1, labels: {version: v1}}]",
                "subsets: [{name: v1, labels: {version: v9}}]",
                1,
            )
        },
        "IST0173",
    ),
];

/// The file that a mistake changes. Those of applications have each of the patterns.
pub fn place_of(tree: &Tree, change: fn(&str) -> String) -> Option<(&String, &String)> {
    let has_patterns = |text: &str| text.contains("subsets:") && text.contains("template:");
    tree.iter().find(|(_, text)| change(text) != **text && has_patterns(text))
}

#[test]
fn trees_without_mistakes_give_no_error_and_each_mistake_is_found() {
    let shapes: [Shape; 8] = [
        ("plain", plain, true),
        ("flux", flux, true),
        ("argo", argo, true),
        ("kustomize", kustomize, false),
        ("overlays", overlays, true),
        ("umbrella", umbrella, false),
        ("monorepo", monorepo, true),
        ("tutorial", tutorial, true),
    ];
    let mut wrong = Vec::new();
    for (shape, make, knows_namespace) in shapes {
        for seed in 0..SEEDS {
            let tree = make(&mut Random(seed));
            let errors_before = errors(&tree);
            wrong.extend(errors_before.iter().map(|error| format!("{shape}, seed {seed}: {error}")));
            let mistakes = ALWAYS.iter().chain(OF_NAMESPACE.iter().filter(|_| knows_namespace));
            for (what, change, code) in mistakes {
                let Some((name, text)) = place_of(&tree, *change) else {
                    wrong.push(format!("{shape}, seed {seed}: no place for {what}"));
                    continue;
                };
                let mut changed = tree.clone();
                changed.insert(name.clone(), change(text));
                if !errors(&changed).difference(&errors_before).any(|error| error.starts_with(code)) {
                    wrong.push(format!("{shape}, seed {seed}: {what} in {name} is not found"));
                }
            }
        }
    }
    let mut seen = BTreeSet::new();
    // The first of each kind is enough to begin with.
    wrong.retain(|it: &String| seen.insert(it.chars().filter(|c| !c.is_ascii_digit()).take(60).collect::<String>()));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
