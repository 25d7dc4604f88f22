//! `sailhand analyze` on realistic folders: charts, kustomizations, files of other tools, and text that kubectl accepts
//! despite the YAML specification. Skipped files are listed, and the others are analyzed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const ROUTE: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: shop}\n\
    spec:\n  hosts: [shop]\n  http:\n  - route:\n    - destination: {host: shop, subset: v1}\n";
const RULE: &str = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: shop}\n\
    spec:\n  host: shop\n  subsets:\n  - {name: v1, labels: {version: v1}}\n";
const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\n\
    spec:\n  selector: {matchLabels: {app: shop}}\n  template:\n    metadata: {labels: {app: shop, version: v1}}\n    \
    spec: {containers: [{name: shop, image: shop}]}\n";

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\n\
    spec: {selector: {app: shop}, ports: [{name: http, port: 80}]}\n";

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Exit code, standard output and standard error, with file names relative to the folder.
fn analyze(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_sailhand"))
        .arg("analyze")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn chart_templates_are_listed_once_and_skipped() {
    let template = "{{- if .Values.a }}\na: 1\n{{- end }}\n---\nname: {{ .Values.b }}\n";
    let folder = folder(&[
        ("shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n"),
        ("shop/values.yaml", "a: 1\n"),
        ("shop/templates/a.yaml", template),
        ("shop/templates/tests/b.yaml", template),
        ("shop/charts/part/Chart.yaml", "apiVersion: v2\nname: part\nversion: 1.0.0\n"),
        ("shop/charts/part/templates/c.yaml", ROUTE),
        ("loose/templates/d.yaml", template),
        ("e.yaml", RULE),
    ]);
    let (code, out, error) = analyze(folder.path(), &["."]);
    assert_eq!(code, Some(6), "what was not read may be wrong: {out}{error}");
    assert!(out.contains("No findings in 1 object from 5 files"), "{out}");
    assert!(error.contains("not read: 2 templates of the Helm chart ./shop\n"), "{error}");
    assert!(error.contains("helm template ./shop | sailhand analyze -"), "{error}");
    assert!(error.contains("not read: 1 template of the Helm chart ./shop/charts/part\n"), "{error}");
    assert!(
        error.contains("1 file looks like Helm templates and were not read: ./loose/templates/d.yaml:1"),
        "{error}"
    );
    assert_eq!(error.matches("SH6001").count(), 1, "{error}");
}

#[test]
fn kustomize_patches_do_not_override_objects() {
    let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec: {replicas: 3}\n";
    let files = [
        ("base/kustomization.yaml", "resources: [app.yaml, rule.yaml]\n"),
        ("base/app.yaml", DEPLOYMENT),
        ("base/rule.yaml", &format!("{RULE}---\n{SERVICE}")),
        (
            "prod/kustomization.yml",
            "resources: [../base]\npatches:\n- path: replicas.yaml\n- {path: ../ops.yaml, target: {kind: Deployment}}\n",
        ),
        ("prod/replicas.yaml", patch),
        ("ops.yaml", "- {op: replace, path: /metadata/labels, value: {a: b}}\n"),
    ];
    let (code, out, error) = analyze(folder(&files).path(), &["."]);
    assert_eq!(code, Some(0), "the operation does not fit: {out}{error}");
    assert!(
        error.contains("not built: the kustomization ./prod, because of the JSON patch replace /metadata/labels; "),
        "{error}"
    );
    assert!(error.contains("kubectl kustomize ./prod | sailhand analyze -"), "{error}");
    assert!(!error.contains("defined more than once"), "{error}");
    let fitting = files.map(|(name, text)| (name, text.replace("op: replace", "op: add")));
    let fitting: Vec<(&str, &str)> = fitting.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let (code, out, error) = analyze(folder(&fitting).path(), &["."]);
    assert_eq!(code, Some(0), "{out}{error}");
    assert!(!error.contains("not built") && out.contains("No findings in 3 objects"), "{out}{error}");
    // Without the kustomizations, the patch is an ordinary object.
    let others: Vec<_> = files.into_iter().filter(|(name, _)| !name.contains("kustomization")).collect();
    let (_, _, error) = analyze(folder(&others).path(), &["."]);
    assert!(error.contains("Deployment shop: 2 definitions, the last is ./prod/replicas.yaml:1"), "{error}");
}

#[test]
fn skipped_and_unreadable_files_are_listed() {
    let folder = folder(&[
        ("README.md", "# x"),
        ("package.json", "{}"),
        ("compose.yml", "services: {}\n"),
        ("issuer.yaml", "apiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {name: a}\n"),
        (".git/x.yaml", "a: ["),
    ]);
    fs::write(folder.path().join("utf16.yaml"), [0xff, 0xfe, b'a', 0]).unwrap();
    let (code, out, error) = analyze(folder.path(), &["."]);
    assert_eq!(code, Some(6));
    assert!(out.contains("No findings in 0 objects"), "{out}");
    for part in [
        "cannot read ./utf16.yaml",
        "Save the file as UTF-8",
        "2 documents are skipped (not a Kubernetes object): ./compose.yml, ./package.json",
        "1 object is of a kind that no rule uses: cert-manager.io/Issuer",
        "Nothing was analyzed",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains(".git"), "{error}");
}

#[test]
fn bracket_at_key_column_is_parsed_and_located() {
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [\n    a\n  ]\n  \
                http:\n  - route:\n    - destination:\n        host: a\n        subset: v9\n";
    let (_, out, error) = analyze(folder(&[("a.yaml", text)]).path(), &["a.yaml"]);
    assert!(out.contains("--> a.yaml:12:17 spec.http[0].route[0].destination.subset"), "{out}{error}");
    assert!(!error.contains("SH6001"), "{error}");
}

#[test]
fn reason_is_printed_once_and_info_findings_are_grouped_by_code() {
    let service = |number: usize| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: shop}}\n\
             spec: {{ports: [{{name: api, port: 80}}, {{name: web, port: 81}}]}}\n---\n"
        )
    };
    let services: String = (0..6).map(service).collect();
    let route = ROUTE.replace("name: shop", "name: other");
    let folder = folder(&[("a.yaml", &format!("{services}{SERVICE}---\n{ROUTE}---\n{route}"))]);
    let (_, out, _) = analyze(folder.path(), &["a.yaml"]);
    assert_eq!(out.matches("error[IST0101]").count(), 2, "{out}");
    assert_eq!(out.matches("Requests to a missing host fail with 503").count(), 1, "{out}");
    assert!(out.contains("Port name does not follow the `<protocol>[-suffix]` convention (12 times)"), "{out}");
    assert!(out.contains("  and 7 more: --codes IST0118 or -o json shows all of them\n"), "{out}");
    assert!(out.contains("12 info in 9 objects from 1 file"), "{out}");
    let (_, out, _) = analyze(folder.path(), &["a.yaml", "--codes", "IST0118"]);
    assert_eq!(out.matches("does not start with a protocol").count(), 12, "{out}");
    let (_, out, _) = analyze(folder.path(), &["a.yaml", "-o", "json"]);
    assert_eq!(out.matches("does not start with a protocol").count(), 12, "{out}");
}

