//! Checks the protocol in port names. Sources: istio `analyzers/service/portname.go`, `pkg/config/kube/conversion.go`.

use sailhand_base::suggest;

use crate::membership::{is_control_plane, is_managed_gateway};
use crate::{Check, Code, Example, Findings, Fix, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "service.PortNameAnalyzer",
    codes: &[&IST0118, &IST0150],
    inputs: &[Kind::Service],
    check: Check::Each(&[Kind::Service], check),
};

static IST0118: Code = Code {
    id: "IST0118",
    name: "PortNameIsNotUnderNamingConvention",
    level: Level::Info,
    title: "Port name does not follow the `<protocol>[-suffix]` convention",
    why: "Istio must detect the protocol from the first bytes of a connection. This adds latency and fails for \
          server-first protocols, and HTTP policies and metrics may be missing.",
    remedy: "Set appProtocol, or start the port name with the protocol: http-web, grpc-api, tcp-db.",
    source: "https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: web, port: 8080}]}
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http-web, port: 8080}]}
",
    },
    also: &["KIA0601", "KIA0602", "istio-vet serviceportprefix"],
};

static IST0150: Code = Code {
    id: "IST0150",
    name: "ExternalNameServiceTypeInvalidPortName",
    level: Level::Warning,
    title: "Port of an ExternalName service is treated as plain TCP",
    why: "An ExternalName service has no address of its own, so the proxy routes all traffic on this port to it, \
          whatever the destination host.",
    remedy: "Name the port after a protocol that carries a host name, such as http, https or tls, or set appProtocol.",
    source: "https://istio.io/latest/docs/ops/configuration/traffic-management/traffic-routing/",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: store, namespace: shop}
spec: {type: ExternalName, externalName: store.example.com, ports: [{name: tcp, port: 443}]}
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: store, namespace: shop}
spec: {type: ExternalName, externalName: store.example.com, ports: [{name: tls, port: 443}]}
",
    },
    also: &[],
};

/// Protocol names that Istio supports (`pkg/config/protocol`).
const PROTOCOLS: [&str; 12] =
    ["tcp", "udp", "grpc", "grpc-web", "http", "http_proxy", "http2", "https", "tls", "mongo", "redis", "mysql"];
/// Protocols whose names do not occur in other meanings, for corrections of names.
const CERTAIN: [&str; 9] = ["tcp", "udp", "grpc", "http", "http2", "https", "tls", "mongo", "redis"];
/// Longest name of a port, characters (IANA service name).
const LONGEST_NAME: usize = 15;
/// Values of `appProtocol` that Kubernetes defines.
const STANDARD: [&str; 3] = ["kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss"];
/// Ports of SMTP, DNS, `MySQL` and `MongoDB`. Their servers may send first, and Istio treats the ports as TCP whatever
/// their names are.
const TCP_PORTS: [i64; 4] = [25, 53, 3306, 27017];

fn check(_: &View<'_>, service: &Resource, findings: &mut Findings) {
    // A user does not name the ports of the Service that istiod creates for a Gateway.
    if is_control_plane(service) || is_managed_gateway(service) {
        return;
    }
    let is_external = service.spec()["type"].text() == "ExternalName";
    for (index, port) in service.spec()["ports"].items().iter().enumerate() {
        let name = port["name"].text();
        if has_known_protocol(port) && !(is_external && name == "tcp") {
            continue;
        }
        let number = port["port"].scalar_text();
        if is_external {
            let message = format!("port {number} ({name}) of an ExternalName service is treated as plain TCP");
            findings.add(&IST0150, service, message).field(format!("spec.ports[{index}].port"));
            continue;
        }
        let (message, field) = match port["appProtocol"].as_str() {
            Some(protocol) => (
                format!("appProtocol {protocol} of port {number} is not supported by Istio"),
                format!("spec.ports[{index}].appProtocol"),
            ),
            None if name.is_empty() => {
                (format!("port {number} has neither a name nor appProtocol"), format!("spec.ports[{index}].port"))
            }
            None => (
                format!("name {name} of port {number} does not start with a protocol"),
                format!("spec.ports[{index}].name"),
            ),
        };
        let target = port["targetPort"].scalar_text();
        let to = if port["appProtocol"].is_null() { conventional(name) } else { None };
        // The names of ports are unique, and a longer name is invalid.
        let others = service.spec()["ports"].items();
        let to = to.filter(|to| to.len() <= LONGEST_NAME && others.iter().all(|other| other["name"].text() != to));
        let fix = to.map(|to| Fix::Replace { from: name.to_owned(), to });
        findings
            .add(&IST0118, service, message)
            .field(field)
            .arguments([name, number.as_str(), target.as_str()])
            .fix(fix);
    }
}

