//! Maps ports of the root Service to backends. SMI requires equal port numbers; Istio alone
//! would send traffic to a backend's only port, whatever its number is.

use super::super::object::Identity;
use super::super::snapshot::{Protocol, Service};
use super::{Translation, World};

/// A port of the root Service.
pub(super) struct PortRoute<'a> {
    pub number: u16,
    pub protocol: Protocol,
    /// Backends with the port, and their weights, of which one at least is above 0. Empty: the root Service keeps the
    /// traffic of the port.
    pub backends: Vec<(&'a str, u32)>,
}

/// One for each port that Istio proxies, in the Service's order.
pub(super) fn of<'a>(
    world: &World<'_>,
    root: &Service,
    weights: &[(&'a str, u32)],
    source: &Identity,
    out: &mut Translation,
) -> Vec<PortRoute<'a>> {
    let mut routes = Vec::new();
    for (name, _) in weights.iter().filter(|(_, weight)| *weight > 0) {
        if !world.services.contains_key(&(source.namespace.as_str(), name)) {
            out.refuse(source, format!("Service {}/{name} does not exist; it receives no traffic", source.namespace));
        }
    }
    for port in root.ports.iter().filter(|port| port.protocol != Protocol::NotProxied) {
        let number = port.number;
        if port.protocol == Protocol::Tls {
            let text =
                format!("port {number} of Service {} carries TLS, which Istio cannot split by weight alone", root.name);
            out.refuse(source, format!("{text}; the root Service receives its traffic"));
            continue;
        }
        let mut backends = Vec::new();
        for (name, weight) in weights {
            let Some(service) = world.services.get(&(source.namespace.as_str(), name)) else { continue };
            if service.ports.iter().any(|other| other.number == number && other.protocol != Protocol::NotProxied) {
                backends.push((*name, *weight));
            } else {
                let text = format!("Service {name} has no port {number}, which Service {} has", root.name);
                out.refuse(source, format!("{text}; it receives no traffic of that port"));
            }
        }
        if backends.iter().all(|(_, weight)| *weight == 0) {
            let text = format!("no backend with a weight above 0 has port {number}");
            out.refuse(source, format!("{text}; the root Service receives its traffic"));
            backends.clear();
        }
        routes.push(PortRoute { number, protocol: port.protocol, backends });
    }
    routes
}
