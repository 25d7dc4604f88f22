//! Stores that are reached by port-forward: where the API server's proxy is forbidden, where a credential has to arrive,
//! and with TLS to the pod.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sailhand::cluster::Clusters;
use sailhand::config::{Connection, Target};
use sailhand::error::{Classify as _, Code};
use sailhand::http::Credentials;
use sailhand::observe::instance::{InstanceKind, ServiceAddress, State};
use sailhand::task::TaskContext;
use sailhand::task::connection::{Apply, Check};
use sailhand::task::metrics::Promql;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::cluster_target::{context, unique, write};
use crate::connections::{run, with_connections};
use crate::support::api_proxy::{ApiProxy, Record};
use crate::support::forwards::Forwards;
use crate::support::prometheus::serve;
use crate::support::{control_plane, istio_crds};

const ANSWER: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"7"]}]}}"#;

struct Scene {
    cx: TaskContext,
    space: String,
    proxy: ApiProxy,
    forwards: Forwards,
    _folder: tempfile::TempDir,
}

/// A Service with a ready pod, whose port 9090 the double forwards to this address.
async fn scene(space: String, address: Option<String>, connections: BTreeMap<String, Connection>) -> Scene {
    let direct = with_connections(&space, BTreeMap::new());
    write(&direct, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await;
    let ports = json!([{"name": "http", "port": 80, "targetPort": "web"}]);
    let metadata = json!({"name": "store", "namespace": space});
    let spec = json!({"selector": {"app": "store"}, "ports": ports});
    write(&direct, json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})).await;
    let metadata = json!({"name": "store-0", "namespace": space, "labels": {"app": "store"}});
    let container =
        json!({"name": "main", "image": "prom/prometheus", "ports": [{"name": "web", "containerPort": 9090}]});
    let spec = json!({"schedulerName": "none", "containers": [container]});
    write(&direct, json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})).await;
    let ready =
        json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}).to_string();
    istio_crds::kubectl(&[
        "patch",
        "pod",
        "store-0",
        "-n",
        &space,
        "--subresource=status",
        "--type=merge",
        "-p",
        &ready,
    ]);

    let proxy = ApiProxy::start("forward", control_plane::kubeconfig(), Record::default()).await;
    let forwards =
        Forwards::start(proxy.port(), move |pod, port| address.clone().filter(|_| pod == "store-0" && port == 9090));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    control_plane::write_kubeconfig(&file, &format!("http://127.0.0.1:{}", forwards.port()));
    let (mut cx, _) = context(&space, 1);
    let connections = connections.into_iter().map(|(name, mut one)| {
        one.service = Some(ServiceAddress { namespace: space.clone(), ..one.service.unwrap() });
        (name, one)
    });
    let target = Target {
        kubeconfig: Some(file),
        inventory_namespace: format!("{space}-inventory"),
        connections: connections.collect(),
        ..Target::default()
    };
    cx.clusters = Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)])));
    Scene { cx, space, proxy, forwards, _folder: folder }
}

fn by_service(credentials: Credentials, tls: bool) -> Connection {
    let service = ServiceAddress {
        namespace: String::new(),
        name: "store".to_owned(),
        port: 80,
        path: "/prometheus".to_owned(),
        tls,
    };
    let (url, scope) = (String::new(), BTreeMap::new());
    Connection { kind: InstanceKind::Prometheus, url, service: Some(service), scope, credentials }
}

fn token(folder: &Path, text: &str) -> Credentials {
    let file = folder.join(text);
    std::fs::write(&file, text).unwrap();
    Credentials { bearer_token_file: Some(file), ..Credentials::default() }
}

