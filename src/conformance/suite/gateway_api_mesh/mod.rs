//! The 14 counted tests of profile MESH-HTTP and the core test of MESH-GRPC, after the YAML of Gateway API v1.6.1
//! (Apache-2.0). Stricter than the original: the location of redirects and rewritten paths are compared, and every
//! answer of several must come from the right backend. A report of this suite is never an official one.

mod modify;
mod redirect;

use serde_json::{Value, json};

use super::super::model::{CaseKind, Level};
use super::super::traffic::{Protocol, Request};
use super::smi::deployment;
use super::{
    Case, Change, Check, Expect, Group, NAMESPACE, Outcome, Phase, Shares, Spec, Suite, SuiteKind, control, get, ok,
    phase, times, with_headers,
};

const GROUP: &str = "mesh";
/// The Service that a case names; a case with a route gets another one with the same pods.
const SERVICE: &str = "echo";
/// Requests of one check. A plane that ignores the route picks the right backend each time with a probability of 1e-3,
/// three rounds in a row with 1e-9.
const SOME: u32 = 10;
/// Requests that show that both versions answer.
const BOTH: u32 = 30;
const PORT: u16 = 80;
const GRPC: u16 = 7070;

/// The suite.
#[must_use]
pub fn suite() -> Suite {
    let mut cases = core();
    cases.extend(redirect::cases());
    cases.extend(modify::cases());
    cases.extend([named_rule(), grpc_weight()]);
    let services: Vec<_> = cases.iter_mut().filter_map(take_own_service).collect();
    let spec = |key, title| Spec { key, title, version: "gateway.networking.k8s.io/v1", legacy: None };
    Suite {
        kind: SuiteKind::GatewayApiMesh,
        version: "v1.6.1",
        prefix: "gateway-conf",
        specs: vec![spec("mesh_http", "MESH-HTTP"), spec("mesh_grpc", "MESH-GRPC")],
        groups: vec![Group { name: GROUP, is_independent: true, is_http: true, namespaces: 1, app: app(&services) }],
        cases,
        crds: vec![("httproutes.gateway.networking.k8s.io", "v1"), ("grpcroutes.gateway.networking.k8s.io", "v1")],
    }
}

fn core() -> Vec<Case> {
    let hello = get("echo-v1", SERVICE, PORT, "/");
    vec![
        case(
            "MeshBasic",
            "Requests between workloads of the mesh succeed",
            vec![phase("requests succeed", vec![], vec![Check::InMesh, ok(&hello)])],
        ),
        routed(
            "MeshHTTPRouteSimpleSameNamespace",
            "A route of a Service sends its requests to the route's backend",
            route("simple", &json!([{"backendRefs": [backend("echo-v1", 8080)]}])),
            vec![answered("/", &[], "echo-v1")],
        ),
        matching(),
        routed(
            "MeshTrafficSplit",
            "Exact paths send requests to different backends",
            route(
                "split",
                &json!([
                    {"matches": [path("Exact", "/v1")], "backendRefs": [backend("echo-v1", 80)]},
                    {"matches": [path("Exact", "/v2")], "backendRefs": [backend("echo-v2", 80)]},
                ]),
            ),
            vec![answered("/v1", &[], "echo-v1"), answered("/v2", &[], "echo-v2"), status("/v1/x", &[], 404)],
        ),
        weight(
            "MeshHTTPRouteWeight",
            "HTTP requests are split by weight (70:30)",
            &times(&hello, 500),
            [weighted_route("HTTPRoute", PORT, 8080, [1, 0]), weighted_route("HTTPRoute", PORT, 8080, [70, 30])],
        ),
        query_params(),
    ]
}

fn matching() -> Case {
    let header = |value: &str| json!({"headers": [{"name": "version", "value": value}]});
    let rules = json!([
        {"matches": [path("PathPrefix", "/"), header("one")], "backendRefs": [backend("echo-v1", 8080)]},
        {"matches": [path("PathPrefix", "/v2"), header("two")], "backendRefs": [backend("echo-v2", 8080)]},
    ]);
    routed(
        "MeshHTTPRouteMatching",
        "The most specific match of path and headers decides",
        route("matching", &rules),
        vec![
            answered("/", &[], "echo-v1"),
            answered("/example", &[], "echo-v1"),
            answered("/", &[("version", "one")], "echo-v1"),
            answered("/v2", &[], "echo-v2"),
            answered("/v2/example", &[], "echo-v2"),
            answered("/", &[("version", "two")], "echo-v2"),
            answered("/v2/", &[], "echo-v2"),
            answered("/v2example", &[], "echo-v1"),
            answered("/foo/v2/example", &[], "echo-v1"),
        ],
    )
}

