//! For random SMI objects, every request that the translated policies admit is one that SMI admits; and where nothing was
//! refused, the two agree.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::super::{Settings, Snapshot, translate};
use super::reference::{Http, Request, istio_admits, smi_admits};
use super::world::{group, namespace, pod, snapshot, tcp};

const SPACES: [&str; 2] = ["a", "b"];
const ACCOUNTS: [&str; 3] = ["x", "y", "z"];
const NAMES: [&str; 3] = ["p", "q", "missing"];
const PATHS: [&str; 12] = ["/", "/a", "/a/", "/a/b", "/ab", "/b", "/a1", "/a.b", "/axb", "/b/a", "/A", "/a.css"];
const VALUES: [&str; 6] = ["", "u", "uv", "vu", "u.v", "U"];

fn expression() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "", ".*", "/a", "^/a$", "/a/.*", "/a\\.b", "/(a|b)", "/a|/b", "/[ab]$", "/a.b", "/a[0-9]+", ".*\\.css", "/a?",
        "/(?i)a$", "/a.*b", "/.*$", "u",
    ];
    prop_oneof![
        3 => select(KNOWN).prop_map(str::to_owned),
        1 => proptest::collection::vec(select(&["/", "a", "b", ".", ".*", "$", "^", "|", "(a|b)", "?", "[ab]", "\\.", "+", "{2}"][..]), 0..6)
            .prop_map(|parts| parts.concat())
            .prop_filter("a valid expression", |text| regex::Regex::new(text).is_ok()),
    ]
}

fn value_expression() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &["u", "u.*", ".*u", ".*u.*", ".*", "u|v", "^u$", "u\\.v", "[uv]+", "uv?", ""];
    select(KNOWN).prop_map(str::to_owned)
}

fn route(name: &'static str) -> impl Strategy<Value = Value> {
    let methods = subsequence(&["GET", "POST", "*"][..], 0..=2);
    let headers = proptest::collection::btree_map(select(&["h", "X-K"][..]), value_expression(), 0..=2);
    (proptest::option::of(expression()), methods, headers, any::<bool>()).prop_map(
        move |(path, methods, headers, as_list)| {
            let mut route = json!({"name": name, "methods": methods, "headers": headers});
            if let Some(path) = path {
                route["pathRegex"] = path.into();
            }
            if as_list {
                route["headers"] = headers.iter().map(|(name, value)| json!({(*name): value})).collect();
            }
            route
        },
    )
}

fn rule() -> impl Strategy<Value = Value> {
    let kind = select(&["HTTPRouteGroup", "HTTPRouteGroup", "TCPRoute", "UDPRoute"][..]);
    let matches = proptest::option::of(subsequence(&["m", "n", "o"][..], 0..=3));
    (kind, select(&NAMES[..]), matches).prop_map(|(kind, name, matches)| {
        let mut rule = json!({"kind": kind, "name": name});
        if let Some(matches) = matches {
            rule["matches"] = json!(matches);
        }
        rule
    })
}

fn identity() -> impl Strategy<Value = Value> {
    (select(&ACCOUNTS[..]), proptest::option::of(select(&SPACES[..]))).prop_map(|(name, namespace)| {
        let mut identity = json!({"kind": "ServiceAccount", "name": name});
        if let Some(namespace) = namespace {
            identity["namespace"] = namespace.into();
        }
        identity
    })
}

fn traffic_target() -> impl Strategy<Value = Value> {
    let sources = proptest::collection::vec(identity(), 0..3);
    let rules = proptest::collection::vec(rule(), 0..4);
    (select(&SPACES[..]), 0..1000u32, identity(), sources, rules).prop_map(
        |(namespace, number, destination, sources, rules)| {
            json!({
                "kind": "TrafficTarget", "metadata": {"namespace": namespace, "name": format!("t{number}")},
                "spec": {"destination": destination, "sources": sources, "rules": rules},
            })
        },
    )
}

fn workload() -> impl Strategy<Value = Value> {
    let labels = (select(&["1", "2"][..]), proptest::option::of(select(&["1", "2"][..])));
    (select(&SPACES[..]), select(&ACCOUNTS[..]), labels).prop_map(|(namespace, account, (app, version))| {
        let mut labels = json!({"app": app});
        if let Some(version) = version {
            labels["version"] = version.into();
        }
        pod(namespace, "pod", account, labels)
    })
}

