//! Cases of Traffic Split. The root Service app-svc selects app-b and app-c; without a split each gets about half of the
//! requests.

use serde_json::json;

use super::super::{Case, Change, Check, Phase, Shares, control, get, ok, phase, times, with_headers};
use super::access::apply;
use super::{PORT, SPLIT, case, deployed, route_group, served, split, stored};
use crate::conformance::traffic::Request;

const GROUP: &str = "split";
/// Requests that show which backends answer. One of two equal backends stays unseen with a probability of 2e-9.
const SOME: u32 = 30;
/// Requests of the canonical suite.
const CANONICAL: u32 = 50;

pub(super) fn cases() -> Vec<Case> {
    vec![
        served("TS-1.1.1", SPLIT, GROUP, &[("trafficsplits.split.smi-spec.io", "v1alpha4")]),
        deployed("TS-1.1.2", SPLIT, GROUP, "app-svc"),
        case(
            "TS-1.2.3",
            SPLIT,
            "default_balance",
            GROUP,
            "Without a TrafficSplit every endpoint of the root Service answers",
            vec![phase(
                "both workloads answer",
                vec![],
                vec![Check::Reaches(times(&root(), CANONICAL), vec!["app-b", "app-c"])],
            )],
        ),
        stored_split("TS-1.2.4", 1, 0),
        all_or_nothing("TS-1.2.5", [1, 0], "app-b", "A backend with all of the weight gets every request (b:1 c:0)"),
        stored_split("TS-1.2.6", 0, 1),
        all_or_nothing("TS-1.2.7", [0, 1], "app-c", "A backend with all of the weight gets every request (b:0 c:1)"),
        stored_split("TS-1.2.8", 75, 25),
        weighted("TS-1.2.9", "weighted", 75, 25, 400, 7.0, "Requests are split by weight (b:75 c:25)"),
        stored_split("TS-1.2.10", 25, 75),
        weighted("TS-1.2.11", "weighted", 25, 75, 400, 7.0, "Requests are split by weight (b:25 c:75)"),
        weighted("TS-x.1", "ratio", 1000, 500, 600, 8.0, "Weights are relative and need not sum to 100 (b:1000 c:500)"),
        zero_weight(),
        matches(),
        port_mismatch(),
        missing_backend(),
        deleted(),
    ]
}

fn root() -> Request {
    get("app-a", "app-svc", PORT, "/echo")
}

fn stored_split(id: &'static str, b: u32, c: u32) -> Case {
    stored(id, SPLIT, GROUP, "The TrafficSplit is stored as applied", vec![split(&[("app-b", b), ("app-c", c)])])
}

/// Without a split both backends answer, so a later difference is an effect of the split.
fn unsplit() -> Phase {
    control(
        "both workloads answer without a split",
        vec![],
        vec![Check::Reaches(times(&root(), SOME), vec!["app-b", "app-c"])],
    )
}

fn all_or_nothing(id: &'static str, [b, c]: [u32; 2], only: &'static str, title: &'static str) -> Case {
    case(
        id,
        SPLIT,
        "all_or_nothing",
        GROUP,
        title,
        vec![
            unsplit(),
            phase(
                "one workload gets every request",
                apply(&[split(&[("app-b", b), ("app-c", c)])]),
                vec![Check::Reaches(times(&root(), CANONICAL), vec![only])],
            ),
        ],
    )
}

/// Starts from a split that gives everything to app-b, so that an answer of app-c shows that the weights are in force.
fn weighted(
    id: &'static str,
    feature: &'static str,
    b: u32,
    c: u32,
    count: u32,
    tolerance: f64,
    title: &'static str,
) -> Case {
    let shares = Shares {
        request: times(&root(), count),
        weights: vec![("app-b", b), ("app-c", c)],
        tolerance,
        ignored: vec![0.5, 0.5],
    };
    case(
        id,
        SPLIT,
        feature,
        GROUP,
        title,
        vec![
            unsplit(),
            phase(
                "a first split gives app-b every request",
                apply(&[split(&[("app-b", 1), ("app-c", 0)])]),
                vec![Check::Reaches(times(&root(), SOME), vec!["app-b"])],
            ),
            phase(
                "requests are split by weight",
                apply(&[split(&[("app-b", b), ("app-c", c)])]),
                vec![Check::Appears(times(&root(), SOME), "app-c"), Check::Shares(shares)],
            ),
        ],
    )
}