fn query_params() -> Case {
    let animal = |value: &str| json!([{"name": "animal", "value": value}]);
    let header = |value: &str| json!([{"name": "version", "value": value}]);
    let prefix = |value: &str| json!({"type": "PathPrefix", "value": value});
    let rules = json!([
        {"matches": [{"queryParams": animal("whale")}], "backendRefs": [backend("echo-v1", 8080)]},
        {"matches": [{"queryParams": animal("dolphin")}], "backendRefs": [backend("echo-v2", 8080)]},
        {"matches": [{"path": prefix("/path1"), "queryParams": animal("whale")}], "backendRefs": [backend("echo-v1", 8080)]},
        {"matches": [{"headers": header("one"), "queryParams": animal("whale")}], "backendRefs": [backend("echo-v2", 8080)]},
        {"matches": [
            {"path": prefix("/path3"), "queryParams": animal("shark")},
            {"path": prefix("/path4"), "headers": header("three"), "queryParams": animal("kraken")},
        ], "backendRefs": [backend("echo-v1", 8080)]},
        {"matches": [{"path": prefix("/path5")}], "backendRefs": [backend("echo-v1", 8080)]},
        {"matches": [{"queryParams": animal("hydra")}], "backendRefs": [backend("echo-v2", 8080)]},
    ]);
    let title = "Query parameters decide, alone and with paths and headers";
    extended(routed(
        "MeshHTTPRouteQueryParamMatching",
        title,
        route("query", &rules),
        vec![
            answered("/?animal=whale", &[], "echo-v1"),
            answered("/?animal=dolphin", &[], "echo-v2"),
            answered("/?animal=dolphin&color=blue", &[], "echo-v2"),
            answered("/path1?animal=whale", &[], "echo-v1"),
            answered("/?animal=whale", &[("version", "one")], "echo-v2"),
            answered("/path3?animal=shark", &[], "echo-v1"),
            answered("/path4?animal=kraken", &[("version", "three")], "echo-v1"),
            answered("/path5?animal=hydra", &[], "echo-v1"),
            status("/?color=blue", &[], 404),
            status("/?animal=dog", &[], 404),
            status("/?animal=whaledolphin", &[], 404),
            status("/", &[], 404),
        ],
    ))
}

fn named_rule() -> Case {
    let rules = json!([
        {"name": "named-rule", "matches": [path("PathPrefix", "/named")], "backendRefs": [backend("echo-v1", 8080)]},
        {"matches": [path("PathPrefix", "/unnamed")], "backendRefs": [backend("echo-v2", 8080)]},
    ]);
    extended(routed(
        "MeshHTTPRouteNamedRule",
        "Rules with a name apply like rules without one",
        route("named", &rules),
        vec![answered("/named", &[], "echo-v1"), answered("/unnamed", &[], "echo-v2")],
    ))
}

fn grpc_weight() -> Case {
    let call = Request { protocol: Protocol::Grpc, method: "POST".to_owned(), ..get("echo-v1", SERVICE, GRPC, "") };
    let routes = [weighted_route("GRPCRoute", GRPC, GRPC, [1, 0]), weighted_route("GRPCRoute", GRPC, GRPC, [70, 30])];
    let case = weight("MeshGRPCRouteWeight", "gRPC calls are split by weight (70:30)", &times(&call, 500), routes);
    Case { spec: "mesh_grpc", ..case }
}

/// A first route sends everything to echo-v1: the answers of echo-v2 that follow show that the weights are in force. The
/// original samples after three answers of 200, which the Service gives without any route (kumahq/kuma#18322,
/// cilium/cilium#42456).
fn weight(id: &'static str, title: &'static str, request: &Request, [first, weighted]: [Value; 2]) -> Case {
    let shares = Shares {
        request: request.clone(),
        weights: vec![("echo-v1", 70), ("echo-v2", 30)],
        tolerance: 8.0,
        ignored: vec![0.5, 0.5],
    };
    let some = times(request, BOTH);
    case(
        id,
        title,
        vec![
            control(
                "both versions answer without a route",
                vec![],
                vec![Check::Reaches(some.clone(), vec!["echo-v1", "echo-v2"])],
            ),
            phase(
                "a first route sends everything to echo-v1",
                vec![Change::Apply(first)],
                vec![Check::Reaches(some.clone(), vec!["echo-v1"])],
            ),
            phase(
                "requests are split by weight",
                vec![Change::Apply(weighted)],
                vec![Check::Appears(some, "echo-v2"), Check::Shares(shares)],
            ),
        ],
    )
}