#[test]
fn repeated_warnings_are_limited_unless_requested() {
    let rules: String = (0..12)
        .map(|number| {
            let rule = RULE.replace("name: shop", &format!("name: r{number}"));
            rule.replace("subsets:\n  - {name: v1, labels: {version: v1}}", "trafficPolicy: {tls: {mode: SIMPLE}}")
                + "---\n"
        })
        .collect();
    let folder = folder(&[("a.yaml", &rules)]);
    let count = |arguments: &[&str]| {
        let out = analyze(folder.path(), arguments).1;
        (
            out.matches("warning[IST0128]: TLS mode").count(),
            out.contains("warning[IST0128]: and 2 more: --codes IST0128"),
        )
    };
    assert_eq!(count(&["a.yaml"]), (10, true));
    assert_eq!(count(&["a.yaml", "--codes", "IST0128"]), (12, false));
}

#[test]
fn excerpt_of_a_long_line_contains_the_position() {
    let long = format!(
        "{{\"apiVersion\":\"networking.istio.io/v1\",\"kind\":\"VirtualService\",\"metadata\":{{\"name\":\"a\",\
                \"labels\":{{\"x\":\"{}\"}}}},\"spec\":{{\"hosts\":[\"a\"],\"htp\":[]}}}}\n",
        "y".repeat(500)
    );
    let (_, out, _) = analyze(folder(&[("a.json", &long)]).path(), &["a.json", "--codes", "SH7001"]);
    let lines: Vec<&str> = out.lines().collect();
    let at = lines.iter().position(|line| line.contains("\"htp\"")).unwrap();
    let column =
        lines[at].chars().collect::<Vec<_>>().windows(5).position(|part| part.iter().collect::<String>() == "\"htp\"");
    assert_eq!(lines[at + 1].find("^^^^^"), column, "{out}");
}

