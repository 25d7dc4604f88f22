//! The HTML report in a real browser: its script groups, counts and draws. Skipped without chromium.

use std::path::Path;
use std::process::Command;

use regex::Regex;

const MANIFEST: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec: {hosts: [reviews], gateways: [public, nosuch], http: [{route: [{destination: {host: reviws}, weight: 80}, {destination: {host: ratings, subset: v2}, weight: 20}]}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: shop}
spec: {selector: {istio: ingressgateway}, servers: [{hosts: ['*'], port: {name: http, number: 80, protocol: HTTP}}]}
---
apiVersion: v1
kind: Service
metadata: {name: ratings, namespace: shop}
spec: {selector: {app: ratings}, ports: [{name: web, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ratings, namespace: shop}
spec: {host: ratings, subsets: [{name: v1, labels: {version: v1}}]}
";

/// The document after its script has run, with the graph; none without a browser.
fn document(folder: &Path) -> Option<String> {
    std::fs::write(folder.join("shop.yaml"), MANIFEST).unwrap();
    let report = Command::new(env!("CARGO_BIN_EXE_sailhand"))
        .current_dir(folder)
        .args(["analyze", "shop.yaml", "-o", "html"])
        .output()
        .unwrap();
    let page = folder.join("report.html");
    std::fs::write(&page, report.stdout).unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("file://{}#graph", page.display()))
        .env("HOME", folder)
        .output();
    let Ok(output) = output else {
        #[allow(clippy::print_stderr, reason = "a test that checks nothing has to say so")]
        {
            eprintln!("NOT RUN: chromium is missing");
        }
        return None;
    };
    Some(String::from_utf8(output.stdout).unwrap())
}

fn numbers(text: &str) -> Vec<f64> {
    let number = Regex::new(r"-?\d+(\.\d+)?").unwrap();
    number.find_iter(text).map(|found| found.as_str().parse().unwrap()).collect()
}

#[test]
fn the_report_groups_findings_and_draws_broken_references() {
    let folder = tempfile::tempdir().unwrap();
    let Some(page) = document(folder.path()) else { return };
    assert!(page.contains("<h2>VirtualService shop/reviews <small>"), "not grouped by object:\n{page}");
    assert!(page.contains("<dd>shop.yaml</dd>") && page.contains("class=\"caret\">^"), "{page}");
    assert!(page.contains("host reviws") && page.contains("gateway shop/nosuch"), "missing objects are no nodes");
    // Before: each of several findings of one code repeated its fix.
    assert!(Regex::new(r#"<article class="error again""#).unwrap().is_match(&page), "{page}");
    let broken = Regex::new(r#"<path d="[^"]+" class="broken""#).unwrap();
    assert_eq!(broken.find_iter(&page).count(), 3, "host, gateway and subset");
}

/// Before: an edge between distant columns ran through the boxes between them.
#[test]
fn edges_of_the_graph_cross_no_box() {
    let folder = tempfile::tempdir().unwrap();
    let Some(page) = document(folder.path()) else { return };
    let rect = Regex::new(r#"<rect x="([^"]+)" y="([^"]+)" width="([^"]+)" height="([^"]+)""#).unwrap();
    let boxes: Vec<Vec<f64>> =
        rect.captures_iter(&page).map(|found| (1..=4).map(|part| found[part].parse().unwrap()).collect()).collect();
    assert!(boxes.len() >= 6, "{boxes:?}");
    let path = Regex::new(r#"<path d="(M[^"]+)" class="#).unwrap();
    let part_of_path = Regex::new("[MCL][^MCL]*").unwrap();
    let mut lanes = 0;
    for edge in path.captures_iter(&page) {
        let mut end = (0.0, 0.0);
        for part in part_of_path.find_iter(&edge[1]) {
            let values = numbers(part.as_str());
            let [.., x, y] = values[..] else { panic!("{part:?}") };
            if part.as_str().starts_with('L') {
                lanes += 1;
                let (left, right) = (x.min(end.0), x.max(end.0));
                let crossed = boxes.iter().find(|it| {
                    let (start, top, width, height) = (it[0], it[1], it[2], it[3]);
                    start < right && start + width > left && y > top && y < top + height
                });
                assert_eq!(crossed, None, "{}", &edge[1]);
            }
            end = (x, y);
        }
    }
    assert!(lanes > 0, "no edge passes a column");
}
