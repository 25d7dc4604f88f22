//! The language server as an editor uses it: findings while typing, hover, quick fixes, in UTF-16 and UTF-8.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and prints what it measures"
)]
#![allow(clippy::disallowed_types, reason = "a test measures real time")]

use std::fmt::Write as _;
use std::fs;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lsp_server::{Connection, Message, Notification, Request, Response};
use sailhand_analyze::lsp::{ServerOptions, serve_on};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest wait for a message.
const PATIENCE: Duration = Duration::from_mins(1);

struct Editor {
    connection: Connection,
    server: Option<JoinHandle<()>>,
    folder: TempDir,
    version: i64,
    requests: i32,
}

impl Editor {
    /// Starts a server with a workspace of these files.
    fn new(files: &[(&str, &str)], encodings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (client, server) = Connection::memory();
        let server =
            std::thread::spawn(move || serve_on(&server, &ServerOptions::default(), || 1_767_225_600).unwrap());
        let mut editor = Self { connection: client, server: Some(server), folder, version: 0, requests: 0 };
        let uri = editor.uri("");
        let params = json!({
            "processId": null,
            "workspaceFolders": [{"uri": uri.trim_end_matches('/'), "name": "w"}],
            "capabilities": {"general": {"positionEncodings": encodings}},
        });
        let answer = editor.request("initialize", params);
        let expected = if encodings.contains(&"utf-8") { "utf-8" } else { "utf-16" };
        assert_eq!(answer["capabilities"]["positionEncoding"], expected);
        editor.notify("initialized", json!({}));
        editor
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}/{name}", self.folder.path().display())
    }

    fn notify(&self, method: &str, params: Value) {
        self.connection.sender.send(Notification { method: method.to_owned(), params }.into()).unwrap();
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        self.requests += 1;
        let id = self.requests.into();
        self.connection.sender.send(Request { id, method: method.to_owned(), params }.into()).unwrap();
        loop {
            if let Message::Response(Response { response_result, .. }) = self.next() {
                return response_result.unwrap();
            }
        }
    }

    fn next(&self) -> Message {
        self.connection.receiver.recv_timeout(PATIENCE).unwrap()
    }

    fn open(&mut self, name: &str, text: &str) {
        self.version += 1;
        let document = json!({"uri": self.uri(name), "languageId": "yaml", "version": self.version, "text": text});
        self.notify("textDocument/didOpen", json!({"textDocument": document}));
    }

    /// Types: replaces a range of a line.
    fn change(&mut self, name: &str, line: usize, characters: (usize, usize), text: &str) {
        self.version += 1;
        let (start, end) = characters;
        let range = json!({"start": {"line": line, "character": start}, "end": {"line": line, "character": end}});
        self.notify(
            "textDocument/didChange",
            json!({
                "textDocument": {"uri": self.uri(name), "version": self.version},
                "contentChanges": [{"range": range, "text": text}],
            }),
        );
    }

    /// The next findings of a file of its current version, or of a file that is not open.
    fn diagnostics(&self, name: &str) -> Vec<Value> {
        let uri = self.uri(name);
        loop {
            let Message::Notification(Notification { method, params }) = self.next() else { continue };
            let is_current = params["version"].is_null() || params["version"] == self.version;
            if method == "textDocument/publishDiagnostics" && params["uri"] == uri && is_current {
                return params["diagnostics"].as_array().unwrap().clone();
            }
        }
    }

    /// Waits until the findings of a file are as expected: codes with lines.
    fn eventually(&self, name: &str, expected: &[&str]) -> Vec<Value> {
        let mut last = Vec::new();
        for _ in 0..50 {
            let found = self.diagnostics(name);
            last = codes(&found);
            if last == expected {
                return found;
            }
        }
        panic!("{last:?} instead of {expected:?}")
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.request("shutdown", Value::Null);
        self.notify("exit", Value::Null);
        self.server.take().unwrap().join().unwrap();
    }
}

/// `CODE line` of each finding, with lines from 1.
fn codes(found: &[Value]) -> Vec<String> {
    let one =
        |it: &Value| format!("{} {}", it["code"].as_str().unwrap(), it["range"]["start"]["line"].as_u64().unwrap() + 1);
    found.iter().map(one).collect()
}

const SERVICE: &str =
    "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\nspec: {ports: [{name: http, port: 80}]}\n";
const ROUTE: &str = "\
# 😀 routes
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - route: [{destination: {host: cart}}]
";