#[tokio::test]
async fn store_is_asked_by_port_forward_where_the_proxy_is_forbidden() {
    let address = serve(|request| request.starts_with("/api/v1/query").then(|| (200, ANSWER.to_owned())));
    let scene = scene(unique("forward"), Some(address), BTreeMap::new()).await;
    scene.proxy.answer(|path, _| {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": "services \"store\" is forbidden: cannot get resource \"services/proxy\""});
        path.contains("/proxy").then(|| (403, status.to_string()))
    });
    let service = json!({"namespace": scene.space, "name": "store", "port": 80});
    let (_, answer) = run(Promql, &scene.cx, json!({"service": service, "query": "up"})).await.unwrap();
    assert_eq!((answer.series[0].value.as_str(), scene.forwards.opened()), ("7", 1));
    let params = json!({"name": "mesh", "kind": "prometheus", "service": service, "via": "proxy"});
    let error = run(Apply, &scene.cx, params).await.err().unwrap();
    assert_eq!(error.code(), Code::SH3003, "{error}");
    let params = json!({"name": "mesh", "kind": "prometheus", "service": service, "via": "port-forward"});
    run(Apply, &scene.cx, params).await.unwrap();
    let (_, report) = run(Check, &scene.cx, json!({"connection": "mesh"})).await.unwrap();
    assert!(report.store.ends_with("by port-forward"), "{}", report.store);
}

#[tokio::test]
async fn credential_arrives_through_a_port_forward_and_never_through_the_proxy() {
    let address = serve(|request| {
        let is_right =
            request.contains("authorization: Bearer right") && request.starts_with("/prometheus/api/v1/query");
        Some(if is_right { (200, ANSWER.to_owned()) } else { (401, String::new()) })
    });
    let folder = tempfile::tempdir().unwrap();
    let connections = BTreeMap::from([
        ("right".to_owned(), by_service(token(folder.path(), "right"), false)),
        ("wrong".to_owned(), by_service(token(folder.path(), "wrong"), false)),
    ]);
    let scene = scene(unique("credential"), Some(address), connections).await;
    let ask = async |name: &str| run(Promql, &scene.cx, json!({"connection": name, "query": "up"})).await;
    assert_eq!(ask("right").await.unwrap().1.series[0].value, "7");
    assert_eq!(ask("wrong").await.err().unwrap().code(), Code::SH3503);
    assert_eq!(scene.forwards.opened(), 2);
}

#[tokio::test]
async fn pod_that_refuses_the_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let connections = BTreeMap::from([("mesh".to_owned(), by_service(token(folder.path(), "right"), false))]);
    let scene = scene(unique("refused"), None, connections).await;
    let error = run(Promql, &scene.cx, json!({"connection": "mesh", "query": "up"})).await.err().unwrap();
    assert_eq!(error.code(), Code::SH3502);
    let text = error.to_string();
    assert!(text.contains("store-0, port 9090") && text.contains("connection refused"), "{text}");
}

/// The API server itself, which has no node to forward to.
#[tokio::test]
async fn refusal_of_the_real_api_server_is_reported() {
    let scene = scene(unique("unscheduled"), None, BTreeMap::new()).await;
    let cx = with_connections(&scene.space, BTreeMap::new());
    let service = json!({"namespace": scene.space, "name": "store", "port": 80});
    let params = json!({"name": "mesh", "kind": "prometheus", "service": service, "via": "port-forward"});
    let (_, report) = run(Apply, &cx, params).await.unwrap();
    let reason = report.reason.unwrap();
    println!("{reason}");
    assert!(report.state == Some(State::Unreachable) && reason.contains("port-forward"), "{reason}");
}

/// Answers one request after the other over TLS, as the pod does.
async fn serve_tls(cert: &rcgen::Certificate, key: &rcgen::KeyPair) -> String {
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes).await;
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{ANSWER}", ANSWER.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn certificate_of_the_pod_is_verified_for_the_name_of_the_service() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    for (name, accepted) in [("store", true), ("other", false)] {
        let key = rcgen::KeyPair::generate().unwrap();
        let space = unique("tls");
        let cert =
            rcgen::CertificateParams::new(vec![format!("{name}.{space}.svc")]).unwrap().self_signed(&key).unwrap();
        let file = folder.path().join(format!("{name}.pem"));
        std::fs::write(&file, cert.pem()).unwrap();
        let address = serve_tls(&cert, &key).await;
        let credentials = Credentials { ca_file: Some(file), ..token(folder.path(), "right") };
        let scene =
            scene(space, Some(address), BTreeMap::from([("mesh".to_owned(), by_service(credentials, true))])).await;
        let asked = run(Promql, &scene.cx, json!({"connection": "mesh", "query": "up"})).await;
        match asked {
            Ok((_, answer)) => assert!(accepted && answer.series[0].value == "7"),
            Err(error) => assert!(!accepted && error.to_string().contains("TLS"), "{name}: {error}"),
        }
    }
}