/// Up to three samples of 1,000 requests: a backend that wrongly has 1 % of the weight stays unseen in one of them with a
/// probability of 1.3e-4.
fn zero_weight() -> Case {
    let shares = Shares {
        request: times(&root(), 1000),
        weights: vec![("app-b", 1), ("app-c", 0)],
        tolerance: 0.0,
        ignored: vec![0.99, 0.01],
    };
    case(
        "TS-x.6",
        SPLIT,
        "zero_weight",
        GROUP,
        "A backend without weight gets no request",
        vec![
            unsplit(),
            phase(
                "the workload without weight gets nothing",
                apply(&[split(&shares.weights)]),
                vec![Check::Reaches(times(&root(), SOME), vec!["app-b"]), Check::Shares(shares)],
            ),
        ],
    )
}

/// A/B tests: requests that match go by the split, all others to the root Service.
fn matches() -> Case {
    let canary = with_headers(&root(), &[("x-canary", "yes")]);
    let group = route_group(
        "canary",
        &json!([{"name": "canary", "pathRegex": ".*", "methods": ["*"], "headers": [{"x-canary": "yes"}]}]),
    );
    let mut split = split(&[("app-b", 0), ("app-c", 1)]);
    split["spec"]["matches"] = json!([{"kind": "HTTPRouteGroup", "name": "canary"}]);
    case(
        "TS-x.2",
        SPLIT,
        "matches",
        GROUP,
        "With matches only matching requests are split",
        vec![
            unsplit(),
            phase(
                "matching requests are split, others are not",
                apply(&[group, split]),
                vec![
                    Check::Reaches(times(&canary, SOME), vec!["app-c"]),
                    Check::Reaches(times(&root(), SOME), vec!["app-b", "app-c"]),
                ],
            ),
        ],
    )
}

/// app-e has no port 9091.
fn port_mismatch() -> Case {
    let split = split(&[("app-b", 50), ("app-e", 50)]);
    case(
        "TS-x.3",
        SPLIT,
        "port_mismatch",
        GROUP,
        "A backend without the root Service's port gets no traffic and is reported",
        vec![
            unsplit(),
            phase(
                "only the backend with the port answers",
                apply(std::slice::from_ref(&split)),
                vec![Check::Reaches(times(&root(), CANONICAL), vec!["app-b"]), Check::Reported(split)],
            ),
        ],
    )
}

/// A backend Service that does not exist, without weight, does no harm.
fn missing_backend() -> Case {
    let split = split(&[("app-c", 1), ("app-absent", 0)]);
    case(
        "TS-x.4",
        SPLIT,
        "missing_backend",
        GROUP,
        "A backend Service without weight need not exist",
        vec![
            unsplit(),
            phase(
                "the other backend gets every request",
                apply(&[split]),
                vec![Check::Reaches(times(&root(), CANONICAL), vec!["app-c"])],
            ),
        ],
    )
}

fn deleted() -> Case {
    let split = split(&[("app-b", 1), ("app-c", 0)]);
    case(
        "TS-x.5",
        SPLIT,
        "delete_split",
        GROUP,
        "Deleting a TrafficSplit restores the root Service's balance",
        vec![
            unsplit(),
            phase(
                "the split is in force",
                apply(std::slice::from_ref(&split)),
                vec![ok(&root()), Check::Reaches(times(&root(), SOME), vec!["app-b"])],
            ),
            phase(
                "both workloads answer again",
                vec![Change::Delete(split)],
                vec![Check::Reaches(times(&root(), SOME), vec!["app-b", "app-c"])],
            ),
        ],
    )
}