fn world() -> impl Strategy<Value = Snapshot> {
    let deny = subsequence(&SPACES[..], 0..=2);
    let groups = proptest::collection::vec((select(&SPACES[..]), select(&NAMES[..2]), route("m"), route("n")), 0..4);
    let ports = prop_oneof![Just(json!([])), Just(json!([80])), Just(json!([80, 90])), Just(json!([0]))];
    let routes = proptest::collection::vec((select(&SPACES[..]), select(&NAMES[..2]), ports), 0..4);
    let targets = proptest::collection::vec(traffic_target(), 0..5);
    let workloads = proptest::collection::vec(workload(), 1..6);
    (deny, groups, routes, targets, workloads).prop_map(|(deny, groups, routes, targets, workloads)| {
        let namespaces = SPACES.map(|name| {
            let labels =
                if deny.contains(&name) { json!({"smi.sailhand.dev/default-deny": "true"}) } else { json!({}) };
            namespace(name, labels)
        });
        let groups = groups.into_iter().map(|(namespace, name, m, n)| group(namespace, name, json!([m, n])));
        let routes = routes.into_iter().map(|(namespace, name, ports)| tcp(namespace, name, ports));
        let mut world = snapshot(namespaces.into_iter().chain(groups).chain(routes).chain(targets).chain(workloads));
        // A cluster has one object of a name.
        world
            .http_route_groups
            .sort_by(|a, b| (&a.meta.namespace, &a.meta.name).cmp(&(&b.meta.namespace, &b.meta.name)));
        world.http_route_groups.dedup_by(|a, b| a.meta == b.meta);
        world.tcp_routes.sort_by(|a, b| (&a.meta.namespace, &a.meta.name).cmp(&(&b.meta.namespace, &b.meta.name)));
        world.tcp_routes.dedup_by(|a, b| a.meta == b.meta);
        world.traffic_targets.sort_by(|a, b| (&a.meta.namespace, &a.meta.name).cmp(&(&b.meta.namespace, &b.meta.name)));
        world.traffic_targets.dedup_by(|a, b| a.meta == b.meta);
        world
    })
}

fn request() -> impl Strategy<Value = Request> {
    let headers = proptest::collection::btree_map(
        select(&["h", "x-k"][..]).prop_map(str::to_owned),
        select(&VALUES[..]).prop_map(str::to_owned),
        0..=2,
    );
    let http = (select(&["GET", "POST", "PUT"][..]), select(&PATHS[..]), headers)
        .prop_map(|(method, path, headers)| Http { method, path: path.to_owned(), headers });
    let from = (select(&SPACES[..]).prop_map(str::to_owned), select(&ACCOUNTS[..]).prop_map(str::to_owned));
    (from, any::<prop::sample::Index>(), select(&[80u16, 90, 91][..]), proptest::option::weighted(0.9, http))
        .prop_map(|(from, to, port, http)| Request { from, to: to.index(1 << 20), port, http })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn translated_policies_are_never_wider_than_smi(world in world(), requests in proptest::collection::vec(request(), 40)) {
        let translation = translate(&world, &Settings::default());
        for mut request in requests {
            request.to %= world.workloads.len();
            let (smi, istio) = (smi_admits(&world, &request), istio_admits(&translation.objects, &world, &request));
            prop_assert!(smi || !istio, "wider: {request:?}\n{:?}\n{:?}", world, translation);
            if translation.reports.is_empty() {
                prop_assert_eq!(smi, istio, "narrower without a report: {:?}\n{:?}", request, translation);
            }
        }
    }

    #[test]
    fn order_of_the_input_does_not_matter(world in world()) {
        let mut reversed = world.clone();
        reversed.workloads.reverse();
        reversed.traffic_targets.reverse();
        reversed.http_route_groups.reverse();
        reversed.namespaces.reverse();
        let settings = Settings::default();
        prop_assert_eq!(translate(&world, &settings), translate(&reversed, &settings));
    }
}

/// One request is admitted and one is not: the two interpreters distinguish requests.
#[test]
fn interpreters_admit_and_deny() {
    let objects = [
        pod("a", "pod", "x", json!({"app": "1"})),
        group("a", "p", json!([{"name": "m", "pathRegex": "/a"}])),
        super::world::target("a", "t", "y", "x", json!([{"kind": "HTTPRouteGroup", "name": "p"}])),
    ];
    let world = snapshot(objects);
    let translation = translate(&world, &Settings::default());
    let request = |path: &str, account: &str| Request {
        from: ("a".to_owned(), account.to_owned()),
        to: 0,
        port: 80,
        http: Some(Http { method: "GET", path: path.to_owned(), headers: std::collections::BTreeMap::new() }),
    };
    for (path, account, admitted) in [("/a/x", "y", true), ("/b", "y", false), ("/a", "z", false)] {
        let request = request(path, account);
        assert_eq!(
            (smi_admits(&world, &request), istio_admits(&translation.objects, &world, &request)),
            (admitted, admitted)
        );
    }
}