#[test]
fn misspelled_code_gets_a_suggestion() {
    let folder = folder(&[("a.yaml", RULE)]);
    for (arguments, near) in [
        (["a.yaml", "--codes", "IST101"], "did you mean IST0101?"),
        (["a.yaml", "--suppress", "SH71255=Pod *"], "did you mean SH7125?"),
        (["a.yaml", "--codes", "gateway.SecretAnalyser"], "did you mean gateway.SecretAnalyzer?"),
        (["a.yaml", "--codes", "nothing-like-it"], "--list-rules"),
    ] {
        let (code, _, error) = analyze(folder.path(), &arguments);
        assert!(code == Some(2) && error.contains(near), "{arguments:?}: {error}");
    }
    let (code, out, _) = analyze(folder.path(), &["--explain", "KIA0209"]);
    assert!(code == Some(0) && out.contains("SH7111"), "{out}");
    assert!(analyze(folder.path(), &["--explain", "SH71111"]).2.contains("did you mean SH7111?"));
}

#[test]
fn pods_of_unknown_kinds_are_not_reported_missing() {
    let rollout = DEPLOYMENT.replace("apps/v1", "argoproj.io/v1alpha1").replace("kind: Deployment", "kind: Rollout");
    let other = DEPLOYMENT.replace("shop", "other").replace("version: v1", "version: v3");
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: shop}\n\
                  spec: {selector: {matchLabels: {app: shop}}, rules: [{}]}\n";
    let peer = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: shop}\n\
                spec: {selector: {matchLabels: {app: shop}}, mtls: {mode: STRICT}}\n";
    let codes = ["IST0173", "IST0127", "SH7125"];
    let told = |made: &str, policy: &str, peer: &str| {
        let text = [made, &other, SERVICE, RULE, policy, peer].join("---\n");
        let out = analyze(folder(&[("a.yaml", &text)]).path(), &["a.yaml"]).1;
        codes.into_iter().filter(|code| out.contains(code)).collect::<Vec<_>>()
    };
    assert_eq!(told(&rollout, policy, peer), [""; 0]);
    // With a Deployment the workloads are known, and labels that none has do not belong to a Rollout.
    let wrong = |text: &str| text.replace("{app: shop}", "{app: shopp}");
    assert_eq!(told(&DEPLOYMENT.replace("version: v1", "version: v2"), &wrong(policy), &wrong(peer)), codes);
}

#[test]
fn empty_input_fails_unless_it_is_allowed() {
    let folder = folder(&[("notes.yaml", "a: 1\n")]);
    assert_eq!(analyze(folder.path(), &["."]).0, Some(6));
    assert_eq!(analyze(folder.path(), &[".", "--allow-empty"]).0, Some(0));
}