#[test]
fn findings_follow_the_typed_text() {
    let mut editor = Editor::new(&[("service.yaml", SERVICE), ("route.yaml", ROUTE)], &[]);
    editor.open("route.yaml", ROUTE);
    editor.eventually("route.yaml", &[]);
    // `cart` becomes `cxrt`, which no Service is: the first message after the keystroke reports it.
    editor.change("route.yaml", 7, (34, 35), "x");
    assert_eq!(codes(&editor.diagnostics("route.yaml")), ["IST0101 8"]);
    editor.change("route.yaml", 7, (34, 35), "a");
    assert_eq!(codes(&editor.diagnostics("route.yaml")), [""; 0]);
    // A syntax error, and back.
    editor.change("route.yaml", 5, (9, 10), "[[");
    let found = editor.diagnostics("route.yaml");
    assert_eq!(codes(&found).len(), 1);
    // Before: it began with a name and a line of its own, which were those of no file.
    let message = found[0]["message"].as_str().unwrap();
    assert!(!message.contains("document:") && !message.contains("route.yaml"), "{message}");
    editor.change("route.yaml", 5, (9, 11), "[");
    assert_eq!(codes(&editor.diagnostics("route.yaml")), [""; 0]);
}

/// Before: after the file was opened, its findings were deleted under the URI that the server writes for it, which is
/// that of the same file.
#[test]
fn uri_may_be_encoded_in_another_way_than_the_server_does() {
    let mut editor = Editor::new(&[("service.yaml", SERVICE), ("a+b.yaml", &ROUTE.replace("cart}}]", "cxrt}}]"))], &[]);
    editor.eventually("a+b.yaml", &["IST0101 8"]);
    editor.open("a%2Bb.yaml", &ROUTE.replace("cart}}]", "cyrt}}]"));
    editor.eventually("a%2Bb.yaml", &["IST0101 8"]);
    let (opened, closed) = (editor.uri("a%2Bb.yaml"), editor.uri("a+b.yaml"));
    for _full_analysis in 0..2 {
        loop {
            let Message::Notification(Notification { params, .. }) = editor.next() else { continue };
            assert_ne!(params["uri"], closed, "{params}");
            if params["uri"] == opened {
                break;
            }
        }
        editor.notify("textDocument/didSave", json!({"textDocument": {"uri": opened}}));
    }
}

#[test]
fn unsaved_service_counts_for_files_that_are_not_open() {
    let mut editor = Editor::new(&[("service.yaml", SERVICE), ("route.yaml", ROUTE)], &[]);
    editor.open("service.yaml", SERVICE);
    editor.eventually("service.yaml", &[]);
    editor.change("service.yaml", 2, (17, 21), "basket");
    editor.eventually("route.yaml", &["IST0101 8"]);
    editor.notify("textDocument/didClose", json!({"textDocument": {"uri": editor.uri("service.yaml")}}));
    editor.eventually("route.yaml", &[]);
}

#[test]
fn hover_has_the_page_of_the_rule_and_the_fix_corrects_the_text() {
    let wrong =
        ROUTE.replace("  - route: [", "  - {name: \"😀\", timeOut: 3s, route: [").replace("cart}}]", "cart}}]}");
    let line = wrong.lines().position(|line| line.contains("timeOut")).unwrap();
    let before = wrong.lines().nth(line).unwrap().split_once("timeOut").unwrap().0;
    for (encoding, column) in [("utf-16", before.encode_utf16().count()), ("utf-8", before.len())] {
        let mut editor = Editor::new(&[("service.yaml", SERVICE)], &[encoding]);
        editor.open("route.yaml", &wrong);
        let found = loop {
            let found = editor.diagnostics("route.yaml");
            if let Some(found) = found.into_iter().find(|it| it["code"] == "SH7001") {
                break found;
            }
        };
        // The range of a finding is that of the value.
        let value = json!({"line": line, "character": column + "timeOut: ".len()});
        assert_eq!(found["range"]["start"], value, "{encoding}: {found}");
        let at = json!({"textDocument": {"uri": editor.uri("route.yaml")}, "position": found["range"]["start"]});
        let hover = editor.request("textDocument/hover", at);
        let text = hover["contents"]["value"].as_str().unwrap();
        assert!(text.contains("# SH7001") && text.contains("## What to do"), "{text}");
        let params = json!({
            "textDocument": {"uri": editor.uri("route.yaml")},
            "range": found["range"],
            "context": {"diagnostics": [found], "only": ["quickfix"]},
        });
        let actions = editor.request("textDocument/codeAction", params);
        let edits = &actions[0]["edit"]["changes"][editor.uri("route.yaml")];
        assert_eq!(edits[0]["newText"], "timeout", "{actions}");
        assert_eq!(edits[0]["range"]["start"], json!({"line": line, "character": column}), "{encoding}");
        assert_eq!(actions.as_array().unwrap().len(), 1);
    }
}

