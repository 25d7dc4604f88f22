//! Charts from an HTTP repository and from an OCI registry, as helm itself makes and pushes them. Needs Istio's charts
//! (see `support/charts.rs`), helm and a registry (`tests/tools/build.sh istio`).
#![allow(clippy::disallowed_methods, reason = "other processes have their own time")]

use crate::mesh_settings;
use crate::support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use mesh_settings::settings;
use sailhand::chart::{Charts, Error, Release};
use sailhand::config;
use sailhand::error::{Class, Classify};
use serde_json::json;
use support::{charts, tools};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

fn helm(arguments: &[&str]) {
    let output = Command::new(tools::program("helm", "HELM_BIN")).args(arguments).env_clear().output().unwrap();
    assert!(output.status.success(), "helm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Packs charts of 1.30.3 as a release does, with an index.
fn pack(into: &Path) {
    for chart in ["base", "gateway"] {
        let source = charts::folder().join("istio-1.30.3").join(chart);
        let [source, into] = [source.as_path(), into].map(|path| path.to_str().unwrap());
        helm(&["package", source, "--version", "1.30.3", "--app-version", "1.30.3", "--destination", into]);
    }
    helm(&["repo", "index", into.to_str().unwrap()]);
}

/// A web server for a folder, on this machine only; counts what it is asked.
struct Server {
    address: String,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(folder: &Path) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let state = (folder.to_owned(), Arc::clone(&asked));
        let app = Router::new().fallback(serve).with_state(state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, asked, task }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(State((folder, asked)): State<(std::path::PathBuf, Arc<AtomicUsize>)>, uri: Uri) -> Response {
    asked.fetch_add(1, Ordering::SeqCst);
    match std::fs::read(folder.join(uri.path().trim_start_matches('/'))) {
        Ok(content) => content.into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

fn remote(source: &str, cache: Option<&Path>) -> Charts {
    Charts::new(&config::Charts { source: source.to_owned(), cache: cache.map(Path::to_owned), ..settings() })
}

fn release() -> Release {
    Release {
        name: "istio-base".to_owned(),
        namespace: "istio-system".to_owned(),
        values: json!({}),
        kubernetes: "v1.34.4".to_owned(),
        skip_schema: false,
    }
}

#[tokio::test]
async fn repository_index_is_fetched_once_and_digests_are_checked() {
    if charts::are_missing() {
        return;
    }
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pack(folder.path());
    let server = Server::start(folder.path()).await;
    let charts = remote(&server.address, Some(cache.path()));
    let chart = charts.fetch("base", "1.30.3").await.unwrap();
    assert_eq!(server.asked(), 2, "the index and the archive");
    let manifest = charts.render(&chart, &release()).await.unwrap();
    assert_eq!(manifest.matches("\nkind: CustomResourceDefinition\n").count(), 15);
    assert!(manifest.contains("app.kubernetes.io/version: \"1.30.3\""));

    // Another process, without a network.
    server.task.abort();
    let offline = remote(&server.address, Some(cache.path()));
    let again = offline.fetch("base", "1.30.3").await.unwrap();
    assert_eq!(again.digest, chart.digest);
    assert_eq!(offline.render(&again, &release()).await.unwrap(), manifest);
    let error = offline.fetch("gateway", "1.30.3").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(error.class(), Class::RETRY);
}

#[tokio::test]
async fn chart_with_another_digest_is_refused() {
    if charts::are_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    pack(folder.path());
    let server = Server::start(folder.path()).await;
    let error = remote(&server.address, None).fetch("base", "1.29.0").await.unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert!(error.to_string().contains("has 1 versions of base"), "{error}");

    // The archive of another chart under this one's name.
    let archive = |name: &str| folder.path().join(format!("{name}-1.30.3.tgz"));
    std::fs::copy(archive("gateway"), archive("base")).unwrap();
    let error = remote(&server.address, None).fetch("base", "1.30.3").await.unwrap_err();
    assert_eq!(error.code().as_str(), "SH3202", "{error}");
    // With an index that agrees, the chart itself gives it away.
    helm(&["repo", "index", folder.path().to_str().unwrap()]);
    let index = folder.path().join("index.yaml");
    let text = std::fs::read_to_string(&index)
        .unwrap()
        .replace("name: gateway", "name: base")
        .replacen("gateway:", "base:", 1);
    std::fs::write(&index, text).unwrap();
    let error = remote(&server.address, None).fetch("base", "1.30.3").await.unwrap_err();
    assert_eq!(error.code().as_str(), "SH3203", "{error}");
}

#[tokio::test]
async fn pinned_digest_applies_to_folders_too() {
    if charts::are_missing() {
        return;
    }
    let source = charts::folder().to_string_lossy().into_owned();
    let known = Charts::new(&config::Charts { source: source.clone(), ..settings() });
    let digest = known.fetch("gateway", "1.30.3").await.unwrap().digest;
    let pinned = |digest: String| {
        let digests = [("gateway-1.30.3".to_owned(), digest)].into();
        Charts::new(&config::Charts { source: source.clone(), digests, ..settings() })
    };
    assert!(pinned(digest.clone()).fetch("gateway", "1.30.3").await.is_ok());
    let wrong = pinned(format!("sha256:{}", "0".repeat(64)));
    let error = wrong.fetch("gateway", "1.30.3").await.unwrap_err();
    assert!(error.to_string().contains(&digest), "{error}");
}

/// A real registry, in memory, on localhost.
struct Registry(Child, u16);

impl Registry {
    fn start() -> Self {
        let mut child = Command::new(tools::program("registry", "REGISTRY_BIN"))
            .args(["-port", "0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next().expect("the registry says where it listens").unwrap();
        let port = line.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("no port in {line:?}"));
        // It must not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self(child, port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn chart_pushed_by_helm_is_fetched_from_a_registry() {
    if charts::are_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    pack(folder.path());
    let registry = Registry::start();
    let place = format!("oci://localhost:{}/release/charts", registry.1);
    let archive = folder.path().join("base-1.30.3.tgz");
    helm(&["push", archive.to_str().unwrap(), &place, "--plain-http"]);
    let charts = remote(&place, None);
    let chart = charts.fetch("base", "1.30.3").await.unwrap();
    let packed = Charts::new(&config::Charts { source: folder.path().to_string_lossy().into_owned(), ..settings() });
    assert_eq!(chart.digest, packed.fetch("base", "1.30.3").await.unwrap().digest, "the archive's own digest");
    let error = charts.fetch("base", "1.29.0").await.unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    drop(registry);
    // It is in memory.
    assert!(charts.fetch("base", "1.30.3").await.is_ok());
    let error = remote(&place, None).fetch("base", "1.30.3").await.unwrap_err();
    assert_eq!(error.class(), Class::RETRY, "{error}");
}

#[tokio::test]
async fn helm_times_out_and_its_errors_are_reported() {
    if charts::are_missing() {
        return;
    }
    let source = charts::folder().to_string_lossy().into_owned();
    let slow = Charts::new(&config::Charts {
        source: source.clone(),
        timeout: std::time::Duration::from_millis(1),
        ..settings()
    });
    let chart = slow.fetch("base", "1.30.3").await.unwrap();
    let error = slow.render(&chart, &release()).await.unwrap_err();
    assert!(matches!(error, Error::Slow { .. }), "{error}");
    let nowhere = Charts::new(&config::Charts { source: source.clone(), helm: "no-such-helm".into(), ..settings() });
    let error = nowhere.render(&chart, &release()).await.unwrap_err();
    assert_eq!((error.code().as_str(), error.class()), ("SH3204", Class::Terminal), "{error}");
    let charts = Charts::new(&config::Charts { source, ..settings() });
    let gateway = charts.fetch("gateway", "1.30.3").await.unwrap();
    let wrong = Release { values: json!({"service": {"type": 7}}), ..release() };
    let error = charts.render(&gateway, &wrong).await.unwrap_err();
    assert!(error.to_string().contains("service"), "{error}");
}
