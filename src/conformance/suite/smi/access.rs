//! Cases of Traffic Access Control: deny by default, sources, ports, revocation.

use serde_json::{Value, json};

use super::super::super::model::Level;
use super::super::{
    Case, Change, Check, NAMESPACE, Phase, SECOND, THIRD, control, denied_at_l4, get, ok, phase, request,
};
use super::{ACCESS, PORT, SECOND_PORT, case, deployed, presence, served, stored, target, tcp_route};
use crate::conformance::traffic::Request;

const GROUP: &str = "access";

pub(super) fn cases() -> Vec<Case> {
    let [a, c, d] = ["app-a", "app-c", "app-d"].map(to_b);
    let allow_a = || target("a-to-b", &[("service-a", NAMESPACE)], &tcp_rule());
    let allow_d = || target("d-to-b", &[("service-d", NAMESPACE)], &tcp_rule());
    vec![
        served("TA-1.1.1", ACCESS, GROUP, &[("traffictargets.access.smi-spec.io", "v1alpha3")]),
        deployed("TA-1.1.2", ACCESS, GROUP, "app-b"),
        case(
            "TA-1.2.3",
            ACCESS,
            "default_deny",
            GROUP,
            "Without a TrafficTarget every request is denied",
            vec![opened(&[&a]), closed(&[&a])],
        ),
        stored(
            "TA-1.2.4",
            ACCESS,
            GROUP,
            "TCPRoute and TrafficTarget are stored as applied",
            vec![tcp_route(&[]), allow_a()],
        ),
        case(
            "TA-1.2.5",
            ACCESS,
            "allow_identity",
            GROUP,
            "A TrafficTarget allows its source identity",
            vec![
                opened(&[&a]),
                closed(&[&a]),
                phase("the source is allowed", apply(&[tcp_route(&[]), allow_a()]), vec![ok(&a)]),
            ],
        ),
        presence(
            "TA-1.2.6",
            ACCESS,
            GROUP,
            "A deleted TrafficTarget and its route do not exist any more",
            vec![
                phase("objects are stored", apply(&[tcp_route(&[]), allow_a()]), vec![Check::Stored(allow_a())]),
                phase(
                    "objects are gone",
                    delete(&[allow_a(), tcp_route(&[])]),
                    vec![Check::Gone(allow_a()), Check::Gone(tcp_route(&[]))],
                ),
            ],
        ),
        case(
            "TA-1.2.7",
            ACCESS,
            "revoke",
            GROUP,
            "Deleting a TrafficTarget denies its source again",
            vec![
                opened(&[&a]),
                phase("the source is allowed", deny_and(&[tcp_route(&[]), allow_a()]), vec![ok(&a)]),
                phase("the source is denied again", delete(&[allow_a(), tcp_route(&[])]), vec![denied_at_l4(&a)]),
            ],
        ),
        case(
            "TA-x.1",
            ACCESS,
            "deny_other_source",
            GROUP,
            "Sources that no TrafficTarget names are denied",
            vec![
                opened(&[&a, &c, &d]),
                phase(
                    "only the source is allowed",
                    deny_and(&[tcp_route(&[]), allow_a()]),
                    vec![ok(&a), denied_at_l4(&c), denied_at_l4(&d)],
                ),
            ],
        ),
        tcp_ports(),
        case(
            "TA-x.3",
            ACCESS,
            "additive",
            GROUP,
            "TrafficTargets of one destination are additive, and deleting one keeps the others",
            vec![
                opened(&[&a, &c, &d]),
                phase(
                    "both sources are allowed",
                    deny_and(&[tcp_route(&[]), allow_a(), allow_d()]),
                    vec![ok(&a), ok(&d), denied_at_l4(&c)],
                ),
                phase("the other stays when one is deleted", delete(&[allow_d()]), vec![ok(&a), denied_at_l4(&d)]),
            ],
        ),
        cross_namespace(),
        Case {
            untestable: Some("no traffic driver sends UDP, and Istio does not proxy it"),
            level: Level::Extended,
            ..case("TA-x.5", ACCESS, "udp_route", GROUP, "A UDPRoute allows UDP traffic to its ports", vec![])
        },
    ]
}

fn tcp_ports() -> Case {
    let (first, second) = (to_b("app-a"), get("app-a", "app-b", SECOND_PORT, "/echo"));
    case(
        "TA-x.2",
        ACCESS,
        "tcp_ports",
        GROUP,
        "A TCPRoute with ports allows these ports only",
        vec![
            opened(&[&first, &second]),
            phase(
                "only the port of the route is allowed",
                deny_and(&[tcp_route(&[PORT]), target("a-to-b", &[("service-a", NAMESPACE)], &tcp_rule())]),
                vec![ok(&first), denied_at_l4(&second)],
            ),
        ],
    )
}

/// Service accounts of one name in two namespaces are two identities.
fn cross_namespace() -> Case {
    let host = format!("app-b.{NAMESPACE}.svc.cluster.local");
    let [second, third] = [SECOND, THIRD].map(|from| request(from, "app-a", "GET", &host, PORT, "/echo"));
    let objects = [tcp_route(&[]), target("a-to-b", &[("service-a", SECOND)], &tcp_rule())];
    case(
        "TA-x.4",
        ACCESS,
        "cross_namespace_source",
        "sources",
        "A source is a service account of one namespace",
        vec![
            opened(&[&second, &third]),
            phase(
                "only the source's namespace is allowed",
                deny_and(&objects),
                vec![ok(&second), denied_at_l4(&third)],
            ),
        ],
    )
}

fn tcp_rule() -> Value {
    json!([{"kind": "TCPRoute", "name": "tcp"}])
}

fn to_b(from: &str) -> Request {
    get(from, "app-b", PORT, "/echo")
}

/// Requests succeed while the namespace does not deny by default.
pub(super) fn opened(requests: &[&Request]) -> Phase {
    let checks = requests.iter().map(|request| ok(request)).collect();
    control("requests succeed without deny by default", vec![Change::DefaultDeny(false)], checks)
}

fn closed(requests: &[&Request]) -> Phase {
    let checks = requests.iter().map(|request| denied_at_l4(request)).collect();
    phase("requests are denied by default", deny_and(&[]), checks)
}

pub(super) fn apply(objects: &[Value]) -> Vec<Change> {
    objects.iter().cloned().map(Change::Apply).collect()
}

fn delete(objects: &[Value]) -> Vec<Change> {
    objects.iter().cloned().map(Change::Delete).collect()
}

/// Denies by default, and applies objects.
pub(super) fn deny_and(objects: &[Value]) -> Vec<Change> {
    [vec![Change::DefaultDeny(true)], apply(objects)].concat()
}