#[test]
fn unknown_methods_and_invalid_messages_do_not_end_the_server() {
    let mut editor = Editor::new(&[], &[]);
    editor.notify("textDocument/didOpen", json!({"x": 1}));
    editor.notify("textDocument/didChange", json!({"textDocument": {"uri": "untitled:1", "version": 1}}));
    editor.notify("$/unknown", json!(null));
    editor.requests += 1;
    let id = editor.requests.into();
    editor.connection.sender.send(Request { id, method: "x/y".to_owned(), params: json!({}) }.into()).unwrap();
    let refused = loop {
        if let Message::Response(response) = editor.next() {
            break response.response_result.unwrap_err();
        }
    };
    assert_eq!(refused.code, -32601);
    editor.open("a.yaml", ROUTE);
    editor.change("a.yaml", 99, (5, 9), "x");
    editor.diagnostics("a.yaml");
}

/// Before: the findings of the earlier text stayed, at wrong places, and said nothing.
#[test]
fn document_that_becomes_too_long_counts_as_it_is_on_disk() {
    let mut editor = Editor::new(&[("service.yaml", SERVICE), ("route.yaml", ROUTE)], &[]);
    editor.open("route.yaml", &ROUTE.replace("cart}}]", "cxrt}}]"));
    editor.eventually("route.yaml", &["IST0101 8"]);
    editor.change("route.yaml", 0, (0, 0), &"# long\n".repeat((8 << 20) / 7 + 1));
    let text = loop {
        if let Message::Notification(Notification { method, params }) = editor.next()
            && method == "window/showMessage"
        {
            break params["message"].as_str().unwrap().to_owned();
        }
    };
    assert!(text.ends_with("longer than 8 MiB; reopen a shorter one"), "{text}");
    assert_eq!(codes(&editor.diagnostics("route.yaml")), [""; 0]);
    editor.change("route.yaml", 0, (0, 1), "x");
    editor.notify("textDocument/didSave", json!({"textDocument": {"uri": editor.uri("route.yaml")}}));
    editor.open("service.yaml", &SERVICE.replace("name: cart", "name: basket"));
    editor.eventually("route.yaml", &["IST0101 8"]);
}

/// Keystrokes in a workspace of 2,000 objects; the 99th percentile has to be at most 20 ms in a release build.
#[test]
fn findings_come_within_milliseconds_in_a_large_workspace() {
    let mut files: Vec<(String, String)> = Vec::new();
    for number in 0..500 {
        let mut text = String::new();
        let namespace = number % 20;
        let _ = write!(
            text,
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: n{namespace}}}\n\
             spec: {{selector: {{app: s{number}}}, ports: [{{name: http, port: 80}}]}}\n---\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: s{number}, namespace: n{namespace}}}\n\
             spec: {{selector: {{matchLabels: {{app: s{number}}}}}, template: {{metadata: {{labels: {{app: s{number}, version: v1}}}}, spec: {{containers: [{{name: a, image: a, ports: [{{containerPort: 80}}]}}]}}}}}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: s{number}, namespace: n{namespace}}}\n\
             spec: {{host: s{number}, subsets: [{{name: v1, labels: {{version: v1}}}}]}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: s{number}, namespace: n{namespace}}}\n\
             spec:\n  hosts: [s{number}]\n  http:\n  - route: [{{destination: {{host: s{number}, subset: v1}}}}]\n"
        );
        files.push((format!("n{namespace}/s{number}.yaml"), text));
    }
    let listed: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let mut editor = Editor::new(&listed, &[]);
    let (name, text) = files[7].clone();
    editor.open(&name, &text);
    editor.eventually(&name, &[]);
    let line = text.lines().count() - 1;
    let column = text.lines().last().unwrap().find("s7, subset").unwrap() + 1;
    let mut times: Vec<Duration> = Vec::new();
    for round in 0..300 {
        let start = Instant::now();
        editor.change(&name, line, (column, column + 1), if round % 2 == 0 { "x" } else { "7" });
        let found = editor.diagnostics(&name);
        times.push(start.elapsed());
        assert_eq!(found.is_empty(), round % 2 == 1, "{found:?}");
    }
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100];
    eprintln!("keystroke to findings, 2,000 objects: p50 {:?}, p99 {:?}", at(50), at(99));
    let most = if cfg!(debug_assertions) { Duration::from_secs(2) } else { Duration::from_millis(20) };
    assert!(at(99) <= most, "{:?}", at(99));
}
