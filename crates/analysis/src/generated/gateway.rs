//! Adds the Deployment and the Service that istiod creates for a Gateway of the Gateway API. Source: istio `pilot/pkg/config/kube/gatewaycommon`
//! (`GetDefaultName`, `IsManaged`), `manifests/charts/istio-control/istio-discovery/files/kube-gateway.yaml` and
//! `waypoint.yaml`; istio.io, "Kubernetes Gateway API", "Automated Deployment".

use std::collections::BTreeMap;

use super::{Source, generated, map, possible};
use crate::istio::pod::PROXY_CONTAINER;
use crate::istio::{managed, port};
use crate::{Kind, Resource, Value};

/// Classes whose Gateways give their own name to what is deployed.
const WITHOUT_SUFFIX: [&str; 2] = [managed::WAYPOINT_CLASS, managed::EAST_WEST_CLASS];

/// Service, Deployment and `ServiceAccount` of a Gateway, and the Secrets that cert-manager makes for it.
pub fn objects(gateway: &Resource) -> Vec<Resource> {
    let mut made: Vec<Resource> = possible::gateway_secrets(gateway).into_iter().collect();
    let class = gateway.spec()["gatewayClassName"].text();
    if class.is_empty() || class == managed::REMOTE_CLASS || !is_managed(gateway) {
        return made;
    }
    let source = Source::of(&gateway.root);
    let default =
        if WITHOUT_SUFFIX.contains(&class) { source.name.to_owned() } else { format!("{}-{class}", source.name) };
    let name = gateway.annotation("gateway.istio.io/name-override").unwrap_or(&default);
    let account = gateway.annotation("gateway.istio.io/service-account").unwrap_or(name);
    let labels = labels(gateway, source.name, class);
    let metadata = map([("name", Value::string(name)), ("labels", labels.clone())]);
    let selector = map([(managed::GATEWAY_NAME, Value::string(source.name))]);
    let service =
        map([("metadata", metadata.clone()), ("spec", map([("selector", selector), ("ports", ports(gateway))]))]);
    let container = map([("name", Value::string(PROXY_CONTAINER)), ("image", Value::string("auto"))]);
    let pod = map([("containers", Value::List(Box::new([container]))), ("serviceAccountName", Value::string(account))]);
    let template = map([("metadata", map([("labels", labels)])), ("spec", pod)]);
    let deployment = map([("metadata", metadata.clone()), ("spec", map([("template", template)]))]);
    made.push(generated(Kind::Service, "v1", &source, name, service));
    made.push(generated(Kind::Deployment, "apps/v1", &source, name, deployment));
    made.push(generated(Kind::ServiceAccount, "v1", &source, account, map([("metadata", metadata)])));
    made
}

/// Whether istiod deploys pods for it: not where an address names the Service of a manual deployment.
fn is_managed(gateway: &Resource) -> bool {
    match gateway.spec()["addresses"].items() {
        [] => true,
        [one] => matches!(one["type"].text(), "" | "IPAddress"),
        _ => false,
    }
}

fn labels(gateway: &Resource, name: &str, class: &str) -> Value {
    let mut labels = BTreeMap::from([
        (managed::GATEWAY_NAME.to_owned(), name.to_owned()),
        ("gateway.networking.k8s.io/gateway-class-name".to_owned(), class.to_owned()),
        (managed::GATEWAY.to_owned(), managed::controller_of(class).to_owned()),
        // Of releases before 1.23.
        ("istio.io/gateway-name".to_owned(), name.to_owned()),
    ]);
    let own = gateway.labels().entries().iter().chain(gateway.spec().at("infrastructure.labels").entries());
    labels.extend(own.map(|(key, value)| (key.to_string(), value.text().to_owned())));
    Value::Map(labels.into_iter().map(|(key, value)| (key.into(), Value::string(value))).collect())
}

/// The ports of the listeners. None are known if a `ListenerSet` may add some.
fn ports(gateway: &Resource) -> Value {
    if !matches!(gateway.spec()["allowedListeners"]["namespaces"]["from"].text(), "" | "None") {
        return Value::Null;
    }
    let named = |name: &str, number: i64| map([("name", Value::string(name)), ("port", Value::Int(number))]);
    let health = i64::from(port::HEALTH);
    let mut ports = vec![(health, named("status-port", health))];
    for listener in gateway.spec()["listeners"].items() {
        let Some(number) = listener["port"].as_int() else { continue };
        if ports.iter().all(|(known, _)| *known != number) {
            let protocol = listener["protocol"].text().to_ascii_lowercase();
            ports.push((number, named(&format!("{protocol}-{}", listener["name"].text()), number)));
        }
    }
    Value::List(ports.into_iter().map(|(_, port)| port).collect())
}