/// A name that has its protocol at another place, misspelled, or without a separator, in the conventional form.
fn conventional(name: &str) -> Option<String> {
    let is_protocol = |part: &&str| CERTAIN.contains(part);
    let parts: Vec<&str> = name.split('-').collect();
    if let Some(at) = parts.iter().rposition(is_protocol) {
        let others = parts.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, part)| *part);
        let others: Vec<&str> = others.filter(|part| !part.is_empty()).collect();
        return Some([&[parts[at]], others.as_slice()].concat().join("-"));
    }
    let first = parts[0];
    let digits = first.trim_start_matches(|c: char| !c.is_ascii_digit());
    let letters = &first[..first.len() - digits.len()];
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let head = if is_number && is_protocol(&letters) {
        format!("{letters}-{digits}")
    } else if first.len() > 3 {
        suggest::certain(first, CERTAIN).filter(|it| it.len() > 3)?.to_owned()
    } else {
        return None;
    };
    Some([&[head.as_str()], &parts[1..]].concat().join("-"))
}

fn has_known_protocol(port: &Value) -> bool {
    if port["protocol"].text() == "UDP" {
        return true;
    }
    let app_protocol = port["appProtocol"].as_str();
    let name = app_protocol.unwrap_or_else(|| port["name"].text());
    if app_protocol.is_some_and(|protocol| STANDARD.contains(&protocol)) {
        return true;
    }
    let prefix = name.split('-').next().unwrap_or_default();
    PROTOCOLS.iter().any(|protocol| protocol.eq_ignore_ascii_case(prefix))
        || name.get(.."grpc-web".len()).is_some_and(|start| start.eq_ignore_ascii_case("grpc-web"))
        || port["port"].as_int().is_some_and(|number| TCP_PORTS.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(port: &str) -> bool {
        has_known_protocol(&serde_json::from_str(port).unwrap())
    }

    #[test]
    fn name_with_a_recognizable_protocol_gets_the_conventional_form() {
        for (name, wanted) in [
            ("web-http", Some("http-web")),
            ("api-grpc-v1", Some("grpc-api-v1")),
            ("http8080", Some("http-8080")),
            ("htpp-web", Some("http-web")),
            ("htttp", Some("http")),
            ("httpbin", None),
            ("web", None),
            ("metrics", None),
            ("tpc", None),
            ("", None),
        ] {
            assert_eq!(conventional(name).as_deref(), wanted, "{name}");
        }
    }

    #[test]
    fn protocol_comes_from_app_protocol_or_name_prefix() {
        assert!(known(r#"{"name":"HTTP-web","port":1}"#));
        assert!(known(r#"{"name":"grpc-webby","port":1}"#));
        assert!(known(r#"{"name":"web","appProtocol":"kubernetes.io/h2c","port":1}"#));
        assert!(known(r#"{"name":"web","protocol":"UDP","port":1}"#));
        assert!(known(r#"{"name":"db","port":3306}"#));
        assert!(!known(r#"{"name":"httpweb","port":1}"#));
        assert!(!known(r#"{"name":"http","appProtocol":"mine","port":1}"#));
        assert!(!known(r#"{"port":1}"#));
    }
}