fn case(id: &'static str, title: &'static str, phases: Vec<Phase>) -> Case {
    Case {
        id,
        title,
        spec: "mesh_http",
        kind: CaseKind::Capability,
        feature: id,
        level: Level::Core,
        group: GROUP,
        canonical: true,
        may_be_refused: false,
        untestable: None,
        phases,
    }
}

fn extended(case: Case) -> Case {
    Case { level: Level::Extended, ..case }
}

/// Both versions answer; then the route decides.
fn routed(id: &'static str, title: &'static str, route: Value, checks: Vec<Check>) -> Case {
    case(
        id,
        title,
        vec![
            control(
                "both versions answer without a route",
                vec![],
                vec![Check::Reaches(times(&get("echo-v1", SERVICE, PORT, "/"), BOTH), vec!["echo-v1", "echo-v2"])],
            ),
            phase("the route decides", vec![Change::Apply(route)], checks),
        ],
    )
}

fn sent(path: &str, headers: &[(&str, &str)]) -> Request {
    times(&with_headers(&get("echo-v1", SERVICE, PORT, path), headers), SOME)
}

/// Every answer comes from one backend.
fn answered(path: &str, headers: &[(&str, &str)], backend: &'static str) -> Check {
    Check::Answers(sent(path, headers), Expect { backends: vec![backend], ..Expect::default() })
}

fn status(path: &str, headers: &[(&str, &str)], status: u16) -> Check {
    Check::Answers(sent(path, headers), Expect { outcome: Outcome::Status(status), ..Expect::default() })
}

fn path(kind: &str, value: &str) -> Value {
    json!({"path": {"type": kind, "value": value}})
}

fn backend(name: &str, port: u16) -> Value {
    json!({"name": name, "port": port})
}

/// An `HTTPRoute` of Service echo, port 80.
fn route(name: &str, rules: &Value) -> Value {
    of_service("HTTPRoute", name, PORT, rules)
}

fn of_service(kind: &str, name: &str, port: u16, rules: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind,
        "metadata": {"name": format!("mesh-{name}"), "namespace": NAMESPACE},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": SERVICE, "port": port}], "rules": rules},
    })
}

fn weighted_route(kind: &str, port: u16, backend_port: u16, [first, second]: [u32; 2]) -> Value {
    let backends = json!([
        {"name": "echo-v1", "port": backend_port, "weight": first},
        {"name": "echo-v2", "port": backend_port, "weight": second},
    ]);
    of_service(kind, &format!("{}-weight", kind.to_lowercase()), port, &json!([{"backendRefs": backends}]))
}

/// Routes a Service of the case's own, so that the cases do not touch each other. Gives its name; none without a route.
fn take_own_service(case: &mut Case) -> Option<String> {
    let mut service = None;
    for phase in &mut case.phases {
        for change in &mut phase.changes {
            if let Change::Apply(route) = change {
                let name = route["metadata"]["name"].as_str()?.replace("mesh", SERVICE);
                route["spec"]["parentRefs"][0]["name"] = json!(name);
                service = Some(name);
            }
        }
    }
    let service = service?;
    for check in case.phases.iter_mut().flat_map(|phase| &mut phase.checks) {
        if let Some(request) = check.request_mut() {
            service.clone_into(&mut request.host);
        }
    }
    Some(service)
}

/// The workloads first: the Services are created while their pods start.
fn app(services: &[String]) -> Vec<Value> {
    let service = |name: &str, selector: &Value| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"selector": selector, "ports": [
                {"name": "http", "port": 80, "appProtocol": "http", "targetPort": 8080},
                {"name": "http-alt", "port": 8080, "appProtocol": "http", "targetPort": 8080},
                {"name": "grpc", "port": GRPC, "appProtocol": "grpc", "targetPort": GRPC},
            ]},
        })
    };
    let mut objects = Vec::new();
    for version in ["v1", "v2"] {
        let name = format!("echo-{version}");
        objects.push(deployment(
            NAMESPACE,
            &name,
            "default",
            &[("app", "echo"), ("version", version)],
            &json!(["--port=8080", format!("--grpc={GRPC}")]),
            &json!([{"containerPort": 8080}, {"containerPort": GRPC}]),
        ));
        objects.push(service(&name, &json!({"app": "echo", "version": version})));
    }
    let of_both = services.iter().map(String::as_str).chain([SERVICE]);
    objects.extend(of_both.map(|name| service(name, &json!({"app": "echo"}))));
    objects
}