#[test]
fn kind_that_istio_does_not_have_is_an_error() {
    let folder = folder(&[("a.yaml", &ROUTE.replace("kind: VirtualService", "kind: VirtualServce"))]);
    let (code, out, error) = analyze(folder.path(), &["."]);
    assert_eq!(code, Some(1), "{out}{error}");
    assert!(out.contains("SH7023") && out.contains("did you mean VirtualService?"), "{out}");
}

#[test]
fn unused_suppressions_and_baseline_entries_are_reported() {
    let missing = ROUTE.replace("{host: shop, subset: v1}", "{host: shopp}");
    let files = folder(&[("a.yaml", &format!("{missing}---\n{SERVICE}")), ("other.yaml", RULE)]);
    let run = |arguments: &[&str]| analyze(files.path(), &[&["a.yaml"], arguments].concat());
    assert_eq!(run(&["-n", "web"]).0, Some(1));
    // The form of istioctl, with the namespace that the object gets.
    let (code, _, error) = run(&["-n", "web", "-S", "IST0101=VirtualService shop.web"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(!error.contains("matches no finding"), "{error}");
    let (code, _, error) = run(&["-S", "IST0101=VirtualService reviews.web"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("suppression IST0101=VirtualService reviews.web matches no finding"), "{error}");
    let (code, _, error) = run(&["--baseline", "other.yaml"]);
    assert!(code == Some(2) && error.contains("line 1 does not begin with a fingerprint"), "{error}");
    fs::write(files.path().join("base.txt"), "# old\n0123456789abcdef  IST0101  VirtualService shop\n").unwrap();
    let error = run(&["--baseline", "base.txt"]).2;
    assert!(error.contains("1 of 1 baseline entries no longer match"), "{error}");
}

#[test]
fn namespace_of_a_command_and_of_a_kustomization_complete_objects() {
    let text = format!("{ROUTE}---\n{RULE}---\n{SERVICE}---\n{DEPLOYMENT}");
    let named = folder(&[("a.yaml", &text.replace("v1}", "v2}"))]);
    let out = analyze(named.path(), &["-n", "web", "a.yaml", "-o", "json"]).1;
    assert!(out.contains("VirtualService web/shop"), "{out}");
    let kustomization = ("kustomization.yaml", "namespace: prod\nresources: [a.yaml]\n");
    let out = analyze(folder(&[kustomization, ("a.yaml", &text.replace("v1}", "v2}"))]).path(), &[".", "-o", "json"]).1;
    assert!(out.contains("VirtualService prod/shop"), "{out}");
    // A prefix changes the name of the Service, but no host that refers to it.
    let prefixed = ("kustomization.yaml", "namePrefix: x-\nresources: [a.yaml]\n");
    let (code, out, error) = analyze(folder(&[prefixed, ("a.yaml", &text)]).path(), &["."]);
    assert_eq!(code, Some(1), "{out}{error}");
    assert!(out.contains("VirtualService x-shop") && out.contains("did you mean x-shop?"), "{out}{error}");
    // A patch adds what is missing; what is not built may add it.
    let text = text.replace("v1}", "v2}");
    let patch = "patches: [{target: {kind: DestinationRule}, patch: '[{\"op\": \"add\", \"path\": \"/spec/subsets/-\", \"value\": {\"name\": \"v2\"}}]'}]\n";
    for (more, is_silent) in [(patch, true), ("transformers: [a]\n", true), ("", false)] {
        let kustomization = format!("resources: [a.yaml]\n{more}");
        let files = folder(&[("kustomization.yaml", &kustomization), ("a.yaml", &text)]);
        let (code, out, error) = analyze(files.path(), &["."]);
        assert_eq!(code, Some(i32::from(!is_silent)), "{more}: {out}{error}");
        assert_eq!(error.contains("because of the field transformers"), more.starts_with("transformers"), "{error}");
    }
}
