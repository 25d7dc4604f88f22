//! `sailhand conformance` without a bus: a report of the suite of Gateway API is read, rendered and compared.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const OFFICIAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/conformance/official");

fn conformance(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sailhand")).arg("conformance").args(args).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The suite's report and log, in which the test of weights failed before the proxy had the route.
fn failed(folder: &Path) -> [String; 2] {
    let sample = "httproute-weight.go:80: Traffic distribution test failed (1/10): backend \"echo-v1\" weighted traffic of 0.51 \
                  not within tolerance 0.7 (+/-0.050000)\n";
    let log = fs::read_to_string(format!("{OFFICIAL}/log.txt")).unwrap();
    let log = log.replace("PASS: TestConformance/MeshHTTPRouteWeight", "FAIL: TestConformance/MeshHTTPRouteWeight");
    [format!("{OFFICIAL}/report.yaml"), written(folder, "log.txt", &format!("{sample}{log}"))]
}

#[test]
fn report_of_the_gateway_api_suite_is_imported_in_every_format_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let report = format!("{OFFICIAL}/report.yaml");
    let text = conformance(&["import", &report]);
    assert!(
        text.status.success() && out(&text).contains("15 cases: 15 passed, 0 failed"),
        "{}{}",
        out(&text),
        err(&text)
    );
    let before = written(folder.path(), "before.json", &out(&conformance(&["import", &report, "-o", "json"])));
    let same = conformance(&["diff", &before, &before]);
    assert!(same.status.success() && out(&same).contains("No differences."));

    let [report, log] = failed(folder.path());
    let text = conformance(&["import", &report, "--log", &log]);
    assert_eq!(text.status.code(), Some(1), "{}", err(&text));
    assert!(
        out(&text).contains("MeshHTTPRouteWeight failed in the suite of Gateway API; suspected race"),
        "{}",
        out(&text)
    );
    let after =
        written(folder.path(), "after.json", &out(&conformance(&["import", &report, "--log", &log, "-o", "json"])));
    let worse = conformance(&["diff", &before, &after]);
    assert_eq!(worse.status.code(), Some(1));
    assert!(out(&worse).contains("MeshHTTPRouteWeight: passed → failed"), "{}", out(&worse));
    let page = out(&conformance(&["import", &report, "--log", &log, "-o", "html"]));
    assert!(page.contains("upstream") && page.contains("suspected race"), "the page names origin and race");
    let junit = out(&conformance(&["import", &report, "--log", &log, "-o", "junit"]));
    assert!(junit.contains("failures=\"1\""), "{junit}");
}

#[test]
fn files_that_are_no_reports_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let report = format!("{OFFICIAL}/report.yaml");
    let gateway = written(folder.path(), "gateway.yaml", "kind: Gateway\n");
    let json = written(folder.path(), "list.json", "[]");
    for (args, reason) in [
        (&["import", "/nowhere/report.yaml"][..], "No such file"),
        (&["import", &gateway], "not a ConformanceReport"),
        (&["import", &report, "-o", "yaml"], "the report is a ConformanceReport already"),
        (&["import", &report, "--log", "/nowhere/log.txt"], "No such file"),
        (&["diff", &json, &json], "read report"),
    ] {
        let output = conformance(args);
        assert!(!output.status.success() && err(&output).contains(reason), "{args:?}: {}", err(&output));
        assert!(err(&output).contains("help: "), "{args:?}: {}", err(&output));
    }
}
