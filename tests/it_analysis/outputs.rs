//! Output of `sailhand analyze` through the command line: each format, suppression, exit codes, and the generated pages
//! of rules.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use sailhand::analysis::report::pages;
use serde_json::Value;

const MANIFEST: &str = "# a comment\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: db\n  \
    namespace: shop & <co>\nspec:\n  host: db.example.com\n  trafficPolicy:\n    tls:\n      mode: SIMPLE\n";

fn analyze(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sailhand"))
        .arg("analyze")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that exits early does not read all of its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = analyze(arguments, MANIFEST);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
}

#[test]
fn rule_pages_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules");
    let made = pages::pages();
    let mut there: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    assert_eq!(there, made.keys().cloned().collect::<Vec<_>>(), "run `sailhand analyze --write-docs docs/rules`");
    for (name, text) in made {
        let is = fs::read_to_string(folder.join(&name)).unwrap();
        assert!(is == text, "{name}: run `sailhand analyze --write-docs docs/rules`");
    }
}

#[test]
fn json_has_position_and_message() {
    let found = json(&["-o", "json", "--codes", "IST0128", "-"]);
    let finding = &found[0];
    assert_eq!(finding["code"], "IST0128");
    assert_eq!(finding["resource"], "DestinationRule shop & <co>/db");
    assert_eq!((finding["line"].as_u64(), finding["column"].as_u64()), (Some(12), Some(13)));
    assert_eq!(finding["field"], "spec.trafficPolicy.tls.mode");
    assert_eq!(found.as_array().unwrap().len(), 1);
}

#[test]
fn sarif_and_istioctl_json_have_the_line() {
    let sarif = json(&["-o", "sarif", "--codes", "IST0128", "-"]);
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], sarif["runs"][0]["tool"]["driver"]["rules"][0]["id"]);
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 12);
    assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "%3Cstandard%20input%3E");
    let message = &json(&["-o", "istioctl-json", "--codes", "IST0128", "-"])[0];
    assert_eq!(message["origin"], "DestinationRule shop & <co>/db");
    assert_eq!(message["reference"], "<standard input>:12");
    assert_eq!(message["level"], "Warning");
}

#[test]
fn object_names_are_escaped_in_html_xml_and_markdown() {
    for form in ["html", "junit", "markdown"] {
        let page = text(&analyze(&["-o", form, "--codes", "IST0128", "-"], MANIFEST));
        assert!(page.contains("shop &amp; &lt;co"), "{form}: {page}");
        assert!(!page.contains("<co>"), "{form}: {page}");
    }
    let page = text(&analyze(&["-o", "html", "--codes", "IST0128", "-"], MANIFEST));
    assert!(!page.contains("src=") && !page.contains("<link") && !page.contains("@import"), "nothing is loaded");
}

#[test]
fn exit_code_follows_fail_on() {
    let code = |arguments: &[&str]| analyze(arguments, MANIFEST).status.code();
    assert_eq!(code(&["--codes", "IST0128", "-"]), Some(0));
    assert_eq!(code(&["--codes", "IST0128", "--fail-on", "warning", "-"]), Some(1));
    assert_eq!(code(&["--codes", "IST0128", "--fail-on", "never", "-"]), Some(0));
    // istioctl's names of the options and levels.
    assert_eq!(code(&["--codes", "IST0128", "--failure-threshold", "Warning", "-"]), Some(1));
    let hidden = analyze(&["-o", "json", "--codes", "IST0128", "--output-threshold", "Error", "-"], MANIFEST);
    assert_eq!(text(&hidden).trim(), "[]");
    assert_eq!(code(&["--codes", "IST9999", "-"]), Some(2));
    assert_eq!(code(&[]), Some(2));
    assert_eq!(analyze(&["--codes", "IST0128", "-"], "a: [").status.code(), Some(6));
}

#[test]
fn baseline_suppresses_findings() {
    let count = |arguments: &[&str], input: &str| {
        let output = analyze(&[arguments, &["-o", "json", "--codes", "IST0128", "-"]].concat(), input);
        serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap().len()
    };
    assert_eq!(count(&[], MANIFEST), 1);
    assert_eq!(count(&["-S", "IST0128"], MANIFEST), 0);
    assert_eq!(count(&["-S", "IST0128=DestinationRule shop*/db"], MANIFEST), 0);
    assert_eq!(count(&["-S", "IST0128=DestinationRule other/*"], MANIFEST), 1);
    assert_eq!(count(&["--only-namespace", "other"], MANIFEST), 0);
    let annotated = MANIFEST
        .replace("metadata:\n", "metadata:\n  annotations: {galley.istio.io/analyze-suppress: 'IST0101, IST0128'}\n");
    assert_eq!(count(&[], &annotated), 0);
    let folder = tempfile::tempdir().unwrap();
    let baseline = folder.path().join("baseline").display().to_string();
    assert!(analyze(&["--write-baseline", &baseline, "-"], MANIFEST).status.success());
    // Line numbers and other objects do not affect a fingerprint.
    let moved =
        format!("{}\n---\n{}", MANIFEST.replace("name: db", "name: other"), MANIFEST.replace("spec:", "\nspec:"));
    assert_eq!(count(&["--baseline", &baseline], &moved), 1);
}

#[test]
fn each_listed_code_can_be_explained() {
    let listed = text(&analyze(&["--list-rules"], ""));
    assert!(listed.contains("destinationrule.CaCertificateAnalyzer"), "{listed}");
    let page = text(&analyze(&["--explain", "ist0128"], ""));
    assert!(page.contains("Example:") && page.contains("Fixed:"), "{page}");
}
